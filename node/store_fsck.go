package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"eblnode/envelope"

	"modernc.org/sqlite"
)

// This file reads for fsck. It takes columns as they are: a value that the rest of the
// package could not read is a finding and not an error.

// snapshot runs f on the database as it is at this moment.
func (s *store) snapshot(ctx context.Context, f func(q querier) error) error {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// Not BeginTx, which takes the write lock: see the DSN.
	if _, err := conn.ExecContext(ctx, "BEGIN DEFERRED"); err != nil {
		return err
	}
	defer func() { _, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK") }()
	return f(conn)
}

// each calls f for every row of a query.
func each(ctx context.Context, q querier, query string, args []any, f func(scan func(...any) error) error) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

// damaged reports whether err says that the pages of the database make no sense.
func damaged(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code()&0xff == sqliteCorrupt || e.Code()&0xff == sqliteNotADatabase)
}

// checkPages reads every page of the database, and looks for rows whose bill is gone.
func (s *store) checkPages(ctx context.Context) (list []Finding, err error) {
	err = s.snapshot(ctx, func(q querier) error {
		err := each(ctx, q, "PRAGMA integrity_check(100)", nil, func(scan func(...any) error) error {
			var line string
			if err := scan(&line); err != nil {
				return err
			}
			if table, broken := strings.CutPrefix(line, "CHECK constraint failed in "); broken {
				list = append(list, Finding{Table: table, What: "a row breaks a rule of the table that the database itself keeps", Cure: cureEvidence})
			} else if line != "ok" {
				list = append(list, Finding{Table: "database", What: line, Cure: curePages})
			}
			return nil
		})
		if err != nil && damaged(err) {
			list = append(list, Finding{Table: "database", What: err.Error(), Cure: curePages})
			return nil
		}
		if err != nil {
			return err
		}
		return each(ctx, q, "PRAGMA foreign_key_check", nil, func(scan func(...any) error) error {
			var table, parent string
			var row sql.NullInt64
			var key int
			if err := scan(&table, &row, &parent, &key); err != nil {
				return err
			}
			list = append(list, Finding{Table: table, Row: fmt.Sprintf("row %d", row.Int64), What: "it belongs to a row of " + parent + " that is not there", Cure: cureEvidence})
			return nil
		})
	})
	return list, err
}

type billSize struct {
	id    int64
	bytes int
}

func (s *store) billSizes(ctx context.Context) (list []billSize, err error) {
	err = s.snapshot(ctx, func(q querier) error {
		return each(ctx, q, "SELECT id, coalesce(length(document), 0) FROM bills LEFT JOIN documents ON bill = id ORDER BY id", nil, func(scan func(...any) error) error {
			var b billSize
			if err := scan(&b.id, &b.bytes); err != nil {
				return err
			}
			list = append(list, b)
			return nil
		})
	})
	return list, err
}

// A billFile is all that is stored of one bill.
type billFile struct {
	id                                                      int64
	hash                                                    envelope.Hash
	document                                                []byte
	reference                                               envelope.Reference
	toOrder, live                                           bool
	profile, issuing, issuer, possessor, status, returnedBy string
	head                                                    envelope.Hash
	length                                                  int
	control                                                 Control

	entries   []storedEntry
	steps     []storedStep
	receipts  map[int]storedReceipt   // by the index of their entries
	refused   map[int][]storedRefused // by the same: rejections of an envelope that is an entry
	transfers []*transfer
	branches  []storedBranch
	parties   []string
	evidence  []*storedEvidence
	verdict   sql.NullString
	verdictAt int64
	polled    bool
	deleted   bool // the document, and evidence, when their time was over
}

type storedEntry struct {
	row
	idx int
}

type storedStep struct {
	step
	sealed sql.NullInt64
}

type storedReceipt struct {
	peer, receipt string
	at            int64
}

type storedRefused struct {
	id     int64
	code   string
	jwsSum envelope.Hash
}

type storedBranch struct {
	id   int64
	idx  int
	peer string
	jws  string
}

