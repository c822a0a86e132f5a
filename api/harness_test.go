package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/internal/ebltest"

	"github.com/gin-gonic/gin"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.TestMode)
	os.Exit(m.Run())
}

// A call is one request with its whole answer.
type call struct {
	method, url string
	header      http.Header
	body        []byte

	status int
	got    http.Header
	answer []byte
}

// do makes the request. Each answer must be as the OpenAPI document says, and each error
// an ErrorResponse with a reference.
func do(t testing.TB, client *http.Client, c call) *call {
	t.Helper()
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(t.Context(), c.method, c.url, body)
	if err != nil {
		t.Fatal(err)
	}
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", c.method, c.url, err)
	}
	defer res.Body.Close()
	c.status, c.got = res.StatusCode, res.Header
	if c.answer, err = io.ReadAll(res.Body); err != nil {
		t.Fatalf("%s %s: reading the answer: %v", c.method, c.url, err)
	}
	checkDescribed(t, req.Method, req.URL.EscapedPath(), res.StatusCode, res.Header.Get("Content-Type"), c.answer)
	return &c
}

// want checks the status, and the code of an error (0: no error).
func (c *call) want(t testing.TB, status, code int) *call {
	t.Helper()
	if c.status != status {
		t.Errorf("%s %s: got %d, want %d; body: %.300s", c.method, c.url, c.status, status, c.answer)
		return c
	}
	if code != 0 {
		if got := c.errorResponse(t).Errors[0].Code; got != code {
			t.Errorf("%s %s: got code %d, want %d; body: %.300s", c.method, c.url, got, code, c.answer)
		}
	}
	return c
}

func (c *call) errorResponse(t testing.TB) api.ErrorResponse {
	t.Helper()
	var e api.ErrorResponse
	if err := json.Unmarshal(c.answer, &e); err != nil {
		t.Fatalf("%s %s: not an ErrorResponse: %v in %.300q", c.method, c.url, err, c.answer)
	}
	if len(e.Errors) != 1 || e.Reference == "" || e.At == "" || e.StatusCode != c.status {
		t.Fatalf("%s %s: an incomplete ErrorResponse: %.300s", c.method, c.url, c.answer)
	}
	return e
}

func decode[T any](t testing.TB, c *call) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(c.answer, &v); err != nil {
		t.Fatalf("%s %s: %v in %.300q", c.method, c.url, err, c.answer)
	}
	return v
}

// tlsClient calls the peer listeners of a network as from, or with no certificate where
// from is nil. It checks nothing of the server; the tests of that use api.Client.
func tlsClient(t testing.TB, from *ebltest.Platform) *http.Client {
	config := &tls.Config{InsecureSkipVerify: true}
	if from != nil {
		config.Certificates = []tls.Certificate{from.TLS}
	}
	tr := &http.Transport{TLSClientConfig: config, DisableCompression: true, ExpectContinueTimeout: time.Minute}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// dry is a rate, a second, that gives nothing back while a test runs, however slow the machine.
const dry = 1e-6

// kept asks until the connection is kept for the next request, and says how many were not:
// net/http gives up one whose request it has not seen written within 50 ms, as on a busy machine.
func kept(t testing.TB, ask func(ctx context.Context) error) (lost int64, err error) {
	t.Helper()
	for ; lost < 100; lost++ {
		var put atomic.Bool
		err := ask(httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{PutIdleConn: func(err error) { put.Store(err == nil) }}))
		if put.Load() || err != nil && lost > 10 {
			return lost, err
		}
	}
	t.Fatal("no connection is kept")
	return lost, nil
}

// A local is the local listener of a platform.
type local struct {
	t   testing.TB
	url string
}

func newLocal(t testing.TB, p *ebltest.Platform, o api.Options) *local {
	t.Helper()
	if o.Metrics == nil {
		o.Metrics = api.NewMetrics(p.Node())
	}
	if o.MetricsToken == "" {
		o.MetricsToken = metricsToken
	}
	s := httptest.NewServer(api.NewLocalHandler(p.Node(), o))
	t.Cleanup(s.Close)
	return &local{t, s.URL}
}

// metricsToken opens /metrics of a test's local listener.
const metricsToken = "what reads metrics"

// metrics reads them.
func (l *local) metrics() string {
	l.t.Helper()
	return string(l.with(metricsToken, "GET", "/metrics", "").want(l.t, 200, 0).answer)
}

// as asks as user u; nil: without a token.
func (l *local) as(u *ebltest.User, method, path, body string) *call {
	l.t.Helper()
	c := call{method: method, url: l.url + path, header: http.Header{}}
	if u != nil {
		c.header.Set("Authorization", "Bearer "+u.Token)
	}
	if body != "" {
		c.body = []byte(body)
	}
	return do(l.t, http.DefaultClient, c)
}

// serveTLS serves h with config on loopback and gives its address.
func serveTLS(t testing.TB, h http.Handler, config *tls.Config, change func(*api.Server)) string {
	t.Helper()
	s := api.NewServer(h, config, nil, nil)
	if change != nil {
		change(s)
	}
	return serveAt(t, s, "127.0.0.1:0")
}

func serveAt(t testing.TB, s interface {
	ServeTLS(l net.Listener, certFile, keyFile string) error
	Close() error
}, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.ServeTLS(l, "", "") // ends by Close
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

func jsonString(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

func repeated(s string, n int) string { return strings.Repeat(s, n) }

// serveHTTP serves h without TLS and gives its address.
func serveHTTP(t testing.TB, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}
