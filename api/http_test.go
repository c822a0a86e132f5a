package api_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// A pair is a carrier that calls the peer listener of a bank by hand.
type pair struct {
	carrier, bank *ebltest.Platform
	bob           *ebltest.User
	client        *http.Client
	url           string // of the bank's transferblocks
}

func newPair(t testing.TB, opts ...ebltest.Option) *pair {
	t.Helper()
	net := ebltest.NewTLS(t)
	p := &pair{carrier: net.Platform("carrier.example"), bank: net.Platform("bank.example", opts...)}
	p.bob = p.bank.User("bob")
	p.client = tlsClient(t, p.carrier)
	p.url = "https://" + p.bank.Addr + "/v1/transferblocks"
	return p
}

// offer is a block that the bank would accept.
func (p *pair) offer() []byte {
	body, _ := p.carrier.Offer(p.bob.ID)
	return body
}

// HTTP-01
func TestOtherMethodsGet405(t *testing.T) {
	p := newPair(t)
	for _, method := range []string{"POST", "GET", "DELETE", "PATCH", "HEAD", "OPTIONS", "PUTT"} {
		req, err := http.NewRequestWithContext(t.Context(), method, p.url, bytes.NewReader(p.offer()))
		if err != nil {
			t.Fatal(err)
		}
		res, err := p.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 405 || res.Header.Get("Allow") != "PUT" {
			t.Errorf("%s: got %d, Allow %q; want 405, PUT", method, res.StatusCode, res.Header.Get("Allow"))
		}
	}
}

func TestAnotherSpellingOfAPathIsAnotherPath(t *testing.T) {
	p := newPair(t)
	base := "https://" + p.bank.Addr
	for _, path := range []string{"/v1/transferblocks/", "//v1/transferblocks", "/V1/transferblocks", "/v1/transfer%62locks", "/v1%2Ftransferblocks",
		"/v1/./transferblocks", "/x/../v1/transferblocks", "/", "/v3/transfers", "/v1/transferblocks/x/verdict/"} {
		c := do(t, p.client, call{method: "PUT", url: base + path, body: p.offer()}).want(t, 404, 7104)
		if got := c.got.Get("Location"); got != "" {
			t.Errorf("%s: redirected to %q", path, got)
		}
	}
	do(t, p.client, call{method: "PUT", url: base + "/v1/transferblocks?x=1", body: p.offer()}).want(t, 200, 0)
}

// HTTP-03
func TestOnlyPlainUTF8JSONIsRead(t *testing.T) {
	p := newPair(t)
	for _, c := range []struct {
		header map[string][]string
		status int
	}{
		{map[string][]string{"Content-Type": {"application/json"}}, 200},
		{map[string][]string{"Content-Type": {"application/json; charset=utf-8"}}, 200},
		{map[string][]string{"Content-Type": {`Application/JSON;charset="UTF-8"`}}, 200},
		{map[string][]string{"Content-Type": nil}, 415},
		{map[string][]string{"Content-Type": {""}}, 415},
		{map[string][]string{"Content-Type": {"text/plain"}}, 415},
		{map[string][]string{"Content-Type": {"application/json; charset=utf-16"}}, 415},
		{map[string][]string{"Content-Type": {"application/json; charset=latin1"}}, 415},
		{map[string][]string{"Content-Type": {"application/jsonp"}}, 415},
		{map[string][]string{"Content-Type": {"multipart/form-data; boundary=x"}}, 415},
		{map[string][]string{"Content-Type": {"application/json", "text/html"}}, 415},
		{map[string][]string{"Content-Encoding": {"gzip"}}, 415},
		{map[string][]string{"Content-Encoding": {"identity"}}, 415},
	} {
		code := 0
		if c.status != 200 {
			code = 7115
		}
		got := do(t, p.client, call{method: "PUT", url: p.url, header: c.header, body: p.offer()})
		if got.want(t, c.status, code); got.status != c.status {
			t.Errorf("with %v", c.header)
		}
	}
}

