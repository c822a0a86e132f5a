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

// Control is what this node knows of who controls a bill.
type Control string

// The values. At most one node in the world may say Held of one bill.
const (
	Held     Control = "held"     // by one of our users
	Locked   Control = "locked"   // by a transfer that has no verdict yet
	Disputed Control = "disputed" // the addressee says that it knows another chain
	Away     Control = "away"     // on another platform
	Voided   Control = "void"     // nobody controls it any more
)

// A bill is a row of the table bills.
type bill struct {
	id        int64
	state     chain.State
	control   Control
	document  []byte // only where it was asked for; see loadDocument
	reference envelope.Reference
	version   int64
}

const billColumns = `id, document_hash, carrier_code, reference, sub_reference, to_order, profile,
  issuing, issuer, possessor, status, returned_by, head, length, control, version`

func scanBill(row interface{ Scan(...any) error }) (*bill, error) {
	b := &bill{}
	var issuing, issuer, possessor, returnedBy string
	err := row.Scan(&b.id, sqlHash{&b.state.Document}, &b.reference.CarrierCode, &b.reference.Number,
		&b.reference.SubReference, &b.state.ToOrder, &b.state.Profile, &issuing, &issuer, &possessor,
		&b.state.Status, &returnedBy, sqlHash{&b.state.Head}, &b.state.Length, &b.control, &b.version)
	if err != nil {
		return nil, err
	}
	if b.state.Issuing, err = identity.ParseHost(issuing); err != nil {
		return nil, fmt.Errorf("bill %d: %w", b.id, err)
	}
	for _, f := range []struct {
		text string
		id   *identity.Identifier
	}{{issuer, &b.state.Issuer}, {possessor, &b.state.Possessor}, {returnedBy, &b.state.ReturnedBy}} {
		if f.text == "" {
			continue
		}
		if *f.id, err = identity.ParseIdentifier(f.text); err != nil {
			return nil, fmt.Errorf("bill %d: %w", b.id, err)
		}
	}
	b.state.Endorsee = b.state.Possessor
	return b, nil
}

