package node

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"eblnode/envelope"
)

// Approvals lists the orders that wait for a second person, of user itself and of those for
// whom it may approve, and the newest of those that do not wait any more; 200 at most.
func (n *Node) Approvals(ctx context.Context, user *User) ([]Approval, error) {
	list := []Approval{}
	now := n.cfg.Now()
	err := each(ctx, n.store.read, "SELECT "+approvalColumns+` FROM approvals
	  WHERE user = ? OR user IN (SELECT local_id FROM approvers WHERE approver = ?) ORDER BY state = 'pending' DESC, seq DESC LIMIT 200`,
		[]any{user.Local, user.Local}, func(scan func(...any) error) error {
			a, err := scanApproval(scanner(scan))
			if err == nil {
				a.Order = nil
				list = append(list, *a.asOf(now))
			}
			return err
		})
	if err != nil {
		return nil, busy(err)
	}
	return list, nil
}

// Approval is one order that waits or did, with all of it.
func (n *Node) Approval(ctx context.Context, user *User, id string) (*Approval, error) {
	a, _, err := n.approval(ctx, n.store.read, user, id)
	return a, err
}

// approval loads what user may see: its own, and those for whom it may approve. may says
// that it may approve this one.
func (n *Node) approval(ctx context.Context, q querier, user *User, id string) (a *Approval, may bool, err error) {
	none := refuse(NotFound, "notFound", "there is no such order that waits, among those you may see")
	if a, err = loadApproval(ctx, q, id); err != nil {
		return nil, false, busy(err)
	}
	if a == nil {
		return nil, false, none
	}
	approvers, err := approversOf(ctx, q, a.User)
	if err != nil {
		return nil, false, busy(err)
	}
	may = slices.Contains(approvers, user.Local)
	if !may && a.User != user.Local && a.DecidedBy != user.Local {
		return nil, false, none
	}
	return a.asOf(n.cfg.Now()), may && a.User != user.Local, nil
}

// second refuses who cannot be the second person of a.
func second(user *User, a *Approval, may bool) *Error {
	switch {
	case user.Via != nil:
		return refuse(Forbidden, TextSecondPerson, "a second person approves with a token of its own, not by a system")
	case a.User == user.Local:
		return refuse(Forbidden, TextSecondPerson, "this is your own order; another person must approve it")
	case !may:
		return refuse(Forbidden, TextSecondPerson, "you may not approve orders of %s any more", a.User)
	}
	return nil
}

// Approve is the second person's yes to exactly the order whose hash is given: it is
// carried out, once. Approving it again changes nothing and tells what came of it. Where the order is
// refused now (its peer cannot be reached, say) it goes on waiting. Under a key of once
// another approval is refused with TextKeyReused.
func (n *Node) Approve(ctx context.Context, user *User, id string, request envelope.Hash, once Once) (*Approval, error) {
	before, err := n.doneBefore(ctx, user, once)
	if err != nil {
		return nil, err
	}
	if before != nil {
		return n.decidedBefore(ctx, user, id)
	}
	a, may, err := n.approval(ctx, n.store.read, user, id)
	if err != nil {
		return nil, err
	}
	if a.State == ApprovalApproved && a.DecidedBy == user.Local && a.Request == request {
		a.Repeated = true
		return a, n.settledOr(ctx)
	}
	if e := second(user, a, may); e != nil {
		return nil, e
	}
	if e := open(a); e != nil {
		return nil, e
	}
	if a.Request != request {
		return nil, refuse(Conflict, TextApprovalOther, "the order that waits is another one, of hash %s; look at it again", a.Request)
	}
	requester, err := loadUser(ctx, n.store.read, a.User)
	if err != nil {
		return nil, busy(err)
	}
	if requester == nil || requester.Disabled {
		return nil, refuse(Conflict, TextApprovalOver, "%s, whose order this is, is no active user any more", a.User)
	}
	requester.Via = a.Act
	if err := n.carryOut(ctx, requester, a, Once{approving: &approving{id, user.Local, a.Act, once}}); err != nil {
		return nil, err
	}
	done, err := loadApproval(ctx, n.store.read, id)
	if err != nil {
		return nil, busy(err)
	}
	return done, nil
}

// decidedBefore is an approval that the same yes or no, under the same key, was about.
func (n *Node) decidedBefore(ctx context.Context, user *User, id string) (*Approval, error) {
	a, _, err := n.approval(ctx, n.store.read, user, id)
	if err == nil {
		a.Repeated = true
	}
	return a, err
}

// settledOr is the wait for the witness before something is told again.
func (n *Node) settledOr(ctx context.Context) error {
	if err := n.store.settled(ctx); err != nil {
		return busy(err)
	}
	return nil
}

// open refuses what does not wait any more.
func open(a *Approval) *Error {
	if a.State != ApprovalPending {
		return refuse(Conflict, TextApprovalOver, "this order does not wait any more: it is %s", a.State)
	}
	return nil
}

// carryOut is the order itself, as it was asked.
func (n *Node) carryOut(ctx context.Context, user *User, a *Approval, once Once) error {
	var o askedOrder
	if err := json.Unmarshal(a.Order, &o); err != nil {
		return busy(err)
	}
	var err error
	switch a.Kind {
	case kindIssue:
		_, err = n.Issue(ctx, user, IssueOrder{Document: o.Document, To: o.To, ToOrder: o.ToOrder, Comments: o.Comments, Once: once})
	case kindHonour:
		_, err = n.Honour(ctx, user, a.Document, HonourOrder{Replacement: o.Document, Comments: o.Comments, Once: once})
	case kindDecline:
		_, err = n.Decline(ctx, user, a.Document, DeclineOrder{Comments: o.Comments, Once: once})
	default:
		_, err = n.Move(ctx, user, a.Document, MoveOrder{Instruction: o.Instruction, To: o.To, Comments: o.Comments, Once: once})
	}
	return err
}

