// Package ebltest is a network of real nodes for tests: each has its own keys, trust
// entries and SQLite database, and they are joined inside the process ([New]) or over
// mutually authenticated TLS on loopback ([NewTLS]). Nothing in it is a mock; what a
// test wants to go wrong, it makes go wrong by [Network.Intercept] or by hand.
package ebltest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/node"
)

// A Network is a set of platforms that can reach each other.
type Network struct {
	t      testing.TB
	secure bool // joined over TLS

	mu        sync.Mutex
	platforms []*Platform
	intercept func(from, to identity.Host, p node.Peer) node.Peer
}

// New makes an empty network whose nodes call each other in this process.
func New(t testing.TB) *Network { return &Network{t: t} }

// NewTLS makes an empty network whose nodes talk over mutually authenticated TLS on
// loopback.
func NewTLS(t testing.TB) *Network { return &Network{t: t, secure: true} }

// Intercept puts f between all nodes from now on: whoever dials gets what f returns, so
// that a test can lose, delay or damage what passes. nil takes it away.
func (w *Network) Intercept(f func(from, to identity.Host, p node.Peer) node.Peer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.intercept = f
}

// Platforms lists the platforms in the order of their making.
func (w *Network) Platforms() []*Platform {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.platforms)
}

func (w *Network) find(h identity.Host) (*Platform, bool) {
	for _, p := range w.Platforms() {
		if p.Entry.Owns(h) {
			return p, true
		}
	}
	return nil, false
}

// InControl lists who holds the bill, as "localid@domain", over all running nodes. More
// than one means that the bill exists twice.
func (w *Network) InControl(document envelope.Hash) []string {
	w.t.Helper()
	var holders []string
	for _, p := range w.Platforms() {
		n := p.node.Load()
		if n == nil {
			continue
		}
		v, err := n.Bill(context.Background(), auditor, document)
		if err == nil && v.Quarantine == "" && (v.Control == node.Held || v.Control == node.Locked) {
			holders = append(holders, v.Possessor)
		}
	}
	return holders
}

// auditor sees every bill; nobody has its token.
var auditor = &node.User{Local: "ebltest-auditor", Role: node.AuditorRole}

// A Platform is one node of the network with all that belongs to it.
type Platform struct {
	// Entry is its own trust entry, as the others hold it.
	Entry *identity.Platform
	// Signer is its signing key; a test that plays a dishonest platform seals with it.
	Signer *identity.Signer
	// TLS is the certificate that it shows on both sides of a connection.
	TLS tls.Certificate
	// Dir is its data folder.
	Dir string
	// Addr is the address of its peer listener, "127.0.0.1:port"; empty without TLS.
	Addr string
	// Metrics are those of the running node; nil without TLS.
	Metrics *api.Metrics

	t       testing.TB
	network *Network
	opts    options
	own     []*identity.Key // all its signing keys, where an authority vouches for them
	node    atomic.Pointer[node.Node]
	stop    func()

	listener net.Listener // nil while stopped
	peers    *api.Peers

	mu    sync.Mutex
	users map[string]*User
	seq   int
}

// A User is a local user with its bearer token.
type User struct {
	*node.User
	Token string
	// ID is "local@domain".
	ID string
}

type options struct {
	manual, stranger, notIssuer bool
	config                      []func(*node.Config)
	entry                       []func(*identity.Platform)
	usages                      []x509.ExtKeyUsage
	notBefore, notAfter         time.Time
	alg                         identity.Alg
	authority                   *catest.Authority
	edits                       []catest.Edit
	tokens                      bool
	rate                        float64
	burst                       int
	outside                     *oauth.Outside
}

// An Option changes one platform.
type Option func(*options)

// Tokens makes the platform ask its peers for access tokens (auth: mtls+oauth2), of its own
// making, or of outside where that is not nil. Only a network with TLS has them.
func Tokens(outside *oauth.Outside) Option {
	return func(o *options) { o.tokens, o.outside = true, outside }
}

// Rated limits the requests of each peer: so many a second, and so many at once. Without
// it they are more than a test makes.
func Rated(rate float64, burst int) Option {
	return func(o *options) { o.rate, o.burst = rate, burst }
}

// Manual does not start the outbox: nothing is sent until the test calls
// [Platform.Run] or node.Run itself.
func Manual() Option { return func(o *options) { o.manual = true } }

// Stranger exchanges no trust entries: nobody knows the platform, and it knows nobody.
// See [Platform.Trust].
func Stranger() Option { return func(o *options) { o.stranger = true } }

