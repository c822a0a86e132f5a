package api_test

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// An own is a source of certificates that are exchanged while it is used.
type own struct {
	atomic.Pointer[tls.Certificate]
}

func newOwn(c tls.Certificate) *own {
	o := &own{}
	o.Store(&c)
	return o
}

func (o *own) source() (*tls.Certificate, error) { return o.Load(), nil }

// knows lets of know p by both certificates.
func knows(t *testing.T, of, p *ebltest.Platform, certs ...tls.Certificate) {
	t.Helper()
	entry := *p.Entry
	entry.TLS = identity.TLSIdentity{}
	for _, c := range certs {
		entry.TLS.Pins = append(entry.TLS.Pins, identity.SPKIPin(c.Leaf))
	}
	if err := of.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
}

// TestOwnCertificateIsShownFromItsTurnOn: a connection that is busy does not outlive the
// certificate that it shows. Else whatever goes over it would be refused once the old one has
// ended, or once the peer knows us by the new one alone, for as long as it is busy.
func TestOwnCertificateIsShownFromItsTurnOn(t *testing.T) {
	p := newPair(t)
	var shown atomic.Pointer[x509.Certificate]
	inner := api.NewPeerHandler(p.bank.Node(), api.Options{})
	addr := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown.Store(r.TLS.PeerCertificates[0])
		inner.ServeHTTP(w, r)
	}), api.ServerTLS(api.Fixed(p.bank.TLS), p.bank.Node().Trust, time.Now), nil)
	from := time.Now().Add(-time.Hour)
	next := p.carrier.Certificate(from, from.Add(100*time.Hour), bothUsages...)
	knows(t, p.bank, p.carrier, p.carrier.TLS, next)
	o := newOwn(p.carrier.TLS)
	c, err := api.NewClient(api.ClientConfig{Self: p.carrier.Domain(), Certificate: o.source, Peer: p.bank.Entry,
		Endpoint: mustEndpoint(t, "https://bank.example/v1/transferblocks"), DialContext: dialTo(addr), Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	for i, want := range []tls.Certificate{p.carrier.TLS, p.carrier.TLS, next, next} {
		o.Store(&want)
		if i == 3 {
			knows(t, p.bank, p.carrier, next)
		}
		reply, err := c.PutTransferblock(t.Context(), node.Request{Sender: p.carrier.Domain(), Body: p.offer()})
		if err != nil || reply.Receipt == "" {
			t.Errorf("request %d: got %+v, %v", i, reply, err)
		}
		if !shown.Load().Equal(want.Leaf) {
			t.Errorf("request %d: another certificate was shown than the one in use", i)
		}
	}
}

// TestTokensFollowTheCertificate: with many requests under way none has a token that is bound to
// another certificate than that of its connection, also after our certificate was exchanged.
func TestTokensFollowTheCertificate(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.Tokens(nil))
	from := time.Now().Add(-time.Hour)
	next := carrier.Certificate(from, from.Add(100*time.Hour), bothUsages...)
	knows(t, bank, carrier, carrier.TLS, next)
	o := newOwn(carrier.TLS)
	c, err := api.NewClient(api.ClientConfig{Self: carrier.Domain(), Certificate: o.source, Peer: bank.Entry,
		Endpoint: mustEndpoint(t, "https://bank.example/v1/transferblocks"), DialContext: dialTo(bank.Addr), Timeout: 10 * time.Second,
		Tokens: &api.TokenConfig{Self: carrier.Entry, Sign: carrier.Node().SignToken}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	ask := func(at, times int) {
		t.Helper()
		var wg sync.WaitGroup
		for range at {
			wg.Go(func() {
				for range times {
					if _, err := c.Verdict(t.Context(), carrier.Domain(), envelope.Hash{}); node.AsError(err).Code != node.NotFound {
						t.Errorf("got %v, want the peer's 404", err)
					}
				}
			})
		}
		wg.Wait()
	}
	ask(1, 1) // the first one finds out that a token is wanted
	ask(3, 5)
	o.Store(&next)
	ask(8, 10)
}
