package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// clock reads a CPU clock of the kernel.
func clock(id uintptr) time.Duration {
	var ts syscall.Timespec
	if _, _, e := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); e != 0 {
		return 0
	}
	return time.Duration(ts.Nano())
}

// threadTime is the CPU time of this thread (CLOCK_THREAD_CPUTIME_ID).
func threadTime() time.Duration { return clock(3) }

// processTime is the CPU time of all threads of a process, as the kernel accounts it:
// clock_getcpuclockid(3) makes the clock's number of the process's.
func processTime(pid int) time.Duration { return clock(^uintptr(pid)<<3 | 2) }

// memoryOf reads a field of /proc/PID/status, in bytes: VmRSS, or VmHWM for the peak.
func memoryOf(pid int, field string) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}

// resetPeak sets VmHWM back to the present size.
func resetPeak(pid int) { _ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) }
