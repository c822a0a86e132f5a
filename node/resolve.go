package node

import (
	"context"
	"slices"

	"eblnode/envelope"
)

// What two operators can decide about a transfer that no signature settles.
const (
	ResolvedAway = "away" // the addressee has the bill
	ResolvedHeld = "held" // it never took it, and never will: the bill is its user's again
)

// A ResolveOrder is one operator's part in settling a transfer that is in doubt or
// disputed.
type ResolveOrder struct {
	Outcome string // ResolvedAway or ResolvedHeld
	Reason  string // 1 to 1,000 characters; needed to propose
	// Evidence is what the decision rests on, MaxEvidence bytes at most: the peer's letter,
	// say. Needed to propose.
	Evidence []byte
	// Confirm is the second operator's part; EvidenceSum names the evidence it has seen.
	Confirm     bool
	EvidenceSum envelope.Hash
	// Once makes it safe to send again; another one under its key is refused with
	// TextKeyReused.
	Once Once
}

// Resolve proposes how a transfer is settled, or confirms it. Who confirms is another
// operator than who proposed. With outcome held the same bill can be sent elsewhere:
// if the addressee took it after all, it exists twice, and both signatures are ours.
func (n *Node) Resolve(ctx context.Context, user *User, id string, o ResolveOrder) (*TransferView, error) {
	if e := operator(user); e != nil {
		return nil, e
	}
	if o.Outcome != ResolvedAway && o.Outcome != ResolvedHeld {
		return nil, refuse(Malformed, "malformed", "the outcome is %s or %s", ResolvedAway, ResolvedHeld)
	}
	if !o.Confirm {
		if e := checkReason(o.Reason); e != nil {
			return nil, e
		}
		if size := len(o.Evidence); size == 0 || size > MaxEvidence {
			return nil, refuse(Malformed, "malformed", "evidence of 1 to %d bytes is needed", MaxEvidence)
		}
	}
	before, err := n.doneBefore(ctx, user, o.Once)
	if err != nil {
		return nil, err
	}
	if before != nil {
		return n.transferView(ctx, id)
	}
	if o.Confirm && o.Outcome == ResolvedHeld {
		// Bytes that are on their way would be accepted after we have said that they were not.
		// While this is settled no attempt begins, and while one runs this is not settled.
		if _, running := n.busy.LoadOrStore(id, n.Domain()); running {
			e := refuse(Unavailable, TextUnavailable, "an attempt to send this transfer is under way, and the peer may take it; confirm again when it has ended")
			e.Retry = 60
			return nil, e
		}
		defer n.poke()
		defer n.busy.Delete(id)
	}
	err = n.store.update(ctx, func(t *tx) error {
		if before, err := doneBefore(t.ctx, t, user, o.Once); before != nil || err != nil {
			return err
		}
		if err := n.resolveIn(t, user, id, o); err != nil {
			return err
		}
		return t.keepOrder(user, o.Once, Moved{Transfer: id})
	})
	if err != nil {
		return nil, orBusy(err)
	}
	n.watchers.notify(id)
	return n.transferView(ctx, id)
}

func (n *Node) resolveIn(t *tx, user *User, id string, o ResolveOrder) error {
	x, err := loadTransfer(t.ctx, t, id)
	if err != nil {
		return err
	}
	if x == nil {
		return noTransfer()
	}
	if x.state != Sending && x.state != DisputedT {
		return refuse(Conflict, TextNothingToResolve, "this transfer is %s; only one that is in doubt or disputed is resolved", x.state)
	}
	if !o.Confirm {
		return t.propose(user, resolveKind, id, Proposal{Outcome: o.Outcome, Reason: o.Reason, Evidence: o.Evidence})
	}
	if err := t.confirm(user, resolveKind, id, o.Outcome, o.EvidenceSum); err != nil {
		return err
	}
	b, err := loadBillByID(t.ctx, t, x.bill)
	if err != nil {
		return err
	}
	if err := t.free(b.state.Document); err != nil {
		return err
	}
	d := settledData{State: Accepted, By: "operators", Answer: "evidence of SHA-256 " + o.EvidenceSum.String()}
	if o.Outcome == ResolvedHeld {
		d.State = Rejected
	}
	if d.Decision, err = t.decided(resolveKind, id); err != nil {
		return err
	}
	if err := t.witnessSettled(b, x, d, ""); err != nil {
		return err
	}
	return n.settleResolved(t, b, x, d.State)
}

