package mutants

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Options say which mutants to run and how.
type Options struct {
	// Root is the root of the module. See [Root].
	Root string
	// Only chooses mutants by name; nil is all.
	Only *regexp.Regexp
	// Quick leaves out the gates that are modes, where a mutant has another one too.
	Quick bool
	// Modes run the gates that are modes of this program, by name, on a node built as the
	// mutant; a short form is enough. Each reports what it caught, "" for nothing; the
	// error is that it could not tell, [ErrSkip] that it cannot run on this machine. A
	// gate that is not here is skipped, and the summary says so.
	Modes map[string]func(ctx context.Context, m Mutant) (caught string, err error)
	// Parallel is how many gates that are tests run at once; 0 is 1.
	Parallel int
	// Before are results of an earlier run, which are not had again, and After is told of
	// each new one, one at a time. Nil: none, nobody.
	Before []Result
	After  func(Result)
	// Log gets a line for each mutant. Nil: nothing.
	Log io.Writer
}

// A Result is what became of one mutant.
type Result struct {
	Name    string  `json:"name"`
	Why     string  `json:"why"`
	Gate    string  `json:"gate"`
	Outcome Outcome `json:"outcome"`
	// Detail is the first complaint of the gate, or why it could not be run.
	Detail  string  `json:"detail,omitempty"`
	Seconds float64 `json:"seconds"`
}

// An Outcome is what became of a mutant. Every one but Caught and Skipped is a failure.
type Outcome string

// The outcomes.
const (
	Caught    Outcome = "caught"
	Survived  Outcome = "survived"  // the gate passed
	Broken    Outcome = "broken"    // it no longer applies, or does not compile
	Undecided Outcome = "undecided" // the gate did not come to an end
	Skipped   Outcome = "skipped"   // the machine lacks what the gate needs
)

// A Summary is the outcome of all.
type Summary struct {
	Mutants  int      `json:"mutants"`
	Caught   int      `json:"caught"`
	Skipped  int      `json:"skipped"`
	Failures []string `json:"failures,omitempty"` // a sentence each
	Results  []Result `json:"results"`
}

// OK reports whether the gates are gates: each mutant that could be run was caught.
func (s Summary) OK() bool { return len(s.Failures) == 0 && s.Caught > 0 }

// ErrSkip says that a gate cannot be run on this machine.
var ErrSkip = errors.New("skipped")

// Root is the root of the module that the folder dir is in.
func Root(ctx context.Context, dir string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOMOD")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("looking for the module: %w", err)
	}
	mod := strings.TrimSpace(string(out))
	if filepath.Base(mod) != "go.mod" {
		return "", errors.New("looking for the module: run this inside the source tree")
	}
	return filepath.Dir(mod), nil
}

// Run runs the gates on the node as it is, where all must pass, and then each mutant
// against its gate, where it must not.
func Run(ctx context.Context, o Options) (Summary, error) {
	all, err := All()
	if err != nil {
		return Summary{}, err
	}
	if o.Only != nil {
		all = slices.DeleteFunc(all, func(m Mutant) bool { return !o.Only.MatchString(m.Name) })
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	dir, err := os.MkdirTemp("", "torture-mutants-")
	if err != nil {
		return Summary{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	r := runner{Options: o, dir: dir}
	s := Summary{Mutants: len(all)}
	for _, complaint := range r.healthy(ctx, all) {
		s.Failures = append(s.Failures, complaint)
		_, _ = fmt.Fprintln(o.Log, complaint)
	}
	if len(s.Failures) > 0 {
		return s, ctx.Err() // nothing that a gate says now means anything
	}
	s.Results = r.each(ctx, all)
	if err := ctx.Err(); err != nil {
		return s, err
	}
	for _, res := range s.Results {
		switch res.Outcome {
		case Caught:
			s.Caught++
		case Skipped:
			s.Skipped++
		default:
			s.Failures = append(s.Failures, fmt.Sprintf("mutant %s: %s by %s: %s", res.Name, res.Outcome, res.Gate, res.Detail))
		}
	}
	return s, nil
}

type runner struct {
	Options
	dir string
}

// healthy runs the tests of all gates on the source as it is: a gate that fails anyhow
// would catch everything. It returns complaints.
func (r *runner) healthy(ctx context.Context, all []Mutant) (complaints []string) {
	tests := map[string][]string{}
	var packages []string
	for _, m := range all {
		for _, g := range m.Gates {
			if g.Package == "" {
				continue
			}
			if tests[g.Package] == nil {
				packages = append(packages, g.Package)
			}
			tests[g.Package] = append(tests[g.Package], g.Tests)
		}
	}
	for _, p := range packages {
		binary, err := r.compile(ctx, p, "", "healthy")
		if err != nil {
			complaints = append(complaints, fmt.Sprintf("the tests of %s do not compile: %s", p, err))
			continue
		}
		if outcome, detail := r.test(ctx, binary, p, strings.Join(tests[p], "|")); outcome != Survived {
			complaints = append(complaints, fmt.Sprintf("the gates in %s do not pass on the node as it is (%s): %s", p, outcome, detail))
		}
	}
	return complaints
}

// A trial is one mutant at one gate.
type trial struct {
	Mutant
	gate Gate
}

// each runs all mutants at all their gates, the gates that are modes one after the other:
// such a gate starts nodes and may have a machine to itself.
func (r *runner) each(ctx context.Context, all []Mutant) []Result {
	var tests, modes []trial
	for _, m := range all {
		before := len(tests)
		for _, g := range m.Gates {
			if g.Mode == "" {
				tests = append(tests, trial{m, g})
			}
		}
		for _, g := range m.Gates {
			if g.Mode != "" && (!r.Quick || len(tests) == before) {
				modes = append(modes, trial{m, g})
			}
		}
	}
	list := append(tests, modes...)
	results := make([]Result, len(list))
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(1, r.Parallel))
	var done atomic.Int32
	var after sync.Mutex
	one := func(i int) {
		start := time.Now()
		x, res := list[i], &results[i]
		*res = Result{Name: x.Name, Why: x.Why, Gate: x.gate.String()}
		for _, before := range r.Before {
			if before.Name == res.Name && before.Gate == res.Gate && before.Outcome == Caught {
				*res = before
				done.Add(1)
				return
			}
		}
		res.Outcome, res.Detail = r.run(ctx, x)
		res.Seconds = time.Since(start).Seconds()
		if r.After != nil && ctx.Err() == nil {
			after.Lock()
			defer after.Unlock()
			r.After(*res)
		}
		_, _ = fmt.Fprintf(r.Log, "%2d/%d %-9s %-28s %5.1f s  %s\n", done.Add(1), len(list), res.Outcome, x.Name, res.Seconds, res.Detail)
	}
	for i := range tests {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one(i)
		})
	}
	wg.Wait()
	for i := range modes {
		one(len(tests) + i)
	}
	return results
}

