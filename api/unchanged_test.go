package api_test

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestRefusedRequestsChangeNothing sends what the listeners refuse before the node sees
// it, and orders that it refuses: status, code, text, unsigned, and every row of the
// database as before.
func TestRefusedRequestsChangeNothing(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier := w.Platform("carrier.example")
	bank := w.Platform("bank.example")
	desk, other, auditor := bank.User("desk"), bank.User("other"), bank.User("auditor", node.AuditorRole)
	held := bank.Issue(desk.ID).String()
	good, _ := carrier.Offer(desk.ID)
	unknown := strings.Repeat("ab", 32)
	db := database(t, bank)
	peer := "https://" + bank.Addr
	client := tlsClient(t, carrier)
	users := newLocal(t, bank, api.Options{})
	block := ebltest.Parse(t, good)
	long, wide := *block, *block
	for range 1000 {
		long.Entries = append(long.Entries, block.Entries[0])
	}
	var many []ebltest.Tx
	for range 1001 {
		many = append(many, ebltest.Tx{Instruction: envelope.Issue, To: desk.ID})
	}
	wide.Entries = []envelope.Entry{carrier.Seal(block.Last().Payload.DocumentHash, envelope.Hash{}, many...)}
	order := func(u *ebltest.User, path, body string) call {
		h := http.Header{}
		if u != nil {
			h.Set("Authorization", "Bearer "+u.Token)
		}
		return call{method: http.MethodPost, url: users.url + "/api/v1" + path, header: h, body: []byte(body)}
	}
	for name, c := range map[string]struct {
		call   call
		status int
		code   node.Code
		text   string
	}{
		"POST":                    {call{method: http.MethodPost, url: peer + "/v1/transferblocks", body: good}, 405, node.BadMethod, "methodNotAllowed"},
		"another path":            {call{method: http.MethodPut, url: peer + "/v1/transferblocks/", body: good}, 404, node.NotFound, "notFound"},
		"an API version to come":  {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: good, header: http.Header{"Api-Version": {"2"}}}, 400, node.BadAPIVersion, "unsupportedApiVersion"},
		"text":                    {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: good, header: http.Header{"Content-Type": {"text/plain"}}}, 415, node.BadMediaType, "unsupportedMediaType"},
		"UTF-16":                  {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: good, header: http.Header{"Content-Type": {"application/json; charset=utf-16"}}}, 415, node.BadMediaType, "unsupportedMediaType"},
		"compressed":              {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: good, header: http.Header{"Content-Encoding": {"gzip"}}}, 415, node.BadMediaType, "unsupportedMediaType"},
		"too large":               {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: bytes.Repeat([]byte(" "), 8<<20+1)}, 413, node.TooLarge, "tooLarge"},
		"empty":                   {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: []byte{}}, 400, node.Malformed, "malformed"},
		"1,001 entries":           {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: long.Marshal(false)}, 400, node.Malformed, "malformed"},
		"1,001 transactions":      {call{method: http.MethodPut, url: peer + "/v1/transferblocks", body: wide.Marshal(false)}, 400, node.Malformed, "malformed"},
		"an order too large":      {order(desk, "/ebls/"+held+"/transfer", `{"to":"other@bank.example","comments":"`+strings.Repeat("x", 9<<20)+`"}`), 413, node.TooLarge, "tooLarge"},
		"verdict on nothing":      {call{method: http.MethodGet, url: peer + "/v1/transferblocks/" + unknown + "/verdict"}, 404, node.NotFound, "notFound"},
		"verdict, no part in it":  {call{method: http.MethodGet, url: peer + "/v1/transferblocks/" + held + "/verdict"}, 403, node.Forbidden, "forbidden"},
		"verdict, no hash":        {call{method: http.MethodGet, url: peer + "/v1/transferblocks/ABC/verdict"}, 400, node.Malformed, "malformed"},
		"no token":                {order(nil, "/ebls/"+held+"/transfer", `{"to":"other@bank.example"}`), 401, node.Unauthorized, "tokenRequired"},
		"another user's bill":     {order(other, "/ebls/"+held+"/transfer", `{"to":"other@bank.example"}`), 404, node.NotFound, "notFound"},
		"an auditor's order":      {order(auditor, "/ebls/"+held+"/transfer", `{"to":"other@bank.example"}`), 403, node.Forbidden, "forbidden"},
		"a member more":           {order(desk, "/ebls/"+held+"/transfer", `{"to":"other@bank.example","control":"held"}`), 400, node.Malformed, "malformed"},
		"a member twice":          {order(desk, "/ebls/"+held+"/transfer", `{"to":"other@bank.example","to":"desk@bank.example"}`), 400, node.Malformed, "malformed"},
		"to nobody":               {order(desk, "/ebls/"+held+"/transfer", `{"to":"nobody@bank.example"}`), 422, node.NotPossible, "transfereeNotAccepted"},
		"to oneself":              {order(desk, "/ebls/"+held+"/transfer", `{"to":"desk@bank.example"}`), 409, node.Conflict, "unlawful/samePossessor"},
		"to a stranger":           {order(desk, "/ebls/"+held+"/transfer", `{"to":"x@stranger.example"}`), 422, node.NotPossible, "platformNotTrusted"},
		"honoured by a holder":    {order(desk, "/ebls/"+held+"/honour", `{}`), 403, node.Forbidden, "forbidden"},
		"declined without return": {order(desk, "/ebls/"+held+"/decline", `{}`), 409, node.Conflict, "unlawful/nothingToHonour"},
		"issued by a holder":      {order(desk, "/ebls", `{"document":{"isToOrder":true},"to":"desk@bank.example"}`), 403, node.Forbidden, "forbidden"},
	} {
		before := dump(t, db)
		via := client
		if strings.HasPrefix(c.call.url, users.url) {
			via = http.DefaultClient
		}
		got := do(t, via, c.call)
		e := got.errorResponse(t)
		if got.status != c.status || e.Errors[0].Code != int(c.code) || e.Errors[0].Text != c.text {
			t.Errorf("%s: got %d %d %s, want %d %d %s", name, got.status, e.Errors[0].Code, e.Errors[0].Text, c.status, c.code, c.text)
		}
		if e.Rejection != "" {
			t.Errorf("%s: the answer is signed", name)
		}
		if after := dump(t, db); !slices.Equal(before, after) {
			t.Errorf("%s: the database changed", name)
		}
	}
}

