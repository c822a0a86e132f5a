package node_test

import (
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestNameOfARemovedPeerIsNotInherited: bills that went to a removed peer would go on with
// whoever takes its name, or its key.
func TestNameOfARemovedPeerIsNotInherited(t *testing.T) {
	w := ebltest.New(t)
	a, c := w.Platform("a.example"), w.Platform("c.example")
	d := w.Platform("d.example", ebltest.Manual(), ebltest.Stranger())
	carl := c.User("carl")
	doc := a.Issue(carl.ID)
	if err := a.Node().RemovePeer(t.Context(), "op", c.Domain()); err != nil {
		t.Fatal(err)
	}
	named, keyed := *d.Entry, *d.Entry
	named.Hosts = []identity.Host{c.Domain()}
	key := *c.Entry.Keys[0]
	key.Platform = d.Domain()
	keyed.Keys = append([]*identity.Key{&key}, d.Entry.Keys...)
	for what, e := range map[string]*identity.Platform{"its name": &named, "its key": &keyed} {
		mustChange(t, a, func() {
			mustRefuse(t, a.Node().AddPeers(t.Context(), "op", []*identity.Platform{e}), node.Malformed, "malformed")
		})
		t.Log(what)
	}
	if err := a.Node().AddPeers(t.Context(), "op", []*identity.Platform{d.Entry, c.Entry}); err != nil {
		t.Errorf("d as it is, and c again: got %v", err)
	}
	mustHold(t, w, doc, carl.ID)
}

// TestParticularsAreForOthers: partyMatch require is about what peers say of our users, not
// about names that we write ourselves; and a declined bill names its returner as before.
func TestParticularsAreForOthers(t *testing.T) {
	w := ebltest.New(t)
	strict := ebltest.Configure(func(c *node.Config) { c.RequirePartyMatch = true })
	a, b := w.Platform("a.example", strict), w.Platform("b.example", strict)
	issuer := a.AddUser(node.User{Local: "issuer", Role: node.IssuerRole, Tax1: "A1"})
	alice := a.AddUser(node.User{Local: "alice", Role: node.HolderRole, Tax1: "A2"})
	bob := b.AddUser(node.User{Local: "bob", Role: node.HolderRole, Tax1: "B1"})
	full := func(u *ebltest.User) []byte {
		return []byte(`{"eBLPlatformIdentifier":"` + u.ID + `","taxReference1":"` + u.Tax1 + `"}`)
	}
	done, err := a.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: a.Document(), To: full(bob)})
	if err != nil {
		t.Fatal(err)
	}
	a.Settled(done.Transfer, node.Accepted)
	doc := done.Document
	back, err := b.Node().Move(t.Context(), bob.User, doc, node.MoveOrder{Instruction: envelope.Surrender, To: full(issuer)})
	if err != nil {
		t.Fatal(err)
	}
	b.Settled(back.Transfer, node.Accepted)
	no, err := a.Node().Decline(t.Context(), issuer.User, doc, node.DeclineOrder{})
	if err != nil {
		t.Fatal(err)
	}
	a.Settled(no.Transfer, node.Accepted)
	mustHold(t, w, doc, bob.ID)

	local, err := a.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(alice.ID)})
	if err != nil {
		t.Fatal(err)
	}
	a.Move(alice, local.Document, envelope.Amend, "")
	if _, err := a.Node().Honour(t.Context(), issuer.User, local.Document, node.HonourOrder{Replacement: a.Document()}); err != nil {
		t.Errorf("honouring an amendment: got %v", err)
	}
	checkAll(t, w)
}

// TestUserWithTwoCodesOfOneList: either of them names the user; a third contradicts.
func TestUserWithTwoCodesOfOneList(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	bob := b.AddUser(node.User{Local: "bob", Role: node.HolderRole, Codes: []identity.IdentifyingCode{{Provider: "SMDG", Code: "X1"}, {Provider: "SMDG", Code: "X2"}}})
	issuer := a.User("issuer", node.IssuerRole)
	for code, want := range map[string]node.TransferState{"X1": node.Accepted, "X2": node.Accepted, "X3": node.Rejected} {
		to := []byte(`{"eBLPlatformIdentifier":"` + bob.ID + `","identifyingCodes":[{"codeListProvider":"SMDG","partyCode":"` + code + `"}]}`)
		done, err := a.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: a.Document(), To: to})
		if err != nil {
			t.Fatal(err)
		}
		a.Settled(done.Transfer, want)
	}
}

