package api_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// metric reads one sample without labels.
func metric(t testing.TB, l *local, name string) int {
	t.Helper()
	text := l.metrics()
	m := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(name) + ` ([0-9.e+]+)$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no metric %s in\n%s", name, text)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return int(v)
}

// OPS-06: metrics name our peers and tell how much goes on with whom. They want a token, that
// of operators and auditors or one that opens nothing else, unless the operator says that they
// are for everybody who reaches the listener.
func TestMetricsWantAToken(t *testing.T) {
	net := ebltest.New(t)
	bank := net.Platform("bank.example")
	boss, auditor, desk, issuer, gone := bank.User("boss", node.OperatorRole), bank.User("auditor", node.AuditorRole), bank.User("desk"), bank.User("issuer", node.IssuerRole), bank.User("gone", node.OperatorRole)
	if err := bank.Node().DisableUser(t.Context(), "test", "gone"); err != nil {
		t.Fatal(err)
	}
	metrics := api.NewMetrics(bank.Node())
	with := func(o api.Options) *local {
		o.Metrics = metrics
		return &local{t, "http://" + serveHTTP(t, api.NewLocalHandler(bank.Node(), o))}
	}
	own, none, open := with(api.Options{MetricsToken: "0123456789abcdef"}), with(api.Options{}), with(api.Options{MetricsOpen: true})
	read := func(l *local, status, code int, header http.Header) {
		t.Helper()
		c := do(t, http.DefaultClient, call{method: "GET", url: l.url + "/metrics", header: header}).want(t, status, code)
		if tells := strings.Contains(string(c.answer), "eblnode_bills"); tells != (status == 200) {
			t.Errorf("status %d: the metrics are in the answer: %t", status, tells)
		}
		if status == 401 && !strings.HasPrefix(c.got.Get("WWW-Authenticate"), "Bearer") {
			t.Error("401 without WWW-Authenticate")
		}
	}
	for _, l := range []*local{own, none} {
		read(l, 401, 7101, nil)
		for _, token := range []string{"x", "0123456789abcdeX", "0123456789abcde", gone.Token} {
			read(l, 401, 7101, bearer(token))
		}
		for _, raw := range []string{"", "Bearer", "Bearer ", "Basic 0123456789abcdef", "0123456789abcdef"} {
			read(l, 401, 7101, http.Header{"Authorization": {raw}})
		}
		read(l, 401, 7101, http.Header{"Authorization": {"Bearer 0123456789abcdef", "Bearer 0123456789abcdef"}})
		for _, u := range []*ebltest.User{desk, issuer} {
			read(l, 403, 7103, bearer(u.Token))
		}
		for _, u := range []*ebltest.User{boss, auditor} {
			read(l, 200, 0, bearer(u.Token))
		}
	}
	read(own, 200, 0, bearer("0123456789abcdef"))
	read(none, 401, 7101, bearer("0123456789abcdef"))
	read(open, 200, 0, nil)
	for _, path := range []string{"/api/v1/whoami", "/api/v1/ebls", "/api/v1/incoming"} {
		own.with("0123456789abcdef", "GET", path, "").want(t, 401, 7101)
	}
}

// OPS-01
func TestOnlyTheTokenOfAnActiveUserOpensTheLocalAPI(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	l := newLocal(t, carrier, api.Options{})
	alice, gone := carrier.User("alice"), carrier.User("gone")
	if err := carrier.Node().DisableUser(t.Context(), "test", "gone"); err != nil {
		t.Fatal(err)
	}
	assertion, err := envelope.SignReceipt(envelope.Hash{}, carrier.Signer, carrier.Node().Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		path    string
		headers []string
		want    string // WWW-Authenticate; "" for success
	}{
		{"none", "", nil, "Bearer"},
		{"empty", "", []string{""}, "Bearer"},
		{"no token", "", []string{"Bearer "}, "Bearer"},
		{"the bare token", "", []string{alice.Token}, "Bearer"},
		{"Basic", "", []string{"Basic " + alice.Token}, "Bearer"},
		{"two headers", "", []string{"Bearer " + alice.Token, "Bearer " + alice.Token}, "Bearer"},
		{"in the query", "?access_token=" + alice.Token, nil, "Bearer"},
		{"unknown", "", []string{"Bearer ebl_" + repeated("A", 43)}, `Bearer error="invalid_token"`},
		{"something we signed", "", []string{"Bearer " + assertion}, `Bearer error="invalid_token"`},
		{"with a space", "", []string{"Bearer  " + alice.Token}, `Bearer error="invalid_token"`},
		{"disabled user", "", []string{"Bearer " + gone.Token}, `Bearer error="invalid_token"`},
		{"right", "", []string{"Bearer " + alice.Token}, ""},
		{"right in lower case", "", []string{"bearer " + alice.Token}, ""},
	} {
		r := do(t, http.DefaultClient, call{method: "GET", url: l.url + "/api/v1/ebls" + c.path, header: http.Header{"Authorization": c.headers}})
		if c.want == "" {
			r.want(t, 200, 0)
			continue
		}
		if r.want(t, 401, 7101); r.got.Get("WWW-Authenticate") != c.want {
			t.Errorf("%s: WWW-Authenticate %q, want %q", c.name, r.got.Get("WWW-Authenticate"), c.want)
		}
	}
}

// A token is nothing on the peer listener, and a peer's certificate nothing on this one.
func TestTokenIsNothingOnThePeerListener(t *testing.T) {
	p := newPair(t)
	if err := p.bank.Node().RemovePeer(t.Context(), "test", p.carrier.Domain()); err != nil {
		t.Fatal(err)
	}
	plain := serveHTTP(t, api.NewPeerHandler(p.bank.Node(), api.Options{}))
	do(t, http.DefaultClient, call{method: "PUT", url: "http://" + plain + "/v1/transferblocks", body: p.offer(),
		header: http.Header{"Authorization": {"Bearer " + p.bob.Token}}}).want(t, 403, 7103)
	addr := serveTLS(t, api.NewLocalHandler(p.bank.Node(), api.Options{}), api.PublicTLS(api.Fixed(p.bank.TLS)), nil)
	do(t, tlsClient(t, p.carrier), call{method: "GET", url: "https://" + addr + "/api/v1/ebls"}).want(t, 401, 7101)
}

var changing = regexp.MustCompile(`"(providerCorrelationReference|errorDateTime|requestUri)":"[^"]*"`)

