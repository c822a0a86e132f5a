package chain_test

import (
	"errors"
	"testing"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/internal/vectest"
	"eblnode/testvectors"
)

func blockOf(t testing.TB, v *testvectors.Vector) (*envelope.Transferblock, error) {
	t.Helper()
	in, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return envelope.Parse(in, envelope.Limits{})
}

func vectors(t testing.TB) []*testvectors.Vector {
	t.Helper()
	var all []*testvectors.Vector
	for _, f := range []string{"signed", "envelope", "chain", "ca"} {
		vs, err := testvectors.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vs...)
	}
	return all
}

func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			b, err := blockOf(t, v)
			if v.Expect == "malformed" {
				if _, ok := errors.AsType[*envelope.FormatError](err); !ok {
					t.Fatalf("%s: got %v, want malformed", v.Comment, err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: got %v, want %s", v.Comment, err, v.Expect)
			}
			c, err := chain.Verify(b, vectest.Options(t, v))
			if v.Expect == "accept" {
				if err != nil {
					t.Fatalf("%s: got %v, want accept", v.Comment, err)
				}
				checkState(t, c, v.State)
				return
			}
			checkRefusal(t, v, c, err)
		})
	}
}

func checkState(t *testing.T, c *chain.Chain, want *testvectors.State) {
	t.Helper()
	got := testvectors.State{
		Possessor: c.State.Possessor.String(), Status: string(c.State.Status), Issuing: c.State.Issuing.String(), ToOrder: c.State.ToOrder,
		Head: c.State.Head.String(), Length: c.State.Length, DocumentHash: c.State.Document.String(),
	}
	if got != *want {
		t.Errorf("state: got %+v, want %+v", got, *want)
	}
	if c.State.Endorsee != c.State.Possessor {
		t.Errorf("endorsee: got %s, want the possessor %s: v1 moves both", c.State.Endorsee, c.State.Possessor)
	}
	if last := c.Head(); last.After != c.State || len(c.Entries) != c.State.Length {
		t.Errorf("state after the last of %d entries: got %+v, want %+v", len(c.Entries), last.After, c.State)
	}
}

func checkRefusal(t *testing.T, v *testvectors.Vector, c *chain.Chain, err error) {
	t.Helper()
	cerr, ok := errors.AsType[*chain.Error](err)
	if !ok || c != nil {
		t.Fatalf("%s: got %v, %v, want %s", v.Comment, c, err, v.Reason)
	}
	if string(cerr.Reason) != v.Reason || string(cerr.Law) != v.Law {
		t.Errorf("%s: got %v, want %s %s", v.Comment, err, v.Reason, v.Law)
	}
	if v.Entry != nil && cerr.Entry != *v.Entry {
		t.Errorf("entry: got %d, want %d", cerr.Entry, *v.Entry)
	}
	if v.Transaction != nil && cerr.Transaction != *v.Transaction {
		t.Errorf("transaction: got %d, want %d", cerr.Transaction, *v.Transaction)
	}
	// The level and the code follow from the reason; a receiver and a verifier read them there.
	class := map[int]chain.Class{7103: chain.Unsigned, 8001: chain.BSIG, 8002: chain.BENV}[v.Code]
	if got := cerr.Reason.Class(); got != class {
		t.Errorf("class of %s: got %d, want %d (code %d)", cerr.Reason, got, class, v.Code)
	}
	if got, want := cerr.Reason.Indeterminate(), v.Expect == "indeterminate"; got != want {
		t.Errorf("indeterminate of %s: got %t, want %t", cerr.Reason, got, want)
	}
}

// TestVectorsReachEveryLaw keeps the families complete: each reason, and each part of
// the law that a chain can break, has a vector.
func TestVectorsReachEveryLaw(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range vectors(t) {
		seen[v.Reason], seen[v.Law] = true, true
	}
	for _, r := range []chain.Reason{chain.SignerMismatch, chain.UnknownKey, chain.KeyCompromised, chain.BadSignature, chain.PlatformNotTrusted,
		chain.BadChainSignature, chain.BadHash, chain.BadLink, chain.DocumentMismatch, chain.NotAnIssuer, chain.Unlawful} {
		if !seen[string(r)] {
			t.Errorf("no vector is refused with %s", r)
		}
	}
	for _, l := range []chain.Law{chain.NotIssued, chain.IssuedTwice, chain.NotInControl, chain.SamePossessor, chain.ReturnPending, chain.NotReturnedBy,
		chain.NotToTheIssuer, chain.ToOrderChanged, chain.OtherPlatform, chain.TimeReversed, chain.TimeAhead} {
		if !seen[string(l)] {
			t.Errorf("no vector is refused with %s", l)
		}
	}
}
