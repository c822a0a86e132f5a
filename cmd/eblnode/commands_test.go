package main

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// do runs a command in this process.
func do(t *testing.T, args ...string) (out, errOut string, code int) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &o, &e)
	return o.String(), e.String(), code
}

// commands lists every command that there is, as its arguments.
func commands() (all [][]string) {
	var walk func(c *cobra.Command, path []string)
	walk = func(c *cobra.Command, path []string) {
		for _, sub := range c.Commands() {
			p := append(slices.Clone(path), sub.Name())
			all = append(all, p)
			walk(sub, p)
		}
	}
	walk((&app{}).root(), nil)
	return all
}

// fixed are the names of commands that exist and never change.
var fixed = []string{"demo", "init", "serve", "doctor", "version", "dns", "peer self", "peer add", "peer list", "peer show", "peer remove", "key list", "fsck",
	"user add", "user list", "user disable", "events", "issue", "transfer", "surrender", "amend", "switch-to-paper", "honour", "decline", "list", "show",
	"peer fetch", "peer check", "peer sign-csr", "key rotate", "key import", "key csr", "key revoke", "key encrypt", "cancel", "verdict", "incoming list", "incoming reject",
	"resolve", "evidence fork", "evidence hold", "evidence release", "archive", "bundle"}

func TestEveryCommandHasHelp(t *testing.T) {
	var names []string
	for _, path := range commands() {
		name := strings.Join(path, " ")
		names = append(names, name)
		out, errOut, code := do(t, append(path, "--help")...)
		if code != 0 || errOut != "" {
			t.Errorf("%s --help: got exit code %d, %q, want 0", name, code, errOut)
		}
		first, _, _ := strings.Cut(out, "\n")
		for _, want := range []string{"Usage:\n  eblnode " + name, "--json", "--data"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s --help: got no %q in\n%s", name, want, out)
			}
		}
		if len(first) < 10 || strings.HasPrefix(first, "Usage") {
			t.Errorf("%s --help: got the first line %q, want a sentence about what it does", name, first)
		}
	}
	for _, name := range fixed {
		if !slices.Contains(names, name) {
			t.Errorf("there is no command %s", name)
		}
	}
}

// TestMistakesOfUsageHaveCode2: for every command an unknown flag, one argument too many,
// and for groups a command that there is not. A script that mistypes must not go on.
func TestMistakesOfUsageHaveCode2(t *testing.T) {
	data := filepath.Join(t.TempDir(), "none")
	tries := [][]string{{}, {"bogus"}, {"--bogus"}, {"peer"}, {"user"}, {"key"}, {"peer", "bogus"}, {"--data"}}
	for _, path := range commands() {
		tries = append(tries, append(slices.Clone(path), "--bogus"), append(slices.Clone(path), "a", "b", "c"))
	}
	for _, args := range tries {
		if len(args) > 0 && (args[0] == "help" || args[0] == "completion") {
			continue
		}
		out, errOut, code := do(t, args...)
		if code != 2 || !strings.Contains(errOut, "--help") && !strings.Contains(out, "--help") {
			t.Errorf("eblnode %s: got exit code %d, %q, want 2 and where to read on", strings.Join(args, " "), code, errOut)
		}
		out, errOut, code = do(t, append(slices.Clone(args), "--json", "--data", data)...)
		if len(args) > 0 && args[len(args)-1] == "--data" {
			continue // takes --json for its value
		}
		var e struct {
			Error    string
			ExitCode int
		}
		if err := json.Unmarshal([]byte(out), &e); err != nil || code != 2 || e.ExitCode != 2 || e.Error == "" || errOut != "" {
			t.Errorf("eblnode %s --json: got exit code %d, %q, %q, want 2 and one JSON object", strings.Join(args, " "), code, out, errOut)
		}
	}
}

