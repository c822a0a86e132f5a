package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A summary is what a mode found. Findings are what is wrong, one sentence each.
type summary struct {
	Mode     string         `json:"mode"`
	Seed     uint64         `json:"seed"`
	Seconds  float64        `json:"seconds"`
	Skipped  string         `json:"skipped,omitempty"` // why it could not run here
	Failed   string         `json:"failed,omitempty"`  // why it came to no end
	Figures  map[string]any `json:"figures"`
	Findings []string       `json:"findings"`

	unlisted map[string]int // by LOST, DOUBLED or CHANGED: what the auditor counted and did not list
}

// wrong notes something that must not be.
func (s *summary) wrong(format string, args ...any) {
	s.Findings = append(s.Findings, fmt.Sprintf(format, args...))
}

// ofKind counts the findings of a kind, which is their last word.
func ofKind(findings []string, kind string) (n int) {
	for _, w := range findings {
		if strings.HasSuffix(w, kind) {
			n++
		}
	}
	return n
}

// count says in the figures how much was lost, doubled and changed, whoever found it.
func (s *summary) count() {
	for _, kind := range []string{"LOST", "DOUBLED", "CHANGED"} {
		if n := ofKind(s.Findings, kind) + s.unlisted[kind]; n > 0 || s.Figures["audit"] != nil {
			s.Figures[strings.ToLower(kind)] = n
		}
	}
}

// recall adds what was found while the nodes ran, also by runs of this folder before.
func (s *summary) recall(h *history) {
	for _, e := range h.all() {
		if e.Kind == "wrong" {
			s.Findings = append(s.Findings, e.What...)
		}
	}
}

// run does what the command line says and returns the exit code.
func run(ctx context.Context, args []string, out, progress io.Writer) int {
	o, err := parse(args, progress)
	if err != nil {
		return 2
	}
	chosen, err := choose(o)
	if err != nil {
		fmt.Fprintln(progress, "torture:", err)
		return 2
	}
	var before *finished
	if len(chosen) > 1 && o.state != "" {
		if before, err = openFinished(o); err != nil {
			fmt.Fprintln(progress, "torture:", err)
			return 3
		}
	}
	code, start, load := 0, time.Now(), measureLoad()
	all := &summary{Mode: "all", Seed: o.seed, Figures: map[string]any{}}
	seconds := map[string]float64{}
	for _, m := range chosen {
		s := before.of(m.name)
		if s == nil {
			s = runMode(ctx, o, m, len(chosen) > 1)
			if s.Failed == "" && ctx.Err() == nil {
				if err := before.add(s); err != nil {
					fmt.Fprintln(progress, "torture:", err)
					return 3
				}
			}
		}
		if err := s.print(out, o.json); err != nil {
			return 3
		}
		code = max(code, s.code())
		seconds[m.name] = s.Seconds
		for _, w := range s.Findings {
			all.wrong("%s: %s", m.name, w)
		}
		if s.Failed+s.Skipped != "" {
			all.Figures[m.name] = strings.TrimSpace(s.Failed + " " + s.Skipped)
		}
	}
	if len(chosen) == 1 {
		return code
	}
	all.Seconds, all.Figures["secondsOfEachMode"] = since(start), seconds
	if o.ci && o.budget > 0 {
		o.overBudget(all, time.Since(start), load.others())
	}
	if err := all.print(out, o.json); err != nil {
		return 3
	}
	return max(code, all.code())
}

// runMode runs one mode; what goes wrong with it is in the summary.
func runMode(ctx context.Context, o *options, m mode, oneOfMany bool) *summary {
	one := *o
	if o.ci {
		m.ci(&one)
	}
	if oneOfMany && o.state != "" {
		one.state = filepath.Join(o.state, m.name)
	}
	one.say("== %s, seed %d", m.name, one.seed)
	start := time.Now()
	s, err := m.run(ctx, &one)
	if err != nil {
		one.say("torture: %s, seed %d: %s", m.name, one.seed, err)
		s = &summary{Failed: err.Error()}
	}
	s.Mode, s.Seed, s.Seconds = m.name, one.seed, since(start)
	if s.Figures != nil {
		s.count()
	}
	return s
}

