package node_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func key(name string) node.Once { return node.Once{Key: name, Request: envelope.HashOf([]byte(name))} }

// TestOrderUnderOneKeyIsCarriedOutOnce: each operation that moves control, sent again
// under its key, does nothing more and says the same.
func TestOrderUnderOneKeyIsCarriedOutOnce(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	issuer, al, ann, bob := a.User("issuer", node.IssuerRole), a.User("al"), a.User("ann"), b.User("bob")
	ctx, n := t.Context(), a.Node()
	twice := func(name string, order func(node.Once) (node.Moved, error), otherwise func()) node.Moved {
		t.Helper()
		first, err := order(key(name))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if otherwise != nil {
			otherwise()
		}
		var again node.Moved
		mustChange(t, a, func() { again, err = order(key(name)) })
		first.State, again.State = "", "" // that is as it stands now
		if again.Repeated = !again.Repeated; err != nil || again != first {
			t.Errorf("%s again: got %+v and %v, want %+v", name, again, err, first)
		}
		mustChange(t, a, func() {
			other := key(name)
			other.Request[0] ^= 1
			_, err := order(other)
			mustRefuse(t, err, node.Conflict, "idempotencyKeyReused")
		})
		return first
	}
	document, replacement := a.Document(), a.Document()
	doc := twice("issue", func(o node.Once) (node.Moved, error) {
		return n.Issue(ctx, issuer.User, node.IssueOrder{Document: document, To: ebltest.Quote(al.ID), Once: o})
	}, nil).Document
	move := func(by *ebltest.User, in envelope.Instruction, to string) func(node.Once) (node.Moved, error) {
		return func(o node.Once) (node.Moved, error) {
			m := node.MoveOrder{Instruction: in, Once: o}
			if to != "" {
				m.To = ebltest.Quote(to)
			}
			return n.Move(ctx, by.User, doc, m)
		}
	}
	// Since then the bill has gone there and back: the order would be possible again.
	twice("transfer-inside", move(al, envelope.Transfer, ann.ID), func() { a.Move(ann, doc, envelope.Transfer, al.ID) })
	twice("surrender", move(al, envelope.Surrender, ""), nil)
	twice("decline", func(o node.Once) (node.Moved, error) {
		return n.Decline(ctx, issuer.User, doc, node.DeclineOrder{Once: o})
	}, nil)
	sent := twice("transfer", move(al, envelope.Transfer, bob.ID), b.Stop).Transfer // the peer need not be there
	b.Start()
	twice("cancel", func(o node.Once) (node.Moved, error) { return n.Cancel(ctx, al.User, sent, o) }, nil)
	if done, err := move(al, envelope.Transfer, bob.ID)(key("transfer")); err != nil || done.State != node.Cancelled {
		t.Errorf("the cancelled order again: got %+v and %v, want that it is cancelled", done, err)
	}
	twice("amend", move(al, envelope.Amend, ""), nil)
	twice("honour", func(o node.Once) (node.Moved, error) {
		return n.Honour(ctx, issuer.User, doc, node.HonourOrder{Replacement: replacement, Once: o})
	}, nil)
	// Another user's key of the same name is another key.
	other, err := n.Issue(ctx, a.User("second", node.IssuerRole).User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID), Once: key("issue")})
	if err != nil || other.Repeated || other.Document == doc {
		t.Errorf("the key of another user: got %+v and %v", other, err)
	}
	for _, bad := range []string{"a b", "ä", "\n", strings.Repeat("x", 256)} {
		_, err := n.Move(ctx, al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID), Once: key(bad)})
		mustRefuse(t, err, node.Malformed, "malformed")
	}
	checkAll(t, w)
}

