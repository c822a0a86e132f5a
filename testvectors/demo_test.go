package testvectors_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// An expectedList is what spoildemo.mjs says that each file must come to.
type expectedList struct {
	Files map[string]map[string]string `json:"files"`
}

// TestStrangerWithBundlesOfTheDemo runs the demonstration, lets the Node tool spoil its bundles
// rule by rule, and gives them to somebody with nothing but eblverify and the trust file:
// each verdict must be the one that is expected, also by the second reader.
func TestStrangerWithBundlesOfTheDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the programs and runs the demonstration")
	}
	nodeJS(t, "spoildemo.mjs") // skips without Node
	dir := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", dir, "../cmd/eblnode", "../cmd/eblverify").CombinedOutput(); err != nil {
		t.Fatalf("building the programs: %v\n%s", err, out)
	}
	nodes, evidence := filepath.Join(dir, "nodes"), filepath.Join(dir, "evidence")
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "eblnode"), "demo", "--dir", nodes, "--bundles", evidence).CombinedOutput(); err != nil {
		t.Fatalf("the demonstration: %v\n%s", err, out)
	}
	if out, err := nodeJS(t, "spoildemo.mjs", "--keys", nodes, evidence).CombinedOutput(); err != nil {
		t.Fatalf("spoiling its bundles: %v\n%s", err, out)
	}
	list := filepath.Join(evidence, "expected.list")
	expected := checkExpected(t, list)
	trust := filepath.Join(evidence, "platforms.trust")
	files, err := filepath.Glob(filepath.Join(evidence, "*.json"))
	if err != nil || len(files) != len(expected.Files) {
		t.Fatalf("got %d files (%v), want those of the list, %d", len(files), err, len(expected.Files))
	}
	stranger := func(list string) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "eblverify"), evidence, "--trust", trust, "--expect", list)
		cmd.Env = []string{"PATH=/nowhere", "HOME=" + dir}
		return cmd
	}
	second := func(list string) *exec.Cmd {
		return nodeJS(t, "verdict.mjs", append([]string{"--trust", trust, "--expect", list}, files...)...)
	}
	for name, run := range map[string]func(string) *exec.Cmd{"eblverify": stranger, "the Node reader": second} {
		out, err := run(list).CombinedOutput()
		if err != nil || !strings.HasSuffix(string(out), ": each as expected\n") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		// It compares, and does not only count.
		wrong := expected.with("spoilt-bad-link-first-1.json", map[string]string{"verdict": "INVALID", "rule": "badLink/previous"})
		out, err = run(writeList(t, filepath.Join(dir, "wrong"), wrong)).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != 1 || !strings.Contains(string(out), "spoilt-bad-link-first-1.json: got INVALID badLink/first, expected INVALID badLink/previous\n") || !strings.HasSuffix(string(out), ": 1 NOT as expected\n") {
			t.Errorf("%s, with another list: got %v and\n%s", name, err, out)
		}
	}
}

// checkExpected: enough bundles of enough rules, not too many of one, and more than half of
// them of the Node tool.
func checkExpected(t *testing.T, path string) *expectedList {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	l := new(expectedList)
	if err := json.Unmarshal(text, l); err != nil {
		t.Fatal(err)
	}
	rules, ofNode := map[string]int{}, 0
	for name, e := range l.Files {
		rules[e["rule"]]++
		if strings.HasPrefix(name, "spoilt-") {
			ofNode++
		}
	}
	delete(rules, "")
	if len(l.Files) < 200 || len(rules) < 60 || 2*ofNode < len(l.Files) {
		t.Errorf("%d bundles, %d rules, %d of the Node tool, want 200, 60 and half", len(l.Files), len(rules), ofNode)
	}
	for rule, n := range rules {
		if n > 5 {
			t.Errorf("%s has %d bundles, more than 5", rule, n)
		}
	}
	codes := bundleCodes(t)
	for rule := range rules {
		if !slices.Contains(codes, rule) {
			t.Errorf("docs/BUNDLE.md has no %s", rule)
		}
	}
	return l
}

func (l *expectedList) with(name string, e map[string]string) *expectedList {
	files := maps.Clone(l.Files)
	files[name] = e
	return &expectedList{files}
}

func writeList(t *testing.T, path string, l *expectedList) string {
	t.Helper()
	text, err := json.Marshal(l)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}
