package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestDeadPeerDoesNotHoldUpTheOthers: a peer that answers nothing has more transfers due
// than the outbox looks at in one go.
func TestDeadPeerDoesNotHoldUpTheOthers(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b, dead := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("dead.example", ebltest.Manual())
	al := a.User("al")
	x := tap(w)
	released := make(chan struct{})
	x.answer(func(_, to identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if to == dead.Domain() {
			<-released
			return node.Reply{}, errCut
		}
		return pass()
	})
	first := a.Move(al, a.Issue(al.ID), envelope.Transfer, dead.User("d").ID)
	// 1,500 more like it; only the outbox reads these rows.
	node.Exec(t, a.Node(), `WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1500)
	  INSERT INTO bills (document_hash, carrier_code, reference, sub_reference, to_order, profile, issuing, issuer, possessor, status, returned_by, head, length, control, live, version, created_at, changed_at)
	  SELECT randomblob(32), carrier_code, reference || i, sub_reference, to_order, profile, issuing, issuer, possessor, status, returned_by, head, length, control, live, version, created_at, changed_at FROM bills, n`)
	node.Exec(t, a.Node(), "INSERT INTO documents (bill, document) SELECT id, x'7b7d' FROM bills WHERE id NOT IN (SELECT bill FROM documents)")
	node.Exec(t, a.Node(), `INSERT INTO transfers (id, bill, user, peer, transferee, instruction, state, idx, steps, envelope_hash, jws, body_sum, created_at, next_at)
	  SELECT 'clone' || b.id, b.id, user, peer, transferee, instruction, state, idx, steps, envelope_hash, jws, body_sum, x.created_at, next_at - 1000 FROM transfers x, bills b WHERE b.id <> x.bill`)
	moved := a.Move(al, a.Issue(al.ID), envelope.Transfer, b.User("bob").ID)
	stop := a.Run()
	a.Settled(moved.Transfer, node.Accepted)
	if v, err := a.Node().Transfer(t.Context(), &node.User{Role: node.AuditorRole}, first.Transfer); err != nil || v.State == node.Accepted {
		t.Errorf("got %+v and %v", v, err)
	}
	node.Exec(t, a.Node(), "DELETE FROM transfers WHERE id LIKE 'clone%'")
	close(released)
	stop()
}

// TestClockSetBack: attempts that were put off while the clock was two hours ahead are made
// when it is right again, not two hours later.
func TestClockSetBack(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.NotIssuer())
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	const ahead = 2 * 60 * 60 * 1000
	node.Exec(t, a.Node(), fmt.Sprintf("UPDATE transfers SET next_at = next_at + %d", ahead))
	stop := a.Run()
	defer stop()
	a.Settled(moved.Transfer, node.Accepted)

	returned := b.Move(bob, doc, envelope.Surrender, a.User("issuer").ID)
	b.Settled(returned.Transfer, node.Accepted)
	b.Stop()
	if _, err := a.Node().Honour(t.Context(), a.User("issuer").User, doc, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	b.Start()
	node.Exec(t, b.Node(), fmt.Sprintf("UPDATE verdict_polls SET next_at = next_at + %d", ahead))
	waitFor(t, "the verdict that was asked for", func() bool { return b.View(doc).Control == node.Voided })
}