// TestManyOfOneOrderAtOnce: a caller that retries faster than the node answers.
func TestManyOfOneOrderAtOnce(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example")
	al, ann := a.User("al"), a.User("ann")
	doc := a.Issue(al.ID)
	var group sync.WaitGroup
	fresh := make(chan bool, 32)
	for range cap(fresh) {
		group.Go(func() {
			done, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID), Once: key("k")})
			if err != nil {
				t.Error(err)
			}
			fresh <- !done.Repeated
		})
	}
	group.Wait()
	close(fresh)
	count := 0
	for f := range fresh {
		if f {
			count++
		}
	}
	if v := a.View(doc); count != 1 || v.Steps != 2 {
		t.Errorf("got %d carried out and %d steps, want 1 and 2", count, v.Steps)
	}
	checkAll(t, w)
}

// TestOrderWhoseCommitIsNotKnownIsToldByItsKey: the answer was lost inside the machine;
// the next one under the same key says what happened.
func TestOrderWhoseCommitIsNotKnownIsToldByItsKey(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			w := ebltest.New(t)
			a := w.Platform("a.example", ebltest.Manual())
			al, ann := a.User("al"), a.User("ann")
			doc := a.Issue(al.ID)
			order := func() (node.Moved, error) {
				return a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID), Once: key("k")})
			}
			node.SetBeforeCommit(t, a.Node(), func() (bool, error) { return kept, errors.New("disk I/O error") })
			_, err := order()
			mustRefuse(t, err, node.Unavailable, "unavailable")
			node.SetBeforeCommit(t, a.Node(), nil)
			a.Restart()
			done, err := order()
			if err != nil || done.Repeated != kept {
				t.Errorf("again: got %+v and %v, want repeated %t", done, err, kept)
			}
			if v := a.View(doc); v.Possessor != ann.ID || v.Steps != 2 {
				t.Errorf("got %s after %d steps, want %s after 2", v.Possessor, v.Steps, ann.ID)
			}
			checkAll(t, w)
		})
	}
}

// TestKeysOfOrdersAreKeptForThirtyDays and not for ever.
func TestKeysOfOrdersAreKeptForThirtyDays(t *testing.T) {
	var late atomic.Int64 // the outbox looks at the clock too
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Configure(func(c *node.Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) } }))
	al, ann := a.User("al"), a.User("ann")
	doc := a.Issue(al.ID)
	order := func(by, to *ebltest.User, name string) bool {
		t.Helper()
		done, err := a.Node().Move(t.Context(), by.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(to.ID), Once: key(name)})
		if err != nil {
			t.Fatal(err)
		}
		return done.Repeated
	}
	order(al, ann, "old")
	order(ann, al, "other")
	late.Store(int64(node.OrdersKept - time.Minute))
	if !order(al, ann, "old") {
		t.Error("after almost 30 days the order was carried out again")
	}
	late.Store(int64(node.OrdersKept + time.Minute))
	order(al, ann, "new")
	order(ann, al, "newer")
	if order(al, ann, "old") {
		t.Error("the key is still known when its time is over")
	}
}

// TestCancelWhilePrepared: nothing of the transfer ever leaves, also after a restart, and
// the bill goes elsewhere.
func TestCancelWhilePrepared(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("c.example")
	al, ann, bob, carl := a.User("al"), a.User("ann"), b.User("bob"), c.User("carl")
	x := tap(w)
	doc := a.Issue(ann.ID)
	a.Transfer(ann, doc, al.ID)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	cancel := func(by *ebltest.User, id string) error {
		_, err := a.Node().Cancel(t.Context(), by.User, id, node.Once{})
		return err
	}
	mustChange(t, a, func() { mustRefuse(t, cancel(ann, moved.Transfer), node.Forbidden, "forbidden") })
	mustChange(t, a, func() { mustRefuse(t, cancel(a.User("eve"), moved.Transfer), node.NotFound, "notFound") }, "+users", "+audit")
	mustChange(t, a, func() { mustRefuse(t, cancel(al, "00"), node.NotFound, "notFound") })
	if err := cancel(al, moved.Transfer); err != nil {
		t.Fatal(err)
	}
	mustChange(t, a, func() { mustRefuse(t, cancel(al, moved.Transfer), node.Conflict, "alreadySent") })
	mustHold(t, w, doc, al.ID)
	a.Restart()
	stop := a.Run()
	a.Transfer(al, doc, carl.ID)
	stop()
	if sent := x.bodies(doc); len(sent) != 1 || !strings.Contains(string(sent[0]), a.View(doc).Head.String()) {
		t.Errorf("got %d requests, want the one to c", len(sent))
	}
	v, err := a.Node().Transfer(t.Context(), &node.User{Role: node.AuditorRole}, moved.Transfer)
	if err != nil || v.State != node.Cancelled || !v.SentAt.IsZero() || v.Attempts != 0 {
		t.Errorf("got %+v and %v, want a transfer that was never sent", v, err)
	}
	mustHold(t, w, doc, carl.ID)
	checkAll(t, w)
}

