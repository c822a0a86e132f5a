package identity

import (
	"context"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func certs(cs ...*x509.Certificate) []*x509.Certificate { return cs }

func pinnedTo(t testing.TB, domain string, cs ...*x509.Certificate) *Platform {
	t.Helper()
	p := entry(t, domain)
	for _, c := range cs {
		p.TLS.Pins = append(p.TLS.Pins, SPKIPin(c))
	}
	return p
}

func anchoredTo(t testing.TB, domain string, as ...*x509.Certificate) *Platform {
	t.Helper()
	p := entry(t, domain, "api."+domain+":8443")
	p.TLS.Anchors = as
	return p
}

// Each rule for leaves is tried on a pinned entry, an anchored one, and one that
// is both.
func TestCheckTLSRulesForEveryLeaf(t *testing.T) {
	ca, ec := newCA(t, "CA"), ecKey(t, elliptic.P256())
	other := x509.ExtKeyUsageEmailProtection
	for _, c := range []struct {
		name   string
		priv   crypto.Signer
		change func(c *x509.Certificate)
		usage  Usage
		at     time.Time
		want   string // "" for accepted
	}{
		{"client", ec, nil, ClientAuth, day0, ""},
		{"server", ec, nil, ServerAuth, day0, ""},
		{"RSA-2048", rsaKey(), nil, ClientAuth, day0, ""},
		{"first moment", ec, nil, ClientAuth, day0.Add(-30 * day), ""},
		{"last moment", ec, nil, ClientAuth, day0.Add(300 * day), ""},
		{"no key usage", ec, func(c *x509.Certificate) { c.KeyUsage = 0 }, ClientAuth, day0, ""},
		{"not yet valid", ec, nil, ClientAuth, day0.Add(-30*day - 1), "not valid before"},
		{"expired", ec, nil, ServerAuth, day0.Add(300*day + 1), "expired"},
		{"no extended key usage", ec, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, ClientAuth, day0, "lacks clientAuth"},
		{"any extended key usage", ec, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, ServerAuth, day0, "lacks serverAuth"},
		{"another extended key usage", ec, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{other} }, ClientAuth, day0, "lacks clientAuth"},
		{"server's certificate as client", ec, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, ClientAuth, day0, "lacks clientAuth"},
		{"client's certificate as server", ec, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, ServerAuth, day0, "lacks serverAuth"},
		{"key usage for encipherment", ec, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }, ClientAuth, day0, "lacks digitalSignature"},
		{"empty key usage", ec, func(c *x509.Certificate) {
			c.KeyUsage = 0
			c.ExtraExtensions = []pkix.Extension{{Id: oidKeyUsage, Critical: true, Value: []byte{3, 2, 7, 0}}}
		}, ClientAuth, day0, "lacks digitalSignature"},
		{"RSA-1024", must(rsa.GenerateKey(rand.Reader, 1024)), nil, ClientAuth, day0, "1024 bits"},
		{"P-224", ecKey(t, elliptic.P224()), nil, ClientAuth, day0, "not on P-256"},
		{"five years", ec, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(5 * 365 * day) }, ClientAuth, day0, "valid for 1825 days"},
		{"unknown critical extension", ec, func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}, ClientAuth, day0, "critical extension"},
		{"no usage", ec, nil, 0, day0, "no such usage"},
		{"unknown usage", ec, nil, 3, day0, "no such usage"},
	} {
		tmpl := leafTemplate("bank.example")
		if c.change != nil {
			c.change(tmpl)
		}
		leaf := ca.issue(t, c.priv, tmpl)
		both := anchoredTo(t, "bank.example", ca.cert)
		both.TLS.Pins = [][32]byte{SPKIPin(leaf)}
		for form, p := range map[string]*Platform{
			"pinned":   pinnedTo(t, "bank.example", leaf),
			"anchored": anchoredTo(t, "bank.example", ca.cert),
			"both":     both,
		} {
			err := p.CheckTLS(certs(leaf), c.usage, c.at)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %s: got %v, want %q", c.name, form, err, c.want)
			}
			if c.usage != ClientAuth {
				continue
			}
			trust := must(NewTrust(p, entry(t, "other.example")))
			found, err := trust.PeerByTLS(certs(leaf), c.at)
			if c.want == "" && found != p || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %s: PeerByTLS: got %v, %v, want %q", c.name, form, found, err, c.want)
			}
		}
	}
}

