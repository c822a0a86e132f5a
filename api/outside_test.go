package api_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

const sharedIssuer = "https://example.com/realms/ebl"

// A realm is an authorization server outside, with an RSA key as most have one.
type realm struct {
	t      testing.TB
	server *httptest.Server
	signer *identity.Signer
	client map[string]*identity.Platform // by client id
	keys   atomic.Value                  // the key set as it is served; "": it is down
	read   atomic.Int64                  // how often
	hang   atomic.Pointer[chan struct{}] // until it is closed the key set is not answered
	unbind bool
	now    func() time.Time
}

func newRealm(t testing.TB) *realm {
	t.Helper()
	host, err := identity.ParseHost("example.com")
	if err != nil {
		t.Fatal(err)
	}
	r := &realm{t: t, client: map[string]*identity.Platform{}, now: time.Now}
	r.signer, err = identity.GenerateSigner(host, identity.RS256, identity.CertificateSpec{Subject: "realm", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	r.keys.Store(`{"keys":[` + r.jwk(nil) + `]}`)
	r.server = httptest.NewUnstartedServer(r)
	r.server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	r.server.StartTLS()
	t.Cleanup(r.server.Close)
	return r
}

// jwk is the realm's key with other members; a ten year old certificate stands beside it.
func (r *realm) jwk(change map[string]any) string {
	r.t.Helper()
	key, err := jwk.FromRaw(r.signer.Key.Public)
	if err != nil {
		r.t.Fatal(err)
	}
	text, err := json.Marshal(key)
	if err != nil {
		r.t.Fatal(err)
	}
	m := map[string]any{}
	if err := json.Unmarshal(text, &m); err != nil {
		r.t.Fatal(err)
	}
	m["kid"], m["use"], m["alg"], m["x5c"] = r.signer.Key.ID, "sig", "RS256", []string{"MIIC"}
	for name, v := range change {
		m[name] = v
	}
	text, _ = json.Marshal(m)
	return string(text)
}

func (r *realm) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch q.URL.Path {
	case "/realms/ebl/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": sharedIssuer, "token_endpoint": sharedIssuer + "/token", "jwks_uri": sharedIssuer + "/certs",
			"authorization_endpoint": sharedIssuer + "/auth"})
	case "/realms/ebl/certs":
		r.read.Add(1)
		if until := r.hang.Load(); until != nil {
			select {
			case <-*until:
			case <-q.Context().Done():
			}
		}
		if text := r.keys.Load().(string); text != "" {
			_, _ = w.Write([]byte(text))
			return
		}
		w.WriteHeader(500)
	case "/realms/ebl/token":
		_ = q.ParseForm()
		j, err := envelope.ParseJWT(q.PostForm.Get("client_assertion"))
		p := r.client[j.Claims.Subject]
		if err == nil && p != nil {
			_, err = j.Verify(p, time.Now(), false)
		}
		if err != nil || p == nil || len(j.Claims.Audience) != 1 || j.Claims.Audience[0] != sharedIssuer {
			w.WriteHeader(401)
			_, _ = w.Write([]byte(`{"error":"invalid_client"}`))
			return
		}
		claims := r.claims(j.Claims.Subject, q.PostForm.Get("resource"))
		claims["scope"] = q.PostForm.Get("scope")
		if len(q.TLS.PeerCertificates) > 0 && !r.unbind {
			claims["cnf"] = map[string]string{"x5t#S256": oauth.Thumbprint(q.TLS.PeerCertificates[0])}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": r.token("JWT", claims), "token_type": "Bearer", "expires_in": 300})
	default:
		w.WriteHeader(404)
	}
}

// claims are those of a token as a realm makes it.
func (r *realm) claims(client, audience string) map[string]any {
	now := r.now()
	return map[string]any{"iss": sharedIssuer, "aud": []string{audience, "account"}, "sub": client, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"scope": []string{"ebl.transfer", "ebl.verdict"}}
}

func (r *realm) token(typ string, claims map[string]any) string {
	s, err := envelope.SignJWT(typ, claims, r.signer)
	if err != nil {
		r.t.Error(err)
	}
	return s
}

