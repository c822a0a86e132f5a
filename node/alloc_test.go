//go:build !race

package node_test

import (
	"testing"

	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestAllocationsOfATransfer: the number hardly varies from run to run, so that a change
// which costs something shows. Who makes it smaller on purpose lowers it here.
func TestAllocationsOfATransfer(t *testing.T) {
	for entries, most := range map[int]float64{1: 446, 20: 1070} {
		w := ebltest.New(t)
		from, to := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
		bob := to.User("bob")
		const runs = 50
		var bodies [][]byte
		for range runs + 11 { // AllocsPerRun runs once more, to warm up
			bodies = append(bodies, chainTo(from, bob.ID, entries))
		}
		put := func() {
			r, err := to.Node().PutTransferblock(t.Context(), node.Request{Sender: from.Domain(), Body: bodies[0]})
			if err != nil || r.Receipt == "" {
				t.Fatalf("got %+v and %v", r, err)
			}
			bodies = bodies[1:]
		}
		for range 10 {
			put()
		}
		got := testing.AllocsPerRun(runs, put)
		t.Logf("n=%d: %.0f allocations", entries, got)
		if got > most || got < most*0.95 {
			t.Errorf("n=%d: got %.0f allocations a transfer, want %.0f or a little less", entries, got, most)
		}
	}
}
