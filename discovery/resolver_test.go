package discovery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/dnsserver"

	"github.com/miekg/dns"
)

const (
	bankURL = "https://api.bank.example:8443/v1/transferblocks"
	bankTXT = "ebl-transferblock=" + bankURL
)

// A clock is moved by hand.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func startDNS(t *testing.T, records ...string) *dnsserver.Server {
	t.Helper()
	s, err := dnsserver.New(records...)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newResolver(t *testing.T, cfg Config) *Resolver {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func bank(t *testing.T) identity.Host { return host(t, "bank.example") }

func host(t *testing.T, s string) identity.Host {
	t.Helper()
	h, err := identity.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// wantEndpoint finds the bank and checks the URL, or the kind of the error.
func wantEndpoint(t *testing.T, r *Resolver, wantURL string, wantKind Kind) Endpoint {
	t.Helper()
	e, err := r.Endpoint(t.Context(), bank(t), "")
	if KindOf(err) != wantKind || (err == nil) != (wantKind == 0) {
		t.Fatalf("Endpoint: got %v, %v, want kind %v", e.URL, err, wantKind)
	}
	if err == nil && e.URL.String() != wantURL {
		t.Fatalf("Endpoint: got %s, want %s", e.URL, wantURL)
	}
	return e
}

func TestConfiguredEndpointWinsAndAsksNobody(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	e, err := r.Endpoint(t.Context(), bank(t), "https://other.example/v1/transferblocks")
	if err != nil || e.URL.String() != "https://other.example/v1/transferblocks" || e.Source != Configured || !e.Expires.IsZero() {
		t.Errorf("got %+v, %v", e, err)
	}
	if _, err := r.Endpoint(t.Context(), bank(t), "http://other.example/"); KindOf(err) != BadRecord {
		t.Errorf("a bad configured endpoint: got %v, want badRecord and no fall-back to DNS", err)
	}
	if got := s.Queries(); len(got) != 0 {
		t.Errorf("got queries %v, want none", got)
	}
}

func TestEndpointFromTXT(t *testing.T) {
	long := "ebl-transferblock=https://api.bank.example/" + strings.Repeat("a/", 130) + "v1/transferblocks"
	tests := []struct {
		name    string
		records []string
		want    string
		kind    Kind
	}{
		{"prefixed", []string{bankTXT}, bankURL, 0},
		{"bare", []string{"api.bank.example:8443/v1/transferblock"}, "https://api.bank.example:8443/v1/transferblock", 0},
		{"strings of one record are joined", []string{long}, strings.TrimPrefix(long, "ebl-transferblock="), 0},
		{"beside SPF and odd bytes", []string{"v=spf1 -all", "a \"quoted\" \\ \x00\xff thing", bankTXT}, bankURL, 0},
		{"two equal", []string{bankTXT, bankTXT + ""}, bankURL, 0},
		{"two different", []string{bankTXT, "ebl-transferblock=https://evil.example/v1/transferblocks"}, "", Ambiguous},
		{"only SPF", []string{"v=spf1 -all"}, "", NotFound},
		{"http", []string{"ebl-transferblock=http://api.bank.example/v1/transferblocks"}, "", BadRecord},
		{"an escaped byte is not its digits", []string{"ebl-transferblock=https://api.bank.example/\x31\\049/v1/transferblocks"}, "", BadRecord},
		{"UTF-8 host", []string{"ebl-transferblock=https://bücher.example/v1/transferblocks"}, "https://xn--bcher-kva.example/v1/transferblocks", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startDNS(t)
			s.SetTXT("bank.example", tt.records...)
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}, DNSSEC: "off"})
			e := wantEndpoint(t, r, tt.want, tt.kind)
			if tt.kind == 0 && (e.Source != TXT || e.AuthenticData || e.Stale || e.Record == "") {
				t.Errorf("got %+v", e)
			}
			wantEndpoint(t, r, tt.want, tt.kind)
			if got := s.Count("bank.example", dns.TypeTXT); got != 1 {
				t.Errorf("got %d queries for two lookups, want 1: both kinds of answer are cached", got)
			}
		})
	}
}

func TestOneOfTheCallersMayChangeItsURL(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	wantEndpoint(t, r, bankURL, 0).URL.Host = "evil.example"
	wantEndpoint(t, r, bankURL, 0)
}

