package identity

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"
)

// TLSQuestions are what must be asked about certs, the certificates of a connection that
// [Platform.CheckTLS] believes, leaf first: about the leaf, and, where the entry knows the
// platform by anchors, about the authorities between it and the anchor, as far as they name a
// responder. There are none about a self-signed certificate, where nobody is named who could
// be asked, or about a leaf that lives a week at most where the entry passes over those. The
// error is one of a hard entry whose answers could not be believed, since the issuer is not
// known.
func (p *Platform) TLSQuestions(certs []*x509.Certificate) ([]Question, error) {
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	leaf := certs[0]
	if signsItself(leaf) {
		return nil, nil
	}
	var qs []Question
	if responders := p.respondersOf(leaf); len(responders) > 0 && !p.spares(leaf) {
		path := tlsPath(certs, slices.Concat(p.TLS.Anchors, p.Anchors))
		if len(path) < 2 {
			return nil, p.TLSRevocationUnknown(errors.New("its issuer is neither beside it nor among the anchors of the entry"))
		}
		qs = append(qs, question(leaf, path[1], responders))
	}
	if len(certs) > 1 && len(p.TLS.Anchors) > 0 {
		qs = append(qs, between(tlsPath(certs, p.TLS.Anchors))...)
	}
	return qs, nil
}

// TLSAsksNobody reports whether certs, those of a connection, count by an authority alone,
// the entry is hard about revocation, and yet nobody is named who could be asked about the
// leaf: then a stolen certificate serves until it ends. Somebody should hear of that.
func (p *Platform) TLSAsksNobody(certs []*x509.Certificate) bool {
	return len(certs) > 0 && len(p.TLS.Pins) == 0 && !p.OCSP.SoftTLS && !p.spares(certs[0]) && len(p.respondersOf(certs[0])) == 0
}

// tlsPath is the way from the leaf to an anchor, the shortest where there are more; or as far
// as it leads. CheckTLS has found one already.
func tlsPath(certs, anchors []*x509.Certificate) []*x509.Certificate {
	path := certs[:1:1]
	for len(path) <= maxChain {
		last := path[len(path)-1]
		signed := func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && !slices.Contains(path, c) && last.CheckSignatureFrom(c) == nil
		}
		if i := slices.IndexFunc(anchors, signed); i >= 0 {
			return append(path, anchors[i])
		}
		i := slices.IndexFunc(certs, signed)
		if i < 0 {
			return path
		}
		path = append(path, certs[i])
	}
	return path
}

// CheckTLSRevocation judges a connection by the answers to its TLSQuestions. A certificate
// that is revoked, for whatever reason, connects nobody; one of which that is not known
// only where the entry says soft. The error is a *RevocationError.
func (p *Platform) CheckTLSRevocation(certs []*x509.Certificate, ev Evidence) error {
	qs, err := p.TLSQuestions(certs)
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
