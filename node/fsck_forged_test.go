package node_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/internal/witness"
	"eblnode/node"
)

// These tests are somebody who can write to the database, and who has neither the keys nor
// the witness: each forgery is as consistent as the database alone lets it be.

// whileStopped opens the database of a node that does not run, without its guards.
func whileStopped(t *testing.T, p *ebltest.Platform, edit func(exec func(query string, args ...any), db *sql.DB)) {
	t.Helper()
	p.Stop()
	db, err := sql.Open("sqlite", filepath.Join(p.Dir, node.DatabaseFile))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	for _, r := range queryDB(t, db, "SELECT name FROM sqlite_master WHERE type = 'trigger'") {
		exec("DROP TRIGGER " + r)
	}
	edit(exec, db)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	p.Start()
}

func queryDB(t *testing.T, db *sql.DB, q string) (list []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// forgeAudit puts a row at the end of the log, with the hash that it must have.
func forgeAudit(t *testing.T, db *sql.DB, actor, action string, bill envelope.Hash, detail string) {
	t.Helper()
	var previous []byte
	if err := db.QueryRowContext(t.Context(), "SELECT hash FROM audit ORDER BY id DESC LIMIT 1").Scan(&previous); err != nil {
		t.Fatal(err)
	}
	at := time.Now().UnixMilli()
	sum := node.AuditHash(previous, at, []string{actor, action, bill.String(), detail})
	if _, err := db.ExecContext(t.Context(), "INSERT INTO audit (at, actor, action, bill, detail, hash) VALUES (?, ?, ?, ?, ?, ?)", at, actor, action, bill[:], detail, sum[:]); err != nil {
		t.Fatal(err)
	}
}

func mustFind(t *testing.T, p *ebltest.Platform, table, words string) {
	t.Helper()
	r, err := p.Node().Fsck(t.Context(), node.FsckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Findings, func(f node.Finding) bool { return f.Table == table && strings.Contains(f.What, words) && f.Cure != "" }) {
		t.Errorf("got %v, want a finding about %s with %q", r.Findings, table, words)
	}
}

// TestFsckNamesForgedEnds: a transfer that is in doubt or disputed is made to look ended, so
// that its bill looks free again.
func TestFsckNamesForgedEnds(t *testing.T) {
	const held = "UPDATE bills SET control = 'held' WHERE document_hash = ?"
	const unsent = "sent_at = NULL, attempts = 0, last_at = NULL, last_answer = ''"
	for name, f := range map[string]struct {
		disputed bool
		update   string
		held     bool
		operator bool
	}{
		"cancelled while in doubt":          {update: "state = 'cancelled', settled_by = 'cancel', settled_at = 1, " + unsent, held: true},
		"cancelled while disputed":          {disputed: true, update: "state = 'cancelled', settled_by = 'cancel', settled_at = 1, verdict = NULL, " + unsent, held: true},
		"never sent":                        {update: "state = 'prepared', " + unsent},
		"held by operators, while in doubt": {update: "state = 'rejected', settled_by = 'operators', settled_at = 1", held: true, operator: true},
		"held by operators, while disputed": {disputed: true, update: "state = 'rejected', settled_by = 'operators', settled_at = 1, verdict = NULL", held: true, operator: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
			a.User("one", node.OperatorRole)
			a.User("two", node.OperatorRole)
			x := tap(w)
			doc, id := inDoubt(t, a, x, b.User("bob").ID)
			if f.disputed {
				x.answer(func(from, to identity.Host, r node.Request, _ func() (node.Reply, error)) (node.Reply, error) {
					return reject(b.Signer, lastOf(r), from, to, "DISE"), nil
				})
				stop := a.Run()
				a.Settled(id, node.DisputedT)
				stop()
			}
			mustBeClean(t, a)
			whileStopped(t, a, func(exec func(string, ...any), db *sql.DB) {
				exec("DELETE FROM attempts")
				exec("DELETE FROM evidence WHERE jws_sum NOT IN (SELECT jws_sum FROM evidence JOIN entries ON 0)")
				exec("UPDATE transfers SET "+f.update+" WHERE id = ?", id)
				if f.held {
					exec(held, doc[:])
				}
				if f.operator {
					sum := envelope.HashOf(letter)
					exec(`INSERT INTO proposals (kind, subject, outcome, reason, evidence, evidence_sum, proposed_by, proposed_at, confirmed_by, confirmed_at)
					  VALUES ('resolve', ?, 'held', 'they wrote', ?, ?, 'one', ?, 'two', ?)`, id, letter, sum[:], time.Now().UnixMilli(), time.Now().UnixMilli())
					forgeAudit(t, db, "one", "resolve.propose", envelope.Hash{}, id+" held evidence "+sum.String()+": they wrote")
					exec("UPDATE proposals SET proposed_at = (SELECT at FROM audit ORDER BY id DESC LIMIT 1)")
					forgeAudit(t, db, "two", "resolve.confirm", envelope.Hash{}, id+" held proposed by one")
					exec("UPDATE proposals SET confirmed_at = (SELECT at FROM audit ORDER BY id DESC LIMIT 1)")
				}
			})
			mustFind(t, a, "transfers", "")
			if f.operator {
				mustFind(t, a, "audit", "the witness")
			}
			a.Issue(a.User("al").ID) // the node goes on, and vouches for nothing of it
			a.Restart()
			mustFind(t, a, "transfers", "")
			if f.operator {
				mustFind(t, a, "audit", "the witness")
			}
		})
	}
}

