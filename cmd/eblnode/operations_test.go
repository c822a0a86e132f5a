package main

import (
	"cmp"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

const manualPage = "../../docs/OPERATIONS.md"

// A manualBlock is one fenced block of commands in docs/OPERATIONS.md.
type manualBlock struct {
	heading string // the heading above it, without #
	n       int    // counted from 1 under that heading
	text    string
}

// manualBlocks are all of them. A block of another language holds no commands.
func manualBlocks() ([]manualBlock, error) {
	page, err := os.ReadFile(manualPage)
	if err != nil {
		return nil, err
	}
	var list []manualBlock
	heading, n, fence := "", 0, ""
	for _, line := range strings.Split(string(page), "\n") {
		switch {
		case fence == "```sh" && line != "```":
			list[len(list)-1].text += line + "\n"
		case strings.HasPrefix(line, "```") && fence == "":
			if fence = line; fence == "```sh" {
				n++
				list = append(list, manualBlock{heading: heading, n: n})
			} else if fence != "```" && fence != "```json" {
				return nil, fmt.Errorf("%s: a block of the kind %q, which no test knows", manualPage, fence)
			}
		case line == "```":
			fence = ""
		case strings.HasPrefix(line, "#") && fence == "":
			heading, n = strings.TrimSpace(strings.TrimLeft(line, "#")), 0
		}
	}
	return list, nil
}

// TestOperations runs the commands of docs/OPERATIONS.md: testdata/operations has scripts
// that set a stage and then run blocks of that page as they stand there, with the command
// manual (runManual).
func TestOperations(t *testing.T) {
	runScripts(t, testscript.Params{Dir: "testdata/operations"})
}

var (
	manualLine  = regexp.MustCompile(`(?m)^(?:\[[^\]]*\] )?(?:! )?manual (?:'([^']*)'|(\S+))(?: (\d+))?(?: |$)`)
	sectionCall = regexp.MustCompile(`sectionOf\(t, "([^"]*)"\)`)
)

// runByScripts are the blocks that the scripts run, as "heading 2".
func runByScripts(t *testing.T) map[string]bool {
	t.Helper()
	run := map[string]bool{}
	names, err := filepath.Glob("testdata/operations/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manualLine.FindAllStringSubmatch(string(text), -1) {
			run[m[1]+m[2]+" "+cmp.Or(m[3], "1")] = true
		}
	}
	return run
}

// A manualSection is what a test, and no script, runs of the page.
type manualSection struct {
	t       *testing.T
	heading string
	lines   []string
	run     map[string]bool
}

// runElsewhere are commands of the page that no test of this package can afford.
var runElsewhere = map[string]string{
	"eblverify page --out verify.html": "it compiles for a minute; the tests of internal/page run it",
}

// sectionOf is a part of docs/OPERATIONS.md. A test that ends well must have run each of its
// commands, but those that a script runs.
func sectionOf(t *testing.T, heading string) *manualSection {
	t.Helper()
	blocks, err := manualBlocks()
	if err != nil {
		t.Fatal(err)
	}
	s := &manualSection{t: t, heading: heading, run: map[string]bool{}}
	scripts := runByScripts(t)
	for _, b := range blocks {
		if b.heading != heading {
			continue
		}
		for _, line := range strings.Split(b.text, "\n") {
			if line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			s.lines = append(s.lines, line)
			if scripts[fmt.Sprintf("%s %d", heading, b.n)] || runElsewhere[line] != "" {
				s.run[line] = true
			}
		}
	}
	if len(s.lines) == 0 {
		t.Fatalf("docs/OPERATIONS.md has no section %q with commands", heading)
	}
	t.Cleanup(func() {
		for _, line := range s.lines {
			if !s.run[line] && !t.Failed() && !t.Skipped() {
				t.Errorf("docs/OPERATIONS.md, %q: %s: neither this test nor a script has run it", heading, line)
			}
		}
	})
	return s
}

// all are its commands, each of which counts as run once it is given.
func (s *manualSection) all() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, line := range s.lines {
			s.run[line] = true
			if !yield(line) {
				return
			}
		}
	}
}

// one is the command that begins so.
func (s *manualSection) one(begins string) string {
	s.t.Helper()
	for _, line := range s.lines {
		if strings.HasPrefix(line, begins) {
			s.run[line] = true
			return line
		}
	}
	s.t.Fatalf("docs/OPERATIONS.md, %q, has no command that begins with %s", s.heading, begins)
	return ""
}

