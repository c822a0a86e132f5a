package node

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"eblnode/envelope"
)

// An act is a row of the audit log that must have left a row in another table, which must
// have it in turn. The witness knows of each row of the log, so that whoever writes to the
// database alone can make neither.
type act struct {
	row, at int64
	note    string // who acted in the user's name
	taken   bool
}

// actTables are the tables that hold what each action left.
var actTables = map[string]string{
	"reject.propose": "proposals", "reject.confirm": "proposals", "resolve.propose": "proposals", "resolve.confirm": "proposals",
	"approval.ask": "approvals", "approval.approve": "approvals", "approval.reject": "approvals",
	"witness.propose": "releases", "witness.release": "releases", "transfer.late": "late_answers",
}

func actKey(action, actor string, bill envelope.Hash, detail string) string {
	return action + "\n" + actor + "\n" + bill.String() + "\n" + detail
}

// acted notes an act; told is its detail.
func (c *auditCheck) acted(a *auditRow, bill envelope.Hash) {
	detail, note := a.detail, ""
	if i := strings.LastIndex(detail, ` by {"`); i >= 0 {
		detail, note = detail[:i], detail[i:]
	}
	key := actKey(a.action, a.actor, bill, detail)
	c.acts[key] = append(c.acts[key], &act{row: a.id, at: a.at, note: note})
}

// take finds the act that a row rests on; at is its time, or 0 for any. nil: there is none.
func (c *auditCheck) take(key string, at int64) *act {
	for _, a := range c.acts[key] {
		if !a.taken && (at == 0 || a.at == at) {
			a.taken = true
			return a
		}
	}
	return nil
}

// operators compares what operators and second persons did with the audit log, both ways.
func (c *auditCheck) operators(ctx context.Context, q querier) error {
	for _, part := range []func(context.Context, querier) error{c.proposals, c.approvals, c.releases, c.late, c.holds, c.systemsAs} {
		if err := part(ctx, q); err != nil {
			return err
		}
	}
	for key, list := range c.acts {
		action, _, _ := strings.Cut(key, "\n")
		for _, a := range list {
			if !a.taken {
				c.wrong(actTables[action], fmt.Sprintf("audit row %d", a.row), "the log tells of %s, and nothing of it is there, or not as it was", action)
			}
		}
	}
	return nil
}

func (c *auditCheck) wrong(table, row, format string, args ...any) {
	c.list = append(c.list, Finding{Table: table, Row: row, What: fmt.Sprintf(format, args...), Cure: cureEvidence})
}

type storedProposal struct {
	id                             int64
	kind, subject, outcome, reason string
	evidence                       []byte
	sum                            []byte
	by, second                     string
	at                             int64
	withdrawn, confirmed           sql.NullInt64
}

const storedProposalColumns = `id, kind, subject, outcome, reason, evidence, evidence_sum, proposed_by, proposed_at, withdrawn_at, coalesce(confirmed_by, ''), confirmed_at`

func (p *storedProposal) scan(scan func(...any) error) error {
	return scan(&p.id, &p.kind, &p.subject, &p.outcome, &p.reason, &p.evidence, &p.sum, &p.by, &p.at, &p.withdrawn, &p.second, &p.confirmed)
}

func (c *auditCheck) proposals(ctx context.Context, q querier) error {
	open := map[string]int64{} // kind and subject → the newest proposal, which waits
	err := each(ctx, q, "SELECT "+storedProposalColumns+" FROM proposals ORDER BY id", nil, func(scan func(...any) error) error {
		var p storedProposal
		if err := p.scan(scan); err != nil {
			return err
		}
		bad := func(format string, args ...any) {
			c.wrong("proposals", fmt.Sprintf("proposal %d", p.id), format, args...)
		}
		if sum := evidenceSum(p.evidence); string(p.sum) != string(sum[:]) {
			bad("evidence, evidence_sum: the evidence is not the one that was given, which has the SHA-256 %x", p.sum)
		}
		confirm := p.subject + " " + p.outcome + " proposed by " + p.by
		again := p.confirmed.Valid && c.take(actKey(p.kind+".confirm", p.second, envelope.Hash{}, confirm+", from the witness"), 0) != nil
		if !again && c.take(actKey(p.kind+".propose", p.by, envelope.Hash{}, fmt.Sprintf("%s %s evidence %x: %s", p.subject, p.outcome, p.sum, p.reason)), p.at) == nil {
			bad("kind, subject, outcome, reason, evidence_sum, proposed_by, proposed_at: the audit log does not tell that %s proposed this", p.by)
		}
		if p.confirmed.Valid && !again && c.take(actKey(p.kind+".confirm", p.second, envelope.Hash{}, confirm), p.confirmed.Int64) == nil {
			bad("confirmed_by, confirmed_at: the audit log does not tell that %s confirmed this", p.second)
		}
		if p.confirmed.Valid && (p.second == p.by || p.withdrawn.Valid) {
			bad("confirmed_by: one operator for both, or it was withdrawn")
		}
		key := p.kind + " " + p.subject
		if before := open[key]; before != 0 {
			c.wrong("proposals", fmt.Sprintf("proposal %d", before), "withdrawn_at: proposal %d took its place", p.id)
		}
		delete(open, key)
		if !p.confirmed.Valid && !p.withdrawn.Valid {
			open[key] = p.id
		}
		c.withdrawn[key] = 0
		if p.withdrawn.Valid {
			c.withdrawn[key] = p.id
		}
		return nil
	})
	for _, id := range c.withdrawn {
		if id != 0 {
			c.wrong("proposals", fmt.Sprintf("proposal %d", id), "withdrawn_at: no other one took its place")
		}
	}
	return err
}