// The kinds of orders that wait; a move's is its instruction outside.
const (
	kindIssue   = "issue"
	kindMove    = "move"
	kindHonour  = "honour"
	kindDecline = "decline"
)

// begin is the first thing in the transaction of an approved order: everything that was
// checked before is checked where nothing can change any more.
func (t *tx) begin(p *approving) error {
	if _, err := doneBefore(t.ctx, t, &User{Local: p.by}, p.once); err != nil {
		return err
	}
	var state ApprovalState
	var user string
	var kind, content string
	var expires, version int64
	var document, sum envelope.Hash
	if err := t.QueryRowContext(t.ctx, "SELECT state, user, kind, content, request_sum, expires_at, version, document_hash FROM approvals WHERE id = ?", p.id).
		Scan(&state, &user, &kind, &content, sqlHash{&sum}, &expires, &version, sqlHash{&document}); err != nil {
		return err
	}
	approvers, err := approversOf(t.ctx, t, user)
	if err != nil {
		return err
	}
	by, err := loadUser(t.ctx, t, p.by)
	if err != nil {
		return err
	}
	switch {
	case orderSum(user, kind, document, []byte(content)) != sum:
		return refuse(Internal, "internalError", "the order that waits is not the one that was asked; run: eblnode fsck")
	case state != ApprovalPending || expires <= millis(t.now):
		return refuse(Conflict, TextApprovalOver, "this order does not wait any more")
	case user == p.by || !slices.Contains(approvers, p.by) || by == nil || by.Disabled:
		return refuse(Forbidden, TextSecondPerson, "you may not approve this order")
	}
	if acts, err := t.stillActs(p.act, user); err != nil {
		return err
	} else if !acts {
		return refuse(Conflict, TextApprovalOver, "the system that gave this order does not act for %s any more", user)
	}
	if version == 0 {
		return nil
	}
	b, err := loadBill(t.ctx, t, document)
	if err != nil {
		return err
	}
	if b == nil || b.version != version {
		return refuse(Conflict, TextApprovalOver, "the bill has changed since this order was given; reject it, and have it given again")
	}
	return nil
}

// stillActs reports whether an order that a system gave may still be carried out: disable
// counts at once, also for what waits.
func (t *tx) stillActs(a *Act, user string) (bool, error) {
	if a == nil || a.System == "" {
		return true, nil
	}
	s, err := loadSystem(t.ctx, t, a.System)
	if err != nil || s == nil || s.Disabled {
		return false, err
	}
	return slices.ContainsFunc(s.Customers, func(c Customer) bool { return c.Local == user }), nil
}

// end writes what came of an approved order, in its transaction. The key of the order is
// kept with it, so that who asks again under it gets the outcome.
func (t *tx) end(p *approving, user *User, done Moved) error {
	text, err := json.Marshal(outcome{done.Document, done.Transfer, done.Verdict, done.ReplacedBy})
	if err != nil {
		return err
	}
	if err := t.execOne("UPDATE approvals SET state = 'approved', decided_by = ?, decided_at = ?, outcome = ? WHERE id = ? AND state = 'pending'",
		p.by, millis(t.now), string(text), p.id); err != nil {
		return err
	}
	var key Once
	if err := t.QueryRowContext(t.ctx, "SELECT key, key_sum FROM approvals WHERE id = ?", p.id).Scan(&key.Key, sqlHash{&key.Request}); err != nil {
		return err
	}
	if err := t.audit(p.by, "approval.approve", envelope.Hash{}, p.id+" of "+user.Local); err != nil {
		return err
	}
	if err := t.keepOrder(&User{Local: p.by}, p.once, done); err != nil {
		return err
	}
	return t.keepOrder(user, key, done)
}

// RejectApproval is a no to an order that waits, by a second person or by its own user, who so
// takes it back. It is never carried out. Under a key of once another one is refused with
// TextKeyReused.
func (n *Node) RejectApproval(ctx context.Context, user *User, id, reason string, once Once) (*Approval, error) {
	before, err := n.doneBefore(ctx, user, once)
	if err != nil {
		return nil, err
	}
	if before != nil {
		return n.decidedBefore(ctx, user, id)
	}
	if len(reason) > 0 {
		if e := checkReason(reason); e != nil {
			return nil, e
		}
	}
	a, may, err := n.approval(ctx, n.store.read, user, id)
	if err != nil {
		return nil, err
	}
	if a.State == ApprovalRejected && a.DecidedBy == user.Local {
		a.Repeated = true
		return a, nil
	}
	if a.User != user.Local {
		if e := second(user, a, may); e != nil {
			return nil, e
		}
	}
	if e := open(a); e != nil {
		return nil, e
	}
	err = n.store.update(ctx, func(t *tx) error {
		t.act = user.Via
		err := t.execOne("UPDATE approvals SET state = 'rejected', decided_by = ?, decided_at = ?, reason = ? WHERE id = ? AND state = 'pending'", user.Local, millis(t.now), reason, id)
		if errors.Is(err, errMoved) {
			return refuse(Conflict, TextApprovalOver, "this order does not wait any more")
		}
		if err != nil {
			return err
		}
		if _, err := doneBefore(t.ctx, t, user, once); err != nil {
			return err
		}
		if err := t.keepOrder(user, once, Moved{Document: a.Document}); err != nil {
			return err
		}
		return t.audit(user.Local, "approval.reject", envelope.Hash{}, id+" of "+a.User+": "+reason)
	})
	if err != nil {
		return nil, orBusy(err)
	}
	done, err := loadApproval(ctx, n.store.read, id)
	if err != nil {
		return nil, busy(err)
	}
	return done, nil
}
