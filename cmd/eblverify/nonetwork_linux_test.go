package main

import (
	"debug/elf"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"eblnode/internal/ebltest"
)

// dials is set in a copy of the test program that only dials, to show that the place where
// eblverify runs has no network.
const dials = "EBLVERIFY_TEST_DIALS"

// alone makes c run in a network namespace of its own, which has no interface that is up,
// not even loopback. Without the right to make one it takes a user namespace with it.
func alone(c *exec.Cmd) *exec.Cmd {
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		c.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		c.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		c.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return c
}

// program builds eblverify, as its users have it.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "eblverify")
	c := exec.Command("go", "build", "-o", path, ".")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("building: %v: %s", err, out)
	}
	return path
}

// TestProgramIsStatic: built as docs/OPERATIONS.md says it needs no library of the machine that
// runs it, not even that of C, which the net package links where there is a C compiler.
func TestProgramIsStatic(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	page, err := os.ReadFile("../../docs/OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "`CGO_ENABLED=0 go build -o . ./cmd/eblnode ./cmd/eblverify` gives two static binaries") {
		t.Error("docs/OPERATIONS.md does not say how to build it")
	}
	f, err := elf.Open(program(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("it needs a dynamic linker")
		}
	}
	if list, err := f.ImportedLibraries(); err != nil || len(list) > 0 {
		t.Errorf("it needs %v (%v)", list, err)
	}
}

// judgedFiles are a bundle of a real node, the trust file for it, and who is in control.
func judgedFiles(t *testing.T, dir string) (file, trust, holder string) {
	t.Helper()
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	bob := b.User("bob")
	doc := a.Issue(bob.ID)
	return bundleFile(t, b, doc, filepath.Join(dir, "bundle.json")), entryFile(t, filepath.Join(dir, "trust"), a, b), bob.ID
}

// TestDials is run by TestNeedsNoNetwork, in the namespace and outside of it.
func TestDials(t *testing.T) {
	to := os.Getenv(dials)
	if to == "" {
		return
	}
	c, err := net.DialTimeout("tcp", to, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// TestNeedsNoNetwork runs the program where there is no network, not even loopback: a
// verdict that asked anybody would fail. That there is none is tried too. .ci/run says where
// the kernel does not allow this.
func TestNeedsNoNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds the program")
	}
	if out, err := alone(exec.Command("true")).CombinedOutput(); err != nil {
		t.Skipf("this kernel lets us make no network namespace: %v %s", err, out)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dial := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestDials$")
		c.Env = append(os.Environ(), dials+"="+listener.Addr().String())
		return c
	}
	if out, err := dial().CombinedOutput(); err != nil {
		t.Fatalf("with a network nothing can be reached either: %v %s", err, out)
	}
	if out, err := alone(dial()).CombinedOutput(); err == nil || !strings.Contains(string(out), "unreachable") {
		t.Fatalf("the namespace has a network: %v %s", err, out)
	}
	dir := t.TempDir()
	file, trust, holder := judgedFiles(t, dir)
	binary := program(t)
	page := filepath.Join(t.TempDir(), "report.html")
	for _, args := range [][]string{{file}, {dir}, {file, "--html", page}, {file, "--at", time.Now().AddDate(10, 0, 0).Format(time.RFC3339)}} {
		out, err := alone(exec.Command(binary, append([]string{"--trust", trust}, args...)...)).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "VALID") || !strings.Contains(string(out), holder) {
			t.Errorf("%v: got %v and %s", args, err, out)
		}
	}
}
