package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eblnode/identity"

	_ "modernc.org/sqlite" // to ask the database which page is whose
)

// pages is what of the database's log a transfer writes, in pages: in all, and by the table
// whose rows or indexes the pages hold.
type pages struct {
	All    float64            `json:"all"`
	Tables map[string]float64 `json:"byTable"`
	// Control are those without what the tables of evidence add: audit log, witness, events.
	Control float64 `json:"withoutEvidence"`
}

// evidenceTables hold what nothing but a proof needs.
var evidenceTables = []string{"audit", "audit_roots", "witness", "witness_pending", "events", "evidence", "evidence_parts"}

// A walLog is where the database's write-ahead log stands. Its salt changes when it begins anew,
// and a frame with another salt is an old one.
type walLog struct {
	salt     uint64
	pageSize int64
	frames   []uint32 // the numbers of the pages that were written
}

func (s *stage) readLog() (walLog, error) { return readLog(filepath.Join(s.dir, "node.db-wal")) }

// framesSince is how many pages were written to the log since; ok is false where that cannot be
// told.
func (s *stage) framesSince(before walLog) (n int, ok bool) {
	return framesSince(filepath.Join(s.dir, "node.db-wal"), before)
}

func framesSince(path string, before walLog) (n int, ok bool) {
	after, err := readLog(path)
	switch {
	case err != nil || len(before.frames) == 0 || after.pageSize != before.pageSize:
		return 0, false
	case after.salt == before.salt:
		return len(after.frames) - len(before.frames), len(after.frames) >= len(before.frames)
	case uint32(after.salt>>32) != uint32(before.salt>>32)+1:
		return 0, false // it began anew more than once
	}
	// It began anew once. Where it is shorter than it was, its old end is still there.
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	end := len(after.frames)
	for frame := make([]byte, 24); ; end++ {
		if _, err := f.ReadAt(frame, 32+int64(end)*(24+after.pageSize)); err != nil || binary.BigEndian.Uint64(frame[8:]) != before.salt {
			break
		}
	}
	if end == len(after.frames) || end < len(before.frames) {
		return 0, false
	}
	return end - len(before.frames) + len(after.frames), true
}

func readLog(path string) (walLog, error) {
	var l walLog
	f, err := os.Open(path)
	if err != nil {
		return l, err
	}
	defer f.Close()
	head := make([]byte, 32)
	if _, err := io.ReadFull(f, head); err != nil {
		return l, err
	}
	l.pageSize, l.salt = int64(binary.BigEndian.Uint32(head[8:])), binary.BigEndian.Uint64(head[16:])
	frame := make([]byte, 24)
	for {
		at := 32 + int64(len(l.frames))*(24+l.pageSize)
		if _, err := f.ReadAt(frame, at); err != nil || binary.BigEndian.Uint64(frame[8:]) != l.salt {
			return l, nil
		}
		l.frames = append(l.frames, binary.BigEndian.Uint32(frame))
	}
}

// wal counts the pages written to the log for each transfer: thrice, and the middle one counts,
// since how many share a commit is chance.
func (o *options) wal(ctx context.Context, s *stage, clients int) (*pages, error) {
	var list []*pages
	for range 3 {
		p, err := o.walOnce(ctx, s, clients)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *pages) int { return cmp.Compare(a.All, b.All) })
	return list[1], nil
}

func (o *options) walOnce(ctx context.Context, s *stage, clients int) (*pages, error) {
	sc := scenario{alg: identity.ES256, entries: 1, clients: clients}
	const count = 128
	for range 20 { // until the log did not begin anew meanwhile
		list, err := o.supply(ctx, s, sc, documentSize, count+clients)
		if err != nil {
			return nil, err
		}
		l := newLoad(s, clients)
		_, err = l.send(ctx, list[:clients])
		before, err2 := s.readLog()
		if err == nil && err2 == nil {
			_, err = l.send(ctx, list[clients:])
		}
		l.close()
		if err != nil {
			return nil, err
		}
		after, err := s.readLog()
		if err != nil {
			return nil, err
		}
		if err2 != nil || after.salt != before.salt || len(after.frames) <= len(before.frames) {
			continue
		}
		return s.pagesOf(ctx, after.frames[len(before.frames):], count)
	}
	return nil, fmt.Errorf("the log began anew each time")
}

// pagesOf shares the frames of so many transfers out among the tables.
func (s *stage) pagesOf(ctx context.Context, frames []uint32, transfers float64) (*pages, error) {
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.Join(s.dir, "node.db"), RawQuery: "mode=ro&_busy_timeout=5000"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	rows, err := db.QueryContext(ctx, "SELECT d.pageno, coalesce(s.tbl_name, d.name) FROM dbstat d LEFT JOIN sqlite_schema s ON s.name = d.name")
	if err != nil {
		return nil, fmt.Errorf("asking which page is whose: %w", err)
	}
	defer rows.Close()
	table := map[uint32]string{}
	for rows.Next() {
		var page uint32
		var name string
		if err := rows.Scan(&page, &name); err != nil {
			return nil, err
		}
		table[page] = name
	}
	p := &pages{All: float64(len(frames)) / transfers, Tables: map[string]float64{}}
	for _, page := range frames {
		name := table[page]
		if name == "" {
			name = "free"
		}
		p.Tables[name] += 1 / transfers
	}
	p.Control = p.All
	for _, name := range evidenceTables {
		p.Control -= p.Tables[name]
	}
	return p, rows.Err()
}

// String lists the tables, those with the most pages first.
func (p *pages) String() string {
	names := slices.SortedFunc(func(yield func(string) bool) {
		for name := range p.Tables {
			if !yield(name) {
				return
			}
		}
	}, func(a, b string) int {
		switch x, y := p.Tables[a], p.Tables[b]; {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return strings.Compare(a, b)
	})
	var parts []string
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %.2f", name, p.Tables[name]))
	}
	return fmt.Sprintf("%.1f: %s", p.All, strings.Join(parts, ", "))
}
