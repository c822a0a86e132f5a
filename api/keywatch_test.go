package api_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/ebltest"
)

// TestPeerThatSaysWorseOfAKey: that a key was stolen is news also where our entry has it as replaced.
func TestPeerThatSaysWorseOfAKey(t *testing.T) {
	day := time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Second)
	for _, c := range []struct {
		name             string
		theirs, ours     time.Time
		their, our, want string
	}{
		{"the same", day, day, "superseded", "superseded", "0"},
		{"stolen, and replaced here", day, day, identity.ReasonKeyCompromise, "superseded", "1"},
		{"replaced, and stolen here", day, day, "superseded", identity.ReasonKeyCompromise, "0"},
		{"earlier", day.Add(-time.Hour), day, "superseded", "superseded", "1"},
		{"later", day.Add(time.Hour), day, "superseded", "superseded", "0"},
		{"not at all", time.Time{}, day, "", "superseded", "0"},
	} {
		net := ebltest.NewTLS(t)
		carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example")
		marked := func(at time.Time, reason string) *identity.Key {
			k := *bank.Signer.Key
			k.Revoked, k.Reason = at, reason
			return &k
		}
		entry := *bank.Entry
		entry.Keys = []*identity.Key{marked(c.ours, c.our)}
		if err := carrier.Node().AddPeers(t.Context(), "test", []*identity.Platform{&entry}); err != nil {
			t.Fatal(err)
		}
		text, err := marked(c.theirs, c.their).JWK()
		if err != nil {
			t.Fatal(err)
		}
		fakeBank(t, bank, bank.TLS, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"keys":[` + string(text) + `]}`))
		})
		r, _ := newResolver(t, "127.0.0.0/8")
		e := newExaminer(t, carrier, r)
		watch := &api.KeyWatch{Examiner: e, Log: slog.New(slog.DiscardHandler)}
		metrics := api.NewMetrics(carrier.Node())
		metrics.Watching(watch)
		watch.Look(t.Context())
		if got := newLocal(t, carrier, api.Options{Metrics: metrics}).metrics(); !strings.Contains(got, `what="revoked"} `+c.want+"\n") {
			t.Errorf("%s: the metrics do not say %s", c.name, c.want)
		}
		held, _ := carrier.Node().Trust().Find(bank.Domain())
		if f := states(e.Peer(t.Context(), held))["JWKS"]; (f.State == "error") != (c.want == "1") {
			t.Errorf("%s: peer check: got %+v", c.name, f)
		}
	}
}

// TestNewsInAPeersKeySet: an operator hears of a new key and of a revoked one, once each; a
// set that is refused, or a peer that is down, changes nothing of what was known.
func TestNewsInAPeersKeySet(t *testing.T) {
	net := ebltest.NewTLS(t)
	carrier, bank := net.Platform("carrier.example"), net.Platform("bank.example")
	other := net.Platform("other.example", ebltest.Stranger()).Signer.Key
	gone := *bank.Signer.Key
	gone.Revoked, gone.Reason = time.Now(), identity.ReasonKeyCompromise
	var asked atomic.Int64
	var keys atomic.Pointer[[]*identity.Key]
	fakeBank(t, bank, bank.TLS, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		list := keys.Load()
		if list != nil && len(*list) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if list == nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		set := struct {
			Keys []json.RawMessage `json:"keys"`
		}{}
		for _, k := range *list {
			text, err := k.JWK()
			if err != nil {
				t.Error(err)
			}
			set.Keys = append(set.Keys, text)
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(set)
	})
	r, _ := newResolver(t, "127.0.0.0/8")
	var log bytes.Buffer
	watch := &api.KeyWatch{Examiner: newExaminer(t, carrier, r), Log: slog.New(slog.NewTextHandler(&log, nil))}
	metrics := api.NewMetrics(carrier.Node())
	metrics.Watching(watch)
	l := newLocal(t, carrier, api.Options{Metrics: metrics})
	for _, step := range []struct {
		name                  string
		keys                  []*identity.Key // nil: 500
		said                  string          // "": nothing new
		unknown, revoked, bad string
	}{
		{"as in the entry", []*identity.Key{bank.Signer.Key}, "", "0", "0", "0"},
		{"a new key", []*identity.Key{bank.Signer.Key, other}, "level=WARN msg=\"a peer publishes keys that we do not hold", "1", "0", "0"},
		{"the same again", []*identity.Key{bank.Signer.Key, other}, "", "1", "0", "0"},
		{"it publishes none for a while", []*identity.Key{}, "", "1", "0", "0"},
		{"a key twice", []*identity.Key{other, other}, "could not be read; what we hold of it serves on", "1", "0", "1"},
		{"an error", nil, "could not be read", "1", "0", "1"},
		{"revoked", []*identity.Key{&gone}, "level=ERROR msg=\"a peer says that keys are revoked", "0", "1", "0"},
		{"well again", []*identity.Key{bank.Signer.Key}, "", "0", "0", "0"},
	} {
		log.Reset()
		if step.keys == nil {
			keys.Store(nil)
		} else {
			keys.Store(&step.keys)
		}
		before := asked.Load()
		watch.Look(t.Context())
		if n := asked.Load() - before; n != 1 {
			t.Errorf("%s: asked %d times, want once", step.name, n)
		}
		if got := log.String(); (got == "") != (step.said == "") || !strings.Contains(got, step.said) {
			t.Errorf("%s: got the log %q, want %q", step.name, got, step.said)
		}
		text := l.metrics()
		for what, want := range map[string]string{"unknown": step.unknown, "revoked": step.revoked, "unreadable": step.bad} {
			if line := `eblnode_peer_key_news{peer="bank.example",what="` + what + `"} ` + want + "\n"; !strings.Contains(text, line) {
				t.Errorf("%s: got no %s", step.name, line)
			}
		}
	}
	if k, found := carrier.Node().Trust().Find(bank.Domain()); !found || len(k.Keys) != 1 || !k.Keys[0].Revoked.IsZero() {
		t.Errorf("the trust entry became %+v, and nobody confirmed that", k)
	}
}
