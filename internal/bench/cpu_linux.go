package main

import (
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
