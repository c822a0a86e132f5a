package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"
)

// writeFile prints a file of JSON, or writes it to a new one.
func (a *app) writeFile(text []byte, out string) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return err
	}
	pretty.WriteByte('\n')
	if out == "" {
		_, err := a.out.Write(pretty.Bytes())
		return err
	}
	if err := writeNew(out, pretty.Bytes()); err != nil {
		return err
	}
	return a.print(map[string]string{"file": out}, func(w io.Writer) { fmt.Fprintln(w, "written to "+plain(out)) })
}

func (a *app) bundleCommand() *cobra.Command {
	var out string
	entry := -1
	c := &cobra.Command{
		Use: "bundle HASH", Short: "Write the evidence of who is in control of a bill, for strangers", Args: cobra.ExactArgs(1),
		Long: `Write the evidence about a bill that you may see into one file: the document, the chain as
signed, receipts, rejections, the carrier's verdict, what was held of the keys. A stranger
checks it offline, without trusting us: eblverify FILE --trust TRUSTFILE

--entry N selects the transfer by that entry of the chain (from 0) and what answers it: both
sides of a transfer write the same evidence. docs/BUNDLE.md describes the file.`,
		Example: `  eblnode bundle $BILL --token-file bank.token --out bundle.json
  eblverify bundle.json --trust platforms.json`,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("entry") && entry < 0 {
				return usage("--entry counts from 0")
			}
			r, err := a.local()
			if err != nil {
				return err
			}
			path := billPath(args[0]) + "/bundle"
			if entry >= 0 {
				path += "?entry=" + strconv.Itoa(entry)
			}
			text, err := r.raw(c.Context(), http.MethodGet, path, nil)
			if err != nil {
				return err
			}
			return a.writeFile(text, out)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write it to this new file instead of printing it")
	c.Flags().IntVar(&entry, "entry", -1, "only the transfer by this entry of the chain, from 0")
	return c
}

func (a *app) evidenceCommand() *cobra.Command {
	evidence := &cobra.Command{Use: "evidence", Short: "What shows a stranger what happened"}
	var out string
	fork := &cobra.Command{
		Use: "fork HASH", Short: "Write what proves who signed two continuations of a bill", Args: cobra.ExactArgs(1),
		Long: `Write the bundle of a bill (docs/BUNDLE.md) with which a stranger can see who signed two
continuations of it: the chains as they came, signed rejections of any of them, and our
trust entries, for comparing fingerprints. It is judged with: eblverify FILE --trust TRUSTFILE

A second continuation after the addressee's rejection is lawful. The accused may hold such
a rejection that is not in the file; ask it before you accuse.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				text, err := r.raw(c.Context(), http.MethodGet, "/admin/v1/ebls/"+url.PathEscape(args[0])+"/fork", nil)
				if err != nil {
					return err
				}
				return a.writeFile(text, out)
			})
		},
	}
	fork.Flags().StringVar(&out, "out", "", "write it to this new file instead of printing it")
	evidence.AddCommand(fork)
	return evidence
}
