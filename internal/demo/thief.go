package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A thief is a server in somebody's place: with a stolen TLS key it can answer, with one
// of its own it can only be looked at.
type thief struct {
	l      net.Listener
	server *http.Server
	aside  atomic.Bool
	to     string // where connections go once it steps aside
	inner  chan net.Conn
	served chan struct{} // closed when the thief's own server is
	closed chan struct{}
	shut   sync.Once

	conns, reqs atomic.Int64
}

// newThief has p's TLS key and not its signing key: it signs receipts with another key
// under p's kid.
func newThief(p *platform) (*thief, error) {
	cert, err := p.certificate()
	if err != nil {
		return nil, err
	}
	real, err := p.signer()
	if err != nil {
		return nil, err
	}
	s, err := stolenName(p.self.Domain, real.Key.ID)
	if err != nil {
		return nil, err
	}
	t, err := serveThief(cert, p.peer)
	if err != nil {
		return nil, err
	}
	t.server.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		t.reqs.Add(1)
		if req.Method != http.MethodPut {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"keys":[]}`)
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		b, err := envelope.Parse(body, envelope.Limits{})
		if err != nil {
			return
		}
		receipt, err := envelope.SignReceipt(b.Last().Claimed, s, time.Now())
		if err == nil {
			_, _ = io.WriteString(w, receipt)
		}
	})
	t.start()
	return t, nil
}

// newStranger has a certificate of its own that claims the name.
func newStranger(name string) (*thief, error) {
	priv, cert, err := ownCertificate(name)
	if err != nil {
		return nil, err
	}
	t, err := serveThief(tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: priv, Leaf: cert}, "")
	if err != nil {
		return nil, err
	}
	t.server.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.reqs.Add(1) })
	t.start()
	return t, nil
}

func ownCertificate(name string) (*ecdsa.PrivateKey, *x509.Certificate, error) {
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	cert, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: name, Names: []string{name, "api." + name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	return priv, cert, err
}

// stolenName signs under somebody else's kid with a key of its own.
func stolenName(domain identity.Host, kid string) (*identity.Signer, error) {
	priv, cert, err := ownCertificate(domain.Name)
	if err != nil {
		return nil, err
	}
	key, err := identity.NewKey(domain, kid, cert)
	if err != nil {
		return nil, err
	}
	return identity.NewSigner(key, "ES256", priv)
}

func serveThief(cert tls.Certificate, to string) (*thief, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &thief{l: l, to: to, inner: make(chan net.Conn), served: make(chan struct{}), closed: make(chan struct{})}
	t.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert},
		MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert, NextProtos: []string{"http/1.1"}}}
	return t, nil
}

func (t *thief) start() {
	go t.accept()
	go func() { _ = t.server.ServeTLS(handed{t}, "", "") }()
}

// accept hands connections to the thief's server, or through to the rightful one.
func (t *thief) accept() {
	for {
		conn, err := t.l.Accept()
		if err != nil {
			return
		}
		t.conns.Add(1)
		if t.aside.Load() {
			go pipe(conn, t.to)
			continue
		}
		select {
		case t.inner <- conn:
		case <-t.served:
			_ = conn.Close()
		case <-t.closed:
			_ = conn.Close()
			return
		}
	}
}

// pipe connects conn with the server at address, both ways.
func pipe(conn net.Conn, address string) {
	defer conn.Close()
	out, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer out.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{conn, out}, {out, conn}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}

// stepAside ends the thief's part: whoever comes now is passed on to the rightful server,
// which is as if DNS had been mended, without waiting for its caches.
func (t *thief) stepAside() {
	t.aside.Store(true)
	_ = t.server.Close()
}

func (t *thief) addr() string       { return t.l.Addr().String() }
func (t *thief) requests() int64    { return t.reqs.Load() }
func (t *thief) connections() int64 { return t.conns.Load() }

// close ends it all.
func (t *thief) close() {
	close(t.closed)
	_ = t.server.Close()
	_ = t.l.Close()
}

// handed is the listener of connections that accept hands over.
type handed struct{ t *thief }

func (h handed) Accept() (net.Conn, error) {
	select {
	case conn := <-h.t.inner:
		return conn, nil
	case <-h.t.served:
		return nil, net.ErrClosed
	}
}

// Close lets Accept return, for which the server waits before it is closed.
func (h handed) Close() error {
	h.t.shut.Do(func() { close(h.t.served) })
	return nil
}

func (h handed) Addr() net.Addr { return h.t.l.Addr() }