// TLS-13: a ladder of certificates is refused before a path is tried, however the leaf is
// known; ten may stand above each other.
func TestLadderOfCertificatesIsRefused(t *testing.T) {
	ca := newCA(t, "CA")
	leaf := ca.issue(t, ecKey(t, elliptic.P256()), leafTemplate("bank.example"))
	for name, p := range map[string]*Platform{"pinned": pinnedTo(t, "bank.example", leaf), "anchored": anchoredTo(t, "bank.example", ca.cert)} {
		ladder := certs(leaf)
		for len(ladder) < maxChain {
			ladder = append(ladder, ca.cert)
		}
		if err := p.CheckTLS(ladder, ClientAuth, day0); err != nil {
			t.Errorf("%s, %d certificates: got %v", name, len(ladder), err)
		}
		ladder = append(ladder, ca.cert)
		if err := p.CheckTLS(ladder, ClientAuth, day0); err == nil || !strings.Contains(err.Error(), "11 certificates") {
			t.Errorf("%s, %d certificates: got %v, want them refused", name, len(ladder), err)
		}
	}
}

func TestCheckTLSPinsAndAnchors(t *testing.T) {
	ca, evil := newCA(t, "CA"), newCA(t, "CA")
	sub := ca.sub(t, "Sub CA")
	ec := ecKey(t, elliptic.P256())
	leaf := func(a *authority, names ...string) *x509.Certificate { return a.issue(t, ec, leafTemplate(names...)) }
	bank := leaf(ca, "x.example", "BANK.example")
	self := selfSign(t, ec, nil)
	both := anchoredTo(t, "bank.example", ca.cert)
	both.TLS.Pins = [][32]byte{SPKIPin(bank)}
	otherKey := ca.issue(t, ecKey(t, elliptic.P256()), leafTemplate("bank.example"))
	weak := must(rsa.GenerateKey(rand.Reader, 1024))
	weakTmpl := &x509.Certificate{SerialNumber: leafTemplate().SerialNumber, Subject: pkix.Name{CommonName: "Weak"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: day0.Add(-day), NotAfter: day0.Add(day), KeyUsage: x509.KeyUsageCertSign}
	weakCA := &authority{ca.issue(t, weak, weakTmpl), weak}
	mailTmpl := *weakTmpl
	mailTmpl.Subject.CommonName, mailTmpl.ExtKeyUsage = "Mail", []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection}
	mailKey := ecKey(t, elliptic.P256())
	mailCA := &authority{ca.issue(t, mailKey, &mailTmpl), mailKey}
	expired := *weakTmpl
	expired.Subject.CommonName, expired.NotAfter = "Expired", day0.Add(-time.Hour)
	expiredCA := &authority{ca.issue(t, mailKey, &expired), mailKey}
	leafAsCA := ca.issue(t, mailKey, leafTemplate("evil.example"))
	for _, c := range []struct {
		name  string
		p     *Platform
		certs []*x509.Certificate
		want  string
	}{
		{"pinned, self-signed", pinnedTo(t, "bank.example", self), certs(self), ""},
		{"pinned, the next pin", pinnedTo(t, "bank.example", otherKey, self), certs(self), ""},
		{"pinned, renewed for the same key", pinnedTo(t, "bank.example", self), certs(bank), ""},
		{"pinned, other name", pinnedTo(t, "bank.example", self), certs(leaf(evil, "evil.example")), ""},
		{"pinned, another key of the same authority", pinnedTo(t, "bank.example", bank), certs(otherKey, ca.cert), "not pinned"},
		{"pinned, the pinned certificate only second", pinnedTo(t, "bank.example", bank), certs(otherKey, bank), "not pinned"},
		{"anchored, domain", anchoredTo(t, "bank.example", ca.cert), certs(bank), ""},
		{"anchored, a listed host, by name only", anchoredTo(t, "bank.example", ca.cert), certs(leaf(ca, "api.bank.example")), ""},
		{"anchored, by an intermediate", anchoredTo(t, "bank.example", ca.cert), certs(leaf(sub, "bank.example"), sub.cert), ""},
		{"anchored to the intermediate", anchoredTo(t, "bank.example", sub.cert), certs(leaf(sub, "bank.example")), ""},
		{"anchored to itself", anchoredTo(t, "bank.example", self), certs(self), ""},
		{"anchored, other platform's name", anchoredTo(t, "bank.example", ca.cert), certs(leaf(ca, "evil.example")), "none of them this platform"},
		{"anchored, no name", anchoredTo(t, "bank.example", ca.cert), certs(leaf(ca)), "none of them this platform"},
		{"anchored, wildcard", anchoredTo(t, "bank.example", ca.cert), certs(leaf(ca, "*.bank.example", "*.example")), "none of them this platform"},
		{"anchored, a host under the domain", anchoredTo(t, "bank.example", ca.cert), certs(leaf(ca, "x.bank.example")), "none of them this platform"},
		{"anchored, name only in the subject", anchoredTo(t, "bank.example", ca.cert), certs(commonName(t, ca, ec, "bank.example")), "none of them this platform"},
		{"anchored, another authority of the same name", anchoredTo(t, "bank.example", ca.cert), certs(leaf(evil, "bank.example"), evil.cert), "no path"},
		{"anchored, self-signed", anchoredTo(t, "bank.example", ca.cert), certs(self), "no path"},
		{"anchored, intermediate missing", anchoredTo(t, "bank.example", ca.cert), certs(leaf(sub, "bank.example")), "no path"},
		{"anchored, RSA-1024 intermediate", anchoredTo(t, "bank.example", ca.cert), certs(leaf(weakCA, "bank.example"), weakCA.cert), "1024 bits"},
		{"anchored, intermediate for mail", anchoredTo(t, "bank.example", ca.cert), certs(leaf(mailCA, "bank.example"), mailCA.cert), "no path"},
		{"anchored, intermediate expired", anchoredTo(t, "bank.example", ca.cert), certs(leaf(expiredCA, "bank.example"), expiredCA.cert), "no path"},
		{"anchored, another leaf as authority", anchoredTo(t, "bank.example", ca.cert),
			certs(mint(t, leafTemplate("bank.example"), leafAsCA, &ec.PublicKey, mailKey), leafAsCA), "no path"},
		{"both", both, certs(bank), ""},
		{"both, pin without path", both, certs(self), "no path"},
		{"both, pin with another name", both, certs(leaf(ca, "evil.example")), "none of them this platform"},
		{"both, path without pin", both, certs(otherKey), "not pinned"},
		{"neither", entry(t, "bank.example"), certs(bank), "neither pins nor anchors"},
		{"no certificate", pinnedTo(t, "bank.example", self), nil, "no certificate"},
		{"a ladder", pinnedTo(t, "bank.example", self), append(certs(self), make([]*x509.Certificate, 10)...), "11 certificates"},
	} {
		for _, u := range []Usage{ClientAuth, ServerAuth} {
			err := c.p.CheckTLS(c.certs, u, day0)
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, %v: got %v, want %q", c.name, u, err, c.want)
			}
		}
	}
	if err := anchoredTo(t, "bank.example", ca.cert).CheckTLS(certs(bank), ClientAuth, time.Time{}); err == nil {
		t.Error("no time: accepted") // x509 would have taken its own clock
	}
}

