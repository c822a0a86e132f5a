package identity_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"
)

// TestOCSPAnswersThatSayNothing: each was believed by the library, or must not be, and each
// says "good".
func TestOCSPAnswersThatSayNothing(t *testing.T) {
	now := time.Now()
	ca, other := catest.New(t, "CA"), catest.New(t, "CA") // of the same name
	key := catest.NewKey(t)
	renamed := &catest.Authority{Cert: other.Issue(t, ca.Key, func(c *x509.Certificate) { c.Subject.CommonName = "Other" }), Key: ca.Key}
	leaf := ca.Issue(t, key, catest.Names("bank.example"))
	leafByItself := &catest.Authority{Cert: leaf, Key: key}
	peerKey := catest.NewKey(t)
	peer := &catest.Authority{Cert: ca.Issue(t, peerKey, catest.TLS), Key: peerKey}
	noCheck := func(c *x509.Certificate) { c.ExtraExtensions = nil }
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	smallResponder := &catest.Authority{Cert: ca.Issue(t, small, func(c *x509.Certificate) {
		*c = *withUsages(c, ca.Delegate(t).Cert)
	}), Key: small}
	good := catest.Single{Cert: leaf, Issuer: ca.Cert}
	with := func(change func(*catest.Single)) []catest.Single {
		s := good
		change(&s)
		return []catest.Single{s}
	}
	one := []catest.Single{good}
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert}
	for _, c := range []struct {
		name   string
		answer catest.Answer
		want   string // in the error
	}{
		{"the leaf signs for itself", catest.Answer{Singles: one, By: leafByItself}, "not for OCSPSigning"},
		{"another leaf of the authority signs", catest.Answer{Singles: one, By: peer}, "not for OCSPSigning"},
		{"another authority of the same name signs", catest.Answer{Singles: one, By: other, Bare: true}, "signature"},
		{"another authority's responder signs", catest.Answer{Singles: one, By: other.Delegate(t)}, "signature"},
		{"its responder has expired", catest.Answer{Singles: one, By: ca.Delegate(t, catest.Valid(now.Add(-48*time.Hour), now.Add(-time.Minute)))}, "not valid"},
		{"its responder is not valid yet", catest.Answer{Singles: one, By: ca.Delegate(t, catest.Valid(now.Add(time.Hour), now.Add(48*time.Hour)))}, "not valid"},
		{"nobody can be asked about its responder", catest.Answer{Singles: one, By: ca.Delegate(t, noCheck)}, "ocsp-nocheck"},
		{"its responder may only encipher", catest.Answer{Singles: one, By: ca.Delegate(t, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })}, "digitalSignature"},
		{"its responder's certificate says something critical that nobody knows", catest.Answer{Singles: one, By: ca.Delegate(t, func(c *x509.Certificate) {
			c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: []int{1, 2, 3, 4, 5}, Critical: true, Value: []byte{5, 0}})
		})}, "critical extension"},
		{"its responder has a key of 1024 bits", catest.Answer{Singles: one, By: smallResponder}, "1024 bits"},
		{"signed with SHA-1", catest.Answer{Singles: one, By: ca, Hash: crypto.SHA1}, "SHA1"},
		{"nextUpdate has passed", catest.Answer{Singles: with(func(s *catest.Single) {
			s.ThisUpdate, s.NextUpdate = now.Add(-48*time.Hour), now.Add(-time.Second)
		}), By: ca}, "good until"},
		{"two years old", catest.Answer{Singles: with(func(s *catest.Single) {
			s.ThisUpdate, s.NextUpdate = now.AddDate(-2, 0, 0), now.AddDate(-2, 0, 7)
		}), By: ca}, "good until"},
		{"from the future", catest.Answer{Singles: with(func(s *catest.Single) {
			s.ThisUpdate, s.NextUpdate = now.Add(10*time.Minute), now.Add(time.Hour)
		}), By: ca}, "after now"},
		{"made in the future", catest.Answer{Singles: one, By: ca, Produced: now.Add(10 * time.Minute)}, "after now"},
		{"no nextUpdate, older than a day", catest.Answer{Singles: with(func(s *catest.Single) {
			s.ThisUpdate, s.NoNextUpdate = now.Add(-24*time.Hour-2*time.Second), true
		}), By: ca}, "good until"},
		{"good for years", catest.Answer{Singles: with(func(s *catest.Single) { s.NextUpdate = now.AddDate(2, 0, 0) }), By: ca}, "to be good from"},
		{"hashes of another authority", catest.Answer{Singles: with(func(s *catest.Single) { s.Issuer = other.Cert }), By: ca}, "0 of its 1 statuses"},
		{"the name of another authority, and this one's key", catest.Answer{Singles: with(func(s *catest.Single) { s.Issuer = renamed.Cert }), By: ca}, "0 of its 1 statuses"},
		{"another serial number", catest.Answer{Singles: with(func(s *catest.Single) { s.Serial = big.NewInt(77) }), By: ca}, "no response matching"},
		{"two statuses of the same certificate", catest.Answer{Singles: []catest.Single{good, good}, By: ca}, "2 of its 2 statuses"},
		{"unknown", catest.Answer{Singles: with(func(s *catest.Single) { s.Status = catest.Unknown }), By: ca}, "does not know"},
		{"a critical extension", catest.Answer{Singles: with(func(s *catest.Single) { s.Critical = true }), By: ca}, "critical extension"},
		{"a critical extension of the whole", catest.Answer{Singles: one, By: ca, Critical: true}, "critical extension"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := q.Read(c.answer.DER(t), now)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %+v, %v, want an error with %q", s, err, c.want)
			}
		})
	}
	for name, der := range map[string][]byte{
		"try later": {0x30, 0x03, 0x0a, 0x01, 0x03}, "empty": nil, "HTML": []byte("<html>"),
		"trailing data": append(catest.Answer{Singles: one, By: ca}.DER(t), 0), "65 KiB": make([]byte, 65<<10),
	} {
		if s, err := q.Read(der, now); err == nil {
			t.Errorf("%s: got %+v, want an error", name, s)
		}
	}
	weak := &catest.Authority{Cert: ca.Issue(t, small, func(c *x509.Certificate) {
		c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, x509.KeyUsageCertSign
	}), Key: small}
	below := weak.Issue(t, catest.NewKey(t))
	asked := identity.Question{Certificate: below, Issuer: weak.Cert}
	if s, err := asked.Read(catest.Answer{Singles: []catest.Single{{Cert: below, Issuer: weak.Cert}}, By: weak}.DER(t), now); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("the authority itself has a key of 1024 bits: got %+v, %v", s, err)
	}
	sound := catest.Answer{Singles: one, By: ca}.DER(t)
	for _, q := range []identity.Question{{Certificate: leaf}, {Issuer: ca.Cert}} {
		if _, err := q.Read(sound, now); err == nil {
			t.Errorf("a question without issuer or certificate: got no error")
		}
	}
}

