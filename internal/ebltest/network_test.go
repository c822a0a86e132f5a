package ebltest_test

import (
	"slices"
	"testing"

	"eblnode/internal/ebltest"
	"eblnode/node"
)

func TestBillTravelsAndComesBack(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *ebltest.Network{"in process": ebltest.New, "over TLS": ebltest.NewTLS} {
		t.Run(name, func(t *testing.T) {
			net := make(t)
			carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
			alice, bob := carrier.User("alice"), bank.User("bob")
			doc := carrier.Issue(alice.ID)
			carrier.Transfer(alice, doc, bob.ID)
			if got, want := net.InControl(doc), []string{bob.ID}; !slices.Equal(got, want) {
				t.Fatalf("in control: got %v, want %v", got, want)
			}
			bank.Restart()
			bank.Transfer(bob, doc, alice.ID)
			if got, want := net.InControl(doc), []string{alice.ID}; !slices.Equal(got, want) {
				t.Fatalf("in control: got %v, want %v", got, want)
			}
			if got, want := carrier.View(doc).Control, node.Held; got != want {
				t.Errorf("control at the carrier: got %s, want %s", got, want)
			}
			body, _ := carrier.Offer(bob.ID)
			first, err := bank.Put(carrier, body)
			if err != nil {
				t.Fatal(err)
			}
			again, err := bank.Put(carrier, body)
			if err != nil || first.Receipt == "" || again.Receipt != first.Receipt {
				t.Errorf("the same offer again: got %q and %v, want %q", again.Receipt, err, first.Receipt)
			}
		})
	}
}
