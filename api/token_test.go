package api_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// A tokenDesk is the token endpoint of a bank, as a carrier asks it.
type tokenDesk struct {
	t             testing.TB
	carrier, bank *ebltest.Platform
	client        *http.Client // the carrier's
	base          string
}

func newDesk(t testing.TB, opts ...ebltest.Option) *tokenDesk {
	t.Helper()
	net := ebltest.NewTLS(t)
	d := &tokenDesk{t: t, carrier: net.Platform("carrier.example", opts...), bank: net.Platform("bank.example", ebltest.Tokens(nil))}
	d.client, d.base = tlsClient(t, d.carrier), "https://"+d.bank.Addr
	return d
}

var assertions int

// claims are those of a good assertion of the carrier, changed by the test.
func (d *tokenDesk) claims(change map[string]any) map[string]any {
	assertions++
	now := time.Now()
	c := map[string]any{"iss": "carrier.example", "sub": "carrier.example", "aud": "https://bank.example",
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": fmt.Sprint("a", assertions)}
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// assertion is a good assertion of the carrier, with other claims; nil takes one away.
func (d *tokenDesk) assertion(change map[string]any) string {
	d.t.Helper()
	s, err := envelope.SignJWT(envelope.TypAssertion, d.claims(change), d.carrier.Signer)
	if err != nil {
		d.t.Fatal(err)
	}
	return s
}

func tokenForm(assertion string, more ...string) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {assertionType}, "client_assertion": {assertion}}
	for i := 0; i < len(more); i += 2 {
		form.Set(more[i], more[i+1])
	}
	return form
}

func (d *tokenDesk) post(form url.Values) *call { return d.postBody(form.Encode(), nil) }

func (d *tokenDesk) postBody(body string, header http.Header) *call {
	d.t.Helper()
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	for name, values := range header {
		h[name] = values
	}
	return do(d.t, d.client, call{method: "POST", url: d.base + "/oauth2/token", header: h, body: []byte(body)})
}

// token gets a good token.
func (d *tokenDesk) token() string {
	d.t.Helper()
	return decode[oauth.Grant](d.t, d.post(tokenForm(d.assertion(nil))).want(d.t, 200, 0)).Token
}