// OPS-02: a bill of somebody else is answered as one that is not there, on every path.
func TestBillOfAnotherUserIsNotThere(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.NotIssuer())
	l := newLocal(t, carrier, api.Options{})
	alice, mallory, op, auditor := carrier.User("alice"), carrier.User("mallory"), carrier.User("op", "operator"), carrier.User("aud", "auditor")
	doc := carrier.Issue(alice.ID)
	id := carrier.Move(alice, doc, envelope.Transfer, bank.User("bob").ID).Transfer
	carrier.Settled(id, node.Accepted)
	there, none := "/api/v1/ebls/"+doc.String(), "/api/v1/ebls/"+repeated("0", 64)
	orders := map[string]string{"/transfer": `{"to":"mallory@carrier.example"}`, "/surrender": `{}`, "/amend": `{}`, "/switch-to-paper": `{}`, "/honour": `{}`, "/decline": `{}`}
	for _, u := range []*ebltest.User{mallory, op} {
		for _, sub := range []string{"", "/chain", "/document", "/bundle"} {
			sameRefusal(t, l.as(u, "GET", there+sub, ""), l.as(u, "GET", none+sub, ""))
		}
		for sub, body := range orders {
			sameRefusal(t, l.as(u, "POST", there+sub, body), l.as(u, "POST", none+sub, body))
		}
		sameRefusal(t, l.as(u, "GET", "/api/v1/transfers/"+id, ""), l.as(u, "GET", "/api/v1/transfers/"+repeated("0", 32), ""))
		if got := decode[api.BillList](t, l.as(u, "GET", "/api/v1/ebls", "")).Bills; len(got) != 0 {
			t.Errorf("the list of %s: got %d bills, want none", u.ID, len(got))
		}
	}
	for _, sub := range []string{"", "/chain", "/document", "/bundle"} {
		l.as(alice, "GET", there+sub, "").want(t, 200, 0)
		l.as(auditor, "GET", there+sub, "").want(t, 200, 0)
	}
	for sub, body := range orders {
		l.as(auditor, "POST", there+sub, body).want(t, 403, 7103)
	}
	l.as(auditor, "POST", "/api/v1/verdicts", `{"verdict":"x"}`).want(t, 403, 7103)
}

