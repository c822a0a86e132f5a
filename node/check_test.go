package node_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// checkNode fails the test unless everything that p's node has stored agrees: each chain
// is replayed from its bytes and the outcome compared with what the node believes. It
// reads the database with its own queries and none of the node's.
func checkNode(t testing.TB, p *ebltest.Platform) {
	t.Helper()
	checkRows(t, p)
	mustBeClean(t, p)
}

// checkRows is the part of checkNode that holds a snapshot. While one is held, a database whose
// commit has failed is not believed again: who asks for that waits for five seconds.
func checkRows(t testing.TB, p *ebltest.Platform) {
	t.Helper()
	c := &checker{t: t, p: p, db: snapshot(t, p), trust: honest(t, p)}
	defer release(t, c.db)
	for _, b := range c.rows("SELECT id, document_hash, document, issuing, issuer, possessor, status, returned_by, head, length, control, live, to_order FROM bills JOIN documents ON bill = id ORDER BY id") {
		c.bill(b)
	}
	c.receipts()
	c.rejections()
	c.events()
	c.audit()
}

// mustBeClean fails the test unless the node's own check finds nothing either.
func mustBeClean(t testing.TB, p *ebltest.Platform) *node.FsckReport {
	t.Helper()
	r, err := p.Node().Fsck(context.Background(), node.FsckOptions{})
	if err != nil {
		t.Fatalf("%s: fsck: %v", p.Domain(), err)
	}
	for _, f := range r.Findings {
		t.Errorf("%s: fsck: %s", p.Domain(), f)
	}
	return r
}

// checkAll is checkNode for every node of the network, and that no bill is held twice and
// all chains of one bill are one path.
func checkAll(t testing.TB, w *ebltest.Network) {
	t.Helper()
	held, longest := map[string][]string{}, map[string][]string{}
	type copyOf struct{ document, at string }
	chains := map[copyOf][]string{}
	for _, p := range w.Platforms() {
		checkNode(t, p)
		c := &checker{t: t, p: p, db: snapshot(t, p)}
		for _, r := range c.rows("SELECT id, document_hash, control, possessor FROM bills") {
			doc := fmt.Sprintf("%x", r["document_hash"])
			if r["control"] == string(node.Held) {
				held[doc] = append(held[doc], fmt.Sprint(r["possessor"]))
			}
			var hashes []string
			for _, e := range c.rows("SELECT hash FROM entries WHERE bill = ? ORDER BY idx", r["id"]) {
				hashes = append(hashes, fmt.Sprintf("%x", e["hash"]))
			}
			chains[copyOf{doc, p.Domain().String()}] = hashes
			if len(hashes) > len(longest[doc]) {
				longest[doc] = hashes
			}
		}
		release(t, c.db)
	}
	for doc, who := range held {
		if len(who) > 1 {
			t.Errorf("bill %s exists twice: held by %v", doc, who)
		}
	}
	for c, hashes := range chains {
		if !slices.Equal(hashes, longest[c.document][:len(hashes)]) {
			t.Errorf("bill %s: the chain at %s is not the beginning of the longest one", c.document, c.at)
		}
	}
}

// snapshot is the database as it is at this moment, until it is released.
func snapshot(t testing.TB, p *ebltest.Platform) *sql.Conn {
	t.Helper()
	ctx := context.Background()
	db, err := node.DB(p.Node()).Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "BEGIN DEFERRED"); err != nil {
		t.Fatal(err)
	}
	return db
}

func release(t testing.TB, db *sql.Conn) {
	if _, err := db.ExecContext(context.Background(), "ROLLBACK"); err != nil {
		t.Error(err)
	}
	_ = db.Close()
}

