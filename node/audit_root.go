package node

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"eblnode/envelope"
)

// auditDue notes until when there is nothing to seal; only Open and Run look at it.
type auditDue struct{ next time.Time }

// sealDay signs the audit log as it stood at the end of yesterday, unless that was done or
// nothing was added. What fails is tried again a minute later: it never stops the node,
// and fsck says so if it stays undone.
func (n *Node) sealDay(ctx context.Context) {
	now := n.cfg.Now()
	if now.Before(n.auditDue.next) {
		return
	}
	today := now.UTC().Truncate(24 * time.Hour)
	err := n.sealBefore(ctx, today)
	if err != nil {
		n.log.ErrorContext(ctx, "signing the audit log of yesterday failed", "err", err)
		n.auditDue.next = now.Add(time.Minute)
		return
	}
	n.auditDue.next = today.Add(24 * time.Hour)
}

// An auditPlace is a place in the audit log.
type auditPlace struct {
	row  int64
	hash envelope.Hash
}

func (n *Node) sealBefore(ctx context.Context, today time.Time) error {
	day := today.AddDate(0, 0, -1).Format(time.DateOnly)
	// Most starts of a node find nothing to do: no write for them.
	if _, _, found, err := unsealed(ctx, n.store.read, today, day); err != nil || !found {
		return err
	}
	var root string
	err := n.store.update(ctx, func(t *tx) error {
		to, previous, found, err := unsealed(t.ctx, t, today, day)
		if err != nil || !found {
			return err
		}
		signer, err := n.signer(t.now)
		if err != nil {
			return err
		}
		r := envelope.Root{Platform: n.Domain(), Day: day, Rows: to.row, Hash: to.hash, Previous: previous, At: t.now}
		if r.Archives, err = archivesUpTo(t.ctx, t, to.row); err != nil {
			return err
		}
		if root, err = envelope.SignRoot(r, signer); err != nil {
			return err
		}
		return t.exec("INSERT INTO audit_roots (last, day, root, at) VALUES (?, ?, ?, ?)", to.row, day, root, millis(t.now))
	})
	if err == nil && root != "" {
		n.log.InfoContext(ctx, "the audit log of yesterday is signed", "head", envelope.HashOf([]byte(root)).String())
	}
	return err
}

// unsealed finds the newest row of before today that no root speaks for, and the hash of
// the newest root. Where the clock was set back over midnight, the rows wait for the next
// day.
func unsealed(ctx context.Context, q querier, today time.Time, day string) (to auditPlace, previous envelope.Hash, found bool, err error) {
	var last int64
	var newest, root string
	err = q.QueryRowContext(ctx, "SELECT last, day, root FROM audit_roots ORDER BY last DESC LIMIT 1").Scan(&last, &newest, &root)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return to, previous, false, err
	}
	if newest >= day {
		return to, previous, false, nil
	}
	if root != "" {
		previous = envelope.HashOf([]byte(root))
	}
	err = q.QueryRowContext(ctx, "SELECT id, hash FROM audit WHERE id > ? AND at < ? ORDER BY id DESC LIMIT 1", last, millis(today)).
		Scan(&to.row, sqlHash{&to.hash})
	if errors.Is(err, sql.ErrNoRows) {
		return to, previous, false, nil
	}
	return to, previous, err == nil, err
}

// archivesUpTo are the archives that no root speaks for yet, up to a row of the log.
func archivesUpTo(ctx context.Context, q querier, row int64) (list []envelope.Hash, err error) {
	err = each(ctx, q, "SELECT sum FROM archives WHERE audit_row <= ? AND audit_row > (SELECT coalesce(max(last), 0) FROM audit_roots) ORDER BY audit_row", []any{row},
		func(scan func(...any) error) error {
			var sum envelope.Hash
			err := scan(sqlHash{&sum})
			list = append(list, sum)
			return err
		})
	return list, err
}
