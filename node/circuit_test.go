package node_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestDeadPeerGetsOneProbeAtATimeAndAllOnceItAnswers with many transfers to it; a peer
// beside it notices nothing.
func TestDeadPeerGetsOneProbeAtATimeAndAllOnceItAnswers(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, dead, live := w.Platform("a.example", ebltest.Manual()), w.Platform("dead.example"), w.Platform("live.example")
	al := a.User("al")
	x := tap(w)
	var mu sync.Mutex
	running, most, tries, alive := 0, 0, 0, false
	x.answer(func(_, to identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if to != dead.Domain() {
			return pass()
		}
		mu.Lock()
		running++
		tries++
		if a.Node().Circuit(dead.Domain()).Open {
			most = max(most, running)
		}
		up := alive
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		if up {
			return pass()
		}
		time.Sleep(5 * time.Millisecond)
		return node.Reply{}, errCut
	})
	var ids []string
	for range 20 {
		ids = append(ids, a.Move(al, a.Issue(al.ID), envelope.Transfer, dead.User("d").ID).Transfer)
	}
	defer a.Run()()
	waitFor(t, "an open circuit", func() bool { return a.Node().Circuit(dead.Domain()).Open })
	c := a.Node().Circuit(dead.Domain())
	if c.Failures < 3 || c.Since.IsZero() || c.Next.IsZero() || c.Trouble != errCut.Error() {
		t.Errorf("circuit: got %+v", c)
	}
	// What ran beside the failure that opened it comes to its end.
	waitFor(t, "one attempt at most", func() bool { return node.UnderWay(a.Node(), dead.Domain()) <= 1 })
	mu.Lock()
	most, tries = 0, 0
	mu.Unlock()
	for range 5 {
		moved := a.Move(al, a.Issue(al.ID), envelope.Transfer, live.User("l").ID)
		a.Settled(moved.Transfer, node.Accepted)
	}
	waitFor(t, "three probes", func() bool { mu.Lock(); defer mu.Unlock(); return tries >= 3 })
	mu.Lock()
	if most != 1 {
		t.Errorf("to the dead peer: got %d attempts at once, want 1", most)
	}
	if got := a.Node().Circuit(live.Domain()); got != (node.Circuit{}) {
		t.Errorf("the circuit of the living peer: got %+v", got)
	}
	alive = true
	mu.Unlock()
	for _, id := range ids {
		a.Settled(id, node.Accepted)
	}
	if got := a.Node().Circuit(dead.Domain()); got.Open {
		t.Errorf("after it answered: got %+v, want a closed circuit", got)
	}
	checkAll(t, w)
}

// TestManyBlackHolesDoNotHoldUpWhoAnswers: twenty peers take connections and say nothing.
func TestManyBlackHolesDoNotHoldUpWhoAnswers(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, live := w.Platform("a.example", ebltest.Manual()), w.Platform("live.example")
	al := a.User("al")
	x := tap(w)
	released := make(chan struct{})
	x.answer(func(_, to identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if to == live.Domain() {
			return pass()
		}
		<-released
		return node.Reply{}, errCut
	})
	stop := a.Run()
	a.Settled(a.Move(al, a.Issue(al.ID), envelope.Transfer, live.User("l").ID).Transfer, node.Accepted)
	for i := range 20 {
		hole := w.Platform(fmt.Sprintf("hole%d.example", i), ebltest.Manual())
		for range 8 {
			a.Move(al, a.Issue(al.ID), envelope.Transfer, hole.User("h").ID)
		}
	}
	for range 20 {
		a.Settled(a.Move(al, a.Issue(al.ID), envelope.Transfer, live.User("l").ID).Transfer, node.Accepted)
	}
	close(released)
	stop()
}

// TestPeerThatRefusesIsNotDead: a 403 to one transfer says nothing of the others.
func TestPeerThatRefusesIsNotDead(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	x.answer(func(identity.Host, identity.Host, node.Request, func() (node.Reply, error)) (node.Reply, error) {
		return node.Reply{}, &node.Error{Code: node.Forbidden, Text: "unknownKey"}
	})
	doc := a.Issue(al.ID)
	a.Move(al, doc, envelope.Transfer, bob.ID)
	defer a.Run()()
	waitFor(t, "five attempts", func() bool { return a.View(doc).Transfer.Attempts >= 5 })
	if got := a.Node().Circuit(b.Domain()); got != (node.Circuit{}) {
		t.Errorf("got %+v, want a closed circuit", got)
	}
}

// TestTotalsOfDoubt: what an alarm looks at.
func TestTotalsOfDoubt(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	x.answer(drop)
	doc := a.Issue(al.ID)
	a.Move(al, doc, envelope.Transfer, bob.ID)
	stop := a.Run()
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	stop()
	for _, c := range []struct {
		age       time.Duration
		long, etc int
	}{{0, 0, 0}, {4 * time.Minute, 0, 0}, {6 * time.Minute, 1, 0}, {61 * time.Minute, 1, 1}} {
		node.Exec(t, a.Node(), "UPDATE transfers SET sent_at = ?", time.Now().Add(-c.age).UnixMilli())
		got, err := a.Node().Totals(t.Context())
		if err != nil || got.DoubtLong != c.long || got.DoubtVeryLong != c.etc {
			t.Errorf("sent %s ago: got %d, %d and %v, want %d and %d", c.age, got.DoubtLong, got.DoubtVeryLong, err, c.long, c.etc)
		}
	}
}
