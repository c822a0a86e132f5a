package node_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func refusedBlocks(t *testing.T, p *ebltest.Platform) []node.Refused {
	t.Helper()
	list, err := p.Node().Refused(t.Context(), &node.User{Role: node.OperatorRole})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestTwoOperatorsRejectABlockThatCannotBeJudged: its sender has its bill back, what is
// rejected stays rejected when the missing key comes, and nothing that was accepted is.
func TestTwoOperatorsRejectABlockThatCannotBeJudged(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	one, two, al, bob := b.User("one", node.OperatorRole), b.User("two", node.OperatorRole), a.User("al"), b.User("bob")
	// b holds an entry of a that lacks the key with which a signs now.
	other, err := identity.GenerateSigner(a.Domain(), identity.ES256, identity.CertificateSpec{Subject: "other", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	doc := a.Issue(al.ID)
	old := *a.Entry
	old.Keys = []*identity.Key{other.Key}
	node.Exec(t, b.Node(), "DELETE FROM peers")
	b.Restart()
	if err := b.Node().AddPeers(t.Context(), "test", []*identity.Platform{&old}); err != nil {
		t.Fatal(err)
	}
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	stop := a.Run()
	defer func() { stop() }()
	waitFor(t, "a block on the list", func() bool { return len(refusedBlocks(t, b)) == 1 })
	r := refusedBlocks(t, b)[0]
	if r.Peer != a.Domain() || r.Document != doc || r.Refusal.Text != "unknownKey" || r.Size == 0 || r.Proposal != nil {
		t.Errorf("on the list: got %+v", r)
	}
	say := func(by *ebltest.User, o node.RejectOrder) (bool, error) {
		if o.Reason == "" {
			o.Reason = "they cannot give us the key"
		}
		_, done, err := b.Node().RejectRefused(t.Context(), by.User, o)
		return done, err
	}
	_, err = say(bob, node.RejectOrder{Hash: r.Request})
	mustRefuse(t, err, node.Forbidden, "forbidden")
	_, err = say(one, node.RejectOrder{Hash: envelope.HashOf(nil)})
	mustRefuse(t, err, node.NotFound, "notFound")
	if done, err := say(one, node.RejectOrder{Hash: r.Request}); done || err != nil {
		t.Fatalf("the first operator: got %t and %v, want a proposal", done, err)
	}
	_, err = say(one, node.RejectOrder{Hash: r.Request})
	mustRefuse(t, err, node.Conflict, "secondOperatorNeeded")
	if v := a.View(doc); v.Control != node.Locked {
		t.Errorf("after one operator's word: got %s", v.Control)
	}
	b.Restart()
	var body []byte
	if err := node.DB(b.Node()).QueryRow("SELECT body FROM refused").Scan(&body); err != nil {
		t.Fatal(err)
	}
	if done, err := say(two, node.RejectOrder{Hash: r.Envelope}); !done || err != nil {
		t.Fatalf("the second operator: got %t and %v, want the rejection", done, err)
	}
	v := a.Settled(moved.Transfer, node.Rejected)
	if got := refusedBlocks(t, b); len(got) != 0 {
		t.Errorf("afterwards: got %d on the list", len(got))
	}
	mustHold(t, w, doc, al.ID)
	// An attempt whose judgement began before the operators decided, and ended after.
	node.KeepRefused(t, b.Node(), node.Request{Sender: a.Domain(), Body: body}, r.Refusal)
	if got := refusedBlocks(t, b); len(got) != 0 {
		t.Errorf("what is decided is on the list again: got %+v", got[0])
	}
	// These bytes stay rejected when b learns the key.
	stop()
	stop = func() {}
	both := *a.Entry
	both.Keys = append([]*identity.Key{other.Key}, a.Entry.Keys...)
	if err := b.Node().AddPeers(t.Context(), "test", []*identity.Platform{&both}); err != nil {
		t.Fatal(err)
	}
	sent := fmt.Sprint(v.Envelope)
	again, err := b.Node().Refused(t.Context(), one.User)
	if err != nil || len(again) != 0 || sent == "" {
		t.Errorf("got %v and %v", again, err)
	}
	fresh := a.Move(al, doc, envelope.Transfer, bob.ID)
	stop = a.Run()
	a.Settled(fresh.Transfer, node.Accepted)
	mustHold(t, w, doc, bob.ID)
	// What was accepted is not rejected, though somebody brings its block.
	for _, by := range []*ebltest.User{one, two} {
		_, err = say(by, node.RejectOrder{Block: a.Block(doc)})
		mustRefuse(t, err, node.Conflict, "alreadyAccepted")
	}
	mustHold(t, w, doc, bob.ID)
}

// TestSomebodyElsesEnvelopeIsNotRejected: a thief that offers another's envelope cannot
// have it rejected.
func TestSomebodyElsesEnvelopeIsNotRejected(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	one := b.User("one", node.OperatorRole)
	body, _ := a.Offer(b.User("bob").ID)
	if _, err := b.Put(c, body); err == nil {
		t.Fatal("c's offer of a's envelope was answered with a signature")
	}
	list := refusedBlocks(t, b)
	if len(list) != 1 || list[0].Refusal.Text != "signerMismatch" {
		t.Fatalf("got %+v", list)
	}
	mustChange(t, b, func() {
		_, _, err := b.Node().RejectRefused(t.Context(), one.User, node.RejectOrder{Hash: list[0].Request, Reason: "x"})
		mustRefuse(t, err, node.NotPossible, "notItsOwn")
	})
	mustAccept(t, b, a, body)
	checkAll(t, w)
}

// TestListOfRefusedBlocksIsBounded in all and for each peer, the newest stay.
func TestListOfRefusedBlocksIsBounded(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	body, _ := a.Offer(b.User("bob").ID)
	for range 3 {
		_, _ = b.Put(c, body) // signerMismatch
	}
	for i := range 260 {
		_, _ = b.Put(a, fmt.Appendf(nil, `{"no":%d}`, i))
	}
	list := refusedBlocks(t, b)
	last := list[len(list)-1]
	if len(list) != 251 || last.Peer != c.Domain() || last.Times != 3 || list[0].Refusal.Text != "malformed" || !list[0].Envelope.IsZero() {
		t.Errorf("got %d, the oldest of %s %d times", len(list), last.Peer, last.Times)
	}
}

// TestOperatorsRejectWhileNobodyWaits: to judge the block once more a responder is asked, who
// may take his time. Meanwhile bills move.
func TestOperatorsRejectWhileNobodyWaits(t *testing.T) {
	d := newDesk(t)
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual(), d.under())
	var b *ebltest.Platform
	asked := 0
	b = w.Platform("b.example", ebltest.Configure(func(c *node.Config) {
		c.Revocation = func(ctx context.Context, qs []identity.Question) ([][]byte, error) {
			asked++
			moves := make(chan error, 1)
			go func() { moves <- b.Node().Ready(context.WithoutCancel(ctx)) }()
			select {
			case err := <-moves:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(ebltest.Patience):
				t.Error("nothing can be written while a responder is asked")
			}
			return d.answer(ctx, qs)
		}
	}))
	one, two := b.User("one", node.OperatorRole), b.User("two", node.OperatorRole)
	body, _ := a.Offer(b.User("bob").ID)
	for i, by := range []*ebltest.User{one, two} {
		_, done, err := b.Node().RejectRefused(t.Context(), by.User, node.RejectOrder{Block: body, Reason: "it is not wanted"})
		if err != nil || done != (i == 1) {
			t.Fatalf("operator %d: got %t and %v", i+1, done, err)
		}
	}
	if asked == 0 {
		t.Error("nobody was asked, so this shows nothing")
	}
	if reply, err := b.Put(a, body); err != nil || reply.Refusal == nil || reply.Refusal.Text != "rejectedByOperators" {
		t.Errorf("the sender: got %+v and %v, want the rejection", reply, err)
	}
}
