package node_test

import (
	"slices"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func TestVerdictIsForThePlatformsOfTheChain(t *testing.T) {
	w := ebltest.New(t)
	a, b, c, d := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example"), w.Platform("d.example")
	x := w.Platform("x.example", ebltest.Stranger())
	issuer, bob, carl := a.User("issuer", node.IssuerRole), b.User("bob"), c.User("carl")
	doc := a.Issue(bob.ID)
	b.Transfer(bob, doc, carl.ID)
	c.Settled(c.Move(carl, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	ask := func(p *ebltest.Platform, document envelope.Hash) (string, error) {
		return a.Node().Verdict(t.Context(), p.Domain(), document)
	}
	for range 2 {
		_, err := ask(d, doc)
		mustRefuse(t, err, node.Forbidden, "forbidden")
		_, err = ask(x, doc)
		mustRefuse(t, err, node.Forbidden, "unknownPeer")
		_, err = ask(b, envelope.HashOf([]byte("x")))
		mustRefuse(t, err, node.NotFound, "notFound")
		if a.View(doc).Control == node.Voided {
			break
		}
		_, err = ask(b, doc)
		mustRefuse(t, err, node.NotFound, "notFound")
		if _, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{}); err != nil {
			t.Fatal(err)
		}
	}
	want := a.View(doc).Verdict
	for _, p := range []*ebltest.Platform{b, c} {
		if got, err := ask(p, doc); err != nil || got != want {
			t.Errorf("%s: got %q and %v, want %q", p.Domain(), got, err, want)
		}
	}
}

func TestForgedVerdicts(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
	doc := a.Issue(bob.ID)
	active := b.View(doc).Head
	b.Settled(b.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	right := envelope.Verdict{DocumentHash: doc, EnvelopeHash: b.View(doc).Head, Kind: envelope.Surrendered, At: time.Now()}
	sign := func(p *ebltest.Platform, change func(*envelope.Verdict)) string {
		v := right
		change(&v)
		jws, err := envelope.SignVerdict(v, p.Signer)
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
	same := func(*envelope.Verdict) {}
	for name, jws := range map[string]string{
		"by a third platform":    sign(c, same),
		"by the returner":        sign(b, same),
		"of another kind":        sign(a, func(v *envelope.Verdict) { v.Kind = envelope.Paper }),
		"about an older entry":   sign(a, func(v *envelope.Verdict) { v.EnvelopeHash = active }),
		"about no entry":         sign(a, func(v *envelope.Verdict) { v.EnvelopeHash = envelope.Hash{} }),
		"with a replacement":     sign(a, func(v *envelope.Verdict) { v.ReplacedBy = active }),
		"dated ahead of us":      sign(a, func(v *envelope.Verdict) { v.At = time.Now().Add(time.Hour) }),
		"dated before the key":   sign(a, func(v *envelope.Verdict) { v.At = time.Now().Add(-72 * time.Hour) }),
		"a receipt, not verdict": receipt(a.Signer, right.EnvelopeHash).Receipt,
	} {
		t.Run(name, func(t *testing.T) {
			mustChange(t, b, func() {
				err := b.Node().TakeVerdict(t.Context(), "test", jws)
				if err == nil {
					t.Fatal("believed")
				}
				if e := node.AsError(err); e.Code != node.NotPossible && e.Code != node.Malformed {
					t.Errorf("got %v", err)
				}
			})
		})
	}
	mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", sign(a, func(v *envelope.Verdict) { v.DocumentHash = active })), node.NotFound, "notFound")
	mustChange(t, b, func() {
		if err := b.Node().TakeVerdict(t.Context(), "test", sign(a, same)); err != nil {
			t.Error(err)
		}
	}, "+audit", "+bills", "+verdicts", "-bills", "-verdict_polls")
	mustChange(t, b, func() {
		mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", sign(a, same)), node.NotPossible, "verdictNotBelieved")
	})
}

// TestVerdictAfterADecline: the bill is the returner's again, nobody is asked any more,
// and a verdict on the return that was declined takes nothing away.
func TestVerdictAfterADecline(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
	doc := a.Issue(bob.ID)
	b.Settled(b.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	late, err := envelope.SignVerdict(envelope.Verdict{DocumentHash: doc, EnvelopeHash: b.View(doc).Head, Kind: envelope.Surrendered, At: time.Now()}, a.Signer)
	if err != nil {
		t.Fatal(err)
	}
	done, err := a.Node().Decline(t.Context(), issuer.User, doc, node.DeclineOrder{})
	if err != nil {
		t.Fatal(err)
	}
	a.Settled(done.Transfer, node.Accepted)
	mustHold(t, w, doc, bob.ID)
	checkAll(t, w)
	mustChange(t, b, func() {
		mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", late), node.NotPossible, "verdictNotBelieved")
	})
	mustHold(t, w, doc, bob.ID)
}

// TestSameVerdictByTwoWays: a verdict that was fetched and comes as a file too is known,
// which is no error and no change.
func TestSameVerdictByTwoWays(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example", ebltest.Manual())
	issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
	doc := a.Issue(bob.ID)
	stop := b.Run()
	b.Settled(b.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	stop()
	done, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Node().TakeVerdict(t.Context(), "test", done.Verdict); err != nil {
		t.Fatal(err)
	}
	before := dump(t, b)
	if err := b.Node().TakeVerdict(t.Context(), "test", done.Verdict); err != nil {
		t.Errorf("the same verdict again: got %v, want no error", err)
	}
	if after := dump(t, b); !slices.Equal(before, after) {
		t.Errorf("something changed: %v", changes(before, after))
	}
	checkAll(t, w)
}