func TestPortOfPlatformIsNotInTheName(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	for _, name := range []string{"bank.example:9443", "BANK.example.", "bank.example"} {
		if e, err := r.Endpoint(t.Context(), host(t, name), ""); err != nil || e.URL.String() != bankURL {
			t.Errorf("%s: got %v, %v", name, e.URL, err)
		}
	}
	if got := s.Queries(); len(got) != 1 || got[dnsserver.Question{Name: "bank.example.", Type: dns.TypeTXT}] != 1 {
		t.Errorf("got queries %v, want one for bank.example.", got)
	}
	if _, err := r.Endpoint(t.Context(), identity.Host{}, ""); KindOf(err) != BadRecord {
		t.Errorf("no platform: got %v, want badRecord", err)
	}
}

func TestLongestName(t *testing.T) {
	name := strings.Repeat("abcdefghi.", 24) + "bank.example" // 252 bytes
	s := startDNS(t)
	s.SetTXT(name, bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	if e, err := r.Endpoint(t.Context(), host(t, name), ""); err != nil || e.URL.String() != bankURL {
		t.Errorf("got %v, %v", e.URL, err)
	}
	if _, err := identity.ParseHost("abcd." + name); err == nil {
		t.Error("a name of 257 bytes: got no error")
	}
}

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

func TestSilentResolverEndsAtTheDeadline(t *testing.T) {
	s := startDNS(t)
	s.SetHook(func(*dns.Msg, bool, *dns.Msg) *dns.Msg { return nil })
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Timeout: 300 * time.Millisecond})
	start := time.Now()
	wantEndpoint(t, r, "", Temporary)
	if took := time.Since(start); took > 3*time.Second {
		t.Errorf("took %v, want about 300 ms", took)
	}
}

func TestFirstResolverDead(t *testing.T) {
	dead, alive, c := startDNS(t), startDNS(t), newClock()
	dead.SetHook(func(*dns.Msg, bool, *dns.Msg) *dns.Msg { return nil })
	alive.SetTXT("bank.example", bankTXT)
	alive.SetTXT("other.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{dead.Addr(), alive.Addr()}, Timeout: time.Second, Now: c.now})
	wantEndpoint(t, r, bankURL, 0)
	if _, err := r.Endpoint(t.Context(), host(t, "other.example"), ""); err != nil {
		t.Fatal(err)
	}
	if got := dead.Count("other.example", dns.TypeTXT); got != 0 {
		t.Errorf("the silent resolver was asked %d times more, want 0 for 30 s", got)
	}
	dead.SetHook(nil)
	dead.SetTXT("bank.example", "ebl-transferblock=https://first.example/v1/transferblocks")
	c.add(time.Minute)
	wantEndpoint(t, r, "https://first.example/v1/transferblocks", 0)
}

func TestClosedAndFailingResolversArePassedOver(t *testing.T) {
	closed, failing, alive := startDNS(t), startDNS(t), startDNS(t)
	addr := closed.Addr()
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	failing.SetRcode("bank.example", dns.RcodeServerFailure)
	alive.SetTXT("bank.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{addr, failing.Addr(), alive.Addr()}})
	wantEndpoint(t, r, bankURL, 0)
}

func TestReferralIsNotAnAnswer(t *testing.T) {
	lame, alive := startDNS(t), startDNS(t)
	lame.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
		m.Authoritative, m.Rcode = false, dns.RcodeSuccess
		m.Ns = []dns.RR{&dns.NS{Hdr: dns.RR_Header{Name: "example.", Rrtype: dns.TypeNS, Class: dns.ClassINET, Ttl: 60}, Ns: "ns.example."}}
		return m
	})
	alive.SetTXT("bank.example", bankTXT)
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{lame.Addr(), alive.Addr()}}), bankURL, 0)
}

func TestTruncatedUDPIsAskedAgainByTCP(t *testing.T) {
	many := []string{bankTXT}
	for i := range 30 {
		many = append(many, fmt.Sprintf("filler-%d=%s", i, strings.Repeat("x", 90)))
	}
	for name, tt := range map[string]struct {
		records []string
		hook    dnsserver.Hook
	}{
		"TC and no records":         {[]string{bankTXT}, dnsserver.Truncate},
		"longer than the EDNS size": {many, nil},
		"cut off without TC": {[]string{bankTXT}, func(_ *dns.Msg, tcp bool, m *dns.Msg) *dns.Msg {
			if !tcp { // a datagram whose header promises more than follows
				m.Answer = append(m.Answer, &dns.RFC3597{Hdr: dns.RR_Header{Name: "bank.example.", Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, Rdata: "00"})
			}
			return m
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := startDNS(t)
			s.SetTXT("bank.example", tt.records...)
			s.SetHook(tt.hook)
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
			wantEndpoint(t, r, bankURL, 0)
			if got := s.Count("bank.example", dns.TypeTXT); got != 2 {
				t.Errorf("got %d queries, want one by UDP and one by TCP", got)
			}
		})
	}
}

func TestHugeTXTOverTCPIsRefused(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT, strings.Repeat("x", 60_000))
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	wantEndpoint(t, r, "", BadRecord)
	many := []string{bankTXT}
	for i := range 64 {
		many = append(many, fmt.Sprintf("%d%s", i, strings.Repeat("x", 900)))
	}
	s.SetTXT("bank.example", many...)
	r.Flush()
	wantEndpoint(t, r, "", BadRecord)
}

