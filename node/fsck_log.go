package node

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"eblnode/envelope"
	"eblnode/identity"
)

// fsckRejections checks what we refused with our signature.
func (n *Node) fsckRejections(ctx context.Context, o FsckOptions, r *FsckReport) error {
	l, err := n.ledger(ctx, &FsckReport{}) // what is wrong with it is in the report already
	if err != nil {
		return err
	}
	const chunk = 1000
	// Newest first, so that a sample is of the newest.
	for before := int64(1) << 62; ; {
		var list []storedRejection
		err := n.store.snapshot(ctx, func(q querier) (err error) {
			list, err = loadRejections(ctx, q, before, chunk)
			return err
		})
		if err != nil {
			return err
		}
		for i := range list {
			r.add(l.rejection(&list[i])...)
			r.Rejections++
			before = list[i].id
		}
		if len(list) < chunk || o.Sample > 0 && r.Rejections >= o.Sample {
			return nil
		}
	}
}

func (l *ledger) rejection(s *storedRejection) (list []Finding) {
	bad := func(format string, args ...any) {
		list = append(list, Finding{Table: "rejections", Row: fmt.Sprintf("rejection %d of envelope %s", s.id, s.hash), What: fmt.Sprintf(format, args...), Cure: cureBackup})
	}
	rej, err := envelope.OpenRejection(s.rejection, l.us, fromMillis(s.at))
	if err != nil {
		bad("rejection: %v", err)
		return list
	}
	for _, col := range []struct{ name, row, want string }{
		{"envelope_hash", s.hash.String(), rej.EnvelopeHash.String()},
		{"jws_sum", s.jwsSum.String(), rej.JWSSum.String()},
		{"peer", s.peer, rej.Sender.String()},
		{"code", s.code, string(rej.Code)},
		{"rejection", l.domain.String(), rej.Receiver.String()},
	} {
		if col.row != col.want {
			bad("%s: the row says %s, what we signed %s", col.name, col.row, col.want)
		}
	}
	if s.at < millis(rej.At) { // later it may be: entered again from the witness
		bad("at: the row says %d, before the rejection was signed at %d", s.at, millis(rej.At))
	}
	var stored storedRefusal
	if err := json.Unmarshal([]byte(s.refusal), &stored); err != nil {
		bad("refusal: %v", err)
	} else if code, _ := responseCode(stored.error()); code != rej.Code || stored.Text != rej.Reason || stored.At != millis(rej.At) {
		bad("refusal: it says %d %s, what we signed %s %s", stored.Code, stored.Text, rej.Code, rej.Reason)
	}
	if s.same > 1 {
		bad("request_sum: the same request was rejected %d times and has no one answer", s.same)
	}
	return list
}

// An auditRow is a row of the log, with what its action must have left behind.
type auditRow struct {
	id, at                int64
	actor, action, detail string
	bill, hash            []byte

	known       bool           // the bill is there
	issuer      string         // of the bill
	receiptPeer sql.NullString // transfer.accept: its receipt
	request     []byte
	transfer    sql.NullString // the transfer's state
	refusal     sql.NullString // transfer.reject: the answer
	verdict     bool
}

// A toldUser is a user as the log has it: sums of its token's sum and of its particulars.
type toldUser struct {
	role, token, party string
	disabled           bool
}

// An auditCheck goes along the audit log.
type auditCheck struct {
	domain   string
	previous []byte
	next     int64
	own      string            // sum of our own entry as last published
	peers    map[string]string // domain → sum of the entry last added, with "-" before it once removed
	users    map[string]toldUser
	seconds  map[string]string // local id → its approvers, with commas between
	held     map[envelope.Hash]holding
	systems  map[string]toldSystem
	acts     map[string][]*act
	released map[envelope.Hash][]int64 // when the second operator released it
	// withdrawn is the newest proposal on each subject, if it was withdrawn.
	withdrawn map[string]int64
	list      []Finding
}

func (c *auditCheck) bad(table string, a *auditRow, cure, format string, args ...any) {
	f := Finding{Table: table, Row: fmt.Sprintf("audit row %d", a.id), What: fmt.Sprintf(format, args...), Cure: cure}
	copy(f.Bill[:], a.bill)
	c.list = append(c.list, f)
}

// fsckAudit checks that each row of the audit log is hashed with the one before it, and
// that what it tells is there.
func (n *Node) fsckAudit(ctx context.Context, o FsckOptions, r *FsckReport) error {
	c := &auditCheck{domain: n.Domain().String(), next: 1, peers: map[string]string{}, users: map[string]toldUser{}, seconds: map[string]string{},
		held: map[envelope.Hash]holding{}, systems: map[string]toldSystem{}, acts: map[string][]*act{}, released: map[envelope.Hash][]int64{}, withdrawn: map[string]int64{}}
	if o.Sample > 0 {
		err := n.store.snapshot(ctx, func(q querier) error { return c.startNear(ctx, q, o.Sample) })
		if err != nil {
			return err
		}
	}
	for more := true; more; {
		err := n.store.snapshot(ctx, func(q querier) (err error) {
			if more, err = c.rows(ctx, q, r); err != nil || more || o.Sample > 0 {
				return err
			}
			// In the snapshot of the last rows: the node goes on.
			if err := c.people(ctx, q); err != nil {
				return err
			}
			return c.operators(ctx, q)
		})
		if err != nil {
			return err
		}
		r.add(c.list...)
		c.list = nil
	}
	return nil
}

