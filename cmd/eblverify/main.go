// Eblverify says who is in control of an electronic bill of lading, and why: it verifies
// evidence bundles and transferblocks offline against trust entries that you hold.
//
//	eblverify bundle.json --trust platforms.json
//
// It asks nobody: the files are all it reads. Exit codes: 0 valid; 1 invalid; 2 usage;
// 3 indeterminate, or a file could not be read. With several files the worst counts.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/report"
	"eblnode/judge"

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
	root   string
	expect string
	json   bool
	html   string
	limits envelope.Limits
	// timeout is for one file.
	timeout time.Duration
	// memory is of what the files have in common.
	memory judge.Memory
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
		Short: "Verify evidence bundles and transferblocks offline",
		Long: `Verify evidence bundles and transferblocks offline: every signature, every hash link back
to the issuance, and the law of the bill. Prints who is in control, and why. A folder means
all files in it that end in .json, but for those of --trust and --expect; "-" reads standard
input. Of a folder that "eblnode archive" wrote it also says whether anything was taken out,
put in or changed.

The trust file holds the trust entries of the platforms that you believe, as
"eblnode peer self" prints them: one object, an array, or {"platforms": […]}. A file
never brings its own.

VALID                   every rule holds (exit code 0)
VALID AT SIGNING TIME   every rule holds; a key has ended or was revoked since (0)
INVALID                 a rule is broken; the first one is named (1)
INDETERMINATE           something to judge it is missing or contradictory (3)

With --expect the exit code is 0 if each file came to what the list says, else 1.

With several files the worst counts. Exit code 2 is a wrong command line. The rules and
their codes: docs/BUNDLE.md.`,
		Example: `  eblverify bundle.json --trust platforms.json
  eblverify folder/ --trust platforms.json --json
  eblverify --json --trust carrier.json --trust bank.json < block.json -
  eblverify archive/ --trust platforms.json --root 3f5a…
  eblverify bundle.json --trust platforms.json --at 2036-11-23T00:00:00Z
  eblverify bundle.json --trust platforms.json --html report.html`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, files []string) error {
			if i := slices.Index(files, "-"); i >= 0 && slices.Contains(files[i+1:], "-") {
				return errors.New("- may be given once: standard input is read once")
			}
			return nil
		},
		RunE: func(c *cobra.Command, files []string) error {
			err := o.checkLimits(c.Flags().Changed)
			if err != nil {
				return err
			}
			code, err = o.verifyAll(files, in, out, errOut)
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
	f.StringVar(&o.root, "root", "", "hash of an archive's root that you kept: it must be among the roots of each archive")
	f.StringVar(&o.expect, "expect", "", "hold the verdicts against this list of what each file must come to; prints where they differ")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringVar(&o.html, "html", "", "write the verdict on the one file to this new file too, as a page with the journey as a picture")
	f.IntVar(&o.limits.Body, "max-bytes", 0, "largest file, in bytes (default 8 MiB a block, 32 MiB a bundle)")
	f.IntVar(&o.limits.Chain, "max-entries", 0, "longest chain (default 1,000)")
	f.IntVar(&o.limits.Transactions, "max-transactions", 0, "most transactions of an entry (default 1,000)")
	f.IntVar(&o.limits.Depth, "max-depth", 0, "deepest JSON (default 64)")
	f.IntVar(&o.limits.Members, "max-members", 0, "most members of one JSON object (default 10,000)")
	f.IntVar(&o.limits.Values, "max-values", 0, "most values of one JSON text (default 500,000)")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "longest time for one file; 0: no limit")
	c.AddCommand(pageCommand(out))
	if err := c.Execute(); err != nil {
		// Where the flags could not be read, --json after the bad one was not either.
		if o.json || slices.Contains(args, "--json") {
			_ = printJSON(out, map[string]any{"error": err.Error(), "exitCode": exitUsage})
		} else {
			fmt.Fprintln(errOut, "eblverify: "+judge.Plain(err.Error()))
		}
		return exitUsage
	}
	return code
}

