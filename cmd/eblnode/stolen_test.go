//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// TestStolenTLSKeyIsNamedNoMore: what the manual says of a stolen TLS key. With its files gone
// our entry names the new one alone; as long as they are there it names both.
func TestStolenTLSKeyIsNamedNoMore(t *testing.T) {
	p := &process{domain: "a.example", dir: filepath.Join(t.TempDir(), "a"), user: "user"}
	p.must(t, "init", "--domain", p.domain, "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0")
	pins := func() []string {
		t.Helper()
		var entry struct {
			TLS struct{ Pins []string }
		}
		if err := json.Unmarshal([]byte(self(t, p)), &entry); err != nil {
			t.Fatal(err)
		}
		return entry.TLS.Pins
	}
	old := pins()
	files, err := filepath.Glob(filepath.Join(p.dir, keysDir, "tls-*"))
	if err != nil || len(files) < 2 || len(old) != 1 {
		t.Fatalf("got %v, %v and the pins %v", files, err, old)
	}
	p.must(t, "key", "rotate", "--use", "tls", "--now", "--name", "new")
	if got := pins(); len(got) != 2 || !slices.Contains(got, old[0]) {
		t.Errorf("after the rotation: got the pins %v, want the old one and another", got)
	}
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	if got := pins(); len(got) != 1 || got[0] == old[0] {
		t.Errorf("with its files gone: got the pins %v, want the new one alone", got)
	}
}
