package node_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

var errDisk = errors.New("test: disk I/O error")

// The two ways a commit can fail. After the second the change is there and nobody was told.
var faults = []struct {
	name   string
	commit bool
}{{"failed", false}, {"failed but happened", true}}

// failOnce lets the next commit of p fail in that way.
func failOnce(t testing.TB, p *ebltest.Platform, commit bool) (failed *atomic.Int32) {
	return failNth(t, p, 1, commit)
}

// failNth lets the n-th commit from now on fail.
func failNth(t testing.TB, p *ebltest.Platform, n int32, commit bool) (failed *atomic.Int32) {
	t.Helper()
	failed = &atomic.Int32{}
	var count atomic.Int32
	node.SetBeforeCommit(t, p.Node(), func() (bool, error) {
		if count.Add(1) != n {
			return true, nil
		}
		failed.Add(1)
		return commit, errDisk
	})
	return failed
}

func TestCommitFailsWhileAccepting(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s := newStage(t)
			good, doc := s.a.Offer(s.bob)
			bad, _ := s.a.Offer("nobody@b.example")
			for name, body := range map[string][]byte{"accepted": good, "rejected": bad} {
				failed := failOnce(t, s.b, f.commit)
				before := dump(t, s.b)
				r, err := s.b.Put(s.a, body)
				if r != (node.Reply{}) {
					t.Errorf("%s: a failed commit revealed %+v", name, r)
				}
				e := mustRefuse(t, err, node.Unavailable, "unavailable")
				if e.Retry == 0 || errors.Is(e, errDisk) == false {
					t.Errorf("%s: got %+v", name, e)
				}
				if happened := len(changes(before, dump(t, s.b))) > 0; happened != f.commit || failed.Load() != 1 {
					t.Errorf("%s: stored: %t, failed %d times", name, happened, failed.Load())
				}
				checkNode(t, s.b)
				s.b.Restart() // the hook goes with it
				first, err := s.b.Put(s.a, body)
				if err != nil {
					t.Fatal(err)
				}
				again, err := s.b.Put(s.a, body)
				if err != nil || again.Receipt != first.Receipt || again.Rejection != first.Rejection || (first.Receipt == "") != (name == "rejected") {
					t.Errorf("%s: got %+v, then %+v and %v", name, first, again, err)
				}
			}
			mustHold(t, s.w, doc, s.bob)
			checkNode(t, s.b)
		})
	}
}

// TestCommitFailsWhileTheBillComesHome: the acceptance also settles our transfer in doubt.
func TestCommitFailsWhileTheBillComesHome(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
			al, bob := a.User("al"), b.User("bob")
			x := tap(w)
			x.answer(lose)
			doc := a.Issue(al.ID)
			moved := a.Move(al, doc, envelope.Transfer, bob.ID)
			stop := a.Run()
			waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
			stop()
			x.answer(nil)
			told := make(chan *node.TransferView, 1)
			go func() {
				v, _ := a.Node().Await(t.Context(), al.User, moved.Transfer)
				told <- v
			}()
			failed := failOnce(t, a, f.commit)
			b.Transfer(bob, doc, al.ID)
			if failed.Load() != 1 {
				t.Errorf("no commit failed")
			}
			mustHold(t, w, doc, al.ID)
			select {
			case v := <-told:
				if v.State != node.Accepted || v.SettledBy != "chain" {
					t.Errorf("got %+v", v)
				}
			case <-time.After(ebltest.Patience):
				t.Error("who waits for the transfer is not told")
			}
			checkAll(t, w)
		})
	}
}

// TestCommitFailsWhileSending: at every commit of a transfer, from the order to the
// receipt: preparing, marking as sending, settling.
func TestCommitFailsWhileSending(t *testing.T) {
	t.Parallel()
	for _, f := range faults {
		for n, name := range []string{"prepare", "sending", "settle"} {
			t.Run(name+" "+f.name, func(t *testing.T) {
				w := ebltest.New(t)
				a, b := w.Platform("a.example"), w.Platform("b.example")
				al, bob, cees := a.User("al"), b.User("bob"), b.User("cees")
				x := tap(w)
				doc := a.Issue(al.ID)
				a.Transfer(al, doc, a.User("ann").ID) // a step to be sealed
				ann := a.User("ann")
				failed := failNth(t, a, int32(n)+1, f.commit)
				moved, err := a.Node().Move(t.Context(), ann.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(bob.ID)})
				if name == "prepare" {
					mustRefuse(t, err, node.Unavailable, "unavailable")
					if f.commit {
						// It happened: the outbox has it, and a second order finds it locked or gone.
						waitFor(t, "the outbox to find it", func() bool { return a.View(doc).Control == node.Away })
						_, err := a.Node().Move(t.Context(), ann.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(cees.ID)})
						mustRefuse(t, err, node.Conflict, "unlawful/notInControl")
					} else {
						mustHold(t, w, doc, ann.ID)
						a.Transfer(ann, doc, bob.ID)
					}
				} else {
					if err != nil {
						t.Fatal(err)
					}
					a.Settled(moved.Transfer, node.Accepted)
				}
				if failed.Load() != 1 {
					t.Errorf("failed %d times", failed.Load())
				}
				mustHold(t, w, doc, bob.ID)
				x.mustSendTheSame(t, doc)
				checkAll(t, w)
			})
		}
	}
}

