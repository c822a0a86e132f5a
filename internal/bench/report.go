package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"eblnode/identity"
)

// A report is all that one run measured.
type report struct {
	At       time.Time    `json:"at"`
	Go       string       `json:"go"`
	CPU      string       `json:"cpu"`
	Cores    int          `json:"cores"`
	Revision string       `json:"revision,omitempty"`
	Rounds   int          `json:"rounds"`
	Results  []*result    `json:"results"`
	Clients  []*result    `json:"byClients,omitempty"`
	Group    float64      `json:"groupCommit"` // the rate of 32 clients over that of one
	WAL32    *pages       `json:"walPages32Clients,omitempty"`
	WAL1     *pages       `json:"walPages1Client,omitempty"`
	Sizes    *sizes       `json:"storedBills,omitempty"`
	Profiles []*profile   `json:"profiles,omitempty"`
	Sender   *sending     `json:"sender,omitempty"`
	Memory   *memory      `json:"memory,omitempty"`
	Verify   []*verifying `json:"eblverify,omitempty"`
	Flood    *flooded     `json:"flood,omitempty"`
	Goals    []goal       `json:"goals"`
}

// A goal is a target and what came of it.
type goal struct {
	Name  string  `json:"name"`
	Want  float64 `json:"want"`
	Got   float64 `json:"got"`
	Least bool    `json:"atLeast"` // else at most
	// Beside is what to know with it.
	Beside string `json:"beside,omitempty"`
}

func (g goal) met() bool {
	if g.Least {
		return g.Got >= g.Want
	}
	return g.Got <= g.Want
}

// hopeless is twice as bad as aimed at: the short form fails.
func (g goal) hopeless() bool {
	if g.Least {
		return g.Got < g.Want/2
	}
	return g.Got > g.Want*2
}

// all runs everything that was asked for.
func (o *options) all(ctx context.Context, program string, p *party) error {
	s, err := o.stage(ctx, program, fmt.Sprintf("empty-%s", runID), p)
	if err != nil {
		return err
	}
	defer s.stop()
	f, err := newFloor(p, o.dir)
	if err != nil {
		return err
	}
	defer f.close()
	r := &report{At: time.Now().UTC().Truncate(time.Second), Go: runtime.Version(), CPU: cpuName(), Cores: runtime.NumCPU(), Rounds: o.rounds}
	if out, err := exec.CommandContext(ctx, "git", "-C", o.root, "rev-parse", "--short", "HEAD").Output(); err == nil {
		r.Revision = strings.TrimSpace(string(out))
	}
	if o.wants("wal") {
		if r.WAL32, err = o.wal(ctx, s, 32); err != nil {
			return err
		}
		if r.WAL1, err = o.wal(ctx, s, 1); err != nil {
			return err
		}
		o.progress("pages of the log a transfer: %.1f with 32 clients, %.1f with one", r.WAL32.All, r.WAL1.All)
	}
	for _, sc := range scenarios(o.ci) {
		if !strings.Contains(sc.name(), o.only) {
			continue
		}
		res, err := o.measure(ctx, s, f, sc, documentSize)
		if err != nil {
			return fmt.Errorf("%s: %w", sc.name(), err)
		}
		r.Results = append(r.Results, res)
		o.progress("%-30s floor %7.0f µs, node %7.0f µs, %5.2f of the floor, %6.0f a second", res.Name, res.Floor, res.Node, res.Ratio, res.Rate)
		unhurried()
	}
	if err := o.rest(ctx, program, s, f, r); err != nil {
		return err
	}
	r.Profiles = o.profiles
	r.goals()
	return o.tell(r)
}

func (o *options) wants(name string) bool { return strings.Contains(name, o.only) }

// rest is what is measured beside the scenarios.
func (o *options) rest(ctx context.Context, program string, s *stage, f *floor, r *report) (err error) {
	if o.wants("clients") && !o.ci {
		if r.Clients, err = o.clientCurve(ctx, s, f); err != nil {
			return err
		}
	}
	if o.wants("memory") {
		if r.Memory, err = o.memory(ctx, s); err != nil {
			return err
		}
		o.progress("memory: peak %d MiB until now; a body of %d MiB takes %.1f times its size", r.Memory.Load>>20, r.Memory.Body>>20, r.Memory.Times)
	}
	if o.wants("sender") {
		if err := o.senders(ctx, s, r); err != nil {
			return err
		}
	}
	if o.wants("flood") && !o.ci {
		if r.Flood, err = o.flood(ctx, program, s.party); err != nil {
			return err
		}
		o.progress("flood: p99 of an honest peer %.1f ms, %.1f ms without", r.Flood.Loud.P99, r.Flood.Alone.P99)
	}
	if o.wants("eblverify") {
		for _, n := range []int{1, 20, 100} {
			v, err := o.eblverify(ctx, s, n)
			if err != nil {
				return err
			}
			r.Verify = append(r.Verify, v)
			o.progress("eblverify, %d entries: %.0f bundles a second and core, %.2f of the floor, peak %d MiB", n, v.Rate, v.Ratio, v.Peak>>20)
		}
	}
	if o.bills > 0 && o.wants("bills") {
		s.stop() // what it took in until now is no empty database
		empty, err := o.stage(ctx, program, fmt.Sprintf("bare-%s", runID), s.party)
		if err != nil {
			return err
		}
		defer empty.stop()
		full, err := o.stage(ctx, program, "full", s.party)
		if err != nil {
			return err
		}
		defer full.stop()
		if r.Sizes, err = o.compareSizes(ctx, empty, full, f, o.bills); err != nil {
			return err
		}
		o.progress("%d stored bills: %.2f of the empty database's cost", o.bills, r.Sizes.Ratio)
		full.stop()
		if err := full.fsck(ctx, 1000); err != nil {
			return err
		}
	}
	return nil
}