// HTTP-11
func TestAPIVersion(t *testing.T) {
	p := newPair(t)
	for _, c := range []struct {
		values []string
		status int
	}{{nil, 200}, {[]string{"1"}, 200}, {[]string{"1", "1"}, 200}, {[]string{"2"}, 400}, {[]string{"1.0"}, 400}, {[]string{""}, 400}, {[]string{"1", "2"}, 400}} {
		code := 0
		if c.status != 200 {
			code = 7002
		}
		got := do(t, p.client, call{method: "PUT", url: p.url, header: map[string][]string{"Api-Version": c.values}, body: p.offer()}).want(t, c.status, code)
		if v := got.got.Get("API-Version"); v != "1" {
			t.Errorf("API-Version of the answer to %q: got %q, want 1", c.values, v)
		}
	}
}

// HTTP-16
func TestAnswersSayLittleAndAreNotStored(t *testing.T) {
	p := newPair(t)
	unlawful, _ := p.carrier.Offer("nobody@bank.example")
	for _, c := range []*call{
		do(t, p.client, call{method: "PUT", url: p.url, body: p.offer()}).want(t, 200, 0),
		do(t, p.client, call{method: "PUT", url: p.url, body: unlawful}).want(t, 422, 8002),
		do(t, p.client, call{method: "PUT", url: p.url, body: []byte("{")}).want(t, 400, 7001),
		do(t, p.client, call{method: "GET", url: p.url + "/x"}).want(t, 404, 7104),
		do(t, p.client, call{method: "GET", url: p.url}).want(t, 405, 7105),
		do(t, p.client, call{method: "GET", url: "https://" + p.bank.Addr + "/.well-known/jwks.json"}).want(t, 200, 0),
	} {
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Api-Version": "1",
			"Strict-Transport-Security": "max-age=31536000", "Server": "", "X-Powered-By": ""} {
			if got := c.got.Get(name); got != want {
				t.Errorf("%s of a %d: got %q, want %q", name, c.status, got, want)
			}
		}
	}
}

func TestReceiptIsBareAndOfTheTypeAskedFor(t *testing.T) {
	p := newPair(t)
	for accept, want := range map[string]string{"": "application/json", "application/json": "application/json", "*/*": "application/json",
		"text/html": "application/json", "application/jose": "application/jose", "application/json, application/JOSE;q=0.5": "application/jose"} {
		c := do(t, p.client, call{method: "PUT", url: p.url, header: http.Header{"Accept": {accept}}, body: p.offer()}).want(t, 200, 0)
		if got := c.got.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: got %s, want %s", accept, got, want)
		}
		if _, err := envelope.ParseJWS(string(c.answer)); err != nil {
			t.Errorf("Accept %q: the body is not a bare JWS: %v", accept, err)
		}
	}
}

func TestRejectionIsTheSameToTheByteOnBothPaths(t *testing.T) {
	p := newPair(t)
	body, _ := p.carrier.Offer("nobody@bank.example")
	first := do(t, p.client, call{method: "PUT", url: p.url, body: body}).want(t, 422, 8002)
	e := first.errorResponse(t)
	if _, err := envelope.OpenRejection(e.Rejection, p.bank.Entry, time.Now()); err != nil {
		t.Errorf("rejectionSignedContent: %v", err)
	}
	p.bank.Restart()
	for _, url := range []string{p.url, p.url + "?again", strings.TrimSuffix(p.url, "s")} {
		again := do(t, tlsClient(t, p.carrier), call{method: "PUT", url: url, body: body}).want(t, 422, 8002)
		if !bytes.Equal(again.answer, first.answer) {
			t.Errorf("%s: got\n%s\nwant\n%s", url, again.answer, first.answer)
		}
	}
}

// countingReader counts what was taken from it; it never ends by itself.
type countingReader struct {
	n   atomic.Int64
	max int64
}

func (r *countingReader) Read(b []byte) (int, error) {
	if r.n.Load() >= r.max {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), r.max-r.n.Load())]
	for i := range b {
		b[i] = ' '
	}
	r.n.Add(int64(len(b)))
	return len(b), nil
}

