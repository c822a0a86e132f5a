package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{4, 1}, 2.5}, {[]float64{9, 1, 2}, 2}, {[]float64{9, 1, 2, 4}, 3}} {
		if got := median(c.in); got != c.want {
			t.Errorf("median of %v: got %v, want %v", c.in, got, c.want)
		}
	}
}

func TestSyncShare(t *testing.T) {
	for _, c := range []struct {
		groups, transfers int
		want              time.Duration // where a group took 32 µs
	}{{1, 32, 32}, {1, 16, 16}, {2, 33, 33}, {2, 48, 48}, {16, 512, 512}} {
		took := time.Duration(c.groups) * 32 * time.Microsecond
		if got := syncShare(took, c.groups, c.transfers); got != c.want*time.Microsecond {
			t.Errorf("%d transfers in %d groups: got %s, want %d µs", c.transfers, c.groups, got, c.want)
		}
	}
}

// goalNames are the goals of a report by their first words.
func goalNames(r *report) (names []string) {
	r.goals()
	for _, g := range r.Goals {
		names = append(names, g.Name)
	}
	return names
}

func measured(sc scenario, rate float64) *result {
	return &result{Alg: string(sc.alg), Entries: sc.entries, Clients: sc.clients, Known: sc.known, HTTP2: sc.http2, Target: sc.target(), Rate: rate, Ratio: 2, scenario: sc}
}

// TestNoGoalWithoutItsMeasurement: nothing is said to be met that was not looked at.
func TestNoGoalWithoutItsMeasurement(t *testing.T) {
	es := scenario{alg: identity.ES256, entries: 1, clients: 32}
	one, h2 := es, es
	one.clients, h2.http2 = 1, true
	const load, body, many = "memory under load, MiB", "a body at the limit, of its size", "32 clients, of one client's rate"
	for _, c := range []struct {
		name       string
		r          *report
		want, none []string
	}{
		{"nothing", &report{}, nil, []string{load, body, many}},
		{"only memory", &report{Memory: &memory{Load: 40 << 20}}, []string{body}, []string{load}},
		{"memory and one client", &report{Memory: &memory{Load: 40 << 20}, Results: []*result{measured(one, 1)}}, []string{body}, []string{load, many}},
		{"memory and 32 clients", &report{Memory: &memory{Load: 40 << 20}, Results: []*result{measured(es, 1)}}, []string{load, body}, []string{many}},
		{"both rates", &report{Results: []*result{measured(one, 1), measured(es, 3), measured(h2, 9)}}, []string{many, "first sight, n=1, of the floor"}, []string{load}},
		{"one client and HTTP/2", &report{Results: []*result{measured(one, 1), measured(h2, 9)}}, nil, []string{many, "first sight, n=1, of the floor"}},
	} {
		got := goalNames(c.r)
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%s: got %q, want %q among them", c.name, got, want)
			}
		}
		for _, none := range c.none {
			if slices.Contains(got, none) {
				t.Errorf("%s: got %q, want no %q", c.name, got, none)
			}
		}
		if c.r.Group > 3 {
			t.Errorf("%s: got %v times one client's rate; HTTP/2 is not one of the two", c.name, c.r.Group)
		}
	}
}

// TestReportTellsBothFigures: the goal for sending stands beside what it costs with orders, and a
// scenario whose pages no round could tell says so.
func TestReportTellsBothFigures(t *testing.T) {
	r := &report{Sender: &sending{Outbox: 1700, Whole: 880}, Results: []*result{{Name: "told", Pages: 4.75}, {Name: "untold"}}, Memory: &memory{Load: 40 << 20}}
	r.goals()
	var b strings.Builder
	r.print(&b)
	for _, want := range []string{"1700.00", "met; with the orders of users: 880", "4.8", "?", "a body at the limit takes"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("got no %q in:\n%s", want, b.String())
		}
	}
	if strings.Contains(b.String(), "under load") {
		t.Errorf("nothing was under load:\n%s", b.String())
	}
}

