package identity

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// TLSQuestions are what must be asked about certs, the certificates of a connection that
// [Platform.CheckTLS] believes at the time now, leaf first: about the leaf, and, where the
// entry knows the platform by anchors, about the authorities between it and the anchor, as far
// as they name a responder. There are none about a self-signed certificate, where nobody is
// named who could be asked, or about a leaf that lives a week at most where the entry passes
// over those. The error is one of a hard entry whose answers could not be believed, since the
// issuer is not known, or the way to an anchor is not.
func (p *Platform) TLSQuestions(certs []*x509.Certificate, now time.Time) ([]Question, error) {
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	leaf := certs[0]
	if signsItself(leaf) {
		return nil, nil
	}
	path, anchored := certs, len(p.TLS.Anchors) > 0
	if anchored {
		if path = p.tlsPath(certs, now); path == nil {
			return nil, p.TLSRevocationUnknown(errors.New("its certificates lead to none of the anchors of the entry"))
		}
	}
	var qs []Question
	if responders := p.respondersOf(leaf); len(responders) > 0 && !p.spares(leaf) {
		issuer := p.issuerOf(path, slices.Concat(certs[1:], p.TLS.Anchors, p.Anchors))
		if issuer == nil {
			return nil, p.TLSRevocationUnknown(errors.New("its issuer is neither beside it nor among the anchors of the entry"))
		}
		qs = append(qs, question(leaf, issuer, responders))
	}
	if anchored {
		qs = append(qs, between(path)...)
	}
	return qs, nil
}

// TLSAsksNobody reports whether certs, those of a connection, count by an authority alone,
// the entry is hard about revocation, and yet nobody is named who could be asked about the
// leaf: then a stolen certificate serves until it ends. Somebody should hear of that.
func (p *Platform) TLSAsksNobody(certs []*x509.Certificate) bool {
	return len(certs) > 0 && len(p.TLS.Pins) == 0 && !p.OCSP.SoftTLS && !p.spares(certs[0]) && len(p.respondersOf(certs[0])) == 0
}

// tlsPath is the way from the leaf to an anchor of the entry, the shortest where there are more;
// nil: there is none. It is one that holds by every rule at the time now. Who signed whom is not
// enough: whoever has the key of an authority that was revoked can lay a certificate beside it
// that has the same name and key and leads nowhere, or one that ended long ago, and about
// those nobody would be asked.
func (p *Platform) tlsPath(certs []*x509.Certificate, now time.Time) (path []*x509.Certificate) {
	if len(certs) > maxChain || now.IsZero() {
		return nil
	}
	opts := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	for _, c := range p.TLS.Anchors {
		opts.Roots.AddCert(c)
	}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	paths, err := certs[0].Verify(opts)
	if err != nil {
		return nil
	}
	return slices.MinFunc(paths, func(a, b []*x509.Certificate) int { return len(a) - len(b) })
}

// CheckTLSRevocation judges a connection by the answers to its TLSQuestions. A certificate
// that is revoked, for whatever reason, connects nobody; one of which that is not known
// only where the entry says soft. The error is a *RevocationError.
func (p *Platform) CheckTLSRevocation(certs []*x509.Certificate, ev Evidence) error {
	qs, err := p.TLSQuestions(certs, ev.CheckedAt)
	if err != nil {
		return err
	}
	for _, q := range qs {
		s, err := readOne(q, ev)
		if err != nil {
			return p.TLSRevocationUnknown(err)
		}
		if !s.Good {
			return &RevocationError{State: StateRevoked,
				Detail: fmt.Sprintf("%s of %s was revoked (%s) at %s", whose(q.Certificate, certs), p.Domain, s.Reason, s.Revoked.Format(time.RFC3339))}
		}
	}
	return nil
}

func whose(c *x509.Certificate, certs []*x509.Certificate) string {
	if c == certs[0] {
		return "the TLS certificate"
	}
	return fmt.Sprintf("an authority (%s) above the TLS certificate", clip(c.Subject.CommonName))
}

// TLSRevocationUnknown is what it means for a connection that cause left the state of its
// certificate unknown: nothing, by a soft entry.
func (p *Platform) TLSRevocationUnknown(cause error) error {
	if p.OCSP.SoftTLS {
		return nil
	}
	return &RevocationError{State: StateUnknown, Err: cause,
		Detail: fmt.Sprintf("whether the TLS certificate of %s is revoked is not known: %s", p.Domain, cause)}
}
