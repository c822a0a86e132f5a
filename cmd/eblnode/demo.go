package main

import (
	"errors"
	"os"
	"time"

	"eblnode/internal/demo"

	"github.com/spf13/cobra"
)

func (a *app) demoCommand() *cobra.Command {
	var keep bool
	var dir, bundles string
	c := &cobra.Command{
		Use: "demo", Short: "Three platforms on this machine: a bill moves, and attackers fail",
		Long: `Start three platforms as three processes, each with its own keys and database, and a DNS
server that is their only resolver; move a bill from the carrier's platform to the bank's, to
the consignee's, and back by surrender; then attack. Everything goes over loopback. The exit
code is 0 only if each step and each attack ended as it must.

--keep leaves the nodes up until Ctrl-C, with addresses, tokens and curl lines to try.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			binary, err := os.Executable()
			if err != nil {
				return err
			}
			ok, err := demo.Run(c.Context(), demo.Options{Binary: binary, Dir: dir, Bundles: bundles, Keep: keep, JSON: a.json, Out: a.out, Colour: isTerminal(a.out), Now: time.Now})
			if err != nil {
				return err
			}
			if !ok && a.json {
				return &exitError{1, errors.New("")} // it is in the JSON
			}
			if !ok {
				return refused("the demonstration did not end as it must")
			}
			return nil
		},
	}
	c.Flags().StringVar(&bundles, "bundles", "", "write the evidence bundles to this folder, and the trust file, platforms.trust, beside them")
	c.Flags().BoolVar(&keep, "keep", false, "leave the nodes up until Ctrl-C")
	c.Flags().StringVar(&dir, "dir", "", "folder for the three data folders (default: a temporary one, removed at the end)")
	return c
}

// isTerminal: colour is for people only.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
