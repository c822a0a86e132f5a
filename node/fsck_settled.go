package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"eblnode/envelope"
	"eblnode/internal/witness"
)

// An unsignedEnd is a transfer that ended without a signed answer of its peer: its user took
// it back, or two operators settled it. Nothing in the database proves that, so the journal
// must tell of it.
type unsignedEnd struct {
	id, state, by string
	document      envelope.Hash
	prepared      bool // the journal tells that it was prepared
	told          *settledData
}

// A journalCheck goes along the journal, to hold against it what the database alone says.
type journalCheck struct {
	ends map[envelope.Hash]*unsignedEnd // by envelope
	rows int64                          // of the audit log, when the check began

	covered int64             // the newest row of the audit log that the journal tells of
	gaps    []witness.LogRows // rows that no record brought
	cut     []int64           // rows at which the log begins again, and tells of no restore
	undone  []records
}

// records are those from a generation to another, of which a restore has taken the rows of
// the audit log away, as the log itself tells. What they tell of bills was entered again.
type records struct{ first, last int64 }

// stands reports whether what a record told of the audit log holds still.
func (c *journalCheck) stands(w *witness.Record) bool {
	return !slices.ContainsFunc(c.undone, func(u records) bool { return u.first <= w.Generation && w.Generation <= u.last })
}

// read reads what is to be compared, before the journal is.
func (c *journalCheck) read(ctx context.Context, q querier) error {
	var last sql64
	if err := q.QueryRowContext(ctx, "SELECT max(id) FROM audit").Scan(&last); err != nil {
		return err
	}
	c.rows = int64(last)
	// After several restores the log tells of those on whose rows it goes on, and of no other:
	// what was between was undone with them.
	err := each(ctx, q, "SELECT detail FROM audit WHERE action = 'witness.behind' ORDER BY id", nil, func(scan func(...any) error) error {
		var detail string
		var u records
		err := scan(&detail)
		if _, bad := fmt.Sscanf(detail, behindRecords, &u.first, &u.last); bad == nil {
			c.undone = append(c.undone, u)
		}
		return err
	})
	if err != nil {
		return err
	}
	return each(ctx, q, `SELECT x.id, x.state, coalesce(x.settled_by, ''), x.envelope_hash, b.document_hash FROM transfers x JOIN bills b ON b.id = x.bill
	  WHERE x.state = 'cancelled' OR x.settled_by IN ('cancel', 'operators')`, nil, func(scan func(...any) error) error {
		e := &unsignedEnd{}
		var hash envelope.Hash
		err := scan(&e.id, &e.state, &e.by, sqlHash{&hash}, sqlHash{&e.document})
		c.ends[hash] = e
		return err
	})
}

// record takes a record of the journal, in its order.
func (c *journalCheck) record(w *witness.Record) {
	if l := w.Log; l != nil && c.stands(w) {
		if l.First <= c.covered {
			c.cut = append(c.cut, l.First)
		} else if l.First > c.covered+1 {
			c.gaps = append(c.gaps, witness.LogRows{First: c.covered + 1, Last: l.First - 1})
		}
		c.covered = l.Last
	}
	e := c.ends[envelope.Hash(w.Head)]
	if e == nil {
		return
	}
	switch w.Kind {
	case recordPrepared:
		e.prepared = true
	case recordSettled:
		d := &settledData{}
		if json.Unmarshal(w.Data, d) == nil {
			e.told = d
		}
	}
}

// compare says what the journal does not tell. after is where it begins.
func (c *journalCheck) compare(ctx context.Context, q querier, after int64, r *FsckReport) error {
	for _, e := range c.ends {
		if e.told != nil && e.told.ID == e.id && string(e.told.State) == e.state && e.told.By == e.by {
			continue
		}
		bad := Finding{Table: "transfers", Bill: e.document, Row: "transfer " + e.id, Cure: cureEvidence,
			What: fmt.Sprintf("state, settled_by: %s by %s, and the witness does not tell of it: let nobody move this bill", e.state, e.by)}
		if e.told == nil && !e.prepared && after > 0 {
			// From before a witness that was lost: then the log must tell it, which the new one knows.
			var known int
			err := q.QueryRowContext(ctx, `SELECT count(*) FROM audit WHERE bill = ? AND (action = 'transfer.cancel' OR action = 'witness.reenter'
			  OR action IN ('transfer.accepted', 'transfer.rejected') AND detail LIKE '%operators%')`, e.document[:]).Scan(&known)
			if err != nil {
				return err
			}
			if known > 0 {
				continue
			}
		}
		r.add(bad)
	}
	bad := func(row int64, format string, args ...any) {
		r.add(Finding{Table: "audit", Row: fmt.Sprintf("audit row %d", row), What: fmt.Sprintf(format, args...), Cure: cureEvidence})
	}
	for _, g := range c.gaps {
		bad(g.First, "id: the rows up to %d were not written by this node: the witness does not know them", g.Last)
	}
	for _, row := range c.cut {
		bad(row, "id: the witness knows other rows from here on, and the log tells of no restore: it was cut off")
	}
	return each(ctx, q, "SELECT id FROM audit WHERE id > ? AND id <= ? ORDER BY id LIMIT 1", []any{c.covered, c.rows}, func(scan func(...any) error) error {
		var row int64
		err := scan(&row)
		bad(row, "id: from here on the log has rows that the witness does not know")
		return err
	})
}

