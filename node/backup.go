package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"eblnode/identity"
	"eblnode/internal/rights"
)

// Backup writes the database as it is at one moment to a new file at path, while the node
// goes on. The file is readable for its owner alone, and on the disk when Backup
// returns. An existing file is never touched. It holds no keys; it holds all documents.
//
// The witness is not in it, and must not be: it is what tells how old a backup is.
func (n *Node) Backup(ctx context.Context, path string) error {
	// Whoever can write to the folder could put another database in the place of the backup.
	if err := rights.Unchanged(filepath.Dir(path)); err != nil {
		return refuse(NotPossible, "notPossible", "making the backup: %s", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return refuse(Conflict, "conflict", "%s is there already; a backup overwrites nothing", path)
	}
	if err != nil {
		return refuse(NotPossible, "notPossible", "making the backup: %s", err)
	}
	// SQLite writes into an empty file that is there, and so never into one with another mode.
	_, err = n.store.read.ExecContext(ctx, "VACUUM INTO ?", path)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("making the backup: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Restored says what Restore did.
type Restored struct {
	// Aside is where the former database was put; "" if there was none.
	Aside string
	// Generation is the record of the witness at which the backup stands.
	Generation int64
}

// Restore puts a backup in the place of the database in dir, which no node may have open
// ([ErrInUse]). The former database is kept beside it. The witness stays as it is: when
// the node opens, it finds there what the backup does not know.
func Restore(ctx context.Context, dir, backup string, domain identity.Host, now time.Time) (Restored, error) {
	lock, err := lockDir(dir)
	if err != nil {
		return Restored{}, err
	}
	defer func() { _ = lock.Close() }()
	if err := rights.Unchanged(backup); err != nil {
		return Restored{}, refuse(NotPossible, "notPossible", "%s; first find out who could have changed it", err)
	}
	path := filepath.Join(dir, DatabaseFile)
	fresh := path + ".restoring"
	if err := copyFile(backup, fresh); err != nil {
		return Restored{}, fmt.Errorf("restoring %s: %w", backup, err)
	}
	r, err := checkBackup(ctx, fresh, domain)
	if err != nil {
		return Restored{}, fmt.Errorf("restoring %s: %w", backup, errors.Join(err, removeAll(fresh)))
	}
	if err := leaveInDoubt(ctx, fresh, now); err != nil {
		return Restored{}, fmt.Errorf("restoring %s: %w", backup, errors.Join(err, removeAll(fresh)))
	}
	if err := removeAll(fresh + "-wal"); err != nil { // made by looking into it
		return Restored{}, err
	}
	aside := path + ".before-" + now.UTC().Format("20060102T150405.000Z")
	// The log belongs to its database. Left behind, it would be applied to the wrong one.
	for _, suffix := range []string{"-wal", "-shm", ""} {
		err := os.Rename(path+suffix, aside+suffix)
		if err == nil && suffix == "" {
			r.Aside = aside
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Restored{}, fmt.Errorf("putting the former database aside: %w", err)
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return Restored{}, fmt.Errorf("restoring %s: %w", backup, err)
	}
	return r, syncDir(dir)
}

// leaveInDoubt takes what is prepared in a backup for sent: it may have left since, also
// where the witness has nothing later of it, since what it is told next is the answer. Who
// prepared it could else cancel it, and spend a bill that the addressee has.
func leaveInDoubt(ctx context.Context, path string, now time.Time) error {
	// One file, without a log of its own, and all of it on the disk.
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: "mode=rw&_journal_mode=DELETE&_synchronous=FULL&_defensive=1&_dqs=0"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	_, err = db.ExecContext(ctx, preparedInDoubt, millis(now))
	return errors.Join(err, db.Close())
}

const preparedInDoubt = "UPDATE transfers SET state = 'sending', sent_at = ? WHERE state = 'prepared'"

func removeAll(path string) error {
	var err error
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if e := os.Remove(path + suffix); e != nil && !errors.Is(e, fs.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	return err
}

func copyFile(from, to string) error {
	// A database that was copied while it was in use lacks what its log holds.
	if wal, err := os.Stat(from + "-wal"); err == nil && wal.Size() > 0 {
		return refuse(NotPossible, "notPossible", "%s-wal is beside it: this is a database in use, or a copy of one, and no backup", from)
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := removeAll(to); err != nil { // of a restore that was killed
		return err
	}
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// checkBackup refuses what is no backup of this platform.
func checkBackup(ctx context.Context, path string, domain identity.Host) (Restored, error) {
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: "mode=ro&_defensive=1&_dqs=0"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return Restored{}, err
	}
	defer db.Close()
	var check, whose string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&check); err != nil {
		return Restored{}, refuse(NotPossible, "notPossible", "it is damaged, or no database: %s", err)
	}
	if check != "ok" {
		return Restored{}, refuse(NotPossible, "notPossible", "it is damaged: %s", check)
	}
	if err := db.QueryRowContext(ctx, "SELECT domain FROM node").Scan(&whose); err != nil {
		return Restored{}, refuse(NotPossible, "notPossible", "it is no database of a node: %s", err)
	}
	if whose != domain.String() {
		return Restored{}, refuse(NotPossible, "notPossible", "it belongs to %s, not to %s", whose, domain)
	}
	p, err := loadPlace(ctx, db)
	if err != nil {
		return Restored{}, refuse(NotPossible, "notPossible", "it does not say where it stands in the witness: %s", err)
	}
	return Restored{Generation: p.generation}, nil
}
