package node

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/witness"
)

// This file makes again, from the records of the witness, what an older database does not
// know. Each record holds all that it takes: nothing that was acknowledged is lost with a
// database. Each is checked like the first time, as far as signatures and the law go; who
// is a local user now does not matter, since a bill belongs to whom it was given.

// reentries is when reenter was last tried.
type reentries struct {
	mu   sync.Mutex
	next time.Time
}

// reenterDue tries again now and then while something is in quarantine: a trust entry
// may have been missing.
func (n *Node) reenterDue(ctx context.Context) error {
	if !n.store.quarantined.Load() || n.store.journal.Load() == nil {
		return nil
	}
	n.reenters.mu.Lock()
	defer n.reenters.mu.Unlock()
	if time.Now().Before(n.reenters.next) {
		return nil
	}
	n.reenters.next = time.Now().Add(reenterEvery)
	return n.reenter(ctx)
}

// reenter enters what is in quarantine in the order of the witness. A bill whose next
// record cannot be entered waits, with all that follow; the others go on. A bill with
// nothing left is free by that.
func (n *Node) reenter(ctx context.Context) error {
	waiting := map[envelope.Hash]bool{}
	var after int64
	for {
		var document envelope.Hash
		var line, seal []byte
		var problem string
		err := n.store.read.QueryRowContext(ctx, "SELECT generation, document_hash, line, seal, problem FROM quarantine WHERE generation > ? ORDER BY generation LIMIT 1", after).
			Scan(&after, sqlHash{&document}, &line, &seal, &problem)
		if errors.Is(err, sql.ErrNoRows) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading what is in quarantine: %w", err)
		}
		if waiting[document] {
			continue
		}
		err = n.reenterOne(ctx, after, line, seal)
		if err == nil {
			continue
		}
		waiting[document] = true
		now := clip(err.Error())
		if now == problem {
			continue
		}
		n.log.WarnContext(ctx, "a bill stays in quarantine", "bill", document.String(), "generation", after, "err", now)
		err = n.store.update(ctx, func(t *tx) error {
			return t.exec("UPDATE quarantine SET problem = ? WHERE generation = ?", now, after)
		})
		if err != nil {
			return err
		}
	}
	if len(waiting) == 0 {
		n.store.quarantined.Store(false)
	}
	return nil
}

func (n *Node) reenterOne(ctx context.Context, generation int64, line, seal []byte) error {
	w, l, err := witness.Decode(line)
	if err != nil {
		return err
	}
	if want := n.store.journal.Load().Seal(l.Hash); subtle.ConstantTimeCompare(seal, want[:]) != 1 {
		// Whoever puts a row here could end a transfer that nobody ended.
		return errors.New("this record is not in the witness; run: eblnode fsck")
	}
	err = n.store.update(ctx, func(t *tx) error {
		t.change.reentry = true
		if err := t.execOne("DELETE FROM quarantine WHERE generation = ?", generation); err != nil {
			return err
		}
		if err := n.enter(t, w); err != nil {
			return err
		}
		return t.audit(n.Domain().String(), "witness.reenter", envelope.Hash(w.Document), fmt.Sprintf("%d %s", generation, w.Kind))
	})
	if errors.Is(err, errMoved) {
		return nil // a release was first
	}
	return err
}

// enter makes one change again.
func (n *Node) enter(t *tx, w witness.Record) error {
	b, err := loadBill(t.ctx, t, envelope.Hash(w.Document))
	if err != nil {
		return err
	}
	if b == nil && w.Kind != recordIssue && w.Kind != recordAccepted && w.Kind != recordRejection {
		return fmt.Errorf("a record %q of a bill that is not here", w.Kind)
	}
	switch w.Kind {
	case recordIssue:
		return n.enterIssue(t, b, w)
	case recordStep:
		return n.enterStep(t, b, w.JWS)
	case recordPrepared:
		return n.enterPrepared(t, b, w)
	case recordSending:
		return t.enterSending(b, w)
	case recordSettled:
		return n.enterSettled(t, b, w)
	case recordAccepted:
		return n.enterAccepted(t, b, w)
	case recordRejection:
		return n.enterRejection(t, b, w)
	case recordVerdict:
		var d verdictData
		if len(w.Data) > 0 {
			if err := enterData(w, &d); err != nil {
				return err
			}
		}
		_, err := n.conclude(t, b, w.JWS, d.Evidence)
		return err
	}
	return fmt.Errorf("a record %q cannot be entered again; two operators must look at it", w.Kind)
}

