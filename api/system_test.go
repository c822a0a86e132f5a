package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// An erp is a customer's system with its own keys.
type erp struct {
	t       testing.TB
	name    string
	signers []*identity.Signer
	n       int
}

func newERP(t testing.TB, name string, algs ...identity.Alg) *erp {
	t.Helper()
	e := &erp{t: t, name: name}
	host, err := identity.ParseHost("erp.example")
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range algs {
		s, err := identity.GenerateSigner(host, alg, identity.CertificateSpec{Subject: "erp", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		e.signers = append(e.signers, s)
	}
	return e
}

// ring is the public halves of its keys.
func (e *erp) ring() string {
	e.t.Helper()
	var keys []string
	for _, s := range e.signers {
		key, err := jwk.FromRaw(s.Key.Public)
		if err == nil {
			err = key.Set("kid", s.Key.ID)
		}
		text, jsonErr := json.Marshal(key)
		if err != nil || jsonErr != nil {
			e.t.Fatal(err, jsonErr)
		}
		keys = append(keys, string(text))
	}
	return `{"keys":[` + strings.Join(keys, ",") + `]}`
}

// token is one for one request; nil takes a claim away.
func (e *erp) token(change map[string]any) string {
	e.t.Helper()
	e.n++
	now := time.Now()
	c := map[string]any{"sub": e.name, "aud": "bank.example", "obo": "CUST1", "uid": "eve@acme.example", "nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
		"jti": fmt.Sprint(e.name, "-", e.n)}
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return mustSign(e.t, e.signers[0], "JWT", c)
}

func (l *local) with(token, method, path, body string) *call {
	l.t.Helper()
	c := call{method: method, url: l.url + path, header: bearer(token)}
	if body != "" {
		c.body = []byte(body)
	}
	return do(l.t, http.DefaultClient, c)
}

// newSystem is a bank at which an erp acts for desk, by the name of CUST1.
func newSystem(t testing.TB, algs ...identity.Alg) (*ebltest.Platform, *local, *erp) {
	t.Helper()
	bank := ebltest.New(t).Platform("bank.example")
	desk := bank.User("desk")
	e := newERP(t, "erp", algs...)
	if err := bank.Node().AddSystem(t.Context(), "test", node.System{Name: "erp", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "CUST1", Local: desk.Local}}}); err != nil {
		t.Fatal(err)
	}
	return bank, newLocal(t, bank, api.Options{}), e
}

// What a system does is what its customer does, and what is recorded says who did it: the
// system, the customer and its person as the system names them, and the token.
func TestSystemActsForItsCustomerAndIsRecorded(t *testing.T) {
	bank, l, e := newSystem(t, identity.ES256, identity.RS256)
	desk, other := bank.User("desk"), bank.User("other")
	doc := bank.Issue(desk.ID).String()
	who := decode[api.WhoamiView](t, l.with(e.token(nil), "GET", "/api/v1/whoami", "").want(t, 200, 0))
	if want := (node.Act{System: "erp", Customer: "CUST1", Person: "eve@acme.example", Token: "erp-1"}); who.Local != "desk" || who.Via == nil || *who.Via != want {
		t.Errorf("got %+v, want desk via %+v", who, want)
	}
	l.with(e.token(nil), "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":"other@bank.example"}`).want(t, 200, 0)
	if got := bank.View(parseHash(t, doc)).Possessor; got != other.ID {
		t.Fatalf("got possessor %s, want %s", got, other.ID)
	}
	db := database(t, bank)
	all := strings.Join(dump(t, db), "\n")
	if want := `TRNS to other by {"system":"erp","onBehalfOf":"CUST1","userId":"eve@acme.example","tokenId":"erp-2"}`; !strings.Contains(all, want) {
		t.Errorf("the audit log has no %s", want)
	}
	var jws string
	if err := db.QueryRow("SELECT jws FROM steps ORDER BY id DESC LIMIT 1").Scan(&jws); err != nil {
		t.Fatal(err)
	}
	step, err := envelope.OpenStep(jws, bank.Entry)
	if want := (envelope.StepBy{System: "erp", Customer: "CUST1", Person: "eve@acme.example", Token: "erp-2"}); err != nil || step.By != want {
		t.Errorf("the signed step: got %+v (%v), want %+v", step.By, err, want)
	}
	// A user's own act names nobody else.
	l.as(other, "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":"desk@bank.example"}`).want(t, 200, 0)
	if err := db.QueryRow("SELECT jws FROM steps ORDER BY id DESC LIMIT 1").Scan(&jws); err != nil {
		t.Fatal(err)
	}
	if step, err = envelope.OpenStep(jws, bank.Entry); err != nil || step.By != (envelope.StepBy{}) {
		t.Errorf("a user's own step: got %+v (%v)", step.By, err)
	}
	// Its second key, by kid; and a bill that the customer does not control is not there.
	e.signers[0], e.signers[1] = e.signers[1], e.signers[0]
	l.with(e.token(nil), "GET", "/api/v1/ebls/"+doc, "").want(t, 200, 0)
	foreign := bank.Issue(bank.User("third").ID).String()
	l.with(e.token(nil), "POST", "/api/v1/ebls/"+foreign+"/transfer", `{"to":"desk@bank.example"}`).want(t, 404, 7104)
	r, err := bank.Node().Fsck(t.Context(), node.FsckOptions{})
	if err != nil || len(r.Findings) > 0 {
		t.Errorf("fsck: %v %v", r.Findings, err)
	}
}