func (c *auditCheck) approvals(ctx context.Context, q querier) error {
	return each(ctx, q, "SELECT "+approvalColumns+", kind, version FROM approvals", nil, func(scan func(...any) error) error {
		var kind string
		var version int64
		a, err := scanApproval(scanner(func(to ...any) error { return scan(append(to, &kind, &version)...) }))
		if err != nil {
			c.wrong("approvals", "", "content, act, outcome: %v", err)
			return nil
		}
		bad := func(format string, args ...any) { c.wrong("approvals", "order "+a.ID, format, args...) }
		if orderSum(a.User, kind, a.Document, a.Order) != a.Request {
			bad("request_sum, content: it is not the order that was asked")
		}
		asked := c.take(actKey("approval.ask", a.User, envelope.Hash{},
			fmt.Sprintf("%s %s of %s order %s version %d until %d", a.ID, a.Kind, a.Document, a.Request, version, millis(a.ExpiresAt))), millis(a.AskedAt))
		if asked == nil || asked.note != a.Act.note() {
			bad("the audit log does not tell that %s asked this", a.User)
		}
		if a.State != ApprovalRejected && a.Reason != "" {
			bad("reason: an order that is %s has none", a.State)
		}
		var done *act
		switch a.State {
		case ApprovalApproved:
			done = c.take(actKey("approval.approve", a.DecidedBy, envelope.Hash{}, a.ID+" of "+a.User), millis(a.DecidedAt))
		case ApprovalRejected:
			done = c.take(actKey("approval.reject", a.DecidedBy, envelope.Hash{}, a.ID+" of "+a.User+": "+a.Reason), millis(a.DecidedAt))
		case ApprovalPending:
			return nil
		case ApprovalExpired:
			if a.DecidedAt != a.ExpiresAt || a.DecidedBy != "" {
				bad("decided_by, decided_at: nobody decided an order that expired")
			}
			return nil
		}
		if done == nil {
			bad("state, decided_by, decided_at, reason: the audit log does not tell that %q decided this", a.DecidedBy)
		}
		return nil
	})
}

func (c *auditCheck) releases(ctx context.Context, q querier) error {
	return each(ctx, q, "SELECT id, coalesce(document_hash, x''), operator, reason, evidence, at, done_at FROM releases ORDER BY id", nil, func(scan func(...any) error) error {
		var id, at int64
		var document, evidence []byte
		var operator, reason string
		var done sql.NullInt64
		if err := scan(&id, &document, &operator, &reason, &evidence, &at, &done); err != nil {
			return err
		}
		var bill envelope.Hash
		what := "everything"
		if copy(bill[:], document) > 0 {
			what = bill.String()
		}
		detail := what + ": " + clip(reason) + "; evidence " + envelope.HashOf(evidence).String()
		if c.take(actKey("witness.propose", operator, bill, detail), at) == nil && c.take(actKey("witness.release", operator, bill, detail), at) == nil {
			c.wrong("releases", fmt.Sprintf("release %d", id), "document_hash, operator, reason, evidence, at: the audit log does not tell that %s said this", operator)
		}
		// That of everything is done once the new witness is there.
		second := slices.ContainsFunc(c.released[bill], func(t int64) bool {
			return t >= at && (!done.Valid || t == done.Int64 || bill.IsZero() && t <= done.Int64)
		})
		if done.Valid && !second || !done.Valid && second && !bill.IsZero() {
			c.wrong("releases", fmt.Sprintf("release %d", id), "done_at: the audit log tells of a second operator at another time, or of none")
		}
		return nil
	})
}

