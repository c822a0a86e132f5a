package api_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// openTo connects and shakes hands, and no more.
func openTo(t *testing.T, addr string, cert *tls.Certificate) *tls.Conn {
	t.Helper()
	config := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		config.Certificates = []tls.Certificate{*cert}
	}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// askOver asks for the public keys and gives the status; 0: no answer.
func askOver(conn net.Conn) int {
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := fmt.Fprint(conn, "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return 0
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// HTTP-06: one peer may have so many connections, whichever of its certificates it shows and
// whether it says anything over them or not; the next one is closed, those that it has go on,
// and another peer is not touched.
func TestConnectionsOfOnePeerAreLimited(t *testing.T) {
	w := ebltest.NewTLS(t)
	var second tls.Certificate
	carrier := w.Platform("carrier.example", ebltest.WithEntry(func(e *identity.Platform) {
		second = certificateOf(t, "carrier.example")
		e.TLS.Pins = append(e.TLS.Pins, identity.SPKIPin(second.Leaf))
	}))
	bank, shop := w.Platform("bank.example"), w.Platform("shop.example")
	n := bank.Node()
	m := api.NewMetrics(n)
	s := api.NewServer(api.NewPeerHandler(n, api.Options{}), api.ServerTLS(api.Fixed(bank.TLS), n.Trust, n.Now), nil, m)
	api.LimitConnections(s, api.ConnLimits{PerAddress: 8, PerPeer: 3, Who: api.PeerOf(n.Trust, n.Now)})
	var counted atomic.Int64 // connections that net/http got to see: their places are taken
	s.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			counted.Add(1)
		}
	}
	addr := serveAt(t, s, "127.0.0.1:0")
	held := []*tls.Conn{openTo(t, addr, &carrier.TLS), openTo(t, addr, &second), openTo(t, addr, &carrier.TLS)}
	if got := askOver(held[0]); got != 200 {
		t.Fatalf("got %d", got)
	}
	// The two others say nothing, and are counted all the same.
	waitFor(t, "three connections to be counted", func() bool { return counted.Load() == 3 })
	for name, cert := range map[string]*tls.Certificate{"the same certificate": &carrier.TLS, "its other one": &second} {
		if got := askOver(openTo(t, addr, cert)); got != 0 {
			t.Errorf("a fourth connection with %s was answered: %d", name, got)
		}
	}
	if got := metric(t, newLocal(t, bank, api.Options{Metrics: m}), "eblnode_connections_refused_total"); got != 2 {
		t.Errorf("%d refused connections are counted, want 2", got)
	}
	if got := askOver(openTo(t, addr, &shop.TLS)); got != 200 {
		t.Errorf("another peer: got %d, want 200", got)
	}
	if got := askOver(held[2]); got != 200 {
		t.Errorf("a connection from before: got %d, want 200", got)
	}
	_ = held[1].Close()
	waitFor(t, "the place to be free", func() bool { return askOver(openTo(t, addr, &carrier.TLS)) == 200 })
}

// TestLargeBodiesOfAPeerAreFewAtOnce: of what has more than 1 MiB two are read at once, also
// where nobody said how much will come; smaller ones, and other peers, are not touched. One that
// is refused is not read.
func TestLargeBodiesOfAPeerAreFewAtOnce(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank, shop := w.Platform("carrier.example"), w.Platform("bank.example"), w.Platform("shop.example")
	bob := bank.User("bob")
	url := "https://" + bank.Addr + "/v1/transferblocks"
	large := bytes.Repeat([]byte(" "), 2<<20)
	offer, _ := carrier.Offer(bob.ID)
	begin := func(head string, body []byte) *tls.Conn {
		conn := openTo(t, bank.Addr, &carrier.TLS)
		if _, err := conn.Write(append([]byte("PUT /v1/transferblocks HTTP/1.1\r\nHost: bank.example\r\nContent-Type: application/json\r\n"+head+"\r\n\r\n"), body...)); err != nil {
			t.Fatal(err)
		}
		return conn
	}
	answer := func(conn net.Conn) int {
		_ = conn.SetReadDeadline(time.Now().Add(30 * time.Second))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return 0
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	chunk := append([]byte("120000\r\n"), bytes.Repeat([]byte(" "), 0x120000)...) // a bit more than 1 MiB
	hold := func() *tls.Conn {
		conn := begin("Content-Length: 2097152\r\nExpect: 100-continue", nil)
		if got := answer(conn); got != 100 { // it is let in, and read
			t.Fatalf("got %d, want 100", got)
		}
		return conn
	}
	hold()
	second := hold()
	client := tlsClient(t, carrier)
	c := do(t, client, call{method: "PUT", url: url, body: large, header: http.Header{"Expect": {"100-continue"}}}).want(t, 429, 7129)
	if got := c.got.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: got %q, want 1", got)
	}
	if got := answer(begin("Transfer-Encoding: chunked", append(bytes.Clone(chunk), "\r\n1\r\n \r\n0\r\n\r\n"...))); got != 429 {
		t.Errorf("one that does not say how much it is: got %d, want 429", got)
	}
	do(t, client, call{method: "PUT", url: url, body: offer}).want(t, 200, 0)
	do(t, tlsClient(t, shop), call{method: "PUT", url: url, body: large}).want(t, 400, 7001)
	_ = second.Close()
	waitFor(t, "the place to be free", func() bool {
		return do(t, client, call{method: "PUT", url: url, body: large}).status == 400
	})
	for range 3 { // it is given back
		do(t, client, call{method: "PUT", url: url, body: large}).want(t, 400, 7001)
	}
}

