package node_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func mustHold(t testing.TB, w *ebltest.Network, doc envelope.Hash, who string) {
	t.Helper()
	if got := w.InControl(doc); !slices.Equal(got, []string{who}) {
		t.Fatalf("in control: got %v, want %s", got, who)
	}
}

// waitFor polls until f is true, no longer than ebltest.Patience.
func waitFor(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(ebltest.Patience); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", ebltest.Patience, what)
		}
	}
}

func TestJourneyOverTwentyHops(t *testing.T) {
	t.Parallel()
	w := ebltest.New(t)
	platforms := []*ebltest.Platform{w.Platform("a.example")}
	for _, d := range []string{"b.example", "c.example", "d.example"} {
		platforms = append(platforms, w.Platform(d, ebltest.NotIssuer()))
	}
	var ended []honoured
	for hops := 1; hops <= 20; hops++ {
		ended = append(ended, journey(t, w, platforms, hops))
	}
	for _, h := range ended {
		waitFor(t, "the verdict at "+h.returner.Domain().String(), func() bool { return h.returner.View(h.document).Verdict != "" })
		v := h.returner.View(h.document)
		if v.Verdict != h.verdict || v.Control != node.Voided || v.Status != chain.Void || v.Possessor != "" {
			t.Errorf("at the returner: got %+v, want void by the carrier's verdict", v)
		}
		if got := w.InControl(h.document); len(got) != 0 {
			t.Errorf("in control of a void bill: %v", got)
		}
	}
	checkAll(t, w)
}

type honoured struct {
	document envelope.Hash
	returner *ebltest.Platform
	verdict  string
}

// journey issues a bill at the first platform, moves it hops times over changing ones
// with steps inside each, and brings it back: declined once, then honoured.
func journey(t *testing.T, w *ebltest.Network, platforms []*ebltest.Platform, hops int) honoured {
	t.Helper()
	at, holder := platforms[0], platforms[0].User("u0")
	issuer := at.User("issuer", node.IssuerRole)
	doc := at.Issue(holder.ID)
	for i := range hops {
		// Inside the platform: none, one or two steps.
		for s := range i % 3 {
			next := at.User(fmt.Sprintf("u%d", s+1))
			if next == holder {
				next = at.User("u3")
			}
			at.Transfer(holder, doc, next.ID)
			holder = next
		}
		to := platforms[(i*i+i/2+1)%len(platforms)]
		next := to.User("u0")
		if to == at && next == holder {
			next = to.User("u1")
		}
		at.Transfer(holder, doc, next.ID)
		at, holder = to, next
		mustHold(t, w, doc, holder.ID)
	}
	if hops%5 == 0 {
		checkAll(t, w)
	}
	if at == platforms[0] {
		next := platforms[1].User("u0")
		at.Transfer(holder, doc, next.ID)
		at, holder = platforms[1], next
	}
	// Returned, declined, returned again, honoured.
	at.Settled(at.Move(holder, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	mustHold(t, w, doc, issuer.ID)
	declined, err := platforms[0].Node().Decline(t.Context(), issuer.User, doc, node.DeclineOrder{Comments: "not yet"})
	if err != nil {
		t.Fatal(err)
	}
	platforms[0].Settled(declined.Transfer, node.Accepted)
	mustHold(t, w, doc, holder.ID)
	in := []envelope.Instruction{envelope.Surrender, envelope.SwitchToPaper}[hops%2]
	at.Settled(at.Move(holder, doc, in, issuer.ID).Transfer, node.Accepted)
	done, err := platforms[0].Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
	if err != nil {
		t.Fatal(err)
	}
	return honoured{doc, at, done.Verdict}
}

// TestReturnedBillOfLocalHolder: a bill that never leaves its platform.
func TestReturnedBillOfLocalHolder(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example")
	alice, issuer := a.User("alice"), a.User("issuer", node.IssuerRole)
	for in, kind := range map[envelope.Instruction]envelope.VerdictKind{envelope.Surrender: envelope.Surrendered, envelope.SwitchToPaper: envelope.Paper} {
		doc := a.Issue(alice.ID)
		a.Move(alice, doc, in, "")
		mustHold(t, w, doc, issuer.ID)
		if _, err := a.Node().Decline(t.Context(), issuer.User, doc, node.DeclineOrder{}); err != nil {
			t.Fatal(err)
		}
		mustHold(t, w, doc, alice.ID)
		a.Move(alice, doc, in, "")
		done, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
		if err != nil {
			t.Fatal(err)
		}
		v, err := envelope.OpenVerdict(done.Verdict, a.Entry, time.Now())
		if err != nil || v.Kind != kind || v.DocumentHash != doc {
			t.Errorf("verdict: got %+v and %v, want %s", v, err, kind)
		}
		_, err = a.Node().Move(t.Context(), issuer.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(alice.ID)})
		mustRefuse(t, err, node.Conflict, "unlawful/billVoid")
		checkNode(t, a)
	}
}

// TestAmendedBillIsReplacedInOneTransaction: the reference is free for the replacement,
// and neither bill is there without the other.
func TestAmendedBillIsReplacedInOneTransaction(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
	doc := a.Issue(bob.ID)
	b.Settled(b.Move(bob, doc, envelope.Amend, issuer.ID).Transfer, node.Accepted)

	mustChange(t, a, func() {
		_, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
		mustRefuse(t, err, node.Malformed, "malformed")
		_, err = a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{Replacement: []byte(`{"carrierCode":1}`)})
		mustRefuse(t, err, node.Malformed, "malformed")
	})
	number := a.View(doc).Reference.Number
	replacement := fmt.Appendf(nil, `{"carrierCode":"MAEU","isToOrder":true,"transportDocumentReference":%q,"vesselName":"Other"}`, number)
	done, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{Replacement: replacement})
	if err != nil {
		t.Fatal(err)
	}
	if done.ReplacedBy != envelope.HashOf(replacement) || a.View(done.ReplacedBy).Control != node.Held {
		t.Errorf("replaced by %s, want %s held here", done.ReplacedBy, envelope.HashOf(replacement))
	}
	a.Transfer(issuer, done.ReplacedBy, bob.ID)
	mustHold(t, w, done.ReplacedBy, bob.ID)
	waitFor(t, "the verdict", func() bool { return b.View(doc).Control == node.Voided })
	checkAll(t, w)
}

