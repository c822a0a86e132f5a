package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// The bounds of the list of blocks refused without a signature: the newest, in all and
// of one peer, so that no peer can push out what another one sent.
const (
	refusedMost      = 1000
	refusedPeerMost  = 250
	refusedBytes     = 64 << 20
	refusedPeerBytes = 16 << 20
)

// A Refused is a block that was refused without a signature: its sender waits.
type Refused struct {
	Request  envelope.Hash // names it
	Peer     identity.Host // who sent it
	Envelope envelope.Hash // zero where the block could not be read
	Document envelope.Hash // as its newest entry claims; zero where it could not be read
	Refusal  *Error        // why, and what is missing
	Size     int           // bytes
	Times    int
	FirstAt  time.Time
	LastAt   time.Time
	Proposal *Proposal // to reject it, open; nil if none
}

// keepRefused stores a block that was refused without a signature, so that operators see
// who waits for what. Trouble of our own, and a peer's flood, are not kept.
func (n *Node) keepRefused(ctx context.Context, r Request, block *envelope.Transferblock, refusal *Error) {
	switch {
	case refusal.Code == Malformed || refusal.Code == TooLarge || refusal.Text == TextQuarantine:
	case refusal.Code == Forbidden && refusal.Text != TextUnknownPeer:
	default:
		return
	}
	if !n.kept.take(r.Sender.String(), n.cfg.VerdictsPerHour, n.cfg.Now()) {
		return
	}
	err := n.store.update(ctx, func(t *tx) error {
		// Operators may have decided while these bytes were judged: who has an answer waits for nothing.
		if block != nil {
			if answered, err := t.answered(r.Sender, block); err != nil || answered {
				return err
			}
		}
		return t.insertRefused(r, block, refusal)
	})
	if err != nil {
		n.log.ErrorContext(ctx, "keeping a refused block failed", "peer", r.Sender.String(), "err", err)
	}
}

// answered tells whether these bytes have our receipt or our signed rejection.
func (t *tx) answered(peer identity.Host, block *envelope.Transferblock) (yes bool, err error) {
	last, sum := block.Last(), block.RequestSum()
	hash, document := last.Hash(), last.Payload.DocumentHash
	err = t.QueryRowContext(t.ctx, `SELECT EXISTS (SELECT 1 FROM rejections WHERE envelope_hash = ?1 AND request_sum = ?2 AND peer = ?3)
	  OR EXISTS (SELECT 1 FROM bills b JOIN receipts r ON r.id >= b.id * 1048576 AND r.id < (b.id + 1) * 1048576
	    WHERE b.document_hash = ?4 AND r.envelope_hash = ?1 AND r.request_sum = ?2 AND r.peer = ?3)`, hash[:], sum[:], peer.String(), document[:]).Scan(&yes)
	return yes, err
}

func (t *tx) insertRefused(r Request, block *envelope.Transferblock, refusal *Error) error {
	text, err := json.Marshal(storedRefusal{refusal.Code, refusal.Text, refusal.Detail, refusal.Path, refusal.Entry, refusal.Transaction, "", millis(t.now)})
	if err != nil {
		return err
	}
	t.store.noRefused = false
	sum, hash, document, body := envelope.HashOf(r.Body), envelope.Hash{}, envelope.Hash{}, []byte{}
	if block != nil {
		// What cannot be read cannot be rejected, and its bytes are of no use.
		sum, hash, document, body = block.RequestSum(), block.Last().Hash(), block.Last().Payload.DocumentHash, r.Body
	}
	if err := t.exec(`INSERT INTO refused (peer, request_sum, envelope_hash, document_hash, refusal, body, size, times, first_at, last_at)
	  VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?, ?)
	  ON CONFLICT (peer, request_sum) DO UPDATE SET refusal = excluded.refusal, times = times + 1, last_at = excluded.last_at`,
		r.Sender.String(), sum[:], hash[:], document[:], string(text), body, len(r.Body), millis(t.now), millis(t.now)); err != nil {
		return err
	}
	for _, bound := range []struct {
		where string
		args  []any
		most  int
		bytes int
	}{{"WHERE peer = ?", []any{r.Sender.String()}, refusedPeerMost, refusedPeerBytes}, {"", nil, refusedMost, refusedBytes}} {
		if err := t.exec(`DELETE FROM refused WHERE id IN (SELECT id FROM
		  (SELECT id, row_number() OVER newest AS place, sum(length(body)) OVER newest AS bytes FROM refused `+bound.where+`
		    WINDOW newest AS (ORDER BY last_at DESC, id DESC ROWS UNBOUNDED PRECEDING))
		  WHERE place > ? OR bytes > ?)`, append(bound.args, bound.most, bound.bytes)...); err != nil {
			return err
		}
	}
	return nil
}

