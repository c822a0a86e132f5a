package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
	"eblnode/testvectors"
)

// TestExchangesOverTheWire plays every exchange of the test vectors to a real node over
// mutual TLS: each answer, the same again where it must be, and what the node knows at
// the end. A refusal that nobody signed leaves every table as it was.
func TestExchangesOverTheWire(t *testing.T) {
	list, err := testvectors.LoadExchanges()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		t.Run(x.Name, func(t *testing.T) {
			options := settingsOf(x.Settings)
			if x.Trust == "receiver" {
				options = append(options, asReceiver(t)...)
			}
			w := newWire(t, x.Trust, options...)
			at, err := time.Parse(time.RFC3339, x.At)
			if err != nil {
				t.Fatal(err)
			}
			w.clock.Store(&at)
			for _, b := range x.Before {
				if b.Issuer != "" {
					w.receiver.User(b.Issuer, node.IssuerRole)
				}
			}
			for _, u := range x.Users {
				w.receiver.User(u)
			}
			for _, b := range x.Before {
				w.live(t, x, b)
			}
			var answers []string
			for i := range x.Requests {
				answers = append(answers, w.play(t, i, &x.Requests[i], answers))
			}
			w.checkHeld(t, x.Bills)
		})
	}
}

// settingsOf are the settings of an exchange, as those of a node.
func settingsOf(s testvectors.Settings) []ebltest.Option {
	list := []ebltest.Option{ebltest.Configure(func(c *node.Config) {
		c.Limits.Body = s.Body
		if s.VerdictsPerHour > 0 {
			c.VerdictsPerHour = s.VerdictsPerHour
		}
	})}
	if s.Tokens {
		list = append(list, ebltest.Tokens(nil))
	}
	if s.Burst > 0 {
		list = append(list, ebltest.Rated(s.Rate, s.Burst))
	}
	return list
}

// play makes one request and gives its signed answer, "" where there is none.
func (w *wire) play(t *testing.T, i int, r *testvectors.Request, before []string) string {
	t.Helper()
	c := call{method: r.Method, url: "https://" + w.receiver.Addr + "/v1/transferblocks", body: r.Bytes(), header: http.Header{}}
	if c.method == "" {
		c.method = http.MethodPut
	}
	if r.Path != "" {
		c.url = "https://" + w.receiver.Addr + r.Path
	}
	for name, value := range r.Headers {
		c.header.Set(name, value)
	}
	rows := dump(t, w.db)
	got := do(t, w.clients[mustHost(t, r.Sender)], c)
	want, signed := r.Answer, ""
	if got.status != want.Status {
		t.Fatalf("request %d (%s): got %d %.300s, want %d", i, r.Comment, got.status, got.answer, want.Status)
	}
	if want.Receipt != "" {
		signed = string(got.answer)
		h, err := envelope.ParseHash(want.Receipt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := envelope.OpenReceipt(got.answer, h, w.receiver.Entry, *w.clock.Load()); err != nil {
			t.Errorf("request %d (%s): no receipt over %s: %v", i, r.Comment, want.Receipt, err)
		}
	} else {
		signed = w.refusal(t, i, r, got)
	}
	if signed == "" && !slices.Equal(dump(t, w.db), rows) {
		t.Errorf("request %d (%s): refused without a signature, and something changed", i, r.Comment)
	}
	if want.SameAs != nil && signed != before[*want.SameAs] {
		t.Errorf("request %d (%s): got %s, want the answer of request %d: %s", i, r.Comment, signed, *want.SameAs, before[*want.SameAs])
	}
	return signed
}

func (w *wire) refusal(t *testing.T, i int, r *testvectors.Request, c *call) string {
	t.Helper()
	want, e := r.Answer, c.errorResponse(t)
	if got := e.Errors[0]; got.Code != want.Code || got.Text != want.Text || (e.Rejection != "") != (want.ResponseCode != "") {
		t.Errorf("request %d (%s): got %d %s, signed %t, want %+v", i, r.Comment, got.Code, got.Text, e.Rejection != "", want)
		return e.Rejection
	}
	if e.Rejection == "" {
		return ""
	}
	rej, err := envelope.OpenRejection(e.Rejection, w.receiver.Entry, *w.clock.Load())
	if err != nil {
		t.Errorf("request %d (%s): the rejection: %v", i, r.Comment, err)
		return e.Rejection
	}
	last := ebltest.Parse(t, r.Bytes()).Last()
	if string(rej.Code) != want.ResponseCode || rej.Reason != want.Text || rej.EnvelopeHash.String() != want.EnvelopeHash ||
		!rej.Answers(last, mustHost(t, r.Sender), w.receiver.Domain()) {
		t.Errorf("request %d (%s): the rejection says %+v, want %+v", i, r.Comment, rej, want)
	}
	return e.Rejection
}

// checkHeld: every bill that the receiver knows, and no other.
func (w *wire) checkHeld(t *testing.T, want []testvectors.Held) {
	t.Helper()
	for _, held := range want {
		h, err := envelope.ParseHash(held.DocumentHash)
		if err != nil {
			t.Fatal(err)
		}
		v := w.receiver.View(h)
		got := testvectors.Held{DocumentHash: v.Document.String(), Possessor: v.Possessor, Status: string(v.Status), Head: v.Head.String(), Length: v.Length}
		if got != held {
			t.Errorf("bill: got %+v, want %+v", got, held)
		}
	}
	if got := query(t, w.db, "SELECT count(*) FROM bills"); strings.Join(got, "") != string(rune('0'+len(want))) {
		t.Errorf("bills: got %s, want %d", got, len(want))
	}
}

func mustHost(t *testing.T, s string) identity.Host {
	t.Helper()
	h, err := identity.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}
