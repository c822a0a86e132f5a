package oauth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/node"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// An OutsideConfig names the one authorization server that platforms share. Issuer is
// required.
type OutsideConfig struct {
	// Issuer is its name, an https URL: the iss of every token that is believed. Its
	// metadata are looked for below it, and must name it.
	Issuer string
	// Scope is what is asked for and what a token must have, in words; "" means the two of
	// our own.
	Scope string
	// Unbound takes tokens that are not bound to a certificate. The connection still proves
	// the client, and the token must be that client's.
	Unbound bool
	// Anchors are the roots that its TLS certificate must lead to; nil means the system's.
	Anchors *x509.CertPool
	// DialContext makes connections; nil means a net.Dialer.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Now         func() time.Time // nil: time.Now
}

// An Outside is an authorization server that is neither ours nor a peer's: its metadata
// and its keys, cached. It is safe for concurrent use.
type Outside struct {
	cfg       OutsideConfig
	transport *http.Transport

	// running ends with Close; a flight is for many requests and belongs to none.
	running context.Context
	stop    context.CancelFunc

	mu     sync.Mutex // never held over the network
	meta   *Metadata
	found  time.Time
	keys   *identity.Platform // the last good set
	read   time.Time          // when it was read
	tried  time.Time          // when it was last asked for
	flight *flight            // while it is asked for
}

// A flight is one reading of the key set, for all who want it.
type flight struct {
	landed  chan struct{} // closed at its end; err is then set
	overdue chan struct{} // closed after keysWait: who has the last good set waits no longer
	err     error
}

const (
	// keysAge is how long a key set serves before it is read again.
	keysAge = 10 * time.Minute
	// keysMost is how long the last good one serves while it cannot be read.
	keysMost = 24 * time.Hour
	// keysPause is between two attempts, whoever sends what: a token with a kid of
	// somebody's invention costs the issuer nothing.
	keysPause = time.Minute
	// keysWait is how long a request that can be judged without waits for a set that is
	// read; a set that is slower serves the requests after it.
	keysWait = 2 * time.Second
)

// NewOutside makes it; it asks nobody before it is asked.
func NewOutside(cfg OutsideConfig) (*Outside, error) {
	if _, err := discovery.ParseEndpoint(cfg.Issuer); err != nil {
		return nil, fmt.Errorf("the outside issuer: %w", err)
	}
	if cfg.Scope == "" {
		cfg.Scope = strings.Join(scopes, " ")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{Timeout: fetchTimeout}).DialContext
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Anchors, NextProtos: []string{"http/1.1"}}
	running, stop := context.WithCancel(context.Background())
	return &Outside{cfg: cfg, running: running, stop: stop, transport: &http.Transport{DialContext: cfg.DialContext, TLSClientConfig: config, TLSHandshakeTimeout: fetchTimeout,
		DisableCompression: true, MaxConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: 32 << 10}}, nil
}

// showing is a way to it on which a client certificate is shown, so that it can bind
// tokens to it.
func (o *Outside) showing(source func() (*tls.Certificate, error)) *http.Transport {
	t := o.transport.Clone()
	t.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return source() }
	return t
}

// Close ends what is under way and lets idle connections go.
func (o *Outside) Close() {
	o.stop()
	o.transport.CloseIdleConnections()
}

func (o *Outside) metadata(ctx context.Context) (*Metadata, error) {
	o.mu.Lock()
	m, found := o.meta, o.found
	o.mu.Unlock()
	if m != nil && o.cfg.Now().Sub(found) < metadataAge {
		return m, nil
	}
	m, err := discover(ctx, o.transport, o.cfg.Issuer, wellKnown(o.cfg.Issuer)...)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.meta, o.found = m, o.cfg.Now()
	return m, nil
}

// since is the time from then to now. Requests overtake each other by a moment; a clock that
// was set back by more makes it long, so that what was read then is read again.
func since(now, then time.Time) time.Duration {
	if d := now.Sub(then); d > -time.Minute {
		return max(d, 0)
	}
	return keysMost
}

// lastKeys is the set that serves now, without asking; nil if there is none.
func (o *Outside) lastKeys() *identity.Platform {
	o.mu.Lock()
	defer o.mu.Unlock()
	if since(o.cfg.Now(), o.read) >= keysAge {
		return nil
	}
	return o.keys
}

