// Package node is the running node: it receives bills and sends them, keeps who is
// in control of each in SQLite, and lets local users act on those they control.
//
// Control of a bill moves in one place, a write transaction of the store, which holds
// the change, what justifies it, and the audit row. It is on the disk before anything of
// it is revealed: the first byte of a receipt, an outgoing envelope, a user's success.
//
// The package knows neither HTTP nor JOSE. What it asks of the world are two functions
// in its Config: where a peer is, and how to talk to it.
package node

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/rights"
	"eblnode/internal/webhook"
)

// DatabaseFile is the name of the database in the data folder.
const DatabaseFile = "node.db"

// A Config is what a node is made of. Self, Signer and Dir are required.
type Config struct {
	// Self is our own trust entry, with our public keys; peers hold the same one.
	Self *identity.Platform
	// Signer signs envelopes, steps, receipts, rejections and verdicts. Signers are the
	// keys in its place where there are several, each for its time; see [Node.SetOwn].
	Signer  *identity.Signer
	Signers []SigningKey
	// Dir is the data folder. Whoever can write to it can make the node sign a
	// second transfer of a bill: see docs/SECURITY.md.
	Dir string
	// Resolve says where a peer's endpoint is.
	Resolve func(context.Context, *identity.Platform) (discovery.Endpoint, error)
	// Dial gives the peer at an endpoint. The connection must prove that it is p.
	Dial func(p *identity.Platform, at discovery.Endpoint) (Peer, error)
	// Revocation asks OCSP responders; the answers come in any order, and are judged here.
	// nil: nobody is asked, and what only a responder could say is not known.
	Revocation func(context.Context, []identity.Question) ([][]byte, error)
	// Limits bound what peers send; zero means the wire document's.
	Limits envelope.Limits
	// RequirePartyMatch refuses a transferee unless one identifying code or tax
	// reference given is one of the user's. Otherwise only a contradiction refuses.
	RequirePartyMatch bool
	// VerdictsPerHour bounds the new signed verdicts a peer gets; 0 means 1,000.
	VerdictsPerHour int
	// Retry is the longest pause between two attempts of a transfer; 0 means 15 min.
	Retry time.Duration
	// Witness is the path of the journal outside the database; "" means witness.log in
	// Dir. Best on another volume, and never restored from a backup.
	Witness string
	// Deliver tells a webhook's receiver one event; nil: webhooks are kept and not sent.
	Deliver func(context.Context, webhook.Message) webhook.Answer
	// WebhookAge is after how long an event is given up that a receiver does not take; 0
	// means 72 h. WebhookDisable is after how long a receiver that takes nothing is
	// disabled; 0 means 120 h. WebhookRetry is the longest pause between two attempts; 0
	// means 15 min.
	WebhookAge, WebhookDisable, WebhookRetry time.Duration
	// ApprovalAge is how long an order waits for a second person; 0 means 24 h.
	ApprovalAge time.Duration
	// Retention is after how long the document of a bill that ended is deleted; 0: never,
	// else [MinRetention] at least.
	Retention time.Duration
	Log       *slog.Logger     // nil: nothing is logged
	Now       func() time.Time // nil: time.Now
}

// A Node is a running node. It is safe for concurrent use.
type Node struct {
	cfg   Config
	log   *slog.Logger
	store *store
	own   atomic.Pointer[own]
	trust atomic.Pointer[identity.Trust]
	lock  io.Closer
	peers sync.Mutex // held while trust entries change, ours too

	verdicts rateWindow
	kept     rateWindow // refused blocks put on the list
	wake     chan struct{}
	busy     sync.Map // transfer id → struct{}: attempts under way
	watchers watchers
	circuits circuits
	fresh    freshTransfers
	verified verifiedChains
	cores    cores
	reenters reentries
	auditDue auditDue
	// retainDue is when to look for documents whose time is over; only Run looks at it.
	retainDue time.Time

	// Stats are counters for the metrics.
	Stats Stats
}

// Stats counts what happened since the start.
type Stats struct {
	Accepted, Repeated, Rejected, Refused       atomic.Int64
	SentAccepted, SentRejected, SentDisputed    atomic.Int64
	Attempts, AttemptsFailed, Forks, Unbelieved atomic.Int64
	// Quarantined counts chains that nobody may act on before an operator has looked.
	Quarantined atomic.Int64
}

