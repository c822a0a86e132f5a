package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// Check is the Peer's: sender is a peer of ours.
func (n *Node) Check(_ context.Context, sender identity.Host) error {
	_, err := n.peer(sender)
	return err
}

func (n *Node) peer(sender identity.Host) (*identity.Platform, error) {
	p, found := n.Trust().Find(sender)
	if !found || p.Domain != sender || n.isSelf(sender) {
		return nil, refuse(Forbidden, TextUnknownPeer, "%s is not a peer of %s; exchange trust entries first", sender, n.Domain())
	}
	return p, nil
}

// PutTransferblock receives a transferblock (wire document, section 5). The checks stand
// in the order of that section; the order is part of the protocol and of its safety.
//
// Checks 1 to 3 belong to whoever holds the connection. The verdict is on the disk
// before it is returned.
func (n *Node) PutTransferblock(ctx context.Context, r Request) (Reply, error) {
	if _, err := n.peer(r.Sender); err != nil {
		return Reply{}, err
	}
	block, err := envelope.ParseKnown(r.Body, n.cfg.Limits, n.verified.entry) // 4
	if err != nil {
		n.Stats.Refused.Add(1)
		n.keepRefused(ctx, r, nil, AsError(err))
		return Reply{}, AsError(err)
	}
	reply, err := n.judge(ctx, r, block)
	if e, ok := errors.AsType[*Error](err); ok {
		n.keepRefused(ctx, r, block, e)
	}
	return reply, err
}

// judge is checks 5 to 13.
func (n *Node) judge(ctx context.Context, r Request, block *envelope.Transferblock) (Reply, error) {
	// crashpoint: r3
	in := &incoming{node: n, sender: r.Sender, block: block, sum: block.RequestSum()}
	reply, err := in.repeat(ctx, n.store.read) // 5
	if err != nil {
		return Reply{}, busy(err)
	}
	if reply != nil {
		if err := n.store.settled(ctx); err != nil {
			return Reply{}, busy(err)
		}
		n.Stats.Repeated.Add(1)
		return *reply, nil
	}
	if err := in.verify(ctx); err != nil { // 6 to 10
		n.Stats.Refused.Add(1)
		return Reply{}, err
	}
	// crashpoint: r4
	return in.decide(ctx) // 11 to 13
}

// incoming is one transferblock on its way in.
type incoming struct {
	node   *Node
	sender identity.Host
	block  *envelope.Transferblock
	sum    envelope.Hash
	bill   int64 // the one that the newest envelope names, as last looked up; 0: none
	looked bool

	chain    *chain.Chain              // nil if refused
	refuse   *Error                    // a refusal from checks 7 to 10 whose envelope may have an answer; or nil
	stored   map[int]envelope.Known    // what the database has of older entries
	branches []branch                  // of a fork, stored as proof
	receipt  string                    // signed before, where the block is entered again from the witness
	kept     map[string]envelope.Known // by the JWS: what the witness kept, then too
}

// hash is who the newest entry is.
func (in *incoming) hash() envelope.Hash { return in.block.Last().Hash() }

// verify is checks 6 to 10. The error is a refusal of the newest entry that nothing is
// signed about; any other is kept for decide, which first looks whether that envelope has
// an answer already.
func (in *incoming) verify(ctx context.Context) error {
	if !in.looked {
		var err error
		if in.bill, err = in.billID(ctx, in.node.store.read); err != nil {
			return busy(err)
		}
	}
	known := knownRows{in: in, ctx: ctx}
	opts := chain.Options{
		Trust:  in.node.Trust(),
		Sender: in.sender,
		Now:    in.node.cfg.Now(),
		Known: func(i int, jws string) envelope.Known {
			if k, found := in.node.verified.known(jws); found {
				return k
			}
			if k, found := known.at(i, jws); found {
				return k
			}
			return in.kept[jws]
		},
	}
	free, done := in.node.cores.take()
	defer done()
	opts.Workers = free
	if in.receipt == "" { // else this is a transaction, and the network is never in one
		opts.Revocation = func(_ int, p *identity.Platform, k *identity.Key) (identity.Evidence, error) {
			return in.node.revocation(ctx, p, k)
		}
	}
	c, err := chain.Verify(in.block, opts)
	if known.err != nil {
		return busy(known.err)
	}
	if err == nil {
		in.chain, in.stored = c, known.used
		return nil
	}
	cerr, ok := errors.AsType[*chain.Error](err)
	if !ok {
		return err
	}
	refusal := refusalOf(cerr)
	refusal.Path = in.placed(refusal.Path)
	_, signed := responseCode(refusal)
	if !signed && cerr.Entry == len(in.block.Entries)-1 {
		return refusal // check 6 or 7: nothing is known of who asks this
	}
	in.refuse = refusal
	return nil
}

