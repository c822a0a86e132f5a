package node_test

import (
	"strings"
	"sync"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

var letter = []byte("the peer's letter")

func proposal(outcome string) node.ResolveOrder {
	return node.ResolveOrder{Outcome: outcome, Reason: "they wrote", Evidence: letter}
}

func confirmation(outcome string) node.ResolveOrder {
	return node.ResolveOrder{Outcome: outcome, Confirm: true, EvidenceSum: envelope.HashOf(letter)}
}

// inDoubt is a transfer from a to bob at b that was sent and not answered.
func inDoubt(t *testing.T, a *ebltest.Platform, x *wire, bob string) (envelope.Hash, string) {
	t.Helper()
	x.answer(drop)
	doc := a.Issue(a.User("al").ID)
	id := a.Move(a.User("al"), doc, envelope.Transfer, bob).Transfer
	stop := a.Run()
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	stop()
	return doc, id
}

// TestOneOperatorResolvesNothing: alone, as nobody, with other evidence, or for another
// outcome than the one proposed.
func TestOneOperatorResolvesNothing(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
	x := tap(w)
	doc, id := inDoubt(t, a, x, b.User("bob").ID)
	refused := func(by *ebltest.User, id string, o node.ResolveOrder, code node.Code, text string) {
		t.Helper()
		mustChange(t, a, func() {
			_, err := a.Node().Resolve(t.Context(), by.User, id, o)
			mustRefuse(t, err, code, text)
		})
	}
	for _, by := range []*ebltest.User{a.User("al"), a.User("auditor", node.AuditorRole), a.User("issuer", node.IssuerRole)} {
		refused(by, id, proposal("held"), node.Forbidden, "forbidden")
	}
	refused(one, id, confirmation("held"), node.Conflict, "notProposed")
	refused(one, "00", proposal("held"), node.NotFound, "notFound")
	refused(one, id, proposal("mine"), node.Malformed, "malformed")
	refused(one, id, node.ResolveOrder{Outcome: "held", Evidence: letter}, node.Malformed, "malformed")
	refused(one, id, node.ResolveOrder{Outcome: "held", Reason: "x"}, node.Malformed, "malformed")
	refused(one, id, node.ResolveOrder{Outcome: "held", Reason: strings.Repeat("x", 1001), Evidence: letter}, node.Malformed, "malformed")
	if _, err := a.Node().Resolve(t.Context(), one.User, id, proposal("held")); err != nil {
		t.Fatal(err)
	}
	refused(one, id, confirmation("held"), node.Conflict, "secondOperatorNeeded")
	refused(two, id, confirmation("away"), node.Conflict, "notProposed")
	other := confirmation("held")
	other.EvidenceSum[3] ^= 1
	refused(two, id, other, node.Conflict, "notProposed")
	// Whoever has left since counts for nothing.
	if err := a.Node().DisableUser(t.Context(), "test", one.Local); err != nil {
		t.Fatal(err)
	}
	refused(two, id, confirmation("held"), node.Conflict, "notProposed")
	// A new proposal takes the place of the old one, which stays on record.
	if _, err := a.Node().Resolve(t.Context(), two.User, id, proposal("away")); err != nil {
		t.Fatal(err)
	}
	refused(a.User("three", node.OperatorRole), id, confirmation("held"), node.Conflict, "notProposed")
	if v := a.View(doc); v.Control != node.Locked || v.Transfer.State != node.Sending {
		t.Errorf("got %s and %s, want the bill as it was", v.Control, v.Transfer.State)
	}
	for _, change := range []string{"DELETE FROM proposals", "UPDATE proposals SET outcome = 'held'", "UPDATE proposals SET reason = 'x' WHERE withdrawn_at IS NULL"} {
		if err := node.Update(t, a.Node(), change); err == nil || !strings.Contains(err.Error(), "operators decided") {
			t.Errorf("%s: got %v, want that it is kept for ever", change, err)
		}
	}
	checkAll(t, w)
}

// TestBillIsNotFreedUnderAnAttempt: two operators say that the peer does not have it, while
// bytes are on their way that it takes.
func TestBillIsNotFreedUnderAnAttempt(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	one, two, bob := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole), b.User("bob")
	x := tap(w)
	doc, id := inDoubt(t, a, x, bob.ID)
	if _, err := a.Node().Resolve(t.Context(), one.User, id, proposal("held")); err != nil {
		t.Fatal(err)
	}
	arrives, left := make(chan struct{}), make(chan struct{}, 100)
	x.answer(func(_, _ identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		left <- struct{}{}
		<-arrives
		return pass()
	})
	stop := a.Run()
	defer stop()
	free := sync.OnceFunc(func() { close(arrives) })
	defer free()
	<-left
	_, err := a.Node().Resolve(t.Context(), two.User, id, confirmation("held"))
	mustRefuse(t, err, node.Unavailable, "unavailable")
	free()
	a.Settled(id, node.Accepted)
	mustHold(t, w, doc, bob.ID)
	_, err = a.Node().Resolve(t.Context(), two.User, id, confirmation("held"))
	mustRefuse(t, err, node.Conflict, "nothingToResolve")
	checkAll(t, w)
}