func TestMistypedCommandGetsASuggestion(t *testing.T) {
	for args, want := range map[string]string{"tranfser": "did you mean transfer?", "peer lst": "did you mean list?", "serv": "did you mean serve"} {
		if _, errOut, code := do(t, strings.Fields(args)...); code != 2 || !strings.Contains(errOut, want) {
			t.Errorf("eblnode %s: got exit code %d, %q, want 2 and %q", args, code, errOut, want)
		}
	}
}

// TestMissingDataFolder: each command that needs a node says that there is none, and makes
// nothing.
func TestMissingDataFolder(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "none")
	for _, args := range [][]string{{"serve"}, {"dns"}, {"key", "list"}, {"peer", "self"}, {"peer", "list"}, {"peer", "show", "a.example"},
		{"peer", "remove", "a.example"}, {"user", "add", "x"}, {"user", "list"}, {"user", "disable", "x"}} {
		_, errOut, code := do(t, append(args, "--data", data)...)
		if code != 2 || !strings.Contains(errOut, "make a node with: eblnode init --data") {
			t.Errorf("eblnode %s: got exit code %d, %q, want 2 and how to make a node", strings.Join(args, " "), code, errOut)
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v, want nothing", left, err)
	}
}

func TestVersion(t *testing.T) {
	out, _, code := do(t, "version", "--json")
	var v map[string]string
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || v["version"] != Version || !strings.HasPrefix(v["go"], "go1.") {
		t.Errorf("version --json: got %d, %s, want the version %s and that of Go", code, out, Version)
	}
	if out, _, code := do(t, "version"); code != 0 || !strings.HasPrefix(out, "eblnode "+Version+" go1.") {
		t.Errorf("version: got %d, %q", code, out)
	}
}

// TestPlainEscapes: text from another platform cannot draw on the terminal, turn the
// direction of writing, or write a line in our name.
func TestPlainEscapes(t *testing.T) {
	for in, want := range map[string]string{
		"Zoë & Söhne 株式会社": "Zoë & Söhne 株式会社",
		"\x1b[2J":          `\u001b[2J`,
		"a\nok\tb\r":       `a\u000aok\u0009b\u000d`,
		"\u009b31m":        `\u009b31m`,
		"bank\u202emoc.":   `bank\u202emoc.`,
		"a\u200bb\ufeff":   `a\u200bb\ufeff`,
		"\x7f":             `\u007f`,
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q): got %q, want %q", in, got, want)
		}
	}
}

// TestErrorFromANodeIsOneLine: whoever answers in the node's place writes no lines of its
// own on the terminal.
func TestErrorFromANodeIsOneLine(t *testing.T) {
	var e bytes.Buffer
	(&app{errOut: &e}).fail(&exitError{1, &remoteError{Status: 409, Code: 8004, Text: "x\n", Message: "no\neblnode: done"}}, 1)
	if got, want := e.String(), `eblnode: no\u000aeblnode: done (8004 x\u000a)`+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestReservedVariablesAreNotConfiguration: a name cannot mean two things.
func TestReservedVariablesAreNotConfiguration(t *testing.T) {
	for name := range reservedEnv {
		if err := (&config{}).overlay([]string{name + "=x"}); err != nil {
			t.Errorf("%s: got %v, want it ignored", name, err)
		}
	}
	c := &config{}
	if err := c.overlay([]string{"EBLNODE_LISTEN_PEER=h:1", "EBLNODE_CARRIERS=A,B", "EBLNODE_DISCOVERY_TRUSTED=true", "OTHER=x"}); err != nil {
		t.Fatal(err)
	}
	if c.Listen.Peer != "h:1" || !slices.Equal(c.Carriers, []string{"A", "B"}) || !c.Discovery.Trusted {
		t.Errorf("overlay: got %+v", c)
	}
}

func TestExitCodeOfAnUnknownErrorIsNotSuccess(t *testing.T) {
	if got := exitCode(context.DeadlineExceeded); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}
