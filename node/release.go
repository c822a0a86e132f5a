package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/internal/witness"
)

// A WitnessView says how database and witness stand to each other.
type WitnessView struct {
	Path string
	// Generation is the newest record that the database knows; Durable is the newest that
	// is on the disk of the journal.
	Generation, Durable int64
	// Frozen says why nothing moves; "" if it may.
	Frozen string
	// Failed says why the journal cannot be written; until the node is started again
	// everything that moves a bill is refused.
	Failed   string
	Bills    []QuarantinedBill
	Releases []ReleaseProposal // that wait for a second operator
}

// A QuarantinedBill is a bill of which the witness knows more than the database.
type QuarantinedBill struct {
	Document envelope.Hash
	Records  int    // that the database does not know
	First    int64  // the generation of the first of them
	Problem  string // why it could not be entered; "" if that was not tried yet
}

// A ReleaseProposal is what one operator said and a second one must say too.
type ReleaseProposal struct {
	Document envelope.Hash // zero: everything
	Operator string
	Reason   string
	At       time.Time
}

// releaseValid is how long the second operator has.
const releaseValid = 7 * 24 * time.Hour

// Witness shows how the witness stands.
func (n *Node) Witness(ctx context.Context) (WitnessView, error) {
	p, err := loadPlace(ctx, n.store.read)
	if err != nil {
		return WitnessView{}, busy(err)
	}
	v := WitnessView{Path: n.cfg.witnessPath(), Generation: p.generation, Frozen: p.frozen, Bills: []QuarantinedBill{}, Releases: []ReleaseProposal{}}
	if j := n.store.journal.Load(); j != nil {
		v.Durable = j.Durable()
		if err := j.Err(); err != nil {
			v.Failed = err.Error()
		}
	}
	rows, err := n.store.read.QueryContext(ctx, `SELECT q.document_hash, count(*), min(q.generation),
	    (SELECT problem FROM quarantine f WHERE f.document_hash = q.document_hash ORDER BY generation LIMIT 1)
	  FROM quarantine q GROUP BY q.document_hash ORDER BY min(q.generation) LIMIT 1000`)
	if err != nil {
		return v, busy(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b QuarantinedBill
		if err := rows.Scan(sqlHash{&b.Document}, &b.Records, &b.First, &b.Problem); err != nil {
			return v, busy(err)
		}
		v.Bills = append(v.Bills, b)
	}
	if err := rows.Err(); err != nil {
		return v, busy(err)
	}
	if v.Releases, err = releaseProposals(ctx, n.store.read, n.cfg.Now()); err != nil {
		return v, busy(err)
	}
	return v, nil
}

// releaseCounts chooses the words of operators that still count. One about an earlier freeze,
// or about what an earlier restore had put into quarantine, says nothing of this one: with it
// one person could free alone what nobody else has looked at. The numbers of the audit log
// tell which was first, whatever the clock was.
const releaseCounts = `done_at IS NULL AND releases.at > ? AND EXISTS (SELECT 1 FROM audit a
  WHERE a.id > coalesce((SELECT id FROM audit WHERE action = iif(document_hash IS NULL, 'witness.freeze', 'witness.behind') ORDER BY id DESC LIMIT 1), 0)
    AND a.action IN ('witness.propose', 'witness.release') AND a.actor = releases.operator AND a.at = releases.at
    AND a.bill = coalesce(document_hash, zeroblob(32)))`

func releaseProposals(ctx context.Context, q querier, now time.Time) ([]ReleaseProposal, error) {
	rows, err := q.QueryContext(ctx, "SELECT document_hash, operator, reason, at FROM releases WHERE "+releaseCounts+" ORDER BY id LIMIT 1000",
		millis(now.Add(-releaseValid)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []ReleaseProposal{}
	for rows.Next() {
		var x ReleaseProposal
		var document []byte
		var at int64
		if err := rows.Scan(&document, &x.Operator, &x.Reason, &at); err != nil {
			return nil, err
		}
		copy(x.Document[:], document)
		x.At = fromMillis(at)
		list = append(list, x)
	}
	return list, rows.Err()
}

// A ReleaseOrder asks to free what the witness holds back: a bill in quarantine, or,
// where the witness is missing or strange, everything.
type ReleaseOrder struct {
	// Document is the bill; zero is everything.
	Document envelope.Hash
	// Reason and Evidence (a file, 1 MiB at most) say how the operator knows that the
	// database is right. Both are kept for ever.
	Reason   string
	Evidence []byte
}

// maxReleaseEvidence is the longest evidence of a release, in bytes.
const maxReleaseEvidence = 1 << 20

// Release frees what the witness holds back, once two different operators have said so
// within seven days: the first call is a proposal (done is false), the second one does
// it. A proposal ends with what it was about. It is the one way by which a bill may come to be spent twice by this node: nothing
// but the operators' evidence says that it has not left since the backup.
//
// To free everything the place of the journal must be empty, since a new one begins
// there; move the old file away, and keep it.
func (n *Node) Release(ctx context.Context, operator *User, o ReleaseOrder) (done bool, err error) {
	switch {
	case operator.Role != OperatorRole:
		return false, refuse(Forbidden, TextForbidden, "only users with the role operator release, two of them")
	case o.Reason == "" || len(o.Reason) > maxAnswer || len(o.Evidence) == 0:
		return false, refuse(Malformed, "malformed", "a release needs a reason (%d characters at most) and evidence", maxAnswer)
	case len(o.Evidence) > maxReleaseEvidence:
		return false, refuse(TooLarge, "tooLarge", "the evidence has %d bytes, more than %d", len(o.Evidence), maxReleaseEvidence)
	}
	err = n.store.update(ctx, func(t *tx) error {
		if done, err = n.saysRelease(t, operator, o); err != nil || !done || o.Document.IsZero() {
			return err
		}
		return t.releaseBill(o)
	})
	if err != nil {
		return false, orBusy(err)
	}
	if !done || !o.Document.IsZero() {
		return done, nil
	}
	if err := n.beginAnew(ctx); err != nil {
		return false, orBusy(err)
	}
	return true, nil
}

// saysRelease records what one operator says. done reports that another has said the same.
func (n *Node) saysRelease(t *tx, operator *User, o ReleaseOrder) (done bool, err error) {
	what := "everything"
	var target any
	if o.Document.IsZero() {
		p, err := loadPlace(t.ctx, t)
		if err != nil {
			return false, err
		}
		if p.frozen == "" {
			return false, refuse(Conflict, "conflict", "nothing is frozen; name the bill that is to be released")
		}
	} else {
		target, what = o.Document[:], o.Document.String()
		var held int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM quarantine WHERE document_hash = ?", o.Document[:]).Scan(&held); err != nil {
			return false, err
		}
		if held == 0 {
			return false, refuse(NotFound, "notFound", "this bill is not in quarantine")
		}
		if n.store.journal.Load() == nil {
			return false, refuse(Conflict, "conflict", "everything is frozen; that must be released first")
		}
	}
	var first string
	// Who is no active operator any more counts for nothing, whatever it said before: else
	// one person frees alone what another, who was sent away, had proposed.
	err = t.QueryRowContext(t.ctx, `SELECT operator FROM releases JOIN users ON local_id = operator AND role = ? AND disabled = 0
	    WHERE document_hash IS ? AND operator <> ? AND `+releaseCounts+" LIMIT 1",
		string(OperatorRole), target, operator.Local, millis(t.now.Add(-releaseValid))).Scan(&first)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		var own int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM releases WHERE document_hash IS ? AND operator = ? AND "+releaseCounts,
			target, operator.Local, millis(t.now.Add(-releaseValid))).Scan(&own); err != nil {
			return false, err
		}
		if own > 0 {
			return false, refuse(Conflict, "conflict", "you have proposed this release already; another operator must confirm it")
		}
	case err != nil:
		return false, err
	default:
		done = true
	}
	if err := t.exec("INSERT INTO releases (document_hash, operator, reason, evidence, at) VALUES (?, ?, ?, ?, ?)",
		target, operator.Local, o.Reason, o.Evidence, millis(t.now)); err != nil {
		return false, err
	}
	action := "witness.propose"
	if done {
		action = "witness.release"
	}
	return done, t.audit(operator.Local, action, o.Document, what+": "+clip(o.Reason)+"; evidence "+envelope.HashOf(o.Evidence).String())
}

