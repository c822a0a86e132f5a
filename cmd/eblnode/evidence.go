package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"

	"eblnode/api"

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
	evidence.AddCommand(fork, a.holdCommand("hold", "Keep the document and evidence of a bill beyond their time", false), a.holdCommand("release", "Let go of a bill that was held", true))
	return evidence
}

// holdCommand is a legal hold, or its end.
func (a *app) holdCommand(use, short string, release bool) *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: use + " HASH --reason TEXT", Short: short, Args: cobra.ExactArgs(1),
		Long: short + `. The retention job ("retention.years" in the configuration) deletes
documents and the kept answers on certificates of bills that ended long enough ago, and
passes over those that are held. The reason stands in the audit log.`,
		RunE: func(c *cobra.Command, args []string) error {
			if reason == "" {
				return usage("--reason TEXT is needed: it stands in the audit log")
			}
			return a.withAdmin(c, func(r *remote) error {
				order := map[string]any{"reason": reason, "release": release}
				var held api.HoldView
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/ebls/"+url.PathEscape(args[0])+"/hold", order, &held); err != nil {
					return err
				}
				return a.print(held, func(w io.Writer) {
					fmt.Fprintln(w, map[bool]string{true: "held: ", false: "released: "}[held.Held]+held.DocumentHash)
				})
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; kept in the audit log")
	return c
}

func (a *app) archiveCommand() *cobra.Command {
	var rootsOnly bool
	c := &cobra.Command{
		Use: "archive FOLDER", Short: "Write the bundles of all bills, so that nothing can be taken out or put in later", Args: cobra.ExactArgs(1),
		Long: `Write the bundle of every bill into a new folder below FOLDER, with a list of the files. The
root of the audit log that the node signs at the end of the day names the list: who deletes,
adds or changes a file afterwards is seen by eblverify FOLDER. The roots signed so far are
written to FOLDER/roots.json each time; --roots writes only them, once a day is over.

The roots prove nothing about what was cut off at their end: keep the newest one's hash,
which eblverify prints, somewhere else.`,
		Example: `  eblnode archive /archive
  eblnode archive /archive --roots
  eblverify /archive --trust platforms.json`,
		RunE: func(c *cobra.Command, args []string) error {
			path, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			return a.withAdmin(c, func(r *remote) error {
				r.client.Timeout = 0 // as long as the disk takes
				var made api.ArchiveView
				if err := r.call(c.Context(), http.MethodPost, "/admin/v1/archive", map[string]any{"path": path, "rootsOnly": rootsOnly}, &made); err != nil {
					return err
				}
				return a.print(made, func(w io.Writer) {
					if made.Folder != "" {
						fmt.Fprintf(w, "%s: %d bills\n", plain(made.Folder), made.Bills)
					}
					if made.Left > 0 {
						fmt.Fprintf(w, "%d bills in quarantine were left out\n", made.Left)
					}
					fmt.Fprintf(w, "%d signed roots in %s\n", made.Roots, plain(filepath.Join(path, "roots.json")))
				})
			})
		},
	}
	c.Flags().BoolVar(&rootsOnly, "roots", false, "write only the roots that were signed since")
	return c
}
