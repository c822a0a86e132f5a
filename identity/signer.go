package identity

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// A Signer is a key that we can sign with: its public side as peers know it, one
// algorithm, and a [crypto.Signer], which may stand for a key in hardware.
type Signer struct {
	Key  *Key
	alg  Alg
	priv crypto.Signer
}

// NewSigner joins a key with its private half. It refuses an algorithm that does
// not fit and a private key that is another one, and signs once to see: hardware
// that lacks, say, RSA-PSS is better found at the start than at the first
// transfer. Window and revocation are for the caller to look at, when it signs.
func NewSigner(key *Key, alg Alg, priv crypto.Signer) (*Signer, error) {
	if key == nil || priv == nil {
		return nil, errors.New("making a signer: no key")
	}
	if _, err := ParseAlg(string(alg)); err != nil {
		return nil, fmt.Errorf("making a signer: %w", err)
	}
	if err := checkPublic(key.Public); err != nil {
		return nil, fmt.Errorf("making a signer: %w", err)
	}
	if !key.Fits(alg) {
		return nil, fmt.Errorf("making a signer: %s does not fit the key %q", alg, key.ID)
	}
	if !samePublic(key.Public, priv.Public()) {
		return nil, fmt.Errorf("making a signer: the private key is not that of %q", key.ID)
	}
	if err := trySigning(key.Public, alg, priv); err != nil {
		return nil, fmt.Errorf("making a signer: the key %q does not sign %s: %w", key.ID, alg, err)
	}
	return &Signer{Key: key, alg: alg, priv: priv}, nil
}

// Alg is the algorithm that s signs with.
func (s *Signer) Alg() Alg { return s.alg }

// Private is the private key. For the PS algorithms sign with a salt as long as
// the hash ([rsa.PSSSaltLengthEqualsHash]).
func (s *Signer) Private() crypto.Signer { return s.priv }

// trySigning signs a text that is no JWS, so the signature is worth nothing.
func trySigning(pub crypto.PublicKey, alg Alg, priv crypto.Signer) error {
	h := alg.Hash().New()
	h.Write([]byte("eblnode: trying the key"))
	digest := h.Sum(nil)
	var opts crypto.SignerOpts = alg.Hash()
	if alg[0] == 'P' {
		opts = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: alg.Hash()}
	}
	sig, err := priv.Sign(rand.Reader, digest, opts)
	if err != nil {
		return err
	}
	switch pub := pub.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(pub, digest, sig) {
			return errors.New("its signature does not verify")
		}
		return nil
	case *rsa.PublicKey:
		if alg[0] == 'P' {
			return rsa.VerifyPSS(pub, alg.Hash(), digest, sig, opts.(*rsa.PSSOptions))
		}
		return rsa.VerifyPKCS1v15(pub, alg.Hash(), digest, sig)
	}
	return errors.New("neither RSA nor EC")
}

// generatedRSABits: 3072 has the strength of P-256.
const generatedRSABits = 3072

// GenerateKey makes a private key for a, in memory.
func GenerateKey(a Alg) (crypto.Signer, error) {
	if _, err := ParseAlg(string(a)); err != nil {
		return nil, fmt.Errorf("generating a key: %w", err)
	}
	if c := a.curve(); c != nil {
		return ecdsa.GenerateKey(c, rand.Reader)
	}
	return rsa.GenerateKey(rand.Reader, generatedRSABits)
}

// GenerateSigner makes a new key for platform with a self-signed certificate;
// its kid is [KeyID] and its window the certificate's validity.
func GenerateSigner(platform Host, a Alg, spec CertificateSpec) (*Signer, error) {
	priv, err := GenerateKey(a)
	if err != nil {
		return nil, err
	}
	cert, err := NewSelfSigned(priv, spec)
	if err != nil {
		return nil, err
	}
	key, err := NewKey(platform, "", cert)
	if err != nil {
		return nil, err
	}
	key.Alg = a
	return NewSigner(key, a, priv)
}

// A CertificateSpec says what a certificate is to hold.
type CertificateSpec struct {
	Subject             string   // common name, for people; not empty
	Names               []string // DNS names, without port
	NotBefore, NotAfter time.Time
	Usages              []x509.ExtKeyUsage
}

// NewSelfSigned makes a certificate for priv's key, signed by itself: a leaf, not
// an authority. One that breaks the policy is an error.
func NewSelfSigned(priv crypto.Signer, spec CertificateSpec) (*x509.Certificate, error) {
	if err := checkPublic(priv.Public()); err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	if spec.Subject == "" || len(spec.Subject) > 64 { // ub-common-name of RFC 5280
		return nil, errors.New("making a certificate: the subject must have 1 to 64 bytes")
	}
	var names []string
	for _, n := range spec.Names {
		h, err := ParseHost(n)
		if err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
		names = append(names, h.Name)
	}
	serial, err := newSerial()
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: spec.Subject},
		DNSNames:     names,
		NotBefore:    spec.NotBefore, NotAfter: spec.NotAfter,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: spec.Usages,
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, priv.Public(), priv)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	if err := CheckPolicy(c); err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	return c, nil
}

// MarshalPrivateKey writes a key held in memory as PKCS #8 in PEM form, not
// encrypted: the file must be 0600. A key in hardware is an error.
func MarshalPrivateKey(priv crypto.Signer) ([]byte, error) {
	switch priv.(type) {
	case *rsa.PrivateKey, *ecdsa.PrivateKey:
	default:
		return nil, errors.New("writing a private key: not an RSA or EC key in memory")
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		return nil, fmt.Errorf("writing a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// ParsePrivateKey reads one private key in PEM form: PKCS #8, PKCS #1 or SEC 1
// (with the parameters that openssl puts before it), not encrypted. A key that no
// peer may use is a *PolicyError. No error shows any of the text.
func ParsePrivateKey(text []byte) (crypto.Signer, error) {
	var key any
	for rest := text; len(bytes.TrimSpace(rest)) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("reading a private key: not PEM")
		}
		if block.Type == "EC PARAMETERS" {
			continue
		}
		if key != nil {
			return nil, errors.New("reading a private key: more than one PEM block")
		}
		var err error
		if key, err = parsePrivateBlock(block); err != nil {
			return nil, fmt.Errorf("reading a private key: %w", err)
		}
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("reading a private key: there is none that signs")
	}
	if err := checkPublic(signer.Public()); err != nil {
		return nil, fmt.Errorf("reading a private key: %w", err)
	}
	return signer, nil
}

func parsePrivateBlock(block *pem.Block) (key any, err error) {
	if _, encrypted := block.Headers["DEK-Info"]; encrypted || block.Type == "ENCRYPTED PRIVATE KEY" {
		return nil, errors.New("it is encrypted; decrypt it first")
	}
	switch block.Type {
	case "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	default:
		return nil, fmt.Errorf("a PEM block of the type %q", clip(block.Type))
	}
	if err != nil {
		return nil, errors.New("its DER is damaged or of an unknown kind")
	}
	return key, nil
}
