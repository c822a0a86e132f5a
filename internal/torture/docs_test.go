package main

import (
	"os"
	"strings"
	"testing"

	"eblnode/internal/torture/mutants"
)

// TestReliabilityNamesEachMutant: the table of negative controls is what is run.
func TestReliabilityNamesEachMutant(t *testing.T) {
	text, err := os.ReadFile("../../docs/RELIABILITY.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if name, rest, found := strings.Cut(strings.TrimPrefix(line, "| `"), "` |"); found && strings.HasPrefix(line, "| `") {
			rows[name] = rest
		}
	}
	all, err := mutants.All()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		row, found := rows[m.Name]
		if !found {
			t.Errorf("mutant %s has no row", m.Name)
			continue
		}
		for _, g := range m.Gates {
			if want := "`" + g.Mode + "`"; g.Mode != "" && !strings.Contains(row, want) {
				t.Errorf("mutant %s: its row lacks the mode %s", m.Name, want)
			}
		}
		for _, mode := range modes {
			caught := false
			for _, g := range m.Gates {
				caught = caught || g.Mode == mode.name
			}
			if !caught && strings.Contains(row, "`"+mode.name+"`") {
				t.Errorf("mutant %s: its row has the mode %s, which is no gate of it", m.Name, mode.name)
			}
		}
	}
	for _, m := range modes {
		if !strings.Contains(string(text), "-mode "+m.name) && m.name != "faults" {
			t.Errorf("it says nothing of -mode %s", m.name)
		}
	}
}
