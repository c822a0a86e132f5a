// Command torture runs real eblnode processes under faults and proves, from their
// databases, that no bill was lost, doubled or changed.
//
//	go run ./internal/torture -nodes 3 -transfers 2000 -kills 60 -seed 1
//	go run ./internal/torture -mode race
//	go run ./internal/torture -mode all
//	go run ./internal/torture -ci
//
// It exits with 0 when everything held, 1 when something did not, 2 for a wrong call and
// 3 when it could not tell. docs/RELIABILITY.md says what each mode proves.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A mode is one kind of torture. run prints nothing but progress, by options.say; an
// error says that it could not tell, findings in the summary that something is wrong.
type mode struct {
	name  string
	about string
	run   func(ctx context.Context, o *options) (*summary, error)
	// ci sets what the short form for CI is; nil keeps the mode out of it.
	ci func(o *options)
	// gate sets what is enough to catch a mutant; nil where the mode is no gate, or knows
	// itself.
	gate func(o *options)
}

// modes lists them in the order in which -ci runs them.
var modes = []mode{
	{"faults", "nodes under kill -9, SIGSTOP and a network that breaks", runFaults,
		func(o *options) { o.transfers, o.kills = 300, 12 }, func(o *options) { o.transfers, o.kills, o.skew = 100, 4, 0 }},
	{"race", "64 callers for each bill, 64 different targets: one winner", runRace,
		func(o *options) { o.bills = 60 }, func(o *options) { o.bills = 30 }},
	{"powercut", "power cuts that take what no fsync covered", runPowercut, func(o *options) { o.cuts = 5 }, nil},
	{"syscalls", "EIO, ENOSPC and SIGKILL at the n-th of each call that writes", runSyscalls,
		func(o *options) { o.every, o.only = 25, quickFaults }, func(o *options) { o.every, o.only = 25, "^disk: .* of accept" }},
	{"mutants", "nodes broken on purpose, which the tests or the other modes must notice", runMutants,
		func(o *options) { o.only = quickMutants }, nil},
	{"restore", "a backup restored, and every way to spend a bill twice with it", runRestore,
		func(o *options) { o.each = 1 }, func(o *options) { o.each = 1 }},
	{"crashpoints", "every pair of crash points of sender and receiver, one killed, the other, both", runCrashpoints,
		func(o *options) { o.pairs = 27 }, func(o *options) { o.pairs = 60 }},
}

// options are the flags.
type options struct {
	mode      string
	seed      uint64
	nodes     int
	transfers int
	kills     int
	bills     int
	callers   int
	cuts      int
	every     int
	each      int
	only      string
	pairs     int
	skew      time.Duration
	far       time.Duration
	budget    time.Duration
	state     string
	seeded    bool   // the seed was given
	root      string // the module's folder, from which programs are built
	ci        bool
	json      bool
	verbose   bool
	broken    []edit // a mutant's, laid over every build

	mu  *sync.Mutex
	out io.Writer
}

// enough reports that a mutant was caught: what else there is would only take time.
func (o *options) enough(s *summary) bool { return len(o.broken) > 0 && len(s.Findings) > 0 }

// say shows progress.
func (o *options) say(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.out, format+"\n", args...)
}

// random is a source of its own for each purpose, so that what one goroutine draws does
// not change what another does.
func (o *options) random(purpose string) *rand.Rand {
	var sum uint64 = 14695981039346656037
	for _, b := range []byte(purpose) {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(o.seed, sum))
}

// errUsage is a wrong call.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func newOptions() *options { return &options{mu: &sync.Mutex{}} }

func parse(args []string, progress io.Writer) (*options, error) {
	o := newOptions()
	o.out = progress
	f := flag.NewFlagSet("torture", flag.ContinueOnError)
	f.SetOutput(progress)
	f.StringVar(&o.mode, "mode", "faults", "what to do: "+strings.Join(names(), ", ")+"; or all, one after the other")
	f.Uint64Var(&o.seed, "seed", 0, "seed of everything that is drawn; 0 takes one from the clock")
	f.IntVar(&o.nodes, "nodes", 3, "faults: number of nodes")
	f.IntVar(&o.transfers, "transfers", 2000, "faults: transfers between nodes to get done")
	f.IntVar(&o.kills, "kills", 60, "faults: how often a node is killed, in all")
	f.IntVar(&o.bills, "bills", 1000, "race: number of bills")
	f.IntVar(&o.callers, "callers", 64, "race: callers for each bill")
	f.IntVar(&o.cuts, "cuts", 20, "powercut: number of power cuts")
	f.IntVar(&o.every, "every", 1, "syscalls: of the writes only every so many")
	f.IntVar(&o.each, "each", 2, "restore: bills of each fate")
	f.StringVar(&o.only, "only", "", "mutants: a regular expression of their names; syscalls: of the faults")
	f.IntVar(&o.pairs, "pairs", 0, "crashpoints: so many runs, drawn; 0 for all")
	f.DurationVar(&o.skew, "skew", 2*time.Minute, "faults: clocks of the nodes differ from ours by up to this; 0 runs the program as it is shipped")
	f.DurationVar(&o.far, "far", 2*time.Hour, "faults: at times the clock of one node is off by this, either way, or by 50 minutes; 0 for never")
	f.StringVar(&o.state, "state", "", "folder for nodes and history; the same one again goes on where the last run stopped (powercut, restore: from their beginning, with the same seed)")
	f.DurationVar(&o.budget, "budget", 4*time.Minute, "-ci: a finding if all modes together take longer, other programs' time not counted; 0 for no limit")
	f.StringVar(&o.root, "root", ".", "folder of the module")
	f.BoolVar(&o.ci, "ci", false, "a short form of every mode")
	f.BoolVar(&o.json, "json", false, "print summaries as JSON, one a line")
	f.BoolVar(&o.verbose, "v", false, "show each fault")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if f.NArg() > 0 {
		fmt.Fprintf(progress, "torture: %q is no flag\n", f.Arg(0))
		return nil, errUsage
	}
	if o.seeded = o.seed != 0; !o.seeded {
		o.seed = uint64(time.Now().UnixNano())
	}
	return o, nil
}

func names() []string {
	var list []string
	for _, m := range modes {
		list = append(list, m.name)
	}
	return list
}

func choose(o *options) ([]mode, error) {
	var list []mode
	for _, m := range modes {
		if o.ci && m.ci != nil || !o.ci && (m.name == o.mode || o.mode == "all") {
			list = append(list, m)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no mode %q; there are %s", o.mode, strings.Join(names(), ", "))
	}
	return list, nil
}

// quickFaults are those of the short form of the mode syscalls.
const quickFaults = "^strace: (EIO|SIGKILL) at the n-th fsync|^strace: ENOSPC at the n-th write of|^strace: SIGKILL at the n-th (renameat|ftruncate)|^disk: (ENOSPC at the n-th write|EIO at the n-th fsync|SIGKILL)"
