package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"
)

// authority is a certificate authority of the tests.
type authority struct {
	cert *x509.Certificate
	priv crypto.Signer
}

func newCA(t testing.TB, name string) *authority {
	t.Helper()
	priv := ecKey(t, elliptic.P256())
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: day0.Add(-1000 * day), NotAfter: day0.Add(3000 * day),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}
	return &authority{mint(t, tmpl, tmpl, &priv.PublicKey, priv), priv}
}

func (a *authority) issue(t testing.TB, priv crypto.Signer, tmpl *x509.Certificate) *x509.Certificate {
	t.Helper()
	return mint(t, tmpl, a.cert, priv.Public(), a.priv)
}

func (a *authority) sub(t testing.TB, name string) *authority {
	t.Helper()
	priv := ecKey(t, elliptic.P256())
	return &authority{a.issue(t, priv, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: day0.Add(-1000 * day), NotAfter: day0.Add(2000 * day),
		KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true,
	}), priv}
}

func leafTemplate(names ...string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "leaf"}, DNSNames: names,
		NotBefore: day0.Add(-30 * day), NotAfter: day0.Add(300 * day),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
}

func mint(t testing.TB, tmpl, parent *x509.Certificate, pub crypto.PublicKey, priv crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, priv)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// selfSign makes a self-signed leaf, after change.
func selfSign(t testing.TB, priv crypto.Signer, change func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	tmpl := leafTemplate("bank.example")
	if change != nil {
		change(tmpl)
	}
	return mint(t, tmpl, tmpl, priv.Public(), priv)
}

// rule is the rule of a policy error, or what else went wrong.
func rule(err error) string {
	var p *PolicyError
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &p):
		return p.Rule
	}
	return "other: " + err.Error()
}

