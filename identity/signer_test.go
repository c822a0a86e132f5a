package identity

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestNewSigner(t *testing.T) {
	p256, p384 := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384())
	other := ecKey(t, elliptic.P256())
	edPub, edPriv, _ := ed25519.GenerateKey(rand.Reader)
	rsa1024 := must(rsa.GenerateKey(rand.Reader, 1024))
	for _, c := range []struct {
		name string
		key  *Key
		alg  Alg
		priv crypto.Signer
		ok   bool
	}{
		{"ES256", &Key{Public: &p256.PublicKey}, ES256, p256, true},
		{"ES384", &Key{Public: &p384.PublicKey}, ES384, p384, true},
		{"RS256", &Key{Public: &rsaKey().PublicKey}, RS256, rsaKey(), true},
		{"PS512", &Key{Public: &rsaKey().PublicKey}, PS512, rsaKey(), true},
		{"key for one alg", &Key{Public: &rsaKey().PublicKey, Alg: PS256}, PS256, rsaKey(), true},
		{"not the key's alg", &Key{Public: &rsaKey().PublicKey, Alg: PS256}, RS256, rsaKey(), false},
		{"alg of another curve", &Key{Public: &p256.PublicKey}, ES384, p256, false},
		{"alg of another type", &Key{Public: &p256.PublicKey}, RS256, p256, false},
		{"no alg", &Key{Public: &p256.PublicKey}, "", p256, false},
		{"alg none", &Key{Public: &p256.PublicKey}, "none", p256, false},
		{"private key of another", &Key{Public: &p256.PublicKey}, ES256, other, false},
		{"private key of another type", &Key{Public: &p256.PublicKey}, ES256, rsaKey(), false},
		{"hardware that names one key and signs with another", &Key{Public: &p256.PublicKey}, ES256, brokenSigner{&p256.PublicKey, other}, false},
		{"hardware that fails", &Key{Public: &rsaKey().PublicKey}, PS256, brokenSigner{&rsaKey().PublicKey, nil}, false},
		{"hardware that signs PKCS #1 for PSS", &Key{Public: &rsaKey().PublicKey}, PS256, pkcs1Signer{rsaKey()}, false},
		{"Ed25519", &Key{Public: edPub}, ES256, edPriv, false},
		{"RSA-1024", &Key{Public: &rsa1024.PublicKey}, RS256, rsa1024, false},
		{"no public key", &Key{}, ES256, p256, false},
		{"no key", nil, ES256, p256, false},
		{"no private key", &Key{Public: &p256.PublicKey}, ES256, nil, false},
	} {
		s, err := NewSigner(c.key, c.alg, c.priv)
		if (err == nil) != c.ok {
			t.Errorf("%s: got %v, want ok %v", c.name, err, c.ok)
		}
		if err == nil && (s.Alg() != c.alg || s.Key != c.key || s.Private() != c.priv) {
			t.Errorf("%s: got %+v", c.name, s)
		}
	}
}