// placed names a place in the chain by the spelling that the block used.
func (in *incoming) placed(path string) string {
	return strings.Replace(path, "$.endorsementChain", "$."+in.block.Field, 1)
}

// billID is the bill that the newest envelope names; 0 where it is not known. The name is
// not verified yet: it only chooses what to compare with.
func (in *incoming) billID(ctx context.Context, q querier) (id int64, err error) {
	document := in.block.Last().Payload.DocumentHash
	err = q.QueryRowContext(ctx, "SELECT id FROM bills WHERE document_hash = ?", document[:]).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return id, err
}

// knownRows are the stored entries of that bill, as they are asked for.
type knownRows struct {
	in    *incoming
	ctx   context.Context
	asked int
	rows  []row
	used  map[int]envelope.Known // those that the block has too
	err   error
}

// fewRows is how many entries are read one by one: most are known without asking.
const fewRows = 3

// at is what the store holds of the entry at that place, if it is this one.
func (k *knownRows) at(i int, jws string) (known envelope.Known, found bool) {
	if k.in.bill == 0 || k.err != nil {
		return known, false
	}
	q := k.in.node.store.read
	var r row
	switch k.asked++; {
	case k.asked <= fewRows:
		if r, found, k.err = loadEntry(k.ctx, q, k.in.bill, i); !found {
			return known, false
		}
	case k.asked == fewRows+1:
		if k.rows, k.err = loadEntries(k.ctx, q, k.in.bill); k.err != nil {
			return known, false
		}
		fallthrough
	default:
		if i >= len(k.rows) {
			return known, false
		}
		r = k.rows[i]
	}
	if r.jws != jws {
		return known, false
	}
	if k.used == nil {
		k.used = map[int]envelope.Known{}
	}
	k.used[i] = r.knownOf()
	return k.used[i], true
}

// repeat is check 5: the same question from the same peer has the same answer, byte for
// byte and for ever.
func (in *incoming) repeat(ctx context.Context, q querier) (*Reply, error) {
	hash := in.hash()
	var receipt string
	var err error
	if in.bill, err = in.billID(ctx, q); err != nil {
		return nil, err
	}
	in.looked = true
	if in.bill == 0 { // what was accepted has a bill
		return in.rejection(ctx, q, "request_sum = ?", in.sum[:])
	}
	err = q.QueryRowContext(ctx, "SELECT receipt FROM receipts WHERE envelope_hash = ? AND peer = ? AND request_sum = ?",
		hash[:], in.sender.String(), in.sum[:]).Scan(&receipt)
	if err == nil {
		return &Reply{Receipt: receipt}, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	return in.rejection(ctx, q, "request_sum = ?", in.sum[:])
}

// decide is checks 11 to 13: one transaction that looks, decides, stores and signs.
func (in *incoming) decide(ctx context.Context) (Reply, error) {
	var reply Reply
	var after func()
	err := in.node.store.update(ctx, func(t *tx) (err error) {
		reply, after, err = in.decideIn(t)
		return err
	})
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			in.node.Stats.Refused.Add(1)
			return Reply{}, e
		}
		in.node.log.ErrorContext(ctx, "deciding a transfer failed", "peer", in.sender.String(), "head", in.hash().String(), "err", err)
		return Reply{}, busy(err)
	}
	if after != nil {
		after()
	}
	return reply, nil
}

