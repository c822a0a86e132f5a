package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/internal/dnsserver"

	"github.com/miekg/dns"
)

func TestTTLIsClamped(t *testing.T) {
	for _, tt := range []struct {
		ttl  uint32
		want time.Duration
	}{
		{0, 30 * time.Second}, {1, 30 * time.Second}, {31, 31 * time.Second}, {3600, time.Hour}, {86400, 24 * time.Hour},
		{86401, 24 * time.Hour}, {1<<31 - 1, 24 * time.Hour}, {1 << 31, 30 * time.Second}, {1<<32 - 1, 30 * time.Second},
	} {
		t.Run(fmt.Sprint(tt.ttl), func(t *testing.T) {
			s, c := startDNS(t), newClock()
			s.SetTTL(tt.ttl)
			s.SetTXT("bank.example", bankTXT)
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
			e := wantEndpoint(t, r, bankURL, 0)
			if got := e.Expires.Sub(c.now()); got != tt.want {
				t.Errorf("got an answer good for %v, want %v", got, tt.want)
			}
			c.add(tt.want - 1)
			wantEndpoint(t, r, bankURL, 0)
			if got := s.Count("bank.example", dns.TypeTXT); got != 1 {
				t.Errorf("before its time: got %d queries, want 1", got)
			}
			c.add(1)
			wantEndpoint(t, r, bankURL, 0)
			if got := s.Count("bank.example", dns.TypeTXT); got != 2 {
				t.Errorf("after its time: got %d queries, want 2", got)
			}
		})
	}
}

func TestEndpointMoves(t *testing.T) {
	s, c := startDNS(t), newClock()
	s.SetTXT("bank.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
	wantEndpoint(t, r, bankURL, 0)
	s.SetTXT("bank.example", "ebl-transferblock=https://new.bank.example/v1/transferblocks")
	wantEndpoint(t, r, bankURL, 0)
	c.add(time.Minute)
	wantEndpoint(t, r, "https://new.bank.example/v1/transferblocks", 0)
	s.SetTXT("bank.example", bankTXT)
	r.Flush()
	wantEndpoint(t, r, bankURL, 0)
}

func TestNegativeAnswerIsKeptForBoundedTime(t *testing.T) {
	for _, tt := range []struct {
		name    string
		soa     uint32
		records []string
		kind    Kind
		want    time.Duration
	}{
		{"NXDOMAIN, SOA 0", 0, nil, NotFound, 30 * time.Second},
		{"NXDOMAIN, SOA 60", 60, nil, NotFound, time.Minute},
		{"NXDOMAIN, SOA a week", 604800, nil, NotFound, 5 * time.Minute},
		{"NXDOMAIN, SOA 2^31", 1 << 31, nil, NotFound, 30 * time.Second},
		{"only other TXT, for a week", 0, []string{"v=spf1 -all"}, NotFound, 5 * time.Minute},
		{"a bad record, for a week", 0, []string{"ebl-transferblock=http://x/"}, BadRecord, 5 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, c := startDNS(t), newClock()
			s.SetNegativeTTL(tt.soa)
			s.SetTTL(604800)
			s.SetTXT("bank.example", tt.records...)
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
			wantEndpoint(t, r, "", tt.kind)
			s.SetTXT("bank.example", bankTXT)
			c.add(tt.want - 1)
			wantEndpoint(t, r, "", tt.kind)
			c.add(1)
			wantEndpoint(t, r, bankURL, 0)
		})
	}
}

func TestServerFailureIsTemporaryAndSoonForgotten(t *testing.T) {
	for _, rcode := range []int{dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented, dns.RcodeFormatError} {
		s, c := startDNS(t), newClock()
		s.SetTXT("bank.example", bankTXT)
		s.SetRcode("bank.example", rcode)
		r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
		wantEndpoint(t, r, "", Temporary)
		n := s.Count("bank.example", dns.TypeTXT)
		if n < 2 || n > 3 {
			t.Errorf("%s: got %d queries for one lookup, want a second try and no storm", dns.RcodeToString[rcode], n)
		}
		s.SetRcode("bank.example", dns.RcodeSuccess)
		wantEndpoint(t, r, "", Temporary)
		if got := s.Count("bank.example", dns.TypeTXT); got != n {
			t.Errorf("%s: got %d queries at once after a failure, want none", dns.RcodeToString[rcode], got-n)
		}
		c.add(5 * time.Second)
		wantEndpoint(t, r, bankURL, 0)
	}
}