func (c *auditCheck) late(ctx context.Context, q querier) error {
	return each(ctx, q, `SELECT l.id, l.answer, l.contradicts, l.at, x.peer, x.envelope_hash, b.document_hash
	  FROM late_answers l JOIN transfers x ON x.seq = l.transfer JOIN bills b ON b.id = x.bill`, nil, func(scan func(...any) error) error {
		var id, at int64
		var answer, peer string
		var contradicts int64
		var hash, bill envelope.Hash
		if err := scan(&id, &answer, &contradicts, &at, &peer, sqlHash{&hash}, sqlHash{&bill}); err != nil {
			return err
		}
		if contradicts&^1 != 0 || c.take(actKey("transfer.late", peer, bill, lateDetail(hash, answer, contradicts == 1)), at) == nil {
			c.wrong("late_answers", fmt.Sprintf("answer %d", id), "transfer, answer, contradicts, at: the audit log does not tell of this answer of %s", peer)
		}
		return nil
	})
}

// lateDetail is what the audit log says of an answer that came after the operators.
func lateDetail(hash envelope.Hash, answer string, contradicts bool) string {
	return fmt.Sprintf("%s answer %s contradicts: %t", hash, envelope.HashOf([]byte(answer)), contradicts)
}

// A holding is what the log says of the document of a bill.
type holding struct {
	held    string // operator, time and reason; "" if it is not held
	deleted int64  // when its time was over; 0: it is there
}

func (c *auditCheck) holds(ctx context.Context, q querier) error {
	held := map[envelope.Hash]string{}
	err := each(ctx, q, "SELECT b.document_hash, h.operator, h.reason, h.at FROM holds h JOIN bills b ON b.id = h.bill", nil, func(scan func(...any) error) error {
		var bill envelope.Hash
		var operator, reason string
		var at int64
		if err := scan(sqlHash{&bill}, &operator, &reason, &at); err != nil {
			return err
		}
		if held[bill] = heldText(operator, at, reason); c.held[bill].held != held[bill] {
			c.wrong("holds", "bill "+bill.String(), "bill, operator, reason, at: the audit log does not tell of this hold")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for bill, h := range c.held {
		if h.held != "" && held[bill] == "" {
			c.wrong("holds", "bill "+bill.String(), "the audit log tells of a hold that is not there")
		}
	}
	return each(ctx, q, "SELECT b.document_hash, d.at FROM deletions d JOIN bills b ON b.id = d.bill", nil, func(scan func(...any) error) error {
		var bill envelope.Hash
		var at int64
		err := scan(sqlHash{&bill}, &at)
		if c.held[bill].deleted != at {
			c.wrong("deletions", "bill "+bill.String(), "bill, at: the audit log does not tell that the document was deleted then")
		}
		return err
	})
}

func heldText(operator string, at int64, reason string) string {
	return fmt.Sprintf("%s\n%d\n%s", operator, at, reason)
}

// A toldSystem is a customer's system as the log has it.
type toldSystem struct {
	customers, keys string
	disabled        bool
}

func (c *auditCheck) systemsAs(ctx context.Context, q querier) error {
	seen := map[string]bool{}
	customers := map[string][]string{}
	err := each(ctx, q, "SELECT system, customer, local_id FROM system_customers ORDER BY system, customer", nil, func(scan func(...any) error) error {
		var system, customer, local string
		err := scan(&system, &customer, &local)
		customers[system] = append(customers[system], customer+"="+local)
		return err
	})
	if err != nil {
		return err
	}
	err = each(ctx, q, "SELECT name, keys, disabled FROM systems", nil, func(scan func(...any) error) error {
		var name, keys string
		var disabled bool
		if err := scan(&name, &keys, &disabled); err != nil {
			return err
		}
		seen[name] = true
		told, found := c.systems[name]
		if !found || told.keys != envelope.HashOf([]byte(keys)).String() || told.disabled != disabled {
			c.wrong("systems", name, "name, keys, disabled: the audit log does not tell of this system")
		}
		return nil
	})
	if err != nil {
		return err
	}
	for name, told := range c.systems {
		if !seen[name] {
			c.wrong("systems", name, "the audit log tells of a system that is not there")
		}
		slices.Sort(customers[name])
		if now := strings.Join(customers[name], " "); now != told.customers {
			c.wrong("system_customers", name, "system, customer, local_id: the rows say %q, the audit log %q", now, told.customers)
		}
		delete(customers, name)
	}
	for name := range customers {
		c.wrong("system_customers", name, "the audit log does not tell that this system acts for anybody")
	}
	return nil
}
