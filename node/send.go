package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eblnode/chain"
	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
)

// ready finds the peer that is to get a bill and proves that it can be reached and that
// each knows the other, before anything is sealed: trust entry, endpoint, TLS both ways.
// A bill sealed for a platform that nobody can reach would stay locked.
func (n *Node) ready(ctx context.Context, to identity.Party) (*identity.Platform, error) {
	p, found := n.Trust().Find(to.ID.Host)
	if !found {
		return nil, refuse(NotPossible, TextNotTrusted, "there is no trust entry for %s; add one with: eblnode peer add FILE", to.ID.Host)
	}
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if n.circuits.justAnswered(p, n.cfg.Now()) {
		return p, nil
	}
	peer, _, err := n.reach(ctx, p)
	if err == nil {
		err = peer.Check(ctx, n.Domain())
	}
	if err == nil {
		n.circuits.retry(p.Domain)
		n.circuits.heard(p, n.cfg.Now())
	}
	if err != nil {
		e := refuse(NotPossible, TextPeerNotReady, "%s cannot be reached, so nothing was sealed: %s", p.Domain, err)
		e.Retry, e.Err = 30, err
		return nil, e
	}
	return p, nil
}

// reach finds a peer and gives the way to it, and in words where that is.
func (n *Node) reach(ctx context.Context, p *identity.Platform) (peer Peer, place string, err error) {
	var at discovery.Endpoint
	if n.cfg.Resolve != nil {
		if at, err = n.cfg.Resolve(ctx, p); err != nil {
			return nil, "", fmt.Errorf("finding %s: %w", p.Domain, err)
		}
	}
	if n.cfg.Dial == nil {
		return nil, "", errors.New("this node does not send")
	}
	peer, err = n.cfg.Dial(p, at)
	return peer, placeOf(at), err
}

// placeOf says where an endpoint is and how that is known (wire document, section 9: the
// mode of DNSSEC is told by what came of it).
func placeOf(at discovery.Endpoint) string {
	switch {
	case at.URL == nil:
		return ""
	case at.Source == discovery.Configured:
		return at.URL.String() + " by the trust entry"
	case at.AuthenticData:
		return at.URL.String() + " by DNS, with DNSSEC"
	}
	return at.URL.String() + " by DNS, without DNSSEC"
}

// prepare seals the steps and the transaction of the order into the next envelope, and
// locks the bill. From here on there is one continuation of this bill, and it is on
// the disk before anybody can have seen it.
func (n *Node) prepare(t *tx, user *User, document envelope.Hash, o MoveOrder, peer *identity.Platform) (*transfer, error) {
	b, err := n.controlled(t.ctx, t, user, document)
	if err != nil {
		return nil, err
	}
	steps, err := loadSteps(t.ctx, t, b.id)
	if err != nil {
		return nil, err
	}
	wire, text, err := n.newTransaction(t, steps, b, o.Instruction, o.To, o.Comments)
	if err != nil {
		return nil, err
	}
	if _, err := n.apply(t, b, wire); err != nil {
		return nil, err
	}
	if err := t.stillPeer(peer.Domain); err != nil {
		return nil, err
	}
	rows, err := loadEntries(t.ctx, t, b.id)
	if err != nil {
		return nil, err
	}
	if most := n.cfg.Limits.ChainLimit(); len(rows) >= most {
		return nil, refuse(TooLarge, "tooLarge", "the chain has %d entries; peers take no longer one", most)
	}
	if err := n.foresee(rows, peer); err != nil {
		return nil, err
	}
	var previous envelope.Hash
	if len(rows) > 0 {
		previous = rows[len(rows)-1].claimed
	}
	txs := make([][]byte, 0, len(steps)+1)
	for _, s := range steps {
		txs = append(txs, []byte(s.tx))
	}
	// An envelope is from the time of its last transaction, whatever key signed the steps
	// before it (wire document, section 3).
	signer, err := n.signer(wire.At)
	if err != nil {
		return nil, err
	}
	e, err := envelope.Seal(b.state.Document, previous, append(txs, text), signer)
	if err != nil {
		return nil, err
	}
	x := &transfer{
		id: newID(), bill: b.id, user: user.Local, peer: peer.Domain, transferee: string(o.To), instruction: string(o.Instruction),
		idx: b.state.Length, steps: len(steps), hash: e.Hash(), jws: e.JWS.Raw,
	}
	body, err := n.body(t.ctx, t, b, rows, e, peer)
	if err != nil {
		return nil, err
	}
	if limit := n.cfg.Limits.BodyLimit(); len(body) > limit {
		return nil, refuse(TooLarge, "tooLarge", "the block has %d bytes; peers take %d", len(body), limit)
	}
	x.bodySum = envelope.HashOf(body)
	b.control = Locked
	if err := t.saveBill(b, n.Domain()); err != nil {
		return nil, err
	}
	if err := t.insertTransfer(x); err != nil {
		return nil, err
	}
	t.event(TransferPrepared, b.id, x.id, EventDetail{})
	if err := t.witness(record{kind: recordPrepared, document: b.state.Document, head: x.hash, peer: x.peer.String(), jws: x.jws,
		data: preparedData{ID: x.id, User: x.user, Transferee: x.transferee, Instruction: x.instruction, BodySum: x.bodySum}}); err != nil {
		return nil, err
	}
	return x, t.audit(user.Local, "transfer.prepare", b.state.Document, x.hash.String()+" to "+peer.Domain.String())
}

