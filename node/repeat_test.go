package node_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// mustRepeat offers body and wants the stored receipt and no change.
func mustRepeat(t testing.TB, to, from *ebltest.Platform, body []byte, receipt string) {
	t.Helper()
	mustChange(t, to, func() {
		r, err := to.Put(from, body)
		if err != nil || r.Receipt != receipt || r.Rejection != "" {
			t.Errorf("got %+v and %v, want the stored receipt", r, err)
		}
	})
}

func TestSameBlockAgainGetsTheSameReceipt(t *testing.T) {
	s := newStage(t)
	body, _ := s.a.Offer(s.bob)
	receipt := mustAccept(t, s.b, s.a, body)
	mustChange(t, s.b, func() {
		for range 100 {
			if got := mustAccept(t, s.b, s.a, body); got != receipt {
				t.Fatalf("got another receipt")
			}
		}
	})
	mustRepeat(t, s.b, s.a, ebltest.Rewrap(t, body), receipt)
	mustRepeat(t, s.b, s.a, bytes.Replace(body, []byte("endorsementChain"), []byte("endorcementChain"), 1), receipt)
	s.b.Restart()
	mustRepeat(t, s.b, s.a, body, receipt)
	mustAnswer(t, s.b, s.c, body, answer{code: node.Forbidden, text: "signerMismatch", entry: 0}) // stolen
}

// TestAcceptedEnvelopeIsNeverRejected: whatever stands around an accepted envelope now,
// whoever its transferee is by now, its sender gets the receipt and nothing else.
func TestAcceptedEnvelopeIsNeverRejected(t *testing.T) {
	s := newStage(t)
	body := chainOf(s.a, issue("cees@c.example"), extend(s.c, transfer(s.bob)))
	receipt := mustAccept(t, s.b, s.c, body)
	doc := ebltest.Parse(t, body).Last().Payload.DocumentHash
	variants := map[string][]byte{
		"the other signature":      edit(t, body, func(b *envelope.Transferblock) { b.Entries[1] = ebltest.Twin(t, b.Entries[1]) }),
		"another document":         edit(t, body, func(b *envelope.Transferblock) { b.Document = s.a.Document() }),
		"the older entry left out": edit(t, body, func(b *envelope.Transferblock) { b.Entries = b.Entries[1:] }),
		"the older entry damaged":  edit(t, body, func(b *envelope.Transferblock) { b.Entries[0] = ebltest.BadSignature(t, b.Entries[0]) }),
		"the older entry twice":    edit(t, body, func(b *envelope.Transferblock) { b.Entries = append(b.Entries[:1:1], b.Entries...) }),
		"the older entry's twin":   edit(t, body, func(b *envelope.Transferblock) { b.Entries[0] = ebltest.Twin(t, b.Entries[0]) }),
		"another hash beside it":   edit(t, body, func(b *envelope.Transferblock) { b.Entries[1].Claimed[3] ^= 1 }),
		"a stranger's entry before it": edit(t, body, func(b *envelope.Transferblock) {
			b.Entries[0] = ebltest.Parse(t, chainOf(s.x, issue("x@x.example"))).Entries[0]
		}),
		"the same with a lie beside it": bytes.Replace(body, []byte(`{"envelopeHash"`), []byte(`{"eblEnvelope":{},"envelopeHash"`), 1),
	}
	again := func(when string) {
		t.Helper()
		for name, v := range variants {
			t.Run(when+"/"+name, func(t *testing.T) { mustRepeat(t, s.b, s.c, v, receipt) })
		}
	}
	again("held")
	if err := s.b.Node().DisableUser(t.Context(), "test", "bob"); err != nil {
		t.Fatal(err)
	}
	again("user disabled")
	if _, err := s.b.Node().ReplaceToken(t.Context(), "test", "bob"); err != nil { // who is disabled moves nothing
		t.Fatal(err)
	}
	stop := s.b.Run()
	s.b.Transfer(s.b.User("bob"), doc, s.d.User("dora").ID)
	stop()
	again("moved on")
	if got := s.b.View(doc).Control; got != node.Away {
		t.Errorf("the old block again changed the control to %s", got)
	}
	t.Run("a wrong signature over it is refused without ours", func(t *testing.T) {
		bad := edit(t, body, func(b *envelope.Transferblock) { b.Entries[1] = ebltest.BadSignature(t, b.Entries[1]) })
		mustChange(t, s.b, func() {
			r, err := s.b.Put(s.c, bad)
			if r != (node.Reply{}) {
				t.Errorf("got %+v", r)
			}
			mustRefuse(t, err, node.BSIG, "badSignature")
		})
	})
}

