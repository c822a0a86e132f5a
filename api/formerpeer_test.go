package api_test

import (
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestPeerThatIsNoneAnyMore: what the manual says of ending with a peer. An entry without TLS
// and with its keys ended keeps what the peer signed believed, in the hands of others too, and
// lets it in no more; removed, what others bring with its signature is rejected for good.
func TestPeerThatIsNoneAnyMore(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank, shop := w.Platform("carrier.example"), w.Platform("bank.example"), w.Platform("shop.example")
	issuer, bob, sue := carrier.User("issuer", "issuer"), bank.User("bob"), shop.User("sue")
	surrender := func(want node.TransferState) {
		t.Helper()
		doc := carrier.Issue(carrier.User("alice").ID)
		carrier.Settled(carrier.Move(carrier.User("alice"), doc, "TRNS", bob.ID).Transfer, "accepted")
		bank.Settled(bank.Move(bob, doc, "TRNS", sue.ID).Transfer, "accepted")
		end(t, carrier, bank, want == node.Accepted)
		shop.Settled(shop.Move(sue, doc, "SURR", issuer.ID).Transfer, want)
		if got := askOver(openTo(t, carrier.Addr, &bank.TLS)); got != 0 {
			t.Errorf("the former peer was answered: %d", got)
		}
		carrier.Trust(bank)
	}
	surrender(node.Accepted)
	surrender(node.Rejected)
}

// end ends with a peer: by an entry without TLS, or by removing it.
func end(t *testing.T, at, peer *ebltest.Platform, keeping bool) {
	t.Helper()
	if !keeping {
		if err := at.Node().RemovePeer(t.Context(), "test", peer.Domain()); err != nil {
			t.Fatal(err)
		}
		return
	}
	e, key := *peer.Entry, *peer.Entry.Keys[0]
	key.NotAfter = time.Now()
	e.TLS, e.Keys = identity.TLSIdentity{}, []*identity.Key{&key}
	if err := at.Node().AddPeers(t.Context(), "test", []*identity.Platform{&e}); err != nil {
		t.Fatal(err)
	}
}
