//go:build !linux

package catest

import (
	"net"
	"testing"
)

// A FreePort is a port on 127.0.0.1 that nobody has now; another process may take it.
func FreePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
