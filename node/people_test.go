package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func TestTokensAreNotInTheDataFolder(t *testing.T) {
	p := ebltest.New(t).Platform("a.example", ebltest.Manual())
	al := p.User("al")
	if u, err := p.Node().Authenticate(t.Context(), al.Token); err != nil || u.Local != "al" {
		t.Errorf("got %+v and %v", u, err)
	}
	for _, wrong := range []string{"", al.Token[:len(al.Token)-1], al.Token + "x", "ebl_", " " + al.Token} {
		_, err := p.Node().Authenticate(t.Context(), wrong)
		mustRefuse(t, err, node.Unauthorized, "tokenInvalid")
	}
	p.Stop()
	files, err := filepath.Glob(filepath.Join(p.Dir, "*"))
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte(al.Token[4:])) {
			t.Errorf("%s has the token", f)
		}
	}
}

func TestUsersThatAreRefused(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual(), ebltest.NotIssuer())
	a.User("al")
	for _, c := range []struct {
		name string
		at   *ebltest.Platform
		user node.User
		code node.Code
	}{
		{"twice", a, node.User{Local: "al", Role: node.HolderRole}, node.Conflict},
		{"no local id", a, node.User{Role: node.HolderRole}, node.Malformed},
		{"local id of another platform", a, node.User{Local: "x@b.example", Role: node.HolderRole}, node.Malformed},
		{"unknown role", a, node.User{Local: "x", Role: "root"}, node.Malformed},
		{"issuer where nobody may issue", b, node.User{Local: "x", Role: node.IssuerRole}, node.Malformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			mustChange(t, c.at, func() {
				token, err := c.at.Node().AddUser(t.Context(), "test", c.user)
				if token != "" || node.AsError(err).Code != c.code {
					t.Errorf("got %q and %v, want %d", token, err, c.code)
				}
			})
		})
	}
}

func TestDisabledUser(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	al, ann := a.User("al"), a.User("ann")
	doc := a.Issue(al.ID)
	own := a.Issue(ann.ID)
	if err := a.Node().DisableUser(t.Context(), "test", "al"); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, a.Node().DisableUser(t.Context(), "test", "nobody"), node.NotFound, "unknownUser")
	_, err := a.Node().Authenticate(t.Context(), al.Token)
	mustRefuse(t, err, node.Unauthorized, "tokenInvalid")
	mustHold(t, w, doc, al.ID) // stays where it is
	mustChange(t, a, func() {
		_, err := a.Node().Move(t.Context(), ann.User, own, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(al.ID)})
		mustRefuse(t, err, node.NotPossible, "transfereeNotAccepted")
	})
}

// TestWhoSeesWhat: a bill that a user has no part in does not exist for it.
func TestWhoSeesWhat(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, eve, auditor, operator := a.User("al"), a.User("eve"), a.User("audit", node.AuditorRole), a.User("op", node.OperatorRole)
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, b.User("bob").ID)
	a.Settled(moved.Transfer, node.Accepted)
	for _, c := range []struct {
		user *ebltest.User
		sees bool
	}{{al, true}, {a.User("issuer"), true}, {auditor, true}, {eve, false}, {operator, false}} {
		n, u := a.Node(), c.user.User
		calls := map[string]func() error{
			"bill":     func() error { _, err := n.Bill(t.Context(), u, doc); return err },
			"block":    func() error { _, err := n.Block(t.Context(), u, doc); return err },
			"document": func() error { _, err := n.Document(t.Context(), u, doc); return err },
			"transfer": func() error { _, err := n.Transfer(t.Context(), u, moved.Transfer); return err },
			"await":    func() error { _, err := n.Await(t.Context(), u, moved.Transfer); return err },
		}
		for name, call := range calls {
			err := call()
			if c.sees && err != nil {
				t.Errorf("%s, %s: %v", u.Local, name, err)
			} else if !c.sees {
				mustRefuse(t, err, node.NotFound, "notFound")
			}
		}
		list, _, err := n.Bills(t.Context(), u, 0, 10)
		if err != nil || len(list) == 1 != c.sees {
			t.Errorf("%s lists %d bills (%v)", u.Local, len(list), err)
		}
		if c.user != al && c.sees {
			_, err := n.Move(t.Context(), u, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(al.ID)})
			if code := node.AsError(err).Code; code != node.Conflict && code != node.Forbidden {
				t.Errorf("%s moved it: %v", u.Local, err)
			}
		}
	}
}

