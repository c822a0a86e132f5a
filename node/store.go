package node

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/internal/rights"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the database driver
)

//go:embed schema/*.sql
var schema embed.FS

// A store is the node's database. There is one writer: every change of control goes
// through update, one at a time, so that what a transaction read is still true when it
// commits. Readers see the last commit.
type store struct {
	write  *sql.DB    // one connection, which writer has once the store is open
	writer *writeConn // used in turn
	read   *readPool
	now    func() time.Time
	news   bell // rung after each commit that wrote events
	grouping
	memory
	witnessing
	faults

	// beforeCommit, in tests, runs in the place of every commit's last moment: it may
	// say that the commit fails, or that it happens and is then reported as failed.
	beforeCommit func() (commit bool, err error)
}

// settings are read back after opening: a mistyped pragma is silently ignored by
// SQLite, and synchronous=NORMAL loses acknowledged transfers in a power cut.
var settings = map[string]string{
	"journal_mode": "wal",
	"synchronous":  "2",
	"foreign_keys": "1",
	"busy_timeout": "5000",
}

func openStore(ctx context.Context, path string, now func() time.Time) (*store, error) {
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: strings.Join([]string{
		"mode=rw", // never makes one: the file of a database that went away would be there again, empty
		"_txlock=immediate", "_busy_timeout=5000", "_journal_mode=WAL", "_synchronous=FULL",
		"_foreign_keys=1", "_defensive=1", "_dqs=0",
	}, "&")}).String()
	s := &store{now: now}
	s.grouping.init()
	s.turn = make(chan struct{}, 1)
	var err error
	if s.write, err = sql.Open("sqlite", dsn); err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	s.write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", dsn)
	if err != nil {
		_ = s.write.Close()
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	s.read = &readPool{DB: read}
	s.read.SetMaxOpenConns(4)
	s.read.SetMaxIdleConns(4)
	if err := s.prepare(ctx, path); err != nil {
		_ = s.shut()
		return nil, err
	}
	go s.writeGroups()
	return s, nil
}

func (s *store) prepare(ctx context.Context, path string) error {
	if err := s.checkSettings(ctx, s.write, path); err != nil {
		return err
	}
	if err := s.checkQuickly(ctx, s.write, path); err != nil {
		return err
	}
	if err := s.migrate(ctx, path); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return err
	}
	var err error
	if s.writer, err = openWriter(ctx, s.write); err != nil {
		return fmt.Errorf("opening %s: %w", path, err)
	}
	return s.watch(path)
}

// checkSettings reads the pragmas back.
func (s *store) checkSettings(ctx context.Context, q querier, path string) error {
	for name, want := range settings {
		var got string
		if err := q.QueryRowContext(ctx, "PRAGMA "+name).Scan(&got); err != nil {
			if damaged(err) {
				return fmt.Errorf("%w: %s (%w); restore a backup", ErrDamaged, path, err)
			}
			return fmt.Errorf("reading %s of %s: %w", name, path, err)
		}
		if !strings.EqualFold(got, want) {
			return fmt.Errorf("database %s runs with %s=%s instead of %s; refusing to start", path, name, got, want)
		}
	}
	return nil
}

// checkQuickly reads the pages through, without the indexes.
func (s *store) checkQuickly(ctx context.Context, q querier, path string) error {
	var check string
	if err := q.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&check); err != nil {
		if damaged(err) {
			return fmt.Errorf("%w: %s (%w); restore a backup", ErrDamaged, path, err)
		}
		return fmt.Errorf("checking %s: %w", path, err)
	}
	if check != "ok" {
		return fmt.Errorf("%w: %s (%s); restore a backup", ErrDamaged, path, check)
	}
	return nil
}

// checkLog refuses to make a new database beside the write-ahead log of one that is gone
// or empty: SQLite throws such a log away without a word, and with it every bill.
func checkLog(path string) error {
	if db, err := os.Stat(path); err == nil && db.Size() > 0 {
		return nil
	}
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		return fmt.Errorf("database %s is gone or empty, and its log %s-wal is not; restore a backup, and keep both for the search", path, path)
	}
	return nil
}

