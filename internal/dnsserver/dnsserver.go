// Package dnsserver is a small authoritative DNS server: a real one, on UDP and
// TCP of one port, for the demonstration network and for tests. It answers for
// every name; what it was not told does not exist.
//
// It is not hardened for the open internet, and has no DNSSEC of its own: the AD
// bit that it can set stands for a validating resolver in its place.
package dnsserver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	defaultTTL  = 60 // seconds, of records and of negative answers
	maxCNAMEs   = 16 // followed in one reply
	bindRetries = 20 // to find a port that is free on UDP and TCP
)

// A Question is what a client asked; Name is lower case and ends in a dot.
type Question struct {
	Name string
	Type uint16 // dns.TypeTXT and so on
}

// A Hook may change the reply to a query, replace it, or return nil to stay
// silent. It runs on the goroutine of the query, so that it may wait; several
// may run at once.
type Hook func(query *dns.Msg, tcp bool, reply *dns.Msg) *dns.Msg

// A Server holds records and answers from them. Its methods may be used at any
// time, before Start too, and from any goroutine.
type Server struct {
	mu        sync.Mutex
	records   map[string]map[uint16][]dns.RR
	rcodes    map[string]int
	counts    map[Question]int
	hook      Hook
	ttl       uint32
	negative  uint32
	authentic bool
	addr      string
	running   []*dns.Server
	done      chan error
}

// New makes a server with records in the notation of zone files, such as
// `bank.example. 60 IN TXT "v=spf1 -all"`. A name without a final dot is taken
// as absolute too.
func New(records ...string) (*Server, error) {
	s := &Server{
		records: map[string]map[uint16][]dns.RR{}, rcodes: map[string]int{}, counts: map[Question]int{},
		ttl: defaultTTL, negative: defaultTTL,
	}
	for _, text := range records {
		rr, err := dns.NewRR(text)
		if err != nil {
			return nil, fmt.Errorf("reading record %q: %w", text, err)
		}
		if rr == nil {
			return nil, fmt.Errorf("reading record %q: it is empty", text)
		}
		s.add(rr)
	}
	return s, nil
}

func (s *Server) add(rr dns.RR) {
	h := rr.Header()
	h.Name = dns.CanonicalName(h.Name)
	if s.records[h.Name] == nil {
		s.records[h.Name] = map[uint16][]dns.RR{}
	}
	s.records[h.Name][h.Rrtype] = append(s.records[h.Name][h.Rrtype], rr)
}

// remove takes the records of one type away, and the name with its last one.
func (s *Server) remove(name string, qtype uint16) {
	delete(s.records[name], qtype)
	if len(s.records[name]) == 0 {
		delete(s.records, name)
	}
}

func (s *Server) header(name string, qtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: dns.CanonicalName(name), Rrtype: qtype, Class: dns.ClassINET, Ttl: s.ttl}
}

// SetTXT makes texts the TXT records of name, one record each, cut into strings
// of 255 bytes. Without texts there are none.
func (s *Server) SetTXT(name string, texts ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(dns.CanonicalName(name), dns.TypeTXT)
	for _, text := range texts {
		rr := &dns.TXT{Hdr: s.header(name, dns.TypeTXT)}
		for len(text) > 255 {
			rr.Txt, text = append(rr.Txt, escape(text[:255])), text[255:]
		}
		rr.Txt = append(rr.Txt, escape(text))
		s.add(rr)
	}
}