// TestFloodOfBlocksChangesNothing: beyond its rate a peer is answered 429 before its block
// is looked at.
func TestFloodOfBlocksChangesNothing(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier := w.Platform("carrier.example")
	bank := w.Platform("bank.example")
	desk := bank.User("desk")
	config := api.ServerTLS(api.Fixed(bank.TLS), bank.Node().Trust, bank.Node().Now)
	addr := serveTLS(t, api.NewPeerHandler(bank.Node(), api.Options{Rate: dry, Burst: 1}), config, nil)
	client := tlsClient(t, carrier)
	good, _ := carrier.Offer(desk.ID)
	put := call{method: http.MethodPut, url: "https://" + addr + "/v1/transferblocks", body: good}
	do(t, client, put).want(t, http.StatusOK, 0)
	db := database(t, bank)
	before := dump(t, db)
	more, _ := carrier.Offer(desk.ID)
	put.body = more
	got := do(t, client, put)
	got.want(t, http.StatusTooManyRequests, int(node.TooManyRequests))
	if got.got.Get("Retry-After") == "" || got.errorResponse(t).Rejection != "" {
		t.Errorf("got the header %v and the body %s, want Retry-After and nothing signed", got.got, got.answer)
	}
	if after := dump(t, db); !slices.Equal(before, after) {
		t.Error("the database changed")
	}
}

