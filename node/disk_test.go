package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestDatabaseTakenAwayWhileRunning: what is committed to a file without a name is lost
// with the process, so nothing of it may be revealed, and the node stops.
func TestDatabaseTakenAwayWhileRunning(t *testing.T) {
	for name, take := range map[string]func(path string) error{
		"deleted":                  os.Remove,
		"its log deleted":          func(path string) error { return os.Remove(path + "-wal") },
		"moved":                    func(path string) error { return os.Rename(path, path+".old") },
		"another in its place":     func(path string) error { return replaceFile(path) },
		"another log in its place": func(path string) error { return replaceFile(path + "-wal") },
		"the folder moved":         func(path string) error { return os.Rename(filepath.Dir(path), filepath.Dir(path)+".old") },
	} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
			al := a.User("al")
			doc := a.Issue(al.ID)
			stopped := make(chan error, 1)
			go func() { stopped <- a.Node().Run(t.Context()) }()
			if err := take(filepath.Join(a.Dir, node.DatabaseFile)); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(b.User("bob").ID)})
				mustRefuse(t, err, node.Unavailable, "unavailable")
				body, _ := b.Offer(al.ID)
				r, err := a.Put(b, body)
				if r != (node.Reply{}) {
					t.Errorf("revealed %+v", r)
				}
				mustRefuse(t, err, node.Unavailable, "unavailable")
			}
			if err := a.Node().Ready(t.Context()); !errors.Is(err, node.ErrVanished) {
				t.Errorf("ready: got %v, want ErrVanished", err)
			}
			select {
			case err := <-stopped:
				if !errors.Is(err, node.ErrVanished) {
					t.Errorf("the outbox ended with %v, want ErrVanished", err)
				}
			case <-time.After(ebltest.Patience):
				t.Error("the outbox has not ended")
			}
		})
	}
}

// replaceFile puts a copy of a file in its place.
func replaceFile(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", b, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// TestFilesOpenToOthersAreRefused, each of them.
func TestFilesOpenToOthersAreRefused(t *testing.T) {
	for _, name := range []string{node.DatabaseFile, node.DatabaseFile + "-wal", node.DatabaseFile + "-shm", node.WitnessFile} {
		p := stopped(t)
		path := filepath.Join(p.Dir, name)
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, mode := range []os.FileMode{0o640, 0o604, 0o666} {
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
			mustNotOpen(t, p.Config(), "chmod 600 "+path)
		}
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		p.Start()
	}
}

// TestEmptyDatabaseIsRefused also where neither log nor witness tells that it was one.
func TestEmptyDatabaseIsRefused(t *testing.T) {
	p := stopped(t)
	path := filepath.Join(p.Dir, node.DatabaseFile)
	for _, name := range []string{path, p.Config().Witness, filepath.Join(p.Dir, "witness.log")} {
		if err := os.Truncate(name, 0); err != nil && name != "" && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	mustNotOpen(t, p.Config(), "empty")
}

// TestFullDisk: on a file system with no space left the node answers nothing that it could
// not keep, reads go on, and with space it goes on, with nothing lost.
func TestFullDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m,mode=0700"); err != nil {
		t.Skipf("a small file system needs the right to mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Dir = dir }))
	b := w.Platform("b.example", ebltest.Manual())
	al := a.User("al")
	first := a.Issue(al.ID)
	ballast := filepath.Join(dir, "ballast")
	fill(t, ballast)
	var refused []byte
	for i := 0; refused == nil; i++ {
		body, _ := b.Offer(al.ID)
		r, err := a.Put(b, body)
		switch {
		case err != nil:
			e := mustRefuse(t, err, node.Unavailable, "unavailable")
			if !strings.Contains(e.Err.Error(), "full") && !strings.Contains(e.Err.Error(), "disk I/O") && !strings.Contains(e.Err.Error(), "no space") {
				t.Fatalf("got %v, want a full disk", e.Err)
			}
			refused = body
		case r.Receipt == "":
			t.Fatalf("got %+v", r)
		case i > 2000:
			t.Fatal("the disk does not become full")
		}
	}
	if v := a.View(first); v.Control != node.Held {
		t.Errorf("reading on a full disk: got %+v", v)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	r, err := a.Put(b, refused)
	if err != nil || r.Receipt == "" {
		t.Fatalf("with space again: got %+v and %v", r, err)
	}
	mustBeClean(t, a)
	a.Restart()
	again, err := a.Put(b, refused)
	if err != nil || again.Receipt != r.Receipt {
		t.Errorf("after a restart: got %+v and %v, want the same receipt", again, err)
	}
	mustBeClean(t, a)
}

// fill takes all space of a file system but for some pages.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
}
