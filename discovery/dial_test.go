package discovery

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestAddressesThatMustNotBeDialled(t *testing.T) {
	r := newResolver(t, Config{Resolvers: []string{"127.0.0.1"}})
	for _, s := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1", "172.31.255.255",
		"192.0.0.1", "192.0.2.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1",
		"fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00::2", "ff02::1", "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "3fff::1", "5f00::1", "4000::1", "::ffff:0:127.0.0.1",
	} {
		if err := r.permit(netip.MustParseAddr(s)); err == nil {
			t.Errorf("%s: permitted", s)
		}
	}
	for _, s := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0", "169.253.255.255", "172.15.255.255", "172.32.0.0",
		"192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2606:4700::1111", "2a00::1",
	} {
		if err := r.permit(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	if err := r.permit(netip.Addr{}); err == nil {
		t.Error("no address at all: permitted")
	}
}

func TestAllowNetworksOpensThoseAndNoMore(t *testing.T) {
	r := newResolver(t, Config{Resolvers: []string{"127.0.0.1"}, AllowNetworks: []netip.Prefix{
		netip.MustParsePrefix("10.1.2.3/16"), netip.MustParsePrefix("::ffff:192.168.7.0/120"), netip.MustParsePrefix("fd00:1::/32"),
	}})
	for s, want := range map[string]bool{
		"10.1.0.1": true, "::ffff:10.1.0.1": true, "64:ff9b::10.1.0.1": true, "10.2.0.1": false, "64:ff9b::10.2.0.1": false,
		"192.168.7.9": true, "192.168.8.9": false, "fd00:1::9": true, "fd00:2::9": false, "127.0.0.1": false,
	} {
		if err := r.permit(netip.MustParseAddr(s)); (err == nil) != want {
			t.Errorf("%s: got %v, want permitted %v", s, err, want)
		}
	}
}

// listenLoopback counts the connections that reach it. They are accepted in the order in which
// they came, so that one of our own, once it is there, says that all before it are.
func listenLoopback(t *testing.T) (port string, accepted func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			got <- c.RemoteAddr().String()
			c.Close()
		}
	}()
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port, func() (n int) {
		t.Helper()
		own, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		for <-got != own.LocalAddr().String() {
			n++
		}
		return n
	}
}

func TestDialRefusesLoopbackUnderAnyName(t *testing.T) {
	s := startDNS(t)
	port, accepted := listenLoopback(t)
	loop := netip.MustParseAddr("127.0.0.1")
	s.SetA("evil.example", loop)
	s.SetA("mapped.example", netip.MustParseAddr("::ffff:127.0.0.1"))
	s.SetA("zero.example", netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("::"))
	s.SetA("metadata.example", netip.MustParseAddr("169.254.169.254"))
	s.SetCNAME("alias.example", "evil.example")
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}})
	for _, host := range []string{"evil.example", "mapped.example", "zero.example", "metadata.example", "alias.example", "localhost", "127.0.0.1", "0.0.0.0", "[::ffff:127.0.0.1]", "[::1]", "[::]"} {
		conn, err := r.DialContext(t.Context(), "tcp", host+":"+port)
		if conn != nil {
			conn.Close()
		}
		if KindOf(err) != Forbidden {
			t.Errorf("%s: got %v, want forbidden", host, err)
		}
	}
	// Spellings that some C libraries take for 127.0.0.1 must not even resolve.
	for _, host := range []string{"2130706433", "0x7f.1", "0177.0.0.1", "127.1"} {
		if _, err := r.DialContext(t.Context(), "tcp", host+":"+port); KindOf(err) != BadRecord {
			t.Errorf("%s: got %v, want badRecord", host, err)
		}
	}
	if got := accepted(); got != 0 {
		t.Errorf("%d connections got through", got)
	}
	if got := r.Stats().Refused; got < 10 {
		t.Errorf("got %d refusals counted, want each", got)
	}
}