// TestOldBlockOfAReturnedBill: A→B→A; the block of the first leg again at B changes
// nothing, and a second round trip works, fifty times (SNG-09, SNG-14).
func TestOldBlockOfAReturnedBill(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(al.ID)
	a.Transfer(al, doc, bob.ID)
	first := a.Block(doc)
	receipt := mustAccept(t, b, a, first)
	for range 50 {
		b.Transfer(bob, doc, al.ID)
		mustHold(t, w, doc, al.ID)
		a.Transfer(al, doc, bob.ID)
		mustHold(t, w, doc, bob.ID)
	}
	b.Transfer(bob, doc, al.ID)
	mustRepeat(t, b, a, first, receipt)
	mustHold(t, w, doc, al.ID)
	checkAll(t, w)
}

// TestRejectedEnvelopeIsNeverAccepted: BENV is for the envelope, in every form of it and
// in every block around it.
func TestRejectedEnvelopeIsNeverAccepted(t *testing.T) {
	s := newStage(t)
	body, _ := s.a.Offer(s.bob)
	damaged := edit(t, body, func(b *envelope.Transferblock) { b.Document = s.a.Document() })
	mustAnswer(t, s.b, s.a, damaged, answer{code: node.BENV, text: "documentMismatch", path: "$"})
	twin := edit(t, body, func(b *envelope.Transferblock) { b.Entries[0] = ebltest.Twin(t, b.Entries[0]) })
	for name, v := range map[string][]byte{"as it should have been": body, "the other signature": twin} {
		t.Run(name, func(t *testing.T) {
			mustAnswer(t, s.b, s.a, v, answer{code: node.BENV, text: "documentMismatch", path: "$"})
		})
	}
	// The user is there now; the envelope stays rejected.
	late, _ := s.a.Offer("late@b.example")
	mustAnswer(t, s.b, s.a, late, answer{code: node.BENV, text: "transfereeNotAccepted", path: "$"})
	s.b.User("late")
	mustAnswer(t, s.b, s.a, append([]byte(" "), twinOf(t, late)...), answer{code: node.BENV, text: "transfereeNotAccepted", path: "$"})
	if r, err := s.b.Put(s.a, late); err != nil || r.Receipt != "" {
		t.Errorf("got %+v and %v", r, err)
	}
}

func twinOf(t testing.TB, body []byte) []byte {
	return edit(t, body, func(b *envelope.Transferblock) {
		b.Entries[len(b.Entries)-1] = ebltest.Twin(t, *b.Last())
	})
}

// TestBytesRejectedWithBSIGAreNotTakenLater: the sender has its bill back, so these bytes
// stay refused though the key has got a longer life since; other bytes are not meant.
func TestBytesRejectedWithBSIGAreNotTakenLater(t *testing.T) {
	s := newStage(t)
	now := time.Now()
	entry := *s.a.Entry
	key := *entry.Keys[0]
	key.NotBefore = now.Add(-time.Minute)
	entry.Keys = []*identity.Key{&key}
	if err := s.b.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	body := chainOf(s.a, []ebltest.Tx{{Instruction: envelope.Issue, To: s.bob, At: now.Add(-time.Hour)}})
	mustAnswer(t, s.b, s.a, body, answer{code: node.BSIG, text: "badSignature"})
	s.b.Trust(s.a) // the whole window again
	if r, err := s.b.Put(s.a, ebltest.Rewrap(t, body)); err != nil || r.Receipt != "" {
		t.Errorf("got %+v and %v, want the rejection", r, err)
	}
	withBeside := bytes.Replace(body, []byte(`{"envelopeHash"`), fmt.Appendf(nil, `{"eblEnvelope":%s,"envelopeHash"`, ebltest.Parse(t, body).Last().JWS.Payload), 1)
	mustAnswer(t, s.b, s.a, withBeside, answer{code: node.BSIG, text: "badSignature"})
	mustAccept(t, s.b, s.a, twinOf(t, body))
	// The old question keeps its old answer, which is about those bytes alone.
	r, err := s.b.Put(s.a, body)
	if err != nil {
		t.Fatal(err)
	}
	mustRejectAs(t, r, s.b, s.a, body, envelope.BadSignatureCode, "badSignature")
	checkNode(t, s.b)
}

