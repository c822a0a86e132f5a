package identity

import (
	"crypto/elliptic"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestKeySetIsReadStrictly: what other libraries take (Wycheproof json_web_key) and what a
// broken or hostile key server could send.
func TestKeySetIsReadStrictly(t *testing.T) {
	bank, _ := ParseHost("bank.example")
	jwk := func(alg Alg, change func(map[string]any)) string {
		s := newSigner(t, "bank.example", alg)
		text, err := s.Key.JWK()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(m)
		}
		if text, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	with := func(name string, value any) func(map[string]any) {
		return func(m map[string]any) { m[name] = value }
	}
	one, two := jwk(ES256, with("kid", "1")), jwk(ES256, with("kid", "2"))
	set := func(keys ...string) string { return `{"keys":[` + strings.Join(keys, ",") + `]}` }
	okp := `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	bare := func(m map[string]any) { delete(m, "x5c") }
	for name, c := range map[string]struct {
		text string
		bare bool
		want string // "" for n keys
		n    int
	}{
		"one key":                       {set(one), false, "", 1},
		"two keys":                      {set(one, two), false, "", 2},
		"members of others":             {`{"keys":[` + one + `],"next":"x"}`, false, "", 1},
		"a key of another kind":         {set(okp, one), false, "", 1},
		"RSA":                           {set(jwk(PS256, nil)), false, "", 1},
		"a revoked one":                 {set(jwk(ES256, func(m map[string]any) { m["revoked"], m["reason"] = "2027-01-01T00:00:00Z", "superseded" })), false, "", 1},
		"a bare key, allowed":           {set(jwk(ES256, bare)), true, "", 1},
		"a bare key":                    {set(jwk(ES256, bare)), false, "keys[0].x5c: missing", 0},
		"a kid twice":                   {set(one, jwk(ES256, with("kid", "1"))), false, `keys[1].kid: "1" names two keys`, 0},
		"a key twice":                   {set(one, strings.Replace(one, `"kid":"1"`, `"kid":"3"`, 1)), false, `keys[1]: the same key as "1"`, 0},
		"two without kid":               {set(jwk(ES256, func(m map[string]any) { delete(m, "kid") }), one), false, "a key without kid", 0},
		"a private EC key":              {set(one, jwk(ES256, with("d", "AAAA"))), false, "keys[1].d: a private or symmetric key", 0},
		"a private RSA key":             {set(jwk(PS256, with("p", "AAAA"))), false, "keys[0].p: a private or symmetric key", 0},
		"a symmetric key":               {set(one, `{"kty":"oct","k":"AAAA"}`), false, "keys[1].k: a private or symmetric key", 0},
		"a symmetric key without k":     {set(`{"kty":"oct"}`), false, "keys[0].kty", 0},
		"a private key of another kind": {set(one, strings.Replace(okp, `"crv"`, `"d":"AAAA","crv"`, 1)), false, "keys[1].d: a private or symmetric key", 0},
		"a key for encryption":          {set(jwk(ES256, with("use", "enc"))), false, "keys[0].use", 0},
		"key_ops without verify":        {set(jwk(ES256, with("key_ops", []string{"encrypt"}))), false, "keys[0].key_ops", 0},
		"an alg that does not fit":      {set(jwk(ES256, with("alg", "ES384"))), false, "keys[0].alg", 0},
		"alg none":                      {set(jwk(ES256, with("alg", "none"))), false, "keys[0].alg", 0},
		"a certificate of another":      {set(jwk(ES256, with("x5c", x5cOf(t, two)))), false, "keys[0].x5c: the certificate is for another key", 0},
		"no kty":                        {set(`{"kid":"1"}`), false, "keys[0].kty", 0},
		"only what is passed over":      {set(okp), false, "no key that we could use", 0},
		"no keys":                       {set(), false, "no key that we could use", 0},
		"no member keys":                {`{}`, false, "keys: missing", 0},
		"keys that is no list":          {`{"keys":{}}`, false, "keys", 0},
		"keys twice":                    {`{"keys":[],"keys":[` + one + `]}`, false, "keys", 0},
		"a name twice in a key":         {set(strings.Replace(one, `"kid":"1"`, `"kid":"1","kid":"2"`, 1)), false, "kid", 0},
		"an array":                      {`[` + one + `]`, false, "a key set is an object", 0},
		"nothing":                       {``, false, "", -1},
		"something behind it":           {set(one) + "x", false, "", -1},
		"too long":                      {set(one) + strings.Repeat(" ", MaxKeySetSize), false, "more than 262144", 0},
		"too many":                      {set(strings.Split(strings.Repeat(okp+"\n", MaxKeys+1), "\n")[:MaxKeys+1]...), false, "keys", 0},
	} {
		keys, err := ParseKeySet([]byte(c.text), bank, c.bare)
		switch {
		case c.want == "" && c.n < 0:
			if err == nil {
				t.Errorf("%s: got %d keys, want an error", name, len(keys))
			}
		case c.want == "" && (err != nil || len(keys) != c.n):
			t.Errorf("%s: got %d keys, %v, want %d", name, len(keys), err, c.n)
		case c.want != "" && (err == nil || keys != nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %d keys, %v, want %q", name, len(keys), err, c.want)
		}
	}
	if _, err := ParseKeySet(fmt.Appendf(nil, `{"keys":[%s]}`, jwk(ES256, func(m map[string]any) {
		m["crv"] = elliptic.P384().Params().Name
	})), bank, false); err == nil {
		t.Error("a P-256 point under the name of P-384 was taken")
	}
}

// x5cOf takes the x5c out of a JWK.
func x5cOf(t *testing.T, jwk string) any {
	t.Helper()
	m := map[string]any{}
	if err := json.Unmarshal([]byte(jwk), &m); err != nil {
		t.Fatal(err)
	}
	return m["x5c"]
}
