package api_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// An admin is the Unix socket of a platform.
type admin struct {
	t      testing.TB
	client *http.Client
}

func newAdmin(t testing.TB, p *ebltest.Platform, change ...func(*api.Options)) *admin {
	t.Helper()
	path := filepath.Join(p.Dir, "admin.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	o := api.Options{Version: "test"}
	for _, f := range change {
		f(&o)
	}
	s := api.NewServer(api.NewAdminHandler(p.Node(), o), nil, nil, nil)
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
	return a.askAs("", method, path, body)
}

// askAs also says the token of a user.
func (a *admin) askAs(token, method, path, body string) *call {
	a.t.Helper()
	c := call{method: method, url: "http://admin" + path, header: http.Header{api.ActorHeader: {"root"}}}
	if token != "" {
		c.header.Set("Authorization", "Bearer "+token)
	}
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
	askSystems(t, a)
	a.ask("POST", "/admin/v1/fsck", `{"sample":10}`).want(t, 200, 0)
	a.ask("POST", "/admin/v1/fsck", `{"sample":-1}`).want(t, 400, 7001)
	target := filepath.Join(t.TempDir(), "backup.db")
	a.ask("POST", "/admin/v1/backup", `{"path":`+jsonString(target)+`}`).want(t, 200, 0)
	a.ask("POST", "/admin/v1/backup", `{"path":`+jsonString(target)+`}`).want(t, 409, 8004)
	a.ask("POST", "/admin/v1/backup", `{"path":"backup.db"}`).want(t, 400, 7001)
	archive := filepath.Join(t.TempDir(), "archive")
	a.ask("POST", "/admin/v1/archive", `{"path":`+jsonString(archive)+`}`).want(t, 200, 0)
	a.ask("POST", "/admin/v1/archive", `{"path":`+jsonString(archive)+`,"rootsOnly":true}`).want(t, 200, 0)
	a.ask("POST", "/admin/v1/archive", `{"path":"archive"}`).want(t, 400, 7001)
	a.ask("POST", "/admin/v1/ebls/"+repeated("0", 64)+"/hold", `{"reason":"x"}`).want(t, 404, 7104)
	a.ask("POST", "/admin/v1/ebls/x/hold", `{"reason":"x"}`).want(t, 400, 7001)
	a.ask("GET", "/admin/v1/witness", "").want(t, 200, 0)
	a.ask("POST", "/admin/v1/witness/release", `{"everything":true,"reason":"x","evidence":"eA=="}`).want(t, 401, 7101)
	lost := frozen(t)
	newAdmin(t, lost).askAs(lost.User("one").Token, "POST", "/admin/v1/witness/release", `{"everything":true,"reason":"x","evidence":"eA=="}`).want(t, 200, 0)
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

const aDocument = `{"carrierCode":"MAEU","isToOrder":true,"transportDocumentReference":"FROZEN-1"}`

// frozen is a platform with an old database and without its witness, which is beside it
// under the name "lost". alice holds the bill of aDocument; one and two are operators.
func frozen(t *testing.T) *ebltest.Platform {
	t.Helper()
	p := ebltest.New(t).Platform("carrier.example", ebltest.Manual())
	p.User("one", node.OperatorRole)
	p.User("two", node.OperatorRole)
	alice := p.User("alice")
	if _, err := p.Node().Issue(t.Context(), p.User("issuer", node.IssuerRole).User, node.IssueOrder{Document: []byte(aDocument), To: ebltest.Quote(alice.ID)}); err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), "old.db")
	if err := p.Node().Backup(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	p.Issue(alice.ID)
	p.Stop()
	if _, err := node.Restore(t.Context(), p.Dir, old, p.Domain(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(p.Dir, node.WitnessFile), filepath.Join(p.Dir, "lost")); err != nil {
		t.Fatal(err)
	}
	p.Start()
	return p
}

// TestTwoOperatorsRelease: one alone, twice, does not; nor does somebody without the role.
func TestTwoOperatorsRelease(t *testing.T) {
	p := frozen(t)
	one, two, alice := p.User("one"), p.User("two"), p.User("alice")
	doc := envelope.HashOf([]byte(aDocument))
	a := newAdmin(t, p)
	order := `{"everything":true,"reason":"the disk broke","evidence":"bGV0dGVy"}`
	say := func(u *ebltest.User, body string) *call {
		return a.askAs(u.Token, "POST", "/admin/v1/witness/release", body)
	}
	w := decode[api.WitnessView](t, a.ask("GET", "/admin/v1/witness", "").want(t, 200, 0))
	if !strings.Contains(w.Frozen, "is missing") || len(w.Proposals) != 0 {
		t.Errorf("got %+v", w)
	}
	say(alice, order).want(t, 403, 7103)
	say(one, `{"everything":true,"reason":"","evidence":"bGV0dGVy"}`).want(t, 400, 7001)
	say(one, `{"everything":true,"reason":"x"}`).want(t, 400, 7001)
	say(one, `{"reason":"x","evidence":"bGV0dGVy"}`).want(t, 400, 7001)
	say(one, `{"documentHash":"`+doc.String()+`","reason":"x","evidence":"bGV0dGVy"}`).want(t, 404, 7104)
	if r := decode[api.ReleaseView](t, say(one, order).want(t, 200, 0)); r.Released || len(r.Witness.Proposals) != 1 || r.Witness.Frozen == "" {
		t.Errorf("the first: got %+v", r)
	}
	say(one, order).want(t, 409, 8004)
	if r := decode[api.ReleaseView](t, say(two, order).want(t, 200, 0)); !r.Released || r.Witness.Frozen != "" || len(r.Witness.Proposals) != 0 {
		t.Errorf("the second: got %+v", r)
	}
	say(two, order).want(t, 409, 8004)
	p.Transfer(alice, doc, p.User("bob").ID)
	p.Restart()
	if v := p.View(doc); v.Quarantine != "" || v.Possessor != "bob@carrier.example" {
		t.Errorf("got %+v", v)
	}
	// What was lost comes back: it is the witness of another history now.
	p.Stop()
	if err := os.Rename(filepath.Join(p.Dir, "lost"), filepath.Join(p.Dir, node.WitnessFile)); err != nil {
		t.Fatal(err)
	}
	p.Start()
	if v := p.View(doc); v.Quarantine == "" {
		t.Error("the old witness was taken for the new one")
	}
}
