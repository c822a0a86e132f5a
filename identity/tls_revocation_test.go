package identity_test

import (
	"crypto/rand"
	"crypto/x509"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"
)

// TestTLSQuestions: about whom is asked before a connection counts, and whom.
func TestTLSQuestions(t *testing.T) {
	now := time.Now()
	root := catest.New(t, "Root")
	upper := root.Sub(t, "Upper", catest.Responder("http://root.example/"))
	lower := upper.Sub(t, "Lower", func(c *x509.Certificate) {
		c.OCSPServer = []string{"http://upper.example/1", "ldap://upper.example/", "http://upper.example/2"}
	})
	leaf := lower.Issue(t, catest.NewKey(t), bank, responder, catest.TLS)
	mute := lower.Issue(t, catest.NewKey(t), bank, catest.TLS)
	week := lower.Issue(t, catest.NewKey(t), bank, responder, catest.TLS, catest.Valid(now.Add(-time.Hour), now.Add(6*24*time.Hour)))
	namesake := lower.Issue(t, catest.NewKey(t), bank, responder, catest.TLS, func(c *x509.Certificate) { c.Subject.CommonName = "Lower" })
	many := lower.Issue(t, catest.NewKey(t), bank, catest.TLS, func(c *x509.Certificate) {
		c.OCSPServer = []string{"http://1.example/", "http://2.example/", "http://3.example/", "http://4.example/", "http://5.example/"}
	})
	const above = " http://upper.example/1+http://upper.example/2 http://root.example/"
	for _, c := range []struct {
		name    string
		certs   []*x509.Certificate
		anchors []*x509.Certificate
		policy  identity.OCSPPolicy
		want    string
	}{
		{"leaf and both authorities", []*x509.Certificate{leaf, lower.Cert, upper.Cert}, []*x509.Certificate{root.Cert}, identity.OCSPPolicy{}, "http://ocsp.example/" + above},
		{"in another order, the anchor beside them", []*x509.Certificate{leaf, root.Cert, upper.Cert, lower.Cert}, []*x509.Certificate{root.Cert}, identity.OCSPPolicy{}, "http://ocsp.example/" + above},
		{"as far as the anchor", []*x509.Certificate{leaf, lower.Cert, upper.Cert}, []*x509.Certificate{upper.Cert}, identity.OCSPPolicy{}, "http://ocsp.example/ http://upper.example/1+http://upper.example/2"},
		{"a leaf for a week, passed over: the authorities all the same", []*x509.Certificate{week, lower.Cert, upper.Cert}, []*x509.Certificate{root.Cert}, identity.OCSPPolicy{ShortLived: true}, above[1:]},
		{"a leaf that names nobody", []*x509.Certificate{mute, lower.Cert, upper.Cert}, []*x509.Certificate{root.Cert}, identity.OCSPPolicy{}, above[1:]},
		{"the entry's responder is for the leaf alone", []*x509.Certificate{leaf, lower.Cert, upper.Cert}, []*x509.Certificate{root.Cert}, identity.OCSPPolicy{Responder: "http://ours.example/"}, "http://ours.example/" + above},
		{"four of five", []*x509.Certificate{many, lower.Cert}, []*x509.Certificate{lower.Cert}, identity.OCSPPolicy{}, "http://1.example/+http://2.example/+http://3.example/+http://4.example/"},
		{"a leaf with the name of its authority", []*x509.Certificate{namesake, lower.Cert, upper.Cert}, []*x509.Certificate{root.Cert}, identity.OCSPPolicy{}, "http://ocsp.example/" + above},
		{"by its pin, with the name of its authority", []*x509.Certificate{namesake, lower.Cert}, nil, identity.OCSPPolicy{}, "http://ocsp.example/"},
		{"by its pin: the leaf alone", []*x509.Certificate{leaf, lower.Cert, upper.Cert}, nil, identity.OCSPPolicy{}, "http://ocsp.example/"},
	} {
		p := &identity.Platform{Domain: mustHost(t, "bank.example"), TLS: identity.TLSIdentity{Anchors: c.anchors}, OCSP: c.policy}
		qs, err := p.TLSQuestions(c.certs, now)
		var got []string
		for _, q := range qs {
			got = append(got, strings.Join(append([]string{q.Responder}, q.Others...), "+"))
			if q.Certificate.CheckSignatureFrom(q.Issuer) != nil {
				t.Errorf("%s: the issuer of %s is not its issuer", c.name, q.Certificate.Subject)
			}
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
	// X509-23 of a connection: an authority between is revoked, or nobody can tell.
	p := &identity.Platform{Domain: mustHost(t, "bank.example"), TLS: identity.TLSIdentity{Anchors: []*x509.Certificate{root.Cert}}}
	certs := []*x509.Certificate{leaf, lower.Cert, upper.Cert}
	answer := func(cert *x509.Certificate, by *catest.Authority, status catest.Status) []byte {
		return catest.Answer{Singles: []catest.Single{{Cert: cert, Issuer: by.Cert, Status: status}}, By: by}.DER(t)
	}
	good := [][]byte{answer(leaf, lower, catest.Good), answer(lower.Cert, upper, catest.Good)}
	for name, c := range map[string]struct {
		last [][]byte
		soft bool
		want identity.RevocationState
	}{
		"all good":                     {[][]byte{answer(upper.Cert, root, catest.Good)}, false, 0},
		"an authority revoked":         {[][]byte{answer(upper.Cert, root, catest.Revoked)}, false, identity.StateRevoked},
		"an authority revoked, soft":   {[][]byte{answer(upper.Cert, root, catest.Revoked)}, true, identity.StateRevoked},
		"an authority not known":       {nil, false, identity.StateUnknown},
		"an authority not known, soft": {nil, true, 0},
	} {
		p.OCSP.SoftTLS = c.soft
		err := p.CheckTLSRevocation(certs, identity.Evidence{CheckedAt: now, Answers: append(good[:2:2], c.last...)})
		r, _ := errors.AsType[*identity.RevocationError](err)
		if c.want == 0 && err != nil || c.want != 0 && (r == nil || r.State != c.want) {
			t.Errorf("%s: got %v, want state %d", name, err, c.want)
		}
	}
}

// TestDecoyBesideARevokedAuthority: whoever has the key of an authority between lays beside its
// certificate another one of the same name and key, about which nobody can be asked: of an
// authority that no entry has, or of before. CheckTLS passes over it, and so must the questions.
func TestDecoyBesideARevokedAuthority(t *testing.T) {
	now := time.Now()
	root, thief := catest.New(t, "Root"), catest.New(t, "Thief")
	between := root.Sub(t, "Between", catest.Responder("http://root.example/"))
	leaf := between.Issue(t, catest.NewKey(t), bank, responder, catest.TLS)
	twin := func(by *catest.Authority, from, to time.Time) *x509.Certificate {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: between.Cert.Subject, NotBefore: from, NotAfter: to, KeyUsage: between.Cert.KeyUsage,
			SubjectKeyId: between.Cert.SubjectKeyId, BasicConstraintsValid: true, IsCA: true}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, by.Cert, between.Cert.PublicKey, by.Key)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	strange, ended := twin(thief, now.AddDate(-1, 0, 0), now.AddDate(1, 0, 0)), twin(root, now.AddDate(-9, 0, 0), now.AddDate(-1, 0, 0))
	answers := [][]byte{
		catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: between.Cert}}, By: between, Bare: true}.DER(t), // the thief answers, too
		catest.Answer{Singles: []catest.Single{{Cert: between.Cert, Issuer: root.Cert, Status: catest.Revoked}}, By: root}.DER(t),
	}
	p := &identity.Platform{Domain: mustHost(t, "bank.example"), TLS: identity.TLSIdentity{Anchors: []*x509.Certificate{root.Cert}}}
	for name, certs := range map[string][]*x509.Certificate{
		"alone":                             {leaf, between.Cert},
		"one that leads nowhere":            {leaf, strange, between.Cert},
		"one that leads to another's root":  {leaf, strange, thief.Cert, between.Cert},
		"one that has ended":                {leaf, ended, between.Cert},
		"one that has ended, and the other": {leaf, ended, strange, thief.Cert, between.Cert},
	} {
		if err := p.CheckTLS(certs, identity.ClientAuth, now); err != nil {
			t.Errorf("%s: %v, want that the path is believed", name, err)
		}
		err := p.CheckTLSRevocation(certs, identity.Evidence{CheckedAt: now, Answers: answers})
		if r, _ := errors.AsType[*identity.RevocationError](err); r == nil || r.State != identity.StateRevoked {
			t.Errorf("%s: got %v, want that the authority is revoked", name, err)
		}
	}
	// Certificates of which none leads to an anchor are no reason to ask nobody.
	if _, err := p.TLSQuestions([]*x509.Certificate{leaf, strange}, now); err == nil {
		t.Error("no path at all: got no error")
	}
}

