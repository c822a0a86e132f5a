package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// usageEnv, when set, makes this program one that runs its arguments and tells what they
// took. The kernel hands a child's peak of memory that of the process it was started from,
// so a large one cannot learn it of its children: a small one must stand between.
const usageEnv = "BENCH_USAGE"

// usage is what a program took: its CPU time, and the most memory it had.
type usage struct {
	CPU time.Duration `json:"cpu"`
	// Peak is never below that of the process between, some 10 MiB.
	Peak int64 `json:"peakBytes"`
}

// usageOf runs a program and returns what it printed and took. It is an error if it does not
// end with 0.
func usageOf(ctx context.Context, program string, args ...string) ([]byte, usage, error) {
	var u usage
	self, err := os.Executable()
	if err != nil {
		return nil, u, err
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return nil, u, err
	}
	defer told.Close()
	cmd := exec.CommandContext(ctx, self, append([]string{program}, args...)...)
	cmd.Env = append(os.Environ(), usageEnv+"=1")
	cmd.ExtraFiles = []*os.File{tell}
	out, err := cmd.Output()
	_ = tell.Close()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w\n%.500s", err, exit.Stderr)
		}
		return nil, u, fmt.Errorf("running %s: %w\n%.500s", program, err, out)
	}
	text, err := io.ReadAll(told)
	if err != nil {
		return nil, u, err
	}
	if err := json.Unmarshal(text, &u); err != nil {
		return nil, u, fmt.Errorf("reading what %s took: %w", program, err)
	}
	return out, u, nil
}

// tellUsage is the process between: it runs a program, tells on descriptor 3 what it took, and
// returns its exit code.
func tellUsage(args []string) int {
	tell := os.NewFile(3, "usage")
	if tell == nil || len(args) == 0 {
		return 2
	}
	syscall.CloseOnExec(3)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), usageEnv+"=")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	runtime.LockOSThread() // the death signal comes when the thread that started the child ends
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	r := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	u := usage{CPU: time.Duration(r.Utime.Nano() + r.Stime.Nano()), Peak: r.Maxrss << 10}
	if err := json.NewEncoder(tell).Encode(u); err != nil {
		return 2
	}
	return cmd.ProcessState.ExitCode()
}
