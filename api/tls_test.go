package api_test

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

var bothUsages = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}

// shake connects to addr and reads until the other side says what it thinks of us: with
// TLS 1.3 a client learns that its certificate was refused by its first read.
func shake(addr string, config *tls.Config) (tls.ConnectionState, error) {
	config.InsecureSkipVerify = true
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", addr, config)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return tls.ConnectionState{}, err
	}
	if _, err := io.WriteString(conn, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return conn.ConnectionState(), err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		err = errors.New(string(answer))
	}
	return conn.ConnectionState(), err
}

// TLS-01, TLS-02
func TestServerTakesTLS13AndGCMOnly(t *testing.T) {
	p := newPair(t)
	n := p.bank.Node()
	priv, err := identity.GenerateKey(identity.RS256)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: "RSA", Names: []string{"bank.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Usages: bothUsages})
	if err != nil {
		t.Fatal(err)
	}
	rsa := serveTLS(t, api.NewPeerHandler(n, api.Options{}),
		api.ServerTLS(api.Fixed(tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: priv, Leaf: leaf}), n.Trust, n.Now), nil)
	for _, c := range []struct {
		name    string
		addr    string
		version uint16
		suite   uint16 // 0: whatever
		want    string // of the error; "" for none
	}{
		{"TLS 1.0", p.bank.Addr, tls.VersionTLS10, 0, "protocol version"},
		{"TLS 1.1", p.bank.Addr, tls.VersionTLS11, 0, "protocol version"},
		{"TLS 1.3", p.bank.Addr, tls.VersionTLS13, 0, ""},
		{"ECDSA GCM-128", p.bank.Addr, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, ""},
		{"ECDSA GCM-256", p.bank.Addr, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, ""},
		{"RSA GCM-128", rsa, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ""},
		{"RSA GCM-256", rsa, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, ""},
		{"ECDSA CBC", p.bank.Addr, tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, "handshake failure"},
		{"RSA CBC", rsa, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA, "handshake failure"},
		{"RSA key exchange", rsa, tls.VersionTLS12, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, "handshake failure"},
		{"ChaCha20 in 1.2", rsa, tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, "handshake failure"},
	} {
		config := &tls.Config{MinVersion: c.version, MaxVersion: c.version, Certificates: []tls.Certificate{p.carrier.TLS}}
		if c.suite != 0 {
			config.CipherSuites = []uint16{c.suite}
		}
		s, err := shake(c.addr, config)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want an alert: %s", c.name, err, c.want)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want == "" && c.suite != 0 && s.CipherSuite != c.suite:
			t.Errorf("%s: got suite %x, want %x", c.name, s.CipherSuite, c.suite)
		}
	}
}

// TLS-05, TLS-06
func TestHandshakeFailsWithoutTheCertificateOfAPeer(t *testing.T) {
	w := ebltest.NewTLS(t)
	now := time.Now()
	bank, carrier := w.Platform("bank.example"), w.Platform("carrier.example")
	expired := w.Platform("expired.example", ebltest.WithTLSValidity(now.Add(-48*time.Hour), now.Add(-time.Hour)))
	early := w.Platform("early.example", ebltest.WithTLSValidity(now.Add(time.Hour), now.Add(48*time.Hour)))
	server := w.Platform("server.example", ebltest.WithTLSUsages(x509.ExtKeyUsageServerAuth))
	stranger := w.Platform("stranger.example", ebltest.Stranger())
	same := carrier.Certificate(now.Add(-time.Hour), now.Add(time.Hour), bothUsages...) // the name, but not the key
	failed := failedHandshakes(t, bank)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, certificates := range map[string][]tls.Certificate{
			"none": nil, "stranger's": {stranger.TLS}, "expired": {expired.TLS}, "not yet valid": {early.TLS},
			"for servers only": {server.TLS}, "same name, other key": {same},
		} {
			if _, err := shake(bank.Addr, &tls.Config{MinVersion: version, MaxVersion: version, Certificates: certificates}); err == nil || strings.Contains(err.Error(), "HTTP/1.1") {
				t.Errorf("%s (%x): got %v, want a TLS alert", name, version, err)
			}
			failed++
			waitFor(t, "the failed handshake to be counted", func() bool { return failedHandshakes(t, bank) == failed })
		}
		if _, err := shake(bank.Addr, &tls.Config{MinVersion: version, MaxVersion: version, Certificates: []tls.Certificate{carrier.TLS}}); err != nil {
			t.Errorf("a peer's (%x): %v", version, err)
		}
	}
}

func failedHandshakes(t testing.TB, p *ebltest.Platform) int {
	t.Helper()
	return metric(t, newLocal(t, p, api.Options{Metrics: p.Metrics}), "eblnode_tls_handshakes_failed_total")
}

