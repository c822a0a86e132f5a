package mutants

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestEveryMutantApplies: a rule that a mutant breaks is still where it was.
func TestEveryMutantApplies(t *testing.T) {
	root, err := Root(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Errorf("got %d mutants, want at least 10", len(all))
	}
	for _, m := range all {
		if _, err := m.Apply(root); err != nil {
			t.Error(err)
		}
	}
}

// TestMutantsThatAreNotCaught: one that no longer applies is broken, one that nothing
// notices survives; neither may pass for caught.
func TestMutantsThatAreNotCaught(t *testing.T) {
	root, err := Root(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		text string
		want Outcome
	}{
		"no longer applies": {"== why\nx\n== gate test ./chain ^TestCompare$\n== file chain/compare.go\n== old\nnobody wrote this\n== new\nx\n", Broken},
		"does not compile":  {"== why\nx\n== gate test ./chain ^TestCompare$\n== file chain/compare.go\n== old\npackage chain\n== new\npackage chain\nvar x int = \"\"\n", Broken},
		"changes nothing":   {"== why\nx\n== gate test ./chain ^TestCompare$\n== file chain/compare.go\n== old\npackage chain\n== new\npackage chain // changed\n", Survived},
		"no such test":      {"== why\nx\n== gate test ./chain ^TestNobodyWrote$\n== file chain/compare.go\n== old\npackage chain\n== new\npackage chain // changed\n", Broken},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parse(c.text)
			if err != nil {
				t.Fatal(err)
			}
			m.Name = strings.ReplaceAll(name, " ", "-")
			r := runner{Options: Options{Root: root}, dir: t.TempDir()}
			if got, detail := r.run(t.Context(), trial{m, m.Gates[0]}); got != c.want {
				t.Errorf("got %s (%s), want %s", got, detail, c.want)
			}
		})
	}
}

func TestOneMutantIsCaught(t *testing.T) {
	root, err := Root(t.Context(), ".")
	if err != nil {
		t.Fatal(err)
	}
	s, err := Run(t.Context(), Options{Root: root, Only: regexp.MustCompile("^link-unchecked$")})
	if err != nil || !s.OK() || s.Caught != 1 {
		t.Errorf("got %+v and %v, want it caught", s, err)
	}
}

func TestParseRefusals(t *testing.T) {
	good := "== why\nx\n== gate test ./chain ^T$\n== file a.go\n== old\na\n== new\nb\n"
	if _, err := parse(good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"no why":      strings.Replace(good, "== why\nx\n", "", 1),
		"no gate":     strings.Replace(good, "== gate test ./chain ^T$\n", "", 1),
		"other gate":  strings.Replace(good, "gate test", "gate toast", 1),
		"no file":     strings.Replace(good, "== file a.go\n", "", 1),
		"no old text": strings.Replace(good, "\na\n", "\n", 1),
		"no change":   strings.Replace(good, "\nb\n", "\na\n", 1),
		"bad gate":    good + "== gate mode\n",
		"other words": good + "== hello\n",
	} {
		if _, err := parse(text); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}

// TestGoIsRunAgain where it lost a package, and for no other reason.
func TestGoIsRunAgain(t *testing.T) {
	for name, c := range map[string]struct {
		said string
		runs int
		good bool
	}{
		"it lost one, once": {"identity/key.go:12:2: could not import encoding/hex (open : no such file or directory)", 2, true},
		"a wrong program":   {"chain/x.go:1:1: undefined: x", 1, false},
	} {
		dir := t.TempDir()
		runs := filepath.Join(dir, "runs")
		script := fmt.Sprintf("#!/bin/sh\necho x >> %s\n[ $(wc -l < %s) -gt 1 ] && exit 0\necho '%s'\nexit 1\n", runs, runs, c.said)
		if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
		_, err := Go(t.Context(), dir, "build")
		text, _ := os.ReadFile(runs)
		if got := strings.Count(string(text), "x"); got != c.runs || (err == nil) != c.good {
			t.Errorf("%s: got %d runs and %v, want %d", name, got, err, c.runs)
		}
	}
}