// TestFsckNamesForgedAuditRows: rows put behind the log while the node does not run, with all
// their hashes right, and the log written anew. The node that starts vouches for none of it.
func TestFsckNamesForgedAuditRows(t *testing.T) {
	for name, forge := range map[string]func(t *testing.T, exec func(string, ...any), db *sql.DB){
		"a row more": func(t *testing.T, _ func(string, ...any), db *sql.DB) {
			forgeAudit(t, db, "admin", "user.disable", envelope.Hash{}, "nobody")
		},
		"a row more, behind one that a node writes by itself": func(t *testing.T, exec func(string, ...any), db *sql.DB) {
			forgeAudit(t, db, "node", "self.change", envelope.Hash{}, "x")
			forgeAudit(t, db, "admin", "user.disable", envelope.Hash{}, "nobody")
			exec("UPDATE witness SET log = 0")
		},
		"said to be known": func(t *testing.T, exec func(string, ...any), db *sql.DB) {
			forgeAudit(t, db, "admin", "user.disable", envelope.Hash{}, "nobody")
			exec("UPDATE witness SET log = (SELECT max(id) FROM audit)")
		},
		"the newest cut off": func(_ *testing.T, exec func(string, ...any), _ *sql.DB) {
			exec("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)")
		},
		"written anew": func(t *testing.T, exec func(string, ...any), db *sql.DB) {
			exec("UPDATE audit SET actor = 'carl' WHERE action = 'user.disable'")
			var ids []int64
			for _, s := range queryDB(t, db, "SELECT id FROM audit ORDER BY id") {
				var id int64
				_, _ = fmt.Sscan(s, &id)
				ids = append(ids, id)
			}
			var previous []byte
			for _, id := range ids {
				var at int64
				var actor, action, detail string
				var bill []byte
				if err := db.QueryRowContext(t.Context(), "SELECT at, actor, action, bill, detail FROM audit WHERE id = ?", id).Scan(&at, &actor, &action, &bill, &detail); err != nil {
					t.Fatal(err)
				}
				sum := node.AuditHash(previous, at, []string{actor, action, fmt.Sprintf("%x", bill), detail})
				exec("UPDATE audit SET hash = ? WHERE id = ?", sum[:], id)
				previous = sum[:]
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := ebltest.New(t).Platform("a.example", ebltest.Manual())
			if err := a.Node().DisableUser(t.Context(), "admin", a.User("gone").Local); err != nil {
				t.Fatal(err)
			}
			a.Issue(a.User("al").ID)
			mustBeClean(t, a)
			whileStopped(t, a, func(exec func(string, ...any), db *sql.DB) { forge(t, exec, db) })
			mustFind(t, a, "audit", "witness")
			a.Issue(a.User("al").ID)
			a.User("another")
			a.Restart()
			mustFind(t, a, "audit", "witness")
		})
	}
}

