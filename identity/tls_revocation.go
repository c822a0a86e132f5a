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
// [Platform.CheckTLS] believes, leaf first. There are none for a self-signed certificate,
// where nobody is named who could be asked, or where the entry passes over certificates
// that live a week at most. The error is one of a hard entry whose answers could not be
// believed, since the issuer is not known.
func (p *Platform) TLSQuestions(certs []*x509.Certificate) ([]Question, error) {
	if len(certs) == 0 {
		return nil, errors.New("no certificate")
	}
	leaf := certs[0]
	if bytes.Equal(leaf.RawSubject, leaf.RawIssuer) || p.OCSP.ShortLived && leaf.NotAfter.Sub(leaf.NotBefore) <= ShortLife {
		return nil, nil
	}
	responder := p.responderOf(leaf)
	if responder == "" {
		return nil, nil
	}
	issuer := p.issuerOf(certs, slices.Concat(p.TLS.Anchors, p.Anchors))
	if issuer == nil {
		return nil, p.TLSRevocationUnknown(errors.New("its issuer is neither beside it nor among the anchors of the entry"))
	}
	return []Question{{leaf, issuer, responder}}, nil
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
				Detail: fmt.Sprintf("the TLS certificate of %s was revoked (%s) at %s", p.Domain, s.Reason, s.Revoked.Format(time.RFC3339))}
		}
	}
	return nil
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