// loadBill is nil without an error where the bill is not known.
func loadBill(ctx context.Context, q querier, document envelope.Hash) (*bill, error) {
	b, err := scanBill(q.QueryRowContext(ctx, "SELECT "+billColumns+" FROM bills WHERE document_hash = ?", document[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

func loadBillByID(ctx context.Context, q querier, id int64) (*bill, error) {
	return scanBill(q.QueryRowContext(ctx, "SELECT "+billColumns+" FROM bills WHERE id = ?", id))
}

// loadDocument reads the transport document of the bill into b; nil where it was deleted when
// its time was over.
func (b *bill) loadDocument(ctx context.Context, q querier) error {
	err := q.QueryRowContext(ctx, "SELECT document FROM documents WHERE bill = ?", b.id).Scan(&b.document)
	if errors.Is(err, sql.ErrNoRows) {
		var deleted int
		if err := q.QueryRowContext(ctx, "SELECT count(*) FROM deletions WHERE bill = ?", b.id).Scan(&deleted); err == nil && deleted > 0 {
			b.document = nil
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("reading the document of bill %s: %w", b.state.Document, err)
	}
	return nil
}

func text(i identity.Identifier) string {
	if i.IsZero() {
		return ""
	}
	return i.String()
}

// insertBill stores a bill that was not known. b.id is set.
func (t *tx) insertBill(b *bill, self identity.Host) error {
	s := b.state
	if err := t.moves(s.Document); err != nil {
		return err
	}
	res, err := t.ExecContext(t.ctx, `INSERT INTO bills (document_hash, carrier_code, reference, sub_reference, to_order, profile,
	    issuing, issuer, possessor, status, returned_by, head, length, control, live, version, created_at, changed_at)
	  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?)`,
		s.Document[:], b.reference.CarrierCode, b.reference.Number, b.reference.SubReference, s.ToOrder, string(s.Profile),
		s.Issuing.String(), text(s.Issuer), text(s.Possessor), string(s.Status), text(s.ReturnedBy), s.Head[:], s.Length,
		string(b.control), b.live(self), millis(t.now), millis(t.now))
	if err != nil {
		return fmt.Errorf("storing a bill: %w", err)
	}
	b.version = 1
	if b.id, err = res.LastInsertId(); err != nil {
		return err
	}
	t.changed(b)
	return t.exec("INSERT INTO documents (bill, document) VALUES (?, ?)", b.id, b.document)
}

// saveBill moves a known bill on, by compare-and-swap: it fails with errMoved unless
// the row is still the one that b was read from.
func (t *tx) saveBill(b *bill, self identity.Host) error {
	s := b.state
	if err := t.moves(s.Document); err != nil {
		return err
	}
	err := t.execOne(`UPDATE bills SET possessor = ?, status = ?, returned_by = ?, head = ?, length = ?, control = ?, live = ?,
	    version = version + 1, changed_at = ? WHERE id = ? AND version = ?`,
		text(s.Possessor), string(s.Status), text(s.ReturnedBy), s.Head[:], s.Length, string(b.control), b.live(self),
		millis(t.now), b.id, b.version)
	if err != nil {
		return fmt.Errorf("moving bill %s: %w", s.Document, err)
	}
	b.version++
	t.changed(b)
	return nil
}

// live says whether the bill keeps its carrier's reference taken here: until it is
// void on the platform that issued it, and while it is with us elsewhere.
func (b *bill) live(self identity.Host) bool {
	return b.control != Voided && (b.control != Away || b.state.Issuing == self)
}

// otherLive reports whether another live bill here has the same reference.
func otherLive(ctx context.Context, q querier, r envelope.Reference, document envelope.Hash) (bool, error) {
	if r.Number == "" {
		return false, nil
	}
	var n int
	err := q.QueryRowContext(ctx, `SELECT count(*) FROM bills WHERE carrier_code = ? AND reference = ? AND sub_reference = ?
	  AND live = 1 AND reference <> '' AND document_hash <> ?`, r.CarrierCode, r.Number, r.SubReference, document[:]).Scan(&n)
	return n > 0, err
}

// A row is a stored entry of a chain.
type row struct {
	hash, claimed envelope.Hash
	jws           string
	signer        string
	key           envelope.Hash // thumbprint
	signedAt      int64
	storedAt      int64 // when it was stored; not read when inserted
}

// maxEntries is what the key of the table entries leaves room for.
const maxEntries = 1 << 20

func loadEntries(ctx context.Context, q querier, bill int64) ([]row, error) {
	rows, err := q.QueryContext(ctx, `SELECT hash, claimed, jws, signer, key, signed_at, stored_at FROM entries
	  WHERE id >= ? AND id < ? ORDER BY id`, bill*maxEntries, (bill+1)*maxEntries)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []row
	for rows.Next() {
		var r row
		if err := rows.Scan(sqlHash{&r.hash}, sqlHash{&r.claimed}, &r.jws, &r.signer, sqlHash{&r.key}, &r.signedAt, &r.storedAt); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, rows.Err()
}

// loadEntry is one entry of a chain.
func loadEntry(ctx context.Context, q querier, bill int64, idx int) (r row, found bool, err error) {
	err = q.QueryRowContext(ctx, "SELECT hash, claimed, jws, signer, key, signed_at, stored_at FROM entries WHERE id = ?", bill*maxEntries+int64(idx)).
		Scan(sqlHash{&r.hash}, sqlHash{&r.claimed}, &r.jws, &r.signer, sqlHash{&r.key}, &r.signedAt, &r.storedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return r, false, nil
	}
	return r, err == nil, err
}

func (t *tx) insertEntry(bill int64, idx int, r row) error {
	return t.insertEntries(bill, idx, []row{r})
}

// insertEntriesOf are statements that store so many entries at once, of which each number
// is a sum of few: most of what a small statement costs is not the row.
var insertEntriesOf = []struct {
	n     int
	query string
}{{20, insertEntriesQuery(20)}, {4, insertEntriesQuery(4)}, {1, insertEntriesQuery(1)}}

func insertEntriesQuery(n int) string {
	const one = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
	return "INSERT INTO entries (id, bill, idx, hash, claimed, jws, signer, key, signed_at, stored_at) VALUES " + one + strings.Repeat(", "+one, n-1)
}

// insertEntries stores entries of a chain, the first of them at idx.
func (t *tx) insertEntries(bill int64, idx int, rows []row) error {
	if idx+len(rows) > maxEntries {
		return fmt.Errorf("a chain of more than %d entries", maxEntries)
	}
	for _, insert := range insertEntriesOf {
		for n := insert.n; len(rows) >= n; rows, idx = rows[n:], idx+n {
			args := make([]any, 0, 10*n)
			for i := range rows[:n] {
				r := &rows[i]
				args = append(args, bill*maxEntries+int64(idx+i), bill, idx+i, r.hash[:], r.claimed[:], r.jws, r.signer, r.key[:], r.signedAt, millis(t.now))
			}
			if err := t.exec(insert.query, args...); err != nil {
				return err
			}
		}
	}
	return nil
}

// insertKey keeps the key under which a stored signature was verified.
func (t *tx) insertKey(k *identity.Key, p *identity.Platform) error {
	sum := t.store.thumbprint(k)
	if t.store.keys[sum] {
		return nil
	}
	var n int
	if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM evidence_keys WHERE thumbprint = ?", sum[:]).Scan(&n); err != nil {
		return err
	}
	t.store.keyIsStored(sum) // now, or with what follows
	if n > 0 {
		return nil
	}
	only := *p
	only.Keys = []*identity.Key{k}
	entry, err := only.JSON()
	if err != nil {
		return err
	}
	return t.exec("INSERT INTO evidence_keys (thumbprint, platform, entry, first_used) VALUES (?, ?, ?, ?)",
		sum[:], p.Domain.String(), string(entry), millis(t.now))
}

// addParty lets a local user see the bill.
func (t *tx) addParty(bill int64, local string) error {
	return t.exec("INSERT OR IGNORE INTO parties (bill, local_id) VALUES (?, ?)", bill, local)
}

// A step is a stored step.
type step struct {
	seq int
	jws string
	tx  string
	at  int64
}

// loadSteps lists the steps that no entry of the chain carries yet.
func loadSteps(ctx context.Context, q querier, bill int64) ([]step, error) {
	rows, err := q.QueryContext(ctx, `SELECT seq, jws, tx, at FROM steps WHERE id >= ? AND id < ? AND sealed IS NULL ORDER BY id`,
		bill*maxEntries, (bill+1)*maxEntries)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []step
	for rows.Next() {
		var s step
		if err := rows.Scan(&s.seq, &s.jws, &s.tx, &s.at); err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, rows.Err()
}

func (t *tx) insertStep(bill int64, s step) error {
	return t.exec("INSERT INTO steps (id, bill, seq, jws, tx, at) VALUES (?, ?, ?, ?, ?, ?)",
		bill*maxEntries+int64(s.seq), bill, s.seq, s.jws, s.tx, s.at)
}

// nextSeq is the number of the bill's next step.
func (t *tx) nextSeq(bill int64) (int, error) {
	var n int
	err := t.QueryRowContext(t.ctx, "SELECT coalesce(max(seq) + 1, 0) FROM steps WHERE id >= ? AND id < ?",
		bill*maxEntries, (bill+1)*maxEntries).Scan(&n)
	return n, err
}
