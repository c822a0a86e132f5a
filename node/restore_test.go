package node_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestTransferPreparedBeforeTheBackupMayHaveLeft: it was sent and accepted since, and the
// answer was lost, so the witness has nothing of it. Cancelled after the restore, or after
// an old file was put there by hand, the bill would be in two places.
func TestTransferPreparedBeforeTheBackupMayHaveLeft(t *testing.T) {
	for how, put := range map[string]func(t *testing.T, p *ebltest.Platform, backup string){
		"restored": func(t *testing.T, p *ebltest.Platform, backup string) { restore(t, p, backup) },
		"copied by hand": func(t *testing.T, p *ebltest.Platform, backup string) {
			p.Issue(p.User("al").ID) // something later in the witness
			p.Stop()
			path := filepath.Join(p.Dir, node.DatabaseFile)
			text, err := os.ReadFile(backup)
			if err == nil {
				err = os.WriteFile(path, text, 0o600)
			}
			for _, suffix := range []string{"-wal", "-shm"} {
				if e := os.Remove(path + suffix); e != nil && !errors.Is(e, fs.ErrNotExist) {
					err = e
				}
			}
			if err != nil {
				t.Fatal(err)
			}
			p.Start()
		},
	} {
		t.Run(how, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
			al, bob := a.User("al"), b.User("bob")
			x := tap(w)
			doc := a.Issue(al.ID)
			moved := a.Move(al, doc, envelope.Transfer, bob.ID)
			old := backup(t, a)
			x.answer(lose)
			stop := a.Run()
			waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
			stop()
			put(t, a, old)
			_, err := a.Node().Cancel(t.Context(), al.User, moved.Transfer, node.Once{})
			mustRefuse(t, err, node.Conflict, "alreadySent")
			x.answer(nil)
			defer a.Run()()
			a.Settled(moved.Transfer, node.Accepted)
			x.mustSendTheSame(t, doc)
			mustHold(t, w, doc, bob.ID)
			checkAll(t, w)
			if r, err := a.Node().Fsck(t.Context(), node.FsckOptions{}); err != nil || len(r.Findings) > 0 {
				t.Errorf("fsck: got %+v and %v", r.Findings, err)
			}
		})
	}
}
