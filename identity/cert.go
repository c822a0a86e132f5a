package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"
)

// The limits of the certificate policy (wire document, section 10). The upper
// ones keep one signature check cheap: a key of 65,536 bits costs a fifth of a
// second.
const (
	MinRSABits  = 2048
	MaxRSABits  = 8192
	MaxLifetime = 731*24*time.Hour + time.Second
	firstYear   = 1970 // of any time in a certificate or key
)

// maxChain bounds the certificates of an x5c and of a TLS connection. Ours are
// one to four long; a ladder of fifty is an attack on the path builder.
const maxChain = 10

// The rules that a PolicyError can name.
const (
	RuleKeyType     = "keyType"           // neither RSA nor EC on P-256, P-384 or P-521
	RuleKeySize     = "keySize"           // RSA outside MinRSABits … MaxRSABits
	RuleExponent    = "exponent"          // RSA exponent even, below 65537 or from 2^31
	RuleSignature   = "signature"         // signed with less than SHA-256, or neither RSA nor ECDSA
	RuleLifetime    = "lifetime"          // NotAfter - NotBefore over MaxLifetime or negative; NotBefore before 1970
	RuleExtensions  = "criticalExtension" // a critical extension that we do not understand
	RuleKeyUsage    = "keyUsage"          // a key usage that excludes what the key is for
	RuleExtKeyUsage = "extKeyUsage"       // an extended key usage that excludes what the key is for
	RuleSerial      = "serial"            // not a positive number of at most 20 octets
	RulePath        = "path"              // in ca mode: no valid path to the anchors of the entry
	RuleName        = "name"              // in ca mode: the platform's domain is not among the DNS names
	RuleOCSP        = "ocsp"              // nobody can be asked whether the certificate is revoked
)

// A PolicyError is a key or certificate that no peer may use, however it came to
// be trusted.
type PolicyError struct {
	Rule   string // one of the Rule constants
	Detail string // for a person
}

func (e *PolicyError) Error() string { return "certificate policy: " + e.Detail }

func breach(rule, format string, a ...any) error {
	return &PolicyError{Rule: rule, Detail: fmt.Sprintf(format, a...)}
}

// CheckPolicy says whether c, a leaf, meets the policy for signing and TLS. It
// knows neither the time nor what c is used for. The error is a *PolicyError.
func CheckPolicy(c *x509.Certificate) error {
	if err := checkPublic(c.PublicKey); err != nil {
		return err
	}
	if err := checkSignatureAlgorithm(c); err != nil {
		return err
	}
	// RFC 5280, 4.1.2.2. Revocation names a certificate by it.
	if n := c.SerialNumber; n == nil || n.Sign() <= 0 || n.BitLen() > 160 {
		return breach(RuleSerial, "the serial number is not positive, or has more than 20 octets")
	}
	life := c.NotAfter.Sub(c.NotBefore)
	if c.NotBefore.UTC().Year() < firstYear {
		return breach(RuleLifetime, "the certificate begins before %d", firstYear)
	}
	if life < 0 {
		return breach(RuleLifetime, "the certificate ends before it begins")
	}
	if life > MaxLifetime {
		return breach(RuleLifetime, "the certificate is valid for %d days, more than 731", int(life/(24*time.Hour)))
	}
	if len(c.UnhandledCriticalExtensions) > 0 {
		return breach(RuleExtensions, "the critical extension %v is not understood", c.UnhandledCriticalExtensions[0])
	}
	return nil
}

// checkPublic is the part of the policy that holds for bare keys too.
func checkPublic(pub crypto.PublicKey) error {
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil {
			return breach(RuleKeyType, "there is no RSA key")
		}
		if n := pub.N.BitLen(); n < MinRSABits || n > MaxRSABits {
			return breach(RuleKeySize, "the RSA key has %d bits, not %d to %d", n, MinRSABits, MaxRSABits)
		}
		if pub.N.Sign() < 0 || pub.N.Bit(0) == 0 {
			return breach(RuleKeyType, "the RSA modulus is not a positive odd number")
		}
		if e := int64(pub.E); e < 65537 || e >= 1<<31 || e%2 == 0 {
			return breach(RuleExponent, "the RSA exponent is %d, not an odd number from 65537 to below 2^31", e)
		}
		return nil
	case *ecdsa.PublicKey:
		if pub == nil || !slices.Contains([]elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()}, pub.Curve) {
			return breach(RuleKeyType, "the EC key is not on P-256, P-384 or P-521")
		}
		if _, err := pub.ECDH(); err != nil { // also an invalid point
			return breach(RuleKeyType, "the EC key is not a point of its curve")
		}
		return nil
	}
	return breach(RuleKeyType, "the key is neither RSA nor EC")
}

