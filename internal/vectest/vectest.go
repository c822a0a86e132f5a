// Package vectest is the test vectors as the tests of several packages want them: trust
// files, options and times, read. For tests only.
package vectest

import (
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/identity"
	"eblnode/judge"
	"eblnode/testvectors"
)

// Platforms are the trust entries of a trust file of the vectors, and the trust in them.
func Platforms(t testing.TB, name string) ([]*identity.Platform, *identity.Trust) {
	t.Helper()
	text, err := testvectors.Trust(name)
	if err != nil {
		t.Fatalf("trust file %s: %v", name, err)
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		t.Fatalf("trust file %s: %v", name, err)
	}
	trust, err := identity.NewTrust(ps...)
	if err != nil {
		t.Fatalf("trust file %s: %v", name, err)
	}
	return ps, trust
}

// Trust is the trust in the platforms of a trust file of the vectors.
func Trust(t testing.TB, name string) *identity.Trust {
	t.Helper()
	_, trust := Platforms(t, name)
	return trust
}

// Options are those under which v is to be verified.
func Options(t testing.TB, v *testvectors.Vector) chain.Options {
	t.Helper()
	o := chain.Options{Trust: Trust(t, v.Trust), Now: at(t, v.At)}
	if v.Sender != "" {
		var err error
		if o.Sender, err = identity.ParseHost(v.Sender); err != nil {
			t.Fatal(err)
		}
		o.Arriving = true
	}
	return o
}

// Judge is the verdict on b, with its journey.
func Judge(t testing.TB, b *testvectors.Bundle) (*judge.Report, judge.Options) {
	t.Helper()
	body, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	o := judge.Options{Trust: Trust(t, b.Trust), Now: at(t, b.At), Journey: true, Stop: func() bool { return b.Seconds != nil && *b.Seconds == 0 }}
	r := judge.File(body, o)
	r.File = b.Name
	return r, o
}

func at(t testing.TB, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