// TestMangledOCSPAnswer: no changed byte makes it say anything else.
func TestMangledOCSPAnswer(t *testing.T) {
	now := time.Now()
	ca := catest.New(t, "CA")
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert}
	for _, by := range []*catest.Authority{ca, ca.Delegate(t)} {
		der := catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert, Status: catest.Revoked, Reason: 4}}, By: by}.DER(t)
		want, err := q.Read(der, now)
		if err != nil {
			t.Fatal(err)
		}
		for i := range der {
			for _, flip := range []byte{1, 0x80, 0xff} {
				bad := append([]byte{}, der...)
				bad[i] ^= flip
				if got, err := q.Read(bad, now); err == nil && got != want {
					t.Fatalf("byte %d changed: got %+v, want %+v or an error", i, got, want)
				}
			}
		}
	}
}

func withUsages(c, from *x509.Certificate) *x509.Certificate {
	out := *c
	out.ExtKeyUsage = from.ExtKeyUsage
	out.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}}
	return &out
}

func TestOCSPAnswersThatHold(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	ca := catest.New(t, "CA")
	sub := ca.Sub(t, "Sub")
	leaf := sub.Issue(t, catest.NewKey(t))
	another := sub.Issue(t, catest.NewKey(t))
	good := catest.Single{Cert: leaf, Issuer: sub.Cert}
	with := func(change func(*catest.Single)) catest.Single {
		s := good
		change(&s)
		return s
	}
	again := &catest.Authority{Key: sub.Key, Cert: sub.Issue(t, sub.Key, func(c *x509.Certificate) {
		c.Subject, c.SubjectKeyId, c.KeyUsage, c.IsCA, c.BasicConstraintsValid = sub.Cert.Subject, sub.Cert.SubjectKeyId, sub.Cert.KeyUsage, true, true
	})}
	stolen := func(reason int) catest.Single {
		return with(func(s *catest.Single) { s.Status, s.Reason, s.RevokedAt = catest.Revoked, reason, now.Add(-time.Hour) })
	}
	for _, c := range []struct {
		name   string
		answer catest.Answer
		want   identity.Status
	}{
		{"by the issuer", catest.Answer{Singles: []catest.Single{good}, By: sub, Bare: true}, identity.Status{Good: true}},
		{"by the issuer, with its certificate", catest.Answer{Singles: []catest.Single{good}, By: sub}, identity.Status{Good: true}},
		{"by the issuer, with a certificate that it made for itself anew", catest.Answer{Singles: []catest.Single{good}, By: again}, identity.Status{Good: true}},
		{"by its responder", catest.Answer{Singles: []catest.Single{good}, By: sub.Delegate(t)}, identity.Status{Good: true}},
		{"named by SHA-256", catest.Answer{Singles: []catest.Single{with(func(s *catest.Single) { s.Hash = crypto.SHA256 })}, By: sub}, identity.Status{Good: true}},
		{"without nextUpdate", catest.Answer{Singles: []catest.Single{with(func(s *catest.Single) { s.NoNextUpdate = true })}, By: sub}, identity.Status{Good: true}},
		{"a clock four minutes ahead", catest.Answer{Singles: []catest.Single{with(func(s *catest.Single) { s.ThisUpdate = now.Add(4 * time.Minute) })}, By: sub, Produced: now.Add(4 * time.Minute)}, identity.Status{Good: true}},
		{"the second of two", catest.Answer{Singles: []catest.Single{{Cert: another, Issuer: sub.Cert, Status: catest.Revoked}, good}, By: sub}, identity.Status{Good: true}},
		{"revoked without a reason", catest.Answer{Singles: []catest.Single{stolen(0)}, By: sub}, identity.Status{Revoked: now.Add(-time.Hour), Reason: "unspecified"}},
		{"superseded", catest.Answer{Singles: []catest.Single{stolen(4)}, By: sub}, identity.Status{Revoked: now.Add(-time.Hour), Reason: "superseded"}},
		{"stolen", catest.Answer{Singles: []catest.Single{stolen(1)}, By: sub}, identity.Status{Revoked: now.Add(-time.Hour), Reason: "keyCompromise"}},
		{"privilege withdrawn", catest.Answer{Singles: []catest.Single{stolen(9)}, By: sub}, identity.Status{Revoked: now.Add(-time.Hour), Reason: "privilegeWithdrawn"}},
		{"a reason that does not exist", catest.Answer{Singles: []catest.Single{stolen(99)}, By: sub}, identity.Status{Revoked: now.Add(-time.Hour), Reason: "keyCompromise"}},
		{"stolen, as it turned out, a day before", catest.Answer{Singles: []catest.Single{with(func(s *catest.Single) {
			s.Status, s.Reason, s.RevokedAt, s.Invalidity = catest.Revoked, 1, now.Add(-time.Hour), now.Add(-24*time.Hour)
		})}, By: sub}, identity.Status{Revoked: now.Add(-24 * time.Hour), Reason: "keyCompromise"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := identity.Question{Certificate: leaf, Issuer: sub.Cert}.Read(c.answer.DER(t), now)
			if err != nil || s.Good != c.want.Good || !s.Revoked.Equal(c.want.Revoked) || s.Reason != c.want.Reason {
				t.Errorf("got %+v, %v, want %+v", s, err, c.want)
			}
			if s.Until.Before(now) || s.ThisUpdate.IsZero() {
				t.Errorf("got an answer of %s until %s", s.ThisUpdate, s.Until)
			}
		})
	}
}

