package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
)

// An Archived says what Archive did.
type Archived struct {
	Folder string        // the new one, with the bundles; "" if only the roots were written
	Sum    envelope.Hash // of its list of files
	Bills  int           // bundles in it
	Left   int           // bills left out, since they are in quarantine
	Roots  int           // signed roots of the audit log now beside it
}

// Archive writes the bundles of all bills into a new folder below dir, with a list of them.
// The root of the audit log that is signed at the end of the day names the list, so that
// who deletes, adds or changes a file afterwards is seen: docs/BUNDLE.md, section 6. The roots
// signed so far are written beside it; with rootsOnly nothing else is.
func (n *Node) Archive(ctx context.Context, actor, dir string, rootsOnly bool) (Archived, error) {
	var out Archived
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return out, refuse(NotPossible, "notPossible", "making the archive: %s", err)
	}
	// First, so that a folder of another platform's is not written to.
	if err := n.writeRoots(ctx, dir, &out); err != nil {
		return out, err
	}
	if rootsOnly {
		return out, nil
	}
	list := &envelope.ArchiveList{By: n.Domain(), At: n.cfg.Now().UTC().Truncate(time.Second)}
	folder := filepath.Join(dir, list.Folder())
	if err := os.Mkdir(folder, 0o700); errors.Is(err, fs.ErrExist) {
		return out, refuse(Conflict, "conflict", "%s is there already; an archive overwrites nothing", folder)
	} else if err != nil {
		return out, refuse(NotPossible, "notPossible", "making the archive: %s", err)
	}
	err := n.writeArchive(ctx, actor, folder, list, &out)
	if err != nil {
		// What no root will name is no archive.
		return Archived{}, errors.Join(err, os.RemoveAll(folder))
	}
	out.Folder = folder
	return out, nil
}

func (n *Node) writeArchive(ctx context.Context, actor, folder string, list *envelope.ArchiveList, out *Archived) error {
	for after := int64(0); ; {
		b, err := nextBill(ctx, n.store.read, after)
		if err != nil {
			return busy(err)
		}
		if b == nil {
			break
		}
		after = b.id
		file, err := n.bundle(ctx, b, bundleOrder{selection: envelope.SelectArchive})
		if e, ok := errors.AsType[*Error](err); ok && e.Code == Conflict {
			out.Left++
			continue
		}
		if err != nil {
			return err
		}
		text, err := file.Marshal()
		if err != nil {
			return err
		}
		name := b.state.Document.String() + ".json"
		if err := writeSynced(filepath.Join(folder, name), text); err != nil {
			return err
		}
		list.Files = append(list.Files, envelope.ArchiveFile{Name: name, Sum: envelope.HashOf(text)})
		out.Bills++
	}
	slices.SortFunc(list.Files, func(a, b envelope.ArchiveFile) int { return strings.Compare(a.Name, b.Name) })
	text, err := list.Marshal()
	if err != nil {
		return err
	}
	if err := writeSynced(filepath.Join(folder, envelope.ArchiveListName), text); err != nil {
		return err
	}
	if err := syncDir(folder); err != nil {
		return err
	}
	out.Sum = envelope.HashOf(text)
	return n.store.update(ctx, func(t *tx) error {
		// A reader waits for the root of the day on which it was begun, or of the next. One that only a
		// later root will name would be called inserted until then.
		if last := list.At.Truncate(24*time.Hour).AddDate(0, 0, 2); !t.now.Before(last) {
			return refuse(NotPossible, "notPossible", "the archive was begun at %s and is done after the next day, too late for the roots that name it; write it again, on a quieter machine or a faster disk",
				list.At.Format(time.RFC3339))
		}
		if err := t.audit(actor, "archive.made", envelope.Hash{}, fmt.Sprintf("%s with %d bills", out.Sum, out.Bills)); err != nil {
			return err
		}
		return t.exec("INSERT INTO archives (audit_row, sum) SELECT max(id), ? FROM audit", out.Sum[:])
	})
}

func nextBill(ctx context.Context, q querier, after int64) (*bill, error) {
	var id int64
	found := false
	err := each(ctx, q, "SELECT id FROM bills WHERE id > ? ORDER BY id LIMIT 1", []any{after}, func(scan func(...any) error) error {
		found = true
		return scan(&id)
	})
	if err != nil || !found {
		return nil, err
	}
	return loadBillByID(ctx, q, id)
}

// writeRoots writes all roots that were signed so far. The ones that are there must be the
// first of them: another list is another platform's, or of a database that was put back.
func (n *Node) writeRoots(ctx context.Context, dir string, out *Archived) error {
	n.sealDay(ctx) // yesterday's may be due
	list := envelope.ArchiveRoots{By: n.Domain()}
	err := each(ctx, n.store.read, "SELECT root FROM audit_roots ORDER BY last", nil, func(scan func(...any) error) error {
		var root string
		err := scan(&root)
		list.Roots = append(list.Roots, root)
		return err
	})
	if err != nil {
		return busy(err)
	}
	path := filepath.Join(dir, envelope.RootsName)
	if old, err := os.ReadFile(path); err == nil {
		was, err := envelope.ParseArchiveRoots(old)
		if err != nil || was.By != list.By || len(was.Roots) > len(list.Roots) || !slices.Equal(was.Roots, list.Roots[:len(was.Roots)]) {
			return refuse(NotPossible, "notPossible", "%s has roots that this node did not sign, or has forgotten", path)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return refuse(NotPossible, "notPossible", "making the archive: %s", err)
	}
	text, err := list.Marshal()
	if err != nil {
		return err
	}
	fresh := path + ".new"
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeSynced(fresh, text); err != nil {
		return err
	}
	if err := os.Rename(fresh, path); err != nil {
		return err
	}
	out.Roots = len(list.Roots)
	return syncDir(dir)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return refuse(NotPossible, "notPossible", "making the archive: %s", err)
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}