// Nor does a verdict, which somebody may have seen elsewhere, tell whether a bill is here.
func TestVerdictTellsNobodyWhichBillsAreHere(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.NotIssuer())
	l := newLocal(t, bank, api.Options{})
	bob, mallory, op := bank.User("bob"), bank.User("mallory"), bank.User("op", "operator")
	doc := carrier.Issue(bob.ID)
	bank.Settled(bank.Move(bob, doc, envelope.Surrender, "issuer@carrier.example").Transfer, node.Accepted)
	verdict := func(h envelope.Hash) string {
		jws, err := envelope.SignVerdict(envelope.Verdict{DocumentHash: h, EnvelopeHash: bank.View(doc).Head, Kind: envelope.Surrendered, At: carrier.Node().Now()}, carrier.Signer)
		if err != nil {
			t.Fatal(err)
		}
		return `{"verdict":` + jsonString(jws) + `}`
	}
	here, unknown := verdict(doc), verdict(envelope.HashOf([]byte("unknown")))
	sameRefusal(t, l.as(mallory, "POST", "/api/v1/verdicts", here), l.as(mallory, "POST", "/api/v1/verdicts", unknown))
	if got := bank.View(doc).Status; got == "void" {
		t.Error("a stranger's hand voided the bill")
	}
	l.as(op, "POST", "/api/v1/verdicts", unknown).want(t, 404, 7104)
	l.as(op, "POST", "/api/v1/verdicts", here).want(t, 200, 0)
	if got := bank.View(doc).Status; got != "void" {
		t.Errorf("status: got %s, want void", got)
	}
}

func sameRefusal(t testing.TB, a, b *call) {
	t.Helper()
	a.want(t, 404, 7104)
	got, want := changing.ReplaceAll(a.answer, nil), changing.ReplaceAll(b.answer, nil)
	if !bytes.Equal(got, want) {
		t.Errorf("%s tells that the bill is there: got\n%s, want\n%s", a.url, got, want)
	}
}