// wantOAuth checks the status, our code and the RFC's.
func (c *call) wantOAuth(t testing.TB, status, code int, oauth string) *call {
	t.Helper()
	c.want(t, status, code)
	if got := c.errorResponse(t).OAuthError; got != oauth {
		t.Errorf("got error %q, want %q; body: %.300s", got, oauth, c.answer)
	}
	return c
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

// OAU-01
func TestTokenIsGivenForAGoodAssertionAndBoundToTheCertificate(t *testing.T) {
	for _, alg := range []identity.Alg{identity.ES256, identity.PS256} {
		d := newDesk(t, ebltest.WithAlg(alg))
		for _, typ := range []string{"", "JWT", envelope.TypAssertion} {
			s, err := envelope.SignJWT(typ, d.claims(nil), d.carrier.Signer)
			if err != nil {
				t.Fatal(err)
			}
			c := d.post(tokenForm(s, "scope", "ebl.transfer", "client_id", "carrier.example")).want(t, 200, 0)
			g := decode[oauth.Grant](t, c)
			if g.Type != "Bearer" || g.Expires != 300 || g.Scope != "ebl.transfer" || c.got.Get("Cache-Control") != "no-store" || c.got.Get("Pragma") != "no-cache" {
				t.Errorf("%s typ %q: got %+v, %v", alg, typ, g, c.got)
			}
			j, err := envelope.ParseJWT(g.Token)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := j.Verify(d.bank.Entry, time.Now(), false); err != nil || j.Header.Typ != "at+jwt" {
				t.Errorf("the token: typ %q, %v", j.Header.Typ, err)
			}
			k := j.Claims
			if k.Issuer != "https://bank.example" || !slices.Equal(k.Audience, []string{"https://bank.example"}) || k.Subject != "carrier.example" ||
				k.ClientID != "carrier.example" || k.ID == "" || k.Certificate != oauth.Thumbprint(d.carrier.TLS.Leaf) ||
				k.Expires.Sub(k.IssuedAt) != 5*time.Minute || time.Until(k.Expires) > 10*time.Minute {
				t.Errorf("claims: got %+v", k)
			}
			do(t, d.client, call{method: "PUT", url: d.base + "/v1/transferblocks", header: bearer(g.Token), body: []byte(`{}`)}).want(t, 400, 7001)
		}
	}
}

// OAU-07, OAU-08
func TestRequestOfATokenHasOneForm(t *testing.T) {
	d := newDesk(t)
	good := func() url.Values { return tokenForm(d.assertion(nil)) }
	without := func(name string) url.Values { f := good(); f.Del(name); return f }
	with := func(more ...string) url.Values { return tokenForm(d.assertion(nil), more...) }
	for _, c := range []struct {
		name string
		form url.Values
		code string
	}{
		{"without grant_type", without("grant_type"), "invalid_request"},
		{"password", with("grant_type", "password"), "unsupported_grant_type"},
		{"authorization_code", with("grant_type", "authorization_code"), "unsupported_grant_type"},
		{"without assertion type", without("client_assertion_type"), "invalid_request"},
		{"another assertion type", with("client_assertion_type", assertionType+"2"), "invalid_request"},
		{"a secret beside", with("client_secret", "x"), "invalid_request"},
		{"an empty secret beside", with("client_secret", ""), "invalid_request"},
		{"another's client_id", with("client_id", "bank.example"), "invalid_client"},
		{"without assertion", without("client_assertion"), "invalid_client"},
		{"a scope that is none", with("scope", "ebl.transfer admin"), "invalid_scope"},
		{"two spaces in the scope", with("scope", "ebl.transfer  ebl.verdict"), "invalid_scope"},
	} {
		got := d.post(c.form)
		want := [2]int{400, 7001}
		if c.code == "invalid_client" {
			want = [2]int{401, 7101}
		}
		if got.wantOAuth(t, want[0], want[1], c.code); t.Failed() {
			t.Fatalf("%s", c.name)
		}
	}
	twice := good().Encode()
	for name, got := range map[string]*call{
		"the same parameter twice":    d.postBody(twice+"&grant_type=client_credentials", nil),
		"the assertion twice":         d.postBody(twice+"&client_assertion=x", nil),
		"a semicolon":                 d.postBody(twice+";x=1", nil),
		"a bad escape":                d.postBody(twice+"&x=%zz", nil),
		"JSON":                        d.postBody(`{"grant_type":"client_credentials"}`, http.Header{"Content-Type": {"application/json"}}),
		"a form that says it is JSON": d.postBody(good().Encode(), http.Header{"Content-Type": {"application/json"}}),
		"a form that says it is text": d.postBody(good().Encode(), http.Header{"Content-Type": {"text/plain"}}),
		"no media type":               d.postBody(twice, http.Header{"Content-Type": nil}),
		"compressed":                  d.postBody(twice, http.Header{"Content-Encoding": {"gzip"}}),
		"a second way to prove":       d.postBody(twice, http.Header{"Authorization": {"Basic Y2Fycmllci5leGFtcGxlOng="}}),
		"a token as a second way":     d.postBody(twice, http.Header{"Authorization": {"Bearer x"}}),
		"an empty second way":         d.postBody(twice, http.Header{"Authorization": {""}}),
		"a good form, and more in the URL": do(t, d.client, call{method: "POST", url: d.base + "/oauth2/token?scope=ebl.verdict", body: []byte(good().Encode()),
			header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}),
		"a good form, and its assertion in the URL": do(t, d.client, call{method: "POST", url: d.base + "/oauth2/token?client_assertion=" + d.assertion(nil),
			body: []byte(good().Encode()), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}),
		"in the URL": do(t, d.client, call{method: "POST", url: d.base + "/oauth2/token?" + twice, body: []byte("x=1"),
			header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}),
	} {
		if got.wantOAuth(t, 400, 7001, "invalid_request"); t.Failed() {
			t.Fatalf("%s", name)
		}
	}
	do(t, d.client, call{method: "GET", url: d.base + "/oauth2/token"}).want(t, 405, 7105)
	d.postBody("grant_type=client_credentials&x="+repeated("x", 32<<10), nil).want(t, 413, 7113)
}

// OAU-10, OAU-15, and each of the ways in which a token is not good here.
func TestOnlyItsOwnFreshTokenOpensThePeerListener(t *testing.T) {
	net := ebltest.NewTLS(t)
	d := &tokenDesk{t: t, carrier: net.Platform("carrier.example"), bank: net.Platform("bank.example", ebltest.Tokens(nil))}
	other := net.Platform("other.example", ebltest.Tokens(nil))
	d.client, d.base = tlsClient(t, d.carrier), "https://"+d.bank.Addr
	good := d.token()
	put := func(client *http.Client, header http.Header) *call {
		return do(t, client, call{method: "PUT", url: d.base + "/v1/transferblocks", header: header, body: []byte(`{}`)})
	}
	put(d.client, bearer(good)).want(t, 400, 7001) // past check 2
	put(d.client, http.Header{"Authorization": {"bEaReR " + good}}).want(t, 400, 7001)

	c := put(d.client, nil).want(t, 401, 7101)
	if got := c.got.Get("WWW-Authenticate"); got != "Bearer" || c.errorResponse(t).Errors[0].Text != "tokenRequired" {
		t.Errorf("without a token: got %q, %s", got, c.answer)
	}
	now := time.Now()
	make := func(by *ebltest.Platform, typ string, change map[string]any) http.Header {
		claims := map[string]any{"iss": "https://bank.example", "aud": "https://bank.example", "sub": "carrier.example", "client_id": "carrier.example",
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": "x", "scope": "ebl.transfer", "cnf": map[string]string{"x5t#S256": oauth.Thumbprint(d.carrier.TLS.Leaf)}}
		for name, v := range change {
			if claims[name] = v; v == nil {
				delete(claims, name)
			}
		}
		s, err := envelope.SignJWT(typ, claims, by.Signer)
		if err != nil {
			t.Fatal(err)
		}
		return bearer(s)
	}
	put(d.client, make(d.bank, "at+jwt", nil)).want(t, 400, 7001)
	for name, header := range map[string]http.Header{
		"two headers":             {"Authorization": {"Bearer " + good, "Bearer " + good}},
		"another scheme":          {"Authorization": {"DPoP " + good}},
		"nothing behind Bearer":   {"Authorization": {"Bearer "}},
		"garbage":                 bearer("x"),
		"a local user's token":    bearer(d.bank.User("bob").Token),
		"an assertion":            bearer(d.assertion(nil)),
		"signed by its bearer":    make(d.carrier, "at+jwt", nil),
		"an assertion's typ":      make(d.bank, envelope.TypAssertion, nil),
		"a receipt's typ":         make(d.bank, envelope.TypReceipt, nil),
		"without typ":             make(d.bank, "", nil),
		"expired":                 make(d.bank, "at+jwt", map[string]any{"exp": now.Add(-time.Minute).Unix()}),
		"without exp":             make(d.bank, "at+jwt", map[string]any{"exp": nil}),
		"for longer than it may":  make(d.bank, "at+jwt", map[string]any{"exp": now.Add(time.Hour).Unix()}),
		"of another issuer":       make(d.bank, "at+jwt", map[string]any{"iss": "https://other.example"}),
		"for another":             make(d.bank, "at+jwt", map[string]any{"aud": "https://other.example"}),
		"of another client":       make(d.bank, "at+jwt", map[string]any{"client_id": "other.example", "sub": "other.example"}),
		"client_id another":       make(d.bank, "at+jwt", map[string]any{"client_id": "other.example"}),
		"sub another":             make(d.bank, "at+jwt", map[string]any{"sub": "other.example"}),
		"bound to nothing":        make(d.bank, "at+jwt", map[string]any{"cnf": nil}),
		"bound to another's cert": make(d.bank, "at+jwt", map[string]any{"cnf": map[string]string{"x5t#S256": oauth.Thumbprint(other.TLS.Leaf)}}),
		"good and a letter":       bearer(good + "A"),
		"its twin, cut":           bearer(good[:len(good)-1]),
	} {
		c := put(d.client, header).want(t, 401, 7101)
		if t.Failed() {
			t.Fatalf("%s", name)
		}
		if got := c.got.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") || strings.ContainsAny(got, "\r\n\t") || strings.Contains(got, "eyJ") {
			t.Errorf("%s: WWW-Authenticate %q", name, got)
		}
	}
	// OAU-10: another peer with the carrier's token, on its own connection.
	put(tlsClient(t, other), bearer(good)).want(t, 401, 7101)
	// ... and the carrier itself with another certificate that is pinned for it.
	second := &ebltest.Platform{}
	second.TLS = d.carrier.Certificate(now.Add(-time.Hour), now.Add(time.Hour), d.carrier.TLS.Leaf.ExtKeyUsage...)
	entry := *d.carrier.Entry
	entry.TLS.Pins = append(slices.Clone(entry.TLS.Pins), identity.SPKIPin(second.TLS.Leaf))
	if err := d.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	put(tlsClient(t, second), bearer(good)).want(t, 401, 7101)
	put(d.client, bearer(good)).want(t, 400, 7001)
	// The scope of each route.
	c = do(t, d.client, call{method: "GET", url: d.base + "/v1/transferblocks/" + repeated("0", 64) + "/verdict", header: make(d.bank, "at+jwt", nil)}).want(t, 403, 7103)
	if got := c.got.Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, `scope="ebl.verdict"`) || c.errorResponse(t).Errors[0].Text != "insufficientScope" {
		t.Errorf("got %q, %s", got, c.answer)
	}
	// OAU-15: a peer that was removed, on the connection that it has.
	if err := d.bank.Node().RemovePeer(t.Context(), "test", d.carrier.Domain()); err != nil {
		t.Fatal(err)
	}
	put(d.client, bearer(good)).want(t, 403, 7103)
	d.post(tokenForm(d.assertion(nil))).want(t, 403, 7103) // nor a new one
	do(t, d.client, call{method: "GET", url: d.base + "/.well-known/jwks.json"}).want(t, 403, 7103)
}

