// Eblverify says who is in control of an electronic bill of lading, and why: it verifies
// transferblocks offline against trust entries that you hold.
//
//	eblverify block.json --trust platforms.json
//
// It asks nobody: the files are all it reads. Exit codes: 0 valid; 1 invalid; 2 usage;
// 3 indeterminate, or a file could not be read. With several files the worst counts.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"

	"github.com/spf13/cobra"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Version is set at release: -ldflags "-X main.Version=1.2.3".
var Version = "dev"

type options struct {
	trust  []string
	at     string
	json   bool
	limits envelope.Limits
}

const (
	exitValid   = 0
	exitInvalid = 1
	exitUsage   = 2
	exitUnsure  = 3
)

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	var o options
	code := exitValid
	c := &cobra.Command{
		Use:   "eblverify FILE… --trust FILE",
		Short: "Verify transferblocks offline",
		Long: `Verify transferblocks offline: every signature, every hash link back to the issuance,
and the law of the bill. Prints who is in control, and why.

The trust file holds the trust entries of the platforms that you believe, as
"eblnode peer self" prints them: one object, an array, or {"platforms": […]}. A block
never brings its own. "-" reads a block from standard input.

VALID          every rule holds
INVALID        a rule is broken; the first one is named (exit code 1)
INDETERMINATE  a trust entry or key is missing to judge it (exit code 3)

A file that "eblnode evidence fork" wrote is judged too: PROVEN (exit code 0) if a platform
signed two continuations of one bill, PROVES NOTHING (exit code 1) if none is shown to have.`,
		Example: `  eblverify block.json --trust platforms.json
  eblverify --json --trust carrier.json --trust bank.json < block.json -`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, files []string) error {
			if i := slices.Index(files, "-"); i >= 0 && slices.Contains(files[i+1:], "-") {
				return errors.New("- may be given once: standard input is read once")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, files []string) error {
			var err error
			code, err = o.verifyAll(files, in, out)
			return err
		},
	}
	c.Version = Version
	c.SetArgs(args)
	c.SetOut(out)
	c.SetErr(errOut)
	c.CompletionOptions.DisableDefaultCmd = true
	f := c.Flags()
	f.StringArrayVar(&o.trust, "trust", nil, "file with trust entries (needed; may be given again)")
	f.StringVar(&o.at, "at", "", "judge as of this time, RFC 3339 (default: now)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.IntVar(&o.limits.Body, "max-bytes", 0, "largest block, in bytes (default 8 MiB)")
	f.IntVar(&o.limits.Chain, "max-entries", 0, "longest chain (default 1,000)")
	f.IntVar(&o.limits.Transactions, "max-transactions", 0, "most transactions of an entry (default 1,000)")
	f.IntVar(&o.limits.Depth, "max-depth", 0, "deepest JSON (default 64)")
	if err := c.Execute(); err != nil {
		// Where the flags could not be read, --json after the bad one was not either.
		if o.json || slices.Contains(args, "--json") {
			_ = json.NewEncoder(out).Encode(map[string]any{"error": err.Error(), "exitCode": exitUsage})
		} else {
			fmt.Fprintln(errOut, "eblverify: "+plain(err.Error()))
		}
		return exitUsage
	}
	return code
}

// verifyAll verifies each file. The error is one of usage; what is wrong with a block is
// a verdict.
func (o *options) verifyAll(files []string, in io.Reader, out io.Writer) (int, error) {
	if len(files) == 0 {
		return exitUsage, errors.New("name a file with a transferblock, or - for standard input; see: eblverify --help")
	}
	if len(o.trust) == 0 {
		return exitUsage, errors.New("--trust FILE is needed: whom do you believe?")
	}
	trust, err := loadTrust(o.trust)
	if err != nil {
		return exitUsage, err
	}
	at := time.Now()
	if o.at != "" {
		if at, err = time.Parse(time.RFC3339, o.at); err != nil {
			return exitUsage, fmt.Errorf("--at: %q is not a time such as 2026-01-31T12:00:00Z", o.at)
		}
	}
	if l := o.limits; min(l.Body, l.Chain, l.Transactions, l.Depth) < 0 {
		return exitUsage, errors.New("--max-bytes, --max-entries, --max-transactions, --max-depth: a limit is not negative")
	}
	reports := make([]report, 0, len(files))
	code := exitValid
	for _, name := range files {
		r := o.verifyFile(name, in, trust, at)
		reports = append(reports, r)
		code = worse(code, r.exit())
		if !o.json {
			r.people(out)
		}
	}
	if !o.json {
		return code, nil
	}
	enc := json.NewEncoder(out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return code, enc.Encode(map[string]any{"at": at.UTC().Format(time.RFC3339), "reports": reports, "exitCode": code})
}

// worse: invalid is worse than indeterminate, which is worse than valid.
func worse(a, b int) int {
	rank := map[int]int{exitValid: 0, exitUnsure: 1, exitInvalid: 2}
	if rank[b] > rank[a] {
		return b
	}
	return a
}

func loadTrust(files []string) (*identity.Trust, error) {
	var all []*identity.Platform
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		ps, err := identity.ParseTrust(text)
		if err != nil {
			return nil, fmt.Errorf("trust file %s: %w", name, err)
		}
		all = append(all, ps...)
	}
	trust, err := identity.NewTrust(all...)
	if err != nil {
		return nil, fmt.Errorf("trust files: %w", err)
	}
	return trust, nil
}

func (o *options) verifyFile(name string, in io.Reader, trust *identity.Trust, at time.Time) report {
	body, err := readLimited(name, in, o.limits.BodyLimit())
	if err != nil {
		return report{File: name, Verdict: indeterminate, Reason: "unreadable", Detail: err.Error(), Entry: -1, Transaction: -1}
	}
	var r report
	if isForkProof(body) {
		r = judgeFork(body, trust, at)
	} else {
		r = judge(body, trust, at, o.limits)
	}
	r.File = name
	return r
}

// readLimited reads one byte more than the limit, so that the parser sees that it is
// too much, and no more.
func readLimited(name string, in io.Reader, limit int) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, int64(limit)+1))
}

// plain escapes control and direction characters: what is in a block must not draw on
// the terminal of whoever checks it.
func plain(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff:
			fmt.Fprintf(&b, "\\u%04x", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}
