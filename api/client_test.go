package api_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/discovery"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

func mustEndpoint(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := discovery.ParseEndpoint(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func dialTo(addr string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
}

// A liar has the peer's certificate and says what the test wants.
type liar struct {
	answer atomic.Pointer[http.HandlerFunc]
	asked  atomic.Int64
}

func (l *liar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*l.answer.Load())(w, r)
	l.asked.Add(1)
}

func (l *liar) say(h http.HandlerFunc) { l.answer.Store(&h) }

func saying(status int, kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// newLiar takes bank's place at its address.
func newLiar(t testing.TB, bank *ebltest.Platform) *liar {
	t.Helper()
	bank.Stop()
	l := &liar{}
	l.say(saying(500, "text/plain", "not yet"))
	s := api.NewServer(l, &tls.Config{Certificates: []tls.Certificate{bank.TLS}, ClientAuth: tls.RequireAnyClientCert}, nil, nil)
	serveAt(t, s, bank.Addr)
	return l
}

// doubt is a transfer of the carrier to the bank that was sent and has no answer.
type doubt struct {
	carrier, bank, shop *ebltest.Platform
	doc                 envelope.Hash
	id                  string
	entry               envelope.Entry
	liar                *liar
}

func newDoubt(t testing.TB) *doubt {
	t.Helper()
	w := ebltest.NewTLS(t)
	d := &doubt{shop: w.Platform("shop.example"), bank: w.Platform("bank.example"),
		carrier: w.Platform("carrier.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Retry = 10 * time.Millisecond }))}
	alice, bob := d.carrier.User("alice"), d.bank.User("bob")
	d.doc = d.carrier.Issue(alice.ID)
	d.id = d.carrier.Move(alice, d.doc, envelope.Transfer, bob.ID).Transfer
	d.liar = newLiar(t, d.bank)
	var sent atomic.Pointer[envelope.Entry]
	d.liar.say(func(w http.ResponseWriter, r *http.Request) {
		body := make([]byte, r.ContentLength)
		if _, err := readFull(r, body); err == nil {
			if block, err := envelope.Parse(body, envelope.Limits{}); err == nil {
				sent.Store(block.Last())
			}
		}
		w.WriteHeader(503)
	})
	t.Cleanup(d.carrier.Run())
	waitFor(t, "the block to be sent", func() bool { return sent.Load() != nil })
	d.entry = *sent.Load()
	return d
}

func readFull(r *http.Request, b []byte) (int, error) {
	n := 0
	for n < len(b) {
		k, err := r.Body.Read(b[n:])
		n += k
		if err != nil && n < len(b) {
			return n, err
		}
	}
	return n, nil
}

func (d *doubt) receipt(t testing.TB, claimed envelope.Hash, by *identity.Signer) string {
	t.Helper()
	return d.receiptAt(t, claimed, by, time.Now())
}

func (d *doubt) receiptAt(t testing.TB, claimed envelope.Hash, by *identity.Signer, at time.Time) string {
	t.Helper()
	jws, err := envelope.SignReceipt(claimed, by, at)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

// rejection is the bank's true rejection of the transfer, after change.
func (d *doubt) rejection(t testing.TB, by *identity.Signer, change func(*envelope.Rejection)) string {
	t.Helper()
	r := envelope.Rejection{EnvelopeHash: d.entry.Hash(), JWSSum: envelope.HashOf([]byte(d.entry.JWS.Raw)), Sender: d.carrier.Domain(),
		Receiver: d.bank.Domain(), Code: envelope.BadEnvelopeCode, Reason: "transfereeNotAccepted", At: time.Now()}
	if change != nil {
		change(&r)
	}
	jws, err := envelope.SignRejection(r, by)
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

func errorBody(code int, text, rejection string) string {
	return fmt.Sprintf(`{"statusCode":200,"statusCodeMessage":"m","errors":[{"errorCode":%d,"errorCodeText":%q,"errorCodeMessage":"the reason"}],"rejectionSignedContent":%q}`, code, text, rejection)
}

// JWS-28, SNG-11, DNS-03: nothing but the peer's own signature over this very transfer
// ends it. Until then it is in doubt, and the user is told what the last answer was.
func TestOnlyTheSignedAnswerToThisTransferSettlesIt(t *testing.T) {
	d := newDoubt(t)
	good := d.receipt(t, d.entry.Claimed, d.bank.Signer)
	flipped := good[:len(good)-10] + map[bool]string{true: "B", false: "A"}[good[len(good)-10] == 'A'] + good[len(good)-9:]
	other := envelope.HashOf([]byte("another envelope"))
	var followed atomic.Int64
	elsewhere := "https://" + serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		followed.Add(1)
		_, _ = w.Write([]byte(good))
	}), api.PublicTLS(api.Fixed(d.bank.TLS)), nil)
	// With a key of before, dated back to when it was in use.
	early := d.entry.Payload.SignedAt().Add(-envelope.ClockSkew - 2*time.Second)
	old, err := identity.GenerateSigner(d.bank.Domain(), identity.ES256, identity.CertificateSpec{Subject: "old", NotBefore: early.Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	entry, key := *d.bank.Entry, *old.Key
	key.Revoked, key.Reason = early.Add(time.Minute).UTC().Truncate(time.Second), "superseded"
	entry.Keys = append([]*identity.Key{&key}, entry.Keys...)
	if err := d.carrier.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
		t.Fatal(err)
	}
	const believed = "not its receipt"
	for _, c := range []struct {
		name   string
		answer http.HandlerFunc
		want   string // in the last answer
	}{
		{"unsigned 500", saying(500, "application/json", errorBody(7500, "internalError", "")), "7500 internalError"},
		{"502 HTML", saying(502, "text/html", "<html><b>Bad\nGateway</b>\x1b[2J"), `answered 502 and no signature: "<html><b>Bad.Gateway</b>.[2J"`},
		{"unsigned 422 BENV", saying(422, "application/json", errorBody(8002, "badHash", "")), "8002 badHash"},
		{"unsigned 409 DISE", saying(409, "application/json", errorBody(8003, "forked", "")), "8003 forked"},
		{"200 garbage", saying(200, "application/json", `[1,2`), "answered 200 and no signature"},
		{"200 empty", saying(200, "application/json", " \r\n"), "answered 200 and nothing else"},
		{"200 quotes", saying(200, "application/json", `""`), "answered 200 and no signature"},
		{"bad signature", saying(200, "application/jose", flipped), believed},
		{"another peer's key", saying(200, "application/jose", d.receipt(t, d.entry.Claimed, d.shop.Signer)), believed},
		{"our own key", saying(200, "application/jose", d.receipt(t, d.entry.Claimed, d.carrier.Signer)), believed},
		{"another hash", saying(200, "application/jose", d.receipt(t, other, d.bank.Signer)), believed},
		{"wrapped in JSON", saying(200, "application/json", `{"receipt":"`+good+`"}`), "answered 200 and no signature"},
		{"our envelope back", saying(200, "application/jose", d.entry.JWS.Raw), believed},
		{"a rejection as a receipt", saying(200, "application/jose", d.rejection(t, d.bank.Signer, nil)), believed},
		{"a receipt as a rejection", saying(422, "application/json", errorBody(8002, "x", good)), "not its rejection"},
		{"another peer's rejection", saying(422, "application/json", errorBody(8002, "x", d.rejection(t, d.shop.Signer, nil))), "not its rejection"},
		{"rejection of another envelope", saying(422, "application/json", errorBody(8002, "x", d.rejection(t, d.bank.Signer, func(r *envelope.Rejection) { r.EnvelopeHash = other }))), "about another transfer"},
		{"rejection of other bytes", saying(422, "application/json", errorBody(8002, "x", d.rejection(t, d.bank.Signer, func(r *envelope.Rejection) { r.JWSSum = other }))), "about another transfer"},
		{"rejection for another sender", saying(422, "application/json", errorBody(8002, "x", d.rejection(t, d.bank.Signer, func(r *envelope.Rejection) { r.Sender = d.shop.Domain() }))), "about another transfer"},
		{"a receipt from before the envelope", saying(200, "application/jose", d.receiptAt(t, d.entry.Claimed, old, early)), "it is dated"},
		{"a rejection from before the envelope", saying(422, "application/json", errorBody(8002, "x", d.rejection(t, old, func(r *envelope.Rejection) { r.At = early }))), "it is dated"},
		{"rejection by another receiver", saying(422, "application/json", errorBody(8002, "x", d.rejection(t, d.bank.Signer, func(r *envelope.Rejection) { r.Receiver = d.shop.Domain() }))), "about another transfer"},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere)
			w.WriteHeader(307)
		}, "a redirect; none is followed"},
		{"too long", saying(200, "application/jose", good+strings.Repeat(" ", 1<<20)), "over the limit"},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b\x08\x00"))
		}, "answered 200 and no signature"},
		{"cut off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(good))
		}, "reading the answer of bank.example"},
	} {
		d.liar.say(c.answer)
		asked := d.liar.asked.Load()
		waitFor(t, "two more attempts with: "+c.name, func() bool {
			return d.liar.asked.Load() >= asked+2 && strings.Contains(d.carrier.View(d.doc).Transfer.LastAnswer, c.want)
		})
		v := d.carrier.View(d.doc)
		if v.Control != node.Locked || v.Transfer.State != node.Sending || !v.Transfer.InDoubt || v.Transfer.Verdict != "" {
			t.Fatalf("%s: got %s and %s, want locked and sending", c.name, v.Control, v.Transfer.State)
		}
		if got := v.Transfer.LastAnswer; len(got) > 600 || strings.ContainsAny(got, "\n\r\x1b") {
			t.Errorf("%s: the last answer is not fit to be shown: %q", c.name, got)
		}
	}
	if got := followed.Load(); got != 0 {
		t.Errorf("a redirect was followed %d times", got)
	}
	d.liar.say(saying(500, "text/html", " \n\""+good+"\"\n")) // the status and type decide nothing
	if v := d.carrier.Settled(d.id, node.Accepted); v.Verdict != good {
		t.Errorf("the verdict kept: got %s, want %s", v.Verdict, good)
	}
}

