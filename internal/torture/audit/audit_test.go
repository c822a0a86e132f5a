package audit_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/internal/torture/audit"
	"eblnode/node"
)

// A world is three platforms that have stopped: one bill went from a to b, one stays on a
// after a local step, one was returned and is void, and one is on its way from c to b,
// one was rejected by b.
type world struct {
	dir            string
	trust          *identity.Trust
	seen           audit.Seen
	b              *ebltest.Platform
	moved, flying  envelope.Hash
	local, settled envelope.Hash
	refused        envelope.Hash
}

func newWorld(t *testing.T) *world {
	t.Helper()
	net := ebltest.New(t)
	a, b, c := net.Platform("a.example"), net.Platform("b.example", ebltest.NotIssuer()), net.Platform("c.example", ebltest.Manual())
	ann, al, bob, cy := a.User("ann"), a.User("al"), b.User("bob"), c.User("cy")
	w := &world{dir: t.TempDir(), b: b}

	w.moved = a.Issue(ann.ID)
	a.Transfer(ann, w.moved, bob.ID)
	w.local = a.Issue(ann.ID)
	a.Transfer(ann, w.local, al.ID)
	w.settled = a.Issue(ann.ID)
	a.Transfer(ann, w.settled, bob.ID)
	back := b.Move(bob, w.settled, envelope.Surrender, a.User("issuer").ID)
	b.Settled(back.Transfer, node.Accepted)
	if _, err := a.Node().Honour(t.Context(), a.User("issuer").User, w.settled, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	w.flying = c.Issue(cy.ID)
	c.Move(cy, w.flying, envelope.Transfer, bob.ID)

	w.refused = a.Issue(ann.ID)
	no := a.Settled(a.Move(ann, w.refused, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)

	v := a.View(w.moved)
	w.seen = audit.Seen{
		Issued: []string{w.moved.String(), w.local.String(), w.settled.String(), w.flying.String(), w.refused.String()},
		Transfers: []audit.Transfer{{Sender: "a.example", Receiver: "b.example", ID: v.Transfer.ID, Document: w.moved.String(),
			Envelope: v.Transfer.Envelope.String(), Receipt: v.Transfer.Verdict}},
		Receipts:   []audit.Receipt{{Receiver: "b.example", Envelope: v.Transfer.Envelope.String(), Text: v.Transfer.Verdict}},
		Rejections: []audit.Receipt{{Receiver: "b.example", Envelope: no.Envelope.String(), Text: no.Verdict}},
		Steps:      []audit.Step{{Node: "a.example", Document: w.local.String(), To: al.ID}},
		Voided:     []audit.Void{{Node: "a.example", Document: w.settled.String()}},
	}
	var entries []*identity.Platform
	for _, p := range net.Platforms() {
		p.Stop()
		entries = append(entries, p.Entry)
		text, err := os.ReadFile(filepath.Join(p.Dir, "node.db"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(w.dir, p.Domain().String()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.trust, err = identity.NewTrust(entries...); err != nil {
		t.Fatal(err)
	}
	return w
}

// audit runs the auditor over a copy of the databases, changed by statements of the form
// "platform: SQL".
func (w *world) audit(t *testing.T, changes ...string) *audit.Report {
	t.Helper()
	dir := t.TempDir()
	var nodes []audit.Node
	for _, d := range []string{"a.example", "b.example", "c.example"} {
		text, err := os.ReadFile(filepath.Join(w.dir, d))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, d), text, 0o600); err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, audit.Node{Domain: d, Database: filepath.Join(dir, d)})
	}
	for _, change := range changes {
		d, query, _ := strings.Cut(change, ": ")
		db, err := sql.Open("sqlite", filepath.Join(dir, d+".example"))
		if err != nil {
			t.Fatal(err)
		}
		res, err := db.Exec(query)
		if err != nil {
			t.Fatalf("%s: %v", change, err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			t.Fatalf("%s: changed %d rows, %v", change, n, err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	r, err := audit.Run(context.Background(), nodes, w.trust, w.seen)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCleanWorld: an auditor that finds fault with honest nodes is of no use.
func TestCleanWorld(t *testing.T) {
	r := newWorld(t).audit(t)
	if len(r.Findings) > 0 {
		t.Errorf("findings in a clean world:\n%s", strings.Join(r.Findings, "\n"))
	}
	for _, f := range []struct {
		name      string
		got, want int
	}{
		{"issued", r.Issued, 5}, {"held", r.Held, 3}, {"in flight", r.InFlight, 1}, {"terminal", r.Terminal, 1},
		{"accepted", r.Accepted, 3}, {"confirmed", r.Confirmed, 1}, {"receipts", r.Receipts, 3}, {"rejected", r.Rejected, 1}, {"rejections seen", r.SeenNo, 1},
		{"steps", r.Moved, 1}, {"void", r.Voided, 1},
	} {
		if f.got != f.want {
			t.Errorf("%s: got %d, want %d", f.name, f.got, f.want)
		}
	}
}

// TestEveryHarmIsFound is the negative control of the auditor: what a broken node could do
// to its database, and what must be said of it.
func TestEveryHarmIsFound(t *testing.T) {
	w := newWorld(t)
	hex := func(h envelope.Hash) string { return "x'" + h.String() + "'" }
	billOf := func(h envelope.Hash) string { return "(SELECT id FROM bills WHERE document_hash = " + hex(h) + ")" }
	sum, err := envelope.ParseHash(w.seen.Receipts[0].Envelope)
	if err != nil {
		t.Fatal(err)
	}
	again, err := envelope.SignReceipt(sum, w.b.Signer, time.Now().Add(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		changes []string
		want    string
	}{
		{"sender frees a bill that its peer accepted", []string{
			"a: UPDATE transfers SET state = 'rejected' WHERE bill = " + billOf(w.moved),
			"a: DELETE FROM entries WHERE bill = " + billOf(w.moved),
			"a: UPDATE steps SET sealed = NULL WHERE bill = " + billOf(w.moved),
			"a: UPDATE bills SET control = 'held', possessor = 'ann@a.example', head = zeroblob(32), length = 0 WHERE document_hash = " + hex(w.moved),
		}, "DOUBLED"},
		{"both hold", []string{"a: UPDATE bills SET control = 'held' WHERE document_hash = " + hex(w.moved)}, "DOUBLED"},
		{"receiver forgets a bill", []string{
			"b: DELETE FROM receipts WHERE bill = " + billOf(w.moved), "b: DELETE FROM entries WHERE bill = " + billOf(w.moved),
			"b: DELETE FROM parties WHERE bill = " + billOf(w.moved), "b: DELETE FROM bills WHERE document_hash = " + hex(w.moved)}, "LOST"},
		{"sender forgets a transfer", []string{"a: DELETE FROM transfers WHERE bill = " + billOf(w.moved)}, "LOST"},
		{"a bill in flight vanishes", []string{"c: UPDATE transfers SET state = 'cancelled'", "c: UPDATE bills SET control = 'away'"}, "LOST"},
		{"issuer forgets a bill", []string{"a: DELETE FROM parties WHERE bill = " + billOf(w.local), "a: DELETE FROM steps WHERE bill = " + billOf(w.local),
			"a: DELETE FROM bills WHERE document_hash = " + hex(w.local)}, "LOST"},
		{"a void bill lives again", []string{"a: UPDATE bills SET control = 'held', status = 'active', possessor = 'issuer@a.example' WHERE document_hash = " + hex(w.settled),
			"a: DELETE FROM verdicts"}, "by its signed bytes"},
		{"receipt signed again", []string{"b: UPDATE receipts SET receipt = '" + again + "' WHERE bill = " + billOf(w.moved)}, "CHANGED"},
		{"possessor changed", []string{"a: UPDATE bills SET possessor = 'ann@a.example' WHERE document_hash = " + hex(w.local)}, "by its signed bytes"},
		{"document changed", []string{"b: UPDATE documents SET document = x'7b7d' WHERE bill = " + billOf(w.moved)}, "another hash"},
		{"envelope damaged", []string{"b: UPDATE entries SET jws = substr(jws, 1, length(jws) - 10) || 'AAAAAAAAAA' WHERE bill = " + billOf(w.moved)}, "does not hold"},
		{"step taken out", []string{"a: DELETE FROM steps WHERE bill = " + billOf(w.local) + " AND seq = 1"}, "by its signed bytes"},
		{"an acknowledged step forgotten by all tables", []string{"a: DELETE FROM steps WHERE bill = " + billOf(w.local) + " AND seq = 1",
			"a: UPDATE bills SET possessor = 'ann@a.example' WHERE document_hash = " + hex(w.local)}, "0 steps say so: LOST"},
		{"an honoured return forgotten by all tables", []string{"a: DELETE FROM verdicts", "a: UPDATE bills SET control = 'held', status = 'surrenderPending', possessor = 'issuer@a.example' WHERE document_hash = " + hex(w.settled)},
			"was void, as its callers were told, and is not: LOST"},
		{"transfer open for ever on a held bill", []string{"c: UPDATE bills SET control = 'held'"}, "open transfer: true"},
		{"a rejection forgotten", []string{"b: DELETE FROM rejections"}, "CHANGED"},
		{"a bill freed by operators that said nothing", []string{"c: UPDATE transfers SET state = 'rejected', settled_by = 'operators'", "c: UPDATE bills SET control = 'held'"}, "what they confirmed"},
		{"a bill freed on other evidence", []string{"c: UPDATE transfers SET state = 'rejected', settled_by = 'operators'", "c: UPDATE bills SET control = 'held'",
			"c: INSERT INTO proposals (kind, subject, outcome, reason, evidence, evidence_sum, proposed_by, proposed_at, confirmed_by, confirmed_at) SELECT 'resolve', id, 'held', 'x', x'00', zeroblob(32), 'one', 1, 'two', 2 FROM transfers"},
			"not the one they confirmed"},
		{"an accepted envelope is said to be rejected", []string{"a: UPDATE transfers SET state = 'rejected' WHERE bill = " + billOf(w.moved)}, "DOUBLED"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := w.audit(t, c.changes...)
			if !strings.Contains(strings.Join(r.Findings, "\n"), c.want) {
				t.Errorf("got %d findings, want one with %q:\n%s", len(r.Findings), c.want, strings.Join(r.Findings, "\n"))
			}
		})
	}
}
