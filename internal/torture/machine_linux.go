package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
)

// A machineLoad is how long the processors had worked when something began.
type machineLoad struct{ all, own time.Duration }

// measureLoad reads it; zero where it cannot be read.
func measureLoad() machineLoad {
	var l machineLoad
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return l
	}
	// In hundredths of a second, on all processors.
	var user, nice, system, idle, wait, irq, soft, steal int64
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if _, err := fmt.Sscanf(string(line), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &soft, &steal); err != nil {
		return l
	}
	l.all = time.Duration(user+nice+system+irq+soft+steal) * 10 * time.Millisecond
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var r syscall.Rusage
		if err := syscall.Getrusage(who, &r); err != nil {
			return machineLoad{}
		}
		l.own += time.Duration(r.Utime.Nano() + r.Stime.Nano())
	}
	return l
}

// others is for how long, since then, all processors together worked for programs that
// are not ours. Children count once they have ended.
func (l machineLoad) others() time.Duration {
	now := measureLoad()
	if l.all == 0 || now.all == 0 {
		return 0
	}
	return max(0, (now.all-l.all-(now.own-l.own))/time.Duration(runtime.NumCPU()))
}