func since(start time.Time) float64 {
	return time.Since(start).Round(10 * time.Millisecond).Seconds()
}

// code is the exit code that the summary stands for.
func (s *summary) code() int {
	switch {
	case s.Failed != "":
		return 3
	case len(s.Findings) > 0:
		return 1
	}
	return 0
}

// overBudget makes a finding of a short form that is not short. What other programs on the
// machine took of its processors in that time does not count, since nobody here can help
// it; but no more than three quarters, since a part of the time we only wait.
func (o *options) overBudget(s *summary, took, others time.Duration) {
	others = min(others, took*3/4)
	s.Figures["budgetSeconds"], s.Figures["secondsTakenByOthers"] = o.budget.Seconds(), others.Round(time.Second).Seconds()
	if own := took - others; own > o.budget {
		s.wrong("all modes together took %.0f s, of which others had the processors for %.0f; the budget is %.0f s", took.Seconds(), others.Seconds(), o.budget.Seconds())
	}
}

// print writes the summary: one JSON object a line, or text for people.
func (s *summary) print(out io.Writer, asJSON bool) error {
	if s.Findings == nil {
		s.Findings = []string{}
	}
	if asJSON {
		return json.NewEncoder(out).Encode(s)
	}
	if s.Skipped+s.Failed != "" {
		_, err := fmt.Fprintf(out, "%s: %s%s\n", s.Mode, map[bool]string{true: "skipped: ", false: "could not tell: "}[s.Failed == ""], s.Skipped+s.Failed)
		return err
	}
	text, err := json.MarshalIndent(s.Figures, "  ", "  ")
	if err != nil {
		return err
	}
	verdict := "nothing lost, doubled or changed"
	if len(s.Findings) > 0 {
		verdict = fmt.Sprintf("WRONG, %d findings:\n  - %s", len(s.Findings), strings.Join(s.Findings, "\n  - "))
	}
	_, err = fmt.Fprintf(out, "%s, seed %d, %.1f s: %s\n  %s\n", s.Mode, s.Seed, s.Seconds, verdict, text)
	return err
}

// finished are the modes that a run of several is through with, in a file in its folder.
type finished struct {
	path string
	o    *options
	list []finishedMode
}

// A finishedMode is a line of it. The options are those that the run was made with: with
// others it is another run.
type finishedMode struct {
	Options string   `json:"options"`
	Summary *summary `json:"summary"`
}

func openFinished(o *options) (*finished, error) {
	if err := os.MkdirAll(o.state, 0o700); err != nil {
		return nil, err
	}
	f := &finished{path: filepath.Join(o.state, "finished.jsonl"), o: o}
	text, err := os.ReadFile(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(text)) {
		var m finishedMode
		if !strings.HasSuffix(line, "\n") {
			break // cut off while it was written: that mode is run again
		}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.path, err)
		}
		if !o.seeded {
			o.seed = m.Summary.Seed
		}
		f.list = append(f.list, m)
	}
	return f, nil
}

// of is the summary of a mode that is through; nil if it is not.
func (f *finished) of(name string) *summary {
	if f == nil {
		return nil
	}
	for _, m := range f.list {
		if m.Summary.Mode == name && m.Summary.Seed == f.o.seed && m.Options == f.o.fingerprint() {
			f.o.say("== %s was finished in an earlier run", name)
			return m.Summary
		}
	}
	return nil
}

func (f *finished) add(s *summary) error {
	if f == nil {
		return nil
	}
	line, err := json.Marshal(finishedMode{f.o.fingerprint(), s})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// fingerprint is what a run was asked to do, but for the seed.
func (o *options) fingerprint() string {
	return fmt.Sprint(o.nodes, o.transfers, o.kills, o.bills, o.callers, o.cuts, o.every, o.each, o.only, o.pairs, o.skew, o.far, o.ci)
}