// settleResolved ends a transfer as two operators have decided.
func (n *Node) settleResolved(t *tx, b *bill, x *transfer, state TransferState) error {
	if err := t.execOne("UPDATE transfers SET state = ?, settled_by = 'operators', settled_at = ? WHERE seq = ? AND state = ?",
		string(state), millis(t.now), x.seq, string(x.state)); err != nil {
		return err
	}
	if state == Accepted {
		return n.join(t, b, x, "operators")
	}
	b.control = Held
	if err := t.saveBill(b, n.Domain()); err != nil {
		return err
	}
	t.event(TransferRejected, b.id, x.id, EventDetail{})
	return t.audit(n.Domain().String(), "transfer.rejected", b.state.Document, x.hash.String()+" by operators")
}

func noTransfer() *Error {
	return refuse(NotFound, "notFound", "there is no such transfer among those you may see")
}

// late keeps an answer that came after two operators had settled its transfer. Nothing
// moves any more; where it says the other thing, somebody must look.
func (n *Node) late(ctx context.Context, x *transfer, answer string, accepted, rejected bool) error {
	return n.store.update(ctx, func(t *tx) error {
		now, err := loadTransfer(t.ctx, t, x.id)
		if err != nil || now == nil || now.settledBy.String != "operators" {
			return err // settled by the same answer, or by a chain
		}
		wrong := accepted && now.state == Rejected || rejected && now.state == Accepted
		var known int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM late_answers WHERE transfer = ? AND answer = ?", now.seq, answer).Scan(&known); err != nil || known > 0 {
			return err
		}
		if err := t.exec("INSERT INTO late_answers (transfer, answer, contradicts, at) VALUES (?, ?, ?, ?)", now.seq, answer, wrong, millis(t.now)); err != nil {
			return err
		}
		if wrong {
			n.log.Error("a signed answer contradicts what operators decided", "transfer", now.id, "peer", now.peer.String())
		}
		b, err := loadBillByID(t.ctx, t, now.bill)
		if err != nil {
			return err
		}
		return t.audit(now.peer.String(), "transfer.late", b.state.Document, lateDetail(now.hash, answer, wrong))
	})
}

// Resolution shows the open or confirmed proposal on a transfer, with its evidence, to
// operators and auditors; NotFound where there is none.
func (n *Node) Resolution(ctx context.Context, user *User, id string) (*Proposal, error) {
	if user.Role != OperatorRole && user.Role != AuditorRole {
		return nil, operator(user)
	}
	p, err := lastProposal(ctx, n.store.read, resolveKind, id)
	if err != nil {
		return nil, busy(err)
	}
	if p == nil {
		return nil, refuse(NotFound, "notFound", "nothing is proposed for this transfer")
	}
	if err := n.store.read.QueryRowContext(ctx, "SELECT evidence FROM proposals WHERE id = ?", p.ID).Scan(&p.Evidence); err != nil {
		return nil, busy(err)
	}
	return p, nil
}

// openMost is how many open transfers are listed: the oldest.
const openMost = 1000

// OpenTransfers lists the transfers without an end, the oldest first, to operators and
// auditors. The transferee is left out: an operator sees no bill.
func (n *Node) OpenTransfers(ctx context.Context, user *User) ([]TransferView, error) {
	if user.Role != OperatorRole && user.Role != AuditorRole {
		return nil, operator(user)
	}
	rows, err := n.store.read.QueryContext(ctx, "SELECT id FROM transfers WHERE state IN ('prepared', 'sending', 'disputed') ORDER BY seq LIMIT ?", openMost)
	if err != nil {
		return nil, busy(err)
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, busy(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, busy(err)
	}
	list := []TransferView{}
	for id := range slices.Values(ids) {
		v, err := n.transferView(ctx, id)
		if err != nil {
			return nil, err
		}
		list = append(list, *v)
	}
	return list, nil
}

// transferView is a transfer for an operator.
func (n *Node) transferView(ctx context.Context, id string) (*TransferView, error) {
	x, err := loadTransfer(ctx, n.store.read, id)
	if err != nil || x == nil {
		return nil, busy(err)
	}
	b, err := loadBillByID(ctx, n.store.read, x.bill)
	if err != nil {
		return nil, busy(err)
	}
	v := viewTransfer(x, b.state.Document)
	v.Transferee = "null"
	if v.History, err = attempts(ctx, n.store.read, x.seq); err == nil {
		v.Proposal, err = lastProposal(ctx, n.store.read, resolveKind, id)
	}
	if err != nil {
		return nil, busy(err)
	}
	return v, nil
}