func (r *runner) run(ctx context.Context, x trial) (Outcome, string) {
	overlay, err := x.Overlay(r.Root, r.dir)
	if err != nil {
		return Broken, err.Error()
	}
	if x.gate.Mode != "" {
		return r.mode(ctx, x)
	}
	binary, err := r.compile(ctx, x.gate.Package, overlay, x.Name)
	if err != nil {
		return Broken, "it does not compile: " + err.Error()
	}
	defer func() { _ = os.Remove(binary) }()
	return r.test(ctx, binary, x.gate.Package, x.gate.Tests)
}

func (r *runner) mode(ctx context.Context, x trial) (Outcome, string) {
	gate := r.Modes[x.gate.Mode]
	if gate == nil {
		return Skipped, "the mode " + x.gate.Mode + " is not part of this run"
	}
	caught, err := gate(ctx, x.Mutant)
	switch {
	case errors.Is(err, ErrSkip):
		return Skipped, err.Error()
	case err != nil:
		return Undecided, err.Error()
	case caught == "":
		return Survived, "nothing was noticed"
	}
	return Caught, caught
}

// compile builds the tests of a package, of the mutant where overlay is not "".
func (r *runner) compile(ctx context.Context, pkg, overlay, name string) (string, error) {
	binary := filepath.Join(r.dir, name+"-"+filepath.Base(pkg)+".test")
	args := []string{"test", "-c", "-vet=off", "-o", binary}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if out, err := Go(ctx, r.Root, append(args, pkg)...); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
}

// lostImport is what the compiler says where the go command gave it no file for a package.
var lostImport = []byte("(open : no such file or directory)")

// Go runs the go command in a folder and returns what it said. With -overlay, and other builds
// beside it, that of Go 1.26 now and then loses a package of the standard library which it has;
// then it is run again, twice at most.
func Go(ctx context.Context, dir string, args ...string) (out []byte, err error) {
	for range 3 {
		cmd := exec.CommandContext(ctx, "go", args...)
		cmd.Dir = dir
		if out, err = cmd.CombinedOutput(); err == nil || !bytes.Contains(out, lostImport) {
			break
		}
	}
	return out, err
}

// testLimit is how long the tests of one gate may take, some of which wait a minute for what
// a mutant keeps from them. What hangs is not caught: a gate that says nothing would be one
// that nobody believes.
const testLimit = 5 * time.Minute

// noTests is what a test binary says whose -run matches nothing.
var noTests = []byte("testing: warning: no tests to run")

// test runs a gate. Only a test that says FAIL has caught something.
func (r *runner) test(ctx context.Context, binary, pkg, tests string) (Outcome, string) {
	cmd := exec.CommandContext(ctx, binary, "-test.run", tests, "-test.timeout", testLimit.String(), "-test.failfast")
	cmd.Dir = filepath.Join(r.Root, filepath.FromSlash(pkg))
	out, err := cmd.CombinedOutput()
	failed := firstFailure(out)
	switch {
	case bytes.Contains(out, noTests):
		return Broken, "no test is called " + tests
	case err == nil:
		return Survived, "all tests passed"
	case bytes.Contains(out, []byte("panic: test timed out")):
		return Undecided, "timed out"
	case failed != "":
		return Caught, failed
	}
	return Undecided, fmt.Sprintf("%s: %s", err, bytes.TrimSpace(out[max(0, len(out)-500):]))
}

var failure = regexp.MustCompile(`(?m)^--- FAIL: (\S+)`)

func firstFailure(out []byte) string {
	if m := failure.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}
