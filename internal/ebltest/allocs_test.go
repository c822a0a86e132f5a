package ebltest

import (
	"testing"
)

var kept *[64]byte

// TestCountOfAllocations: what is always allocated is counted to one, whatever now and then
// comes on top.
func TestCountOfAllocations(t *testing.T) {
	for want := range uint64(4) {
		calls := 0
		got := count(func() {
			for range want {
				kept = new([64]byte)
			}
			if calls++; calls%5 == 0 {
				kept = new([64]byte)
			}
		})
		if got[0] != want || got[len(got)/2] != want || got[len(got)-1] < want+1 || len(got) != calls-1 || calls != AllocRuns {
			t.Errorf("got %v in %d calls, want %d at least in %d, and more in some", got, calls, want, AllocRuns)
		}
	}
}

// TestGoMinor: a patch release is the same Go, an experiment is another.
func TestGoMinor(t *testing.T) {
	for in, want := range map[string]string{"go1.26": "1.26", "go1.26.8": "1.26", "1.26.0": "1.26", "go1.27rc1": "1.27rc1",
		"go1.26.8 X:nodwarf5": "go1.26.8 X:nodwarf5", "devel go1.27-abc": "devel go1.27-abc"} {
		if got := goMinor(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
