package node_test

import (
	"context"
	"testing"

	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/internal/dnsserver"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestWhereATransferWentIsRecorded: with each attempt stands where it went, whether DNS or
// the trust entry said so, and whether DNSSEC vouched for it, in each of its modes. What is
// required and not there lets nothing leave.
func TestWhereATransferWentIsRecorded(t *testing.T) {
	const url = "https://bank.example:8443/v1/transferblocks"
	for _, c := range []struct {
		name, dnssec, endpoint string
		authentic              bool
		want                   string // "": nothing leaves
	}{
		{"off", "off", "", true, url + " by DNS, without DNSSEC"},
		{"prefer, and it is there", "prefer", "", true, url + " by DNS, with DNSSEC"},
		{"prefer, and it is not there", "prefer", "", false, url + " by DNS, without DNSSEC"},
		{"require, and it is there", "require", "", true, url + " by DNS, with DNSSEC"},
		{"require, and it is not there", "require", "", false, ""},
		{"the trust entry", "require", url, false, url + " by the trust entry"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dns, err := dnsserver.New()
			if err != nil {
				t.Fatal(err)
			}
			if err := dns.Start("127.0.0.1:0"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = dns.Close() })
			dns.SetTXT("bank.example", "ebl-transferblock="+url)
			dns.SetAuthentic(c.authentic)
			r, err := discovery.New(discovery.Config{Resolvers: []string{dns.Addr()}, Trusted: true, DNSSEC: c.dnssec})
			if err != nil {
				t.Fatal(err)
			}
			w := ebltest.New(t)
			carrier := w.Platform("carrier.example", ebltest.Configure(func(cfg *node.Config) {
				cfg.Resolve = func(ctx context.Context, p *identity.Platform) (discovery.Endpoint, error) {
					return r.Endpoint(ctx, p.Domain, c.endpoint)
				}
			}))
			bank := w.Platform("bank.example")
			al := carrier.User("al")
			bill := carrier.Issue(al.ID)
			if c.want == "" {
				_, err := carrier.Node().Move(t.Context(), al.User, bill, node.MoveOrder{Instruction: "TRNS", To: ebltest.Quote(bank.User("desk").ID)})
				if err == nil {
					t.Error("a bill was sealed for a place that DNSSEC does not vouch for")
				}
				return
			}
			moved := carrier.Move(al, bill, "TRNS", bank.User("desk").ID)
			v := carrier.Settled(moved.Transfer, node.Accepted)
			if len(v.History) != 1 || v.History[0].Place != c.want {
				t.Errorf("got %+v, want one attempt to %q", v.History, c.want)
			}
		})
	}
}
