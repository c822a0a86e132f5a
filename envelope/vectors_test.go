package envelope_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/testvectors"
)

func load(t testing.TB, families ...string) []*testvectors.Vector {
	t.Helper()
	var all []*testvectors.Vector
	for _, f := range families {
		vs, err := testvectors.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vs...)
	}
	return all
}

func input(t testing.TB, v *testvectors.Vector) []byte {
	t.Helper()
	in, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func trustOf(t testing.TB, name string) *identity.Trust {
	t.Helper()
	text, err := testvectors.Trust(name)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		t.Fatalf("trust file %s: %v", name, err)
	}
	trust, err := identity.NewTrust(ps...)
	if err != nil {
		t.Fatalf("trust file %s: %v", name, err)
	}
	return trust
}

func platformOf(t testing.TB, trust *identity.Trust, domain string) *identity.Platform {
	t.Helper()
	h, err := identity.ParseHost(domain)
	if err != nil {
		t.Fatal(err)
	}
	p, ok := trust.Find(h)
	if !ok {
		t.Fatalf("no trust entry for %s", domain)
	}
	return p
}

// checkMalformed fails unless err is a *FormatError at the vector's place.
func checkMalformed(t *testing.T, v *testvectors.Vector, err error) {
	t.Helper()
	ferr, ok := errors.AsType[*envelope.FormatError](err)
	if !ok {
		t.Fatalf("%s: got %v, want malformed", v.Comment, err)
	}
	if v.Path != "" && ferr.Path != v.Path {
		t.Errorf("path: got %s, want %s (%s)", ferr.Path, v.Path, ferr.Detail)
	}
}

// TestVectorsBlock: what is malformed fails Parse, and nothing else does.
func TestVectorsBlock(t *testing.T) {
	for _, v := range load(t, "signed", "envelope", "chain", "ca") {
		t.Run(v.Name, func(t *testing.T) {
			b, err := envelope.Parse(input(t, v), envelope.Limits{})
			if v.Expect == "malformed" {
				checkMalformed(t, v, err)
				return
			}
			if err != nil {
				t.Fatalf("%s: got %v, want a block (%s)", v.Comment, err, v.Expect)
			}
			again, err := envelope.Parse(b.Marshal(false), envelope.Limits{})
			if err != nil {
				t.Fatalf("what we write of it: got %v", err)
			}
			for i := range b.Entries {
				if got, want := again.Entries[i].JWS.Raw, b.Entries[i].JWS.Raw; got != want {
					t.Errorf("entry %d, written again: got %s, want %s", i, got, want)
				}
			}
		})
	}
}

func TestVectorsCanonical(t *testing.T) {
	entry := input(t, load(t, "chain")[0])
	whole, err := envelope.Parse(entry, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	frame := whole.Marshal(false)
	tail := string(frame[len(`{"document":`)+len(whole.Document):])
	for _, v := range load(t, "json", "canonical") {
		t.Run(v.Name, func(t *testing.T) {
			in := input(t, v)
			b, err := envelope.Parse([]byte(`{"document":`+string(in)+tail), envelope.Limits{})
			if v.Expect == "malformed" {
				checkMalformed(t, v, err)
				return
			}
			if err != nil {
				t.Fatalf("%s: got %v, want a document", v.Comment, err)
			}
			got, err := envelope.Canonicalize(in)
			if err != nil || string(got) != v.Canonical {
				t.Errorf("canonical: got %s, %v, want %s", got, err, v.Canonical)
			}
			h, err := b.DocumentHash(nil)
			if err != nil || h.String() != v.State.DocumentHash {
				t.Errorf("document hash: got %s, %v, want %s", h, err, v.State.DocumentHash)
			}
			if again, err := envelope.Canonicalize(got); err != nil || string(again) != string(got) {
				t.Errorf("canonical again: got %s, %v, want no change", again, err)
			}
		})
	}
}

func TestVectorsAnswers(t *testing.T) {
	for _, v := range load(t, "receipt") {
		t.Run(v.Name, func(t *testing.T) {
			at, err := time.Parse(time.RFC3339, v.At)
			if err != nil {
				t.Fatal(err)
			}
			err = open(t, v, platformOf(t, trustOf(t, v.Trust), v.Signer), at)
			serr, isSignature := errors.AsType[*envelope.SignatureError](err)
			switch {
			case v.Expect == "accept" && err == nil:
			case v.Expect == "malformed":
				checkMalformed(t, v, err)
			case v.Reason == "notOurTransfer" && errors.Is(err, errNotOurs):
			case isSignature && string(serr.Reason) == v.Reason:
			default:
				t.Errorf("%s: got %v, want %s %s", v.Comment, err, v.Expect, v.Reason)
			}
		})
	}
}

var errNotOurs = errors.New("not about our transfer")

func open(t *testing.T, v *testvectors.Vector, p *identity.Platform, at time.Time) error {
	t.Helper()
	in := input(t, v)
	switch v.Kind {
	case "receipt":
		want, err := envelope.ParseHash(v.EnvelopeHash)
		if err != nil {
			t.Fatal(err)
		}
		_, err = envelope.OpenReceipt(in, want, p, at)
		return err
	case "rejection":
		r, err := envelope.OpenRejection(string(in), p, at)
		if err != nil {
			return err
		}
		e, err := envelope.ParseEntry(v.JWS, envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !r.Answers(&e, mustHost(t, v.Sender), mustHost(t, v.Receiver)) {
			return errNotOurs
		}
		return nil
	case "verdict":
		_, err := envelope.OpenVerdict(string(in), p, at)
		return err
	}
	t.Fatalf("a vector of kind %q", v.Kind)
	return nil
}

func mustHost(t testing.TB, s string) identity.Host {
	t.Helper()
	h, err := identity.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestStatementsAreNotInterchangeable: nothing that we sign in one role is taken in another.
func TestStatementsAreNotInterchangeable(t *testing.T) {
	for _, v := range load(t, "receipt") {
		if v.Expect != "accept" || v.Kind == "receipt" && strings.Contains(v.Name, "typ") {
			continue
		}
		for _, kind := range []string{"receipt", "rejection", "verdict", "envelope", "step"} {
			if kind == v.Kind {
				continue
			}
			t.Run(v.Name+" as "+kind, func(t *testing.T) {
				at, _ := time.Parse(time.RFC3339, v.At)
				p := platformOf(t, trustOf(t, v.Trust), v.Signer)
				in := strings.Trim(string(input(t, v)), " \r\n\"")
				var err error
				switch kind {
				case "receipt":
					_, err = envelope.OpenReceipt([]byte(in), envelope.HashOf([]byte("x")), p, at)
				case "rejection":
					_, err = envelope.OpenRejection(in, p, at)
				case "verdict":
					_, err = envelope.OpenVerdict(in, p, at)
				case "step":
					_, err = envelope.OpenStep(in, p)
				case "envelope":
					_, err = envelope.ParseEntry(in, envelope.Limits{})
				}
				if _, ok := errors.AsType[*envelope.FormatError](err); !ok {
					t.Errorf("got %v, want malformed", err)
				}
			})
		}
	}
}
