package node

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// A BillView is what a user sees of a bill.
type BillView struct {
	Document  envelope.Hash
	Reference envelope.Reference
	ToOrder   bool
	Status    chain.Status
	Control   Control
	Issuing   identity.Host
	Issuer    string // localid@domain; "" where only the issuing platform knows
	Possessor string // "" once void
	Title     string // the endorsee; in v1 always the possessor
	Returned  string // who returned it, while a return is pending
	Head      envelope.Hash
	Length    int
	Steps     int // inside this platform since the head
	// Reason is a sentence for a person where the bill cannot be moved now.
	Reason string
	// Quarantine says why nothing about the bill changes until this database knows what
	// the witness knows; "" if it does. Control is then that of an older time.
	Quarantine string
	Transfer   *TransferView // the open transfer, else the last one; nil if none
	Verdict    string        // the carrier's, once there is one
	Issued     time.Time
	Changed    time.Time
}

// A TransferView is what a user sees of a transfer to another platform.
type TransferView struct {
	ID          string
	Document    envelope.Hash
	State       TransferState
	InDoubt     bool // sent, and no signed answer yet
	Instruction string
	Peer        identity.Host
	Transferee  string // JSON, as ordered
	Envelope    envelope.Hash
	CreatedAt   time.Time
	SentAt      time.Time // zero: not yet
	Attempts    int
	Proposal    *Proposal // of operators to resolve it; nil if none, and for users
	History     []Attempt // the newest of them, oldest first; not in a list of bills
	LastAt      time.Time
	LastAnswer  string
	NextAt      time.Time // zero once settled
	Verdict     string    // the receipt or rejection that settled it
	SettledBy   string    // receipt, rejection or chain
	SettledAt   time.Time

	seq int64
}

// sees: a user sees the bills it controls, controlled or issued; an auditor all.
func (n *Node) sees(ctx context.Context, q querier, u *User, b *bill) (bool, error) {
	if u.Role == AuditorRole {
		return true, nil
	}
	var found int
	err := q.QueryRowContext(ctx, "SELECT count(*) FROM parties WHERE bill = ? AND local_id = ?", b.id, u.Local).Scan(&found)
	return found > 0, err
}

// Bills lists the bills that u may see, newest first, from before the given id (0: from
// the newest), limit at most. next is 0 at the end.
func (n *Node) Bills(ctx context.Context, u *User, before int64, limit int) (list []BillView, next int64, err error) {
	if before <= 0 {
		before = 1 << 62
	}
	query, args := "SELECT id FROM bills WHERE id < ? ORDER BY id DESC LIMIT ?", []any{before, limit + 1}
	if u.Role != AuditorRole {
		query = "SELECT bill FROM parties WHERE local_id = ? AND bill < ? ORDER BY bill DESC LIMIT ?"
		args = []any{u.Local, before, limit + 1}
	}
	rows, err := n.store.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, 0, busy(err)
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, 0, busy(err)
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return nil, 0, busy(err)
	}
	if len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	list = []BillView{}
	for _, id := range ids {
		b, err := loadBillByID(ctx, n.store.read, id)
		if err != nil {
			return nil, 0, busy(err)
		}
		v, err := n.view(ctx, b)
		if err != nil {
			return nil, 0, busy(err)
		}
		list = append(list, *v)
	}
	return list, next, nil
}

// Bill shows one bill; NotFound for a bill that u may not see.
func (n *Node) Bill(ctx context.Context, u *User, document envelope.Hash) (*BillView, error) {
	b, err := n.visible(ctx, u, document)
	if err != nil {
		return nil, err
	}
	v, err := n.view(ctx, b)
	if err == nil && v.Transfer != nil {
		v.Transfer.History, err = attempts(ctx, n.store.read, v.Transfer.seq)
	}
	if err != nil {
		return nil, busy(err)
	}
	return v, nil
}

func (n *Node) visible(ctx context.Context, u *User, document envelope.Hash) (*bill, error) {
	b, err := loadBill(ctx, n.store.read, document)
	if err != nil {
		return nil, busy(err)
	}
	if b == nil {
		return nil, noBill()
	}
	ok, err := n.sees(ctx, n.store.read, u, b)
	if err != nil {
		return nil, busy(err)
	}
	if !ok {
		return nil, noBill()
	}
	return b, nil
}

