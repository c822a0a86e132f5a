package api

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"eblnode/discovery"
	"eblnode/identity"
)

// Self examines us as peers find us: the endpoint that DNS or our entry says, who answers
// there, how our own keys stand, and our clock beside those of peers.
func (e *Examiner) Self(ctx context.Context) FindingList {
	ctx, cancel := context.WithTimeout(ctx, 50*time.Second)
	defer cancel()
	x := &examination{Examiner: e, p: e.Node.Self(), now: e.Node.Now()}
	x.found(ctx)
	n := len(x.list)
	x.revocation(ctx)
	for i := range x.list[n:] {
		if f := &x.list[n+i]; f.State == "error" {
			f.Cure = "peers believe nothing that this key signs: have the authority mend its answer, or eblnode key rotate --use signing"
		}
	}
	x.clocks(ctx)
	out := FindingList{Findings: x.list}
	for _, f := range x.list {
		if f.State == "error" {
			out.Errors++
		}
	}
	return out
}

// found connects to us as a peer would.
func (x *examination) found(ctx context.Context) {
	at, err := x.Resolver.Endpoint(ctx, x.p.Domain, x.p.Endpoint)
	if err != nil {
		x.add("reached", "warning", err.Error(), "publish what eblnode dns prints, or set endpoint")
		return
	}
	s, err := shown(ctx, x.Resolver, at.URL)
	switch {
	case discovery.KindOf(err) == discovery.Forbidden:
		x.add("reached", "skipped", "from here our own address is not public, so that it was not tried", "")
	case err != nil:
		x.add("reached", "warning", err.Error(), "peers connect to "+at.URL.String()+": look at listen.peer, the firewall, and whether one can connect to oneself there at all")
	case x.p.CheckTLS(s.PeerCertificates, identity.ServerAuth, x.now) != nil:
		x.add("reached", "error", fmt.Sprintf("who answers at %s is not us: it shows %s", at.URL, identity.PinText(identity.SPKIPin(s.PeerCertificates[0]))),
			"a proxy there ends TLS (let it pass TCP through), or DNS leads elsewhere")
	default:
		x.add("reached", "ok", "peers reach us at "+at.URL.String(), "")
	}
}

// clocks compares our clock with those of some peers.
func (x *examination) clocks(ctx context.Context) {
	var mu sync.Mutex
	var apart []time.Duration
	var wg sync.WaitGroup
	asked := 0
	for _, p := range x.Node.Trust().Platforms() {
		if p.Domain == x.Node.Domain() || asked == 5 {
			continue
		}
		asked++
		wg.Go(func() {
			if d, ok := x.apart(ctx, p); ok {
				mu.Lock()
				apart = append(apart, d)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(apart) == 0 {
		x.add("clock", "skipped", "no peer tells its time", "")
		return
	}
	slices.Sort(apart)
	switch middle := apart[len(apart)/2].Round(time.Second); {
	case middle.Abs() > 5*time.Minute:
		x.add("clock", "error", fmt.Sprintf("those of %d peers are %s away from ours, in the middle", len(apart), middle), "set ours, and have it follow NTP")
	case middle.Abs() > time.Minute:
		x.add("clock", "warning", fmt.Sprintf("those of %d peers are %s away from ours, in the middle", len(apart), middle), "have ours follow NTP")
	default:
		x.add("clock", "ok", fmt.Sprintf("as those of %d peers", len(apart)), "")
	}
}

// apart is how far a peer's clock is ahead of ours.
func (x *examination) apart(ctx context.Context, p *identity.Platform) (time.Duration, bool) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	at, err := x.Resolver.Endpoint(ctx, p.Domain, p.Endpoint)
	if err != nil {
		return 0, false
	}
	peer, err := x.Peers.Dial(p, at)
	c, ok := peer.(*Client)
	if err != nil || !ok {
		return 0, false
	}
	a, err := c.ask(ctx, x.Node.Domain(), http.MethodGet, c.path("../.well-known/jwks.json"), nil)
	if err != nil {
		return 0, false
	}
	date, err := http.ParseTime(a.date)
	return date.Sub(x.Node.Now()), err == nil
}
