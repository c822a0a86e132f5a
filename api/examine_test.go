package api_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/internal/dnsserver"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// newResolver is a resolver that asks one server of the test, where all platforms have an
// address on loopback.
func newResolver(t testing.TB, networks ...string) (*discovery.Resolver, *dnsserver.Server) {
	t.Helper()
	dns, err := dnsserver.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := dns.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	for _, name := range []string{"carrier.example", "bank.example"} {
		dns.SetA(name, netip.MustParseAddr("127.0.0.1"))
	}
	var allow []netip.Prefix
	for _, n := range networks {
		allow = append(allow, netip.MustParsePrefix(n))
	}
	r, err := discovery.New(discovery.Config{Resolvers: []string{dns.Addr()}, AllowNetworks: allow, Timeout: 30 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return r, dns
}

func newExaminer(t testing.TB, p *ebltest.Platform, r *discovery.Resolver) *api.Examiner {
	t.Helper()
	peers := api.NewPeers(api.PeersConfig{Self: p.Domain(), Certificate: api.Fixed(p.TLS), DialContext: r.DialContext, Timeout: 30 * time.Second})
	t.Cleanup(peers.Close)
	return &api.Examiner{Node: p.Node(), Resolver: r, Peers: peers}
}

// states are the findings by their check; the worst of each.
func states(l api.FindingList) map[string]api.Finding {
	m := map[string]api.Finding{}
	for _, f := range l.Findings {
		if was, found := m[f.Check]; !found || was.State == "ok" {
			m[f.Check] = f
		}
	}
	return m
}

// fakeBank serves a handler with the bank's certificate, in the place of its node.
func fakeBank(t testing.TB, bank *ebltest.Platform, cert tls.Certificate, handler http.HandlerFunc) {
	t.Helper()
	bank.Stop()
	config := &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAnyClientCert}
	serveAt(t, &http.Server{Handler: handler, TLSConfig: config}, bank.Addr)
}

// TestWhatIsWrongBetweenUsAndAPeerIsNamed: each thing that can stand between two platforms,
// one at a time; the examination names it and says how to mend it, and everything before it
// is well.
func TestWhatIsWrongBetweenUsAndAPeerIsNamed(t *testing.T) {
	type world struct {
		carrier, bank *ebltest.Platform
		dns           *dnsserver.Server
		entry         *identity.Platform // the bank's, as the carrier holds it
		networks      []string
	}
	keysOf := func(keys ...*identity.Key) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			var set struct {
				Keys []json.RawMessage `json:"keys"`
			}
			for _, k := range keys {
				text, err := k.JWK()
				if err != nil {
					t.Error(err)
				}
				set.Keys = append(set.Keys, text)
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(set)
		}
	}
	for _, c := range []struct {
		name         string
		do           func(w *world)
		check, state string
		words, cure  string
	}{
		{"nothing", func(*world) {}, "TLS, client", "ok", "knows us", ""},
		{"no record in DNS", func(w *world) { w.entry.Endpoint = "" }, "DNS", "error", "notFound", "TXT record that eblnode dns prints"},
		{"two records in DNS", func(w *world) {
			w.entry.Endpoint = ""
			w.dns.SetTXT("bank.example", "ebl-transferblock=https://a.example/v1/transferblocks", "ebl-transferblock=https://b.example/v1/transferblocks")
		}, "DNS", "error", "ambiguous", "the peer must mend its TXT records"},
		{"DNS says another place than the entry", func(w *world) {
			w.dns.SetTXT("bank.example", "ebl-transferblock=https://old.bank.example/v1/transferblocks")
		}, "DNS", "warning", "its TXT record says https://old.bank.example/v1/transferblocks", "ask the peer which is right"},
		{"an address of a private network", func(w *world) { w.networks = nil }, "TLS, server", "error", "forbidden", "discovery.allowNetworks"},
		{"nobody answers", func(w *world) { w.bank.Stop() }, "TLS, server", "error", "refused", "down"},
		{"another certificate", func(w *world) {
			now := time.Now()
			fakeBank(t, w.bank, w.bank.Certificate(now.Add(-time.Hour), now.Add(90*24*time.Hour), w.bank.TLS.Leaf.ExtKeyUsage...), keysOf())
		}, "TLS, server", "error", "is not pinned", "over another channel, whether it changed its certificate (sha256/"},
		{"a certificate that runs out", func(w *world) {
			now := time.Now()
			cert := w.bank.Certificate(now.Add(-time.Hour), now.Add(20*24*time.Hour), w.bank.TLS.Leaf.ExtKeyUsage...)
			w.entry.TLS.Pins = [][32]byte{identity.SPKIPin(cert.Leaf)}
			fakeBank(t, w.bank, cert, keysOf(w.bank.Signer.Key))
		}, "TLS, server", "warning", "until", "new certificate"},
		{"we are unknown there", func(w *world) {
			if err := w.bank.Node().RemovePeer(t.Context(), "test", w.carrier.Domain()); err != nil {
				t.Error(err)
			}
		}, "TLS, client", "error", "", "eblnode peer self"},
		{"it answers 500", func(w *world) {
			fakeBank(t, w.bank, w.bank.TLS, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
		}, "TLS, client", "error", "500", ""},
		{"it redirects", func(w *world) {
			fakeBank(t, w.bank, w.bank.TLS, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, "https://evil.example/", http.StatusFound)
			})
		}, "TLS, client", "error", "302", ""},
		{"its clock is fast", func(w *world) {
			fakeBank(t, w.bank, w.bank.TLS, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Date", time.Now().Add(6*time.Minute).UTC().Format(http.TimeFormat))
				keysOf(w.bank.Signer.Key)(rw, r)
			})
		}, "clock", "error", "away from ours", "find out whose is wrong"},
		{"its clock is a little slow", func(w *world) {
			fakeBank(t, w.bank, w.bank.TLS, func(rw http.ResponseWriter, r *http.Request) {
				rw.Header().Set("Date", time.Now().Add(-2*time.Minute).UTC().Format(http.TimeFormat))
				keysOf(w.bank.Signer.Key)(rw, r)
			})
		}, "clock", "warning", "away from ours", "NTP"},
		{"it has a new key", func(w *world) {
			fakeBank(t, w.bank, w.bank.TLS, keysOf(w.bank.Signer.Key, w.carrier.Signer.Key))
		}, "JWKS", "warning", "that we do not hold", "eblnode peer fetch bank.example"},
		{"it has revoked a key", func(w *world) {
			k := *w.bank.Signer.Key
			k.Revoked, k.Reason = time.Now(), identity.ReasonKeyCompromise
			fakeBank(t, w.bank, w.bank.TLS, keysOf(&k))
		}, "JWKS", "error", "keyCompromise", "eblnode peer fetch bank.example"},
		{"its key set names a key twice", func(w *world) {
			fakeBank(t, w.bank, w.bank.TLS, keysOf(w.bank.Signer.Key, w.bank.Signer.Key))
		}, "JWKS", "error", "names two keys", "the keys of its trust entry serve on"},
		{"it publishes no key set", func(w *world) { fakeBank(t, w.bank, w.bank.TLS, http.NotFound) }, "JWKS", "skipped", "publishes no key set", ""},
		{"its keys have run out", func(w *world) {
			k := *w.entry.Keys[0]
			k.NotAfter = time.Now().Add(-time.Hour)
			w.entry.Keys = []*identity.Key{&k}
		}, "signing keys", "error", "none of the 1 keys", "eblnode peer fetch bank.example"},
		{"its keys run out", func(w *world) {
			k := *w.entry.Keys[0]
			k.NotAfter = time.Now().Add(5 * 24 * time.Hour)
			w.entry.Keys = []*identity.Key{&k}
		}, "signing keys", "warning", "the last of 1 runs out", "new trust entry"},
		{"nobody can be it", func(w *world) { w.entry.TLS.Pins = nil }, "trust entry", "error", "neither pins nor anchors", "tls.pins"},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := ebltest.NewTLS(t)
			w := &world{carrier: net.Platform("carrier.example"), bank: net.Platform("bank.example"), networks: []string{"127.0.0.0/8"}}
			entry := *w.bank.Entry
			w.entry = &entry
			r, dns := newResolver(t, w.networks...)
			w.dns = dns
			c.do(w)
			if w.networks == nil {
				r, _ = newResolver(t)
			}
			got := newExaminer(t, w.carrier, r).Peer(t.Context(), w.entry)
			f := states(got)[c.check]
			if f.State != c.state || !strings.Contains(f.Found, c.words) || !strings.Contains(f.Cure, c.cure) {
				t.Errorf("got %+v in %+v, want %s with %q, and the cure %q", f, got, c.state, c.words, c.cure)
			}
			if c.name == "nothing" && (got.Errors > 0 || len(got.Findings) < 5) {
				t.Errorf("got %+v, want nothing wrong", got)
			}
			for _, f := range got.Findings {
				if f.State == "error" && f.Cure == "" {
					t.Errorf("%+v: no cure", f)
				}
				if f.State == "error" && f.Check == c.check {
					break
				}
				if f.State == "error" && c.state == "error" {
					t.Errorf("something else is wrong first: %+v", f)
				}
			}
		})
	}
}