// TestTwoOperatorsResolve what is in doubt or disputed, either way, also when the node is
// stopped between their words; and later answers move nothing.
func TestTwoOperatorsResolve(t *testing.T) {
	for _, c := range []struct{ state, outcome string }{{"sending", "held"}, {"sending", "away"}, {"disputed", "held"}, {"disputed", "away"}} {
		t.Run(c.state+" "+c.outcome, func(t *testing.T) {
			w := ebltest.New(t)
			a, b, d := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("d.example")
			one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
			bob, dora := b.User("bob"), d.User("dora")
			x := tap(w)
			doc, id := inDoubt(t, a, x, bob.ID)
			if c.state == "disputed" {
				x.answer(func(from, to identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
					return reject(b.Signer, lastOf(r), from, to, "DISE"), nil
				})
				stop := a.Run()
				a.Settled(id, node.DisputedT)
				stop()
			}
			open, err := a.Node().OpenTransfers(t.Context(), two.User)
			if err != nil || len(open) != 1 || open[0].ID != id {
				t.Fatalf("open: got %+v and %v", open, err)
			}
			if _, err := a.Node().Resolve(t.Context(), one.User, id, proposal(c.outcome)); err != nil {
				t.Fatal(err)
			}
			a.Restart()
			if p, err := a.Node().Resolution(t.Context(), two.User, id); err != nil || string(p.Evidence) != string(letter) || p.ProposedBy != "one" || p.ConfirmedBy != "" {
				t.Errorf("proposed: got %+v and %v", p, err)
			}
			if _, err := a.Node().Resolve(t.Context(), two.User, id, confirmation(c.outcome)); err != nil {
				t.Fatal(err)
			}
			a.Restart()
			v := a.View(doc)
			if v.Transfer.SettledBy != "operators" || (c.outcome == "held") != (v.Control == node.Held) || (c.outcome == "away") != (v.Control == node.Away) {
				t.Errorf("got %s by %s", v.Control, v.Transfer.SettledBy)
			}
			mustChange(t, a, func() {
				_, err := a.Node().Resolve(t.Context(), one.User, id, proposal("held"))
				mustRefuse(t, err, node.Conflict, "nothingToResolve")
			})
			x.answer(nil)
			defer a.Run()()
			if c.outcome == "held" {
				a.Transfer(a.User("al"), doc, dora.ID)
				mustHold(t, w, doc, dora.ID)
			} else if len(x.bodies(doc)) > 0 {
				// The addressee has it and sends it home: the chain goes on.
				if _, err := b.Put(a, x.bodies(doc)[0]); err != nil {
					t.Fatal(err)
				}
				b.Transfer(bob, doc, a.User("al").ID)
				mustHold(t, w, doc, a.User("al").ID)
			}
			checkAll(t, w)
			r, err := a.Node().Fsck(t.Context(), node.FsckOptions{})
			if err != nil || len(r.Findings) > 0 {
				t.Errorf("fsck: got %+v and %v", r.Findings, err)
			}
		})
	}
}

