package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
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

// An assertionCase is one claim changed.
type assertionCase struct {
	name   string
	change map[string]any
	words  string // in the description; "" means that it is taken
}

// OAU-04, OAU-05 and what FAPI 2.0 says of aud.
func TestAssertionThatMustNotBeBelieved(t *testing.T) {
	d := newDesk(t)
	in := func(s int) int64 { return time.Now().Add(time.Duration(s) * time.Second).Unix() }
	for _, c := range []assertionCase{
		{"expired five minutes ago", map[string]any{"exp": in(-300)}, "expired"},
		{"expired a minute ago", map[string]any{"exp": in(-60)}, "expired"},
		{"expired a moment ago, by our clock", map[string]any{"exp": in(-5)}, ""},
		{"ends in ten minutes", map[string]any{"exp": in(600)}, "more than 5m0s away"},
		{"ends in five minutes", map[string]any{"exp": in(300)}, ""},
		{"without exp", map[string]any{"exp": nil}, "exp is missing"},
		{"exp a string", map[string]any{"exp": "9999999999"}, "spelling"},
		{"exp beyond all time", map[string]any{"exp": 1e300}, "spelling"},
		{"without iss", map[string]any{"iss": nil}, "iss and sub"},
		{"without sub", map[string]any{"sub": nil}, "iss and sub"},
		{"without jti", map[string]any{"jti": nil}, "no jti"},
		{"jti empty", map[string]any{"jti": ""}, "no jti"},
		{"jti too long", map[string]any{"jti": repeated("x", 256)}, "255"},
		{"iss another", map[string]any{"iss": "bank.example"}, "iss and sub"},
		{"sub another", map[string]any{"sub": "other.example"}, "iss and sub"},
		{"both another's", map[string]any{"iss": "bank.example", "sub": "bank.example"}, "iss and sub"},
		{"other case", map[string]any{"iss": "Carrier.example", "sub": "Carrier.example"}, "iss and sub"},
		{"iat 8 s ahead", map[string]any{"iat": in(8)}, ""},
		{"iat 61 s ahead", map[string]any{"iat": in(61)}, "iat lies ahead"},
		{"nbf 8 s ahead", map[string]any{"nbf": in(8)}, ""},
		{"nbf 61 s ahead", map[string]any{"nbf": in(61)}, "nbf lies ahead"},
		{"without iat", map[string]any{"iat": nil}, ""},
		{"aud a list of one", map[string]any{"aud": []string{"https://bank.example"}}, "not one string"},
		{"aud a list with ours", map[string]any{"aud": []string{"https://other.example", "https://bank.example"}}, "not one string"},
		{"aud another's", map[string]any{"aud": "https://other.example"}, "aud is not this issuer"},
		{"aud with a final slash", map[string]any{"aud": "https://bank.example/"}, "aud is not this issuer"},
		{"aud our domain", map[string]any{"aud": "bank.example"}, "aud is not this issuer"},
		{"without aud", map[string]any{"aud": nil}, "aud is not"},
		{"aud empty", map[string]any{"aud": ""}, "aud is not"},
		{"aud the token endpoint", map[string]any{"aud": d.bank.TokenEndpoint()}, "aud is the token endpoint"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := d.post(tokenForm(d.assertion(c.change)))
			if c.words == "" {
				got.want(t, 200, 0)
				return
			}
			got.wantOAuth(t, 401, 7101, "invalid_client")
			if e := got.errorResponse(t); e.Errors[0].Text != "clientInvalid" || !strings.Contains(e.OAuthDescription, c.words) || got.got.Get("WWW-Authenticate") == "" {
				t.Errorf("got %q %q, want clientInvalid with %q", e.Errors[0].Text, e.OAuthDescription, c.words)
			}
		})
	}
}

