package node_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// fourEyes is a platform on which al's orders wait for bob or carl.
func fourEyes(t *testing.T, opts ...ebltest.Option) (w *ebltest.Network, a *ebltest.Platform) {
	t.Helper()
	w = ebltest.New(t)
	a = w.Platform("a.example", opts...)
	al := a.User("al", node.IssuerRole)
	a.User("bob")
	a.User("carl", node.AuditorRole)
	if err := a.Node().SetApprovers(t.Context(), "test", al.Local, []string{"bob", "carl", "bob"}); err != nil {
		t.Fatal(err)
	}
	return w, a
}

func mustWait(t *testing.T, done node.Moved, err error) *node.Approval {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if done.Approval == nil || done.Approval.State != node.ApprovalPending || done.Transfer != "" {
		t.Fatalf("got %+v, want an order that waits", done)
	}
	return done.Approval
}

func mustApprove(t *testing.T, a *ebltest.Platform, by string, p *node.Approval) *node.Approval {
	t.Helper()
	done, err := a.Node().Approve(t.Context(), a.User(by).User, p.ID, p.Request, node.Once{})
	if err != nil {
		t.Fatal(err)
	}
	if done.State != node.ApprovalApproved || done.DecidedBy != by {
		t.Fatalf("got %+v, want approved by %s", done, by)
	}
	return done
}

func transferTo(id string, k string) node.MoveOrder {
	o := node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(id)}
	if k != "" {
		o.Once = key(k)
	}
	return o
}

// Each kind of order waits and changes nothing but the list of what waits; a second
// person's yes carries it out as it was asked, and the signed step and the audit log name both.
func TestEveryOrderThatMovesControlWaitsForASecondPerson(t *testing.T) {
	w, a := fourEyes(t)
	b := w.Platform("b.example")
	al, bob, far := a.User("al"), a.User("bob"), b.User("far")
	n := func() *node.Node { return a.Node() }
	waits := func(f func() (node.Moved, error)) *node.Approval {
		t.Helper()
		var p *node.Approval
		mustChange(t, a, func() { done, err := f(); p = mustWait(t, done, err) }, "+approvals", "+audit")
		return p
	}
	issued := waits(func() (node.Moved, error) {
		return n().Issue(t.Context(), al.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID)})
	})
	if issued.Kind != "issue" || issued.User != "al" || issued.ExpiresAt.Sub(issued.AskedAt) != 24*time.Hour {
		t.Errorf("got %+v", issued)
	}
	mustApprove(t, a, "bob", issued)
	doc := issued.Document
	if v := a.View(doc); v.Possessor != al.ID || v.Control != node.Held {
		t.Fatalf("issued: got %+v", v)
	}
	// inside the platform
	p := waits(func() (node.Moved, error) { return n().Move(t.Context(), al.User, doc, transferTo(bob.ID, "")) })
	mustApprove(t, a, "carl", p)
	if v := a.View(doc); v.Possessor != bob.ID {
		t.Fatalf("moved: got %s", v.Possessor)
	}
	text := strings.Join(dump(t, a), "\n")
	if !strings.Contains(text, `TRNS to bob by {"approvedBy":"carl"}`) {
		t.Error("the audit log does not name the second person")
	}
	var jws string
	if err := node.DB(n()).QueryRow("SELECT jws FROM steps ORDER BY id DESC LIMIT 1").Scan(&jws); err != nil {
		t.Fatal(err)
	}
	if step, err := envelope.OpenStep(jws, a.Entry); err != nil || step.By.Approver != "carl" {
		t.Errorf("the step: got %+v (%v), want carl in it", step.By, err)
	}
	// to another platform, and back by a return: bob's own orders wait for nobody
	a.Transfer(bob, doc, al.ID)
	p = waits(func() (node.Moved, error) { return n().Move(t.Context(), al.User, doc, transferTo(far.ID, "")) })
	done := mustApprove(t, a, "bob", p)
	a.Settled(done.Transfer, node.Accepted)
	b.Settled(b.Move(far, doc, envelope.Surrender, al.ID).Transfer, node.Accepted)
	p = waits(func() (node.Moved, error) {
		return n().Decline(t.Context(), al.User, doc, node.DeclineOrder{Comments: "not yet"})
	})
	a.Settled(mustApprove(t, a, "bob", p).Transfer, node.Accepted)
	b.Settled(b.Move(far, doc, envelope.Surrender, al.ID).Transfer, node.Accepted)
	p = waits(func() (node.Moved, error) { return n().Honour(t.Context(), al.User, doc, node.HonourOrder{}) })
	if done := mustApprove(t, a, "bob", p); done.Verdict == "" {
		t.Error("honoured without a verdict")
	}
	if v := a.View(doc); v.Control != node.Voided {
		t.Errorf("got %s, want void", v.Control)
	}
	checkAll(t, w)
}