// rows checks some more rows; more tells that there may be others.
func (c *auditCheck) rows(ctx context.Context, q querier, r *FsckReport) (more bool, err error) {
	const chunk = 2000
	rows, err := loadAudit(ctx, q, c.next, chunk)
	if err != nil {
		return false, err
	}
	for i := range rows {
		c.row(&rows[i])
	}
	r.AuditRows += len(rows)
	return len(rows) == chunk, nil
}

// startNear begins n rows before the end of the log.
func (c *auditCheck) startNear(ctx context.Context, q querier, n int) error {
	var last sql64
	if err := q.QueryRowContext(ctx, "SELECT max(id) FROM audit").Scan(&last); err != nil {
		return err
	}
	if int64(last) <= int64(n) {
		return nil
	}
	c.next = int64(last) - int64(n) + 1
	return q.QueryRowContext(ctx, "SELECT hash FROM audit WHERE id = ?", c.next-1).Scan(&c.previous)
}

func (c *auditCheck) row(a *auditRow) {
	if a.id != c.next {
		c.bad("audit", a, cureEvidence, "id: rows from %d on are missing before it", c.next)
	}
	var bill envelope.Hash
	if len(a.bill) != len(bill) {
		c.bad("audit", a, cureEvidence, "bill: it is no hash")
	}
	copy(bill[:], a.bill)
	sum := auditHash(c.previous, a.at, []string{a.actor, a.action, bill.String(), a.detail})
	if !bytes.Equal(sum[:], a.hash) {
		c.bad("audit", a, cureEvidence, "hash: the row, or one before it, is not as it was written")
	}
	c.previous, c.next = a.hash, a.id+1
	c.left(a, bill)
}

// left checks that what the row tells is there.
func (c *auditCheck) left(a *auditRow, bill envelope.Hash) {
	word := strings.Fields(a.detail)
	if len(word) == 0 {
		word = []string{""}
	}
	if !bill.IsZero() && !a.known && a.action != "transfer.reject" && !strings.HasPrefix(a.action, "witness.") {
		c.bad("bills", a, cureEvidence, "the log tells of a bill that is not there (%s)", a.action)
		return
	}
	switch a.action {
	case "bill.issue":
		if want := a.actor + "@" + c.domain; a.issuer != want {
			c.bad("bills", a, cureState, "issuer: the row says %q, the log %s", a.issuer, want)
		}
	case "bill.honour", "verdict.take":
		if !a.verdict {
			c.bad("verdicts", a, cureEvidence, "the log tells of a verdict that is not there")
		}
	case "transfer.accept":
		switch {
		case !a.receiptPeer.Valid || a.receiptPeer.String != a.actor:
			c.bad("receipts", a, cureEvidence, "the receipt for envelope %s from %s is not there", word[0], a.actor)
		case fmt.Sprintf("%x", a.request) != word[len(word)-1]:
			c.bad("receipts", a, cureEvidence, "request_sum: it is not the request that was accepted")
		}
	case "transfer.reject":
		switch {
		case !a.refusal.Valid:
			c.bad("rejections", a, cureEvidence, "request_sum, envelope_hash, peer or code: the rejection of envelope %s from %s is not there", word[0], a.actor)
		case envelope.HashOf([]byte(a.refusal.String)).String() != word[len(word)-1]:
			c.bad("rejections", a, cureEvidence, "refusal: it is not the answer that was given")
		}
	case "transfer.prepare", "transfer.accepted", "transfer.rejected", "transfer.disputed":
		state := strings.TrimPrefix(a.action, "transfer.")
		if !a.transfer.Valid {
			c.bad("transfers", a, cureEvidence, "the transfer of envelope %s is not there", word[0])
		} else if (state == "accepted" || state == "rejected") && a.transfer.String != state {
			c.bad("transfers", a, cureState, "state: the row says %s, the log %s", a.transfer.String, state)
		}
	case "self.change":
		c.own = word[len(word)-1]
	case "peer.add":
		c.peers[word[0]] = word[len(word)-1]
	case "peer.remove":
		c.peers[word[0]] = "-" + c.peers[word[0]]
	case "user.add": // local id, role, "token", its sum, "party", its sum
		if len(word) == 6 {
			c.users[word[0]] = toldUser{role: word[1], token: word[3], party: word[5]}
		}
	case "user.token": // a new token for a user, who is active again
		u := c.users[word[0]]
		u.token, u.disabled = word[len(word)-1], false
		c.users[word[0]] = u
	case "user.approvers":
		c.seconds[word[0]] = strings.Join(word[1:], "")
	case "user.disable":
		u := c.users[word[0]]
		u.disabled = true
		c.users[word[0]] = u
	default:
		c.leftByOperators(a, bill, word)
	}
}

