package node

import (
	"database/sql"
	"fmt"

	"eblnode/chain"
	"eblnode/envelope"
)

// Checks 11 to 13 of the wire document, section 5: who is to get the bill, what we know of
// it, and the transaction that takes it.

// compare is checks 11 and 12: who is to get the bill, and what we know of it.
func (in *incoming) compare(t *tx) (Reply, func(), error) {
	var b *bill
	var err error
	if in.bill != 0 { // looked up in this transaction
		if b, err = loadBillByID(t.ctx, t, in.bill); err != nil {
			return Reply{}, nil, err
		}
	}
	if refusal, err := in.transferee(t, b); err != nil {
		return Reply{}, nil, err
	} else if refusal != nil {
		return in.reject(t, refusal)
	}
	open, rel, at, err := in.relation(t, b)
	if err != nil {
		return Reply{}, nil, err
	}
	if in.before != nil && (rel != chain.Extends || at < in.block.Known()) {
		return Reply{}, nil, errWhole
	}
	switch rel {
	case chain.Same, chain.Behind:
		return in.reject(t, refuse(DISE, TextBehind, "we know a longer chain of this bill: %d entries, yours has %d", at, len(in.chain.Entries)))
	case chain.Forked:
		return in.fork(t, b, at)
	}
	// A bill in the hands of a user here goes on with our signature or not at all. The
	// law sees that in every chain but the empty one: before its first entry another
	// issuer can sign for the same document, and would take it from its holder.
	if b != nil && b.control == Held && in.chain.Entries[at].Signer != in.node.Domain() {
		return in.fork(t, b, at)
	}
	if b != nil {
		if built, err := in.onRejected(t, b, at); err != nil {
			return Reply{}, nil, err
		} else if built {
			return in.fork(t, b, at)
		}
	}
	if refusal := in.unexpected(b, open, at); refusal != nil {
		if refusal.Text == TextQuarantine {
			in.node.Stats.Quarantined.Add(1)
		}
		return in.answer(t, refusal)
	}
	taken, err := otherLive(t.ctx, t, in.block.Reference, in.chain.Document)
	if err != nil {
		return Reply{}, nil, err
	}
	if taken {
		return in.reject(t, refuse(BENV, TextReferenceInUse, "another live bill here has this carrier's reference"))
	}
	return in.accept(t, b, open)
}

// relation compares the chain offered with what we know of the bill: its entries, and as
// our head an outgoing envelope that has no verdict (wire document, section 7). at is where
// they part, or how long ours is where the other is not longer.
func (in *incoming) relation(t *tx, b *bill) (open *transfer, rel chain.Relation, at int, err error) {
	if b == nil {
		rel, at = chain.Compare(nil, in.chain.Hashes())
		return nil, rel, at, nil
	}
	if open, err = openTransfer(t.ctx, t, b.id); err != nil {
		return nil, 0, 0, err
	}
	length, head := b.state.Length, b.state.Head
	if open != nil {
		length, head = length+1, open.hash
	}
	// Each entry names the hash of the one before, which is verified: where the last entry
	// that we know is there, in its place, all before it are.
	if length > 0 && length < len(in.chain.Entries) && in.chain.Entries[length-1].Hash == head {
		return open, chain.Extends, length, nil
	}
	rows, err := loadEntries(t.ctx, t, b.id)
	if err != nil {
		return nil, 0, 0, err
	}
	known := make([]envelope.Hash, 0, len(rows)+1)
	for _, r := range rows {
		known = append(known, r.hash)
	}
	if open != nil {
		known = append(known, open.hash)
	}
	if rel, at = chain.Compare(known, in.chain.Hashes()); rel == chain.Same || rel == chain.Behind {
		at = len(known)
	}
	return open, rel, at, nil
}

// transferee is check 11. The refusal is nil if the bill may go to the party named.
func (in *incoming) transferee(t *tx, b *bill) (*Error, error) {
	n := in.node
	last := in.block.Last().Payload.Transactions
	wire := last[len(last)-1]
	place := func(e *Error) *Error {
		e.Entry, e.Transaction = len(in.block.Entries)-1, len(last)-1
		e.Path = fmt.Sprintf("$."+in.block.Field+"[%d].signature.payload.transactions[%d].transferee", e.Entry, e.Transaction)
		return e
	}
	id := wire.Transferee.ID
	if !n.isSelf(id.Host) {
		return place(refuse(BENV, TextNotForUs, "the last transferee is at %s; this is %s", id.Host, n.Domain())), nil
	}
	u, err := loadUser(t.ctx, t, id.Local)
	if err != nil {
		return nil, err
	}
	if u == nil || u.Disabled || !u.holds() || !u.accepts(wire.Transferee, n.cfg.RequirePartyMatch) {
		// One answer for unknown, disabled and contradicted: who is our user is nobody's business.
		return place(refuse(BENV, TextTransferee, "the transferee is not a user here to whom this bill can be given")), nil
	}
	if in.chain.State.Status.Pending() && b != nil && in.chain.State.Possessor != b.state.Issuer {
		return place(refuse(BENV, TextNotTheIssuer, "a bill is returned to the very user that issued it")), nil
	}
	return nil, nil
}