// Keys and metadata ask for no token: they are how a peer gets one.
func TestMetadataSayWhereTokensAreToBeHad(t *testing.T) {
	d := newDesk(t)
	public := "http://" + serveHTTP(t, api.NewPublicHandler(d.bank.Node(), api.Options{Tokens: d.bank.TokenServer(d.bank.Node())}))
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		want := oauth.Metadata{Issuer: "https://bank.example", TokenEndpoint: d.bank.TokenEndpoint()}
		for _, base := range []string{d.base, public} {
			m := decode[oauth.Metadata](t, do(t, d.client, call{method: "GET", url: base + path}).want(t, 200, 0))
			if m.Issuer != want.Issuer || m.TokenEndpoint != want.TokenEndpoint || !m.Bound || !slices.Equal(m.Auth, []string{"private_key_jwt"}) || !slices.Equal(m.AuthAlgs, []string{"ES256", "PS256"}) {
				t.Errorf("%s: got %+v", base+path, m)
			}
		}
		do(t, d.client, call{method: "POST", url: public + path}).want(t, 405, 7105)
	}
	do(t, d.client, call{method: "GET", url: d.base + "/.well-known/jwks.json"}).want(t, 200, 0)
	// The token endpoint is not on the public listener, and a node that asks for no tokens has none.
	do(t, d.client, call{method: "POST", url: public + "/oauth2/token"}).want(t, 404, 7104)
	for _, path := range []string{"/oauth2/token", "/.well-known/oauth-authorization-server"} {
		do(t, tlsClient(t, d.bank), call{method: "GET", url: "https://" + d.carrier.Addr + path}).want(t, 404, 7104)
	}
}

