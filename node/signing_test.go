package node_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestExpiredOwnKeySignsNothing: a node whose signing key has run out answers 503 to
// peers and users, and nothing moves; neither a receipt nor a rejection is dated outside
// the key's window.
func TestExpiredOwnKeySignsNothing(t *testing.T) {
	var late atomic.Int64 // the outbox looks at the clock too
	net := ebltest.New(t)
	carrier := net.Platform("carrier.example")
	bank := net.Platform("bank.example", ebltest.Configure(func(c *node.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(late.Load())) }
	}))
	desk := bank.User("desk")
	issuer := bank.User("issuer", node.IssuerRole)
	held := bank.Issue(desk.ID)
	good, _ := carrier.Offer(desk.ID)
	bad, _ := carrier.Offer("nobody@bank.example")
	before := dump(t, bank)
	late.Store(int64(400 * 24 * time.Hour))
	for name, body := range map[string][]byte{"a block to accept": good, "a block to reject": bad} {
		_, err := bank.Put(carrier, body)
		wantUnavailable(t, name, err)
	}
	_, err := bank.Node().Issue(t.Context(), issuer.User, node.IssueOrder{Document: bank.Document(), To: ebltest.Quote(desk.ID)})
	wantUnavailable(t, "issue", err)
	_, err = bank.Node().Move(t.Context(), desk.User, held, node.MoveOrder{Instruction: envelope.Surrender})
	wantUnavailable(t, "surrender", err)
	if after := dump(t, bank); !slices.Equal(before, after) {
		t.Errorf("something changed: %v", changes(before, after))
	}
	late.Store(0)
	if r, err := bank.Put(carrier, good); err != nil || r.Receipt == "" {
		t.Errorf("with a valid key again: got %+v, %v, want a receipt", r, err)
	}
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	e, ok := errors.AsType[*node.Error](err)
	if !ok || e.Code != node.Unavailable || e.Text != node.TextUnavailable || e.Retry == 0 {
		t.Errorf("%s: got %v, want 7503 with a time to retry", what, err)
	}
}

// TestIssueRefusals: what an issuer cannot issue leaves nothing behind.
func TestIssueRefusals(t *testing.T) {
	net := ebltest.New(t)
	carrier := net.Platform("carrier.example")
	bank := net.Platform("bank.example")
	carrier.Entry.Carriers = []string{"MAEU"}
	issuer, holder := carrier.User("issuer", node.IssuerRole), carrier.User("holder")
	remote := bank.User("desk")
	order := func(document string) node.IssueOrder {
		return node.IssueOrder{Document: []byte(document), To: ebltest.Quote(holder.ID)}
	}
	issued := `{"carrierCode":"MAEU","isToOrder":true,"transportDocumentReference":"R-1"}`
	if _, err := carrier.Node().Issue(t.Context(), issuer.User, order(issued)); err != nil {
		t.Fatal(err)
	}
	yes := true
	for _, c := range []struct {
		name string
		by   *ebltest.User
		o    node.IssueOrder
		code node.Code
		text string
	}{
		{"by a holder", holder, order(`{"carrierCode":"MAEU","isToOrder":true}`), node.Forbidden, node.TextForbidden},
		{"another carrier", issuer, order(`{"carrierCode":"MSCU","isToOrder":true}`), node.Forbidden, "notAnIssuer"},
		{"no carrier", issuer, order(`{"isToOrder":true}`), node.Forbidden, "notAnIssuer"},
		{"not an object", issuer, order(`[]`), node.Malformed, "malformed"},
		{"a number that RFC 8785 changes", issuer, order(`{"carrierCode":"MAEU","isToOrder":true,"n":12345678901234567890}`), node.Malformed, "malformed"},
		{"a name twice", issuer, order(`{"carrierCode":"MAEU","isToOrder":true,"isToOrder":true}`), node.Malformed, "malformed"},
		{"isToOrder nowhere", issuer, order(`{"carrierCode":"MAEU"}`), node.Malformed, "malformed"},
		{"isToOrder contradicted", issuer, node.IssueOrder{Document: []byte(`{"carrierCode":"MAEU","isToOrder":false}`), To: ebltest.Quote(holder.ID), ToOrder: &yes}, node.Malformed, "malformed"},
		{"the same document", issuer, order(issued), node.Conflict, node.TextAlreadyIssued},
		{"the same reference", issuer, order(`{"carrierCode":"MAEU","isToOrder":true,"transportDocumentReference":"R-1","x":1}`), node.Conflict, node.TextReferenceInUse},
		{"to nobody", issuer, node.IssueOrder{Document: []byte(`{"carrierCode":"MAEU","isToOrder":true}`), To: ebltest.Quote("nobody@carrier.example")}, node.NotPossible, node.TextTransferee},
		{"to a stranger", issuer, node.IssueOrder{Document: []byte(`{"carrierCode":"MAEU","isToOrder":true}`), To: ebltest.Quote("x@stranger.example")}, node.NotPossible, node.TextNotTrusted},
		{"comments too long, to another platform", issuer, node.IssueOrder{Document: []byte(`{"carrierCode":"MAEU","isToOrder":true}`), To: ebltest.Quote(remote.ID), Comments: string(make([]byte, 300))}, node.Malformed, "malformed"},
	} {
		before := dump(t, carrier)
		_, err := carrier.Node().Issue(t.Context(), c.by.User, c.o)
		e, ok := errors.AsType[*node.Error](err)
		if !ok || e.Code != c.code || e.Text != c.text {
			t.Errorf("%s: got %v, want %d %s", c.name, err, c.code, c.text)
		}
		if after := dump(t, carrier); !slices.Equal(before, after) {
			t.Errorf("%s: something changed: %v", c.name, changes(before, after))
		}
	}
}
