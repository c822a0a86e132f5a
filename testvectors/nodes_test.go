package testvectors_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
	"eblnode/testvectors"
)

// TestBundlesOfRealNodes lets three nodes live: bills travel, are rejected, returned,
// honoured and declined. After each step each node that knows the bill gives its evidence,
// of the bill and of each transfer; both readers must come to the same good verdict, and
// the bill's own platform to the same possessor.
func TestBundlesOfRealNodes(t *testing.T) { bundlesOfRealNodes(t) }

// TestBundlesOfRealNodesInCAMode is the same where an authority vouches for every key, and its
// responder is asked about each signature: the answers are in the files.
func TestBundlesOfRealNodesInCAMode(t *testing.T) {
	ca := catest.New(t, "Consortium")
	delegate := ca.Delegate(t)
	bundlesOfRealNodes(t, ebltest.Under(ca, catest.Responder("http://ocsp.example/")), ebltest.Configure(func(c *node.Config) {
		c.Revocation = func(_ context.Context, qs []identity.Question) (out [][]byte, err error) {
			for _, q := range qs {
				out = append(out, catest.Answer{Singles: []catest.Single{{Cert: q.Certificate, Issuer: q.Issuer}}, By: delegate}.DER(t))
			}
			return out, nil
		}
	}))
}

func bundlesOfRealNodes(t *testing.T, options ...ebltest.Option) {
	t.Helper()
	nodeJS(t, "batch.mjs") // skips without Node
	net := ebltest.New(t)
	notIssuer := append([]ebltest.Option{ebltest.NotIssuer()}, options...)
	l := &lives{t: t, net: net, carrier: net.Platform("carrier.example", options...), bank: net.Platform("bank.example", notIssuer...), trade: net.Platform("trade.example", notIssuer...)}
	l.travels()
	l.isRejected()
	l.isReturned()

	var entries []string
	for _, p := range net.Platforms() {
		text, err := p.Entry.JSON()
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, string(text))
	}
	trustText := "[" + strings.Join(entries, ",") + "]"
	ps, err := identity.ParseTrust([]byte(trustText))
	if err != nil {
		t.Fatal(err)
	}
	trust, err := identity.NewTrust(ps...)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(time.Minute).UTC().Truncate(time.Second)
	var qs []question
	for _, e := range l.exports {
		qs = append(qs, question{Kind: "bundle", Trust: trustText, At: now.Format(time.RFC3339), Input: e.text})
	}
	for i, got := range askNode(t, qs) {
		e := l.exports[i]
		r := judge.File(e.text, judge.Options{Trust: trust, Now: now})
		if r.Verdict != judge.Valid || got.Expect != "valid" {
			t.Errorf("%s: Go says %s %s (%s), Node says %s %s (%s), want VALID", e.what, r.Verdict, r.Rule, r.Detail, got.Expect, got.Reason, got.Detail)
			continue
		}
		s := testvectors.State{Possessor: r.State.Possessor, Status: r.State.Status, Issuing: r.State.Issuing, ToOrder: r.State.ToOrder, Head: r.State.Head, Length: r.State.Length, DocumentHash: r.Document}
		if got.State == nil || *got.State != s {
			t.Errorf("%s: state: Node says %+v, Go says %+v", e.what, got.State, s)
		}
		if e.possessor != "" && s.Possessor != e.possessor {
			t.Errorf("%s: in control: got %s, want %s", e.what, s.Possessor, e.possessor)
		}
	}
	t.Logf("%d bundles of real nodes", len(qs))
	if len(qs) < 40 {
		t.Errorf("only %d bundles; the lives are too short", len(qs))
	}
}

// lives collects what the nodes give away.
type lives struct {
	t                    *testing.T
	net                  *ebltest.Network
	carrier, bank, trade *ebltest.Platform
	exports              []export
}

type export struct {
	what      string
	possessor string // "" where this file need not know
	text      []byte
}

// export takes the evidence of every platform, after what was just done.
func (l *lives) export(what string, document envelope.Hash, possessor string) {
	l.t.Helper()
	auditor := &node.User{Local: "auditor", Role: node.AuditorRole}
	for _, p := range l.net.Platforms() {
		for entry := -1; ; entry++ {
			b, err := p.Node().Bundle(l.t.Context(), auditor, document, entry)
			if err != nil {
				break // this platform does not know the bill, or the entry
			}
			text, err := b.Marshal()
			if err != nil {
				l.t.Fatal(err)
			}
			e := export{what: fmt.Sprintf("%s, at %s, entry %d", what, p.Domain(), entry), text: text}
			if entry < 0 && strings.HasSuffix(possessor, "@"+p.Domain().String()) {
				e.possessor = possessor
			}
			l.exports = append(l.exports, e)
		}
	}
}

func (l *lives) travels() {
	ann, ben, bea, tess := l.carrier.User("ann"), l.bank.User("ben"), l.bank.User("bea"), l.trade.User("tess")
	doc := l.carrier.Issue(ann.ID)
	l.export("issued", doc, ann.ID)
	l.carrier.Transfer(ann, doc, ben.ID)
	l.export("to the bank", doc, ben.ID)
	l.bank.Transfer(ben, doc, bea.ID)
	l.export("inside the bank", doc, bea.ID)
	l.bank.Transfer(bea, doc, tess.ID)
	l.export("to the trader", doc, tess.ID)
	l.trade.Transfer(tess, doc, ann.ID)
	l.export("home", doc, ann.ID)
}

func (l *lives) isRejected() {
	ann, ben := l.carrier.User("ann"), l.bank.User("ben")
	doc := l.carrier.Issue(ann.ID)
	moved := l.carrier.Move(ann, doc, envelope.Transfer, "nobody@bank.example")
	l.carrier.Settled(moved.Transfer, node.Rejected)
	l.export("rejected", doc, ann.ID)
	l.carrier.Transfer(ann, doc, ben.ID)
	l.export("sealed anew", doc, ben.ID)
}

func (l *lives) isReturned() {
	issuer, ben := l.carrier.User("issuer", node.IssuerRole), l.bank.User("ben")
	for _, in := range []envelope.Instruction{envelope.Surrender, envelope.SwitchToPaper, envelope.Amend} {
		doc := l.carrier.Issue(ben.ID)
		moved := l.bank.Move(ben, doc, in, issuer.ID)
		l.bank.Settled(moved.Transfer, node.Accepted)
		l.export(string(in), doc, issuer.ID)
		var err error
		if in == envelope.Amend {
			_, err = l.carrier.Node().Decline(l.t.Context(), issuer.User, doc, node.DeclineOrder{})
		} else {
			_, err = l.carrier.Node().Honour(l.t.Context(), issuer.User, doc, node.HonourOrder{})
		}
		if err != nil {
			l.t.Fatal(err)
		}
		l.export(string(in)+", answered", doc, "")
	}
}