// TestBillThatCannotLeaveIsNotLocked: what peers would refuse as too large or malformed,
// unsigned and for ever, is not sealed; and steps inside cannot bring a bill so far.
func TestBillThatCannotLeaveIsNotLocked(t *testing.T) {
	limits := func(c *node.Config) { c.Limits = envelope.Limits{Chain: 4, Transactions: 5, Body: 64 << 10} }
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Configure(limits)), w.Platform("b.example", ebltest.Configure(limits))
	al, ann, bob := a.User("al"), a.User("ann"), b.User("bob")
	move := func(p *ebltest.Platform, by *ebltest.User, doc envelope.Hash, to []byte) error {
		_, err := p.Node().Move(t.Context(), by.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: to})
		return err
	}
	t.Run("many steps", func(t *testing.T) {
		doc := a.Issue(al.ID)
		by, other := al, ann
		for range 3 {
			a.Transfer(by, doc, other.ID)
			by, other = other, by
		}
		mustChange(t, a, func() { mustRefuse(t, move(a, by, doc, ebltest.Quote(other.ID)), node.TooLarge, "tooLarge") })
		a.Transfer(by, doc, bob.ID)
		mustHold(t, w, doc, bob.ID)
	})
	t.Run("long chain", func(t *testing.T) {
		doc := a.Issue(al.ID)
		for range 2 {
			a.Transfer(al, doc, bob.ID)
			b.Transfer(bob, doc, al.ID)
		}
		mustChange(t, a, func() { mustRefuse(t, move(a, al, doc, ebltest.Quote(bob.ID)), node.TooLarge, "tooLarge") })
		a.Transfer(al, doc, ann.ID)
	})
	deep := func(levels int) []byte {
		return []byte(strings.Repeat(`{"x":`, levels) + "1" + strings.Repeat("}", levels))
	}
	party := func(id string, more []byte) []byte {
		return fmt.Appendf(nil, `{"eBLPlatformIdentifier":%q,"x":%s}`, id, more)
	}
	t.Run("deep transferee", func(t *testing.T) {
		for levels := 58; levels <= 64; levels++ {
			doc, by := a.Issue(al.ID), al
			if move(a, al, doc, party(ann.ID, deep(levels))) == nil {
				by = ann
			}
			a.Transfer(by, doc, bob.ID)
		}
		again := a.Issue(al.ID)
		mustChange(t, a, func() { mustRefuse(t, move(a, al, again, party(bob.ID, deep(62))), node.Malformed, "malformed") })
	})
	t.Run("large transferee", func(t *testing.T) {
		doc := a.Issue(al.ID)
		big := party(ann.ID, []byte(`"`+strings.Repeat("x", 60<<10)+`"`))
		mustChange(t, a, func() { mustRefuse(t, move(a, al, doc, big), node.TooLarge, "tooLarge") })
		a.Transfer(al, doc, bob.ID)
	})
	t.Run("deep document", func(t *testing.T) {
		for levels := 60; levels <= 66; levels++ {
			doc := append(fmt.Appendf(nil, `{"carrierCode":"MAEU","isToOrder":true,"transportDocumentReference":"deep%d","x":`, levels), append(deep(levels), '}')...)
			done, err := a.Node().Issue(t.Context(), a.User("issuer").User, node.IssueOrder{Document: doc, To: ebltest.Quote(al.ID)})
			if err != nil {
				mustRefuse(t, err, node.Malformed, "malformed")
				continue
			}
			a.Transfer(al, done.Document, bob.ID)
		}
	})
	checkAll(t, w)
}

// TestPeersWordsAreBounded: what a peer says in an error is shown to users and stored.
func TestPeersWordsAreBounded(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al := a.User("al")
	x := tap(w)
	long := "\x1b[2J" + strings.Repeat("ø\n", 1<<20) + "\xff"
	for name, f := range map[string]func(r node.Request, from, to identity.Host) (node.Reply, error){
		"error": func(node.Request, identity.Host, identity.Host) (node.Reply, error) {
			return node.Reply{}, errors.New(long)
		},
		"rejection": func(r node.Request, from, to identity.Host) (node.Reply, error) {
			reply := reject(b.Signer, lastOf(r), from, to, "BENV")
			reply.Refusal = &node.Error{Code: node.BENV, Text: long, Detail: long}
			return reply, nil
		},
	} {
		doc := a.Issue(al.ID)
		x.answer(func(from, to identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
			return f(r, from, to)
		})
		a.Move(al, doc, envelope.Transfer, b.User("bob").ID)
		waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.LastAnswer != "" })
		if got := a.View(doc).Transfer.LastAnswer; len(got) > 2048 || strings.ContainsAny(got, "\x1b\n") || !bytes.Equal(bytes.ToValidUTF8([]byte(got), nil), []byte(got)) {
			t.Errorf("%s: stored %d bytes: %.80q", name, len(got), got)
		}
		x.answer(nil)
	}
}

// TestAwaitEndsWithItsContext and then says how it is at that moment.
func TestAwaitEndsWithItsContext(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al := a.User("al")
	x := tap(w)
	x.answer(drop)
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, b.User("bob").ID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan struct{})
	var v *node.TransferView
	var err error
	go func() {
		defer close(ended)
		v, err = a.Node().Await(ctx, al.User, moved.Transfer)
	}()
	waitFor(t, "three attempts", func() bool { return a.View(doc).Transfer.Attempts >= 3 })
	select {
	case <-ended:
		t.Error("returned before there was a verdict or an end")
	default:
	}
	cancel()
	<-ended
	if err != nil || v.State != node.Sending || v.Attempts < 3 {
		t.Errorf("got %+v and %v, want it as it is: sending", v, err)
	}
}

// TestStoppedAttemptIsNoError: a node that stops in the middle of beginning one has nothing to
// tell anybody; a line at level ERROR wakes somebody.
func TestStoppedAttemptIsNoError(t *testing.T) {
	var log bytes.Buffer
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) })), w.Platform("b.example")
	doc := a.Issue(a.User("al").ID)
	moved := a.Move(a.User("al"), doc, envelope.Transfer, b.User("bob").ID)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	node.AttemptOnce(ctx, a.Node(), moved.Transfer)
	if strings.Contains(log.String(), "level=ERROR") {
		t.Errorf("got %s", log.String())
	}
	if v := a.View(doc); v.Transfer.State != node.Prepared || v.Transfer.Attempts != 0 {
		t.Errorf("got %+v, want it as it was", v.Transfer)
	}
	node.AttemptOnce(t.Context(), a.Node(), moved.Transfer)
	mustHold(t, w, doc, "bob@b.example")
}