// TestForgedRecordDoesNotCompleteTheWitness: after a crash the journal is completed from the
// database, but never with what somebody put there.
func TestForgedRecordDoesNotCompleteTheWitness(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
	doc, _ := inDoubt(t, a, tap(w), b.User("bob").ID)
	before := len(journal(t, a))
	whileStopped(t, a, func(exec func(string, ...any), db *sql.DB) {
		var generation int64
		var hash []byte
		if err := db.QueryRowContext(t.Context(), "SELECT generation, hash FROM witness").Scan(&generation, &hash); err != nil {
			t.Fatal(err)
		}
		l, err := witness.Encode(witness.Record{Generation: generation + 1, Previous: witness.Hash(hash), Document: witness.Hash(doc), Kind: "settled"})
		if err != nil {
			t.Fatal(err)
		}
		exec("DELETE FROM witness_pending")
		exec("INSERT INTO witness_pending (generation, line, seal) VALUES (?, ?, ?)", l.Generation, l.Text, make([]byte, 32))
		exec("UPDATE witness SET generation = ?, hash = ?", l.Generation, l.Hash[:])
	})
	if got := len(journal(t, a)); got != before {
		t.Errorf("the journal has %d records, want the %d that the node wrote", got, before)
	}
	if v := a.View(doc); !strings.Contains(v.Quarantine, "not of this node") {
		t.Errorf("got %q, want everything frozen", v.Quarantine)
	}
}

// TestForgedQuarantineIsNotEntered: a record that the witness never had, put where records
// wait to be entered again, frees no bill.
func TestForgedQuarantineIsNotEntered(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
	doc, id := inDoubt(t, a, tap(w), b.User("bob").ID)
	x := a.View(doc).Transfer
	whileStopped(t, a, func(exec func(string, ...any), _ *sql.DB) {
		l, err := witness.Encode(witness.Record{Generation: 999, Document: witness.Hash(doc), Head: witness.Hash(x.Envelope), Kind: "settled", Peer: "b.example",
			Data: fmt.Appendf(nil, `{"id":%q,"state":"cancelled","by":"cancel"}`, id)})
		if err != nil {
			t.Fatal(err)
		}
		exec("INSERT INTO quarantine (generation, document_hash, line, seal) VALUES (999, ?, ?, ?)", doc[:], l.Text, make([]byte, 32))
	})
	if v := a.View(doc); v.Control != node.Locked || v.Transfer.State != node.Sending || !strings.Contains(v.Reason, "not in the witness") {
		t.Errorf("got %s, %s: %s; want it locked and in quarantine", v.Control, v.Transfer.State, v.Reason)
	}
}

// TestTransferThatLeftAfterTheBackupIsNotCancelled: at the time of the backup nothing had
// left; then the addressee took the bill, and its receipt was lost.
func TestTransferThatLeftAfterTheBackupIsNotCancelled(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	x := tap(w)
	x.answer(lose)
	al := a.User("al")
	doc := a.Issue(al.ID)
	id := a.Move(al, doc, envelope.Transfer, b.User("bob").ID).Transfer
	old := backup(t, a)
	stop := a.Run()
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	stop()
	restore(t, a, old)
	_, err := a.Node().Cancel(t.Context(), al.User, id, node.Once{})
	mustRefuse(t, err, node.Conflict, "alreadySent")
	checkAll(t, w)
}

