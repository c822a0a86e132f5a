package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
)

// framing watches where the requests of an HTTP/1 connection begin and end. net/http takes
// Content-Length beside Transfer-Encoding, forgets it, and tells no handler: whoever stands
// in between may have believed it, and then what follows is somebody else's request. RFC
// 9112, section 6.1, lets a server refuse such a request, and has it end the connection.
//
// It only watches: what is read is what net/http reads. After a request in chunks it stops,
// so that no such request may have a next one (blind).
type framing struct {
	// bad: a request came whose end two readers could see at two places.
	bad atomic.Bool
	// blind: what follows is not watched, so the connection must end with this request.
	blind atomic.Bool

	line         []byte // the one that is not whole yet, as far as it matters
	cut          bool   // it is longer than that
	started      bool   // the request line is over
	old, folded  bool
	lengths      int
	coded, wrong bool
	length       uint64
	body         uint64 // what is left of a body
}

// maxLine is how much of a header line is looked at; names and lengths are shorter.
const maxLine = 256

// see takes what was read from the connection. Reads of one connection never overlap.
func (f *framing) see(b []byte) {
	for len(b) > 0 && !f.blind.Load() {
		if f.body > 0 {
			n := min(uint64(len(b)), f.body)
			f.body -= n
			b = b[n:]
			continue
		}
		end := bytes.IndexByte(b, '\n')
		if end < 0 {
			f.keep(b)
			return
		}
		line := b[:end]
		if len(f.line) > 0 {
			f.keep(line)
			line = f.line
		}
		f.header(bytes.TrimSuffix(line, []byte("\r")))
		f.line, f.cut, b = f.line[:0], false, b[end+1:]
	}
}

func (f *framing) keep(b []byte) {
	room := maxLine - len(f.line)
	f.cut = f.cut || len(b) > room
	f.line = append(f.line, b[:min(len(b), room)]...)
}

// header takes one line of a request's head.
func (f *framing) header(line []byte) {
	switch {
	case !f.started:
		if len(line) > 0 { // net/http passes over empty lines before a request
			f.started, f.old = true, !bytes.HasSuffix(line, []byte(" HTTP/1.1"))
		}
		return
	case len(line) == 0:
		f.end()
		return
	case line[0] == ' ' || line[0] == '\t':
		f.folded = true
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch name = bytes.TrimSpace(name); {
	case bytes.EqualFold(name, []byte("Content-Length")):
		f.lengths++
		n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
		// net/http takes any number of zeros before a length, of which a part is another one.
		f.length, f.wrong = n, f.wrong || err != nil || f.cut
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		f.coded = true
	}
}

// end is the end of a head.
func (f *framing) end() {
	switch {
	case f.folded, f.wrong, f.lengths > 1, f.coded && (f.lengths > 0 || f.old):
		f.bad.Store(true)
		f.blind.Store(true)
	case f.coded:
		f.blind.Store(true)
	}
	f.body = f.length
	f.started, f.old, f.folded, f.lengths, f.coded, f.wrong, f.length = false, false, false, 0, false, false, 0
}

// A watched connection is one of HTTP/1 without TLS.
type watchedConn struct {
	net.Conn
	framing framing
}

// Read is the net.Conn's.
func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.framing.see(b[:n])
	return n, err
}

func (c *watchedConn) watched() *framing { return &c.framing }

// watchedTLS is one with TLS, whose handshake is over. By its ConnectionState net/http knows
// whose requests come over it.
type watchedTLS struct {
	*tls.Conn
	framing framing
}

// Read is the net.Conn's.
func (c *watchedTLS) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.framing.see(b[:n])
	return n, err
}

func (c *watchedTLS) watched() *framing { return &c.framing }

type framingKey struct{}

// withFraming is for http.Server.ConnContext.
func withFraming(ctx context.Context, conn net.Conn) context.Context {
	if w, ok := conn.(interface{ watched() *framing }); ok {
		return context.WithValue(ctx, framingKey{}, w.watched())
	}
	return ctx
}

// framingOf is that of the connection of r; nil where there is none, as with HTTP/2, whose
// frames say by themselves where a body ends.
func framingOf(r *http.Request) *framing {
	f, _ := r.Context().Value(framingKey{}).(*framing)
	return f
}
