package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"eblnode/api"
	"eblnode/node"

	"github.com/spf13/cobra"
)

func (a *app) fsckCommand() *cobra.Command {
	var sample int
	c := &cobra.Command{
		Use:   "fsck",
		Short: "Check everything that is stored",
		Long: `Derive every chain and every control state again from the stored bytes, and compare:
signatures, links and the law of each chain, steps, transfers, receipts, rejections,
verdicts, keys, the audit log, the witness, and the pages of the database. Nothing is
changed. The node may go on meanwhile; where none runs, the data folder is locked for the
time.

Exit code 0: clean. 1: something is wrong; each finding names the table, the bill, the
row, what it is and what to do. 3: it could not tell.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if sample < 0 {
				return usage("--sample %d is less than none", sample)
			}
			err := a.withAdmin(c, func(r *remote) error {
				report, err := a.fsck(c, r, sample)
				if err != nil {
					return err
				}
				return a.showFsck(report)
			})
			if errors.Is(err, node.ErrDamaged) {
				return &exitError{1, err}
			}
			return err
		},
	}
	c.Flags().IntVar(&sample, "sample", 0, "look at so many bills, chosen at random, and not at the pages of the database; 0: everything")
	return c
}

// fsck asks for the check and shows how far it is until the report comes.
func (a *app) fsck(c *cobra.Command, r *remote, sample int) (*api.FsckView, error) {
	text, err := json.Marshal(map[string]int{"sample": sample})
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(c.Context(), http.MethodPost, r.base+"/admin/v1/fsck", bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(api.ActorHeader, r.actor)
	client := *r.client
	client.Timeout = 0 // it takes as long as it takes
	resp, err := client.Do(req)
	if err != nil {
		return nil, unsure("the node does not answer: %w; is it running? (eblnode serve)", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
		if err != nil {
			return nil, unsure("reading the node's answer: %w", err)
		}
		return nil, errorOf(resp.StatusCode, text)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 64<<20)
	var last time.Time
	for lines.Scan() {
		var line api.FsckLine
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, unsure("reading the node's answer: %w", err)
		}
		switch {
		case line.Report != nil:
			return line.Report, nil
		case line.Error != nil:
			return nil, unsure("%s", line.Error.Errors[0].Message)
		case time.Since(last) > 2*time.Second:
			last = time.Now()
			fmt.Fprintf(a.errOut, "%d of %d bills\n", line.Done, line.Total)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, unsure("reading the node's answer: %w", err)
	}
	return nil, unsure("the node stopped in the middle of the check")
}

func (a *app) showFsck(v *api.FsckView) error {
	err := a.print(v, func(w io.Writer) {
		for _, f := range v.Findings {
			where := f.Table
			if f.Bill != "" {
				where += " bill " + f.Bill
			}
			if f.Row != "" {
				where += " " + f.Row
			}
			fmt.Fprintf(w, "wrong: %s: %s\n    → %s\n", plain(where), plain(f.What), plain(f.Cure))
		}
		k := v.Checked
		how := "everything"
		if v.Sampled {
			how = "a sample"
		}
		fmt.Fprintf(w, "%s: looked at %s: %d bills, %d entries, %d steps, %d transfers, %d receipts, %d rejections, %d audit rows, %d audit roots in %s\n",
			v.Domain, how, k.Bills, k.Entries, k.Steps, k.Transfers, k.Receipts, k.Rejections, k.AuditRows, k.AuditRoots, time.Duration(v.Milliseconds)*time.Millisecond)
		if v.Clean {
			fmt.Fprintln(w, "clean")
		} else {
			fmt.Fprintf(w, "%d findings\n", len(v.Findings)+v.Omitted)
		}
	})
	if err != nil || v.Clean {
		return err
	}
	return &exitError{1, errors.New("")}
}
