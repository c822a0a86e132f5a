package testvectors_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/testvectors"
)

func answers(t *testing.T) []*testvectors.OCSP {
	t.Helper()
	list, err := testvectors.LoadOCSP()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestOCSPVectors: which answers say something, and what. The Node reader says the same of
// each (TestNodeReaderAgrees).
func TestOCSPVectors(t *testing.T) {
	good, revoked, refused := 0, 0, 0
	for _, v := range answers(t) {
		at, err := time.Parse(time.RFC3339, v.At)
		if err != nil {
			t.Fatal(err)
		}
		q := identity.Question{Certificate: certificate(t, v.Certificate), Issuer: certificate(t, v.Issuer)}
		s, err := q.Read(v.Input, at)
		if (err == nil) != (v.Expect == "accept") || strings.Contains(v.Name, "/refuse-") == (v.Expect == "accept") {
			t.Errorf("%s (%s): got %+v, %v, want %s", v.Name, v.Comment, s, err, v.Expect)
			continue
		}
		if err != nil {
			refused++
			continue
		}
		got := testvectors.Standing{Good: s.Good, Reason: s.Reason}
		if !s.Good {
			got.Revoked = s.Revoked.Format(time.RFC3339)
			revoked++
		} else {
			good++
		}
		if got != *v.Status {
			t.Errorf("%s (%s): got %+v, want %+v", v.Name, v.Comment, got, *v.Status)
		}
	}
	if good < 5 || revoked < 5 || refused < 20 {
		t.Errorf("got %d good, %d revoked, %d that say nothing; want 5, 5, 20", good, revoked, refused)
	}
}

func certificate(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