// enterData reads what a record holds beside its JWS.
func enterData(w witness.Record, v any) error {
	if err := json.Unmarshal(w.Data, v); err != nil {
		return fmt.Errorf("reading record %d: %w", w.Generation, err)
	}
	return nil
}

func (n *Node) enterIssue(t *tx, b *bill, w witness.Record) error {
	if b != nil {
		return errors.New("the bill is here already")
	}
	var d issueData
	if err := enterData(w, &d); err != nil {
		return err
	}
	b = &bill{document: []byte(d.Document), control: Held}
	b.state.Document = envelope.HashOf(b.document)
	if b.state.Document != envelope.Hash(w.Document) {
		return errors.New("the document is not the one of the record")
	}
	var err error
	if b.reference, _, err = envelope.InspectDocument(b.document); err != nil {
		return err
	}
	wire, err := n.openStep(b, nil, w.JWS)
	if err != nil {
		return err
	}
	b.state.ToOrder = wire.ToOrder
	if b.state, err = b.state.Apply(chain.LawOf(wire, n.Trust())); err != nil {
		return err
	}
	b.state.Issuer = n.identifier(d.Issuer)
	if err := t.insertBill(b, n.Domain()); err != nil {
		return err
	}
	if err := t.addParty(b.id, d.Issuer); err != nil {
		return err
	}
	t.event(BillIssued, b.id, "", EventDetail{})
	return n.storeStep(t, b, w.JWS, wire)
}

// openStep checks that a step of ours follows those of b, and gives its transaction.
func (n *Node) openStep(b *bill, steps []step, jws string) (envelope.Transaction, error) {
	st, err := envelope.OpenStep(jws, n.Self())
	if err != nil {
		return envelope.Transaction{}, err
	}
	var previous envelope.Hash
	if len(steps) > 0 {
		previous = envelope.HashOf([]byte(steps[len(steps)-1].jws))
	}
	if st.DocumentHash != b.state.Document || st.Head != b.state.Head || st.Index != len(steps) || st.Previous != previous {
		return envelope.Transaction{}, errors.New("the step does not follow what is here")
	}
	return envelope.ParseTransaction(st.Transaction)
}

// storeStep stores a step that is in b's state already.
func (n *Node) storeStep(t *tx, b *bill, jws string, wire envelope.Transaction) error {
	st, err := envelope.OpenStep(jws, n.Self())
	if err != nil {
		return err
	}
	seq, err := t.nextSeq(b.id)
	if err != nil {
		return err
	}
	if err := t.insertStep(b.id, step{seq: seq, jws: jws, tx: string(st.Transaction), at: millis(wire.At)}); err != nil {
		return err
	}
	return t.addParty(b.id, b.state.Possessor.Local)
}

func (n *Node) enterStep(t *tx, b *bill, jws string) error {
	steps, err := loadSteps(t.ctx, t, b.id)
	if err != nil {
		return err
	}
	wire, err := n.openStep(b, steps, jws)
	if err != nil {
		return err
	}
	if b.control != Held {
		return fmt.Errorf("a step of a bill that is %s here", b.control)
	}
	if b.state, err = b.state.Apply(chain.LawOf(wire, n.Trust())); err != nil {
		return err
	}
	if err := t.saveBill(b, n.Domain()); err != nil {
		return err
	}
	t.event(BillMoved, b.id, "", EventDetail{Instruction: wire.Instruction})
	return n.storeStep(t, b, jws, wire)
}