// TestAnswerEndsWithItsResponder: an answer that is good for longer than the certificate of the
// responder that signed it must be asked for again before, or it is in the way of a better one.
func TestAnswerEndsWithItsResponder(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	ca := catest.New(t, "CA")
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert}
	single := []catest.Single{{Cert: leaf, Issuer: ca.Cert, NextUpdate: now.Add(time.Hour)}}
	for _, c := range []struct {
		name string
		by   *catest.Authority
		want time.Time
	}{
		{"one that ends before", ca.Delegate(t, catest.Valid(now.Add(-time.Hour), now.Add(10*time.Minute))), now.Add(10 * time.Minute)},
		{"one that ends later", ca.Delegate(t, catest.Valid(now.Add(-time.Hour), now.Add(2*time.Hour))), now.Add(time.Hour)},
		{"the issuer itself", ca, now.Add(time.Hour)},
	} {
		s, err := q.Read(catest.Answer{Singles: single, By: c.by}.DER(t), now)
		if err != nil || !s.Until.Equal(c.want) {
			t.Errorf("%s: got until %s, %v; want %s", c.name, s.Until, err, c.want)
		}
		if _, err := q.Read(catest.Answer{Singles: single, By: c.by}.DER(t), s.Until); err != nil {
			t.Errorf("%s: at its end: %v", c.name, err)
		}
	}
}

