//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/catest"
)

// A rogue is a peer with a TLS certificate of an authority whose responder says what the test
// wants.
type rogue struct {
	ca      *catest.Authority
	cert    tls.Certificate
	revoked atomic.Bool
	shaken  atomic.Int64 // handshakes that its own server has ended
	read    atomic.Int64 // bytes that it was sent
}

// serve listens as the rogue, and answers nothing.
func (r *rogue) serve(t *testing.T) (endpoint string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &r.cert, nil }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				if conn.(*tls.Conn).Handshake() == nil {
					r.shaken.Add(1)
				}
				n, _ := conn.Read(make([]byte, 1))
				r.read.Add(int64(n))
			}()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "https://localhost:" + port + "/v1/transferblocks"
}

func newRogue(t *testing.T) (*rogue, []byte) {
	r := &rogue{ca: catest.New(t, "Consortium")}
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		s := catest.Single{Cert: r.cert.Leaf, Issuer: r.ca.Cert, ThisUpdate: time.Now()}
		if r.revoked.Load() {
			s.Status = catest.Revoked
		}
		_, _ = w.Write(catest.Answer{Singles: []catest.Single{s}, By: r.ca}.DER(t))
	}))
	t.Cleanup(responder.Close)
	key := catest.NewKey(t)
	leaf := r.ca.Issue(t, key, catest.TLS, catest.Names("rogue.example"), catest.Responder(responder.URL))
	r.cert = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
	domain, err := identity.ParseHost("rogue.example")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := identity.GenerateSigner(domain, identity.ES256, identity.CertificateSpec{Subject: "rogue",
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	entry, err := (&identity.Platform{Domain: domain, Endpoint: r.serve(t), Keys: []*identity.Key{signer.Key}, TLS: identity.TLSIdentity{Anchors: []*x509.Certificate{r.ca.Cert}}}).JSON()
	if err != nil {
		t.Fatal(err)
	}
	return r, entry
}

// dial shakes hands as the rogue.
func (r *rogue) dial(t *testing.T, addr string) (*tls.Conn, error) {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{r.cert}})
	if err == nil {
		t.Cleanup(func() { _ = conn.Close() })
	}
	return conn, err
}

