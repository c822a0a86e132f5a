package node_test

import (
	"context"
	"testing"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// A waiter does something while an order waits to hear whether its peer is ready.
type waiter struct {
	node.Peer
	meanwhile func()
}

func (w *waiter) Check(ctx context.Context, sender identity.Host) error {
	w.meanwhile()
	return w.Peer.Check(ctx, sender)
}

// TestWhoIsStoppedWhileItsOrderWaits: an order that waits for its peer is not carried out for a
// user, or by a system, that is stopped meanwhile, nor past a second person who is named then.
func TestWhoIsStoppedWhileItsOrderWaits(t *testing.T) {
	for name, c := range map[string]struct {
		via  *node.Act
		stop func(t *testing.T, n *node.Node) error
		text string // "": carried out
	}{
		"nothing happens":      {nil, func(*testing.T, *node.Node) error { return nil }, ""},
		"the user is disabled": {nil, func(t *testing.T, n *node.Node) error { return n.DisableUser(t.Context(), "op", "al") }, "forbidden"},
		"approvers are named": {nil, func(t *testing.T, n *node.Node) error {
			return n.SetApprovers(t.Context(), "op", "al", []string{"amy"})
		}, node.TextSecondPerson},
		"by a system":              {&node.Act{System: "erp"}, func(*testing.T, *node.Node) error { return nil }, ""},
		"the system is disabled":   {&node.Act{System: "erp"}, func(t *testing.T, n *node.Node) error { return n.DisableSystem(t.Context(), "op", "erp") }, "forbidden"},
		"the system is for others": {&node.Act{System: "erp"}, func(t *testing.T, n *node.Node) error { return addSystem(t, n, "amy") }, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example"), w.Platform("b.example")
			al, bob := a.User("al"), b.User("bob")
			a.User("amy")
			if err := addSystem(t, a.Node(), "al"); err != nil {
				t.Fatal(err)
			}
			doc := a.Issue(al.ID)
			w.Intercept(func(_, to identity.Host, p node.Peer) node.Peer {
				if to != b.Domain() {
					return p
				}
				return &waiter{p, func() {
					if err := c.stop(t, a.Node()); err != nil {
						t.Error(err)
					}
				}}
			})
			user := *al.User
			user.Via = c.via
			moved, err := a.Node().Move(t.Context(), &user, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(bob.ID)})
			if c.text != "" {
				mustRefuse(t, err, node.Forbidden, c.text)
				mustHold(t, w, doc, al.ID)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			a.Settled(moved.Transfer, node.Accepted)
		})
	}
}

// addSystem registers the system erp for one user.
func addSystem(t *testing.T, n *node.Node, local string) error {
	t.Helper()
	return n.AddSystem(t.Context(), "op", node.System{Name: "erp", Keys: systemKeys(t), Customers: []node.Customer{{ID: "C", Local: local}}})
}

// systemKeys is a key set of one new key.
func systemKeys(t *testing.T) []byte {
	t.Helper()
	priv, err := identity.GenerateKey(identity.ES256)
	if err != nil {
		t.Fatal(err)
	}
	jwk, err := (&identity.Key{ID: "k", Public: priv.Public()}).JWK()
	if err != nil {
		t.Fatal(err)
	}
	return append(append([]byte(`{"keys":[`), jwk...), `]}`...)
}
