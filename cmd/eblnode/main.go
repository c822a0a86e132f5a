// Eblnode runs a node for electronic bills of lading: control of a bill moves between
// platforms and never exists twice.
//
//	eblnode demo                      three platforms on this machine, and some attacks
//	eblnode init --domain DOMAIN      make a node
//	eblnode serve                     run it
//
// Every command has --help and --json. Exit codes: 0 done or valid; 1 refused or invalid;
// 2 usage; 3 could not tell (network, I/O).
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	for _, read := range descriptors {
		_, _ = read() // kept for who needs it, and who then sees the error
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{in: in, out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errOut)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	code := exitCode(err)
	// Where the flags could not be read, --json after the bad one was not either.
	a.json = a.json || slices.Contains(args, "--json")
	a.fail(err, code)
	return code
}

// An exitError carries the exit code that belongs to an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func usage(format string, args ...any) error   { return &exitError{2, fmt.Errorf(format, args...)} }
func refused(format string, args ...any) error { return &exitError{1, fmt.Errorf(format, args...)} }
func unsure(format string, args ...any) error  { return &exitError{3, fmt.Errorf(format, args...)} }

// exitCode: what is not said to be anything else is trouble with the machine.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	return 3
}

// An app is one run of the command.
type app struct {
	in     io.Reader
	out    io.Writer
	errOut io.Writer

	data      string // --data
	json      bool   // --json
	url       string // --url
	tokenFile string // --token-file
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "eblnode",
		Short: "A node for electronic bills of lading",
		Long: `eblnode moves control of electronic bills of lading between platforms, so that it
never exists twice. Try it first: eblnode demo`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	a.needsCommand(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%s; see: %s --help", err, c.CommandPath())
	})
	root.PersistentFlags().StringVar(&a.data, "data", defaultData(), "data folder (default $EBLNODE_DATA, else ./eblnode-data)")
	root.PersistentFlags().Lookup("data").DefValue = ""
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	root.CompletionOptions.HiddenDefaultCmd = true
	for _, g := range []*cobra.Group{{ID: "start", Title: "Start:"}, {ID: "user", Title: "Bills, as a local user:"}, {ID: "operate", Title: "Operate a node:"}} {
		root.AddGroup(g)
	}
	add := func(group string, cs ...*cobra.Command) {
		for _, c := range cs {
			c.GroupID = group
			a.errorsAreUsage(c)
			root.AddCommand(c)
		}
	}
	add("operate", a.webhookCommand())
	add("start", a.demoCommand(), a.initCommand(), a.serveCommand(), a.versionCommand())
	add("operate", a.backupCommand(), a.restoreCommand(), a.witnessCommand())
	add("user", a.userCommands()...)
	add("user", a.approvalsCommand())
	add("operate", a.peerCommand(), a.userAdminCommand(), a.systemCommand(), a.keyCommand(), a.dnsCommand(), a.doctorCommand(), a.fsckCommand())
	add("operate", a.decideCommands()...)
	add("operate", a.evidenceCommand(), a.archiveCommand())
	return root
}

// errorsAreUsage gives errors about arguments exit code 2, all the way down.
func (a *app) errorsAreUsage(c *cobra.Command) {
	if c.HasSubCommands() {
		a.needsCommand(c)
	} else if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage("%s; see: %s --help", err, c.CommandPath())
			}
			return nil
		}
	}
	for _, sub := range c.Commands() {
		a.errorsAreUsage(sub)
	}
}

// needsCommand makes it an error to use c without one of its commands, or with none that
// there is. A script that mistypes one must not go on.
func (a *app) needsCommand(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		text := fmt.Sprintf("unknown command %q for %s", args[0], c.CommandPath())
		if near := c.SuggestionsFor(args[0]); len(near) > 0 {
			text += "; did you mean " + strings.Join(near, " or ") + "?"
		}
		return usage("%s; see: %s --help", text, c.CommandPath())
	}
	c.RunE = func(c *cobra.Command, _ []string) error {
		if !a.json {
			if err := c.Help(); err != nil {
				return err
			}
		}
		return usage("a command is needed; see: %s --help", c.CommandPath())
	}
}

func defaultData() string {
	if dir := os.Getenv("EBLNODE_DATA"); dir != "" {
		return dir
	}
	return "eblnode-data"
}

// print writes a result: v as JSON with --json, else the lines for people.
func (a *app) print(v any, people func(w io.Writer)) error {
	if a.json {
		enc := json.NewEncoder(a.out)
		enc.SetIndent("", "  ")
		enc.SetEscapeHTML(false)
		return enc.Encode(v)
	}
	people(a.out)
	return nil
}

// fail writes an error: on standard error for people, as JSON on standard output.
func (a *app) fail(err error, code int) {
	if err.Error() == "" {
		return // said already
	}
	if a.json {
		out := map[string]any{"error": err.Error(), "exitCode": code}
		if r, ok := errors.AsType[*remoteError](err); ok {
			out["errorCode"], out["errorCodeText"], out["reference"] = r.Code, r.Text, r.Reference
			if r.Path != "" {
				out["jsonPath"] = r.Path
			}
		}
		_ = json.NewEncoder(a.out).Encode(out)
		return
	}
	// What a node said is one line; what we say of a file may be several.
	lines := []string{err.Error()}
	if _, ok := errors.AsType[*remoteError](err); !ok {
		lines = strings.Split(err.Error(), "\n")
	}
	for i := range lines {
		lines[i] = plain(lines[i])
	}
	fmt.Fprintln(a.errOut, "eblnode: "+strings.Join(lines, "\n"))
}

// plain escapes control and direction characters, line ends too: text from other
// platforms must not draw on an operator's terminal, nor write lines in our name.
func plain(s string) string {
	out := make([]rune, 0, len(s))
	for _, r := range s {
		switch {
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x200b && r <= 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2060 && r <= 0x206f || r == 0xfeff:
			out = append(out, []rune(fmt.Sprintf("\\u%04x", r))...)
		default:
			out = append(out, r)
		}
	}
	return string(out)
}
