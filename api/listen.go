package api

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// handshakeError is how net/http begins the line about a handshake that failed.
const handshakeError = "http: TLS handshake error"

// LimitConnections bounds the connections of s, which does not serve yet.
func LimitConnections(s *Server, limits ConnLimits) { s.conns.limits = limits }

// ServeTLS is the http.Server's. No files are read: the certificate comes from the
// configuration.
func (s *Server) ServeTLS(l net.Listener, _, _ string) error {
	g := &guard{Listener: l, s: s, config: s.TLSConfig.Clone(), ready: make(chan net.Conn), failed: make(chan error), shaking: map[net.Conn]struct{}{}}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	defer func() { _ = g.Close() }()
	go g.run()
	return s.Server.Serve(g)
}

// Serve is the http.Server's, for connections without TLS.
func (s *Server) Serve(l net.Listener) error { return s.Server.Serve(plain{l, s}) }

// refused counts a connection that was one too many.
func (s *Server) refused(conn net.Conn) {
	if s.m != nil {
		s.m.tooMany.Inc()
	}
	_ = conn.Close()
}

// plain is a listener without TLS.
type plain struct {
	net.Listener
	s *Server
}

// Accept is the net.Listener's.
func (p plain) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c, ok := p.s.conns.enter(conn); ok {
			return &watchedConn{Conn: c}, nil
		}
		p.s.refused(conn)
	}
}

// A guard shakes hands before net/http gets to see a connection, since only then is known
// whose it is. What has not ended its handshake in time, or is one too many, is closed.
type guard struct {
	net.Listener
	s      *Server
	config *tls.Config
	ready  chan net.Conn
	failed chan error
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	shaking map[net.Conn]struct{}
}

// Accept is the net.Listener's.
func (g *guard) Accept() (net.Conn, error) {
	select {
	case conn := <-g.ready:
		return conn, nil
	case err := <-g.failed:
		return nil, err
	case <-g.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close is the net.Listener's. Handshakes that are under way end.
func (g *guard) Close() error {
	g.cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.shaking {
		_ = conn.Close()
	}
	return g.Listener.Close()
}

func (g *guard) run() {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			select {
			case g.failed <- err: // net/http waits a little where it may pass
			case <-g.ctx.Done():
				return
			}
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		c, ok := g.s.conns.enter(conn)
		if !ok {
			g.s.refused(conn)
			continue
		}
		g.mu.Lock()
		g.shaking[c] = struct{}{}
		g.mu.Unlock()
		go g.shake(c)
	}
}

func (g *guard) shake(c *counted) {
	t := tls.Server(c, g.config)
	done := func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.shaking, c)
	}
	defer done()
	// As in net/http: not later than the header of a request would have to be there.
	if err := t.SetDeadline(time.Now().Add(g.s.handshakeTime())); err != nil {
		_ = c.Close()
		return
	}
	if err := t.HandshakeContext(g.ctx); err != nil {
		g.tell(c, err)
		_ = c.Close()
		return
	}
	state := t.ConnectionState()
	if !c.is(state.PeerCertificates) {
		g.s.refused(t)
		return
	}
	if err := t.SetDeadline(time.Time{}); err != nil {
		_ = c.Close()
		return
	}
	var conn net.Conn = t // HTTP/2 is for net/http alone
	if state.NegotiatedProtocol != "h2" {
		conn = &watchedTLS{Conn: t}
	}
	select {
	case g.ready <- conn:
	case <-g.ctx.Done():
		_ = t.Close()
	}
}

// handshakeTime is what net/http allows for one.
func (s *Server) handshakeTime() time.Duration {
	least := headerTime
	for _, d := range []time.Duration{s.ReadHeaderTimeout, s.ReadTimeout, s.WriteTimeout} {
		if d > 0 && d < least {
			least = d
		}
	}
	return least
}

// tell logs a handshake that failed, and answers who speaks no TLS at all, as net/http does.
func (g *guard) tell(c net.Conn, err error) {
	if g.ctx.Err() != nil {
		return // we stop
	}
	if r, ok := errors.AsType[tls.RecordHeaderError](err); ok && r.Conn != nil && looksLikeHTTP(r.RecordHeader) {
		_, _ = io.WriteString(r.Conn, "HTTP/1.0 400 Bad Request\r\n\r\nThis port speaks HTTPS only.\n")
		err = errors.New("the client speaks HTTP without TLS")
	}
	g.s.ErrorLog.Printf(handshakeError+" from %s: %v", c.RemoteAddr(), err)
}

func looksLikeHTTP(h [5]byte) bool {
	switch string(h[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		return true
	}
	return false
}

var _ net.Listener = (*guard)(nil)
