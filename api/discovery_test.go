package api_test

import (
	"context"
	"errors"
	"net/netip"
	"testing"

	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/dnsserver"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestPlatformHostIsNeverLookedUp: whom a payload names is looked for in the trust store
// and nowhere else. The sender's own preparations do ask DNS, so the counter counts.
func TestPlatformHostIsNeverLookedUp(t *testing.T) {
	dns, err := dnsserver.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := dns.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	resolver, err := discovery.New(discovery.Config{Resolvers: []string{dns.Addr()}, AllowNetworks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	if err != nil {
		t.Fatal(err)
	}
	w := ebltest.NewTLS(t)
	carrier := w.Platform("carrier.example")
	bank := w.Platform("bank.example", ebltest.Configure(func(c *node.Config) {
		c.Resolve = func(ctx context.Context, p *identity.Platform) (discovery.Endpoint, error) {
			return resolver.Endpoint(ctx, p.Domain, "")
		}
	}))
	desk := bank.User("desk")
	body, _ := carrier.Offer(desk.ID)
	b := ebltest.Parse(t, body)
	for _, tx := range []ebltest.Tx{
		{Instruction: envelope.Issue, To: "desk@bank.example", Platform: identity.Host{Name: "evil.example"}},
		{Instruction: envelope.Issue, To: "desk@evil.example"},
	} {
		e := carrier.Seal(b.Last().Payload.DocumentHash, envelope.Hash{}, tx)
		_, err := bank.Put(carrier, ebltest.Body(b.Document, e))
		if _, refused := errors.AsType[*node.Error](err); err != nil && !refused {
			t.Fatal(err)
		}
	}
	if q := dns.Queries(); len(q) != 0 {
		t.Errorf("receiving asked DNS for %v, want nothing", q)
	}
	held := bank.Issue(desk.ID)
	if _, err := bank.Node().Move(t.Context(), desk.User, held, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote("x@carrier.example")}); err == nil {
		t.Error("a transfer to a platform without a record: got no error")
	}
	if len(dns.Queries()) == 0 {
		t.Error("sending asked DNS for nothing: the counter counts nothing")
	}
}
