package api_test

import (
	"bytes"
	"errors"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// The same behaviour, whether the peer is in this process or behind the network.
func TestPeerInProcess(t *testing.T) { testPeer(t, ebltest.New) }
func TestPeerOverTLS(t *testing.T)   { testPeer(t, ebltest.NewTLS) }

// codeOf is the code of an unsigned refusal; 0 where err is none.
func codeOf(err error) node.Code {
	if e, ok := errors.AsType[*node.Error](err); ok {
		return e.Code
	}
	return 0
}

func testPeer(t *testing.T, network func(testing.TB) *ebltest.Network) {
	net := network(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	shop := net.Platform("shop.example", ebltest.NotIssuer())
	issuer, bob := carrier.User("issuer", node.IssuerRole), bank.User("bob")
	peer := func(from, to *ebltest.Platform) node.Peer {
		t.Helper()
		p, err := from.Dial(to)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	put := func(from, to *ebltest.Platform, body []byte) (node.Reply, error) {
		t.Helper()
		return peer(from, to).PutTransferblock(t.Context(), node.Request{Sender: from.Domain(), Body: body})
	}

	t.Run("check", func(t *testing.T) {
		if err := peer(carrier, bank).Check(t.Context(), carrier.Domain()); err != nil {
			t.Errorf("checking a peer that knows us: %v", err)
		}
	})
	t.Run("accept and repeat", func(t *testing.T) {
		body, document := carrier.Offer(bob.ID)
		first, err := put(carrier, bank, body)
		if err != nil || first.Receipt == "" || first.Rejection != "" {
			t.Fatalf("a good block: got %+v and %v, want a receipt", first, err)
		}
		block, err := envelope.Parse(body, envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := envelope.OpenReceipt([]byte(first.Receipt), block.Last().Claimed, bank.Entry, bank.Node().Now()); err != nil {
			t.Errorf("the receipt: %v", err)
		}
		if got := bank.View(document).Possessor; got != bob.ID {
			t.Errorf("possessor: got %s, want %s", got, bob.ID)
		}
		for range 3 {
			again, err := put(carrier, bank, body)
			if err != nil || again.Receipt != first.Receipt {
				t.Errorf("the same block again: got %+v and %v, want the same receipt", again, err)
			}
		}
	})
	t.Run("reject and repeat", func(t *testing.T) {
		body, _ := carrier.Offer("nobody@bank.example")
		first, err := put(carrier, bank, body)
		if err != nil || first.Rejection == "" || first.Refusal == nil {
			t.Fatalf("a block for nobody: got %+v and %v, want a rejection", first, err)
		}
		if first.Refusal.Code != node.BENV || first.Refusal.Text != node.TextTransferee || first.Reference == "" || first.At == 0 {
			t.Errorf("the refusal: got %+v, want 8002 %s with reference and time", first, node.TextTransferee)
		}
		rejection, err := envelope.OpenRejection(first.Rejection, bank.Entry, bank.Node().Now())
		if err != nil {
			t.Fatal(err)
		}
		block, err := envelope.Parse(body, envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if !rejection.Answers(block.Last(), carrier.Domain(), bank.Domain()) {
			t.Errorf("the rejection %+v does not answer the block", rejection)
		}
		again, err := put(carrier, bank, body)
		if err != nil || again.Rejection != first.Rejection || again.Reference != first.Reference || again.At != first.At {
			t.Errorf("the same block again: got %+v and %v, want %+v", again, err, first)
		}
	})
	t.Run("unsigned refusals", func(t *testing.T) {
		good, _ := carrier.Offer(bob.ID)
		for _, c := range []struct {
			name string
			from *ebltest.Platform
			body []byte
			want node.Code
			text string
		}{
			{"nothing", carrier, nil, node.Malformed, "malformed"},
			{"not JSON", carrier, []byte("<html>"), node.Malformed, "malformed"},
			{"no chain", carrier, []byte(`{"document":{}}`), node.Malformed, "malformed"},
			{"another platform's envelope", shop, good, node.Forbidden, "signerMismatch"},
		} {
			reply, err := put(c.from, bank, c.body)
			e, _ := errors.AsType[*node.Error](err)
			if e == nil || e.Code != c.want || e.Text != c.text || reply != (node.Reply{}) {
				t.Errorf("%s: got %+v and %v, want %d %s and no reply", c.name, reply, err, c.want, c.text)
			}
		}
		bound, err := carrier.Dial(bank)
		if err != nil {
			t.Fatal(err)
		}
		too := bytes.Repeat([]byte(" "), envelope.Limits{}.BodyLimit()+1)
		if _, err := bound.PutTransferblock(t.Context(), node.Request{Sender: carrier.Domain(), Body: too}); codeOf(err) != node.TooLarge {
			t.Errorf("a body over the limit: got %v, want 7113", err)
		}
	})
	t.Run("fork", func(t *testing.T) {
		document := carrier.Document()
		hash := envelope.HashOf(document)
		for i, want := range []node.Code{0, node.DISE} {
			tx := ebltest.Tx{Instruction: envelope.Issue, To: bob.ID, Comments: []string{"one", "two"}[i]}
			reply, err := put(carrier, bank, ebltest.Body(document, carrier.Seal(hash, envelope.Hash{}, tx)))
			if err != nil {
				t.Fatal(err)
			}
			got := node.Code(0)
			if reply.Refusal != nil {
				got = reply.Refusal.Code
			}
			if got != want {
				t.Errorf("first entry %d: got %d, want %d", i, got, want)
			}
		}
	})
	t.Run("verdict", func(t *testing.T) {
		document := carrier.Issue(bob.ID)
		bank.Settled(bank.Move(bob, document, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
		ask := func(from *ebltest.Platform, h envelope.Hash) (string, error) {
			return peer(from, carrier).Verdict(t.Context(), from.Domain(), h)
		}
		if _, err := ask(bank, envelope.HashOf([]byte("unknown"))); codeOf(err) != node.NotFound {
			t.Errorf("of an unknown bill: got %v, want 7104", err)
		}
		if _, err := ask(bank, document); codeOf(err) != node.NotFound {
			t.Errorf("before there is one: got %v, want 7104", err)
		}
		moved, err := carrier.Node().Honour(t.Context(), issuer.User, document, node.HonourOrder{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(bank, document); err != nil || got != moved.Verdict {
			t.Errorf("got %q and %v, want %q", got, err, moved.Verdict)
		}
		if _, err := ask(shop, document); codeOf(err) != node.Forbidden {
			t.Errorf("for a platform without a part in the chain: got %v, want 7103", err)
		}
	})
	t.Run("removed peer", func(t *testing.T) {
		p := peer(shop, bank)
		if err := p.Check(t.Context(), shop.Domain()); err != nil {
			t.Fatal(err)
		}
		if err := bank.Node().RemovePeer(t.Context(), "test", shop.Domain()); err != nil {
			t.Fatal(err)
		}
		// on the connection that is open already
		if err := p.Check(t.Context(), shop.Domain()); codeOf(err) != node.Forbidden {
			t.Errorf("checking after the removal: got %v, want 7103", err)
		}
		good, _ := carrier.Offer(bob.ID)
		if _, err := p.PutTransferblock(t.Context(), node.Request{Sender: shop.Domain(), Body: good}); codeOf(err) != node.Forbidden {
			t.Errorf("putting after the removal: got %v, want 7103", err)
		}
		bank.Trust(shop)
	})
}

func TestClientAsksInNobodyElsesName(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example")
	p, err := carrier.Dial(bank)
	if err != nil {
		t.Fatal(err)
	}
	for _, sender := range []identity.Host{{}, bank.Domain(), {Name: "shop.example"}} {
		body, _ := carrier.Offer(bank.User("bob").ID)
		if _, err := p.PutTransferblock(t.Context(), node.Request{Sender: sender, Body: body}); err == nil {
			t.Errorf("put as %q: got no error", sender)
		}
		if err := p.Check(t.Context(), sender); err == nil {
			t.Errorf("check as %q: got no error", sender)
		}
		if _, err := p.Verdict(t.Context(), sender, envelope.Hash{}); err == nil {
			t.Errorf("verdict as %q: got no error", sender)
		}
	}
}
