package identity

import (
	"encoding/json"
	"strings"
	"testing"
)

func host(t testing.TB, s string) Host {
	t.Helper()
	h, err := ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestParseHostNormalises(t *testing.T) {
	for in, want := range map[string]Host{
		"bank.example":                       {Name: "bank.example"},
		"BANK.Example":                       {Name: "bank.example"},
		"bank.example.":                      {Name: "bank.example"},
		"bank.example:443":                   {Name: "bank.example"},
		"bank.example.:443":                  {Name: "bank.example"},
		"bank.example:8443":                  {Name: "bank.example", Port: 8443},
		"bank.example:1":                     {Name: "bank.example", Port: 1},
		"bank.example:65535":                 {Name: "bank.example", Port: 65535},
		"Bücher.example":                     {Name: "xn--bcher-kva.example"},
		"xn--bcher-kva.example":              {Name: "xn--bcher-kva.example"},
		"XN--BCHER-KVA.example":              {Name: "xn--bcher-kva.example"},
		"straße.example":                     {Name: "xn--strae-oqa.example"},
		"bank。example":                       {Name: "bank.example"}, // ideographic full stop
		"ｂａｎｋ.example":                       {Name: "bank.example"}, // full-width letters
		"localhost":                          {Name: "localhost"},
		"localhost:7001":                     {Name: "localhost", Port: 7001},
		"1.example":                          {Name: "1.example"},
		"0xab.example":                       {Name: "0xab.example"},
		"a.0xyz":                             {Name: "a.0xyz"},
		strings.Repeat("a", 63) + ".example": {Name: strings.Repeat("a", 63) + ".example"},
	} {
		got, err := ParseHost(in)
		if err != nil || got != want {
			t.Errorf("ParseHost(%q): got %v, %v, want %v", in, got, err, want)
		}
	}
}

func TestParseHostRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":                    "",
		"dot":                        ".",
		"two dots at the end":        "bank.example..",
		"mapped dot at the end":      "bank.example。.",
		"empty label":                "bank..example",
		"leading dot":                ".bank.example",
		"IPv4":                       "192.0.2.1",
		"IPv4 with port":             "192.0.2.1:443",
		"short IPv4":                 "127.1",
		"decimal IPv4":               "2130706433",
		"hexadecimal IPv4":           "0x7f000001",
		"hexadecimal part":           "127.0x1",
		"bare 0x":                    "127.0x",
		"full-width IPv4":            "１２７.0.0.1",
		"IPv6":                       "::1",
		"IPv6 in brackets":           "[::1]",
		"IPv6 in brackets with port": "[::1]:443",
		"user info":                  "evil@bank.example",
		"path":                       "bank.example/x",
		"back slash":                 `bank.example\x`,
		"query":                      "bank.example?x",
		"fragment":                   "bank.example#x",
		"scheme":                     "https://bank.example",
		"space":                      "bank .example",
		"line break":                 "bank.example\n",
		"NUL":                        "bank.example\x00",
		"percent":                    "bank%2eexample",
		"underscore":                 "_dns.example",
		"wildcard":                   "*.example",
		"leading hyphen":             "-a.example",
		"trailing hyphen":            "a-.example",
		"long label":                 strings.Repeat("a", 64) + ".example",
		"long name":                  strings.Repeat("a.", 127) + "example",
		"no port after colon":        "bank.example:",
		"port 0":                     "bank.example:0",
		"port with zero in front":    "bank.example:0443",
		"port too large":             "bank.example:65536",
		"port with sign":             "bank.example:+443",
		"port with letters":          "bank.example:44a",
		"two ports":                  "bank.example:443:443",
		"no name before port":        ":443",
		"right-to-left override":     "bank\u202e.example",
		"zero-width joiner":          "bank\u200d.example",
		"invalid UTF-8":              "bank\xff.example",
		"replacement character":      "bank\ufffd.example",
		"replacement in punycode":    "xn--bank-y70y.example",
		"broken punycode":            "xn--\u00e4.example",
		"punycode of ASCII":          "xn--bank-.example",
		"megabytes":                  strings.Repeat("ä", 1<<20),
	} {
		got, err := ParseHost(in)
		if err == nil {
			t.Errorf("%s: ParseHost(%.40q): got %v, want an error", name, in, got)
		} else if len(err.Error()) > 4096 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}