// HTTP-04
func TestBodyOverTheLimitIsNotReadToItsEnd(t *testing.T) {
	const limit = 64 << 10
	p := newPair(t, ebltest.Configure(func(c *node.Config) { c.Limits.Body = limit }))
	padded := func(n int) []byte {
		b := p.offer()
		return append(b, bytes.Repeat([]byte(" "), n-len(b))...)
	}
	do(t, p.client, call{method: "PUT", url: p.url, body: padded(limit)}).want(t, 200, 0)
	c := do(t, p.client, call{method: "PUT", url: p.url, body: padded(limit + 1)}).want(t, 413, 7113)
	if got := c.errorResponse(t).Errors[0].Message; !strings.Contains(got, "65536") || !strings.Contains(got, "body") {
		t.Errorf("the refusal names no limit: %q", got)
	}
	for _, chunked := range []bool{true, false} {
		body := &countingReader{max: 64 << 20}
		req, err := http.NewRequestWithContext(t.Context(), "PUT", p.url, body)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if !chunked {
			req.ContentLength = body.max
		}
		res, err := p.client.Do(req)
		if err == nil { // else the listener closed while we were sending, as it may
			_ = res.Body.Close()
			if res.StatusCode != 413 {
				t.Errorf("chunked %t: got %d, want 413", chunked, res.StatusCode)
			}
		}
		// What the kernel and net/http hold beyond the limit is no matter; 64 MiB is.
		if got := body.n.Load(); got > 16<<20 {
			t.Errorf("chunked %t: %d bytes were read, the limit is %d", chunked, got, limit)
		}
	}
}

// HTTP-14
func TestStrangersBodyIsNotAskedFor(t *testing.T) {
	p := newPair(t)
	conn := p.dial(t, p.carrier)
	if err := p.bank.Node().RemovePeer(t.Context(), "test", p.carrier.Domain()); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "PUT /v1/transferblocks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	// The server may look at the certificate only now: we do not wait for it.
	if shaken := err != nil && strings.Contains(err.Error(), "bad certificate"); !shaken && (err != nil || !strings.HasPrefix(line, "HTTP/1.1 403")) {
		t.Errorf("got %q and %v, want 403 and no 100 Continue", line, err)
	}
}

func TestBodyThatSaysItIsTooLargeIsNotAskedFor(t *testing.T) {
	p := newPair(t)
	conn := p.dial(t, p.carrier)
	fmt.Fprintf(conn, "PUT /v1/transferblocks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 413") {
		t.Errorf("got %q and %v, want 413 and no 100 Continue", line, err)
	}
}