func TestSignedRejectionGivesControlBackWhateverTheStatus(t *testing.T) {
	for _, c := range []struct {
		status  int
		code    envelope.ResponseCode
		want    node.TransferState
		control node.Control
	}{{200, envelope.BadEnvelopeCode, node.Rejected, node.Held}, {503, envelope.BadSignatureCode, node.Rejected, node.Held},
		{200, envelope.DisputeCode, node.DisputedT, node.Disputed}} {
		d := newDoubt(t)
		jws := d.rejection(t, d.bank.Signer, func(r *envelope.Rejection) { r.Code = c.code })
		d.liar.say(saying(c.status, "text/plain", errorBody(8002, "x", jws)))
		d.carrier.Settled(d.id, c.want)
		if got := d.carrier.View(d.doc).Control; got != c.control {
			t.Errorf("%d %s: got %s, want %s", c.status, c.code, got, c.control)
		}
	}
}

func TestClientFindsItsPathsBesideTheEndpoint(t *testing.T) {
	p := newPair(t)
	l := newLiar(t, p.bank)
	var got []string
	l.say(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.URL.Path)
		w.WriteHeader(200)
	})
	h := repeated("0", 64)
	for endpoint, want := range map[string]string{
		"https://bank.example/v1/transferblocks":   "PUT /v1/transferblocks GET /v1/transferblocks/" + h + "/verdict GET /v1/.well-known/jwks.json",
		"https://bank.example/v1/transferblock":    "PUT /v1/transferblock GET /v1/transferblocks/" + h + "/verdict GET /v1/.well-known/jwks.json",
		"https://bank.example/x/v1/transferblocks": "PUT /x/v1/transferblocks GET /x/v1/transferblocks/" + h + "/verdict GET /x/v1/.well-known/jwks.json",
	} {
		c, err := api.NewClient(api.ClientConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS), Peer: p.bank.Entry,
			Endpoint: mustEndpoint(t, endpoint), DialContext: dialTo(p.bank.Addr)})
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		_, _ = c.PutTransferblock(t.Context(), node.Request{Sender: p.carrier.Domain(), Body: []byte("{}")})
		_, _ = c.Verdict(t.Context(), p.carrier.Domain(), envelope.Hash{})
		if err := c.Check(t.Context(), p.carrier.Domain()); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
		c.Close()
		if joined := strings.Join(got, " "); joined != want {
			t.Errorf("%s: asked\n%s, want\n%s", endpoint, joined, want)
		}
	}
}

