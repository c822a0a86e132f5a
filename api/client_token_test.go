package api_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// lockedBuffer is a log that several write to.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Two nodes that both ask for tokens move a bill to and fro, each restarted in between. No
// log, at its lowest level, holds a token or an assertion.
func TestTwoNodesWithTokensThroughRestartsOfEach(t *testing.T) {
	log := &lockedBuffer{}
	logged := ebltest.Configure(func(c *node.Config) {
		c.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example", ebltest.Tokens(nil), logged), net.Platform("bank.example", ebltest.Tokens(nil), logged)
	alice, bob := carrier.User("alice"), bank.User("bob")
	doc := carrier.Issue(alice.ID)
	carrier.Settled(carrier.Move(alice, doc, "TRNS", bob.ID).Transfer, "accepted")
	carrier.Restart()
	bank.Settled(bank.Move(bob, doc, "TRNS", alice.ID).Transfer, "accepted")
	bank.Restart()
	carrier.Settled(carrier.Move(alice, doc, "TRNS", bob.ID).Transfer, "accepted")
	carrier.Restart()
	bank.Restart()
	bank.Settled(bank.Move(bob, doc, "SURR", carrier.User("issuer", "issuer").ID).Transfer, "accepted")
	if _, err := carrier.Node().Honour(t.Context(), carrier.User("issuer").User, doc, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	// The verdict is fetched with a token too.
	waitFor(t, "the bank to have the verdict", func() bool { return bank.View(doc).Control == node.Voided })
	text := log.String()
	if strings.Contains(text, "eyJ") || !strings.Contains(text, "/oauth2/token") {
		t.Errorf("the log holds a token, or nothing about the token endpoint:\n%s", text)
	}
	if n := strings.Count(text, "route=/oauth2/token"); n > 6 {
		t.Errorf("got %d requests for tokens, want one a sender and start", n)
	}
}

// A transfer that is in doubt goes on when the peer asks for tokens that it did not ask
// for before, and nothing is sealed for a peer that gives us none.
func TestPeerThatBeginsToAskForTokens(t *testing.T) {
	net := ebltest.NewTLS(t)
	// A block that is large: the peer must say no before it is sent.
	carrier := net.Platform("carrier.example", ebltest.Manual())
	bank := net.Platform("bank.example")
	alice, bob := carrier.User("alice"), bank.User("bob")
	moved, err := carrier.Node().Issue(t.Context(), carrier.User("issuer", "issuer").User, node.IssueOrder{To: []byte(`"` + alice.ID + `"`),
		Document: []byte(`{"isToOrder":true,"carrierCode":"MAEU","transportDocumentReference":"LARGE","x":"` + repeated("x", 1<<20) + `"}`)})
	if err != nil {
		t.Fatal(err)
	}
	id := carrier.Move(alice, moved.Document, "TRNS", bob.ID).Transfer
	bank.Stop()
	bank.Change(ebltest.Tokens(nil))
	bank.Start()
	t.Cleanup(carrier.Run())
	carrier.Settled(id, "accepted")
}

func TestNothingIsSealedForAPeerThatGivesNoToken(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.Tokens(nil))
	alice, bob := carrier.User("alice"), bank.User("bob")
	doc := carrier.Issue(alice.ID)
	// To the bank the carrier goes by another name than it thinks.
	entry := *carrier.Entry
	entry.OAuth.ClientID = "somebody"
	if err := bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	_, err := carrier.Node().Move(t.Context(), alice.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: []byte(`"` + bob.ID + `"`)})
	if err == nil || node.AsError(err).Text != node.TextPeerNotReady || !strings.Contains(err.Error(), "invalid_client") || strings.Contains(err.Error(), "eyJ") {
		t.Fatalf("got %v, want peerNotReady with what the token endpoint said", err)
	}
	if v := carrier.View(doc); v.Control != node.Held || v.Transfer != nil {
		t.Errorf("got control %s, want held and no transfer", v.Control)
	}
}

// A desk is a peer of the test's own making that asks for tokens.
type desk struct {
	t      *testing.T
	issuer string
	at     string // its token endpoint
	life   int

	granted, refused, asked, answered atomic.Int64
	good                              atomic.Value // the token that is taken; "" none
	audience                          atomic.Value // of the last assertion
	change                            func(w http.ResponseWriter, r *http.Request) bool
}

func (d *desk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.change != nil && d.change(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/oauth-authorization-server":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": d.issuer, "token_endpoint": d.at})
	case "/oauth2/token":
		if err := r.ParseForm(); err != nil {
			d.t.Error(err)
		}
		j, err := envelope.ParseJWT(r.PostForm.Get("client_assertion"))
		if err != nil {
			d.t.Error(err)
		}
		d.audience.Store(strings.Join(j.Claims.Audience, " "))
		token := fmt.Sprint("token-", d.granted.Add(1))
		d.good.Store(token)
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": token, "token_type": "bearer", "expires_in": d.life})
	default:
		d.asked.Add(1)
		if good := d.good.Load(); good == nil || r.Header.Get("Authorization") != "Bearer "+good.(string) {
			d.refused.Add(1)
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
			w.WriteHeader(401)
			return
		}
		d.answered.Add(1)
		w.WriteHeader(404)
	}
}

