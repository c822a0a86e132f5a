package main

import (
	"bytes"
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
)

// TestRenewedEntryTakesNothingBack: what peer fetch makes of our entry of a peer and of what that
// publishes is an entry that can be added, whatever each side says of a key that was revoked.
func TestRenewedEntryTakesNothingBack(t *testing.T) {
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	day := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	signer, err := identity.GenerateSigner(domain, identity.ES256, identity.CertificateSpec{Subject: "bank", Names: []string{"bank.example"}, NotBefore: day.AddDate(0, -1, 0), NotAfter: day.AddDate(0, 6, 0)})
	if err != nil {
		t.Fatal(err)
	}
	entry := func(at time.Time, reason string) *identity.Platform {
		k := *signer.Key
		k.Revoked, k.Reason = at, reason
		return &identity.Platform{Domain: domain, Mode: identity.ModePinned, Keys: []*identity.Key{&k}}
	}
	var never time.Time
	for _, c := range []struct {
		name         string
		ours, theirs time.Time
		our, their   string
		want         time.Time
		reason       string
	}{
		{"neither", never, never, "", "", never, ""},
		{"the peer says so", never, day, "", "superseded", day, "superseded"},
		{"we say so", day, never, "superseded", "", day, "superseded"},
		{"we say stolen, the peer replaced", day, day, "keyCompromise", "superseded", day, "keyCompromise"},
		{"we say stolen, the peer replaced, and before", day, day.AddDate(0, 0, -1), "keyCompromise", "superseded", day.AddDate(0, 0, -1), "keyCompromise"},
		{"we say replaced, the peer stolen, and later", day, day.AddDate(0, 0, 1), "superseded", "keyCompromise", day, "keyCompromise"},
		{"both the same, the peer later", day, day.AddDate(0, 0, 1), "superseded", "superseded", day, "superseded"},
	} {
		got := renewed(entry(c.ours, c.our), &api.Fetched{Platform: entry(c.theirs, c.their)}).Keys
		if len(got) != 1 || !got[0].Revoked.Equal(c.want) || got[0].Reason != c.reason {
			t.Errorf("%s: got %+v, want %s %q", c.name, got, c.want, c.reason)
		}
	}
}

// TestComposedEntrySaysNothingButKeys: of a peer that publishes a key set alone what our entry
// knows beside its keys stays, the pin of the certificate too that our authority signed for it.
func TestComposedEntrySaysNothingButKeys(t *testing.T) {
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	server, client := [32]byte{1}, [32]byte{2}
	held := &identity.Platform{Domain: domain, Name: "Bank", Code: "BANK", Endpoint: "https://api.bank.example/v1/transferblocks",
		TLS: identity.TLSIdentity{Pins: [][32]byte{client}}, OAuth: identity.OAuth{ClientID: "bank-7"}}
	got := renewed(held, &api.Fetched{Composed: true, Platform: &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Pins: [][32]byte{server}}}})
	if got.Name != held.Name || got.Code != held.Code || got.Endpoint != held.Endpoint || got.OAuth != held.OAuth {
		t.Errorf("got %+v, want all that no key set says as it was", got)
	}
	if !slices.Equal(got.TLS.Pins, [][32]byte{client, server}) || len(held.TLS.Pins) != 1 {
		t.Errorf("got the pins %x, want the old one and that of the endpoint", got.TLS.Pins)
	}
	held.TLS = identity.TLSIdentity{Anchors: []*x509.Certificate{{}}}
	got = renewed(held, &api.Fetched{Composed: true, Platform: &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Pins: [][32]byte{server}}}})
	if len(got.TLS.Pins) != 0 {
		t.Errorf("known by an authority alone: got the pins %x", got.TLS.Pins)
	}
	// What the platform itself publishes counts as it stands, and what goes is shown.
	held.TLS = identity.TLSIdentity{Pins: [][32]byte{client}}
	whole := &api.Fetched{Platform: &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Pins: [][32]byte{server}}}}
	got = renewed(held, whole)
	if got.Endpoint != "" || !slices.Equal(got.TLS.Pins, [][32]byte{server}) {
		t.Errorf("its own entry: got %+v", got)
	}
	var shown bytes.Buffer
	(&app{errOut: &shown}).describe(whole, held, got)
	if !strings.Contains(shown.String(), identity.PinText(client)+", not any more") || !strings.Contains(shown.String(), identity.PinText(server)+", new") {
		t.Errorf("got %s", shown.String())
	}
}

// TestWhatAnEntryMakesEasierIsShown before somebody says yes to it.
func TestWhatAnEntryMakesEasierIsShown(t *testing.T) {
	p := &identity.Platform{OCSP: identity.OCSPPolicy{SoftTLS: true, ShortLived: true, Responder: "http://ocsp.example/"}, OAuth: identity.OAuth{Issuer: "https://as.example"},
		Quirks: identity.Quirks{BareKey: true}, Carriers: []string{"MAEU"}}
	var shown bytes.Buffer
	describeRights(&shown, p)
	for _, want := range []string{"it may connect while nobody can say", "nobody is asked about certificates that live a week", "http://ocsp.example/", "https://as.example", "BareKey:true", "MAEU"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("got %s, want %q", shown.String(), want)
		}
	}
	shown.Reset()
	if describeRights(&shown, &identity.Platform{}); shown.Len() > 0 {
		t.Errorf("an entry that makes nothing easier: got %s", shown.String())
	}
}
