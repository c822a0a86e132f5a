package node

import (
	"context"
	"errors"

	"eblnode/chain"
	"eblnode/envelope"
)

// This file is what the issuer does with a bill that came back: honour the return, or
// decline it.

// A HonourOrder is the carrier's yes to a return.
type HonourOrder struct {
	// Replacement is issued in the place of an amended bill, to who returned it, or to
	// the issuer where that one is on another platform; for AMND, and nothing else.
	Replacement []byte
	Comments    string
	Once        Once
}

// Honour says yes to a return: a signed verdict, and the bill is void. For an amendment
// the replacement is issued in the same transaction.
func (n *Node) Honour(ctx context.Context, user *User, document envelope.Hash, o HonourOrder) (Moved, error) {
	if waits, err := n.waits(ctx, user, o.Once); err != nil {
		return Moved{}, err
	} else if waits {
		return n.askReturn(ctx, user, kindHonour, document, askedOrder{Document: o.Replacement, Comments: o.Comments}, o.Once)
	}
	return n.once(ctx, user, o.Once, func(t *tx) (Moved, error) {
		b, err := n.controlled(t.ctx, t, user, document)
		if err != nil {
			return Moved{}, err
		}
		if b.state.Issuing != n.Domain() || b.state.Issuer != n.identifier(user.Local) {
			return Moved{}, refuse(Forbidden, TextForbidden, "only the issuer of a bill honours its return")
		}
		return n.honourIn(t, user, b, o)
	})
}

func (n *Node) honourIn(t *tx, user *User, b *bill, o HonourOrder) (Moved, error) {
	kind := map[chain.Status]envelope.VerdictKind{
		chain.SurrenderPending: envelope.Surrendered, chain.AmendmentPending: envelope.Amended, chain.PaperPending: envelope.Paper,
	}[b.state.Status]
	if (kind == envelope.Amended) != (len(o.Replacement) > 0) {
		return Moved{}, refuse(Malformed, "malformed", "a replacement document belongs to the honouring of an amendment, and to nothing else")
	}
	v := envelope.Verdict{DocumentHash: b.state.Document, EnvelopeHash: b.state.Head, Kind: kind, At: t.now}
	// The replacement goes to who returned the bill; where that one is elsewhere, to the
	// issuer, who transfers it: a bill never waits for a network.
	to := b.state.ReturnedBy
	if to.Host == n.Domain() {
		u, err := loadUser(t.ctx, t, to.Local)
		if err != nil {
			return Moved{}, err
		}
		if u == nil || u.Disabled || !u.holds() {
			to = b.state.Issuer // nobody else can be given it
		}
	} else {
		to = b.state.Issuer
	}
	var draft *bill
	if kind == envelope.Amended {
		var err error
		if draft, err = n.draft(IssueOrder{Document: o.Replacement, ToOrder: &b.state.ToOrder}); err != nil {
			return Moved{}, err
		}
		v.ReplacedBy = draft.state.Document
	}
	next, err := b.state.Conclude(v)
	if err != nil {
		law, _ := errors.AsType[*chain.LawError](err)
		return Moved{}, refuse(Conflict, "unlawful/"+string(law.Law), "%s", law.Detail)
	}
	signer, err := n.signer(t.now)
	if err != nil {
		return Moved{}, err
	}
	jws, err := envelope.SignVerdict(v, signer)
	if err != nil {
		return Moved{}, err
	}
	b.state, b.control = next, Voided
	if err := t.saveBill(b, n.Domain()); err != nil {
		return Moved{}, err
	}
	if err := t.exec("INSERT INTO verdicts (bill, verdict, at) VALUES (?, ?, ?)", b.id, jws, millis(t.now)); err != nil {
		return Moved{}, err
	}
	t.event(BillVoid, b.id, "", voidDetail(v))
	if err := t.witness(record{kind: recordVerdict, document: b.state.Document, head: b.state.Head, jws: jws}); err != nil {
		return Moved{}, err
	}
	if err := t.audit(user.Local, "bill.honour", b.state.Document, string(kind)); err != nil {
		return Moved{}, err
	}
	if draft != nil {
		if err := n.issueIn(t, user, draft, quote(to.String()), o.Comments); err != nil {
			return Moved{}, err
		}
	}
	return Moved{Document: v.DocumentHash, State: Accepted, Verdict: jws, ReplacedBy: v.ReplacedBy}, nil
}

// askReturn is ask for the issuer's word on a bill that came back.
func (n *Node) askReturn(ctx context.Context, user *User, kind string, document envelope.Hash, o askedOrder, once Once) (Moved, error) {
	if before, err := n.doneBefore(ctx, user, once); before != nil || err != nil {
		return again(before, err)
	}
	b, err := n.controlled(ctx, n.store.read, user, document)
	if err != nil {
		return Moved{}, err
	}
	switch {
	case b.state.Issuing != n.Domain() || b.state.Issuer != n.identifier(user.Local):
		return Moved{}, refuse(Forbidden, TextForbidden, "only the issuer of a bill honours its return, or declines it")
	case !b.state.Status.Pending():
		return Moved{}, refuse(Conflict, "unlawful/"+string(chain.NothingToHonour), "no return is pending")
	}
	return n.ask(ctx, user, kind, document, b, o, once)
}

// A DeclineOrder is the carrier's no to a return.
type DeclineOrder struct {
	Comments string
	Once     Once
}

// Decline says no to a return: the bill goes back to who returned it.
func (n *Node) Decline(ctx context.Context, user *User, document envelope.Hash, o DeclineOrder) (Moved, error) {
	if before, err := n.doneBefore(ctx, user, o.Once); before != nil || err != nil {
		return again(before, err)
	}
	b, err := n.controlled(ctx, n.store.read, user, document)
	if err != nil {
		return Moved{}, err
	}
	if !b.state.Status.Pending() {
		return Moved{}, refuse(Conflict, "unlawful/"+string(chain.NothingToHonour), "no return is pending")
	}
	if waits, err := n.waits(ctx, user, o.Once); err != nil {
		return Moved{}, err
	} else if waits {
		return n.askReturn(ctx, user, kindDecline, document, askedOrder{Comments: o.Comments}, o.Once)
	}
	to, err := n.asItCame(ctx, b)
	if err != nil {
		return Moved{}, busy(err)
	}
	return n.Move(ctx, user, document, MoveOrder{Instruction: envelope.Transfer, To: to, Comments: o.Comments, Once: o.Once})
}

// asItCame is who returned the bill, as that party stands in the transaction by which it
// last got it: its platform may want its particulars again.
func (n *Node) asItCame(ctx context.Context, b *bill) ([]byte, error) {
	rows, err := loadEntries(ctx, n.store.read, b.id)
	if err != nil {
		return nil, err
	}
	for i := len(rows) - 1; i >= 0; i-- {
		e, err := envelope.ParseEntry(rows[i].jws, anyLength)
		if err != nil {
			return nil, err
		}
		for t := len(e.Payload.Transactions) - 1; t >= 0; t-- {
			wire := e.Payload.Transactions[t]
			if chain.LawOf(wire, n.Trust()).Transferee == b.state.ReturnedBy {
				return wire.TransfereeRaw, nil
			}
		}
	}
	return quote(b.state.ReturnedBy.String()), nil
}
