package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"

	"golang.org/x/crypto/ocsp"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

type testClock struct{ ahead atomic.Int64 }

func (c *testClock) now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

// newOCSP has patience unless the test is about a time-out.
func newOCSP(t *testing.T, cfg OCSPConfig) *OCSP {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = patience
	}
	if cfg.Resolver == nil {
		cfg.Resolver = newResolver(t, Config{Resolvers: []string{"127.0.0.1"}, AllowNetworks: loopback})
	}
	o, err := NewOCSP(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.Close)
	return o
}

// A liar is a responder that answers what it is told to.
type liar struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Pointer[func(w http.ResponseWriter, r *http.Request)]
}

func newLiar(t *testing.T) *liar {
	l := &liar{}
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.asked.Add(1)
		_, _ = io.Copy(io.Discard, r.Body) // else the server does not see that the client went away
		(*l.answer.Load())(w, r)
	}))
	t.Cleanup(l.Close)
	return l
}

func (l *liar) does(f func(w http.ResponseWriter, r *http.Request)) { l.answer.Store(&f) }

func (l *liar) says(der []byte) {
	l.does(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/ocsp-response")
		_, _ = w.Write(der)
	})
}

// TestResponderThatMisbehaves: what is no answer leaves the state unknown, soon, and a good
// answer that was kept serves on until its end.
func TestResponderThatMisbehaves(t *testing.T) {
	ca := catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert, Responder: l.URL}
	good := func(change ...func(*catest.Single)) []byte {
		s := catest.Single{Cert: leaf, Issuer: ca.Cert}
		for _, f := range change {
			f(&s)
		}
		return catest.Answer{Singles: []catest.Single{s}, By: ca}.DER(t)
	}
	elsewhere := newLiar(t)
	elsewhere.says(good())
	key := catest.NewKey(t)
	self := &catest.Authority{Cert: ca.Issue(t, key), Key: key}
	for _, c := range []struct {
		name string
		does func(w http.ResponseWriter, r *http.Request)
		want string
	}{
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); _, _ = w.Write(good()) }, "it answered 500"},
		{"404", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, "it answered 404"},
		{"HTML", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "<html>sign in to the hotel's network</html>")
		}, "asn1"},
		{"nothing", func(http.ResponseWriter, *http.Request) {}, "asn1"},
		{"10 MB", func(w http.ResponseWriter, _ *http.Request) {
			for range 10 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, "over the limit"},
		{"try later", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(ocsp.TryLaterErrorResponse) }, "try later"},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "it answered 302"},
		{"a connection that is cut", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = w.Write(good()[:100])
		}, "EOF"},
		{"a byte now and then", func(w http.ResponseWriter, r *http.Request) {
			for _, b := range good() {
				if _, err := w.Write([]byte{b}); err != nil {
					return
				}
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		}, "deadline"},
		{"silence", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "deadline"},
		{"unknown", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(good(func(s *catest.Single) { s.Status = catest.Unknown }))
		}, "does not know"},
		{"an answer of last week", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(good(func(s *catest.Single) {
				s.ThisUpdate, s.NextUpdate = time.Now().AddDate(0, 0, -7), time.Now().AddDate(0, 0, -1)
			}))
		}, "good until"},
		{"an answer about another certificate", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(good(func(s *catest.Single) { s.Serial = big.NewInt(5) }))
		}, "no response matching"},
		{"the word of a certificate of the same authority", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert}}, By: self}.DER(t))
		}, "OCSPSigning"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := &testClock{}
			// Only who is slow is to run out of time.
			ill := patience
			if c.want == "deadline" {
				ill = 300 * time.Millisecond
			}
			o := newOCSP(t, OCSPConfig{Timeout: ill, Now: clk.now})
			l.does(c.does)
			got, err := o.Ask(t.Context(), []identity.Question{q})
			if err == nil || !strings.Contains(err.Error(), c.want) || got != nil {
				t.Fatalf("got %d answers and %v, want an error with %q", len(got), err, c.want)
			}
			// It is not asked again at once, by however many.
			if _, err := o.Ask(t.Context(), []identity.Question{q}); err == nil || o.Stats().Asked != 1 {
				t.Errorf("at once again: got %v and %d more questions, want the error and none", err, o.Stats().Asked-1)
			}
			clk.ahead.Store(int64(ocspPause + patience))
			l.says(good())
			o.cfg.Timeout = patience
			if _, err := o.Ask(t.Context(), []identity.Question{q}); err != nil {
				t.Fatalf("after a while, well: %v", err)
			}
			// It answers no more: what is kept serves until nextUpdate, an hour from now.
			l.does(c.does)
			o.cfg.Timeout = ill
			clk.ahead.Store(int64(50 * time.Minute))
			o.cfg.MaxAge = time.Minute
			if got, err := o.Ask(t.Context(), []identity.Question{q}); err != nil || len(got) != 1 {
				t.Errorf("with a good answer kept: got %v, want that", err)
			}
			clk.ahead.Store(int64(62 * time.Minute))
			if _, err := o.Ask(t.Context(), []identity.Question{q}); err == nil {
				t.Error("after its nextUpdate: got an answer, want none")
			}
		})
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
	t.Run("refused", func(t *testing.T) {
		dead, _ := net.Listen("tcp", "127.0.0.1:0")
		addr := dead.Addr().String()
		_ = dead.Close()
		q := q
		q.Responder = "http://" + addr
		if _, err := newOCSP(t, OCSPConfig{}).Ask(t.Context(), []identity.Question{q}); err == nil {
			t.Error("got an answer of nobody")
		}
	})
}

