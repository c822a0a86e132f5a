package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestReadmeSession runs the session of README.md as it stands there, with other ports,
// and then asks both nodes and the offline verifier who is in control.
func TestReadmeSession(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	session := string(text)
	const open, end = "\n```sh session\n", "\n```\n"
	if n := strings.Count(session, open); n != 1 {
		t.Fatalf("README.md: got %d sessions, want 1", n)
	}
	_, session, _ = strings.Cut(session, open)
	session, _, found := strings.Cut(session, end)
	if !found {
		t.Fatal("README.md: the session does not end")
	}
	for i, port := range freePorts(t, 4) {
		written := []string{"8443", "8080", "9443", "9080"}[i]
		pattern := regexp.MustCompile(`\b` + written + `\b`)
		if !pattern.MatchString(session) {
			t.Fatalf("README.md: the session has no port %s", written)
		}
		session = pattern.ReplaceAllString(session, port)
	}
	beta := regexp.MustCompile(`bank@localhost:\d+`).FindString(session)
	if beta == "" {
		t.Fatal("README.md: the session transfers nothing to bank@localhost")
	}
	script, files, err := scriptOf(session)
	if err != nil {
		t.Fatalf("README.md: %v", err)
	}
	script += fmt.Sprintf(`
# the last command was eblverify
stdout '^bundle\.json: VALID$'
stdout 'in control +%[1]s$'

# each node says who is in control
exec eblnode show $BILL --data alpha --token-file carrier.token
stdout '^control +%[1]s is in control, on another platform$'
exec eblnode show $BILL --data beta --token-file bank.token
stdout '^control +%[1]s is in control$'

# and again by exit code alone
exec eblverify bundle.json --trust alpha.json --trust beta.json

# the nodes stop when told, and say goodbye
kill -INT alpha
wait alpha
stderr stopped
kill -INT beta
wait beta
! exists alpha/run.json beta/run.json alpha/admin.sock beta/admin.sock
`, regexp.QuoteMeta(beta))
	file := filepath.Join(t.TempDir(), "readme.txtar")
	if err := os.WriteFile(file, []byte(script+files), 0o600); err != nil {
		t.Fatal(err)
	}
	runScripts(t, testscript.Params{Files: []string{file}})
}

// The shapes of line that a session may have.
var (
	buildLine      = regexp.MustCompile(`^go build -o \. \./cmd/eblnode \./cmd/eblverify && export PATH="\$PWD:\$PATH"$`)
	echoLine       = regexp.MustCompile(`^echo ('[^']*') > ([a-z.]+)$`)
	intoFileLine   = regexp.MustCompile(`^(ebl[a-z]+ [^<>|&]+) > ([a-z.]+)$`)
	backgroundLine = regexp.MustCompile(`^(eblnode serve --data ([a-z]+)) &$`)
	variableLine   = regexp.MustCompile(`^([A-Z]+)=\$\((ebl[a-z]+ [^<>|&]+) \| head -n 1\)$`)
	plainLine      = regexp.MustCompile(`^ebl[a-z]+ [^<>|&]+$`)
)

// scriptOf writes a shell session as a test script, and the files for its end. A line of
// a shape that it does not know is an error: what is not run is not tested.
func scriptOf(session string) (commands, files string, err error) {
	var script, archive strings.Builder
	var nodes []string
	for _, line := range strings.Split(session, "\n") {
		switch m := []string(nil); {
		case line == "":
		case strings.HasPrefix(line, "#"):
			fmt.Fprintln(&script, line)
		case buildLine.MatchString(line): // both are on the PATH
		case line == "sleep 1" && len(nodes) > 0:
			fmt.Fprintln(&script, "await", strings.Join(nodes, " "))
		case match(&m, echoLine, line):
			fmt.Fprintf(&script, "cp echo-%s %s\n", m[2], m[2])
			fmt.Fprintf(&archive, "-- echo-%s --\n%s\n", m[2], strings.Trim(m[1], "'"))
		case match(&m, intoFileLine, line):
			fmt.Fprintf(&script, "exec %s\ncp stdout %s\n", m[1], m[2])
		case match(&m, backgroundLine, line):
			nodes = append(nodes, m[2])
			fmt.Fprintf(&script, "exec %s &%s&\n", m[1], m[2])
		case match(&m, variableLine, line):
			fmt.Fprintf(&script, "exec %s\nsetline %s stdout\n", m[2], m[1])
		case plainLine.MatchString(line):
			fmt.Fprintln(&script, "exec", line)
		default:
			return "", "", fmt.Errorf("the session has a line of a kind that this test cannot run: %s", line)
		}
	}
	if len(nodes) != 2 {
		return "", "", fmt.Errorf("the session runs %d nodes, not 2", len(nodes))
	}
	return script.String(), archive.String(), nil
}

func match(m *[]string, pattern *regexp.Regexp, line string) bool {
	*m = pattern.FindStringSubmatch(line)
	return *m != nil
}

// TestUnknownLineOfSessionIsAnError: a session cannot hide a line from its test.
func TestUnknownLineOfSessionIsAnError(t *testing.T) {
	for _, line := range []string{"curl http://localhost:8080", "eblnode list | tail", "eblnode list && rm -r alpha", "rm alpha.json", "sleep 1"} {
		if script, _, err := scriptOf(line); err == nil {
			t.Errorf("%s: got the script %q, want an error", line, script)
		}
	}
}
