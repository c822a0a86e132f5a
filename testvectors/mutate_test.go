package testvectors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/internal/vectest"
	"eblnode/testvectors"
)

// golden are the accepted blocks of real chains, without those whose size makes a
// mutation dull.
func golden(t *testing.T) []*testvectors.Vector {
	t.Helper()
	vs, err := testvectors.Load("chain")
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(vs, func(v *testvectors.Vector) bool {
		return v.Expect != "accept" || len(v.Input)+len(deref(v.InputText)) > 20_000
	})
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// compact is the input without white space between its tokens, so that mutations hit
// what matters.
func compact(t *testing.T, v *testvectors.Vector) []byte {
	t.Helper()
	in, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := json.Compact(&out, in); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// mutate makes one change: a byte changed, inserted, doubled or left out, a piece moved,
// or the text cut.
func mutate(r *rand.Rand, in []byte) []byte {
	at := func() int { return r.IntN(len(in)) }
	i := at()
	switch r.IntN(7) {
	case 0: // one bit
		out := bytes.Clone(in)
		out[i] ^= 1 << r.IntN(8)
		return out
	case 1: // one character for another
		out := bytes.Clone(in)
		out[i] = in[at()]
		return out
	case 2:
		return slices.Insert(bytes.Clone(in), i, in[at()])
	case 3:
		return slices.Delete(bytes.Clone(in), i, i+1)
	case 4: // a piece left out, or cut at the end
		return slices.Delete(bytes.Clone(in), i, min(len(in), i+1+r.IntN(200)))
	case 5: // a piece in another place
		j := min(len(in), i+1+r.IntN(200))
		piece := bytes.Clone(in[i:j])
		out := slices.Delete(bytes.Clone(in), i, j)
		return slices.Insert(out, r.IntN(len(out)+1), piece...)
	default: // a piece twice
		j := min(len(in), i+1+r.IntN(200))
		return slices.Insert(bytes.Clone(in), j, in[i:j]...)
	}
}

// verdict is what our verifier makes of a block, in the words of the vectors.
func verdict(text []byte, o chain.Options) (b *envelope.Transferblock, c *chain.Chain, reason string) {
	b, err := envelope.Parse(text, envelope.Limits{})
	if err != nil {
		return nil, nil, "malformed"
	}
	c, err = chain.Verify(b, o)
	if cerr, ok := errors.AsType[*chain.Error](err); ok {
		reason = string(cerr.Reason)
		if cerr.Law != "" {
			reason += "/" + string(cerr.Law)
		}
	}
	return b, c, reason
}

// meansTheSame: the same document by its canonical form, the same entries byte for byte,
// and beside them what was signed, or nothing. Such texts differ in white space, escapes, order of members or unknown members,
// none of which anybody signed.
func meansTheSame(a, b *envelope.Transferblock) bool {
	da, errA := envelope.Canonicalize(a.Document)
	db, errB := envelope.Canonicalize(b.Document)
	return errA == nil && errB == nil && bytes.Equal(da, db) && slices.EqualFunc(a.Entries, b.Entries, func(x, y envelope.Entry) bool {
		return x.JWS.Raw == y.JWS.Raw && x.Claimed == y.Claimed && x.BesideAgrees() == y.BesideAgrees()
	})
}

// mutations is how many to try.
func mutations() int {
	if testing.Short() {
		return 1_000
	}
	return 10_000
}

// TestSingleMutationsAreRefused changes golden blocks in one place, at random. Changes
// that leave the meaning as it was are counted and set aside by one rule (meansTheSame);
// of all others none may be accepted.
func TestSingleMutationsAreRefused(t *testing.T) {
	vs := golden(t)
	r := rand.New(rand.NewPCG(4, 9))
	refused, same := 0, 0
	reasons := map[string]int{}
	for refused < mutations() {
		v := vs[r.IntN(len(vs))]
		in := compact(t, v)
		good, _, reason := verdict(in, vectest.Options(t, v))
		if reason != "" {
			t.Fatalf("%s, unchanged: got %s", v.Name, reason)
		}
		for range 50 {
			text := mutate(r, in)
			b, c, reason := verdict(text, vectest.Options(t, v))
			switch {
			case b != nil && meansTheSame(b, good):
				same++
				if c == nil || reason != "" {
					t.Errorf("%s: refused with %q, though only unsigned text changed: %s", v.Name, reason, text)
				}
			case c != nil:
				t.Errorf("%s: accepted, changed: %s", v.Name, text)
			default:
				refused++
				reasons[reason]++
			}
		}
	}
	t.Logf("%d mutations refused, %d left the meaning as it was; %v", refused, same, reasons)
	if same > refused/5 || len(reasons) < 6 {
		t.Errorf("the mutations are too harmless or too much alike: %d of %d, %v", same, refused, reasons)
	}
}