// decided takes a block off the list: its sender has a signed answer.
func (in *incoming) decided(t *tx) error {
	if t.store.noRefused {
		return nil
	}
	var any int
	if err := t.QueryRowContext(t.ctx, "SELECT EXISTS (SELECT 1 FROM refused)").Scan(&any); err != nil {
		return err
	}
	if t.store.noRefused = any == 0; t.store.noRefused {
		return nil
	}
	return t.exec("DELETE FROM refused WHERE peer = ? AND request_sum = ?", in.sender.String(), in.sum[:])
}

const refusedColumns = "request_sum, peer, envelope_hash, document_hash, refusal, size, times, first_at, last_at"

func scanRefused(row interface{ Scan(...any) error }) (*Refused, error) {
	v := &Refused{}
	var peer, refusal string
	var first, last int64
	err := row.Scan(sqlHash{&v.Request}, &peer, sqlHash{&v.Envelope}, sqlHash{&v.Document}, &refusal, &v.Size, &v.Times, &first, &last)
	if err != nil {
		return nil, err
	}
	var stored storedRefusal
	if err := json.Unmarshal([]byte(refusal), &stored); err != nil {
		return nil, err
	}
	v.Refusal, v.FirstAt, v.LastAt = stored.error(), fromMillis(first), fromMillis(last)
	v.Peer, err = identity.ParseHost(peer)
	return v, err
}

// Refused lists the blocks that were refused without a signature, the newest first, to
// operators and auditors.
func (n *Node) Refused(ctx context.Context, user *User) ([]Refused, error) {
	if user.Role != OperatorRole && user.Role != AuditorRole {
		return nil, operator(user)
	}
	rows, err := n.store.read.QueryContext(ctx, "SELECT "+refusedColumns+" FROM refused ORDER BY last_at DESC, id DESC")
	if err != nil {
		return nil, busy(err)
	}
	defer rows.Close()
	list := []Refused{}
	for rows.Next() {
		v, err := scanRefused(rows)
		if err != nil {
			return nil, busy(err)
		}
		list = append(list, *v)
	}
	if err := rows.Err(); err != nil {
		return nil, busy(err)
	}
	for i := range list {
		if list[i].Proposal, err = lastProposal(ctx, n.store.read, rejectKind, list[i].subject()); err != nil {
			return nil, busy(err)
		}
	}
	return list, nil
}

func (v *Refused) subject() string { return refusedSubject(v.Peer, v.Request) }

// refusedSubject is what proposals to reject a block are about.
func refusedSubject(peer identity.Host, request envelope.Hash) string {
	return peer.String() + " " + request.String()
}

// A RejectOrder is one operator's part in rejecting a block that was refused without a
// signature. Exactly one of Hash and Block is given.
type RejectOrder struct {
	// Hash is the request's or the envelope's in the list.
	Hash envelope.Hash
	// Block is a transferblock that came as a file; its sender is who signed its newest entry.
	Block  []byte
	Reason string // 1 to 1,000 characters
}

// RejectRefused is what two operators do for a sender whose bill waits for an answer
// that we cannot give: the first call proposes, and that of another operator signs and
// stores a final rejection of exactly those bytes, unless we accepted their envelope. The
// sender gets it on its next attempt and has its bill back. done is false after the
// first call.
func (n *Node) RejectRefused(ctx context.Context, user *User, o RejectOrder) (v *Refused, done bool, err error) {
	if e := operator(user); e != nil {
		return nil, false, e
	}
	if e := checkReason(o.Reason); e != nil {
		return nil, false, e
	}
	if len(o.Block) > 0 {
		if o.Hash, err = n.bring(ctx, o.Block); err != nil {
			return nil, false, err
		}
	}
	// Judged again before the transaction: a responder may have to be asked, and while the
	// writer waited for a network nothing here could move.
	v, in, err := n.loadRefused(ctx, n.store.read, o.Hash)
	if err != nil {
		return nil, false, orBusy(err)
	}
	refusal, err := in.final(ctx)
	if err != nil {
		return nil, false, orBusy(err)
	}
	err = n.store.update(ctx, func(t *tx) error {
		done, err = n.rejectRefusedIn(t, user, v, in, refusal, o.Reason)
		return err
	})
	if err != nil {
		return nil, false, orBusy(err)
	}
	return v, done, nil
}

// bring puts a block that came as a file on the list, if it is not there.
func (n *Node) bring(ctx context.Context, body []byte) (envelope.Hash, error) {
	block, err := envelope.Parse(body, n.cfg.Limits)
	if err != nil {
		return envelope.Hash{}, AsError(err)
	}
	p, found := n.Trust().Find(block.Last().Payload.Transactions[0].PlatformHost)
	if !found || n.isSelf(p.Domain) {
		return envelope.Hash{}, refuse(NotPossible, TextNotTrusted, "the newest entry of this block is not of a peer of ours")
	}
	sum := block.RequestSum()
	err = n.store.update(ctx, func(t *tx) error {
		var known int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM refused WHERE peer = ? AND request_sum = ?", p.Domain.String(), sum[:]).Scan(&known); err != nil || known > 0 {
			return err
		}
		return t.insertRefused(Request{Sender: p.Domain, Body: body}, block, refuse(Forbidden, TextByFile, "an operator brought this block as a file"))
	})
	if err != nil {
		return envelope.Hash{}, orBusy(err)
	}
	return sum, nil
}

