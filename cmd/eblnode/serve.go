package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/internal/keyfile"
	"eblnode/internal/webhook"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// runFile says, while the node runs, where it listens. socketFile is the admin socket.
const (
	runFile    = "run.json"
	socketFile = "admin.sock"
	// maxSocketPath is what every system takes (sun_path), less the final zero.
	maxSocketPath = 103
)

type runInfo struct {
	PID    int    `json:"pid"`
	Domain string `json:"domain"`
	Peer   string `json:"peer"`
	Local  string `json:"local"`
	Public string `json:"public,omitempty"`
}

func readRunFile(dir string) (*runInfo, error) {
	text, err := os.ReadFile(filepath.Join(dir, runFile))
	if err != nil {
		return nil, err
	}
	r := &runInfo{}
	return r, json.Unmarshal(text, r)
}

func (a *app) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the node",
		Long: `Run the node until it is told to stop (SIGTERM or Ctrl-C). It answers what is under way
and then exits; what is in the outbox goes on at the next start.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return a.serve(c.Context()) },
	}
}

// open reads configuration and keys and opens the node. It is what serve runs, and what
// operator commands use where nothing runs.
func (a *app) open(ctx context.Context, log *slog.Logger) (*opened, error) {
	c, err := loadConfig(a.data)
	if err != nil {
		return nil, err
	}
	if err := ownConfig(a.data); err != nil {
		return nil, err
	}
	access, read := c.access(), keyfile.Stamp(filepath.Join(a.data, keysDir))
	k, err := loadKeys(a.data, c, access)
	if err != nil {
		return nil, err
	}
	self, err := c.self(k)
	if err != nil {
		return nil, err
	}
	resolver, err := newResolver(c, log, false)
	if err != nil {
		return nil, err
	}
	backEnds, err := newResolver(c, log, true)
	if err != nil {
		return nil, err
	}
	o := &opened{dir: a.data, access: access, config: c, read: read, resolver: resolver, webhooks: webhook.NewSender(webhook.Config{DialContext: backEnds.DialContext})}
	o.keys.Store(k)
	if o.outside, err = c.outside(a.data, backEnds.DialContext); err != nil {
		return nil, err
	}
	if o.ocsp, err = discovery.NewOCSP(discovery.OCSPConfig{Resolver: resolver, MaxAge: c.OCSP.MaxAge, Timeout: c.OCSP.Timeout, Log: log}); err != nil {
		return nil, err
	}
	// Any peer may want tokens, whatever we want ourselves.
	tokens := &api.TokenConfig{Self: self, Outside: o.outside, Log: log,
		Trust: func() *identity.Trust { return o.node.Trust() },
		Sign:  func(typ string, claims map[string]any) (string, error) { return o.node.SignToken(typ, claims) }}
	o.peers = api.NewPeers(api.PeersConfig{Self: self.Domain, DialContext: resolver.DialContext, Tokens: tokens, Revoked: o.ocsp.CheckTLS,
		CertificateFor: func(peer identity.Host) api.CertificateSource { return o.stapled(o.keys.source(peer.String())) },
		OwnFor:         func(peer identity.Host) api.CertificateSource { return o.keys.source(peer.String()) }})
	o.node, err = node.Open(ctx, node.Config{
		Self: self, Signers: k.signers, Dir: a.data, Limits: c.limits(),
		Resolve: func(ctx context.Context, p *identity.Platform) (discovery.Endpoint, error) {
			return resolver.Endpoint(ctx, p.Domain, p.Endpoint)
		},
		Dial:              o.peers.Dial,
		Revocation:        o.ocsp.Ask,
		RequirePartyMatch: c.PartyMatch == "require",
		VerdictsPerHour:   c.Limits.VerdictsPerHour,
		Retry:             c.RetryMax,
		Witness:           c.witness(a.data),
		Deliver:           o.webhooks.Send,
		ApprovalAge:       c.Approvals.Expire,
		Retention:         time.Duration(c.Retention.Years) * 366 * 24 * time.Hour,
		WebhookAge:        c.Webhooks.Age,
		WebhookDisable:    c.Webhooks.DisableAfter,
		WebhookRetry:      c.Webhooks.RetryMax,
		Log:               log,
	})
	if err != nil {
		o.peers.Close()
		return nil, err
	}
	if err := o.restoreKeys(); err != nil {
		return nil, errors.Join(err, o.close())
	}
	return o, nil
}

// An opened node, with what it was made of.
type opened struct {
	dir      string
	access   *keyfile.Access
	config   *config // as it was at the start
	keys     keyStore
	resolver *discovery.Resolver
	ocsp     *discovery.OCSP
	peers    *api.Peers
	webhooks *webhook.Sender
	outside  *oauth.Outside // nil: no shared authorization server
	keyWatch *api.KeyWatch  // nil where nothing is served
	node     *node.Node
	hangup   chan os.Signal // SIGHUP; nil where nothing is served

	reading sync.Mutex // one reading of the keys after the other
	read    string     // the stamp of their folder before the last one
}

func (o *opened) close() error {
	signal.Stop(o.hangup)
	o.peers.Close()
	o.webhooks.Close()
	o.ocsp.Close()
	if o.outside != nil {
		o.outside.Close()
	}
	return o.node.Close()
}

// stapled puts the answer of our own responder beside our certificate, where that names one:
// each peer would ask it otherwise.
func (o *opened) stapled(source api.CertificateSource) api.CertificateSource {
	return func() (*tls.Certificate, error) {
		c, err := source()
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		return o.ocsp.Staple(ctx, c), nil
	}
}

func newResolver(c *config, log *slog.Logger, backEnds bool) (*discovery.Resolver, error) {
	networks, err := c.networks(backEnds)
	if err != nil {
		return nil, err
	}
	return discovery.New(discovery.Config{Resolvers: c.Discovery.Resolvers, Trusted: c.Discovery.Trusted, DNSSEC: c.Discovery.DNSSEC,
		AllowNetworks: networks, Timeout: c.Discovery.Timeout, Log: log})
}

func newLog(c *config, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Log.Level)) // checked; "" stays info
	opts := &slog.HandlerOptions{Level: level}
	if c.Log.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

func (a *app) serve(ctx context.Context) error {
	c, err := loadConfig(a.data)
	if err != nil {
		return err
	}
	log := newLog(c, a.errOut)
	gin.SetMode(gin.ReleaseMode)
	tuneMemory()
	o, err := a.openToServe(ctx, log)
	if err != nil {
		return err
	}
	defer func() { _ = o.close() }()
	// What a node that was killed has left behind: we hold the lock.
	_ = os.Remove(filepath.Join(a.data, runFile))
	s, err := a.listen(o, log)
	if err != nil {
		return err
	}
	info := s.info(o)
	if err := a.announce(info); err != nil {
		return errors.Join(err, s.close())
	}
	defer func() { _ = os.Remove(filepath.Join(a.data, runFile)) }()
	log.Info("serving", "domain", info.Domain, "peer", info.Peer, "local", info.Local, "public", info.Public, "version", Version)
	err = s.run(ctx, o, log)
	log.Info("stopped")
	return err
}

// tuneMemory lets the garbage collector run less often than it would by itself: what a
// node holds for long is small beside what passes through it. With the limit it
// runs more often again before that matters. GOGC and GOMEMLIMIT override.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(160 << 20)
	}
}

// openToServe opens the node. Another one that serves is an error at once; a command that
// holds the folder for a moment is waited for.
func (a *app) openToServe(ctx context.Context, log *slog.Logger) (*opened, error) {
	for wait := newPatience(); ; {
		o, err := a.open(ctx, log)
		if err == nil {
			// Before anybody can know of us: unheard it would end the process.
			o.hangup = make(chan os.Signal, 1)
			signal.Notify(o.hangup, syscall.SIGHUP)
		}
		if !errors.Is(err, node.ErrInUse) {
			return o, err
		}
		if _, running := dialAdmin(a.data); running {
			who := "it does not say where it listens"
			if run, err := readRunFile(a.data); err == nil {
				who = fmt.Sprintf("process %d, local users on http://%s", run.PID, run.Local)
			}
			return nil, unsure("%w (%s); stop that one first", err, who)
		}
		if !wait.more(ctx) {
			return nil, unsure("%w, and it does not answer on %s", err, filepath.Join(a.data, socketFile))
		}
	}
}

// announce writes where we listen, whole or not at all.
func (a *app) announce(info runInfo) error {
	text, err := json.MarshalIndent(info, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(a.data, runFile)
	if err := os.WriteFile(path+".new", append(text, '\n'), 0o600); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if a.json {
		return json.NewEncoder(a.out).Encode(info)
	}
	_, err = fmt.Fprintf(a.out, "%s: peers on %s, local users on http://%s\n", info.Domain, info.Peer, info.Local)
	return err
}

// services are the listeners of a running node, each a trust zone of its own.
type services struct {
	list []*service
}

type service struct {
	name   string
	l      net.Listener
	server *api.Server
	tls    bool
}

func (a *app) listen(o *opened, log *slog.Logger) (*services, error) {
	s := &services{}
	metrics := api.NewMetrics(o.node)
	tokens, err := o.config.tokens(o.node, o.outside)
	if err != nil {
		return nil, err
	}
	metrics.Expiring(o.expiring)
	o.keyWatch = &api.KeyWatch{Examiner: o.examiner(), Log: log}
	metrics.Watching(o.keyWatch)
	metrics.Asking(o.ocsp.Stats)
	opts := api.Options{Log: log, Metrics: metrics, Version: Version, Tokens: tokens,
		Rate: float64(o.config.Limits.Rate), Burst: o.config.Limits.Burst, Concurrency: o.config.Limits.Concurrency}
	opts.Revoked = o.ocsp.CheckTLS
	opts.MetricsOpen = o.config.Metrics.Open
	if opts.MetricsToken, err = o.config.metricsToken(a.data); err != nil {
		return nil, err
	}
	source := o.stapled(o.keys.source(""))
	now := time.Now
	socket := filepath.Join(a.data, socketFile)
	_ = os.Remove(socket) // of a node that was killed: we hold the lock
	for _, f := range []struct {
		name, network, address string
		handler                http.Handler
		tls                    *tls.Config
	}{
		{"peer", "tcp", o.config.Listen.Peer, api.NewPeerHandler(o.node, opts), api.ServerTLSAsking(source, o.node.Trust, now, o.ocsp.CheckTLS)},
		{"local", "tcp", o.config.Listen.Local, api.NewLocalHandler(o.node, opts), nil},
		{"public", "tcp", o.config.Listen.Public, api.NewPublicHandler(o.node, opts), api.PublicTLS(source)},
		{"admin", "unix", socket, api.NewAdminHandler(o.node, withReload(opts, o)), nil},
	} {
		if f.address == "" {
			continue
		}
		l, err := net.Listen(f.network, f.address)
		if err != nil {
			if f.network == "unix" && len(socket) > maxSocketPath {
				err = fmt.Errorf("the path %s has %d bytes, and a socket's may have %d: move the data folder to a shorter one", socket, len(socket), maxSocketPath)
			}
			return nil, errors.Join(fmt.Errorf("listening for %s: %w", f.name, err), s.close())
		}
		if f.network == "unix" {
			if err := os.Chmod(socket, 0o600); err != nil {
				return nil, errors.Join(err, l.Close(), s.close())
			}
		}
		server := api.NewServer(f.handler, f.tls, log, metrics)
		switch f.name {
		case "peer":
			api.LimitConnections(server, api.PeerLimits(opts.Concurrency, api.PeerOf(o.node.Trust, now)))
		case "public":
			api.LimitConnections(server, api.PublicLimits())
		}
		s.list = append(s.list, &service{f.name, l, server, f.tls != nil})
	}
	return s, nil
}

// withReload lets operators have the keys read again, and look at peers.
func withReload(opts api.Options, o *opened) api.Options {
	opts.Reload = o.reload
	return withExaminer(opts, o)
}

func (s *services) close() error {
	var err error
	for _, v := range s.list {
		err = errors.Join(err, v.l.Close())
	}
	return err
}

func (s *services) info(o *opened) runInfo {
	r := runInfo{PID: os.Getpid(), Domain: o.node.Domain().String()}
	for _, v := range s.list {
		addr := v.l.Addr().String()
		switch v.name {
		case "peer":
			r.Peer = addr
		case "local":
			r.Local = addr
		case "public":
			r.Public = addr
		}
	}
	return r
}

// run serves until ctx is done, then lets what is under way finish.
func (s *services) run(ctx context.Context, o *opened, log *slog.Logger) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, v := range s.list {
		group.Go(func() error {
			err := v.serve()
			if errors.Is(err, http.ErrServerClosed) {
				return nil
			}
			return fmt.Errorf("serving %s: %w", v.name, err)
		})
	}
	outboxCtx, stopOutbox := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOutbox()
	for _, work := range []func(context.Context) error{o.node.Run, o.node.RunWebhooks, (&watch{o: o, log: log}).run, o.keyWatch.Run} {
		group.Go(func() error {
			if err := work(outboxCtx); err != nil && outboxCtx.Err() == nil {
				return err
			}
			return nil
		})
	}
	group.Go(func() error {
		<-ctx.Done()
		stopOutbox()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 25*time.Second)
		defer cancel()
		var err error
		for _, v := range s.list {
			err = errors.Join(err, v.server.Shutdown(grace))
		}
		return err
	})
	return group.Wait()
}

func (v *service) serve() error {
	if v.tls {
		return v.server.ServeTLS(v.l, "", "")
	}
	return v.server.Serve(v.l)
}