// dial opens a connection to the bank's peer listener, on which nothing was sent.
func (p *pair) dial(t testing.TB, from *ebltest.Platform) *tls.Conn {
	t.Helper()
	conn, err := tls.Dial("tcp", p.bank.Addr, &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{from.TLS}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// HTTP-08: what two parsers could read in two ways is refused, and whatever follows on
// such a connection is not answered.
func TestSmuggledRequestIsNotAnswered(t *testing.T) {
	p := newPair(t)
	const head = "PUT /v1/transferblocks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	const smuggled = "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n\r\n"
	// With a block that would be accepted by itself, so that only the framing is wrong.
	sized := func() string { body := p.offer(); return fmt.Sprintf("Content-Length: %d\r\n", len(body)) }
	chunks := func() string {
		body := p.offer()
		return fmt.Sprintf("\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	const chunked = "Transfer-Encoding: chunked\r\n"
	for name, request := range map[string]string{
		"two lengths":                      head + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"one length twice":                 head + sized() + sized() + "\r\n" + string(p.offer()),
		"length and chunks":                head + sized() + chunked + chunks(),
		"chunks and length":                head + chunked + sized() + chunks(),
		"length 0 and chunks":              head + "content-length:0\r\n" + chunked + chunks(),
		"length and chunks, folded":        head + sized() + "Transfer-Encoding:\r\n chunked\r\n" + chunks(),
		"length and chunks, bare LF":       head + strings.TrimSuffix(sized(), "\r\n") + "\n" + chunked + chunks(),
		"length and chunks after a body":   head + sized() + "\r\n" + string(p.offer()) + head + sized() + chunked + chunks(),
		"length and chunks of a question":  "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n" + chunked + "\r\n0\r\n\r\n",
		"chunks of HTTP/1.0":               "GET /.well-known/jwks.json HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n" + chunked + "\r\n0\r\n\r\n",
		"two codings":                      head + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
		"bare LF in chunk size":            head + "Transfer-Encoding: chunked\r\n\r\n2\n{}\r\n0\r\n\r\n",
		"chunk extension":                  head + "Transfer-Encoding: chunked\r\n\r\n2;" + repeated("x", 1<<20) + "\r\n{}\r\n0\r\n\r\n",
		"space before colon":               head + "Content-Length : 2\r\n\r\n{}",
		"negative length":                  head + "Content-Length: -1\r\n\r\n",
		"length and chunks, long in front": head + "X-Pad: " + repeated("x", 9000) + "\r\n" + sized() + chunked + chunks(),
	} {
		conn := p.dial(t, p.carrier)
		_, _ = io.WriteString(conn, request+smuggled) // may be cut off while sending
		answer, _ := io.ReadAll(conn)                 // until closed
		if got := strings.Count(string(answer), "HTTP/1.1 "); got > 1 && name != "length and chunks after a body" {
			t.Errorf("%s: %d answers, want one at most:\n%.600s", name, got, answer)
		}
		if last := string(answer[max(0, strings.LastIndex(string(answer), "HTTP/1.1 ")):]); strings.HasPrefix(last, "HTTP/1.1 2") {
			t.Errorf("%s: got a success:\n%.300s", name, answer)
		}
		if strings.Contains(name, "length and chunks") && !strings.Contains(string(answer), "HTTP/1.1 400 ") {
			t.Errorf("%s: got no 400:\n%.300s", name, answer)
		}
	}
	// Chunks alone are an honest body, and the last one of its connection, whatever the path.
	for _, request := range []string{head + chunked + chunks(), "GET /.well-known/jwks.json HTTP/1.1\r\nHost: x\r\n" + chunked + "\r\n0\r\n\r\n"} {
		conn := p.dial(t, p.carrier)
		_, _ = io.WriteString(conn, request+smuggled)
		answer, _ := io.ReadAll(conn)
		if !strings.HasPrefix(string(answer), "HTTP/1.1 200") || strings.Count(string(answer), "HTTP/1.1 ") != 1 {
			t.Errorf("%.30s in chunks: got %.300s, want one answer, 200", request, answer)
		}
	}
}

// TestSmuggledRequestOnThePlainListener: the local one is behind a proxy more often than any.
func TestSmuggledRequestOnThePlainListener(t *testing.T) {
	bank := ebltest.New(t).Platform("bank.example")
	s := api.NewServer(api.NewLocalHandler(bank.Node(), api.Options{Metrics: api.NewMetrics(bank.Node())}), nil, nil, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	bob := bank.User("bob")
	head := "GET /api/v1/ebls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bob.Token + "\r\n"
	for want, framing := range map[string]string{
		"400": "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"200": "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, head+framing+head+"\r\n")
		answer, err := io.ReadAll(conn)
		_ = conn.Close()
		if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 "+want) || strings.Count(string(answer), "HTTP/1.1 ") != 1 {
			t.Errorf("got %v and %.300s, want one answer, %s, and the end", err, answer, want)
		}
	}
}

// HTTP-08: net/http reads a length with as many zeros before it as there is room for. Where the
// header comes in two pieces, who watches it must not take a part of the number for the whole:
// what it then takes for the next request is this one's body, and the next one goes unwatched.
func TestSmuggledRequestBehindALongLength(t *testing.T) {
	bank := ebltest.New(t).Platform("bank.example")
	s := api.NewServer(api.NewLocalHandler(bank.Node(), api.Options{Metrics: api.NewMetrics(bank.Node())}), nil, nil, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	head := "GET /api/v1/ebls HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + bank.User("bob").Token + "\r\n"
	blinker := "GET / HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n"
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, head+"Content-Length: "+repeated("0", 300))
	time.Sleep(100 * time.Millisecond) // else it would be read in one piece
	_, _ = fmt.Fprintf(conn, "%d\r\n\r\n%s", len(blinker), blinker)
	_, _ = io.WriteString(conn, head+"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	answer, _ := io.ReadAll(conn) // it may end with a reset: the rest was not read
	if strings.Count(string(answer), "HTTP/1.1 ") != 1 || !strings.HasPrefix(string(answer), "HTTP/1.1 400") {
		t.Errorf("got %.600s, want one answer, 400, and the end", answer)
	}
}

// HTTP-05
func TestSlowSenderLosesItsPlace(t *testing.T) {
	p := newPair(t)
	n := p.bank.Node()
	h := api.NewPeerHandler(n, api.Options{Concurrency: 1, Rate: 10000, Burst: 10000})
	addr := serveTLS(t, h, api.ServerTLS(api.Fixed(p.bank.TLS), n.Trust, n.Now), func(s *api.Server) {
		s.ReadHeaderTimeout, s.ReadTimeout = 2*time.Second, 4*time.Second
	})
	p.bank.Addr = addr
	url := "https://" + addr + "/v1/transferblocks"

	header, body := p.dial(t, p.carrier), p.dial(t, p.carrier)
	start := time.Now()
	fmt.Fprint(header, "PUT /v1/transferblocks HT")
	fmt.Fprint(body, "PUT /v1/transferblocks HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	waitFor(t, "the one place to be taken", func() bool {
		return do(t, p.client, call{method: "GET", url: "https://" + addr + "/.well-known/jwks.json"}).status == 429
	})
	for name, conn := range map[string]net.Conn{"header": header, "body": body} {
		_, err := io.ReadAll(conn)
		if e, ok := err.(net.Error); ok && e.Timeout() {
			t.Errorf("a slow %s: still open after %s", name, time.Since(start))
		}
	}
	waitFor(t, "the place to be free", func() bool {
		return do(t, p.client, call{method: "PUT", url: url, body: p.offer()}).status == 200
	})
}

func waitFor(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("waited in vain for %s", what)
}

func TestFloodingPeerIsSlowedDownAloneAndToldHowLong(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank, shop := net.Platform("carrier.example"), net.Platform("bank.example"), net.Platform("shop.example")
	n := bank.Node()
	addr := serveTLS(t, api.NewPeerHandler(n, api.Options{Rate: 1, Burst: 5}), api.ServerTLS(api.Fixed(bank.TLS), n.Trust, n.Now), nil)
	url := "https://" + addr + "/.well-known/jwks.json"
	flood, other := tlsClient(t, carrier), tlsClient(t, shop)
	var last *call
	for range 100 { // on a slow machine some places are given back meanwhile
		if last = do(t, flood, call{method: "GET", url: url}); last.status != 200 {
			break
		}
	}
	last.want(t, 429, 7129)
	if got := last.got.Get("Retry-After"); got != "1" {
		t.Errorf("Retry-After: got %q, want 1", got)
	}
	do(t, other, call{method: "GET", url: url}).want(t, 200, 0)
}

func TestPublishedKeysAreOursWithCertificates(t *testing.T) {
	p := newPair(t)
	c := do(t, p.client, call{method: "GET", url: "https://" + p.bank.Addr + "/v1/.well-known/jwks.json"}).want(t, 200, 0)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(c.answer, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 1 || set.Keys[0]["kid"] != p.bank.Signer.Key.ID || set.Keys[0]["x5c"] == nil {
		t.Errorf("keys: got %s, want the bank's with x5c", c.answer)
	}
	if _, found := set.Keys[0]["d"]; found {
		t.Error("a private key is published")
	}
}
