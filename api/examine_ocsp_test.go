package api_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestCheckTellsHowAPeersKeysStand: good, revoked, and a responder that does not answer.
func TestCheckTellsHowAPeersKeysStand(t *testing.T) {
	ca := catest.New(t, "Consortium")
	var say catest.Single
	var down error
	net := ebltest.NewTLS(t)
	carrier := net.Platform("carrier.example", ebltest.Configure(func(c *node.Config) {
		c.Revocation = func(_ context.Context, qs []identity.Question) (out [][]byte, err error) {
			for _, q := range qs {
				s := say
				s.Cert, s.Issuer = q.Certificate, q.Issuer
				out = append(out, catest.Answer{Singles: []catest.Single{s}, By: ca}.DER(t))
			}
			return out, down
		}
	}))
	bank := net.Platform("bank.example", ebltest.Under(ca, catest.Responder("http://ocsp.example/")))
	r, _ := newResolver(t, "127.0.0.0/8")
	e := newExaminer(t, carrier, r)
	check := func(state, words string) {
		t.Helper()
		got := states(e.Peer(t.Context(), bank.Entry))["OCSP"]
		if got.State != state || !strings.Contains(got.Found, words) || (state == "error") != (got.Cure != "") {
			t.Errorf("got %+v, want %s with %q", got, state, words)
		}
	}
	check("ok", "1 keys stand")
	say = catest.Single{Status: catest.Revoked, Reason: 1, RevokedAt: time.Now().Add(-time.Hour)}
	check("error", "stolen")
	say = catest.Single{}
	down = errors.New("the responder is on holiday")
	check("error", "on holiday")
	got := states(e.Peer(t.Context(), carrier.Entry)) // pinned, without a responder
	if got["OCSP"].State != "skipped" {
		t.Errorf("got %+v, want that nobody can be asked", got["OCSP"])
	}
}