// releaseBill lets a bill be what the database says it is.
func (t *tx) releaseBill(o ReleaseOrder) error {
	if err := t.exec("DELETE FROM quarantine WHERE document_hash = ?", o.Document[:]); err != nil {
		return err
	}
	if err := t.exec("UPDATE releases SET done_at = ? WHERE document_hash = ? AND done_at IS NULL", millis(t.now), o.Document[:]); err != nil {
		return err
	}
	var head envelope.Hash
	b, err := loadBill(t.ctx, t, o.Document)
	if err != nil {
		return err
	}
	if b != nil {
		head = b.state.Head
	}
	return t.witness(record{kind: recordReleased, document: o.Document, head: head})
}

// beginAnew makes a new journal, which begins where the database stands.
func (n *Node) beginAnew(ctx context.Context) error {
	p, err := loadPlace(ctx, n.store.read)
	if err != nil {
		return err
	}
	j, err := witness.Create(n.cfg.witnessPath(), witness.Identity{Domain: n.Domain().String(), ID: p.node}, p.generation, witness.Hash(p.hash))
	if err != nil {
		e := refuse(NotPossible, "notPossible", "a new witness cannot be made at %s; if a file is there, move it away and keep it, then confirm again", n.cfg.witnessPath())
		e.Err = err
		return e
	}
	err = n.store.update(ctx, func(t *tx) error {
		if err := t.exec("UPDATE witness SET log = 0"); err != nil { // the new journal knows nothing of the audit log
			return err
		}
		return t.exec("UPDATE releases SET done_at = ? WHERE document_hash IS NULL AND done_at IS NULL", millis(t.now))
	})
	if err != nil {
		return fmt.Errorf("ending the release: %w", errors.Join(err, j.Close()))
	}
	n.log.Warn("two operators have released everything; a new witness begins", "generation", p.generation)
	return n.witnessFound(ctx, j)
}