func (n *Node) view(ctx context.Context, b *bill) (*BillView, error) {
	q := n.store.read
	v := &BillView{Document: b.state.Document, Reference: b.reference, ToOrder: b.state.ToOrder, Status: b.state.Status, Control: b.control,
		Issuing: b.state.Issuing, Issuer: text(b.state.Issuer), Possessor: text(b.state.Possessor), Title: text(b.state.Endorsee), Returned: text(b.state.ReturnedBy),
		Head: b.state.Head, Length: b.state.Length}
	var created, changed int64
	err := q.QueryRowContext(ctx, `SELECT created_at, changed_at,
	  (SELECT count(*) FROM steps WHERE id >= bills.id * 1048576 AND id < (bills.id + 1) * 1048576 AND sealed IS NULL),
	  coalesce((SELECT verdict FROM verdicts WHERE bill = bills.id), '') FROM bills WHERE id = ?`, b.id).Scan(&created, &changed, &v.Steps, &v.Verdict)
	if err != nil {
		return nil, err
	}
	v.Issued, v.Changed = fromMillis(created), fromMillis(changed)
	x, err := scanTransfer(q.QueryRowContext(ctx, "SELECT "+transferColumns+" FROM transfers WHERE bill = ? ORDER BY seq DESC LIMIT 1", b.id))
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if err == nil {
		v.Transfer = viewTransfer(x, b.state.Document)
	}
	v.Reason = reason(v)
	if v.Quarantine, err = n.quarantine(ctx, n.store.read, b.state.Document); err != nil {
		return nil, err
	}
	if v.Quarantine != "" {
		v.Reason = v.Quarantine
	}
	return v, nil
}

// reason says why a bill cannot be moved now, and what would change that.
func reason(v *BillView) string {
	x := v.Transfer
	switch {
	case v.Control == Locked && x != nil && x.State == Prepared:
		return "locked: a transfer to " + x.Peer.String() + " is about to be sent"
	case v.Control == Locked && x != nil:
		last := x.LastAnswer
		if last == "" {
			last = "none yet"
		}
		return "locked until " + x.Peer.String() + " answers with its signature; last answer: " + last
	case v.Control == Disputed && x != nil:
		return "disputed: " + x.Peer.String() + " says " + x.LastAnswer + "; two operators must resolve it with evidence"
	case v.Control == Away:
		return "with " + v.Possessor
	case v.Control == Voided:
		return "void: the carrier honoured its return"
	}
	return ""
}

func viewTransfer(x *transfer, document envelope.Hash) *TransferView {
	v := &TransferView{ID: x.id, Document: document, State: x.state, InDoubt: x.state == Sending, Instruction: x.instruction, Peer: x.peer,
		Transferee: x.transferee, Envelope: x.hash, CreatedAt: fromMillis(x.createdAt), Attempts: x.attempts, LastAnswer: x.lastAnswer,
		Verdict: x.verdict.String, SettledBy: x.settledBy.String, seq: x.seq}
	for _, f := range []struct {
		from sql.NullInt64
		to   *time.Time
	}{{x.sentAt, &v.SentAt}, {x.lastAt, &v.LastAt}, {x.settledAt, &v.SettledAt}} {
		if f.from.Valid {
			*f.to = fromMillis(f.from.Int64)
		}
	}
	if x.state == Prepared || x.state == Sending {
		v.NextAt = fromMillis(x.nextAt)
	}
	return v
}

// Transfer shows a transfer of a bill that u may see.
func (n *Node) Transfer(ctx context.Context, u *User, id string) (*TransferView, error) {
	x, err := loadTransfer(ctx, n.store.read, id)
	if err != nil {
		return nil, busy(err)
	}
	if x == nil {
		return nil, refuse(NotFound, "notFound", "there is no such transfer among those you may see")
	}
	b, err := loadBillByID(ctx, n.store.read, x.bill)
	if err != nil {
		return nil, busy(err)
	}
	ok, err := n.sees(ctx, n.store.read, u, b)
	if err != nil {
		return nil, busy(err)
	}
	if !ok {
		return nil, refuse(NotFound, "notFound", "there is no such transfer among those you may see")
	}
	v := viewTransfer(x, b.state.Document)
	if v.History, err = attempts(ctx, n.store.read, x.seq); err != nil {
		return nil, busy(err)
	}
	return v, nil
}

// Await returns once the transfer is settled, or ctx is done; then it is as it is.
func (n *Node) Await(ctx context.Context, u *User, id string) (*TransferView, error) {
	// Who settled it may not know that it did: see store.update.
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	for {
		settled, stop := n.watchers.watch(id) // before looking, so that nothing is missed
		v, err := n.Transfer(context.WithoutCancel(ctx), u, id)
		if err != nil || v.State != Prepared && v.State != Sending || ctx.Err() != nil {
			stop()
			return v, err
		}
		select {
		case <-settled:
		case <-again.C:
		case <-ctx.Done():
		}
		stop()
	}
}