// FAPI 2.0: an assertion is signed with ES256 or PS256; nothing in its header changes how
// it is read, and it is read in one spelling.
func TestAssertionOfAnotherMakeIsNotBelieved(t *testing.T) {
	d := newDesk(t, ebltest.WithAlg(identity.RS256), ebltest.WithEntry(func(p *identity.Platform) { p.Keys[0].Alg = "" }))
	sign := func(alg jwa.SignatureAlgorithm, key any, header map[string]any) string {
		h := jws.NewHeaders()
		_ = h.Set("kid", d.carrier.Signer.Key.ID)
		for name, v := range header {
			if err := h.Set(name, v); err != nil {
				t.Fatal(err)
			}
		}
		payload, _ := json.Marshal(d.claims(nil))
		out, err := jws.Sign(payload, jws.WithKey(alg, key, jws.WithProtectedHeaders(h)))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	own := d.carrier.Signer.Private()
	stranger, err := identity.GenerateKey(identity.PS256)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	claims, _ := json.Marshal(d.claims(nil))
	twice := strings.Replace(string(claims), `"iss"`, `"sub":"bank.example","iss"`, 1)
	for name, s := range map[string]string{
		"RS256":              sign(jwa.RS256, own, nil),
		"PS512":              sign(jwa.PS512, own, nil),
		"HS256":              sign(jwa.HS256, []byte("the public key, as it were"), nil),
		"none":               b64([]byte(`{"alg":"none"}`)) + "." + b64(claims) + ".",
		"a stranger's key":   sign(jwa.PS256, stranger, nil),
		"another kid":        sign(jwa.PS256, own, map[string]any{"kid": "nobody"}),
		"jku":                sign(jwa.PS256, own, map[string]any{"jku": "https://attacker.example/keys"}),
		"a receipt's typ":    sign(jwa.PS256, own, map[string]any{"typ": envelope.TypReceipt}),
		"an access token":    sign(jwa.PS256, own, map[string]any{"typ": envelope.TypAccess}),
		"padding":            sign(jwa.PS256, own, nil) + "=",
		"a line end":         sign(jwa.PS256, own, nil) + "\n",
		"four parts":         sign(jwa.PS256, own, nil) + ".x",
		"a changed claim":    strings.Replace(sign(jwa.PS256, own, nil), ".", ".A", 1),
		"a claim twice":      b64([]byte(`{"alg":"PS256"}`)) + "." + b64([]byte(twice)) + ".AAAA",
		"something else":     "x",
		"9 KiB":              repeated("a", 9<<10),
		"claims not a table": b64([]byte(`{"alg":"PS256"}`)) + "." + b64([]byte(`[]`)) + ".AAAA",
	} {
		if got := d.post(tokenForm(s)); got.status != 401 {
			t.Errorf("%s: got %d", name, got.status)
		} else {
			got.wantOAuth(t, 401, 7101, "invalid_client")
		}
	}
	d.post(tokenForm(sign(jwa.PS256, own, nil))).want(t, 200, 0)
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
		"the same parameter twice": d.postBody(twice+"&grant_type=client_credentials", nil),
		"the assertion twice":      d.postBody(twice+"&client_assertion=x", nil),
		"a semicolon":              d.postBody(twice+";x=1", nil),
		"a bad escape":             d.postBody(twice+"&x=%zz", nil),
		"JSON":                     d.postBody(`{"grant_type":"client_credentials"}`, http.Header{"Content-Type": {"application/json"}}),
		"no media type":            d.postBody(twice, http.Header{"Content-Type": nil}),
		"compressed":               d.postBody(twice, http.Header{"Content-Encoding": {"gzip"}}),
		"a second way to prove":    d.postBody(twice, http.Header{"Authorization": {"Basic Y2Fycmllci5leGFtcGxlOng="}}),
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

func TestAssertionIsGoodOnceAlsoAfterARestart(t *testing.T) {
	d := newDesk(t)
	s := d.assertion(nil)
	again := func(s string) {
		t.Helper()
		c := d.post(tokenForm(s)).wantOAuth(t, 401, 7101, "invalid_client")
		if got := c.errorResponse(t).OAuthDescription; !strings.Contains(got, "used before") {
			t.Errorf("got %q", got)
		}
	}
	d.post(tokenForm(s)).want(t, 200, 0)
	again(s)
	again(twin(t, s))
	// The same jti in another assertion.
	j, err := envelope.ParseJWT(s)
	if err != nil {
		t.Fatal(err)
	}
	again(d.assertion(map[string]any{"jti": j.Claims.ID, "iat": nil}))
	d.bank.Restart()
	again(s)
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)

	// Many at once: one gets it.
	s = d.assertion(nil)
	results := make(chan int)
	for range 8 {
		go func() {
			res, err := d.client.PostForm(d.base+"/oauth2/token", tokenForm(s))
			if err != nil {
				results <- 0
				return
			}
			_ = res.Body.Close()
			results <- res.StatusCode
		}()
	}
	count := map[int]int{}
	for range 8 {
		count[<-results]++
	}
	if count[200] != 1 || count[401] != 7 {
		t.Errorf("got %v, want one 200 and seven 401", count)
	}
}

// twin is s with the other one of the two signatures that ECDSA has.
func twin(t testing.TB, s string) string {
	t.Helper()
	i := strings.LastIndexByte(s, '.')
	sig, err := base64.RawURLEncoding.DecodeString(s[i+1:])
	if err != nil {
		t.Fatal(err)
	}
	return s[:i+1] + base64.RawURLEncoding.EncodeToString(ebltest.OtherS(sig))
}

// The example of the WIPO text: aud is the token endpoint, and there is no jti.
func TestAssertionToTheTokenEndpoint(t *testing.T) {
	d := newDesk(t)
	change := func(seconds int) map[string]any {
		return map[string]any{"aud": d.bank.TokenEndpoint(), "jti": nil, "iat": nil, "exp": time.Now().Add(time.Duration(seconds) * time.Second).Unix()}
	}
	refused := func(s string, words ...string) {
		t.Helper()
		e := d.post(tokenForm(s)).wantOAuth(t, 401, 7101, "invalid_client").errorResponse(t)
		for _, w := range words {
			if !strings.Contains(e.OAuthDescription, w) {
				t.Errorf("got %q, want %q in it", e.OAuthDescription, w)
			}
		}
	}
	refused(d.assertion(change(10)), d.bank.TokenEndpoint(), "https://bank.example,", "jti")

	entry := *d.carrier.Entry
	entry.Quirks.AssertionAudience = identity.AudienceTokenEndpoint
	if err := d.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	s := d.assertion(change(10))
	d.post(tokenForm(s)).want(t, 200, 0)
	refused(s, "used before")
	refused(twin(t, s), "used before")
	d.bank.Restart()
	refused(s, "used before")
	d.post(tokenForm(d.assertion(change(59)))).want(t, 200, 0)
	refused(d.assertion(change(120)), "1m0s")
	// The quirk is about the token endpoint and nothing else.
	refused(d.assertion(map[string]any{"aud": "https://other.example/token", "jti": nil}), "aud is not this issuer")
	refused(d.assertion(map[string]any{"jti": nil}), "no jti")
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)
}