// NotIssuer makes a platform that may not issue bills.
func NotIssuer() Option { return func(o *options) { o.notIssuer = true } }

// Configure changes the node's configuration before it is opened.
func Configure(f func(*node.Config)) Option {
	return func(o *options) { o.config = append(o.config, f) }
}

// WithEntry changes the platform's own trust entry before it is handed to anybody.
func WithEntry(f func(*identity.Platform)) Option {
	return func(o *options) { o.entry = append(o.entry, f) }
}

// WithAlg chooses the algorithm of its signing key; the default is ES256.
func WithAlg(a identity.Alg) Option { return func(o *options) { o.alg = a } }

// Under gives the platform a signing key whose certificate a signed, changed by edits, and a
// trust entry in ca mode that lists no key.
func Under(a *catest.Authority, edits ...catest.Edit) Option {
	return func(o *options) { o.authority, o.edits = a, edits }
}

// WithTLSValidity sets the validity of its TLS certificate.
func WithTLSValidity(from, to time.Time) Option {
	return func(o *options) { o.notBefore, o.notAfter = from, to }
}

// WithTLSUsages sets the extended key usages of its TLS certificate; the default is both.
func WithTLSUsages(usages ...x509.ExtKeyUsage) Option {
	return func(o *options) { o.usages = usages }
}

// Platform makes a platform, opens its node, exchanges trust entries with all others of
// the network, and starts its outbox. It is closed when the test ends.
func (w *Network) Platform(domain string, opts ...Option) *Platform {
	w.t.Helper()
	now := time.Now()
	p := &Platform{t: w.t, network: w, users: map[string]*User{}}
	p.opts = options{alg: identity.ES256, rate: 1000, burst: 10_000, notBefore: now.Add(-24 * time.Hour), notAfter: now.Add(90 * 24 * time.Hour),
		usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}
	for _, o := range opts {
		o(&p.opts)
	}
	p.Dir = filepath.Join(w.t.TempDir(), "data")
	if err := os.Mkdir(p.Dir, 0o700); err != nil {
		w.t.Fatal(err)
	}
	p.makeKeys(domain, now)
	if w.secure {
		p.listen()
	}
	for _, f := range p.opts.entry {
		f(p.Entry)
	}
	p.Start()
	w.t.Cleanup(p.Stop)
	if !p.opts.stranger {
		for _, o := range w.Platforms() {
			if !o.opts.stranger {
				p.Trust(o)
				o.Trust(p)
			}
		}
	}
	w.mu.Lock()
	w.platforms = append(w.platforms, p)
	w.mu.Unlock()
	return p
}

func (p *Platform) makeKeys(domain string, now time.Time) {
	p.t.Helper()
	host, err := identity.ParseHost(domain)
	if err != nil {
		p.t.Fatal(err)
	}
	p.Signer, err = identity.GenerateSigner(host, p.opts.alg, identity.CertificateSpec{
		Subject: host.Name + " signing", NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(365 * 24 * time.Hour)})
	if err != nil {
		p.t.Fatal(err)
	}
	p.TLS = p.Certificate(p.opts.notBefore, p.opts.notAfter, p.opts.usages...)
	p.Entry = &identity.Platform{Domain: host, Name: strings.ToUpper(host.Name), Mode: identity.ModePinned,
		Issuer: !p.opts.notIssuer, Keys: []*identity.Key{p.Signer.Key},
		TLS: identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(p.TLS.Leaf)}}}
	if p.opts.authority != nil {
		p.Certified(p.opts.edits...)
		p.Entry.Mode, p.Entry.Anchors, p.Entry.Keys = identity.ModeCA, []*x509.Certificate{p.opts.authority.Cert}, nil
	}
}

// Certified gives the platform a new signing key with a certificate of its authority. The
// node signs with it once it is started again.
func (p *Platform) Certified(edits ...catest.Edit) {
	p.t.Helper()
	host := p.Signer.Key.Platform
	priv := catest.NewKey(p.t)
	leaf := p.opts.authority.Issue(p.t, priv, append([]catest.Edit{catest.Names(host.Name)}, edits...)...)
	key, err := identity.NewKey(host, "", leaf)
	if err != nil {
		p.t.Fatal(err)
	}
	if p.Signer, err = identity.NewSigner(key, identity.ES256, priv); err != nil {
		p.t.Fatal(err)
	}
	p.own = append(p.own, key)
}

