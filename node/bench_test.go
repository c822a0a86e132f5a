package node_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// BenchmarkPutTransferblock is the node without the network: a block in, a receipt out, on
// the disk. With many at once they share commits.
func BenchmarkPutTransferblock(b *testing.B) {
	for _, entries := range []int{1, 20} {
		for _, clients := range []int{1, 32} {
			b.Run(fmt.Sprintf("n=%d/clients=%d", entries, clients), func(b *testing.B) {
				w := ebltest.New(b)
				many := ebltest.Configure(func(c *node.Config) { c.VerdictsPerHour = 1 << 30 })
				from, to := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual(), many)
				bob := to.User("bob")
				bodies := make([][]byte, b.N)
				for i := range bodies {
					bodies[i] = chainTo(from, bob.ID, entries)
				}
				var next atomic.Int64
				var wg sync.WaitGroup
				b.ReportAllocs()
				b.ResetTimer()
				for range clients {
					wg.Go(func() {
						for {
							i := int(next.Add(1)) - 1
							if i >= len(bodies) {
								return
							}
							if r, err := to.Node().PutTransferblock(b.Context(), node.Request{Sender: from.Domain(), Body: bodies[i]}); err != nil || r.Receipt == "" {
								b.Errorf("got %+v and %v", r, err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}

// chainTo is a new block of so many entries whose bill goes to the identifier to.
func chainTo(p *ebltest.Platform, to string, entries int) []byte {
	doc := p.Document()
	hash := envelope.HashOf(doc)
	var chain []envelope.Entry
	var previous envelope.Hash
	for i := range entries {
		tx := ebltest.Tx{Instruction: envelope.Transfer, To: fmt.Sprintf("desk%d@%s", i, p.Domain())}
		if i == 0 {
			tx.Instruction = envelope.Issue
		}
		if i == entries-1 {
			tx.To = to
		}
		e := p.Seal(hash, previous, tx)
		chain, previous = append(chain, e), e.Claimed
	}
	return ebltest.Body(doc, chain...)
}
