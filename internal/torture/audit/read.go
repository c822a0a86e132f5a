package audit

import (
	"database/sql"
	"fmt"

	"eblnode/envelope"
)

func (a *auditor) readBills(db *sql.DB, l *ledger) error {
	err := a.scan(db, func(r *sql.Rows) error {
		b := &bill{}
		var hash []byte
		if err := r.Scan(&b.id, &hash, &b.document, &b.issuing, &b.issuer, &b.possessor, &b.status, &b.returned, &b.head, &b.length, &b.control); err != nil {
			return err
		}
		b.hash = hashOf(hash)
		l.bills[b.hash], l.byID[b.id] = b, b
		return nil
	}, "SELECT id, document_hash, document, issuing, issuer, possessor, status, returned_by, head, length, control FROM bills JOIN documents ON bill = id")
	if err != nil {
		return err
	}
	err = a.scan(db, func(r *sql.Rows) error {
		var id int64
		var e entry
		var hash, claimed []byte
		if err := r.Scan(&id, &e.idx, &hash, &claimed, &e.jws); err != nil {
			return err
		}
		b := l.byID[id]
		if b == nil {
			a.report.wrong("%s: an entry of bill %d, which does not exist", l.domain, id)
			return nil
		}
		e.hash, e.claimed = hashOf(hash), hashOf(claimed)
		b.entries = append(b.entries, e)
		return nil
	}, "SELECT bill, idx, hash, claimed, jws FROM entries ORDER BY bill, idx")
	if err != nil {
		return err
	}
	return a.scan(db, func(r *sql.Rows) error {
		var id int64
		var s step
		if err := r.Scan(&id, &s.jws, &s.tx, &s.sealed); err != nil {
			return err
		}
		b := l.byID[id]
		if b == nil {
			return fmt.Errorf("a step of bill %d, which does not exist", id)
		}
		b.steps = append(b.steps, s)
		return nil
	}, "SELECT bill, jws, tx, sealed FROM steps ORDER BY bill, seq")
}

func (a *auditor) readTransfers(db *sql.DB, l *ledger) error {
	return a.scan(db, func(r *sql.Rows) error {
		x := &transfer{}
		var hash []byte
		if err := r.Scan(&x.id, &x.bill, &x.peer, &x.state, &x.idx, &hash, &x.jws, &x.verdict, &x.settled, &x.attempts); err != nil {
			return err
		}
		x.hash = hashOf(hash)
		l.transfers[x.id] = x
		l.byHash[x.hash] = append(l.byHash[x.hash], x)
		b := l.byID[x.bill]
		if b == nil {
			a.report.wrong("%s: transfer %s is of bill %d, which does not exist", l.domain, x.id, x.bill)
			return nil
		}
		if x.state == "prepared" || x.state == "sending" || x.state == "disputed" {
			if b.open != nil {
				a.report.wrong("%s: bill %s has two open transfers, %s and %s", l.domain, b.hash, b.open.id, x.id)
			}
			b.open = x
			a.report.Open++
		}
		return nil
	}, `SELECT id, bill, peer, state, idx, envelope_hash, jws, coalesce(verdict, ''), coalesce(settled_by, ''), attempts FROM transfers ORDER BY seq`)
}

func (a *auditor) readAnswers(db *sql.DB, l *ledger) error {
	err := a.scan(db, func(r *sql.Rows) error {
		var hash []byte
		var c receipt
		if err := r.Scan(&hash, &c.bill, &c.idx, &c.peer, &c.text); err != nil {
			return err
		}
		l.received[hashOf(hash)] = c
		return nil
	}, "SELECT envelope_hash, bill, idx, peer, receipt FROM receipts")
	if err != nil {
		return err
	}
	err = a.scan(db, func(r *sql.Rows) error {
		var hash []byte
		var code, text string
		if err := r.Scan(&hash, &code, &text); err != nil {
			return err
		}
		l.rejected[text] = true
		if code == "BENV" {
			l.refused[hashOf(hash)]++
		}
		return nil
	}, "SELECT envelope_hash, code, rejection FROM rejections")
	if err != nil {
		return err
	}
	err = a.scan(db, func(r *sql.Rows) error {
		var id int64
		var text string
		if err := r.Scan(&id, &text); err != nil {
			return err
		}
		if b := l.byID[id]; b != nil {
			b.verdict = text
		}
		return nil
	}, "SELECT bill, verdict FROM verdicts")
	if err != nil {
		return err
	}
	return a.scan(db, func(r *sql.Rows) error { return r.Scan(&a.report.Forks) },
		fmt.Sprintf("SELECT %d + count(*) FROM branches", a.report.Forks))
}

// readDecisions reads what two operators decided of transfers, each by another one than
// proposed it, on evidence that is what its sum says.
func (a *auditor) readDecisions(db *sql.DB, l *ledger) error {
	return a.scan(db, func(r *sql.Rows) error {
		var transfer, outcome, proposed, confirmed string
		var evidence, sum []byte
		if err := r.Scan(&transfer, &outcome, &evidence, &sum, &proposed, &confirmed); err != nil {
			return err
		}
		if got := envelope.HashOf(evidence); len(evidence) == 0 || got != hashOf(sum) {
			a.report.wrong("%s: transfer %s: the evidence of the operators' decision is not the one they confirmed", l.domain, transfer)
		}
		if proposed == confirmed {
			a.report.wrong("%s: transfer %s was settled by one operator alone, %s", l.domain, transfer, proposed)
		}
		l.decided[transfer] = outcome
		return nil
	}, "SELECT subject, outcome, evidence, evidence_sum, proposed_by, confirmed_by FROM proposals WHERE kind = 'resolve' AND confirmed_by IS NOT NULL")
}
