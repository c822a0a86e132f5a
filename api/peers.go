package api

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/node"
)

// A PeersConfig is what the clients of all peers have in common; see [ClientConfig] for
// the members.
type PeersConfig struct {
	Self        identity.Host
	Certificate CertificateSource
	// CertificateFor, if it is set, gives the source for connections to one peer in the
	// place of Certificate: its own authority may have signed one for us.
	CertificateFor func(peer identity.Host) CertificateSource
	// OwnFor is the same for ClientConfig.Own.
	OwnFor      func(peer identity.Host) CertificateSource
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Revoked     RevocationCheck
	Timeout     time.Duration
	Now         func() time.Time
	Tokens      *TokenConfig
}

// Peers keeps one [Client] a peer. It is safe for concurrent use.
type Peers struct {
	cfg PeersConfig

	mu sync.Mutex
	m  map[identity.Host]*dialled
}

type dialled struct {
	client   *Client
	entry    *identity.Platform
	endpoint string
}

// NewPeers makes an empty set.
func NewPeers(cfg PeersConfig) *Peers {
	return &Peers{cfg: cfg, m: map[identity.Host]*dialled{}}
}

// Dial is for node.Config.Dial: the client of p at an endpoint. A trust entry or an
// endpoint that changed makes a new one: no connection that the old entry vouched for
// serves on for the new one.
func (ps *Peers) Dial(p *identity.Platform, at discovery.Endpoint) (node.Peer, error) {
	if at.URL == nil {
		return nil, errors.New("dialling " + p.Domain.String() + ": it has no endpoint")
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old := ps.m[p.Domain]
	if old != nil && old.endpoint == at.URL.String() && (old.entry == p || old.entry.SameAs(p)) {
		return old.client, nil
	}
	source := ps.cfg.Certificate
	if ps.cfg.CertificateFor != nil {
		source = ps.cfg.CertificateFor(p.Domain)
	}
	own := source
	if ps.cfg.OwnFor != nil {
		own = ps.cfg.OwnFor(p.Domain)
	}
	client, err := NewClient(ClientConfig{Self: ps.cfg.Self, Certificate: source, Own: own, Peer: p, Endpoint: at.URL,
		DialContext: ps.cfg.DialContext, Revoked: ps.cfg.Revoked, Timeout: ps.cfg.Timeout, Now: ps.cfg.Now, Tokens: ps.cfg.Tokens})
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.client.Close()
	}
	ps.m[p.Domain] = &dialled{client, p, at.URL.String()}
	return client, nil
}

// Close lets all idle connections go.
func (ps *Peers) Close() {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, d := range ps.m {
		d.client.Close()
	}
	clear(ps.m)
}
