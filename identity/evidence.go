package identity

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Evidence is what was held of the standing of a signing key when a signature of it was
// judged. It proves nothing by itself: answers are signed by the authority and judged again
// for CheckedAt, and CheckedAt is as good as whoever kept it.
type Evidence struct {
	CheckedAt    time.Time           // when it was judged, by the clock of whoever did
	Certificates []*x509.Certificate // the path, leaf first; empty for a bare key
	Answers      [][]byte            // OCSP answers, DER, in any order; none where nothing had to be asked
}

// A RevocationState is why a key does not stand, or is not known to.
type RevocationState int

// The states.
const (
	StateUnknown     RevocationState = iota + 1 // no answer that can be believed: ask again later
	StateRevoked                                // revoked before the signature
	StateCompromised                            // stolen, and the signature is not shown to be older
)

// A RevocationError says that a key's certificates are not known to be in good standing.
type RevocationError struct {
	State  RevocationState
	Detail string
	Err    error // why nothing is known, or nil
}

func (e *RevocationError) Error() string { return e.Detail }

// Unwrap gives the cause.
func (e *RevocationError) Unwrap() error { return e.Err }

// checkStanding refuses a listed key about which nobody could ever be asked, and in ModeCA
// one that leads nowhere: better when the file is read than when a bill waits.
func (p *Platform) checkStanding(k *Key) error {
	if p.Mode == ModeCA {
		// It may have been certified anew during its window, so either end will do.
		certified, err := p.Certify(k, k.NotBefore, nil)
		if err != nil {
			if certified, err = p.Certify(k, k.NotAfter, nil); err != nil {
				return err
			}
		}
		k = certified
	}
	_, err := p.questions(k)
	return err
}

// Questions are what must be asked about the certificates of k, a key of p as
// [Platform.Certify] gave it: the leaf's, and in ModeCA those of the authorities between it
// and the anchor, as far as they name a responder. There are none for a bare key, a
// self-signed certificate or an anchor, and none about a leaf that lives a week at most where
// the entry passes over those: an authority above it does not become harmless by that.
func (p *Platform) Questions(k *Key) []Question {
	qs, _ := p.questions(k)
	return qs
}

func (p *Platform) questions(k *Key) ([]Question, error) {
	path := k.Certificates
	if len(path) == 0 || p.Mode == ModeCA && len(path) == 1 || p.Mode != ModeCA && signsItself(path[0]) {
		return nil, nil
	}
	var qs []Question
	if !p.spares(path[0]) {
		responders := p.respondersOf(path[0])
		if len(responders) == 0 {
			if p.Mode == ModeCA {
				return nil, breach(RuleOCSP, "the certificate names no OCSP responder, and neither does the entry (ocsp.responder)")
			}
			return nil, nil
		}
		issuer := p.issuerOf(path, p.Anchors)
		if issuer == nil {
			return nil, breach(RuleOCSP, "the certificate's issuer is neither in x5c nor among the anchors, so no OCSP answer could be believed")
		}
		qs = append(qs, question(path[0], issuer, responders))
	}
	if p.Mode != ModeCA {
		return qs, nil
	}
	return append(qs, between(path)...), nil
}

// between are the questions about the authorities of a path, leaf first and anchor last, as
// far as they name a responder.
func between(path []*x509.Certificate) (qs []Question) {
	for i := 1; i < len(path)-1; i++ {
		if urls := named(path[i]); len(urls) > 0 {
			qs = append(qs, question(path[i], path[i+1], urls))
		}
	}
	return qs
}

func question(c, issuer *x509.Certificate, responders []string) Question {
	return Question{Certificate: c, Issuer: issuer, Responder: responders[0], Others: responders[1:]}
}

// spares: nobody is asked about this leaf, since it ends before a revocation would be heard of.
func (p *Platform) spares(leaf *x509.Certificate) bool {
	return p.OCSP.ShortLived && leaf.NotAfter.Sub(leaf.NotBefore) <= ShortLife
}

// respondersOf: the entry's word goes before the certificate's, which whoever has the leaf
// issued may have chosen.
func (p *Platform) respondersOf(leaf *x509.Certificate) []string {
	if p.OCSP.Responder != "" {
		return []string{p.OCSP.Responder}
	}
	return named(leaf)
}

// maxResponders bounds whom one certificate can make us ask.
const maxResponders = 4

// named are the responders that a certificate names and that can be asked.
func named(c *x509.Certificate) (urls []string) {
	for _, url := range c.OCSPServer {
		if len(urls) < maxResponders && checkResponder(url) == nil {
			urls = append(urls, url)
		}
	}
	return urls
}

// issuerOf finds who signed the leaf: the next certificate, or one of others.
func (p *Platform) issuerOf(path, others []*x509.Certificate) *x509.Certificate {
	if len(path) > 1 && path[0].CheckSignatureFrom(path[1]) == nil {
		return path[1]
	}
	for _, c := range others {
		if bytes.Equal(c.RawSubject, path[0].RawIssuer) && path[0].CheckSignatureFrom(c) == nil {
			return c
		}
	}
	return nil
}