// The key of an assertion is judged as that of an envelope: by its path to the peer's
// anchors and by what its authority says of it now.
func TestAssertionOfARevokedKeyIsNotBelieved(t *testing.T) {
	ca := catest.New(t, "Consortium")
	var status atomic.Int64 // of every certificate; -1: the responder is down
	w := ebltest.NewTLS(t)
	d := &tokenDesk{t: t, carrier: w.Platform("carrier.example", ebltest.Under(ca, catest.Responder("http://ocsp.example/"))),
		bank: w.Platform("bank.example", ebltest.Tokens(nil), ebltest.Configure(func(c *node.Config) {
			c.Revocation = func(_ context.Context, qs []identity.Question) (out [][]byte, err error) {
				if status.Load() < 0 {
					return nil, errors.New("connection refused")
				}
				for _, q := range qs {
					s := catest.Single{Cert: q.Certificate, Issuer: q.Issuer}
					if status.Load() == 1 {
						s.Status, s.RevokedAt = catest.Revoked, time.Now().Add(-time.Hour)
					}
					out = append(out, catest.Answer{Singles: []catest.Single{s}, By: ca}.DER(t))
				}
				return out, nil
			}
		}))}
	d.client, d.base = tlsClient(t, d.carrier), "https://"+d.bank.Addr
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)
	status.Store(1)
	d.post(tokenForm(d.assertion(nil))).wantOAuth(t, 401, 7101, "invalid_client")
	status.Store(-1)
	d.post(tokenForm(d.assertion(nil))).want(t, 503, 7503)
	status.Store(0)
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)
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
}

// A flood of bad tokens is counted like any other, and no signature is computed for it.
func TestFloodOfBadTokensIsLimited(t *testing.T) {
	d := newDesk(t)
	h := api.NewPeerHandler(d.bank.Node(), api.Options{Rate: 1, Burst: 3, Tokens: d.bank.TokenServer(d.bank.Node())})
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