// TestCommitFailsWhileControlComesBack: the bill is not lost with the answer.
func TestCommitFailsWhileControlComesBack(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			w := ebltest.New(t)
			a := w.Platform("a.example")
			b := w.Platform("b.example")
			al := a.User("al")
			doc := a.Issue(al.ID)
			failed := failNth(t, a, 3, f.commit)
			a.Settled(a.Move(al, doc, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
			if failed.Load() != 1 {
				t.Errorf("failed %d times", failed.Load())
			}
			mustHold(t, w, doc, al.ID)
			a.Transfer(al, doc, b.User("bob").ID)
			checkAll(t, w)
		})
	}
}

func TestCommitFailsInLocalOrders(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			w := ebltest.New(t)
			a := w.Platform("a.example", ebltest.Manual())
			issuer, al, ann := a.User("issuer", node.IssuerRole), a.User("al"), a.User("ann")
			text := a.Document()
			doc := envelope.HashOf(text)
			for _, order := range []struct {
				name string
				do   func() error
				done node.Code // what a second order says if the first happened
				text string
			}{
				{"issue", func() error {
					_, err := a.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: text, To: ebltest.Quote(al.ID)})
					return err
				}, node.Conflict, "alreadyIssued"},
				{"move", func() error {
					_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID)})
					return err
				}, node.Conflict, "unlawful/notInControl"},
				{"surrender", func() error {
					_, err := a.Node().Move(t.Context(), ann.User, doc, node.MoveOrder{Instruction: envelope.Surrender})
					return err
				}, node.Conflict, "unlawful/notInControl"},
				{"honour", func() error {
					_, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
					return err
				}, node.Conflict, "unlawful/billVoid"},
			} {
				failOnce(t, a, f.commit)
				mustRefuse(t, order.do(), node.Unavailable, "unavailable")
				checkNode(t, a)
				err := order.do()
				if f.commit {
					mustRefuse(t, err, order.done, order.text)
				} else if err != nil {
					t.Errorf("%s again: %v", order.name, err)
				}
				checkNode(t, a)
			}
		})
	}
}

// TestDiskThatStaysFull: the outbox does not spin, sends nothing that it could not
// record, and goes on when there is space again.
func TestDiskThatStaysFull(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	var commits atomic.Int32
	full := func() (bool, error) { commits.Add(1); return false, errDisk }
	node.SetBeforeCommit(t, a.Node(), full)
	stop := a.Run()
	few := func(while string) {
		t.Helper()
		start := time.Now()
		waitFor(t, "a commit that fails", func() bool { return commits.Load() > 0 })
		time.Sleep(500 * time.Millisecond)
		if n, took := commits.Load(), time.Since(start); n > int32(took/(25*time.Millisecond)) {
			t.Errorf("got %d commits in %s while %s, want a few", n, took, while)
		}
	}
	few("the disk is full")
	if n := len(x.bodies(doc)); n != 0 {
		t.Errorf("%d requests left without a record", n)
	}
	// The same once it is sending and what fails is to record the attempt.
	node.SetBeforeCommit(t, a.Node(), nil)
	x.answer(drop)
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	node.SetBeforeCommit(t, a.Node(), full)
	commits.Store(0)
	few("attempts cannot be recorded")
	node.SetBeforeCommit(t, a.Node(), nil)
	x.answer(nil)
	a.Settled(moved.Transfer, node.Accepted)
	stop()
	mustHold(t, w, doc, bob.ID)
	checkAll(t, w)
}

// TestCommitOfTheDatabaseFails: not the hook but SQLite itself refuses the commit. The one
// connection is whole afterwards.
func TestCommitOfTheDatabaseFails(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	before := dump(t, a)
	if err := node.Update(t, a.Node(), "PRAGMA defer_foreign_keys = 1", "INSERT INTO verdicts (bill, verdict, at) VALUES (99, '', 0)"); err == nil {
		t.Fatal("a row without its bill was committed")
	}
	if got := changes(before, dump(t, a)); len(got) != 0 {
		t.Errorf("changed %v", got)
	}
	if err := a.Node().Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	a.Issue(a.User("al").ID)
	checkNode(t, a)
}

// TestCallerGoesAway: a peer that hangs up in the middle does not stop the transaction
// half way, and one that has gone already starts none.
func TestCallerGoesAway(t *testing.T) {
	s := newStage(t)
	body, doc := s.a.Offer(s.bob)
	peer, err := s.a.Dial(s.b)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	node.SetBeforeCommit(t, s.b.Node(), func() (bool, error) { cancel(); return true, nil })
	r, err := peer.PutTransferblock(ctx, node.Request{Sender: s.a.Domain(), Body: body})
	if err != nil || r.Receipt == "" {
		t.Errorf("got %+v and %v", r, err)
	}
	mustHold(t, s.w, doc, s.bob)
	node.SetBeforeCommit(t, s.b.Node(), nil)
	other, _ := s.a.Offer(s.bob)
	mustChange(t, s.b, func() {
		r, err := peer.PutTransferblock(ctx, node.Request{Sender: s.a.Domain(), Body: other})
		if r != (node.Reply{}) || node.AsError(err).Code != node.Unavailable {
			t.Errorf("got %+v and %v", r, err)
		}
	})
}