func TestTruncatedByTCPTooIsTemporary(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	s.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg { m.Truncated = true; return m })
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}, Timeout: 400 * time.Millisecond}), "", Temporary)
}

// chain makes n CNAMEs from bank.example to the records of c<n>.example.
func chain(s *dnsserver.Server, n int) {
	from := "bank.example"
	for i := range n {
		to := fmt.Sprintf("c%d.example", i+1)
		s.SetCNAME(from, to)
		s.SetTXT(from)
		from = to
	}
	s.SetCNAME(from, "")
	s.SetTXT(from, bankTXT)
}

// piecemeal has the server tell one CNAME a reply, as servers of one zone do.
func piecemeal(q *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
	if len(m.Answer) > 1 && m.Answer[0].Header().Rrtype == dns.TypeCNAME {
		m.Answer, m.Ns, m.Rcode = m.Answer[:1], nil, dns.RcodeSuccess
	}
	return m
}

func TestCNAMEs(t *testing.T) {
	for name, hook := range map[string]dnsserver.Hook{"one reply": nil, "piecemeal": piecemeal} {
		t.Run(name, func(t *testing.T) {
			s := startDNS(t)
			s.SetHook(hook)
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
			for n, want := range map[int]Kind{1: 0, 8: 0, 9: BadRecord, 12: BadRecord} {
				chain(s, n)
				r.Flush()
				_, err := r.Endpoint(t.Context(), bank(t), "")
				if KindOf(err) != want {
					t.Errorf("%d CNAMEs: got %v, want %v", n, err, want)
				}
			}
			s.SetCNAME("bank.example", "b.example")
			s.SetCNAME("b.example", "c.example")
			s.SetCNAME("c.example", "B.example")
			r.Flush()
			wantEndpoint(t, r, "", BadRecord)
			s.SetCNAME("bank.example", "bank.example")
			r.Flush()
			wantEndpoint(t, r, "", BadRecord)
			s.SetCNAME("bank.example", "nowhere.example")
			r.Flush()
			wantEndpoint(t, r, "", NotFound)
		})
	}
}

func TestShortestTTLOfTheChainCounts(t *testing.T) {
	s, c := startDNS(t), newClock()
	s.SetTTL(45)
	s.SetCNAME("bank.example", "c1.example")
	s.SetTTL(3600)
	s.SetTXT("c1.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now})
	if got := wantEndpoint(t, r, bankURL, 0).Expires.Sub(c.now()); got != 45*time.Second {
		t.Errorf("got %v, want 45s", got)
	}
}

func evilReply(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: 60},
		Txt: []string{"ebl-transferblock=https://evil.example/v1/transferblocks"}}}
	return m
}

// TestSpoofedDatagramsArePassedOver sends forgeries before the true answer,
// from the resolver's own address, so that only their content can give them away.
func TestSpoofedDatagramsArePassedOver(t *testing.T) {
	forge := map[string]func(m *dns.Msg){
		"wrong id":       func(m *dns.Msg) { m.Id++ },
		"wrong name":     func(m *dns.Msg) { m.Question[0].Name = "evil.example." },
		"wrong type":     func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeA },
		"wrong class":    func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS },
		"no question":    func(m *dns.Msg) { m.Question = nil },
		"two questions":  func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"not a response": func(m *dns.Msg) { m.Response = false },
		"other opcode":   func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify },
	}
	for name, change := range forge {
		t.Run(name, func(t *testing.T) {
			pc, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer pc.Close()
			go func() {
				buf := make([]byte, 4096)
				for {
					n, from, err := pc.ReadFrom(buf)
					if err != nil {
						return
					}
					q := new(dns.Msg)
					if q.Unpack(buf[:n]) != nil {
						continue
					}
					bad, good := evilReply(q), evilReply(q)
					change(bad)
					good.Answer[0].(*dns.TXT).Txt = []string{bankTXT}
					for _, m := range []*dns.Msg{bad, bad, good} {
						if b, err := m.Pack(); err == nil {
							pc.WriteTo(b, from)
						}
					}
					pc.WriteTo([]byte("short"), from)
				}
			}()
			wantEndpoint(t, newResolver(t, Config{Resolvers: []string{pc.LocalAddr().String()}}), bankURL, 0)
		})
	}
}

