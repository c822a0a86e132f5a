package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// keyed asks as u under an Idempotency-Key, or several.
func (l *local) keyed(u *ebltest.User, path, body string, keys ...string) *call {
	l.t.Helper()
	return do(l.t, http.DefaultClient, call{method: "POST", url: l.url + path, body: []byte(body),
		header: http.Header{"Authorization": {"Bearer " + u.Token}, "Idempotency-Key": keys}})
}

// TestIdempotencyKeyMakesARetrySafe: whatever was lost on the way back, the same order
// comes again and is answered with what it did, as it stands now.
func TestIdempotencyKeyMakesARetrySafe(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.NotIssuer())
	l := newLocal(t, carrier, api.Options{})
	issuer, alice, bob := carrier.User("issuer", "issuer"), carrier.User("alice"), bank.User("bob")
	document := string(carrier.Document())
	issue := `{"document":` + document + `,"to":` + jsonString(alice.ID) + `}`
	first := decode[api.OperationView](t, l.keyed(issuer, "/api/v1/ebls", issue, "i-1").want(t, 200, 0))
	again := decode[api.OperationView](t, l.keyed(issuer, "/api/v1/ebls", issue, "i-1").want(t, 200, 0))
	if first.Repeated || !again.Repeated || again.Bill.DocumentHash != first.Bill.DocumentHash || again.Bill.Steps != 1 {
		t.Errorf("issued twice under one key: got %+v, want %+v", again, first)
	}
	// Another spelling of the same JSON is the same order; another order is not.
	if v := decode[api.OperationView](t, l.keyed(issuer, "/api/v1/ebls?wait=1", "{ \"to\" : "+jsonString(alice.ID)+",\"document\":"+document+"}", "i-1").want(t, 200, 0)); !v.Repeated {
		t.Error("another spelling of the order: got it carried out")
	}
	reused := l.keyed(issuer, "/api/v1/ebls", strings.Replace(issue, alice.ID, issuer.ID, 1), "i-1").want(t, 409, 8004)
	if got := reused.errorResponse(t).Errors[0].Text; got != "idempotencyKeyReused" {
		t.Errorf("another body under the key: got %s", got)
	}
	path := "/api/v1/ebls/" + first.Bill.DocumentHash
	l.keyed(alice, path+"/surrender", `{}`, "m-1").want(t, 200, 0)
	l.keyed(alice, path+"/amend", `{}`, "m-1").want(t, 409, 8004) // the path is part of the order
	l.keyed(issuer, path+"/decline", `{}`, "d-1").want(t, 200, 0)
	l.keyed(issuer, path+"/decline", `{}`, "d-1").want(t, 200, 0)

	to := `{"to":` + jsonString(bob.ID) + `}`
	sent := decode[api.OperationView](t, l.keyed(alice, path+"/transfer", to, "t-1").want(t, 200, 0))
	bank.Settled(bank.Move(bob, hashOf(t, first.Bill.DocumentHash), "TRNS", alice.ID).Transfer, "accepted")
	back := decode[api.OperationView](t, l.keyed(alice, path+"/transfer", to, "t-1").want(t, 200, 0))
	if back.Transfer == nil || back.Transfer.ID != sent.Transfer.ID || back.Bill.Control != "held" || !back.Repeated {
		t.Errorf("the same transfer again: got %+v, want transfer %s and the bill as it is now, held", back, sent.Transfer.ID)
	}
	rejected := `{"to":"nobody@bank.example"}`
	no := l.keyed(alice, path+"/transfer", rejected, "t-2").want(t, 409, 8004)
	same := l.keyed(alice, path+"/transfer", rejected, "t-2").want(t, 409, 8004)
	if a, b := no.errorResponse(t).Operation.Transfer.ID, same.errorResponse(t).Operation.Transfer.ID; a != b {
		t.Errorf("a rejected transfer again: got transfer %s, want %s", b, a)
	}
	l.keyed(alice, path+"/transfer", to, "a", "b").want(t, 400, 7001)
	l.keyed(alice, path+"/transfer", to, "").want(t, 400, 7001)
	l.keyed(alice, path+"/transfer", to, strings.Repeat("x", 256)).want(t, 400, 7001)
	// A refused order leaves its key free.
	l.keyed(alice, path+"/transfer", `{"to":"x@nowhere.example"}`, "t-3").want(t, 422, 8005)
	l.keyed(alice, path+"/transfer", to, "t-3").want(t, 200, 0)
}