// verifyAll verifies each file. The error is one of usage; what is wrong with a block is
// a verdict.
func (o *options) verifyAll(files []string, in io.Reader, out, errOut io.Writer) (int, error) {
	if len(files) == 0 {
		return exitUsage, errors.New("name a file with a bundle or transferblock, a folder, or - for standard input; see: eblverify --help")
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
	archiveOptions := judge.ArchiveOptions{Trust: trust, Now: at}
	if o.root != "" {
		if archiveOptions.Root, err = envelope.ParseHash(o.root); err != nil || archiveOptions.Root.IsZero() {
			return exitUsage, fmt.Errorf("--root: %q is not the hash of a root: 64 lower-case hex digits, as this program prints it of an archive", o.root)
		}
	}
	inputs, err := expand(files, append(slices.Clone(o.trust), o.expect))
	if err != nil {
		return exitUsage, err
	}
	if o.html != "" && (len(inputs) != 1 || inputs[0].folder) {
		return exitUsage, errors.New("--html writes the verdict on one file: name one")
	}
	var list map[string]expectation
	if o.expect != "" {
		if list, err = expectations(o.expect); err != nil {
			return exitUsage, err
		}
	}
	quiet := o.json || o.expect != "" // told at the end
	shown := newProgress(errOut, o.json)
	reports := o.archives(files, archiveOptions, shown)
	shown.clear()
	if !quiet {
		for _, r := range reports {
			line(out, r)
		}
	}
	for i, f := range inputs {
		shown.at(i, len(inputs), "files")
		r := o.verifyFile(f, in, trust, at)
		reports = append(reports, r)
		if o.html != "" {
			if err := writePage(o.html, report.Input{Report: r, Trust: trust, At: at, Maker: "eblverify " + Version}); err != nil {
				return exitUsage, err
			}
		}
		r.Text = nil // the document was for the page; the reports are kept to the end
		if quiet {
			continue
		}
		shown.clear()
		if f.folder {
			line(out, r)
		} else {
			people(out, r)
		}
	}
	shown.clear()
	if len(reports) > 1 && !quiet {
		sum(out, reports)
	}
	return o.conclude(out, list, files, reports, at)
}

// archives judges the archives in what was named.
func (o *options) archives(names []string, with judge.ArchiveOptions, shown *progress) (reports []*judge.Report) {
	for _, name := range names {
		found := archives(name, with, shown)
		if o.root != "" && found == nil {
			found = []*judge.Report{judge.NoArchive(name)}
		}
		reports = append(reports, found...)
	}
	return reports
}

// conclude gives the exit code, and writes what is told at the end.
func (o *options) conclude(out io.Writer, list map[string]expectation, files []string, reports []*judge.Report, at time.Time) (int, error) {
	code := exitValid
	for _, r := range reports {
		code = worse(code, exit(r.Verdict))
	}
	answer := map[string]any{"at": at.UTC().Format(time.RFC3339), "reports": reports}
	if list != nil {
		differ, rules := compare(list, files, reports)
		code = exitValid
		if len(differ) > 0 {
			code = exitInvalid
		}
		answer["differences"] = append([]difference{}, differ...)
		if !o.json {
			tellDifferences(out, differ, len(reports), rules)
		}
	}
	if !o.json {
		return code, nil
	}
	answer["exitCode"] = code
	return code, printJSON(out, answer)
}

func writePage(path string, in report.Input) error {
	page, err := report.HTML(in)
	if err != nil {
		return err
	}
	return writeNew(path, page)
}

// writeNew writes a file that was not there: evidence is not overwritten by mistake.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// printJSON writes v; characters that draw on a terminal are escaped, and read back as
// they were.
func printJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(judge.PlainJSON(b.Bytes()))
	return err
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
