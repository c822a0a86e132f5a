package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"
)

// day0 is the time at which the tests take place.
var day0 = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

const day = 24 * time.Hour

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func ecKey(t testing.TB, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// rsaKey is one key for all tests: making one is slow.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func TestParseAlgIsAClosedList(t *testing.T) {
	want := map[string]crypto.Hash{
		"RS256": crypto.SHA256, "RS384": crypto.SHA384, "RS512": crypto.SHA512,
		"PS256": crypto.SHA256, "PS384": crypto.SHA384, "PS512": crypto.SHA512,
		"ES256": crypto.SHA256, "ES384": crypto.SHA384, "ES512": crypto.SHA512,
	}
	for name, hash := range want {
		a, err := ParseAlg(name)
		if err != nil || string(a) != name || a.Hash() != hash || !a.Hash().Available() {
			t.Errorf("ParseAlg(%q): got %q, %v, hash %v", name, a, err, a.Hash())
		}
	}
	for _, name := range []string{"", "none", "None", "NONE", "HS256", "HS384", "HS512", "EdDSA", "ES256K", "rs256", "Es256",
		"RS256 ", "RS1", "RSA-OAEP", "ES521", "PS256\x00", strings.Repeat("A", 1<<20)} {
		a, err := ParseAlg(name)
		if err == nil {
			t.Errorf("ParseAlg(%.20q): got %q, want an error", name, a)
		} else if len(err.Error()) > 300 {
			t.Errorf("ParseAlg(%.20q): the error has %d bytes", name, len(err.Error()))
		}
	}
}

func TestKeyFitsOnlyItsTypeCurveAndAlg(t *testing.T) {
	all := []Alg{RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, "", "none", "HS256", "EdDSA"}
	for name, c := range map[string]struct {
		key  Key
		want []Alg
	}{
		"RSA":           {Key{Public: &rsaKey().PublicKey}, []Alg{RS256, RS384, RS512, PS256, PS384, PS512}},
		"RSA for PS256": {Key{Public: &rsaKey().PublicKey, Alg: PS256}, []Alg{PS256}},
		"P-256":         {Key{Public: &ecKey(t, elliptic.P256()).PublicKey}, []Alg{ES256}},
		"P-384":         {Key{Public: &ecKey(t, elliptic.P384()).PublicKey}, []Alg{ES384}},
		"P-521":         {Key{Public: &ecKey(t, elliptic.P521()).PublicKey}, []Alg{ES512}},
		"P-256, ES384":  {Key{Public: &ecKey(t, elliptic.P256()).PublicKey, Alg: ES384}, nil},
		"P-224":         {Key{Public: &ecKey(t, elliptic.P224()).PublicKey}, nil},
		"Ed25519":       {Key{Public: ed25519.PublicKey(make([]byte, 32))}, nil},
		"HMAC":          {Key{Public: []byte("secret")}, nil},
		"nothing":       {Key{}, nil},
	} {
		var got []Alg
		for _, a := range all {
			if c.key.Fits(a) {
				got = append(got, a)
			}
		}
		if strings.Join(strs(got), " ") != strings.Join(strs(c.want), " ") {
			t.Errorf("%s fits: got %v, want %v", name, got, c.want)
		}
	}
}

func strs(as []Alg) (out []string) {
	for _, a := range as {
		out = append(out, string(a))
	}
	return out
}