// certificateOf is a certificate with a key of its own.
func certificateOf(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key := catest.NewKey(t)
	leaf, err := identity.NewSelfSigned(key, identity.CertificateSpec{Subject: name, Names: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), Usages: bothUsages})
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: key, Leaf: leaf}
}

// Strangers who do not say who they are get so many places from one address, and do not take
// those of peers that have; on the public listener nobody says who it is.
func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	p := newPair(t)
	n := p.bank.Node()
	closed := func(conn net.Conn) bool {
		_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
		_, err := conn.Read(make([]byte, 1))
		ne, ok := errors.AsType[net.Error](err)
		return err != nil && (!ok || !ne.Timeout())
	}
	dial := func(addr string) net.Conn {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	addr := serveTLS(t, api.NewPeerHandler(n, api.Options{}), api.ServerTLS(api.Fixed(p.bank.TLS), n.Trust, n.Now), func(s *api.Server) {
		api.LimitConnections(s, api.ConnLimits{PerAddress: 2, PerPeer: 9, Who: api.PeerOf(n.Trust, n.Now)})
	})
	known := []net.Conn{openTo(t, addr, &p.carrier.TLS), openTo(t, addr, &p.carrier.TLS), openTo(t, addr, &p.carrier.TLS)}
	for _, c := range known {
		if got := askOver(c); got != 200 {
			t.Errorf("a peer's connection: got %d, want 200: who is known does not count for the address", got)
		}
	}
	silent := []net.Conn{dial(addr), dial(addr)}
	waitFor(t, "a third stranger to be closed", func() bool { return closed(dial(addr)) })
	if closed(silent[0]) || askOver(known[0]) != 200 {
		t.Error("a connection from before was closed")
	}
	_ = silent[0].Close()
	waitFor(t, "the place to be free", func() bool { return !closed(dial(addr)) })

	public := serveTLS(t, api.NewPublicHandler(n, api.Options{}), api.PublicTLS(api.Fixed(p.bank.TLS)), func(s *api.Server) {
		api.LimitConnections(s, api.ConnLimits{PerAddress: 2})
	})
	held := []net.Conn{openTo(t, public, nil), openTo(t, public, nil)}
	waitFor(t, "a third caller of the public listener to be closed", func() bool { return closed(dial(public)) })
	if got := askOver(held[0]); got != 200 {
		t.Errorf("the public listener: got %d, want 200", got)
	}
	_ = held[1].Close()
	waitFor(t, "the place to be free", func() bool { return !closed(dial(public)) })
}