// OPS-05, and every other way in which the second person is none.
func TestApprovalThatIsNone(t *testing.T) {
	var late atomic.Int64
	_, a := fourEyes(t, ebltest.Configure(func(c *node.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	}))
	al, bob, carl, eve := a.User("al"), a.User("bob"), a.User("carl"), a.User("eve")
	issue := func() envelope.Hash {
		t.Helper()
		done, err := a.Node().Issue(t.Context(), al.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID)})
		return mustApprove(t, a, "bob", mustWait(t, done, err)).Document
	}
	ask := func(doc envelope.Hash) *node.Approval {
		t.Helper()
		done, err := a.Node().Move(t.Context(), al.User, doc, transferTo(bob.ID, ""))
		return mustWait(t, done, err)
	}
	refuses := func(code node.Code, text string, by *node.User, p *node.Approval, sum envelope.Hash) {
		t.Helper()
		mustChange(t, a, func() {
			_, err := a.Node().Approve(t.Context(), by, p.ID, sum, node.Once{})
			mustRefuse(t, err, code, text)
		})
	}
	doc := issue()
	p := ask(doc)
	refuses(node.Forbidden, node.TextSecondPerson, al.User, p, p.Request)
	refuses(node.NotFound, "notFound", eve.User, p, p.Request)
	refuses(node.Conflict, node.TextApprovalOther, bob.User, p, envelope.HashOf([]byte("another order")))
	viaSystem := *bob.User
	viaSystem.Via = &node.Act{System: "erp"}
	refuses(node.Forbidden, node.TextSecondPerson, &viaSystem, p, p.Request)
	if _, err := a.Node().Approval(t.Context(), eve.User, p.ID); node.AsError(err).Code != node.NotFound {
		t.Errorf("a stranger sees the order: %v", err)
	}
	// Decided once; told again to who decided, refused to others.
	mustApprove(t, a, "bob", p)
	mustChange(t, a, func() {
		if again := mustApprove(t, a, "bob", p); !again.Repeated {
			t.Error("approved twice")
		}
	})
	refuses(node.Conflict, node.TextApprovalOver, carl.User, p, p.Request)
	if _, err := a.Node().RejectApproval(t.Context(), carl.User, p.ID, "late", node.Once{}); node.AsError(err).Text != node.TextApprovalOver {
		t.Errorf("rejected what was approved: %v", err)
	}
	// Rejected, by the second person and by its own user.
	for _, by := range []*ebltest.User{bob, al} {
		p = ask(issue())
		for range 2 {
			if r, err := a.Node().RejectApproval(t.Context(), by.User, p.ID, "wrong party", node.Once{}); err != nil || r.State != node.ApprovalRejected {
				t.Fatalf("got %+v, %v", r, err)
			}
		}
		refuses(node.Conflict, node.TextApprovalOver, carl.User, p, p.Request)
	}
	if _, err := a.Node().RejectApproval(t.Context(), eve.User, p.ID, "", node.Once{}); node.AsError(err).Code != node.NotFound {
		t.Errorf("a stranger rejected: %v", err)
	}
	// The bill has changed since.
	doc = issue()
	p = ask(doc)
	back, err := a.Node().Move(t.Context(), al.User, doc, transferTo(eve.ID, ""))
	mustApprove(t, a, "bob", mustWait(t, back, err))
	a.Transfer(eve, doc, al.ID)
	refuses(node.Conflict, node.TextApprovalOver, bob.User, p, p.Request)
	// Too late.
	p = ask(issue())
	late.Store(int64(25 * time.Hour))
	// A new day: the log of the old one is signed, once.
	waitFor(t, "the signature over yesterday's log", func() bool { return len(query(t, a, "SELECT last FROM audit_roots")) == 1 })
	if v, err := a.Node().Approval(t.Context(), bob.User, p.ID); err != nil || v.State != node.ApprovalExpired {
		t.Errorf("after its time: got %+v, %v, want that it shows as expired", v, err)
	}
	refuses(node.Conflict, node.TextApprovalOver, bob.User, p, p.Request)
	if again := ask(p.Document); again.ID == p.ID {
		t.Error("an order that has expired waits on")
	}
	// The second person is none any more; nor is the first.
	p = ask(issue())
	if err := a.Node().SetApprovers(t.Context(), "test", "al", []string{"carl"}); err != nil {
		t.Fatal(err)
	}
	refuses(node.NotFound, "notFound", bob.User, p, p.Request)
	if err := a.Node().DisableUser(t.Context(), "test", "carl"); err != nil {
		t.Fatal(err)
	}
	refuses(node.Forbidden, node.TextSecondPerson, carl.User, p, p.Request)
	if _, err := a.Node().ReplaceToken(t.Context(), "test", "carl"); err != nil {
		t.Fatal(err)
	}
	if err := a.Node().DisableUser(t.Context(), "test", "al"); err != nil {
		t.Fatal(err)
	}
	refuses(node.Conflict, node.TextApprovalOver, carl.User, p, p.Request)
	for name, list := range map[string][]string{"itself": {"al"}, "nobody": {"x"}} {
		if err := a.Node().SetApprovers(t.Context(), "test", "al", list); err == nil || node.AsError(err).Code == node.Internal {
			t.Errorf("%s as its second person: %v", name, err)
		}
	}
	if err := a.Node().SetApprovers(t.Context(), "test", "carl", []string{"bob"}); err == nil {
		t.Error("an auditor moves nothing, and has approvers")
	}
}

