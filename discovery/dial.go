package discovery

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// notPublic is the special-purpose part of the IPv4 and IPv6 registries (RFC
// 6890 and its successors). IPv6 outside 2000::/3 is not in use as a public
// address, and is refused without being listed.
var notPublic = []struct {
	net  netip.Prefix
	what string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared by carriers"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local"}, // and the metadata service of most clouds
	{netip.MustParsePrefix("172.16.0.0/12"), "private"},
	{netip.MustParsePrefix("192.0.0.0/24"), "special"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmark"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved"},
	{netip.MustParsePrefix("2001::/23"), "special"}, // Teredo and others: an IPv4 address may hide in it
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2002::/16"), "6to4"}, // the same
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("fe80::/10"), "link-local"},
	{netip.MustParsePrefix("fc00::/7"), "private"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

var (
	globalV6 = netip.MustParsePrefix("2000::/3")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
)

// allowList normalises the configured networks: an IPv4 network is compared as
// one, however it was written.
func allowList(networks []netip.Prefix) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, p := range networks {
		if !p.IsValid() {
			return nil, errors.New("an allowed network is not valid")
		}
		if p.Addr().Is4In6() {
			if p.Bits() < 96 {
				return nil, fmt.Errorf("the allowed network %v is wider than IPv4", p)
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		out = append(out, p.Masked())
	}
	return out, nil
}

// permit says why addr must not be dialled, or nil. An IPv4 address inside an
// IPv6 one is judged as what it is: the kernel, or the NAT64 gateway, takes it out.
func (r *Resolver) permit(addr netip.Addr) error {
	addr = addr.Unmap().WithZone("")
	for _, p := range r.allow {
		if p.Contains(addr) {
			return nil
		}
	}
	if nat64.Contains(addr) {
		b := addr.As16()
		if err := r.permit(netip.AddrFrom4([4]byte(b[12:]))); err != nil {
			return fmt.Errorf("%v by NAT64: %w", addr, err)
		}
		return nil
	}
	for _, n := range notPublic {
		if n.net.Contains(addr) {
			return fmt.Errorf("%v is not a public address (%s)", addr, n.what)
		}
	}
	if addr.Is6() && !globalV6.Contains(addr) || !addr.IsValid() {
		return fmt.Errorf("%v is not a public address", addr)
	}
	return nil
}

// errForbidden marks the refusal of the dialler's control function.
type errForbidden struct{ error }

// control runs between the making of a socket and its connect, with the address
// that the kernel is about to use. It is the only place where that is certain:
// a name can change its mind between a check and the dial.
func (r *Resolver) control(_, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return errForbidden{fmt.Errorf("unreadable address %q", address)}
	}
	if err := r.permit(ap.Addr()); err != nil {
		r.stats.refused.Add(1)
		return errForbidden{err}
	}
	return nil
}

// DialContext is for [net/http.Transport]: it resolves the host of addr through
// r and tries its addresses in turn, at most 5 s each. Addresses that are not
// public are refused, on every attempt, unless the configuration allows their
// network; an IP literal in addr is judged in the same way. Networks other than
// tcp, tcp4 and tcp6 are refused. Errors are of type [*Error]: Forbidden if every address was
// refused, Temporary if one could not be connected, or those of LookupAddrs.
//
// The caller sets Transport.Proxy to nil (a proxy would dial unchecked) and
// follows no redirects.
func (r *Resolver) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return nil, &Error{Kind: Forbidden, Name: clip(addr), Err: fmt.Errorf("network %q", network)}
	}
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16) // else the system would look up a service
	}
	if err != nil {
		return nil, &Error{Kind: BadRecord, Name: clip(addr), Err: err}
	}
	var addrs []netip.Addr
	if ip, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{ip}
	} else if addrs, err = r.LookupAddrs(ctx, host); err != nil {
		return nil, err
	}
	addrs = ofNetwork(addrs, network)
	if len(addrs) == 0 {
		return nil, &Error{Kind: NotFound, Name: clip(host), Err: fmt.Errorf("no address for %s", network)}
	}
	return r.dialAny(ctx, network, clip(host), withPort(addrs, port))
}

func ofNetwork(addrs []netip.Addr, network string) []netip.Addr {
	var out []netip.Addr
	for _, a := range addrs {
		if network == "tcp" || a.Unmap().Is4() == strings.HasSuffix(network, "4") {
			out = append(out, a)
		}
	}
	return out
}

func withPort(addrs []netip.Addr, port string) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = net.JoinHostPort(a.String(), port)
	}
	return out
}

// dialAny tries each address, and shares the time that is left among those that
// are left, so that one black hole does not use up the turn of the others.
func (r *Resolver) dialAny(ctx context.Context, network, host string, addrs []string) (net.Conn, error) {
	kind := Forbidden
	var causes []error
	for i, addr := range addrs {
		d := net.Dialer{Timeout: maxDial, Control: r.control}
		if t, ok := ctx.Deadline(); ok {
			d.Timeout = min(maxDial, max(time.Until(t)/time.Duration(len(addrs)-i), time.Millisecond))
		}
		conn, err := d.DialContext(ctx, network, addr)
		if err == nil {
			return conn, nil
		}
		var refused errForbidden
		if !errors.As(err, &refused) {
			kind = Temporary
		}
		causes = append(causes, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, &Error{Kind: kind, Name: host, Err: errors.Join(causes...)}
}
