package api_test

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/gin-gonic/gin"
)

var described = sync.OnceValues(func() (*openapi3.T, error) {
	return openapi3.NewLoader().LoadFromData(api.OpenAPI())
})

func document(t testing.TB) *openapi3.T {
	t.Helper()
	doc, err := described()
	if err != nil {
		t.Fatalf("loading openapi.json: %v", err)
	}
	return doc
}

func TestOpenAPIDocumentIsValid(t *testing.T) {
	if err := document(t).Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Fatal(err)
	}
}

// seen collects "METHOD template status" of every answer that a test got.
var seen sync.Map

var parameter = regexp.MustCompile(`\\\{[^}]*\\\}`)

// operation finds the description of a path; "" where nothing is there.
func operation(doc *openapi3.T, method, path string) (string, *openapi3.Operation) {
	for _, template := range doc.Paths.InMatchingOrder() {
		pattern := "^" + parameter.ReplaceAllString(regexp.QuoteMeta(template), "[^/]+") + "$"
		if regexp.MustCompile(pattern).MatchString(path) {
			return template, doc.Paths.Value(template).GetOperation(method)
		}
	}
	return "", nil
}

// checkDescribed fails the test if an answer is not one that openapi.json describes.
func checkDescribed(t testing.TB, method, path string, status int, contentType string, body []byte) {
	t.Helper()
	doc := document(t)
	template, op := operation(doc, methodOf(doc, method, path), path)
	var response *openapi3.ResponseRef
	if op != nil {
		seen.Store(method+" "+template+" "+strconv.Itoa(status), true)
		if response = op.Responses.Status(status); response == nil && status >= 400 {
			response = op.Responses.Default()
		}
		if response == nil {
			t.Errorf("%s %s: status %d is not described", method, path, status)
			return
		}
	}
	kind, _, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Errorf("%s %s: Content-Type %q: %v", method, path, contentType, err)
		return
	}
	schema := doc.Components.Schemas["ErrorResponse"] // of a path that is not there
	if response != nil {
		media := response.Value.Content[kind]
		if media == nil {
			t.Errorf("%s %s: %d with Content-Type %s is not described", method, path, status, kind)
			return
		}
		schema = media.Schema
	}
	var v any = string(body)
	if !schema.Value.Type.Is("string") {
		d := json.NewDecoder(bytes.NewReader(body))
		if err := d.Decode(&v); err != nil {
			t.Errorf("%s %s: %v in %.300q", method, path, err, body)
			return
		}
	}
	if err := schema.Value.VisitJSON(v, openapi3.VisitAsResponse()); err != nil {
		t.Errorf("%s %s: %d is not as described: %v\n%.600s", method, path, status, err, body)
	}
}

// methodOf is method, unless the path has no such operation.
func methodOf(doc *openapi3.T, method, path string) string {
	template, _ := operation(doc, http.MethodGet, path)
	if template == "" || !slices.Contains([]string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete}, method) {
		return http.MethodHead // nowhere described
	}
	return method
}

var ginParameter = regexp.MustCompile(`:([A-Za-z]+)`)

func routes(t *testing.T, h http.Handler) map[string]bool {
	t.Helper()
	m := map[string]bool{}
	for _, r := range h.(*gin.Engine).Routes() {
		m[r.Method+" "+ginParameter.ReplaceAllString(r.Path, "{$1}")] = true
	}
	return m
}