// A member that an order does not have is refused, so that nothing slips in beside it.
func TestUnknownMemberOfAnOrderIsRefused(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	l := newLocal(t, carrier, api.Options{})
	issuer, alice := carrier.User("issuer", "issuer"), carrier.User("alice")
	path := "/api/v1/ebls/" + carrier.Issue(alice.ID).String()
	doc := string(carrier.Document())
	for _, c := range []struct{ path, body, jsonPath string }{
		{"/api/v1/ebls", `{"document":` + doc + `,"to":"alice@carrier.example","control":"held"}`, "$.control"},
		{"/api/v1/ebls", `{"document":` + doc + `,"to":"alice@carrier.example","issuer":"mallory"}`, "$.issuer"},
		{"/api/v1/ebls", `{"to":"alice@carrier.example"}`, "$.document"},
		{"/api/v1/ebls", `{"document":"{}","to":"alice@carrier.example"}`, "$.document"},
		{"/api/v1/ebls", `{"document":` + doc + `}`, "$.to"},
		{"/api/v1/ebls", `{"document":` + doc + `,"to":null}`, "$.to"},
		{"/api/v1/ebls", `{"document":{"n":12345678901234567890},"to":"alice@carrier.example","isToOrder":true}`, ""},
		{path + "/transfer", `{"to":"issuer@carrier.example","platformHost":"bank.example"}`, "$.platformHost"},
		{path + "/transfer", `{"to":"issuer@carrier.example","timestamp":0}`, "$.timestamp"},
		{path + "/transfer", `{"To":"issuer@carrier.example"}`, "$.To"},
		{path + "/transfer", `{"to":"issuer@carrier.example","to":"alice@carrier.example"}`, ""},
		{path + "/transfer", `{"to":"issuer@carrier.example"}{}`, ""},
		{path + "/transfer", `{"to":"issuer@carrier.example","comments":7}`, "$.comments"},
		{path + "/transfer", "\xef\xbb\xbf" + `{"to":"issuer@carrier.example"}`, ""},
		{path + "/transfer", `{"to":"issuer@carrier.example","comments":"\ud800"}`, ""},
		{path + "/transfer", `{"to":"issuer@carrier.example","comments":"` + repeated("é", 256) + `"}`, ""},
		{path + "/transfer", `{"to":` + repeated(`[`, 100) + repeated(`]`, 100) + `}`, ""},
		{path + "/transfer", `[]`, ""},
		{path + "/surrender", `{"returnedBy":"x"}`, "$.returnedBy"},
		{path + "/honour", `{"verdict":"amended"}`, "$.verdict"},
		{path + "/decline", `{"to":"mallory@carrier.example"}`, "$.to"},
	} {
		u := alice
		if c.path == "/api/v1/ebls" {
			u = issuer
		}
		got := l.as(u, "POST", c.path, c.body).want(t, 400, 7001)
		if at := got.errorResponse(t).Errors[0].JSONPath; c.jsonPath != "" && at != c.jsonPath {
			t.Errorf("%.80s: got jsonPath %s, want %s", c.body, at, c.jsonPath)
		}
	}
	v := decode[api.BillView](t, l.as(alice, "GET", path, "").want(t, 200, 0))
	if v.Possessor != alice.ID || v.Steps != 1 {
		t.Errorf("after refused orders: got %+v, want the bill as it was", v)
	}
}

// unanswering is a peer that can be reached and does not answer a block.
type unanswering struct{ node.Peer }

func (unanswering) PutTransferblock(context.Context, node.Request) (node.Reply, error) {
	return node.Reply{}, errors.New("connection reset")
}

func TestOrderWaitsForThePeerAsLongAsAsked(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.NotIssuer())
	l := newLocal(t, carrier, api.Options{})
	alice, bob := carrier.User("alice"), bank.User("bob")
	path := "/api/v1/ebls/" + carrier.Issue(alice.ID).String() + "/transfer"
	to := `{"to":` + jsonString(bob.ID) + `}`
	for _, query := range []string{"wait=61", "wait=-1", "wait=", "wait=x", "wait=1&wait=1"} {
		l.as(alice, "POST", path+"?"+query, to).want(t, 400, 7001)
	}

	c := l.as(alice, "POST", path, `{"to":"nobody@bank.example"}`).want(t, 409, 8004)
	e := c.errorResponse(t)
	if e.Errors[0].Text != "rejected" || e.Operation == nil || e.Operation.Bill.Control != "held" || e.Operation.Transfer.State != "rejected" || e.Operation.Transfer.Verdict == "" {
		t.Errorf("a rejected transfer: got %s, want the bill back and the signed rejection", c.answer)
	}

	w.Intercept(func(_, _ identity.Host, p node.Peer) node.Peer { return unanswering{p} })
	open := decode[api.OperationView](t, l.as(alice, "POST", path+"?wait=0", to).want(t, 202, 0))
	if open.Bill.Control != "locked" || open.Transfer == nil || open.Bill.Reason == "" {
		t.Errorf("an open transfer: got %+v, want a locked bill with the reason", open)
	}
	waitFor(t, "an attempt to be shown", func() bool {
		x := decode[api.TransferView](t, l.as(alice, "GET", "/api/v1/transfers/"+open.Transfer.ID, "").want(t, 200, 0))
		return x.InDoubt && x.Attempts > 0 && strings.Contains(x.LastAnswer, "connection reset")
	})
	l.as(alice, "POST", path, to).want(t, 409, 8004) // locked: it goes to nobody else meanwhile
	if got := metric(t, l, `eblnode_transfers{state="sending"}`); got != 1 {
		t.Errorf("transfers in doubt: got %d, want 1", got)
	}
	w.Intercept(nil)
	carrier.Settled(open.Transfer.ID, node.Accepted)

	back := bank.Move(bob, carrier.View(hashOf(t, open.Bill.DocumentHash)).Document, envelope.Transfer, alice.ID)
	bank.Settled(back.Transfer, node.Accepted)
	done := decode[api.OperationView](t, l.as(alice, "POST", path, to).want(t, 200, 0))
	if done.Transfer.State != "accepted" || done.Transfer.Verdict == "" || done.Bill.Control != "away" {
		t.Errorf("an accepted transfer: got %+v, want the receipt and the bill away", done)
	}
}