// outside is the realm as a platform knows it.
func (r *realm) outside(now func() time.Time, unbound bool) *oauth.Outside {
	r.t.Helper()
	pool := x509.NewCertPool()
	pool.AddCert(r.server.Certificate())
	cfg := oauth.OutsideConfig{Issuer: sharedIssuer, Anchors: pool, DialContext: dialTo(r.server.Listener.Addr().String()), Now: now, Unbound: unbound}
	o, err := oauth.NewOutside(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(o.Close)
	return o
}

// platform is one whose tokens the realm issues; its client id is short.
func (r *realm) platform(net *ebltest.Network, name string, now func() time.Time, unbound bool) *ebltest.Platform {
	r.t.Helper()
	if now == nil {
		now = time.Now
	}
	p := net.Platform(name+".example", ebltest.Configure(func(c *node.Config) { c.Now = now }), ebltest.Tokens(r.outside(now, unbound)),
		ebltest.WithEntry(func(e *identity.Platform) { e.OAuth = identity.OAuth{Issuer: sharedIssuer, ClientID: name} }))
	r.client[name] = p.Entry
	return p
}

func TestTransferWithTokensOfASharedIssuer(t *testing.T) {
	r := newRealm(t)
	net := ebltest.NewTLS(t)
	carrier, bank := r.platform(net, "carrier", nil, false), r.platform(net, "bank", nil, false)
	own := net.Platform("own.example", ebltest.Tokens(nil)) // has an authorization server of its own
	alice, bob := carrier.User("alice"), bank.User("bob")
	doc := carrier.Issue(alice.ID)
	carrier.Settled(carrier.Move(alice, doc, "TRNS", bob.ID).Transfer, "accepted")
	bank.Settled(bank.Move(bob, doc, "TRNS", own.User("eve").ID).Transfer, "accepted")
	// A node that issues no tokens has no token endpoint.
	do(t, tlsClient(t, carrier), call{method: "POST", url: "https://" + bank.Addr + "/oauth2/token"}).want(t, 404, 7104)
	do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", body: []byte(`{}`)}).want(t, 401, 7101)
}

func TestTokenOfTheSharedIssuerThatIsNotGoodHere(t *testing.T) {
	r, other := newRealm(t), newRealm(t)
	net := ebltest.NewTLS(t)
	carrier, bank := r.platform(net, "carrier", nil, false), r.platform(net, "bank", nil, false)
	cnf := map[string]string{"x5t#S256": oauth.Thumbprint(carrier.TLS.Leaf)}
	ask := func(token string) *call {
		return do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", header: bearer(token), body: []byte(`{}`)})
	}
	make := func(typ string, change map[string]any) string {
		c := r.claims("carrier", "https://bank.example")
		c["cnf"] = cnf
		for name, v := range change {
			if c[name] = v; v == nil {
				delete(c, name)
			}
		}
		return r.token(typ, c)
	}
	for _, typ := range []string{"", "JWT", "at+jwt", "application/at+jwt"} {
		ask(make(typ, nil)).want(t, 400, 7001)
	}
	ask(make("JWT", map[string]any{"client_id": "carrier", "sub": "service-account-7"})).want(t, 400, 7001)
	ask(make("JWT", map[string]any{"scope": "x ebl.transfer ebl.verdict"})).want(t, 400, 7001)
	for name, token := range map[string]string{
		"another issuer":      make("JWT", map[string]any{"iss": "https://example.com/realms/other"}),
		"another's signature": other.token("JWT", r.claims("carrier", "https://bank.example")),
		"the peer's own":      mustSign(t, carrier.Signer, "at+jwt", r.claims("carrier", "https://bank.example")),
		"for another":         make("JWT", map[string]any{"aud": "https://carrier.example"}),
		"another client":      make("JWT", map[string]any{"sub": "bank"}),
		"client id another":   make("JWT", map[string]any{"client_id": "bank"}),
		"its domain":          make("JWT", map[string]any{"sub": "carrier.example"}),
		"expired":             make("JWT", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}),
		"for a week":          make("JWT", map[string]any{"exp": time.Now().Add(7 * 24 * time.Hour).Unix()}),
		"not bound":           make("JWT", map[string]any{"cnf": nil}),
		"bound to another":    make("JWT", map[string]any{"cnf": map[string]string{"x5t#S256": "AAAA"}}),
		"a logout token":      make("logout+jwt", nil),
	} {
		if got := ask(token); got.status != 401 {
			t.Errorf("%s: got %d %.200s, want 401", name, got.status, got.answer)
		}
	}
	ask(make("JWT", map[string]any{"scope": "openid"})).want(t, 403, 7103)
}