func TestEveryRouteIsDescribedAndEveryDescriptionIsARoute(t *testing.T) {
	p := ebltest.NewTLS(t).Platform("carrier.example", ebltest.Tokens(nil))
	n := p.Node()
	o := api.Options{Metrics: api.NewMetrics(n), Tokens: p.TokenServer(n)}
	served := map[string]map[string]bool{
		"peer": routes(t, api.NewPeerHandler(n, o)), "public": routes(t, api.NewPublicHandler(n, o)),
		"local": routes(t, api.NewLocalHandler(n, o)), "admin": routes(t, api.NewAdminHandler(n, o)),
	}
	promised := map[string]map[string]bool{}
	for template, item := range document(t).Paths.Map() {
		for method, op := range item.Operations() {
			for _, tag := range op.Tags {
				if promised[tag] == nil {
					promised[tag] = map[string]bool{}
				}
				promised[tag][method+" "+template] = true
			}
		}
	}
	for listener := range served {
		for r := range served[listener] {
			if !promised[listener][r] {
				t.Errorf("the %s listener serves %s, which openapi.json does not describe", listener, r)
			}
		}
		for r := range promised[listener] {
			if !served[listener][r] {
				t.Errorf("openapi.json describes %s, which the %s listener does not serve", r, listener)
			}
		}
	}
	if got, want := len(promised), len(served); got != want {
		t.Errorf("listeners described: got %d, want %d", got, want)
	}
}

// Every operation is asked until it has said yes and, where it can, no; do compares each
// answer with its description.
func TestEveryAnswerIsAsDescribed(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.NotIssuer())
	l, a := newLocal(t, carrier, api.Options{}), newAdmin(t, carrier)
	issuer, alice, bob := carrier.User("issuer", "issuer"), carrier.User("alice"), bank.User("bob")
	none := repeated("0", 64)
	askWebhooks(t)

	askLocal(t, l, carrier, bank)
	askAdmin(t, a)
	askForFork(t)
	askForKeys(t)
	askApprovals(t)
	askForPeers(t)

	// the peer's and the public listener
	peer, base := tlsClient(t, bank), "https://"+carrier.Addr
	body, _ := bank.Offer(alice.ID) // the bank may not issue
	for _, path := range []string{"/v1/transferblocks", "/v1/transferblock"} {
		good, _ := carrier.Offer(bob.ID)
		do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + path, body: good}).want(t, 200, 0)
		do(t, peer, call{method: "PUT", url: base + path, body: body}).want(t, 422, 8002)
		do(t, peer, call{method: "PUT", url: base + path, body: []byte(`{}`)}).want(t, 400, 7001)
	}
	doc := carrier.Issue(bob.ID)
	bank.Settled(bank.Move(bob, doc, "SURR", issuer.ID).Transfer, "accepted")
	verdict := "/v1/transferblocks/" + doc.String() + "/verdict"
	do(t, peer, call{method: "GET", url: base + verdict}).want(t, 404, 7104)
	l.as(issuer, "POST", "/api/v1/ebls/"+doc.String()+"/honour", `{}`).want(t, 200, 0)
	do(t, peer, call{method: "GET", url: base + verdict}).want(t, 200, 0)
	do(t, peer, call{method: "GET", url: base + "/v1/transferblocks/" + none + "/verdict"}).want(t, 404, 7104)
	public := "http://" + serveHTTP(t, api.NewPublicHandler(carrier.Node(), api.Options{Rate: dry, Burst: 4}))
	for _, path := range []string{"/.well-known/jwks.json", "/v1/.well-known/jwks.json", "/.well-known/ebl-platform.json"} {
		do(t, peer, call{method: "GET", url: base + path}).want(t, 200, 0)
		do(t, http.DefaultClient, call{method: "GET", url: public + path}).want(t, 200, 0)
		do(t, http.DefaultClient, call{method: "POST", url: public + path}).want(t, 405, 7105)
	}
	askTokens(t, net, bank)
	for range 10 {
		do(t, http.DefaultClient, call{method: "GET", url: public + "/.well-known/jwks.json"})
	}
	do(t, http.DefaultClient, call{method: "GET", url: public + "/.well-known/jwks.json"}).want(t, 429, 7129)
	do(t, http.DefaultClient, call{method: "GET", url: public + "/.well-known/ebl-platform.json"}).want(t, 429, 7129)

	errorless := []string{"/healthz", "/openapi.json", "/readyz", "/admin/v1/self", "/admin/v1/status", "/v1/.well-known/jwks.json"}
	for template, item := range document(t).Paths.Map() {
		for method := range item.Operations() {
			yes, no := false, slices.Contains(errorless, template) || method == "GET" && strings.HasPrefix(template, "/admin/v1/") && !strings.Contains(template, "{")
			for key := range seen.Range {
				if status, found := strings.CutPrefix(key.(string), method+" "+template+" "); found {
					yes, no = yes || status[0] == '2', no || status[0] == '4'
				}
			}
			if !yes || !no {
				t.Errorf("%s %s: a yes was seen: %t, a no was seen: %t; want both", method, template, yes, no)
			}
		}
	}
}

