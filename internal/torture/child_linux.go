package main

import (
	"os/exec"
	"runtime"
	"syscall"
)

// childAttr lets the nodes end with us, however that is.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// starter starts all children: the kernel sends the death signal when the thread that
// started them ends, so it is one that never does.
var starter = func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

func startChild(cmd *exec.Cmd) error {
	done := make(chan error)
	starter <- func() { done <- cmd.Start() }
	return <-done
}
