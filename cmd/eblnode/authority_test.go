//go:build unix

package main

import (
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/catest"
)

// TestAuthorityAndItsResponder: two processes of the real program and the responder of
// OpenSSL. The sender moves from a listed key to one that an authority certified. While the
// responder is down its bill waits, and is taken when it is back; once the certificate is
// revoked the bill comes back to its holder.
func TestAuthorityAndItsResponder(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts two processes")
	}
	a, b := startTwo(t)
	authority := catest.New(t, "Consortium")
	port := catest.FreePort(t)
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	key := catest.NewKey(t)
	leaf := authority.Issue(t, key, catest.Names("b.example"), catest.Responder(url))
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile := write("signing.key", catest.PrivatePEM(t, key))
	// Without its issuer nobody could believe an answer about it: better said here than when
	// the node starts.
	alone, code := b.try(t, "key", "import", write("alone.pem", catest.PEM(leaf)), "--key", keyFile, "--use", "signing", "--name", "certified", "--now")
	if code != 1 || !strings.Contains(string(alone), "issuer") {
		t.Fatalf("a certificate without its issuer: got exit code %d, %s", code, alone)
	}
	b.must(t, "key", "import", write("signing.pem", catest.PEM(leaf, authority.Cert)), "--key", keyFile, "--use", "signing", "--name", "certified", "--now")

	// b's entry at a: the authority, and what b signed with before.
	var entry map[string]any
	if err := json.Unmarshal([]byte(self(t, b)), &entry); err != nil {
		t.Fatal(err)
	}
	var old []any
	anchors := []any{catest.PEM(authority.Cert)}
	for _, k := range entry["keys"].(map[string]any)["keys"].([]any) {
		jwk := k.(map[string]any)
		if jwk["kid"] == "certified" {
			continue
		}
		old = append(old, jwk)
		anchors = append(anchors, certificateOf(t, jwk))
	}
	entry["mode"], entry["anchors"], entry["keys"] = identity.ModeCA, anchors, map[string]any{"keys": old}
	text, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	file := write("b.json", string(text))
	asked := a.command(t.Context(), "peer", "add", file)
	asked.Stdin = strings.NewReader("y\n")
	if out, err := asked.CombinedOutput(); err != nil || !strings.Contains(string(out), "any that is certified by CN=Consortium") {
		t.Fatalf("peer add: got %v, %s; want to be told of the authority", err, out)
	}
	good := catest.Listed{Cert: leaf}
	stop := authority.OpenSSL(t, port, authority.Delegate(t), good)
	first := issueTo(t, b, "user@a.example")
	eventually(t, "the first bill has come", func() bool { return holds(t, a, first) })

	// A good answer would serve for its ten minutes; one that has just started has none.
	again := func() { a.kill(t); a.serve(t) }
	stop()
	again()
	second := issueTo(t, b, "user@b.example")
	moved, code := b.try(t, "transfer", second, "--to", "user@a.example", "--token-file", b.token("user"), "--wait", "1", "--json")
	eventually(t, "it waits for the responder", func() bool {
		return strings.Contains(b.must(t, "show", second, "--token-file", b.token("user")), "is revoked is not known")
	})
	now := b.must(t, "show", second, "--token-file", b.token("user"), "--json")
	if holds(t, a, second) || code != 3 || !strings.Contains(now, `"sending"`) {
		t.Fatalf("without a responder: got exit code %d, %s; want it in doubt", code, moved)
	}
	stop = authority.OpenSSL(t, port, authority.Delegate(t), good)
	eventually(t, "it is taken when the responder is back", func() bool { return holds(t, a, second) })

	stop()
	authority.OpenSSL(t, port, authority.Delegate(t), catest.Listed{Cert: leaf, Revoked: time.Now().Add(-time.Hour), Reason: "superseded"})
	again()
	third := issueTo(t, b, "user@b.example")
	out, code := b.try(t, "transfer", third, "--to", "user@a.example", "--token-file", b.token("user"), "--json")
	if code != 1 || !strings.Contains(string(out), "badSignature") || !holds(t, b, third) {
		t.Errorf("revoked: got exit code %d, %s; want it rejected and the bill with its holder", code, out)
	}
	for _, p := range []*process{a, b} {
		p.must(t, "fsck")
	}
}

// certificateOf is the certificate of a JWK, in PEM form.
func certificateOf(t *testing.T, jwk map[string]any) string {
	t.Helper()
	block := &pem.Block{Type: "CERTIFICATE"}
	if err := json.Unmarshal(fmt.Appendf(nil, "%q", jwk["x5c"].([]any)[0]), &block.Bytes); err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}

// issueTo issues a new bill and gives its hash.
func issueTo(t *testing.T, p *process, to string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bl.json")
	document := fmt.Sprintf(`{"transportDocumentReference":"%d","carrierCode":"ALPH","isToOrder":true}`, time.Now().UnixNano())
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	hash, _, _ := strings.Cut(p.must(t, "issue", file, "--to", to, "--token-file", p.token("issuer")), "\n")
	return hash
}

// holds reports whether the bill is in the hands of a user of p.
func holds(t *testing.T, p *process, bill string) bool {
	t.Helper()
	out, code := p.try(t, "show", bill, "--token-file", p.token("auditor"), "--json")
	var v api.BillView
	return code == 0 && json.Unmarshal(out, &v) == nil && v.Control == "held"
}
