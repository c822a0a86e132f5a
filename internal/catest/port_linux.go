package catest

import (
	"syscall"
	"testing"
)

// A FreePort is a port on 127.0.0.1 at which nobody listens. Until the test ends nobody gets it
// by chance, neither another process nor a connection that goes out, so that a server can end
// there and come back: a socket of ours is bound to it and does not listen. Who asks for the
// port by its number, and lets addresses be used again (SO_REUSEADDR), as Go does, gets it.
func FreePort(t testing.TB) int {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	at, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return at.(*syscall.SockaddrInet4).Port
}
