package api_test

import (
	"slices"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// OPS-05, over the API: an order waits, shows itself whole to who may approve it and to
// nobody else, and is carried out once by a second person.
func TestSecondPersonOverTheLocalAPI(t *testing.T) {
	bank := ebltest.New(t).Platform("bank.example")
	desk, boss, eve := bank.User("desk"), bank.User("boss"), bank.User("eve")
	l, a := newLocal(t, bank, api.Options{}), newAdmin(t, bank)
	doc := bank.Issue(desk.ID).String()
	a.ask("POST", "/admin/v1/users/desk/approvers", `{"approvers":["boss"]}`).want(t, 200, 0)
	users := decode[api.UserList](t, a.ask("GET", "/admin/v1/users", "").want(t, 200, 0))
	for _, u := range users.Users {
		if want := map[string][]string{"desk": {"boss"}}[u.Local]; !slices.Equal(u.Approvers, want) {
			t.Errorf("%s: got approvers %v, want %v", u.Local, u.Approvers, want)
		}
	}
	path := "/api/v1/ebls/" + doc + "/transfer"
	w := decode[api.WaitingView](t, l.as(desk, "POST", path, `{"to":"eve@bank.example","comments":"as agreed"}`).want(t, 202, 0))
	v := w.Approval
	if v.RequestedBy != "desk" || v.Order != "TRNS" || string(v.To) != `"eve@bank.example"` || v.Comments != "as agreed" || v.State != "pending" || v.DocumentHash != doc {
		t.Errorf("got %+v", v)
	}
	if again := decode[api.WaitingView](t, l.as(desk, "POST", path, `{"comments":"as agreed","to":"eve@bank.example"}`).want(t, 202, 0)); again.Approval.ID != v.ID || !again.Repeated {
		t.Errorf("the same order: got %+v", again)
	}
	for u, want := range map[*ebltest.User]int{desk: 1, boss: 1, eve: 0} {
		if got := decode[api.ApprovalList](t, l.as(u, "GET", "/api/v1/approvals", "").want(t, 200, 0)); len(got.Approvals) != want {
			t.Errorf("%s sees %d orders, want %d", u.Local, len(got.Approvals), want)
		}
	}
	one := "/api/v1/approvals/" + v.ID
	l.as(eve, "GET", one, "").want(t, 404, 7104)
	if got := decode[api.ApprovalView](t, l.as(boss, "GET", one, "").want(t, 200, 0)); !strings.Contains(string(got.Content), "eve@bank.example") {
		t.Errorf("the order is not shown whole: %s", got.Content)
	}
	yes := `{"requestSha256":"` + v.RequestHash + `"}`
	db := database(t, bank)
	before := dump(t, db)
	for _, c := range []struct {
		by           *ebltest.User
		path, body   string
		status, code int
		text         string
	}{
		{desk, "/approve", yes, 403, 7103, "secondPersonNeeded"},
		{eve, "/approve", yes, 404, 7104, "notFound"},
		{boss, "/approve", `{"requestSha256":"` + repeated("0", 64) + `"}`, 409, 8004, "approvalNotThis"},
		{boss, "/approve", `{}`, 400, 7001, "malformed"},
		{boss, "/approve", `{"requestSha256":"` + v.RequestHash + `","state":"approved"}`, 400, 7001, "malformed"},
		{eve, "/reject", `{}`, 404, 7104, "notFound"},
		{boss, "/reject", `{"reason":"` + repeated("x", 1001) + `"}`, 400, 7001, "malformed"},
	} {
		got := l.as(c.by, "POST", one+c.path, c.body).want(t, c.status, c.code)
		if text := got.errorResponse(t).Errors[0].Text; text != c.text {
			t.Errorf("%s %s: got %s, want %s", c.by.Local, c.path, text, c.text)
		}
	}
	if !slices.Equal(before, dump(t, db)) {
		t.Error("a refused approval changed the database")
	}
	if got := bank.View(parseHash(t, doc)); got.Possessor != desk.ID {
		t.Fatalf("got %s, want that nothing moved", got.Possessor)
	}
	if got := decode[api.ApprovalView](t, l.as(boss, "POST", one+"/approve", yes).want(t, 200, 0)); got.State != "approved" || got.DecidedBy != "boss" || got.Repeated {
		t.Errorf("got %+v", got)
	}
	if got := bank.View(parseHash(t, doc)); got.Possessor != eve.ID {
		t.Errorf("got %s, want eve", got.Possessor)
	}
	if got := decode[api.ApprovalView](t, l.as(boss, "POST", one+"/approve", yes).want(t, 200, 0)); !got.Repeated {
		t.Error("approved twice")
	}
	l.as(boss, "POST", one+"/reject", `{}`).want(t, 409, 8004)
	// A system orders in the user's name, and its order waits too; no system is a second person.
	e := newERP(t, "erp", "ES256")
	if err := bank.Node().AddSystem(t.Context(), "test", node.System{Name: "erp", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "CUST1", Local: "desk"}, {ID: "BOSS", Local: "boss"}}}); err != nil {
		t.Fatal(err)
	}
	doc = bank.Issue(desk.ID).String()
	w = decode[api.WaitingView](t, l.with(e.token(nil), "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":"eve@bank.example"}`).want(t, 202, 0))
	if w.Approval.Via == nil || w.Approval.Via.System != "erp" || w.Approval.Via.Person != "eve@acme.example" {
		t.Errorf("got %+v, want that it names the system", w.Approval.Via)
	}
	yes = `{"requestSha256":"` + w.Approval.RequestHash + `"}`
	l.with(e.token(map[string]any{"obo": "BOSS"}), "POST", "/api/v1/approvals/"+w.Approval.ID+"/approve", yes).want(t, 403, 7103)
	l.as(boss, "POST", "/api/v1/approvals/"+w.Approval.ID+"/approve", yes).want(t, 200, 0)
	if all := strings.Join(dump(t, db), "\n"); !strings.Contains(all, `"system":"erp","onBehalfOf":"CUST1","userId":"eve@acme.example","tokenId":"erp-1","approvedBy":"boss"}`) {
		t.Error("the audit log does not name system and second person")
	}
}

// askApprovals asks every route about approvals, with and without success.
func askApprovals(t *testing.T) {
	t.Helper()
	bank := ebltest.New(t).Platform("bank.example")
	desk, boss := bank.User("desk"), bank.User("boss")
	l, a := newLocal(t, bank, api.Options{}), newAdmin(t, bank)
	a.ask("POST", "/admin/v1/users/desk/approvers", `{"approvers":["boss"]}`).want(t, 200, 0)
	a.ask("POST", "/admin/v1/users/nobody/approvers", `{"approvers":["boss"]}`).want(t, 404, 7104)
	l.as(nil, "GET", "/api/v1/approvals", "").want(t, 401, 7101)
	l.as(desk, "GET", "/api/v1/approvals", "").want(t, 200, 0)
	for _, verb := range []string{"approve", "reject"} {
		doc := bank.Issue(desk.ID).String()
		v := decode[api.WaitingView](t, l.as(desk, "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":"boss@bank.example"}`).want(t, 202, 0)).Approval
		l.as(boss, "GET", "/api/v1/approvals/"+v.ID, "").want(t, 200, 0)
		l.as(boss, "GET", "/api/v1/approvals/x", "").want(t, 404, 7104)
		body := `{}`
		if verb == "approve" {
			body = `{"requestSha256":"` + v.RequestHash + `"}`
		}
		l.as(boss, "POST", "/api/v1/approvals/"+v.ID+"/"+verb, body).want(t, 200, 0)
		l.as(boss, "POST", "/api/v1/approvals/x/"+verb, body).want(t, 404, 7104)
	}
}