// mustRefuse fails the test unless err is the refusal of that code and text.
func mustRefuse(t testing.TB, err error, code node.Code, text string) *node.Error {
	t.Helper()
	if err == nil {
		t.Fatalf("got no refusal, want %d %s", code, text)
	}
	e := node.AsError(err)
	if e.Code != code || e.Text != text {
		t.Fatalf("got %v, want %d %s", err, code, text)
	}
	return e
}

// TestLifeOfAStraightBill: every step of a bill that is not to order, over two platforms;
// v1 restricts it in nothing, and says in each entry what it is.
func TestLifeOfAStraightBill(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example", ebltest.NotIssuer())
	issuer, alice, bob, ben := a.User("issuer", node.IssuerRole), a.User("alice"), b.User("bob"), b.User("ben")
	straight := func(reference, goods string) []byte {
		return fmt.Appendf(nil, `{"carrierCode":"STRT","goods":%q,"isToOrder":false,"transportDocumentReference":%q}`, goods, reference)
	}
	for i, in := range []envelope.Instruction{envelope.Surrender, envelope.Amend, envelope.SwitchToPaper} {
		t.Run(string(in), func(t *testing.T) {
			moved, err := a.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: straight(fmt.Sprint("S", i), "tea"), To: ebltest.Quote(alice.ID)})
			if err != nil {
				t.Fatal(err)
			}
			doc := moved.Document
			a.Transfer(alice, doc, bob.ID)
			b.Transfer(bob, doc, ben.ID)
			mustHold(t, w, doc, ben.ID)
			b.Settled(b.Move(ben, doc, in, issuer.ID).Transfer, node.Accepted)
			declined, err := a.Node().Decline(t.Context(), issuer.User, doc, node.DeclineOrder{})
			if err != nil {
				t.Fatal(err)
			}
			a.Settled(declined.Transfer, node.Accepted)
			mustHold(t, w, doc, ben.ID)
			b.Settled(b.Move(ben, doc, in, issuer.ID).Transfer, node.Accepted)
			order := node.HonourOrder{}
			if in == envelope.Amend {
				order.Replacement = straight(fmt.Sprint("S", i), "coffee")
			}
			done, err := a.Node().Honour(t.Context(), issuer.User, doc, order)
			if err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the verdict to reach who returned it", func() bool { return b.View(doc).Verdict == done.Verdict })
			for _, p := range []*ebltest.Platform{a, b} {
				if v := p.View(doc); v.ToOrder || v.Status != chain.Void {
					t.Errorf("%s: got to order %t, %s; want a straight bill that is void", p.Domain(), v.ToOrder, v.Status)
				}
			}
			block, err := envelope.Parse(b.Block(doc), envelope.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range block.Entries {
				for _, tx := range e.Payload.Transactions {
					if tx.ToOrder {
						t.Errorf("%s: isToOrder is true in the chain", tx.Instruction)
					}
				}
			}
		})
	}
	checkAll(t, w)
}
