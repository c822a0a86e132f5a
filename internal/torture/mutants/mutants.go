// Package mutants breaks the node on purpose, one rule at a time, and runs the gate that
// has to notice. A gate that lets a mutant live proves nothing about the node that passes
// it, so a survivor is a failure of ours and not of the mutant.
//
// A mutant is a file in data: which source file, the exact text in it, the text to put in
// its place, and the gate. It is compiled with the -overlay option of the go command, so
// nothing of it is ever in the tree or in a program that somebody runs. One whose text is
// no longer in the source fails: the rule it stood for may have gone with the text.
package mutants

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

//go:embed data/*.txt
var data embed.FS

// A Mutant is one way to break the node.
type Mutant struct {
	Name  string // of its file, without the ending
	Why   string // what is broken, and what that would cost, in one sentence
	Edits []Edit
	Gates []Gate // each must notice it
}

// An Edit replaces one text, which must be there exactly once.
type Edit struct {
	File     string // slash-separated, from the root of the module
	Old, New string
}

// A Gate is what must notice.
type Gate struct {
	// Mode is a mode of this program; "" where Package and Tests say what to run.
	Mode string
	// Package is a package, as "./node", and Tests a regular expression of its tests.
	Package, Tests string
}

// String is the gate as a command.
func (g Gate) String() string {
	if g.Mode != "" {
		return "torture -mode " + g.Mode
	}
	return "go test " + g.Package + " -run '" + g.Tests + "'"
}

// All reads the mutants, by name.
func All() ([]Mutant, error) {
	names, err := fs.Glob(data, "data/*.txt")
	if err != nil {
		return nil, err
	}
	var all []Mutant
	for _, name := range names {
		text, err := data.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parse(string(text))
		if err != nil {
			return nil, fmt.Errorf("reading the mutant %s: %w", name, err)
		}
		m.Name = strings.TrimSuffix(filepath.Base(name), ".txt")
		all = append(all, m)
	}
	return all, nil
}

// Find is the mutant of that name.
func Find(name string) (Mutant, error) {
	all, err := All()
	if err != nil {
		return Mutant{}, err
	}
	i := slices.IndexFunc(all, func(m Mutant) bool { return m.Name == name })
	if i < 0 {
		return Mutant{}, fmt.Errorf("there is no mutant %q", name)
	}
	return all[i], nil
}

// mark begins the lines that divide a file of data into sections.
const mark = "== "

// parse reads a mutant: the sections why, one or more gates, and for each edit file, old and new.
func parse(text string) (Mutant, error) {
	var m Mutant
	for section := range strings.SplitSeq("\n"+strings.TrimSuffix(text, "\n"), "\n"+mark) {
		if section == "" {
			continue
		}
		head, body, _ := strings.Cut(section, "\n")
		key, value, _ := strings.Cut(head, " ")
		last := len(m.Edits) - 1
		switch {
		case key == "why":
			m.Why = strings.Join(strings.Fields(body), " ")
		case key == "gate":
			g, err := parseGate(value)
			if err != nil {
				return m, err
			}
			m.Gates = append(m.Gates, g)
		case key == "file":
			m.Edits = append(m.Edits, Edit{File: value})
		case key == "old" && last >= 0:
			m.Edits[last].Old = body
		case key == "new" && last >= 0:
			m.Edits[last].New = body
		default:
			return m, fmt.Errorf("the section %q is not known or out of place", head)
		}
	}
	if m.Why == "" || len(m.Gates) == 0 || len(m.Edits) == 0 {
		return m, fmt.Errorf("a mutant has the sections why, gate, file, old and new")
	}
	for _, e := range m.Edits {
		if e.Old == "" || e.Old == e.New {
			return m, fmt.Errorf("%s: the old text is empty, or the new one is the same", e.File)
		}
	}
	return m, nil
}

func parseGate(value string) (Gate, error) {
	words := strings.Fields(value)
	switch {
	case len(words) == 2 && words[0] == "mode":
		return Gate{Mode: words[1]}, nil
	case len(words) == 3 && words[0] == "test":
		return Gate{Package: words[1], Tests: words[2]}, nil
	}
	return Gate{}, fmt.Errorf("the gate %q is neither %q nor %q", value, "mode NAME", "test PACKAGE TESTS")
}

// Apply gives the mutated files of the module at root, by their path from there. It fails
// where a text to replace is not there, or more than once.
func (m Mutant) Apply(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, e := range m.Edits {
		text, done := files[e.File]
		if !done {
			var err error
			if text, err = os.ReadFile(filepath.Join(root, filepath.FromSlash(e.File))); err != nil {
				return nil, fmt.Errorf("mutant %s: %w", m.Name, err)
			}
		}
		if n := bytes.Count(text, []byte(e.Old)); n != 1 {
			return nil, fmt.Errorf("mutant %s no longer applies: its old text stands %d times in %s, and must once; bring internal/torture/mutants/data/%s.txt up to date with the source:\n%s",
				m.Name, n, e.File, m.Name, e.Old)
		}
		files[e.File] = bytes.Replace(text, []byte(e.Old), []byte(e.New), 1)
	}
	return files, nil
}

// Overlay writes the mutated files into dir and returns the name of the file that the
// option -overlay of the go command takes.
func (m Mutant) Overlay(root, dir string) (string, error) {
	files, err := m.Apply(root)
	if err != nil {
		return "", err
	}
	replace := map[string]string{}
	for name, text := range files {
		at := filepath.Join(dir, m.Name+"-"+strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(at, text, 0o600); err != nil {
			return "", err
		}
		replace[filepath.Join(root, filepath.FromSlash(name))] = at
	}
	text, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, m.Name+".json")
	return name, os.WriteFile(name, text, 0o600)
}
