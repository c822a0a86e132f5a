package api_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestCheckTellsHowAPeersKeysStand: good, revoked, and a responder that does not answer.
func TestCheckTellsHowAPeersKeysStand(t *testing.T) {
	ca := catest.New(t, "Consortium")
	var say catest.Single
	var down error
	net := ebltest.NewTLS(t)
	carrier := net.Platform("carrier.example", ebltest.Configure(func(c *node.Config) {
		c.Revocation = func(_ context.Context, qs []identity.Question) (out [][]byte, err error) {
			for _, q := range qs {
				s := say
				s.Cert, s.Issuer = q.Certificate, q.Issuer
				out = append(out, catest.Answer{Singles: []catest.Single{s}, By: ca}.DER(t))
			}
			return out, down
		}
	}))
	bank := net.Platform("bank.example", ebltest.Under(ca, catest.Responder("http://ocsp.example/")))
	r, _ := newResolver(t, "127.0.0.0/8")
	e := newExaminer(t, carrier, r)
	check := func(state, words string) {
		t.Helper()
		got := states(e.Peer(t.Context(), bank.Entry))["OCSP"]
		if got.State != state || !strings.Contains(got.Found, words) || (state == "error") != (got.Cure != "") {
			t.Errorf("got %+v, want %s with %q", got, state, words)
		}
	}
	check("ok", "1 keys stand")
	say = catest.Single{Status: catest.Revoked, Reason: 1, RevokedAt: time.Now().Add(-time.Hour)}
	check("error", "stolen")
	say = catest.Single{}
	down = errors.New("the responder is on holiday")
	check("error", "on holiday")
	got := states(e.Peer(t.Context(), carrier.Entry)) // pinned, without a responder
	if got["OCSP"].State != "skipped" {
		t.Errorf("got %+v, want that nobody can be asked", got["OCSP"])
	}
}

// TestCheckTellsHowAPeersCertificateStands: where its server's certificate is revoked, or nobody
// says whether it is, that is told, and not that the peer will not have us.
func TestCheckTellsHowAPeersCertificateStands(t *testing.T) {
	for state, words := range map[int64]string{int64(catest.Revoked): "was revoked", silent: "is not known"} {
		p := newPair(t)
		r := newResponder(t)
		imp := newImpostor(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{r.certificate(t, p.bank)}, ClientAuth: tls.RequestClientCert})
		r.state.Store(state)
		resolver, _ := newResolver(t, "127.0.0.0/8")
		peers := api.NewPeers(api.PeersConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), DialContext: dialTo(imp.addr),
			Revoked: newAsker(t).CheckTLS, Timeout: 30 * time.Second})
		t.Cleanup(peers.Close)
		entry := r.entry(p.bank, false)
		_, port, err := net.SplitHostPort(imp.addr)
		if err != nil {
			t.Fatal(err)
		}
		entry.Endpoint = "https://localhost:" + port + "/v1/transferblocks"
		got := states((&api.Examiner{Node: p.carrier.Node(), Resolver: resolver, Peers: peers}).Peer(t.Context(), entry))
		if f := got["OCSP, server"]; f.State != "error" || !strings.Contains(f.Found, words) || f.Cure == "" {
			t.Errorf("state %d: got %+v", state, got)
		}
		if f, there := got["TLS, client"]; there {
			t.Errorf("state %d: got %+v, want nothing said of our own certificate", state, f)
		}
	}
}

// TestMissingIssuerIsListedAsCheckSays: of a pinned certificate whose issuer nobody gave us no answer
// could be believed; what check says to do is what helps.
func TestMissingIssuerIsListedAsCheckSays(t *testing.T) {
	p := newPair(t)
	r := newResponder(t)
	cert := r.certificate(t, p.bank)
	imp := newImpostor(t, "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequestClientCert})
	resolver, _ := newResolver(t, "127.0.0.0/8")
	_, port, err := net.SplitHostPort(imp.addr)
	if err != nil {
		t.Fatal(err)
	}
	entry := *p.bank.Entry
	entry.TLS, entry.Endpoint = identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(cert.Leaf)}}, "https://localhost:"+port+"/v1/transferblocks"
	check := func() api.Finding {
		t.Helper()
		peers := api.NewPeers(api.PeersConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), DialContext: dialTo(imp.addr),
			Revoked: newAsker(t).CheckTLS, Timeout: 5 * time.Second})
		t.Cleanup(peers.Close)
		return states((&api.Examiner{Node: p.carrier.Node(), Resolver: resolver, Peers: peers}).Peer(t.Context(), &entry))["OCSP, server"]
	}
	if f := check(); f.State != "error" || !strings.Contains(f.Found, "issuer") || !strings.Contains(f.Cure, "under anchors in the entry") {
		t.Errorf("got %+v, want that the issuer is missing, and what to do", f)
	}
	entry.Anchors = []*x509.Certificate{r.ca.Cert}
	if f := check(); f.State != "" {
		t.Errorf("with it among the anchors: got %+v", f)
	}
}
