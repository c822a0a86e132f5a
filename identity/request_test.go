package identity

import (
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net"
	"strings"
	"testing"
	"time"
)

// TestOurAuthoritySignsOnlyWhatItShould: a certificate of our authority proves the peer on
// a connection to us, for a year, and nothing else.
func TestOurAuthoritySignsOnlyWhatItShould(t *testing.T) {
	bank, _ := ParseHost("bank.example")
	api, _ := ParseHost("api.bank.example")
	p := &Platform{Domain: bank, Hosts: []Host{api}}
	caKey, key := ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	ca, err := NewAuthority(caKey, "carrier.example peers", day0.Add(-day), day0.Add(3650*day))
	if err != nil {
		t.Fatal(err)
	}
	request, err := NewRequest(key, "bank.example", []string{"bank.example", "api.bank.example"})
	if err != nil {
		t.Fatal(err)
	}
	r, err := ParseRequest(request, p)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Sign(r, day0, day0.Add(MaxClientLifetime))
	if err != nil {
		t.Fatal(err)
	}
	// By the authority, by the pin, by both; as a client and not as a server.
	for name, id := range map[string]TLSIdentity{
		"anchor": {Anchors: []*x509.Certificate{ca.Certificate}},
		"pin":    {Pins: [][32]byte{SPKIPin(cert)}},
		"both":   {Pins: [][32]byte{SPKIPin(cert)}, Anchors: []*x509.Certificate{ca.Certificate}},
	} {
		p := &Platform{Domain: bank, TLS: id}
		if err := p.CheckTLS([]*x509.Certificate{cert, ca.Certificate}, ClientAuth, day0.Add(day)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := p.CheckTLS([]*x509.Certificate{cert}, ServerAuth, day0.Add(day)); err == nil {
			t.Errorf("%s: it serves as a server", name)
		}
		if err := p.CheckTLS([]*x509.Certificate{cert}, ClientAuth, day0.Add(366*day)); err == nil {
			t.Errorf("%s: it is good after a year", name)
		}
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("got CA %t, key usage %d, want a leaf that signs handshakes", cert.IsCA, cert.KeyUsage)
	}
	if ca.Certificate.MaxPathLen != 0 || !ca.Certificate.MaxPathLenZero {
		t.Error("our authority could certify other authorities")
	}
	// What it certified cannot certify others in its name.
	thief := &Authority{Certificate: cert, priv: key}
	forged, err := thief.Sign(r, day0, day0.Add(day))
	if err == nil {
		p := &Platform{Domain: bank, TLS: TLSIdentity{Anchors: []*x509.Certificate{ca.Certificate}}}
		if err := p.CheckTLS([]*x509.Certificate{forged, cert, ca.Certificate}, ClientAuth, day0.Add(time.Hour)); err == nil {
			t.Error("a peer's certificate certified another one")
		}
	}
	for name, times := range map[string][2]time.Time{
		"a day over a year":     {day0, day0.Add(MaxClientLifetime + time.Second)},
		"backwards":             {day0, day0.Add(-time.Hour)},
		"before the authority":  {day0.Add(-2 * day), day0},
		"longer than authority": {day0.Add(3600 * day), day0.Add(3651 * day)},
	} {
		if _, err := ca.Sign(r, times[0], times[1]); err == nil {
			t.Errorf("%s: it was signed", name)
		}
	}
	if _, err := OpenAuthority(cert, key); err == nil {
		t.Error("a leaf was opened as an authority")
	}
	if _, err := OpenAuthority(ca.Certificate, key); err == nil {
		t.Error("an authority was opened with another key")
	}
}

// TestRequestsThatAreNotSigned: names of others, other kinds of names, weak keys, requests
// that somebody else made for a key.
func TestRequestsThatAreNotSigned(t *testing.T) {
	bank, _ := ParseHost("bank.example")
	p := &Platform{Domain: bank}
	key := ecKey(t, elliptic.P256())
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	make := func(tmpl *x509.CertificateRequest, priv any) []byte {
		der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, priv)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
	good := make(&x509.CertificateRequest{DNSNames: []string{"bank.example"}}, key)
	block, _ := pem.Decode(good)
	damaged := append([]byte(nil), block.Bytes...)
	damaged[len(damaged)-1] ^= 1
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"another platform":  {make(&x509.CertificateRequest{DNSNames: []string{"thief.example"}}, key), "does not name bank.example"},
		"one name too many": {make(&x509.CertificateRequest{DNSNames: []string{"bank.example", "thief.example"}}, key), "is not a host of"},
		"a wildcard":        {make(&x509.CertificateRequest{DNSNames: []string{"bank.example", "*.bank.example"}}, key), "is not a host of"},
		"an address":        {make(&x509.CertificateRequest{DNSNames: []string{"bank.example"}, IPAddresses: []net.IP{{127, 0, 0, 1}}}, key), "not DNS names"},
		"no name":           {make(&x509.CertificateRequest{}, key), "does not name"},
		"a weak key":        {make(&x509.CertificateRequest{DNSNames: []string{"bank.example"}}, weak), "1024 bits"},
		"another signature": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: damaged}), "not by the key in it"},
		"two requests":      {append(good, good...), "more than one"},
		"a certificate":     {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "not one in PEM form"},
		"nothing":           {nil, "not one in PEM form"},
	} {
		if _, err := ParseRequest(c.text, p); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := ParseRequest(good, p); err != nil {
		t.Errorf("the good one: %v", err)
	}
}