// TestPeerThatWantsTokensIsExamined: peer check says what is wrong with the way to a token,
// and who is to mend it.
func TestPeerThatWantsTokensIsExamined(t *testing.T) {
	for _, c := range []struct {
		name               string
		metadata           string // "": there are none
		state, words, cure string
	}{
		{"nothing", "own", "ok", "gives us one", ""},
		{"no metadata", "", "error", "does not say where to get one", "must publish /.well-known/oauth-authorization-server"},
		{"the metadata of another", `{"issuer":"https://other.example","token_endpoint":"https://bank.example/oauth2/token"}`, "error", "another issuer", "compare the oauth part"},
	} {
		t.Run(c.name, func(t *testing.T) {
			net := ebltest.NewTLS(t)
			carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example", ebltest.Tokens(nil))
			if c.metadata != "own" {
				fakeBank(t, bank, bank.TLS, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					switch {
					case strings.HasSuffix(r.URL.Path, "/verdict"):
						w.Header().Set("WWW-Authenticate", "Bearer")
						w.WriteHeader(401)
					case strings.HasPrefix(r.URL.Path, "/.well-known/o") && c.metadata != "":
						_, _ = w.Write([]byte(c.metadata))
					default:
						w.WriteHeader(404)
					}
				})
			}
			r, _ := newResolver(t, "127.0.0.0/8")
			peers := api.NewPeers(api.PeersConfig{Self: carrier.Domain(), Certificate: api.Fixed(carrier.TLS), DialContext: r.DialContext, Timeout: 30 * time.Second,
				Tokens: &api.TokenConfig{Self: carrier.Entry, Sign: carrier.Node().SignToken}})
			t.Cleanup(peers.Close)
			got := (&api.Examiner{Node: carrier.Node(), Resolver: r, Peers: peers}).Peer(t.Context(), bank.Entry)
			if f := states(got)["token"]; f.State != c.state || !strings.Contains(f.Found, c.words) || !strings.Contains(f.Cure, c.cure) {
				t.Errorf("got %+v in %+v, want %s with %q, and the cure %q", f, got, c.state, c.words, c.cure)
			}
		})
	}
}

