package main

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/keyfile"
	"eblnode/node"
)

// signsAt is the public key that signs at a time; nil if none may.
func (k *keys) signsAt(at time.Time) *identity.Key {
	key, _ := k.signsUntil(at)
	return key
}

// signsUntil is also when nothing can be signed any more.
func (k *keys) signsUntil(at time.Time) (*identity.Key, time.Time) {
	key, until, err := node.SignsAt(&identity.Platform{Domain: k.domain, Keys: k.public}, k.signers, at)
	if err != nil {
		return nil, at // a key that is not in our own entry: loadKeys refuses it
	}
	return key, until
}

// warnings are before how much time we speak of what runs out, and how loudly.
var warnings = []struct {
	before time.Duration
	level  slog.Level
}{{24 * time.Hour, slog.LevelError}, {7 * 24 * time.Hour, slog.LevelError}, {30 * 24 * time.Hour, slog.LevelWarn}}

// expiring is everything of ours, and of our peers, that runs out, with those keys counted
// that will take over by themselves.
func (o *opened) expiring() []api.Expiry {
	k, now := o.keys.Load(), time.Now()
	_, until := k.signsUntil(now)
	list := []api.Expiry{{Use: "signing", Name: o.node.Domain().String(), At: until}, {Use: "tls", Name: o.node.Domain().String(), At: k.tlsUntil(now, "")}}
	for _, peer := range k.peers()[1:] {
		list = append(list, api.Expiry{Use: "tls", Name: peer, At: k.tlsUntil(now, peer), Cure: cureForPeer(peer)})
	}
	for _, p := range o.node.Trust().Platforms() {
		if at, bounded := lastDay(p, now); bounded && p.Domain != o.node.Domain() {
			list = append(list, api.Expiry{Use: "peer", Name: p.Domain.String(), At: at})
		}
	}
	return list
}

// tlsUntil is when, from now on, no TLS certificate is valid that is meant for peer, "" for
// everybody. One that a peer's own authority signed counts alone: who wants that takes no other.
func (k *keys) tlsUntil(now time.Time, peer string) time.Time {
	list := k.tls
	if peer != "" {
		list = slices.DeleteFunc(slices.Clone(list), func(t keyfile.Key) bool { return t.Note.Peer != peer })
	}
	return keyfile.Until(list, now, peer)
}

// cureForPeer is what to do about the certificate that one peer is shown.
func cureForPeer(peer string) string {
	return "eblnode key csr --name NAME, as eblnode key list calls it, have its authority sign that, and eblnode key import FILE --peer " + peer + "; or delete the files of that key, if the peer wants it no more"
}

// lastDay is when the last signing key that we hold of p runs out. In the mode ca none need be
// held: an authority vouches for those that come.
func lastDay(p *identity.Platform, now time.Time) (last time.Time, bounded bool) {
	if p.Mode == identity.ModeCA {
		return time.Time{}, false
	}
	last = now
	for _, k := range p.Keys {
		switch {
		case !k.Revoked.IsZero():
		case k.NotAfter.IsZero():
			return time.Time{}, false
		case k.NotAfter.After(last):
			last = k.NotAfter
		}
	}
	return last, true
}

// A watch looks after what a running node proves itself with.
type watch struct {
	o    *opened
	log  *slog.Logger
	said map[string]string // what was said of what, and on which day
}

// run reads the keys again when their folder changes or the process gets SIGHUP, and says
// 30 days, 7 days and 1 day before something runs out, and then every day.
func (w *watch) run(ctx context.Context) error {
	folder := filepath.Join(w.o.dir, keysDir)
	w.said = map[string]string{}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for settled := ""; ; {
		w.warn(w.o.expiring(), time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-w.o.hangup:
			w.reload(ctx, "SIGHUP")
		case <-tick.C:
			// A folder that still changes is one that somebody is writing to.
			if now := keyfile.Stamp(folder); now != settled {
				settled = now
			} else if w.o.unread(now) {
				w.reload(ctx, "files")
			}
		}
	}
}

// watchEvery is how often the folder of the keys is looked at; a variable for tests.
var watchEvery = 15 * time.Second

func (w *watch) reload(ctx context.Context, why string) {
	if err := w.o.reload(ctx, why); err != nil {
		w.log.Error("the keys were not taken, and the node goes on with those that it had", "err", err)
		return
	}
	k, _ := w.o.node.SignsWith()
	if k != nil {
		w.log.Info("the keys were read again", "key", k.ID)
	}
}

// warn says what runs out, each thing once a day and once more when it becomes worse.
func (w *watch) warn(list []api.Expiry, now time.Time) {
	for _, e := range list {
		if e.At.IsZero() {
			continue
		}
		for _, step := range warnings {
			if e.At.Sub(now) > step.before {
				continue
			}
			name, text := e.Use+" "+e.Name, step.before.String()+now.UTC().Format(time.DateOnly)
			if w.said[name] != text {
				w.said[name] = text
				w.log.Log(context.Background(), step.level, sentence(e, now), "peer", e.Name)
			}
			break
		}
	}
}

// sentence says what runs out and what to do.
func sentence(e api.Expiry, now time.Time) string {
	when := fmt.Sprintf("runs out at %s", e.At.UTC().Format(time.RFC3339))
	if !e.At.After(now) {
		when = "has run out"
	}
	switch {
	case e.Use == "signing":
		return "our signing key " + when + " and no other takes over; then nothing is signed: eblnode key rotate --use signing"
	case e.Cure != "":
		return "the TLS certificate that we show this peer alone " + when + " and no other takes over: " + e.Cure
	case e.Use == "peer":
		return "the last signing key that we hold of this peer " + when + "; ask for its new trust entry"
	}
	return "the TLS certificate that we show " + when + " and no other takes over: eblnode key rotate --use tls"
}

// examine looks at our keys for doctor.
func (k *keys) examine(now time.Time) []finding {
	key, until := k.signsUntil(now)
	list := []finding{lasts("signing key", until, now)}
	if key == nil && len(k.public) > 0 {
		list[0].Found = fmt.Sprintf("none of %d keys is valid now", len(k.public))
	}
	for _, peer := range k.peers() {
		what := "TLS key"
		if peer != "" {
			what = "TLS for " + peer
		}
		f := lasts(what, k.tlsUntil(now, peer), now)
		if f.Cure != "" && peer != "" {
			f.Cure = cureForPeer(peer)
		}
		list = append(list, f)
	}
	return list
}

// peers are those for whom there is a TLS certificate of their own, after "", everybody.
func (k *keys) peers() []string {
	list, seen := []string{""}, map[string]bool{"": true}
	for _, t := range k.tls {
		if peer := t.Note.Peer; !seen[peer] {
			list, seen[peer] = append(list, peer), true
		}
	}
	return list
}

// lasts judges until when something is good.
func lasts(what string, until, now time.Time) finding {
	f := finding{what, "ok", "valid until " + until.UTC().Format(time.DateOnly), ""}
	switch left := until.Sub(now); {
	case until.IsZero():
		f.Found = "valid without end"
	case left <= 0:
		f.State, f.Found = "error", "not valid now"
		f.Cure = "look at eblnode key list and at the clock; eblnode key rotate --now makes a new one, and peers need the new trust entry"
	case left < 30*24*time.Hour:
		f.State, f.Cure = "warning", "eblnode key rotate, and hand the new trust entry to your peers before its turn comes"
	}
	return f
}
