package discovery

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"eblnode/identity"
)

func TestParseTXT(t *testing.T) {
	const good = "https://api.bank.example/v1/transferblocks"
	long := "ebl-transferblock=https://api.bank.example/" + strings.Repeat("a/", 130) + "v1/transferblocks"
	tests := []struct {
		name    string
		records []string
		want    string // the URL; else the kind
		kind    Kind
	}{
		{"prefixed", []string{"ebl-transferblock=" + good}, good, 0},
		{"prefixed, singular", []string{"ebl-transferblock=https://api.bank.example/v1/transferblock"}, "https://api.bank.example/v1/transferblock", 0},
		{"prefixed, port and path", []string{"ebl-transferblock=https://api.bank.example:8443/a/b/v1/transferblocks"}, "https://api.bank.example:8443/a/b/v1/transferblocks", 0},
		{"bare", []string{"api.bank.example/v1/transferblock"}, "https://api.bank.example/v1/transferblock", 0},
		{"bare with port", []string{"api.bank.example:8443/v1/transferblocks"}, "https://api.bank.example:8443/v1/transferblocks", 0},
		{"bare with scheme", []string{good}, good, 0},
		{"bare below a path", []string{"api.bank.example/ebl/v1/transferblocks"}, "https://api.bank.example/ebl/v1/transferblocks", 0},
		{"bare forms that differ in scheme and s", []string{"api.bank.example/v1/transferblock", good}, good, 0},
		{"prefix wins over bare", []string{"other.example/v1/transferblocks", "ebl-transferblock=" + good}, good, 0},
		{"prefix wins over malformed bare", []string{"http://other.example/v1/transferblocks", "ebl-transferblock=" + good}, good, 0},
		{"300 bytes of record", []string{long}, strings.TrimPrefix(long, "ebl-transferblock="), 0},

		{"the same twice", []string{"ebl-transferblock=" + good, "ebl-transferblock=" + good}, good, 0},
		{"the same by case, 443, dot", []string{"ebl-transferblock=" + good, "EBL-Transferblock=HTTPS://API.Bank.Example.:443/v1/transferblocks"}, good, 0},
		{"the same by IDNA", []string{"ebl-transferblock=https://bücher.example/v1/transferblocks", "ebl-transferblock=https://XN--BCHER-KVA.example/v1/transferblocks"}, "https://xn--bcher-kva.example/v1/transferblocks", 0},
		{"unrelated records", []string{"v=spf1 -all", "", "\x00\xff", "google-site-verification=abc", "other=https://x.example/v1/transferblocks",
			"ebl-transferblocks-next=https://x.example/v1/transferblocks", "ebl-transferblock=" + good, "see /v1/transferblocks/ for more"}, good, 0},

		{"no records", nil, "", NotFound},
		{"only unrelated ones", []string{"v=spf1 -all", "api.bank.example/v1/transferblocks/", "https://api.bank.example/V1/TRANSFERBLOCKS"}, "", NotFound},

		{"two hosts", []string{"ebl-transferblock=" + good, "ebl-transferblock=https://evil.example/v1/transferblocks"}, "", Ambiguous},
		{"two ports", []string{"ebl-transferblock=" + good, "ebl-transferblock=https://api.bank.example:8443/v1/transferblocks"}, "", Ambiguous},
		{"two paths", []string{"ebl-transferblock=" + good, "ebl-transferblock=https://api.bank.example/x/v1/transferblocks"}, "", Ambiguous},
		{"two paths by case", []string{"ebl-transferblock=https://api.bank.example/x/v1/transferblocks", "ebl-transferblock=https://api.bank.example/X/v1/transferblocks"}, "", Ambiguous},
		{"prefixed, differing in s", []string{"ebl-transferblock=" + good, "ebl-transferblock=https://api.bank.example/v1/transferblock"}, "", Ambiguous},
		{"two bare hosts", []string{"a.example/v1/transferblocks", "b.example/v1/transferblocks"}, "", Ambiguous},

		{"a good one does not excuse a bad one", []string{"ebl-transferblock=" + good, "ebl-transferblock=http://api.bank.example/v1/transferblocks"}, "", BadRecord},
		{"bad prefixed is not replaced by good bare", []string{"ebl-transferblock=", good}, "", BadRecord},
		{"65 records", make([]string, 65), "", BadRecord},
		{"a record above 4 KiB", []string{"ebl-transferblock=" + good, strings.Repeat("x", 4097)}, "", BadRecord},
	}
	for _, bad := range []string{
		"", "https://", "http://h.example/v1/transferblocks", "ftp://h.example/v1/transferblocks", "//h.example/v1/transferblocks",
		"h.example/v1/transferblocks",         // the scheme is part of this form
		"https://192.0.2.1/v1/transferblocks", // IP literals, in their many spellings
		"https://[2001:db8::1]/v1/transferblocks", "https://2130706433/v1/transferblocks", "https://0x7f.1/v1/transferblocks", "https://１２７.０.０.１/v1/transferblocks",
		"https://user@h.example/v1/transferblocks", "https://user:pw@h.example/v1/transferblocks", "https://h.example@evil.example/v1/transferblocks",
		"https://h.example:22/v1/transferblocks", "https://h.example:25/v1/transferblocks", "https://h.example:80/v1/transferblocks", "https://h.example:1023/v1/transferblocks",
		"https://h.example:0/v1/transferblocks", "https://h.example:65536/v1/transferblocks", "https://h.example:/v1/transferblocks", "https://h.example:0443/v1/transferblocks",
		"https://h.example/v1/transferblocks#", "https://h.example/v1/transferblocks?", "https://h.example/x?/v1/transferblocks", "https://h.example/x#/v1/transferblocks",
		"https://h.example/v1/transferblocks ", " https://h.example/v1/transferblocks", "https://h.ex ample/v1/transferblocks", "https://h.example/a b/v1/transferblocks", "https://h.example/v1/transferblocks\n",
		"https://h.example/../v1/transferblocks", "https://h.example/./v1/transferblocks", "https://h.example//v1/transferblocks", "https://h.example/%2e%2e/v1/transferblocks",
		`https://h.example\@evil.example/v1/transferblocks`, `https://h.example\v1/transferblocks`, "https:///v1/transferblocks", "https://h.example/v1/transferblocks/", "https://h.example", "https://h.example/v2/transferblocks",
		"https://h.example／v1/transferblocks", "https://h.example／x/v1/transferblocks", "https://" + strings.Repeat("a", 64) + ".example/v1/transferblocks", "https://" + strings.Repeat("a.", 127) + "example/v1/transferblocks",
		"https://h.example/x://y/v1/transferblocks", "https://h.example,g.example/v1/transferblocks", "https://h.example/v1/transferblocksx", "https://h.examplev1/transferblocks", "https://xn--a.example/v1/transferblocks",
	} {
		tests = append(tests, struct {
			name    string
			records []string
			want    string
			kind    Kind
		}{"prefixed: " + bad, []string{"ebl-transferblock=" + bad}, "", BadRecord})
	}
	for _, bad := range []string{
		"ebl-transferblock", "ebl-transferblock:https://h.example/v1/transferblocks", "ebl-transferblock =https://h.example/v1/transferblocks",
		" ebl-transferblock=https://h.example/v1/transferblocks", `"ebl-transferblock=https://h.example/v1/transferblocks`,
		"http://h.example/v1/transferblocks", "127.0.0.1/v1/transferblocks", "h.example:22/v1/transferblock", "u@h.example/v1/transferblocks", "/v1/transferblocks",
		"see https://h.example/v1/transferblocks", "h.example/../v1/transferblocks", "h.example/v1/transferblocks ", "h.example?/v1/transferblocks",
		"\u200bebl-transferblock=https://h.example/v1/transferblocks", "h.example/v1/transferblocks\u00a0",
	} {
		tests = append(tests, struct {
			name    string
			records []string
			want    string
			kind    Kind
		}{"looks like ours: " + bad, []string{bad, "v=spf1 -all"}, "", BadRecord})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for turn := range max(len(tt.records), 1) { // every rotation: the order plays no part
				records := append(slices.Clone(tt.records[min(turn, len(tt.records)):]), tt.records[:min(turn, len(tt.records))]...)
				u, record, err := ParseTXT(records)
				if got := KindOf(err); got != tt.kind {
					t.Fatalf("ParseTXT(%q): got %v, %v, want kind %v", records, u, err, tt.kind)
				}
				if err != nil {
					continue
				}
				if got := u.String(); got != tt.want {
					t.Errorf("ParseTXT(%q): got %s, want %s", records, got, tt.want)
				}
				if !slices.Contains(records, record) {
					t.Errorf("ParseTXT(%q): the record %q is none of them", records, record)
				}
			}
		})
	}
}

