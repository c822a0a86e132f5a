package envelope_test

import (
	"errors"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// TestVerifiedUnderOneKeyIsVerifiedUnderNoOther: that a JWS remembers whose it is opens it to
// nobody else, and judges no key's standing.
func TestVerifiedUnderOneKeyIsVerifiedUnderNoOther(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	a, b := newPen(t, "a.example", now), newPen(t, "b.example", now)
	// Another key under the same name, and the same key for another algorithm or out of its window.
	other, unfit, later, stolen := *b.Key, *a.Key, *a.Key, *a.Key
	other.ID, other.Platform = a.Key.ID, a.p.Domain
	unfit.Alg = identity.ES512
	later.NotBefore = now.Add(time.Minute)
	stolen.Revoked, stolen.Reason = now.Add(-time.Minute), identity.ReasonKeyCompromise
	raw, err := envelope.SignReceipt(envelope.Hash{1}, a.Signer, now)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := envelope.ParseJWS(raw)
	if err != nil {
		t.Fatal(err)
	}
	platform := func(k *identity.Key) *identity.Platform {
		return &identity.Platform{Domain: a.p.Domain, Keys: []*identity.Key{k}}
	}
	for _, when := range []string{"before", "after"} { // it was verified
		for name, v := range map[string]struct {
			key  *identity.Key
			want envelope.SignatureReason
			part string
		}{
			"another key of the same name": {&other, envelope.BadSignature, "value"},
			"for another algorithm":        {&unfit, envelope.BadSignature, "algorithm"},
			"not valid yet":                {&later, envelope.BadSignature, "window"},
			"stolen":                       {&stolen, envelope.KeyCompromised, ""},
		} {
			_, err := jws.Verify(platform(v.key), now, false)
			if e, ok := errors.AsType[*envelope.SignatureError](err); !ok || e.Reason != v.want || e.Part != v.part {
				t.Errorf("%s, %s: got %v, want %s %s", when, name, err, v.want, v.part)
			}
		}
		for _, k := range []*identity.Key{a.Key, a.Key} {
			if got, err := jws.Verify(platform(k), now, false); err != nil || got != k {
				t.Fatalf("%s: got %v, %v, want the key", when, got, err)
			}
		}
	}
	// What is not verified is not remembered either.
	last := byte('A')
	if raw[len(raw)-3] == 'A' {
		last = 'B'
	}
	bad, err := envelope.ParseJWS(raw[:len(raw)-3] + string(last) + raw[len(raw)-2:])
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := bad.Verify(platform(a.Key), now, false); err == nil {
			t.Fatal("a changed signature: got no error")
		}
	}
}
