package identity

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
)

type m = map[string]any

func parseOne(t testing.TB, text string) *Platform {
	t.Helper()
	ps, err := ParseTrust([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	if len(ps) != 1 {
		t.Fatalf("got %d entries, want 1", len(ps))
	}
	return ps[0]
}

func newSigner(t testing.TB, domain string, a Alg) *Signer {
	t.Helper()
	s, err := GenerateSigner(host(t, domain), a, CertificateSpec{Subject: domain, Names: []string{domain},
		NotBefore: day0.Add(-day), NotAfter: day0.Add(365 * day)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// jwkOf is a public key as a JWK with the given certificates.
func jwkOf(pub crypto.PublicKey, kid string, chain ...*x509.Certificate) m {
	var out m
	text := must(json.Marshal(must2(jwkMembers(pub))))
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	if kid != "" {
		out["kid"] = kid
	}
	var x5c []any
	for _, c := range chain {
		x5c = append(x5c, base64.StdEncoding.EncodeToString(c.Raw))
	}
	if x5c != nil {
		out["x5c"] = x5c
	}
	return out
}

func must2[T any](v T, ok bool) T {
	if !ok {
		panic("not ok")
	}
	return v
}

func pemOf(c *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}))
}

// sample is a full entry; set changes it, a nil value deletes. A path is
// "tls.pins" or "keys.keys.0.kid".
type sample struct{ entry m }

func newSample(t testing.TB) *sample {
	t.Helper()
	ec, ca := ecKey(t, elliptic.P256()), newCA(t, "Sample CA")
	one := jwkOf(&ec.PublicKey, "2026-1", selfSign(t, ec, nil))
	one["alg"], one["use"], one["key_ops"] = "ES256", "sig", []any{"verify"}
	one["notBefore"], one["notAfter"] = "2026-05-15T00:00:00Z", "2026-12-31T00:00:00Z"
	two := jwkOf(&rsaKey().PublicKey, "2026-2", ca.issue(t, rsaKey(), leafTemplate("bank.example")), ca.cert)
	two["revoked"], two["reason"], two["x-ours"] = "2026-05-20T12:00:00.5+02:00", "superseded", m{"a": []any{1}}
	return &sample{m{
		"domain": "bank.example", "name": "Bank of Example — Zürich", "code": "BANK",
		"hosts":    []any{"api.bank.example:8443", "old.example"},
		"endpoint": "https://api.bank.example:8443/v1/transferblocks", "mode": "pinned",
		"anchors": []any{pemOf(ca.cert)}, "issuer": true, "carriers": []any{"MAEU", "HLCU"},
		"keys":   m{"keys": []any{one, two}},
		"tls":    m{"pins": []any{PinText([32]byte{1}), PinText([32]byte{2})}, "anchors": []any{pemOf(ca.cert)}},
		"quirks": m{"chainField": "endorcementChain", "documentHash": "as-sent", "envelopeHash": "base64url", "bareKey": true, "assertionAudience": "token-endpoint"},
		"oauth":  m{"issuer": "https://login.example/as", "audience": "urn:bank", "clientId": "das-api-auth"},
	}}
}

func (s *sample) set(path string, v any) *sample {
	parts := strings.Split(path, ".")
	var at any = s.entry
	for _, p := range parts[:len(parts)-1] {
		if l, ok := at.([]any); ok {
			at = l[p[0]-'0']
		} else {
			at = at.(m)[p]
		}
	}
	last := parts[len(parts)-1]
	switch {
	case v == nil:
		delete(at.(m), last)
	default:
		if l, ok := at.([]any); ok {
			l[last[0]-'0'] = v
		} else {
			at.(m)[last] = v
		}
	}
	return s
}

func (s *sample) text() []byte { return must(json.Marshal(s.entry)) }

func TestParseTrustReadsEverything(t *testing.T) {
	p := parseOne(t, string(newSample(t).text()))
	if p.Domain.Name != "bank.example" || p.Name != "Bank of Example — Zürich" || p.Code != "BANK" || p.Mode != "pinned" || !p.Issuer {
		t.Errorf("got %+v", p)
	}
	if want := []Host{{"api.bank.example", 8443}, {"old.example", 0}}; !reflect.DeepEqual(p.Hosts, want) {
		t.Errorf("hosts: got %v, want %v", p.Hosts, want)
	}
	if p.Endpoint != "https://api.bank.example:8443/v1/transferblocks" || len(p.Anchors) != 1 || len(p.TLS.Anchors) != 1 {
		t.Errorf("endpoint, anchors: got %+v", p)
	}
	if !reflect.DeepEqual(p.Carriers, []string{"MAEU", "HLCU"}) || !reflect.DeepEqual(p.TLS.Pins, [][32]byte{{1}, {2}}) {
		t.Errorf("carriers, pins: got %v, %v", p.Carriers, p.TLS.Pins)
	}
	if want := (Quirks{"endorcementChain", "as-sent", "base64url", true, AudienceTokenEndpoint}); p.Quirks != want {
		t.Errorf("quirks: got %+v, want %+v", p.Quirks, want)
	}
	if want := (OAuth{"https://login.example/as", "urn:bank", "das-api-auth"}); p.OAuth != want {
		t.Errorf("oauth: got %+v, want %+v", p.OAuth, want)
	}
	if len(p.Keys) != 2 {
		t.Fatalf("got %d keys, want 2", len(p.Keys))
	}
	one, two := p.Keys[0], p.Keys[1]
	if one.ID != "2026-1" || one.Alg != ES256 || one.Platform != p.Domain || !one.Revoked.IsZero() || one.Compromised() {
		t.Errorf("key 0: got %+v", one)
	}
	// Narrower than the certificate at one end, wider at none.
	if want := time.Date(2026, 5, 15, 0, 0, 0, 0, time.UTC); !one.NotBefore.Equal(want) {
		t.Errorf("notBefore: got %v, want %v", one.NotBefore, want)
	}
	if want := time.Date(2026, 12, 31, 0, 0, 0, 0, time.UTC); !one.NotAfter.Equal(want) {
		t.Errorf("notAfter: got %v, want %v", one.NotAfter, want)
	}
	if !two.NotBefore.Equal(day0.Add(-30*day)) || !two.NotAfter.Equal(day0.Add(300*day)) || two.Alg != "" || len(two.Certificates) != 2 {
		t.Errorf("key 1: got window %v to %v, want the certificate's", two.NotBefore, two.NotAfter)
	}
	if want := time.Date(2026, 5, 20, 10, 0, 0, 5e8, time.UTC); two.Revoked != want || two.Reason != "superseded" {
		t.Errorf("revoked: got %v %q, want %v", two.Revoked, two.Reason, want)
	}
}

func TestCertificateNarrowsTheWindowAtBothEnds(t *testing.T) {
	s := newSample(t).set("keys.keys.0.notBefore", "2020-01-01T00:00:00Z").set("keys.keys.0.notAfter", "2040-01-01T00:00:00Z")
	k := parseOne(t, string(s.text())).Keys[0]
	if !k.NotBefore.Equal(day0.Add(-30*day)) || !k.NotAfter.Equal(day0.Add(300*day)) {
		t.Errorf("got %v to %v", k.NotBefore, k.NotAfter)
	}
}

func TestTrustRoundTrip(t *testing.T) {
	bare := jwkOf(&ecKey(t, elliptic.P521()).PublicKey, "")
	for name, s := range map[string]*sample{
		"full":         newSample(t),
		"minimal":      {m{"domain": "bank.example:8443", "keys": m{"keys": []any{newSample(t).entry["keys"].(m)["keys"].([]any)[0]}}}},
		"bare, no kid": {m{"domain": "bank.example", "quirks": m{"bareKey": true}, "keys": m{"keys": []any{bare}, "x": 1}}},
		"nulls":        {m{"domain": "bank.example", "name": nil, "tls": nil, "quirks": m{"bareKey": true}, "keys": m{"keys": []any{bare}}}},
		"no limits":    newSample(t).set("tls", m{"pins": []any{}, "anchors": []any{}}).set("hosts", []any{}),
	} {
		p := parseOne(t, string(s.text()))
		text, err := p.JSON()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		again := parseOne(t, string(text))
		if !reflect.DeepEqual(p, again) || !p.SameAs(again) {
			t.Errorf("%s: read back: got %+v, want %+v", name, again, p)
		}
		text2, _ := again.JSON()
		if !bytes.Equal(text, text2) || !json.Valid(text) || bytes.Contains(text, []byte("x-ours")) {
			t.Errorf("%s: written again: got %s, want %s", name, text2, text)
		}
	}
}

func TestTrustFileForms(t *testing.T) {
	a, b := newSample(t).set("domain", "a.example").text(), newSample(t).set("domain", "b.example").text()
	for name, c := range map[string]struct {
		text string
		want string
	}{
		"object":          {string(a), "a.example"},
		"array":           {"[" + string(a) + "," + string(b) + "]", "a.example b.example"},
		"platforms":       {` {"platforms": [` + string(b) + "," + string(a) + "]}\n", "b.example a.example"},
		"empty array":     {"[]", ""},
		"empty platforms": {`{"platforms":[]}`, ""},
	} {
		ps, err := ParseTrust([]byte(c.text))
		var got []string
		for _, p := range ps {
			got = append(got, p.Domain.String())
		}
		if err != nil || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %v, %v, want %s", name, got, err, c.want)
		}
	}
}

func TestOneBadEntryRefusesTheWhole(t *testing.T) {
	good, bad := string(newSample(t).text()), string(newSample(t).set("mode", "both").text())
	ps, err := ParseTrust([]byte(`{"platforms":[` + good + "," + bad + `]}`))
	if err == nil || ps != nil || !strings.HasPrefix(err.Error(), "platforms[1].mode: ") {
		t.Errorf("got %v, %v", ps, err)
	}
}

func TestParseTrustPolicyErrorCanBeTold(t *testing.T) {
	_, err := ParseTrust(newSample(t).set("keys.keys.1.e", "Aw").text())
	var p *PolicyError
	if !errors.As(err, &p) || p.Rule != RuleExponent {
		t.Errorf("got %v", err)
	}
}

func TestKidsOfTheWorldAreAllowed(t *testing.T) {
	for _, kid := range []string{rfc7638Sum, "2026-1", "ops@bank.example", "f47ac10b-58cc-4372-a567-0e02b2c3d479", `"quoted"`, strings.Repeat("k", 256)} {
		p := parseOne(t, string(newSample(t).set("keys.keys.0.kid", kid).text()))
		if k, ok := p.Key(kid); !ok || k.ID != kid {
			t.Errorf("kid %q: got %v, %v", kid, k, ok)
		}
	}
}

func TestEntryThatWouldBeRefusedIsNotWritten(t *testing.T) {
	good := parseOne(t, string(newSample(t).text()))
	for name, change := range map[string]func(p *Platform){
		"no domain":    func(p *Platform) { p.Domain = Host{} },
		"no keys":      func(p *Platform) { p.Keys = nil },
		"mode":         func(p *Platform) { p.Mode = "ca" },
		"control":      func(p *Platform) { p.Name = "\n" },
		"no public":    func(p *Platform) { p.Keys = []*Key{{ID: "x"}} },
		"bare key":     func(p *Platform) { p.Keys = []*Key{{ID: "x", Public: &rsaKey().PublicKey}}; p.Quirks.BareKey = false },
		"host garbage": func(p *Platform) { p.Hosts = []Host{{Name: "a b"}} },
	} {
		p := *good
		change(&p)
		if text, err := p.JSON(); err == nil {
			t.Errorf("%s: got %s", name, text)
		}
		if p.Fingerprint() != "" || p.SameAs(&p) {
			t.Errorf("%s: has a fingerprint", name)
		}
	}
}

// Whoever changes a file on its way changes its fingerprint.
func TestFingerprintCoversTheWholeEntry(t *testing.T) {
	s := newSample(t)
	good := parseOne(t, string(s.text()))
	if again := parseOne(t, string(must(good.JSON()))); again.Fingerprint() != good.Fingerprint() || len(good.Fingerprint()) != 79 {
		t.Errorf("got %q, want %q", again.Fingerprint(), good.Fingerprint())
	}
	for name, change := range map[string]func(p *Platform){
		"domain":   func(p *Platform) { p.Domain.Name = "evil.example" },
		"hosts":    func(p *Platform) { p.Hosts = append([]Host{{Name: "evil.example"}}, p.Hosts...) },
		"endpoint": func(p *Platform) { p.Endpoint = "https://evil.example/" },
		"issuer":   func(p *Platform) { p.Issuer = false },
		"carriers": func(p *Platform) { p.Carriers = nil },
		"keys":     func(p *Platform) { p.Keys = p.Keys[:1] },
		"revoked": func(p *Platform) {
			k := *p.Keys[1]
			k.Revoked, k.Reason = time.Time{}, ""
			p.Keys = []*Key{p.Keys[0], &k}
		},
		"pins":   func(p *Platform) { p.TLS.Pins = p.TLS.Pins[:1] },
		"quirks": func(p *Platform) { p.Quirks.DocumentHash = "" },
		"client": func(p *Platform) { p.OAuth.ClientID = "" },
	} {
		p := *good
		change(&p)
		if got := p.Fingerprint(); got == "" || got == good.Fingerprint() || p.SameAs(good) {
			t.Errorf("%s changed: got the fingerprint %q", name, got)
		}
	}
}

func FuzzParseTrust(f *testing.F) {
	f.Add(newSample(f).text())
	f.Add([]byte(`[{"domain":"bank.example","quirks":{"bareKey":true},"keys":{"keys":[` + rfc7638Key + `]}}]`))
	f.Add([]byte(`{"platforms":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		ps, err := ParseTrust(data)
		if err != nil {
			return
		}
		for _, p := range ps {
			text, err := p.JSON()
			if err != nil {
				t.Fatalf("accepted but not written: %v", err)
			}
			again, err := ParseTrust(text)
			if err != nil || len(again) != 1 || !reflect.DeepEqual(again[0], p) {
				t.Fatalf("written %s, read back %v, %v", text, again, err)
			}
		}
	})
}
