package discovery

import (
	"net/http"
	"strings"
	"testing"
)

// TestParseKeysTXT: the place of a platform's keys, for strangers.
func TestParseKeysTXT(t *testing.T) {
	const good = "ebl-keys=https://keys.bank.example:8444"
	for name, c := range map[string]struct {
		records []string
		want    string
		kind    Kind
	}{
		"one":                   {[]string{good}, "https://keys.bank.example:8444", 0},
		"port 443":              {[]string{"ebl-keys=https://Bank.Example.:443/"}, "https://bank.example", 0},
		"another case":          {[]string{"EBL-Keys=HTTPS://bank.example"}, "https://bank.example", 0},
		"the same twice":        {[]string{good, good}, "https://keys.bank.example:8444", 0},
		"beside others":         {[]string{"v=spf1 -all", "ebl-transferblock=https://x.example/v1/transferblocks", good, "ebl-keysx=1"}, "https://keys.bank.example:8444", 0},
		"none":                  {[]string{"v=spf1 -all"}, "", NotFound},
		"nothing":               {nil, "", NotFound},
		"two places":            {[]string{good, "ebl-keys=https://bank.example"}, "", Ambiguous},
		"http":                  {[]string{"ebl-keys=http://bank.example"}, "", BadRecord},
		"no scheme":             {[]string{"ebl-keys=bank.example"}, "", BadRecord},
		"an address":            {[]string{"ebl-keys=https://192.0.2.1"}, "", BadRecord},
		"an IPv6 address":       {[]string{"ebl-keys=https://[2001:db8::1]:8444"}, "", BadRecord},
		"user info":             {[]string{"ebl-keys=https://a@bank.example"}, "", BadRecord},
		"a path":                {[]string{"ebl-keys=https://bank.example/jwks.json"}, "", BadRecord},
		"a query":               {[]string{"ebl-keys=https://bank.example?x"}, "", BadRecord},
		"a mail server":         {[]string{"ebl-keys=https://bank.example:25"}, "", BadRecord},
		"a space":               {[]string{"ebl-keys =https://bank.example"}, "", BadRecord},
		"one good, one damaged": {[]string{good, "ebl-keys="}, "", BadRecord},
		"too long":              {[]string{"ebl-keys=https://" + strings.Repeat("a", 5000)}, "", BadRecord},
		"too many":              {make([]string, 65), "", BadRecord},
	} {
		u, _, err := ParseKeysTXT(c.records)
		if KindOf(err) != c.kind || err == nil && u.String() != c.want || (err == nil) != (c.kind == 0) {
			t.Errorf("%s: got %v, %v, want %q, %v", name, u, err, c.want, c.kind)
		}
	}
}

// TestFetchWantsHTTPS: a document that anybody on the way could have written is not read.
func TestFetchWantsHTTPS(t *testing.T) {
	if _, err := Fetch(t.Context(), http.DefaultTransport, "http://127.0.0.1:1/", 10); err == nil || !strings.Contains(err.Error(), "not https") {
		t.Errorf("got %v, want a refusal", err)
	}
}