func commonName(t testing.TB, ca *authority, priv crypto.Signer, name string) *x509.Certificate {
	tmpl := leafTemplate()
	tmpl.Subject.CommonName = name
	return ca.issue(t, priv, tmpl)
}

func TestPeerByTLSFindsExactlyOne(t *testing.T) {
	ca, ca2 := newCA(t, "CA"), newCA(t, "CA 2")
	ecA, ecB := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	leaf := func(priv crypto.Signer, a *authority, names ...string) *x509.Certificate {
		return a.issue(t, priv, leafTemplate(names...))
	}
	a := pinnedTo(t, "a.example", leaf(ecA, ca, "a.example"))
	b, c := anchoredTo(t, "b.example", ca.cert), anchoredTo(t, "c.example", ca.cert)
	d := anchoredTo(t, "d.example", ca2.cert)
	e := entry(t, "e.example") // no TLS identity
	f := anchoredTo(t, "f.example", ca.cert)
	f.TLS.Pins = [][32]byte{{1}} // both
	g, h := entry(t, "g.example", "shared.example:1"), entry(t, "h.example", "shared.example:2")
	g.TLS.Anchors, h.TLS.Anchors = certs(ca.cert), certs(ca.cert)
	trust := must(NewTrust(a, b, c, d, e, f, g, h))
	many := leafTemplate()
	ps := []*Platform{a}
	for i := range 9 {
		p := anchoredTo(t, fmt.Sprintf("p%d.example", i), ca.cert)
		ps, many.DNSNames = append(ps, p), append(many.DNSNames, p.Domain.Name)
	}
	crowd := must(NewTrust(ps...))
	for _, x := range []struct {
		name  string
		trust *Trust
		leaf  *x509.Certificate
		want  *Platform
		err   string
	}{
		{"pin", trust, leaf(ecA, ca2, "nobody.example"), a, ""},
		{"name", trust, leaf(ecB, ca, "B.example"), b, ""},
		{"host", trust, leaf(ecB, ca, "api.c.example"), c, ""},
		{"name, and one of another authority's peers", trust, leaf(ecB, ca, "d.example", "b.example"), b, ""},
		{"pin and the name of an anchored peer", trust, leaf(ecA, ca, "b.example"), nil, "both a.example and b.example"},
		{"two names", trust, leaf(ecB, ca, "c.example", "b.example"), nil, "both c.example and b.example"},
		{"a host shared at two ports", trust, leaf(ecB, ca, "shared.example"), nil, "both g.example and h.example"},
		{"stranger", trust, leaf(ecB, ca, "x.example"), nil, "no trust entry"},
		{"no name", trust, leaf(ecB, ca), nil, "no DNS name"},
		{"name of a pinned peer", trust, leaf(ecB, ca, "a.example"), nil, "no trust entry"},
		{"name of a peer with pins and anchors", trust, leaf(ecB, ca, "f.example"), nil, "no trust entry"},
		{"name of a peer without TLS identity", trust, leaf(ecB, ca, "e.example"), nil, "no trust entry"},
		{"name, by another authority", trust, leaf(ecB, ca2, "b.example"), nil, "no path"},
		{"nine names", crowd, ca.issue(t, ecB, many), nil, "more than 8 platforms"},
	} {
		got, err := x.trust.PeerByTLS(certs(x.leaf), day0)
		if got != x.want || (err == nil) != (x.want != nil) || err != nil && !strings.Contains(err.Error(), x.err) {
			t.Errorf("%s: got %v, %v, want %v, %q", x.name, got, err, x.want, x.err)
		}
	}
	if _, err := trust.PeerByTLS(nil, day0); err == nil {
		t.Error("no certificate: no error")
	}
}

