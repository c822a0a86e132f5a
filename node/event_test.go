package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

var everybody = &node.User{Local: "events-auditor", Role: node.AuditorRole}

// eventsOf are the events of one bill at p, all of them read in small pages.
func eventsOf(t testing.TB, p *ebltest.Platform, u *node.User, document envelope.Hash) []node.Event {
	t.Helper()
	var list []node.Event
	for cursor := ""; ; {
		page, err := p.Node().Events(t.Context(), u, cursor, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if dataOf(t, e).Document == document.String() {
				list = append(list, e)
			}
		}
		if len(page.Events) == 0 {
			return list
		}
		cursor = page.Next
	}
}

func dataOf(t testing.TB, e node.Event) node.EventData {
	t.Helper()
	var d node.EventData
	if err := json.Unmarshal(e.Data, &d); err != nil {
		t.Fatalf("event %s: %v in %s", e.ID, err, e.Data)
	}
	return d
}

// types are the events in one word each, with what they say of the control.
func types(t testing.TB, list []node.Event) []string {
	t.Helper()
	var out []string
	for _, e := range list {
		out = append(out, string(e.Type)+" "+string(dataOf(t, e).Control))
	}
	return out
}

func wantEvents(t testing.TB, p *ebltest.Platform, document envelope.Hash, want ...string) {
	t.Helper()
	if got := types(t, eventsOf(t, p, everybody, document)); !slices.Equal(got, want) {
		t.Errorf("events of %s:\n got %q\nwant %q", p.Domain(), got, want)
	}
}

func TestEventsTellTheLifeOfABill(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	issuer, alice, bob := carrier.User("issuer", node.IssuerRole), carrier.User("alice"), bank.User("bob")
	doc := carrier.Issue(alice.ID)
	carrier.Move(alice, doc, envelope.Transfer, issuer.ID)
	carrier.Transfer(issuer, doc, bob.ID)
	bank.Settled(bank.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	if _, err := carrier.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { return bank.View(doc).Control == node.Voided })

	wantEvents(t, carrier, doc, "bill.issued held", "bill.moved held", "transfer.prepared locked", "transfer.sending locked",
		"transfer.accepted away", "bill.received held", "bill.void void")
	wantEvents(t, bank, doc, "bill.received held", "transfer.prepared locked", "transfer.sending locked", "transfer.accepted away", "bill.void void")

	list := eventsOf(t, carrier, everybody, doc)
	if got := dataOf(t, list[1]); got.Instruction != envelope.Transfer || got.Possessor != issuer.ID || got.Transfer != nil {
		t.Errorf("bill.moved: got %+v, want TRNS to %s", got, issuer.ID)
	}
	if got := dataOf(t, list[4]); got.Transfer == nil || got.Transfer.State != node.Accepted || got.Transfer.SettledBy != "receipt" ||
		got.Transfer.Peer != "bank.example" || got.Possessor != bob.ID || got.Length != 1 || got.Head != got.Transfer.Envelope {
		t.Errorf("transfer.accepted: got %s, want accepted by bank.example, with the receipt", list[4].Data)
	}
	if got := dataOf(t, list[5]); got.Peer != "bank.example" || got.Status != "surrenderPending" || got.Returned != bob.ID {
		t.Errorf("bill.received: got %s, want the surrender from bank.example", list[5].Data)
	}
	if got := dataOf(t, list[6]); got.Verdict != envelope.Surrendered || got.Possessor != "" {
		t.Errorf("bill.void: got %s, want the verdict surrendered and no possessor", list[6].Data)
	}
	for _, p := range net.Platforms() {
		for _, e := range eventsOf(t, p, everybody, doc) {
			if strings.Contains(string(e.Data), "vesselName") || strings.Contains(string(e.Data), "Ærø") {
				t.Errorf("an event holds text of the document: %s", e.Data)
			}
		}
	}
}

func TestEventsOfRefusedTransfers(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	alice := carrier.User("alice")
	doc := carrier.Issue(alice.ID)
	carrier.Settled(carrier.Move(alice, doc, envelope.Transfer, "nobody@bank.example").Transfer, node.Rejected)
	wantEvents(t, carrier, doc, "bill.issued held", "transfer.prepared locked", "transfer.sending locked", "transfer.rejected held")
	last := eventsOf(t, carrier, everybody, doc)[3]
	if got := dataOf(t, last); got.Response != envelope.BadEnvelopeCode || got.Transfer.State != node.Rejected {
		t.Errorf("got %s, want BENV", last.Data)
	}
	wantEvents(t, bank, doc) // what is refused changes nothing there
}

