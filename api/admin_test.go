package api_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// An admin is the Unix socket of a platform.
type admin struct {
	t      testing.TB
	client *http.Client
}

func newAdmin(t testing.TB, p *ebltest.Platform) *admin {
	t.Helper()
	path := filepath.Join(p.Dir, "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := api.NewServer(api.NewAdminHandler(p.Node(), api.Options{Version: "test"}), nil, nil, nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(l) // ends by Close
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &admin{t, &http.Client{Transport: tr}}
}

func (a *admin) ask(method, path, body string) *call {
	a.t.Helper()
	c := call{method: method, url: "http://admin" + path, header: http.Header{api.ActorHeader: {"root"}}}
	if body != "" {
		c.body = []byte(body)
	}
	return do(a.t, a.client, c)
}

// askAdmin asks everything once, with and without success.
func askAdmin(t *testing.T, a *admin) {
	t.Helper()
	for _, path := range []string{"/admin/v1/self", "/admin/v1/status", "/admin/v1/peers", "/admin/v1/users", "/admin/v1/peers/bank.example"} {
		a.ask("GET", path, "").want(t, 200, 0)
	}
	a.ask("GET", "/admin/v1/peers/nobody.example", "").want(t, 404, 7104)
	a.ask("GET", "/admin/v1/peers/carrier.example", "").want(t, 404, 7104) // that is us
	a.ask("POST", "/admin/v1/users", `{"local":"carol","role":"holder"}`).want(t, 201, 0)
	a.ask("POST", "/admin/v1/users", `{"local":"carol","role":"holder"}`).want(t, 409, 8004)
	a.ask("POST", "/admin/v1/users/carol/disable", "").want(t, 200, 0)
	a.ask("POST", "/admin/v1/users/nobody/disable", "").want(t, 404, 7104)
	a.ask("POST", "/admin/v1/users/carol/token", "").want(t, 200, 0)
	a.ask("POST", "/admin/v1/users/nobody/token", "").want(t, 404, 7104)
	a.ask("POST", "/admin/v1/fsck", `{"sample":10}`).want(t, 200, 0)
	a.ask("POST", "/admin/v1/fsck", `{"sample":-1}`).want(t, 400, 7001)
	shop := ebltest.New(t).Platform("shop.example", ebltest.NotIssuer())
	entry, err := shop.Entry.JSON()
	if err != nil {
		t.Fatal(err)
	}
	a.ask("POST", "/admin/v1/peers", string(entry)).want(t, 200, 0)
	a.ask("POST", "/admin/v1/peers", `{"domain":"half.example"}`).want(t, 400, 7001)
	a.ask("DELETE", "/admin/v1/peers/shop.example", "").want(t, 200, 0)
	a.ask("DELETE", "/admin/v1/peers/shop.example", "").want(t, 404, 7104)
}

func TestAdminTakesAndShowsTrustEntries(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.Stranger(), ebltest.NotIssuer())
	a, b := newAdmin(t, carrier), newAdmin(t, bank)

	// what one prints is what the other takes
	self := decode[api.EntryView](t, b.ask("GET", "/admin/v1/self", "").want(t, 200, 0))
	added := decode[api.PeerList](t, a.ask("POST", "/admin/v1/peers", string(self.Entry)).want(t, 200, 0))
	if len(added.Peers) != 1 || added.Peers[0].Fingerprint != self.Fingerprint {
		t.Errorf("fingerprint: got %+v, want %s", added.Peers, self.Fingerprint)
	}
	shown := decode[api.EntryView](t, a.ask("GET", "/admin/v1/peers/bank.example", "").want(t, 200, 0))
	if shown.Fingerprint != self.Fingerprint {
		t.Errorf("fingerprint: got %s, want %s", shown.Fingerprint, self.Fingerprint)
	}
	if _, found := carrier.Node().Trust().Find(bank.Domain()); !found {
		t.Error("the node does not trust the peer that was added")
	}

	// a key that would vanish is refused, and the old entry stays
	var entry map[string]any
	if err := json.Unmarshal(self.Entry, &entry); err != nil {
		t.Fatal(err)
	}
	other := ebltest.New(t).Platform("bank.example", ebltest.NotIssuer())
	swapped, err := other.Entry.JSON()
	if err != nil {
		t.Fatal(err)
	}
	c := a.ask("POST", "/admin/v1/peers", string(swapped)).want(t, 400, 7001)
	if got := c.errorResponse(t).Errors[0].Message; !strings.Contains(got, "lacks the key") {
		t.Errorf("a swapped key: got %q, want a refusal that names it", got)
	}
	a.ask("DELETE", "/admin/v1/peers/bank.example", "").want(t, 200, 0)
	if got := decode[api.PeerList](t, a.ask("GET", "/admin/v1/peers", "").want(t, 200, 0)).Peers; len(got) != 0 {
		t.Errorf("peers after the removal: got %+v, want none", got)
	}
}