// Each route that takes a body reads only so much of it, and routes that take none read none.
// The body here has no length and no end; what is read is counted.
func TestEveryRouteReadsOnlySoMuchOfABody(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.Tokens(nil))
	n := bank.Node()
	boss := bank.User("boss", node.OperatorRole)
	const slack = 64 << 10 // what buffers take
	limits := []struct {
		route *regexp.Regexp
		most  int64
	}{
		{regexp.MustCompile(`^GET |^DELETE `), 0},
		{regexp.MustCompile(`^PUT /v1/transferblocks?$`), 8 << 20},
		{regexp.MustCompile(`^POST /oauth2/token$`), 32 << 10},
		{regexp.MustCompile(`^POST /api/v1/(ebls|transfers)`), 8 << 20},
		{regexp.MustCompile(`^POST /api/v1/incoming/reject$`), 16 << 20},
		{regexp.MustCompile(`^POST /api/v1/(verdicts|approvals)`), 1 << 20},
		{regexp.MustCompile(`^POST /admin/v1/peers$`), 4 << 20},
		{regexp.MustCompile(`^POST /admin/v1/`), 8 << 20},
	}
	for name, h := range map[string]http.Handler{
		"peer": api.NewPeerHandler(n, api.Options{Tokens: bank.TokenServer(n)}), "public": api.NewPublicHandler(n, api.Options{Tokens: bank.TokenServer(n)}),
		"local": api.NewLocalHandler(n, api.Options{}), "admin": api.NewAdminHandler(n, api.Options{}),
	} {
		for _, r := range h.(*gin.Engine).Routes() {
			route := r.Method + " " + r.Path
			if strings.HasSuffix(r.Path, "/events") {
				continue // waits
			}
			i := slices.IndexFunc(limits, func(l struct {
				route *regexp.Regexp
				most  int64
			}) bool {
				return l.route.MatchString(route)
			})
			if i < 0 {
				t.Errorf("%s: %s has no limit in this table", name, route)
				continue
			}
			body := &countingReader{max: 64 << 20}
			path := strings.NewReplacer(":documentHash", repeated("0", 64)).Replace(r.Path)
			req := httptest.NewRequestWithContext(t.Context(), r.Method, path, body)
			req.ContentLength = -1
			req.Header.Set("Content-Type", "application/json")
			if strings.Contains(path, "oauth2") {
				req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if name == "peer" {
				req.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{carrier.TLS.Leaf}}
				if r.Method == http.MethodPut {
					d := &tokenDesk{t: t, carrier: carrier, bank: bank, client: tlsClient(t, carrier), base: "https://" + bank.Addr}
					req.Header.Set("Authorization", "Bearer "+d.token())
				}
			}
			if name == "local" {
				req.Header.Set("Authorization", "Bearer "+boss.Token)
			}
			res := httptest.NewRecorder()
			h.ServeHTTP(res, req)
			if got := body.n.Load(); got > limits[i].most+slack {
				t.Errorf("%s: %s read %d bytes, want %d at most; it answered %d", name, route, got, limits[i].most, res.Code)
			}
			if limits[i].most > 0 && res.Code < 400 {
				t.Errorf("%s: %s answered %d to 64 MiB", name, route, res.Code)
			}
		}
	}
}

// Nothing that a proxy might add makes somebody else of who asks: not a client's address,
// not a client's certificate.
func TestForwardedHeadersMakeNobodyElse(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example")
	headers := http.Header{"X-Forwarded-Client-Cert": {"Hash=x;Subject=\"CN=carrier.example\""}, "X-Ssl-Client-Cert": {"x"}, "X-Client-Cert": {"x"},
		"Client-Cert": {":MIIB:"}, "X-Forwarded-Host": {"evil.example"}, "X-Original-Url": {"/admin/v1/peers"}, "X-Http-Method-Override": {"DELETE"}}
	public := "http://" + serveHTTP(t, api.NewPublicHandler(bank.Node(), api.Options{Rate: dry, Burst: 3}))
	got := map[int]int{}
	for i := range 8 {
		h := headers.Clone()
		for _, name := range []string{"X-Forwarded-For", "X-Real-Ip", "Forwarded", "Cf-Connecting-Ip", "True-Client-Ip"} {
			h.Set(name, fmt.Sprintf("192.0.2.%d", i))
		}
		got[do(t, http.DefaultClient, call{method: "GET", url: public + "/.well-known/jwks.json", header: h}).status]++
	}
	if got[200] != 3 || got[429] != 5 {
		t.Errorf("got %v, want three 200 and five 429: an address that was only said counts for nothing", got)
	}
	// The peer handler without TLS, as behind a proxy that ended it.
	bare := "http://" + serveHTTP(t, api.NewPeerHandler(bank.Node(), api.Options{}))
	do(t, http.DefaultClient, call{method: "PUT", url: bare + "/v1/transferblocks", header: headers, body: []byte(`{}`)}).want(t, 403, 7103)
	// ... and a peer's request is its own.
	c := do(t, tlsClient(t, carrier), call{method: "GET", url: "https://" + bank.Addr + "/.well-known/jwks.json", header: headers}).want(t, 200, 0)
	if strings.Contains(string(c.answer), "evil.example") {
		t.Error("a forwarded host is in the answer")
	}
}