// A change for which nobody thought of an event has one.
func TestEveryChangeOfABillIsAnEvent(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	doc := carrier.Issue(carrier.User("alice").ID)
	if err := node.Touch(t, carrier.Node(), doc); err != nil {
		t.Fatal(err)
	}
	wantEvents(t, carrier, doc, "bill.issued held", "bill.changed held")
}

func TestWhoseEvents(t *testing.T) {
	net := ebltest.New(t)
	carrier := net.Platform("carrier.example")
	issuer, alice, bob, eve := carrier.User("issuer", node.IssuerRole), carrier.User("alice"), carrier.User("bob"), carrier.User("eve")
	op := carrier.User("op", node.OperatorRole)
	one, two := carrier.Issue(alice.ID), carrier.Issue(bob.ID)
	carrier.Move(alice, one, envelope.Transfer, bob.ID)
	for _, c := range []struct {
		user     *node.User
		one, two int
	}{{issuer.User, 2, 1}, {alice.User, 2, 0}, {bob.User, 2, 1}, {eve.User, 0, 0}, {op.User, 0, 0}, {everybody, 2, 1}} {
		if got := len(eventsOf(t, carrier, c.user, one)); got != c.one {
			t.Errorf("%s sees %d events of the first bill, want %d", c.user.Local, got, c.one)
		}
		if got := len(eventsOf(t, carrier, c.user, two)); got != c.two {
			t.Errorf("%s sees %d events of the second bill, want %d", c.user.Local, got, c.two)
		}
	}
	page, err := carrier.Node().Events(t.Context(), eve.User, "", 10)
	if err != nil || page.Next == "0" {
		t.Errorf("the page of who sees nothing: got next %q (%v), want the end of the list", page.Next, err)
	}
}

func TestCursorsThatAreNotOurs(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	empty, err := carrier.Node().Events(t.Context(), everybody, node.LatestEvent, 10)
	if err != nil || empty.Next != "0" {
		t.Fatalf("the end of an empty list: got %q, %v, want 0", empty.Next, err)
	}
	carrier.Issue(carrier.User("alice").ID)
	latest, err := carrier.Node().Events(t.Context(), everybody, node.LatestEvent, 10)
	if err != nil || len(latest.Events) != 0 || !strings.HasPrefix(latest.Next, "1-") {
		t.Fatalf("the end of the list: got %+v, %v", latest, err)
	}
	if page, err := carrier.Node().Events(t.Context(), everybody, empty.Next, 10); err != nil || len(page.Events) != 1 {
		t.Errorf("from the beginning: got %d events, %v, want 1", len(page.Events), err)
	}
	for cursor, want := range map[string]node.Code{
		"1": node.Malformed, "-1": node.Malformed, "x": node.Malformed, "1-": node.Malformed, "01": node.Malformed,
		"99999999999999999999-00000000": node.Malformed, "1'--00000000": node.Malformed,
		"1-00000000": node.Conflict, "2-00000000": node.Conflict, "0" + latest.Next: node.Conflict, "9223372036854775807-00000000": node.Conflict,
	} {
		_, err := carrier.Node().Events(t.Context(), everybody, cursor, 10)
		if e, ok := errors.AsType[*node.Error](err); !ok || e.Code != want {
			t.Errorf("cursor %q: got %v, want %d", cursor, err, want)
		}
	}
}

// Numbers that a restored backup gives again are other events: no follower may skip them.
func TestCursorOfALostHistoryIsRefused(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	alice := carrier.User("alice")
	carrier.Issue(alice.ID)
	before, err := carrier.Node().Events(t.Context(), everybody, "", 10)
	if err != nil {
		t.Fatal(err)
	}
	node.Exec(t, carrier.Node(), "DELETE FROM events")
	node.Exec(t, carrier.Node(), "DELETE FROM sqlite_sequence WHERE name = 'events'")
	carrier.Issue(alice.ID)
	_, err = carrier.Node().Events(t.Context(), everybody, before.Next, 10)
	if e, ok := errors.AsType[*node.Error](err); !ok || e.Text != node.TextCursor {
		t.Errorf("got %v, want %s", err, node.TextCursor)
	}
}

