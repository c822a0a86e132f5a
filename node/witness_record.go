package node

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"eblnode/envelope"
	"eblnode/internal/witness"
)

// changes is what a transaction does to control, and to the audit log.
type changes struct {
	reentry   bool // the records are in the journal already
	moved     []envelope.Hash
	witnessed []envelope.Hash
	records   []record
	room      [1]record       // of the records: most have one
	lines     []witness.Line  // of the records, made when the transaction ends
	log       witness.LogRows // that it wrote; zero for none
}

// moves notes that t changes who controls a bill. It refuses a bill in quarantine: every
// change passes here, whatever was checked before.
func (t *tx) moves(document envelope.Hash) error {
	if err := t.free(document); err != nil {
		return err
	}
	t.change.moved = append(t.change.moved, document)
	return nil
}

// A record is what the witness is told of one change.
type record struct {
	kind           string
	document, head envelope.Hash
	peer, jws      string
	data           any // marshalled; nil for none
}

// witness adds a record to the journal, with this transaction or not at all.
func (t *tx) witness(r record) error {
	if t.change.reentry {
		return nil
	}
	if t.store.journal.Load() == nil {
		return frozenRefusal(t.ctx, t)
	}
	if t.change.records == nil {
		t.change.records = t.change.room[:0]
	}
	t.change.records = append(t.change.records, r)
	t.change.witnessed = append(t.change.witnessed, r.document)
	return nil
}

// announce is the last thing in a transaction. A change of control without its record is
// a mistake in this program, and is not committed.
//
// Whatever was written to the audit log is told to the witness, with the last record or by
// one of its own: what operators did is in no other place that a writer to the database
// cannot reach. What is written before the journal is open is told by tellLog.
func (t *tx) announce() error {
	for _, d := range t.change.moved {
		if !slices.Contains(t.change.witnessed, d) && !t.change.reentry {
			return fmt.Errorf("moving bill %s without a record for the witness", d)
		}
	}
	if len(t.change.records) == 0 && t.change.log.Last > 0 && t.store.journal.Load() != nil {
		t.change.records = []record{{kind: recordLog}}
	}
	for i, r := range t.change.records {
		var log *witness.LogRows
		if i == len(t.change.records)-1 && t.change.log.Last > 0 {
			log = &t.change.log
		}
		if err := t.write(r, log); err != nil {
			return err
		}
	}
	return nil
}

// write gives a record its place in the journal, and keeps it until it is there.
func (t *tx) write(r record, log *witness.LogRows) error {
	at := t.store.place
	if at == nil {
		at = &place{}
		if err := t.QueryRowContext(t.ctx, "SELECT generation, hash FROM witness").Scan(&at.generation, sqlHash{&at.hash}); err != nil {
			return fmt.Errorf("reading the place in the witness: %w", err)
		}
	}
	w := witness.Record{Generation: at.generation + 1, Previous: witness.Hash(at.hash), At: millis(t.now),
		Document: witness.Hash(r.document), Head: witness.Hash(r.head), Kind: r.kind, Peer: r.peer, JWS: r.jws, Log: log}
	accepted, isBlock := r.data.(acceptedData)
	if r.data != nil && !isBlock {
		var err error
		if w.Data, err = json.Marshal(r.data); err != nil {
			return fmt.Errorf("recording %s: %w", r.kind, err)
		}
	}
	var line witness.Line
	var err error
	if isBlock {
		line, err = witness.EncodeWith(w, accepted.size(), accepted.appendJSON)
	} else {
		line, err = witness.Encode(w)
	}
	if err != nil {
		return err
	}
	if len(line.Text) > witness.MaxLine {
		return fmt.Errorf("recording %s: %d bytes are too many for the witness", r.kind, len(line.Text))
	}
	pending := line.Text
	if d := &accepted; isBlock && d.slim() {
		if pending, err = json.Marshal(slimAccepted{Hash: line.Hash, Record: w.Bare(), Bill: d.bill, Sum: d.Sum, From: d.From, Count: len(d.Entries), Fresh: len(d.document) > 0}); err != nil {
			return fmt.Errorf("recording %s: %w", r.kind, err)
		}
	}
	seal := t.store.journal.Load().Seal(line.Hash)
	if err := t.exec("INSERT INTO witness_pending (generation, line, seal) VALUES (?, ?, ?)", line.Generation, pending, seal[:]); err != nil {
		return err
	}
	last := int64(0)
	if log != nil {
		last = log.Last
	}
	if err := t.execOne("UPDATE witness SET generation = ?1, hash = ?2, log = CASE ?3 WHEN 0 THEN log ELSE ?3 END", line.Generation, line.Hash[:], last); err != nil {
		return err
	}
	t.store.place = &place{generation: line.Generation, hash: envelope.Hash(line.Hash)}
	t.change.lines = append(t.change.lines, line)
	return nil
}

// beforeTheWitness are the actions in the audit log that a node itself writes while its
// journal is not open.
var beforeTheWitness = []string{"self.change", "witness.behind", "witness.freeze"}