// TestLateAnswerAfterAResolveIsKeptAndMovesNothing, and is counted where it says the
// other thing.
func TestLateAnswerAfterAResolveIsKeptAndMovesNothing(t *testing.T) {
	const outcome = "away" // held is not confirmed under an attempt
	for name, says := range map[string]func(b *ebltest.Platform, from, to identity.Host, r node.Request) node.Reply{
		"a receipt": func(b *ebltest.Platform, _, _ identity.Host, r node.Request) node.Reply {
			return receipt(b.Signer, lastOf(r).Claimed)
		},
		"a rejection": func(b *ebltest.Platform, from, to identity.Host, r node.Request) node.Reply {
			return reject(b.Signer, lastOf(r), from, to, envelope.BadEnvelopeCode)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
			one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
			x := tap(w)
			asked, answer := make(chan struct{}), make(chan struct{})
			x.answer(func(from, to identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
				close(asked)
				<-answer
				return says(b, from, to, r), nil
			})
			doc := a.Issue(a.User("al").ID)
			id := a.Move(a.User("al"), doc, envelope.Transfer, b.User("bob").ID).Transfer
			stop := a.Run()
			<-asked
			for _, s := range []struct {
				by *ebltest.User
				o  node.ResolveOrder
			}{{one, proposal(outcome)}, {two, confirmation(outcome)}} {
				if _, err := a.Node().Resolve(t.Context(), s.by.User, id, s.o); err != nil {
					t.Fatal(err)
				}
			}
			before := a.View(doc)
			close(answer)
			var totals node.Totals
			waitFor(t, "the late answer", func() bool {
				var err error
				totals, err = a.Node().Totals(t.Context())
				return err == nil && totals.Late == 1
			})
			stop()
			if after := a.View(doc); after.Control != before.Control || after.Transfer.State != before.Transfer.State || (totals.LateWrong == 1) != (name == "a rejection") {
				t.Errorf("got %s, %s and %d that contradict", after.Control, after.Transfer.State, totals.LateWrong)
			}
			checkNode(t, a)
			unlock(t, a)
			nameEach(t, a, "late_answers")
		})
	}
}

// TestResolvedTransferAfterARestore: the backup knows nothing of what two operators
// decided since; the witness does, and nothing is decided anew.
func TestResolvedTransferAfterARestore(t *testing.T) {
	for _, outcome := range []string{"held", "away"} {
		t.Run(outcome, func(t *testing.T) {
			w := ebltest.New(t)
			a, b, d := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("d.example")
			one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
			bob, dora := b.User("bob"), d.User("dora")
			x := tap(w)
			doc, id := inDoubt(t, a, x, bob.ID)
			old := backup(t, a)
			if _, err := a.Node().Resolve(t.Context(), one.User, id, proposal(outcome)); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Node().Resolve(t.Context(), two.User, id, confirmation(outcome)); err != nil {
				t.Fatal(err)
			}
			restore(t, a, old)
			x.answer(nil)
			defer a.Run()()
			waitFor(t, "the quarantine to end", func() bool { return a.View(doc).Quarantine == "" })
			v := a.View(doc)
			if v.Transfer.SettledBy != "operators" || (outcome == "held") != (v.Control == node.Held) || (outcome == "away") != (v.Control == node.Away) {
				t.Errorf("got %s by %s", v.Control, v.Transfer.SettledBy)
			}
			if outcome == "held" {
				a.Transfer(a.User("al"), doc, dora.ID)
				mustHold(t, w, doc, dora.ID)
			}
			checkAll(t, w)
			if r, err := a.Node().Fsck(t.Context(), node.FsckOptions{}); err != nil || len(r.Findings) > 0 {
				t.Errorf("fsck: got %+v and %v", r.Findings, err)
			}
		})
	}
}
