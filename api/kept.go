package api

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"eblnode/identity"
)

// kept is the transport of a client. A connection that is used again was judged when its
// hands were shaken, and the server's certificate may have ended or been revoked since: it is
// judged again before each request, and closed where it does not stand, so that not one byte
// of the request goes over it. net/http then makes a new connection, whose handshake says
// why there is none, or which shows a newer certificate.
//
// The same goes for our own: a connection shows the certificate that was in use when it was
// made, as long as it lives, and a busy one lives long. Once another one's turn has come the old
// one's end, or the peer's next entry of us, would stop whatever goes over it; and a token that
// is asked for over the one is worth nothing over the other.
//
// That the trust entry is the one of now is for [Peers.Dial]: with another entry it is
// another client.
type kept struct {
	*http.Transport
	peer    *identity.Platform
	now     func() time.Time
	revoked RevocationCheck
	own     CertificateSource // what a new connection shows

	mu   sync.Mutex
	good map[*x509.Certificate]seenCert // by leaf; p is not used
}

// RoundTrip is the http.RoundTripper's.
func (k *kept) RoundTrip(r *http.Request) (*http.Response, error) {
	for try := 0; ; try++ {
		closed := false
		ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(g httptrace.GotConnInfo) {
			if !g.Reused && !g.WasIdle {
				return
			}
			if conn := g.Conn.(*tls.Conn); !k.showsOwn(conn) || k.judge(r.Context(), conn.ConnectionState()) != nil {
				closed = true
				k.end(g.Conn)
			}
		}})
		res, err := k.Transport.RoundTrip(r.WithContext(ctx))
		if err == nil || !closed || try == maxTries || r.Body != nil && r.GetBody == nil {
			return res, err
		}
		// Nothing was written. net/http says so of some requests only, and gives up others.
		if r.Body != nil {
			body, err := r.GetBody()
			if err != nil {
				return nil, err
			}
			r = r.Clone(r.Context())
			r.Body = body
		}
	}
}

// A showing connection knows which certificate of ours was in use when it was begun: the one
// that it shows, or the one before.
type showing struct {
	net.Conn
	leaf []byte
}

// dialling is dial with that.
func (k *kept) dialling(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		leaf := leafOf(k.own)
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &showing{conn, leaf}, nil
	}
}

// leafOf is the certificate that a source gives now; nil for none.
func leafOf(source CertificateSource) []byte {
	c, err := source()
	if err != nil || len(c.Certificate) == 0 {
		return nil
	}
	return c.Certificate[0]
}

// showsOwn reports whether conn shows the certificate that is in use now.
func (k *kept) showsOwn(conn *tls.Conn) bool {
	s, ok := conn.NetConn().(*showing)
	return ok && bytes.Equal(s.leaf, leafOf(k.own))
}

// maxTries bounds how often a request is made again because its connection had to be closed.
const maxTries = 2

// end closes a connection before the first byte is written, since GotConn is called in its
// way, and what could bring its certificate back.
func (k *kept) end(conn net.Conn) {
	_ = conn.Close()
	k.CloseIdleConnections()
	if s, ok := k.TLSClientConfig.ClientSessionCache.(*sessions); ok {
		s.forget()
	}
}

// judge is what VerifyConnection did at the handshake. The certificate's own rules are gone
// through once in a while, and never beyond its end; about revocation the cache of whoever
// asks is the better one.
func (k *kept) judge(ctx context.Context, s tls.ConnectionState) error {
	if len(s.PeerCertificates) == 0 {
		return k.peer.CheckTLS(nil, identity.ServerAuth, k.now())
	}
	leaf, now := s.PeerCertificates[0], k.now()
	k.mu.Lock()
	seen, found := k.good[leaf]
	k.mu.Unlock()
	if !found || now.Before(seen.from) || !now.Before(seen.until) {
		if err := k.peer.CheckTLS(s.PeerCertificates, identity.ServerAuth, now); err != nil {
			return err
		}
		k.keep(s.PeerCertificates, now)
	}
	return k.revoked.check(ctx, k.peer, s)
}

func (k *kept) keep(certs []*x509.Certificate, now time.Time) {
	until := now.Add(seenFor)
	for _, c := range certs {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.good == nil || len(k.good) >= maxSeen {
		k.good = map[*x509.Certificate]seenCert{}
	}
	k.good[certs[0]] = seenCert{from: now, until: until}
}
