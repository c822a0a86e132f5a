package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"eblnode/identity"

	"github.com/miekg/dns"
	"golang.org/x/sync/singleflight"
)

// A Resolver asks DNS, remembers the answers, and dials. Make one with [New]; it
// is safe for concurrent use, and the cache is one per Resolver.
type Resolver struct {
	servers      []*server
	exchangeTime time.Duration
	timeout      time.Duration
	dnssec       bool // ask for it
	require      bool
	trusted      bool
	allow        []netip.Prefix
	now          func() time.Time
	log          *slog.Logger

	cache  *cache
	flight singleflight.Group
	stats  counters
}

type counters struct {
	queries, failures, hits, stale, refused atomic.Uint64
}

// Stats counts since New. All but Entries only grow.
type Stats struct {
	Queries  uint64 // datagrams and streams sent to resolvers
	Failures uint64 // lookups that no resolver answered
	Hits     uint64 // lookups answered from the cache
	Stale    uint64 // lookups answered past their time
	Refused  uint64 // addresses that the dialler refused
	Entries  int    // questions in the cache now
}

// Stats reads the counters.
func (r *Resolver) Stats() Stats {
	return Stats{
		Queries: r.stats.queries.Load(), Failures: r.stats.failures.Load(), Hits: r.stats.hits.Load(),
		Stale: r.stats.stale.Load(), Refused: r.stats.refused.Load(), Entries: r.cache.len(),
	}
}

// Flush forgets every answer, the old ones that would serve while DNS fails too.
func (r *Resolver) Flush() { r.cache.flush() }

// lookup answers q from the cache or from DNS; the bool says that the answer is
// past its time. Callers who ask the same at the same time share one exchange.
func (r *Resolver) lookup(ctx context.Context, q question) (*answer, bool, error) {
	e, gen := r.cache.get(q, r.now())
	if e != nil {
		r.stats.hits.Add(1)
		return r.read(e)
	}
	// The exchange does not end with the caller that happened to start it:
	// others may wait for it, and its answer is worth keeping.
	shared := context.WithoutCancel(ctx)
	done := r.flight.DoChan(fmt.Sprintf("%d %d %t %s", gen, q.qtype, q.keys, q.name), func() (any, error) {
		// An exchange that ended between the look above and this call has answered already.
		if e, _ := r.cache.get(q, r.now()); e != nil {
			return e, nil
		}
		ctx, cancel := context.WithTimeout(shared, r.timeout)
		defer cancel()
		return r.ask(ctx, q, gen), nil
	})
	select {
	case res := <-done:
		return r.read(res.Val.(*entry))
	case <-ctx.Done():
		return nil, false, &Error{Kind: Temporary, Name: q.name, Err: ctx.Err()}
	}
}

func (r *Resolver) read(e *entry) (*answer, bool, error) {
	a, stale, err := e.read(r.now())
	if stale {
		r.stats.stale.Add(1)
	}
	return a, stale, err
}

// ask puts q to DNS and stores what came of it, good or bad.
func (r *Resolver) ask(ctx context.Context, q question, gen uint64) *entry {
	e := entry{q: q}
	rep, err := r.follow(ctx, q)
	if err == nil && r.require && q.qtype == dns.TypeTXT && !rep.authentic {
		// An unauthenticated "no such name" is no better than another lie.
		err = &Error{Kind: Insecure, Err: errors.New("DNSSEC is required, and the answer is not authenticated")}
	}
	if err == nil && r.dnssec && q.qtype == dns.TypeTXT && !rep.authentic {
		r.log.WarnContext(ctx, "DNS answer is not authenticated", "peer", q.name)
	}
	var a *answer
	if err == nil {
		a, err = rep.answer(q)
	}
	now := r.now()
	if err == nil {
		a.authentic, a.expires = rep.authentic, now.Add(clampTTL(rep.ttl))
		e.good = a
		return r.cache.put(e, gen)
	}
	if !errors.As(err, &e.err) {
		e.err = &Error{Kind: Temporary, Err: err}
	}
	e.err.Name = q.name
	switch e.err.Kind {
	case Temporary, Insecure:
		e.until = now.Add(failureTTL)
		r.stats.failures.Add(1)
	default:
		// What a peer must mend is looked at again soon, whatever its TTL says.
		e.until = now.Add(min(clampTTL(rep.ttl), maxNegativeTTL))
	}
	out := r.cache.put(e, gen)
	if _, stale, _ := out.read(now); stale {
		r.log.WarnContext(ctx, "DNS fails; an old answer serves", "peer", q.name, "err", e.err.Err)
	}
	return out
}

func clampTTL(seconds uint32) time.Duration {
	return min(max(time.Duration(seconds)*time.Second, minTTL), maxTTL)
}

// LookupAddrs is the addresses of name, at most 16 of each family, IPv4 first;
// never empty without an error. It judges no address: only the dialler can, at
// the moment of dialling. "localhost" and names under it are loopback, and no
// resolver is asked (RFC 6761, section 6.3). If one family fails, the other
// serves. Errors are of type [*Error].
func (r *Resolver) LookupAddrs(ctx context.Context, name string) ([]netip.Addr, error) {
	h, err := identity.ParseHost(name)
	if err == nil && strings.Contains(name, ":") {
		err = errors.New("a port is not part of a name")
	}
	if err != nil {
		return nil, &Error{Kind: BadRecord, Name: clip(name), Err: err}
	}
	if h.Name == "localhost" || strings.HasSuffix(h.Name, ".localhost") {
		return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, nil
	}
	type result struct {
		addrs []netip.Addr
		err   error
	}
	six := make(chan result, 1)
	go func() {
		addrs, err := r.family(ctx, question{h.Name, dns.TypeAAAA, false})
		six <- result{addrs, err}
	}()
	addrs, err4 := r.family(ctx, question{h.Name, dns.TypeA, false})
	var res result
	select {
	case res = <-six:
	case <-after(len(addrs) > 0, slowFamily):
		// Some name servers never answer AAAA; that must not cost a whole
		// time-out where IPv4 would do. The answer still reaches the cache.
		return addrs, nil
	}
	addrs = append(addrs, res.addrs...)
	if len(addrs) > 0 {
		return addrs, nil
	}
	// "Not found" is only true if both families say so.
	if KindOf(err4) == NotFound {
		return nil, res.err
	}
	return nil, err4
}

// after is a timer, or never.
func after(set bool, d time.Duration) <-chan time.Time {
	if !set {
		return nil
	}
	return time.After(d)
}

func (r *Resolver) family(ctx context.Context, q question) ([]netip.Addr, error) {
	a, _, err := r.lookup(ctx, q)
	if err != nil {
		return nil, err
	}
	return append([]netip.Addr(nil), a.addrs...), nil
}