// TestBillIssuedHereIsNotTakenByAnotherIssue: another trusted platform issues the same
// document and addresses it to a user here. The holder of ours must not lose it.
func TestBillIssuedHereIsNotTakenByAnotherIssue(t *testing.T) {
	w := ebltest.New(t)
	a, p := w.Platform("a.example", ebltest.Manual()), w.Platform("p.example", ebltest.Manual())
	alice, mallory := a.User("alice"), a.User("mallory")
	doc := a.Issue(alice.ID)
	text, err := a.Node().Document(t.Context(), alice.User, doc)
	if err != nil {
		t.Fatal(err)
	}
	offer := func(txs ...ebltest.Tx) []byte { return ebltest.Body(text, p.Seal(doc, envelope.Hash{}, txs...)) }
	mustAnswer(t, a, p, offer(issue(mallory.ID)...), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	mustAnswer(t, a, p, offer(issue("pete@p.example")[0], transfer(mallory.ID)), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	mustHold(t, w, doc, alice.ID)
	// Nor with steps behind it, nor while it is on its way.
	a.Transfer(alice, doc, mallory.ID)
	mustAnswer(t, a, p, offer(issue(alice.ID)...), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	a.Move(mallory, doc, envelope.Transfer, p.User("pete").ID)
	mustAnswer(t, a, p, offer(issue("pete@p.example")[0], transfer(alice.ID)), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	mustHold(t, w, doc, mallory.ID)
	checkNode(t, a)
}

// TestVoidBillDoesNotGoOn: nothing follows the carrier's verdict.
func TestVoidBillDoesNotGoOn(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	c := w.Platform("c.example")
	issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
	doc := a.Issue(bob.ID)
	b.Settled(b.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	chain := b.Block(doc)
	verdictOfA, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Node().TakeVerdict(t.Context(), "test", verdictOfA.Verdict); err != nil && b.View(doc).Control != node.Voided {
		t.Fatal(err)
	}
	// A dishonest carrier declines after all.
	mustAnswer(t, b, a, a.Extend(chain, transfer(bob.ID)), answer{code: node.BENV, text: "unlawful/billVoid", entry: 2})
	// One who does not know of the verdict holds what is lawful by the chain.
	mustAccept(t, c, a, chainOf(a, issue(c.User("cees").ID)))
	checkAll(t, w)
}

func TestVerdictsOfAPeerAreRationed(t *testing.T) {
	w := ebltest.New(t)
	now := time.Now()
	clock := func() time.Time { return now }
	a := w.Platform("a.example", ebltest.Manual())
	b := w.Platform("b.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.VerdictsPerHour, c.Now = 3, clock }))
	c := w.Platform("c.example", ebltest.Manual())
	bob := b.User("bob").ID
	bad := func() []byte { x, _ := a.Offer("nobody@b.example"); return x }
	first, good := bad(), func() []byte { x, _ := a.Offer(bob); return x }
	mustAnswer(t, b, a, first, answer{code: node.BENV, text: "transfereeNotAccepted", path: "$"})
	taken := good()
	receipt := mustAccept(t, b, a, taken)
	mustAnswer(t, b, a, bad(), answer{code: node.BENV, text: "transfereeNotAccepted", path: "$"})
	mustAnswer(t, b, a, bad(), answer{code: node.TooManyRequests, text: "tooManyRequests", entry: -1})
	waiting := good()
	mustAnswer(t, b, a, waiting, answer{code: node.TooManyRequests, text: "tooManyRequests", entry: -1})
	// What was answered before is answered still, and other peers are.
	mustRepeat(t, b, a, taken, receipt)
	if r, err := b.Put(a, first); err != nil || r.Rejection == "" {
		t.Errorf("the stored rejection: got %+v and %v", r, err)
	}
	x, _ := c.Offer(bob)
	mustAccept(t, b, c, x)
	now = now.Add(time.Hour)
	mustAccept(t, b, a, waiting)
	checkNode(t, b)
}

// TestCompromisedKey: after a key is reported stolen only what we hold counts.
func TestCompromisedKey(t *testing.T) {
	s := newStage(t)
	held := chainOf(s.a, issue("cees@c.example"), extend(s.c, transfer(s.bob)))
	unseen := chainOf(s.a, issue("cees@c.example"), extend(s.c, transfer(s.bob)))
	own, _ := s.a.Offer(s.bob)
	mustAccept(t, s.b, s.c, held)
	doc := ebltest.Parse(t, held).Last().Payload.DocumentHash
	stop := s.b.Run()
	s.b.Transfer(s.b.User("bob"), doc, s.d.User("dora").ID)
	stop()
	entry := *s.a.Entry
	key := *entry.Keys[0]
	key.Revoked, key.Reason = time.Now(), identity.ReasonKeyCompromise
	entry.Keys = []*identity.Key{&key}
	if err := s.b.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	mustAnswer(t, s.b, s.c, unseen, answer{code: node.Forbidden, text: "keyCompromised", entry: 0})
	mustAnswer(t, s.b, s.a, own, answer{code: node.Forbidden, text: "keyCompromised", entry: 0})
	// It comes back over a prefix that we verified before the theft.
	s.d.Transfer(s.d.User("dora"), doc, s.bob)
	mustHold(t, s.w, doc, s.bob)
}