func TestPinText(t *testing.T) {
	c := selfSign(t, ecKey(t, elliptic.P256()), nil)
	pin := SPKIPin(c)
	if got, err := ParsePin(PinText(pin)); err != nil || got != pin || !strings.HasPrefix(PinText(pin), "sha256/") {
		t.Errorf("got %x, %v, want %x", got, err, pin)
	}
	if got, want := (ClientAuth.String() + ServerAuth.String() + Usage(0).String()), "clientAuthserverAuthUsage(0)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Handshakes on loopback.

// wire is a TLS server that believes only its trust set, at the time that now
// tells, and answers with the domain of its caller.
type wire struct {
	addr  string
	trust atomic.Pointer[Trust]
	now   atomic.Pointer[time.Time]
}

func serve(t *testing.T, cert tls.Certificate, trust *Trust) *wire {
	t.Helper()
	w := &wire{}
	w.trust.Store(trust)
	at := day0
	w.now.Store(&at)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{cert},
		ClientAuth:   tls.RequireAnyClientCert,
		MinVersion:   tls.VersionTLS12,
		Time:         func() time.Time { return *w.now.Load() },
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := w.trust.Load().PeerByTLS(cs.PeerCertificates, *w.now.Load())
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.addr = ln.Addr().String()
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go w.answer(conn.(*tls.Conn))
		}
	}()
	return w
}

