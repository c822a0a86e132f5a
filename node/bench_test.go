package node_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// BenchmarkPutTransferblock is the node without the network: a block in, a receipt out, on
// the disk. With many at once they share commits. What is known is a chain that comes back
// with two entries more.
func BenchmarkPutTransferblock(b *testing.B) {
	for _, entries := range []int{1, 20, 100} {
		for _, clients := range []int{1, 32} {
			b.Run(fmt.Sprintf("n=%d/clients=%d", entries, clients), func(b *testing.B) {
				from, to, bodies := newBlocks(b, entries, b.N)
				benchPut(b, from, to, bodies, clients)
			})
		}
	}
	b.Run("known/n=20/clients=1", func(b *testing.B) {
		from, to, bodies := comebacks(b, 20, b.N)
		benchPut(b, from, to, bodies, 1)
	})
}

// manyVerdicts lets a peer have as many as a benchmark wants.
var manyVerdicts = ebltest.Configure(func(c *node.Config) { c.VerdictsPerHour = 1 << 30 })

func benchPut(b *testing.B, from, to *ebltest.Platform, bodies [][]byte, clients int) {
	b.ReportAllocs()
	b.ResetTimer()
	inParallel(clients, len(bodies), func(i int) bool {
		r, err := to.Node().PutTransferblock(b.Context(), node.Request{Sender: from.Domain(), Body: bodies[i]})
		if err != nil || r.Receipt == "" {
			b.Errorf("got %+v and %v", r, err)
			return false
		}
		return true
	})
}

// inParallel calls f for 0 to n-1 from so many goroutines, of which each ends when f says false.
func inParallel(clients, n int, f func(i int) bool) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && f(i); i = int(next.Add(1)) - 1 {
			}
		})
	}
	wg.Wait()
}

// BenchmarkOutbox is a transfer to another platform from the order to the stored receipt, over
// TLS on loopback. Both nodes are in this process, and the allocations are those of both.
func BenchmarkOutbox(b *testing.B) {
	gin.SetMode(gin.TestMode) // else it prints its routes into the results
	for _, clients := range []int{1, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			w := ebltest.NewTLS(b)
			from, to := w.Platform("a.example"), w.Platform("b.example", manyVerdicts)
			al, bob := from.User("al"), to.User("bob")
			bills := make([]envelope.Hash, b.N)
			for i := range bills {
				bills[i] = from.Issue(al.ID)
			}
			b.ReportAllocs()
			b.ResetTimer()
			inParallel(clients, len(bills), func(i int) bool {
				from.Transfer(al, bills[i], bob.ID)
				return true
			})
		})
	}
}

// newBlocks are blocks of so many entries, each of another bill, that from hands to to.
func newBlocks(t testing.TB, entries, blocks int) (from, to *ebltest.Platform, bodies [][]byte) {
	t.Helper()
	w := ebltest.New(t)
	from, to = w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual(), manyVerdicts)
	bob := to.User("bob")
	for range blocks {
		bodies = append(bodies, from.OfferOf(bob.ID, entries))
	}
	return from, to, bodies
}

// comebacks are blocks of so many entries, each of another bill, that to accepted before as a
// chain of two entries less, sent on to from, and now gets back.
func comebacks(t testing.TB, entries, blocks int) (from, to *ebltest.Platform, bodies [][]byte) {
	t.Helper()
	w := ebltest.New(t)
	issuer, to, from := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual(), manyVerdicts), w.Platform("c.example", ebltest.Manual())
	bob, cees := to.User("bob"), from.User("cees")
	stop := to.Run()
	defer stop()
	for range blocks {
		first := issuer.OfferOf(bob.ID, entries-2)
		if r, err := to.Put(issuer, first); err != nil || r.Receipt == "" {
			t.Fatalf("got %+v and %v", r, err)
		}
		bill := ebltest.Parse(t, first).Last().Payload.DocumentHash
		to.Transfer(bob, bill, cees.ID)
		bodies = append(bodies, from.Extend(from.Block(bill), ebltest.Tx{Instruction: envelope.Transfer, To: bob.ID}))
		if got := node.NotReadAgain(t, to.Node(), bodies[len(bodies)-1]); got != entries-2 {
			t.Fatalf("%d entries are known, want %d", got, entries-2)
		}
	}
	return from, to, bodies
}