func TestAwaitedEventComesAtOnce(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	alice, bob := carrier.User("alice"), carrier.User("bob")
	doc := carrier.Issue(alice.ID)
	n := carrier.Node()
	latest, err := n.Events(t.Context(), bob.User, node.LatestEvent, 10)
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if page, err := n.AwaitEvents(short, bob.User, latest.Next, 10); err != nil || len(page.Events) != 0 || page.Next != latest.Next {
		t.Fatalf("waiting for nothing: got %+v, %v", page, err)
	}
	type answer struct {
		page node.EventPage
		err  error
	}
	ctx, stop := context.WithTimeout(t.Context(), ebltest.Patience)
	defer stop()
	holders := []*ebltest.User{alice, bob}
	least := time.Hour
	for i := 0; i < 5 && least > 1500*time.Millisecond; i++ { // a machine that stands still does so once
		from, to := holders[i%2], holders[(i+1)%2]
		got := make(chan answer, 1)
		go func() {
			page, err := n.AwaitEvents(ctx, to.User, latest.Next, 10)
			got <- answer{page, err}
		}()
		carrier.Issue(carrier.User("carol").ID) // not their business
		start := time.Now()
		carrier.Move(from, doc, envelope.Transfer, to.ID)
		a := <-got
		if a.err != nil || len(a.page.Events) != 1 || a.page.Events[0].Type != node.BillMoved {
			t.Fatalf("got %+v, %v, want the one bill.moved", a.page, a.err)
		}
		latest, least = a.page, min(least, time.Since(start))
	}
	if least > 1500*time.Millisecond {
		t.Errorf("it took %s: it was looked for and not waited for", least)
	}
}

// A commit that is said to have failed and happened has its event; one that failed has not.
func TestEventsGoWithTheCommit(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	alice, bob := carrier.User("alice"), carrier.User("bob")
	for _, happens := range []bool{false, true} {
		doc := carrier.Issue(alice.ID)
		node.SetBeforeCommit(t, carrier.Node(), func() (bool, error) { return happens, errors.New("test: the disk is full") })
		_, err := carrier.Node().Move(t.Context(), alice.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(bob.ID)})
		if err == nil {
			t.Fatal("got no error")
		}
		node.SetBeforeCommit(t, carrier.Node(), nil)
		want := []string{"bill.issued held"}
		if happens {
			want = append(want, "bill.moved held")
		}
		wantEvents(t, carrier, doc, want...)
		checkNode(t, carrier)
	}
}

// within waits for something that another goroutine does.
func within(t testing.TB, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(ebltest.Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen within %s", ebltest.Patience)
		}
	}
}

// A fork is told once, however often it is offered.
func TestForkIsOneEvent(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example", ebltest.Manual()), net.Platform("bank.example", ebltest.NotIssuer())
	bob, carol := bank.User("bob"), bank.User("carol")
	doc := carrier.Document()
	hash := envelope.HashOf(doc)
	issue := func(to string) []byte {
		return ebltest.Body(doc, carrier.Seal(hash, envelope.Hash{}, ebltest.Tx{Instruction: envelope.Issue, To: to}))
	}
	if r, err := bank.Put(carrier, issue(bob.ID)); err != nil || r.Receipt == "" {
		t.Fatalf("the first: got %+v, %v, want a receipt", r, err)
	}
	other := issue(carol.ID)
	for i := range 3 {
		// the same envelope in another request, so that it is no repeat
		body := append(slices.Clone(other), fmt.Sprintf("%*s", i, "")...)
		if r, err := bank.Put(carrier, body); err != nil || r.Rejection == "" {
			t.Fatalf("the other: got %+v, %v, want a rejection", r, err)
		}
	}
	list := eventsOf(t, bank, everybody, hash)
	if got, want := types(t, list), []string{"bill.received held", "bill.forked held"}; !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	if got := dataOf(t, list[1]); got.Peer != carrier.Domain().String() || got.Possessor != bob.ID {
		t.Errorf("got %s, want the fork by %s", list[1].Data, carrier.Domain())
	}
}
