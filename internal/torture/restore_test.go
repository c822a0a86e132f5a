package main

import (
	"slices"
	"strings"
	"testing"
)

// TestFates: none twice, and none of the states that a bill or a transfer can be in when
// the backup is made, or that it can come to, is left out.
func TestFates(t *testing.T) {
	var names, at, then, want []string
	for _, f := range fates {
		names, at, then = append(names, f.name()), append(at, f.at), append(then, f.then)
		word, _, _ := strings.Cut(f.want, " ")
		want = append(want, word)
		if f.issued == "" && len(f.before) > 0 || f.want == "" {
			t.Errorf("%s: something happens to it before it is issued, or nobody knows where it ends", f.name())
		}
		if f.at == "not there" && f.issued != "b" && f.issued != "" || f.then == "nothing" && len(f.after) > 0 {
			t.Errorf("%s: what is done is not what it says", f.name())
		}
	}
	slices.Sort(names)
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) || n < 60 {
		t.Errorf("got %d fates with %d names", len(names), n)
	}
	for _, s := range []string{"not there", "held", "prepared", "in doubt", "disputed", "returned to us", "away", "void"} {
		if !slices.Contains(at, s) {
			t.Errorf("no bill is %s at the backup", s)
		}
	}
	for _, s := range []string{"held", "away", "void", "disputed", "unknown"} {
		if !slices.Contains(want, s) {
			t.Errorf("no bill is %s in the end", s)
		}
	}
	all := strings.Join(then, "; ")
	for _, s := range []string{"issued", "endorsed", "received", "rejected by us", "accepted", "rejected", "cancelled", "disputed", "operators: it has it",
		"operators: it never took it", "the answer lost", "chain that came home", "honoured", "declined", "amended", "paper", "to another platform"} {
		if !strings.Contains(all, s) {
			t.Errorf("nothing that becomes of a bill is %q", s)
		}
	}
}