// TestHowLongAnAnswerMayBeGood: about a leaf a month; about an authority a year, since the root
// above it is kept off the network.
func TestHowLongAnAnswerMayBeGood(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	root := catest.New(t, "Root")
	sub := root.Sub(t, "Sub")
	leaf := root.Issue(t, catest.NewKey(t))
	for _, c := range []struct {
		name string
		cert *x509.Certificate
		days int
		good bool
	}{{"a leaf", leaf, 32, true}, {"a leaf", leaf, 33, false}, {"an authority", sub.Cert, 400, true}, {"an authority", sub.Cert, 401, false}} {
		a := catest.Answer{Singles: []catest.Single{{Cert: c.cert, Issuer: root.Cert, ThisUpdate: now, NextUpdate: now.AddDate(0, 0, c.days)}}, By: root}
		_, err := identity.Question{Certificate: c.cert, Issuer: root.Cert}.Read(a.DER(t), now)
		r, _ := errors.AsType[*identity.OCSPRefusal](err)
		if (err == nil) != c.good || err != nil && (r == nil || r.Rule != "ended") {
			t.Errorf("%s, good for %d days: got %v, want it believed: %t", c.name, c.days, err, c.good)
		}
	}
}

func FuzzReadOCSP(f *testing.F) {
	ca := catest.New(f, "CA")
	leaf := ca.Issue(f, catest.NewKey(f))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert}
	now := time.Now()
	f.Add(catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert, Status: catest.Revoked}}, By: ca}.DER(f))
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 0x03})
	f.Fuzz(func(t *testing.T, der []byte) {
		if s, err := q.Read(der, now); err == nil && s.Good {
			t.Errorf("an answer that the authority never gave: %x", der)
		}
	})
}
