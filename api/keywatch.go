package api

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"eblnode/identity"

	"github.com/prometheus/client_golang/prometheus"
)

// A KeyWatch looks from time to time at the key sets that peers publish, so that an operator
// hears of a peer's new key before the first envelope is signed with it. It trusts nothing:
// a new key counts when somebody has confirmed it (eblnode peer fetch). A set that cannot be
// had or is refused changes nothing; the last good one serves on.
type KeyWatch struct {
	Examiner *Examiner
	Log      *slog.Logger
	Every    time.Duration // between two looks at one peer; 0 means an hour

	mu    sync.Mutex
	peers map[identity.Host]*watched
}

// watched is what is known of one peer's set.
type watched struct {
	good    []*identity.Key // the last set that was read
	trouble string          // why the newest could not be; "" where it could
	said    string          // what the log was told last
}

// Run looks until ctx is done.
func (w *KeyWatch) Run(ctx context.Context) error {
	every := w.Every
	if every == 0 {
		every = time.Hour
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			w.Look(ctx)
		}
	}
}

// Look asks every peer once, one after the other.
func (w *KeyWatch) Look(ctx context.Context) {
	for _, p := range w.Examiner.Node.Trust().Platforms() {
		if p.Domain == w.Examiner.Node.Domain() || p.Mode == identity.ModeCA {
			continue // an authority vouches for new keys
		}
		if w.Examiner.Node.Circuit(p.Domain).Open {
			continue // many dead peers would hold up the look at the others
		}
		set, err := w.fetch(ctx, p)
		if ctx.Err() != nil {
			return
		}
		w.note(p, set, err)
	}
}

// fetch reads a peer's set; nil without an error where it publishes none.
func (w *KeyWatch) fetch(ctx context.Context, p *identity.Platform) ([]*identity.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	at, err := w.Examiner.Resolver.Endpoint(ctx, p.Domain, p.Endpoint)
	if err != nil {
		return nil, err
	}
	peer, err := w.Examiner.Peers.Dial(p, at)
	if err != nil {
		return nil, err
	}
	c, ok := peer.(*Client)
	if !ok {
		return nil, nil
	}
	text, err := c.Keys(ctx, w.Examiner.Node.Domain())
	if err != nil || text == nil {
		return nil, err
	}
	return identity.ParseKeySet(text, p.Domain, p.Quirks.BareKey)
}

// note keeps what came, and tells the log once of what is new.
func (w *KeyWatch) note(p *identity.Platform, set []*identity.Key, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.peers == nil {
		w.peers = map[identity.Host]*watched{}
	}
	k := w.peers[p.Domain]
	if k == nil {
		k = &watched{}
		w.peers[p.Domain] = k
	}
	k.trouble = ""
	if err != nil {
		k.trouble = clip(err.Error(), maxQuote)
	} else if set != nil {
		k.good = set
	}
	unknown, gone := unknownKeys(p, k.good), goneKeys(p, k.good)
	said := fmt.Sprint(unknown, inWords(gone), k.trouble)
	if said == k.said {
		return
	}
	k.said = said
	peer, cure := p.Domain.String(), "eblnode peer fetch "+p.Domain.String()
	if len(gone) > 0 {
		w.Log.Error("a peer says that keys are revoked which our entry of it believes; ask over another channel, then: "+cure, "peer", peer, "key", inWords(gone))
	}
	if len(unknown) > 0 {
		w.Log.Warn("a peer publishes keys that we do not hold; compare their fingerprints over another channel: "+cure, "peer", peer, "key", strings.Join(unknown, ", "))
	}
	if k.trouble != "" {
		w.Log.Warn("the key set of a peer could not be read; what we hold of it serves on", "peer", peer, "err", k.trouble)
	}
}

// goneKeys are the keys of a set of which it says worse than p's entry: that they are revoked,
// since an earlier time, or stolen.
func goneKeys(p *identity.Platform, set []*identity.Key) (gone []*identity.Key) {
	for _, k := range set {
		for _, own := range p.Keys {
			if own.Thumbprint() == k.Thumbprint() && saysWorse(k, own) {
				gone = append(gone, k)
			}
		}
	}
	return gone
}

func saysWorse(k, own *identity.Key) bool {
	switch {
	case k.Revoked.IsZero():
		return false
	case own.Revoked.IsZero():
		return true
	}
	return k.Compromised() && !own.Compromised() || k.Revoked.Before(own.Revoked)
}

// inWords names keys with the reason why each was revoked.
func inWords(keys []*identity.Key) string {
	var words []string
	for _, k := range keys {
		words = append(words, strings.TrimSpace(fmt.Sprintf("%q %s", k.ID, k.Reason)))
	}
	return strings.Join(words, ", ")
}

var keyNewsDesc = prometheus.NewDesc("eblnode_peer_key_news",
	"Keys that a peer publishes and we do not hold (unknown), that it says are revoked and our entry does not (revoked), and whether its key set could not be read (unreadable).",
	[]string{"peer", "what"}, nil)

// Describe is the Collector's.
func (w *KeyWatch) Describe(ch chan<- *prometheus.Desc) { ch <- keyNewsDesc }

// Collect is the Collector's.
func (w *KeyWatch) Collect(ch chan<- prometheus.Metric) {
	for _, p := range w.Examiner.Node.Trust().Platforms() {
		w.mu.Lock()
		k := w.peers[p.Domain]
		if k == nil {
			w.mu.Unlock()
			continue
		}
		unknown, gone, unreadable := len(unknownKeys(p, k.good)), len(goneKeys(p, k.good)), 0
		if k.trouble != "" {
			unreadable = 1
		}
		w.mu.Unlock()
		for what, n := range map[string]int{"unknown": unknown, "revoked": gone, "unreadable": unreadable} {
			ch <- prometheus.MustNewConstMetric(keyNewsDesc, prometheus.GaugeValue, float64(n), p.Domain.String(), what)
		}
	}
}

// Watching tells the metrics what w finds. Call it once.
func (m *Metrics) Watching(w *KeyWatch) { m.registry.MustRegister(w) }