// TestAmendmentOfADisabledReturner: the replacement goes to the issuer.
func TestAmendmentOfADisabledReturner(t *testing.T) {
	a := ebltest.New(t).Platform("a.example")
	alice, issuer := a.User("alice"), a.User("issuer", node.IssuerRole)
	doc := a.Issue(alice.ID)
	a.Move(alice, doc, envelope.Amend, "")
	if err := a.Node().DisableUser(t.Context(), "op", "alice"); err != nil {
		t.Fatal(err)
	}
	done, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{Replacement: a.Document()})
	if err != nil {
		t.Fatal(err)
	}
	if got := a.View(done.ReplacedBy).Possessor; got != issuer.ID {
		t.Errorf("the replacement is with %s, want %s", got, issuer.ID)
	}
	checkNode(t, a)
}

// TestOurUsersAreNamedByOurDomain: a peer that does not know our other names would refuse
// every envelope with that step.
func TestOurUsersAreNamedByOurDomain(t *testing.T) {
	a := ebltest.New(t).Platform("a.example", ebltest.WithEntry(func(p *identity.Platform) {
		p.Hosts = []identity.Host{{Name: "alias.example"}}
	}))
	issuer := a.User("issuer", node.IssuerRole)
	a.User("alice")
	mustChange(t, a, func() {
		_, err := a.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote("alice@alias.example")})
		mustRefuse(t, err, node.Malformed, "malformed")
	})
}

// TestReceiptWithoutATimeOutlivesItsKey: the peer gives its stored receipt again after the
// key that made it has ended; with a time after the end it is not believed.
func TestReceiptWithoutATimeOutlivesItsKey(t *testing.T) {
	a := ebltest.New(t).Platform("a.example")
	sealed := time.Now().Truncate(time.Second)
	want := envelope.HashOf([]byte("x"))
	bare, err := envelope.SignReceipt(want, a.Signer, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	late, err := envelope.SignReceipt(want, a.Signer, sealed.Add(2*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	p, key := *a.Entry, *a.Entry.Keys[0]
	key.NotAfter = sealed.Add(time.Minute)
	p.Keys = []*identity.Key{&key}
	now := sealed.Add(time.Hour)
	if _, err := envelope.OpenReceiptBetween([]byte(bare), want, &p, sealed, now); err != nil {
		t.Errorf("without iat: got %v, want it believed", err)
	}
	if _, err := envelope.OpenReceiptBetween([]byte(late), want, &p, sealed, now); err == nil {
		t.Error("dated after the end of its key: it was believed")
	}
	if _, err := envelope.OpenReceiptBetween([]byte(bare), want, &p, now.Add(-time.Minute), now); err == nil {
		t.Error("made when its key had ended: it was believed")
	}
}

// TestReasonOfAPeerIsBounded: what a peer writes does not fill the log of what happened.
func TestReasonOfAPeerIsBounded(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example", ebltest.Manual())
	alice := a.User("alice")
	w.Intercept(func(_, to identity.Host, p node.Peer) node.Peer {
		if to != b.Domain() {
			return p
		}
		return &talker{p, b}
	})
	doc := a.Issue(alice.ID)
	a.Settled(a.Move(alice, doc, envelope.Transfer, "x@b.example").Transfer, node.Rejected)
	for _, line := range dump(t, a) {
		if strings.HasPrefix(line, "audit:") && (len(line) > 2000 || strings.Contains(line, "\x1b")) {
			t.Errorf("an audit row of %d bytes, with an escape %t", len(line), strings.Contains(line, "\x1b"))
		}
	}
}
