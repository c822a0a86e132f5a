package discovery

import (
	"errors"
	"fmt"
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

// patience is how long a test waits for what comes at once unless the machine stands still.
const patience = time.Minute

// newResolver has patience unless the test is about a time-out.
func newResolver(t *testing.T, cfg Config) *Resolver {
	t.Helper()
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Timeout == 0 {
		r.timeout, r.exchangeTime = 2*patience, patience
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
	const whole = 20 * time.Second // what a look-up takes where an answer is missing
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Timeout: whole})
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
		// On a machine that stands still the second family may be late; it is kept then.
		for len(got) == 1 && len(tt.want) == 2 && time.Since(start) < patience {
			time.Sleep(10 * time.Millisecond)
			got, err = r.LookupAddrs(t.Context(), name)
		}
		if KindOf(err) != tt.kind || fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("LookupAddrs(%q): got %v, %v, want %v, %v", name, got, err, tt.want, tt.kind)
		}
		if took := time.Since(start); name == "half.example" && took > whole*3/4 {
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

func TestErrorSaysWhatToDo(t *testing.T) {
	s := startDNS(t)
	_, err := newResolver(t, Config{Resolvers: []string{s.Addr()}}).Endpoint(t.Context(), bank(t), "")
	if got, want := fmt.Sprint(err), "finding bank.example: notFound: DNS has no TXT record"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	names := map[string]bool{}
	for k := NotFound; k <= Forbidden; k++ {
		names[k.String()] = true
	}
	if len(names) != 6 || fmt.Sprint(Configured, TXT, Kind(0), Source(9)) != "configured txt Kind(0) Source(9)" {
		t.Errorf("got names %v, %v, %v, %v, %v", names, Configured, TXT, Kind(0), Source(9))
	}
	if KindOf(errors.New("x")) != 0 || KindOf(nil) != 0 {
		t.Error("a foreign error has a kind")
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