// tellLog tells the witness of rows of the audit log that were written before the journal
// was open. Rows that anybody else put behind the last one are not told: the journal would
// vouch for them. Fsck then says which they are.
func (n *Node) tellLog(ctx context.Context) error {
	var rows witness.LogRows
	var hash envelope.Hash
	var strange string
	err := n.store.snapshot(ctx, func(q querier) error {
		var told int64
		err := q.QueryRowContext(ctx, "SELECT (SELECT log FROM witness), id, hash FROM audit ORDER BY id DESC LIMIT 1").Scan(&told, &rows.Last, sqlHash{&hash})
		if err != nil {
			return err
		}
		rows.First, rows.Hash = told+1, witness.Hash(hash)
		// A journal that has just begun is told of all; and while everything is frozen, which
		// the log then says, operators go on.
		frozen := told == 0 && n.store.journal.Load().Logged() == 0
		return each(ctx, q, "SELECT action FROM audit WHERE id > ? ORDER BY id", []any{told}, func(scan func(...any) error) error {
			var action string
			err := scan(&action)
			frozen = frozen || action == "witness.freeze"
			if !frozen && strange == "" && !slices.Contains(beforeTheWitness, action) {
				strange = action
			}
			return err
		})
	})
	if errors.Is(err, sql.ErrNoRows) || err == nil && rows.First > rows.Last {
		return nil
	}
	if err != nil {
		return fmt.Errorf("comparing the audit log with the witness: %w", err)
	}
	if strange != "" {
		n.log.ErrorContext(ctx, "the audit log has rows that this node did not write", "err", strange)
		return nil
	}
	return n.store.update(ctx, func(t *tx) error {
		t.change.log = rows
		return nil
	})
}

// catchUp gives the journal what the database has and it has not. In turn.
func (s *store) catchUp(ctx context.Context, j *witness.Journal) error {
	last, _ := j.Last()
	lines, err := pendingLines(ctx, s.writer, j, last)
	if err != nil {
		return fmt.Errorf("completing the witness: %w", err)
	}
	for _, l := range lines {
		if err := j.Append(l); err != nil {
			return err
		}
	}
	last, _ = j.Last()
	s.attempted.Store(last)
	return nil
}

// errForged says that the table witness_pending holds what this node never put there.
var errForged = errors.New("those that the database has for it are not of this node")

// pendingLines are the records after a generation that the database still holds for j.
func pendingLines(ctx context.Context, q querier, j *witness.Journal, after int64) ([]witness.Line, error) {
	type pending struct{ text, seal []byte }
	var list []pending
	err := each(ctx, q, "SELECT line, seal FROM witness_pending WHERE generation > ? ORDER BY generation", []any{after}, func(scan func(...any) error) error {
		var p pending
		err := scan(&p.text, &p.seal)
		list = append(list, p)
		return err
	})
	if err != nil {
		return nil, err
	}
	var lines []witness.Line
	for _, p := range list {
		var l witness.Line
		if len(p.text) > 0 && p.text[0] == '{' {
			l, err = fatten(ctx, q, p.text)
		} else {
			_, l, err = witness.Decode(p.text)
		}
		if err != nil {
			return nil, err
		}
		if seal := j.Seal(l.Hash); subtle.ConstantTimeCompare(p.seal, seal[:]) != 1 {
			return nil, fmt.Errorf("record %d: %w", l.Generation, errForged)
		}
		lines = append(lines, l)
	}
	return lines, nil
}

// A slimAccepted is what witness_pending holds of a record of a block: all but the document
// and the entries, which the same transaction has put into their own tables, where nothing
// changes them. With them twice, the log of the database would be twice as long.
type slimAccepted struct {
	Hash   witness.Hash   `json:"hash"` // of the line
	Record witness.Record `json:"record"`
	Bill   int64          `json:"bill"`
	Sum    envelope.Hash  `json:"sum"`
	From   int            `json:"from"`
	Count  int            `json:"count"`
	Fresh  bool           `json:"fresh"`
}

// fatten makes the line of the journal again. It is the same to the byte, or an error.
func fatten(ctx context.Context, q querier, text []byte) (witness.Line, error) {
	var s slimAccepted
	if err := json.Unmarshal(text, &s); err != nil {
		return witness.Line{}, fmt.Errorf("reading a record for the witness: %w", err)
	}
	d := acceptedData{Sum: s.Sum, From: s.From}
	if s.Fresh {
		b := bill{id: s.Bill}
		if err := b.loadDocument(ctx, q); err != nil {
			return witness.Line{}, err
		}
		d.document = b.document
	}
	for i := range s.Count {
		r, found, err := loadEntry(ctx, q, s.Bill, s.From+i)
		if err == nil && !found {
			err = fmt.Errorf("bill %d has no entry %d", s.Bill, s.From+i)
		}
		if err != nil {
			return witness.Line{}, fmt.Errorf("completing record %d for the witness: %w", s.Record.Generation, err)
		}
		d.Entries = append(d.Entries, againEntry{Claimed: r.claimed, JWS: r.jws})
	}
	l, err := witness.EncodeWith(s.Record, d.size(), d.appendJSON)
	if err == nil && l.Hash != s.Hash {
		err = fmt.Errorf("completing record %d for the witness: what is stored is not what it was", s.Record.Generation)
	}
	return l, err
}