func askLocal(t *testing.T, l *local, carrier, bank *ebltest.Platform) {
	t.Helper()
	issuer, alice, bob := carrier.User("issuer", "issuer"), carrier.User("alice"), bank.User("bob")
	for _, path := range []string{"/healthz", "/readyz", "/openapi.json"} {
		l.as(nil, "GET", path, "").want(t, 200, 0)
	}
	l.metrics()
	l.as(nil, "GET", "/metrics", "").want(t, 401, 7101)
	l.as(nil, "GET", "/api/v1/whoami", "").want(t, 401, 7101)
	l.as(alice, "GET", "/api/v1/whoami", "").want(t, 200, 0)
	issue := func(to string) string {
		c := l.as(issuer, "POST", "/api/v1/ebls", `{"document":`+string(carrier.Document())+`,"to":`+jsonString(to)+`}`).want(t, 200, 0)
		return decode[api.OperationView](t, c).Bill.DocumentHash
	}
	l.as(alice, "POST", "/api/v1/ebls", `{"document":{"isToOrder":true},"to":"alice@carrier.example"}`).want(t, 403, 7103)
	doc := issue(alice.ID)
	l.as(alice, "GET", "/api/v1/ebls", "").want(t, 200, 0)
	l.as(alice, "GET", "/api/v1/ebls?limit=0", "").want(t, 400, 7001)
	path := "/api/v1/ebls/" + doc
	none := "/api/v1/ebls/" + repeated("0", 64)
	for _, sub := range []string{"", "/document"} {
		l.as(alice, "GET", path+sub, "").want(t, 200, 0)
		l.as(alice, "GET", none+sub, "").want(t, 404, 7104)
	}
	l.as(alice, "GET", path+"/chain", "").want(t, 404, 7104)
	l.as(alice, "GET", path+"/bundle", "").want(t, 200, 0)
	l.as(alice, "GET", path+"/bundle?entry=0", "").want(t, 404, 7104)
	l.as(alice, "GET", path+"/bundle?entry=x", "").want(t, 400, 7001)
	to := func(id string) string { return `{"to":` + jsonString(id) + `}` }
	for _, verb := range []string{"transfer", "surrender", "amend", "switch-to-paper", "honour", "decline"} {
		body := `{}`
		if verb == "transfer" {
			body = to(bob.ID)
		}
		l.as(alice, "POST", none+"/"+verb, body).want(t, 404, 7104)
	}
	l.as(alice, "POST", path+"/transfer", to("nobody@bank.example")).want(t, 409, 8004)
	c := l.as(alice, "POST", path+"/transfer", to(bob.ID)).want(t, 200, 0)
	id := decode[api.OperationView](t, c).Transfer.ID
	l.as(alice, "GET", "/api/v1/transfers/"+id, "").want(t, 200, 0)
	l.as(alice, "GET", "/api/v1/transfers/0", "").want(t, 404, 7104)
	l.as(alice, "GET", "/api/v1/events", "").want(t, 200, 0)
	l.as(alice, "GET", "/api/v1/events?cursor=7", "").want(t, 400, 7001)
	l.as(alice, "GET", path+"/chain", "").want(t, 200, 0)
	l.as(alice, "GET", path+"/bundle?entry=0", "").want(t, 200, 0)
	for _, verb := range []string{"surrender", "amend", "switch-to-paper"} {
		path := "/api/v1/ebls/" + issue(alice.ID)
		l.as(alice, "POST", path+"/"+verb, `{}`).want(t, 200, 0)
		l.as(issuer, "POST", path+"/decline", `{"comments":"freight is not paid"}`).want(t, 200, 0)
	}
	path = "/api/v1/ebls/" + issue(alice.ID)
	l.as(alice, "POST", path+"/amend", `{}`).want(t, 200, 0)
	c = l.as(issuer, "POST", path+"/honour", `{"replacement":`+string(carrier.Document())+`}`).want(t, 200, 0)
	if v := decode[api.OperationView](t, c); v.ReplacedBy == "" || v.Verdict == "" || v.Bill.Status != "void" {
		t.Errorf("honouring an amendment: got %+v, want a void bill, its verdict and its replacement", v)
	}
	takeVerdictAtTheBank(t, carrier, bank)
	cancelOne(t, bob)
	askOperators(t, l, carrier, bank)
	l.as(alice, "POST", "/api/v1/verdicts", `{"verdict":"x"}`).want(t, 400, 7001)
}

