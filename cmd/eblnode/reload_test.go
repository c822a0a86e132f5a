//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/keyfile"
)

// openedNode is a new node, opened as serve does it and serving nobody.
func openedNode(t *testing.T) *opened {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "n")
	if _, errOut, code := do(t, "init", "--data", dir, "--domain", "a.example", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"); code != 0 {
		t.Fatal(errOut)
	}
	o, err := (&app{data: dir, in: strings.NewReader(""), out: t.Output(), errOut: t.Output()}).openToServe(t.Context(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.close() })
	return o
}

// putKey puts a new signing key into the folder, to be used from now on.
func putKey(t *testing.T, o *opened, name string) {
	t.Helper()
	now := time.Now()
	spec := identity.CertificateSpec{Subject: "a.example", Names: []string{"a.example"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}
	_, files, err := maker{access: o.access}.newKey(keyfile.Signing, name, identity.ES256, spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeKeys(filepath.Join(o.dir, keysDir), files, []keyfile.Use{keyfile.Signing}, name, keyfile.Note{From: now.UTC()}); err != nil {
		t.Fatal(err)
	}
}

func (o *opened) signsAs() string {
	k, _ := o.node.SignsWith()
	if k == nil {
		return ""
	}
	return k.ID
}

// TestKeyThatCameWhileTheNodeStartedIsTaken: between the moment when the keys are read at the
// start and the first look at their folder it may be long.
func TestKeyThatCameWhileTheNodeStartedIsTaken(t *testing.T) {
	watchEvery = 20 * time.Millisecond
	t.Cleanup(func() { watchEvery = 15 * time.Second })
	o := openedNode(t)
	putKey(t, o, "meanwhile")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- (&watch{o: o, log: slog.New(slog.DiscardHandler)}).run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	waitUntil(t, "the key that came meanwhile", func() bool { return o.signsAs() == "meanwhile" })
}

// TestNewestKeyIsUsedHoweverManyRead: a reading that began before a key was there, and ends after
// one that found it, does not take the key away again.
func TestNewestKeyIsUsedHoweverManyRead(t *testing.T) {
	o := openedNode(t)
	for i := range 15 {
		var others sync.WaitGroup
		for range 4 {
			others.Go(func() { _ = o.reload(t.Context(), "test") }) // which may see half a key
		}
		name := fmt.Sprintf("key-%d", i)
		putKey(t, o, name)
		if err := o.reload(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		others.Wait()
		if got := o.signsAs(); got != name {
			t.Fatalf("after its reading and others: got the key %s in use, want %s", got, name)
		}
	}
}

// TestHangupIsHeardBeforeTheNodeIsKnown: SIGHUP ends a process that does not listen for it, and
// the first one may come as soon as somebody knows of the node.
func TestHangupIsHeardBeforeTheNodeIsKnown(t *testing.T) {
	ours := make(chan os.Signal, 1) // else a test that fails would end all
	signal.Notify(ours, syscall.SIGHUP)
	defer signal.Stop(ours)
	o := openedNode(t)
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	select {
	case <-o.hangup:
	case <-time.After(time.Minute):
		t.Error("nobody has heard it")
	}
}
