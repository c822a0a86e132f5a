package discovery

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	ednsSize     = 1232 // fits every path without fragments, which could be forged
	maxUDP       = 4096
	maxStrayUDP  = 100 // datagrams that are not ours, in one exchange
	silentFor    = 30 * time.Second
	firstPause   = 100 * time.Millisecond
	longestPause = time.Second
)

// A server is one resolver.
type server struct {
	addr   string
	silent atomic.Int64 // until then, in Unix nanoseconds, it is asked last
}

// A reply is what the answers to a question and to its CNAMEs come to.
type reply struct {
	rrs       []dns.RR // of the type asked for; empty: the name or type does not exist
	ttl       uint32   // the lowest on the way
	authentic bool
}

// answer reads the records of a reply. Its errors are [*Error] without a name.
func (rep reply) answer(q question) (*answer, error) {
	if len(rep.rrs) == 0 {
		return nil, &Error{Kind: NotFound, Err: fmt.Errorf("DNS has no %s record", dns.TypeToString[q.qtype])}
	}
	a := new(answer)
	var texts []string
	for _, rr := range rep.rrs {
		switch rr := rr.(type) {
		case *dns.TXT:
			texts = append(texts, joinTXT(rr.Txt))
		case *dns.A:
			if ip, ok := netip.AddrFromSlice(rr.A); ok && len(a.addrs) < maxAddrs {
				a.addrs = append(a.addrs, ip.Unmap())
			}
		case *dns.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA); ok && len(a.addrs) < maxAddrs {
				a.addrs = append(a.addrs, ip)
			}
		}
	}
	var err error
	switch {
	case q.qtype == dns.TypeTXT && q.keys:
		a.url, a.record, err = ParseKeysTXT(texts)
	case q.qtype == dns.TypeTXT:
		a.url, a.record, err = ParseTXT(texts)
	case len(a.addrs) == 0:
		err = &Error{Kind: BadRecord, Err: errors.New("no readable address")}
	}
	return a, err
}

// joinTXT joins the strings of a record and undoes the escapes that the DNS
// library writes into them (RFC 1035, section 5.1).
func joinTXT(parts []string) string {
	s := strings.Join(parts, "")
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		if i+2 < len(s) && isDigits(s[i:i+3]) {
			b.WriteByte((s[i]-'0')*100 + (s[i+1]-'0')*10 + s[i+2] - '0')
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isDigits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// follow asks q and, where the answer is a CNAME that leads out of the reply,
// goes on asking. The reply is of use with an error too: its ttl then says how
// long the error is worth remembering.
func (r *Resolver) follow(ctx context.Context, q question) (reply, error) {
	rep := reply{ttl: math.MaxInt32, authentic: r.trusted && r.dnssec}
	name := dns.Fqdn(q.name)
	seen := map[string]bool{name: true}
	for {
		m, err := r.query(ctx, name, q.qtype)
		if err != nil {
			return rep, err
		}
		rep.authentic = rep.authentic && m.AuthenticatedData
		asked := name
		for {
			target, err := rep.step(m, name, q.qtype)
			if err != nil {
				return rep, err
			}
			if target == "" {
				break
			}
			if seen[target] {
				return rep, &Error{Kind: BadRecord, Err: errors.New("the CNAMEs are a loop")}
			}
			if len(seen) > maxCNAMEs {
				return rep, &Error{Kind: BadRecord, Err: fmt.Errorf("more than %d CNAMEs", maxCNAMEs)}
			}
			seen[target] = true
			name = target
		}
		if len(rep.rrs) > 0 {
			return rep, nil
		}
		// NXDOMAIN is about the last name of the chain (RFC 6604, section 3).
		if m.Rcode == dns.RcodeNameError || name == asked {
			rep.ttl = min(rep.ttl, negativeTTL(m))
			return rep, nil
		}
	}
}

// step collects the records that m has for name, or returns the CNAME to go to.
// Records with another owner are nobody's answer to this question.
func (rep *reply) step(m *dns.Msg, name string, qtype uint16) (target string, err error) {
	for _, rr := range m.Answer {
		h := rr.Header()
		if h.Class != dns.ClassINET || dns.CanonicalName(h.Name) != name {
			continue
		}
		switch {
		case h.Rrtype == qtype:
			rep.rrs = append(rep.rrs, rr)
		case h.Rrtype == dns.TypeCNAME:
			to := dns.CanonicalName(rr.(*dns.CNAME).Target)
			if target != "" && target != to {
				return "", &Error{Kind: BadRecord, Err: errors.New("a name has two CNAMEs")}
			}
			target = to
		default:
			continue
		}
		rep.ttl = min(rep.ttl, effectiveTTL(h.Ttl))
	}
	if len(rep.rrs) > 0 {
		return "", nil
	}
	return target, nil
}

func effectiveTTL(ttl uint32) uint32 {
	if ttl >= 1<<31 {
		return 0 // RFC 2181, section 8
	}
	return ttl
}

// negativeTTL is RFC 2308, section 5; without a SOA the shortest time serves.
func negativeTTL(m *dns.Msg) uint32 {
	for _, rr := range m.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(effectiveTTL(soa.Hdr.Ttl), effectiveTTL(soa.Minttl))
		}
	}
	return 0
}

