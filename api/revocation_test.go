package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// A responder is an OCSP responder on loopback that says one thing of one certificate; a
// negative state is none at all.
type responder struct {
	*httptest.Server
	ca    *catest.Authority
	leaf  atomic.Pointer[x509.Certificate]
	state atomic.Int64
	asked atomic.Int64
}

const silent = -1

func newResponder(t *testing.T) *responder {
	r := &responder{ca: catest.New(t, "Consortium")}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		r.asked.Add(1)
		state := r.state.Load()
		if state == silent {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write(r.answer(t))
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *responder) answer(t *testing.T) []byte {
	return catest.Answer{Singles: []catest.Single{{Cert: r.leaf.Load(), Issuer: r.ca.Cert, Status: catest.Status(r.state.Load())}}, By: r.ca}.DER(t)
}

// certificate is a TLS certificate by the authority, in the name of p.
func (r *responder) certificate(t *testing.T, p *ebltest.Platform) tls.Certificate {
	key := catest.NewKey(t)
	leaf := r.ca.Issue(t, key, catest.TLS, catest.Names(p.Domain().Name), catest.Responder(r.URL))
	r.leaf.Store(leaf)
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// entry is p's trust entry with its TLS certificate known by the authority.
func (r *responder) entry(p *ebltest.Platform, soft bool) *identity.Platform {
	e := *p.Entry
	e.TLS = identity.TLSIdentity{Anchors: []*x509.Certificate{r.ca.Cert}}
	e.OCSP.SoftTLS = soft
	return &e
}

// newAsker asks each time: nothing is kept longer than a nanosecond, and a failure no longer
// than the clock of the test.
func newAsker(t *testing.T) *discovery.OCSP {
	t.Helper()
	resolver, err := discovery.New(discovery.Config{Resolvers: []string{"127.0.0.1"}, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	o, err := discovery.NewOCSP(discovery.OCSPConfig{Resolver: resolver, MaxAge: time.Nanosecond, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// TLS-10: a revoked client certificate opens no connection, neither a first nor a resumed
// one; where nobody answers, a soft entry alone lets it in.
func TestRevokedClientCertificateOpensNoConnection(t *testing.T) {
	for _, c := range []struct {
		name  string
		state int64
		soft  bool
		lets  bool
	}{
		{"revoked", int64(catest.Revoked), false, false}, {"revoked, soft", int64(catest.Revoked), true, false},
		{"unknown", int64(catest.Unknown), false, false}, {"unknown, soft", int64(catest.Unknown), true, true},
		{"nobody answers", silent, false, false}, {"nobody answers, soft", silent, true, true},
	} {
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			t.Run(c.name, func(t *testing.T) {
				p := newPair(t)
				r := newResponder(t)
				cert := r.certificate(t, p.carrier)
				if err := p.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{r.entry(p.carrier, c.soft)}); err != nil {
					t.Fatal(err)
				}
				n := p.bank.Node()
				serve := func() string {
					desk := newAsker(t)
					return serveTLS(t, api.NewPeerHandler(n, api.Options{Revoked: desk.CheckTLS}), api.ServerTLSAsking(api.Fixed(p.bank.TLS), n.Trust, n.Now, desk.CheckTLS), nil)
				}
				addr := serve()
				config := func(cache tls.ClientSessionCache) *tls.Config {
					return &tls.Config{MinVersion: version, MaxVersion: version, ServerName: "bank.example", Certificates: []tls.Certificate{cert}, ClientSessionCache: cache}
				}
				cache := tls.NewLRUClientSessionCache(10)
				for i, want := range []bool{false, true} {
					s, err := shake(addr, config(cache))
					if err != nil || s.DidResume != want {
						t.Fatalf("while it is good, connection %d: resumed %t, %v; want %t", i, s.DidResume, err, want)
					}
				}
				r.state.Store(c.state)
				if c.state == int64(catest.Revoked) { // a good answer that is kept would do for the others
					if _, err := shake(addr, config(cache)); err == nil || strings.Contains(err.Error(), "HTTP/1.1") {
						t.Errorf("a resumed session: got %v, want a TLS alert", err)
					}
				}
				_, err := shake(serve(), config(nil))
				if (err == nil) != c.lets || err != nil && strings.Contains(err.Error(), "HTTP/1.1") {
					t.Errorf("a first connection: got %v, want it let in: %t", err, c.lets)
				}
			})
		}
	}
}

// TestStapledAnswerSavesTheQuestion: a client that brings its answer is let in though the
// responder is down, and one that brings "revoked" is not.
func TestStapledAnswerSavesTheQuestion(t *testing.T) {
	p := newPair(t)
	r := newResponder(t)
	cert := r.certificate(t, p.carrier)
	n := p.bank.Node()
	if err := n.AddPeers(t.Context(), "test", []*identity.Platform{r.entry(p.carrier, false)}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		staple catest.Status
		lets   bool
	}{{catest.Good, true}, {catest.Revoked, false}} {
		r.state.Store(int64(c.staple))
		cert.OCSPStaple = r.answer(t)
		r.state.Store(silent)
		desk := newAsker(t)
		addr := serveTLS(t, api.NewPeerHandler(n, api.Options{Revoked: desk.CheckTLS}), api.ServerTLSAsking(api.Fixed(p.bank.TLS), n.Trust, n.Now, desk.CheckTLS), nil)
		_, err := shake(addr, &tls.Config{ServerName: "bank.example", Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
		if (err == nil) != c.lets {
			t.Errorf("stapled %d: got %v, want it let in: %t", c.staple, err, c.lets)
		}
	}
}

// TestConnectionOutlivesItsCertificate: what is revoked while a connection lives gets no
// further request answered, and changes nothing.
func TestConnectionOutlivesItsCertificate(t *testing.T) {
	for _, c := range []struct {
		name   string
		state  int64
		status int
		code   node.Code
	}{
		{"revoked", int64(catest.Revoked), http.StatusForbidden, node.Forbidden},
		{"nobody answers any more", silent, http.StatusServiceUnavailable, node.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t)
			r := newResponder(t)
			cert := r.certificate(t, p.carrier)
			n := p.bank.Node()
			if err := n.AddPeers(t.Context(), "test", []*identity.Platform{r.entry(p.carrier, false)}); err != nil {
				t.Fatal(err)
			}
			shakes, requests := newAsker(t), newAsker(t) // what one keeps the other does not
			addr := serveTLS(t, api.NewPeerHandler(n, api.Options{Revoked: requests.CheckTLS}), api.ServerTLSAsking(api.Fixed(p.bank.TLS), n.Trust, n.Now, shakes.CheckTLS), nil)
			client := tlsClient(t, p.carrier)
			client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{cert}
			// The first request does not reach the handler: it makes the connection.
			if _, err := kept(t, func(ctx context.Context) error {
				req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+addr+"/nowhere", nil)
				if err != nil {
					return err
				}
				res, err := client.Do(req)
				if err != nil {
					return err
				}
				defer res.Body.Close()
				if _, err := io.Copy(io.Discard, res.Body); res.StatusCode != http.StatusNotFound {
					return fmt.Errorf("%s, %w", res.Status, err)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			r.state.Store(c.state)
			body, _ := p.carrier.Offer(p.bank.User("desk").ID)
			db := database(t, p.bank)
			before := dump(t, db)
			got := do(t, client, call{method: http.MethodPut, url: "https://" + addr + "/v1/transferblocks", body: body})
			got.want(t, c.status, int(c.code))
			if e := got.errorResponse(t); e.Rejection != "" || strings.Contains(string(got.answer), r.URL) {
				t.Errorf("the answer is signed, or names the responder: %s", got.answer)
			}
			if after := dump(t, db); !slices.Equal(before, after) {
				t.Error("the database changed")
			}
		})
	}
}

// TestRevokedServerGetsNoByte: as a sender we ask about the server's certificate before the
// first byte, and the transfer waits.
func TestRevokedServerGetsNoByte(t *testing.T) {
	for _, state := range []int64{int64(catest.Revoked), int64(catest.Unknown), silent} {
		p := newPair(t)
		r := newResponder(t)
		imp := newImpostor(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{r.certificate(t, p.bank)}, ClientAuth: tls.RequestClientCert})
		r.state.Store(state)
		c, err := api.NewClient(api.ClientConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), Peer: r.entry(p.bank, false),
			Endpoint: mustEndpoint(t, "https://bank.example/v1/transferblocks"), DialContext: dialTo(imp.addr), Revoked: newAsker(t).CheckTLS, Timeout: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		body, _ := p.carrier.Offer("bob@bank.example")
		if _, err := c.PutTransferblock(t.Context(), node.Request{Sender: p.carrier.Domain(), Body: body}); err == nil || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("state %d: got %v, want the reason", state, err)
		}
		if got := imp.bytes.Load(); got != 0 {
			t.Errorf("state %d: the server read %d bytes", state, got)
		}
	}
}
