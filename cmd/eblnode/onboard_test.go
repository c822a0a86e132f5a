//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"eblnode/api"
	"net/netip"
)

// TestOnboardingInMinutes: two processes of the real program that know nothing of each
// other become peers by DNS and their public listeners, one of them then by a certificate
// of the other's own authority; each finds out what is wrong where something is.
func TestOnboardingInMinutes(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts two processes")
	}
	a, b := startStrangers(t)
	section := sectionOf(t, "The first peer")

	// A stranger cannot send, and check says what to do about it.
	if out, code := a.try(t, "peer", "check", "b.example"); code != 1 || !bytes.Contains(out, []byte("there is no peer of that domain")) {
		t.Errorf("check of a stranger: got exit code %d, %s", code, out)
	}
	if out := b.manual(t, section, "dns"); !strings.Contains(out, "ebl-transferblock=") || !strings.Contains(out, "ebl-keys=") {
		t.Errorf("dns: got %s", out)
	}
	// Without a confirmation nothing is added.
	if out, code := a.try(t, "peer", "fetch", "b.example"); code != 1 || !bytes.Contains(out, []byte("is not confirmed, so nothing was added")) || !bytes.Contains(out, []byte(fingerprintOf(t, b))) {
		t.Errorf("fetch without a yes: got exit code %d, %s", code, out)
	}
	a.manual(t, section, "peer fetch bank.example", "bank.example", "b.example --yes")
	// One side alone: the other does not know us yet.
	if out, code := a.try(t, "peer", "check", "b.example"); code != 1 || !bytes.Contains(out, []byte("eblnode peer self")) {
		t.Errorf("check before the other side: got exit code %d, %s", code, out)
	}
	b.must(t, "peer", "fetch", "a.example", "--yes", "--out", b.dir+"-a.json")
	b.must(t, "peer", "add", b.dir+"-a.json", "--yes")
	for _, x := range [][2]*process{{a, b}, {b, a}} {
		out := x[0].manual(t, section, "peer check bank.example", "bank.example", x[1].domain)
		if strings.Contains(out, "error") || !strings.Contains(out, "the peer knows us") {
			t.Errorf("check of %s by %s: got %s", x[1].domain, x[0].domain, out)
		}
	}
	l := newLoad(t, a, b, 1)
	at := l.hop(t, l.bills[0], 0)

	// New keys: the peer sees them, and takes them over the connection that proves who it is.
	b.must(t, "key", "rotate", "--in", "1h", "--name", "later")
	if out := a.must(t, "peer", "check", "b.example"); !strings.Contains(out, "keys that we do not hold") || !strings.Contains(out, `"later"`) {
		t.Errorf("check of new keys: got %s", out)
	}
	if out := a.must(t, "peer", "fetch", "b.example", "--yes", "--json"); !strings.Contains(out, `"changed": true`) {
		t.Errorf("fetch of new keys: got %s", out)
	}
	if out := a.must(t, "peer", "fetch", "b.example"); !strings.Contains(out, "publishes nothing that we do not have") {
		t.Errorf("fetch again: got %s", out)
	}
	at = l.hop(t, l.bills[0], at)

	// A new TLS key, all at once, as after a theft: what check says to do is what helps.
	b.must(t, "key", "rotate", "--use", "tls", "--now", "--name", "at-once")
	b.kill(t) // with the connections that show the old one
	b.serve(t)
	l.ways[1] = way(t, b, "user")
	out, code := a.try(t, "peer", "check", "b.example")
	hint := regexp.MustCompile(`eblnode (peer fetch b\.example --public)`).FindSubmatch(out)
	if code != 1 || hint == nil {
		t.Fatalf("check of a new certificate: got exit code %d, %s", code, out)
	}
	if out, code := a.try(t, "peer", "fetch", "b.example", "--yes"); code == 0 || !bytes.Contains(out, []byte("--public")) {
		t.Errorf("fetch over a connection that proves nothing: got exit code %d, %s", code, out)
	}
	a.must(t, append(strings.Fields(string(hint[1])), "--yes")...)
	if out := a.must(t, "peer", "check", "b.example"); strings.Contains(out, "error") {
		t.Errorf("check after that: got %s", out)
	}
	for range 2 {
		at = l.hop(t, l.bills[0], at)
	}

	// By certificate request: a's own authority certifies b's key for connections to a.
	csr, pem := b.dir+".csr", b.dir+".pem"
	requested := keyFingerprint(t, b.manual(t, section, "key csr --name at-bank", "us.csr", csr+" --json"))
	if out, code := a.try(t, "peer", "sign-csr", csr, "--domain", "b.example", "--for", "366d", "--yes"); code != 2 {
		t.Errorf("a certificate for more than a year: got exit code %d, %s", code, out)
	}
	if out, code := a.try(t, "peer", "sign-csr", csr, "--domain", "b.example"); code != 1 || !bytes.Contains(out, []byte("is not confirmed, so nothing was signed")) {
		t.Errorf("without a yes: got exit code %d, %s", code, out)
	}
	if out, code := a.try(t, "peer", "sign-csr", csr, "--domain", "c.example", "--yes"); code != 1 || !bytes.Contains(out, []byte("does not name c.example")) {
		t.Errorf("for another platform: got exit code %d, %s", code, out)
	}
	// What one of them reads on the telephone is what the other one sees.
	if signed := keyFingerprint(t, a.manual(t, section, "peer sign-csr them.csr", "them.csr", csr, "carrier.example", "b.example --yes", "them.pem", pem+" --json")); signed != requested {
		t.Errorf("who signs sees the fingerprint %s, and who asked %s", signed, requested)
	}
	b.manual(t, section, "key import us.pem", "us.pem", pem, "bank.example", "a.example")
	if out := b.must(t, "key", "list"); !strings.Contains(out, "in use, for a.example") {
		t.Errorf("key list: got %s", out)
	}
	knowsCertificate(t, a, b)
	for range 2 {
		at = l.hop(t, l.bills[0], at)
	}
	if out := b.must(t, "peer", "check", "a.example"); !strings.Contains(out, "the peer knows us") {
		t.Errorf("check with the certificate: got %s", out)
	}

	b.manual(t, section, "peer remove", "bank.example", "a.example")
	if out, code := b.try(t, "peer", "check", "a.example"); code != 1 {
		t.Errorf("check of a peer that was removed: got exit code %d, %s", code, out)
	}
}

