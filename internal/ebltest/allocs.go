package ebltest

import (
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// Allocs are how many allocations a thing costs.
type Allocs struct {
	Of   string // as "n=20"
	Want uint64 // with the Go of go.mod
}

// Where the tables of Allocs were measured: what the standard library allocates changes
// between two Gos, and SQLite is other Go code on another machine.
const (
	measuredGo = "1.26"
	measuredOn = "linux/amd64"
)

// How often a thing is done to count what it costs: rounds times perRound, and the garbage is
// collected before each round. It is less than 256 times, since from there on the numbers of
// rows cost an allocation each where they become an any.
const (
	rounds    = 10
	perRound  = 10
	AllocRuns = rounds*perRound + 1 // how often Check calls f
)

// Check calls f [AllocRuns] times and fails the test unless a call costs exactly as many
// allocations, in the whole process, as a wants. With another Go or on another system than
// the figures were measured with it lets 2 % pass.
//
// The figure is the median, which is the least too: in a few calls a map grows, or a pool is
// filled again. It is counted on one core, since a chain is verified by as many goroutines as
// there are cores, and with the collector off, which empties pools.
//
// It is skipped with coverage, which changes what the compiler inlines; with the race detector
// it must not be called, for the same reason.
func (a Allocs) Check(t *testing.T, f func()) {
	t.Helper()
	if testing.CoverMode() != "" {
		t.Skip("what is inlined is not the same with coverage")
	}
	counts := count(f)
	median := counts[len(counts)/2]
	t.Logf("%s: %d allocations; the least %d, the most %d, in nine of ten no more than %d", a.Of, median, counts[0], counts[len(counts)-1], counts[len(counts)*9/10])
	slack := uint64(0)
	if inUse := goMinor(runtime.Version()); inUse != measuredGo || runtime.GOOS+"/"+runtime.GOARCH != measuredOn {
		slack = a.Want / 50
		t.Logf("%s: not exact: the figures are those of Go %s on %s, and this is %s on %s/%s", a.Of, measuredGo, measuredOn, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	}
	if median > a.Want+slack || median < a.Want-slack {
		t.Errorf("%s: got %d allocations, want %d. If that is on purpose, the new figure belongs into the table of this test, "+
			"also where it is lower. If not, see who allocates: go test -run '^%s$' -count 1 -memprofile /tmp/mem -memprofilerate 1 . && go tool pprof -sample_index alloc_objects -top -cum /tmp/mem, here and at the commit before",
			a.Of, median, a.Want, t.Name())
	}
}

// CheckMeasuredGo fails the test if go.mod, in this folder's parent, names another Go than the
// figures were measured with: then they would no longer be held exactly.
func CheckMeasuredGo(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^(?:toolchain go|go )(\S+)`).FindAllSubmatch(text, -1)
	if len(found) == 0 {
		t.Fatal("go.mod names no Go")
	}
	if got := goMinor("go" + string(found[len(found)-1][1])); got != measuredGo {
		t.Errorf("go.mod is at Go %s, and the allocations were counted with Go %s: count anew, and change measuredGo", got, measuredGo)
	}
}

// goMinor is "1.26" of "go1.26.8"; of a Go with experiments it is not.
func goMinor(version string) string {
	if strings.Contains(version, " ") {
		return version
	}
	parts := strings.SplitN(strings.TrimPrefix(version, "go"), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

// count is how many allocations each call of f made, in order of size.
func count(f func()) (counts []uint64) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	f()
	var before, after runtime.MemStats
	for range rounds {
		runtime.GC()
		for range perRound {
			runtime.ReadMemStats(&before)
			f()
			for range 100 { // what other goroutines still do after f has its answer
				runtime.Gosched()
			}
			runtime.ReadMemStats(&after)
			counts = append(counts, after.Mallocs-before.Mallocs)
		}
	}
	slices.Sort(counts)
	return counts
}