// An issuer that binds nothing is taken only where the configuration says so; the client
// is then proved by the connection alone, and the token must still be that client's.
func TestUnboundTokensOnlyWhereTheConfigurationSaysSo(t *testing.T) {
	r := newRealm(t)
	r.unbind = true
	net := ebltest.NewTLS(t)
	carrier, bank, strict := r.platform(net, "carrier", nil, true), r.platform(net, "bank", nil, true), r.platform(net, "strict", nil, false)
	alice := carrier.User("alice")
	carrier.Settled(carrier.Move(alice, carrier.Issue(alice.ID), "TRNS", bank.User("bob").ID).Transfer, "accepted")
	_, err := carrier.Node().Move(t.Context(), alice.User, carrier.Issue(alice.ID), node.MoveOrder{Instruction: envelope.Transfer, To: []byte(`"` + strict.User("eve").ID + `"`)})
	if err == nil || !strings.Contains(err.Error(), "not bound") {
		t.Errorf("got %v, want a refusal for want of the binding", err)
	}
	token := r.token("JWT", r.claims("carrier", "https://bank.example"))
	do(t, tlsClient(t, strict), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", header: bearer(token), body: []byte(`{}`)}).want(t, 401, 7101)
}

// The keys of the issuer: the last good set serves while there is no other; a kid of
// somebody's invention costs the issuer at most one request a minute.
func TestKeysOfTheSharedIssuer(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := newRealm(t)
	r.now = now
	net := ebltest.NewTLS(t)
	carrier, bank := r.platform(net, "carrier", now, true), r.platform(net, "bank", now, true)
	n := 0
	ask := func(status int) *call {
		t.Helper()
		n++
		c := r.claims("carrier", "https://bank.example")
		c["n"] = n // so that no token was seen before
		return do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", header: bearer(r.token("JWT", c)), body: []byte(`{}`)}).want(t, status, 0)
	}
	good := r.keys.Load().(string)
	r.keys.Store("")
	if c := ask(503); c.got.Get("Retry-After") == "" {
		t.Error("503 without Retry-After")
	}
	r.keys.Store(good)
	ask(503) // not asked again within the minute
	if got := r.read.Load(); got != 1 {
		t.Errorf("the keys were read %d times, want once", got)
	}
	ahead.Add(int64(61 * time.Second))
	ask(400)
	ask(400)
	if got := r.read.Load(); got != 2 {
		t.Errorf("the keys were read %d times, want twice", got)
	}
	enc, okp := r.jwk(map[string]any{"kid": "enc", "use": "enc", "alg": "RSA-OAEP"}), `{"kty":"OKP","crv":"Ed25519","kid":"ed","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	// Each set that is refused has a key that would be good in another: nothing of it counts.
	fresh := newRealm(t)
	for _, c := range []struct{ name, keys string }{
		{"a kid twice", `{"keys":[` + fresh.jwk(nil) + `,` + fresh.jwk(map[string]any{"alg": "PS256"}) + `]}`},
		{"a kid twice, once for something else", `{"keys":[` + fresh.jwk(nil) + `,` + fresh.jwk(map[string]any{"use": "enc"}) + `]}`},
		{"a private key", `{"keys":[` + fresh.jwk(map[string]any{"d": "AAAA"}) + `]}`},
		{"a private key of another kind", `{"keys":[` + fresh.jwk(nil) + `,` + r.jwk(map[string]any{"kid": "enc", "use": "enc", "d": "AAAA"}) + `]}`},
		{"a symmetric key", `{"keys":[` + fresh.jwk(nil) + `,{"kty":"oct","kid":"s","k":"AAAA"}]}`},
		{"a key of 1024 bits", `{"keys":[` + fresh.jwk(nil) + `,` + smallJWK(t) + `]}`},
		{"no key", `{"keys":[]}`},
		{"no JSON", `<html>`},
		{"a member twice", `{"keys":[],"keys":[` + fresh.jwk(nil) + `]}`},
		{"300 KiB", `{"keys":[` + fresh.jwk(nil) + `],"x":"` + repeated("x", 300<<10) + `"}`},
		{"down", ""},
	} {
		r.keys.Store(c.keys)
		ahead.Add(int64(11 * time.Minute))
		before := r.read.Load()
		if ask(400); t.Failed() || r.read.Load() != before+1 {
			t.Fatalf("%s: the keys were read %d times", c.name, r.read.Load()-before)
		}
		own := r.signer
		r.signer = fresh.signer
		if ask(401); t.Failed() {
			t.Fatalf("%s: a key of the set counts", c.name)
		}
		r.signer = own
	}
	r.keys.Store(`{"keys":[` + enc + `,` + okp + `,` + r.jwk(nil) + `]}`)
	ahead.Add(int64(11 * time.Minute))
	ask(400)
	// The issuer changes its key: the new one is there within the minute, the old is not, nor
	// what was believed under it before.
	long := r.claims("carrier", "https://bank.example")
	long["exp"] = now().Add(time.Hour).Unix()
	believed := r.token("JWT", long)
	again := func(status int) {
		t.Helper()
		do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", header: bearer(believed), body: []byte(`{}`)}).want(t, status, 0)
	}
	again(400)
	again(400)
	next := newRealm(t)
	r.signer = next.signer
	r.keys.Store(`{"keys":[` + next.jwk(nil) + `]}`)
	ask(401)
	ahead.Add(int64(61 * time.Second))
	before := r.read.Load()
	ask(400)
	again(401)
	r.signer = newRealm(t).signer
	for range 5 {
		ask(401)
	}
	if got := r.read.Load() - before; got != 1 {
		t.Errorf("the keys were read %d times, want once", got)
	}
	// For a day the last good set serves, and not longer.
	r.signer = next.signer
	r.keys.Store("")
	ahead.Add(int64(23 * time.Hour))
	ask(400)
	ahead.Add(int64(2 * time.Hour))
	ask(503)
}

// An issuer that does not answer holds up nobody whose key is in its last good set; a key
// that is not there can be told neither good nor bad meanwhile, and one request to the issuer
// is for all.
func TestIssuerThatHangsHoldsUpNobody(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := newRealm(t)
	r.now = now
	net := ebltest.NewTLS(t)
	carrier, bank := r.platform(net, "carrier", now, true), r.platform(net, "bank", now, true)
	client := tlsClient(t, carrier)
	var n atomic.Int64
	ask := func(by *identity.Signer) (status int, retry string, took time.Duration) {
		c := r.claims("carrier", "https://bank.example")
		c["n"] = n.Add(1) // so that no token was seen before
		token, err := envelope.SignJWT("JWT", c, by)
		req, reqErr := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+bank.Addr+"/v1/transferblocks", strings.NewReader(`{}`))
		if err != nil || reqErr != nil {
			t.Error(err, reqErr)
			return 0, "", 0
		}
		req.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}
		begun := time.Now()
		res, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return 0, "", 0
		}
		_ = res.Body.Close()
		return res.StatusCode, res.Header.Get("Retry-After"), time.Since(begun)
	}
	if status, _, _ := ask(r.signer); status != 400 { // past check 2
		t.Fatalf("got %d", status)
	}
	stranger := newRealm(t).signer // made before: nobody waits longer than 10 s for the issuer
	until := make(chan struct{})
	r.hang.Store(&until)
	release := sync.OnceFunc(func() { close(until) })
	defer release()
	ahead.Store(int64(11 * time.Minute)) // what was read is old
	before := r.read.Load()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if status, _, took := ask(r.signer); status != 400 || took > 30*time.Second {
				t.Errorf("a key of the last good set: got %d after %s, want 400 within some seconds", status, took)
			}
		})
	}
	group.Wait()
	// At once: where others have the machine that shows in the quickest of some.
	quickest := func(by *identity.Signer) (status int, retry string, took time.Duration) {
		took = time.Hour
		for range 5 {
			s, again, this := ask(by)
			if status, retry, took = s, again, min(took, this); took < time.Second {
				break
			}
		}
		return status, retry, took
	}
	if status, _, took := quickest(r.signer); status != 400 || took > time.Second {
		t.Errorf("once the issuer is known to be slow: got %d after %s, want 400 at once", status, took)
	}
	if status, retry, took := quickest(stranger); status != 503 || retry == "" || took > time.Second {
		t.Errorf("a key that the issuer may have just made: got %d (Retry-After %q) after %s, want 503 at once", status, retry, took)
	}
	if got := r.read.Load() - before; got != 1 {
		t.Errorf("the keys were read %d times, want once", got)
	}
	release()
	waitFor(t, "the set to be read", func() bool { status, _, _ := ask(stranger); return status == 401 })
	if got := r.read.Load() - before; got != 1 {
		t.Errorf("the keys were read %d times, want once: nobody's kid makes it two", got)
	}
	if status, _, _ := ask(r.signer); status != 400 {
		t.Errorf("got %d, want 400", status)
	}
}

// A clock that was far ahead and is right again: the set is not believed to have been read a
// moment ago until the clock has caught up, so a new key of the issuer is found.
func TestClockSetBackHidesNoNewKey(t *testing.T) {
	var ahead atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	r := newRealm(t)
	r.now = now
	net := ebltest.NewTLS(t)
	carrier, bank := r.platform(net, "carrier", now, true), r.platform(net, "bank", now, true)
	ask := func() {
		t.Helper()
		c := r.claims("carrier", "https://bank.example")
		do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", header: bearer(r.token("JWT", c)), body: []byte(`{}`)}).want(t, 400, 7001)
	}
	ahead.Store(int64(20 * time.Hour))
	ask()
	ahead.Store(0)
	r.signer = newRealm(t).signer
	r.keys.Store(`{"keys":[` + r.jwk(nil) + `]}`)
	ask()
}

// Without any set nothing can be judged: who asks waits for it, and not for ever; what comes
// late serves those after it, also where all who asked have gone.
func TestFirstKeysOfTheSharedIssuerAreWaitedFor(t *testing.T) {
	r := newRealm(t)
	net := ebltest.NewTLS(t)
	carrier, bank := r.platform(net, "carrier", nil, true), r.platform(net, "bank", nil, true)
	until := make(chan struct{})
	r.hang.Store(&until)
	ask := func(ctx context.Context) (int, error) {
		c := r.claims("carrier", "https://bank.example")
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+bank.Addr+"/v1/transferblocks", strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = http.Header{"Authorization": {"Bearer " + r.token("JWT", c)}, "Content-Type": {"application/json"}}
		res, err := tlsClient(t, carrier).Do(req)
		if err != nil {
			return 0, err
		}
		return res.StatusCode, res.Body.Close()
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if status, err := ask(short); err == nil {
		t.Errorf("got %d before there was a key", status)
	}
	time.AfterFunc(300*time.Millisecond, func() { close(until) })
	if status, err := ask(t.Context()); status != 400 || err != nil {
		t.Errorf("got %d, %v; want 400 under the set that was asked for before", status, err)
	}
	if got := r.read.Load(); got != 1 {
		t.Errorf("the keys were read %d times, want once", got)
	}
}

// smallJWK is an RSA key that nobody may use.
func smallJWK(t testing.TB) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	return `{"kty":"RSA","kid":"small","e":"AQAB","n":"` + b64(key.N.Bytes()) + `"}`
}

func mustSign(t testing.TB, s *identity.Signer, typ string, claims map[string]any) string {
	t.Helper()
	out, err := envelope.SignJWT(typ, claims, s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// An issuer is one name: a server that says another in its metadata, or stands elsewhere,
// is not it.
func TestSharedIssuerIsPinned(t *testing.T) {
	r := newRealm(t)
	pool := x509.NewCertPool()
	pool.AddCert(r.server.Certificate())
	net := ebltest.NewTLS(t)
	for i, c := range []oauth.OutsideConfig{
		{Issuer: sharedIssuer}, // its certificate leads to no root of the system
		{Issuer: "https://other.example.com/realms/ebl", Anchors: pool}, // the certificate has another name
		{Issuer: "https://example.com/realms/elsewhere", Anchors: pool}, // nothing is there
		{Issuer: "https://example.com/realms/ebl/token", Anchors: x509.NewCertPool()},
	} {
		c.DialContext = dialTo(r.server.Listener.Addr().String())
		o, err := oauth.NewOutside(c)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		bank := net.Platform(fmt.Sprintf("bank%d.example", i), ebltest.Tokens(o))
		carrier := net.Platform(fmt.Sprintf("carrier%d.example", i))
		token := r.token("JWT", r.claims(carrier.Domain().String(), "https://"+bank.Domain().String()))
		do(t, tlsClient(t, carrier), call{method: "PUT", url: "https://" + bank.Addr + "/v1/transferblocks", header: bearer(token), body: []byte(`{}`)}).want(t, 503, 7503)
	}
	if _, err := oauth.NewOutside(oauth.OutsideConfig{Issuer: "http://example.com"}); err == nil {
		t.Error("an issuer over http was taken")
	}
}
