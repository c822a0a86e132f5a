package node

import (
	"context"
	"database/sql"
	"errors"
	"time"
	"unicode/utf8"

	"eblnode/envelope"
)

// What no signature decides two operators decide, each with a token of its own: one
// proposes, another confirms the very same. Both, and what they based it on, are kept
// for ever. A right to the data folder is more than any operator has: docs/SECURITY.md.

// A Proposal is what one operator asks another to confirm.
type Proposal struct {
	ID          int64
	Outcome     string
	Reason      string
	EvidenceSum envelope.Hash // SHA-256 of the evidence; zero where there is none
	Evidence    []byte        // nil in lists
	ProposedBy  string
	ProposedAt  time.Time
	ConfirmedBy string    // "" while open
	ConfirmedAt time.Time // zero while open
}

// What proposals are about.
const (
	rejectKind  = "reject"  // a block refused without a signature, by its request hash
	resolveKind = "resolve" // a transfer, by its id
)

// The limits of what operators write.
const (
	maxReason   = 1000    // characters
	MaxEvidence = 4 << 20 // bytes
)

func operator(u *User) *Error {
	if u.Role != OperatorRole {
		return refuse(Forbidden, TextForbidden, "only a user with the role operator does this")
	}
	return nil
}

func checkReason(reason string) *Error {
	if n := utf8.RuneCountInString(reason); n == 0 || n > maxReason {
		return refuse(Malformed, "malformed", "say why, in 1 to %d characters", maxReason)
	}
	return nil
}

const proposalColumns = "id, outcome, reason, evidence_sum, proposed_by, proposed_at, coalesce(confirmed_by, ''), confirmed_at"

func scanProposal(row interface{ Scan(...any) error }) (*Proposal, error) {
	p := &Proposal{}
	var at int64
	var confirmed sql.NullInt64
	if err := row.Scan(&p.ID, &p.Outcome, &p.Reason, sqlHash{&p.EvidenceSum}, &p.ProposedBy, &at, &p.ConfirmedBy, &confirmed); err != nil {
		return nil, err
	}
	p.ProposedAt = fromMillis(at)
	if confirmed.Valid {
		p.ConfirmedAt = fromMillis(confirmed.Int64)
	}
	return p, nil
}

// lastProposal is the open proposal on a subject, or the one that was confirmed; nil if
// there is none.
func lastProposal(ctx context.Context, q querier, kind, subject string) (*Proposal, error) {
	p, err := scanProposal(q.QueryRowContext(ctx, "SELECT "+proposalColumns+
		" FROM proposals WHERE kind = ? AND subject = ? AND withdrawn_at IS NULL ORDER BY id DESC LIMIT 1", kind, subject))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return p, err
}

// propose stores a proposal; one that is open on the same subject is withdrawn.
func (t *tx) propose(u *User, kind, subject string, p Proposal) error {
	if err := t.exec("UPDATE proposals SET withdrawn_at = ? WHERE kind = ? AND subject = ? AND confirmed_by IS NULL AND withdrawn_at IS NULL",
		millis(t.now), kind, subject); err != nil {
		return err
	}
	sum := evidenceSum(p.Evidence)
	if err := t.exec("INSERT INTO proposals (kind, subject, outcome, reason, evidence, evidence_sum, proposed_by, proposed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		kind, subject, p.Outcome, p.Reason, p.Evidence, sum[:], u.Local, millis(t.now)); err != nil {
		return err
	}
	return t.audit(u.Local, kind+".propose", envelope.Hash{}, subject+" "+p.Outcome+" evidence "+sum.String()+": "+p.Reason)
}

// evidenceSum names what a proposal rests on; zero where that is its reason alone.
func evidenceSum(evidence []byte) envelope.Hash {
	if len(evidence) == 0 {
		return envelope.Hash{}
	}
	return envelope.HashOf(evidence)
}

// confirm is the second operator's yes to exactly this outcome and evidence, so that
// what is confirmed is what was looked at.
func (t *tx) confirm(u *User, kind, subject, outcome string, evidence envelope.Hash) error {
	p, err := lastProposal(t.ctx, t, kind, subject)
	if err != nil {
		return err
	}
	switch {
	case p == nil || p.ConfirmedBy != "":
		return refuse(Conflict, TextNotProposed, "there is nothing open to confirm; another operator proposes first")
	case p.ProposedBy == u.Local:
		return refuse(Conflict, TextSecondOperator, "you proposed this; another operator must confirm it")
	case p.Outcome != outcome || p.EvidenceSum != evidence:
		return refuse(Conflict, TextNotProposed, "what was proposed is %s with evidence of SHA-256 %s, which is not this", p.Outcome, p.EvidenceSum)
	}
	first, err := loadUser(t.ctx, t, p.ProposedBy)
	if err != nil {
		return err
	}
	if first == nil || first.Disabled || first.Role != OperatorRole {
		return refuse(Conflict, TextNotProposed, "%s, who proposed this, is no active operator any more; propose it again", p.ProposedBy)
	}
	if err := t.execOne("UPDATE proposals SET confirmed_by = ?, confirmed_at = ? WHERE id = ? AND confirmed_by IS NULL", u.Local, millis(t.now), p.ID); err != nil {
		return err
	}
	return t.audit(u.Local, kind+".confirm", envelope.Hash{}, subject+" "+outcome+" proposed by "+p.ProposedBy)
}

// A decision is a confirmed proposal as the witness keeps it: a database that is restored
// must know again who decided, and on what.
type decision struct {
	Reason      string `json:"reason"`
	Evidence    []byte `json:"evidence,omitempty"`
	ProposedBy  string `json:"proposedBy"`
	ProposedAt  int64  `json:"proposedAt"`
	ConfirmedBy string `json:"confirmedBy"`
	ConfirmedAt int64  `json:"confirmedAt"`
}

// decided reads what was just confirmed about a subject.
func (t *tx) decided(kind, subject string) (*decision, error) {
	d := &decision{}
	err := t.QueryRowContext(t.ctx, `SELECT reason, evidence, proposed_by, proposed_at, confirmed_by, confirmed_at FROM proposals
	  WHERE kind = ? AND subject = ? AND confirmed_by IS NOT NULL ORDER BY id DESC LIMIT 1`, kind, subject).
		Scan(&d.Reason, &d.Evidence, &d.ProposedBy, &d.ProposedAt, &d.ConfirmedBy, &d.ConfirmedAt)
	return d, err
}

// decideAgain enters a decision that the witness has and the database has not. What was
// proposed before the backup, this or other, is withdrawn: it is as if proposed anew.
func (t *tx) decideAgain(kind, subject, outcome string, d decision) error {
	if err := t.exec("UPDATE proposals SET withdrawn_at = ? WHERE kind = ? AND subject = ? AND confirmed_by IS NULL AND withdrawn_at IS NULL",
		millis(t.now), kind, subject); err != nil {
		return err
	}
	sum := evidenceSum(d.Evidence)
	if err := t.exec(`INSERT INTO proposals (kind, subject, outcome, reason, evidence, evidence_sum, proposed_by, proposed_at, confirmed_by, confirmed_at)
	  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, kind, subject, outcome, d.Reason, d.Evidence, sum[:], d.ProposedBy, d.ProposedAt, d.ConfirmedBy, d.ConfirmedAt); err != nil {
		return err
	}
	return t.audit(d.ConfirmedBy, kind+".confirm", envelope.Hash{}, subject+" "+outcome+" proposed by "+d.ProposedBy+", from the witness")
}
