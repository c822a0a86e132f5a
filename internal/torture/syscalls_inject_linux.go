package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"eblnode/internal/torture/powercut"
)

// straceUsable says why strace cannot be used here; nil if it can.
func straceUsable() error {
	if os.Geteuid() != 0 {
		return errors.New("strace of a running process needs root")
	}
	out, err := exec.Command("strace", "-f", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=1", "true").CombinedOutput()
	if err != nil {
		return fmt.Errorf("strace does not work here: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// A stracer puts faults into the system calls of a running process.
type stracer struct {
	node *node
	dir  string

	cmd  *exec.Cmd
	log  string
	said chan struct{} // closed when strace says nothing more
}

// writing are the system calls that change files or make changes durable.
const writing = "write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,msync,truncate,ftruncate,fallocate," +
	"rename,renameat,renameat2,unlink,unlinkat,link,linkat"

// calls looks which of them the process makes. Which of those are about its files: a fault
// of a socket is the proxy's to make.
func (s *stracer) calls(ctx context.Context, do func() error) ([]powercut.Op, error) {
	if err := s.attach(ctx, "trace="+writing); err != nil {
		return nil, err
	}
	err := do()
	if _, derr := s.disarm(); err != nil || derr != nil {
		return nil, errors.Join(err, derr)
	}
	return s.made()
}

// made are the calls in the log.
func (s *stracer) made() ([]powercut.Op, error) {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return nil, err
	}
	var made []powercut.Op
	for _, name := range strings.Split(writing, ",") {
		if regexp.MustCompile(`(?m)^\d+ +` + name + `\(`).Match(text) {
			made = append(made, powercut.Op(name))
		}
	}
	return made, nil
}

func (s *stracer) arm(ctx context.Context, f callFault, n int) error {
	return s.attach(ctx, s.inject(f, n)...)
}

// inject is a fault in the words of strace.
func (s *stracer) inject(f callFault, n int) []string {
	how := "error=" + f.how
	if f.how == "SIGKILL" {
		how = "signal=SIGKILL"
	}
	return []string{"trace=" + string(f.call), fmt.Sprintf("inject=%s:%s:when=%d", f.call, how, n)}
}

// options are those that keep to the folder of the node and the files in it.
func (s *stracer) options(exprs []string) []string {
	s.log = filepath.Join(s.dir, "strace.log")
	args := []string{"-f", "-o", s.log, "-P", s.node.dir}
	for _, name := range []string{"node.db", "node.db-wal", "node.db-shm", "node.db-journal", "witness.log", "run.json", "run.json.new", "admin.sock", "lock"} {
		args = append(args, "-P", filepath.Join(s.node.dir, name))
	}
	for _, e := range exprs {
		args = append(args, "-e", e)
	}
	return args
}

// launch is the command under which a node is started. It looks on from beside, so that
// the process is the node's.
func (s *stracer) launch(exprs ...string) []string {
	return append([]string{"strace", "-D"}, s.options(exprs)...)
}

// injected reports whether an error was put into a process that has ended.
func (s *stracer) injected(ctx context.Context) (bool, error) {
	for until := time.Now().Add(settleTime); ; {
		text, err := os.ReadFile(s.log)
		if err != nil {
			return false, err
		}
		if found := bytes.Contains(text, []byte("(INJECTED)")); found || endOfProcess.Match(text) {
			return found, nil
		}
		if time.Now().After(until) || !sleep(ctx, 5*time.Millisecond) {
			return false, errors.New("strace does not end with its process")
		}
	}
}

var endOfProcess = regexp.MustCompile(`\+\+\+ (exited|killed)`)

// attach begins to look at the process, and at nothing but what it does to its folder and
// the files in it.
func (s *stracer) attach(ctx context.Context, exprs ...string) error {
	s.node.mu.Lock()
	pid := s.node.cmd.Process.Pid
	s.node.mu.Unlock()
	s.cmd = exec.Command("strace", append([]string{"-p", strconv.Itoa(pid)}, s.options(exprs)...)...)
	text, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	s.cmd.SysProcAttr = childAttr()
	if err := startChild(s.cmd); err != nil {
		return fmt.Errorf("starting strace: %w", err)
	}
	attached := make(chan struct{})
	s.said = make(chan struct{})
	go func() {
		defer close(s.said)
		lines := bufio.NewScanner(text)
		for first := true; lines.Scan(); {
			if first && strings.Contains(lines.Text(), "attached") {
				close(attached)
				first = false
			}
		}
	}()
	select {
	case <-attached:
		return nil
	case <-s.said:
		return errors.Join(errors.New("strace did not attach"), s.cmd.Wait())
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settleTime):
		return errors.New("strace does not attach")
	}
}

// disarm lets the process go. strace notes an error that it put in; a signal shows in the
// end of the process.
func (s *stracer) disarm() (bool, error) {
	_ = s.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-s.said:
	case <-time.After(3 * time.Second):
		// It waits for a thread that is gone. Its own end lets the process go as well.
		_ = s.cmd.Process.Kill()
		<-s.said
	}
	_ = s.cmd.Wait() // its exit code is that of the signal
	text, err := os.ReadFile(s.log)
	if err != nil {
		return false, err
	}
	killed := bytes.Contains(text, []byte("+++ killed by SIGKILL"))
	for until := time.Now().Add(5 * time.Second); killed && s.node.alive() && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	return killed || bytes.Contains(text, []byte("(INJECTED)")), nil
}

// keeps are the files in which a node keeps what it has said.
var keeps = map[string]bool{"node.db": true, "node.db-wal": true, "witness.log": true}

// A faultyDisk is a disk that fails at one call, of all that a node makes to those files.
type faultyDisk struct {
	*powercut.Disk
	at   string
	node *node

	mu    sync.Mutex
	armed bool
	fault callFault
	left  int // calls up to the one that fails
	fired bool
}

func newFaultyDisk(at string) (*faultyDisk, error) {
	d := &faultyDisk{Disk: powercut.New(), at: at}
	d.Before = d.before
	if err := os.Mkdir(at, 0o700); err != nil {
		return nil, err
	}
	return d, d.Mount(at)
}

// calls are all that the disk knows; see powercut.Disk.Before.
func (d *faultyDisk) calls(context.Context, func() error) ([]powercut.Op, error) {
	return []powercut.Op{powercut.Write, powercut.Sync}, nil
}

func (d *faultyDisk) arm(_ context.Context, f callFault, n int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armed, d.fault, d.left, d.fired = true, f, n, false
	return nil
}

func (d *faultyDisk) disarm() (bool, error) {
	d.mu.Lock()
	d.armed = false
	fired, killed := d.fired, d.fired && d.fault.how == "SIGKILL"
	d.mu.Unlock()
	if killed {
		d.node.kill() // it is being killed; this waits for its end
	}
	return fired, nil
}

func (d *faultyDisk) before(op powercut.Op, file string) syscall.Errno {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.armed || op != d.fault.call || !keeps[file] {
		return 0
	}
	if d.left--; d.left != 0 {
		return 0
	}
	d.fired = true
	switch d.fault.how {
	case "ENOSPC":
		return syscall.ENOSPC
	case "SIGKILL":
		d.node.signal(syscall.SIGKILL)
	}
	return syscall.EIO
}

// cut loses what no fsync covered; the process is gone.
func (d *faultyDisk) cut() error {
	if err := d.Unmount(); err != nil {
		return err
	}
	d.Cut(nil)
	return d.Mount(d.at)
}
