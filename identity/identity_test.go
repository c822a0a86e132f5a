package identity

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestParseIdentifier(t *testing.T) {
	bank := Host{Name: "bank.example"}
	for in, want := range map[string]Identifier{
		"alice@bank.example":                       {"alice", bank},
		"Alice@BANK.example:443":                   {"Alice", bank}, // case of the local id kept
		"a.b+c_d@bank.example":                     {"a.b+c_d", bank},
		"!#$%&'*+-/=?^_`{|}~@bank.example":         {"!#$%&'*+-/=?^_`{|}~", bank},
		"7@bank.example:8443":                      {"7", Host{"bank.example", 8443}},
		strings.Repeat("a", 128) + "@bank.example": {strings.Repeat("a", 128), bank},
	} {
		got, err := ParseIdentifier(in)
		if err != nil || got != want {
			t.Errorf("ParseIdentifier(%q): got %v, %v, want %v", in, got, err, want)
		}
	}
	for name, in := range map[string]string{
		"nothing":           "",
		"no at":             "bank.example",
		"no local id":       "@bank.example",
		"no host":           "alice@",
		"two at":            "alice@evil.example@bank.example",
		"leading dot":       ".alice@bank.example",
		"trailing dot":      "alice.@bank.example",
		"two dots":          "a..b@bank.example",
		"space":             "al ice@bank.example",
		"quoted":            `"alice"@bank.example`,
		"comment":           "alice(x)@bank.example",
		"colon":             "a:b@bank.example",
		"control":           "alice\r\n@bank.example",
		"not ASCII":         "ålice@bank.example",
		"homograph":         "аlice@bank.example", // Cyrillic а
		"IP literal":        "alice@192.0.2.1",
		"host with path":    "alice@bank.example/x",
		"local id too long": strings.Repeat("a", 129) + "@bank.example",
		"megabytes":         strings.Repeat("a", 1<<20),
		"megabytes of host": "alice@" + strings.Repeat("a", 1<<20),
	} {
		got, err := ParseIdentifier(in)
		if err == nil {
			t.Errorf("%s: ParseIdentifier(%.40q): got %v, want an error", name, in, got)
		} else if len(err.Error()) > 4096 {
			t.Errorf("%s: the error has %d bytes", name, len(err.Error()))
		}
	}
}

func TestIdentifierInJSON(t *testing.T) {
	var id Identifier
	if !id.IsZero() {
		t.Error("the zero identifier names somebody")
	}
	if err := json.Unmarshal([]byte(`"Alice@Bank.Example"`), &id); err != nil {
		t.Fatal(err)
	}
	if got, err := json.Marshal(id); string(got) != `"Alice@bank.example"` || id.IsZero() {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestCheckLocal(t *testing.T) {
	if err := CheckLocal("alice"); err != nil {
		t.Error(err)
	}
	for _, s := range []string{"", "a@b", "a b", strings.Repeat("x", 1<<20)} {
		if err := CheckLocal(s); err == nil || len(err.Error()) > 4096 {
			t.Errorf("CheckLocal(%.20q): got %.80v", s, err)
		}
	}
}

func FuzzParseIdentifier(f *testing.F) {
	for _, s := range []string{"alice@bank.example", "a.b@Bücher.example:8443", "a@b@c", "@", "a@1.2.3.4"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseIdentifier(s)
		if err != nil {
			return
		}
		if again, err := ParseIdentifier(id.String()); err != nil || again != id {
			t.Errorf("ParseIdentifier(%q) of %q: got %v, %v, want %v", id, s, again, err, id)
		}
	})
}
