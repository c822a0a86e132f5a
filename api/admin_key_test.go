package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// askForKeys has a node read its keys again, once with success.
func askForKeys(t *testing.T) {
	t.Helper()
	p := ebltest.New(t).Platform("carrier.example")
	var wrong error
	a := newAdmin(t, p, func(o *api.Options) {
		o.Reload = func(context.Context, string) error { return wrong }
	})
	a.ask("POST", "/admin/v1/reload", "{}").want(t, 200, 0)
	wrong = errors.New("keys/signing-2027.crt is damaged")
	if c := a.ask("POST", "/admin/v1/reload", "{}").want(t, 422, 8005); !strings.Contains(string(c.answer), "keys/signing-2027.crt is damaged") {
		t.Errorf("got %s, want what is wrong", c.answer)
	}
}

// askForPeers examines a peer and asks for its entry, once with success.
func askForPeers(t *testing.T) {
	t.Helper()
	w := ebltest.NewTLS(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example")
	r, _ := newResolver(t, "127.0.0.0/8")
	a := newAdmin(t, carrier, func(o *api.Options) { o.Examine = newExaminer(t, carrier, r) })
	for _, verb := range []string{"check", "fetch"} {
		a.ask("POST", "/admin/v1/peers/nobody.example/"+verb, "{}").want(t, 404, 7104)
		c := a.ask("POST", "/admin/v1/peers/bank.example/"+verb, "{}").want(t, 200, 0)
		if verb == "fetch" && decode[api.EntryView](t, c).Fingerprint != bank.Entry.Fingerprint() {
			t.Errorf("got %s, want the bank's entry", c.answer)
		}
	}
	bank.Stop()
	a.ask("POST", "/admin/v1/peers/bank.example/fetch", "{}").want(t, 422, 8005)
	if l := decode[api.FindingList](t, a.ask("POST", "/admin/v1/peers/bank.example/check", "{}").want(t, 200, 0)); l.Errors != 1 {
		t.Errorf("the peer is down: got %+v, want one error", l)
	}
}

// TestOldKeysAreInTheKeySet: after a key took over, the set has both; a revoked one says
// that it is.
func TestOldKeysAreInTheKeySet(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example")
	next, err := identity.GenerateSigner(carrier.Domain(), identity.ES256, identity.CertificateSpec{Subject: "next",
		NotBefore: carrier.Signer.Key.NotBefore, NotAfter: carrier.Signer.Key.NotAfter})
	if err != nil {
		t.Fatal(err)
	}
	entry, old := *carrier.Entry, *carrier.Signer.Key
	old.Revoked, old.Reason = old.NotBefore.AddDate(0, 0, 1), "superseded"
	entry.Keys = []*identity.Key{&old, next.Key}
	if err := carrier.Node().SetOwn(t.Context(), "test", &entry, []node.SigningKey{{Signer: next}}); err != nil {
		t.Fatal(err)
	}
	client := tlsClient(t, bank)
	for _, path := range []string{"/.well-known/jwks.json", "/v1/.well-known/jwks.json"} {
		c := do(t, client, call{method: "GET", url: "https://" + carrier.Addr + path}).want(t, 200, 0)
		set := decode[struct {
			Keys []struct{ Kid, NotBefore, NotAfter, Revoked, Reason string }
		}](t, c)
		if len(set.Keys) != 2 || set.Keys[0].Kid != old.ID || set.Keys[0].Reason != "superseded" || set.Keys[0].Revoked == "" ||
			set.Keys[1].Kid != next.Key.ID || set.Keys[1].Revoked != "" || set.Keys[1].NotAfter == "" {
			t.Errorf("%s: got %s", path, c.answer)
		}
	}
}

// TestNewKeysOfAPeerThatPublishesAKeySetAlone: another implementation has no trust entry to give;
// over the connection that proves who it is its key set is enough.
func TestNewKeysOfAPeerThatPublishesAKeySetAlone(t *testing.T) {
	w := ebltest.NewTLS(t)
	carrier, bank := w.Platform("carrier.example"), w.Platform("bank.example")
	next, err := identity.GenerateSigner(bank.Domain(), identity.ES256, identity.CertificateSpec{Subject: "next",
		NotBefore: bank.Signer.Key.NotBefore, NotAfter: bank.Signer.Key.NotAfter})
	if err != nil {
		t.Fatal(err)
	}
	published := true
	fakeBank(t, bank, bank.TLS, func(w http.ResponseWriter, r *http.Request) {
		if !published || !strings.HasSuffix(r.URL.Path, "/jwks.json") {
			http.NotFound(w, r)
			return
		}
		var set struct {
			Keys []json.RawMessage `json:"keys"`
		}
		for _, k := range []*identity.Key{bank.Signer.Key, next.Key} {
			text, err := k.JWK()
			if err != nil {
				t.Error(err)
			}
			set.Keys = append(set.Keys, text)
		}
		_ = json.NewEncoder(w).Encode(set)
	})
	r, _ := newResolver(t, "127.0.0.0/8")
	a := newAdmin(t, carrier, func(o *api.Options) { o.Examine = newExaminer(t, carrier, r) })
	c := a.ask("POST", "/admin/v1/peers/bank.example/fetch", "{}").want(t, 200, 0)
	got := decode[api.EntryView](t, c)
	ps, err := identity.ParseTrust(got.Entry)
	if err != nil || !got.Composed {
		t.Fatalf("got %s, %v, want an entry that was put together", c.answer, err)
	}
	want := *bank.Entry
	want.Keys = []*identity.Key{bank.Signer.Key, next.Key}
	if !ps[0].SameAs(&want) {
		t.Errorf("got %s, want our entry with both keys", got.Entry)
	}
	published = false
	if c := a.ask("POST", "/admin/v1/peers/bank.example/fetch", "{}").want(t, 422, 8005); !strings.Contains(string(c.answer), "neither a trust entry nor a key set") {
		t.Errorf("got %s", c.answer)
	}
}