// query asks the resolvers in order, and round again until ctx ends. When all
// of them answered, and none could say, one more round is enough.
func (r *Resolver) query(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	pause := firstPause
	for round := 1; ; round++ {
		silence := false
		var last error
		for _, s := range r.order() {
			m, err := r.exchange(ctx, s.addr, name, qtype)
			if err != nil {
				silence = true
				s.silent.Store(r.now().Add(silentFor).UnixNano())
			} else {
				s.silent.Store(0)
				if err = usable(m); err == nil {
					return m, nil
				}
			}
			last = fmt.Errorf("asking resolver %s: %w", s.addr, err)
			if ctx.Err() != nil {
				return nil, last
			}
		}
		if !silence && round > 1 {
			return nil, last
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-time.After(pause):
		}
		pause = min(2*pause, longestPause)
	}
}

// order is the resolvers as configured, those that were silent lately last.
func (r *Resolver) order() []*server {
	now := r.now().UnixNano()
	out := make([]*server, 0, len(r.servers))
	var silent []*server
	for _, s := range r.servers {
		if now < s.silent.Load() {
			silent = append(silent, s)
		} else {
			out = append(out, s)
		}
	}
	return append(out, silent...)
}

// usable says whether m is an answer, and not a resolver's inability.
func usable(m *dns.Msg) error {
	switch m.Rcode {
	case dns.RcodeSuccess, dns.RcodeNameError:
	default:
		return fmt.Errorf("it answers %s (rcode %d)", dns.RcodeToString[m.Rcode], m.Rcode)
	}
	if m.Rcode == dns.RcodeSuccess && len(m.Answer) == 0 && !m.Authoritative {
		referral := false
		for _, rr := range m.Ns {
			switch rr.(type) {
			case *dns.SOA:
				return nil
			case *dns.NS:
				referral = true
			}
		}
		if referral {
			return errors.New("it refers us elsewhere, so it is not a resolver")
		}
	}
	return nil
}

// exchange asks one resolver, by UDP and, where that was truncated, by TCP.
func (r *Resolver) exchange(ctx context.Context, addr, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg)
	q.SetQuestion(name, qtype) // with a random id; each socket has a random port
	q.SetEdns0(ednsSize, r.dnssec)
	q.AuthenticatedData = r.dnssec
	m, err := r.roundTrip(ctx, "udp", addr, q)
	if err == nil && !m.Truncated || err != nil && !errors.Is(err, errUnreadable) {
		return m, err
	}
	m, err = r.roundTrip(ctx, "tcp", addr, q)
	if err == nil && m.Truncated {
		return nil, errors.New("truncated by TCP too")
	}
	return m, err
}

// errUnreadable is a datagram with our id that cannot be parsed: cut off on the
// way, or forged. TCP settles which.
var errUnreadable = errors.New("an unreadable datagram")

func (r *Resolver) roundTrip(ctx context.Context, network, addr string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.exchangeTime)
	defer cancel()
	r.stats.queries.Add(1)
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if t, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(t); err != nil {
			return nil, err
		}
	}
	co := &dns.Conn{Conn: conn}
	if err := co.WriteMsg(q); err != nil {
		return nil, err
	}
	if network == "udp" {
		return readUDP(conn, q)
	}
	m, err := co.ReadMsg()
	if err != nil {
		return nil, err
	}
	if !answers(m, q) {
		return nil, errors.New("the answer is to another question")
	}
	return m, nil
}

// readUDP passes over datagrams that do not answer q, since anybody can send
// one: giving up on the first would let a guesser stop the lookup.
func readUDP(conn net.Conn, q *dns.Msg) (*dns.Msg, error) {
	buf := make([]byte, maxUDP)
	for range maxStrayUDP {
		n, err := conn.Read(buf)
		if err != nil {
			return nil, err
		}
		if n < 12 || binary.BigEndian.Uint16(buf) != q.Id || buf[2]&0x80 == 0 {
			continue
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil {
			return nil, fmt.Errorf("%w: %w", errUnreadable, err)
		}
		if answers(m, q) {
			return m, nil
		}
	}
	return nil, errors.New("too many datagrams that answer another question")
}

// answers says whether m is a reply to q: its id, and the very question.
func answers(m, q *dns.Msg) bool {
	if m.Id != q.Id || !m.Response || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 {
		return false
	}
	a, b := m.Question[0], q.Question[0]
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && dns.CanonicalName(a.Name) == dns.CanonicalName(b.Name)
}
