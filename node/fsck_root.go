package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
)

type storedRoot struct {
	last int64
	day  string
	root string
	at   int64
	hash []byte // of the row of the log
}

// fsckRoots checks that each root is ours, speaks for the log as it is, and follows the
// one before it; and that no day is without one.
func (n *Node) fsckRoots(ctx context.Context, _ FsckOptions, r *FsckReport) error {
	l, err := n.ledger(ctx, &FsckReport{}) // what is wrong with it is in the report already
	if err != nil {
		return err
	}
	var previous envelope.Hash
	var last int64
	var newest string                       // its day
	archived := map[int64][]envelope.Hash{} // by the root that must name them
	check := func(s *storedRoot) {
		bad := func(format string, args ...any) {
			r.add(Finding{Table: "audit_roots", Row: "root of " + s.day, What: fmt.Sprintf(format, args...), Cure: cureEvidence})
		}
		root, err := envelope.OpenRoot(s.root, l.us, true)
		if err != nil {
			bad("root: %v", err)
		} else {
			if root.Day != s.day {
				bad("day: the row says %s, what was signed %s", s.day, root.Day)
			}
			if root.Rows != s.last {
				bad("last: the row says %d, what was signed %d", s.last, root.Rows)
			}
			if !slices.Equal(root.Archives, archived[s.last]) {
				bad("archives: the table has %d since the root before, and other ones were signed", len(archived[s.last]))
			}
			if root.Previous != previous {
				bad("root: it does not follow the one before")
			}
			if string(s.hash) != string(root.Hash[:]) {
				r.add(Finding{Table: "audit", Row: fmt.Sprintf("audit row %d", s.last), What: "hash: it is not the one that was signed at the end of " + s.day, Cure: cureEvidence})
			}
			if s.at/1000 != root.At.Unix() {
				bad("at: the row says %d, what was signed %d", s.at, millis(root.At))
			}
		}
		previous, last, newest = envelope.HashOf([]byte(s.root)), s.last, s.day
		r.AuditRoots++
	}
	return n.store.snapshot(ctx, func(q querier) error {
		err := each(ctx, q, `SELECT coalesce((SELECT min(last) FROM audit_roots WHERE last >= audit_row), 0), sum, audit_row,
		    coalesce((SELECT detail FROM audit WHERE id = audit_row AND action = 'archive.made'), '') FROM archives ORDER BY audit_row`, nil,
			func(scan func(...any) error) error {
				var last, row int64
				var sum envelope.Hash
				var told string
				if err := scan(&last, sqlHash{&sum}, &row, &told); err != nil {
					return err
				}
				archived[last] = append(archived[last], sum)
				if !strings.HasPrefix(told, sum.String()+" ") {
					r.add(Finding{Table: "archives", Row: fmt.Sprintf("of audit row %d", row), What: "sum, audit_row: the audit log does not tell of this archive there", Cure: cureEvidence})
				}
				return nil
			})
		if err != nil {
			return err
		}
		err = each(ctx, q, "SELECT id FROM audit WHERE action = 'archive.made' AND NOT EXISTS (SELECT 1 FROM archives WHERE audit_row = audit.id)", nil,
			func(scan func(...any) error) error {
				var row int64
				err := scan(&row)
				r.add(Finding{Table: "archives", Row: fmt.Sprintf("of audit row %d", row), What: "the audit log tells of an archive that is not in the table", Cure: cureEvidence})
				return err
			})
		if err != nil {
			return err
		}
		err = each(ctx, q, "SELECT o.last, o.day, o.root, o.at, a.hash FROM audit_roots o LEFT JOIN audit a ON a.id = o.last ORDER BY o.last", nil,
			func(scan func(...any) error) error {
				var s storedRoot
				if err := scan(&s.last, &s.day, &s.root, &s.at, &s.hash); err != nil {
					return err
				}
				check(&s)
				return nil
			})
		if err != nil {
			return err
		}
		// A day of grace: the node may be about to do it.
		var waiting int64
		before := n.cfg.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
		if err := q.QueryRowContext(ctx, "SELECT count(*) FROM audit WHERE id > ? AND at < ?", last, millis(before)).Scan(&waiting); err != nil {
			return err
		}
		// Where the newest root is of a later day, the clock was ahead when it was signed, and
		// what was written since waits for the day after that one: roots go forward.
		due := newest < before.AddDate(0, 0, -1).Format(time.DateOnly)
		if waiting > 0 && due && n.own.Load().at(n.cfg.Now()) != nil {
			r.add(Finding{Table: "audit_roots", What: fmt.Sprintf("%d rows of the audit log of before yesterday have no root", waiting),
				Cure: "let the node run, which signs them, and check again; if they stay, see its log"})
		}
		return nil
	})
}