func parseHash(t testing.TB, s string) envelope.Hash {
	t.Helper()
	h, err := envelope.ParseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestTokenOfASystemThatIsNotGoodChangesNothing(t *testing.T) {
	bank, l, e := newSystem(t, identity.ES256)
	stranger := newERP(t, "erp", identity.ES256)
	unknown := newERP(t, "nobody", identity.ES256)
	second := newERP(t, "second", identity.ES256)
	boss := bank.User("boss", node.OperatorRole)
	if err := bank.Node().AddSystem(t.Context(), "test", node.System{Name: "second", Keys: []byte(second.ring()), Customers: []node.Customer{{ID: "CUST2", Local: "desk"}}}); err != nil {
		t.Fatal(err)
	}
	doc := bank.Issue(bank.User("desk").ID).String()
	in := func(s int) int64 { return time.Now().Add(time.Duration(s) * time.Second).Unix() }
	used := e.token(nil)
	l.with(used, "GET", "/api/v1/whoami", "").want(t, 200, 0)
	signed := func(s *identity.Signer, typ string) string {
		return mustSign(t, s, typ, map[string]any{"sub": "erp", "aud": "bank.example", "obo": "CUST1", "iat": in(0), "exp": in(30), "jti": "x"})
	}
	db := database(t, bank)
	for _, c := range []struct {
		name   string
		token  string
		status int
	}{
		{"used before", used, 401},
		{"used before, with its twin", twin(t, used), 401},
		{"another key under its name", stranger.token(nil), 401},
		{"a system that is not known", unknown.token(nil), 401},
		{"another system's name", second.token(map[string]any{"sub": "erp"}), 401},
		{"without sub", e.token(map[string]any{"sub": nil}), 401},
		{"aud another platform", e.token(map[string]any{"aud": "other.example"}), 401},
		{"aud the issuer of tokens", e.token(map[string]any{"aud": "https://bank.example"}), 401},
		{"aud a list", e.token(map[string]any{"aud": []string{"bank.example"}}), 401},
		{"without aud", e.token(map[string]any{"aud": nil}), 401},
		{"without exp", e.token(map[string]any{"exp": nil}), 401},
		{"without nbf and iat", e.token(map[string]any{"nbf": nil, "iat": nil}), 401},
		{"90 s from nbf", e.token(map[string]any{"exp": in(90)}), 401}, // to the second: TestWindowOfASystemsTokenIsAMinute
		{"90 s from iat", e.token(map[string]any{"nbf": nil, "exp": in(90)}), 401},
		{"iat a year old", e.token(map[string]any{"iat": in(-365 * 24 * 3600)}), 401},
		{"nbf a year old", e.token(map[string]any{"nbf": in(-365 * 24 * 3600)}), 401},
		{"without kid", (&erp{t: t, name: "erp", n: 1000, signers: []*identity.Signer{unnamed(t, e.signers[0])}}).token(nil), 401},
		{"ends before it begins", e.token(map[string]any{"nbf": in(5), "exp": in(4)}), 401},
		{"expired", e.token(map[string]any{"nbf": in(-90), "iat": in(-90), "exp": in(-30)}), 401},
		{"not good yet", e.token(map[string]any{"nbf": in(30), "exp": in(60)}), 401},
		{"made in the future", e.token(map[string]any{"iat": in(30)}), 401},
		{"without jti", e.token(map[string]any{"jti": nil}), 401},
		{"jti with a line end", e.token(map[string]any{"jti": "a\nb"}), 401},
		{"jti too long", e.token(map[string]any{"jti": repeated("x", 256)}), 401},
		{"uid with an escape", e.token(map[string]any{"uid": "\x1b[2J"}), 401},
		{"without obo", e.token(map[string]any{"obo": nil}), 401},
		{"obo the local id", e.token(map[string]any{"obo": "desk"}), 403},
		{"obo another's customer", e.token(map[string]any{"obo": "CUST2"}), 403},
		{"an access token", signed(e.signers[0], "at+jwt"), 401},
		{"an assertion", signed(e.signers[0], envelope.TypAssertion), 401},
		{"signed by the node", signed(bank.Signer, "JWT"), 401},
		{"a signature cut", used[:len(used)-4], 401},
		{"two dots", "..", 401},
	} {
		before := dump(t, db)
		got := l.with(c.token, "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":"other@bank.example"}`)
		code := 7101
		if c.status == 403 {
			code = 7103
		}
		if got.want(t, c.status, code); t.Failed() {
			t.Fatalf("%s", c.name)
		}
		if c.status == 401 && !strings.HasPrefix(got.got.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: no WWW-Authenticate", c.name)
		}
		if strings.Contains(string(got.answer), "eyJ") {
			t.Errorf("%s: the answer quotes the token", c.name)
		}
		if after := dump(t, db); !slices.Equal(before, after) {
			t.Errorf("%s: the database changed", c.name)
		}
	}
	// An unknown system and a bad signature have one answer.
	a, b := l.with(stranger.token(nil), "GET", "/api/v1/whoami", "").errorResponse(t), l.with(unknown.token(nil), "GET", "/api/v1/whoami", "").errorResponse(t)
	if a.Errors[0].Message != b.Errors[0].Message {
		t.Errorf("an unknown system is told from a bad signature: %q, %q", a.Errors[0].Message, b.Errors[0].Message)
	}
	// Used up also after a restart; and each switch counts at once.
	bank.Restart()
	l = newLocal(t, bank, api.Options{})
	l.with(used, "GET", "/api/v1/whoami", "").want(t, 401, 7101)
	l.with(e.token(nil), "GET", "/api/v1/whoami", "").want(t, 200, 0)
	if err := bank.Node().DisableUser(t.Context(), "test", "desk"); err != nil {
		t.Fatal(err)
	}
	l.with(e.token(nil), "GET", "/api/v1/whoami", "").want(t, 403, 7103)
	if err := bank.Node().DisableSystem(t.Context(), "test", "erp"); err != nil {
		t.Fatal(err)
	}
	l.with(e.token(nil), "GET", "/api/v1/whoami", "").want(t, 401, 7101)
	// No system acts for an operator, and none has a platform's key.
	for name, s := range map[string]node.System{
		"an operator":            {Name: "x", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "BOSS", Local: boss.Local}}},
		"nobody":                 {Name: "x", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "X", Local: "nobody"}}},
		"no customer":            {Name: "x", Keys: []byte(e.ring())},
		"a customer twice":       {Name: "x", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "X", Local: "desk"}, {ID: "X", Local: "other"}}},
		"a customer with spaces": {Name: "x", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "X Y", Local: "desk"}}},
		"the node's key":         {Name: "x", Keys: []byte((&erp{t: t, signers: []*identity.Signer{bank.Signer}}).ring()), Customers: []node.Customer{{ID: "X", Local: "desk"}}},
		"no keys":                {Name: "x", Keys: []byte(`{"keys":[]}`), Customers: []node.Customer{{ID: "X", Local: "desk"}}},
		"a key without kid":      {Name: "x", Keys: []byte(strings.Replace(e.ring(), `"kid"`, `"x-kid"`, 1)), Customers: []node.Customer{{ID: "X", Local: "desk"}}},
		"a private key":          {Name: "x", Keys: []byte(`{"keys":[{"kty":"oct","k":"AAAA"}]}`), Customers: []node.Customer{{ID: "X", Local: "desk"}}},
		"something else":         {Name: "x", Keys: []byte(`{}},"x":{`), Customers: []node.Customer{{ID: "X", Local: "desk"}}},
		"a bad name":             {Name: "a b", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "X", Local: "desk"}}},
	} {
		if err := bank.Node().AddSystem(t.Context(), "test", s); err == nil || node.AsError(err).Code == node.Internal {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
}

// unnamed signs as s does, and names no key.
func unnamed(t testing.TB, s *identity.Signer) *identity.Signer {
	t.Helper()
	k := *s.Key
	k.ID = ""
	out, err := identity.NewSigner(&k, s.Alg(), s.Private())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// OPS-03: the window of a system's token is a minute, to the second, by its own claims and
// by our clock; clocks may differ by 10 s where that makes no token good for longer.
func TestWindowOfASystemsTokenIsAMinute(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	bank := ebltest.New(t).Platform("bank.example", ebltest.Configure(func(c *node.Config) { c.Now = func() time.Time { return now } }))
	desk := bank.User("desk")
	e := newERP(t, "erp", identity.ES256)
	if err := bank.Node().AddSystem(t.Context(), "test", node.System{Name: "erp", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "CUST1", Local: desk.Local}}}); err != nil {
		t.Fatal(err)
	}
	l := newLocal(t, bank, api.Options{})
	const year = 365 * 24 * 3600
	for _, c := range []struct {
		nbf, iat, exp any // seconds from now; nil: absent
		why           string
	}{
		{0, 0, 60, ""}, {0, nil, 60, ""}, {nil, 0, 60, ""}, {nil, nil, 60, "exp is missing, or both nbf and iat"},
		{0, 0, 61, "60 s after"}, {0, nil, 61, "60 s after"}, {nil, 0, 61, "60 s after"},
		{-1, 0, 60, "60 s after"}, {0, -1, 60, "60 s after"}, {-year, 0, 60, "60 s after"}, {0, -year, 60, "60 s after"},
		{5, nil, 4, "60 s after"}, {0, 5, 4, "60 s after"},
		{10, 10, 60, ""}, {11, 0, 60, "not good yet"}, {0, 11, 60, "not good yet"},
		{10, 10, 61, "60 s away"}, {1, 1, 61, "60 s away"},
		{-70, -70, -10, ""}, {-71, -71, -11, "expired"},
	} {
		at := func(v any) any {
			if s, ok := v.(int); ok {
				return now.Unix() + int64(s)
			}
			return nil
		}
		got := l.with(e.token(map[string]any{"nbf": at(c.nbf), "iat": at(c.iat), "exp": at(c.exp)}), "GET", "/api/v1/whoami", "")
		if c.why == "" {
			got.want(t, 200, 0)
		} else if got.want(t, 401, 7101); !t.Failed() && !strings.Contains(got.errorResponse(t).Errors[0].Message, c.why) {
			t.Errorf("got %s, want %q", got.answer, c.why)
		}
		if t.Failed() {
			t.Fatalf("nbf %v, iat %v, exp %v", c.nbf, c.iat, c.exp)
		}
	}
}

// OPS-01: a token between platforms is nothing on the local listener, and a system's
// nothing between platforms.
func TestTokensAreOfOneListener(t *testing.T) {
	d := newDesk(t)
	access := d.token()
	l := newLocal(t, d.bank, api.Options{})
	l.with(access, "GET", "/api/v1/whoami", "").want(t, 401, 7101)
	e := newERP(t, "erp", identity.ES256)
	if err := d.bank.Node().AddSystem(t.Context(), "test", node.System{Name: "erp", Keys: []byte(e.ring()), Customers: []node.Customer{{ID: "CUST1", Local: d.bank.User("bob").Local}}}); err != nil {
		t.Fatal(err)
	}
	l.with(e.token(nil), "GET", "/api/v1/whoami", "").want(t, 200, 0)
	do(t, d.client, call{method: "PUT", url: d.base + "/v1/transferblocks", header: bearer(e.token(nil)), body: []byte(`{}`)}).want(t, 401, 7101)
}

// askSystems asks the operators' routes about systems.
func askSystems(t *testing.T, a *admin) {
	t.Helper()
	e := newERP(t, "erp", identity.ES256)
	body := func(local string) string {
		return `{"name":"erp","keys":` + e.ring() + `,"customers":[{"customer":"CUST1","local":"` + local + `"}]}`
	}
	a.ask("POST", "/admin/v1/systems", body("carol")).want(t, 200, 0)
	a.ask("POST", "/admin/v1/systems", body("nobody")).want(t, 404, 7104)
	a.ask("POST", "/admin/v1/systems", `{"name":"erp"}`).want(t, 400, 7001)
	list := decode[api.SystemList](t, a.ask("GET", "/admin/v1/systems", "").want(t, 200, 0))
	if len(list.Systems) != 1 || list.Systems[0].Keys[0].Fingerprint != e.signers[0].Key.Fingerprint() || list.Systems[0].Customers[0].Local != "carol" {
		t.Errorf("got %+v", list)
	}
	a.ask("POST", "/admin/v1/systems/erp/disable", "").want(t, 200, 0)
	a.ask("POST", "/admin/v1/systems/nobody/disable", "").want(t, 404, 7104)
}

// TestOrderOfADisabledSystemIsNotCarriedOut: disable counts at once, also for an order that
// waits for a second person.
func TestOrderOfADisabledSystemIsNotCarriedOut(t *testing.T) {
	bank, l, erp := newSystem(t, identity.ES256)
	desk, boss := bank.User("desk"), bank.User("boss")
	bank.User("other")
	doc := bank.Issue(desk.ID).String()
	if err := bank.Node().SetApprovers(t.Context(), "test", "desk", []string{"boss"}); err != nil {
		t.Fatal(err)
	}
	l.with(erp.token(nil), "POST", "/api/v1/ebls/"+doc+"/transfer", `{"to":"other@bank.example"}`)
	if err := bank.Node().DisableSystem(t.Context(), "test", "erp"); err != nil {
		t.Fatal(err)
	}
	waiting, err := bank.Node().Approvals(t.Context(), boss.User)
	if err != nil || len(waiting) != 1 {
		t.Fatalf("got %v, %v; want the order that waits", waiting, err)
	}
	_, err = bank.Node().Approve(t.Context(), boss.User, waiting[0].ID, waiting[0].Request, node.Once{})
	if got := node.AsError(err); err == nil || got.Text != node.TextApprovalOver {
		t.Errorf("got %v, want %s", err, node.TextApprovalOver)
	}
	if c := l.with(desk.Token, "GET", "/api/v1/ebls/"+doc, ""); !strings.Contains(string(c.answer), `"possessor":"desk@bank.example"`) {
		t.Errorf("the bill moved: %s", c.answer)
	}
}