// askOperators lets two operators decide about a transfer and a block.
func askOperators(t *testing.T, l *local, carrier, bank *ebltest.Platform) {
	t.Helper()
	alice, one, two := carrier.User("alice"), carrier.User("one", "operator"), carrier.User("two", "operator")
	for _, path := range []string{"/api/v1/transfers", "/api/v1/incoming", "/api/v1/transfers/0/resolution"} {
		l.as(alice, "GET", path, "").want(t, 403, 7103)
	}
	net := ebltest.New(t)
	quiet := net.Platform("quiet.example", ebltest.Manual())
	net.Platform("bank.example")
	q, first, second := newLocal(t, quiet, api.Options{}), quiet.User("one", "operator"), quiet.User("two", "operator")
	doc := quiet.Issue(quiet.User("alice").ID)
	id := quiet.Move(quiet.User("alice"), doc, "TRNS", bank.User("bob").ID).Transfer
	net.Intercept(func(_, _ identity.Host, p node.Peer) node.Peer { return unanswering{p} })
	stop := quiet.Run()
	waitFor(t, "an attempt", func() bool { return quiet.View(doc).Transfer.Attempts > 0 })
	stop()
	q.as(first, "GET", "/api/v1/transfers", "").want(t, 200, 0)
	path := "/api/v1/transfers/" + id
	q.as(first, "GET", path+"/resolution", "").want(t, 404, 7104)
	q.as(first, "POST", path+"/resolve", `{"outcome":"held","reason":"they wrote","evidence":"eA=="}`).want(t, 200, 0)
	q.as(first, "POST", path+"/resolve", `{"outcome":"held","confirm":true,"evidenceSha256":"x"}`).want(t, 400, 7001)
	sum := `"` + envelope.HashOf([]byte("x")).String() + `"`
	q.as(first, "POST", path+"/resolve", `{"outcome":"held","confirm":true,"evidenceSha256":`+sum+`}`).want(t, 409, 8004)
	q.as(second, "GET", path+"/resolution", "").want(t, 200, 0)
	q.as(second, "POST", path+"/resolve", `{"outcome":"held","confirm":true,"evidenceSha256":`+sum+`}`).want(t, 200, 0)

	// A block whose signer we cannot know: the bank's own, with a key that it never told.
	stranger := ebltest.New(t).Platform("bank.example")
	body, _ := stranger.Offer(alice.ID)
	_, _ = carrier.Node().PutTransferblock(t.Context(), node.Request{Sender: bank.Domain(), Body: body})
	list := decode[api.IncomingList](t, l.as(one, "GET", "/api/v1/incoming", "").want(t, 200, 0))
	if len(list.Incoming) == 0 || list.Incoming[0].Peer != "bank.example" {
		t.Fatalf("incoming: got %+v", list)
	}
	l.as(one, "POST", "/api/v1/incoming/reject", `{"reason":"x"}`).want(t, 400, 7001)
	reject := `{"hash":"` + list.Incoming[0].RequestHash + `","reason":"no key"}`
	if d := decode[api.IncomingDecision](t, l.as(one, "POST", "/api/v1/incoming/reject", reject).want(t, 200, 0)); d.Rejected {
		t.Error("one operator rejected a block")
	}
	l.as(one, "POST", "/api/v1/incoming/reject", reject).want(t, 409, 8004)
	if d := decode[api.IncomingDecision](t, l.as(two, "POST", "/api/v1/incoming/reject", reject).want(t, 200, 0)); !d.Rejected {
		t.Error("two operators did not reject a block")
	}
}

