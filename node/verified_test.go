package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// A comeback is a bill that b had, and what d, who got it from b, sends back: five entries,
// of which b has accepted the first three as one block and sealed the fourth.
type comeback struct {
	*stage
	kept  []byte // the three
	chain []byte // the four
	body  []byte // the five
}

func newComeback(t *testing.T) *comeback {
	t.Helper()
	s := newStage(t)
	stop := s.b.Run()
	t.Cleanup(stop)
	bob := s.b.User("bob")
	first, doc := s.a.Offer(s.bob)
	mustAccept(t, s.b, s.a, first)
	s.b.Transfer(bob, doc, s.c.User("cees").ID)
	c := &comeback{stage: s, kept: s.c.Extend(s.c.Block(doc), transfer(s.bob))}
	mustAccept(t, s.b, s.c, c.kept)
	s.b.Transfer(bob, doc, s.d.User("dora").ID)
	c.chain = s.d.Block(doc)
	c.body = s.d.Extend(c.chain, transfer(s.bob))
	return c
}

// said is an answer as far as it does not name what is made anew each time.
func said(r node.Reply, err error) string {
	if e, ok := errors.AsType[*node.Error](err); ok {
		return fmt.Sprintf("unsigned %d %s at %s, entry %d, transaction %d", e.Code, e.Text, e.Path, e.Entry, e.Transaction)
	}
	switch e := r.Refusal; {
	case err != nil:
		return err.Error()
	case e != nil:
		return fmt.Sprintf("signed %d %s at %s, entry %d, transaction %d", e.Code, e.Text, e.Path, e.Entry, e.Transaction)
	case r.Receipt != "":
		return "accepted"
	}
	return "nothing"
}