// TestCancelOnceSendingIsRefused in each state after prepared, also after a restart.
func TestCancelOnceSendingIsRefused(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	refused := func(id, state string) {
		t.Helper()
		mustChange(t, a, func() {
			_, err := a.Node().Cancel(t.Context(), al.User, id, node.Once{})
			if e := mustRefuse(t, err, node.Conflict, "alreadySent"); e != nil && !strings.Contains(e.Detail, state) {
				t.Errorf("got %q, want that it is %s", e.Detail, state)
			}
		})
	}
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	x.answer(drop)
	stop := a.Run()
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	stop()
	refused(moved.Transfer, "sending")
	a.Restart()
	refused(moved.Transfer, "sending")
	x.answer(nil)
	stop = a.Run()
	a.Settled(moved.Transfer, node.Accepted)
	refused(moved.Transfer, "accepted")
	rejected := a.Move(al, a.Issue(al.ID), envelope.Transfer, "nobody@b.example").Transfer
	a.Settled(rejected, node.Rejected)
	refused(rejected, "rejected")
	stop()
	checkAll(t, w)
}

// TestCancelAgainstTheOutbox: whoever is first, the bill is never both back and away.
func TestCancelAgainstTheOutbox(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	cancelled := 0
	for range 60 {
		doc := a.Issue(al.ID)
		moved := a.Move(al, doc, envelope.Transfer, bob.ID)
		if _, err := a.Node().Cancel(t.Context(), al.User, moved.Transfer, node.Once{}); err == nil {
			cancelled++
			mustHold(t, w, doc, al.ID)
			continue
		}
		a.Settled(moved.Transfer, node.Accepted)
		mustHold(t, w, doc, bob.ID)
	}
	t.Logf("%d of 60 were cancelled in time", cancelled)
	checkAll(t, w)
}

// TestAttemptsAreKeptWithTheirAnswers, the newest fifty of them.
func TestAttemptsAreKeptWithTheirAnswers(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Retry = time.Millisecond })), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	count := 0
	x.answer(func(_, _ identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if count++; count > 60 {
			return pass()
		}
		return node.Reply{}, fmt.Errorf("trouble %d", count)
	})
	before := time.Now().Add(-time.Second)
	defer a.Run()()
	v := a.Settled(moved.Transfer, node.Accepted)
	if len(v.History) != 50 || v.Attempts != 61 {
		t.Fatalf("got %d of %d attempts, want 50 of 61", len(v.History), v.Attempts)
	}
	for i, h := range v.History {
		want := fmt.Sprintf("trouble %d", i+12)
		if i == 49 {
			want = "receipt"
		}
		if h.N != i+12 || h.Answer != want || h.At.Before(before) || h.At.After(time.Now()) {
			t.Errorf("attempt %d: got %+v, want %q", i+12, h, want)
		}
	}
	if got := a.View(doc).Transfer.History; len(got) != 50 {
		t.Errorf("with the bill: got %d attempts, want 50", len(got))
	}
}
