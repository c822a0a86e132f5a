package ebltest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"time"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/node"
)

// listen takes a port for the peer listener and names it in the trust entry, under the
// platform's own name: the dialler of the network leads there.
func (p *Platform) listen() {
	p.t.Helper()
	l, err := listenApart()
	if err != nil {
		p.t.Fatal(err)
	}
	p.listener, p.Addr = l, l.Addr().String()
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Entry.Endpoint = "https://" + net.JoinHostPort(p.Domain().Name, port) + "/v1/transferblocks"
	p.peers = api.NewPeers(api.PeersConfig{Self: p.Domain(), Certificate: api.Fixed(p.TLS), DialContext: dialLoopback, Timeout: 10 * time.Second,
		Tokens: &api.TokenConfig{Self: p.Entry, Outside: p.opts.outside,
			Sign: func(typ string, claims map[string]any) (string, error) { return p.Node().SignToken(typ, claims) }}})
	p.t.Cleanup(p.peers.Close)
}

// listenApart listens on a port that is none of those which the kernel hands out: else, while
// the platform is stopped, whoever opens a connection could be given it.
func listenApart() (l net.Listener, err error) {
	for range 100 {
		if l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000))); err == nil {
			return l, nil
		}
	}
	return nil, err
}

// dialLoopback connects to the port of addr here, whatever its name.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// serve serves the peer listener of n until stop is called, which cuts connections as
// the end of a process does.
func (p *Platform) serve(n *node.Node) (stop func()) {
	p.t.Helper()
	if p.listener == nil { // after a Stop
		l, err := net.Listen("tcp", p.Addr)
		if err != nil {
			p.t.Fatal(err)
		}
		p.listener = l
	}
	p.Metrics = api.NewMetrics(n)
	log := p.Config().Log
	h := api.NewPeerHandler(n, api.Options{Log: log, Metrics: p.Metrics, Rate: p.opts.rate, Burst: p.opts.burst, Tokens: p.TokenServer(n)})
	s := api.NewServer(h, api.ServerTLS(api.Fixed(p.TLS), n.Trust, n.Now), log, p.Metrics)
	done := make(chan struct{})
	l := p.listener
	go func() {
		defer close(done)
		if err := s.ServeTLS(l, "", ""); err != http.ErrServerClosed {
			p.t.Errorf("serving %s: %v", p.Domain(), err)
		}
	}()
	return func() {
		_ = s.Close()
		<-done
		p.listener = nil
	}
}

// TokenServer is what judges the tokens of p's peers; nil where none are asked for.
func (p *Platform) TokenServer(n *node.Node) *oauth.Server {
	p.t.Helper()
	if !p.opts.tokens {
		return nil
	}
	s, err := oauth.NewServer(oauth.Config{Node: n, TokenEndpoint: p.TokenEndpoint(), Outside: p.opts.outside})
	if err != nil {
		p.t.Fatal(err)
	}
	return s
}

// TokenEndpoint is where p's peers get tokens.
func (p *Platform) TokenEndpoint() string {
	u, err := url.Parse(p.Entry.Endpoint)
	if err != nil {
		p.t.Fatal(err)
	}
	return "https://" + u.Host + "/oauth2/token"
}

func (p *Platform) dialTLS(to *identity.Platform, at discovery.Endpoint) (node.Peer, error) {
	return p.peers.Dial(to, at)
}
