package node_test

import (
	"bytes"
	"errors"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
)

// bundleOf is the file that an auditor of p gets: of the whole bill, or of the transfer by
// one entry.
func bundleOf(t *testing.T, p *ebltest.Platform, doc envelope.Hash, entry int) *envelope.Bundle {
	t.Helper()
	b, err := p.Node().Bundle(t.Context(), &node.User{Local: "auditor", Role: node.AuditorRole}, doc, entry)
	if err != nil {
		t.Fatal(err)
	}
	return asRead(t, b)
}

// asRead is b as whoever is handed its file reads it.
func asRead(t *testing.T, b *envelope.Bundle) *envelope.Bundle {
	t.Helper()
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	out, err := envelope.ParseBundle(text, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// holds fails the test unless a stranger finds to in control, by p's file.
func holds(t *testing.T, w []*ebltest.Platform, p *ebltest.Platform, doc envelope.Hash, to string) *judge.Report {
	t.Helper()
	r := judged(t, bundleOf(t, p, doc, -1), stranger(t, w...))
	if !r.Verdict.Holds() || r.State.Possessor != to || r.Made.Signature != "good" || r.Made.By != p.Domain().String() {
		t.Errorf("the file of %s: got %s %s (%s), in control %+v, maker's signature %s, want %s in control", p.Domain(), r.Verdict, r.Rule, r.Detail, r.State, r.Made.Signature, to)
	}
	return r
}

// TestBundleFollowsTheBill exports at each place of a bill's life, and lets a stranger judge.
func TestBundleFollowsTheBill(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	all := []*ebltest.Platform{a, b, c}
	al, amy, bob, ben, carl := a.User("al"), a.User("amy"), b.User("bob"), b.User("ben"), c.User("carl")

	// Inside the platform: steps, and no chain yet.
	doc := a.Issue(al.ID)
	if r := holds(t, all, a, doc, al.ID); len(r.Entries) != 0 || len(r.Steps) != 1 || !r.State.Settled {
		t.Errorf("issued: got %d entries and %d steps", len(r.Entries), len(r.Steps))
	}
	a.Transfer(al, doc, amy.ID)
	holds(t, all, a, doc, amy.ID)

	// Both sides of a transfer hold equal evidence.
	a.Transfer(amy, doc, bob.ID)
	r := holds(t, all, a, doc, bob.ID)
	if len(r.Entries) != 1 || len(r.Steps) != 0 || !r.State.Settled || r.Verdict != judge.Valid {
		t.Errorf("sent: got %s, %d entries, %d steps", r.Verdict, len(r.Entries), len(r.Steps))
	}
	holds(t, all, b, doc, bob.ID)
	equal := func(x, y *ebltest.Platform, entry int) {
		t.Helper()
		ex, errx := bundleOf(t, x, doc, entry).Evidence()
		ey, erry := bundleOf(t, y, doc, entry).Evidence()
		if errx != nil || erry != nil || !bytes.Equal(ex, ey) {
			t.Errorf("the evidence of the transfer by entry %d: %s has\n%s\nand %s\n%s", entry, x.Domain(), ex, y.Domain(), ey)
		}
	}
	equal(a, b, -1) // nothing happened before it and since
	equal(a, b, 0)
	b.Transfer(bob, doc, ben.ID)
	holds(t, all, b, doc, ben.ID)
	holds(t, all, a, doc, bob.ID) // as far as a knows
	b.Transfer(ben, doc, carl.ID)
	equal(a, b, 0)
	equal(b, c, 1)
	holds(t, all, c, doc, carl.ID)
	for _, p := range all[1:] {
		if r := judged(t, bundleOf(t, p, doc, 0), stranger(t, all...)); r.State == nil || r.State.Possessor != bob.ID {
			// c gave no receipt for entry 0, and was given none.
			t.Errorf("entry 0 by the file of %s: got %s and %+v", p.Domain(), r.Verdict, r.State)
		}
	}

	// Returned, and honoured: nobody is in control, and all three can show it.
	issuer := a.User("issuer")
	back := c.Move(carl, doc, envelope.Surrender, issuer.ID)
	c.Settled(back.Transfer, node.Accepted)
	if r := holds(t, all, a, doc, issuer.ID); r.State.ReturnedBy != carl.ID {
		t.Errorf("returned: got %+v", r.State)
	}
	if _, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	r = holds(t, all, a, doc, "")
	if r.State.Honour != "surrendered" || r.State.Status != "void" {
		t.Errorf("honoured: got %+v", r.State)
	}
	equal(a, c, 2)
	for _, missing := range []int{3, 99} {
		_, err := a.Node().Bundle(t.Context(), &node.User{Role: node.AuditorRole}, doc, missing)
		mustRefuse(t, err, node.NotFound, "notFound")
	}
	// Who does not see the bill gets nothing of it.
	_, err := a.Node().Bundle(t.Context(), a.User("stranger").User, doc, -1)
	mustRefuse(t, err, node.NotFound, "notFound")
}

// TestBundleInDoubt: an envelope that left and has no answer is the head of the chain, as
// unsettled; one that was rejected is a branch, with the rejection that makes the next one
// lawful.
func TestBundleInDoubt(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	all := []*ebltest.Platform{a, b}
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(al.ID)
	a.Settled(a.Move(al, doc, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	if r := holds(t, all, a, doc, al.ID); len(r.Forks) != 1 || r.Forks[0].Kind != judge.LawfulAgain || len(r.Steps) != 1 {
		t.Errorf("rejected: got %+v", r.Forks)
	}
	tap(w).answer(func(_, _ identity.Host, _ node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		_, _ = pass()
		return node.Reply{}, errors.New("the answer was lost")
	})
	waitSent(t, a, al, a.Move(al, doc, envelope.Transfer, bob.ID).Transfer)
	file := bundleOf(t, a, doc, -1)
	r := judged(t, file, stranger(t, all...))
	if !r.Verdict.Holds() || r.State.Possessor != bob.ID || r.State.Settled || len(file.Steps) != 0 || len(r.Forks) != 1 || r.Forks[0].Kind != judge.LawfulAgain {
		t.Errorf("in doubt: got %s %s, %+v and %+v, want bob in control, not settled", r.Verdict, r.Rule, r.State, r.Forks)
	}
	// The rejection of the first one taken out: it looks as if a signed twice.
	file.Rejections = nil
	if r := judged(t, file, stranger(t, all...)); r.Rule != "forked/signedTwice" {
		t.Errorf("without the rejection: got %s %s", r.Verdict, r.Rule)
	}
}

func waitSent(t *testing.T, p *ebltest.Platform, u *ebltest.User, id string) {
	t.Helper()
	waitFor(t, "the transfer to be sent", func() bool {
		v, err := p.Node().Transfer(t.Context(), u.User, id)
		if err != nil {
			t.Fatal(err)
		}
		return v.State == node.Sending && v.Attempts > 0
	})
}
