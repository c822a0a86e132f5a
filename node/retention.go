package node

import (
	"context"
	"strings"
	"time"

	"eblnode/envelope"
)

// MinRetention is the shortest time for which documents and evidence are kept: ten years
// of 366 days, since claims over a carriage last that long somewhere.
const MinRetention = 3660 * 24 * time.Hour

// retained is how many bills one transaction lets go.
const retained = 50

// retain deletes the documents, and the kept answers on certificates, of bills that ended
// longer ago than the configured time: void, or away, and not held by an operator. Heads,
// envelopes, hashes, receipts and verdicts stay for ever. It runs once a day.
func (n *Node) retain(ctx context.Context) {
	now := n.cfg.Now()
	if n.cfg.Retention == 0 || now.Before(n.retainDue) {
		return
	}
	n.retainDue = now.Add(24 * time.Hour)
	for {
		done, err := n.retainSome(ctx, now.Add(-n.cfg.Retention))
		if err != nil {
			n.log.ErrorContext(ctx, "deleting documents whose time is over failed", "err", err)
			n.retainDue = now.Add(time.Hour)
			return
		}
		if done < retained {
			return
		}
	}
}

func (n *Node) retainSome(ctx context.Context, before time.Time) (done int, err error) {
	const over = `FROM bills b WHERE control IN ('void', 'away') AND changed_at < ? AND EXISTS (SELECT 1 FROM documents WHERE bill = b.id)
	  AND NOT EXISTS (SELECT 1 FROM holds WHERE bill = b.id) AND NOT EXISTS (SELECT 1 FROM quarantine WHERE document_hash = b.document_hash)`
	var waiting int
	if err := n.store.read.QueryRowContext(ctx, "SELECT count(*) "+over, millis(before)).Scan(&waiting); err != nil || waiting == 0 {
		return 0, err
	}
	err = n.store.update(ctx, func(t *tx) error {
		done = 0
		type gone struct {
			id   int64
			hash envelope.Hash
		}
		var list []gone
		err := each(t.ctx, t, "SELECT id, document_hash "+over+" ORDER BY id LIMIT ?", []any{millis(before), retained}, func(scan func(...any) error) error {
			var g gone
			err := scan(&g.id, sqlHash{&g.hash})
			list = append(list, g)
			return err
		})
		if err != nil {
			return err
		}
		for _, g := range list {
			if err := t.execOne("DELETE FROM documents WHERE bill = ?", g.id); err != nil {
				return err
			}
			if err := t.exec("DELETE FROM evidence WHERE bill = ?", g.id); err != nil {
				return err
			}
			if err := t.exec("INSERT INTO deletions (bill, at) VALUES (?, ?)", g.id, millis(t.now)); err != nil {
				return err
			}
			if err := t.audit(n.Domain().String(), "bill.documentDeleted", g.hash, "its time was over"); err != nil {
				return err
			}
		}
		done = len(list)
		return nil
	})
	return done, err
}

// Hold keeps a bill's document and evidence beyond their time, for a reason that stands in
// the audit log; release lets go.
func (n *Node) Hold(ctx context.Context, operator string, document envelope.Hash, reason string, release bool) error {
	if strings.TrimSpace(reason) == "" {
		return refuse(Malformed, "malformed", "a reason is needed: it stands in the audit log")
	}
	return n.store.update(ctx, func(t *tx) error {
		b, err := loadBill(t.ctx, t, document)
		if err != nil {
			return err
		}
		if b == nil {
			return noBill()
		}
		var held, deleted int
		if err := t.QueryRowContext(t.ctx, "SELECT (SELECT count(*) FROM holds WHERE bill = ?1), (SELECT count(*) FROM deletions WHERE bill = ?1)", b.id).Scan(&held, &deleted); err != nil {
			return err
		}
		switch {
		case release && held == 0:
			return refuse(Conflict, "conflict", "the bill is not held")
		case release:
			if err := t.exec("DELETE FROM holds WHERE bill = ?", b.id); err != nil {
				return err
			}
			return t.audit(operator, "bill.holdReleased", document, reason)
		case held > 0:
			return refuse(Conflict, "conflict", "the bill is held already")
		case deleted > 0:
			return refuse(Conflict, "conflict", "the document was deleted when its time was over")
		}
		if err := t.exec("INSERT INTO holds (bill, operator, reason, at) VALUES (?, ?, ?, ?)", b.id, operator, reason, millis(t.now)); err != nil {
			return err
		}
		return t.audit(operator, "bill.held", document, reason)
	})
}

// keepDocument puts the document of a bill back that had ended here and returned.
func (t *tx) keepDocument(bill int64, document []byte) error {
	var deleted int
	if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM deletions WHERE bill = ?", bill).Scan(&deleted); err != nil || deleted == 0 {
		return err
	}
	if err := t.exec("INSERT INTO documents (bill, document) VALUES (?, ?)", bill, document); err != nil {
		return err
	}
	return t.exec("DELETE FROM deletions WHERE bill = ?", bill)
}

// documentGone is the refusal of what needs a document that was deleted.
func documentGone() *Error {
	return refuse(NotFound, "notFound", "the document was deleted when its time was over; its hash, the chain and the bundle remain")
}
