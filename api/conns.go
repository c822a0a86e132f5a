package api

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync"

	"eblnode/identity"
)

// LimitConnections closes connections beyond most that show the same client certificate's
// key, so that one peer, or one stolen certificate, cannot use up what all share. What is
// open already goes on. Connections without a client certificate are not counted; they end
// by the time limits of the server.
func LimitConnections(s *http.Server, most int) {
	c := &conns{most: most, open: map[[32]byte]int{}, of: map[net.Conn][32]byte{}}
	s.ConnState = c.state
}

// ConnectionsOf is how many connections a peer may have where so many of its requests may
// run at once; 0 means the default of [Options].
func ConnectionsOf(concurrency int) int {
	return 4 * Options{Concurrency: concurrency}.withDefaults().Concurrency
}

type conns struct {
	most int

	mu   sync.Mutex
	open map[[32]byte]int
	of   map[net.Conn][32]byte // those that are counted
}

// state is called by the server before each request of a connection is read, and at its
// end.
func (c *conns) state(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, counted := c.of[conn]
	switch {
	case state == http.StateClosed || state == http.StateHijacked:
		if counted {
			delete(c.of, conn)
			if c.open[key]--; c.open[key] == 0 {
				delete(c.open, key)
			}
		}
	case state == http.StateActive && !counted:
		t, ok := conn.(*tls.Conn)
		if !ok || len(t.ConnectionState().PeerCertificates) == 0 {
			return
		}
		key = identity.SPKIPin(t.ConnectionState().PeerCertificates[0])
		if c.open[key] >= c.most {
			_ = conn.Close() // nothing of the request is read
			return
		}
		c.open[key]++
		c.of[conn] = key
	}
}