func TestOldAnswerServesWhileDNSFails(t *testing.T) {
	s, c := startDNS(t), newClock()
	s.SetTXT("bank.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now, Log: slog.New(slog.DiscardHandler)})
	expires := wantEndpoint(t, r, bankURL, 0).Expires
	s.SetRcode("bank.example", dns.RcodeServerFailure)
	c.add(time.Hour)
	e := wantEndpoint(t, r, bankURL, 0)
	if !e.Stale || !e.Expires.Equal(expires) {
		t.Errorf("got stale %v, expires %v, want true, %v", e.Stale, e.Expires, expires)
	}
	if r.Stats().Stale == 0 || r.Stats().Failures == 0 {
		t.Errorf("got %+v, want stale and failed lookups counted", r.Stats())
	}
	c.add(expires.Add(24*time.Hour - 1).Sub(c.now()))
	wantEndpoint(t, r, bankURL, 0)
	c.add(1)
	wantEndpoint(t, r, "", Temporary)

	s.SetRcode("bank.example", dns.RcodeSuccess)
	c.add(time.Minute)
	if e := wantEndpoint(t, r, bankURL, 0); e.Stale {
		t.Error("a fresh answer is called stale")
	}
}

func TestOldAnswerDoesNotOutliveTheWordOfDNS(t *testing.T) {
	for name, end := range map[string]func(s *dnsserver.Server){
		"NXDOMAIN":  func(s *dnsserver.Server) { s.SetTXT("bank.example") },
		"NODATA":    func(s *dnsserver.Server) { s.SetTXT("bank.example"); s.SetTXT("sub.bank.example", "x") },
		"ambiguous": func(s *dnsserver.Server) { s.SetTXT("bank.example", bankTXT, bankTXT+"/v1/transferblocks") },
		"malformed": func(s *dnsserver.Server) { s.SetTXT("bank.example", "ebl-transferblock=none") },
		"a loop":    func(s *dnsserver.Server) { s.SetTXT("bank.example"); s.SetCNAME("bank.example", "bank.example") },
	} {
		t.Run(name, func(t *testing.T) {
			s, c := startDNS(t), newClock()
			s.SetTXT("bank.example", bankTXT)
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
			wantEndpoint(t, r, bankURL, 0)
			c.add(time.Hour)
			end(s)
			if _, err := r.Endpoint(t.Context(), bank(t), ""); err == nil {
				t.Fatal("the old answer serves though DNS has a new one")
			}
			s.SetRcode("bank.example", dns.RcodeServerFailure)
			c.add(10 * time.Minute)
			wantEndpoint(t, r, "", Temporary)
		})
	}
}

func TestUnsignedDenialDoesNotEndASignedAnswer(t *testing.T) {
	s, c := startDNS(t), newClock()
	s.SetTXT("bank.example", bankTXT)
	s.SetAuthentic(true)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, DNSSEC: "require", Trusted: true, Now: c.now})
	wantEndpoint(t, r, bankURL, 0)
	c.add(time.Hour)
	s.SetAuthentic(false)
	s.SetTXT("bank.example")
	wantEndpoint(t, r, "", Insecure) // a forged NXDOMAIN
	c.add(failureTTL)
	s.SetRcode("bank.example", dns.RcodeServerFailure)
	if e := wantEndpoint(t, r, bankURL, 0); !e.Stale || !e.AuthenticData {
		t.Errorf("got %+v, want the signed answer, stale", e)
	}
}

func TestManyCallersOneQuery(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	release := make(chan struct{})
	s.SetHook(func(q *dns.Msg, tcp bool, m *dns.Msg) *dns.Msg {
		<-release
		return dnsserver.Truncate(q, tcp, m) // so that there is more to do after the cancellation
	})
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	hasty, cancel := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() {
		_, err := r.Endpoint(hasty, bank(t), "")
		first <- err
	}()
	for s.Count("bank.example", dns.TypeTXT) == 0 {
		time.Sleep(time.Millisecond)
	}
	errs := make(chan error, 20)
	for range cap(errs) {
		go func() {
			_, err := r.Endpoint(t.Context(), bank(t), "")
			errs <- err
		}()
	}
	cancel() // the caller that began it goes away: the others must not notice
	if err := <-first; KindOf(err) != Temporary || !errors.Is(err, context.Canceled) {
		t.Errorf("the cancelled caller: got %v, want temporary, canceled", err)
	}
	close(release)
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := s.Count("bank.example", dns.TypeTXT); got != 2 {
		t.Errorf("got %d queries, want one by UDP and one by TCP for all", got)
	}
}

func TestAnswerAskedForBeforeFlushIsNotKept(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	asked, release := make(chan struct{}), make(chan struct{})
	var second atomic.Bool
	s.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
		if !second.Swap(true) {
			close(asked)
			<-release
		}
		return m
	})
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	old := make(chan error, 1)
	go func() {
		_, err := r.Endpoint(t.Context(), bank(t), "")
		old <- err
	}()
	<-asked
	r.Flush()
	s.SetTXT("bank.example", "ebl-transferblock=https://new.example/v1/transferblocks")
	wantEndpoint(t, r, "https://new.example/v1/transferblocks", 0)
	close(release)
	if err := <-old; err != nil {
		t.Error(err)
	}
	wantEndpoint(t, r, "https://new.example/v1/transferblocks", 0)
}

func TestCacheIsBounded(t *testing.T) {
	c, now := newCache(), time.Now()
	_, gen := c.get(question{}, now)
	for i := range maxCacheEntries + 10 {
		c.put(entry{q: question{fmt.Sprint(i), dns.TypeA, false}, good: &answer{expires: now.Add(time.Hour)}}, gen)
		// The first is written again and again, and so is never the oldest.
		c.put(entry{q: question{"0", dns.TypeA, false}, good: &answer{expires: now.Add(time.Hour)}}, gen)
	}
	if c.len() != maxCacheEntries || len(c.byQ) != maxCacheEntries {
		t.Errorf("got %d and %d entries, want %d", c.len(), len(c.byQ), maxCacheEntries)
	}
	for name, want := range map[string]bool{"0": true, "1": false, "10": false, "11": true, fmt.Sprint(maxCacheEntries + 9): true} {
		if e, _ := c.get(question{name, dns.TypeA, false}, now); (e != nil) != want {
			t.Errorf("question %s: kept %v, want %v", name, e != nil, want)
		}
	}
}

func TestDenialWithoutSOAIsKeptShortly(t *testing.T) {
	s, c := startDNS(t), newClock()
	s.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg { m.Ns = nil; return m })
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
	wantEndpoint(t, r, "", NotFound)
	s.SetTXT("bank.example", bankTXT)
	c.add(minTTL)
	wantEndpoint(t, r, bankURL, 0)
}
