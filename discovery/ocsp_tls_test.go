package discovery

import (
	"bufio"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"
)

// TestRespondersAreAskedInTheirOrder: one that is down, lies or hangs does not leave the
// state unknown where a certificate names another; all share the time of one question.
func TestRespondersAreAskedInTheirOrder(t *testing.T) {
	ca := catest.New(t, "CA")
	first, second := newLiar(t), newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert, Responder: first.URL, Others: []string{second.URL}}
	good := catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert}}, By: ca}.DER(t)
	for _, c := range []struct {
		name    string
		first   func(w http.ResponseWriter, r *http.Request)
		second  int64 // how often it is asked
		timeout time.Duration
	}{
		{"the first answers", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(good) }, 0, patience},
		{"the first is down", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, 1, patience},
		{"the first lies", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, 1, patience},
		{"the first hangs", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 1, 6 * time.Second},
	} {
		first.does(c.first)
		second.says(good)
		before := second.asked.Load()
		o := newOCSP(t, OCSPConfig{Timeout: c.timeout})
		if _, err := o.Ask(t.Context(), []identity.Question{q}); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if got := second.asked.Load() - before; got != c.second {
			t.Errorf("%s: the second was asked %d times, want %d", c.name, got, c.second)
		}
	}
	second.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	first.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	o := newOCSP(t, OCSPConfig{})
	if _, err := o.Ask(t.Context(), []identity.Question{q}); err == nil || !strings.Contains(err.Error(), first.URL) || !strings.Contains(err.Error(), second.URL) {
		t.Errorf("neither answers: got %v, want both named", err)
	}
	if s := o.Stats(); s.Asked != 1 || s.Refused[Unreachable] != 2 || s.Kept != 0 {
		t.Errorf("got %+v, want one question and two that could not be reached", s)
	}
}

// TestYesIsRememberedNoLongerThanItsAnswer: CheckTLS is called at each request of a connection
// and answers from memory, until a newer answer came, by whichever way, the answer's time is
// over, or the entry is another one.
func TestYesIsRememberedNoLongerThanItsAnswer(t *testing.T) {
	ca := catest.New(t, "CA")
	l, clock := newLiar(t), &testClock{}
	leaf := ca.Issue(t, catest.NewKey(t), catest.TLS, catest.Responder(l.URL))
	answer := func(status catest.Status, at time.Time) []byte {
		return catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert, Status: status, ThisUpdate: at, NextUpdate: at.Add(24 * time.Hour)}}, By: ca}.DER(t)
	}
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	entry := func() *identity.Platform {
		return &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Anchors: []*x509.Certificate{ca.Cert}}}
	}
	o := newOCSP(t, OCSPConfig{Now: clock.now})
	state := tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}}
	check := func(what string, p *identity.Platform, s tls.ConnectionState, want identity.RevocationState, asked int64) {
		t.Helper()
		err := o.CheckTLS(t.Context(), p, s)
		r, _ := errors.AsType[*identity.RevocationError](err)
		if want == 0 && err != nil || want != 0 && (r == nil || r.State != want) {
			t.Errorf("%s: got %v, want state %d", what, err, want)
		}
		if l.asked.Load() != asked {
			t.Errorf("%s: asked %d times, want %d", what, l.asked.Load(), asked)
		}
	}
	p, now := entry(), time.Now()
	l.says(answer(catest.Good, now.Add(-time.Minute)))
	check("first", p, state, 0, 1)
	check("again", p, state, 0, 1)
	if _, yes := o.remembers(p, state); !yes {
		t.Error("the yes is not remembered")
	}
	if _, yes := o.remembers(entry(), state); yes {
		t.Error("the yes is remembered of another entry")
	}
	clock.ahead.Store(int64(59 * time.Minute))
	check("an hour is not over", p, state, 0, 1)
	clock.ahead.Store(int64(61 * time.Minute))
	check("an hour is over", p, state, 0, 2)
	// Another connection brings the newer answer with it.
	stapled := state
	stapled.OCSPResponse = answer(catest.Revoked, now.Add(time.Minute))
	check("revoked, by a staple", p, stapled, identity.StateRevoked, 2)
	check("the first connection then", p, state, identity.StateRevoked, 2)
	if s := o.Stats(); s.Asked != 2 || s.Good != 2 || s.Kept != 1 {
		t.Errorf("got %+v, want two questions, two good answers and one kept", s)
	}
}

