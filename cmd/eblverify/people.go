package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"eblnode/judge"
)

// exit is the exit code of a verdict.
func exit(v judge.Verdict) int {
	switch v {
	case judge.Valid, judge.ValidThen:
		return exitValid
	case judge.Invalid:
		return exitInvalid
	}
	return exitUnsure
}

// isTerminal: colour and progress are for people only.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func coloured(w io.Writer, v judge.Verdict) string {
	if !isTerminal(w) {
		return string(v)
	}
	return fmt.Sprintf("\x1b[1;%dm%s\x1b[0m", map[judge.Verdict]int{judge.Valid: 32, judge.ValidThen: 32, judge.Invalid: 31, judge.Indeterminate: 33}[v], v)
}

// people writes a report as text. Everything that stood in the file is escaped.
func people(w io.Writer, r *judge.Report) {
	p := judge.Plain
	fmt.Fprintf(w, "%s: %s\n", p(r.File), coloured(w, r.Verdict))
	if !r.Verdict.Holds() {
		peopleRefusal(w, r)
		return
	}
	s := r.State
	switch {
	case s.Possessor == "":
		fmt.Fprintf(w, "  in control   nobody: the carrier honoured the return (%s)\n", s.Honour)
		if s.ReplacedBy != "" {
			fmt.Fprintf(w, "               the bill that replaces it has the hash %s\n", s.ReplacedBy)
		}
	case s.ReturnedBy != "":
		fmt.Fprintf(w, "  in control   %s, to whom %s returned it (%s)\n", s.Possessor, s.ReturnedBy, s.Status)
	default:
		fmt.Fprintf(w, "  in control   %s\n", s.Possessor)
	}
	switch {
	case s.Honour != "": // nothing follows
	case r.Kind != "bundle":
		fmt.Fprintf(w, "               as of %s, the newest in this chain: what came after it, or the carrier's verdict on a return, is not in it\n", s.AsOf)
	case !s.Settled:
		fmt.Fprintln(w, "               no receipt of the last entry is in the file: its addressee may still reject it, and control returns")
	default:
		fmt.Fprintf(w, "               as of %s, the newest that is signed in this file: what came later may have been left out\n", s.AsOf)
	}
	fmt.Fprintf(w, "  document     %s\n", r.Document)
	if r.Reference != "" || r.Carrier != "" {
		fmt.Fprintf(w, "  bill         carrier %s, reference %s\n", p(r.Carrier), p(r.Reference))
	}
	fmt.Fprintf(w, "  issued by    %s, to order: %t\n", s.Issuing, s.ToOrder)
	for _, l := range r.Lapsed {
		fmt.Fprintf(w, "  since then   key %s of %s: %s\n", p(l.Key), l.Platform, l.Why)
	}
	because := fmt.Sprintf("%d entries", len(r.Entries))
	if len(r.Steps) > 0 {
		because += fmt.Sprintf(" and %d steps since", len(r.Steps))
	}
	fmt.Fprintf(w, "  because each signature, hash link and transaction of %s holds:\n", because)
	for i, e := range r.Entries {
		peopleEntry(w, fmt.Sprintf("%3d", i), &e)
	}
	for i, e := range r.Steps {
		peopleEntry(w, fmt.Sprintf("+%2d", i), &e)
	}
	peopleRest(w, r)
}

func peopleEntry(w io.Writer, number string, e *judge.Entry) {
	fmt.Fprintf(w, "  %s  signed by %s with key %s (%s)\n", number, e.Signer, judge.Plain(e.Key), e.Fingerprint)
	for _, t := range e.Transactions {
		fmt.Fprintf(w, "       %s  %s to %s", t.At, t.Instruction, t.Transferee)
		if t.Comments != "" {
			fmt.Fprintf(w, "  \"%s\"", judge.Plain(t.Comments))
		}
		fmt.Fprintln(w)
	}
}

func peopleRefusal(w io.Writer, r *judge.Report) {
	fmt.Fprintf(w, "  %s: %s\n", r.Rule, judge.Plain(r.Detail))
	if r.Path != "" {
		fmt.Fprintf(w, "  at %s\n", judge.Plain(r.Path))
	}
	peopleRest(w, r)
}

// peopleRest tells what does not make the verdict: forks, and what could not be judged.
func peopleRest(w io.Writer, r *judge.Report) {
	for _, f := range r.Forks {
		if f.Accuses() {
			fmt.Fprintf(w, "  PROVEN       entry %d: %s\n", f.Entry, f.Sentence())
		} else {
			fmt.Fprintf(w, "  fork         entry %d: %s\n", f.Entry, f.Sentence())
		}
		for _, e := range f.Envelopes {
			fmt.Fprintf(w, "               %s\n", e)
		}
	}
	for _, c := range r.Checks {
		if c.Result == judge.Unjudged || c.Result == judge.Info {
			fmt.Fprintf(w, "  %-11s  %s: %s\n", map[judge.Result]string{judge.Unjudged: "not judged", judge.Info: "note"}[c.Result], judge.Plain(c.What), judge.Plain(c.Detail))
		}
	}
	if m := r.Made; m != nil && m.Signature == "good" {
		fmt.Fprintf(w, "  made by      %s on %s; its signature is good\n", m.By, m.At)
	}
}

// line is a report in one line, for a folder.
func line(w io.Writer, r *judge.Report) {
	fmt.Fprintf(w, "%s: %s", judge.Plain(r.File), coloured(w, r.Verdict))
	switch {
	case !r.Verdict.Holds():
		fmt.Fprintf(w, "  %s: %s", r.Rule, judge.Plain(r.Detail))
	case r.State == nil: // an archive
		last := r.Checks[len(r.Checks)-1]
		fmt.Fprintf(w, "  %s  %s", last.What, last.Detail)
	case r.State.Possessor == "":
		fmt.Fprintf(w, "  void: %s", r.State.Honour)
	default:
		fmt.Fprintf(w, "  %s", r.State.Possessor)
	}
	for _, f := range r.Forks {
		if f.Accuses() {
			fmt.Fprintf(w, "  PROVEN: %s", f.Sentence())
		}
	}
	fmt.Fprintln(w)
}

// sum is how many files came to which verdict.
func sum(w io.Writer, reports []*judge.Report) {
	count := map[judge.Verdict]int{}
	for _, r := range reports {
		count[r.Verdict]++
	}
	var parts []string
	for _, v := range []judge.Verdict{judge.Valid, judge.ValidThen, judge.Indeterminate, judge.Invalid} {
		if count[v] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", count[v], v))
		}
	}
	fmt.Fprintf(w, "%d files: %s\n", len(reports), strings.Join(parts, ", "))
}
