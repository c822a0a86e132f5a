package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestCrashPointsOfTheSources: what the sources name is what is described here, and of each
// the one or the other side.
func TestCrashPointsOfTheSources(t *testing.T) {
	p, err := crashPoints("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.gone)+len(p.undescribed) > 0 {
		t.Errorf("listed and in no source: %v; in the sources and not described: %v", p.gone, p.undescribed)
	}
	if len(p.senders) != len(senderPoints) || len(p.receivers) != len(receiverPoints) {
		t.Errorf("got %d and %d points, want %d and %d", len(p.senders), len(p.receivers), len(senderPoints), len(receiverPoints))
	}
}

// TestNewCrashPointIsNotForgotten: one that somebody puts into a source, of whatever
// package, is in the plan, and the build has a call in its place.
func TestNewCrashPointIsNotForgotten(t *testing.T) {
	root := t.TempDir()
	write := func(file, text string) {
		t.Helper()
		path := filepath.Join(root, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("node/new.go", "package node\n\nfunc f() {\n\t// crashpoint: s10\n}\n")
	write("internal/other/deep.go", "package other\n\nfunc g() {\n\t// crashpoint: r10\n}\n")
	write("node/new_test.go", "package node\n\nfunc h() {\n\t// crashpoint: s11\n}\n")
	p, err := crashPoints(root)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"r10", "s10"}; !slices.Equal(p.undescribed, want) {
		t.Errorf("not described: got %v, want %v", p.undescribed, want)
	}
	if len(p.gone) == 0 {
		t.Error("no described point is missed, and these sources have none of them")
	}
	c := &crasher{o: &options{seed: 1, pairs: 1}, named: p, s: &summary{}}
	c.unreached(map[string]int{})
	if len(c.s.Findings) != 2 {
		t.Errorf("nobody came to two points: got %q", c.s.Findings)
	}
	calls := ""
	for _, e := range p.edits {
		calls += e.file + " " + e.new
	}
	for _, want := range []string{`crashAt("s10")`, `crashAt("r10")`, "internal/other/torture_crash.go package other"} {
		if !strings.Contains(calls, want) {
			t.Errorf("the build has no %s", want)
		}
	}
	write("node/odd.go", "package node\n\nfunc i() {\n\t// crashpoint: x1\n}\n")
	if _, err := crashPoints(root); err == nil || !strings.Contains(err.Error(), "x1") {
		t.Errorf("a name that says no side: got %v", err)
	}
}

// TestShortPlanHasEachPoint: a run of few pairs still comes to all.
func TestShortPlanHasEachPoint(t *testing.T) {
	o := &options{seed: 7, pairs: 27}
	p, err := crashPoints("../..")
	if err != nil {
		t.Fatal(err)
	}
	c := &crasher{o: o, named: p, rng: o.random("crashpoints")}
	seen := map[string]int{}
	list := c.plan()
	for _, r := range list {
		seen["s "+r.sender.name]++
		seen["r "+r.receiver.name]++
	}
	if len(list) != 27 || len(seen) != len(p.senders)+len(p.receivers) {
		t.Errorf("got %d runs with %d points", len(list), len(seen))
	}
	if c.o.pairs = 0; len(c.plan()) != len(p.senders)*len(p.receivers)*killChoices {
		t.Errorf("all: got %d runs", len(c.plan()))
	}
}