// CheckRevocation judges, by ev, whether k (as [Platform.Certify] gave it) stood when it
// made a signature of the time at. since is when that very signature is proved to have
// existed, zero if there is no proof. Without [Platform.Questions] there is nothing to
// judge. The error is a *RevocationError, or a *PolicyError where nobody can be asked.
//
// Evidence from before the signature shows nothing of its time. A certificate that was
// revoked later for another reason than theft signed well; after a theft the time that a
// signature claims is the thief's to choose, so it must be proved to be older.
func (p *Platform) CheckRevocation(k *Key, at, since time.Time, ev Evidence) error {
	qs, err := p.questions(k)
	if err != nil || len(qs) == 0 {
		return err
	}
	if ev.CheckedAt.Before(at.Add(-OCSPSkew)) {
		return &RevocationError{State: StateUnknown, Detail: fmt.Sprintf("the evidence about a key of %s is from before the signature", p.Domain)}
	}
	for _, q := range qs {
		s, err := readOne(q, ev)
		if err != nil {
			return &RevocationError{State: StateUnknown, Err: err,
				Detail: fmt.Sprintf("whether the certificate of a key of %s is revoked is not known: %s", p.Domain, err)}
		}
		switch {
		case s.Good:
		case stolen(s.Reason):
			if since.IsZero() || !since.Before(s.Revoked) {
				return &RevocationError{State: StateCompromised,
					Detail: fmt.Sprintf("a key of %s was reported stolen (%s since %s); only what is shown to be older counts", p.Domain, s.Reason, s.Revoked.Format(time.RFC3339))}
			}
		case !at.Before(s.Revoked):
			return &RevocationError{State: StateRevoked,
				Detail: fmt.Sprintf("the certificate of the key was revoked (%s) at %s, and the signature is not shown to be older", s.Reason, s.Revoked.Format(time.RFC3339))}
		}
	}
	return nil
}

// RevokedSince is the earliest moment since which, by ev, a certificate of k (as
// [Platform.Certify] gave it) is revoked; zero where no answer says so. It is about the key as
// it stands since, and not about what it signed before: that is CheckRevocation.
func (p *Platform) RevokedSince(k *Key, ev Evidence) (since time.Time) {
	for _, q := range p.Questions(k) {
		s, err := readOne(q, ev)
		if err == nil && !s.Good && (since.IsZero() || s.Revoked.Before(since)) {
			since = s.Revoked
		}
	}
	return since
}

// stolen: somebody else may have the key, or could have made certificates for it.
func stolen(reason string) bool {
	return reason == ReasonKeyCompromise || reason == "cACompromise" || reason == "aACompromise"
}

// readOne takes the newest answer that is about q's certificate and holds, and one that
// says revoked before any that says good: whoever hands over an older one beside it wants
// it forgotten.
func readOne(q Question, ev Evidence) (Status, error) {
	var best Status
	err := errors.New("there is no OCSP answer")
	for _, a := range ev.Answers {
		s, e := q.Read(a, ev.CheckedAt)
		switch {
		case e != nil && best.ThisUpdate.IsZero():
			err = e
		case e != nil:
		case best.ThisUpdate.IsZero() || best.Good && (!s.Good || s.ThisUpdate.After(best.ThisUpdate)):
			best, err = s, nil
		}
	}
	return best, err
}

// evidenceText is evidence as it stands in a file.
type evidenceText struct {
	CheckedAt    time.Time `json:"checkedAt"`
	Certificates [][]byte  `json:"certificates,omitempty"`
	Answers      [][]byte  `json:"ocsp,omitempty"`
}

// MarshalJSON writes {"checkedAt": RFC 3339, "certificates": [base64 DER], "ocsp": [base64 DER]}.
func (e Evidence) MarshalJSON() ([]byte, error) {
	t := evidenceText{CheckedAt: e.CheckedAt.UTC(), Answers: e.Answers}
	for _, c := range e.Certificates {
		t.Certificates = append(t.Certificates, c.Raw)
	}
	return json.Marshal(t)
}

// maxAnswers bounds the OCSP answers of one piece of evidence.
const maxAnswers = 2 * maxChain

// UnmarshalJSON reads what MarshalJSON writes.
func (e *Evidence) UnmarshalJSON(data []byte) error {
	var t evidenceText
	if err := json.Unmarshal(data, &t); err != nil {
		return fmt.Errorf("reading evidence: %w", err)
	}
	if len(t.Certificates) > maxChain+1 || len(t.Answers) > maxAnswers {
		return fmt.Errorf("reading evidence: %d certificates and %d answers are more than there can be", len(t.Certificates), len(t.Answers))
	}
	out := Evidence{CheckedAt: t.CheckedAt.UTC(), Answers: t.Answers}
	for i, der := range t.Certificates {
		c, err := parseCertificate(der)
		if err != nil {
			return fmt.Errorf("reading evidence: certificate %d: %w", i, err)
		}
		out.Certificates = append(out.Certificates, c)
	}
	*e = out
	return nil
}
