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
	block, before, err := n.verified.parse(r.Body, n.cfg.Limits, n.Trust()) // 4
	if err != nil {
		n.Stats.Refused.Add(1)
		n.keepRefused(ctx, r, nil, AsError(err))
		return Reply{}, AsError(err)
	}
	reply, err := n.judge(ctx, r, block, before)
	if errors.Is(err, errWhole) {
		if block, err = envelope.Parse(r.Body, n.cfg.Limits); err == nil { // as it was before
			reply, err = n.judge(ctx, r, block, nil)
		}
	}
	if e, ok := errors.AsType[*Error](err); ok {
		n.keepRefused(ctx, r, block, e)
	}
	return reply, err
}

// judge is checks 5 to 13. before stands for the entries of the block that were not read;
// with it the answer is a receipt, or what was answered before, or errWhole.
func (n *Node) judge(ctx context.Context, r Request, block *envelope.Transferblock, before *chain.Verified) (Reply, error) {
	// crashpoint: r3
	in := &incoming{node: n, sender: r.Sender, block: block, before: before, sum: block.RequestSum()}
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
	arrived := n.store.expect()
	defer arrived()
	in.arrived = arrived
	if err := in.verify(ctx); err != nil { // 6 to 10
		if in.before != nil {
			return Reply{}, errWhole
		}
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
	before *chain.Verified // of the first entries of the block; nil: all are judged here
	sum    envelope.Hash
	// As last looked up: the bill that the newest envelope names, 0 if none, and whether this
	// peer had a rejection of that envelope.
	bill     int64
	rejected bool
	looked   bool
	arrived  func() // to be called when the writer has it

	chain    *chain.Chain              // nil if refused
	refuse   *Error                    // a refusal from checks 7 to 10 whose envelope may have an answer; or nil
	branches []branch                  // of a fork, stored as proof
	decision *decision                 // of two operators to reject it; nil: nobody was asked
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
		Before: in.before,
		Sender: in.sender,
		Now:    in.node.cfg.Now(),
		Known: func(i int, jws string) envelope.Known {
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
		opts.Arriving = true
		opts.Revocation = func(_ int, p *identity.Platform, k *identity.Key) (identity.Evidence, error) {
			if in.arrived != nil {
				in.arrived() // the writer is not to wait for a network
			}
			return in.node.revocation(ctx, p, k)
		}
	}
	c, err := chain.Verify(in.block, opts)
	if known.err != nil {
		return busy(known.err)
	}
	if err == nil {
		in.chain = c
		return nil
	}
	cerr, ok := errors.AsType[*chain.Error](err)
	if !ok || in.before != nil {
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

// look finds the bill that the newest envelope names, and whether anything that this peer sent
// with that envelope was rejected: with one question, since neither mostly is.
func (in *incoming) look(ctx context.Context, q querier) error {
	document, hash := in.block.Last().Payload.DocumentHash, in.hash()
	return q.QueryRowContext(ctx, `SELECT coalesce((SELECT id FROM bills WHERE document_hash = ?), 0),
	    EXISTS (SELECT 1 FROM rejections WHERE envelope_hash = ? AND peer = ?)`, document[:], hash[:], in.sender.String()).Scan(&in.bill, &in.rejected)
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
	return r.knownOf(), true
}

// repeat is check 5: the same question from the same peer has the same answer, byte for
// byte and for ever.
func (in *incoming) repeat(ctx context.Context, q querier) (*Reply, error) {
	hash := in.hash()
	var receipt string
	var err error
	if err = in.look(ctx, q); err != nil {
		return nil, err
	}
	in.looked = true
	if in.bill == 0 { // what was accepted has a bill
		return in.asked(ctx, q)
	}
	err = q.QueryRowContext(ctx, "SELECT receipt FROM receipts WHERE id >= ? AND id < ? AND envelope_hash = ? AND peer = ? AND request_sum = ?",
		in.bill*maxEntries, (in.bill+1)*maxEntries, hash[:], in.sender.String(), in.sum[:]).Scan(&receipt)
	if err == nil {
		return &Reply{Receipt: receipt}, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	return in.asked(ctx, q)
}

// asked is the rejection that this very question had; nil if none.
func (in *incoming) asked(ctx context.Context, q querier) (*Reply, error) {
	if !in.rejected {
		return nil, nil
	}
	return in.rejection(ctx, q, "request_sum = ?", in.sum[:])
}

// decide is checks 11 to 13: one transaction that looks, decides, stores and signs.
func (in *incoming) decide(ctx context.Context) (Reply, error) {
	var reply Reply
	var after func()
	err := in.node.store.updateExpected(ctx, in.arrived, func(t *tx) (err error) {
		reply, after, err = in.decideIn(t)
		return err
	})
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if in.before != nil && (ok || errors.Is(err, errWhole)) {
			return Reply{}, errWhole
		}
		if ok {
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
	repeated, err := in.asked(t.ctx, t)
	if err != nil {
		return Reply{}, nil, err
	}
	if repeated != nil {
		return *repeated, func() { n.Stats.Repeated.Add(1) }, nil
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
	before, err := in.finallyRejected(t)
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
func (in *incoming) finallyRejected(t *tx) (*Reply, error) {
	if !in.rejected {
		return nil, nil
	}
	sum := envelope.HashOf([]byte(in.block.Last().JWS.Raw))
	return in.rejection(t.ctx, t, "(code = 'BENV' OR code = 'BSIG' AND jws_sum = ?)", sum[:])
}

// accepted is the stored receipt of the newest envelope, if we accepted it.
func (in *incoming) accepted(t *tx) (*Reply, error) {
	hash := in.hash()
	var err error
	if err = in.look(t.ctx, t); err != nil || in.bill == 0 {
		return nil, err // what was accepted has a bill
	}
	var receipt, peer string
	err = t.QueryRowContext(t.ctx, "SELECT receipt, peer FROM receipts WHERE id >= ? AND id < ? AND envelope_hash = ?",
		in.bill*maxEntries, (in.bill+1)*maxEntries, hash[:]).Scan(&receipt, &peer)
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