// body is the request that carries the bill to peer: stored bytes, put together.
func (n *Node) body(ctx context.Context, q querier, b *bill, rows []row, last envelope.Entry, peer *identity.Platform) ([]byte, error) {
	if err := b.loadDocument(ctx, q); err != nil {
		return nil, err
	}
	block := &envelope.Transferblock{Document: b.document}
	for _, r := range rows {
		block.Entries = append(block.Entries, envelope.Entry{Claimed: r.claimed, JWS: envelope.JWS{Raw: r.jws}})
	}
	block.Entries = append(block.Entries, last)
	return block.Marshal(envelope.WritesOldField(peer)), nil
}

// after is the state of b once the sealed entry is part of its chain. The steps in it
// are in the state already; the last transaction is what moves it.
func (n *Node) after(b *bill, e envelope.Entry) (chain.State, error) {
	last := e.Payload.Transactions[len(e.Payload.Transactions)-1]
	return b.state.Apply(chain.LawOf(last, n.Trust()))
}

// outboxWidth is how many attempts run at once; circuit.go says how many of them may be
// to one peer, so that a dead one does not hold up the others. Half of them are for peers
// that have answered: many dead ones together do not hold those up either.
const outboxWidth = 128

// outboxAge is for how long a list that is not used up serves. Each attempt that ends frees
// a place, and to read thousands of rows each time would take longer than to send.
const outboxAge = 50 * time.Millisecond

// duePerPeer is how many transfers to one peer are read at once.
const duePerPeer = 16 * peerWidth

// attempt sends one transfer once and applies the answer. What it cannot decide is left
// for the next attempt: only a signed verdict ends a transfer.
func (n *Node) attempt(ctx context.Context, id string) {
	// Whatever came of it: a commit that is said to have failed may have happened.
	defer n.watchers.notify(id)
	x, body, err := n.startAttempt(ctx, id)
	if err != nil && ctx.Err() != nil {
		return // we stop; the next start sends it
	}
	if err != nil {
		n.log.ErrorContext(ctx, "starting an attempt failed", "transfer", id, "err", err)
		n.rest(ctx)
		return
	}
	if x == nil {
		return
	}
	n.Stats.Attempts.Add(1)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	reply, err := n.offer(ctx, x, body)
	n.note(ctx, x.peer, fromMillis(x.tried), err)
	if err == nil {
		err = n.believe(ctx, x, reply)
	}
	if p, found := n.Trust().Find(x.peer); found && err == nil {
		n.circuits.heard(p, n.cfg.Now())
	}
	if err == nil {
		return
	}
	n.Stats.AttemptsFailed.Add(1)
	n.log.WarnContext(ctx, "a transfer has no verdict yet", "transfer", id, "peer", x.peer.String(), "attempt", x.attempts+1, "err", clip(err.Error()))
	next := n.cfg.Now().Add(n.pause(x.attempts))
	err = n.store.update(context.WithoutCancel(ctx), func(t *tx) error { return t.recordAttempt(x, clip(err.Error()), next) })
	if err != nil {
		n.log.ErrorContext(ctx, "recording an attempt failed", "transfer", id, "err", err)
		n.rest(ctx)
	}
}

