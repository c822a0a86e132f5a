package chain_test

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/vectest"
)

// begun is the beginning of a block, verified by itself; nil where it is refused.
func begun(t *testing.T, b *envelope.Transferblock, k int, o chain.Options) (*envelope.Prefix, *chain.Verified) {
	t.Helper()
	part := *b
	part.Entries = b.Entries[:k:k]
	o.Sender = identity.Host{}
	c, err := chain.Verify(&part, o)
	if err != nil {
		return nil, nil
	}
	return part.Prefix(), c.Verified()
}

// sameVerdict judges a body whole, and from its beginning on. It reports whether it was
// accepted, and whether the beginning was used.
func sameVerdict(t *testing.T, body []byte, p *envelope.Prefix, before *chain.Verified, o chain.Options) (accepted, used bool) {
	t.Helper()
	whole, err := envelope.Parse(bytes.Clone(body), envelope.Limits{})
	if err != nil {
		return false, false
	}
	part, err := envelope.ParseKnown(bytes.Clone(body), envelope.Limits{}, func([]byte) *envelope.Prefix { return p })
	if err != nil {
		t.Fatal(err)
	}
	k := part.Known()
	if k == 0 {
		return false, false
	}
	want, wantErr := chain.Verify(whole, o)
	o.Before = before
	got, gotErr := chain.Verify(part, o)
	if (gotErr == nil) != (wantErr == nil) {
		t.Fatalf("after %d of %d entries: got %v, want %v", k, len(whole.Entries), gotErr, wantErr)
	}
	if wantErr != nil {
		return false, true
	}
	if got.State != want.State || got.Document != want.Document || !reflect.DeepEqual(got.Entries[k:], want.Entries[k:]) || !reflect.DeepEqual(got.Hashes(), want.Hashes()) {
		t.Fatalf("after %d of %d entries:\ngot  %+v\nwant %+v", k, len(whole.Entries), got, want)
	}
	if !reflect.DeepEqual(got.Verified(), want.Verified()) {
		t.Fatalf("after %d of %d entries: what would be kept is not the same:\ngot  %+v\nwant %+v", k, len(whole.Entries), got.Verified(), want.Verified())
	}
	return true, true
}

// TestVerifiedBeginningChangesNoVerdict: to go on from where a chain was verified before must
// come out as judging all of it, for every vector, at every place, with damage behind it, with
// a clock that was set back, and with another document before it.
func TestVerifiedBeginningChangesNoVerdict(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	accepted, refused := 0, 0
	count := func(a, used bool) {
		switch {
		case a:
			accepted++
		case used:
			refused++
		}
	}
	for _, v := range vectors(t) {
		b, err := blockOf(t, v)
		if err != nil {
			continue
		}
		body, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		o := vectest.Options(t, v)
		for k := 1; k < len(b.Entries); k++ {
			p, before := begun(t, b, k, o)
			if p == nil {
				break
			}
			count(sameVerdict(t, body, p, before, o))
			for range 20 {
				damaged := bytes.Clone(body)
				damaged[r.IntN(len(damaged))] = "0Aa-_.\"}"[r.IntN(8)]
				count(sameVerdict(t, damaged, p, before, o))
			}
			earlier := o
			for _, d := range []time.Duration{time.Minute, 6 * time.Minute, time.Hour, 10000 * time.Hour} {
				earlier.Now = o.Now.Add(-d)
				count(sameVerdict(t, body, p, before, earlier))
			}
			for i := range b.Entries { // just before each transaction is no longer ahead of the clock, and just after
				for _, tx := range b.Entries[i].Payload.Transactions {
					for _, d := range []time.Duration{-time.Second, time.Second} {
						earlier.Now = tx.At.Add(d - envelope.ClockSkew)
						count(sameVerdict(t, body, p, before, earlier))
					}
				}
			}
			other := *b
			other.Document = append(bytes.TrimSuffix(bytes.TrimSpace(b.Document), []byte("}")), `,"other":1}`...)
			count(sameVerdict(t, other.Marshal(false), p, before, o))
		}
	}
	if accepted < 50 || refused < 50 {
		t.Errorf("%d accepted and %d refused from a verified beginning: too few to say anything", accepted, refused)
	}
}

// TestVerifiedBeginningOfAnotherKindIsNone: what was verified by other trust entries, or of
// other entries, or not at all, stands for nothing.
func TestVerifiedBeginningOfAnotherKindIsNone(t *testing.T) {
	for _, v := range vectors(t) {
		b, err := blockOf(t, v)
		if err != nil || len(b.Entries) < 3 || v.Expect != "accept" {
			continue
		}
		body, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		o := vectest.Options(t, v)
		p, before := begun(t, b, 2, o)
		_, shorter := begun(t, b, 1, o)
		part, err := envelope.ParseKnown(body, envelope.Limits{}, func([]byte) *envelope.Prefix { return p })
		if err != nil {
			t.Fatal(err)
		}
		later := o
		later.Trust = vectest.Trust(t, v.Trust) // the same entries, read again
		for name, o := range map[string]chain.Options{"none": o, "another length": with(o, shorter), "other trust entries": with(later, before)} {
			if c, err := chain.Verify(part, o); err == nil {
				t.Errorf("%s: verified %+v", name, c.State)
			}
		}
		if _, err := chain.Verify(b, with(o, before)); err == nil {
			t.Error("it stands for entries that were read")
		}
		if _, err := chain.Verify(part, with(o, before)); err != nil {
			t.Errorf("the right one: %v", err)
		}
		return
	}
	t.Fatal("no vector fits")
}

func with(o chain.Options, b *chain.Verified) chain.Options {
	o.Before = b
	return o
}