// Certificate makes a self-signed TLS certificate with a new key and the platform's
// name, which nobody has pinned.
func (p *Platform) Certificate(from, to time.Time, usages ...x509.ExtKeyUsage) tls.Certificate {
	p.t.Helper()
	priv, err := identity.GenerateKey(identity.ES256)
	if err != nil {
		p.t.Fatal(err)
	}
	name := p.Signer.Key.Platform.Name
	leaf, err := identity.NewSelfSigned(priv, identity.CertificateSpec{
		Subject: name + " TLS", Names: []string{name}, NotBefore: from, NotAfter: to, Usages: usages})
	if err != nil {
		p.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: priv, Leaf: leaf}
}

// Domain is who the platform is.
func (p *Platform) Domain() identity.Host { return p.Entry.Domain }

// Node is the running node; the test fails if it is stopped.
func (p *Platform) Node() *node.Node {
	p.t.Helper()
	n := p.node.Load()
	if n == nil {
		p.t.Fatalf("%s is stopped", p.Domain())
	}
	return n
}

// Config is a new configuration of the node, as it is opened with: a test may open it
// by itself while the platform is stopped.
func (p *Platform) Config() node.Config {
	cfg := node.Config{Self: p.Entry, Signer: p.Signer, Dir: p.Dir, Retry: 200 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(p.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})).With("node", p.Domain().String()),
		Resolve: func(_ context.Context, to *identity.Platform) (discovery.Endpoint, error) {
			if to.Endpoint == "" {
				return discovery.Endpoint{Source: discovery.Configured}, nil
			}
			u, err := discovery.ParseEndpoint(to.Endpoint)
			return discovery.Endpoint{URL: u, Source: discovery.Configured, Record: to.Endpoint}, err
		},
		Dial: p.dial}
	if p.opts.authority != nil {
		// Peers trust the authority; we know our keys.
		self := *p.Entry
		self.Mode, self.Keys = identity.ModePinned, p.own
		cfg.Self = &self
	}
	for _, f := range p.opts.config {
		f(&cfg)
	}
	return cfg
}

func (p *Platform) dial(to *identity.Platform, at discovery.Endpoint) (node.Peer, error) {
	var peer node.Peer
	if p.network.secure {
		var err error
		if peer, err = p.dialTLS(to, at); err != nil {
			return nil, err
		}
	} else {
		o, found := p.network.find(to.Domain)
		if !found {
			return nil, fmt.Errorf("no such host: %s", to.Domain)
		}
		n := o.node.Load()
		if n == nil {
			return nil, fmt.Errorf("connecting to %s: connection refused", to.Domain)
		}
		peer = n
	}
	p.network.mu.Lock()
	f := p.network.intercept
	p.network.mu.Unlock()
	if f != nil {
		peer = f(p.Domain(), to.Domain, peer)
	}
	return peer, nil
}

// Start opens the node in its data folder, as a new process would. Trust entries and
// users are still there.
func (p *Platform) Start() {
	p.t.Helper()
	n, err := node.Open(context.Background(), p.Config())
	if err != nil {
		p.t.Fatal(err)
	}
	p.node.Store(n)
	stopServing := func() {}
	if p.network.secure {
		stopServing = p.serve(n)
	}
	stopRunning := func() {}
	if !p.opts.manual {
		stopRunning = p.Run()
	}
	p.stop = func() {
		stopServing()
		stopRunning()
		p.node.Store(nil)
		if err := n.Close(); err != nil {
			p.t.Errorf("closing %s: %v", p.Domain(), err)
		}
	}
}

// Run runs the outbox until the returned function is called, which waits for its end.
func (p *Platform) Run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n := p.Node()
	go func() {
		defer close(done)
		_ = n.Run(ctx) // ends by ctx
	}()
	return func() { cancel(); <-done }
}

// Stop closes the node and its listener; stopping twice does nothing.
func (p *Platform) Stop() {
	if p.stop != nil {
		p.stop()
		p.stop = nil
	}
}

// Restart stops the node and opens it again.
func (p *Platform) Restart() {
	p.t.Helper()
	p.Stop()
	p.Start()
}

// Trust adds o's trust entry to p, as it is now.
func (p *Platform) Trust(o *Platform) {
	p.t.Helper()
	if err := p.Node().AddPeers(context.Background(), "ebltest", []*identity.Platform{o.Entry}); err != nil {
		p.t.Fatal(err)
	}
}

// Change applies options to a platform that is stopped: those that matter at the next
// start.
func (p *Platform) Change(opts ...Option) {
	for _, o := range opts {
		o(&p.opts)
	}
}
