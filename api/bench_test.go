package api_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// BenchmarkPutTransferblock is one peer that sends one block after the other: the peer handler
// and all behind it, without a connection.
func BenchmarkPutTransferblock(b *testing.B) {
	for _, entries := range []int{1, 20} {
		b.Run(fmt.Sprintf("n=%d", entries), func(b *testing.B) {
			h, puts := newPuts(b, entries, b.N)
			b.ReportAllocs()
			b.ResetTimer()
			for _, p := range puts {
				put(b, h, p)
			}
		})
	}
}

// An offered block is a request and where its answer goes.
type offered struct {
	request *http.Request
	answer  *httptest.ResponseRecorder
}

// newPuts are requests as net/http hands them over: each with another bill of so many entries,
// from a peer that the certificate of the connection names. The handler logs and counts as it
// does when it is in use.
func newPuts(t testing.TB, entries, count int) (http.Handler, []offered) {
	t.Helper()
	w := ebltest.New(t)
	many := ebltest.Configure(func(c *node.Config) { c.VerdictsPerHour = 1 << 30 })
	from, to := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual(), many)
	bob := to.User("bob")
	h := api.NewPeerHandler(to.Node(), api.Options{Log: slog.New(slog.NewJSONHandler(io.Discard, nil)), Metrics: api.NewMetrics(to.Node()), Rate: 1 << 20, Burst: 1 << 20})
	var puts []offered
	for range count {
		body := from.OfferOf(bob.ID, entries)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPut, "https://b.example/v1/transferblocks", bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{from.TLS.Leaf}}
		answer := httptest.NewRecorder()
		answer.Body.Grow(4096)
		puts = append(puts, offered{r, answer})
	}
	return h, puts
}

// put makes the request, which must be answered with a receipt.
func put(t testing.TB, h http.Handler, p offered) {
	t.Helper()
	h.ServeHTTP(p.answer, p.request)
	if p.answer.Code != http.StatusOK || strings.Count(p.answer.Body.String(), ".") != 2 {
		t.Fatalf("got %d and %s, want a receipt", p.answer.Code, p.answer.Body)
	}
}
