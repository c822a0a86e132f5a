//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/internal/webhook"
)

// A backEnd is a webhook's receiver on loopback: it takes what is signed with the secret in a file,
// slowly, and remembers the ids.
type backEnd struct {
	*httptest.Server
	mu     sync.Mutex
	ids    map[string]int
	forged int
}

func newBackEnd(t *testing.T, secretFile string) *backEnd {
	t.Helper()
	b := &backEnd{ids: map[string]int{}}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v api.EventView
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err == nil {
			err = verifyWith(secretFile, r.Header, body)
		}
		b.mu.Lock()
		if err != nil {
			b.forged++
			w.WriteHeader(http.StatusUnauthorized)
		} else {
			b.ids[v.ID]++
		}
		b.mu.Unlock()
		time.Sleep(5 * time.Millisecond) // so that some is under way when the node is killed
	}))
	t.Cleanup(b.Close)
	return b
}

func verifyWith(secretFile string, h http.Header, body []byte) error {
	text, err := os.ReadFile(secretFile)
	if err != nil {
		return err
	}
	secret, err := webhook.ParseSecret(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	return webhook.Verify(secret, h, body, time.Now())
}

// lacks are the ids that it has not got.
func (b *backEnd) lacks(ids []string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return b.ids[id] > 0 }))
}

// TestKilledNodeTellsEveryEvent kills a node while it tells a back end of events: after
// the last start the back end has every one.
func TestKilledNodeTellsEveryEvent(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts a process again and again")
	}
	dir := t.TempDir()
	p := &process{domain: "a.example", dir: filepath.Join(dir, "a"), user: "acme"}
	p.must(t, "init", "--domain", p.domain, "--issuer", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0")
	for user, role := range map[string]string{"acme": "issuer", "auditor": "auditor"} {
		p.must(t, "user", "add", user, "--role", role, "--token-file", p.token(user))
	}
	secret := filepath.Join(dir, "secret")
	b := newBackEnd(t, secret)
	p.must(t, "webhook", "add", b.URL, "--secret-file", secret)
	p.serve(t)
	made := 0
	issue := func() {
		made++
		document := filepath.Join(dir, "bl.json")
		if err := os.WriteFile(document, []byte(`{"carrierCode":"ACME","isToOrder":true,"transportDocumentReference":"`+strings.Repeat("A", made)+`"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		p.must(t, "issue", document, "--to", "acme@a.example", "--token-file", p.token("acme"))
	}
	for range 3 {
		for range 4 {
			issue()
		}
		p.kill(t)
		p.serve(t)
	}
	var ids []string
	for line := range bytes.Lines([]byte(p.must(t, "events", "--json", "--token-file", p.token("auditor")))) {
		var v api.EventView
		if err := json.Unmarshal(line, &v); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if v.ID != "" {
			ids = append(ids, v.ID)
		}
	}
	if len(ids) < made {
		t.Fatalf("got %d events of %d bills", len(ids), made)
	}
	eventually(t, "the back end has every event", func() bool { return b.lacks(ids) == 0 })
	if b.forged > 0 {
		t.Errorf("%d messages were not signed as they must be", b.forged)
	}
	var list api.WebhookList
	eventually(t, "the node knows that", func() bool {
		out := p.must(t, "webhook", "list", "--json")
		if err := json.Unmarshal([]byte(out), &list); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		return len(list.Webhooks) == 1 && list.Webhooks[0].Pending == 0
	})
	if w := list.Webhooks[0]; w.Dropped != 0 || w.State != "active" {
		t.Errorf("got %+v, want it active and nothing dropped", w)
	}
	p.must(t, "webhook", "test", list.Webhooks[0].ID)
	text, err := os.ReadFile(secret)
	if err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(p.dir + ".log")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(log, bytes.TrimSpace(text)) {
		t.Error("the secret is in the log")
	}
}

// The names of these commands never change.
func TestWebhookCommands(t *testing.T) {
	var names []string
	for _, path := range commands() {
		names = append(names, strings.Join(path, " "))
	}
	for _, name := range []string{"webhook add", "webhook list", "webhook remove", "webhook replay", "webhook test"} {
		if !slices.Contains(names, name) {
			t.Errorf("there is no command %s", name)
		}
	}
}