// TestTwinOfARevokedCertificate: whoever has a key makes another certificate for it, about which
// nobody can be asked. Where the entry knows the platform by pins alone that one connects, and
// only another entry stops it; with anchors beside the pins it leads nowhere.
func TestTwinOfARevokedCertificate(t *testing.T) {
	now := time.Now()
	ca := catest.New(t, "Consortium")
	key := catest.NewKey(t)
	revoked := ca.Issue(t, key, bank, responder, catest.TLS)
	twin, err := identity.NewSelfSigned(key, identity.CertificateSpec{Subject: "bank.example", Names: []string{"bank.example"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Fatal(err)
	}
	pins := [][32]byte{identity.SPKIPin(revoked)}
	alone := &identity.Platform{Domain: mustHost(t, "bank.example"), Anchors: []*x509.Certificate{ca.Cert}, TLS: identity.TLSIdentity{Pins: pins}}
	both := &identity.Platform{Domain: mustHost(t, "bank.example"), TLS: identity.TLSIdentity{Pins: pins, Anchors: []*x509.Certificate{ca.Cert}}}
	ev := identity.Evidence{CheckedAt: now, Answers: [][]byte{catest.Answer{Singles: []catest.Single{{Cert: revoked, Issuer: ca.Cert, Status: catest.Revoked}}, By: ca}.DER(t)}}
	for _, c := range []struct {
		name     string
		p        *identity.Platform
		leaf     *x509.Certificate
		connects bool
	}{
		{"pins, the revoked one", alone, revoked, false}, {"pins, its twin", alone, twin, true},
		{"pins and anchors, the revoked one", both, revoked, false}, {"pins and anchors, its twin", both, twin, false},
	} {
		certs := []*x509.Certificate{c.leaf}
		err := c.p.CheckTLS(certs, identity.ClientAuth, now)
		if err == nil {
			err = c.p.CheckTLSRevocation(certs, ev)
		}
		if (err == nil) != c.connects {
			t.Errorf("%s: got %v, want that it connects: %t", c.name, err, c.connects)
		}
	}
}
