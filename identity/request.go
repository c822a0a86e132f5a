package identity

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// MaxClientLifetime is how long the certificates live that we sign for peers, at most: the
// one year of the banks' paper on securing APIs.
const MaxClientLifetime = 365 * 24 * time.Hour

// NewRequest makes a certificate signing request (PKCS #10) in PEM form, with the names as
// SAN: what an authority needs to certify priv's key as ours.
func NewRequest(priv crypto.Signer, subject string, names []string) ([]byte, error) {
	if err := checkPublic(priv.Public()); err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	tmpl := &x509.CertificateRequest{Subject: pkix.Name{CommonName: subject}, DNSNames: names}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, priv)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// ParseRequest reads one certificate signing request in PEM form. Whoever made it holds
// the private key (its signature says so), the key meets the policy, and the request names
// platform's domain and no host that is not platform's: a certificate with a name more
// would prove a second platform. The error may be a *PolicyError.
func ParseRequest(text []byte, platform *Platform) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST" {
		return nil, errors.New("reading a certificate request: not one in PEM form")
	}
	if more, _ := pem.Decode(rest); more != nil {
		return nil, errors.New("reading a certificate request: more than one PEM block")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading a certificate request: %w", err)
	}
	if err := checkPublic(r.PublicKey); err != nil {
		return nil, fmt.Errorf("reading a certificate request: %w", err)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("reading a certificate request: its signature is not by the key in it: %w", err)
	}
	if len(r.IPAddresses)+len(r.URIs)+len(r.EmailAddresses) > 0 {
		return nil, errors.New("reading a certificate request: it asks for names that are not DNS names")
	}
	if !slices.Contains(r.DNSNames, platform.Domain.Name) {
		return nil, fmt.Errorf("reading a certificate request: it does not name %s", platform.Domain.Name)
	}
	for _, name := range r.DNSNames {
		if !slices.Contains(platform.names(), name) {
			return nil, fmt.Errorf("reading a certificate request: it names %q, which is not a host of %s", clip(name), platform.Domain)
		}
	}
	return r, nil
}

// An Authority signs client certificates for our peers, and nothing else: a path ends one
// step below it.
type Authority struct {
	Certificate *x509.Certificate
	priv        crypto.Signer
}

// NewAuthority makes the certificate of an authority for priv's key, signed by itself.
func NewAuthority(priv crypto.Signer, subject string, from, to time.Time) (*Authority, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("making an authority: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: subject}, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		return nil, fmt.Errorf("making an authority: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making an authority: %w", err)
	}
	return OpenAuthority(c, priv)
}

// OpenAuthority joins the certificate of an authority with its private key.
func OpenAuthority(c *x509.Certificate, priv crypto.Signer) (*Authority, error) {
	if !c.BasicConstraintsValid || !c.IsCA {
		return nil, errors.New("opening an authority: its certificate is not one of an authority")
	}
	if err := checkAnchor(c); err != nil {
		return nil, fmt.Errorf("opening an authority: %w", err)
	}
	if !samePublic(c.PublicKey, priv.Public()) {
		return nil, errors.New("opening an authority: the private key is not that of the certificate")
	}
	return &Authority{Certificate: c, priv: priv}, nil
}

// Sign makes the client certificate that a request of [ParseRequest] asks for. It holds the
// names of the request and nothing else of what that asks for: the usages are ours to say.
// One that would live longer than [MaxClientLifetime] or than the authority is an error.
func (a *Authority) Sign(r *x509.CertificateRequest, from, to time.Time) (*x509.Certificate, error) {
	if to.Sub(from) > MaxClientLifetime {
		return nil, fmt.Errorf("signing a client certificate: more than %d days", int(MaxClientLifetime/(24*time.Hour)))
	}
	if !to.After(from) || from.Before(a.Certificate.NotBefore) || to.After(a.Certificate.NotAfter) {
		return nil, fmt.Errorf("signing a client certificate: from %s to %s is not within the authority's own time", from.UTC().Format(time.DateOnly), to.UTC().Format(time.DateOnly))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("signing a client certificate: %w", err)
	}
	subject := pkix.Name{}
	if name := r.DNSNames[0]; len(name) <= 64 { // ub-common-name of RFC 5280
		subject.CommonName = name
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: subject, DNSNames: r.DNSNames, NotBefore: from, NotAfter: to,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.Certificate, r.PublicKey, a.priv)
	if err != nil {
		return nil, fmt.Errorf("signing a client certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err == nil {
		err = CheckPolicy(c)
	}
	if err != nil {
		return nil, fmt.Errorf("signing a client certificate: %w", err)
	}
	return c, nil
}

func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	return serial.Add(serial, big.NewInt(1)), nil // RFC 5280: positive
}