// note tells the circuit of a peer what came of asking it. Any answer will do, also a
// refusal: a peer that talks is not dead.
func (n *Node) note(ctx context.Context, peer identity.Host, began time.Time, err error) {
	now := n.cfg.Now()
	if e, ok := errors.AsType[*Error](err); err == nil || ok && e.Code != Unavailable && e.Code != Internal && e.Code != TooManyRequests {
		if !n.circuits.answered(peer) {
			return
		}
		n.log.InfoContext(ctx, "a peer answers again", "peer", peer.String())
		err := n.store.update(context.WithoutCancel(ctx), func(t *tx) error {
			return t.exec("UPDATE transfers SET next_at = ? WHERE peer = ? AND state IN ('prepared', 'sending') AND next_at > ?", millis(now), peer.String(), millis(now))
		})
		if err != nil {
			n.log.ErrorContext(ctx, "waking the transfers of a peer failed", "peer", peer.String(), "err", err)
		}
		return
	}
	if errors.Is(err, context.Canceled) {
		return // we stop
	}
	n.circuits.failed(peer, began, now, clip(err.Error()), n.pause)
	if c := n.Circuit(peer); c.Failures == circuitFailures {
		n.log.WarnContext(ctx, "a peer does not answer; it gets one probe at a time", "peer", peer.String(), "since", c.Since, "err", c.Trouble)
	}
}

// startAttempt marks the transfer as sending, durably, before the first byte leaves, and
// builds its bytes. x is nil where there is nothing to send any more.
func (n *Node) startAttempt(ctx context.Context, id string) (x *transfer, body []byte, err error) {
	x, err = loadTransfer(ctx, n.store.read, id)
	if err != nil || x == nil || x.state != Prepared && x.state != Sending {
		return nil, nil, err
	}
	x.tried = millis(n.cfg.Now())
	p, found := n.Trust().Find(x.peer)
	if !found {
		return nil, nil, fmt.Errorf("there is no trust entry for %s", x.peer)
	}
	b, err := loadBillByID(ctx, n.store.read, x.bill)
	if err != nil {
		return nil, nil, err
	}
	rows, err := loadEntries(ctx, n.store.read, x.bill)
	if err != nil {
		return nil, nil, err
	}
	e, err := x.entry()
	if err != nil {
		return nil, nil, err
	}
	// Settled by the chain since we looked, it is among the rows, and more after it.
	if body, err = n.body(ctx, n.store.read, b, rows[:min(x.idx, len(rows))], e, p); err != nil {
		return nil, nil, err
	}
	// A quirk that was changed meanwhile may change the member's name, nothing else.
	if sum := envelope.HashOf(body); sum != x.bodySum {
		n.log.WarnContext(ctx, "the request differs from the one prepared; its document and signatures are the stored ones", "transfer", id)
	}
	if why, err := n.quarantine(ctx, n.store.read, b.state.Document); err != nil || why != "" {
		return nil, nil, errors.Join(err, errors.New("the bill is "+why))
	}
	if x.state == Sending {
		// Who marked it may have stopped before the witness had it.
		return x, body, n.store.settled(ctx)
	}
	// crashpoint: s1
	err = n.store.update(ctx, func(t *tx) error {
		t.event(TransferSending, x.bill, x.id, EventDetail{})
		if err := t.execOne("UPDATE transfers SET state = 'sending', sent_at = ? WHERE seq = ? AND state = 'prepared'", millis(t.now), x.seq); err != nil {
			return err
		}
		// A backup from before this, or a row set back by hand, would say that nothing has
		// left, and the user could cancel what the peer has.
		return t.witness(record{kind: recordSending, document: b.state.Document, head: x.hash, peer: x.peer.String()})
	})
	if errors.Is(err, errMoved) {
		return nil, nil, nil // cancelled meanwhile
	}
	x.state = Sending
	return x, body, err
}

func (n *Node) offer(ctx context.Context, x *transfer, body []byte) (Reply, error) {
	// crashpoint: s2
	p, found := n.Trust().Find(x.peer)
	if !found {
		return Reply{}, fmt.Errorf("there is no trust entry for %s", x.peer)
	}
	peer, place, err := n.reach(ctx, p)
	if err != nil {
		return Reply{}, err
	}
	x.place = place
	return peer.PutTransferblock(ctx, Request{Sender: n.Domain(), Body: body})
}

