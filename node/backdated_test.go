package node_test

import (
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestBackDatedWithARevokedKey: whoever has a key that was replaced and revoked can put any
// time into an envelope. The newest entry of a block is believed only under a key that
// stands when it comes; what we held before, and what somebody in good standing has signed
// on top of, goes on.
func TestBackDatedWithARevokedKey(t *testing.T) {
	now := time.Now()
	signed, revoked := now.Add(-40*time.Minute), now.Add(-20*time.Minute).UTC().Truncate(time.Second)
	for _, how := range []string{"by its trust entry", "by OCSP"} {
		t.Run(how, func(t *testing.T) {
			d := newDesk(t)
			w := ebltest.New(t)
			var opts []ebltest.Option
			if how == "by OCSP" {
				opts = append(opts, d.under())
			}
			a := w.Platform("a.example", append(opts, ebltest.Manual())...)
			b := w.Platform("b.example", ebltest.Manual(), d.asks())
			c := w.Platform("c.example", ebltest.Manual())
			bob := b.User("bob").ID
			at := func(in envelope.Instruction, to string) []ebltest.Tx {
				return []ebltest.Tx{{Instruction: in, To: to, At: signed}}
			}
			held := chainOf(a, at(envelope.Issue, bob))
			receipt := mustAccept(t, b, a, held)
			if how == "by OCSP" {
				d.say(a, gone(4, revoked))
			} else {
				superseded(t, b, a, revoked)
			}
			bad := answer{code: node.BSIG, text: "badSignature", path: "$.endorsementChain[0].signature"}
			mustAnswer(t, b, a, chainOf(a, at(envelope.Issue, bob)), bad)
			bad.entry, bad.path = 1, "$.endorsementChain[1].signature"
			mustAnswer(t, b, a, chainOf(a, at(envelope.Issue, "al@a.example"), extend(a, at(envelope.Transfer, bob)...)), bad)
			// What we took before gets the same receipt, also beside a document spelled anew.
			if got := mustAccept(t, b, a, held); got != receipt {
				t.Error("another receipt than before")
			}
			spelled := edit(t, held, func(b *envelope.Transferblock) { b.Document = append([]byte(" "), b.Document...) })
			if got := mustAccept(t, b, a, spelled); got != receipt {
				t.Error("spelled anew: another receipt than before")
			}
			// c stands, and vouches for what it holds.
			mustAccept(t, b, c, chainOf(a, at(envelope.Issue, "carl@c.example"), extend(c, transfer(bob))))
			// ... but not for what claims to be later than the revocation.
			late := chainOf(a, []ebltest.Tx{{Instruction: envelope.Issue, To: "carl@c.example", At: revoked.Add(time.Second)}}, extend(c, transfer(bob)))
			mustAnswer(t, b, c, late, answer{code: node.BENV, text: "badChainSignature", path: "$.endorsementChain[0].signature"})
			mustBeClean(t, b)
		})
	}
}

// superseded tells b in the trust entry of a that a's key was replaced then.
func superseded(t *testing.T, b, a *ebltest.Platform, then time.Time) {
	t.Helper()
	p, k := *a.Entry, *a.Entry.Keys[0]
	k.Revoked, k.Reason = then, "superseded"
	p.Keys = []*identity.Key{&k}
	if err := b.Node().AddPeers(t.Context(), "test", []*identity.Platform{&p}); err != nil {
		t.Fatal(err)
	}
}

// TestVerdictDatedBackWithARevokedKey: a verdict that claims to be older than the return that it
// answers is a thief's, who has a key of before. Under a key that stands it is one of a carrier
// whose clock went back.
func TestVerdictDatedBackWithARevokedKey(t *testing.T) {
	revoked := time.Now().Add(-20 * time.Minute).UTC().Truncate(time.Second)
	for _, how := range []string{"by its trust entry", "by OCSP"} {
		t.Run(how, func(t *testing.T) {
			d := newDesk(t)
			w := ebltest.New(t)
			var opts []ebltest.Option
			if how == "by OCSP" {
				opts = append(opts, d.under())
			}
			a, b := w.Platform("a.example", opts...), w.Platform("b.example", d.asks(), ebltest.Manual())
			issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
			doc := a.Issue(bob.ID)
			stop := b.Run()
			b.Settled(b.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
			stop()
			jws, err := envelope.SignVerdict(envelope.Verdict{DocumentHash: doc, EnvelopeHash: b.View(doc).Head, Kind: envelope.Surrendered, At: revoked.Add(-20 * time.Minute)}, a.Signer)
			if err != nil {
				t.Fatal(err)
			}
			if how == "by OCSP" {
				d.say(a, gone(4, revoked))
			} else {
				superseded(t, b, a, revoked)
			}
			mustChange(t, b, func() {
				mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", jws), node.NotPossible, "verdictNotBelieved")
			})
			if how != "by OCSP" {
				return // such a mark is never taken back
			}
			d.say(a, catest.Single{})
			if err := b.Node().TakeVerdict(t.Context(), "test", jws); err != nil {
				t.Errorf("under a key that stands: %v", err)
			}
			mustBeClean(t, b)
		})
	}
}

// TestAnswersToAnEnvelopeFromAClockAhead are dated before it, and end its transfer: what was
// sealed then has no other answer to wait for.
func TestAnswersToAnEnvelopeFromAClockAhead(t *testing.T) {
	ahead := ebltest.Configure(func(c *node.Config) { c.Now = func() time.Time { return time.Now().Add(2 * time.Hour) } })
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ahead), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(al.ID)
	v := a.Settled(a.Move(al, doc, envelope.Transfer, bob.ID).Transfer, node.Rejected)
	if v.SettledBy != "rejection" {
		t.Errorf("settled by %q, want by the signed rejection", v.SettledBy)
	}
	mustHold(t, w, doc, al.ID)
	mustBeClean(t, a)
	mustBeClean(t, b)
}
