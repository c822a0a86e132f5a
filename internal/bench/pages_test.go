package main

import (
	"database/sql"
	"path/filepath"
	"testing"
)

// TestFramesSince: what SQLite itself says it wrote to its log is what is counted, also where the
// log began anew in between; where that cannot be told, nothing is.
func TestFramesSince(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	do := func(list ...string) {
		t.Helper()
		for _, text := range list {
			if _, err := db.ExecContext(t.Context(), text); err != nil {
				t.Fatal(err)
			}
		}
	}
	// checkpoint returns how many frames the log has, and lets it begin anew.
	checkpoint := func() int {
		t.Helper()
		var busy, frames, moved int
		if err := db.QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(RESTART)").Scan(&busy, &frames, &moved); err != nil || busy != 0 || moved != frames {
			t.Fatal(err, busy, frames, moved)
		}
		return frames
	}
	insert := func(rows int) {
		t.Helper()
		for range rows {
			do("INSERT INTO x VALUES (zeroblob(20000))")
		}
	}
	log := path + "-wal"
	now := func() walLog {
		t.Helper()
		l, err := readLog(log)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	expect := func(name string, before walLog, want int, wantOK bool) {
		t.Helper()
		if got, ok := framesSince(log, before); ok != wantOK || ok && got != want {
			t.Errorf("%s: got %d, %v, want %d, %v", name, got, ok, want, wantOK)
		}
	}
	do("PRAGMA journal_mode = WAL", "PRAGMA wal_autocheckpoint = 0", "CREATE TABLE x (b)")
	insert(10)
	before := now()
	expect("nothing written", before, 0, true)
	insert(10)
	all := checkpoint() // the log begins anew at the next write
	expect("in one log", before, all-len(before.frames), true)
	insert(3)
	second := len(now().frames)
	expect("over a new beginning", before, all-len(before.frames)+second, true)
	if second == 0 || second >= all {
		t.Fatalf("the new log has %d pages, the old had %d: nothing was tested", second, all)
	}
	insert(30) // past the end of the old one
	expect("the old end is overwritten", before, 0, false)
	checkpoint()
	insert(1)
	checkpoint()
	insert(1)
	expect("two new beginnings", before, 0, false)
	expect("no reading before", walLog{}, 0, false)
	if _, ok := framesSince(log+".none", before); ok {
		t.Error("no log: got a count")
	}
}