// TestRefusalsOverTokensChangeNothing: whatever is wrong with a token, or a request for
// one, is answered unsigned and leaves every row as it was.
func TestRefusalsOverTokensChangeNothing(t *testing.T) {
	w := ebltest.NewTLS(t)
	d := &tokenDesk{t: t, carrier: w.Platform("carrier.example"), bank: w.Platform("bank.example", ebltest.Tokens(nil))}
	d.client, d.base = tlsClient(t, d.carrier), "https://"+d.bank.Addr
	good, _ := d.carrier.Offer(d.bank.User("desk").ID)
	narrow := decode[oauth.Grant](t, d.post(tokenForm(d.assertion(nil), "scope", "ebl.verdict")).want(t, 200, 0)).Token
	used := d.assertion(nil)
	d.post(tokenForm(used)).want(t, 200, 0)
	r := newRealm(t)
	shared := r.platform(w, "shared", nil, false)
	down := newRealm(t)
	down.keys.Store("")
	dark := down.platform(w, "dark", nil, false)
	form := func(form url.Values) call {
		return call{method: http.MethodPost, url: d.base + "/oauth2/token", body: []byte(form.Encode()), header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}}
	}
	put := func(at, token string) call {
		c := call{method: http.MethodPut, url: "https://" + at + "/v1/transferblocks", body: good, header: http.Header{}}
		if token != "" {
			c.header = bearer(token)
		}
		return c
	}
	outside := r.token("JWT", r.claims("carrier.example", "https://shared.example")) // not bound
	for name, c := range map[string]struct {
		call   call
		status int
		code   node.Code
		text   string
	}{
		"no token":              {put(d.bank.Addr, ""), 401, node.Unauthorized, "tokenRequired"},
		"a bad token":           {put(d.bank.Addr, "x"), 401, node.Unauthorized, "tokenInvalid"},
		"another scope":         {put(d.bank.Addr, narrow), 403, node.Forbidden, "insufficientScope"},
		"no grant type":         {form(url.Values{}), 400, node.Malformed, "malformed"},
		"no assertion":          {form(tokenForm("")), 401, node.Unauthorized, "clientInvalid"},
		"a bad assertion":       {form(tokenForm("x")), 401, node.Unauthorized, "clientInvalid"},
		"an old assertion":      {form(tokenForm(d.assertion(map[string]any{"exp": 1}))), 401, node.Unauthorized, "clientInvalid"},
		"a used assertion":      {form(tokenForm(used)), 401, node.Unauthorized, "clientInvalid"},
		"to the token endpoint": {form(tokenForm(d.assertion(map[string]any{"aud": d.bank.TokenEndpoint(), "jti": nil}))), 401, node.Unauthorized, "clientInvalid"},
		"an outside token":      {put(shared.Addr, outside), 401, node.Unauthorized, "tokenInvalid"},
		"the issuer is down":    {put(dark.Addr, outside), 503, node.Unavailable, "unavailable"},
	} {
		var before [][]string
		platforms := []*ebltest.Platform{d.bank, shared, dark}
		for _, p := range platforms {
			before = append(before, dump(t, database(t, p)))
		}
		got := do(t, d.client, c.call)
		if e := got.errorResponse(t); got.status != c.status || e.Errors[0].Code != int(c.code) || e.Errors[0].Text != c.text || e.Rejection != "" {
			t.Errorf("%s: got %d %s, want %d %d %s unsigned", name, got.status, got.answer, c.status, c.code, c.text)
		}
		for i, p := range platforms {
			if after := dump(t, database(t, p)); !slices.Equal(before[i], after) {
				t.Errorf("%s: the database of %s changed", name, p.Domain())
			}
		}
	}
	// And the sender seals nothing for a peer that gives it no token.
	entry := *d.carrier.Entry
	entry.OAuth.ClientID = "somebody"
	if err := d.bank.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	alice := d.carrier.User("alice")
	held := d.carrier.Issue(alice.ID).String()
	db := database(t, d.carrier)
	before := dump(t, db)
	newLocal(t, d.carrier, api.Options{}).as(alice, "POST", "/api/v1/ebls/"+held+"/transfer", `{"to":"desk@bank.example"}`).want(t, 422, 8005)
	if after := dump(t, db); !slices.Equal(before, after) {
		t.Error("a refused order changed the database")
	}
}
