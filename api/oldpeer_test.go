package api_test

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestReceiverOf2022 sends to a server that knows PUT /v1/transferblocks and nothing else:
// no keys under .well-known, receipts in quotes with escapes, in the way of a careless
// JSON encoder.
func TestReceiverOf2022(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier := w.Platform("carrier.example")
	old := w.Platform("old.example", ebltest.Manual())
	alice := carrier.User("alice")
	doc := carrier.Issue(alice.ID)
	old.Stop()
	mux := http.NewServeMux()
	mux.HandleFunc("PUT /v1/transferblocks", func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		b, err := envelope.Parse(body, envelope.Limits{})
		if err != nil {
			t.Error(err)
			return
		}
		receipt, err := envelope.SignReceipt(b.Last().Claimed, old.Signer, time.Now())
		if err != nil {
			t.Error(err)
			return
		}
		quoted, _ := json.Marshal(receipt)
		rw.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(rw, strings.Replace(string(quoted), `"e`, `"\u0065`, 1))
	})
	_, port, err := net.SplitHostPort(old.Addr)
	if err != nil {
		t.Fatal(err)
	}
	s := api.NewServer(mux, api.ServerTLS(api.Fixed(old.TLS), carrier.Node().Trust, time.Now), nil, nil)
	s.TLSConfig.VerifyConnection = nil
	serveAt(t, s, "127.0.0.1:"+port)
	done := carrier.Move(alice, doc, envelope.Transfer, "bob@old.example")
	if x := carrier.Settled(done.Transfer, node.Accepted); x.SettledBy != "receipt" {
		t.Errorf("settled by %q, want the receipt", x.SettledBy)
	}
}