// OAU-16
func TestTextsOfAClientDoNotReachTheHeaders(t *testing.T) {
	d := newDesk(t)
	for _, form := range []url.Values{
		tokenForm(d.assertion(nil), "client_id", "x\r\nSet-Cookie: a=b"),
		tokenForm(d.assertion(map[string]any{"iss": "x\r\nSet-Cookie: a=b"})),
		tokenForm(d.assertion(nil), "scope", "x\r\nSet-Cookie: a=b"),
		tokenForm(d.assertion(map[string]any{"jti": "\"\\\r\n\t", "aud": "\r\nSet-Cookie: a=b"})),
	} {
		c := d.post(form)
		if c.status < 400 || c.got.Get("Set-Cookie") != "" || strings.Contains(string(c.answer), "Set-Cookie") || strings.ContainsAny(c.got.Get("WWW-Authenticate"), "\r\n\t") {
			t.Errorf("got %d %v %s", c.status, c.got, c.answer)
		}
	}
	// A refusal names the key, which its owner named; what it says stands in a quoted string,
	// and that ends where it ends.
	one, two := d.assertion(nil), d.assertion(nil)
	c := d.post(tokenForm(one[:strings.LastIndexByte(one, '.')]+two[strings.LastIndexByte(two, '.'):])).wantOAuth(t, 401, 7101, "invalid_client")
	challenge := regexp.MustCompile(`^Bearer error="invalid_client", error_description="[ !#-\[\]-~]*"$`) // RFC 6750, section 3
	if got := c.got.Get("WWW-Authenticate"); !challenge.MatchString(got) || !strings.Contains(got, d.carrier.Signer.Key.ID) {
		t.Errorf("got %s, want one quoted text that names the key", got)
	}
	if got := c.errorResponse(t).OAuthDescription; strings.ContainsAny(got, "\"\\") {
		t.Errorf("got error_description %q, want none of the characters that RFC 6749 has not", got)
	}
}