// Answers tell neither the program nor its version, nor whether a user or a bill is there.
func TestAnswersDoNotTellWhoIsThere(t *testing.T) {
	bank := ebltest.New(t).Platform("bank.example")
	l := newLocal(t, bank, api.Options{})
	bob, desk := bank.User("bob"), bank.User("desk")
	if err := bank.Node().DisableUser(t.Context(), "test", "bob"); err != nil {
		t.Fatal(err)
	}
	same := func(what string, calls ...*call) {
		t.Helper()
		var texts []string
		for _, c := range calls {
			e := c.errorResponse(t)
			texts = append(texts, fmt.Sprint(c.status, e.Errors[0].Code, e.Errors[0].Text, e.Errors[0].Message, c.got.Get("WWW-Authenticate")))
		}
		if slices.Sort(texts); len(slices.Compact(texts)) != 1 {
			t.Errorf("%s can be told apart: %q", what, texts)
		}
	}
	same("a disabled user and none", l.as(bob, "GET", "/api/v1/ebls", ""), l.as(&ebltest.User{Token: "ebl_nobody"}, "GET", "/api/v1/ebls", ""))
	theirs := bank.Issue(bank.User("third").ID).String()
	for _, verb := range []string{"", "/chain", "/document"} {
		same("another's bill and none", l.as(desk, "GET", "/api/v1/ebls/"+theirs+verb, ""), l.as(desk, "GET", "/api/v1/ebls/"+repeated("0", 64)+verb, ""))
	}
	same("another's bill and none, to move", l.as(desk, "POST", "/api/v1/ebls/"+theirs+"/surrender", `{}`), l.as(desk, "POST", "/api/v1/ebls/"+repeated("0", 64)+"/surrender", `{}`))
	held := bank.Issue(desk.ID).String()
	unknown := l.as(desk, "POST", "/api/v1/ebls/"+held+"/transfer", `{"to":"nobody@bank.example"}`).errorResponse(t).Errors[0]
	disabled := l.as(desk, "POST", "/api/v1/ebls/"+held+"/transfer", `{"to":"bob@bank.example"}`).errorResponse(t).Errors[0]
	if strings.Replace(disabled.Message, "bob@", "nobody@", 1) != unknown.Message || disabled.Text != unknown.Text {
		t.Errorf("a disabled transferee and none can be told apart: %q, %q", disabled.Message, unknown.Message)
	}
	// What net/http says by itself, too.
	for _, raw := range []string{"GET / HTTP/1.1\r\n\r\n", "BAD\r\n\r\n", "GET /x HTTP/9.9\r\nHost: x\r\n\r\n", "GET /api/v1/ebls HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 20000) + "\r\n"} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second)) // one of them is kept open
		_, _ = io.WriteString(conn, raw)
		answer, _ := io.ReadAll(io.LimitReader(conn, 64<<10))
		_ = conn.Close()
		if text := strings.ToLower(string(answer)); strings.Contains(text, "server:") || strings.Contains(text, "eblnode/") || strings.Contains(text, "gin") && !strings.Contains(text, "originating") || strings.Contains(text, "go1") {
			t.Errorf("%.20q: the answer tells the program: %.300s", raw, answer)
		}
	}
}

// A server that sends our client elsewhere is not followed, whatever it says.
func TestClientFollowsNoRedirect(t *testing.T) {
	c, d, us := newDeskClient(t, nil)
	elsewhere := 0
	d.change = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/elsewhere" {
			elsewhere++
		}
		w.Header().Set("Location", "https://them.example/elsewhere")
		w.WriteHeader(307)
		return true
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := c.Check(ctx, us.Domain()); err == nil {
		t.Error("a redirect was taken for a yes")
	}
	if _, err := c.PutTransferblock(ctx, node.Request{Sender: us.Domain(), Body: []byte(`{}`)}); err == nil || !strings.Contains(err.Error(), "redirect") {
		t.Errorf("got %v, want that it is a redirect", err)
	}
	if elsewhere != 0 {
		t.Errorf("the redirect was followed %d times", elsewhere)
	}
}
