//go:build unix

package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/dnsserver"
)

// A sharedServer is the one authorization server of two platforms, with TLS on loopback. It
// knows its clients by the trust entries that they hand out.
type sharedServer struct {
	t      *testing.T
	issuer string
	signer *identity.Signer
	client atomic.Pointer[map[string]*identity.Platform] // by client id
	given  atomic.Int64                                  // tokens
	down   atomic.Bool
}

func (s *sharedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if s.down.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	switch r.URL.Path {
	case "/realm/.well-known/openid-configuration":
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.issuer, "token_endpoint": s.issuer + "/token", "jwks_uri": s.issuer + "/certs"})
	case "/realm/certs":
		key, err := s.signer.Key.JWK()
		if err != nil {
			s.t.Error(err)
		}
		_, _ = fmt.Fprintf(w, `{"keys":[%s]}`, key)
	case "/realm/token":
		s.grant(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// grant gives a token that is bound to the certificate of the connection, for the platform
// that is named as resource.
func (s *sharedServer) grant(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	j, err := envelope.ParseJWT(r.PostForm.Get("client_assertion"))
	client := (*s.client.Load())[j.Claims.Subject]
	if err == nil && client != nil {
		_, err = j.Verify(client, time.Now(), false)
	}
	if err != nil || client == nil || j.Claims.Audience[0] != s.issuer || len(r.TLS.PeerCertificates) == 0 {
		s.t.Errorf("a request for a token: client %q, %v", j.Claims.Subject, err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	now := time.Now()
	token, err := envelope.SignJWT(envelope.TypAccess, map[string]any{"iss": s.issuer, "sub": j.Claims.Subject, "client_id": j.Claims.Subject, "aud": r.PostForm.Get("resource"),
		"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": fmt.Sprint(s.given.Add(1)), "scope": r.PostForm.Get("scope"),
		"cnf": map[string]string{"x5t#S256": oauth.Thumbprint(r.TLS.PeerCertificates[0])}}, s.signer)
	if err != nil {
		s.t.Error(err)
	}
	_ = json.NewEncoder(w).Encode(oauth.Grant{Token: token, Type: "Bearer", Expires: 300})
}

// TestOneAuthorizationServerForTwoProcesses: the second set-up of WIPO's text, with two
// processes of the real program that both ask for tokens and both get them from one server,
// over real TLS. Without that server nothing is sealed; nothing is lost.
func TestOneAuthorizationServerForTwoProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts two processes")
	}
	ca := catest.New(t, "Issuer CA")
	key := catest.NewKey(t)
	leaf := ca.Issue(t, key, catest.TLS, catest.Names("issuer.example"))
	host, err := identity.ParseHost("issuer.example")
	if err != nil {
		t.Fatal(err)
	}
	s := &sharedServer{t: t}
	if s.signer, err = identity.GenerateSigner(host, identity.RS256, identity.CertificateSpec{Subject: "issuer", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(s)
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert, Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw}, PrivateKey: key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	s.issuer = "https://issuer.example:" + port + "/realm"
	anchors := filepath.Join(t.TempDir(), "anchors.pem")
	if err := os.WriteFile(anchors, []byte(catest.PEM(ca.Cert)), 0o600); err != nil {
		t.Fatal(err)
	}
	clients := map[string]*identity.Platform{}
	a, b := startTwo(t, func(dns *dnsserver.Server, p *process) {
		dns.SetA("issuer.example", netip.MustParseAddr("127.0.0.1"))
		file := filepath.Join(p.dir, configFile)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		client, _, _ := strings.Cut(p.domain, ".")
		text = bytes.Replace(text, []byte("\nauth: mtls\n"), fmt.Appendf(nil, "\nauth: mtls+oauth2\noauth: {clientId: %q, outside: {issuer: %q, anchors: %q}}\n", client, s.issuer, anchors), 1)
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		entry, err := identity.ParseTrust([]byte(self(t, p)))
		if err != nil || entry[0].OAuth.Issuer != s.issuer || entry[0].OAuth.ClientID != client {
			t.Fatalf("got the entry %+v, %v; want one that names the shared issuer", entry, err)
		}
		clients[client] = entry[0]
		s.client.Store(&clients)
	})
	move := func(from, to *process, bill string) ([]byte, int) {
		return from.try(t, "transfer", bill, "--to", "user@"+to.domain, "--token-file", from.token("user"))
	}
	bill := issueTo(t, a, "user@a.example")
	for _, hop := range [][2]*process{{a, b}, {b, a}, {a, b}} {
		if out, code := move(hop[0], hop[1], bill); code != 0 || !holds(t, hop[1], bill) {
			t.Fatalf("from %s: exit code %d, %s", hop[0].domain, code, out)
		}
	}
	if got := s.given.Load(); got != 2 {
		t.Errorf("got %d tokens, want one a platform", got)
	}
	// Without the server: a node that has just started has neither token nor keys.
	s.down.Store(true)
	b.kill(t)
	b.serve(t)
	if out, code := move(b, a, bill); code != 3 || !holds(t, b, bill) || !bytes.Contains(out, []byte("access token")) {
		t.Errorf("without the server: exit code %d, %s; want that no token is to be had, and the bill where it was", code, out)
	}
	s.down.Store(false)
	if out, code := move(b, a, bill); code != 0 || !holds(t, a, bill) {
		t.Errorf("when it is back: exit code %d, %s", code, out)
	}
	for _, p := range []*process{a, b} {
		p.must(t, "fsck")
		log, err := os.ReadFile(p.dir + ".log")
		if err != nil || bytes.Contains(log, []byte("eyJ")) {
			t.Errorf("the log of %s holds a token, or is not there: %v", p.domain, err)
		}
	}
}
