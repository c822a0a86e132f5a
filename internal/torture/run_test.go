package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"eblnode/internal/torture/audit"
)

// withModes replaces the table of modes for a test.
func withModes(t *testing.T, list ...mode) {
	t.Helper()
	before := modes
	modes = list
	t.Cleanup(func() { modes = before })
}

// summaries are the lines that a run with -json printed.
func summaries(t *testing.T, out string) []summary {
	t.Helper()
	var list []summary
	for line := range strings.Lines(out) {
		var s summary
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, s)
	}
	return list
}

// TestRunOfAllModesGoesOn: one that is stopped between two modes does the rest, with the
// same seed, and what was found before is still found.
func TestRunOfAllModesGoesOn(t *testing.T) {
	var ran []string
	var seeds []uint64
	fails := true
	one := func(name string, do func(s *summary) error) mode {
		return mode{name: name, run: func(_ context.Context, o *options) (*summary, error) {
			ran, seeds = append(ran, name), append(seeds, o.seed)
			s := &summary{Figures: map[string]any{}}
			return s, do(s)
		}}
	}
	withModes(t,
		one("good", func(*summary) error { return nil }),
		one("bad", func(s *summary) error { s.wrong("a bill is DOUBLED"); return nil }),
		one("stopped", func(*summary) error {
			if fails {
				return errors.New("the machine was switched off")
			}
			return nil
		}))
	dir := t.TempDir()
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-mode", "all", "-json", "-state", dir}, &out, io.Discard); code != 3 {
		t.Errorf("stopped: got exit code %d, want 3", code)
	}
	fails = false
	out.Reset()
	if code := run(t.Context(), []string{"-mode", "all", "-json", "-state", dir}, &out, io.Discard); code != 1 {
		t.Errorf("with a finding: got exit code %d, want 1", code)
	}
	if got, want := strings.Join(ran, " "), "good bad stopped stopped"; got != want {
		t.Errorf("ran: got %s, want %s", got, want)
	}
	for _, s := range seeds {
		if s != seeds[0] {
			t.Errorf("seeds: got %v, want one", seeds)
		}
	}
	list := summaries(t, out.String())
	if len(list) != 4 || list[3].Mode != "all" || len(list[3].Findings) != 1 || !strings.Contains(list[3].Findings[0], "bad: a bill is DOUBLED") {
		t.Errorf("got %+v", list)
	}
	if seconds, ok := list[len(list)-1].Figures["secondsOfEachMode"].(map[string]any); !ok || len(seconds) != 3 {
		t.Errorf("seconds of each mode: got %v", list[len(list)-1].Figures)
	}
	// Other options are another run.
	if code := run(t.Context(), []string{"-mode", "all", "-json", "-state", dir, "-transfers", "7"}, io.Discard, io.Discard); code != 1 || len(ran) != 7 {
		t.Errorf("other options: got exit code %d after %v", code, ran)
	}
}

// TestShortFormHasABudget: over it the run fails, though nothing else is wrong; what others
// took of the processors is not its fault.
func TestShortFormHasABudget(t *testing.T) {
	for _, c := range []struct {
		name                 string
		budget, took, others time.Duration
		findings             int
	}{
		{"within", time.Minute, 50 * time.Second, 0, 0},
		{"over", time.Minute, 70 * time.Second, 0, 1},
		{"over for want of processors", time.Minute, 70 * time.Second, 20 * time.Second, 0},
		{"over all the same", time.Minute, 90 * time.Second, 20 * time.Second, 1},
	} {
		s := &summary{Figures: map[string]any{}}
		(&options{budget: c.budget}).overBudget(s, c.took, c.others)
		if len(s.Findings) != c.findings {
			t.Errorf("%s: got %q, want %d findings", c.name, s.Findings, c.findings)
		}
	}
	slow := mode{name: "slow", ci: func(*options) {}, run: func(context.Context, *options) (*summary, error) {
		time.Sleep(20 * time.Millisecond)
		return &summary{}, nil
	}}
	withModes(t, slow, slow)
	if code := run(t.Context(), []string{"-ci", "-budget", "1ns"}, io.Discard, io.Discard); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	if code := run(t.Context(), []string{"-ci"}, io.Discard, io.Discard); code != 0 {
		t.Errorf("got exit code %d, want 0", code)
	}
}