// TestEveryCommandOfTheManualIsRun: each block by a script, or by a test that must run each of
// its commands (sectionOf).
func TestEveryCommandOfTheManualIsRun(t *testing.T) {
	blocks, err := manualBlocks()
	if err != nil {
		t.Fatal(err)
	}
	scripts, tests := runByScripts(t), map[string]bool{}
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range sectionCall.FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
	}
	if len(blocks) < 30 {
		t.Errorf("got %d blocks, want at least 30: is the page read as it is written?", len(blocks))
	}
	for _, b := range blocks {
		if !tests[b.heading] && !scripts[fmt.Sprintf("%s %d", b.heading, b.n)] {
			t.Errorf("docs/OPERATIONS.md, %q, block %d: no test runs it; see HACKING.md, \"A command in OPERATIONS\":\n%s", b.heading, b.n, b.text)
		}
	}
}

// inProseAlone are commands that the page tells of and no block has.
var inProseAlone = map[string]string{
	"eblnode key csr --hsm LABEL":         "needs hardware; hsm_test.go runs it with the build tag pkcs11",
	"eblnode key import FILE --hsm LABEL": "the same",
}

// TestCommandsInProseAreInABlockToo: what the prose of the page names is shown, and run, in a
// block, with the arguments that it takes.
func TestCommandsInProseAreInABlockToo(t *testing.T) {
	blocks, err := manualBlocks()
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for _, b := range blocks {
		for _, line := range strings.Split(b.text, "\n") {
			for _, part := range strings.Split(line, "| ") {
				if strings.HasPrefix(part, "eblnode ") {
					shown[commandPath(part)] = true
				}
			}
		}
	}
	seen := 0
	for _, m := range inlineCommand.FindAllStringSubmatch(readManual(t), -1) {
		seen++
		if path := commandPath(m[1]); !shown[path] && inProseAlone[m[1]] == "" {
			t.Errorf("docs/OPERATIONS.md tells of %s, and no block runs %s", m[1], path)
		}
	}
	if seen < 20 {
		t.Errorf("got %d commands, want at least 20: is the page read as it is written?", seen)
	}
}

// commandPath is the command of a line without its arguments: "eblnode key list".
func commandPath(line string) string {
	words := strings.Fields(line)[1:]
	cmd, _, err := (&app{in: strings.NewReader("")}).root().Find(words)
	if err != nil {
		return line
	}
	return cmd.CommandPath()
}

// runManual is "manual HEADING [N] [OLD=NEW…]", or with ! for a block that is refused here: it runs the N-th block under a heading of
// docs/OPERATIONS.md, after it has replaced each OLD by its NEW, which must be there. The
// block is run by sh and ends at the first command that fails. A line that begins with
// "eblnode serve" is a node in the background, which is waited for, and stopped at the end
// of the script if "stop DIR" did not before; a command with --follow is ended when it has said something.
func runManual(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: manual HEADING [N] [OLD=NEW…]")
	}
	heading, n := args[0], 1
	args = args[1:]
	if len(args) > 0 {
		if number, err := strconv.Atoi(args[0]); err == nil {
			n, args = number, args[1:]
		}
	}
	blocks, err := manualBlocks()
	ts.Check(err)
	i := slices.IndexFunc(blocks, func(b manualBlock) bool { return b.heading == heading && b.n == n })
	if i < 0 {
		ts.Fatalf("docs/OPERATIONS.md has no block %d under %q", n, heading)
	}
	text := blocks[i].text
	for _, pair := range args {
		old, fresh, found := strings.Cut(pair, "=")
		if !found || !strings.Contains(text, old) {
			ts.Fatalf("there is no %q in the block to be replaced", old)
		}
		text = strings.ReplaceAll(text, old, fresh)
	}
	err = ts.Exec("sh", "-e", "-c", manualScript(ts, text))
	if neg && err == nil {
		ts.Fatalf("block %d under %q succeeded, and it must be refused", n, heading)
	} else if !neg {
		ts.Check(err)
	}
}

// manualServe is a node started in a block of the manual.
var manualServe = regexp.MustCompile(`^(eblnode serve\b[^&]*?)\s*&?$`)