func (w *wire) answer(conn *tls.Conn) {
	defer conn.Close()
	if conn.Handshake() != nil {
		return
	}
	p, err := w.trust.Load().PeerByTLS(conn.ConnectionState().PeerCertificates, *w.now.Load())
	if err == nil {
		fmt.Fprintf(conn, "%s", p.Domain)
	}
}

// call connects as cert and returns what the server called us.
func (w *wire) call(ctx context.Context, cert *tls.Certificate, server *Platform, cache tls.ClientSessionCache, version uint16) (name string, resumed bool, err error) {
	cfg := &tls.Config{
		InsecureSkipVerify: true, // VerifyConnection does it, by the trust entry
		VerifyConnection: func(cs tls.ConnectionState) error {
			return server.CheckTLS(cs.PeerCertificates, ServerAuth, *w.now.Load())
		},
		ServerName: "bank.example", ClientSessionCache: cache, MinVersion: version, MaxVersion: version,
		Time: func() time.Time { return *w.now.Load() },
	}
	if cert != nil {
		cfg.Certificates = []tls.Certificate{*cert}
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, "tcp", w.addr)
	if err != nil {
		return "", false, err
	}
	conn := tls.Client(raw, cfg)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if err := conn.HandshakeContext(ctx); err != nil {
		return "", false, err
	}
	b, err := io.ReadAll(conn)
	if err == nil && len(b) == 0 {
		err = errors.New("no answer")
	}
	return string(b), conn.ConnectionState().DidResume, err
}

