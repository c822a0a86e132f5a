package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// commandsOf lists the command lines of the sh blocks of a page.
func commandsOf(t *testing.T, page string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range strings.Split(string(text), "\n```sh\n")[1:] {
		block, _, _ = strings.Cut(block, "\n```")
		for _, line := range strings.Split(block, "\n") {
			if line != "" && !strings.HasPrefix(line, "#") {
				list = append(list, line)
			}
		}
	}
	return list
}

// TestEvidenceAsTheManualsWriteIt runs the commands about evidence in docs/OPERATIONS.md,
// and all of docs/BUNDLE.md, on a node with one bill.
func TestEvidenceAsTheManualsWriteIt(t *testing.T) {
	commands := slices.Collect(sectionOf(t, "Evidence for a court, a bank, an insurer").all())
	commands = append(commands, commandsOf(t, "../../docs/BUNDLE.md")...)
	if len(commands) < 3 {
		t.Fatalf("got the commands %q", commands)
	}
	ports := freePorts(t, 2)
	var b strings.Builder
	fmt.Fprintf(&b, `exec eblnode init --domain localhost:%[1]s --listen-peer localhost:%[1]s --listen-local localhost:%[2]s --endpoint https://localhost:%[1]s/v1/transferblocks --issuer
exec eblnode peer self
cp stdout platforms.json
exec eblnode user add bank --role issuer --token-file bank.token
exec eblnode serve &node&
await eblnode-data
exec eblnode issue bl.json --to bank@localhost:%[1]s --token-file bank.token
setline BILL stdout
`, ports[0], ports[1])
	folder := 0
	for _, line := range commands {
		switch {
		case strings.HasPrefix(line, "eblverify page"):
			continue // it compiles for a minute; the tests of internal/page run it
		case strings.HasPrefix(line, "eblverify folder/"):
			fmt.Fprintln(&b, "mkdir folder\ncp bundle.json folder/bundle.json")
		}
		if line == "eblnode archive archive" {
			folder++ // each page its own: an archive is named for the second
		}
		line = strings.Replace(line, "eblnode archive archive", fmt.Sprintf("eblnode archive archive-%d", folder), 1)
		line = strings.Replace(line, "eblverify archive ", fmt.Sprintf("eblverify archive-%d ", folder), 1)
		if strings.HasPrefix(line, "eblverify archive-") {
			fmt.Fprintf(&b, "! exec %s\nstdout 'archive/unsealed'\nstdout 'VALID'\n", line) // the day is not over
			continue
		}
		fmt.Fprintf(&b, "exec %s\n", line)
		if strings.HasPrefix(line, "eblverify ") {
			fmt.Fprintln(&b, "stdout 'VALID'")
		}
	}
	fmt.Fprintf(&b, `exec eblnode bundle $BILL --token-file bank.token
stdout '"format": "eblnode-bundle/1"'
! exec eblnode bundle $BILL --token-file bank.token --entry 0
stderr 'the chain has 0 entries'
! exec eblnode bundle $BILL --token-file bank.token --entry -1
stderr 'counts from 0'
! exec eblnode bundle $BILL --token-file bank.token --out bundle.json
stderr 'exists'
kill -INT node
wait node
-- bl.json --
{"transportDocumentReference":"A-1","carrierCode":"CARR","isToOrder":true}
`)
	file := filepath.Join(t.TempDir(), "evidence.txtar")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, testscript.Params{Files: []string{file}})
}
