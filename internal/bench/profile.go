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

// profileNode takes a CPU profile of the node while something runs.
func (o *options) profileNode(ctx context.Context, s *stage, name string) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := func() error {
			text, err := s.ask(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", max(2, o.rounds/5)))
			if err != nil {
				return err
			}
			path := filepath.Join(o.profile, "cpu-"+strings.NewReplacer("/", "-", " ", "-", "=", "").Replace(name)+".pprof")
			if err := os.WriteFile(path, text, 0o600); err != nil {
				return err
			}
			p, err := partsOf(ctx, path)
			if err != nil {
				return err
			}
			p.Name = name
			o.profiled.Lock()
			defer o.profiled.Unlock()
			o.profiles = append(o.profiles, p)
			return nil
		}()
		if err != nil {
			o.progress("no profile: %s", err)
		}
	}()
	return func() { <-done }
}

// partsOf asks Go's own tool for the stacks of a profile, and shares them out.
func partsOf(ctx context.Context, path string) (*profile, error) {
	text, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-traces", path).Output()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
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
				return nil, fmt.Errorf("reading %s: %w", path, err)
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