func TestResumedSessionIsCheckedAgain(t *testing.T) {
	p := newPair(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := func(cache tls.ClientSessionCache) *tls.Config {
			return &tls.Config{MinVersion: version, MaxVersion: version, ServerName: "bank.example",
				Certificates: []tls.Certificate{p.carrier.TLS}, ClientSessionCache: cache}
		}
		cache := tls.NewLRUClientSessionCache(10)
		for i, want := range []bool{false, true} {
			s, err := shake(p.bank.Addr, config(cache))
			if err != nil || s.DidResume != want {
				t.Fatalf("connection %d: resumed %t, %v; want %t", i, s.DidResume, err, want)
			}
		}
		if err := p.bank.Node().RemovePeer(t.Context(), "test", p.carrier.Domain()); err != nil {
			t.Fatal(err)
		}
		if _, err := shake(p.bank.Addr, config(cache)); err == nil || strings.Contains(err.Error(), "HTTP/1.1") {
			t.Errorf("%x: a session from before the removal: got %v, want a TLS alert", version, err)
		}
		p.bank.Trust(p.carrier)
	}
}

// TLS-12, in both directions.
func TestPinnedKeyAndTheNextOneAndNoOther(t *testing.T) {
	w := ebltest.NewTLS(t)
	now := time.Now()
	var next tls.Certificate
	carrier := w.Platform("carrier.example")
	bank := w.Platform("bank.example", ebltest.WithEntry(func(e *identity.Platform) {
		next = carrier.Certificate(now.Add(-time.Hour), now.Add(time.Hour), bothUsages...)
		e.TLS.Pins = append(e.TLS.Pins, identity.SPKIPin(next.Leaf))
	}))
	other := bank.Certificate(now.Add(-time.Hour), now.Add(time.Hour), bothUsages...)
	for _, c := range []struct {
		name string
		cert tls.Certificate
		ok   bool
	}{{"current", bank.TLS, true}, {"next", next, true}, {"other", other, false}} {
		if _, err := shake(carrier.Addr, &tls.Config{Certificates: []tls.Certificate{c.cert}}); (err == nil) != c.ok {
			t.Errorf("%s key as client: got %v, want accepted: %t", c.name, err, c.ok)
		}
		client := clientOf(t, carrier, bank, serveTLS(t, api.NewPeerHandler(bank.Node(), api.Options{}),
			api.ServerTLS(api.Fixed(c.cert), bank.Node().Trust, bank.Node().Now), nil))
		if err := client.Check(t.Context(), carrier.Domain()); (err == nil) != c.ok {
			t.Errorf("%s key as server: got %v, want accepted: %t", c.name, err, c.ok)
		}
	}
}

func TestRenewedCertificateIsShownWithoutARestart(t *testing.T) {
	p := newPair(t)
	n := p.bank.Node()
	var current atomic.Pointer[tls.Certificate]
	current.Store(&p.bank.TLS)
	addr := serveTLS(t, api.NewPeerHandler(n, api.Options{}),
		api.ServerTLS(func() (*tls.Certificate, error) { return current.Load(), nil }, n.Trust, n.Now), nil)
	renewed := p.bank.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), bothUsages...)
	for _, want := range []tls.Certificate{p.bank.TLS, renewed} {
		current.Store(&want)
		s, err := shake(addr, &tls.Config{Certificates: []tls.Certificate{p.carrier.TLS}})
		if err != nil || !s.PeerCertificates[0].Equal(want.Leaf) {
			t.Errorf("got another certificate than the current one, %v", err)
		}
	}
}

// An impostor is a server at a platform's address that counts what it gets to read after
// the handshake.
type impostor struct {
	addr              string
	bytes, handshakes atomic.Int64
}

func newImpostor(t testing.TB, addr string, config *tls.Config) *impostor {
	t.Helper()
	l, err := tls.Listen("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	imp := &impostor{addr: l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
				if conn.(*tls.Conn).Handshake() == nil {
					imp.handshakes.Add(1)
				}
				n, _ := io.Copy(io.Discard, conn)
				imp.bytes.Add(n)
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	return imp
}

// TLS-15, DNS-02: whoever answers at the peer's address without being the peer gets not
// one byte, and the transfer goes on once the peer is back.
func TestImpostorGetsNoByte(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name string
		cert func(bank, shop *ebltest.Platform) tls.Certificate
	}{
		{"another peer", func(_, shop *ebltest.Platform) tls.Certificate { return shop.TLS }},
		{"self-signed in the peer's name", func(bank, _ *ebltest.Platform) tls.Certificate {
			return bank.Certificate(now.Add(-time.Hour), now.Add(time.Hour), bothUsages...)
		}},
		{"for clients only", func(bank, _ *ebltest.Platform) tls.Certificate {
			return bank.Certificate(now.Add(-time.Hour), now.Add(time.Hour), x509.ExtKeyUsageClientAuth)
		}},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name, func(t *testing.T) {
				w := ebltest.NewTLS(t)
				carrier := w.Platform("carrier.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Retry = 20 * time.Millisecond }))
				bank, shop := w.Platform("bank.example"), w.Platform("shop.example")
				alice, bob := carrier.User("alice"), bank.User("bob")
				doc := carrier.Issue(alice.ID)
				carrier.Move(alice, doc, envelope.Transfer, bob.ID)
				bank.Stop()
				imp := newImpostor(t, bank.Addr, &tls.Config{Certificates: []tls.Certificate{c.cert(bank, shop)}, MaxVersion: version, ClientAuth: tls.RequestClientCert})
				stop := carrier.Run()
				defer stop()
				waitFor(t, "three attempts", func() bool { return carrier.View(doc).Transfer.Attempts >= 3 })
				if x := carrier.View(doc); x.Transfer.State != node.Sending || x.Control != node.Locked || !strings.Contains(x.Transfer.LastAnswer, "this is not bank.example") {
					t.Errorf("got %s, %s, %q; want sending, locked and the reason", x.Transfer.State, x.Control, x.Transfer.LastAnswer)
				}
				if got := imp.bytes.Load(); got != 0 {
					t.Errorf("the impostor read %d bytes", got)
				}
			})
		}
	}
}