// TestResponderInOurOwnNetworkIsNotDialled: the certificate of a peer names its address.
func TestResponderInOurOwnNetworkIsNotDialled(t *testing.T) {
	ca := catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t))
	l.says(catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert}}, By: ca}.DER(t))
	o := newOCSP(t, OCSPConfig{Resolver: newResolver(t, Config{Resolvers: []string{"127.0.0.1"}})})
	_, err := o.Ask(t.Context(), []identity.Question{{Certificate: leaf, Issuer: ca.Cert, Responder: l.URL}})
	if err == nil || KindOf(err) != Forbidden || l.asked.Load() != 0 {
		t.Errorf("got %v and %d questions, want it forbidden and none", err, l.asked.Load())
	}
}

// TestAnswersAreKept: one question for many callers, none while it is fresh, and what is
// newer wins, whatever is brought up again.
func TestAnswersAreKept(t *testing.T) {
	ca := catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert, Responder: l.URL}
	clk := &testClock{}
	o := newOCSP(t, OCSPConfig{Now: clk.now, MaxAge: 10 * time.Minute})
	at := func(ago time.Duration, status catest.Status) []byte {
		return catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert, Status: status,
			ThisUpdate: time.Now().Add(-ago), NextUpdate: time.Now().Add(5 * time.Hour)}}, By: ca, Produced: time.Now().Add(-ago)}.DER(t)
	}
	first := at(time.Hour, catest.Good)
	release := make(chan struct{})
	l.does(func(w http.ResponseWriter, _ *http.Request) { <-release; _, _ = w.Write(first) })
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			if _, err := o.Ask(t.Context(), []identity.Question{q}); err != nil {
				t.Error(err)
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	close(release)
	wait.Wait()
	if n := l.asked.Load(); n != 1 {
		t.Errorf("twenty callers: asked %d times, want once", n)
	}
	revoked := at(30*time.Minute, catest.Revoked)
	l.says(revoked)
	if got, err := o.Ask(t.Context(), []identity.Question{q}); err != nil || !bytes.Equal(got[0], first) || l.asked.Load() != 1 {
		t.Errorf("while it is fresh: got %v and %d questions, want the answer that is kept", err, l.asked.Load())
	}
	clk.ahead.Store(int64(11 * time.Minute))
	if got, err := o.Ask(t.Context(), []identity.Question{q}); err != nil || !bytes.Equal(got[0], revoked) || l.asked.Load() != 2 {
		t.Errorf("after MaxAge: got %v and %d questions, want the new answer", err, l.asked.Load())
	}
	// Somebody plays the older one.
	l.says(first)
	clk.ahead.Store(int64(22 * time.Minute))
	if got, err := o.Ask(t.Context(), []identity.Question{q}); err != nil || !bytes.Equal(got[0], revoked) {
		t.Errorf("an older answer again: got %v, want the newer one that is kept", err)
	}
	// While nobody answers what is kept serves until its nextUpdate, and no moment longer.
	l.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	for _, c := range []struct {
		ahead time.Duration
		ok    bool
	}{{5*time.Hour - time.Minute, true}, {5*time.Hour - time.Minute + time.Second, true}, {5*time.Hour + time.Minute, false}, {5*time.Hour + time.Minute + time.Second, false}} {
		clk.ahead.Store(int64(c.ahead))
		if got, err := o.Ask(t.Context(), []identity.Question{q}); (err == nil) != c.ok || c.ok && !bytes.Equal(got[0], revoked) {
			t.Errorf("%s after it was given: got %v, want what is kept: %t", c.ahead, err, c.ok)
		}
	}
	// Bounded.
	for i := range ocspCacheSize + 10 {
		o.mu.Lock()
		o.put(&ocspEntry{key: [32]byte{byte(i), byte(i >> 8), 1}})
		o.mu.Unlock()
	}
	if n := len(o.byKey); n != ocspCacheSize || o.order.Len() != n {
		t.Errorf("got %d answers kept, want %d", n, ocspCacheSize)
	}
	if _, err := o.Ask(t.Context(), make([]identity.Question, ocspAtOnce+1)); err == nil {
		t.Error("nine questions at once: got no error")
	}
}