func tlsCert(priv crypto.Signer, cs ...*x509.Certificate) tls.Certificate {
	out := tls.Certificate{PrivateKey: priv}
	for _, c := range cs {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

func TestHandshakes(t *testing.T) {
	ca, evilCA := newCA(t, "CA"), newCA(t, "CA")
	sub := ca.sub(t, "Sub CA")
	ours, theirs, stranger := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P384()), ecKey(t, elliptic.P256())
	self := func(priv crypto.Signer, change func(*x509.Certificate)) tls.Certificate {
		return tlsCert(priv, selfSign(t, priv, change))
	}
	byCA := func(a *authority, priv crypto.Signer, name string) tls.Certificate {
		return tlsCert(priv, a.issue(t, priv, leafTemplate(name)), a.cert)
	}
	rsa1024 := must(rsa.GenerateKey(rand.Reader, 1024))
	pin := func(domain string, privs ...crypto.Signer) *Platform {
		var cs []*x509.Certificate
		for _, p := range privs {
			cs = append(cs, selfSign(t, p, nil))
		}
		return pinnedTo(t, domain, cs...)
	}
	pinned := must(NewTrust(pin("peer.example", theirs, rsa1024)))
	anchored := must(NewTrust(anchoredTo(t, "peer.example", ca.cert)))
	serverPinned, serverAnchored := pin("bank.example", ours), anchoredTo(t, "bank.example", ca.cert)
	for _, c := range []struct {
		name   string
		server tls.Certificate
		entry  *Platform // of the server, as the client has it
		trust  *Trust    // of the server
		client *tls.Certificate
		want   string // "" for no connection
	}{
		{"pinned on both sides", self(ours, nil), serverPinned, pinned, ptr(self(theirs, nil)), "peer.example"},
		{"anchored on both sides", byCA(ca, ours, "bank.example"), serverAnchored, anchored, ptr(byCA(ca, theirs, "peer.example")), "peer.example"},
		{"anchored by an intermediate", byCA(sub, ours, "bank.example"), serverAnchored, anchored, ptr(byCA(sub, theirs, "peer.example")), "peer.example"},
		{"server with another key", self(stranger, nil), serverPinned, pinned, ptr(self(theirs, nil)), ""},
		{"server with another platform's name", byCA(ca, ours, "evil.example"), serverAnchored, anchored, ptr(byCA(ca, theirs, "peer.example")), ""},
		{"server of another authority", byCA(evilCA, ours, "bank.example"), serverAnchored, anchored, ptr(byCA(ca, theirs, "peer.example")), ""},
		{"server's certificate for clients only", self(ours, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), serverPinned, pinned, ptr(self(theirs, nil)), ""},
		{"client without certificate", self(ours, nil), serverPinned, pinned, nil, ""},
		{"client with another key", self(ours, nil), serverPinned, pinned, ptr(self(stranger, nil)), ""},
		{"client RSA-1024, though pinned", self(ours, nil), serverPinned, pinned, ptr(self(rsa1024, nil)), ""},
		{"client for five years", self(ours, nil), serverPinned, pinned, ptr(self(theirs, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(5 * 365 * day) })), ""},
		{"client without extended key usage", self(ours, nil), serverPinned, pinned, ptr(self(theirs, func(c *x509.Certificate) { c.ExtKeyUsage = nil })), ""},
		{"client with a server's certificate", self(ours, nil), serverPinned, pinned, ptr(self(theirs, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] })), ""},
		{"client expired", self(ours, nil), serverPinned, pinned, ptr(self(theirs, func(c *x509.Certificate) { c.NotAfter = day0.Add(-1 * time.Second) })), ""},
		{"client not yet valid", self(ours, nil), serverPinned, pinned, ptr(self(theirs, func(c *x509.Certificate) { c.NotBefore = day0.Add(time.Second) })), ""},
		{"client with another platform's name", byCA(ca, ours, "bank.example"), serverAnchored, anchored, ptr(byCA(ca, theirs, "bank.example")), ""},
		{"client of another authority", byCA(ca, ours, "bank.example"), serverAnchored, anchored, ptr(byCA(evilCA, theirs, "peer.example")), ""},
	} {
		w := serve(t, c.server, c.trust)
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			got, _, err := w.call(t.Context(), c.client, c.entry, nil, version)
			if got != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%s, %s: got %q, %v, want %q", c.name, tls.VersionName(version), got, err, c.want)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

// A session resumed after the peer was removed, its pin was changed or its
// certificate ran out is no better than a new one.
func TestResumedSessionsAreChecked(t *testing.T) {
	ours, theirs := ecKey(t, elliptic.P256()), ecKey(t, elliptic.P256())
	server, client := selfSign(t, ours, nil), selfSign(t, theirs, func(c *x509.Certificate) { c.NotAfter = day0.Add(time.Hour) })
	good := must(NewTrust(pinnedTo(t, "peer.example", client)))
	cert := tlsCert(theirs, client)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for name, change := range map[string]func(w *wire, entry *Platform) *Platform{
			"peer removed": func(w *wire, p *Platform) *Platform { w.trust.Store(new(Trust)); return p },
			"peer's pin changed": func(w *wire, p *Platform) *Platform {
				w.trust.Store(must(NewTrust(pinnedTo(t, "peer.example", server))))
				return p
			},
			"peer's certificate expired": func(w *wire, p *Platform) *Platform { w.now.Store(ptr(day0.Add(time.Hour + 1))); return p },
			"server's pin changed":       func(w *wire, p *Platform) *Platform { return pinnedTo(t, "bank.example", client) },
		} {
			w := serve(t, tlsCert(ours, server), good)
			entry, cache := pinnedTo(t, "bank.example", server), tls.NewLRUClientSessionCache(4)
			for i := range 2 {
				got, resumed, err := w.call(t.Context(), &cert, entry, cache, version)
				if got != "peer.example" || err != nil || resumed != (i == 1) {
					t.Fatalf("%s, %s, call %d: got %q, resumed %v, %v", name, tls.VersionName(version), i, got, resumed, err)
				}
			}
			if got, resumed, err := w.call(t.Context(), &cert, change(w, entry), cache, version); err == nil {
				t.Errorf("%s, %s: got %q, resumed %v, want no connection", name, tls.VersionName(version), got, resumed)
			}
		}
	}
}