// rejectRefusedIn is one operator's word on the block of in, as v lists it.
func (n *Node) rejectRefusedIn(t *tx, user *User, v *Refused, in *incoming, refusal *Error, reason string) (done bool, err error) {
	accepted, err := in.accepted(t)
	if err != nil {
		return false, err
	}
	if accepted != nil {
		return false, refuse(Conflict, TextAccepted, "this envelope was accepted; the sender gets its receipt on its next attempt")
	}
	if listed, err := t.listed(v); err != nil {
		return false, err
	} else if !listed {
		return false, noRefused() // another pair of operators was first, or it was pushed out
	}
	if err := t.free(v.Document); err != nil {
		return false, err
	}
	p, err := lastProposal(t.ctx, t, rejectKind, v.subject())
	if err != nil {
		return false, err
	}
	if p == nil || p.ConfirmedBy != "" {
		err = t.propose(user, rejectKind, v.subject(), Proposal{Outcome: "reject", Reason: reason})
		if err == nil {
			v.Proposal, err = lastProposal(t.ctx, t, rejectKind, v.subject())
		}
		return false, err
	}
	if err := t.confirm(user, rejectKind, v.subject(), "reject", envelope.Hash{}); err != nil {
		return false, err
	}
	if in.decision, err = t.decided(rejectKind, v.subject()); err != nil {
		return false, err
	}
	if _, _, err := in.reject(t, refusal); err != nil {
		return false, err
	}
	v.Proposal, err = lastProposal(t.ctx, t, rejectKind, v.subject())
	return true, err
}

func (t *tx) listed(v *Refused) (yes bool, err error) {
	err = t.QueryRowContext(t.ctx, "SELECT EXISTS (SELECT 1 FROM refused WHERE peer = ? AND request_sum = ?)", v.Peer.String(), v.Request[:]).Scan(&yes)
	return yes, err
}

func noRefused() *Error {
	return refuse(NotFound, "notFound", "there is no such block on the list; see: eblnode incoming list")
}

// loadRefused finds a block on the list by either of its hashes.
func (n *Node) loadRefused(ctx context.Context, q querier, hash envelope.Hash) (*Refused, *incoming, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+refusedColumns+", body FROM refused WHERE (request_sum = ? OR envelope_hash = ?) AND length(body) > 0 LIMIT 2", hash[:], hash[:])
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var found *Refused
	var body []byte
	for rows.Next() {
		if found != nil {
			return nil, nil, refuse(Conflict, TextAmbiguous, "several blocks have this envelope; name one by its request hash")
		}
		if found, err = scanRefused(withBody{rows, &body}); err != nil {
			return nil, nil, err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, nil, err
	}
	if found == nil {
		return nil, nil, noRefused()
	}
	block, err := envelope.Parse(body, n.cfg.Limits)
	if err != nil {
		return nil, nil, AsError(err)
	}
	in := &incoming{node: n, sender: found.Peer, block: block, sum: block.RequestSum()}
	if in.sum != found.Request || in.hash() != found.Envelope {
		// Two operators decide about what they were shown, and nothing else.
		return nil, nil, refuse(Internal, "internalError", "the block on the list is not the one that came; run: eblnode fsck")
	}
	return found, in, nil
}

// withBody scans one column more.
type withBody struct {
	*sql.Rows
	body *[]byte
}

func (w withBody) Scan(to ...any) error { return w.Rows.Scan(append(to, w.body)...) }

// final is the rejection that fits a block (wire document, section 6): BENV, which holds
// for the envelope, only where the sender's signature is proved, else BSIG, which holds
// for these bytes alone. The block is judged again, with what we trust now.
func (in *incoming) final(ctx context.Context) (*Error, error) {
	code := BENV
	err := in.verify(ctx)
	if e, ok := errors.AsType[*Error](err); ok {
		switch {
		case e.Text == string(chain.SignerMismatch):
			return nil, refuse(NotPossible, TextNotItsOwn, "the newest entry is not of %s, which sent it: nothing of its waits for this", in.sender)
		case e.Code == Unavailable || e.Code == Internal:
			return nil, e
		case e.Entry == len(in.block.Entries)-1:
			code = BSIG
		}
	} else if err != nil {
		return nil, err
	}
	if in.refuse != nil {
		if in.refuse.Code == BSIG {
			code = BSIG
		}
	}
	return refuse(code, TextByOperators, "two operators of %s rejected this block, which it could not judge", in.node.Domain()), nil
}
