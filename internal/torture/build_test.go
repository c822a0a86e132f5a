package main

import (
	"io"
	"path/filepath"
	"sync"
	"testing"
)

// TestOverlaysBuild: what the modes lay over the sources still fits them.
func TestOverlaysBuild(t *testing.T) {
	crash, err := crashEdits("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(crash) < len(senderPoints)+len(receiverPoints)-4 { // some share a place
		t.Errorf("got %d places for crash points", len(crash))
	}
	for name, edits := range map[string][]edit{"clock": clockEdits, "crashpoints": crash} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			root, err := filepath.Abs("../..")
			if err != nil {
				t.Fatal(err)
			}
			if _, err := writeOverlay(root, dir, edits); err != nil {
				t.Fatal(err)
			}
			if testing.Short() {
				return
			}
			o := &options{root: root, mu: &sync.Mutex{}, out: io.Discard}
			if _, err := o.build(t.Context(), dir, "eblnode", "./cmd/eblnode", edits...); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestModes: each mode has a short form, and each that is no test of others is a gate of
// some mutant or has a control of its own.
func TestModes(t *testing.T) {
	for _, m := range modes {
		if m.ci == nil {
			t.Errorf("%s: -ci leaves it out", m.name)
		}
	}
}