// newDeskClient is a client of such a peer.
func newDeskClient(t *testing.T, now func() time.Time, log ...*slog.Logger) (*api.Client, *desk, *ebltest.Platform) {
	t.Helper()
	net := ebltest.New(t)
	us, them := net.Platform("us.example"), net.Platform("them.example")
	d := &desk{t: t, issuer: "https://them.example", life: 300}
	addr := serveTLS(t, d, &tls.Config{Certificates: []tls.Certificate{them.TLS}, ClientAuth: tls.RequireAnyClientCert}, nil)
	d.at = "https://them.example/oauth2/token"
	tokens := &api.TokenConfig{Self: us.Entry, Sign: us.Node().SignToken}
	if len(log) > 0 {
		tokens.Log = log[0]
	}
	c, err := api.NewClient(api.ClientConfig{Self: us.Domain(), Certificate: api.Fixed(us.TLS), Peer: them.Entry,
		Endpoint: mustEndpoint(t, "https://them.example/v1/transferblocks"), DialContext: dialTo(addr), Now: now, Timeout: 30 * time.Second,
		Tokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, d, us
}

func TestTokenIsKeptRenewedBeforeItsEndAndOnceOnA401(t *testing.T) {
	var ahead atomic.Int64
	began := time.Now()
	c, d, us := newDeskClient(t, func() time.Time { return began.Add(time.Duration(ahead.Load()) * time.Second) })
	ask := func() error { _, err := c.Verdict(t.Context(), us.Domain(), envelope.Hash{}); return err }
	mustGrant := func(granted, refused int64) {
		t.Helper()
		if err := ask(); node.AsError(err).Code != node.NotFound {
			t.Fatalf("got %v, want the peer's 404", err)
		}
		if d.granted.Load() != granted || d.refused.Load() != refused {
			t.Errorf("got %d tokens and %d refusals, want %d and %d", d.granted.Load(), d.refused.Load(), granted, refused)
		}
	}
	mustGrant(1, 1) // the first 401 says that a token is wanted
	mustGrant(1, 1)
	ahead.Store(269)
	mustGrant(1, 1)
	ahead.Store(271) // less than 30 s to its end
	mustGrant(2, 1)
	d.good.Store("taken away")
	mustGrant(3, 2)

	// Many at once ask for one token.
	d.good.Store("taken away")
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { _ = ask() })
	}
	group.Wait()
	if got := d.granted.Load(); got > 5 {
		t.Errorf("got %d tokens, want 4 or 5", got)
	}

	// A peer that takes no token at all gets one request more, and no other.
	before := d.asked.Load()
	d.change = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/v1/") {
			d.good.Store("nothing")
		}
		return false
	}
	err := ask()
	if node.AsError(err).Code != node.Unauthorized || strings.Contains(err.Error(), "token-") {
		t.Errorf("got %v, want 401 without the token", err)
	}
	if got := d.asked.Load() - before; got != 2 {
		t.Errorf("got %d requests, want 2", got)
	}
}