func TestAnswerToAnotherQuestionByTCPIsNoAnswer(t *testing.T) {
	s := startDNS(t)
	s.SetHook(func(q *dns.Msg, tcp bool, m *dns.Msg) *dns.Msg {
		if !tcp {
			return dnsserver.Truncate(q, tcp, m)
		}
		evil := evilReply(q)
		evil.Question[0].Name = "evil.example."
		return evil
	})
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}, Timeout: 400 * time.Millisecond}), "", Temporary)
}

func TestRecordsOfOtherOwnersAreIgnored(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	s.SetHook(func(q *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
		evil := evilReply(q).Answer[0]
		evil.Header().Name = "evil.example."
		chaos := evilReply(q).Answer[0]
		chaos.Header().Class = dns.ClassCHAOS
		m.Answer = append([]dns.RR{evil, chaos}, m.Answer...)
		m.Extra = append(m.Extra, evilReply(q).Answer[0])
		return m
	})
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}}), bankURL, 0)
}

func TestNameInMixedCaseInTheAnswer(t *testing.T) {
	s := startDNS(t)
	s.SetTXT("bank.example", bankTXT)
	s.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
		m.Question[0].Name, m.Answer[0].Header().Name = "BaNk.ExAmPlE.", "bANK.eXAMPLE."
		return m
	})
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}}), bankURL, 0)
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

func TestDNSSEC(t *testing.T) {
	for _, tt := range []struct {
		mode    string
		trusted bool
		signed  bool
		kind    Kind
		wantAD  bool
		wantDO  bool
		wantQAD bool
	}{
		{"off", false, true, 0, false, false, false},
		{"", true, true, 0, false, false, false},
		{"prefer", false, true, 0, false, true, true}, // an AD bit that anybody could have set
		{"prefer", true, true, 0, true, true, true},
		{"prefer", true, false, 0, false, true, true},
		{"require", true, true, 0, true, true, true},
		{"require", true, false, Insecure, false, true, true},
	} {
		t.Run(fmt.Sprintf("%s trusted=%v signed=%v", tt.mode, tt.trusted, tt.signed), func(t *testing.T) {
			s := startDNS(t)
			s.SetTXT("bank.example", bankTXT)
			s.SetAuthentic(tt.signed)
			var do, ad atomic.Bool
			s.SetHook(func(q *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
				ad.Store(q.AuthenticatedData)
				if opt := q.IsEdns0(); opt != nil {
					do.Store(opt.Do())
					if opt.UDPSize() != 1232 {
						t.Errorf("got EDNS size %d, want 1232", opt.UDPSize())
					}
				} else {
					t.Error("the query has no EDNS0")
				}
				m.AuthenticatedData = tt.signed // even unasked
				return m
			})
			r := newResolver(t, Config{Resolvers: []string{s.Addr()}, DNSSEC: tt.mode, Trusted: tt.trusted})
			if e := wantEndpoint(t, r, bankURL, tt.kind); e.AuthenticData != tt.wantAD {
				t.Errorf("got AuthenticData %v, want %v", e.AuthenticData, tt.wantAD)
			}
			if do.Load() != tt.wantDO || ad.Load() != tt.wantQAD {
				t.Errorf("the query has DO %v, AD %v, want %v, %v", do.Load(), ad.Load(), tt.wantDO, tt.wantQAD)
			}
		})
	}
}

func TestOneUnsignedLinkSpoilsTheChain(t *testing.T) {
	s := startDNS(t)
	chain(s, 2)
	s.SetHook(func(q *dns.Msg, tcp bool, m *dns.Msg) *dns.Msg {
		m.AuthenticatedData = q.Question[0].Name != "c1.example."
		return piecemeal(q, tcp, m)
	})
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}, DNSSEC: "require", Trusted: true}), "", Insecure)
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
	s.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg { <-release; return m })
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
	if got := s.Count("bank.example", dns.TypeTXT); got != 1 {
		t.Errorf("got %d queries, want 1", got)
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
		c.put(entry{q: question{fmt.Sprint(i), dns.TypeA}, good: &answer{expires: now.Add(time.Hour)}}, gen)
		// The first is written again and again, and so is never the oldest.
		c.put(entry{q: question{"0", dns.TypeA}, good: &answer{expires: now.Add(time.Hour)}}, gen)
	}
	if c.len() != maxCacheEntries || len(c.byQ) != maxCacheEntries {
		t.Errorf("got %d and %d entries, want %d", c.len(), len(c.byQ), maxCacheEntries)
	}
	for name, want := range map[string]bool{"0": true, "1": false, "10": false, "11": true, fmt.Sprint(maxCacheEntries + 9): true} {
		if e, _ := c.get(question{name, dns.TypeA}, now); (e != nil) != want {
			t.Errorf("question %s: kept %v, want %v", name, e != nil, want)
		}
	}
}