// TestRevocationIsNotForgottenWhenItsAnswerEnds: what said revoked was good for an hour, and an
// older good answer is for days. Who cuts the way to the responder, or answers in its place,
// plays that one; so does who staples it.
func TestRevocationIsNotForgottenWhenItsAnswerEnds(t *testing.T) {
	ca := catest.New(t, "CA")
	l, clk := newLiar(t), &testClock{}
	leaf := ca.Issue(t, catest.NewKey(t), catest.TLS, catest.Responder(l.URL))
	answer := func(status catest.Status, from, until time.Duration) []byte {
		now := time.Now()
		return catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert, Status: status, ThisUpdate: now.Add(from), NextUpdate: now.Add(until)}},
			By: ca, Produced: now.Add(from)}.DER(t)
	}
	before := answer(catest.Good, -2*time.Hour, 5*24*time.Hour)
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	o := newOCSP(t, OCSPConfig{Now: clk.now})
	p := &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Anchors: []*x509.Certificate{ca.Cert}}}
	check := func(what string, ahead time.Duration, staple []byte, want identity.RevocationState) {
		t.Helper()
		clk.ahead.Store(int64(ahead))
		err := o.CheckTLS(t.Context(), p, tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}, OCSPResponse: staple})
		r, _ := errors.AsType[*identity.RevocationError](err)
		if want == 0 && err != nil || want != 0 && (r == nil || r.State != want) {
			t.Errorf("%s: got %v, want state %d", what, err, want)
		}
	}
	l.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	check("the older answer, before anybody said revoked", 0, before, 0)
	l.says(answer(catest.Revoked, -time.Minute, time.Hour))
	check("revoked", time.Minute, nil, identity.StateRevoked)
	l.says(before)
	check("the older answer, by somebody in the responder's place", 2*time.Hour, nil, identity.StateUnknown)
	l.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) })
	check("the older answer, stapled, and the way to the responder cut", 3*time.Hour, before, identity.StateUnknown)
	// A hold that was lifted: a newer answer counts.
	l.says(answer(catest.Good, 3*time.Hour, 24*time.Hour))
	check("a newer good answer", 4*time.Hour, nil, 0)
}

