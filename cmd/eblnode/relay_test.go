package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// largeRequest is more than a TLS handshake and a small request have, in bytes.
const largeRequest = 50_000

// A relay passes TCP connections on to a node, and can cut in when a large request
// comes. It sees ciphertext alone, as any router does.
type relay struct {
	l  net.Listener
	to string

	mu   sync.Mutex
	trap *trap
}

// A trap is sprung by the next large request. With mute the request goes on to the node,
// and its answer is lost; else the rest of the request is.
type trap struct {
	action func()
	mute   bool
	sprung chan struct{}
}

func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{l: l, to: to}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(conn)
		}
	}()
	return r
}

func (r *relay) addr() string { return r.l.Addr().String() }

// atLargeRequest sets a trap; the channel is closed when it has sprung and its action
// has returned.
func (r *relay) atLargeRequest(action func(), mute bool) <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trap = &trap{action, mute, make(chan struct{})}
	return r.trap.sprung
}

// pass takes the trap away.
func (r *relay) pass() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trap = nil
}

// spring is the trap, if one is set; the first caller springs it.
func (r *relay) spring() *trap {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.trap
	if x == nil {
		return nil
	}
	select {
	case <-x.sprung:
	default:
		x.action()
		close(x.sprung)
	}
	return x
}

func (r *relay) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	out, err := net.Dial("tcp", r.to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	answers := &gate{w: conn}
	go func() {
		_, _ = io.Copy(answers, out)
		_ = conn.Close()
	}()
	buf := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		if answers.request.Add(int64(n)) > largeRequest {
			switch x := r.spring(); {
			case x == nil:
			case x.mute:
				answers.shut()
			default:
				_, _ = io.Copy(io.Discard, conn)
				return
			}
		}
		if _, err := out.Write(buf[:n]); err != nil {
			return
		}
	}
}

// A gate writes until it is shut, and from then on loses everything. It counts the bytes
// of the request that has no answer yet.
type gate struct {
	request atomic.Int64

	mu     sync.Mutex
	w      io.Writer
	closed bool
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.request.Store(0)
	if g.closed {
		return len(b), nil
	}
	return g.w.Write(b)
}