// TestNobodyToAskIsTold: a peer that counts by its authority alone, whose certificate names no
// responder, connects; the log and a counter say so, once a day and each time.
func TestNobodyToAskIsTold(t *testing.T) {
	ca := catest.New(t, "CA")
	now := time.Now()
	mute := ca.Issue(t, catest.NewKey(t), catest.TLS)
	week := ca.Issue(t, catest.NewKey(t), catest.TLS, catest.Valid(now.Add(-time.Hour), now.Add(24*time.Hour)))
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		leaf   *x509.Certificate
		change func(*identity.Platform)
		told   bool
	}{
		{"hard", mute, nil, true},
		{"soft", mute, func(p *identity.Platform) { p.OCSP.SoftTLS = true }, false},
		{"pinned as well", mute, func(p *identity.Platform) { p.TLS.Pins = [][32]byte{identity.SPKIPin(mute)} }, false},
		{"for a day, and that is passed over", week, func(p *identity.Platform) { p.OCSP.ShortLived = true }, false},
		{"for a day, and that is not", week, nil, true},
	} {
		var log strings.Builder
		p := &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Anchors: []*x509.Certificate{ca.Cert}}}
		if c.change != nil {
			c.change(p)
		}
		clock := &testClock{}
		o := newOCSP(t, OCSPConfig{Now: clock.now, Log: slog.New(slog.NewTextHandler(&log, nil))})
		for range 3 {
			if err := o.CheckTLS(t.Context(), p, tls.ConnectionState{PeerCertificates: []*x509.Certificate{c.leaf}}); err != nil {
				t.Fatal(err)
			}
			clock.ahead.Add(int64(2 * time.Hour))
		}
		lines, counted := strings.Count(log.String(), "nobody can be asked"), o.Stats().Nobody
		if c.told && (lines != 1 || counted != 3) || !c.told && (lines != 0 || counted != 0) {
			t.Errorf("%s: %d lines and %d counted; told: %t", c.name, lines, counted, c.told)
		}
	}
}

// TestRefusedAnswersAreCountedByRule: what an operator sees says what is wrong with a
// responder.
func TestRefusedAnswersAreCountedByRule(t *testing.T) {
	ca, other := catest.New(t, "CA"), catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert, Responder: l.URL}
	now := time.Now()
	single := func(s catest.Single) catest.Answer {
		s.Cert, s.Issuer = leaf, ca.Cert
		return catest.Answer{Singles: []catest.Single{s}, By: ca}
	}
	elsewhere := single(catest.Single{})
	elsewhere.Singles[0].Issuer = other.Cert
	weak, critical, self := single(catest.Single{}), single(catest.Single{}), single(catest.Single{})
	weak.Hash = crypto.SHA1
	critical.Critical = true
	key := catest.NewKey(t)
	self.By = &catest.Authority{Cert: ca.Issue(t, key), Key: key}
	for rule, a := range map[string]catest.Answer{
		"ended": single(catest.Single{ThisUpdate: now.Add(-48 * time.Hour), NextUpdate: now.Add(-24 * time.Hour)}), "ahead": single(catest.Single{ThisUpdate: now.Add(time.Hour)}),
		"unknown": single(catest.Single{Status: catest.Unknown}), "about": elsewhere, "policy": weak, "extension": critical, "signer": self,
	} {
		l.says(a.DER(t))
		o := newOCSP(t, OCSPConfig{})
		_, err := o.Ask(t.Context(), []identity.Question{q})
		if s := o.Stats(); err == nil || s.Refused[rule] != 1 || len(s.Refused) != 1 {
			t.Errorf("%s: got %v, counted %v", rule, err, s.Refused)
		}
	}
	l.does(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) })
	o := newOCSP(t, OCSPConfig{})
	if _, err := o.Ask(t.Context(), []identity.Question{q}); err == nil || o.Stats().Refused["unreadable"] != 1 {
		t.Errorf("HTML: got %v, counted %v", err, o.Stats().Refused)
	}
}

// TestConnectionThatIsClosedAtItsUse: a responder that keeps a connection and closes it just as
// the next question comes has not failed; it is asked again over a new one.
func TestConnectionThatIsClosedAtItsUse(t *testing.T) {
	ca := catest.New(t, "CA")
	leaf := ca.Issue(t, catest.NewKey(t))
	good := catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert}}, By: ca}.DER(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	var conns atomic.Int64
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			in := bufio.NewReader(conn)
			for answers := range 2 {
				req, err := http.ReadRequest(in)
				if err != nil || answers == 1 {
					break
				}
				if _, sent := req.Header["Idempotency-Key"]; sent {
					t.Error("the responder was sent an Idempotency-Key")
				}
				_, _ = io.Copy(io.Discard, req.Body)
				_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(good), good)
			}
			_ = conn.Close()
		}
	}()
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert, Responder: "http://" + listener.Addr().String()}
	o := newOCSP(t, OCSPConfig{MaxAge: time.Nanosecond})
	for i := range 3 {
		if _, err := o.Ask(t.Context(), []identity.Question{q}); err != nil || o.Stats().Refused[Unreachable] > 0 {
			t.Errorf("question %d: got %v and %v, want an answer each time", i, err, o.Stats().Refused)
		}
	}
	if got := conns.Load(); got < 2 || got > 3 {
		t.Errorf("got %d connections, want each closed at its second question", got)
	}
}
