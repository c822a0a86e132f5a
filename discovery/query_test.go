package discovery

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/internal/dnsserver"

	"github.com/miekg/dns"
)

func TestSilentResolverEndsAtTheDeadline(t *testing.T) {
	s := startDNS(t)
	s.SetHook(func(*dns.Msg, bool, *dns.Msg) *dns.Msg { return nil })
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, Timeout: 300 * time.Millisecond})
	start := time.Now()
	wantEndpoint(t, r, "", Temporary)
	if took := time.Since(start); took >= defaultTimeout {
		t.Errorf("took %v, want about 300 ms", took)
	}
}

func TestFirstResolverDead(t *testing.T) {
	dead, alive, c := startDNS(t), startDNS(t), newClock()
	dead.SetHook(func(*dns.Msg, bool, *dns.Msg) *dns.Msg { return nil })
	alive.SetTXT("bank.example", bankTXT)
	alive.SetTXT("other.example", bankTXT)
	r := newResolver(t, Config{Resolvers: []string{dead.Addr(), alive.Addr()}, Timeout: 10 * time.Second, Now: c.now})
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

func TestOneUnsignedLinkSpoilsTheChain(t *testing.T) {
	s := startDNS(t)
	chain(s, 2)
	s.SetHook(func(q *dns.Msg, tcp bool, m *dns.Msg) *dns.Msg {
		m.AuthenticatedData = q.Question[0].Name != "c1.example."
		return piecemeal(q, tcp, m)
	})
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}, DNSSEC: "require", Trusted: true}), "", Insecure)
}

func TestTwoCNAMEsOfOneName(t *testing.T) {
	s := startDNS(t)
	chain(s, 1)
	s.SetHook(func(_ *dns.Msg, _ bool, m *dns.Msg) *dns.Msg {
		second := dns.Copy(m.Answer[0]).(*dns.CNAME)
		second.Target = "evil.example."
		m.Answer = append(m.Answer, second)
		return m
	})
	wantEndpoint(t, newResolver(t, Config{Resolvers: []string{s.Addr()}}), "", BadRecord)
}

func TestSystemResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	if _, err := systemResolvers(path); err == nil {
		t.Error("no file: got no error")
	}
	for text, want := range map[string]string{
		"search corp.example\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n": "[192.0.2.53 2001:db8::53]",
		"search corp.example\n": "[]",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := systemResolvers(path)
		if fmt.Sprint(got) != want || (err != nil) != (len(got) == 0) {
			t.Errorf("%q: got %v, %v, want %s", text, got, err, want)
		}
	}
}
