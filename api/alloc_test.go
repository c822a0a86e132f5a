//go:build !race

package api_test

import (
	"testing"

	"eblnode/internal/ebltest"
)

// What a transfer costs the receiver in allocations, from the request to the answer. It is
// exact, so that one more shows; who makes it cost less on purpose lowers it here. What the
// node has of it is counted in package node; net/http and TLS are not in it.
var allocsOfATransfer = []struct {
	ebltest.Allocs
	entries int
}{
	{ebltest.Allocs{Of: "n=1", Want: 475}, 1},
	{ebltest.Allocs{Of: "n=20", Want: 1079}, 20},
}

// TestAllocationsOfATransfer counts what the peer handler allocates; see [ebltest.Allocs].
func TestAllocationsOfATransfer(t *testing.T) {
	ebltest.CheckMeasuredGo(t)
	for _, a := range allocsOfATransfer {
		h, puts := newPuts(t, a.entries, ebltest.AllocRuns)
		a.Check(t, func() {
			put(t, h, puts[0])
			puts = puts[1:]
		})
	}
}