// Block is the transferblock of a bill as it stands: document and chain, byte for byte as
// they were received and sealed. Steps since the head are not in it.
func (n *Node) Block(ctx context.Context, u *User, document envelope.Hash) ([]byte, error) {
	b, err := n.visible(ctx, u, document)
	if err != nil {
		return nil, err
	}
	rows, err := loadEntries(ctx, n.store.read, b.id)
	if err != nil {
		return nil, busy(err)
	}
	if len(rows) == 0 {
		return nil, refuse(NotFound, "notFound", "this bill has not left the platform yet: it has no chain")
	}
	if err := b.loadDocument(ctx, n.store.read); err != nil {
		return nil, busy(err)
	}
	if len(b.document) == 0 {
		return nil, documentGone()
	}
	block := &envelope.Transferblock{Document: b.document}
	for _, r := range rows {
		block.Entries = append(block.Entries, envelope.Entry{Claimed: r.claimed, JWS: envelope.JWS{Raw: r.jws}})
	}
	return block.Marshal(false), nil
}

// Document is the transport document of a bill.
func (n *Node) Document(ctx context.Context, u *User, document envelope.Hash) ([]byte, error) {
	b, err := n.visible(ctx, u, document)
	if err != nil {
		return nil, err
	}
	if err := b.loadDocument(ctx, n.store.read); err != nil {
		return nil, busy(err)
	}
	if len(b.document) == 0 {
		return nil, documentGone()
	}
	return b.document, nil
}

// Totals counts what the node holds, for the metrics.
type Totals struct {
	Bills     map[Control]int
	Transfers map[TransferState]int
	// OldestDoubt is when the oldest transfer without a verdict was sent; zero if none.
	OldestDoubt time.Time
	// DoubtLong and DoubtVeryLong count transfers without a verdict for more than five
	// minutes and for more than an hour.
	DoubtLong, DoubtVeryLong int
	Branches                 int
	// Refused counts blocks refused without a signature whose senders wait. Late counts
	// signed answers that came after operators had decided, LateWrong those that say the
	// other thing.
	Refused, Late, LateWrong int
	// Quarantined counts bills about which the witness knows more than the database.
	Quarantined int
	Frozen      bool // everything is, for want of the witness
}

// Totals reads them.
func (n *Node) Totals(ctx context.Context) (Totals, error) {
	t := Totals{Bills: map[Control]int{}, Transfers: map[TransferState]int{}}
	count := func(query string, add func(name string, n int)) error {
		rows, err := n.store.read.QueryContext(ctx, query)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var name string
			var c int
			if err := rows.Scan(&name, &c); err != nil {
				return err
			}
			add(name, c)
		}
		return rows.Err()
	}
	if err := count("SELECT control, count(*) FROM bills GROUP BY control", func(s string, c int) { t.Bills[Control(s)] = c }); err != nil {
		return t, err
	}
	if err := count("SELECT state, count(*) FROM transfers GROUP BY state", func(s string, c int) { t.Transfers[TransferState(s)] = c }); err != nil {
		return t, err
	}
	var oldest sql64
	now := n.cfg.Now()
	err := n.store.read.QueryRowContext(ctx, `SELECT min(sent_at), count(*) FILTER (WHERE sent_at < ?), count(*) FILTER (WHERE sent_at < ?),
	  (SELECT count(*) FROM branches) FROM transfers WHERE state = 'sending'`,
		millis(now.Add(-5*time.Minute)), millis(now.Add(-time.Hour))).Scan(&oldest, &t.DoubtLong, &t.DoubtVeryLong, &t.Branches)
	if oldest > 0 {
		t.OldestDoubt = fromMillis(int64(oldest))
	}
	if err == nil {
		err = n.store.read.QueryRowContext(ctx, "SELECT (SELECT count(*) FROM refused), count(*), count(*) FILTER (WHERE contradicts) FROM late_answers").Scan(&t.Refused, &t.Late, &t.LateWrong)
	}
	if err == nil {
		err = n.store.read.QueryRowContext(ctx, "SELECT (SELECT count(DISTINCT document_hash) FROM quarantine), frozen <> '' FROM witness").Scan(&t.Quarantined, &t.Frozen)
	}
	return t, err
}