// OAU-17, and the rest of what an authorization server may try.
func TestAuthorizationServerThatLies(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(d *desk)
		words  string
	}{
		{"another issuer's metadata", func(d *desk) { d.issuer = "https://honest.example" }, "another issuer"},
		{"a token endpoint without TLS", func(d *desk) { d.at = "http://them.example/oauth2/token" }, "https"},
		{"a token endpoint by number", func(d *desk) { d.at = "https://169.254.169.254/token" }, "169.254"},
		{"no token endpoint", func(d *desk) { d.at = "" }, "no token endpoint"},
		{"no metadata", func(d *desk) {
			d.change = func(w http.ResponseWriter, r *http.Request) bool {
				if strings.HasPrefix(r.URL.Path, "/.well-known/") {
					w.WriteHeader(404)
					return true
				}
				return false
			}
		}, "404"},
		{"an issuer that draws on our terminal", func(d *desk) { d.issuer = "https://x\r\n\x1b[2J.example" }, "https://x'''[2J.example"},
		{"an error that draws on our terminal", func(d *desk) {
			d.reply("/oauth2/token", 400, "", `{"error":"x\u001b[2J","error_description":"a\r\nb"}`)
		}, "x'[2J: a''b"},
		{"a redirect", func(d *desk) { d.reply("/oauth2/token", 307, "https://attacker.example/", "") }, "redirect"},
		{"an error that quotes us", func(d *desk) {
			d.reply("/oauth2/token", 400, "", `{"error":"invalid_client","error_description":"eyJ is bad"}`)
		}, "invalid_client"},
		{"a page", func(d *desk) { d.reply("/oauth2/token", 200, "", "<html>") }, "no token"},
		{"another type of token", func(d *desk) {
			d.reply("/oauth2/token", 200, "", `{"access_token":"x","token_type":"DPoP","expires_in":60}`)
		}, "Bearer"},
		{"a token with a line end", func(d *desk) {
			d.reply("/oauth2/token", 200, "", `{"access_token":"x\r\nX: y","token_type":"Bearer","expires_in":60}`)
		}, "not one that a header can carry"},
		{"a token of a megabyte", func(d *desk) {
			d.reply("/oauth2/token", 200, "", `{"access_token":"`+repeated("x", 1<<20)+`","token_type":"Bearer"}`)
		}, "limit"},
		{"a member twice", func(d *desk) {
			d.reply("/oauth2/token", 200, "", `{"access_token":"x","access_token":"y","token_type":"Bearer"}`)
		}, "no token"},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, d, us := newDeskClient(t, nil)
			c.change(d)
			_, err := client.Verdict(t.Context(), us.Domain(), envelope.Hash{})
			if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "eyJ") {
				t.Errorf("got %v, want %q and no token", err, c.words)
			}
		})
	}
}

// A peer that wants tokens and does not say where to get them: somebody has to mend that, so
// it is a warning, once; when it came well and went wrong again, once more.
func TestPeerThatWantsTokensAndHasNoMetadataIsWarnedOf(t *testing.T) {
	log := &lockedBuffer{}
	c, d, us := newDeskClient(t, nil, slog.New(slog.NewTextHandler(log, nil)))
	var published atomic.Bool
	d.change = func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") && !published.Load() {
			w.WriteHeader(404)
			return true
		}
		return false
	}
	for _, step := range []struct {
		published bool
		warnings  int
	}{{false, 1}, {false, 1}, {true, 1}, {false, 2}} {
		published.Store(step.published)
		d.good.Store("taken away")
		_, err := c.Verdict(t.Context(), us.Domain(), envelope.Hash{})
		if _, is := errors.AsType[*oauth.NoMetadata](err); is == step.published {
			t.Errorf("got %v, want that there are no metadata: %t", err, !step.published)
		}
		if got := strings.Count(log.String(), "level=WARN msg=\"a peer wants access tokens and does not say where to get them"); got != step.warnings {
			t.Errorf("got %d warnings, want %d:\n%s", got, step.warnings, log.String())
		}
	}
	if got := log.String(); !strings.Contains(got, "peer=them.example") || !strings.Contains(got, "https://them.example/.well-known/oauth-authorization-server") {
		t.Errorf("the warning says neither whose they are nor where they were looked for: %s", got)
	}
}

// reply answers one path.
func (d *desk) reply(path string, status int, location, body string) {
	d.change = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != path {
			return false
		}
		if location != "" {
			w.Header().Set("Location", location)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return true
	}
}

