package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
)

// TestCertificateThatWouldOpenNothingIsNotSigned: the responder of a peer's entry is asked about
// every certificate that the peer shows, also about one of our own authority, which it does not
// know. That is found out before somebody waits for a connection.
func TestCertificateThatWouldOpenNothingIsNotSigned(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "n")
	if _, errOut, code := do(t, "init", "--data", dir, "--domain", "a.example", "--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"); code != 0 {
		t.Fatal(errOut)
	}
	domain, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	signer, err := identity.GenerateSigner(domain, identity.ES256, identity.CertificateSpec{Subject: "bank", Names: []string{"bank.example"}, NotBefore: now, NotAfter: now.AddDate(0, 6, 0)})
	if err != nil {
		t.Fatal(err)
	}
	request, err := identity.NewRequest(signer.Private(), "bank.example", []string{"bank.example"})
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, text []byte) string {
		path := filepath.Join(base, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	csr := write("bank.csr", request)
	for _, c := range []struct {
		name, life string
		ocsp       map[string]any
		signed     bool
	}{
		{"it names nobody", "365d", nil, true},
		{"its responder", "365d", map[string]any{"responder": "http://ocsp.example/"}, false},
		{"its responder, soft", "365d", map[string]any{"responder": "http://ocsp.example/", "tls": "soft"}, true},
		{"its responder, for a week", "7d", map[string]any{"responder": "http://ocsp.example/", "shortLived": true}, true},
		{"its responder, for more than a week", "8d", map[string]any{"responder": "http://ocsp.example/", "shortLived": true}, false},
	} {
		p := &identity.Platform{Domain: domain, Mode: identity.ModePinned, Keys: []*identity.Key{signer.Key}}
		text, err := p.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var entry map[string]any
		if err := json.Unmarshal(text, &entry); err != nil {
			t.Fatal(err)
		}
		if c.ocsp != nil {
			entry["ocsp"] = c.ocsp
		}
		if _, errOut, code := do(t, "peer", "add", write("bank.json", mustMarshal(t, entry)), "--yes", "--data", dir); code != 0 {
			t.Fatal(errOut)
		}
		out, errOut, code := do(t, "peer", "sign-csr", csr, "--domain", "bank.example", "--for", c.life, "--yes", "--data", dir)
		signed := code == 0 && strings.Contains(out, "BEGIN CERTIFICATE")
		if signed != c.signed || !signed && (code != 1 || !strings.Contains(errOut, "http://ocsp.example/")) {
			t.Errorf("%s: got exit code %d, %s%s; want it signed: %t", c.name, code, out, errOut, c.signed)
		}
	}
}

func mustMarshal(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
