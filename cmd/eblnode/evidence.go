package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
)

func (a *app) evidenceCommand() *cobra.Command {
	evidence := &cobra.Command{Use: "evidence", Short: "What shows a stranger what happened"}
	var out string
	fork := &cobra.Command{
		Use: "fork HASH", Short: "Write what proves who signed two continuations of a bill", Args: cobra.ExactArgs(1),
		Long: `Write a file with which a stranger can see who signed two continuations of one bill: the
chains as they came, signed rejections of any of them, and our trust entries, for
comparing fingerprints. It is judged with: eblverify FILE --trust TRUSTFILE

A second continuation after the addressee's rejection is lawful. The accused may hold such
a rejection that is not in the file; ask it before you accuse.`,
		RunE: func(c *cobra.Command, args []string) error {
			return a.withAdmin(c, func(r *remote) error {
				text, err := r.raw(c.Context(), http.MethodGet, "/admin/v1/ebls/"+url.PathEscape(args[0])+"/fork", nil)
				if err != nil {
					return err
				}
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
			})
		},
	}
	fork.Flags().StringVar(&out, "out", "", "write it to this new file instead of printing it")
	evidence.AddCommand(fork)
	return evidence
}
