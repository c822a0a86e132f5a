//go:build linux

package powercut

import (
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func mounted(t *testing.T) (*Disk, string) {
	t.Helper()
	if err := Usable(); err != nil {
		t.Skip(err)
	}
	d, dir := New(), t.TempDir()
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Unmount() })
	return d, dir
}

func cut(t *testing.T, d *Disk, dir string, chance *rand.Rand) {
	t.Helper()
	if err := d.Unmount(); err != nil {
		t.Fatal(err)
	}
	d.Cut(chance)
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestCutLosesWhatNoFsyncCovered, and nothing else.
func TestCutLosesWhatNoFsyncCovered(t *testing.T) {
	d, dir := mounted(t)
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	name, never, gone := filepath.Join(dir, "a", "b", "f"), filepath.Join(dir, "never"), filepath.Join(dir, "gone")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	write := func(at int64, s string) {
		t.Helper()
		if _, err := f.WriteAt([]byte(s), at); err != nil {
			t.Fatal(err)
		}
	}
	write(0, "durable")
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	write(0, "DUR")
	write(7, " and more")
	if err := f.Truncate(5); err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{never, gone} {
		if err := os.WriteFile(n, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if got := read(t, name); got != "DURab" {
		t.Errorf("before the cut: got %q", got)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cut(t, d, dir, nil)
	if got := read(t, name); got != "durable" {
		t.Errorf("after the cut: got %q, want what the fsync covered", got)
	}
	if got := read(t, never); got != "" {
		t.Errorf("a file without an fsync: got %q, want it empty", got)
	}
	if _, err := os.Stat(gone); !os.IsNotExist(err) {
		t.Errorf("a removed file: got %v, want it gone", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("a folder: got %v and %v", info, err)
	}
	if s := d.Stats(); s.LostWrites == 0 || s.Syncs != 1 {
		t.Errorf("got %+v", s)
	}
}

func TestUnmountLosesNothing(t *testing.T) {
	d, dir := mounted(t)
	name := filepath.Join(dir, "f")
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := d.Unmount(); err != nil {
		t.Fatal(err)
	}
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
	if got := read(t, name); got != "x" {
		t.Errorf("got %q", got)
	}
	d.Settle()
	cut(t, d, dir, nil)
	if got := read(t, name); got != "x" {
		t.Errorf("after Settle and a cut: got %q", got)
	}
}

// TestReorderedCutKeepsSome: with chance some unsynced writes survive and some do not.
func TestReorderedCutKeepsSome(t *testing.T) {
	d, dir := mounted(t)
	name := filepath.Join(dir, "f")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	const n = 64
	for i := range n {
		if _, err := f.WriteAt([]byte("x"), int64(i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	cut(t, d, dir, rand.New(rand.NewPCG(1, 1)))
	if got := strings.Count(read(t, name), "x"); got == 0 || got == n {
		t.Errorf("%d of %d unsynced writes were kept", got, n)
	}
}

func TestBeforeRefuses(t *testing.T) {
	d, dir := mounted(t)
	if err := d.Unmount(); err != nil {
		t.Fatal(err)
	}
	d.Before = func(op Op, file string) syscall.Errno {
		if op == Sync && file == "f" {
			return syscall.EIO
		}
		return 0
	}
	if err := d.Mount(dir); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err == nil {
		t.Error("an fsync that was refused succeeded")
	}
}

// TestSocket: the node's admin socket is in its data folder.
func TestSocket(t *testing.T) {
	_, dir := mounted(t)
	name := filepath.Join(dir, "s")
	l, err := net.Listen("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // longer than the kernel remembers a name
	c, err := net.Dial("unix", name)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