// TestRejectionByOperatorsAfterARestore: the backup knows nothing of the two people who
// rejected a block; the witness does.
func TestRejectionByOperatorsAfterARestore(t *testing.T) {
	for _, when := range []string{"before both", "between them"} {
		t.Run(when, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
			one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
			body, _ := b.Offer(a.User("al").ID)
			old := backup(t, a)
			for _, by := range []*ebltest.User{one, two} {
				if _, _, err := a.Node().RejectRefused(t.Context(), by.User, node.RejectOrder{Block: body, Reason: "it is not wanted"}); err != nil {
					t.Fatal(err)
				}
				if by == one && when == "between them" {
					old = backup(t, a)
				}
			}
			const people = "SELECT kind, subject, outcome, reason, evidence, evidence_sum, proposed_by, proposed_at, confirmed_by, confirmed_at FROM proposals WHERE confirmed_by IS NOT NULL"
			before, first := fmt.Sprint(query(t, a, people)), query(t, a, "SELECT rejection FROM rejections")
			restore(t, a, old)
			if after := fmt.Sprint(query(t, a, people)); after != before || !strings.Contains(after, "two") {
				t.Errorf("after the restore: got %s, want %s", after, before)
			}
			if again := query(t, a, "SELECT rejection FROM rejections"); fmt.Sprint(again) != fmt.Sprint(first) {
				t.Errorf("the rejection changed: got %v, want %v", again, first)
			}
			checkNode(t, a)
		})
	}
}

// TestFsckNamesForgedReleases: what operators said of a bill that the witness held back.
func TestFsckNamesForgedReleases(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
	old := backup(t, a)
	doc := w.Platform("b.example").Issue(a.User("al").ID)
	restore(t, a, old)
	for _, by := range []*ebltest.User{one, two} {
		if _, err := a.Node().Release(t.Context(), by.User, node.ReleaseOrder{Document: doc, Reason: "asked", Evidence: letter}); err != nil {
			t.Fatal(err)
		}
	}
	mustBeClean(t, a)
	unlock(t, a)
	nameEach(t, a, "releases")
}

// TestFsckNamesARejectionOfWhatWasAccepted: a platform that signs both a receipt and a no for
// one envelope has given its sender the bill back, and kept it.
func TestFsckNamesARejectionOfWhatWasAccepted(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
	body, _ := a.Offer(b.User("bob").ID)
	if _, err := b.Put(a, body); err != nil {
		t.Fatal(err)
	}
	block, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	last, now := block.Last(), time.Now()
	for _, c := range []struct {
		code  envelope.ResponseCode
		other bool // the no is for another signature over the same envelope: that is lawful
	}{{envelope.BadEnvelopeCode, false}, {envelope.BadSignatureCode, false}, {envelope.BadSignatureCode, true}} {
		no := envelope.Rejection{EnvelopeHash: last.Hash(), JWSSum: envelope.HashOf([]byte(last.JWS.Raw)), Sender: a.Domain(), Receiver: b.Domain(), Code: c.code, Reason: "no", At: now}
		if c.other {
			no.JWSSum[0]++
		}
		jws, err := envelope.SignRejection(no, b.Signer)
		if err != nil {
			t.Fatal(err)
		}
		sum := block.RequestSum()
		whileStopped(t, b, func(exec func(string, ...any), _ *sql.DB) {
			exec("DELETE FROM rejections")
			exec("INSERT INTO rejections (envelope_hash, jws_sum, request_sum, peer, code, refusal, rejection, at) VALUES (?, ?, ?, ?, ?, '{}', ?, ?)",
				no.EnvelopeHash[:], no.JWSSum[:], sum[:], a.Domain().String(), string(c.code), jws, now.UnixMilli())
		})
		r, err := b.Node().Fsck(t.Context(), node.FsckOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(r.Findings, func(f node.Finding) bool {
			return f.Table == "rejections" && strings.Contains(f.What, "was accepted, and rejected")
		})
		if found == c.other {
			t.Errorf("%s, another signature %t: found %t among %v", c.code, c.other, found, r.Findings)
		}
	}
}
