package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	"eblnode/internal/torture/mutants"
)

// runMutants breaks the node on purpose, one rule at a time, and runs the gates that must
// notice: tests of a package, or modes of this program. A mode that catches no mutant
// proves nothing, so in the long form each has at least one.
func runMutants(ctx context.Context, o *options) (*summary, error) {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	m := mutants.Options{Only: only, Quick: o.ci, Parallel: 3, Log: sayer{o}, Modes: gates(o)}
	if m.Root, err = mutants.Root(ctx, o.root); err != nil {
		return nil, err
	}
	w, err := openWorkspace(o, "mutants")
	if err != nil {
		return nil, err
	}
	for _, what := range w.h.parts() {
		var before mutants.Result
		if len(what) == 1 && json.Unmarshal([]byte(what[0]), &before) == nil {
			m.Before = append(m.Before, before)
		}
	}
	if err := w.made(); err != nil {
		return nil, err
	}
	var notKept error
	m.After = func(r mutants.Result) {
		text, err := json.Marshal(r)
		if err == nil {
			err = w.h.done(r.Name+" at "+r.Gate, string(text))
		}
		if err != nil {
			notKept = err // it stands in for all: the history is one file
		}
	}
	found, err := mutants.Run(ctx, m)
	if err = errors.Join(w.close(&summary{}, err), notKept); err != nil {
		return nil, err
	}
	s := &summary{Findings: found.Failures, Figures: map[string]any{
		"mutants": found.Mutants, "caught": found.Caught, "skipped": found.Skipped, "results": found.Results}}
	if found.Caught == 0 {
		s.wrong("no mutant was caught, so nothing was tried")
	}
	return s, nil
}

// gates are the modes of this program as gates of mutants.
func gates(o *options) map[string]func(context.Context, mutants.Mutant) (string, error) {
	all := map[string]func(context.Context, mutants.Mutant) (string, error){}
	for _, m := range gateModes() {
		if m.gate != nil {
			all[m.name] = func(ctx context.Context, x mutants.Mutant) (string, error) { return modeCatches(ctx, o, m, x) }
		}
	}
	all["powercut"] = powercutGate(o)
	return all
}

// gateModes are the modes; a function, since the table of them names this file's.
var gateModes func() []mode

func init() { gateModes = func() []mode { return modes } }

// modeCatches runs a mode, in the form that is enough for it, on a mutant, and returns
// the first thing that it found.
func modeCatches(ctx context.Context, o *options, m mode, x mutants.Mutant) (string, error) {
	dir, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return "", err
	}
	// What a mode with findings would leave for somebody to look at.
	defer func() { _ = os.RemoveAll(dir) }()
	before := os.Getenv("TMPDIR")
	defer func() { _ = os.Setenv("TMPDIR", before) }()
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return "", err
	}
	one := *o
	one.ci, one.state, one.only = false, "", ""
	if !o.verbose {
		one.out = io.Discard
	}
	m.gate(&one)
	for _, e := range x.Edits {
		one.broken = append(one.broken, edit{file: e.File, old: e.Old, new: e.New})
	}
	s, err := m.run(ctx, &one)
	switch {
	case err != nil:
		return "", err
	case s.Skipped != "":
		return "", fmt.Errorf("%w: %s", mutants.ErrSkip, s.Skipped)
	case len(s.Findings) == 0:
		return "", nil
	}
	return fmt.Sprintf("%d findings, the first: %.200s", len(s.Findings), s.Findings[0]), nil
}

// A sayer makes progress of what is written to it, a line each time.
type sayer struct{ o *options }

var _ io.Writer = sayer{}

func (w sayer) Write(line []byte) (int, error) {
	w.o.say("%s", line[:max(0, len(line)-1)])
	return len(line), nil
}

// quickMutants are those of the short form: of each kind of gate some, the quick ones.
// That every mutant still applies is a test of its package.
const quickMutants = "^(no-compare-and-swap|receipt-signed-anew|freed-on-dispute|link-unchecked|revealed-before-the-commit|witness-off)$"