// askForFork asks a node to which one bill was issued twice.
func askForFork(t *testing.T) {
	t.Helper()
	net := ebltest.New(t)
	twice, bank := net.Platform("twice.example"), net.Platform("bank.example", ebltest.NotIssuer())
	document := twice.Document()
	for _, comments := range []string{"one", "two"} {
		tx := ebltest.Tx{Instruction: envelope.Issue, To: bank.User("bob").ID, Comments: comments}
		if _, err := bank.Put(twice, ebltest.Body(document, twice.Seal(envelope.HashOf(document), envelope.Hash{}, tx))); err != nil {
			t.Fatal(err)
		}
	}
	a := newAdmin(t, bank)
	a.ask("GET", "/admin/v1/ebls/"+envelope.HashOf(document).String()+"/fork", "").want(t, 200, 0)
	a.ask("GET", "/admin/v1/ebls/"+repeated("0", 64)+"/fork", "").want(t, 404, 7104)
	a.ask("GET", "/admin/v1/ebls/x/fork", "").want(t, 400, 7001)
	hold := "/admin/v1/ebls/" + envelope.HashOf(document).String() + "/hold"
	a.ask("POST", hold, `{"reason":"claim"}`).want(t, 200, 0)
	a.ask("POST", hold, `{"reason":"claim"}`).want(t, 409, 8004)
	a.ask("POST", hold, `{"reason":""}`).want(t, 400, 7001)
	a.ask("POST", hold, `{"reason":"settled","release":true}`).want(t, 200, 0)
}

// cancelOne cancels a transfer of a platform that sends nothing.
func cancelOne(t *testing.T, bob *ebltest.User) {
	t.Helper()
	net := ebltest.New(t)
	quiet := net.Platform("quiet.example", ebltest.Manual())
	net.Platform("bank.example")
	alice := quiet.User("alice")
	moved := quiet.Move(alice, quiet.Issue(alice.ID), "TRNS", bob.ID)
	l := newLocal(t, quiet, api.Options{})
	l.as(alice, "POST", "/api/v1/transfers/"+moved.Transfer+"/cancel", `{}`).want(t, 200, 0)
	l.as(alice, "POST", "/api/v1/transfers/"+moved.Transfer+"/cancel", `{}`).want(t, 409, 8004)
}

// takeVerdictAtTheBank brings the carrier's verdict there as a file, before the bank has
// asked for it.
func takeVerdictAtTheBank(t *testing.T, carrier, bank *ebltest.Platform) {
	t.Helper()
	issuer, bob := carrier.User("issuer"), bank.User("bob")
	doc := carrier.Issue(bob.ID)
	bank.Settled(bank.Move(bob, doc, "SURR", issuer.ID).Transfer, "accepted")
	lost := *carrier.Entry
	lost.Endpoint = "https://nowhere.example/v1/transferblocks"
	if err := bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&lost}); err != nil {
		t.Fatal(err)
	}
	defer bank.Trust(carrier)
	moved, err := carrier.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{})
	if err != nil {
		t.Fatal(err)
	}
	l := newLocal(t, bank, api.Options{})
	l.as(bob, "POST", "/api/v1/verdicts", `{"verdict":`+jsonString(moved.Verdict)+`}`).want(t, 200, 0)
}