// leftByOperators notes what operators did, which is compared with the tables at the end.
func (c *auditCheck) leftByOperators(a *auditRow, bill envelope.Hash, word []string) {
	switch a.action {
	case "system.add": // name, "for", customer=local id …, "keys", their sum
		if len(word) > 4 {
			c.systems[word[0]] = toldSystem{customers: strings.Join(word[2:len(word)-2], " "), keys: word[len(word)-1]}
		}
	case "system.disable":
		s := c.systems[word[0]]
		s.disabled = true
		c.systems[word[0]] = s
	case "bill.held":
		c.held[bill] = holding{held: heldText(a.actor, a.at, a.detail), deleted: c.held[bill].deleted}
	case "bill.holdReleased":
		c.held[bill] = holding{deleted: c.held[bill].deleted}
	case "bill.documentDeleted":
		c.held[bill] = holding{deleted: a.at}
	}
	if a.action == "witness.release" {
		c.released[bill] = append(c.released[bill], a.at)
	}
	if actTables[a.action] != "" {
		c.acted(a, bill)
	}
}

// people compares peers and users with what the log says of them.
func (c *auditCheck) people(ctx context.Context, q querier) error {
	bad := func(table, row, cure, format string, args ...any) {
		c.list = append(c.list, Finding{Table: table, Row: row, What: fmt.Sprintf(format, args...), Cure: cure})
	}
	var own string
	if err := q.QueryRowContext(ctx, "SELECT entry FROM node").Scan(&own); err != nil {
		return err
	}
	if envelope.HashOf([]byte(own)).String() != c.own {
		bad("node", "", cureTrust, "entry: it is not the trust entry of ours that was last published")
	}
	err := each(ctx, q, "SELECT domain, entry, removed_at IS NOT NULL FROM peers", nil, func(scan func(...any) error) error {
		var p storedPeer
		if err := scan(&p.domain, &p.entry, &p.removed); err != nil {
			return err
		}
		sum, told := c.peers[p.domain]
		switch {
		case !told:
			bad("peers", p.domain, cureEvidence, "the log does not tell that this peer was added")
		case p.removed != strings.HasPrefix(sum, "-"):
			bad("peers", p.domain, cureEvidence, "removed_at: removed: %t, but the log tells otherwise", p.removed)
		case envelope.HashOf([]byte(p.entry)).String() != strings.TrimLeft(sum, "-"):
			bad("peers", p.domain, cureTrust, "entry: it is not the one that was added")
		}
		delete(c.peers, p.domain)
		return nil
	})
	if err != nil {
		return err
	}
	for domain := range c.peers {
		bad("peers", domain, cureTrust, "the log tells of a peer that is not there")
	}
	err = each(ctx, q, "SELECT local_id, role, disabled, token_sum, party FROM users", nil, func(scan func(...any) error) error {
		var local, role, particulars string
		var token []byte
		var disabled bool
		if err := scan(&local, &role, &disabled, &token, &particulars); err != nil {
			return err
		}
		told, found := c.users[local]
		switch {
		case !found:
			bad("users", local, cureEvidence, "the log does not tell that this user was added")
		case role != told.role:
			bad("users", local, cureEvidence, "role: the row says %s, the log %s", role, told.role)
		case disabled != told.disabled:
			bad("users", local, cureEvidence, "disabled: the row says %t, the log %t", disabled, told.disabled)
		case envelope.HashOf(token).String() != told.token:
			bad("users", local, cureEvidence, "token_sum: it is not that of the token that this user was given")
		case envelope.HashOf([]byte(particulars)).String() != told.party:
			bad("users", local, cureEvidence, "party: it is not what this user was added with")
		}
		if err := json.Unmarshal([]byte(particulars), &party{}); err != nil {
			bad("users", local, cureEvidence, "party: %v", err)
		}
		if err := identity.CheckLocal(local); err != nil {
			bad("users", local, cureEvidence, "local_id: %v", err)
		}
		delete(c.users, local)
		return nil
	})
	if err != nil {
		return err
	}
	for local := range c.users {
		bad("users", local, cureEvidence, "the log tells of a user that is not there")
	}
	return c.secondPersons(ctx, q, bad)
}

// secondPersons compares who must say yes to whose orders with what the log says: a row
// taken out would let one person do what two should.
func (c *auditCheck) secondPersons(ctx context.Context, q querier, bad func(table, row, cure, format string, args ...any)) error {
	now := map[string]string{}
	err := each(ctx, q, "SELECT local_id, approver FROM approvers ORDER BY local_id, approver", nil, func(scan func(...any) error) error {
		var local, approver string
		err := scan(&local, &approver)
		if now[local] != "" {
			approver = now[local] + "," + approver
		}
		now[local] = approver
		return err
	})
	if err != nil {
		return err
	}
	for local, list := range now {
		if told := c.seconds[local]; list != told {
			bad("approvers", local, cureEvidence, "approver, local_id: the rows say %s, the log %q", list, told)
		}
	}
	for local, told := range c.seconds {
		if told != "" && now[local] == "" {
			bad("approvers", local, cureEvidence, "the log tells of approvers that are not there: %s", told)
		}
	}
	return nil
}
