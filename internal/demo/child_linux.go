package demo

import "syscall"

// childAttr lets the nodes end with the demonstration, however that ends.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