func checkSignatureAlgorithm(c *x509.Certificate) error {
	switch c.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return nil
	}
	return breach(RuleSignature, "the certificate is signed with %v, not with RSA or ECDSA and SHA-256 or better", c.SignatureAlgorithm)
}

// checkIssuer is the policy for a certificate above a leaf. Authorities live
// longer than leaves, so the lifetime is not looked at.
func checkIssuer(c *x509.Certificate) error {
	if err := checkPublic(c.PublicKey); err != nil {
		return err
	}
	// Nobody relies on the signature that a root puts under itself.
	if string(c.RawSubject) == string(c.RawIssuer) {
		return nil
	}
	return checkSignatureAlgorithm(c)
}

// checkAnchor says whether c can be the end of a path: an authority, or a
// self-signed leaf that is trusted for itself alone.
func checkAnchor(c *x509.Certificate) error {
	if c.BasicConstraintsValid && c.IsCA {
		if hasKeyUsage(c) && c.KeyUsage&x509.KeyUsageCertSign == 0 {
			return breach(RuleKeyUsage, "the key usage of the authority lacks keyCertSign")
		}
		return checkPublic(c.PublicKey)
	}
	if !selfSigned(c) {
		return errors.New("neither an authority nor a self-signed certificate")
	}
	return CheckPolicy(c)
}

// selfSigned checks the signature, as equal names alone prove nothing. The size
// of the key is looked at first: it is what makes the check cheap.
func selfSigned(c *x509.Certificate) bool {
	return string(c.RawSubject) == string(c.RawIssuer) && checkPublic(c.PublicKey) == nil &&
		c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// signsItself is selfSigned, worked out once a certificate: about one that an authority signed
// and that bears the authority's own name somebody must be asked all the same.
func signsItself(c *x509.Certificate) bool {
	if string(c.RawSubject) != string(c.RawIssuer) {
		return false
	}
	does, known := selfSigners.get(c)
	if !known {
		does = selfSigned(c)
		selfSigners.put(c, does)
	}
	return does
}

// selfSigners are those that were asked about, by their addresses: a certificate that was read
// is never changed.
var selfSigners cache[*x509.Certificate, bool]

// certify gives k the chain of an x5c: the leaf holds k's key and meets the
// policy, each certificate is signed by the next (so that the one above the leaf
// can vouch for revocation answers), and the leaf's validity narrows the window.
func (k *Key) certify(chain []*x509.Certificate) error {
	if len(chain) > maxChain {
		return fmt.Errorf("%d certificates, more than %d", len(chain), maxChain)
	}
	leaf := chain[0]
	if !samePublic(leaf.PublicKey, k.Public) {
		return errors.New("the certificate is for another key")
	}
	if err := CheckPolicy(leaf); err != nil {
		return err
	}
	if hasKeyUsage(leaf) && leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return breach(RuleKeyUsage, "the key usage has neither digitalSignature nor nonRepudiation")
	}
	for i, c := range chain[1:] {
		if err := checkIssuer(c); err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
		if err := chain[i].CheckSignatureFrom(c); err != nil {
			return fmt.Errorf("certificate %d is not signed by certificate %d: %w", i, i+1, err)
		}
	}
	if k.NotBefore.Before(leaf.NotBefore) {
		k.NotBefore = leaf.NotBefore.UTC()
	}
	if k.NotAfter.IsZero() || leaf.NotAfter.Before(k.NotAfter) {
		k.NotAfter = leaf.NotAfter.UTC()
	}
	if k.NotAfter.Before(k.NotBefore) {
		return errors.New("the window and the certificate's validity have no moment in common")
	}
	k.Certificates = chain
	return nil
}

var oidKeyUsage = asn1.ObjectIdentifier{2, 5, 29, 15}

// hasKeyUsage tells an absent key usage, which allows everything, from an empty
// one, which allows nothing; c.KeyUsage is 0 for both.
func hasKeyUsage(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(oidKeyUsage) {
			return true
		}
	}
	return false
}
