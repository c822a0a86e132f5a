package api_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestBillSaysWhoHasItAndWhy: possessor, title, status, where it is if it left, and why it
// cannot be moved, in each standing that a bill can have.
func TestBillSaysWhoHasItAndWhy(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.NotIssuer())
	l := newLocal(t, carrier, api.Options{})
	alice, issuer, bob := carrier.User("alice"), carrier.User("issuer", node.IssuerRole), bank.User("bob")
	doc := carrier.Issue(alice.ID)
	path := "/api/v1/ebls/" + doc.String()
	says := func(step, control, status, who, reason string) {
		t.Helper()
		v := decode[api.BillView](t, l.as(alice, "GET", path, "").want(t, 200, 0))
		if v.Control != control || v.Status != status || v.Possessor != who || v.Title != who || (reason == "") != (v.Reason == "") || !strings.Contains(v.Reason, reason) {
			t.Errorf("%s: got %s, %s, possessor %q, title %q, reason %q; want %s, %s, %q, %q", step, v.Control, v.Status, v.Possessor, v.Title, v.Reason, control, status, who, reason)
		}
	}
	says("issued", "held", "active", alice.ID, "")

	var answers atomic.Bool
	w.Intercept(func(_, _ identity.Host, p node.Peer) node.Peer { return answering{p, &answers} })
	l.as(alice, "POST", path+"/transfer?wait=0", `{"to":`+jsonString(bob.ID)+`}`).want(t, 202, 0)
	says("sent, not answered", "locked", "active", alice.ID, "locked")
	waitFor(t, "the view to follow", func() bool {
		v := decode[api.BillView](t, l.as(alice, "GET", path, "").want(t, 200, 0))
		return strings.Contains(v.Reason, "bank.example answers with its signature; last answer: connection reset")
	})
	answers.Store(true)
	waitFor(t, "the view to follow", func() bool {
		return decode[api.BillView](t, l.as(alice, "GET", path, "").want(t, 200, 0)).Control == "away"
	})
	says("accepted", "away", "active", bob.ID, "with "+bob.ID)

	bank.Transfer(bob, doc, alice.ID)
	says("back", "held", "active", alice.ID, "")
	l.as(alice, "POST", path+"/surrender", `{}`).want(t, 200, 0)
	says("returned", "held", "surrenderPending", issuer.ID, "")
	l.as(issuer, "POST", path+"/honour", `{}`).want(t, 200, 0)
	says("honoured", "void", "void", "", "the carrier honoured its return")
}

// answering is a peer that answers a block, or does not.
type answering struct {
	node.Peer
	answers *atomic.Bool
}

func (p answering) PutTransferblock(ctx context.Context, r node.Request) (node.Reply, error) {
	if !p.answers.Load() {
		return node.Reply{}, errors.New("connection reset")
	}
	return p.Peer.PutTransferblock(ctx, r)
}