// keysFor is the key set in which kid is looked for. It is read again when it is old, and
// when it lacks kid, at most once a minute and for all at once: an issuer that is slow
// holds up nobody whose key is in the last good set for longer than keysWait, and nobody at
// all once that is over. The error is an *node.Error, Unavailable.
func (o *Outside) keysFor(ctx context.Context, kid string, now time.Time) (*identity.Platform, error) {
	keys, known, f := o.keysOrFlight(kid, now)
	if f == nil {
		if keys == nil {
			return nil, unavailable(errors.New("the keys of the issuer could not be read within the last minute"))
		}
		return keys, nil
	}
	overdue := f.overdue
	if keys == nil {
		overdue = nil // nothing can be judged before it lands
	}
	select {
	case <-f.landed:
	case <-overdue:
		if !known {
			// Not a no: the key may be one that the issuer has just made.
			return nil, unavailable(errors.New("the issuer has not yet said whether it has the key that the token names"))
		}
		return keys, nil
	case <-ctx.Done():
		return nil, unavailable(ctx.Err())
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil || since(now, o.read) >= keysMost {
		return nil, unavailable(f.err)
	}
	return o.keys, nil
}

// keysOrFlight is what serves now, if anything does, and whether kid is in it; f is nil
// where it is to be used as it is, and else a reading that may be worth waiting for.
func (o *Outside) keysOrFlight(kid string, now time.Time) (keys *identity.Platform, known bool, f *flight) {
	o.mu.Lock()
	defer o.mu.Unlock()
	age := since(now, o.read)
	if age < keysMost {
		keys = o.keys
	}
	known = o.has(kid)
	switch {
	case keys != nil && known && age < keysAge:
		return keys, known, nil
	case o.flight != nil:
		return keys, known, o.flight
	case since(now, o.tried) < keysPause:
		return keys, known, nil
	}
	o.tried = now
	o.flight = &flight{landed: make(chan struct{}), overdue: make(chan struct{})}
	go o.fly(o.flight, now)
	return keys, known, o.flight
}

// fly reads the key set. Whoever asked first may go away meanwhile; the set is for all.
func (o *Outside) fly(f *flight, now time.Time) {
	overdue := time.AfterFunc(keysWait, func() { close(f.overdue) })
	defer overdue.Stop()
	ctx, cancel := context.WithTimeout(o.running, fetchTimeout)
	defer cancel()
	m, keys, err := o.readKeys(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	if m != nil {
		o.meta, o.found = m, now
	}
	if err == nil {
		o.keys, o.read = keys, now
	}
	f.err, o.flight = err, nil
	close(f.landed)
}

func unavailable(err error) error {
	return &node.Error{Code: node.Unavailable, Text: node.TextUnavailable, Detail: "the keys of the issuer of access tokens cannot be read now; send the same again later",
		Entry: -1, Transaction: -1, Retry: 30, Err: err}
}

// has reports whether the last good set has a key of that name. A token that names none is
// judged by all of them. The lock is held.
func (o *Outside) has(kid string) bool {
	if o.keys == nil {
		return false
	}
	_, found := o.keys.Key(kid)
	return found || kid == ""
}

// readKeys fetches the key set, and the metadata that say where it is.
func (o *Outside) readKeys(ctx context.Context) (*Metadata, *identity.Platform, error) {
	m, err := discover(ctx, o.transport, o.cfg.Issuer, wellKnown(o.cfg.Issuer)...)
	if err != nil {
		return nil, nil, err
	}
	if m.JWKS == "" {
		return m, nil, errors.New("the metadata name no key set")
	}
	body, err := ask(ctx, o.transport, http.MethodGet, m.JWKS, nil)
	if err != nil {
		return m, nil, fmt.Errorf("reading %s: %w", m.JWKS, err)
	}
	keys, err := parseKeys(o.cfg.Issuer, body)
	if err != nil {
		return m, nil, fmt.Errorf("reading %s: %w", m.JWKS, err)
	}
	return m, keys, nil
}

// privateMembers are those of a JWK that nobody publishes (RFC 7518).
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// parseKeys reads a key set by the strict rules of a trust entry: a kid that names two
// keys, a private or a symmetric key refuse the whole. Keys that are plainly for something
// else, encryption or a kind that we do not take, are passed over: issuers publish all
// that they have in one set.
func parseKeys(issuer string, body []byte) (*identity.Platform, error) {
	var set struct {
		Keys []map[string]jsontext.Value `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("it is not a JWK set")
	}
	use, names := []map[string]jsontext.Value{}, map[string]bool{}
	for _, k := range set.Keys {
		if name := string(k["kid"]); name != "" && names[name] {
			return nil, errors.New("a kid names two keys")
		} else {
			names[name] = true
		}
		is := func(name, value string) bool { return string(k[name]) == `"`+value+`"` }
		other := is("use", "enc") || is("kty", "OKP") || is("crv", "secp256k1")
		secret := slices.ContainsFunc(privateMembers, func(m string) bool { return k[m] != nil })
		if secret {
			return nil, errors.New("it holds a private or symmetric key")
		}
		if other {
			continue
		}
		// The issuer vouches for its keys by its TLS identity; the certificate beside one
		// is often made for ten years by itself, and says nothing.
		delete(k, "x5c")
		use = append(use, k)
	}
	host := strings.TrimPrefix(issuer, "https://")
	host, _, _ = strings.Cut(host, "/")
	entry, err := json.Marshal(map[string]any{"domain": host, "keys": map[string]any{"keys": use}, "quirks": map[string]any{"bareKey": true}})
	if err != nil {
		return nil, err
	}
	ps, err := identity.ParseTrust(entry)
	if err != nil {
		return nil, err
	}
	return ps[0], nil
}
