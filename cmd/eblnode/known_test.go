package main

import (
	"crypto/x509"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/keyfile"
)

// TestCertificateThatWeSignedCounts for each kind of entry: with pins, with anchors, with both,
// with neither. Whatever the entry believed before it believes still.
func TestCertificateThatWeSignedCounts(t *testing.T) {
	ours, theirs := catest.New(t, "a.example peers"), catest.New(t, "Consortium")
	issue := func(by *catest.Authority) *x509.Certificate {
		return by.Issue(t, catest.NewKey(t), catest.TLS, catest.Names("bank.example"))
	}
	before, signed := issue(theirs), issue(ours)
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	pins, anchors := [][32]byte{identity.SPKIPin(before)}, []*x509.Certificate{theirs.Cert}
	for name, held := range map[string]identity.TLSIdentity{
		"pins": {Pins: pins}, "anchors": {Anchors: anchors}, "pins and anchors": {Pins: pins, Anchors: anchors}, "neither": {},
	} {
		p, changed := known(identity.Platform{Domain: domain, TLS: held}, identity.SPKIPin(signed), ours.Cert)
		if err := p.CheckTLS([]*x509.Certificate{signed}, identity.ClientAuth, time.Now()); err != nil || !changed {
			t.Errorf("%s: the certificate that we signed: got %v, changed %t", name, err, changed)
		}
		if err := p.CheckTLS([]*x509.Certificate{before}, identity.ServerAuth, time.Now()); name != "neither" && err != nil {
			t.Errorf("%s: the certificate of before: %v", name, err)
		}
		if _, again := known(p, identity.SPKIPin(signed), ours.Cert); again {
			t.Errorf("%s: the entry is changed again", name)
		}
	}
	if len(pins) != 1 || len(anchors) != 1 {
		t.Error("the entry that we hold was changed in its place")
	}
}

// TestAuthorityWhoseCertificateIsMissing: a power cut between its two files does not end the
// signing of requests for good; and with both there it is the same one again.
func TestAuthorityWhoseCertificateIsMissing(t *testing.T) {
	a := &app{in: strings.NewReader(""), out: io.Discard, errOut: io.Discard}
	cmd := a.root()
	cmd.SetArgs([]string{"init", "--data", filepath.Join(t.TempDir(), "a"), "--domain", "a.example", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	first, err := a.authority()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(keyfile.CertificateFile(filepath.Join(a.data, keysDir), keyfile.CA, authorityName)); err != nil {
		t.Fatal(err)
	}
	second, err := a.authority()
	if err != nil || !keyfile.SameKey(first.Certificate.PublicKey, second.Certificate.PublicKey) {
		t.Fatalf("with its key alone: got %v, want the same key", err)
	}
	if third, err := a.authority(); err != nil || !third.Certificate.Equal(second.Certificate) {
		t.Errorf("with both: got %v, want the same certificate", err)
	}
}
