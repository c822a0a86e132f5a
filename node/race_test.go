package node_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// together calls f n times at once and returns when all have.
func together(n int, f func(i int)) {
	var ready, done sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			<-gate
			f(i)
		})
	}
	ready.Wait()
	close(gate)
	done.Wait()
}

// TestOneSenderSignsManyFirstEnvelopes: 64 envelopes issue one document to 64 users at
// once. One is accepted; the others are a fork, and kept as proof.
func TestOneSenderSignsManyFirstEnvelopes(t *testing.T) {
	s := newStage(t)
	doc := s.a.Document()
	hash := envelope.HashOf(doc)
	bodies := make([][]byte, 64)
	for i := range bodies {
		u := s.b.User(fmt.Sprintf("u%d", i))
		bodies[i] = ebltest.Body(doc, s.a.Seal(hash, envelope.Hash{}, issue(u.ID)...))
	}
	var accepted, disputed atomic.Int32
	replies := make([]node.Reply, len(bodies))
	together(len(bodies), func(i int) {
		r, err := s.b.Put(s.a, bodies[i])
		switch {
		case err != nil:
			t.Errorf("offer %d: %v", i, err)
		case r.Receipt != "":
			accepted.Add(1)
		case r.Refusal.Code == node.DISE:
			disputed.Add(1)
		}
		replies[i] = r
	})
	if accepted.Load() != 1 || disputed.Load() != 63 {
		t.Errorf("got %d accepted and %d disputed, want 1 and 63", accepted.Load(), disputed.Load())
	}
	if got := s.w.InControl(hash); len(got) != 1 {
		t.Errorf("in control: %v", got)
	}
	checkNode(t, s.b)
	mustChange(t, s.b, func() {
		for i, body := range bodies {
			if again, err := s.b.Put(s.a, body); err != nil || again.Receipt != replies[i].Receipt || again.Rejection != replies[i].Rejection {
				t.Errorf("offer %d again: got %+v and %v, want %+v", i, again, err, replies[i])
			}
		}
	})
}

// TestSameBlockManyTimesAtOnce: one question, one answer, though all ask before any is
// answered; for an acceptance and for every kind of rejection.
func TestSameBlockManyTimesAtOnce(t *testing.T) {
	s := newStage(t)
	good, doc := s.a.Offer(s.bob)
	mustAccept(t, s.b, s.a, good)
	document := ebltest.Parse(t, good).Document
	fork := ebltest.Body(document, s.a.Seal(doc, envelope.Hash{}, ebltest.Tx{Instruction: envelope.Issue, To: s.bob, Comments: "again"}))
	fresh, _ := s.a.Offer(s.bob)
	wrong, _ := s.a.Offer("nobody@b.example")
	broken, _ := s.a.Offer(s.bob)
	broken = edit(t, broken, func(b *envelope.Transferblock) { b.Entries[0] = ebltest.BadSignature(t, b.Entries[0]) })
	for _, c := range []struct {
		name string
		body []byte
		want []string
	}{
		{"accepted", fresh, []string{"+audit", "+bills", "+documents", "+entries", "+parties", "+receipts"}},
		{"BENV", wrong, []string{"+audit", "+rejections"}},
		{"BSIG", broken, []string{"+audit", "+rejections"}},
		{"DISE", fork, []string{"+audit", "+branches", "+rejections"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			replies := make([]node.Reply, 64)
			mustChange(t, s.b, func() {
				together(len(replies), func(i int) {
					r, err := s.b.Put(s.a, c.body)
					if err != nil {
						t.Errorf("offer %d: %v", i, err)
					}
					replies[i] = r
				})
			}, c.want...)
			for i, r := range replies {
				if r.Receipt != replies[0].Receipt || r.Rejection != replies[0].Rejection || r.Reference != replies[0].Reference || r.At != replies[0].At {
					t.Fatalf("offers 0 and %d got two answers:\n%+v\n%+v", i, replies[0], r)
				}
			}
		})
	}
}

// TestOneBillMovedToManyAtOnce: one holder, 64 orders, inside the platform or to others.
func TestOneBillMovedToManyAtOnce(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example")
	var targets []string
	for _, p := range []*ebltest.Platform{a, w.Platform("b.example"), w.Platform("c.example"), w.Platform("d.example")} {
		for i := range 16 {
			targets = append(targets, p.User(fmt.Sprintf("u%d", i)).ID)
		}
	}
	holder := a.User("holder")
	for _, round := range []struct {
		name    string
		targets []string
	}{{"inside", slices.Repeat(targets[:16], 4)}, {"to other platforms", targets[16:]}, {"both", targets}} {
		t.Run(round.name, func(t *testing.T) {
			doc := a.Issue(holder.ID)
			var won sync.Map
			var winners, conflicts atomic.Int32
			together(len(round.targets), func(i int) {
				moved, err := a.Node().Move(t.Context(), holder.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(round.targets[i])})
				switch {
				case err == nil:
					winners.Add(1)
					won.Store(round.targets[i], moved.Transfer)
				case node.AsError(err).Code == node.Conflict:
					conflicts.Add(1)
				default:
					t.Errorf("order %d: %v", i, err)
				}
			})
			if winners.Load() != 1 || int(conflicts.Load()) != len(round.targets)-1 {
				t.Errorf("got %d winners and %d conflicts, want 1 and %d", winners.Load(), conflicts.Load(), len(round.targets)-1)
			}
			won.Range(func(who, transfer any) bool {
				if transfer != "" {
					a.Settled(transfer.(string), node.Accepted)
				}
				mustHold(t, w, doc, who.(string))
				return true
			})
		})
	}
	checkAll(t, w)
}

// TestBillsCrossing: two bills go to and fro between two nodes, against each other, a hundred times each way.
func TestBillsCrossing(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	first, second := a.Issue(al.ID), b.Issue(bob.ID)
	const hops = 100
	together(2, func(i int) {
		from, to, doc := a, b, first
		by, other := al, bob
		if i == 1 {
			from, to, doc, by, other = b, a, second, bob, al
		}
		for range hops {
			moved, err := from.Node().Move(t.Context(), by.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(other.ID)})
			if err != nil {
				t.Errorf("%s: %v", doc, err)
				return
			}
			v, err := from.Node().Await(t.Context(), by.User, moved.Transfer)
			if err != nil || v.State != node.Accepted {
				t.Errorf("%s: got %+v and %v", doc, v, err)
				return
			}
			from, to, by, other = to, from, other, by
		}
	})
	mustHold(t, w, first, al.ID)
	mustHold(t, w, second, bob.ID)
	if got := a.View(first).Length; got != hops {
		t.Errorf("got %d entries, want %d", got, hops)
	}
	checkAll(t, w)
}