func TestLookupAddrs(t *testing.T) {
	s := startDNS(t)
	four, six := netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7")
	s.SetA("both.example", six, four)
	s.SetA("four.example", four)
	s.SetA("six.example", six)
	s.SetTXT("none.example", "x")
	s.SetCNAME("alias.example", "both.example")
	s.SetA("half.example", four)
	s.SetHook(func(q *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
		if q.Question[0].Name == "half.example." && q.Question[0].Qtype == dns.TypeAAAA {
			return nil
		}
		return m
	})
	s.SetRcode("broken.example", dns.RcodeServerFailure)
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	for name, tt := range map[string]struct {
		want []netip.Addr
		kind Kind
	}{
		"both.example": {[]netip.Addr{four, six}, 0}, "BOTH.Example.": {[]netip.Addr{four, six}, 0}, "alias.example": {[]netip.Addr{four, six}, 0},
		"four.example": {[]netip.Addr{four}, 0}, "six.example": {[]netip.Addr{six}, 0}, "half.example": {[]netip.Addr{four}, 0},
		"none.example": {nil, NotFound}, "nowhere.example": {nil, NotFound}, "broken.example": {nil, Temporary},
		"192.0.2.1": {nil, BadRecord}, "::1": {nil, BadRecord}, "both.example:443": {nil, BadRecord}, "": {nil, BadRecord}, "a b": {nil, BadRecord},
	} {
		start := time.Now()
		got, err := r.LookupAddrs(t.Context(), name)
		if KindOf(err) != tt.kind || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("LookupAddrs(%q): got %v, %v, want %v, %v", name, got, err, tt.want, tt.kind)
		}
		if took := time.Since(start); name == "half.example" && took > 1500*time.Millisecond {
			t.Errorf("a server that never answers AAAA: took %v, want about 300 ms", took)
		}
	}
}

func TestManyAddressesAreCutOff(t *testing.T) {
	s := startDNS(t)
	var many []netip.Addr
	for i := range 200 {
		many = append(many, netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}))
	}
	s.SetA("many.example", many...)
	got, err := newResolver(t, Config{Resolvers: []string{s.Addr()}}).LookupAddrs(t.Context(), "many.example")
	if err != nil || len(got) != maxAddrs {
		t.Errorf("got %d addresses, %v, want %d", len(got), err, maxAddrs)
	}
}

func TestLocalhostAsksNobody(t *testing.T) {
	s := startDNS(t)
	s.SetA("localhost", netip.MustParseAddr("198.51.100.7"))
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	for _, name := range []string{"localhost", "LOCALHOST.", "a.b.localhost"} {
		got, err := r.LookupAddrs(t.Context(), name)
		if err != nil || fmt.Sprint(got) != "[127.0.0.1 ::1]" {
			t.Errorf("%s: got %v, %v, want 127.0.0.1 and ::1", name, got, err)
		}
	}
	if got := s.Queries(); len(got) != 0 {
		t.Errorf("got queries %v, want none", got)
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"unknown DNSSEC mode":      {Resolvers: []string{"127.0.0.1"}, DNSSEC: "yes"},
		"require of the untrusted": {Resolvers: []string{"127.0.0.1"}, DNSSEC: "require"},
		"negative time-out":        {Resolvers: []string{"127.0.0.1"}, Timeout: -1},
		"no port":                  {Resolvers: []string{"dns.example"}},
		"port 0":                   {Resolvers: []string{"127.0.0.1:0"}},
		"empty resolver":           {Resolvers: []string{""}},
		"no host":                  {Resolvers: []string{":53"}},
		"invalid network":          {Resolvers: []string{"127.0.0.1"}, AllowNetworks: []netip.Prefix{{}}},
		"wider than IPv4":          {Resolvers: []string{"127.0.0.1"}, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/90")}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1:53", "127.0.0.1:5353": "127.0.0.1:5353", "::1": "[::1]:53", "[::1]": "[::1]:53", "[::1]:54": "[::1]:54", "dns.example:53": "dns.example:53",
	} {
		if got, err := resolverAddr(in); err != nil || got != want {
			t.Errorf("resolver %q: got %q, %v, want %q", in, got, err, want)
		}
	}
}