// checkLog compares what a record tells of the audit log with the row.
func (c *journalCheck) checkLog(ctx context.Context, q querier, w *witness.Record, r *FsckReport) error {
	if w.Log == nil || !c.stands(w) {
		return nil
	}
	var hash []byte
	err := each(ctx, q, "SELECT hash FROM audit WHERE id = ?", []any{w.Log.Last}, func(scan func(...any) error) error { return scan(&hash) })
	if err == nil && string(hash) != string(w.Log.Hash[:]) {
		r.add(Finding{Table: "audit", Row: fmt.Sprintf("audit row %d", w.Log.Last), Cure: cureEvidence,
			What: fmt.Sprintf("hash: it is not the one that record %d of the witness tells, so the log was written anew or cut off", w.Generation)})
	}
	return err
}

// checkDecision compares how a transfer ended, and what two operators said of it or of a
// block, with the rows.
func checkDecision(ctx context.Context, q querier, w *witness.Record, r *FsckReport) error {
	kind, subject, outcome, said := resolveKind, "", ResolvedAway, (*decision)(nil)
	switch w.Kind {
	case recordSettled:
		var d settledData
		if err := json.Unmarshal(w.Data, &d); err != nil {
			return fmt.Errorf("reading record %d of the witness: %w", w.Generation, err)
		}
		subject, said = d.ID, d.Decision
		if d.State == Rejected {
			outcome = ResolvedHeld
		}
		if err := checkEnd(ctx, q, w, &d, r); err != nil {
			return err
		}
	case recordRejection:
		var d rejectionData
		if err := json.Unmarshal(w.Data, &d); err != nil {
			return fmt.Errorf("reading record %d of the witness: %w", w.Generation, err)
		}
		kind, subject, outcome, said = rejectKind, w.Peer+" "+d.Sum.String(), "reject", d.Decision
		if err := checkBranches(ctx, q, w, d.Branches, r); err != nil {
			return err
		}
	}
	if said == nil {
		return nil
	}
	found := false
	err := each(ctx, q, "SELECT "+storedProposalColumns+" FROM proposals WHERE kind = ? AND subject = ? AND confirmed_by IS NOT NULL", []any{kind, subject}, func(scan func(...any) error) error {
		var p storedProposal
		if err := p.scan(scan); err != nil {
			return err
		}
		found = found || p.outcome == outcome && p.reason == said.Reason && string(p.evidence) == string(said.Evidence) && p.by == said.ProposedBy &&
			p.at == said.ProposedAt && p.second == said.ConfirmedBy && p.confirmed.Int64 == said.ConfirmedAt
		return nil
	})
	if err == nil && !found {
		r.add(Finding{Table: "proposals", Bill: envelope.Hash(w.Document), Row: fmt.Sprintf("record %d of the witness", w.Generation), Cure: cureEvidence,
			What: fmt.Sprintf("outcome, reason, evidence, proposed_by, confirmed_by: what %s and %s decided about %s is not there, or not as they said it", said.ProposedBy, said.ConfirmedBy, subject)})
	}
	return err
}

// checkBranches looks for the entries of the other chain that was kept as proof when a fork
// was refused: without them nobody can show who signed twice.
func checkBranches(ctx context.Context, q querier, w *witness.Record, kept []branch, r *FsckReport) error {
	for _, br := range kept {
		var found int
		if err := q.QueryRowContext(ctx, `SELECT count(*) FROM branches x JOIN bills b ON b.id = x.bill
		  WHERE b.document_hash = ? AND x.idx = ? AND x.peer = ? AND x.jws = ?`, w.Document[:], br.Index, w.Peer, br.JWS).Scan(&found); err != nil {
			return err
		}
		if found == 0 {
			r.add(Finding{Table: "branches", Bill: envelope.Hash(w.Document), Row: fmt.Sprintf("record %d of the witness", w.Generation), Cure: cureEvidence,
				What: fmt.Sprintf("bill, idx, peer, jws: entry %d of the other chain that %s offered is not there, or not as it was signed", br.Index, w.Peer)})
		}
	}
	return nil
}

// checkEnd compares the end of a transfer with its row. One that was disputed may have been
// ended by operators since, and one that operators settled otherwise, after a release.
func checkEnd(ctx context.Context, q querier, w *witness.Record, d *settledData, r *FsckReport) error {
	var state, by string
	err := each(ctx, q, "SELECT state, coalesce(settled_by, '') FROM transfers WHERE id = ? AND envelope_hash = ?", []any{d.ID, w.Head[:]}, func(scan func(...any) error) error {
		return scan(&state, &by)
	})
	if err != nil || state == string(d.State) && by == d.By || by == "operators" && (d.State == DisputedT || d.By == "operators") {
		return err
	}
	r.add(Finding{Table: "transfers", Bill: envelope.Hash(w.Document), Row: "transfer " + strings.TrimSpace(d.ID), Cure: cureEvidence,
		What: fmt.Sprintf("id, state, settled_by: the row says %s by %q, the witness %s by %s", state, by, d.State, d.By)})
	return nil
}