// senders keeps the median of some runs.
func (o *options) senders(ctx context.Context, s *stage, r *report) error {
	l := newLoad(s, 16)
	defer l.close()
	var outbox, whole []float64
	for range min(o.rounds, 3) {
		v, err := s.sender(ctx, l, 1000)
		if err != nil {
			return err
		}
		outbox, whole = append(outbox, v.CPU), append(whole, v.AllCPU)
		r.Sender = v
	}
	r.Sender.CPU, r.Sender.AllCPU = median(outbox), median(whole)
	r.Sender.Outbox, r.Sender.Whole = 1e6/r.Sender.CPU, 1e6/r.Sender.AllCPU
	o.progress("sending: %.0f transfers a second and core from the outbox, %.0f with the orders of users", r.Sender.Outbox, r.Sender.Whole)
	return nil
}

func (r *report) goals() {
	add := func(name string, want, got float64, least bool) {
		r.Goals = append(r.Goals, goal{Name: name, Want: want, Got: got, Least: least})
	}
	loaded := len(r.Clients) > 0
	var one, many float64
	for _, res := range r.Results {
		loaded = loaded || res.Clients >= 32
		if res.Alg == string(identity.ES256) && res.Entries == 1 && !res.Known && !res.HTTP2 {
			if res.Clients == 1 {
				one = res.Rate
			} else if res.Clients == 32 {
				many = res.Rate
			}
		}
		switch {
		case res.Target == 0:
		case res.Known && res.Of > 0:
			add("known prefix, n="+fmt.Sprint(res.Entries)+", of first sight", res.Target, res.Of, false)
		case !res.Known:
			add("first sight, n="+fmt.Sprint(res.Entries)+", of the floor", res.Target, res.Ratio, false)
		}
	}
	if one > 0 && many > 0 {
		r.Group = many / one
		add("32 clients, of one client's rate", 2.5, r.Group, true)
	}
	if r.WAL32 != nil {
		add("pages of the log a transfer, n=1, 32 clients, new database, without those of evidence", 5, r.WAL32.Control, false)
	}
	if r.Sizes != nil {
		add(fmt.Sprintf("%d stored bills, of the empty database", r.Sizes.Bills), 1.15, r.Sizes.Ratio, false)
	}
	if r.Memory != nil {
		if loaded {
			add("memory under load, MiB", 256, float64(r.Memory.Load)/(1<<20), false)
		} else {
			r.Memory.Load = 0 // there was none
		}
		add("sixteen large bodies of one peer at once, MiB", 256, float64(r.Memory.AtOnce)/(1<<20), false)
		add("a body at the limit, of its size", 4, r.Memory.Times, false)
	}
	if r.Flood != nil && r.Flood.Alone.P99 > 0 {
		add("an honest peer's p99 beside idle connections, of that alone", 2, r.Flood.Silent.P99/r.Flood.Alone.P99, false)
	}
	if r.Sender != nil {
		add("sending from the outbox (order committed to receipt committed), a second and core", 800, r.Sender.Outbox, true)
		r.Goals[len(r.Goals)-1].Beside = fmt.Sprintf("with the orders of users: %.0f", r.Sender.Whole)
	}
}

