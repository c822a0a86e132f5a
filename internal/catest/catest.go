// Package catest is a certificate authority for tests, with an OCSP responder that
// misbehaves as it is told to. Its answers are encoded here and not by the library that
// reads them, since they must be able to say what no library writes.
package catest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"testing"
	"time"
)

// An Authority signs certificates, and OCSP answers about them.
type Authority struct {
	Cert *x509.Certificate
	Key  crypto.Signer
	// Path is what leads from its leaves to the root: its own certificate first, without
	// the root.
	Path []*x509.Certificate
}

// Edit changes a template before it is signed.
type Edit = func(*x509.Certificate)

const day = 24 * time.Hour

// New makes a root.
func New(t testing.TB, name string, edits ...Edit) *Authority {
	t.Helper()
	return NewOf(t, name, NewKey(t), edits...)
}

// NewOf makes a root of this key.
func NewOf(t testing.TB, name string, key crypto.Signer, edits ...Edit) *Authority {
	t.Helper()
	tmpl := authorityTemplate(t, name, edits)
	return &Authority{Cert: create(t, tmpl, tmpl, key, key), Key: key}
}

// Sub makes an authority below a.
func (a *Authority) Sub(t testing.TB, name string, edits ...Edit) *Authority {
	t.Helper()
	return a.SubOf(t, name, NewKey(t), edits...)
}

// SubOf makes an authority of this key below a.
func (a *Authority) SubOf(t testing.TB, name string, key crypto.Signer, edits ...Edit) *Authority {
	t.Helper()
	c := create(t, authorityTemplate(t, name, edits), a.Cert, key, a.Key)
	return &Authority{Cert: c, Key: key, Path: append([]*x509.Certificate{c}, a.Path...)}
}

// Delegate is a responder that a lets speak for it: id-kp-OCSPSigning and ocsp-nocheck.
func (a *Authority) Delegate(t testing.TB, edits ...Edit) *Authority {
	t.Helper()
	key := NewKey(t)
	c := a.Issue(t, key, append([]Edit{func(c *x509.Certificate) {
		c.Subject.CommonName, c.DNSNames = "responder", nil
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
	}}, edits...)...)
	return &Authority{Cert: c, Key: key}
}

// Issue makes a leaf for key, good for signing documents in the name of no platform yet.
func (a *Authority) Issue(t testing.TB, key crypto.Signer, edits ...Edit) *x509.Certificate {
	t.Helper()
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: "leaf"},
		NotBefore: now.Add(-30 * day), NotAfter: now.Add(300 * day), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	for _, e := range edits {
		e(tmpl)
	}
	return create(t, tmpl, a.Cert, key, a.Key)
}

// Names puts DNS names into a certificate.
func Names(names ...string) Edit {
	return func(c *x509.Certificate) { c.DNSNames = names }
}

// Responder puts the URL of an OCSP responder into a certificate.
func Responder(url string) Edit {
	return func(c *x509.Certificate) { c.OCSPServer = []string{url} }
}

// TLS makes a certificate one for both sides of a connection.
func TLS(c *x509.Certificate) {
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
}

// Valid sets from when to when.
func Valid(from, to time.Time) Edit {
	return func(c *x509.Certificate) { c.NotBefore, c.NotAfter = from, to }
}

// NewKey makes a key on P-256.
func NewKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// PEM writes certificates, one after the other.
func PEM(certs ...*x509.Certificate) string {
	var out []byte
	for _, c := range certs {
		out = append(out, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})...)
	}
	return string(out)
}

func authorityTemplate(t testing.TB, name string, edits []Edit) *x509.Certificate {
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-4000 * day), NotAfter: now.Add(4000 * day),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, BasicConstraintsValid: true, IsCA: true,
	}
	for _, e := range edits {
		e(tmpl)
	}
	return tmpl
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		t.Fatal(err)
	}
	return n.Add(n, big.NewInt(1))
}

func create(t testing.TB, tmpl, parent *x509.Certificate, key, by crypto.Signer) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