// loadFiles reads the bills of a range of ids, in one snapshot.
func (s *store) loadFiles(ctx context.Context, from, to int64) ([]*billFile, error) {
	var list []*billFile
	byID := map[int64]*billFile{}
	keys := []any{from * maxEntries, (to + 1) * maxEntries}
	bills := []any{from, to}
	err := s.snapshot(ctx, func(q querier) error {
		err := each(ctx, q, `SELECT id, document_hash, coalesce(document, x''), carrier_code, reference, sub_reference, to_order, live, profile,
		    issuing, issuer, possessor, status, returned_by, head, length, control, EXISTS (SELECT 1 FROM deletions WHERE deletions.bill = bills.id) FROM bills LEFT JOIN documents ON documents.bill = id WHERE id BETWEEN ? AND ? ORDER BY id`, bills,
			func(scan func(...any) error) error {
				f := &billFile{receipts: map[int]storedReceipt{}, refused: map[int][]storedRefused{}}
				err := scan(&f.id, sqlHash{&f.hash}, &f.document, &f.reference.CarrierCode, &f.reference.Number, &f.reference.SubReference,
					&f.toOrder, &f.live, &f.profile, &f.issuing, &f.issuer, &f.possessor, &f.status, &f.returnedBy, sqlHash{&f.head}, &f.length, &f.control, &f.deleted)
				list = append(list, f)
				byID[f.id] = f
				return err
			})
		if err != nil {
			return err
		}
		for _, load := range []func(context.Context, querier, map[int64]*billFile, []any, []any) error{loadChains, loadSent, loadRest} {
			if err := load(ctx, q, byID, keys, bills); err != nil {
				return err
			}
		}
		return nil
	})
	return list, err
}

// loadChains reads entries, steps, receipts, and rejections of what is an entry.
func loadChains(ctx context.Context, q querier, files map[int64]*billFile, keys, _ []any) error {
	err := each(ctx, q, "SELECT bill, idx, hash, claimed, jws, signer, key, signed_at, stored_at FROM entries WHERE id >= ? AND id < ? ORDER BY id", keys,
		func(scan func(...any) error) error {
			var bill int64
			var e storedEntry
			err := scan(&bill, &e.idx, sqlHash{&e.hash}, sqlHash{&e.claimed}, &e.jws, &e.signer, sqlHash{&e.key}, &e.signedAt, &e.storedAt)
			if f := files[bill]; f != nil {
				f.entries = append(f.entries, e)
			}
			return err
		})
	if err != nil {
		return err
	}
	err = each(ctx, q, "SELECT bill, seq, jws, tx, at, sealed FROM steps WHERE id >= ? AND id < ? ORDER BY id", keys,
		func(scan func(...any) error) error {
			var bill int64
			var s storedStep
			err := scan(&bill, &s.seq, &s.jws, &s.tx, &s.at, &s.sealed)
			if f := files[bill]; f != nil {
				f.steps = append(f.steps, s)
			}
			return err
		})
	if err != nil {
		return err
	}
	// Receipts for no entry are found by fsckOrphans.
	err = each(ctx, q, `SELECT e.bill, e.idx, r.peer, r.receipt, r.at FROM entries e CROSS JOIN receipts r ON r.id = e.id AND r.envelope_hash = e.hash
	  WHERE e.id >= ? AND e.id < ?`, keys,
		func(scan func(...any) error) error {
			var bill int64
			var idx int
			var r storedReceipt
			err := scan(&bill, &idx, &r.peer, &r.receipt, &r.at)
			if f := files[bill]; f != nil {
				f.receipts[idx] = r
			}
			return err
		})
	if err != nil {
		return err
	}
	return each(ctx, q, `SELECT e.bill, e.idx, j.id, j.code, j.jws_sum FROM entries e CROSS JOIN rejections j ON j.envelope_hash = e.hash
	  WHERE e.id >= ? AND e.id < ?`, keys,
		func(scan func(...any) error) error {
			var bill int64
			var idx int
			var j storedRefused
			err := scan(&bill, &idx, &j.id, &j.code, sqlHash{&j.jwsSum})
			if f := files[bill]; f != nil {
				f.refused[idx] = append(f.refused[idx], j)
			}
			return err
		})
}