func hashOf(t testing.TB, s string) envelope.Hash {
	t.Helper()
	h, err := envelope.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestListIsPagedAndEachBillIsOnOnePage(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	l := newLocal(t, carrier, api.Options{})
	alice := carrier.User("alice")
	want := map[string]bool{}
	for range 5 {
		want[carrier.Issue(alice.ID).String()] = true
	}
	carrier.Issue(carrier.User("other").ID)
	cursor, pages := "", 0
	for {
		page := decode[api.BillList](t, l.as(alice, "GET", "/api/v1/ebls?limit=2"+cursor, "").want(t, 200, 0))
		pages++
		for _, b := range page.Bills {
			if !want[b.DocumentHash] {
				t.Errorf("bill %s is not alice's, or there twice", b.DocumentHash)
			}
			delete(want, b.DocumentHash)
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	if len(want) != 0 || pages != 3 {
		t.Errorf("%d bills missing after %d pages, want none after 3", len(want), pages)
	}
	for _, query := range []string{"limit=0", "limit=201", "cursor=0", "cursor=x", "cursor=9223372036854775807"} {
		l.as(alice, "GET", "/api/v1/ebls?"+query, "").want(t, 400, 7001)
	}
}

// OPS-04
func TestFloodingUserIsSlowedDownAlone(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	l := newLocal(t, carrier, api.Options{Rate: dry, Burst: 5})
	alice, other := carrier.User("alice"), carrier.User("other")
	var last *call
	for range 7 {
		last = l.as(alice, "GET", "/api/v1/whoami", "")
	}
	if last.want(t, 429, 7129); last.got.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	l.as(other, "GET", "/api/v1/whoami", "").want(t, 200, 0)
}

func TestOrderOverTheBodyLimitIsRefused(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example", ebltest.Configure(func(c *node.Config) { c.Limits.Body = 4096 }))
	l := newLocal(t, carrier, api.Options{})
	l.as(carrier.User("issuer", "issuer"), "POST", "/api/v1/ebls", `{"document":{"x":"`+repeated("x", 4096)+`"},"to":"a@carrier.example"}`).want(t, 413, 7113)
}

func TestReadyTellsWhetherTheDatabaseIsThere(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	carrier.Stop()
	n, err := node.Open(t.Context(), carrier.Config())
	if err != nil {
		t.Fatal(err)
	}
	l := &local{t, "http://" + serveHTTP(t, api.NewLocalHandler(n, api.Options{Metrics: api.NewMetrics(n), MetricsToken: metricsToken}))}
	l.as(nil, "GET", "/readyz", "").want(t, 200, 0)
	if got := metric(t, l, "eblnode_database_readable"); got != 1 {
		t.Errorf("readable: got %d, want 1", got)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	l.as(nil, "GET", "/readyz", "").want(t, 503, 7503)
	l.as(nil, "GET", "/healthz", "").want(t, 200, 0)
	if got := metric(t, l, "eblnode_database_readable"); got != 0 {
		t.Errorf("readable: got %d, want 0", got)
	}
}

func TestForkShowsInTheMetrics(t *testing.T) {
	w := ebltest.New(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.NotIssuer())
	bob := bank.User("bob")
	l := newLocal(t, bank, api.Options{})
	document := carrier.Document()
	for _, comments := range []string{"one", "two"} {
		tx := ebltest.Tx{Instruction: envelope.Issue, To: bob.ID, Comments: comments}
		if _, err := bank.Put(carrier, ebltest.Body(document, carrier.Seal(envelope.HashOf(document), envelope.Hash{}, tx))); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]int{"eblnode_forks_total": 1, "eblnode_fork_entries": 1, `eblnode_received_total{result="accepted"}`: 1,
		`eblnode_received_total{result="rejected"}`: 1, `eblnode_bills{control="held"}`: 1, "eblnode_transfer_oldest_in_doubt_seconds": 0,
		`eblnode_transfers_in_doubt{longer_than="300"}`: 0, `eblnode_transfers_in_doubt{longer_than="3600"}`: 0,
		`eblnode_peer_circuit_open{peer="carrier.example"}`: 0, `eblnode_received_total{result="quarantined"}`: 0} {
		if got := metric(t, l, name); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
}

// A syncBuffer is a log that two goroutines may write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func TestLogHasOneLineARequestAndNoSecret(t *testing.T) {
	carrier := ebltest.New(t).Platform("carrier.example")
	log := &syncBuffer{}
	l := newLocal(t, carrier, api.Options{Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	issuer := carrier.User("issuer", "issuer")
	doc := string(carrier.Document())
	calls := []*call{
		l.as(issuer, "POST", "/api/v1/ebls", `{"document":`+doc+`,"to":"issuer@carrier.example","comments":"secretcomment"}`).want(t, 200, 0),
		l.as(issuer, "POST", "/api/v1/ebls", `{"document":`+doc+`,"to":"issuer@carrier.example"`).want(t, 400, 7001),
		l.as(&ebltest.User{Token: "ebl_wrongtoken"}, "GET", "/api/v1/ebls?access_token="+issuer.Token, "").want(t, 401, 7101),
		l.as(issuer, "GET", "/api/v1/ebls/%0a%22level%22:%22evil", "").want(t, 400, 7001),
		l.as(issuer, "GET", "/no%0asuch", "").want(t, 404, 7104),
	}
	waitFor(t, "the lines", func() bool { return strings.Count(log.String(), "\n") >= len(calls) })
	text := log.String()
	if got := strings.Count(text, "\n"); got != len(calls) {
		t.Errorf("got %d lines, want %d:\n%s", got, len(calls), text)
	}
	for _, secret := range []string{issuer.Token, "wrongtoken", "vesselName", "Ærø", "secretcomment", "evil", "such"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log tells %q:\n%s", secret, text)
		}
	}
	for _, c := range calls[1:] {
		if ref := c.errorResponse(t).Reference; !strings.Contains(text, ref) {
			t.Errorf("the reference %s of a %d is not in the log", ref, c.status)
		}
	}
}

func TestPanicIsA500ThatTellsNothing(t *testing.T) {
	log := &syncBuffer{}
	broken := &local{t, "http://" + serveHTTP(t, api.NewLocalHandler(nil, api.Options{Log: slog.New(slog.NewJSONHandler(log, nil))}))}
	c := broken.as(&ebltest.User{Token: "x"}, "GET", "/api/v1/whoami", "").want(t, 500, 7500)
	if strings.Contains(string(c.answer), "nil pointer") || strings.Contains(string(c.answer), ".go") {
		t.Errorf("the answer tells the cause: %s", c.answer)
	}
	waitFor(t, "the cause in the log", func() bool {
		return strings.Contains(log.String(), "nil pointer") && strings.Contains(log.String(), c.errorResponse(t).Reference)
	})
}
