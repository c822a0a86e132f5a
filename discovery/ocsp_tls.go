package discovery

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"maps"
	"time"

	"eblnode/identity"
)

// goodTLS is what a yes to a connection came from: the trust entry, which is another object
// when it changes, the certificate, the staple beside it.
type goodTLS struct {
	p      *identity.Platform
	leaf   *x509.Certificate
	staple *byte
}

// goodUntil is how long a yes is good: until an answer is another one (news) or would have to
// be asked for again.
type goodUntil struct {
	news        uint64
	from, until time.Time
}

// maxGood bounds how many are remembered; beyond it all are forgotten.
const maxGood = 4096

// remembers reports whether CheckTLS said yes to the same before, and would do so again.
func (o *OCSP) remembers(p *identity.Platform, s tls.ConnectionState) (goodTLS, bool) {
	key := goodTLS{p: p}
	if len(s.PeerCertificates) > 0 {
		key.leaf = s.PeerCertificates[0]
	}
	if len(s.OCSPResponse) > 0 {
		key.staple = &s.OCSPResponse[0]
	}
	now := o.cfg.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	g, found := o.good[key]
	return key, found && g.news == o.news && !now.Before(g.from) && now.Before(g.until)
}

// remember keeps a yes as long as each answer behind it serves without being asked for again.
// One without an answer, of a soft entry, is not kept.
func (o *OCSP) remember(key goodTLS, qs []identity.Question) {
	now := o.cfg.Now()
	until := now.Add(o.cfg.MaxAge)
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, q := range qs {
		el := o.byKey[ocspKey(q)]
		if el == nil {
			return
		}
		e := el.Value.(*ocspEntry)
		if e.der == nil || e.err != nil || !e.status.Good {
			return
		}
		for _, end := range []time.Time{e.fetched.Add(o.cfg.MaxAge), e.status.Until} {
			if end.Before(until) {
				until = end
			}
		}
	}
	if o.good == nil || len(o.good) >= maxGood {
		o.good = map[goodTLS]goodUntil{}
	}
	o.good[key] = goodUntil{news: o.news, from: now, until: until}
}

// OCSPStats count what was asked and answered since the start.
type OCSPStats struct {
	Asked         int64 // questions for which nothing that was kept would do
	Good, Revoked int64 // answers that hold
	// Nobody counts connections let in by an authority's word alone though nobody could be
	// asked whether it has taken that back; each once an hour.
	Nobody int64
	// Refused are answers that said nothing, by the rule of [identity.OCSPRules], and
	// "unreachable" where none came.
	Refused map[string]int64
	// Kept is how many answers are kept that have not ended, and Oldest when the one of
	// them was fetched that was fetched longest ago; zero without any.
	Kept   int
	Oldest time.Time
}

// Unreachable counts, in OCSPStats.Refused, questions to which no answer came at all.
const Unreachable = "unreachable"

func (o *OCSP) count(f func(*OCSPStats)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(&o.stats)
}

// tellEvery is how often the log hears of the same peer.
const tellEvery = 24 * time.Hour

// tell says that p's entry wants to hear of revocations and nobody can tell.
func (o *OCSP) tell(ctx context.Context, p *identity.Platform) {
	now := o.cfg.Now()
	o.mu.Lock()
	o.stats.Nobody++
	at, said := o.told[p.Domain]
	said = said && now.Before(at.Add(tellEvery))
	if !said {
		if o.told == nil || len(o.told) >= maxGood {
			o.told = map[identity.Host]time.Time{}
		}
		o.told[p.Domain] = now
	}
	o.mu.Unlock()
	if !said {
		o.cfg.Log.WarnContext(ctx, "nobody can be asked whether the TLS certificate of a peer is revoked: neither it nor the trust entry names an OCSP responder", "peer", p.Domain.String())
	}
}

// answered counts what one responder said.
func (o *OCSP) answered(s identity.Status, err error) {
	o.count(func(c *OCSPStats) {
		switch {
		case err == nil && s.Good:
			c.Good++
		case err == nil:
			c.Revoked++
		default:
			rule := Unreachable
			if r, ok := errors.AsType[*identity.OCSPRefusal](err); ok {
				rule = r.Rule
			}
			if c.Refused == nil {
				c.Refused = map[string]int64{}
			}
			c.Refused[rule]++
		}
	})
}

// Stats is what was asked and answered since the start.
func (o *OCSP) Stats() OCSPStats {
	now := o.cfg.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.stats
	s.Refused = maps.Clone(o.stats.Refused)
	for el := o.order.Front(); el != nil; el = el.Next() {
		e := el.Value.(*ocspEntry)
		if e.der == nil || now.After(e.status.Until) {
			continue
		}
		s.Kept++
		if at := e.fetched; s.Oldest.IsZero() || at.Before(s.Oldest) {
			s.Oldest = at
		}
	}
	return s
}
