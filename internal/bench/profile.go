package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// works is what a node's CPU is spent on, by a function in the stack. The first that fits
// counts, so that the digest within a signature check is the check's.
var works = []struct {
	name string
	in   *regexp.Regexp
}{
	{"signatures checked", regexp.MustCompile(`VerifiesDigest`)},
	{"receipt signed", regexp.MustCompile(`SignReceipt`)},
	{"SQLite", regexp.MustCompile(`modernc\.org/sqlite`)},
	{"witness", regexp.MustCompile(`internal/witness`)},
	{"TLS", regexp.MustCompile(`crypto/tls`)},
	{"reading", regexp.MustCompile(`envelope\.(parse|ParseKnown|scanBlock)|RequestSum|readBody`)},
	{"collector", regexp.MustCompile(`runtime\.(gcBgMarkWorker|gcAssistAlloc|gcStart|bgsweep|bgscavenge)`)},
	{"scheduler", regexp.MustCompile(`runtime\.(schedule|mcall|mstart|goready)`)},
	{"HTTP", regexp.MustCompile(`net/http`)},
	{"the rest", regexp.MustCompile(``)},
}

// profile is what a scenario's CPU was spent on: parts of 1.
type profile struct {
	Name  string             `json:"name"`
	Parts map[string]float64 `json:"parts"`
}

// profileNode begins a CPU profile of the node; stop ends it and keeps it in a file. Only what
// runs between the two is in it: not the floor, nor what prepares a round.
func (t *tally) profileNode(ctx context.Context) (stop func() error, err error) {
	if t.profile == "" {
		return func() error { return nil }, nil
	}
	s := t.load.stage
	if _, err := s.ask(ctx, "/cpu/start"); err != nil {
		return nil, err
	}
	return func() error {
		text, err := s.ask(ctx, "/cpu/stop")
		if err != nil {
			return err
		}
		folder, _, _ := strings.Cut(filepath.Base(filepath.Dir(s.dir)), "-")
		name := fmt.Sprintf("cpu-%s-%s-%d.pprof", strings.NewReplacer("/", "-", "=", "").Replace(t.sc.name()), folder, len(t.profiles)+1)
		t.profiles = append(t.profiles, filepath.Join(t.profile, name))
		return os.WriteFile(t.profiles[len(t.profiles)-1], text, 0o600)
	}, nil
}

// profiled puts the profiles of a tally's rounds together.
func (o *options) profiled(ctx context.Context, t *tally, name string) error {
	if len(t.profiles) == 0 {
		return nil
	}
	p, err := partsOf(ctx, t.profiles...)
	if err != nil {
		return err
	}
	p.Name = name
	o.profiles = append(o.profiles, p)
	return nil
}

// partsOf asks Go's own tool for the stacks of profiles, and shares them out.
func partsOf(ctx context.Context, paths ...string) (*profile, error) {
	text, err := exec.CommandContext(ctx, "go", append([]string{"tool", "pprof", "-traces"}, paths...)...).Output()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", paths, err)
	}
	p, all := &profile{Parts: map[string]float64{}}, 0.0
	var stack strings.Builder
	var took time.Duration
	count := func() {
		for _, w := range works {
			if took > 0 && w.in.MatchString(stack.String()) {
				p.Parts[w.name] += took.Seconds()
				all += took.Seconds()
				break
			}
		}
		stack.Reset()
		took = 0
	}
	started := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := strings.TrimSpace(lines.Text())
		if strings.HasPrefix(line, "-----") {
			started = true
			count()
			continue
		}
		if !started {
			continue
		}
		if first, rest, _ := strings.Cut(line, " "); took == 0 {
			if took, err = time.ParseDuration(first); err != nil {
				return nil, fmt.Errorf("reading %s: %w", paths, err)
			}
			line = rest
		}
		stack.WriteString(line + "\n")
	}
	count()
	for name := range p.Parts {
		p.Parts[name] /= all
	}
	return p, nil
}

// printProfiles is a table of them, a line for each.
func printProfiles(out io.Writer, list []*profile) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "CPU of the node, %\t")
	for _, work := range works {
		fmt.Fprint(w, work.name+"\t")
	}
	fmt.Fprintln(w)
	for _, p := range list {
		fmt.Fprint(w, p.Name+"\t")
		for _, work := range works {
			fmt.Fprint(w, strconv.FormatFloat(100*p.Parts[work.name], 'f', 0, 64)+"\t")
		}
		fmt.Fprintln(w)
	}
	_ = w.Flush()
}