func TestOptionsThatContradict(t *testing.T) {
	for _, c := range []struct {
		name string
		o    options
		want string // of the error; "" for none
	}{
		{"usual", options{}, ""},
		{"all", options{dir: "d", bills: 5, plots: "p", doc: "f", profile: "p", json: true}, ""},
		{"a part, printed", options{only: "wal", json: true, profile: "p"}, ""},
		{"short part", options{ci: true, only: "wal"}, ""},
		{"fill", options{fillOnly: true, dir: "d", bills: 5}, ""},
		{"a part into the doc", options{only: "wal", doc: "f"}, "-only"},
		{"a part into plots", options{only: "wal", plots: "p"}, "-only"},
		{"a part into the doc, with profiles", options{only: "first/", profile: "p", doc: "f"}, "-only"},
		{"short form into the doc", options{ci: true, doc: "f"}, "-ci"},
		{"fill into the doc", options{fillOnly: true, dir: "d", bills: 5, doc: "f"}, "-fill"},
		{"fill a part", options{fillOnly: true, dir: "d", bills: 5, only: "wal"}, "-fill"},
		{"fill nowhere", options{fillOnly: true, bills: 5}, "-dir"},
		{"fill nothing", options{fillOnly: true, dir: "d"}, "-bills"},
		{"fewer than no bills", options{bills: -1}, "-bills"},
		{"no rounds", options{rounds: -1}, "-rounds"},
	} {
		if c.o.rounds++; c.o.rounds == 0 && c.name != "no rounds" {
			t.Fatal("the table is wrong")
		}
		err := c.o.check()
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestDocumentFillsBetweenItsMarks: what stands around them stays, and older profiles too where a
// run took none.
func TestDocumentFillsBetweenItsMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func() string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	write("a\n<!-- table -->old table<!-- end of the table -->\nb\n<!-- profile -->old profile<!-- end of the profile -->\nc\n")
	r := &report{Revision: "cafe", Results: []*result{{Name: "first/x"}}}
	if err := r.document(path); err != nil {
		t.Fatal(err)
	}
	got := read()
	for _, want := range []string{"a\n<!-- table -->\n\n```\n", "first/x", "```\n\n<!-- end of the table -->\nb\n", "<!-- profile -->old profile<!-- end of the profile -->\nc\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("without profiles: got no %q in\n%s", want, got)
		}
	}
	r.Profiles = []*profile{{Name: "first/x", Parts: map[string]float64{"SQLite": 0.37}}}
	if err := r.document(path); err != nil {
		t.Fatal(err)
	}
	got = read()
	table, rest, _ := strings.Cut(got, "<!-- profile -->")
	if strings.Contains(got, "old") || strings.Contains(table, "CPU of the node") || !strings.Contains(rest, "CPU of the node") || !strings.Contains(rest, "37") || !strings.HasSuffix(got, "<!-- end of the profile -->\nc\n") {
		t.Errorf("with profiles: got\n%s", got)
	}
	for _, none := range []string{"nothing", "<!-- table -->\n<!-- profile --><!-- end of the profile -->", "<!-- table --><!-- end of the table -->"} {
		write(none)
		if err := r.document(path); err == nil || read() != none {
			t.Errorf("a file with marks missing: got %v and\n%s", err, read())
		}
	}
}

// TestRoundsKeepAllClientsBusy: with 32 clients a round has at least one block for each, and each
// name is of one scenario.
func TestRoundsKeepAllClientsBusy(t *testing.T) {
	names := map[string]bool{}
	for _, sc := range scenarios(false) {
		if sc.perRound() < sc.clients {
			t.Errorf("%s: got %d blocks a round", sc.name(), sc.perRound())
		}
		if names[sc.name()] {
			t.Errorf("two scenarios are called %s", sc.name())
		}
		names[sc.name()] = true
	}
	if !names["first/ES256/n=1/clients=32/http2"] || len(scenarios(true)) >= len(names) {
		t.Errorf("got %v", names)
	}
}

// TestPlotHasOnePointForEachLength: what came by HTTP/2 is no second point of the same curve.
func TestPlotHasOnePointForEachLength(t *testing.T) {
	es := scenario{alg: identity.ES256, entries: 1, clients: 32}
	five, h2 := es, es
	five.entries, h2.http2 = 5, true
	dir := t.TempDir()
	r := &report{Results: []*result{measured(es, 1), measured(five, 1), measured(h2, 1)}}
	for _, v := range r.Results {
		v.Node, v.Floor = 400, 100
	}
	if err := r.plot(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "chain-length.svg"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(text), "<circle"); got != 4 { // floor and first sight
		t.Errorf("points: got %d, want 4", got)
	}
}

// TestPerformancePageHasTheMarks: -doc and -profile find their places in the page they are for.
func TestPerformancePageHasTheMarks(t *testing.T) {
	text, err := os.ReadFile("../../docs/PERFORMANCE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"table", "profile"} {
		if _, err := between(string(text), name, ""); err != nil {
			t.Error(err)
		}
	}
}
