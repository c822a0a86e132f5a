package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/node"
)

// A taker is a peer's server that counts connections, and the requests with a body.
type taker struct {
	addr         string
	cert         atomic.Pointer[tls.Certificate]
	conns, taken atomic.Int64
}

func newTaker(t *testing.T, cert tls.Certificate, most uint16) *taker {
	k := &taker{}
	k.cert.Store(&cert)
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			k.taken.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNotFound)
	})
	k.addr = serveTLS(t, h, &tls.Config{ClientAuth: tls.RequestClientCert, MaxVersion: most,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return k.cert.Load(), nil }}, func(s *api.Server) {
		s.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				k.conns.Add(1)
			}
		}
	})
	return k
}

// TestKeptConnectionIsJudgedBeforeEachRequest: a server whose certificate ends or is revoked
// while a connection lives gets not one byte more over it; one that has a new certificate
// gets the request over a new connection.
func TestKeptConnectionIsJudgedBeforeEachRequest(t *testing.T) {
	const pinned = -2 // by its key, as most peers are; nobody is asked about those
	for _, c := range []struct {
		name    string
		state   int64 // of the certificate, after the connection was made
		ahead   time.Duration
		renewed bool
		words   string // of the error; "": it goes through
	}{
		{"good", int64(catest.Good), 0, false, ""},
		{"revoked", int64(catest.Revoked), 0, false, "was revoked"},
		{"not known", int64(catest.Unknown), 0, false, "revoked is not known"},
		{"nobody answers", silent, 0, false, "revoked is not known"},
		{"expired", int64(catest.Good), 2 * time.Hour, false, "expired"},
		{"expired, and there is a new one", int64(catest.Good), 2 * time.Hour, true, ""},
		{"pinned, good", pinned, 0, false, ""},
		{"pinned, expired", pinned, 2 * time.Hour, false, "expired"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			r := newResponder(t)
			from := time.Now().Add(-time.Hour)
			issue := func(to time.Time) tls.Certificate {
				key := catest.NewKey(t)
				leaf := r.ca.Issue(t, key, catest.TLS, catest.Names("bank.example"), catest.Responder(r.URL), catest.Valid(from, to))
				r.leaf.Store(leaf)
				return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
			}
			entry, cert := r.entry(p.bank, false), issue(time.Now().Add(time.Hour))
			if c.state == pinned {
				cert = p.bank.Certificate(from, time.Now().Add(time.Hour), bothUsages...)
				entry.TLS = identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(cert.Leaf)}}
			}
			k := newTaker(t, cert, 0)
			var ahead atomic.Int64
			var asker atomic.Pointer[discovery.OCSP]
			asker.Store(newAsker(t))
			client, err := api.NewClient(api.ClientConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), Peer: entry,
				Endpoint: mustEndpoint(t, "https://bank.example/v1/transferblocks"), DialContext: dialTo(k.addr), Timeout: 30 * time.Second,
				Revoked: func(ctx context.Context, p *identity.Platform, s tls.ConnectionState) error {
					return asker.Load().CheckTLS(ctx, p, s)
				},
				Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			for i, want := 0, int64(1); i < 2; i++ {
				lost, err := kept(t, func(ctx context.Context) error { return client.Check(ctx, p.carrier.Domain()) })
				if err != nil {
					t.Fatal(err)
				}
				want += lost
				if got := k.conns.Load(); got != want {
					t.Fatalf("%d connections, want one that is kept after %d that were not", got, want-1)
				}
			}
			asker.Store(newAsker(t)) // which has no good answer that would do until its end
			ahead.Store(int64(c.ahead))
			if c.state != pinned {
				r.state.Store(c.state)
			}
			if c.renewed {
				renewed := issue(time.Now().Add(4 * time.Hour))
				k.cert.Store(&renewed)
			}
			_, err = client.PutTransferblock(t.Context(), node.Request{Sender: p.carrier.Domain(), Body: []byte(`{"document":{}}`)})
			if c.words == "" {
				if got := k.taken.Load(); got != 1 {
					t.Errorf("the server took %d blocks, want 1 (%v)", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Errorf("got %v, want %q", err, c.words)
			}
			if got := k.taken.Load(); got != 0 {
				t.Errorf("the server took %d blocks", got)
			}
		})
	}
}