func TestCheckPolicyNamesItsRule(t *testing.T) {
	ec := ecKey(t, elliptic.P256())
	edPub, edPriv, _ := ed25519.GenerateKey(rand.Reader)
	rsa1024 := must(rsa.GenerateKey(rand.Reader, 1024))
	lasting := func(d time.Duration) func(*x509.Certificate) {
		return func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(d) }
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		want string
	}{
		"P-256":                 {selfSign(t, ec, nil), "none"},
		"P-384":                 {selfSign(t, ecKey(t, elliptic.P384()), nil), "none"},
		"P-521":                 {selfSign(t, ecKey(t, elliptic.P521()), nil), "none"},
		"RSA-2048":              {selfSign(t, rsaKey(), nil), "none"},
		"RSA-PSS":               {selfSign(t, rsaKey(), func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA384WithRSAPSS }), "none"},
		"RSA-1024":              {selfSign(t, rsa1024, nil), RuleKeySize},
		"P-224":                 {selfSign(t, ecKey(t, elliptic.P224()), nil), RuleKeyType},
		"Ed25519":               {selfSign(t, edPriv, nil), RuleKeyType},
		"731 days":              {selfSign(t, ec, lasting(731*day)), "none"},
		"731 days and 1 s":      {selfSign(t, ec, lasting(731*day+time.Second)), "none"},
		"731 days and 2 s":      {selfSign(t, ec, lasting(731*day+2*time.Second)), RuleLifetime},
		"five years":            {selfSign(t, ec, lasting(5*365*day)), RuleLifetime},
		"ends before it begins": {selfSign(t, ec, lasting(-time.Second)), RuleLifetime},
		"begins in 1969": {selfSign(t, ec, func(c *x509.Certificate) {
			c.NotBefore = time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)
			c.NotAfter = c.NotBefore.Add(day)
		}), RuleLifetime},
		"unknown critical extension": {selfSign(t, ec, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
		}), RuleExtensions},
		"signed by Ed25519": {mint(t, leafTemplate("a.example"), &x509.Certificate{Subject: pkix.Name{CommonName: "ca"}, PublicKey: edPub}, &ec.PublicKey, edPriv), RuleSignature},
		"signed with SHA-1": {withAlgorithm(selfSign(t, ec, nil), x509.ECDSAWithSHA1), RuleSignature},
		"signed with MD5":   {withAlgorithm(selfSign(t, ec, nil), x509.MD5WithRSA), RuleSignature},
		"signed with ?":     {withAlgorithm(selfSign(t, ec, nil), x509.UnknownSignatureAlgorithm), RuleSignature},
	} {
		if got := rule(CheckPolicy(c.cert)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

// withAlgorithm gives a parsed certificate another signature algorithm: Go no
// longer makes weak signatures.
func withAlgorithm(c *x509.Certificate, a x509.SignatureAlgorithm) *x509.Certificate {
	x := *c
	x.SignatureAlgorithm = a
	return &x
}

func TestKeySizePolicyHoldsForBareKeys(t *testing.T) {
	n := func(bits uint) *big.Int { // odd, of that many bits
		x := new(big.Int).Lsh(big.NewInt(1), bits-1)
		return x.SetBit(x, 0, 1)
	}
	good := n(2048)
	for name, c := range map[string]struct {
		pub  crypto.PublicKey
		want string
	}{
		"RSA-2048":          {&rsa.PublicKey{N: good, E: 65537}, "none"},
		"RSA-8192":          {&rsa.PublicKey{N: n(8192), E: 65537}, "none"},
		"e just below 2^31": {&rsa.PublicKey{N: good, E: 1<<31 - 1}, "none"},
		"RSA-2047":          {&rsa.PublicKey{N: n(2047), E: 65537}, RuleKeySize},
		"RSA-8193":          {&rsa.PublicKey{N: n(8193), E: 65537}, RuleKeySize},
		"RSA-65536":         {&rsa.PublicKey{N: n(65536), E: 65537}, RuleKeySize},
		"e = 1":             {&rsa.PublicKey{N: good, E: 1}, RuleExponent},
		"e = 3":             {&rsa.PublicKey{N: good, E: 3}, RuleExponent},
		"e = 65536":         {&rsa.PublicKey{N: good, E: 65536}, RuleExponent},
		"e even":            {&rsa.PublicKey{N: good, E: 65538}, RuleExponent},
		"e = 2^31 + 1":      {&rsa.PublicKey{N: good, E: 1<<31 + 1}, RuleExponent},
		"e negative":        {&rsa.PublicKey{N: good, E: -65537}, RuleExponent},
		"n even":            {&rsa.PublicKey{N: new(big.Int).Add(good, big.NewInt(1)), E: 65537}, RuleKeyType},
		"n negative":        {&rsa.PublicKey{N: new(big.Int).Neg(good), E: 65537}, RuleKeyType},
		"no n":              {&rsa.PublicKey{E: 65537}, RuleKeyType},
		"nil RSA":           {(*rsa.PublicKey)(nil), RuleKeyType},
		"nil EC":            {(*ecdsa.PublicKey)(nil), RuleKeyType},
		"EC without curve":  {&ecdsa.PublicKey{}, RuleKeyType},
		//lint:ignore SA1019 only the raw coordinates can hold what a hostile key says
		"off the curve": {&ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)}, RuleKeyType},
		//lint:ignore SA1019 only the raw coordinates can hold what a hostile key says
		"infinity": {&ecdsa.PublicKey{Curve: elliptic.P256(), X: new(big.Int), Y: new(big.Int)}, RuleKeyType},
		"HMAC":     {[]byte("secret"), RuleKeyType},
		"nothing":  {nil, RuleKeyType},
	} {
		if got := rule(checkPublic(c.pub)); got != c.want {
			t.Errorf("%s: got %s, want %s", name, got, c.want)
		}
	}
}

func TestPolicyErrorSaysWhy(t *testing.T) {
	err := CheckPolicy(selfSign(t, must(rsa.GenerateKey(rand.Reader, 1024)), nil))
	if got, want := err.Error(), "certificate policy: the RSA key has 1024 bits, not 2048 to 8192"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