func TestAdminAddsUsersWhoseTokenIsShownOnce(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	a, l := newAdmin(t, carrier), newLocal(t, carrier, api.Options{})
	c := a.ask("POST", "/admin/v1/users", `{"local":"o'neil/x","name":"O’Neil","role":"holder","identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":"1","codeListName":"LEI"}],"taxReference1":"T1"}`).want(t, 201, 0)
	added := decode[api.NewUserView](t, c)
	user := &ebltest.User{Token: added.Token}
	who := decode[api.WhoamiView](t, l.as(user, "GET", "/api/v1/whoami", "").want(t, 200, 0))
	if who.ID != "o'neil/x@carrier.example" || who.Tax1 != "T1" || len(who.Codes) != 1 || who.Codes[0].List != "LEI" {
		t.Errorf("whoami: got %+v", who)
	}
	list := a.ask("GET", "/admin/v1/users", "").want(t, 200, 0)
	if strings.Contains(string(list.answer), added.Token) {
		t.Error("the token is shown again")
	}
	a.ask("POST", "/admin/v1/users/o%27neil%2Fx/disable", "").want(t, 200, 0)
	l.as(user, "GET", "/api/v1/whoami", "").want(t, 401, 7101)
	for _, body := range []string{`{"local":"x","role":"king"}`, `{"local":"a b","role":"holder"}`, `{"local":"y","role":"holder","disabled":false}`, `{"local":"y","role":"holder","role":"holder"}`, `[]`} {
		a.ask("POST", "/admin/v1/users", body).want(t, 400, 7001)
	}
}

func TestAdminStatusCounts(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	carrier.Issue(bank.User("bob").ID)
	carrier.Issue(carrier.User("alice").ID)
	s := decode[api.StatusView](t, newAdmin(t, carrier).ask("GET", "/admin/v1/status", "").want(t, 200, 0))
	if s.Domain != "carrier.example" || s.Version != "test" || s.Peers != 1 || s.Bills["held"] != 1 || s.Bills["away"] != 1 || s.Transfers["accepted"] != 1 {
		t.Errorf("status: got %+v", s)
	}
}

// OPS-06: what is for operators is nowhere else.
func TestAdminAndMetricsAreNotOnOtherListeners(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example")
	l, peer := newLocal(t, carrier, api.Options{}), tlsClient(t, bank)
	public := "http://" + serveHTTP(t, api.NewPublicHandler(carrier.Node(), api.Options{}))
	admin := []string{"/admin/v1/peers", "/admin/v1/users", "/admin/v1/self", "/admin/v1/status", "/debug/pprof/", "/debug/vars"}
	local := []string{"/metrics", "/api/v1/ebls", "/api/v1/whoami", "/openapi.json", "/healthz", "/readyz"}
	for _, path := range slices.Concat(admin, local) {
		do(t, peer, call{method: "GET", url: "https://" + carrier.Addr + path}).want(t, 404, 7104)
		do(t, http.DefaultClient, call{method: "GET", url: public + path}).want(t, 404, 7104)
	}
	for _, path := range admin {
		l.as(carrier.User("op", "operator"), "GET", path, "").want(t, 404, 7104)
	}
	for _, path := range local[:1] {
		newAdmin(t, carrier).ask("GET", path, "").want(t, 404, 7104)
	}
	do(t, http.DefaultClient, call{method: "PUT", url: public + "/v1/transferblocks", body: []byte(`{}`)}).want(t, 404, 7104)
	l.as(nil, "PUT", "/v1/transferblocks", `{}`).want(t, 404, 7104)
}

// TestOpenCircuitIsShownToOperators in the list of peers and in the metrics.
func TestOpenCircuitIsShownToOperators(t *testing.T) {
	net := ebltest.New(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	a, l, alice := newAdmin(t, carrier), newLocal(t, carrier, api.Options{}), carrier.User("alice")
	net.Intercept(func(_, _ identity.Host, p node.Peer) node.Peer { return unanswering{p} })
	moved := carrier.Move(alice, carrier.Issue(alice.ID), "TRNS", bank.User("bob").ID)
	shown := func() api.PeerView {
		return decode[api.PeerList](t, a.ask("GET", "/admin/v1/peers", "").want(t, 200, 0)).Peers[0]
	}
	waitFor(t, "an open circuit", func() bool { return shown().Circuit == "open" })
	if v := shown(); v.Failures < 3 || v.FailingSince.IsZero() || v.NextProbeAt.IsZero() || !strings.Contains(v.Trouble, "reset") {
		t.Errorf("the peer: got %+v", v)
	}
	if got := metric(t, l, `eblnode_peer_circuit_open{peer="bank.example"}`); got != 1 {
		t.Errorf("the metric: got %d, want 1", got)
	}
	net.Intercept(nil)
	carrier.Settled(moved.Transfer, "accepted")
	if v := shown(); v.Circuit != "closed" || v.Failures != 0 {
		t.Errorf("after it answered: got %+v", v)
	}
}