func TestLongRecordDoesNotFloodTheLog(t *testing.T) {
	_, _, err := ParseTXT([]string{"ebl-transferblock=https://h.example/" + strings.Repeat("%", 4000)})
	if KindOf(err) != BadRecord || len(err.Error()) > 400 {
		t.Errorf("got %d bytes of %v error, want a short badRecord", len(fmt.Sprint(err)), KindOf(err))
	}
}

func TestParseEndpoint(t *testing.T) {
	for in, want := range map[string]string{
		"https://api.bank.example:8443/v1/transferblocks": "https://api.bank.example:8443/v1/transferblocks",
		"HTTPS://API.Bank.Example.:443/v1/transferblock":  "https://api.bank.example/v1/transferblock",
		"https://api.bank.example":                        "https://api.bank.example/v1/transferblocks",
		"https://api.bank.example/":                       "https://api.bank.example/v1/transferblocks",
		"https://api.bank.example:22/other":               "https://api.bank.example:22/other", // the operator's own word
		"https://localhost:8443/v1/transferblocks":        "https://localhost:8443/v1/transferblocks",
		"api.bank.example/v1/transferblocks":              "",
		"http://api.bank.example/v1/transferblocks":       "",
		"https://127.0.0.1/v1/transferblocks":             "",
		"https://[::1]:8443/v1/transferblocks":            "",
		"https://u:p@api.bank.example/v1/transferblocks":  "",
		"https://api.bank.example/v1/transferblocks?a=b":  "",
		"https://api.bank.example/v1/transferblocks#f":    "",
		"https://api.bank.example/a/../v1/transferblocks": "",
		"https://api.bank.example?":                       "",
		"":                                                "",
	} {
		u, err := ParseEndpoint(in)
		if want == "" {
			if err == nil {
				t.Errorf("ParseEndpoint(%q): got %v, want an error", in, u)
			}
			continue
		}
		if err != nil || u.String() != want {
			t.Errorf("ParseEndpoint(%q): got %v, %v, want %s", in, u, err, want)
		}
	}
}