// checkFiles refuses files that others can read or write, and a database of no bytes: it
// was one, since we never leave it so, and SQLite would take it for a new one.
func checkFiles(path string) error {
	for _, name := range []string{path, path + "-wal", path + "-shm"} {
		info, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking at the database: %w", err)
		}
		if err := rights.Ours(name); err != nil {
			return err
		}
		if name == path && info.Size() == 0 {
			return fmt.Errorf("database %s is empty; restore a backup (only if this node was never started, remove the file)", path)
		}
	}
	return nil
}

// migrate brings the schema up, forward only. A database of a newer program is refused:
// an older one does not know which rules it would break.
func (s *store) migrate(ctx context.Context, path string) error {
	sub, err := fs.Sub(schema, "schema")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, s.write, sub)
	if err != nil {
		return fmt.Errorf("reading the schema: %w", err)
	}
	sources := p.ListSources()
	latest := sources[len(sources)-1].Version
	version, err := p.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("reading the schema version of %s: %w", path, err)
	}
	if version > latest {
		return fmt.Errorf("database %s has schema %d, this program knows %d: it was made by a newer eblnode; use that one", path, version, latest)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bringing the schema of %s up to %d: %w", path, latest, err)
	}
	return nil
}

// close waits for the transaction under way; those that wait behind it are not begun.
func (s *store) close() error {
	s.closed.Do(func() { close(s.quit) })
	<-s.ended
	return s.shut()
}

func (s *store) shut() error {
	var err error
	if s.writer != nil {
		err = s.writer.close()
	}
	err = errors.Join(err, s.read.Close(), s.write.Close())
	if j := s.journal.Load(); j != nil {
		err = errors.Join(err, j.Close())
	}
	return err
}

// A tx is one write transaction, with one time for all its rows. It may share its commit
// with others; see grouping.
type tx struct {
	*writeConn
	ctx context.Context
	now time.Time

	events []happening
	bills  []written
	store  *store
	change changes
	act    *Act // who acts in the name of the user whose order it is; nil: the user itself
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.ExecContext(t.ctx, query, args...)
	return err
}

// execOne is exec for a statement that must change exactly one row.
func (t *tx) execOne(query string, args ...any) error {
	res, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return err
	}
	if n != 1 {
		return errMoved
	}
	return nil
}

// errMoved says that a row was not as it had been read: somebody else was first.
var errMoved = errors.New("the bill has moved on")

// A querier is a transaction or the read side.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// audit appends a row to the log. Each is hashed with the one before it, so that a row
// that was changed or taken out shows.
func (t *tx) audit(actor, action string, bill envelope.Hash, detail string) error {
	previous := t.store.lastAudit
	if previous == nil {
		err := t.QueryRowContext(t.ctx, "SELECT hash FROM audit ORDER BY id DESC LIMIT 1").Scan(&previous)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
	}
	at := t.now.UnixMilli()
	detail += t.act.note()
	sum := auditHash(previous, at, []string{actor, action, bill.String(), detail})
	done, err := t.ExecContext(t.ctx, "INSERT INTO audit (at, actor, action, bill, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
		at, actor, action, bill[:], detail, sum[:])
	if err != nil {
		return err
	}
	t.store.lastAudit = sum[:]
	row, err := done.LastInsertId()
	if t.change.log.Last == 0 {
		t.change.log.First = row
	}
	t.change.log.Last, t.change.log.Hash = row, sum
	return err
}

func auditHash(previous []byte, at int64, fields []string) [32]byte {
	h := sha256.New()
	h.Write(previous)
	h.Write([]byte(strconv.FormatInt(at, 10)))
	for _, f := range fields {
		h.Write([]byte("\n" + strconv.Itoa(len(f)) + ":" + f))
	}
	return [32]byte(h.Sum(nil))
}

func millis(t time.Time) int64 { return t.UnixMilli() }

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// sqlHash scans a 32-byte column.
type sqlHash struct{ h *envelope.Hash }

func (s sqlHash) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok || len(b) != len(s.h) {
		return fmt.Errorf("a hash column holds %T of %d bytes", v, len(b))
	}
	copy(s.h[:], b)
	return nil
}