func TestExpiredServerGetsNoByte(t *testing.T) {
	w := ebltest.NewTLS(t)
	now := time.Now()
	carrier := w.Platform("carrier.example")
	bank := w.Platform("bank.example", ebltest.WithTLSValidity(now.Add(-48*time.Hour), now.Add(-time.Hour)))
	bank.Stop()
	imp := newImpostor(t, bank.Addr, &tls.Config{Certificates: []tls.Certificate{bank.TLS}})
	body, _ := carrier.Offer("bob@bank.example")
	if _, err := bank.Put(carrier, body); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v, want that the certificate expired", err)
	}
	if got := imp.bytes.Load(); got != 0 {
		t.Errorf("the server read %d bytes", got)
	}
}

// clientOf is a client of to at an address of the test's.
func clientOf(t testing.TB, from, to *ebltest.Platform, addr string) *api.Client {
	t.Helper()
	u := mustEndpoint(t, "https://bank.example:"+addr[strings.LastIndexByte(addr, ':')+1:]+"/v1/transferblocks")
	c, err := api.NewClient(api.ClientConfig{Self: from.Domain(), Certificate: api.Fixed(from.TLS), Peer: to.Entry, Endpoint: u,
		DialContext: dialTo(addr), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestPublicTLSAsksForNoCertificate(t *testing.T) {
	p := newPair(t)
	addr := serveTLS(t, api.NewPublicHandler(p.bank.Node(), api.Options{}), api.PublicTLS(api.Fixed(p.bank.TLS)), nil)
	do(t, tlsClient(t, nil), call{method: "GET", url: "https://" + addr + "/.well-known/jwks.json"}).want(t, http.StatusOK, 0)
}

// TLS-04: each suite of TLS 1.3, by a client that can choose.
func TestSuitesOfTLS13(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl on this machine")
	}
	p := newPair(t)
	key, err := identity.MarshalPrivateKey(p.carrier.TLS.PrivateKey.(crypto.Signer))
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "carrier.pem")
	if err := os.WriteFile(file, append(key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.carrier.TLS.Leaf.Raw})...), 0o600); err != nil {
		t.Fatal(err)
	}
	for suite, takes := range map[string]bool{"TLS_AES_128_GCM_SHA256": true, "TLS_AES_256_GCM_SHA384": true, "TLS_CHACHA20_POLY1305_SHA256": true, "TLS_AES_128_CCM_SHA256": false} {
		c := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", p.bank.Addr, "-tls1_3", "-ciphersuites", suite, "-cert", file, "-key", file, "-quiet")
		c.Stdin = strings.NewReader("GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		out, _ := c.Output() // its exit code tells of the certificate, which it does not know
		if got := strings.HasPrefix(string(out), "HTTP/1.1 200"); got != takes {
			t.Errorf("%s: got %.60q, want an answer: %t", suite, out, takes)
		}
	}
}

// HTTP-06: who connects and says nothing holds nobody up.
func TestIdleConnectionsHoldNobodyUp(t *testing.T) {
	p := newPair(t)
	var idle []net.Conn
	defer func() {
		for _, c := range idle {
			_ = c.Close()
		}
	}()
	for i := range 400 {
		conn, err := net.DialTimeout("tcp", p.bank.Addr, 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		idle = append(idle, conn)
		if i%4 == 0 { // shaken hands, then silence
			c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{p.carrier.TLS}})
			if err := c.HandshakeContext(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	start := time.Now()
	for range 5 {
		do(t, p.client, call{method: http.MethodPut, url: p.url, body: p.offer()}).want(t, http.StatusOK, 0)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("five blocks beside 400 idle connections took %s", took)
	}
}