// TestWhoWaitsMayGiveUp and leaves the question to the next.
func TestWhoWaitsMayGiveUp(t *testing.T) {
	ca := catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t))
	q := identity.Question{Certificate: leaf, Issuer: ca.Cert, Responder: l.URL}
	release := make(chan struct{})
	l.does(func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = w.Write(catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert}}, By: ca}.DER(t))
	})
	o := newOCSP(t, OCSPConfig{})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := o.Ask(ctx, []identity.Question{q}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want it cancelled", err)
	}
	close(release)
	if _, err := o.Ask(t.Context(), []identity.Question{q}); err != nil || l.asked.Load() != 1 {
		t.Errorf("got %v after %d questions, want the answer to the first", err, l.asked.Load())
	}
}

// TestTLSRevocation: hard and soft, stapled and asked.
func TestTLSRevocation(t *testing.T) {
	ca := catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t), catest.TLS, catest.Responder(l.URL))
	answer := func(status catest.Status) []byte {
		return catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert, Status: status}}, By: ca}.DER(t)
	}
	down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		soft     bool
		certs    []*x509.Certificate
		anchors  []*x509.Certificate
		responds func(w http.ResponseWriter, r *http.Request)
		staple   []byte
		want     identity.RevocationState // 0: it may connect
		asked    int64
	}{
		{name: "good", anchors: []*x509.Certificate{ca.Cert}, want: 0, asked: 1},
		{name: "good, the issuer beside it", certs: []*x509.Certificate{leaf, ca.Cert}, asked: 1},
		{name: "good, stapled", anchors: []*x509.Certificate{ca.Cert}, responds: down, staple: answer(catest.Good)},
		{name: "revoked, stapled", anchors: []*x509.Certificate{ca.Cert}, responds: down, staple: answer(catest.Revoked), want: identity.StateRevoked},
		{name: "revoked, soft", soft: true, anchors: []*x509.Certificate{ca.Cert}, staple: answer(catest.Revoked), want: identity.StateRevoked},
		{name: "nobody answers, hard", anchors: []*x509.Certificate{ca.Cert}, responds: down, want: identity.StateUnknown, asked: 1},
		{name: "nobody answers, soft", soft: true, anchors: []*x509.Certificate{ca.Cert}, responds: down, asked: 1},
		{name: "a staple that does not hold is passed over", anchors: []*x509.Certificate{ca.Cert}, responds: down, staple: []byte("<html>"), want: identity.StateUnknown, asked: 1},
		{name: "issuer not known, hard", want: identity.StateUnknown},
		{name: "issuer not known, soft", soft: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Anchors: c.anchors}, OCSP: identity.OCSPPolicy{SoftTLS: c.soft}}
			l.says(answer(catest.Good))
			if c.responds != nil {
				l.does(c.responds)
			}
			if c.certs == nil {
				c.certs = []*x509.Certificate{leaf}
			}
			before := l.asked.Load()
			err := newOCSP(t, OCSPConfig{}).CheckTLS(t.Context(), p, tls.ConnectionState{PeerCertificates: c.certs, OCSPResponse: c.staple})
			r, _ := errors.AsType[*identity.RevocationError](err)
			if c.want == 0 && err != nil || c.want != 0 && (r == nil || r.State != c.want) {
				t.Errorf("got %v, want state %d", err, c.want)
			}
			if n := l.asked.Load() - before; n != c.asked {
				t.Errorf("asked %d times, want %d", n, c.asked)
			}
		})
	}
}

