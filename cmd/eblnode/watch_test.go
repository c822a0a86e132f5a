package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/keyfile"
)

// TestWarningsBeforeAKeyRunsOut: nothing while there is time, a word 30 days before, a
// louder one 7 days and 1 day before and after the end; once a day, and at once where it
// becomes worse.
func TestWarningsBeforeAKeyRunsOut(t *testing.T) {
	end := time.Date(2027, 3, 31, 12, 0, 0, 0, time.UTC)
	var b bytes.Buffer
	w := &watch{log: slog.New(slog.NewTextHandler(&b, nil)), said: map[string]string{}}
	for _, c := range []struct {
		left time.Duration
		want string // level, "" for silence
	}{
		{31 * 24 * time.Hour, ""},
		{30 * 24 * time.Hour, "WARN"},
		{30*24*time.Hour - time.Minute, ""}, // the same day
		{29 * 24 * time.Hour, "WARN"},
		{7 * 24 * time.Hour, "ERROR"},
		{7*24*time.Hour - time.Hour, ""},
		{26 * time.Hour, "ERROR"},
		{24 * time.Hour, "ERROR"}, // the same day, and worse
		{0, "ERROR"},
		{-time.Hour, ""},
		{-24 * time.Hour, "ERROR"},
	} {
		b.Reset()
		w.warn([]api.Expiry{{Use: "signing", Name: "a.example", At: end}, {Use: "tls", Name: "a.example"}}, end.Add(-c.left))
		got := b.String()
		if (got == "") != (c.want == "") || c.want != "" && !strings.Contains(got, "level="+c.want+" ") || strings.Count(got, "\n") > 1 {
			t.Errorf("%s before the end: got %q, want %q", c.left, got, c.want)
		}
		if words := "key rotate --use signing"; c.want != "" && !strings.Contains(got, words) {
			t.Errorf("%s before the end: got %q, want what to do: %s", c.left, got, words)
		}
		if ended := "has run out"; c.want != "" && strings.Contains(got, ended) != (c.left <= 0) {
			t.Errorf("%s before the end: got %q", c.left, got)
		}
	}
}

// TestPeersKeysThatRunOut: what is said of a peer is when the last key that we hold of it ends; of
// one whose keys an authority vouches for nothing is, since a new one comes with a signature.
func TestPeersKeysThatRunOut(t *testing.T) {
	now := time.Now()
	soon, later := now.Add(time.Hour), now.Add(48*time.Hour)
	for name, c := range map[string]struct {
		p       identity.Platform
		want    time.Time
		bounded bool
	}{
		"the later of two":               {identity.Platform{Mode: identity.ModePinned, Keys: []*identity.Key{{NotAfter: later}, {NotAfter: soon}}}, later, true},
		"the later is revoked":           {identity.Platform{Mode: identity.ModePinned, Keys: []*identity.Key{{NotAfter: later, Revoked: now}, {NotAfter: soon}}}, soon, true},
		"one without end":                {identity.Platform{Mode: identity.ModePinned, Keys: []*identity.Key{{NotAfter: soon}, {}}}, time.Time{}, false},
		"none is left":                   {identity.Platform{Mode: identity.ModePinned, Keys: []*identity.Key{{NotAfter: now.Add(-time.Hour)}}}, now, true},
		"an authority, no key":           {identity.Platform{Mode: identity.ModeCA}, time.Time{}, false},
		"an authority, an old key":       {identity.Platform{Mode: identity.ModeCA, Keys: []*identity.Key{{NotAfter: now.Add(-time.Hour)}}}, time.Time{}, false},
		"an authority, a key soon ended": {identity.Platform{Mode: identity.ModeCA, Keys: []*identity.Key{{NotAfter: soon}}}, time.Time{}, false},
	} {
		if got, bounded := lastDay(&c.p, now); bounded != c.bounded || bounded && !got.Equal(c.want) {
			t.Errorf("%s: got %s, %t; want %s, %t", name, got, bounded, c.want, c.bounded)
		}
	}
}

// TestCertificateForOnePeerRunsOut: the key that everybody is shown does not take the place of a
// certificate by a peer's own authority, and a new one of ours is no cure.
func TestCertificateForOnePeerRunsOut(t *testing.T) {
	now := time.Now()
	private := catest.NewKey(t)
	key := func(name, peer string, until time.Time) keyfile.Key {
		return keyfile.Key{Use: keyfile.TLS, Name: name, Private: private, Note: keyfile.Note{Peer: peer},
			Chain: []*x509.Certificate{{NotBefore: now.Add(-time.Hour), NotAfter: until}}}
	}
	year, week := now.AddDate(1, 0, 0), now.Add(6*24*time.Hour)
	k := &keys{tls: []keyfile.Key{key("own", "", year), key("at-bank", "bank.example", week), key("at-bank-old", "bank.example", now.Add(-time.Minute))}}
	if got := k.tlsUntil(now, ""); got.Before(year) {
		t.Errorf("for everybody: got %s, want %s", got, year)
	}
	if got := k.tlsUntil(now, "bank.example"); !got.Equal(week.Add(time.Second)) {
		t.Errorf("for one peer: got %s, want %s", got, week)
	}
	found := map[string]finding{}
	for _, f := range k.examine(now) {
		found[f.Check] = f
	}
	if f := found["TLS for bank.example"]; f.State != "warning" || !strings.Contains(f.Cure, "key import FILE --peer bank.example") || found["TLS key"].State != "ok" {
		t.Errorf("doctor: got %+v", found)
	}
	var b bytes.Buffer
	w := &watch{log: slog.New(slog.NewTextHandler(&b, nil)), said: map[string]string{}}
	w.warn([]api.Expiry{{Use: "tls", Name: "bank.example", At: week, Cure: cureForPeer("bank.example")}}, now)
	if got := b.String(); !strings.Contains(got, "key import FILE --peer bank.example") || strings.Contains(got, "key rotate") {
		t.Errorf("the log: got %s", got)
	}
}

