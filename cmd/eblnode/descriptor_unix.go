//go:build unix

package main

import "syscall"

// inherits reports whether a descriptor was left open for us: those that a Go program opens
// itself are closed on exec, and say so.
func inherits(fd uintptr) bool {
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFD, 0)
	return errno == 0 && flags&syscall.FD_CLOEXEC == 0
}