// TestTrustEntryThatForgets: an entry that is replaced keeps what older signatures need.
func TestTrustEntryThatForgets(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual()), w.Platform("c.example", ebltest.Manual())
	other, err := identity.GenerateSigner(b.Domain(), identity.ES256, identity.CertificateSpec{Subject: "other", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	host, _ := identity.ParseHost("old.b.example")
	add := func(change func(p *identity.Platform)) error {
		p := *b.Entry
		p.Hosts = []identity.Host{host}
		change(&p)
		return a.Node().AddPeers(t.Context(), "test", []*identity.Platform{&p})
	}
	if err := add(func(*identity.Platform) {}); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(p *identity.Platform){
		"key":              func(p *identity.Platform) { p.Keys = []*identity.Key{other.Key} },
		"all keys":         func(p *identity.Platform) { p.Keys = nil },
		"name of a key":    func(p *identity.Platform) { k := *p.Keys[0]; k.ID = "renamed"; p.Keys = []*identity.Key{&k} },
		"host":             func(p *identity.Platform) { p.Hosts = nil },
		"takes a host":     func(p *identity.Platform) { p.Hosts = append(p.Hosts, c.Domain()) },
		"takes a key":      func(p *identity.Platform) { k := *c.Entry.Keys[0]; p.Keys = append(p.Keys[:1:1], &k) },
		"takes a TLS pin":  func(p *identity.Platform) { p.TLS = c.Entry.TLS },
		"is we ourselves":  func(p *identity.Platform) { *p = *a.Entry },
		"our host as peer": func(p *identity.Platform) { p.Hosts = append(p.Hosts, a.Domain()) },
	} {
		t.Run(name, func(t *testing.T) {
			mustChange(t, a, func() { mustRefuse(t, add(change), node.Malformed, "malformed") })
		})
	}
	t.Run("one bad entry refuses all", func(t *testing.T) {
		bad := *b.Entry
		mustChange(t, a, func() {
			mustRefuse(t, a.Node().AddPeers(t.Context(), "test", []*identity.Platform{c.Entry, &bad}), node.Malformed, "malformed")
			mustRefuse(t, a.Node().AddPeers(t.Context(), "test", []*identity.Platform{c.Entry, c.Entry}), node.Malformed, "malformed")
		})
	})
	if err := add(func(p *identity.Platform) { p.Keys = append(p.Keys[:1:1], other.Key) }); err != nil {
		t.Errorf("a key more: %v", err)
	}
	a.Restart()
	if p, found := a.Node().Trust().Find(host); !found || p.Domain != b.Domain() || len(p.Keys) != 2 {
		t.Errorf("after a restart: got %+v", p)
	}
}

// TestEntriesAddedAtOnce: two entries that exclude each other are not both taken, or the
// node could not start any more.
func TestEntriesAddedAtOnce(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	host, _ := identity.ParseHost("shared.example")
	entries := make([]*identity.Platform, 8)
	for i, name := range []string{"p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"} {
		entries[i] = w.Platform(name+".example", ebltest.Manual(), ebltest.Stranger(), ebltest.WithEntry(func(p *identity.Platform) { p.Hosts = []identity.Host{host} })).Entry
	}
	var added atomic.Int32
	together(len(entries), func(i int) {
		if err := a.Node().AddPeers(t.Context(), "test", entries[i:i+1]); err == nil {
			added.Add(1)
		}
	})
	if added.Load() != 1 {
		t.Errorf("got %d entries with one host, want 1", added.Load())
	}
	a.Restart()
}

func TestRemovedPeer(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example", ebltest.Manual())
	al := a.User("al")
	b.User("bob")
	x := tap(w)
	x.answer(drop)
	doc := a.Issue(al.ID)
	moved := a.Move(al, doc, envelope.Transfer, "bob@b.example")
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	mustRefuse(t, a.Node().RemovePeer(t.Context(), "test", b.Domain()), node.Conflict, "locked")
	x.answer(nil)
	a.Settled(moved.Transfer, node.Accepted)
	if err := a.Node().RemovePeer(t.Context(), "test", b.Domain()); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, a.Node().RemovePeer(t.Context(), "test", b.Domain()), node.NotFound, "notFound")
	mustAnswer(t, a, b, b.Extend(b.Block(doc), transfer(al.ID)), answer{code: node.Forbidden, text: "unknownPeer", entry: -1})
	a.Restart()
	mustAnswer(t, a, b, b.Extend(b.Block(doc), transfer(al.ID)), answer{code: node.Forbidden, text: "unknownPeer", entry: -1})
	// It comes back with another key: what it signed before could not be checked.
	other := *b.Entry
	k, err := identity.GenerateSigner(b.Domain(), identity.ES256, identity.CertificateSpec{Subject: "other", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	other.Keys = []*identity.Key{k.Key}
	mustRefuse(t, a.Node().AddPeers(t.Context(), "test", []*identity.Platform{&other}), node.Malformed, "malformed")
	a.Trust(b)
	mustAccept(t, a, b, b.Extend(b.Block(doc), transfer(al.ID)))
	checkNode(t, a)
}

// TestPeerRemovedWhileATransferBegins: after it was asked whether it is ready, before the
// bill is sealed. A bill locked for a stranger would stay locked.
func TestPeerRemovedWhileATransferBegins(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(al.ID)
	w.Intercept(func(_, to identity.Host, p node.Peer) node.Peer {
		if err := a.Node().RemovePeer(t.Context(), "test", to); err != nil {
			t.Error(err)
		}
		return p
	})
	_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(bob.ID)})
	mustRefuse(t, err, node.NotPossible, "platformNotTrusted")
	mustHold(t, w, doc, al.ID)
	checkAll(t, w)
}