func FuzzParseTXT(f *testing.F) {
	for _, s := range []string{
		"ebl-transferblock=https://api.bank.example:8443/v1/transferblocks", "api.bank.example/v1/transferblock\nhttps://api.bank.example/v1/transferblocks",
		"v=spf1 -all", "ebl-transferblock=http://h/v1/transferblocks", "ebl-transferblock=https://bücher.example/v1/transferblocks", "h／x/v1/transferblocks", "\x00",
		"ebl-transferblock=https://h.example\\@evil/v1/transferblocks",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		records := strings.Split(s, "\n")
		u, record, err := ParseTXT(slices.Clone(records))
		slices.Reverse(records)
		again, record2, err2 := ParseTXT(slices.Clone(records))
		if KindOf(err) != KindOf(err2) || record != record2 || err == nil && *u != *again {
			t.Fatalf("ParseTXT(%q) depends on the order: %v, %v and %v, %v", records, u, err, again, err2)
		}
		if err != nil {
			if k := KindOf(err); k != NotFound && k != Ambiguous && k != BadRecord {
				t.Fatalf("ParseTXT(%q): got kind %v", records, k)
			}
			return
		}
		if !slices.Contains(records, record) {
			t.Fatalf("ParseTXT(%q): the record %q is none of them", records, record)
		}
		// The standard library, and whoever reads the URL after us, must see the same place.
		text := u.String()
		std, err := url.Parse(text)
		if err != nil || std.Scheme != "https" || std.User != nil || std.Host != u.Host || std.Path != u.Path || std.RawPath != "" || std.RawQuery != "" || std.ForceQuery || std.Fragment != "" {
			t.Fatalf("ParseTXT(%q): %q reads as %#v, %v", records, text, std, err)
		}
		if h, err := identity.ParseHost(u.Host); err != nil || h.String() != u.Host || h.Port != 0 && h.Port < 1024 {
			t.Fatalf("ParseTXT(%q): host %q: %v, %v", records, u.Host, h, err)
		}
		if !strings.HasSuffix(u.Path, pathPlural) && !strings.HasSuffix(u.Path, pathSingle) || strings.Contains(u.Path, "/../") || strings.Contains(u.Path, "//") {
			t.Fatalf("ParseTXT(%q): path %q", records, u.Path)
		}
		same, _, err := ParseTXT([]string{"ebl-transferblock=" + text})
		if err != nil || *same != *u {
			t.Fatalf("ParseTXT of its own result %q: got %v, %v", text, same, err)
		}
		if own, err := ParseEndpoint(text); err != nil || *own != *u {
			t.Fatalf("ParseEndpoint(%q): got %v, %v", text, own, err)
		}
	})
}