// keyFingerprint is that of the key which a command tells of.
func keyFingerprint(t *testing.T, out string) string {
	t.Helper()
	m := regexp.MustCompile(`"fingerprint": "((?:[0-9a-f]{4} ){15}[0-9a-f]{4})"`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("got %s, want a fingerprint", out)
	}
	return m[1]
}

// manual runs the one command of docs/OPERATIONS.md that begins so, with words of it replaced.
func (p *process) manual(t *testing.T, section *manualSection, begins string, replace ...string) string {
	t.Helper()
	line := section.one("eblnode " + begins)
	words := strings.TrimPrefix(line, "eblnode ")
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(words, replace[i]) {
			t.Fatalf("%s: there is no %q", line, replace[i])
		}
		words = strings.ReplaceAll(words, replace[i], replace[i+1])
	}
	return p.must(t, strings.Fields(words)...)
}

// startStrangers is two nodes with public listeners that know nothing of each other.
func startStrangers(t *testing.T) (a, b *process) {
	t.Helper()
	dns := startDNS(t)
	dir, ports := t.TempDir(), freePorts(t, 4)
	var list []*process
	for i, name := range []string{"a", "b"} {
		p := &process{domain: name + ".example", dir: filepath.Join(dir, name), user: "user"}
		list = append(list, p)
		dns.SetA(p.domain, netip.MustParseAddr("127.0.0.1"))
		p.must(t, "init", "--domain", p.domain, "--listen-peer", "127.0.0.1:"+ports[i], "--listen-local", "127.0.0.1:0", "--issuer",
			"--resolver", dns.Addr(), "--allow-network", "127.0.0.0/8")
		file := filepath.Join(p.dir, configFile)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text = bytes.Replace(text, []byte(`public: ""`), []byte(`public: "127.0.0.1:`+ports[i+2]+`"`), 1)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		// What eblnode dns prints is what is published.
		var records []string
		for _, line := range strings.Split(strings.TrimSpace(p.must(t, "dns")), "\n") {
			_, record, _ := strings.Cut(line, " IN TXT ")
			records = append(records, strings.Trim(record, `"`))
		}
		if len(records) != 2 {
			t.Fatalf("eblnode dns: got %q, want two records", records)
		}
		dns.SetTXT(p.domain, records...)
		for _, u := range [][2]string{{"user", "holder"}, {"issuer", "issuer"}, {"auditor", "auditor"}} {
			p.must(t, "user", "add", u[0], "--role", u[1], "--token-file", p.token(u[0]))
		}
		p.serve(t)
	}
	return list[0], list[1]
}

// fingerprintOf is what the node's operator would say on the telephone.
func fingerprintOf(t *testing.T, p *process) string {
	t.Helper()
	var out api.EntryView
	r, running := dialAdmin(p.dir)
	if !running {
		t.Fatalf("%s does not run", p.domain)
	}
	if err := r.call(t.Context(), http.MethodGet, "/admin/v1/self", nil, &out); err != nil {
		t.Fatal(err)
	}
	return out.Fingerprint
}

// knowsCertificate: a's entry of b has the pin of the certificate that a signed for b.
func knowsCertificate(t *testing.T, a, b *process) {
	t.Helper()
	var list struct{ Keys []keyLine }
	if err := json.Unmarshal([]byte(b.must(t, "key", "list", "--json")), &list); err != nil {
		t.Fatal(err)
	}
	var view struct{ Entry map[string]any }
	r, _ := dialAdmin(a.dir)
	if err := r.call(t.Context(), http.MethodGet, "/admin/v1/peers/"+b.domain, nil, &view); err != nil {
		t.Fatal(err)
	}
	for _, k := range list.Keys {
		if k.Peer == a.domain && !strings.Contains(string(mustJSON(t, view.Entry)), k.Fingerprint) {
			t.Errorf("the entry of %s lacks the pin of the certificate that was signed for it", b.domain)
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
