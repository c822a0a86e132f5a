package catest

import (
	"context"
	"net"
	"strconv"
	"syscall"
	"testing"
)

// TestFreePortIsKept: nobody listens there, and nobody gets it who does not say that an address
// may be used again, as nobody says who asks for any port; a server of ours may listen, end, and
// come back.
func TestFreePortIsKept(t *testing.T) {
	addr := "127.0.0.1:" + strconv.Itoa(FreePort(t))
	if conn, err := net.Dial("tcp", addr); err == nil {
		_ = conn.Close()
		t.Error("somebody listens")
	}
	stranger := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 0) }); e != nil {
			return e
		}
		return err
	}}
	if l, err := stranger.Listen(context.Background(), "tcp", addr); err == nil {
		_ = l.Close()
		t.Error("somebody else got the port")
	}
	for range 3 {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