// fetched is what a stranger finds of the bank, with its public listener in one way or
// another.
func fetched(t *testing.T, handler http.Handler, change func(*dnsserver.Server, string)) (*api.Fetched, *ebltest.Platform, error) {
	t.Helper()
	net := ebltest.NewTLS(t)
	bank := net.Platform("bank.example")
	if handler == nil {
		handler = api.NewPublicHandler(bank.Node(), api.Options{})
	}
	public := serveTLS(t, handler, api.PublicTLS(api.Fixed(bank.TLS)), nil)
	r, dns := newResolver(t, "127.0.0.0/8")
	_, port, _ := strings.Cut(public, ":")
	_, peerPort, _ := strings.Cut(bank.Addr, ":")
	dns.SetTXT("bank.example", "ebl-keys=https://bank.example:"+port, "ebl-transferblock=https://bank.example:"+peerPort+"/v1/transferblocks", "v=spf1 -all")
	if change != nil {
		change(dns, port)
	}
	host, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	got, err := api.Fetch(t.Context(), r, host, "", false)
	return got, bank, err
}

// TestStrangersEntryIsFetchedByDNS: what a platform publishes of itself is what it would
// hand over as a file, with the same fingerprint.
func TestStrangersEntryIsFetchedByDNS(t *testing.T) {
	got, bank, err := fetched(t, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Composed || got.Platform.Fingerprint() != bank.Entry.Fingerprint() || !strings.HasPrefix(got.Record, "ebl-keys=https://bank.example:") {
		t.Errorf("got %+v, want the bank's own entry", got)
	}
}

// TestEntryIsPutTogetherForAPlatformThatPublishesKeysAlone: another implementation has a
// key set and no entry of ours. The keys and the certificate at its endpoint make one.
func TestEntryIsPutTogetherForAPlatformThatPublishesKeysAlone(t *testing.T) {
	var bank *ebltest.Platform
	set := func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "jwks.json") {
			http.NotFound(w, r)
			return
		}
		text, err := bank.Signer.Key.JWK()
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/jwk-set+json")
		fmt.Fprintf(w, `{"keys":[%s,{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`, text)
	}
	net := ebltest.NewTLS(t)
	bank = net.Platform("bank.example")
	public := serveTLS(t, http.HandlerFunc(set), api.PublicTLS(api.Fixed(bank.TLS)), nil)
	r, dns := newResolver(t, "127.0.0.0/8")
	_, peerPort, _ := strings.Cut(bank.Addr, ":")
	dns.SetTXT("bank.example", "ebl-transferblock=https://bank.example:"+peerPort+"/v1/transferblocks")
	_, port, _ := strings.Cut(public, ":")
	got, err := api.Fetch(t.Context(), r, bank.Domain(), "https://bank.example:"+port, false)
	if err != nil {
		t.Fatal(err)
	}
	p := got.Platform
	if !got.Composed || p.Issuer || len(p.Keys) != 1 || p.Keys[0].Thumbprint() != bank.Signer.Key.Thumbprint() ||
		len(p.TLS.Pins) != 1 || p.TLS.Pins[0] != identity.SPKIPin(bank.TLS.Leaf) {
		t.Errorf("got %+v, want its key and its pin, and no right to issue", p)
	}
}

