package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eblnode/internal/ebltest"
	"eblnode/node"
)

// mustNotOpen fails the test unless the node refuses to start for a reason that has the
// words in it, and leaves the database as it was.
func mustNotOpen(t *testing.T, cfg node.Config, words string) error {
	t.Helper()
	path := filepath.Join(cfg.Dir, node.DatabaseFile)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), cfg)
	if err == nil {
		_ = n.Close()
		t.Fatalf("opened, want a refusal with %q", words)
	}
	if !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want %q", err, words)
	}
	after, readErr := os.ReadFile(path)
	if readErr != nil || string(before) != string(after) {
		t.Errorf("the database was touched (%v)", readErr)
	}
	return err
}

// stopped is a platform with one bill, not running.
func stopped(t *testing.T, opts ...ebltest.Option) *ebltest.Platform {
	t.Helper()
	p := ebltest.New(t).Platform("a.example", append(opts, ebltest.Manual())...)
	p.Issue(p.User("al").ID)
	p.Stop()
	return p
}

func TestDatabaseOfANewerProgramIsRefused(t *testing.T) {
	p := ebltest.New(t).Platform("a.example", ebltest.Manual())
	node.Exec(t, p.Node(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, 1)")
	p.Stop()
	mustNotOpen(t, p.Config(), "newer eblnode")
}

func TestDatabaseOfAnotherPlatformIsRefused(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
	a.Stop()
	b.Stop()
	cfg := b.Config()
	cfg.Dir = a.Dir
	mustNotOpen(t, cfg, "belongs to a.example")
}

func TestSecondProcessIsRefused(t *testing.T) {
	p := ebltest.New(t).Platform("a.example", ebltest.Manual())
	if err := mustNotOpen(t, p.Config(), "in use"); !errors.Is(err, node.ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
	// Somebody takes the lock for one that a crash has left behind.
	if err := os.Remove(filepath.Join(p.Dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if err := mustNotOpen(t, p.Config(), "in use"); !errors.Is(err, node.ErrInUse) {
		t.Errorf("without its file: got %v, want ErrInUse", err)
	}
	if err := p.Node().Ready(t.Context()); err != nil {
		t.Errorf("the first is disturbed: %v", err)
	}
	p.Restart() // the lock goes with the process
}

func TestFolderOpenToOthersIsRefused(t *testing.T) {
	p := stopped(t)
	for _, mode := range []os.FileMode{0o755, 0o750, 0o701, 0o777} {
		if err := os.Chmod(p.Dir, mode); err != nil {
			t.Fatal(err)
		}
		mustNotOpen(t, p.Config(), "chmod 700")
	}
	if err := os.Chmod(p.Dir, 0o700); err != nil {
		t.Fatal(err)
	}
	p.Start()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(filepath.Join(p.Dir, node.DatabaseFile+suffix))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: got %v and %v, want 0600", suffix, info.Mode(), err)
		}
	}
}

func TestDamagedDatabaseIsRefused(t *testing.T) {
	for name, damage := range map[string]func([]byte) []byte{
		"header":       func(b []byte) []byte { b[0] ^= 1; return b },
		"cut in half":  func(b []byte) []byte { return b[:len(b)/2] },
		"a page wiped": func(b []byte) []byte { clear(b[4096*2 : 4096*3]); return b },
		"not SQLite":   func([]byte) []byte { return []byte(strings.Repeat("eBL", 4096)) },
	} {
		t.Run(name, func(t *testing.T) {
			p := stopped(t)
			path := filepath.Join(p.Dir, node.DatabaseFile)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, damage(b), 0o600); err != nil {
				t.Fatal(err)
			}
			mustNotOpen(t, p.Config(), "")
		})
	}
}

// TestEmptyDatabaseBesideItsLogIsRefused: SQLite would throw the log away and begin anew,
// without a word, and every bill would be gone.
func TestEmptyDatabaseBesideItsLogIsRefused(t *testing.T) {
	for name, empty := range map[string]func(path string) error{
		"empty":   func(path string) error { return os.Truncate(path, 0) },
		"missing": os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			p := ebltest.New(t).Platform("a.example", ebltest.Manual())
			p.Issue(p.User("al").ID)
			wal, err := os.ReadFile(filepath.Join(p.Dir, node.DatabaseFile+"-wal"))
			if err != nil || len(wal) == 0 {
				t.Fatalf("no log to begin with: %v", err)
			}
			p.Stop()
			path := filepath.Join(p.Dir, node.DatabaseFile)
			if err := os.WriteFile(path+"-wal", wal, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := empty(path); err != nil {
				t.Fatal(err)
			}
			n, err := node.Open(t.Context(), p.Config())
			if err == nil {
				_ = n.Close()
				t.Fatal("opened")
			}
			if !strings.Contains(err.Error(), "restore") {
				t.Errorf("got %v", err)
			}
			if got, err := os.ReadFile(path + "-wal"); err != nil || string(got) != string(wal) {
				t.Errorf("the log was touched: %v", err)
			}
		})
	}
}