// honest is everybody whom p ever trusted, before any key was reported stolen: what is
// stored was verified then.
func honest(t testing.TB, p *ebltest.Platform) *identity.Trust {
	t.Helper()
	db := snapshot(t, p)
	defer release(t, db)
	all := []*identity.Platform{p.Entry}
	for _, r := range queryRows(t, db, "SELECT entry FROM peers") {
		ps, err := identity.ParseTrust([]byte(r["entry"].(string)))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range ps[0].Keys {
			k.Revoked, k.Reason = time.Time{}, ""
		}
		all = append(all, ps[0])
	}
	out, err := identity.NewTrust(all...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

type record = map[string]any

type checker struct {
	t     testing.TB
	p     *ebltest.Platform
	db    *sql.Conn
	trust *identity.Trust
	about string
}

func (c *checker) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("%s: %s%s", c.p.Domain(), c.about, fmt.Sprintf(format, args...))
}

// rows reads all columns; text and blobs as string and []byte, NULL as nil.
func (c *checker) rows(query string, args ...any) []record {
	c.t.Helper()
	return queryRows(c.t, c.db, query, args...)
}

func queryRows(t testing.TB, db *sql.Conn, query string, args ...any) []record {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var list []record
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			t.Fatal(err)
		}
		r := record{}
		for i, name := range names {
			r[name] = values[i]
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func hashOf(v any) (h envelope.Hash) {
	copy(h[:], v.([]byte))
	return h
}

// bill checks one row of bills with all that hangs on it.
func (c *checker) bill(b record) {
	c.about = fmt.Sprintf("bill %x: ", b["document_hash"])
	defer func() { c.about = "" }()
	s, entries := c.replay(b)
	s, steps := c.steps(b, s)
	open := c.transfers(b, entries, steps)
	if v := c.rows("SELECT verdict FROM verdicts WHERE bill = ?", b["id"]); len(v) > 0 {
		issuing, _ := c.trust.Find(s.Issuing)
		verdict, err := envelope.OpenVerdict(v[0]["verdict"].(string), issuing, time.Now())
		if err != nil {
			c.errorf("stored verdict: %v", err)
			return
		}
		if s, err = s.Conclude(verdict); err != nil {
			c.errorf("stored verdict: %v", err)
		}
	}
	text := func(i identity.Identifier) string {
		if i.IsZero() {
			return ""
		}
		return i.String()
	}
	for _, f := range []struct {
		name string
		want string
	}{{"possessor", text(s.Possessor)}, {"status", string(s.Status)}, {"returned_by", text(s.ReturnedBy)}, {"issuing", s.Issuing.String()}} {
		if b[f.name] != f.want {
			c.errorf("%s: got %v, replay gives %v", f.name, b[f.name], f.want)
		}
	}
	if hashOf(b["head"]) != s.Head || b["length"] != int64(s.Length) || (b["to_order"] == int64(1)) != s.ToOrder {
		c.errorf("head %x length %v toOrder %v: replay gives %s, %d and %v", b["head"], b["length"], b["to_order"], s.Head, s.Length, s.ToOrder)
	}
	c.control(b, s, open)
}

// replay verifies the stored chain from its bytes, signatures and all.
func (c *checker) replay(b record) (chain.State, []record) {
	entries := c.rows("SELECT id, idx, hash, claimed, jws, signer, key, signed_at FROM entries WHERE bill = ? ORDER BY idx", b["id"])
	document := b["document"].([]byte)
	if canonical, err := envelope.Canonicalize(document); err != nil || envelope.HashOf(canonical) != hashOf(b["document_hash"]) {
		c.errorf("the document is not the one of the hash (%v)", err)
	}
	s := chain.State{Document: hashOf(b["document_hash"])}
	if issuer := b["issuer"].(string); issuer != "" {
		s.Issuer, _ = identity.ParseIdentifier(issuer)
	}
	if len(entries) == 0 {
		return s, nil
	}
	block := &envelope.Transferblock{Document: document}
	for _, e := range entries {
		block.Entries = append(block.Entries, envelope.Entry{Claimed: hashOf(e["claimed"]), JWS: envelope.JWS{Raw: e["jws"].(string)}})
	}
	block, err := envelope.Parse(block.Marshal(false), envelope.Limits{})
	if err != nil {
		c.errorf("the stored chain: %v", err)
		return s, entries
	}
	kept, err := c.p.Node().EvidenceOf(context.Background(), hashOf(b["document_hash"]))
	if err != nil {
		c.errorf("the evidence: %v", err)
	}
	verified, err := chain.Verify(block, chain.Options{Trust: c.trust, Now: time.Now().Add(24 * time.Hour), Known: func(_ int, jws string) envelope.Known {
		ev := kept[envelope.HashOf([]byte(jws))]
		return envelope.Known{Since: ev.CheckedAt, Evidence: &ev}
	}})
	if err != nil {
		c.errorf("the stored chain: %v", err)
		return s, entries
	}
	for i, e := range entries {
		v := verified.Entries[i]
		if e["idx"] != int64(i) || hashOf(e["hash"]) != v.Hash || e["signer"] != v.Signer.String() || hashOf(e["key"]) != v.Key.Thumbprint() || e["signed_at"] != v.SignedAt.UnixMilli() {
			c.errorf("entry %d: the row says %v %x by %v, its bytes %s by %s", i, e["idx"], e["hash"], e["signer"], v.Hash, v.Signer)
		}
		if len(c.rows("SELECT 1 AS one FROM evidence_keys WHERE thumbprint = ?", e["key"])) != 1 {
			c.errorf("entry %d: no evidence of the key", i)
		}
		to := v.After.Possessor.Host
		got := len(c.rows("SELECT 1 AS one FROM receipts WHERE envelope_hash = ?", e["hash"]))
		if want := to == c.p.Domain(); got == 1 != want {
			c.errorf("entry %d from %s to %s: %d receipts of ours", i, v.Signer, to, got)
		}
		sent := len(c.rows("SELECT 1 AS one FROM transfers WHERE envelope_hash = ? AND bill = ? AND idx = ? AND state = 'accepted' AND jws = ?", e["hash"], b["id"], i, e["jws"]))
		if want := v.Signer == c.p.Domain(); sent == 1 != want {
			c.errorf("entry %d by %s: %d accepted transfers of ours", i, v.Signer, sent)
		}
	}
	issuer := s.Issuer
	s = verified.State
	s.Issuer = issuer
	return s, entries
}

// steps applies the steps since the head to s, and checks that they are linked.
func (c *checker) steps(b record, s chain.State) (chain.State, []string) {
	var open []string
	var previous envelope.Hash
	for i, r := range c.rows("SELECT seq, jws, tx, sealed FROM steps WHERE bill = ? ORDER BY seq", b["id"]) {
		if r["seq"] != int64(i) {
			c.errorf("step %v where %d should be", r["seq"], i)
		}
		st, err := envelope.OpenStep(r["jws"].(string), c.p.Entry)
		if err != nil || string(st.Transaction) != r["tx"] || st.DocumentHash != s.Document {
			c.errorf("step %d is not what was signed (%v)", i, err)
			continue
		}
		if sealed, ok := r["sealed"].(int64); ok {
			in := c.rows("SELECT jws FROM entries WHERE bill = ? AND idx = ? AND signer = ?", b["id"], sealed, c.p.Domain().String())
			if len(in) != 1 {
				c.errorf("step %d: no entry %d of ours", i, sealed)
			} else if j, err := envelope.ParseJWS(in[0]["jws"].(string)); err != nil || !bytes.Contains(j.Payload, st.Transaction) {
				c.errorf("step %d is not in entry %d as it was signed", i, sealed)
			}
			continue
		}
		if st.Head != s.Head || st.Index != len(open) || st.Previous != previous {
			c.errorf("step %d does not follow what is before it", i)
		}
		previous = envelope.HashOf([]byte(r["jws"].(string)))
		tx, err := envelope.ParseTransaction(st.Transaction)
		if err != nil {
			c.errorf("step %d: %v", i, err)
			continue
		}
		if s, err = s.Apply(chain.LawOf(tx, c.trust)); err != nil {
			c.errorf("step %d: %v", i, err)
		}
		open = append(open, string(st.Transaction))
	}
	return s, open
}

// transfers checks the outbox rows of the bill and gives the one that is open.
func (c *checker) transfers(b record, entries []record, steps []string) (open record) {
	for _, x := range c.rows("SELECT id, peer, state, idx, steps, envelope_hash, jws, sent_at, attempts, verdict, settled_by, settled_at FROM transfers WHERE bill = ? ORDER BY seq", b["id"]) {
		e, err := envelope.ParseEntry(x["jws"].(string), envelope.Limits{})
		if err != nil || e.Hash() != hashOf(x["envelope_hash"]) {
			c.errorf("transfer %v: not its envelope (%v)", x["id"], err)
			continue
		}
		if _, err := e.JWS.Verify(c.p.Entry, e.Payload.SignedAt(), true); err != nil {
			c.errorf("transfer %v: %v", x["id"], err)
		}
		host, _ := identity.ParseHost(x["peer"].(string))
		peer, _ := c.trust.Find(host)
		state := node.TransferState(x["state"].(string))
		inChain := slices.ContainsFunc(entries, func(r record) bool { return r["jws"] == x["jws"] })
		if settled := x["settled_at"] != nil; settled != (state != node.Prepared && state != node.Sending) || settled != (x["settled_by"] != nil) {
			c.errorf("transfer %v: %s, settled at %v by %v", x["id"], state, x["settled_at"], x["settled_by"])
		}
		if inChain != (state == node.Accepted) {
			c.errorf("transfer %v: %s, in the chain: %t", x["id"], state, inChain)
		}
		switch state {
		case node.Prepared:
			if x["sent_at"] != nil || x["attempts"] != int64(0) {
				c.errorf("transfer %v: prepared, but %v attempts", x["id"], x["attempts"])
			}
		case node.Accepted:
			c.acceptedBy(x, e, entries, peer)
		case node.Rejected, node.DisputedT:
			if x["settled_by"] == "operators" {
				c.confirmed(x, "held")
				break
			}
			verdict, _ := x["verdict"].(string)
			rej, err := envelope.OpenRejection(verdict, peer, time.Now())
			if err != nil || !rej.Answers(&e, c.p.Domain(), host) || (rej.Code == envelope.DisputeCode) != (state == node.DisputedT) {
				c.errorf("transfer %v: %s by %+v (%v)", x["id"], state, rej, err)
			}
		}
		if state == node.Prepared || state == node.Sending || state == node.DisputedT {
			if open != nil {
				c.errorf("two open transfers")
			}
			open = x
			c.opened(b, e, x, entries, steps)
		}
	}
	return open
}

// confirmed checks that two operators decided this end of a transfer.
func (c *checker) confirmed(x record, outcome string) {
	if p := c.rows("SELECT id FROM proposals WHERE kind = 'resolve' AND subject = ? AND outcome = ? AND confirmed_by <> proposed_by AND length(evidence) > 0", x["id"], outcome); len(p) != 1 {
		c.errorf("transfer %v was settled by operators, and %d proposals say so", x["id"], len(p))
	}
}

func (c *checker) acceptedBy(x record, e envelope.Entry, entries []record, peer *identity.Platform) {
	switch x["settled_by"] {
	case "receipt":
		if _, err := envelope.OpenReceipt([]byte(x["verdict"].(string)), e.Claimed, peer, time.Now()); err != nil {
			c.errorf("transfer %v: %v", x["id"], err)
		}
	case "chain":
		next := int(x["idx"].(int64)) + 1
		if next >= len(entries) || entries[next]["signer"] != x["peer"] {
			c.errorf("transfer %v is settled by a chain without an entry of %v after it", x["id"], x["peer"])
		}
	case "operators":
		c.confirmed(x, "away")
	default:
		c.errorf("transfer %v is accepted by %v", x["id"], x["settled_by"])
	}
}

// opened checks that an open transfer continues the chain and carries every step.
func (c *checker) opened(b record, e envelope.Entry, x record, entries []record, steps []string) {
	var head envelope.Hash
	if len(entries) > 0 {
		head = hashOf(entries[len(entries)-1]["claimed"])
	}
	if e.Payload.Previous != head || x["idx"] != b["length"] || x["steps"] != int64(len(steps)) || len(e.Payload.Transactions) != len(steps)+1 {
		c.errorf("the open transfer %v does not continue the chain with its %d steps", x["id"], len(steps))
	}
	for _, s := range steps {
		if !bytes.Contains(e.JWS.Payload, []byte(s)) {
			c.errorf("the open transfer %v lacks a step", x["id"])
		}
	}
}

// control checks what the node believes of the control of b, whose state is s.
func (c *checker) control(b record, s chain.State, open record) {
	want := node.Held
	switch {
	case s.Status == chain.Void:
		want = node.Voided
	case s.Possessor.Host != c.p.Domain():
		want = node.Away
	case open != nil && open["state"] == string(node.DisputedT):
		want = node.Disputed
	case open != nil:
		want = node.Locked
	}
	if b["control"] != string(want) {
		c.errorf("control: got %v, replay gives %s", b["control"], want)
	}
	live := want != node.Voided && (want != node.Away || s.Issuing == c.p.Domain())
	if b["live"] != map[bool]int64{true: 1}[live] {
		c.errorf("live: got %v, want %t", b["live"], live)
	}
	if want == node.Held && len(c.rows("SELECT 1 AS one FROM parties WHERE bill = ? AND local_id = ?", b["id"], s.Possessor.Local)) != 1 {
		c.errorf("%s holds it and may not see it", s.Possessor)
	}
	polls := len(c.rows("SELECT 1 AS one FROM verdict_polls WHERE bill = ?", b["id"]))
	if wantPoll := want == node.Away && s.Status.Pending() && s.Issuing != c.p.Domain() && s.ReturnedBy.Host == c.p.Domain(); polls == 1 != wantPoll {
		c.errorf("%d questions for the carrier's verdict, want %t", polls, wantPoll)
	}
}

// receipts: each is for an entry of a chain here, and nothing else was said of that.
func (c *checker) receipts() {
	for _, r := range c.rows(`SELECT r.envelope_hash, r.receipt, r.peer, e.claimed, e.signer, e.jws FROM receipts r
	  LEFT JOIN entries e ON e.bill = r.bill AND e.idx = r.idx AND e.hash = r.envelope_hash`) {
		if r["claimed"] == nil || r["signer"] != r["peer"] {
			c.errorf("the receipt for %x from %v is for no entry", r["envelope_hash"], r["peer"])
			continue
		}
		if _, err := envelope.OpenReceipt([]byte(r["receipt"].(string)), hashOf(r["claimed"]), c.p.Entry, time.Now()); err != nil {
			c.errorf("the receipt for %x: %v", r["envelope_hash"], err)
		}
		jws := envelope.HashOf([]byte(r["jws"].(string)))
		if no := c.rows("SELECT code FROM rejections WHERE envelope_hash = ? AND (code = 'BENV' OR jws_sum = ?)", r["envelope_hash"], jws[:]); len(no) > 0 {
			c.errorf("the envelope %x was accepted and rejected with %v", r["envelope_hash"], no[0]["code"])
		}
	}
}

// events: the newest one of a bill tells how its row is.
func (c *checker) events() {
	for _, r := range c.rows(`SELECT b.id, b.control, b.status, b.possessor, json_extract(e.data, '$.control') AS told, json_extract(e.data, '$.status') AS status_told,
	    coalesce(json_extract(e.data, '$.possessor'), '') AS possessor_told
	  FROM bills b LEFT JOIN events e ON e.id = (SELECT max(id) FROM events WHERE bill = b.id)`) {
		for column, told := range map[string]string{"control": "told", "status": "status_told", "possessor": "possessor_told"} {
			if fmt.Sprint(r[column]) != fmt.Sprint(r[told]) {
				c.t.Errorf("%s, bill %v: the newest event says %s %v, the row %v", c.p.Domain(), r["id"], column, r[told], r[column])
			}
		}
	}
}

func (c *checker) rejections() {
	for _, r := range c.rows("SELECT envelope_hash, jws_sum, request_sum, peer, code, rejection FROM rejections") {
		rej, err := envelope.OpenRejection(r["rejection"].(string), c.p.Entry, time.Now())
		if err != nil || rej.EnvelopeHash != hashOf(r["envelope_hash"]) || rej.JWSSum != hashOf(r["jws_sum"]) || string(rej.Code) != r["code"] ||
			rej.Sender.String() != r["peer"] || rej.Receiver != c.p.Domain() {
			c.errorf("the rejection of %x: %+v (%v)", r["envelope_hash"], rej, err)
		}
		if n := len(c.rows("SELECT 1 AS one FROM rejections WHERE request_sum = ? AND peer = ?", r["request_sum"], r["peer"])); n != 1 {
			c.errorf("one request was rejected %d times: it has no one answer", n)
		}
	}
}

func (c *checker) audit() {
	var previous []byte
	for i, r := range c.rows("SELECT id, at, actor, action, bill, detail, hash FROM audit ORDER BY id") {
		sum := node.AuditHash(previous, r["at"].(int64), []string{r["actor"].(string), r["action"].(string), hashOf(r["bill"]).String(), r["detail"].(string)})
		if r["id"] != int64(i+1) || !bytes.Equal(sum[:], r["hash"].([]byte)) {
			c.errorf("audit row %v does not follow the one before", r["id"])
		}
		previous = r["hash"].([]byte)
	}
}
