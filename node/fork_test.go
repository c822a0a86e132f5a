package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// branches lists the stored branches of a bill at p: "index signature".
func branches(t testing.TB, p *ebltest.Platform) []string {
	t.Helper()
	db := snapshot(t, p)
	defer release(t, db)
	var list []string
	for _, r := range queryRows(t, db, "SELECT idx, jws FROM branches ORDER BY id") {
		list = append(list, fmt.Sprint(r["idx"], " ", r["jws"]))
	}
	return list
}

// mustKeep fails the test unless the entries of body from at on are kept at p as proof.
func mustKeep(t testing.TB, p *ebltest.Platform, body []byte, at int) {
	t.Helper()
	kept := branches(t, p)
	for i, e := range ebltest.Parse(t, body).Entries[at:] {
		if !slices.Contains(kept, fmt.Sprint(at+i, " ", e.JWS.Raw)) {
			t.Errorf("entry %d of the other branch is not kept", at+i)
		}
	}
}

// TestPlatformThatSignsTwice: a gives one bill to b and to c. Each is in good faith, so
// both accept; where the branches meet, the second is disputed and both stay as proof.
func TestPlatformThatSignsTwice(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("c.example")
	d := w.Platform("d.example")
	bob, carl, dora := b.User("bob"), c.User("carl"), d.User("dora")
	root := chainOf(a, issue("al@a.example"))
	doc := ebltest.Parse(t, root).Last().Payload.DocumentHash
	one, two := a.Extend(root, transfer(bob.ID)), a.Extend(root, transfer(carl.ID))
	mustAccept(t, b, a, one)
	mustAccept(t, c, a, two)

	// c passes its branch to b: disputed, and bob keeps what he has.
	v := c.Settled(c.Move(carl, doc, envelope.Transfer, bob.ID).Transfer, node.DisputedT)
	if !strings.Contains(v.LastAnswer, "forked") {
		t.Errorf("got %+v", v)
	}
	if got := b.View(doc); got.Control != node.Held || got.Possessor != bob.ID || got.Length != 2 {
		t.Errorf("at b: got %+v", got)
	}
	offered := c.Extend(two, transfer(bob.ID)) // not the same signature, the same branch
	mustKeep(t, b, two, 1)
	if got := len(branches(t, b)); got != 2 {
		t.Errorf("got %d kept entries, want 2: a's second signature and c's", got)
	}
	// The same branch over another way is not kept twice where it is the same.
	mustAnswer(t, b, c, offered, answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	// And a itself, whatever it tries.
	for _, to := range []string{bob.ID, b.User("ben").ID} {
		mustAnswer(t, b, a, a.Extend(root, ebltest.Tx{Instruction: envelope.Transfer, To: to, Comments: "third"}), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	}
	other := ebltest.Body(ebltest.Parse(t, root).Document, a.Seal(doc, envelope.Hash{}, issue(bob.ID)...))
	mustAnswer(t, b, a, other, answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	mustKeep(t, b, other, 0)
	// bob's bill still moves.
	b.Transfer(bob, doc, dora.ID)
	checkNode(t, b)
	checkNode(t, c)
	checkNode(t, d)
}

// TestForkAgainstATransferUnderWay: an envelope of ours that has no verdict counts as our
// head, whether it has left or not.
func TestForkAgainstATransferUnderWay(t *testing.T) {
	w := ebltest.New(t)
	a, b, c, d := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual()), w.Platform("c.example"), w.Platform("d.example", ebltest.Manual())
	bob, carl := b.User("bob"), c.User("carl")
	x := tap(w)
	body := chainOf(a, issue(bob.ID))
	doc := ebltest.Parse(t, body).Last().Payload.DocumentHash
	mustAccept(t, b, a, body)
	moved := b.Move(bob, doc, envelope.Transfer, carl.ID)

	// Somebody with our key has sealed another one, and d went on with it.
	forged := d.Extend(b.Extend(body, transfer("dora@d.example")), transfer(bob.ID))
	attack := func(comment string) {
		t.Helper()
		f := d.Extend(b.Extend(body, ebltest.Tx{Instruction: envelope.Transfer, To: "dora@d.example", Comments: comment}), transfer(bob.ID))
		mustAnswer(t, b, d, f, answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches", "+branches"}})
		mustKeep(t, b, f, 1)
		if v := b.View(doc); v.Control != node.Locked || v.Transfer.ID != moved.Transfer {
			t.Errorf("%s: got %+v", comment, v)
		}
	}
	attack("while prepared")
	x.answer(func(from, to identity.Host, r node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if from == b.Domain() {
			return lose(from, to, r, pass)
		}
		return pass()
	})
	stop := b.Run()
	waitFor(t, "an attempt", func() bool { return b.View(doc).Transfer.Attempts > 0 })
	attack("while in doubt")
	x.answer(nil)
	b.Settled(moved.Transfer, node.Accepted)
	stop()
	mustAnswer(t, b, d, forged, answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches", "+branches"}})
	if got := b.View(doc); got.Control != node.Away || got.Possessor != carl.ID {
		t.Errorf("got %+v", got)
	}
	if got := c.View(doc).Control; got != node.Held {
		t.Errorf("at c: got %s", got)
	}
	checkNode(t, b)
	checkNode(t, c)
}

// TestDisputedBillTakesNothing: not even the chain that shows the dispute to be void.
func TestDisputedBillTakesNothing(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example", ebltest.Manual())
	al, bob := a.User("al"), b.User("bob")
	x := tap(w)
	doc := a.Issue(al.ID)
	x.answer(func(from, to identity.Host, r node.Request, pass func() (node.Reply, error)) (node.Reply, error) {
		if _, err := pass(); err != nil {
			return node.Reply{}, err
		}
		return reject(b.Signer, lastOf(r), from, to, "DISE"), nil
	})
	a.Settled(a.Move(al, doc, envelope.Transfer, bob.ID).Transfer, node.DisputedT)
	x.answer(nil)
	body := b.Extend(b.Block(doc), transfer(al.ID))
	mustAnswer(t, a, b, body, answer{code: node.Unavailable, text: "quarantine", entry: -1})
	if got := a.View(doc).Control; got != node.Disputed {
		t.Errorf("got %s", got)
	}
}

// TestContinuationAfterARejectionIsNoFork: what the addressee rejected is not a branch.
func TestContinuationAfterARejectionIsNoFork(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	al, bob, carl := a.User("al"), b.User("bob"), c.User("carl")
	doc := a.Issue(bob.ID)
	b.Transfer(bob, doc, al.ID)
	a.Settled(a.Move(al, doc, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	a.Transfer(al, doc, carl.ID)
	c.Transfer(carl, doc, bob.ID)
	mustHold(t, w, doc, bob.ID)
	b.Transfer(bob, doc, al.ID)
	if got := append(branches(t, b), branches(t, a)...); len(got) != 0 {
		t.Errorf("branches: %v", got)
	}
	checkAll(t, w)
}

// TestChainBehindOurs: a lost receipt row (a damaged or older database) does not let an
// old chain take the bill back.
func TestChainBehindOurs(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(bob.ID)
	first := a.Block(doc)
	b.Transfer(bob, doc, al.ID)
	node.Exec(t, b.Node(), "DELETE FROM receipts")
	before := dump(t, b)
	r, err := b.Put(a, first)
	if err != nil {
		t.Fatal(err)
	}
	mustRejectAs(t, r, b, a, first, envelope.DisputeCode, "behind")
	if got := changes(before, dump(t, b)); !slices.Equal(got, []string{"+audit", "+rejections"}) {
		t.Errorf("got the changes %v, want one rejection and its audit row", got)
	}
	mustHold(t, w, doc, al.ID)
}

// TestThousandsOfForksHideNothing: who signs many other chains of a bill makes neither the
// node slow, nor its disk full, nor another's guilt unreadable.
func TestThousandsOfForksHideNothing(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	bob, ben := b.User("bob"), b.User("ben")
	root := chainOf(a, issue("al@a.example"))
	doc := ebltest.Parse(t, root).Last().Payload.DocumentHash
	mustAccept(t, b, a, a.Extend(root, transfer(bob.ID)))
	long := func(i int) []byte {
		body := root
		for hop := range 98 {
			body = a.Extend(body, ebltest.Tx{Instruction: envelope.Transfer, To: fmt.Sprintf("u%d@a.example", hop%2), Comments: fmt.Sprint(i)})
		}
		return a.Extend(body, transfer(bob.ID))
	}
	for i := range 70 {
		_, _ = b.Put(a, a.Extend(root, ebltest.Tx{Instruction: envelope.Transfer, To: ben.ID, Comments: fmt.Sprint(i)}))
	}
	for i := range 22 {
		if reply, err := b.Put(a, long(i)); err != nil || reply.Refusal == nil || reply.Refusal.Text != "forked" {
			t.Fatalf("fork %d: got %+v and %v", i, reply, err)
		}
	}
	if got := len(branches(t, b)); got != 70+19*99 {
		t.Errorf("got %d entries kept, want those of 70 short chains and 19 long ones", got)
	}
	// The bill goes on, comes back by c, and c signs twice.
	b.Transfer(bob, doc, c.User("carl").ID)
	ours := b.Block(doc)
	mustAccept(t, b, c, c.Extend(ours, transfer(bob.ID)))
	if reply, err := b.Put(c, c.Extend(ours, transfer(ben.ID))); err != nil || reply.Refusal == nil || reply.Refusal.Text != "forked" {
		t.Fatalf("c's: got %+v and %v", reply, err)
	}
	guilty := map[string]bool{}
	for _, f := range findings(t, evidence(t, b, doc), stranger(t, a, b, c)) {
		guilty[f.Platform] = true
	}
	if !guilty["a.example"] || !guilty["c.example"] || len(guilty) != 2 {
		t.Errorf("got %v, want a and c", guilty)
	}
	mustBeClean(t, b)
}