// loadSent reads transfers and branches.
func loadSent(ctx context.Context, q querier, files map[int64]*billFile, _, bills []any) error {
	err := each(ctx, q, "SELECT "+transferColumns+" FROM transfers WHERE bill BETWEEN ? AND ? ORDER BY bill, seq", bills,
		func(scan func(...any) error) error {
			x, err := scanTransfer(scanner(scan))
			if x == nil {
				return err
			}
			// A peer that is no host stays zero, and is a finding.
			if f := files[x.bill]; f != nil {
				f.transfers = append(f.transfers, x)
			}
			return nil
		})
	if err != nil {
		return err
	}
	err = each(ctx, q, `SELECT x.bill, x.id, p.outcome FROM transfers x JOIN proposals p ON p.kind = 'resolve' AND p.subject = x.id
	    AND p.confirmed_by IS NOT NULL WHERE x.settled_by = 'operators' AND x.bill BETWEEN ? AND ?`, bills,
		func(scan func(...any) error) error {
			var bill int64
			var id, outcome string
			if err := scan(&bill, &id, &outcome); err != nil || files[bill] == nil {
				return err
			}
			for _, x := range files[bill].transfers {
				if x.id == id {
					x.confirmed = outcome
				}
			}
			return nil
		})
	if err != nil {
		return err
	}
	return each(ctx, q, "SELECT bill, id, idx, peer, jws FROM branches WHERE bill BETWEEN ? AND ?", bills,
		func(scan func(...any) error) error {
			var bill int64
			var b storedBranch
			err := scan(&bill, &b.id, &b.idx, &b.peer, &b.jws)
			if f := files[bill]; f != nil {
				f.branches = append(f.branches, b)
			}
			return err
		})
}

type scanner func(...any) error

func (s scanner) Scan(dest ...any) error { return s(dest...) }

// loadRest reads who may see the bills, the carriers' verdicts, and evidence.
func loadRest(ctx context.Context, q querier, files map[int64]*billFile, _, bills []any) error {
	evidence, err := loadEvidence(ctx, q, bills[0].(int64), bills[1].(int64))
	if err != nil {
		return err
	}
	for bill, list := range evidence {
		if f := files[bill]; f != nil {
			f.evidence = list
		}
	}
	err = each(ctx, q, "SELECT bill, local_id FROM parties WHERE bill BETWEEN ? AND ?", bills,
		func(scan func(...any) error) error {
			var bill int64
			var local string
			err := scan(&bill, &local)
			if f := files[bill]; f != nil {
				f.parties = append(f.parties, local)
			}
			return err
		})
	if err != nil {
		return err
	}
	err = each(ctx, q, "SELECT bill, verdict, at FROM verdicts WHERE bill BETWEEN ? AND ?", bills,
		func(scan func(...any) error) error {
			var bill, at int64
			var verdict string
			err := scan(&bill, &verdict, &at)
			if f := files[bill]; f != nil {
				f.verdict, f.verdictAt = sql.NullString{String: verdict, Valid: true}, at
			}
			return err
		})
	if err != nil {
		return err
	}
	return each(ctx, q, "SELECT bill FROM verdict_polls WHERE bill BETWEEN ? AND ?", bills,
		func(scan func(...any) error) error {
			var bill int64
			err := scan(&bill)
			if f := files[bill]; f != nil {
				f.polled = true
			}
			return err
		})
}

// Primary result codes of SQLite.
const (
	sqliteNoMemory     = 7
	sqliteReadOnly     = 8
	sqliteIOError      = 10
	sqliteCorrupt      = 11
	sqliteFull         = 13
	sqliteCannotOpen   = 14
	sqliteNotADatabase = 26
)
