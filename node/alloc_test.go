//go:build !race

package node_test

import (
	"testing"

	"eblnode/internal/ebltest"
	"eblnode/node"
)

// What a transfer costs the receiver, without the network, in allocations. It is exact, so
// that one more shows; who makes it cost less on purpose lowers it here.
var allocsOfATransfer = []struct {
	ebltest.Allocs
	entries int
	known   bool // it comes back with two entries more; else it is seen for the first time
}{
	{ebltest.Allocs{Of: "n=1", Want: 443}, 1, false},
	{ebltest.Allocs{Of: "n=20", Want: 1047}, 20, false},
	{ebltest.Allocs{Of: "n=100", Want: 3584}, 100, false},
	{ebltest.Allocs{Of: "n=20, of which 18 are known", Want: 758}, 20, true},
}

// TestAllocationsOfATransfer counts what PutTransferblock allocates; see [ebltest.Allocs].
// That of the network is counted in package api.
func TestAllocationsOfATransfer(t *testing.T) {
	ebltest.CheckMeasuredGo(t)
	for _, a := range allocsOfATransfer {
		blocks := newBlocks
		if a.known {
			blocks = comebacks
		}
		from, to, bodies := blocks(t, a.entries, ebltest.AllocRuns)
		a.Check(t, func() {
			r, err := to.Node().PutTransferblock(t.Context(), node.Request{Sender: from.Domain(), Body: bodies[0]})
			if err != nil || r.Receipt == "" {
				t.Fatalf("got %+v and %v", r, err)
			}
			bodies = bodies[1:]
		})
	}
}