// escape writes text as the DNS library wants a string to be written.
func escape(text string) string { return strings.ReplaceAll(text, `\`, `\\`) }

// SetA makes addrs the addresses of name: A records for IPv4, AAAA for IPv6.
// Without addrs there are none.
func (s *Server) SetA(name string, addrs ...netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(dns.CanonicalName(name), dns.TypeA)
	s.remove(dns.CanonicalName(name), dns.TypeAAAA)
	for _, a := range addrs {
		if a.Is4() {
			s.add(&dns.A{Hdr: s.header(name, dns.TypeA), A: a.AsSlice()})
		} else {
			s.add(&dns.AAAA{Hdr: s.header(name, dns.TypeAAAA), AAAA: a.AsSlice()})
		}
	}
}

// SetCNAME makes name another name for target; an empty target undoes it. A
// reply carries the chain as far as this server knows it.
func (s *Server) SetCNAME(name, target string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(dns.CanonicalName(name), dns.TypeCNAME)
	if target != "" {
		s.add(&dns.CNAME{Hdr: s.header(name, dns.TypeCNAME), Target: dns.Fqdn(target)})
	}
}

// SetTTL is the time to live, in seconds, of records set from now on.
func (s *Server) SetTTL(seconds uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ttl = seconds
}

// SetNegativeTTL is the time, in seconds, that the SOA record allows a negative
// answer to be kept.
func (s *Server) SetNegativeTTL(seconds uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.negative = seconds
}

// SetRcode answers every query for name with rcode, such as
// dns.RcodeServerFailure, and nothing else; dns.RcodeSuccess undoes it.
func (s *Server) SetRcode(name string, rcode int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rcode == dns.RcodeSuccess {
		delete(s.rcodes, dns.CanonicalName(name))
		return
	}
	s.rcodes[dns.CanonicalName(name)] = rcode
}

// SetAuthentic says whether replies carry the AD bit where the query asks for it.
func (s *Server) SetAuthentic(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authentic = on
}

// SetHook has every reply pass through hook; nil undoes it.
func (s *Server) SetHook(hook Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = hook
}

// Truncate is a [Hook] that cuts every UDP reply to its header, so that clients
// have to come by TCP.
func Truncate(_ *dns.Msg, tcp bool, reply *dns.Msg) *dns.Msg {
	if !tcp {
		reply.Truncated = true
		reply.Answer, reply.Ns = nil, nil
	}
	return reply
}

// Queries is a copy of how often each question was asked, by UDP or TCP.
func (s *Server) Queries() map[Question]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.counts)
}

// Count is how often name and qtype were asked.
func (s *Server) Count(name string, qtype uint16) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[Question{dns.CanonicalName(name), qtype}]
}

// Start listens on addr, UDP and TCP; port 0 is any that is free on both. It
// returns when queries are answered. A server starts once.
func (s *Server) Start(addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != nil {
		return errors.New("starting DNS server: started before")
	}
	l, pc, err := listen(addr)
	if err != nil {
		return fmt.Errorf("starting DNS server: %w", err)
	}
	s.addr = l.Addr().String()
	s.running = []*dns.Server{{Listener: l}, {PacketConn: pc}}
	s.done = make(chan error, len(s.running))
	var up sync.WaitGroup
	up.Add(len(s.running))
	for _, srv := range s.running {
		srv.Handler = dns.HandlerFunc(s.serve)
		srv.NotifyStartedFunc = up.Done
		srv.ReadTimeout, srv.WriteTimeout = 2*time.Second, 2*time.Second
		go func() { s.done <- srv.ActivateAndServe() }()
	}
	up.Wait() // it fails for a missing socket only, and these are there
	return nil
}

func listen(addr string) (net.Listener, net.PacketConn, error) {
	var last error
	for range bindRetries {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		pc, err := net.ListenPacket("udp", l.Addr().String())
		if err == nil {
			return l, pc, nil
		}
		last = errors.Join(err, l.Close())
		if _, port, _ := net.SplitHostPort(addr); port != "0" {
			break
		}
	}
	return nil, nil, last
}

// Addr is "ip:port", once started.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addr
}

// Close stops listening and waits, at most 5 s, for queries under way. A second
// Close does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	running := s.running
	s.running = nil
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var errs []error
	for _, srv := range running {
		errs = append(errs, srv.ShutdownContext(ctx))
	}
	for range running {
		select {
		case err := <-s.done:
			errs = append(errs, err)
		case <-ctx.Done(): // a hook that does not return
			errs = append(errs, ctx.Err())
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("closing DNS server: %w", err)
	}
	return nil
}

func (s *Server) serve(w dns.ResponseWriter, query *dns.Msg) {
	tcp := w.LocalAddr().Network() == "tcp"
	reply, hook := s.reply(query)
	if hook != nil {
		if reply = hook(query, tcp, reply); reply == nil {
			return
		}
	}
	if !tcp {
		size := dns.MinMsgSize
		if opt := query.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
		reply.Truncate(size)
	}
	// A client that is gone is no concern of ours.
	_ = w.WriteMsg(reply)
}

// reply answers from the records. The message shares none of them.
func (s *Server) reply(query *dns.Msg) (*dns.Msg, Hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := new(dns.Msg)
	m.SetReply(query)
	m.Authoritative = true
	opt := query.IsEdns0()
	if opt != nil {
		m.SetEdns0(dns.DefaultMsgSize, opt.Do())
	}
	m.AuthenticatedData = s.authentic && (query.AuthenticatedData || opt != nil && opt.Do())
	q := query.Question[0] // the library lets no other number through
	name := dns.CanonicalName(q.Name)
	s.counts[Question{name, q.Qtype}]++
	if code, ok := s.rcodes[name]; ok {
		m.Rcode = code
		return m, s.hook
	}
	for range maxCNAMEs {
		for _, rr := range s.records[name][q.Qtype] {
			m.Answer = append(m.Answer, dns.Copy(rr))
		}
		alias := s.records[name][dns.TypeCNAME]
		if len(m.Answer) > 0 && m.Answer[len(m.Answer)-1].Header().Rrtype == q.Qtype || len(alias) == 0 {
			break
		}
		m.Answer = append(m.Answer, dns.Copy(alias[0]))
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
	}
	if n := len(m.Answer); n == 0 || m.Answer[n-1].Header().Rrtype != q.Qtype {
		if !s.exists(name) {
			m.Rcode = dns.RcodeNameError
		}
		m.Ns = append(m.Ns, s.soa())
	}
	return m, s.hook
}

// exists says whether name, or a name under it, has a record.
func (s *Server) exists(name string) bool {
	for known := range s.records {
		if dns.IsSubDomain(name, known) {
			return true
		}
	}
	return false
}

func (s *Server) soa() *dns.SOA {
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: ".", Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: s.negative},
		Ns:  "ns.invalid.", Mbox: "nobody.invalid.", Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: s.negative,
	}
}
