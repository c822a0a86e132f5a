package identity

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Usage is the side of a TLS connection that a certificate is shown for.
type Usage int

// The two sides. The zero Usage is neither, so that a forgotten one refuses.
const (
	ClientAuth Usage = iota + 1 // the peer called us
	ServerAuth                  // we called the peer
)

func (u Usage) String() string {
	switch u {
	case ClientAuth:
		return "clientAuth"
	case ServerAuth:
		return "serverAuth"
	}
	return fmt.Sprintf("Usage(%d)", int(u))
}

func (u Usage) extended() (x509.ExtKeyUsage, bool) {
	switch u {
	case ClientAuth:
		return x509.ExtKeyUsageClientAuth, true
	case ServerAuth:
		return x509.ExtKeyUsageServerAuth, true
	}
	return 0, false
}

// maxCandidates bounds the paths that a stranger's certificate can make us build
// by naming many platforms.
const maxCandidates = 8

// SPKIPin is the pin of a certificate: the SHA-256 of its SubjectPublicKeyInfo.
func SPKIPin(c *x509.Certificate) [32]byte { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

const pinPrefix = "sha256/"

// PinText writes a pin as it stands in a trust entry, "sha256/" and base64.
func PinText(pin [32]byte) string {
	return pinPrefix + base64.StdEncoding.EncodeToString(pin[:])
}

// ParsePin reads what PinText writes.
func ParsePin(s string) (pin [32]byte, err error) {
	text, ok := strings.CutPrefix(s, pinPrefix)
	b, err := decodeBase64(base64.StdEncoding, text)
	if !ok || err != nil || len(b) != len(pin) {
		return pin, errors.New(`not a pin: "sha256/" and 32 bytes in base64`)
	}
	return [32]byte(b), nil
}

// CheckTLS says whether certs, leaf first as in
// [crypto/tls.ConnectionState.PeerCertificates], prove at the time now that the
// other side is p. The handshake proved that the other side holds the leaf's
// private key, and nothing else: call CheckTLS in VerifyConnection, which, unlike
// VerifyPeerCertificate, runs for resumed sessions too. On an error send nothing
// to, and believe nothing of, that connection. Revocation is not looked at.
//
// The checks are those at [TLSIdentity] and, whatever the entry holds: policy
// (wire document, section 10), validity at now, an extended key usage that names
// the usage (none at all, or "any", is refused), and digitalSignature where there
// is a key usage.
func (p *Platform) CheckTLS(certs []*x509.Certificate, usage Usage, now time.Time) error {
	if err := p.checkTLS(certs, usage, now); err != nil {
		return fmt.Errorf("checking the TLS identity of %s: %w", p.Domain, err)
	}
	return nil
}

func (p *Platform) checkTLS(certs []*x509.Certificate, usage Usage, now time.Time) error {
	if len(p.TLS.Pins)+len(p.TLS.Anchors) == 0 {
		return errors.New("the trust entry has neither pins nor anchors for TLS")
	}
	if err := checkLeaf(certs, usage, now); err != nil {
		return err
	}
	leaf := certs[0]
	if len(p.TLS.Pins) > 0 && !slices.Contains(p.TLS.Pins, SPKIPin(leaf)) {
		return fmt.Errorf("the certificate's key, %s, is not pinned", PinText(SPKIPin(leaf)))
	}
	if len(p.TLS.Anchors) == 0 {
		return nil
	}
	// Exact names only: a wildcard speaks for hosts that are not in the entry.
	names := p.names()
	named := slices.ContainsFunc(leaf.DNSNames, func(san string) bool {
		return slices.Contains(names, strings.ToLower(san))
	})
	if !named {
		return fmt.Errorf("the certificate names %s, none of them this platform", sanText(leaf))
	}
	return p.checkPath(certs, usage, now)
}

// checkLeaf is what holds for every entry.
func checkLeaf(certs []*x509.Certificate, usage Usage, now time.Time) error {
	eku, ok := usage.extended()
	if !ok {
		return fmt.Errorf("no such usage: %v", usage)
	}
	if len(certs) == 0 {
		return errors.New("no certificate")
	}
	if len(certs) > maxChain {
		return fmt.Errorf("%d certificates, more than %d", len(certs), maxChain)
	}
	leaf := certs[0]
	if err := CheckPolicy(leaf); err != nil {
		return err
	}
	if now.Before(leaf.NotBefore) {
		return fmt.Errorf("the certificate is not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("the certificate expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	// crypto/x509 takes a certificate without extended key usage for any usage.
	if !slices.Contains(leaf.ExtKeyUsage, eku) {
		return breach(RuleKeyUsage, "the extended key usage of the certificate lacks %v", usage)
	}
	if hasKeyUsage(leaf) && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return breach(RuleKeyUsage, "the key usage of the certificate lacks digitalSignature")
	}
	return nil
}

// checkPath leads the leaf to the entry's anchors, and to no other roots.
func (p *Platform) checkPath(certs []*x509.Certificate, usage Usage, now time.Time) error {
	eku, _ := usage.extended()
	opts := x509.VerifyOptions{
		Roots:         x509.NewCertPool(), // nil would mean the system's
		Intermediates: x509.NewCertPool(),
		CurrentTime:   now, // never zero, for which x509 takes its own clock: checkLeaf refuses it
		KeyUsages:     []x509.ExtKeyUsage{eku},
	}
	for _, c := range p.TLS.Anchors {
		opts.Roots.AddCert(c)
	}
	for i, c := range certs[1:] {
		// Before a path is tried: the sizes bound what it costs.
		if err := checkIssuer(c); err != nil {
			return fmt.Errorf("certificate %d: %w", i+1, err)
		}
		opts.Intermediates.AddCert(c)
	}
	if _, err := certs[0].Verify(opts); err != nil {
		return fmt.Errorf("no path to the anchors of the entry: %w", err)
	}
	return nil
}

// PeerByTLS finds the one trusted platform that called us and that certs, the
// client's, prove at the time now by [Platform.CheckTLS]. Nobody, and more than
// one, are errors: the request gets 403 unknownPeer or no connection at all.
func (t *Trust) PeerByTLS(certs []*x509.Certificate, now time.Time) (*Platform, error) {
	if err := checkLeaf(certs, ClientAuth, now); err != nil {
		return nil, fmt.Errorf("finding the peer of a connection: %w", err)
	}
	candidates, err := t.candidates(certs[0])
	if err != nil {
		return nil, fmt.Errorf("finding the peer of a connection: %w", err)
	}
	var found *Platform
	var why error
	for _, p := range candidates {
		if err := p.CheckTLS(certs, ClientAuth, now); err != nil {
			if why == nil { // the pinned platform's, if there is one
				why = err
			}
			continue
		}
		if found != nil {
			return nil, fmt.Errorf("finding the peer of a connection: the certificate proves both %s and %s", found.Domain, p.Domain)
		}
		found = p
	}
	if found == nil {
		if why == nil {
			why = fmt.Errorf("no trust entry has the pin %s or a name of %s", PinText(SPKIPin(certs[0])), sanText(certs[0]))
		}
		return nil, fmt.Errorf("finding the peer of a connection: %w", why)
	}
	return found, nil
}

// candidates are the platform whose pin the leaf has, first, and those known by
// anchors alone that it names.
func (t *Trust) candidates(leaf *x509.Certificate) ([]*Platform, error) {
	if t == nil {
		return nil, nil
	}
	var out []*Platform
	if p := t.pins[SPKIPin(leaf)]; p != nil {
		out = append(out, p)
	}
	for _, san := range leaf.DNSNames {
		for _, p := range t.anchored[strings.ToLower(san)] {
			if slices.Contains(out, p) {
				continue
			}
			if len(out) == maxCandidates {
				return nil, fmt.Errorf("the certificate names more than %d platforms", maxCandidates)
			}
			out = append(out, p)
		}
	}
	return out, nil
}

// sanText shows the names of a stranger's certificate in an error.
func sanText(c *x509.Certificate) string {
	if len(c.DNSNames) == 0 {
		return "no DNS name"
	}
	text := fmt.Sprintf("%q", clip(c.DNSNames[0]))
	if n := len(c.DNSNames) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}
