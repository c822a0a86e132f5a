package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// bin is the folder with the two programs, built once as a release is.
var bin string

func TestMain(m *testing.M) { os.Exit(buildAndRun(m)) }

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "eblnode-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin = dir
	build := exec.Command("go", "build", "-buildvcs=false", "-o", dir, "eblnode/cmd/eblnode", "eblnode/cmd/eblverify")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// program is the path of eblnode or eblverify.
func program(name string) string { return filepath.Join(bin, name) }

// cleanEnv is our environment without what configures a node.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "EBLNODE_") {
			env = append(env, kv)
		}
	}
	return env
}

// freePorts finds n ports that nobody listens on. They are below the range from which
// systems take the ports of outgoing connections, so that none is taken before its use.
func freePorts(t testing.TB, n int) []string {
	t.Helper()
	ports := unusedPorts(n)
	if ports == nil {
		t.Fatal("there are no free ports")
	}
	return ports
}

func unusedPorts(n int) (ports []string) {
	for range 1000 {
		port := strconv.Itoa(10000 + rand.IntN(20000))
		l, err := net.Listen("tcp", "localhost:"+port)
		if err != nil {
			continue
		}
		defer func() { _ = l.Close() }() // held until all are found, so that they differ
		if ports = append(ports, port); len(ports) == n {
			return ports
		}
	}
	return nil
}

// runScripts runs scripts with both programs on their PATH. A variable that no node
// would take stands in our own environment: if it leaks to a program, that one fails.
func runScripts(t *testing.T, p testscript.Params) {
	t.Helper()
	t.Setenv("EBLNODE_LEAKED", "from the environment of the test")
	setup := p.Setup
	p.Setup = func(env *testscript.Env) error {
		env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
		if setup != nil {
			return setup(env)
		}
		return nil
	}
	p.Cmds = map[string]func(*testscript.TestScript, bool, []string){
		"await":   awaitRunning,
		"setline": setLine,
		"mode":    checkMode,
		"code":    checkCode,
		"manual":  runManual,
		"stop":    stopManual,

		"receiver": startReceiver,
		"ports":    findPorts,
	}
	p.Deadline = time.Now().Add(8 * time.Minute)
	p.RequireExplicitExec = true
	testscript.Run(t, p)
}

// findPorts is "ports VAR…": it sets each variable to a port that nobody listens on.
func findPorts(ts *testscript.TestScript, neg bool, names []string) {
	if neg || len(names) == 0 {
		ts.Fatalf("usage: ports VAR…")
	}
	ports := unusedPorts(len(names))
	if ports == nil {
		ts.Fatalf("there are no free ports")
	}
	for i, port := range ports {
		ts.Setenv(names[i], port)
	}
}

// awaitRunning is "await DIR…": it waits until the nodes of these data folders serve.
func awaitRunning(ts *testscript.TestScript, neg bool, dirs []string) {
	if neg || len(dirs) == 0 {
		ts.Fatalf("usage: await DIR…")
	}
	until := time.Now().Add(time.Minute)
	for _, dir := range dirs {
		for {
			// The file may be of a node that was killed.
			if run, err := readRunFile(ts.MkAbs(dir)); err == nil {
				if conn, err := net.Dial("tcp", run.Local); err == nil {
					_ = conn.Close()
					break
				}
			}
			if time.Now().After(until) {
				ts.Fatalf("the node in %s does not say where it listens", dir)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// setLine is "setline VAR FILE": it sets a variable to the first line of a file, which
// may be stdout.
func setLine(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: setline VAR FILE")
	}
	line, _, found := strings.Cut(ts.ReadFile(args[1]), "\n")
	if !found || line == "" {
		ts.Fatalf("%s has no first line", args[1])
	}
	ts.Setenv(args[0], line)
}

// checkMode is "mode 600 FILE…": it compares the permissions of files.
func checkMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: mode OCTAL FILE…")
	}
	for _, name := range args[1:] {
		info, err := os.Stat(ts.MkAbs(name))
		ts.Check(err)
		if got := strconv.FormatUint(uint64(info.Mode().Perm()), 8); got != args[0] {
			ts.Fatalf("%s has mode %s, want %s", name, got, args[0])
		}
	}
}

// checkCode is "code N PROGRAM ARG…": it runs a program and compares its exit code, which
// exec cannot.
func checkCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N PROGRAM ARG…")
	}
	file := ts.MkAbs(".code")
	// The error of Exec tells the code in words alone, so a shell is asked.
	ts.Check(ts.Exec("sh", append([]string{"-c", `"$@"; echo $? > "$0"`, file}, args[1:]...)...))
	got, err := os.ReadFile(file)
	ts.Check(err)
	if s := strings.TrimSpace(string(got)); s != args[0] {
		ts.Fatalf("exit code %s, want %s: %s", s, args[0], strings.Join(args[1:], " "))
	}
}