// onRejected reports whether the chain goes on after an envelope of ours that its
// addressee rejected: the bill came back to us by that rejection, so this is another
// chain than ours, and the addressee has signed both a no and what follows a yes.
func (in *incoming) onRejected(t *tx, b *bill, at int) (bool, error) {
	if at >= len(in.chain.Entries) || in.chain.Entries[at].Signer != in.node.Domain() {
		return false, nil
	}
	hash := in.chain.Entries[at].Hash
	var found int
	err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM transfers WHERE bill = ? AND envelope_hash = ? AND state = 'rejected'", b.id, hash[:]).Scan(&found)
	return found > 0, err
}

// unexpected finds what a chain that extends ours must not hold. None of it is the
// sender's fault beyond doubt, so it is not a fork and nothing is signed.
func (in *incoming) unexpected(b *bill, open *transfer, at int) *Error {
	n := in.node
	if b != nil && b.control == Voided {
		return &Error{Code: BENV, Text: string(chain.Unlawful) + "/" + string(chain.BillVoid), Detail: "the carrier's verdict has made this bill void; nothing follows", Entry: at, Transaction: -1}
	}
	if open != nil && open.state != Sending {
		e := refuse(Unavailable, TextQuarantine, "this bill is frozen here until its dispute is resolved")
		e.Retry = 3600
		return e
	}
	for i := at; i < len(in.chain.Entries); i++ {
		if in.chain.Entries[i].Signer != n.Domain() {
			continue
		}
		// Our signature on what we have no record of: our database is older than it
		// should be, or our key is in other hands. Either way, touch nothing.
		n.log.Error("an entry carries our signature and is not in our records", "bill", in.chain.Document.String(), "peer", in.sender.String(), "head", in.chain.Entries[i].Hash.String())
		e := refuse(Unavailable, TextQuarantine, "entry %d carries our signature and is not in our records; an operator must look", i)
		e.Entry, e.Retry = i, 3600
		return e
	}
	return nil
}

// answer signs e if it is of a kind that is signed.
func (in *incoming) answer(t *tx, e *Error) (Reply, func(), error) {
	if _, signed := responseCode(e); signed {
		return in.reject(t, e)
	}
	return Reply{}, nil, e
}

// What is kept of other chains of one bill that one peer offers: two of them always fit. Who
// signs thousands is proved guilty by the first, and would only make the rest unreadable, and
// every transaction that looks for them long.
const (
	branchEntries = 2000
	branchBytes   = 16 << 20
)

// fork keeps the other branch as proof and says DISE.
func (in *incoming) fork(t *tx, b *bill, at int) (Reply, func(), error) {
	n := in.node
	fresh, err := in.freshBranch(t, b, at)
	if err != nil {
		return Reply{}, nil, err
	}
	for _, br := range fresh {
		if err := t.exec("INSERT INTO branches (bill, idx, peer, jws, at) VALUES (?, ?, ?, ?, ?)", b.id, br.Index, in.sender.String(), br.JWS, millis(t.now)); err != nil {
			return Reply{}, nil, err
		}
	}
	in.branches = fresh
	if len(fresh) > 0 {
		t.event(BillForked, b.id, "", EventDetail{Peer: in.sender.String()})
	}
	reply, after, err := in.reject(t, refuse(DISE, TextForked, "from entry %d on this is another chain than the one we know", at))
	if err != nil {
		return Reply{}, nil, err
	}
	return reply, func() {
		after()
		n.Stats.Forks.Add(1)
		n.log.Warn("a forked chain was offered", "bill", b.state.Document.String(), "peer", in.sender.String(), "entry", at)
	}, nil
}

