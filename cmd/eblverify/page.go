package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

//go:generate rm -f page.html
//go:generate go run . page --out page.html

func pageCommand(out io.Writer) *cobra.Command {
	file := "eblverify.html"
	c := &cobra.Command{
		Use: "page", Short: "Write the page that checks bundles in a browser, without a network", Args: cobra.NoArgs,
		Long: `Write one HTML file in which a person drops a bundle and a trust file and sees the verdict:
this program's own, compiled to WebAssembly and carried in the file. It works from a file,
loads nothing and sends nothing.

A program built with "go generate ./cmd/eblverify && go build -tags page ./cmd/eblverify"
has the page in it. Any other builds the page with the go command, in the module's folder.`,
		Example: `  eblverify page
  eblverify page --out /srv/www/verify.html`,
		RunE: func(c *cobra.Command, _ []string) error {
			text, err := makePage(c.Context())
			if err != nil {
				return err
			}
			if file == "-" {
				_, err := out.Write(text)
				return err
			}
			if err := writeNew(file, text); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out, "written to %s, %d KB\n", file, len(text)/1000)
			return err
		},
	}
	c.Flags().StringVar(&file, "out", file, "the new file; - prints it")
	return c
}