// TestChainThatIsKnownIsJudgedAsOneThatIsNot: whatever comes after a chain, or in its place,
// has the same answer from a node that has the chain in memory as from one that has it only in
// its database.
func TestChainThatIsKnownIsJudgedAsOneThatIsNot(t *testing.T) {
	entries := func(f func(t *testing.T, b *envelope.Transferblock)) func(*testing.T, *comeback) []byte {
		return func(t *testing.T, c *comeback) []byte {
			return edit(t, c.body, func(b *envelope.Transferblock) { f(t, b) })
		}
	}
	last := func(tx ebltest.Tx) func(*testing.T, *comeback) []byte {
		return func(_ *testing.T, c *comeback) []byte { return c.d.Extend(c.chain, tx) }
	}
	for _, x := range []struct {
		name    string
		known   int // of the entries, by the node that has them in memory
		want    string
		body    func(*testing.T, *comeback) []byte
		between func(*testing.T, *comeback)
	}{
		{"as it should", 3, "accepted", func(_ *testing.T, c *comeback) []byte { return c.body }, nil},
		{"with two more", 3, "accepted", func(_ *testing.T, c *comeback) []byte {
			return c.d.Extend(c.d.Extend(c.chain, transfer("dan@d.example")), transfer(c.bob))
		}, nil},
		{"with other white space", 3, "accepted", func(t *testing.T, c *comeback) []byte { return ebltest.Rewrap(t, c.body) }, nil},
		{"an older signature damaged", 0, "signed", entries(func(t *testing.T, b *envelope.Transferblock) { b.Entries[1] = ebltest.BadSignature(t, b.Entries[1]) }), nil},
		{"an older signature's twin", 0, "accepted", entries(func(t *testing.T, b *envelope.Transferblock) { b.Entries[1] = ebltest.Twin(t, b.Entries[1]) }), nil},
		{"an older entry left out", 0, "signed", entries(func(_ *testing.T, b *envelope.Transferblock) { b.Entries = append(b.Entries[:1:1], b.Entries[2:]...) }), nil},
		{"an older entry twice", 0, "signed", entries(func(_ *testing.T, b *envelope.Transferblock) { b.Entries = append(b.Entries[:2:2], b.Entries[1:]...) }), nil},
		{"the first left out", 0, "signed", entries(func(_ *testing.T, b *envelope.Transferblock) { b.Entries = b.Entries[1:] }), nil},
		{"our own entry left out", 3, "signed", entries(func(_ *testing.T, b *envelope.Transferblock) { b.Entries = append(b.Entries[:3:3], b.Entries[4]) }), nil},
		{"our own entry damaged", 3, "signed", entries(func(t *testing.T, b *envelope.Transferblock) { b.Entries[3] = ebltest.BadSignature(t, b.Entries[3]) }), nil},
		{"another hash beside an older one", 0, "signed", entries(func(_ *testing.T, b *envelope.Transferblock) { b.Entries[1].Claimed[3] ^= 1 }), nil},
		{"a lie beside an older one", 0, "signed", func(_ *testing.T, c *comeback) []byte {
			return bytes.Replace(c.body, []byte(`{"envelopeHash"`), []byte(`{"eblEnvelope":{},"envelopeHash"`), 1)
		}, nil},
		{"another document", 3, "signed", func(t *testing.T, c *comeback) []byte {
			return edit(t, c.body, func(b *envelope.Transferblock) { b.Document = c.a.Document() })
		}, nil},
		{"the newest signature bad", 3, "signed", entries(func(t *testing.T, b *envelope.Transferblock) { b.Entries[4] = ebltest.BadSignature(t, b.Entries[4]) }), nil},
		{"for nobody", 3, "signed", last(transfer("nobody@b.example")), nil},
		{"for somebody elsewhere", 3, "signed", last(transfer("x@c.example")), nil},
		{"issued again", 3, "signed", func(_ *testing.T, c *comeback) []byte { return c.d.Extend(c.chain, issue(c.bob)...) }, nil},
		{"dated ahead", 3, "signed", last(ebltest.Tx{Instruction: envelope.Transfer, To: "bob@b.example", At: time.Now().Add(time.Hour)}), nil},
		{"dated long ago", 3, "signed", last(ebltest.Tx{Instruction: envelope.Transfer, To: "bob@b.example", At: time.Now().Add(-time.Hour)}), nil},
		{"not to order any more", 3, "signed", func(t *testing.T, c *comeback) []byte {
			return bytes.Replace(c.body, []byte(`"isToOrder":true`), []byte(`"isToOrder":false`), 1)
		}, nil},
		{"another end of what we accepted", 0, "signed 8003", func(_ *testing.T, c *comeback) []byte {
			b := ebltest.Parse(t, c.kept)
			return c.c.Extend(ebltest.Body(b.Document, b.Entries[:2]...), transfer("bob@b.example"))
		}, nil},
		{"no more than we accepted", 0, "accepted", func(_ *testing.T, c *comeback) []byte { return c.kept }, nil},
		{"after a key was reported stolen", 0, "unsigned", func(_ *testing.T, c *comeback) []byte { return c.body }, func(t *testing.T, c *comeback) {
			key := *c.a.Entry.Keys[0]
			key.Revoked, key.Reason = time.Now().Add(-time.Hour), "keyCompromise"
			entry := *c.a.Entry
			entry.Keys = append(entry.Keys[:0:0], &key)
			c.a.Entry = &entry
			c.b.Trust(c.a)
		}},
		{"after another peer came", 0, "accepted", func(_ *testing.T, c *comeback) []byte { return c.body }, func(t *testing.T, c *comeback) {
			c.b.Trust(c.x)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			var answers [2]string
			for cold := range answers {
				c := newComeback(t)
				if x.between != nil {
					x.between(t, c)
				}
				body := x.body(t, c)
				if got := node.NotReadAgain(t, c.b.Node(), body); cold == 0 && got != x.known {
					t.Errorf("%d entries are known, want %d", got, x.known)
				}
				if cold == 1 {
					node.ForgetVerified(c.b.Node())
				}
				from := c.d
				if bytes.Equal(body, c.kept) || x.name == "another end of what we accepted" {
					from = c.c
				}
				answers[cold] = said(c.b.Put(from, body))
				checkNode(t, c.b)
				if again := said(c.b.Put(from, body)); again != answers[cold] {
					t.Errorf("the same question: got %s, want %s", again, answers[cold])
				}
			}
			if answers[0] != answers[1] || len(answers[0]) < len(x.want) || answers[0][:len(x.want)] != x.want {
				t.Errorf("known:     %s\nnot known: %s\nwant %s", answers[0], answers[1], x.want)
			}
			t.Log(answers[0])
		})
	}
}