// freshBranch are the entries from at on that are not kept; none where they would pass what is
// kept of this peer.
func (in *incoming) freshBranch(t *tx, b *bill, at int) (fresh []branch, err error) {
	kept := map[int]bool{} // by place in the block
	count, size := 0, 0
	err = each(t.ctx, t, "SELECT idx, peer, jws FROM branches WHERE bill = ?", []any{b.id}, func(scan func(...any) error) error {
		var idx int
		var peer string
		var jws sql.RawBytes
		if err := scan(&idx, &peer, &jws); err != nil {
			return err
		}
		if idx >= at && idx < len(in.block.Entries) && in.block.Entries[idx].JWS.Raw == string(jws) {
			kept[idx] = true
		}
		if peer == in.sender.String() {
			count, size = count+1, size+len(jws)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := at; i < len(in.block.Entries); i++ {
		if jws := in.block.Entries[i].JWS.Raw; !kept[i] {
			fresh = append(fresh, branch{i, jws})
			count, size = count+1, size+len(jws)
		}
	}
	if count > branchEntries || size > branchBytes {
		return nil, nil
	}
	return fresh, nil
}

// accept is check 13: control moves here. Everything that justifies it is stored in this
// transaction, the receipt too; a receipt is signed once.
func (in *incoming) accept(t *tx, b *bill, open *transfer) (Reply, func(), error) {
	n := in.node
	if in.receipt == "" && !n.takeVerdict(in.sender) {
		return Reply{}, nil, tooManyVerdicts()
	}
	from, fresh := 0, b == nil
	if fresh {
		b = &bill{state: in.chain.State, control: Held, document: in.block.Document, reference: in.block.Reference}
		if err := t.insertBill(b, n.Domain()); err != nil {
			return Reply{}, nil, err
		}
	} else {
		if open != nil {
			// The chain goes on after our envelope with an entry that its addressee
			// signed: it was accepted, though its receipt never came.
			if err := n.settleAccepted(t, b, open, "", "chain"); err != nil {
				return Reply{}, nil, err
			}
		}
		from = b.state.Length
		issuer := b.state.Issuer
		b.state, b.control = in.chain.State, Held
		b.state.Issuer = issuer
		if err := t.saveBill(b, n.Domain()); err != nil {
			return Reply{}, nil, err
		}
	}
	// The worst possible mistake, looked for once more where it would be made.
	if b.state.Possessor.Host != n.Domain() || b.state.Status == chain.Void {
		return Reply{}, nil, fmt.Errorf("accepting %s for %s: not ours to hold", b.state.Document, b.state.Possessor)
	}
	if err := in.storeEntries(t, b, from); err != nil {
		return Reply{}, nil, err
	}
	// crashpoint: r5
	if err := t.addParty(b.id, b.state.Possessor.Local); err != nil {
		return Reply{}, nil, err
	}
	receipt, err := in.sign(t)
	if err != nil {
		return Reply{}, nil, err
	}
	// crashpoint: r6
	hash := in.hash()
	if err := t.exec("INSERT INTO receipts (id, bill, idx, envelope_hash, peer, request_sum, receipt, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		b.id*maxEntries+int64(b.state.Length-1), b.id, b.state.Length-1, hash[:], in.sender.String(), in.sum[:], receipt, millis(t.now)); err != nil {
		return Reply{}, nil, err
	}
	if !fresh {
		if err := t.exec("DELETE FROM verdict_polls WHERE bill = ?", b.id); err != nil {
			return Reply{}, nil, err
		}
	}
	if err := in.decided(t); err != nil {
		return Reply{}, nil, err
	}
	t.event(BillReceived, b.id, "", EventDetail{Peer: in.sender.String()})
	if err := t.witness(record{kind: recordAccepted, document: b.state.Document, head: hash, peer: in.sender.String(), jws: receipt, data: in.again(b.id, from, fresh)}); err != nil {
		return Reply{}, nil, err
	}
	if err := t.audit(in.sender.String(), "transfer.accept", b.state.Document, hash.String()+" for "+b.state.Possessor.Local+" request "+in.sum.String()); err != nil {
		return Reply{}, nil, err
	}
	return Reply{Receipt: receipt}, func() {
		n.Stats.Accepted.Add(1)
		n.verified.keep(in.block, in.chain)
		if open != nil {
			n.Stats.SentAccepted.Add(1)
			n.watchers.notify(open.id)
		}
	}, nil
}

// sign makes the receipt; once.
func (in *incoming) sign(t *tx) (string, error) {
	if in.receipt != "" {
		return in.receipt, nil
	}
	signer, err := in.node.signer(t.now)
	if err != nil {
		return "", err
	}
	return envelope.SignReceipt(in.block.Last().Claimed, signer, t.now)
}

func (in *incoming) storeEntries(t *tx, b *bill, from int) error {
	if from > 0 { // its document may have been deleted when its time was over, and now it is back
		if err := t.keepDocument(b.id, in.block.Document); err != nil {
			return err
		}
	}
	rows := make([]row, 0, len(in.chain.Entries)-from)
	for i := from; i < len(in.chain.Entries); i++ {
		e := in.chain.Entries[i]
		p, found := in.node.Trust().Find(e.Signer)
		if !found {
			return fmt.Errorf("the trust entry of %s went away", e.Signer)
		}
		if err := t.insertKey(e.Key, p); err != nil {
			return err
		}
		rows = append(rows, row{
			hash: e.Hash, claimed: e.Claimed, jws: in.block.Entries[i].JWS.Raw,
			signer: e.Signer.String(), key: t.store.thumbprint(e.Key), signedAt: millis(e.SignedAt),
		})
		if err := t.insertEvidence(b.id, in.block.Entries[i].JWS.Raw, e.Evidence); err != nil {
			return err
		}
	}
	return t.insertEntries(b.id, from, rows)
}
