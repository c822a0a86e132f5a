package dnsserver

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"
)

func start(t *testing.T, records ...string) *Server {
	t.Helper()
	s, err := New(records...)
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
		if err := s.Close(); err != nil {
			t.Errorf("the second Close: %v", err)
		}
	})
	return s
}

func ask(t *testing.T, s *Server, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	q := new(dns.Msg)
	q.SetQuestion(dns.Fqdn(name), qtype)
	q.AuthenticatedData = true
	m, _, err := (&dns.Client{Net: network}).ExchangeContext(t.Context(), q, s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAnswersOnBothTransports(t *testing.T) {
	s := start(t, `Bank.example. 77 IN TXT "first"`)
	s.SetA("api.bank.example", netip.MustParseAddr("198.51.100.7"), netip.MustParseAddr("2001:db8::7"))
	s.SetTXT("long.example", strings.Repeat("x", 600), `back\slash`)
	s.SetCNAME("alias.example", "API.bank.example")
	for _, network := range []string{"udp", "tcp"} {
		for _, tt := range []struct {
			name          string
			qtype         uint16
			rcode, answer int
		}{
			{"bank.example", dns.TypeTXT, dns.RcodeSuccess, 1}, {"BANK.example", dns.TypeTXT, dns.RcodeSuccess, 1},
			{"api.bank.example", dns.TypeA, dns.RcodeSuccess, 1}, {"api.bank.example", dns.TypeAAAA, dns.RcodeSuccess, 1},
			{"alias.example", dns.TypeA, dns.RcodeSuccess, 2}, {"alias.example", dns.TypeCNAME, dns.RcodeSuccess, 1}, {"alias.example", dns.TypeTXT, dns.RcodeSuccess, 1},
			{"api.bank.example", dns.TypeTXT, dns.RcodeSuccess, 0}, {"example", dns.TypeTXT, dns.RcodeSuccess, 0},
			{"nowhere.example", dns.TypeTXT, dns.RcodeNameError, 0}, {"xbank.example", dns.TypeTXT, dns.RcodeNameError, 0},
		} {
			m := ask(t, s, network, tt.name, tt.qtype)
			if m.Rcode != tt.rcode || len(m.Answer) != tt.answer || !m.Authoritative || m.AuthenticatedData {
				t.Errorf("%s %s %s: got %v, want rcode %d and %d answers", network, tt.name, dns.TypeToString[tt.qtype], m, tt.rcode, tt.answer)
			}
			if tt.answer == 0 && len(m.Ns) != 1 {
				t.Errorf("%s %s: a negative answer without SOA", network, tt.name)
			}
		}
	}
	if got := s.Count("Bank.Example", dns.TypeTXT); got != 4 {
		t.Errorf("got %d queries counted, want 4", got)
	}
	if got := s.Queries()[Question{"nowhere.example.", dns.TypeTXT}]; got != 2 {
		t.Errorf("got %d queries counted, want 2", got)
	}
	long := ask(t, s, "tcp", "long.example", dns.TypeTXT)
	if got := strings.Join(long.Answer[0].(*dns.TXT).Txt, ""); len(long.Answer) != 2 || got != strings.Repeat("x", 600) {
		t.Errorf("got %d records, the first %q", len(long.Answer), got)
	}
	if got := long.Answer[1].(*dns.TXT).Txt[0]; got != `back\\slash` {
		t.Errorf("got %q, want one escaped backslash", got)
	}
	if m := ask(t, s, "udp", "long.example", dns.TypeTXT); !m.Truncated {
		t.Error("600 bytes without EDNS by UDP: not truncated")
	}
	if ttl := ask(t, s, "udp", "bank.example", dns.TypeTXT).Answer[0].Header().Ttl; ttl != 77 {
		t.Errorf("got TTL %d, want 77", ttl)
	}
}

func TestSwitches(t *testing.T) {
	s := start(t)
	s.SetTTL(5)
	s.SetTXT("bank.example", "a", "b")
	s.SetAuthentic(true)
	m := ask(t, s, "udp", "bank.example", dns.TypeTXT)
	if len(m.Answer) != 2 || m.Answer[0].Header().Ttl != 5 || !m.AuthenticatedData {
		t.Errorf("got %v, want two records of 5 s and AD", m)
	}
	s.SetHook(Truncate)
	if m := ask(t, s, "udp", "bank.example", dns.TypeTXT); !m.Truncated || len(m.Answer) != 0 {
		t.Errorf("got %v, want TC", m)
	}
	if m := ask(t, s, "tcp", "bank.example", dns.TypeTXT); m.Truncated || len(m.Answer) != 2 {
		t.Errorf("got %v, want the records by TCP", m)
	}
	s.SetHook(nil)
	s.SetRcode("bank.example", dns.RcodeServerFailure)
	if m := ask(t, s, "udp", "bank.example", dns.TypeTXT); m.Rcode != dns.RcodeServerFailure {
		t.Errorf("got %v, want SERVFAIL", m)
	}
	s.SetRcode("bank.example", dns.RcodeSuccess)
	s.SetTXT("bank.example")
	s.SetNegativeTTL(9)
	if m := ask(t, s, "udp", "bank.example", dns.TypeTXT); m.Rcode != dns.RcodeNameError || m.Ns[0].(*dns.SOA).Minttl != 9 {
		t.Errorf("got %v, want NXDOMAIN for 9 s", m)
	}
	if err := s.Start("127.0.0.1:0"); err == nil {
		t.Error("a second Start: got no error")
	}
}

func TestBadInputIsAnError(t *testing.T) {
	for _, record := range []string{"nonsense", "", "a. IN A 1.2.3"} {
		if _, err := New(record); err == nil {
			t.Errorf("record %q: got no error", record)
		}
	}
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start("256.0.0.1:0"); err == nil {
		t.Error("an impossible address: got no error")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing a server that is not running: %v", err)
	}
}
