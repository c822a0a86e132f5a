package node

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"eblnode/envelope"
	"eblnode/identity"
)

// A TransferState is where a transfer to another platform is.
type TransferState string

// The states. Prepared has not left and locks the bill; Sending is in doubt until a
// signed verdict comes, however long that takes; Disputed waits for two operators.
const (
	Prepared  TransferState = "prepared"
	Sending   TransferState = "sending"
	Accepted  TransferState = "accepted"
	Rejected  TransferState = "rejected"
	DisputedT TransferState = "disputed"
	Cancelled TransferState = "cancelled"
)

// A transfer is a row of the outbox.
type transfer struct {
	seq         int64
	id          string
	bill        int64
	user        string
	peer        identity.Host
	transferee  string
	instruction string
	state       TransferState
	idx         int // index of the envelope in the chain
	steps       int // how many steps it seals
	hash        envelope.Hash
	jws         string
	bodySum     envelope.Hash
	createdAt   int64
	sentAt      sql.NullInt64
	attempts    int
	nextAt      int64
	lastAt      sql.NullInt64
	lastAnswer  string
	verdict     sql.NullString
	settledBy   sql.NullString
	settledAt   sql.NullInt64

	tried int64  // when the attempt under way began
	said  string // the peer's words beside a signed answer
	place string // where the attempt went; "" where it did not leave
	// evidence is what the signed answer was believed by; nil if the key alone.
	evidence *identity.Evidence
	// standing is what our own authority said of the key that signed the envelope; nil if
	// nobody had to be asked, or nobody answered.
	standing *identity.Evidence

	confirmed string // the outcome that two operators confirmed; read by fsck alone
}

const transferColumns = `seq, id, bill, user, peer, transferee, instruction, state, idx, steps, envelope_hash, jws, body_sum,
  created_at, sent_at, attempts, next_at, last_at, last_answer, verdict, settled_by, settled_at`

func scanTransfer(row interface{ Scan(...any) error }) (*transfer, error) {
	x := &transfer{}
	var peer string
	err := row.Scan(&x.seq, &x.id, &x.bill, &x.user, &peer, &x.transferee, &x.instruction, &x.state, &x.idx, &x.steps,
		sqlHash{&x.hash}, &x.jws, sqlHash{&x.bodySum}, &x.createdAt, &x.sentAt, &x.attempts, &x.nextAt, &x.lastAt,
		&x.lastAnswer, &x.verdict, &x.settledBy, &x.settledAt)
	if err != nil {
		return nil, err
	}
	x.peer, err = identity.ParseHost(peer)
	return x, err
}

// openTransfer is the transfer that locks the bill; nil if there is none.
func openTransfer(ctx context.Context, q querier, bill int64) (*transfer, error) {
	x, err := scanTransfer(q.QueryRowContext(ctx, "SELECT "+transferColumns+
		" FROM transfers WHERE bill = ? AND state IN ('prepared', 'sending', 'disputed')", bill))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return x, err
}

// loadTransfer is nil without an error where there is none.
func loadTransfer(ctx context.Context, q querier, id string) (*transfer, error) {
	x, err := scanTransfer(q.QueryRowContext(ctx, "SELECT "+transferColumns+" FROM transfers WHERE id = ?", id))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return x, err
}

func (t *tx) insertTransfer(x *transfer) error {
	return t.exec(`INSERT INTO transfers (id, bill, user, peer, transferee, instruction, state, idx, steps, envelope_hash, jws, body_sum, created_at, next_at)
	  VALUES (?, ?, ?, ?, ?, ?, 'prepared', ?, ?, ?, ?, ?, ?, ?)`,
		x.id, x.bill, x.user, x.peer.String(), x.transferee, x.instruction, x.idx, x.steps, x.hash[:], x.jws, x.bodySum[:],
		millis(t.now), millis(t.now))
}

// lastRejected is the time of the newest envelope for the next place of b's chain that
// was rejected. The next one must be later: were it the same again, to the byte, as it
// can be while a clock stands, it would stay rejected for ever.
func (t *tx) lastRejected(b *bill) (time.Time, error) {
	x, err := scanTransfer(t.QueryRowContext(t.ctx, "SELECT "+transferColumns+
		" FROM transfers WHERE bill = ? AND idx = ? AND state = 'rejected' ORDER BY seq DESC LIMIT 1", b.id, b.state.Length))
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, err
	}
	e, err := x.entry()
	if err != nil {
		return time.Time{}, err
	}
	return e.Payload.SignedAt(), nil
}

