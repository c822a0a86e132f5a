package envelope_test

import (
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

func jwtSigner(t testing.TB) *identity.Signer {
	t.Helper()
	host, err := identity.ParseHost("a.example")
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.GenerateSigner(host, identity.ES256, identity.CertificateSpec{Subject: "a", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestUpToSecond(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 7, 0, time.UTC)
	for _, c := range [][2]time.Duration{{0, 0}, {1, time.Second}, {999_999_999, time.Second}, {time.Second, time.Second}} {
		if got := envelope.UpToSecond(at.Add(c[0])); !got.Equal(at.Add(c[1])) {
			t.Errorf("%s after a second: got %s, want %s", c[0], got, at.Add(c[1]))
		}
	}
}

func TestClaimsAreReadStrictly(t *testing.T) {
	s := jwtSigner(t)
	for _, c := range []struct {
		name   string
		claims map[string]any
		ok     bool
	}{
		{"all", map[string]any{"iss": "a", "sub": "b", "aud": "c", "jti": "d", "exp": 1.5, "nbf": 1, "iat": 2, "scope": "x y", "client_id": "e", "obo": "f", "uid": "g",
			"cnf": map[string]any{"x5t#S256": "h", "jkt": "i"}, "other": map[string]any{"x": 1}}, true},
		{"lists", map[string]any{"aud": []string{"c", "d"}, "scope": []string{"x", "y"}}, true},
		{"nulls", map[string]any{"aud": nil, "exp": nil, "iss": nil, "cnf": nil, "scope": nil}, true},
		{"nothing", map[string]any{}, true},
		{"iss a number", map[string]any{"iss": 1}, false},
		{"aud a number", map[string]any{"aud": 1}, false},
		{"aud a list with a number", map[string]any{"aud": []any{"a", 1}}, false},
		{"exp a string", map[string]any{"exp": "1"}, false},
		{"exp negative", map[string]any{"exp": -1}, false},
		{"exp beyond all time", map[string]any{"exp": 1e18}, false},
		{"cnf a string", map[string]any{"cnf": "x"}, false},
		{"scope an object", map[string]any{"scope": map[string]any{}}, false},
		{"jti a list", map[string]any{"jti": []string{"x"}}, false},
	} {
		text, err := envelope.SignJWT("JWT", c.claims, s)
		if err != nil {
			t.Fatal(err)
		}
		j, err := envelope.ParseJWT(text)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v", c.name, err)
		}
		if c.name == "all" {
			k := j.Claims
			if k.Issuer != "a" || k.Subject != "b" || k.ID != "d" || !k.OneAudience || k.Audience[0] != "c" || k.Expires.Unix() != 1 || len(k.Scope) != 2 ||
				k.ClientID != "e" || k.OnBehalfOf != "f" || k.UserID != "g" || k.Certificate != "h" {
				t.Errorf("got %+v", k)
			}
		}
	}
	if _, err := envelope.ParseJWT(strings.Repeat("a", envelope.MaxJWT+1)); err == nil {
		t.Error("a token over the limit was read")
	}
}

// A token is none of our other statements: not a receipt, whatever its payload.
func TestTokenIsNoReceipt(t *testing.T) {
	s := jwtSigner(t)
	p := &identity.Platform{Domain: s.Key.Platform, Keys: []*identity.Key{s.Key}}
	h := envelope.HashOf([]byte("x"))
	text, err := envelope.SignReceipt(h, s, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := envelope.OpenReceipt([]byte(text), h, p, time.Now()); err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{envelope.TypAssertion, envelope.TypAccess} {
		token, err := envelope.SignAnything([]byte(h.String()), s, typ)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := envelope.OpenReceipt([]byte(token), h, p, time.Now()); err == nil {
			t.Errorf("a %s was taken for a receipt", typ)
		}
	}
}

// FuzzParseJWT: what is read has one spelling, and never panics.
func FuzzParseJWT(f *testing.F) {
	s := jwtSigner(f)
	for _, claims := range []map[string]any{{}, {"iss": "a", "aud": []string{"b"}, "exp": 9}, {"scope": "x", "cnf": map[string]any{"x5t#S256": "y"}}} {
		text, err := envelope.SignJWT("at+jwt", claims, s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		j, err := envelope.ParseJWT(text)
		if err == nil && (j.Raw != text || !strings.HasPrefix(text, j.SigningInput()+".")) {
			t.Errorf("%q was read as %q", text, j.Raw)
		}
	})
}