// enterPrepared puts an envelope back into the outbox. It may have left or not, so it is
// in doubt: the same bytes are sent, and the addressee's stored answer comes back.
func (n *Node) enterPrepared(t *tx, b *bill, w witness.Record) error {
	var d preparedData
	if err := enterData(w, &d); err != nil {
		return err
	}
	peer, err := identity.ParseHost(w.Peer)
	if err != nil {
		return err
	}
	x := &transfer{id: d.ID, bill: b.id, user: d.User, peer: peer, transferee: d.Transferee, instruction: d.Instruction,
		idx: b.state.Length, hash: envelope.Hash(w.Head), jws: w.JWS, bodySum: d.BodySum}
	e, err := x.entry()
	if err != nil {
		return err
	}
	if _, err := e.JWS.Verify(n.Self(), e.Payload.SignedAt(), true); err != nil {
		return err
	}
	if b.control != Held || e.Hash() != x.hash || e.Payload.DocumentHash != b.state.Document {
		return fmt.Errorf("an envelope of a bill that is %s here, at entry %d", b.control, x.idx)
	}
	x.steps = len(e.Payload.Transactions) - 1
	b.control = Locked
	if err := t.saveBill(b, n.Domain()); err != nil {
		return err
	}
	if err := t.insertTransfer(x); err != nil {
		return err
	}
	t.event(TransferSending, b.id, x.id, EventDetail{})
	return t.exec("UPDATE transfers SET state = 'sending', sent_at = ? WHERE id = ?", w.At, x.id)
}

// enterSending notes that the envelope of a transfer may have left.
func (t *tx) enterSending(b *bill, w witness.Record) error {
	var state TransferState
	err := t.QueryRowContext(t.ctx, "SELECT state FROM transfers WHERE bill = ? AND envelope_hash = ?", b.id, w.Head[:]).Scan(&state)
	if errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("the sending of envelope %s, which is not here", w.Head)
	}
	if err != nil || state != Prepared {
		return err
	}
	return t.exec("UPDATE transfers SET state = 'sending', sent_at = ? WHERE bill = ? AND envelope_hash = ? AND state = 'prepared'", w.At, b.id, w.Head[:])
}

// enterSettled ends a transfer by the answer that had come.
func (n *Node) enterSettled(t *tx, b *bill, w witness.Record) error {
	var d settledData
	if err := enterData(w, &d); err != nil {
		return err
	}
	x, err := loadTransfer(t.ctx, t, d.ID)
	if err != nil {
		return err
	}
	if x == nil || x.bill != b.id {
		return fmt.Errorf("the end of a transfer %s that is not here", d.ID)
	}
	if d.State == Cancelled {
		// What is in quarantine is not sent: it has not left since either.
		if err := t.execOne("UPDATE transfers SET state = 'cancelled', settled_by = 'cancel', settled_at = ?, sent_at = NULL WHERE seq = ? AND state IN ('prepared', 'sending')", w.At, x.seq); err != nil {
			return err
		}
		b.control = Held
		t.event(TransferCancelled, b.id, x.id, EventDetail{})
		return t.saveBill(b, n.Domain())
	}
	// It may have been prepared before the backup, and sent after it.
	if err := t.exec("UPDATE transfers SET state = 'sending', sent_at = ? WHERE seq = ? AND state = 'prepared'", w.At, x.seq); err != nil {
		return err
	}
	if d.By == "operators" {
		if x.state == Prepared {
			x.state = Sending
		}
		if d.Decision == nil {
			return errors.New("the record does not say which operators decided")
		}
		outcome := ResolvedAway
		if d.State == Rejected {
			outcome = ResolvedHeld
		}
		if err := t.decideAgain(resolveKind, x.id, outcome, *d.Decision); err != nil {
			return err
		}
		return n.settleResolved(t, b, x, d.State)
	}
	p, found := n.Trust().Find(x.peer)
	if !found {
		return fmt.Errorf("there is no trust entry for %s; add it with: eblnode peer add", x.peer)
	}
	e, err := x.entry()
	if err != nil {
		return err
	}
	x.evidence = d.Evidence
	switch {
	case d.State == Accepted && d.By == "receipt":
		if _, err := envelope.OpenReceipt([]byte(w.JWS), e.Claimed, p, n.cfg.Now()); err != nil {
			return err
		}
		return n.settleAccepted(t, b, x, w.JWS, d.By)
	case d.By == "rejection":
		rej, err := envelope.OpenRejection(w.JWS, p, n.cfg.Now())
		if err != nil {
			return err
		}
		if !rej.Answers(&e, n.Domain(), x.peer) || (rej.Code == envelope.DisputeCode) != (d.State == DisputedT) {
			return errors.New("the rejection is about another transfer")
		}
		x.said = d.Answer
		return n.settleRejected(t, b, x, rej, d, w.JWS)
	}
	return fmt.Errorf("a transfer that was %s by %s cannot be entered again; two operators must look at it", d.State, d.By)
}