// TestRebinding: a name that was fine at one look-up is something else at the next.
func TestRebinding(t *testing.T) {
	s, c := startDNS(t), newClock()
	port, accepted := listenLoopback(t)
	s.SetTTL(0)
	s.SetA("peer.example", netip.MustParseAddr("127.0.0.1"))
	allowed := newResolver(t, Config{Resolvers: []string{s.Addr()}, Now: c.now, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
	conn, err := allowed.DialContext(t.Context(), "tcp", "peer.example:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	s.SetA("peer.example", netip.MustParseAddr("127.0.0.2"))
	c.add(time.Minute)
	if _, err := allowed.DialContext(t.Context(), "tcp", "peer.example:"+port); KindOf(err) != Forbidden {
		t.Errorf("after the name moved: got %v, want forbidden", err)
	}
	if got := accepted(); got != 1 {
		t.Errorf("got %d connections, want 1", got)
	}
}

// TestControlJudgesTheAddressInUse skips resolution altogether: whatever led to
// the address, the control function alone must refuse it.
func TestControlJudgesTheAddressInUse(t *testing.T) {
	port, accepted := listenLoopback(t)
	r := newResolver(t, Config{Resolvers: []string{"127.0.0.1"}})
	d := net.Dialer{Control: r.control}
	var refused errForbidden
	if _, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:"+port); !errors.As(err, &refused) {
		t.Errorf("got %v, want a refusal", err)
	}
	if err := r.control("tcp", "nonsense", nil); err == nil {
		t.Error("an unreadable address: permitted")
	}
	if accepted() != 0 {
		t.Error("the connection got through")
	}
}

func TestDialTriesTheNextAddress(t *testing.T) {
	s := startDNS(t)
	port, _ := listenLoopback(t)
	// The first is refused by us, the second by the kernel (nobody listens), the third is good.
	s.SetA("peer.example", netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1"))
	s.SetA("down.example", netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("127.0.0.2"))
	r := newResolver(t, Config{Resolvers: []string{s.Addr()}, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for _, network := range []string{"tcp", "tcp4"} {
		conn, err := r.DialContext(t.Context(), network, "peer.example:"+port)
		if err != nil {
			t.Fatal(err)
		}
		if got := conn.RemoteAddr().String(); got != "127.0.0.1:"+port {
			t.Errorf("connected to %s, want 127.0.0.1:%s", got, port)
		}
		conn.Close()
	}
	if _, err := r.DialContext(t.Context(), "tcp", "down.example:"+port); KindOf(err) != Temporary {
		t.Errorf("one refused by us, one down: got %v, want temporary", err)
	}
	if _, err := r.DialContext(t.Context(), "tcp6", "peer.example:"+port); KindOf(err) != NotFound {
		t.Errorf("tcp6 without an IPv6 address: got %v, want notFound", err)
	}
	if _, err := r.DialContext(t.Context(), "tcp", "nowhere.example:"+port); KindOf(err) != NotFound {
		t.Errorf("no such name: got %v, want notFound", err)
	}
}

func TestDialRefusesOtherNetworksAndPorts(t *testing.T) {
	r := newResolver(t, Config{Resolvers: []string{"127.0.0.1"}, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for _, network := range []string{"udp", "unix", "ip", ""} {
		if _, err := r.DialContext(t.Context(), network, "127.0.0.1:53"); KindOf(err) != Forbidden {
			t.Errorf("network %q: got %v, want forbidden", network, err)
		}
	}
	for _, addr := range []string{"127.0.0.1", "127.0.0.1:https", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:"} {
		if _, err := r.DialContext(t.Context(), "tcp", addr); KindOf(err) != BadRecord {
			t.Errorf("address %q: got %v, want badRecord", addr, err)
		}
	}
}

func TestHTTPThroughTheDialler(t *testing.T) {
	s := startDNS(t)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") }))
	defer web.Close()
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(web.URL, "http://"))
	s.SetA("peer.example", netip.MustParseAddr("127.0.0.1"))
	get := func(allow ...netip.Prefix) error {
		r := newResolver(t, Config{Resolvers: []string{s.Addr()}, AllowNetworks: allow})
		transport := &http.Transport{DialContext: r.DialContext}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("http://peer.example:" + port)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(); KindOf(err) != Forbidden {
		t.Errorf("got %v, want forbidden, seen through net/http's own error", err)
	}
	if err := get(netip.MustParsePrefix("127.0.0.0/8")); err != nil {
		t.Errorf("with the network allowed: %v", err)
	}
}