// A flood of bad tokens is counted like any other, and no signature is computed for it.
func TestFloodOfBadTokensIsLimited(t *testing.T) {
	d := newDesk(t)
	h := api.NewPeerHandler(d.bank.Node(), api.Options{Rate: dry, Burst: 3, Tokens: d.bank.TokenServer(d.bank.Node())})
	base := "https://" + serveTLS(t, h, api.ServerTLS(api.Fixed(d.bank.TLS), d.bank.Node().Trust, time.Now), nil)
	token := d.token()
	got := map[int]int{}
	for range 10 {
		c := do(t, d.client, call{method: "PUT", url: base + "/v1/transferblocks", header: bearer(token[:len(token)-2] + "AA"), body: []byte(`{}`)})
		got[c.status]++
	}
	if got[401] != 3 || got[429] != 7 {
		t.Errorf("got %v, want three 401 and seven 429", got)
	}
	do(t, d.client, call{method: "PUT", url: base + "/v1/transferblocks", body: []byte(`{}`)}).want(t, 401, 7101)
}

// askTokens asks the token endpoint and its metadata until they have said yes and no.
func askTokens(t *testing.T, net *ebltest.Network, bank *ebltest.Platform) {
	t.Helper()
	d := &tokenDesk{t: t, carrier: bank, bank: net.Platform("desk.example", ebltest.Tokens(nil))}
	d.client, d.base = tlsClient(t, bank), "https://"+d.bank.Addr
	who := map[string]any{"iss": "bank.example", "sub": "bank.example", "aud": "https://desk.example"}
	d.post(tokenForm(d.assertion(who))).want(t, 200, 0)
	d.post(tokenForm("x")).want(t, 401, 7101)
	d.post(url.Values{}).want(t, 400, 7001)
	for _, path := range []string{"/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"} {
		do(t, d.client, call{method: "GET", url: d.base + path}).want(t, 200, 0)
		do(t, d.client, call{method: "GET", url: d.base + path, header: http.Header{"Api-Version": {"2"}}}).want(t, 400, 7002)
	}
}
