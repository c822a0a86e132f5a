package api_test

import (
	"encoding/json"
	"net/url"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/internal/ebltest"
)

func TestFollowingEventsMissesNoneAndRepeatsNone(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	alice, eve, bob := carrier.User("alice"), carrier.User("eve"), bank.User("bob")
	l := newLocal(t, carrier, api.Options{})
	var got []string
	seen := map[string]bool{}
	cursor := ""
	follow := func(query string) {
		t.Helper()
		v := decode[api.EventList](t, l.as(alice, "GET", "/api/v1/events?limit=2&cursor="+url.QueryEscape(cursor)+query, "").want(t, 200, 0))
		for _, e := range v.Events {
			if seen[e.ID] {
				t.Errorf("event %s came twice", e.ID)
			}
			seen[e.ID] = true
			got = append(got, e.Type)
		}
		cursor = v.NextCursor
	}
	follow("")
	doc := carrier.Issue(alice.ID)
	follow("")
	carrier.Transfer(alice, doc, bob.ID)
	carrier.Issue(eve.ID) // not hers
	for range 3 {
		follow("&wait=1")
	}
	want := []string{"bill.issued", "transfer.prepared", "transfer.sending", "transfer.accepted"}
	if len(got) != len(want) {
		t.Fatalf("got %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %q, want %q", got, want)
			break
		}
	}
	l.as(bob, "GET", "/api/v1/events", "").want(t, 401, 7101) // another platform's user
}

func TestEventIsAwaitedAsLongAsAsked(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	alice, bob := carrier.User("alice"), carrier.User("bob")
	doc := carrier.Issue(alice.ID)
	l := newLocal(t, carrier, api.Options{})
	start := time.Now()
	v := decode[api.EventList](t, l.as(bob, "GET", "/api/v1/events?cursor=latest&wait=1", "").want(t, 200, 0))
	if took := time.Since(start); len(v.Events) != 0 || v.NextCursor == "" {
		t.Errorf("waiting a second for nothing: got %d events after %s", len(v.Events), took)
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		carrier.Move(alice, doc, envelope.Transfer, bob.ID)
	}()
	start = time.Now()
	v = decode[api.EventList](t, l.as(bob, "GET", "/api/v1/events?wait=30&cursor="+v.NextCursor, "").want(t, 200, 0))
	if len(v.Events) != 1 || v.Events[0].Type != "bill.moved" || time.Since(start) > 25*time.Second {
		t.Fatalf("got %+v after %s, want the one bill.moved", v.Events, time.Since(start))
	}
	var data struct {
		Possessor string `json:"possessor"`
	}
	if err := json.Unmarshal(v.Events[0].Data, &data); err != nil || data.Possessor != bob.ID {
		t.Errorf("got %s (%v), want the possessor %s", v.Events[0].Data, err, bob.ID)
	}
}

func TestEventQueriesThatAreRefused(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	alice := carrier.User("alice")
	carrier.Issue(alice.ID)
	l := newLocal(t, carrier, api.Options{})
	l.as(nil, "GET", "/api/v1/events", "").want(t, 401, 7101)
	for _, q := range []string{"limit=0", "limit=201", "wait=61", "wait=-1", "cursor=x", "cursor=1", "cursor=&cursor=", "limit=1&limit=2"} {
		l.as(alice, "GET", "/api/v1/events?"+q, "").want(t, 400, 7001)
	}
	for _, q := range []string{"cursor=1-00000000", "cursor=7-00000000"} {
		c := l.as(alice, "GET", "/api/v1/events?"+q, "").want(t, 409, 8004)
		if got := c.errorResponse(t).Errors[0].Text; got != "cursorUnknown" {
			t.Errorf("%s: got %s, want cursorUnknown", q, got)
		}
	}
}