// OAU-17: metadata that name an honest platform's token endpoint lead nobody there: the
// server is not the peer, so no byte of the request is sent; and an assertion is addressed
// to the issuer of the trust entry, so it would be good nowhere else.
func TestHonestServersEndpointGetsNothing(t *testing.T) {
	client, d, us := newDeskClient(t, nil)
	if _, err := client.Verdict(t.Context(), us.Domain(), envelope.Hash{}); node.AsError(err).Code != node.NotFound || d.audience.Load() != "https://them.example" {
		t.Fatalf("got %v, assertion to %v", err, d.audience.Load())
	}
	honest := ebltest.New(t).Platform("honest.example")
	reached := &liar{}
	reached.say(saying(200, "application/json", `{"access_token":"x","token_type":"Bearer","expires_in":60}`))
	addr := serveTLS(t, reached, &tls.Config{Certificates: []tls.Certificate{honest.TLS}, ClientAuth: tls.RequireAnyClientCert}, nil)
	_, port, _ := strings.Cut(addr, ":")
	them := ebltest.New(t).Platform("them2.example")
	lying := &desk{t: t, issuer: "https://them2.example", life: 300, at: "https://localhost:" + port + "/oauth2/token"}
	lyingAddr := serveTLS(t, lying, &tls.Config{Certificates: []tls.Certificate{them.TLS}, ClientAuth: tls.RequireAnyClientCert}, nil)
	_, lyingPort, _ := strings.Cut(lyingAddr, ":")
	c, err := api.NewClient(api.ClientConfig{Self: us.Domain(), Certificate: api.Fixed(us.TLS), Peer: them.Entry, Endpoint: mustEndpoint(t, "https://localhost:"+lyingPort+"/v1/transferblocks"),
		Timeout: 30 * time.Second, Tokens: &api.TokenConfig{Self: us.Entry, Sign: us.Node().SignToken}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Verdict(t.Context(), us.Domain(), envelope.Hash{}); err == nil || !strings.Contains(err.Error(), "not them2.example") {
		t.Errorf("got %v, want that the server is not the peer", err)
	}
	if got := reached.asked.Load(); got != 0 {
		t.Errorf("the honest server got %d requests, want none", got)
	}
}

// OAU-17, by its trust entry: a peer that names the issuer of another platform as its own gets no
// assertion, which would be good there for whoever shows it.
func TestAnothersIssuerGetsNoAssertion(t *testing.T) {
	for issuer, asked := range map[string]bool{"": true, "https://as.them.example": true, "https://honest.example": false, "https://shared.example": false, "https://us.example": false} {
		net := ebltest.New(t)
		us, them, honest, other := net.Platform("us.example"), net.Platform("them.example"), net.Platform("honest.example"), net.Platform("other.example")
		entry, named := *them.Entry, *other.Entry
		entry.OAuth.Issuer, named.OAuth.Issuer = issuer, "https://shared.example"
		trust, err := identity.NewTrust(us.Entry, &entry, honest.Entry, &named)
		if err != nil {
			t.Fatal(err)
		}
		d := &desk{t: t, issuer: oauth.Issuer(&entry), life: 300, at: "https://them.example/oauth2/token"}
		addr := serveTLS(t, d, &tls.Config{Certificates: []tls.Certificate{them.TLS}, ClientAuth: tls.RequireAnyClientCert}, nil)
		c, err := api.NewClient(api.ClientConfig{Self: us.Domain(), Certificate: api.Fixed(us.TLS), Peer: &entry, Endpoint: mustEndpoint(t, "https://them.example/v1/transferblocks"),
			DialContext: dialTo(addr), Timeout: 5 * time.Second, Tokens: &api.TokenConfig{Self: us.Entry, Trust: func() *identity.Trust { return trust }, Sign: us.Node().SignToken}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Verdict(t.Context(), us.Domain(), envelope.Hash{})
		if got := d.granted.Load() > 0 && node.AsError(err).Code == node.NotFound; got != asked || !asked && (d.audience.Load() != nil || !strings.Contains(err.Error(), issuer)) {
			t.Errorf("issuer %q: asked for a token %t, assertion to %v, %v; want asked %t", issuer, got, d.audience.Load(), err, asked)
		}
		c.Close()
	}
}

// A body is not sent to a peer that says no to its header.
func TestLargeBodyIsNotSentBeforeTheTokenIsThere(t *testing.T) {
	c, d, us := newDeskClient(t, nil)
	var read atomic.Int64
	d.change = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut && r.Header.Get("Authorization") == "" {
			if r.Header.Get("Expect") != "100-continue" {
				t.Error("a large body came without a question")
			}
			w.Header().Set("WWW-Authenticate", "Bearer")
			w.WriteHeader(401)
			return true
		}
		if r.Method == http.MethodPut {
			n, _ := readFull(r, make([]byte, r.ContentLength))
			read.Add(int64(n))
		}
		return false
	}
	body := []byte(repeated("x", 4<<20))
	_, err := c.PutTransferblock(t.Context(), node.Request{Sender: us.Domain(), Body: body})
	if node.AsError(err).Code != node.NotFound || read.Load() != int64(len(body)) {
		t.Errorf("got %v and %d bytes read, want the 404 and the body once", err, read.Load())
	}
}