// keysOver asks for the node's keys over a connection; 0: no answer.
func keysOver(conn net.Conn) int {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprint(conn, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return 0
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// TestServedNodeKeepsItsGuards: what the packages can do, the program does: a process of it
// refuses a revoked certificate in the handshake and on a connection that lives, the
// connection that is one too many of a peer and of an address, and who sends a header slowly.
func TestServedNodeKeepsItsGuards(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a process, and waits for a time-out")
	}
	r, entry := newRogue(t)
	dir := t.TempDir()
	p := &process{domain: "bank.example", dir: filepath.Join(dir, "bank")}
	p.must(t, "init", "--domain", p.domain, "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0", "--allow-network", "127.0.0.0/8", "--allow-network", "::1/128")
	// An answer serves for no time, so that the next request asks again.
	file := filepath.Join(p.dir, "eblnode.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := regexp.MustCompile(`(?m)^ocsp:.*$`).ReplaceAll(text, []byte("ocsp: {maxAge: 1ns, timeout: 9s}"))
	changed = regexp.MustCompile(`(?m)^(  public:).*$`).ReplaceAll(changed, []byte("$1 127.0.0.1:0"))
	if !bytes.Contains(changed, []byte("maxAge: 1ns")) {
		changed = append(changed, "\nocsp: {maxAge: 1ns, timeout: 9s}\n"...)
	}
	changed = regexp.MustCompile(`(?m)^metrics:.*$`).ReplaceAll(changed, []byte("metrics: {open: true}"))
	if err := os.WriteFile(file, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "rogue.json"), entry, 0o600); err != nil {
		t.Fatal(err)
	}
	p.must(t, "peer", "add", filepath.Join(dir, "rogue.json"), "--yes")
	p.serve(t)
	run, err := readRunFile(p.dir)
	if err != nil || run.Public == "" {
		t.Fatalf("got %+v, %v; want a public listener", run, err)
	}

	// Slow, while the rest goes on: its header may take 10 s.
	slow, err := net.Dial("tcp", run.Local)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Close() }()
	start := time.Now()
	ended := make(chan time.Duration, 1)
	go func() {
		_, _ = io.WriteString(slow, "GET /healthz HTTP/1.1\r\nHos")
		_ = slow.SetReadDeadline(start.Add(time.Minute))
		_, _ = io.ReadAll(slow)
		ended <- time.Since(start)
	}()

	lives, err := r.dial(t, run.Peer)
	if err != nil {
		t.Fatal(err)
	}
	if got := keysOver(lives); got != http.StatusOK {
		t.Fatalf("a peer in good standing: got %d", got)
	}
	most := api.PeerLimits(0, nil)
	held := []*tls.Conn{lives}
	for len(held) < most.PerPeer {
		c, err := r.dial(t, run.Peer)
		if err != nil {
			t.Fatal(err)
		}
		if got := keysOver(c); got != http.StatusOK { // the server has counted it
			t.Fatalf("connection %d: got %d, want 200", len(held)+1, got)
		}
		held = append(held, c)
	}
	if c, err := r.dial(t, run.Peer); err == nil && keysOver(c) != 0 {
		t.Errorf("connection %d of one peer was answered", most.PerPeer+1)
	}
	if got := keysOver(held[1]); got != http.StatusOK {
		t.Errorf("a connection from before: got %d, want 200", got)
	}
	for _, c := range held[1:] {
		_ = c.Close()
	}

	r.revoked.Store(true)
	if got := keysOver(lives); got != http.StatusForbidden {
		t.Errorf("revoked while the connection lives: got %d, want 403", got)
	}
	c, err := r.dial(t, run.Peer) // with TLS 1.3 it learns by its first read
	if err == nil {
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err = c.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "tls:") {
			t.Errorf("a revoked certificate: got %v, want a TLS alert", err)
		}
	}

	// It gets nothing from us either, whatever we want to know of it.
	shaken, read := r.shaken.Load(), r.read.Load()
	out, code := p.try(t, "peer", "check", "rogue.example")
	if code != 1 || !bytes.Contains(out, []byte("was revoked")) {
		t.Errorf("peer check: exit code %d, want 1 and that the certificate was revoked\n%s", code, out)
	}
	eventually(t, "the handshake with a revoked server", func() bool { return r.shaken.Load() > shaken })
	if got := r.read.Load() - read; got != 0 {
		t.Errorf("a revoked server read %d requests", got)
	}

	var strangers []net.Conn
	defer func() {
		for _, c := range strangers {
			_ = c.Close()
		}
	}()
	eventually(t, "a stranger too many to be closed", func() bool {
		// Each time all of them, since who does not shake hands within 10 s is closed for that.
		for range api.PublicLimits().PerAddress {
			c, err := net.Dial("tcp", run.Public)
			if err != nil {
				t.Fatal(err)
			}
			strangers = append(strangers, c)
		}
		c, err := net.Dial("tcp", run.Public)
		if err != nil {
			return false
		}
		defer func() { _ = c.Close() }()
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		_, err = c.Read(make([]byte, 1))
		return err != nil && !os.IsTimeout(err)
	})

	select {
	case took := <-ended:
		if took < 5*time.Second || took > 50*time.Second {
			t.Errorf("a header a byte at a time was cut off after %s, want about 10 s", took)
		}
	case <-time.After(2 * time.Minute):
		t.Error("who sends a header slowly keeps its connection")
	}
	res, err := http.Get("http://" + run.Local + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	metrics, _ := io.ReadAll(res.Body)
	for _, want := range []string{`eblnode_connections_refused_total [1-9]`, `eblnode_ocsp_asked_total [1-9]`, `eblnode_ocsp_answers_total{status="good"} [1-9]`,
		`eblnode_ocsp_answers_total{status="revoked"} [1-9]`, `eblnode_ocsp_refused_total{rule="unreachable"} 0`, `eblnode_ocsp_refused_total{rule="ended"} 0`} {
		if !regexp.MustCompile(`(?m)^` + want).Match(metrics) {
			t.Errorf("the metrics have no %s", want)
		}
	}
}
