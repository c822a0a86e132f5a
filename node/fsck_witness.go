package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"eblnode/envelope"
	"eblnode/internal/witness"
)

// witnessed are, for each kind of record, the rows that must hold its signed bytes, by
// document, head and JWS. What operators released is not entered again.
var witnessed = map[string]struct{ table, query string }{
	recordIssue: {"steps", stepWitnessed},
	recordStep:  {"steps", stepWitnessed},
	recordPrepared: {"transfers", `SELECT count(*) FROM transfers x JOIN bills b ON b.id = x.bill
	  WHERE b.document_hash = ?1 AND x.envelope_hash = ?2 AND x.jws = ?3`},
	recordSending: {"transfers", `SELECT count(*) FROM transfers x JOIN bills b ON b.id = x.bill
	  WHERE b.document_hash = ?1 AND x.envelope_hash = ?2 AND ?3 = '' AND x.state NOT IN ('prepared', 'cancelled')`},
	recordSettled: {"transfers", `SELECT count(*) FROM transfers x JOIN bills b ON b.id = x.bill
	  WHERE b.document_hash = ?1 AND x.envelope_hash = ?2 AND x.state NOT IN ('prepared', 'sending')
	    AND (?3 = '' OR x.verdict = ?3 OR x.settled_by = 'operators')`},
	recordAccepted: {"receipts", `SELECT count(*) FROM bills b JOIN receipts r ON r.id >= b.id * 1048576 AND r.id < (b.id + 1) * 1048576
	  WHERE b.document_hash = ?1 AND r.envelope_hash = ?2 AND r.receipt = ?3`},
	recordRejection: {"rejections", "SELECT count(*) FROM rejections WHERE ?1 IS NOT NULL AND envelope_hash = ?2 AND rejection = ?3"},
	recordVerdict: {"verdicts", `SELECT count(*) FROM verdicts v JOIN bills b ON b.id = v.bill
	  WHERE b.document_hash = ?1 AND ?2 IS NOT NULL AND v.verdict = ?3`},
}

const stepWitnessed = `SELECT count(*) FROM bills b JOIN steps s ON s.id >= b.id * 1048576 AND s.id < (b.id + 1) * 1048576
  WHERE b.document_hash = ?1 AND ?2 IS NOT NULL AND s.jws = ?3`

// fsckWitness holds the database against the journal outside it: every signed answer and
// every change of control in the journal is in the database, byte for byte, or waits in
// quarantine. A row that was taken away shows here, whatever else was taken with it.
func (n *Node) fsckWitness(ctx context.Context, o FsckOptions, r *FsckReport) error {
	if o.Sample > 0 {
		return nil
	}
	bad := func(format string, args ...any) {
		r.add(Finding{Table: "witness", What: fmt.Sprintf(format, args...), Cure: cureEvidence})
	}
	// The place first: what is committed later is in the journal later.
	var at struct {
		node       string
		generation int64
		hash       envelope.Hash
		pending    int64 // the newest record that may not be in the journal yet
	}
	told := &journalCheck{ends: map[envelope.Hash]*unsignedEnd{}}
	err := n.store.snapshot(ctx, func(q querier) error {
		var pending sql64
		err := q.QueryRowContext(ctx, "SELECT node, generation, hash, (SELECT max(generation) FROM witness_pending) FROM witness").
			Scan(&at.node, &at.generation, sqlHash{&at.hash}, &pending)
		at.pending = int64(pending)
		if err != nil {
			return err
		}
		return told.read(ctx, q)
	})
	if errors.Is(err, sql.ErrNoRows) {
		bad("the row of this node is gone")
		return nil
	}
	if err != nil {
		return err
	}
	_ = n.store.settled(ctx)             // where it cannot be completed now, less is compared
	released := map[witness.Hash]int64{} // document → generation
	j, err := witness.Open(n.cfg.witnessPath(), func(w witness.Record, l witness.Line) error {
		if w.Kind == recordReleased {
			released[w.Document] = w.Generation
		}
		if w.Generation == at.generation && envelope.Hash(l.Hash) != at.hash {
			bad("hash: it is not that of record %d of the journal", w.Generation)
		}
		if w.Generation <= at.generation {
			told.record(&w)
		}
		return ctx.Err()
	})
	if err != nil {
		if ctx.Err() != nil {
			return err
		}
		bad("the journal cannot be read: %v", err)
		return nil
	}
	defer func() { _ = j.Close() }()
	last, _ := j.Last()
	switch d := j.Damage(); {
	case j.Identity().ID != at.node || j.Identity().Domain != n.Domain().String():
		bad("node: the journal is that of another node")
		return nil
	case d != nil && !d.Torn:
		bad("the journal is damaged: %v", d)
	case at.generation > last && at.pending < at.generation:
		bad("generation: the database is at record %d, the journal at %d", at.generation, last)
	case last < at.generation:
		told.rows = 0 // the newest are in records that still wait for the journal
	}
	if err := n.store.snapshot(ctx, func(q querier) error { return told.compare(ctx, q, j.After(), r) }); err != nil {
		return err
	}
	return n.fsckRecords(ctx, released, told, r)
}

func (n *Node) fsckRecords(ctx context.Context, released map[witness.Hash]int64, told *journalCheck, r *FsckReport) error {
	const chunk = 500
	everything := released[witness.Hash{}]
	list := make([]witness.Record, 0, chunk)
	check := func() error {
		defer func() { list = list[:0] }()
		return n.store.snapshot(ctx, func(q querier) error {
			for i := range list {
				w := &list[i]
				if err := told.checkLog(ctx, q, w, r); err != nil {
					return err
				}
				if _, known := witnessed[w.Kind]; !known || w.Generation < max(everything, released[w.Document]) {
					continue
				}
				if err := checkRecord(ctx, q, w, r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	j, err := witness.Open(n.cfg.witnessPath(), func(w witness.Record, _ witness.Line) error {
		if w.Kind != recordSettled && w.Kind != recordRejection {
			w.Data = nil // the document is in it
		}
		if list = append(list, w); len(list) < chunk {
			return nil
		}
		return check()
	})
	if err != nil {
		return err
	}
	return errors.Join(check(), j.Close())
}

func checkRecord(ctx context.Context, q querier, w *witness.Record, r *FsckReport) error {
	of := witnessed[w.Kind]
	var found int
	if err := q.QueryRowContext(ctx, of.query, w.Document[:], w.Head[:], w.JWS).Scan(&found); err != nil {
		return err
	}
	if found > 0 {
		return checkDecision(ctx, q, w, r)
	}
	if err := q.QueryRowContext(ctx, "SELECT count(*) FROM quarantine WHERE generation = ?", w.Generation).Scan(&found); err != nil || found > 0 {
		return err
	}
	r.add(Finding{Table: of.table, Bill: envelope.Hash(w.Document), Row: fmt.Sprintf("record %d of the witness", w.Generation),
		What: fmt.Sprintf("what the witness tells (%s) is not there, or not as it was signed", w.Kind), Cure: cureEvidence})
	return nil
}