func manualScript(ts *testscript.TestScript, text string) string {
	var b strings.Builder
	for _, line := range strings.Split(text, "\n") {
		switch m := manualServe.FindStringSubmatch(line); {
		case m != nil:
			dir := ts.Getenv("EBLNODE_DATA")
			if _, after, found := strings.Cut(m[1], "--data "); found {
				dir = strings.Fields(after)[0]
			}
			dir = ts.MkAbs(dir)
			ts.Defer(func() { stopServing(dir) })
			fmt.Fprintf(&b, "%s > '%s.out' 2>&1 &\n", m[1], dir)
			fmt.Fprintf(&b, "until grep -qs \"\\\"pid\\\": $!,\" '%s/run.json'; do kill -0 $! || { cat '%[1]s.out' >&2; exit 1; }; sleep 0.02; done\n", dir)
		case strings.Contains(line, " --follow"):
			fmt.Fprintf(&b, "%s > followed & for i in $(seq 600); do if [ -s followed ]; then break; fi; sleep 0.1; done; sleep 0.5; kill $!; cat followed\n", line)
		default:
			fmt.Fprintln(&b, line)
		}
	}
	return b.String()
}

// startReceiver is "receiver VAR": it starts a back end that takes every event, and sets a
// variable to its URL.
func startReceiver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: receiver VAR")
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	ts.Defer(s.Close)
	ts.Setenv(args[0], s.URL)
}

// stopManual is "stop DIR…": it stops nodes that a block of the manual has started.
func stopManual(ts *testscript.TestScript, neg bool, dirs []string) {
	if neg || len(dirs) == 0 {
		ts.Fatalf("usage: stop DIR…")
	}
	for _, dir := range dirs {
		if !stopServing(ts.MkAbs(dir)) {
			ts.Fatalf("no node in %s, or it does not stop", dir)
		}
	}
}

// stopServing stops the node of a data folder and reports whether there was one, and it did.
func stopServing(dir string) bool {
	run, err := readRunFile(dir)
	if err != nil {
		return false
	}
	p, err := os.FindProcess(run.PID)
	if err != nil || p.Signal(os.Interrupt) != nil {
		return false
	}
	for range 1500 {
		if _, err := os.Stat(filepath.Join(dir, runFile)); os.IsNotExist(err) {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = p.Kill()
	return false
}

// inlineCommand is a command in the prose of a page.
var inlineCommand = regexp.MustCompile("`(eblnode [a-z][^`]*)`")

// TestCommandsInProseExist: what a page tells its reader to type is a command that there
// is, with flags that it has.
func TestCommandsInProseExist(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, page := range append(pages, "../../README.md", "../../NEWS.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range inlineCommand.FindAllStringSubmatch(string(text), -1) {
			seen++
			if err := isCommand(m[1]); err != nil {
				t.Errorf("%s: %s: %v", page, m[1], err)
			}
		}
	}
	if seen < 30 {
		t.Errorf("got %d commands, want at least 30: are the pages read as they are written?", seen)
	}
	for _, wrong := range []string{"eblnode frobnicate", "eblnode peer frobnicate", "eblnode show --frobnicate", "eblnode list, which shows all"} {
		if isCommand(wrong) == nil {
			t.Errorf("%s: passes for a command", wrong)
		}
	}
}

// isCommand says what is wrong with a line as a command. Capital words stand for values.
func isCommand(line string) error {
	line, _, _ = strings.Cut(line, " > ")
	words := strings.Fields(line)[1:]
	root := (&app{in: strings.NewReader("")}).root()
	cmd, rest, err := root.Find(words)
	if err != nil {
		return err
	}
	if cmd == root {
		return fmt.Errorf("no command")
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && rest[0] != "…" {
		return fmt.Errorf("%s has no command %q", cmd.Name(), rest[0])
	}
	for _, w := range rest {
		name, isFlag := strings.CutPrefix(w, "--")
		name, _, _ = strings.Cut(name, "=")
		if isFlag && flagOf(cmd, name) == nil {
			return fmt.Errorf("%s has no flag --%s", cmd.Name(), name)
		}
		if strings.HasSuffix(w, ",") {
			return fmt.Errorf("%q is no argument", w)
		}
	}
	return nil
}

func flagOf(cmd *cobra.Command, name string) any {
	if f := cmd.Flags().Lookup(name); f != nil {
		return f
	}
	if f := cmd.InheritedFlags().Lookup(name); f != nil {
		return f
	}
	return nil
}
