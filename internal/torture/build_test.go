package main

import (
	"io"
	"path/filepath"
	"sync"
	"testing"

	"eblnode/internal/torture/mutants"
)

// TestOverlaysBuild: what the modes lay over the sources still fits them.
func TestOverlaysBuild(t *testing.T) {
	crash, err := crashPoints("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, edits := range map[string][]edit{"clock": clockEdits, "crashpoints": crash.edits, "restore": only(crash.edits, "s1")} {
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

// TestModes: each mode has a short form, and is a gate that catches some mutant; one that
// catches none proves nothing.
func TestModes(t *testing.T) {
	all, err := mutants.All()
	if err != nil {
		t.Fatal(err)
	}
	known := gates(&options{})
	gated := map[string]bool{}
	for _, m := range all {
		for _, g := range m.Gates {
			if gated[g.Mode] = true; g.Mode != "" && known[g.Mode] == nil {
				t.Errorf("mutant %s: there is no mode %q", m.Name, g.Mode)
			}
		}
	}
	for _, m := range modes {
		if m.ci == nil {
			t.Errorf("%s: -ci leaves it out", m.name)
		}
		if m.name != "mutants" && !gated[m.name] {
			t.Errorf("%s: it is the gate of no mutant", m.name)
		}
	}
}
