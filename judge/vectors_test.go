package judge_test

import (
	"strings"
	"testing"

	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

// TestVectors judges every evidence bundle of the test vectors, most of which another
// program made, as their files say that it must be judged.
func TestVectors(t *testing.T) {
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 200 {
		t.Fatalf("got %d bundles, want 200 at least", len(list))
	}
	verdicts := map[string]judge.Verdict{"valid": judge.Valid, "validAtSigningTime": judge.ValidThen, "invalid": judge.Invalid, "indeterminate": judge.Indeterminate}
	for _, v := range list {
		t.Run(v.Name, func(t *testing.T) {
			r, _ := vectest.Judge(t, v)
			want, known := verdicts[v.Expect]
			if !known {
				t.Fatalf("the vector expects %q", v.Expect)
			}
			if r.Verdict != want || r.Rule != v.Reason && !strings.HasPrefix(r.Rule, v.Reason+"/") {
				t.Fatalf("%s: got %s %s (%s), want %s %s", v.Comment, r.Verdict, r.Rule, r.Detail, want, v.Reason)
			}
			if v.State != nil && (r.State == nil || r.State.Possessor != v.State.Possessor || r.State.Status != v.State.Status || r.Document != v.State.DocumentHash || r.State.Length != v.State.Length) {
				t.Errorf("%s: got %+v, want %+v", v.Comment, r.State, v.State)
			}
			if r.Reason != "malformed" && strings.HasPrefix(r.Path, "$.branches") != (r.Branch != nil) {
				t.Errorf("%s: the path is %s, which is not the place %+v", v.Comment, r.Path, r)
			}
			places := map[string]*int{"step": r.Step, "receipt": r.Receipt, "rejection": r.Rejection, "branch": r.Branch}
			for name, n := range v.Place {
				got := places[name]
				switch name {
				case "entry":
					got = &r.Entry
				case "transaction":
					got = &r.Transaction
				}
				if !strings.HasPrefix(r.Rule, "malformed") && (got == nil || *got != n) {
					t.Errorf("%s: the place: got %+v, want %s %d", v.Comment, r, name, n)
				}
			}
		})
	}
}