func TestCheckFailsWhereThePeerDoesNotKnowUs(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example", ebltest.Stranger())
	carrier.Trust(bank) // and not the other way round
	p, err := carrier.Dial(bank)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(t.Context(), carrier.Domain()); err == nil {
		t.Error("checking a peer that does not know us: got no error")
	}
	alice := carrier.User("alice")
	doc := carrier.Issue(alice.ID)
	if _, err := carrier.Node().Move(t.Context(), alice.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote("bob@bank.example")}); codeOf(err) != node.NotPossible {
		t.Errorf("transferring to it: got %v, want 8005", err)
	}
	if got := carrier.View(doc).Control; got != node.Held {
		t.Errorf("control: got %s, want held", got)
	}
}

func TestChangedTrustEntryGetsANewConnection(t *testing.T) {
	p := newPair(t)
	dials := atomic.Int64{}
	peers := api.NewPeers(api.PeersConfig{Self: p.carrier.Domain(), Certificate: api.Fixed(p.carrier.TLS),
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, p.bank.Addr)
		}})
	defer peers.Close()
	at := discovery.Endpoint{URL: mustEndpoint(t, "https://bank.example/v1/transferblocks")}
	lost := int64(0)
	check := func(entry *identity.Platform, at discovery.Endpoint) error {
		t.Helper()
		peer, err := peers.Dial(entry, at)
		if err != nil {
			t.Fatal(err)
		}
		if entry.TLS.Pins[0] == [32]byte{1} {
			return peer.Check(t.Context(), p.carrier.Domain())
		}
		n, err := kept(t, func(ctx context.Context) error { return peer.Check(ctx, p.carrier.Domain()) })
		lost += n
		return err
	}
	same, named, unpinned := *p.bank.Entry, *p.bank.Entry, *p.bank.Entry
	named.Name = "Another name"
	unpinned.TLS.Pins = [][32]byte{{1}}
	moved := discovery.Endpoint{URL: mustEndpoint(t, "https://api.bank.example/v1/transferblocks")}
	for i, c := range []struct {
		entry *identity.Platform
		at    discovery.Endpoint
		dials int64
		ok    bool
	}{{p.bank.Entry, at, 1, true}, {p.bank.Entry, at, 1, true}, {&same, at, 1, true}, {&named, at, 2, true}, {&named, moved, 3, true}, {&unpinned, moved, 4, false}} {
		if err := check(c.entry, c.at); (err == nil) != c.ok {
			t.Errorf("step %d: got %v, want success %t", i, err, c.ok)
		}
		if got := dials.Load() - lost; got != c.dials {
			t.Errorf("step %d: %d connections, want %d", i, got, c.dials)
		}
	}
	if _, err := peers.Dial(p.bank.Entry, discovery.Endpoint{}); err == nil {
		t.Error("dialling without an endpoint: got no error")
	}
	if _, err := peers.Dial(&named, discovery.Endpoint{URL: &url.URL{Scheme: "http", Host: "bank.example"}}); err == nil {
		t.Error("dialling without TLS: got no error")
	}
}