// believe ends the transfer by a signed answer, if it is the addressee's and about this
// transfer. Nothing else that came with the answer counts, not even its HTTP status.
func (n *Node) believe(ctx context.Context, x *transfer, r Reply) error {
	// crashpoint: s7
	p, found := n.Trust().Find(x.peer)
	if !found {
		return fmt.Errorf("there is no trust entry for %s", x.peer)
	}
	e, err := x.entry()
	if err != nil {
		return err
	}
	if r.Receipt != "" {
		j, err := envelope.OpenReceiptBetween([]byte(r.Receipt), e.Claimed, p, e.Payload.SignedAt(), n.cfg.Now())
		if err != nil {
			n.Stats.Unbelieved.Add(1)
			return fmt.Errorf("the answer of %s is not its receipt for this envelope: %w", x.peer, err)
		}
		if x.evidence, err = n.answerStands(ctx, p, j.Raw, e.Payload.SignedAt()); err != nil {
			n.Stats.Unbelieved.Add(1)
			return fmt.Errorf("the receipt of %s is not believed: %w", x.peer, err)
		}
		x.standing = n.ownStanding(ctx, &e)
		return n.received(ctx, x, j.Raw)
	}
	rej, err := envelope.OpenRejection(r.Rejection, p, n.cfg.Now())
	if err != nil {
		n.Stats.Unbelieved.Add(1)
		return fmt.Errorf("the answer of %s is not its rejection: %w", x.peer, err)
	}
	if !rej.Answers(&e, n.Domain(), x.peer) {
		n.Stats.Unbelieved.Add(1)
		return fmt.Errorf("the rejection by %s is about another transfer", x.peer)
	}
	if x.evidence, err = n.answerStands(ctx, p, r.Rejection, e.Payload.SignedAt()); err != nil {
		n.Stats.Unbelieved.Add(1)
		return fmt.Errorf("the rejection by %s is not believed: %w", x.peer, err)
	}
	return n.rejected(ctx, x, rej, r)
}

// received ends a transfer by the addressee's receipt.
func (n *Node) received(ctx context.Context, x *transfer, receipt string) error {
	// crashpoint: s8
	err := n.store.update(ctx, func(t *tx) error {
		b, err := loadBillByID(t.ctx, t, x.bill)
		if err != nil {
			return err
		}
		if err := n.settleAccepted(t, b, x, receipt, "receipt"); err != nil {
			return err
		}
		return t.witnessSettled(b, x, settledData{State: Accepted, By: "receipt"}, receipt)
	})
	if errors.Is(err, errMoved) {
		// Settled meanwhile, by the chain that came home or by operators.
		return n.late(ctx, x, receipt, true, false)
	}
	if err == nil {
		// crashpoint: s9
		n.Stats.SentAccepted.Add(1)
	}
	return err
}

// rejected ends a transfer by the addressee's signed no. BSIG and BENV give control
// back; DISE never does.
func (n *Node) rejected(ctx context.Context, x *transfer, rej envelope.Rejection, r Reply) error {
	state := Rejected
	if rej.Code == envelope.DisputeCode {
		state = DisputedT
	}
	answer := string(rej.Code) + " " + clip(rej.Reason)
	if r.Refusal != nil {
		answer = string(rej.Code) + " " + r.Refusal.Text + ": " + r.Refusal.Detail
	}
	x.said = clip(answer)
	err := n.store.update(ctx, func(t *tx) error {
		b, err := loadBillByID(t.ctx, t, x.bill)
		if err != nil {
			return err
		}
		return n.settleRejected(t, b, x, rej, settledData{State: state, By: "rejection", Answer: x.said}, r.Rejection)
	})
	if errors.Is(err, errMoved) {
		return n.late(ctx, x, r.Rejection, false, state == Rejected)
	}
	if err == nil && state == Rejected {
		n.Stats.SentRejected.Add(1)
	} else if err == nil {
		n.Stats.SentDisputed.Add(1)
	}
	return err
}

// settleRejected ends a transfer by the rejection that jws is.
func (n *Node) settleRejected(t *tx, b *bill, x *transfer, rej envelope.Rejection, d settledData, jws string) error {
	if err := t.settle(x, d.State, jws, "rejection"); err != nil {
		return err
	}
	if err := t.exec("UPDATE transfers SET last_answer = ? WHERE seq = ?", d.Answer, x.seq); err != nil {
		return err
	}
	b.control = Held
	if d.State == DisputedT {
		b.control = Disputed
	}
	if err := t.saveBill(b, n.Domain()); err != nil {
		return err
	}
	if err := t.witnessSettled(b, x, d, jws); err != nil {
		return err
	}
	t.event(transferEvent(d.State), b.id, x.id, EventDetail{Response: rej.Code})
	return t.audit(n.Domain().String(), "transfer."+string(d.State), b.state.Document, x.hash.String()+" by "+x.peer.String()+": "+string(rej.Code)+" "+clip(rej.Reason))
}