// enterAccepted accepts a block again, with the receipt that was signed for it.
func (n *Node) enterAccepted(t *tx, b *bill, w witness.Record) error {
	var d acceptedData
	if err := enterData(w, &d); err != nil {
		return err
	}
	sender, err := identity.ParseHost(w.Peer)
	if err != nil {
		return err
	}
	if _, found := n.Trust().Find(sender); !found {
		// What the checks of a block say then, that another platform sent it, would lead
		// operators to release a bill whose receipt we have given.
		return fmt.Errorf("there is no trust entry for %s; add it with: eblnode peer add", sender)
	}
	block := &envelope.Transferblock{Document: []byte(d.Document)}
	var known []row
	var open *transfer
	if b != nil {
		if err := b.loadDocument(t.ctx, t); err != nil {
			return err
		}
		block.Document = b.document
		if known, err = loadEntries(t.ctx, t, b.id); err != nil {
			return err
		}
		if open, err = openTransfer(t.ctx, t, b.id); err != nil {
			return err
		}
	}
	for _, r := range known {
		block.Entries = append(block.Entries, envelope.Entry{Claimed: r.claimed, JWS: envelope.JWS{Raw: r.jws}})
	}
	// An outgoing envelope of ours that this block settled is among the entries before its own.
	if open != nil && d.From == len(known)+1 {
		e, err := open.entry()
		if err != nil {
			return err
		}
		block.Entries = append(block.Entries, e)
		if err := t.exec("UPDATE transfers SET state = 'sending', sent_at = ? WHERE seq = ? AND state = 'prepared'", w.At, open.seq); err != nil {
			return err
		}
	} else {
		open = nil
	}
	if d.From != len(block.Entries) {
		return fmt.Errorf("a block that goes on after entry %d, and here are %d", d.From, len(block.Entries))
	}
	for _, e := range d.Entries {
		block.Entries = append(block.Entries, envelope.Entry{Claimed: e.Claimed, JWS: envelope.JWS{Raw: e.JWS}})
	}
	if block, err = envelope.Parse(block.Marshal(false), n.cfg.Limits); err != nil {
		return err
	}
	// It was judged before it was acknowledged; the evidence of then is judged again, and
	// nobody is asked now.
	kept := map[string]envelope.Known{}
	for _, e := range d.Entries {
		kept[e.JWS] = envelope.Known{Since: fromMillis(w.At), Evidence: e.Evidence, Judged: e.Evidence == nil}
	}
	in := &incoming{node: n, sender: sender, block: block, sum: d.Sum, receipt: w.JWS, kept: kept}
	if err := in.verify(t.ctx); err != nil {
		return err
	}
	if in.refuse != nil {
		return in.refuse
	}
	if in.hash() != envelope.Hash(w.Head) || in.chain.Document != envelope.Hash(w.Document) {
		return errors.New("the block is not the one of the record")
	}
	_, _, err = in.accept(t, b, open)
	return err
}

func (n *Node) enterRejection(t *tx, b *bill, w witness.Record) error {
	var d rejectionData
	if err := enterData(w, &d); err != nil {
		return err
	}
	sender, err := identity.ParseHost(w.Peer)
	if err != nil {
		return err
	}
	for _, br := range d.Branches {
		if b == nil {
			return errors.New("a fork of a bill that is not here")
		}
		if err := t.exec("INSERT INTO branches (bill, idx, peer, jws, at) VALUES (?, ?, ?, ?, ?)", b.id, br.Index, w.Peer, br.JWS, w.At); err != nil {
			return err
		}
	}
	if d.Decision != nil {
		if err := t.decideAgain(rejectKind, refusedSubject(sender, d.Sum), "reject", *d.Decision); err != nil {
			return err
		}
	}
	return t.insertRejection(envelope.Hash(w.Document), sender, w.JWS, d)
}
