package api_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"eblnode/api"
)

// http2Client calls with HTTP/2 and nothing else.
func http2Client(t *testing.T, cert tls.Certificate) *http.Client {
	t.Helper()
	var only http.Protocols
	only.SetHTTP2(true)
	tr := &http.Transport{Protocols: &only, TLSClientConfig: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// TestPeersMayUseHTTP2: the same handlers, the same refusals; who asks is who the connection
// is, on each of its streams.
func TestPeersMayUseHTTP2(t *testing.T) {
	p := newPair(t)
	client := http2Client(t, p.carrier.TLS)
	put := func(body []byte, header http.Header) (int, string, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.url, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for k, v := range header {
			req.Header[k] = v
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return 0, "", ""
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Error(err)
		}
		return resp.StatusCode, resp.Proto, string(text)
	}
	body := p.offer()
	status, proto, receipt := put(body, nil)
	if status != http.StatusOK || proto != "HTTP/2.0" {
		t.Fatalf("got %d over %s: %s", status, proto, receipt)
	}
	if c := do(t, p.client, call{method: "PUT", url: p.url, body: body}).want(t, 200, 0); string(c.answer) != receipt {
		t.Errorf("over HTTP/1.1 the receipt is another one")
	}
	for want, h := range map[int]http.Header{415: {"Content-Encoding": {"gzip"}}, 400: {"Api-Version": {"2"}}} {
		if got, _, _ := put(p.offer(), h); got != want {
			t.Errorf("with %v: got %d, want %d", h, got, want)
		}
	}
	bodies := make([][]byte, 12)
	for i := range bodies {
		bodies[i] = p.offer()
	}
	var wg sync.WaitGroup
	for _, b := range bodies {
		wg.Go(func() {
			if status, _, text := put(b, nil); status != http.StatusOK {
				t.Errorf("one of many streams: got %d: %s", status, text)
			}
		})
	}
	wg.Wait()
	stranger := p.carrier.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), bothUsages...)
	client = http2Client(t, stranger)
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, p.url, bytes.NewReader(p.offer()))
	if resp, err := client.Do(req); err == nil {
		t.Errorf("a stranger's certificate: got %d", resp.StatusCode)
		_ = resp.Body.Close()
	}
}

// TestTrustThatEndsEndsOnTheOpenConnection too, also while the certificate was just seen.
func TestTrustThatEndsEndsOnTheOpenConnection(t *testing.T) {
	p := newPair(t)
	do(t, p.client, call{method: "PUT", url: p.url, body: p.offer()}).want(t, 200, 0)
	if err := p.bank.Node().RemovePeer(t.Context(), "test", p.carrier.Domain()); err != nil {
		t.Fatal(err)
	}
	do(t, p.client, call{method: "PUT", url: p.url, body: p.offer()}).want(t, 403, 7103)
}

// TestClientResumesSessions and not with a certificate that it no longer shows.
func TestClientResumesSessions(t *testing.T) {
	p := newPair(t)
	n := p.bank.Node()
	var mu sync.Mutex
	var resumed []bool
	config := api.ServerTLS(api.Fixed(p.bank.TLS), n.Trust, n.Now)
	config.VerifyConnection = func(s tls.ConnectionState) error {
		mu.Lock()
		defer mu.Unlock()
		resumed = append(resumed, s.DidResume)
		return nil
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusNotFound)
	})
	addr := serveTLS(t, h, config, nil)
	shown := p.carrier.TLS
	source := func() (*tls.Certificate, error) { mu.Lock(); defer mu.Unlock(); c := shown; return &c, nil }
	u := mustEndpoint(t, "https://bank.example:"+addr[strings.LastIndexByte(addr, ':')+1:]+"/v1/transferblocks")
	client, err := api.NewClient(api.ClientConfig{Self: p.carrier.Domain(), Certificate: source, Peer: p.bank.Entry, Endpoint: u,
		DialContext: dialTo(addr), Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ask := func() {
		t.Helper()
		if err := client.Check(t.Context(), p.carrier.Domain()); err != nil {
			t.Fatal(err)
		}
	}
	ask()
	ask()
	other := p.carrier.Certificate(time.Now().Add(-time.Hour), time.Now().Add(time.Hour), bothUsages...)
	mu.Lock()
	shown = other
	mu.Unlock()
	ask()
	ask()
	mu.Lock()
	defer mu.Unlock()
	if want := []bool{false, true, false, true}; len(resumed) != 4 || [4]bool(resumed) != [4]bool(want) {
		t.Errorf("resumed: %v, want %v", resumed, want)
	}
}
