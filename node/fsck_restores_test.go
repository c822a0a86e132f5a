package node_test

import (
	"database/sql"
	"fmt"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestSeveralBackupsRestoredOneAfterTheOther: somebody restores the wrong backup first, and
// the node goes on with it. No bill is spent twice, none is lost, and fsck blames nobody.
func TestSeveralBackupsRestoredOneAfterTheOther(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, ann, bob := a.User("al"), a.User("ann"), b.User("bob")
	where := map[envelope.Hash]string{}
	goOn := func() {
		t.Helper()
		for _, to := range []string{bob.ID, ann.ID, al.ID} {
			doc := a.Issue(al.ID)
			if where[doc] = to; to != al.ID {
				a.Transfer(al, doc, to)
			}
		}
		back := b.Issue(bob.ID)
		b.Transfer(bob, back, al.ID)
		where[back] = al.ID
		for doc, who := range where { // one that is here since a backup leaves
			if who == ann.ID {
				a.Transfer(ann, doc, bob.ID)
				where[doc] = bob.ID
				return
			}
		}
	}
	backups := map[string]string{}
	for _, name := range []string{"oldest", "older", "newer"} {
		goOn()
		backups[name] = backup(t, a)
	}
	goOn()
	order := []string{"oldest", "newer", "older", "newer", "newer", "between", "oldest", "between"}
	if testing.Short() {
		order = order[:2]
	}
	for i, name := range order {
		restore(t, a, backups[name])
		for doc, who := range where {
			mustHold(t, w, doc, who)
		}
		checkAll(t, w)
		goOn()
		if i == 4 { // of a database that was itself restored
			backups["between"] = backup(t, a)
			goOn()
		}
		a.Restart()
		checkAll(t, w)
		if t.Failed() {
			t.Fatalf("after restore %d, of the backup %q", i+1, name)
		}
	}
}

// TestFsckNamesALogThatWasCutOffAfterRestores: a log that tells of restores tells of those
// alone.
func TestFsckNamesALogThatWasCutOffAfterRestores(t *testing.T) {
	a := ebltest.New(t).Platform("a.example", ebltest.Manual())
	al := a.User("al")
	a.User("issuer", node.IssuerRole) // who is in the old backup too
	old := backup(t, a)
	a.Issue(al.ID)
	newer := backup(t, a)
	for _, path := range []string{old, newer} {
		a.Issue(al.ID)
		restore(t, a, path)
	}
	a.Issue(al.ID)
	mustBeClean(t, a)
	whileStopped(t, a, func(exec func(string, ...any), _ *sql.DB) {
		exec("DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)")
	})
	a.Issue(al.ID)
	mustFind(t, a, "audit", "witness")
}

// TestFsckNamesAForkThatIsForgotten: what proves who signed twice is taken out of the
// database; the witness knows of it.
func TestFsckNamesAForkThatIsForgotten(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
	root := chainOf(b, issue("ben@b.example"))
	mustAccept(t, a, b, b.Extend(root, transfer(a.User("al").ID)))
	if r, err := a.Put(b, b.Extend(root, transfer(a.User("ann").ID))); err != nil || r.Rejection == "" {
		t.Fatalf("got %+v and %v, want DISE", r, err)
	}
	mustBeClean(t, a)
	whileStopped(t, a, func(exec func(string, ...any), _ *sql.DB) { exec("DELETE FROM branches") })
	mustFind(t, a, "branches", "other chain")
	if _, err := a.Node().Fsck(t.Context(), node.FsckOptions{Sample: 1}); err != nil {
		t.Error(fmt.Errorf("a sample: %w", err))
	}
}