func TestKeyValidAt(t *testing.T) {
	from, to := day0, day0.Add(day)
	for _, c := range []struct {
		name     string
		from, to time.Time
		at       time.Time
		want     bool
	}{
		{"open", time.Time{}, time.Time{}, day0, true},
		{"first moment", from, to, from, true},
		{"last moment", from, to, to, true},
		{"before", from, to, from.Add(-1), false},
		{"after", from, to, to.Add(1), false},
		{"open start", time.Time{}, to, from.Add(-1000 * day), true},
		{"open end", from, time.Time{}, to.Add(1000 * day), true},
		{"other zone", from, to, from.In(time.FixedZone("", 7200)), true},
	} {
		k := Key{NotBefore: c.from, NotAfter: c.to, Revoked: day0, Reason: "superseded"}
		if got := k.ValidAt(c.at); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestOnlyKeyCompromiseIsCompromised(t *testing.T) {
	for _, r := range append([]string{"", "KeyCompromise"}, reasons...) {
		if got, want := (&Key{Revoked: day0, Reason: r}).Compromised(), r == "keyCompromise"; got != want {
			t.Errorf("reason %q: got %v, want %v", r, got, want)
		}
	}
}

// The key and thumbprint of RFC 7638, section 3.1.
const (
	rfc7638Key = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	rfc7638Sum = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
)

func TestThumbprintOfRFC7638(t *testing.T) {
	p := parseOne(t, `{"domain":"bank.example","quirks":{"bareKey":true},"keys":{"keys":[`+rfc7638Key+`]}}`)
	if got := KeyID(p.Keys[0].Public); got != rfc7638Sum {
		t.Errorf("got %s, want %s", got, rfc7638Sum)
	}
	if got, want := p.Keys[0].Fingerprint(), "3736 cbb1"; !strings.HasPrefix(got, want) || len(got) != 16*5-1 {
		t.Errorf("fingerprint: got %q, want it to begin with %q", got, want)
	}
}

// The thumbprint is over coordinates in full length, also where one begins with
// a zero byte.
func TestThumbprintKeepsLeadingZeros(t *testing.T) {
	for i := 0; ; i++ {
		if i == 20000 {
			t.Fatal("no key with a zero in front was found")
		}
		k := ecKey(t, elliptic.P256())
		point := must(k.PublicKey.Bytes())
		if point[1] != 0 {
			continue
		}
		m, _ := jwkMembers(&k.PublicKey)
		if len(m.X) != 43 || len(m.Y) != 43 || m.X[0] != 'A' {
			t.Errorf("x: got %q", m.X)
		}
		pub, err := decodePublic(m)
		if err != nil || !samePublic(pub, &k.PublicKey) || KeyID(pub) != KeyID(&k.PublicKey) {
			t.Errorf("read back: got %v, %v", pub, err)
		}
		return
	}
}

func TestThumbprintOfOtherKeysIsZero(t *testing.T) {
	for _, pub := range []crypto.PublicKey{nil, []byte("x"), ed25519.PublicKey(make([]byte, 32)), (*rsa.PublicKey)(nil), &rsa.PublicKey{}, (*ecdsa.PublicKey)(nil), &ecdsa.PublicKey{}} {
		if id, sum := KeyID(pub), (&Key{Public: pub}).Thumbprint(); id != "" || sum != ([32]byte{}) {
			t.Errorf("%T: got %q, %x", pub, id, sum)
		}
	}
}

func TestNewKeyChecksItsChain(t *testing.T) {
	bank := host(t, "bank.example")
	ca := newCA(t, "Test CA")
	priv := ecKey(t, elliptic.P256())
	leaf := ca.issue(t, priv, leafTemplate("bank.example"))
	k, err := NewKey(bank, "", leaf, ca.cert)
	if err != nil {
		t.Fatal(err)
	}
	if k.ID != KeyID(&priv.PublicKey) || k.Platform != bank || !k.NotBefore.Equal(leaf.NotBefore) || !k.NotAfter.Equal(leaf.NotAfter) || len(k.Certificates) != 2 {
		t.Errorf("got %+v", k)
	}
	if k, err := NewKey(bank, "2026-1", leaf); err != nil || k.ID != "2026-1" {
		t.Errorf("got %v, %v", k, err)
	}
	for name, c := range map[string]struct {
		id    string
		chain []*x509.Certificate
	}{
		"no certificate": {"", nil},
		"kid with space": {"a b", []*x509.Certificate{leaf}},
		"foreign issuer": {"", []*x509.Certificate{leaf, newCA(t, "Test CA").cert}},
		"wrong order":    {"", []*x509.Certificate{ca.cert, leaf}},
	} {
		if _, err := NewKey(bank, c.id, c.chain...); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestJWKTellsThatAKeyIsOldOrRevoked(t *testing.T) {
	s := newSigner(t, "bank.example", ES256)
	k := *s.Key
	k.Revoked, k.Reason = day0, "superseded"
	text, err := k.JWK()
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"kty", "crv", "x", "y", "kid", "use", "alg", "x5c", "notBefore", "notAfter", "revoked", "reason"} {
		if got[name] == nil {
			t.Errorf("%s is missing: %s", name, text)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("further members: %v", got)
	}
	if _, err := (&Key{}).JWK(); err == nil {
		t.Error("a key that is none was written")
	}
	if bytes.Contains(text, []byte(`"d"`)) {
		t.Error("a private member")
	}
}
