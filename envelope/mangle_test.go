package envelope_test

import (
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// mangled calls f with every text that differs from s in one place: each byte changed in
// several ways, left out or doubled, and each beginning and end of s.
func mangled(s string, f func(what, text string)) {
	for i := range len(s) {
		for bit := range 8 {
			f("bit", s[:i]+string([]byte{s[i] ^ 1<<bit})+s[i+1:])
		}
		for _, c := range []byte("\x00\n \"=.,-_+/Aa0{}[]\\\xff") {
			if c != s[i] {
				f("changed", s[:i]+string([]byte{c})+s[i+1:])
			}
		}
		f("left out", s[:i]+s[i+1:])
		f("doubled", s[:i+1]+s[i:])
		f("beginning", s[:i])
		if i > 0 {
			f("end", s[i:])
		}
	}
}

// TestMangledSignature: of an envelope no changed text verifies. This includes every
// second spelling of the same bytes, which would be a second entry out of nothing.
func TestMangledSignature(t *testing.T) {
	for _, v := range load(t, "signed") {
		if v.Name != "signed/alg-es256" && v.Name != "signed/alg-rs256" && v.Name != "signed/alg-ps256" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			b, err := envelope.Parse(input(t, v), envelope.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			e := b.Last()
			p := platformOf(t, trustOf(t, v.Trust), "carrier.example")
			if _, err := e.JWS.Verify(p, e.Payload.SignedAt(), false); err != nil {
				t.Fatalf("unchanged: got %v", err)
			}
			tried := 0
			mangled(e.JWS.Raw, func(what, text string) {
				tried++
				j, err := envelope.ParseJWS(text)
				if err != nil {
					return
				}
				if _, err := j.Verify(p, e.Payload.SignedAt(), false); err == nil {
					t.Errorf("%s: verified: %s", what, text)
				}
			})
			if tried < 10_000 {
				t.Errorf("tried %d texts, want more", tried)
			}
		})
	}
}

// TestMangledReceipt: of a receipt no changed text is believed, bare or quoted.
func TestMangledReceipt(t *testing.T) {
	for _, v := range load(t, "receipt") {
		if v.Name != "receipt/receipt" && v.Name != "receipt/receipt-quoted" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			p := platformOf(t, trustOf(t, v.Trust), v.Signer)
			at, err := time.Parse(time.RFC3339, v.At)
			if err != nil {
				t.Fatal(err)
			}
			want, err := envelope.ParseHash(v.EnvelopeHash)
			if err != nil {
				t.Fatal(err)
			}
			good := string(input(t, v))
			whole, err := envelope.OpenReceipt([]byte(good), want, p, at)
			if err != nil {
				t.Fatalf("unchanged: got %v", err)
			}
			mangled(good, func(what, text string) {
				j, err := envelope.OpenReceipt([]byte(text), want, p, at)
				if err == nil && j.Raw != whole.Raw {
					t.Errorf("%s: believed: %s", what, text)
				}
			})
			other := want
			other[31] ^= 1
			if _, err := envelope.OpenReceipt([]byte(good), other, p, at); err == nil {
				t.Error("for another envelope: got no error")
			}
		})
	}
}

// TestMangledRejectionAndVerdict: the same for the statements that move control.
func TestMangledRejectionAndVerdict(t *testing.T) {
	for _, v := range load(t, "receipt") {
		if v.Name != "receipt/rejection" && v.Name != "receipt/verdict-surrendered" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			p := platformOf(t, trustOf(t, v.Trust), v.Signer)
			at, err := time.Parse(time.RFC3339, v.At)
			if err != nil {
				t.Fatal(err)
			}
			open := func(s string) error {
				if v.Kind == "verdict" {
					_, err := envelope.OpenVerdict(s, p, at)
					return err
				}
				_, err := envelope.OpenRejection(s, p, at)
				return err
			}
			good := string(input(t, v))
			if err := open(good); err != nil {
				t.Fatalf("unchanged: got %v", err)
			}
			mangled(good, func(what, text string) {
				if open(text) == nil && strings.TrimSpace(text) != good {
					t.Errorf("%s: believed: %s", what, text)
				}
			})
		})
	}
}

// TestSignatureIsOfOnePlatform: an envelope that one platform signed is none of another's,
// though that has a key of the same kid.
func TestSignatureIsOfOnePlatform(t *testing.T) {
	trust := trustOf(t, "base")
	carrier, bank := platformOf(t, trust, "carrier.example"), platformOf(t, trust, "bank.example")
	impostor := *bank
	key := *bank.Keys[0]
	key.ID = carrier.Keys[0].ID
	impostor.Keys = []*identity.Key{&key}
	for _, v := range load(t, "chain") {
		if v.Name != "chain/issued" {
			continue
		}
		b, err := envelope.Parse(input(t, v), envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		e := b.Last()
		if _, err := e.JWS.Verify(carrier, e.Payload.SignedAt(), false); err != nil {
			t.Errorf("its own platform: got %v", err)
		}
		for _, p := range []*identity.Platform{bank, &impostor} {
			if _, err := e.JWS.Verify(p, e.Payload.SignedAt(), false); err == nil {
				t.Errorf("%s, kid %s: verified", p.Domain, p.Keys[0].ID)
			}
		}
	}
}