// TestKeyOfAYesAndOfAResolve: what moves control by a second person's or an operator's word
// is as safe to send again as an order.
func TestKeyOfAYesAndOfAResolve(t *testing.T) {
	w := ebltest.New(t)
	bank, other := w.Platform("bank.example", ebltest.Manual()), w.Platform("other.example", ebltest.Manual())
	w.Intercept(func(_, _ identity.Host, p node.Peer) node.Peer { return unanswering{p} })
	l := newLocal(t, bank, api.Options{})
	desk, boss, eve := bank.User("desk"), bank.User("boss"), bank.User("eve")
	reused := func(by *ebltest.User, path, body, key string) {
		t.Helper()
		if got := l.keyed(by, path, body, key).want(t, 409, 8004).errorResponse(t).Errors[0].Text; got != "idempotencyKeyReused" {
			t.Errorf("%s under a key that was used: got %s", path, got)
		}
	}
	transfer := bank.Move(desk, bank.Issue(desk.ID), "TRNS", other.User("bob").ID).Transfer
	if err := bank.Node().SetApprovers(t.Context(), "test", desk.Local, []string{"boss"}); err != nil {
		t.Fatal(err)
	}
	ask := func() (string, string) {
		doc := bank.Issue(desk.ID).String()
		v := decode[api.WaitingView](t, l.as(desk, "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":`+jsonString(eve.ID)+`}`).want(t, 202, 0)).Approval
		return "/api/v1/approvals/" + v.ID, `{"requestSha256":"` + v.RequestHash + `"}`
	}
	one, yes := ask()
	two, yesToo := ask()
	for i := range 2 {
		if v := decode[api.ApprovalView](t, l.keyed(boss, one+"/approve", yes, "k").want(t, 200, 0)); v.State != "approved" || v.Repeated != (i == 1) {
			t.Errorf("approved, time %d: got %+v", i+1, v)
		}
	}
	reused(boss, two+"/approve", yesToo, "k")
	reused(boss, two+"/reject", `{}`, "k")
	for i := range 2 {
		if v := decode[api.ApprovalView](t, l.keyed(boss, two+"/reject", `{"reason":"no"}`, "r").want(t, 200, 0)); v.State != "rejected" || v.Repeated != (i == 1) {
			t.Errorf("rejected, time %d: got %+v", i+1, v)
		}
	}
	reused(boss, two+"/reject", `{"reason":"never"}`, "r")
	l.keyed(boss, two+"/reject", `{"reason":"no"}`, "a", "b").want(t, 400, 7001)

	op, second := bank.User("op", "operator"), bank.User("second", "operator")
	stop := bank.Run()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		open, err := bank.Node().OpenTransfers(t.Context(), op.User)
		if err != nil || len(open) != 1 || time.Now().After(deadline) {
			t.Fatalf("waiting for an attempt: %+v, %v", open, err)
		}
		if open[0].State == node.Sending {
			break
		}
	}
	stop()
	resolve := "/api/v1/transfers/" + transfer + "/resolve"
	propose, confirm := `{"outcome":"away","reason":"they wrote","evidence":"eA=="}`, `{"outcome":"away","confirm":true,"evidenceSha256":"`+envelope.HashOf([]byte("x")).String()+`"}`
	for range 2 {
		l.keyed(op, resolve, propose, "p").want(t, 200, 0)
	}
	reused(op, resolve, strings.Replace(propose, "wrote", "said", 1), "p")
	for range 2 {
		if v := decode[api.TransferView](t, l.keyed(second, resolve, confirm, "c").want(t, 200, 0)); v.State != "accepted" || v.SettledBy != "operators" {
			t.Errorf("resolved: got %+v", v)
		}
	}
	reused(second, resolve, strings.Replace(confirm, "away", "held", 1), "c")
	if l.as(second, "POST", resolve, confirm).want(t, 409, 8004).errorResponse(t).Errors[0].Text != "nothingToResolve" {
		t.Error("without a key it is another order")
	}
}

func TestCancelOverTheLocalAPI(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example", ebltest.Manual()), w.Platform("bank.example", ebltest.NotIssuer())
	l := newLocal(t, carrier, api.Options{})
	alice, bob := carrier.User("alice"), bank.User("bob")
	path := "/api/v1/ebls/" + carrier.Issue(alice.ID).String() + "/transfer"
	open := decode[api.OperationView](t, l.keyed(alice, path+"?wait=0", `{"to":`+jsonString(bob.ID)+`}`, "t").want(t, 202, 0))
	cancel := "/api/v1/transfers/" + open.Transfer.ID + "/cancel"
	l.as(alice, "POST", cancel, `{"x":1}`).want(t, 400, 7001)
	l.as(carrier.User("eve"), "POST", cancel, `{}`).want(t, 404, 7104)
	for range 2 {
		v := decode[api.OperationView](t, l.keyed(alice, cancel, `{}`, "c").want(t, 200, 0))
		if v.Transfer.State != "cancelled" || v.Transfer.SettledBy != "cancel" || v.Bill.Control != "held" {
			t.Errorf("cancelled: got %+v", v)
		}
	}
	l.as(alice, "POST", cancel, `{}`).want(t, 409, 8004)
	no := l.keyed(alice, path, `{"to":`+jsonString(bob.ID)+`}`, "t").want(t, 409, 8004).errorResponse(t)
	if no.Errors[0].Text != "cancelled" || no.Operation.Bill.Control != "held" {
		t.Errorf("the cancelled order again: got %+v", no)
	}
}

// TestTwoOperatorsOverTheLocalAPI: the second word is another token's, whatever the
// caller says of itself; no role but operator has a word at all.
func TestTwoOperatorsOverTheLocalAPI(t *testing.T) {
	w := ebltest.New(t)
	carrier := w.Platform("carrier.example")
	l := newLocal(t, carrier, api.Options{})
	for _, role := range []string{"holder", "issuer", "auditor"} {
		u := carrier.User("a-"+role, node.Role(role))
		l.as(u, "POST", "/api/v1/incoming/reject", `{"hash":"`+repeated("0", 64)+`","reason":"x"}`).want(t, 403, 7103)
		l.as(u, "POST", "/api/v1/transfers/0/resolve", `{"outcome":"held","reason":"x","evidence":"eA=="}`).want(t, 403, 7103)
	}
	op := carrier.User("op", "operator")
	l.as(op, "POST", "/api/v1/incoming/reject", `{"hash":"`+repeated("0", 64)+`","reason":"x"}`).want(t, 404, 7104)
	l.as(op, "POST", "/api/v1/incoming/reject", `{"hash":"`+repeated("0", 64)+`","block":"eA==","reason":"x"}`).want(t, 400, 7001)
	l.as(op, "POST", "/api/v1/incoming/reject", `{"block":"eA==","reason":"x"}`).want(t, 400, 7001)
	l.as(op, "POST", "/api/v1/transfers/0/resolve", `{"outcome":"held","reason":"x","evidence":"eA=="}`).want(t, 404, 7104)
	l.as(nil, "GET", "/api/v1/incoming", "").want(t, 401, 7101)
}