// TestFetchIsRefused: an entry of somebody else, sets that contradict it, redirects, floods
// and drips give nothing.
func TestFetchIsRefused(t *testing.T) {
	thief := ebltest.New(t).Platform("thief.example")
	answer := func(jwks, entry string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			if strings.HasSuffix(r.URL.Path, "jwks.json") {
				fmt.Fprint(w, jwks)
				return
			}
			fmt.Fprint(w, entry)
		}
	}
	theirs, err := thief.Entry.JSON()
	if err != nil {
		t.Fatal(err)
	}
	key, err := thief.Signer.Key.JWK()
	if err != nil {
		t.Fatal(err)
	}
	good := `{"keys":[` + string(key) + `]}`
	renamed := strings.Replace(good, `"kid":"`, `"kid":"x`, 1)
	mine := strings.ReplaceAll(string(theirs), "thief.example", "bank.example")
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		change  func(*dnsserver.Server, string)
		want    string
	}{
		"another platform's entry": {answer(good, string(theirs)), nil, "not its own trust entry"},
		"a key set of other keys":  {answer(renamed, mine), nil, "and not, or another, in its trust entry"},
		"an entry that is none":    {answer(good, `{"domain":"bank.example"}`), nil, "keys"},
		"a set that is none":       {answer(`[]`, mine), nil, "a key set is an object"},
		"a private key":            {answer(strings.Replace(good, `"kty"`, `"d":"AAAA","kty"`, 1), mine), nil, "a private or symmetric key"},
		"HTML":                     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, nil, "not JSON"},
		"a redirect to http": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1/", http.StatusFound)
		}, nil, "a redirect; none is followed"},
		"a redirect to another": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://thief.example/", http.StatusTemporaryRedirect)
		}, nil, "a redirect; none is followed"},
		"404":        {http.NotFound, nil, "there is no such document"},
		"a gigabyte": {flood, nil, "over the limit of 262144 bytes"},
		"a compressed bomb": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			answer("\x1f\x8b", "")(w, r)
		}, nil, "JSON"},
		"one byte a second": {drip, nil, "deadline"},
		"two places": {nil, func(d *dnsserver.Server, port string) {
			d.SetTXT("bank.example", "ebl-keys=https://a.example", "ebl-keys=https://b.example")
		}, "ambiguous"},
		"a place without TLS": {nil, func(d *dnsserver.Server, port string) { d.SetTXT("bank.example", "ebl-keys=http://bank.example:"+port) }, "badRecord"},
		"a mail server":       {nil, func(d *dnsserver.Server, port string) { d.SetTXT("bank.example", "ebl-keys=https://bank.example:25") }, "badRecord"},
		"a place with a path": {nil, func(d *dnsserver.Server, port string) {
			d.SetTXT("bank.example", "ebl-keys=https://bank.example:"+port+"/x")
		}, "badRecord"},
		"an address of our own": {nil, func(d *dnsserver.Server, port string) {
			d.SetTXT("bank.example", "ebl-keys=https://inside.example:"+port)
			d.SetA("inside.example", netip.MustParseAddr("10.0.0.1"))
		}, "forbidden"},
		"a name with no such record": {nil, func(d *dnsserver.Server, port string) { d.SetTXT("bank.example", "v=spf1 -all") }, "finding"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.want == "deadline" {
				t.Parallel() // it waits
			}
			var h http.Handler
			if c.handler != nil {
				h = c.handler
			}
			begin := time.Now()
			got, _, err := fetched(t, h, c.change)
			if err == nil || !strings.Contains(err.Error(), c.want) && !(c.want == "deadline" && (errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "unexpected end"))) &&
				!(c.want == "finding" && strings.Contains(err.Error(), "fetching https://bank.example/")) {
				t.Errorf("got %+v, %v, want a refusal with %q", got, err, c.want)
			}
			if took := time.Since(begin); took > 45*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func flood(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	block := []byte(strings.Repeat("[", 64<<10))
	for range 1 << 14 {
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for range 60 {
		if _, err := w.Write([]byte(" ")); err != nil {
			return
		}
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// TestWeAreExaminedAsPeersFindUs: our own endpoint, who answers there, and our clock beside
// the peers'.
func TestWeAreExaminedAsPeersFindUs(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example")
	r, _ := newResolver(t, "127.0.0.0/8")
	check := func(name, state, words string) {
		t.Helper()
		got := states(newExaminer(t, carrier, r).Self(t.Context()))[name]
		if got.State != state || !strings.Contains(got.Found, words) {
			t.Errorf("got %+v, want %s with %q", got, state, words)
		}
	}
	check("reached", "ok", "peers reach us at https://carrier.example:")
	check("clock", "ok", "as those of 1 peers")
	fakeBank(t, bank, bank.TLS, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-7*time.Minute).UTC().Format(http.TimeFormat))
	})
	check("clock", "error", "away from ours")

	// Somebody else answers where peers look for us.
	entry := *carrier.Entry
	entry.Endpoint = bank.Entry.Endpoint
	if err := carrier.Node().SetOwn(t.Context(), "test", &entry, []node.SigningKey{{Signer: carrier.Signer}}); err != nil {
		t.Fatal(err)
	}
	check("reached", "error", "is not us")
	entry.Endpoint = ""
	if err := carrier.Node().SetOwn(t.Context(), "test", &entry, []node.SigningKey{{Signer: carrier.Signer}}); err != nil {
		t.Fatal(err)
	}
	check("reached", "warning", "notFound")
}