// TestOpenSSLResponder: good, revoked with reason and time, and unknown, signed by the
// authority itself, by one below a root, and by a responder that it appointed. One without
// id-kp-OCSPSigning is not believed, though OpenSSL answers with it.
func TestOpenSSLResponder(t *testing.T) {
	root := catest.New(t, "Root")
	sub := root.Sub(t, "Sub")
	key := catest.NewKey(t)
	impostor := &catest.Authority{Cert: root.Issue(t, key, catest.TLS), Key: key}
	revokedAt := time.Now().UTC().Add(-48 * time.Hour).Truncate(time.Second)
	for _, c := range []struct {
		name       string
		ca, signer *catest.Authority
		believed   bool
	}{
		{"by the root", root, root, true},
		{"by an authority below it", sub, sub, true},
		{"by its responder", root, root.Delegate(t), true},
		{"by a TLS certificate of the authority", root, impostor, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, stolen, superseded, unknown := c.ca.Issue(t, catest.NewKey(t)), c.ca.Issue(t, catest.NewKey(t)), c.ca.Issue(t, catest.NewKey(t)), c.ca.Issue(t, catest.NewKey(t))
			port := catest.FreePort(t)
			c.ca.OpenSSL(t, port, c.signer, catest.Listed{Cert: good}, catest.Listed{Cert: stolen, Revoked: revokedAt, Reason: "keyCompromise"},
				catest.Listed{Cert: superseded, Revoked: revokedAt, Reason: "superseded"})
			url := fmt.Sprintf("http://127.0.0.1:%d/", port)
			o := newOCSP(t, OCSPConfig{Timeout: 5 * time.Second})
			for _, x := range []struct {
				name string
				cert *x509.Certificate
				want identity.Status
				err  bool
			}{
				{"good", good, identity.Status{Good: true}, false},
				{"stolen", stolen, identity.Status{Reason: "keyCompromise", Revoked: revokedAt}, false},
				{"superseded", superseded, identity.Status{Reason: "superseded", Revoked: revokedAt}, false},
				{"unknown", unknown, identity.Status{}, true},
			} {
				q := identity.Question{Certificate: x.cert, Issuer: c.ca.Cert, Responder: url}
				got, err := o.Ask(t.Context(), []identity.Question{q})
				if (err != nil) != (x.err || !c.believed) {
					t.Errorf("%s: got %v, want an error: %t", x.name, err, x.err || !c.believed)
				}
				if err != nil {
					continue
				}
				s, err := q.Read(got[0], time.Now())
				if err != nil || s.Good != x.want.Good || s.Reason != x.want.Reason || !s.Revoked.Equal(x.want.Revoked) {
					t.Errorf("%s: got %+v and %v, want %+v", x.name, s, err, x.want)
				}
			}
		})
	}
}

// TestStapleIsPutBesideOurCertificate, and only an answer that holds.
func TestStapleIsPutBesideOurCertificate(t *testing.T) {
	ca := catest.New(t, "CA")
	l := newLiar(t)
	leaf := ca.Issue(t, catest.NewKey(t), catest.TLS, catest.Responder(l.URL))
	good := catest.Answer{Singles: []catest.Single{{Cert: leaf, Issuer: ca.Cert}}, By: ca}.DER(t)
	l.says(good)
	full := &tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Cert.Raw}}
	alone := &tls.Certificate{Certificate: [][]byte{leaf.Raw}}
	o := newOCSP(t, OCSPConfig{})
	if got := o.Staple(t.Context(), full); !bytes.Equal(got.OCSPStaple, good) || full.OCSPStaple != nil {
		t.Error("with the issuer beside it: got no staple, or a changed certificate")
	}
	if got := o.Staple(t.Context(), alone); got.OCSPStaple != nil {
		t.Error("without the issuer: got a staple")
	}
	l.says([]byte("<html>"))
	if got := newOCSP(t, OCSPConfig{}).Staple(t.Context(), full); got.OCSPStaple != nil {
		t.Error("no answer: got a staple")
	}
}

func TestOCSPConfigs(t *testing.T) {
	r := newResolver(t, Config{Resolvers: []string{"127.0.0.1"}})
	for _, c := range []OCSPConfig{{}, {Resolver: r, MaxAge: -1}, {Resolver: r, Timeout: -1}} {
		if _, err := NewOCSP(c); err == nil {
			t.Errorf("%+v: got no error", c)
		}
	}
}