// TestKeysInTheFolderAreTakenByThemselves: files that something else puts into keys/ are
// used without a restart, and the metrics tell until when; a damaged one changes nothing.
func TestKeysInTheFolderAreTakenByThemselves(t *testing.T) {
	watchEvery = 20 * time.Millisecond
	t.Cleanup(func() { watchEvery = 15 * time.Second })
	dir := filepath.Join(t.TempDir(), "n")
	if _, errOut, code := do(t, "init", "--data", dir, "--domain", "a.example", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"); code != 0 {
		t.Fatal(errOut)
	}
	t.Setenv("EBLNODE_METRICS_OPEN", "true")
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"serve", "--data", dir}, strings.NewReader(""), &bytes.Buffer{}, &log)
	}()
	t.Cleanup(func() { stop(); <-ended })
	var r *remote
	waitUntil(t, "the node runs", func() (running bool) { r, running = dialAdmin(dir); return running })
	kids := func() (n int) {
		var out api.EntryView
		if err := r.call(t.Context(), http.MethodGet, "/admin/v1/self", nil, &out); err != nil {
			return 0
		}
		return strings.Count(string(out.Entry), `"kid"`)
	}
	waitUntil(t, "its first key", func() bool { return kids() == 1 })

	now := time.Now()
	spec := identity.CertificateSpec{Subject: "a.example", Names: []string{"a.example"}, NotBefore: now, NotAfter: now.Add(5 * 24 * time.Hour)}
	_, files, err := maker{access: (&config{}).access()}.newKey(keyfile.Signing, "found", identity.ES384, spec)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, keysDir)
	if err := writeKeys(folder, files, []keyfile.Use{keyfile.Signing}, "found", keyfile.Note{}); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the second key", func() bool { return kids() == 2 })
	if err := keyfile.WriteNew(keyfile.CertificateFile(folder, keyfile.Signing, "damaged"), []byte("no certificate")); err != nil {
		t.Fatal(err)
	}
	time.Sleep(10 * watchEvery)
	if got := kids(); got != 2 {
		t.Errorf("with a damaged file: got %d keys, want 2", got)
	}
	info, err := readRunFile(dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := (&remote{base: "http://" + info.Local, client: http.DefaultClient}).raw(t.Context(), http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`eblnode_key_seconds_left{name="a.example",use="signing"} 3.15`, `eblnode_key_seconds_left{name="a.example",use="tls"} 3.15`} {
		if !strings.Contains(string(text), want) { // a year less an hour; the old key is valid for longer
			t.Errorf("metrics: got no %s…", want)
		}
	}
}

// TestNamesInTokensChangeWithAStart and not when the keys are read again: what asks for tokens and
// what judges them would go on with the old ones, beside an entry that says the new ones.
func TestNamesInTokensChangeWithAStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "n")
	if _, errOut, code := do(t, "init", "--data", dir, "--domain", "a.example", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"); code != 0 {
		t.Fatal(errOut)
	}
	for _, step := range []struct{ clientID, want string }{{"", ""}, {"before", "before"}} {
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan int)
		t.Setenv("EBLNODE_OAUTH_CLIENTID", step.clientID)
		go func() {
			ended <- run(ctx, []string{"serve", "--data", dir}, strings.NewReader(""), &bytes.Buffer{}, &bytes.Buffer{})
		}()
		var r *remote
		waitUntil(t, "the node runs", func() (running bool) { r, running = dialAdmin(dir); return running })
		t.Setenv("EBLNODE_OAUTH_CLIENTID", "after")
		var out api.EntryView
		for _, ask := range [][2]string{{http.MethodPost, "/admin/v1/reload"}, {http.MethodGet, "/admin/v1/self"}} {
			if err := r.call(t.Context(), ask[0], ask[1], []byte("{}"), &out); err != nil {
				t.Fatal(err)
			}
			if p, err := oneEntry(out.Entry); err != nil || p.OAuth.ClientID != step.want {
				t.Errorf("%s: got the client id %q, %v; want %q", ask[1], p.OAuth.ClientID, err, step.want)
			}
		}
		stop()
		<-ended
	}
}

func waitUntil(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it does not come: %s", what)
		}
	}
}