func TestParsePlatformHost(t *testing.T) {
	bank := Host{Name: "bank.example"}
	for in, want := range map[string]Host{
		"bank.example":                        bank,
		"https://bank.example":                bank,
		"HTTPS://Bank.Example.:443":           bank,
		"https://bank.example/":               bank,
		"https://bank.example/a/b:c@d":        bank,
		"https://bank.example:8443/v1":        {Name: "bank.example", Port: 8443},
		"bank.example:8443":                   {Name: "bank.example", Port: 8443},
		"https://bank.example/@evil.example/": bank,
	} {
		got, err := ParsePlatformHost(in)
		if err != nil || got != want {
			t.Errorf("ParsePlatformHost(%q): got %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "https://", "https:///x", "http://bank.example", "ftp://bank.example", "://bank.example",
		"https:bank.example", "//bank.example", "bank.example/x", "https://u@bank.example", "https://u:p@bank.example/",
		"https://bank.example?x", "https://bank.example/?x", "https://bank.example/#x", `https://bank.example\@evil.example`,
		"https://192.0.2.1", "https://[::1]/", "https://bank.example:0", "https://https://bank.example", " https://bank.example",
		"https://bank.example/" + strings.Repeat("x", 2048)} {
		if got, err := ParsePlatformHost(in); err == nil {
			t.Errorf("ParsePlatformHost(%.40q): got %v, want an error", in, got)
		}
	}
}

func TestHostCovers(t *testing.T) {
	any, p1, p2, other := Host{Name: "a.example"}, Host{"a.example", 1}, Host{"a.example", 2}, Host{Name: "b.example"}
	for _, c := range []struct {
		h, x             Host
		covers, overlaps bool
	}{
		{any, any, true, true}, {any, p1, true, true}, {p1, any, false, true}, {p1, p1, true, true},
		{p1, p2, false, false}, {any, other, false, false}, {any, Host{Name: "x.a.example"}, false, false},
	} {
		if got := c.h.Covers(c.x); got != c.covers {
			t.Errorf("%v covers %v: got %v, want %v", c.h, c.x, got, c.covers)
		}
		if got := c.h.overlaps(c.x); got != c.overlaps {
			t.Errorf("%v overlaps %v: got %v, want %v", c.h, c.x, got, c.overlaps)
		}
	}
}

func TestHostInJSON(t *testing.T) {
	var h Host
	if err := json.Unmarshal([]byte(`"Bank.Example:8443"`), &h); err != nil || h != (Host{"bank.example", 8443}) {
		t.Errorf("got %v, %v", h, err)
	}
	if got, err := json.Marshal(h); string(got) != `"bank.example:8443"` {
		t.Errorf("got %s, %v", got, err)
	}
	if err := json.Unmarshal([]byte(`"192.0.2.1"`), &h); err == nil {
		t.Error("an IP literal was read")
	}
	if !(Host{}).IsZero() || h.IsZero() != (h == Host{}) {
		t.Error("IsZero")
	}
}

func FuzzParsePlatformHost(f *testing.F) {
	for _, s := range []string{"bank.example", "https://Bücher.example:8443/x", "a。b", "xn--bcher-kva.example", "1.2.3.4", "a..", "ß.example", "0x1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := ParsePlatformHost(s)
		if err != nil {
			return
		}
		for name, parse := range map[string]func(string) (Host, error){"ParseHost": ParseHost, "ParsePlatformHost": ParsePlatformHost} {
			if again, err := parse(h.String()); err != nil || again != h {
				t.Errorf("%s(%q) of %q: got %v, %v, want %v", name, h, s, again, err, h)
			}
		}
		if h.Name != strings.ToLower(h.Name) || strings.HasSuffix(h.Name, ".") || len(h.Name) > 253 || h.Port == 443 {
			t.Errorf("%q became %v, which is not normalised", s, h)
		}
	})
}