// settle ends a transfer that is being sent. It fails with errMoved if that has an end
// already, so that a late answer changes nothing.
func (t *tx) settle(x *transfer, state TransferState, verdict, by string) error {
	var v any
	if verdict != "" {
		v = verdict
	}
	answered := 1
	if by == "chain" {
		answered = 0
	}
	if answered == 1 {
		if err := t.keepAttempt(x, cmp.Or(x.said, by)); err != nil {
			return err
		}
	}
	if verdict != "" {
		if err := t.insertEvidence(x.bill, verdict, x.evidence); err != nil {
			return err
		}
		if err := t.insertEvidence(x.bill, x.jws, x.standing); err != nil {
			return err
		}
	}
	return t.execOne(`UPDATE transfers SET state = ?, verdict = ?, settled_by = ?, settled_at = ?, attempts = attempts + ?,
	    last_at = CASE ? WHEN 1 THEN ? ELSE last_at END WHERE seq = ? AND state = 'sending'`,
		string(state), v, by, millis(t.now), answered, answered, millis(t.now), x.seq)
}

// entry parses the sealed envelope again: it was parsed when it was made.
func (x *transfer) entry() (envelope.Entry, error) {
	return envelope.ParseEntry(x.jws, anyLength)
}

// settleAccepted makes an outgoing envelope part of the chain: the addressee has it.
// receipt is empty where a chain that came home proves it.
func (n *Node) settleAccepted(t *tx, b *bill, x *transfer, receipt, by string) error {
	if err := t.settle(x, Accepted, receipt, by); err != nil {
		return err
	}
	return n.join(t, b, x, by)
}

// join puts the envelope of a transfer at the end of the chain.
func (n *Node) join(t *tx, b *bill, x *transfer, by string) error {
	e, err := x.entry()
	if err != nil {
		return err
	}
	if err := t.exec("UPDATE steps SET sealed = ? WHERE id >= ? AND id < ? AND sealed IS NULL",
		x.idx, b.id*maxEntries, (b.id+1)*maxEntries); err != nil {
		return err
	}
	self := n.Self()
	key, found := self.Key(e.JWS.Header.Kid)
	if !found {
		return fmt.Errorf("our own envelope %s names the key %q, which is not ours", x.hash, e.JWS.Header.Kid)
	}
	if err := t.insertKey(key, self); err != nil {
		return err
	}
	if err := t.insertEntry(b.id, x.idx, row{hash: x.hash, claimed: e.Claimed, jws: x.jws, signer: n.Domain().String(),
		key: key.Thumbprint(), signedAt: millis(e.Payload.SignedAt())}); err != nil {
		return err
	}
	next, err := n.after(b, e)
	if err != nil {
		return err
	}
	next.Head, next.Length = x.hash, x.idx+1
	b.state, b.control = next, Away
	if err := t.saveBill(b, n.Domain()); err != nil {
		return err
	}
	if next.Status.Pending() && next.Issuing != n.Domain() {
		if err := t.exec("INSERT OR REPLACE INTO verdict_polls (bill, attempts, next_at) VALUES (?, 0, ?)", b.id, millis(t.now)); err != nil {
			return err
		}
	}
	t.event(TransferAccepted, b.id, x.id, EventDetail{})
	return t.audit(n.Domain().String(), "transfer.accepted", b.state.Document, x.hash.String()+" by "+x.peer.String()+" ("+by+")")
}

func (t *tx) recordAttempt(x *transfer, answer string, next time.Time) error {
	if err := t.keepAttempt(x, answer); err != nil {
		return err
	}
	return t.exec("UPDATE transfers SET attempts = attempts + 1, last_at = ?, last_answer = ?, next_at = ? WHERE seq = ? AND state = 'sending'",
		millis(t.now), answer, millis(next), x.seq)
}

// maxAnswer is how much of a peer's words we keep, in characters.
const maxAnswer = 500

// clip makes a peer's words fit to be stored and shown: bounded, valid, and without
// control characters, which would reach a terminal.
func clip(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), 4*maxAnswer)], "")
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if r := []rune(s); len(r) > maxAnswer {
		return string(r[:maxAnswer]) + "…"
	}
	return s
}