// Open opens the data folder and its database, and locks it: a second process is refused.
// Close the node to let go.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if len(cfg.Signers) == 0 && cfg.Signer != nil {
		cfg.Signers = []SigningKey{{Signer: cfg.Signer}}
	}
	if cfg.Self == nil || len(cfg.Signers) == 0 || cfg.Dir == "" {
		return nil, errors.New("opening a node: Self, Signer and Dir are required")
	}
	first, err := newOwn(cfg.Self, cfg.Signers)
	if err != nil {
		return nil, fmt.Errorf("opening a node: %w", err)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.VerdictsPerHour == 0 {
		cfg.VerdictsPerHour = 1000
	}
	if cfg.Retry == 0 {
		cfg.Retry = 15 * time.Minute
	}
	for _, d := range []struct {
		to   *time.Duration
		zero time.Duration
	}{{&cfg.WebhookAge, 72 * time.Hour}, {&cfg.WebhookDisable, 120 * time.Hour}, {&cfg.WebhookRetry, 15 * time.Minute}, {&cfg.ApprovalAge, approvalAge}} {
		if *d.to == 0 {
			*d.to = d.zero
		}
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, log: cfg.Log, lock: lock, wake: make(chan struct{}, 1)}
	n.own.Store(first)
	if err := n.open(ctx); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return n, nil
}

func (n *Node) open(ctx context.Context) error {
	path := filepath.Join(n.cfg.Dir, DatabaseFile)
	if err := checkLog(path); err != nil {
		return err
	}
	if err := n.cfg.checkDatabase(path); err != nil {
		return err
	}
	if err := checkFiles(path); err != nil {
		return err
	}
	// The witness has every document and chain too, and who writes to it can undo it, or put
	// another in its place.
	for _, err := range []error{rights.Unchanged(filepath.Dir(n.cfg.witnessPath())), rights.Ours(n.cfg.witnessPath())} {
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return fmt.Errorf("opening the database: %w", err)
	} else if err := f.Close(); err != nil {
		return err
	}
	s, err := openStore(ctx, path, n.cfg.Now)
	if err != nil {
		return err
	}
	n.store = s
	err = s.update(ctx, func(t *tx) error {
		var domain string
		err := t.QueryRowContext(t.ctx, "SELECT domain FROM node").Scan(&domain)
		if errors.Is(err, sql.ErrNoRows) {
			return t.exec("INSERT INTO node (id, domain) VALUES (1, ?)", n.Domain().String())
		}
		if err == nil && domain != n.Domain().String() {
			return fmt.Errorf("this database belongs to %s, not to %s", domain, n.Domain())
		}
		return err
	})
	if err == nil {
		err = n.setOwn(ctx, "node", n.cfg.Self, n.cfg.Signers)
	}
	if err == nil {
		err = n.openWitness(ctx)
	}
	if err == nil {
		n.sealDay(ctx)
	}
	if err != nil {
		_ = s.close()
	}
	return err
}

// Close waits for the transaction under way and lets the data folder go.
func (n *Node) Close() error {
	return errors.Join(n.store.close(), n.lock.Close())
}

// Domain is who we are.
func (n *Node) Domain() identity.Host { return n.cfg.Self.Domain }

// Trust is everybody whose signatures count now: our peers and ourselves.
func (n *Node) Trust() *identity.Trust { return n.trust.Load() }

// Ready reports whether the node can answer: its database can be read and written.
func (n *Node) Ready(ctx context.Context) error {
	return n.store.update(ctx, func(t *tx) error {
		return t.execOne("UPDATE node SET domain = domain WHERE id = 1")
	})
}

func (n *Node) isSelf(h identity.Host) bool { return n.Self().Owns(h) }

// newID is the identifier of a transfer: 128 random bits.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// A rateWindow counts events by name in the current hour.
type rateWindow struct {
	mu     sync.Mutex
	hour   int64
	counts map[string]int
}

// take counts one more unless name has had limit in this hour.
func (w *rateWindow) take(name string, limit int, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if hour := now.Unix() / 3600; hour != w.hour || w.counts == nil {
		w.hour, w.counts = hour, map[string]int{}
	}
	if w.counts[name] >= limit {
		return false
	}
	w.counts[name]++
	return true
}

// watchers wakes those who wait for a transfer to settle.
type watchers struct {
	mu sync.Mutex
	m  map[string][]chan struct{}
}

// watch returns a channel that is closed by the next notify, and a function that ends
// the watching; call it.
func (w *watchers) watch(id string) (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m == nil {
		w.m = map[string][]chan struct{}{}
	}
	ch := make(chan struct{})
	w.m[id] = append(w.m[id], ch)
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.m[id] = slices.DeleteFunc(w.m[id], func(c chan struct{}) bool { return c == ch }); len(w.m[id]) == 0 {
			delete(w.m, id)
		}
	}
}

func (w *watchers) notify(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.m[id] {
		close(ch)
	}
	delete(w.m, id)
}
