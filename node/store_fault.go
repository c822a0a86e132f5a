package node

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
)

// ErrVanished says that the database was taken away, or another put in its place, while
// the node runs. What was committed since is in no file that a restart finds: the node
// says nothing more and stops. Put the files back, or restore a backup.
var ErrVanished = errors.New("the database was taken away while the node runs")

// faults is what a store knows of its disk.
type faults struct {
	path string
	// db and wal are the files as they were opened. Never opened again to look: closing
	// any descriptor of them would drop the locks of the process.
	db, wal os.FileInfo
	// doubt is the failure after which nothing is written until the database has been
	// looked at; in turn.
	doubt error
	once  sync.Once
	dead  chan struct{} // closed when gone is set
	gone  error
}

// watch remembers the files of the database.
func (s *store) watch(path string) error {
	s.path, s.dead = path, make(chan struct{})
	var err error
	if s.db, err = os.Stat(path); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	if s.wal, err = os.Stat(path + "-wal"); err != nil {
		return fmt.Errorf("opening the log of the database: %w", err)
	}
	return nil
}

// there fails with ErrVanished unless the files are still those that were opened. It is
// asked after each commit, before anything of it is revealed.
func (s *store) there() error {
	for _, f := range []struct {
		path string
		was  os.FileInfo
	}{{s.path, s.db}, {s.path + "-wal", s.wal}} {
		if f.was == nil {
			return nil // not watched yet: the node opens
		}
		is, err := os.Stat(f.path)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("looking for the database: %w", err)
		}
		if err == nil && os.SameFile(is, f.was) {
			continue
		}
		s.once.Do(func() {
			s.gone = fmt.Errorf("%w: %s is not the file that was opened", ErrVanished, f.path)
			close(s.dead)
			// Readers would still see what no restart finds.
			_ = s.read.Close()
		})
		return s.gone
	}
	return nil
}

// failed notes an error of the database, in turn. After one that may come from the disk
// nothing is written before recover.
//
// A failed fsync is not tried again: the kernel may have thrown the pages away and say
// next time that all is well.
func (s *store) failed(err error) {
	if s.spoils(err) {
		s.doubt = err
	}
}

// spoils reports whether an error may come from the disk, or be one after which SQLite has
// given up the whole transaction.
func (s *store) spoils(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return false
	}
	switch e.Code() & 0xff {
	case sqliteReadOnly, sqliteIOError, sqliteCorrupt, sqliteFull, sqliteCannotOpen, sqliteNotADatabase, sqliteNoMemory:
		return true
	}
	return false
}

// recover makes sure, after a failure, that the database can be relied upon, and is
// quick where there was none; in turn. The write connection is closed, so that nothing of
// the failed transaction is left in it; everything committed is written from the log into
// the database and synced, so that nothing rests on a page of the log whose write failed;
// and the pages are read through. Until all that succeeds nothing is written.
func (s *store) recover(ctx context.Context) error {
	select {
	case <-s.dead:
		return s.gone
	default:
	}
	if s.doubt == nil {
		return nil
	}
	// As long as it takes: a caller's patience must not be what decides.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Minute)
	defer cancel()
	if err := s.reopen(ctx); err != nil {
		return fmt.Errorf("after a failure (%w) the database cannot be relied upon: %w", s.doubt, err)
	}
	s.doubt = nil
	return s.there()
}

func (s *store) reopen(ctx context.Context) error {
	if err := s.there(); err != nil {
		return err
	}
	// This is how database/sql is told to close a connection and make another one.
	s.writer.forget()
	_ = s.writer.conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = s.writer.close()
	var err error
	if s.writer, err = openWriter(ctx, s.write); err != nil {
		return err
	}
	if err := s.checkSettings(ctx, s.writer, s.path); err != nil {
		return err
	}
	var busy, frames, moved sql.NullInt64
	if err := s.writer.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil {
		return fmt.Errorf("writing the log into the database: %w", err)
	}
	if busy.Int64 != 0 {
		return errors.New("a reader keeps the log from being written into the database")
	}
	return s.checkQuickly(ctx, s.writer, s.path)
}