// TestStateOfAnotherRunIsRefused: going on with it would prove neither.
func TestStateOfAnotherRunIsRefused(t *testing.T) {
	dir := t.TempDir()
	o := func(seed uint64, nodes int) *options {
		return &options{seed: seed, seeded: true, nodes: nodes, state: dir, mu: newOptions().mu, out: io.Discard}
	}
	if _, err := openWorkspace(o(7, 3), "faults"); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(dir, "p0")
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	// Stopped before its nodes were made: what there is of them goes, and it begins anew.
	w, err := openWorkspace(o(7, 3), "faults")
	if err != nil || w.resuming {
		t.Fatalf("got %+v and %v, want a new beginning", w, err)
	}
	if _, err := os.Stat(left); err == nil {
		t.Error("half a node is left")
	}
	if err := w.made(); err != nil {
		t.Fatal(err)
	}
	again, err := openWorkspace(o(7, 3), "faults")
	if err != nil || !again.resuming {
		t.Fatalf("got %+v and %v, want to go on", again, err)
	}
	for name, other := range map[string]*options{"seed": o(8, 3), "nodes": o(7, 4)} {
		if _, err := openWorkspace(other, "faults"); err == nil {
			t.Errorf("another %s: got no error", name)
		}
	}
	if _, err := openWorkspace(o(7, 3), "race"); err == nil {
		t.Error("another mode: got no error")
	}
	dir = t.TempDir()
	if _, err := openWorkspace(o(7, 3), "crashpoints"); err != nil {
		t.Fatal(err)
	}
	pairs := o(7, 3)
	pairs.pairs = 27 // run 5 is another one then
	if _, err := openWorkspace(pairs, "crashpoints"); err == nil {
		t.Error("other options: got no error")
	}
}

// stopAfter ends a run when it says something.
type stopAfter struct {
	words *regexp.Regexp
	stop  context.CancelFunc
	said  *bytes.Buffer
}

func (s stopAfter) Write(b []byte) (int, error) {
	if s.words.Match(b) {
		s.stop()
	}
	return s.said.Write(b)
}

// TestStoppedRunsGoOn: each mode that takes minutes, stopped in its middle, does what is
// left with the same nodes, and all of it is audited.
func TestStoppedRunsGoOn(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs nodes")
	}
	for _, c := range []struct {
		mode  string
		flags []string
		stop  string // a pattern of what is said when it is stopped
		goes  string // what is said when it goes on
	}{
		{"faults", []string{"-transfers", "120", "-kills", "6", "-skew", "0", "-v"}, " [1-5] kills", "going on with"}, // a fault may kill more than one
		{"crashpoints", []string{"-pairs", "20", "-v"}, "run 4 is done", "of 20 runs"},
		{"race", []string{"-bills", "6", "-callers", "8", "-v"}, "bill 3 is done", "of 6 bills"},
	} {
		t.Run(c.mode, func(t *testing.T) {
			t.Parallel() // their nodes mostly wait
			dir := t.TempDir()
			args := append([]string{"-root", "../..", "-mode", c.mode, "-json", "-state", dir}, c.flags...)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var said bytes.Buffer
			if code := run(ctx, args, io.Discard, stopAfter{regexp.MustCompile(c.stop), stop, &said}); code != 3 {
				t.Fatalf("stopped: got exit code %d, want 3\n%s", code, &said)
			}
			var out bytes.Buffer
			said.Reset()
			if code := run(t.Context(), args, &out, &said); code != 0 {
				t.Fatalf("got exit code %d, want 0\n%s%s", code, &out, &said)
			}
			if !strings.Contains(said.String(), c.goes) {
				t.Errorf("it says nothing of going on:\n%s", &said)
			}
		})
	}
}

// TestFiguresCountWhoeverFoundIt: what the auditor had no room to list, what users saw while
// the nodes ran, and what a run saw that was stopped before.
func TestFiguresCountWhoeverFoundIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.jsonl")
	h, err := openHistory(path)
	if err != nil {
		t.Fatal(err)
	}
	(&load{h: h, o: newOptions()}).problem("envelope 1 was rejected, and put again it is accepted: DOUBLED")
	if err := h.close(); err != nil {
		t.Fatal(err)
	}
	withModes(t, mode{name: "faults", run: func(context.Context, *options) (*summary, error) {
		again, err := openHistory(path) // of the run that goes on
		if err != nil {
			return nil, err
		}
		defer func() { _ = again.close() }()
		s := &summary{Figures: map[string]any{}}
		s.wrong("bill 2 was moved by u1, who did not hold it: DOUBLED")
		s.take(&audit.Report{Findings: []string{"bill 3: in control nowhere: LOST"}, More: 4, Kinds: map[string]int{"LOST": 3, "DOUBLED": 2}})
		s.recall(again)
		return s, nil
	}})
	var out bytes.Buffer
	if code := run(t.Context(), []string{"-mode", "faults", "-json"}, &out, io.Discard); code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
	figures := summaries(t, out.String())[0].Figures
	for name, want := range map[string]float64{"lost": 3, "doubled": 4, "changed": 0} {
		if figures[name] != want {
			t.Errorf("%s: got %v, want %v", name, figures[name], want)
		}
	}
}
