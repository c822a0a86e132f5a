package api_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

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
		{"expired a moment ago, by our clock", map[string]any{"exp": in(-1)}, ""},
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

// OAU-04, OAU-05, to the second: an assertion ends at most five minutes away by our clock
// (one minute, where the quirk takes it without jti), and no difference of clocks is added to
// that; 10 s may lie between them in when it was made, and after its end.
func TestHowFarAwayTheTimesOfAnAssertionMayBe(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	w := ebltest.NewTLS(t)
	d := &tokenDesk{t: t, carrier: w.Platform("carrier.example"),
		bank: w.Platform("bank.example", ebltest.Tokens(nil), ebltest.Configure(func(c *node.Config) { c.Now = func() time.Time { return now } }))}
	d.client, d.base = tlsClient(t, d.carrier), "https://"+d.bank.Addr
	entry := *d.carrier.Entry
	entry.Quirks.AssertionAudience = identity.AudienceTokenEndpoint
	if err := d.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	in := func(s int) int64 { return now.Unix() + int64(s) }
	quirk := func(s int) map[string]any {
		return map[string]any{"aud": d.bank.TokenEndpoint(), "jti": nil, "iat": nil, "exp": in(s)}
	}
	for _, c := range []struct {
		change map[string]any
		words  string // "" means that it is taken
	}{
		{map[string]any{"exp": in(300), "iat": in(0)}, ""}, {map[string]any{"exp": in(301), "iat": in(0)}, "more than 5m0s away"},
		{map[string]any{"exp": in(330), "iat": in(0)}, "more than 5m0s away"},
		{map[string]any{"exp": in(-10), "iat": in(-60)}, ""}, {map[string]any{"exp": in(-11), "iat": in(-60)}, "expired"},
		{map[string]any{"iat": in(10)}, ""}, {map[string]any{"iat": in(11)}, "iat lies ahead"},
		{map[string]any{"nbf": in(10), "iat": nil}, ""}, {map[string]any{"nbf": in(11), "iat": nil}, "nbf lies ahead"},
		{quirk(60), ""}, {quirk(61), "more than 1m0s away"},
	} {
		got := d.post(tokenForm(d.assertion(c.change)))
		if c.words == "" {
			got.want(t, 200, 0)
		} else if got.wantOAuth(t, 401, 7101, "invalid_client"); !t.Failed() && !strings.Contains(got.errorResponse(t).OAuthDescription, c.words) {
			t.Errorf("got %s, want %q", got.answer, c.words)
		}
		if t.Failed() {
			t.Fatalf("%v, at %d", c.change, now.Unix())
		}
	}
}

// An assertion says which key signed it, unless its client has one valid key alone: among
// several none is looked for by trial.
func TestAssertionNamesItsKey(t *testing.T) {
	d := newDesk(t)
	one := d.carrier.Signer
	defer func() { d.carrier.Signer = one }()
	d.carrier.Signer = unnamed(t, one)
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)
	other, err := identity.GenerateSigner(d.carrier.Domain(), identity.ES256, identity.CertificateSpec{Subject: "second", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	second := *other.Key
	entry := *d.carrier.Entry
	entry.Keys = append(slices.Clone(entry.Keys), &second)
	if err := d.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	e := d.post(tokenForm(d.assertion(nil))).wantOAuth(t, 401, 7101, "invalid_client").errorResponse(t)
	if !strings.Contains(e.OAuthDescription, "no kid") {
		t.Errorf("got %q, want that kid is missing", e.OAuthDescription)
	}
	d.carrier.Signer = one
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)
	// Of two keys one has run out: what may sign is one.
	d.carrier.Signer = unnamed(t, one)
	second.NotAfter = time.Now().Add(-time.Minute)
	if err := d.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	d.post(tokenForm(d.assertion(nil))).want(t, 200, 0)
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
	d.client.CloseIdleConnections() // the server has closed them, and perhaps we have not yet seen it
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
	s := d.assertion(change(50)) // it must not end before it is used again
	d.post(tokenForm(s)).want(t, 200, 0)
	refused(s, "used before")
	refused(twin(t, s), "used before")
	d.bank.Restart()
	d.client.CloseIdleConnections() // the server has closed them, and perhaps we have not yet seen it
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
