package api

import (
	"crypto/x509"
	"net"
	"net/netip"
	"sync"
	"time"

	"eblnode/identity"
)

// ConnLimits bound how many connections are open at once, idle ones too: else one peer, or
// one stolen certificate, or one stranger, could use up what all share. What is over a limit
// is closed unread; what is open already goes on. Zero members bound nothing.
type ConnLimits struct {
	// PerAddress are those of one address (IPv6: of one /64, which is what one customer of a
	// network gets) that have not shown who they are. Without Who none ever does.
	PerAddress int
	// PerPeer are those of one platform, whichever of its certificates it shows. It is known
	// once the handshake is over; from then on its address does not count.
	PerPeer int
	// Who names the platform that certificates, leaf first, prove.
	Who func(certs []*x509.Certificate) (name string, known bool)
}

// PeerOf is a [ConnLimits] Who: the peer that trust has for the certificates.
func PeerOf(trust func() *identity.Trust, now func() time.Time) func(certs []*x509.Certificate) (string, bool) {
	return func(certs []*x509.Certificate) (string, bool) {
		p, err := trust().PeerByTLS(certs, now())
		if err != nil {
			return "", false
		}
		return p.Domain.String(), true
	}
}

// perAddress is the least ConnLimits.PerAddress: handshakes take moments, so that an honest
// peer, or many behind one address, have few under way.
const perAddress = 64

// PeerLimits are those of a peer listener, where so many requests of one peer may run at
// once; 0 means the default of [Options].
func PeerLimits(concurrency int, who func(certs []*x509.Certificate) (string, bool)) ConnLimits {
	peer := 4 * Options{Concurrency: concurrency}.withDefaults().Concurrency
	return ConnLimits{PerAddress: max(perAddress, peer), PerPeer: peer, Who: who}
}

// PublicLimits are those of a public listener.
func PublicLimits() ConnLimits { return ConnLimits{PerAddress: perAddress} }

// addressOf names who is behind an address: IPv4 by itself, IPv6 by its /64. "" for what is
// no address of a network, as on a Unix socket.
func addressOf(text string) string {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return ""
	}
	a := at.Addr().Unmap().WithZone("")
	if a.Is4() {
		return a.String()
	}
	p, err := a.Prefix(64)
	if err != nil {
		return ""
	}
	return p.String()
}

// conns counts open connections by who has them.
type conns struct {
	limits ConnLimits

	mu   sync.Mutex
	open map[string]int
}

// The two kinds of keys in conns.open.
const (
	byAddress = "address "
	byPeer    = "peer "
)

// take counts one connection more, unless that is over the limit; most 0: there is none.
func (c *conns) take(key string, most int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[string]int{}
	}
	if most > 0 && c.open[key] >= most {
		return false
	}
	c.open[key]++
	return true
}

func (c *conns) leave(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[key]--; c.open[key] <= 0 {
		delete(c.open, key)
	}
}

// A counted connection gives its place back when it is closed, by whomever.
type counted struct {
	net.Conn
	of *conns

	mu     sync.Mutex
	key    string // "": not counted
	closed bool
}

// enter counts conn under its address; false: it is one too many.
func (c *conns) enter(conn net.Conn) (*counted, bool) {
	key := addressOf(conn.RemoteAddr().String())
	if key == "" {
		return &counted{Conn: conn, of: c}, true
	}
	key = byAddress + key
	if !c.take(key, c.limits.PerAddress) {
		return nil, false
	}
	return &counted{Conn: conn, of: c, key: key}, true
}

// is moves the connection from its address to the platform that it proved to be; false: that
// has too many.
func (c *counted) is(certs []*x509.Certificate) bool {
	if c.of.limits.Who == nil || len(certs) == 0 {
		return true
	}
	name, known := c.of.limits.Who(certs)
	if !known {
		return true // the handshake, or else the handler, refuses it
	}
	if !c.of.take(byPeer+name, c.of.limits.PerPeer) {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.of.leave(byPeer + name)
		return false
	}
	if c.key != "" {
		c.of.leave(c.key)
	}
	c.key = byPeer + name
	return true
}

// Close is the net.Conn's.
func (c *counted) Close() error {
	c.mu.Lock()
	key := c.key
	c.key, c.closed = "", true
	c.mu.Unlock()
	if key != "" {
		c.of.leave(key)
	}
	return c.Conn.Close()
}