// TestRenewedServerIsReachedAgain: a TLS session that was kept stands for the certificate of
// its time, and must not be in the way of a newer one.
func TestRenewedServerIsReachedAgain(t *testing.T) {
	p := newPair(t)
	from := time.Now().Add(-time.Hour)
	key, long := p.bank.Certificate(from, from.Add(2*time.Hour), bothUsages...), p.bank.Certificate(from, from.Add(100*time.Hour), bothUsages...)
	k := newTaker(t, key, tls.VersionTLS12) // a session of TLS 1.3 is used once
	entry := *p.bank.Entry
	entry.TLS = identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(key.Leaf), identity.SPKIPin(long.Leaf)}}
	var ahead atomic.Int64
	client, err := api.NewClient(api.ClientConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), Peer: &entry,
		Endpoint: mustEndpoint(t, "https://bank.example/v1/transferblocks"), DialContext: dialTo(k.addr), Timeout: 30 * time.Second,
		Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.Check(t.Context(), p.carrier.Domain()); err != nil {
		t.Fatal(err)
	}
	client.Close() // idle connections go, sessions stay
	ahead.Store(int64(3 * time.Hour))
	k.cert.Store(&long)
	first := client.Check(t.Context(), p.carrier.Domain())
	if err := client.Check(t.Context(), p.carrier.Domain()); err != nil {
		t.Errorf("the second attempt: %v (the first: %v)", err, first)
	}
}

// TestTokenIsNotAskedForOverAConnectionThatEnded: nor does an assertion go there.
func TestTokenIsNotAskedForOverAConnectionThatEnded(t *testing.T) {
	var ahead atomic.Int64
	c, d, us := newDeskClient(t, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) })
	ask := func() error { _, err := c.Verdict(t.Context(), us.Domain(), envelope.Hash{}); return err }
	if err := ask(); node.AsError(err).Code != node.NotFound || d.granted.Load() != 1 {
		t.Fatalf("got %v and %d tokens", err, d.granted.Load())
	}
	asked := d.asked.Load()
	ahead.Store(int64(20 * 366 * 24 * time.Hour))
	if err := ask(); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("got %v, want that the certificate expired", err)
	}
	if d.asked.Load() != asked || d.granted.Load() != 1 {
		t.Errorf("%d questions and %d assertions went to a server whose certificate has expired", d.asked.Load()-asked, d.granted.Load()-1)
	}
}

// TestTrustThatEndsGetsNoFurtherByte: an entry that no longer knows the server, as a peer's
// own new one or none at all.
func TestTrustThatEndsGetsNoFurtherByte(t *testing.T) {
	p := newPair(t)
	k := newTaker(t, p.bank.TLS, 0)
	peers := api.NewPeers(api.PeersConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), DialContext: dialTo(k.addr), Timeout: 30 * time.Second})
	t.Cleanup(peers.Close)
	put := func(ctx context.Context, entry *identity.Platform) error {
		t.Helper()
		peer, err := peers.Dial(entry, discovery.Endpoint{URL: mustEndpoint(t, "https://bank.example/v1/transferblocks")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = peer.PutTransferblock(ctx, node.Request{Sender: p.carrier.Domain(), Body: []byte(`{"document":{}}`)})
		return err
	}
	taken := int64(2)
	for range 2 {
		lost, _ := kept(t, func(ctx context.Context) error { return put(ctx, p.bank.Entry) })
		taken += lost
	}
	if k.conns.Load() != taken-1 || k.taken.Load() != taken {
		t.Fatalf("%d blocks over %d connections, want 2 over one that is kept, and %d before", k.taken.Load(), k.conns.Load(), taken-2)
	}
	next := *p.bank.Entry
	next.TLS = identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(p.bank.Certificate(time.Now(), time.Now().Add(time.Hour), bothUsages...).Leaf)}}
	if err := put(t.Context(), &next); err == nil || !strings.Contains(err.Error(), "not pinned") {
		t.Errorf("got %v, want that the key is not pinned", err)
	}
	if got := k.taken.Load(); got != taken {
		t.Errorf("the server took %d blocks more", got-taken)
	}
}

// TestStreamOutlivesItsCertificate is TestConnectionOutlivesItsCertificate over HTTP/2, where
// all requests of a peer share one connection.
func TestStreamOutlivesItsCertificate(t *testing.T) {
	p := newPair(t)
	r := newResponder(t)
	cert := r.certificate(t, p.carrier)
	n := p.bank.Node()
	if err := n.AddPeers(t.Context(), "test", []*identity.Platform{r.entry(p.carrier, false)}); err != nil {
		t.Fatal(err)
	}
	asker := newAsker(t)
	var shaken atomic.Int64
	addr := serveTLS(t, api.NewPeerHandler(n, api.Options{Revoked: asker.CheckTLS}), api.ServerTLSAsking(api.Fixed(p.bank.TLS), n.Trust, n.Now,
		func(ctx context.Context, q *identity.Platform, s tls.ConnectionState) error {
			shaken.Add(1)
			return asker.CheckTLS(ctx, q, s)
		}), nil)
	client := http2Client(t, cert)
	put := func(want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+addr+"/v1/transferblocks", bytes.NewReader(p.offer()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want || res.ProtoMajor != 2 || shaken.Load() != 1 {
			t.Errorf("got %d over %s, connection %d; want %d on the first, HTTP/2", res.StatusCode, res.Proto, shaken.Load(), want)
		}
	}
	put(http.StatusOK)
	r.state.Store(int64(catest.Revoked))
	put(http.StatusForbidden)
	put(http.StatusForbidden)
}