// Before the trial: the key of somebody else is not asked to sign anything.
func TestForeignPrivateKeyIsNotTried(t *testing.T) {
	key := &Key{ID: "2026-1", Public: &ecKey(t, elliptic.P256()).PublicKey}
	_, err := NewSigner(key, ES256, ecKey(t, elliptic.P256()))
	if want := `making a signer: the private key is not that of "2026-1"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// brokenSigner signs with a key that is not the one it names.
type brokenSigner struct {
	pub  crypto.PublicKey
	priv crypto.Signer
}

func (s brokenSigner) Public() crypto.PublicKey { return s.pub }

func (s brokenSigner) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.priv == nil {
		return nil, errors.New("token removed")
	}
	return s.priv.Sign(r, digest, opts)
}

// pkcs1Signer does not know PSS.
type pkcs1Signer struct{ *rsa.PrivateKey }

func (s pkcs1Signer) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.PrivateKey.Sign(r, digest, opts.HashFunc())
}

func TestGenerateSigner(t *testing.T) {
	for _, a := range []Alg{RS256, PS384, ES256, ES384, ES512} {
		s := newSigner(t, "bank.example", a)
		if s.Alg() != a || s.Key.Alg != a || s.Key.ID != KeyID(s.Private().Public()) || len(s.Key.Certificates) != 1 {
			t.Errorf("%s: got %+v", a, s.Key)
		}
		p := &Platform{Domain: s.Key.Platform, Mode: ModePinned, Keys: []*Key{s.Key}}
		text, err := p.JSON()
		if err != nil {
			t.Errorf("%s: %v", a, err)
		} else if again := parseOne(t, string(text)); !reflect.DeepEqual(again, p) {
			t.Errorf("%s: read back: got %+v, want %+v", a, again.Keys[0], s.Key)
		}
	}
	if _, err := GenerateKey("none"); err == nil {
		t.Error("a key for none was made")
	}
	if _, err := GenerateSigner(host(t, "a.example"), "HS256", CertificateSpec{}); err == nil {
		t.Error("a signer for HS256 was made")
	}
	if _, err := GenerateSigner(host(t, "a.example"), ES256, CertificateSpec{}); err == nil {
		t.Error("a signer without subject was made")
	}
}

func TestNewSelfSigned(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	good := CertificateSpec{Subject: "bank.example", Names: []string{"Bank.Example.", "bücher.example"}, NotBefore: day0, NotAfter: day0.Add(365 * day),
		Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	c, err := NewSelfSigned(ec, good)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c.DNSNames, []string{"bank.example", "xn--bcher-kva.example"}) || c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature ||
		c.SerialNumber.Sign() <= 0 || c.Subject.CommonName != "bank.example" || !c.NotAfter.Equal(good.NotAfter) {
		t.Errorf("got %+v", c)
	}
	p := pinnedTo(t, "bank.example", c)
	p.TLS.Anchors = certs(c)
	for _, u := range []Usage{ClientAuth, ServerAuth} {
		if err := p.CheckTLS(certs(c), u, day0); err != nil {
			t.Errorf("%v: %v", u, err)
		}
	}
	if again := parseOne(t, string(must(p.JSON()))); !again.SameAs(p) {
		t.Error("an entry anchored to it is not read back")
	}
	for name, change := range map[string]func(s *CertificateSpec){
		"five years":   func(s *CertificateSpec) { s.NotAfter = day0.Add(5 * 365 * day) },
		"backwards":    func(s *CertificateSpec) { s.NotAfter = day0.Add(-time.Hour) },
		"no times":     func(s *CertificateSpec) { s.NotBefore, s.NotAfter = time.Time{}, time.Time{} },
		"no subject":   func(s *CertificateSpec) { s.Subject = "" },
		"long subject": func(s *CertificateSpec) { s.Subject = strings.Repeat("x", 65) },
		"IP address":   func(s *CertificateSpec) { s.Names = []string{"192.0.2.1"} },
		"wildcard":     func(s *CertificateSpec) { s.Names = []string{"*.example"} },
	} {
		s := good
		change(&s)
		if c, err := NewSelfSigned(ec, s); err == nil {
			t.Errorf("%s: got %v", name, c.DNSNames)
		}
	}
	if _, err := NewSelfSigned(must(rsa.GenerateKey(rand.Reader, 1024)), good); rule(err) != RuleKeySize {
		t.Errorf("RSA-1024: got %v", err)
	}
}

func TestPrivateKeyFiles(t *testing.T) {
	ec := ecKey(t, elliptic.P384())
	sec1 := must(x509.MarshalECPrivateKey(ec))
	block := func(typ string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}) }
	params := block("EC PARAMETERS", []byte{6, 5, 43, 129, 4, 0, 34})
	pkcs8 := func(k any) []byte { return block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(k))) }
	join := func(bs ...[]byte) (out []byte) {
		for _, b := range bs {
			out = append(out, b...)
		}
		return out
	}
	for name, c := range map[string]struct {
		text []byte
		want crypto.Signer
	}{
		"PKCS #8, EC":           {must(MarshalPrivateKey(ec)), ec},
		"PKCS #8, RSA":          {must(MarshalPrivateKey(rsaKey())), rsaKey()},
		"SEC 1":                 {block("EC PRIVATE KEY", sec1), ec},
		"SEC 1 with parameters": {join(params, block("EC PRIVATE KEY", sec1)), ec},
		"PKCS #1":               {block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey())), rsaKey()},
		"line break at the end": {join(pkcs8(ec), []byte("\n \n")), ec},
	} {
		got, err := ParsePrivateKey(c.text)
		if err != nil || !samePublic(got.Public(), c.want.Public()) || !got.(interface{ Equal(crypto.PrivateKey) bool }).Equal(c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, edPriv, _ := ed25519.GenerateKey(rand.Reader)
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte{1}})
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":              {nil, "none"},
		"no PEM":               {[]byte("MIIBsecret"), "not PEM"},
		"text after the end":   {join(pkcs8(ec), []byte("x")), "not PEM"},
		"two keys":             {join(pkcs8(ec), pkcs8(ec)), "more than one"},
		"key and certificate":  {join(pkcs8(ec), []byte(pemOf(selfSign(t, ec, nil)))), "more than one"},
		"certificate":          {[]byte(pemOf(selfSign(t, ec, nil))), "CERTIFICATE"},
		"public key":           {block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&ec.PublicKey))), "PUBLIC KEY"},
		"parameters alone":     {params, "none"},
		"encrypted, PKCS #8":   {block("ENCRYPTED PRIVATE KEY", []byte{1}), "encrypted"},
		"encrypted, old":       {encrypted, "encrypted"},
		"damaged":              {block("PRIVATE KEY", sec1[:20]), "damaged"},
		"SEC 1 called PKCS #1": {block("RSA PRIVATE KEY", sec1), "damaged"},
		"Ed25519":              {pkcs8(edPriv), "certificate policy"},
		"X25519":               {pkcs8(must(ecdh.X25519().GenerateKey(rand.Reader))), "none"},
		"P-224":                {pkcs8(ecKey(t, elliptic.P224())), "certificate policy"},
		"RSA-1024":             {pkcs8(must(rsa.GenerateKey(rand.Reader, 1024))), "certificate policy"},
	} {
		got, err := ParsePrivateKey(c.text)
		if err == nil || got != nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "MIIB") {
			t.Errorf("%s: got %v, want …%s…", name, err, c.want)
		}
	}
	for name, priv := range map[string]crypto.Signer{"hardware": brokenSigner{&ec.PublicKey, ec}, "Ed25519": edPriv, "nil": nil} {
		if _, err := MarshalPrivateKey(priv); err == nil {
			t.Errorf("%s: a private key was written", name)
		}
	}
}
