package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"eblnode/judge"
)

// An expectation is what a file must come to: for holding this program against a list that
// somebody else made.
type expectation struct {
	Verdict judge.Verdict `json:"verdict"`
	Rule    string        `json:"rule,omitempty"`
}

// A difference is a file that came to something else, or that is only on one side.
type difference struct {
	File string       `json:"file"`
	Want *expectation `json:"expected,omitempty"` // nil: the list does not have it
	Got  *expectation `json:"got,omitempty"`      // nil: it was not judged
}

// expectations reads a list: {"files": {"a.json": {"verdict": "INVALID", "rule": "badLink/first"}}}.
func expectations(path string) (map[string]expectation, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var w struct {
		Files map[string]expectation `json:"files"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&w); err != nil || len(w.Files) == 0 {
		return nil, fmt.Errorf("--expect: %s is no list of files and their verdicts", path)
	}
	for name, e := range w.Files {
		if !slices.Contains([]judge.Verdict{judge.Valid, judge.ValidThen, judge.Indeterminate, judge.Invalid}, e.Verdict) || e.Verdict.Holds() != (e.Rule == "") {
			return nil, fmt.Errorf("--expect: %s says of %s neither a good verdict nor a bad one with its rule", path, name)
		}
	}
	return w.Files, nil
}

// compare holds reports against a list. A file is named by its path below the folder that was
// given, or by its name.
func compare(list map[string]expectation, args []string, reports []*judge.Report) (differ []difference, rules int) {
	seen, broken := map[string]bool{}, map[string]bool{}
	for _, r := range reports {
		name, got := nameBelow(args, r.File), expectation{r.Verdict, r.Rule}
		want, listed := list[name]
		seen[name] = true
		broken[r.Rule] = broken[r.Rule] || r.Rule != ""
		switch {
		case !listed:
			differ = append(differ, difference{name, nil, &got})
		case want != got:
			differ = append(differ, difference{name, &want, &got})
		}
	}
	for name, want := range list {
		if !seen[name] {
			differ = append(differ, difference{name, &want, nil})
		}
	}
	slices.SortFunc(differ, func(a, b difference) int { return strings.Compare(a.File, b.File) })
	delete(broken, "")
	return differ, len(broken)
}

func nameBelow(args []string, path string) string {
	for _, a := range args {
		if below, err := filepath.Rel(a, path); err == nil && below != "." && !strings.HasPrefix(below, "..") {
			return filepath.ToSlash(below)
		}
	}
	return filepath.Base(path)
}

// tellDifferences writes what compare found.
func tellDifferences(w io.Writer, differ []difference, files, rules int) {
	say := func(e *expectation, none string) string {
		if e == nil {
			return none
		}
		return strings.TrimSpace(fmt.Sprintf("%s %s", e.Verdict, e.Rule))
	}
	for _, d := range differ {
		fmt.Fprintf(w, "%s: got %s, expected %s\n", judge.Plain(d.File), judge.Plain(say(d.Got, "no such file")), judge.Plain(say(d.Want, "nothing: it is not in the list")))
	}
	fmt.Fprintf(w, "%d files judged, %d different first-broken rules: ", files, rules)
	if len(differ) == 0 {
		fmt.Fprintln(w, "each as expected")
		return
	}
	fmt.Fprintf(w, "%d NOT as expected\n", len(differ))
}
