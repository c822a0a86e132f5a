package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"eblnode/discovery"
	"eblnode/identity"
)

// A Fetched is what a platform says of itself to strangers. Nothing of it is proved: DNS and
// whoever answered could have made all of it up. It becomes a trust entry when a person has
// compared its fingerprint with what the platform says over another channel.
type Fetched struct {
	Platform *identity.Platform
	From     string // where the keys are from
	Record   string // the TXT record that says so; "" where the platform's own name served
	// Composed says that the platform publishes no trust entry, so that this one was put
	// together from its key set and from the certificate that its endpoint shows. Its
	// fingerprint is then nobody's but ours: compare those of the keys.
	Composed bool
	// AuthenticData says that DNS was vouched for by DNSSEC; see [discovery.Endpoint].
	AuthenticData bool
}

// Fetch asks a platform that need not know us for its keys: the place is the one given
// (https://host[:port]) or, with "", the one that DNS says. bare allows keys without a
// certificate.
func Fetch(ctx context.Context, r *discovery.Resolver, domain identity.Host, place string, bare bool) (*Fetched, error) {
	at := discovery.KeysPlace{}
	var err error
	if place != "" {
		at.URL, err = discovery.ParseKeysPlace(place)
	} else {
		at, err = r.KeysPlace(ctx, domain)
	}
	if err != nil {
		return nil, err
	}
	rt := stranger(r)
	defer rt.CloseIdleConnections()
	f := &Fetched{From: at.URL.String(), Record: at.Record, AuthenticData: at.AuthenticData}
	keys, err := discovery.Fetch(ctx, rt, f.From+pathJWKS, identity.MaxKeySetSize)
	if err != nil {
		return nil, err
	}
	entry, err := discovery.Fetch(ctx, rt, f.From+pathPlatform, identity.MaxTrustSize)
	switch {
	case err == nil:
		f.Platform, err = published(domain, entry, keys)
	case errors.Is(err, discovery.ErrNoDocument):
		f.Composed = true
		f.Platform, err = compose(ctx, r, domain, keys, bare)
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

// stranger is a client of somebody we do not know: whoever answers is believed to be
// nobody in particular.
func stranger(r *discovery.Resolver) *http.Transport {
	c := baseTLS()
	c.InsecureSkipVerify = true
	return &http.Transport{DialContext: r.DialContext, TLSClientConfig: c, TLSHandshakeTimeout: 5 * time.Second,
		DisableCompression: true, DisableKeepAlives: true, MaxResponseHeaderBytes: 32 << 10}
}

// compose makes an entry of a key set and of the certificate at the endpoint.
func compose(ctx context.Context, r *discovery.Resolver, domain identity.Host, keys []byte, bare bool) (*identity.Platform, error) {
	set, err := identity.ParseKeySet(keys, domain, bare)
	if err != nil {
		return nil, fmt.Errorf("the key set that %s publishes: %w", domain, err)
	}
	at, err := r.Endpoint(ctx, domain, "")
	if err != nil {
		return nil, err
	}
	leaf, err := shown(ctx, r, at.URL)
	if err != nil {
		return nil, err
	}
	p := &identity.Platform{Domain: domain, Mode: identity.ModePinned, Keys: set, TLS: identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(leaf.PeerCertificates[0])}}}
	for _, k := range set {
		p.Quirks.BareKey = p.Quirks.BareKey || len(k.Certificates) == 0
	}
	if h, err := identity.ParseHost(at.URL.Host); err == nil && h.Name != domain.Name {
		p.Hosts = []identity.Host{{Name: h.Name}}
	}
	text, err := p.JSON() // what cannot be written cannot be added
	if err != nil {
		return nil, err
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		return nil, err
	}
	return ps[0], nil
}

// shown connects to an endpoint and gives what it shows; nothing is sent.
func shown(ctx context.Context, r *discovery.Resolver, at *url.URL) (state tls.ConnectionState, err error) {
	host, port := at.Hostname(), at.Port()
	if port == "" {
		port = "443"
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	raw, err := r.DialContext(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return state, err
	}
	defer func() { _ = raw.Close() }()
	config := baseTLS()
	config.ServerName, config.InsecureSkipVerify = host, true
	// With TLS 1.2 the server ends the handshake for want of our certificate, after it
	// has shown its own.
	config.VerifyConnection = func(s tls.ConnectionState) error { state = s; return nil }
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	if len(state.PeerCertificates) > 0 {
		return state, nil
	}
	if err == nil {
		err = errors.New("no certificate was shown")
	}
	return state, fmt.Errorf("connecting to %s: %w", at.Host, err)
}