// tell prints the report, draws the plots, and fails where -ci says so.
func (o *options) tell(r *report) error {
	if o.json {
		enc := json.NewEncoder(o.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else {
		r.print(o.out)
	}
	if o.plots != "" {
		if err := r.plot(o.plots); err != nil {
			return err
		}
	}
	if o.doc != "" {
		if err := r.document(o.doc); err != nil {
			return err
		}
	}
	if !o.ci {
		return nil
	}
	for _, g := range r.Goals {
		if g.hopeless() {
			return fmt.Errorf("%s: %.2f, and %.2f is aimed at", g.Name, g.Got, g.Want)
		}
	}
	return nil
}

// document puts the table between its marks in a file; and what the profiles say, if there are
// any: else the older ones stay.
func (r *report) document(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var b strings.Builder
	table := *r
	table.Profiles = nil // they have marks of their own
	table.print(&b)
	out, err := between(string(text), "table", b.String())
	if err == nil && len(r.Profiles) > 0 {
		b.Reset()
		fmt.Fprintf(&b, "%s, revision %s, %d rounds\n\n", r.At.Format(time.RFC3339), r.Revision, r.Rounds)
		printProfiles(&b, r.Profiles)
		out, err = between(out, "profile", b.String())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, []byte(out), 0o644)
}

// between puts text, as it stands, between the marks of that name.
func between(doc, name, text string) (string, error) {
	begin, end := "<!-- "+name+" -->", "<!-- end of the "+name+" -->"
	before, rest, ok := strings.Cut(doc, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", fmt.Errorf("no %s and %s", begin, end)
	}
	return before + begin + "\n\n```\n" + text + "```\n\n" + end + after, nil
}

func (r *report) print(out io.Writer) {
	fmt.Fprintf(out, "%s, %s, %d cores, %s, revision %s, %d rounds\n\n", r.At.Format(time.RFC3339), r.CPU, r.Cores, r.Go, r.Revision, r.Rounds)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "scenario\tfloor µs\tnode µs\tof floor\tof first\ta second\tp50 ms\tp99 ms\tallocs\tkB\tlog pages\tconns\t")
	for _, v := range append(append([]*result{}, r.Results...), r.Clients...) {
		of, pages := "", "?"
		if v.Pages > 0 {
			pages = fmt.Sprintf("%.1f", v.Pages)
		}
		if v.Of > 0 {
			of = fmt.Sprintf("%.3f", v.Of)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.2f\t%s\t%.0f\t%.1f\t%.1f\t%.0f\t%.0f\t%s\t%d\t\n", v.Name, v.Floor, v.Node, v.Ratio, of, v.Rate, v.P50, v.P99, v.Mallocs, v.Bytes/1000, pages, v.Dials)
	}
	_ = w.Flush()
	if len(r.Profiles) > 0 {
		fmt.Fprintln(out)
		printProfiles(out, r.Profiles)
	}
	if r.WAL32 != nil {
		fmt.Fprintf(out, "\npages of the database's log a transfer, with 32 clients: %s\npages of the database's log a transfer, with one: %s\n", r.WAL32, r.WAL1)
	}
	if r.Sizes != nil {
		fmt.Fprintf(out, "stored bills: %.0f µs with none, %.0f µs with %d; ratio %.2f\n", r.Sizes.Empty, r.Sizes.Full, r.Sizes.Bills, r.Sizes.Ratio)
		fmt.Fprintf(out, "pages of the database's log a transfer with %d bills, with 32 clients: %s\n", r.Sizes.Bills, r.Sizes.Pages)
	}
	if r.Sender != nil {
		fmt.Fprintf(out, "sending: %.0f µs a transfer from the outbox, %.0f a second and core; with the order of the user %.0f µs, %.0f a second and core, %.0f a second in all\n",
			r.Sender.CPU, r.Sender.Outbox, r.Sender.AllCPU, r.Sender.Whole, r.Sender.Wall)
	}
	if r.Memory != nil {
		fmt.Fprint(out, "memory: ")
		if r.Memory.Load > 0 {
			fmt.Fprintf(out, "peak %d MiB under load; ", r.Memory.Load>>20)
		}
		fmt.Fprintf(out, "%d MiB with sixteen large bodies at once; a body at the limit takes, of its size:", r.Memory.AtOnce>>20)
		for i, f := range r.Memory.Shapes {
			fmt.Fprintf(out, "%s %s %.1f", map[bool]string{true: ";", false: ""}[i > 0], f.Shape, f.Times)
		}
		fmt.Fprintln(out)
	}
	for _, v := range r.Verify {
		fmt.Fprintf(out, "eblverify: bundles of %d entries (%d signatures, %d kB) in %.0f µs, floor %.0f µs, ratio %.2f; %.0f a second and core; peak %d MiB with one file, %d MiB with %d\n",
			v.Entries, v.Signatures, v.Bytes/1000, v.Micros, v.Floor, v.Ratio, v.Rate, v.PeakOne>>20, v.Peak>>20, v.Files)
	}
	if f := r.Flood; f != nil {
		fmt.Fprintf(out, "an honest peer's blocks, p50 and p99: alone %.1f and %.1f ms; beside %d connections that say nothing %.1f and %.1f; beside a flood (%d requests, %d of them refused, %d handshakes of strangers) %.1f and %.1f\n",
			f.Alone.P50, f.Alone.P99, f.Idle, f.Silent.P50, f.Silent.P99, f.Requests, f.Refused, f.Strange, f.Loud.P50, f.Loud.P99)
	}
	fmt.Fprintln(out)
	w = tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, g := range r.Goals {
		word, verdict := "at most", "met"
		if g.Least {
			word = "at least"
		}
		if !g.met() {
			verdict = "MISSED"
		}
		if g.Beside != "" {
			verdict += "; " + g.Beside
		}
		fmt.Fprintf(w, "%s\t%s %.2f\t%.2f\t%s\n", g.Name, word, g.Want, g.Got, verdict)
	}
	_ = w.Flush()
}

func cpuName() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