// The same order is the same approval, by its key and while it waits; it survives a restart; and who
// asks again under its key when it is done gets what came of it.
func TestOrderThatWaitsIsOneThroughRestarts(t *testing.T) {
	_, a := fourEyes(t)
	al, bob := a.User("al"), a.User("bob")
	done, err := a.Node().Issue(t.Context(), al.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID), Once: key("issue")})
	p := mustWait(t, done, err)
	doc := p.Document
	mustApprove(t, a, "bob", p)
	order := func(k, to string) (node.Moved, error) {
		return a.Node().Move(t.Context(), al.User, doc, transferTo(to, k))
	}
	done, err = order("one", bob.ID)
	p = mustWait(t, done, err)
	a.Restart()
	for _, k := range []string{"one", "two", ""} {
		mustChange(t, a, func() {
			done, err := order(k, bob.ID)
			if again := mustWait(t, done, err); again.ID != p.ID || !done.Repeated {
				t.Errorf("under the key %q: got %+v, want %s repeated", k, again, p.ID)
			}
		})
	}
	other := transferTo(a.User("eve").ID, "one")
	other.Once.Request = envelope.HashOf([]byte("another order"))
	if _, err := a.Node().Move(t.Context(), al.User, doc, other); node.AsError(err).Text != node.TextKeyReused {
		t.Errorf("another order under the key: %v", err)
	}
	mustApprove(t, a, "bob", p)
	a.Restart()
	done, err = order("one", bob.ID)
	if err != nil || !done.Repeated || done.Approval != nil || done.Document != doc {
		t.Errorf("asked again when it is done: got %+v, %v", done, err)
	}
	// Without approvers nothing waits any more, and what waits is decided by nobody.
	if err := a.Node().SetApprovers(t.Context(), "test", "al", nil); err != nil {
		t.Fatal(err)
	}
	a.Transfer(bob, doc, al.ID)
	if done, err := order("three", bob.ID); err != nil || done.Approval != nil {
		t.Errorf("got %+v, %v, want it done", done, err)
	}
	checkNode(t, a)
}

// Many yeses at once, and orders in number.
func TestManyApprovalsAtOnceCarryItOutOnce(t *testing.T) {
	_, a := fourEyes(t)
	al, bob := a.User("al"), a.User("bob")
	done, err := a.Node().Issue(t.Context(), al.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID)})
	p := mustWait(t, done, err)
	mustApprove(t, a, "bob", p)
	done, err = a.Node().Move(t.Context(), al.User, p.Document, transferTo(bob.ID, ""))
	p = mustWait(t, done, err)
	var group sync.WaitGroup
	var yes atomic.Int64
	for i := range 16 {
		group.Go(func() {
			by := a.User([]string{"bob", "carl"}[i%2])
			if r, err := a.Node().Approve(t.Context(), by.User, p.ID, p.Request, node.Once{}); err == nil && !r.Repeated {
				yes.Add(1)
			}
		})
	}
	group.Wait()
	if v := a.View(p.Document); yes.Load() != 1 || v.Possessor != bob.ID || v.Steps != 2 {
		t.Errorf("%d said that they had done it, %d steps, %s holds it; want 1, 2, bob", yes.Load(), v.Steps, v.Possessor)
	}
	var last error
	for i := range 101 {
		_, last = a.Node().Issue(t.Context(), al.User, node.IssueOrder{Document: fmt.Appendf(nil, `{"isToOrder":true,"x":%d}`, i), To: ebltest.Quote(al.ID)})
	}
	mustRefuse(t, last, node.Conflict, node.TextApprovalsFull)
	checkNode(t, a)
}

// A commit that is not known, at the moment of the yes: asking again tells.
func TestApprovalWhoseCommitIsNotKnown(t *testing.T) {
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			_, a := fourEyes(t)
			al, bob := a.User("al"), a.User("bob")
			done, err := a.Node().Issue(t.Context(), al.User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID)})
			p := mustWait(t, done, err)
			mustApprove(t, a, "bob", p)
			done, err = a.Node().Move(t.Context(), al.User, p.Document, transferTo(bob.ID, ""))
			p = mustWait(t, done, err)
			node.SetBeforeCommit(t, a.Node(), func() (bool, error) { return kept, errors.New("disk I/O error") })
			_, err = a.Node().Approve(t.Context(), bob.User, p.ID, p.Request, node.Once{})
			mustRefuse(t, err, node.Unavailable, "unavailable")
			node.SetBeforeCommit(t, a.Node(), nil)
			a.Restart()
			if again := mustApprove(t, a, "bob", p); again.Repeated != kept {
				t.Errorf("again: got repeated %t, want %t", again.Repeated, kept)
			}
			if v := a.View(p.Document); v.Possessor != bob.ID || v.Steps != 2 {
				t.Errorf("got %s after %d steps", v.Possessor, v.Steps)
			}
			checkNode(t, a)
		})
	}
}
