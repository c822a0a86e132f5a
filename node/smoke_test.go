package node

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
)

func smokeNode(t *testing.T, domain string, dial func(p *identity.Platform, _ discovery.Endpoint) (Peer, error)) *Node {
	t.Helper()
	priv, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h, _ := identity.ParseHost(domain)
	cert, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: domain, Names: []string{h.Name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	if err != nil {
		t.Fatal(err)
	}
	k := &identity.Key{ID: "1", Platform: h, Public: priv.Public(), Certificates: []*x509.Certificate{cert}, NotBefore: cert.NotBefore, NotAfter: cert.NotAfter}
	self := &identity.Platform{Domain: h, Mode: "pinned", Issuer: true, Keys: []*identity.Key{k}, TLS: identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(cert)}}}
	s, err := identity.NewSigner(k, "ES256", priv)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	n, err := Open(t.Context(), Config{Self: self, Signer: s, Dir: dir, Dial: dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func TestSmoke(t *testing.T) {
	nodes := map[string]*Node{}
	dial := func(p *identity.Platform, _ discovery.Endpoint) (Peer, error) {
		if n := nodes[p.Domain.String()]; n != nil {
			return n, nil
		}
		return nil, fmt.Errorf("nobody")
	}
	a, b := smokeNode(t, "a.example", dial), smokeNode(t, "b.example", dial)
	nodes["a.example"], nodes["b.example"] = a, b
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := a.AddPeers(ctx, "op", []*identity.Platform{b.Self()}); err != nil {
		t.Fatal(err)
	}
	if err := b.AddPeers(ctx, "op", []*identity.Platform{a.Self()}); err != nil {
		t.Fatal(err)
	}
	tok, err := a.AddUser(ctx, "op", User{Local: "carrier", Role: IssuerRole})
	if err != nil {
		t.Fatal(err)
	}
	a.AddUser(ctx, "op", User{Local: "shipper", Role: HolderRole})
	tokB, _ := b.AddUser(ctx, "op", User{Local: "bank", Role: HolderRole})
	carrier, err := a.Authenticate(ctx, tok)
	if err != nil {
		t.Fatal(err)
	}
	bank, _ := b.Authenticate(ctx, tokB)
	go a.Run(ctx)
	go b.Run(ctx)
	m, err := a.Issue(ctx, carrier, IssueOrder{Document: []byte(`{"carrierCode":"MAEU","transportDocumentReference":"X1","isToOrder":true}`), To: []byte(`"bank@b.example"`)})
	if err != nil {
		t.Fatal(err)
	}
	x, err := a.Await(ctx, carrier, m.Transfer)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", x)
	v, err := b.Bill(ctx, bank, m.Document)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", v)
	m, err = b.Move(ctx, bank, m.Document, MoveOrder{Instruction: envelope.Surrender, To: []byte(`"carrier@a.example"`)})
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Await(ctx, bank, m.Transfer)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", y)
	h, err := a.Honour(ctx, carrier, m.Document, HonourOrder{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", h)
	for range 50 {
		v, err = b.Bill(ctx, bank, m.Document)
		if err == nil && v.Control == Voided {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%+v %v", v, err)
	if v.Control != Voided {
		t.Fatal("not void")
	}
}