func (in *incoming) decideIn(t *tx) (Reply, func(), error) {
	n := in.node
	accepted, err := in.accepted(t)
	if err != nil {
		return Reply{}, nil, err
	}
	if in.refuse != nil && in.refuse.Code == BSIG && accepted != nil {
		// These bytes are not the envelope we accepted, but a signed no over its
		// hash could be shown around as if they were. Say it unsigned.
		return Reply{}, nil, in.refuse
	}
	if accepted != nil {
		return *accepted, func() { n.Stats.Repeated.Add(1) }, nil
	}
	// Check 5 once more: the same question may have been answered since we looked, and
	// a second signed answer to it would be another one.
	asked, err := in.rejected(t)
	if err != nil {
		return Reply{}, nil, err
	}
	if asked {
		repeated, err := in.rejection(t.ctx, t, "request_sum = ?", in.sum[:])
		if err != nil {
			return Reply{}, nil, err
		}
		if repeated != nil {
			return *repeated, func() { n.Stats.Repeated.Add(1) }, nil
		}
	}
	// The witness may know of an answer to this envelope that this database does not.
	if err := t.free(in.block.Last().Payload.DocumentHash); err != nil {
		return Reply{}, nil, err
	}
	if in.refuse != nil && in.refuse.Code == BSIG {
		return in.reject(t, in.refuse)
	}
	// Whatever the rest of the block says now: an envelope rejected with BENV is never
	// accepted, nor are bytes rejected with BSIG, even if we learnt a key since. The
	// sender has its bill back.
	before, err := in.finallyRejected(t, asked)
	if err != nil {
		return Reply{}, nil, err
	}
	if before != nil {
		again := *before.Refusal
		return in.reject(t, &again)
	}
	if in.refuse != nil {
		return in.answer(t, in.refuse)
	}
	return in.compare(t)
}

// finallyRejected is a rejection that holds for whatever comes with this envelope.
func (in *incoming) finallyRejected(t *tx, asked bool) (*Reply, error) {
	if !asked {
		return nil, nil
	}
	sum := envelope.HashOf([]byte(in.block.Last().JWS.Raw))
	return in.rejection(t.ctx, t, "(code = 'BENV' OR code = 'BSIG' AND jws_sum = ?)", sum[:])
}

// rejected reports whether anything that this peer sent with this envelope was rejected.
func (in *incoming) rejected(t *tx) (bool, error) {
	hash := in.hash()
	var any bool
	err := t.QueryRowContext(t.ctx, "SELECT EXISTS (SELECT 1 FROM rejections WHERE envelope_hash = ? AND peer = ?)", hash[:], in.sender.String()).Scan(&any)
	return any, err
}

// accepted is the stored receipt of the newest envelope, if we accepted it.
func (in *incoming) accepted(t *tx) (*Reply, error) {
	hash := in.hash()
	var err error
	if in.bill, err = in.billID(t.ctx, t); err != nil || in.bill == 0 {
		return nil, err // what was accepted has a bill
	}
	var receipt, peer string
	err = t.QueryRowContext(t.ctx, "SELECT receipt, peer FROM receipts WHERE envelope_hash = ?", hash[:]).Scan(&receipt, &peer)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil, nil
	case err != nil:
		return nil, err
	case peer != in.sender.String():
		return nil, fmt.Errorf("envelope %s was accepted from %s and came from %s", hash, peer, in.sender)
	}
	return &Reply{Receipt: receipt}, nil
}

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

// fork keeps the other branch as proof and says DISE.
func (in *incoming) fork(t *tx, b *bill, at int) (Reply, func(), error) {
	n, fresh := in.node, false
	for i := at; i < len(in.block.Entries); i++ {
		jws := in.block.Entries[i].JWS.Raw
		var held int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM branches WHERE bill = ? AND idx = ? AND jws = ?", b.id, i, jws).Scan(&held); err != nil {
			return Reply{}, nil, err
		}
		if held > 0 {
			continue
		}
		if err := t.exec("INSERT INTO branches (bill, idx, peer, jws, at) VALUES (?, ?, ?, ?, ?)", b.id, i, in.sender.String(), jws, millis(t.now)); err != nil {
			return Reply{}, nil, err
		}
		in.branches = append(in.branches, branch{i, jws})
		fresh = true
	}
	if fresh {
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
	if err := t.exec("INSERT INTO receipts (envelope_hash, bill, idx, peer, request_sum, receipt, at) VALUES (?, ?, ?, ?, ?, ?, ?)",
		hash[:], b.id, b.state.Length-1, in.sender.String(), in.sum[:], receipt, millis(t.now)); err != nil {
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
		n.verified.keep(in, from, t.now)
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
