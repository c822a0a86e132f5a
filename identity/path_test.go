package identity_test

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/catest"
)

// caPlatform is an entry in ca mode, read from text as any other.
func caPlatform(t *testing.T, more map[string]any, anchors ...*x509.Certificate) *identity.Platform {
	t.Helper()
	m := map[string]any{"domain": "bank.example:8443", "mode": "ca"}
	var texts []string
	for _, a := range anchors {
		texts = append(texts, catest.PEM(a))
	}
	m["anchors"] = texts
	for k, v := range more {
		m[k] = v
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	return ps[0]
}

func x5c(certs ...*x509.Certificate) []string {
	var out []string
	for _, c := range certs {
		out = append(out, base64.StdEncoding.EncodeToString(c.Raw))
	}
	return out
}

var bank = catest.Names("bank.example")

func responder(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example/"} }

// TestCAModeRules: each certificate is sound but for one thing, and the error names it.
func TestCAModeRules(t *testing.T) {
	now := time.Now()
	root := catest.New(t, "Root")
	sub := root.Sub(t, "Sub")
	p := caPlatform(t, nil, root.Cert)
	noPath := root.Sub(t, "Flat", func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 0, true })
	onlyOthers := root.Sub(t, "Names", func(c *x509.Certificate) {
		c.PermittedDNSDomains, c.PermittedDNSDomainsCritical = []string{"shipper.example"}, true
	})
	tlsOnly := root.Sub(t, "TLS", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
	expired := root.Sub(t, "Old", catest.Valid(now.AddDate(-3, 0, 0), now.AddDate(0, 0, -1)))
	issue := func(a *catest.Authority, edits ...catest.Edit) []*x509.Certificate {
		leaf := a.Issue(t, catest.NewKey(t), append([]catest.Edit{bank, responder}, edits...)...)
		return append([]*x509.Certificate{leaf}, a.Path...)
	}
	documents := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}
	for _, c := range []struct {
		name string
		x5c  []*x509.Certificate
		at   time.Time
		rule string // "" is accepted
	}{
		{"under the root", issue(root), now, ""},
		{"under another authority", issue(sub), now, ""},
		{"with the root in x5c", append(issue(sub), root.Cert), now, ""},
		{"the domain in another case", issue(root, catest.Names("other.example", "BANK.example")), now, ""},
		{"for documents", issue(root, func(c *x509.Certificate) { c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{documents} }), now, ""},
		{"for mail", issue(root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageEmailProtection} }), now, ""},
		{"nonRepudiation", issue(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment }), now, ""},
		{"at its first second", issue(root, catest.Valid(now.Truncate(time.Second), now.AddDate(1, 0, 0))), now.Truncate(time.Second), ""},
		{"expired since", issue(root, catest.Valid(now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1))), now.AddDate(0, 0, -2), ""},
		{"valid for two years and a day of leap", issue(root, catest.Valid(now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 731))), now, ""},

		{"nobody can be asked about it", issue(root, func(c *x509.Certificate) { c.OCSPServer = nil }), now, identity.RuleOCSP},
		{"its responder is no URL", issue(root, catest.Responder("ldap://ocsp.example/")), now, identity.RuleOCSP},
		{"expired when it signed", issue(root, catest.Valid(now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1))), now, identity.RulePath},
		{"not valid yet when it signed", issue(root), now.AddDate(-1, 0, 0), identity.RulePath},
		{"a second too long", issue(root, catest.Valid(now.AddDate(-1, 0, 0), now.AddDate(-1, 0, 731).Add(2*time.Second))), now, identity.RuleLifetime},
		{"below an authority that had expired", issue(expired), now, identity.RulePath},
		{"another platform's name", issue(root, catest.Names("shipper.example")), now, identity.RuleName},
		{"a wildcard", issue(root, catest.Names("*.example")), now, identity.RuleName},
		{"a name below the platform's", issue(root, catest.Names("www.bank.example")), now, identity.RuleName},
		{"no name", issue(root, catest.Names()), now, identity.RuleName},
		{"the name in the subject alone", issue(root, catest.Names(), func(c *x509.Certificate) { c.Subject.CommonName = "bank.example" }), now, identity.RuleName},
		{"no key usage", issue(root, func(c *x509.Certificate) { c.KeyUsage = 0 }), now, identity.RuleKeyUsage},
		{"key usage without digitalSignature", issue(root, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), now, identity.RuleKeyUsage},
		{"an authority", issue(root, func(c *x509.Certificate) { c.BasicConstraintsValid, c.IsCA = true, true }), now, identity.RuleKeyUsage},
		{"a TLS server's", issue(root, catest.TLS), now, identity.RuleExtKeyUsage},
		{"an OCSP responder's", issue(root, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning} }), now, identity.RuleExtKeyUsage},
		{"below an authority for TLS", issue(tlsOnly), now, identity.RuleExtKeyUsage},
		{"below an authority for other names", issue(onlyOthers), now, identity.RulePath},
		{"path longer than the authority allows", issue(noPath.Sub(t, "Deep")), now, identity.RulePath},
		{"a critical extension", issue(root, critical), now, identity.RuleExtensions},
		{"an authority that is not ours", issue(catest.New(t, "Root")), now, "anchor"},
		{"without the authority between", issue(sub)[:1], now, "anchor"},
		{"itself and nobody else", []*x509.Certificate{selfMade(t)}, now, "anchor"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := p.KeyFromX5C("k", x5c(c.x5c...))
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // found, and remembered
				got, err := p.Certify(k, c.at, nil)
				breach, _ := errors.AsType[*identity.PolicyError](err)
				switch {
				case c.rule == "" && (err != nil || len(got.Certificates) < 2 || !got.Certificates[len(got.Certificates)-1].Equal(root.Cert)):
					t.Errorf("got %v, want a path to the root", err)
				case c.rule == "anchor" && !errors.Is(err, identity.ErrNoAnchor):
					t.Errorf("got %v, want no anchor", err)
				case c.rule != "" && c.rule != "anchor" && (breach == nil || breach.Rule != c.rule):
					t.Errorf("got %v, want the rule %s", err, c.rule)
				}
			}
		})
	}
}

func critical(c *x509.Certificate) {
	c.ExtraExtensions = append(c.ExtraExtensions, unknownCritical)
}

// TestPathIsJudgedForItsTime: what was found for one time is not taken for another.
func TestPathIsJudgedForItsTime(t *testing.T) {
	now := time.Now()
	root := catest.New(t, "Root")
	p := caPlatform(t, nil, root.Cert)
	k, err := p.KeyFromX5C("k", x5c(root.Issue(t, catest.NewKey(t), bank, responder)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		at time.Time
		ok bool
	}{{now, true}, {now.AddDate(1, 0, 0), false}, {now, true}, {now.AddDate(-1, 0, 0), false}, {time.Time{}, false}} {
		if _, err := p.Certify(k, c.at, nil); (err == nil) != c.ok {
			t.Errorf("at %s: got %v, want it believed: %t", c.at, err, c.ok)
		}
	}
	// The same certificate, for an entry with another anchor.
	if _, err := caPlatform(t, nil, catest.New(t, "Root").Cert).Certify(k, now, nil); !errors.Is(err, identity.ErrNoAnchor) {
		t.Errorf("another entry's anchor: got %v, want no anchor", err)
	}
}

// TestListedKeyIsNotBroughtBackByX5C: what the entry says of a key holds under every name,
// and its certificate anew is no way around it.
func TestListedKeyIsNotBroughtBackByX5C(t *testing.T) {
	root := catest.New(t, "Root")
	key := catest.NewKey(t)
	leaf := root.Issue(t, key, bank, responder)
	listed, err := identity.NewKey(mustHost(t, "bank.example:8443"), "2026", leaf)
	if err != nil {
		t.Fatal(err)
	}
	listed.Revoked, listed.Reason = time.Now().Add(-time.Hour), identity.ReasonKeyCompromise
	p := &identity.Platform{Domain: listed.Platform, Mode: identity.ModeCA, Anchors: []*x509.Certificate{root.Cert}, Keys: []*identity.Key{listed}}
	text, err := p.JSON()
	if err != nil {
		t.Fatal(err)
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	again := root.Issue(t, key, bank, responder)
	for _, kid := range []string{"", "other", "2026"} {
		k, err := ps[0].KeyFromX5C(kid, x5c(again))
		if err != nil || k.ID != "2026" || !k.Compromised() {
			t.Errorf("kid %q: got %+v, %v, want the key as it is listed", kid, k, err)
		}
	}
	if _, err := (&identity.Platform{Domain: p.Domain, Mode: identity.ModePinned, Anchors: p.Anchors}).KeyFromX5C("k", x5c(leaf)); err == nil {
		t.Error("an x5c of a pinned platform: got a key")
	}
	for name, list := range map[string][]string{"none": nil, "eleven": x5c(repeat(leaf, 11)...), "not base64": {"%"}, "not a certificate": {"AAAA"},
		"line breaks": {x5c(leaf)[0][:64] + "\n" + x5c(leaf)[0][64:]}} {
		if _, err := p.KeyFromX5C("k", list); err == nil {
			t.Errorf("%s: got a key", name)
		}
	}
	if _, err := p.KeyFromX5C("a b", x5c(root.Issue(t, catest.NewKey(t), bank))); err == nil {
		t.Error("a kid with a space: got a key")
	}
}

func repeat(c *x509.Certificate, n int) []*x509.Certificate {
	var out []*x509.Certificate
	for range n {
		out = append(out, c)
	}
	return out
}

// TestEntriesInCAMode: what a file may say, and what it comes back as.
func TestEntriesInCAMode(t *testing.T) {
	root := catest.New(t, "Root")
	pem := []string{catest.PEM(root.Cert)}
	jwk := func(edits ...catest.Edit) map[string]any {
		key := catest.NewKey(t)
		k, err := identity.NewKey(mustHost(t, "bank.example:8443"), "k", root.Issue(t, key, append([]catest.Edit{bank}, edits...)...))
		if err != nil {
			t.Fatal(err)
		}
		text, err := k.JWK()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		return m
	}
	type m = map[string]any
	keys := func(list ...any) m { return m{"keys": list} }
	bare := jwk(responder)
	delete(bare, "x5c")
	for _, c := range []struct {
		name  string
		entry m
		want  string // beginning of the error; "" is read
	}{
		{"anchors alone", m{"mode": "ca", "anchors": pem}, ""},
		{"an empty key set", m{"mode": "ca", "anchors": pem, "keys": keys()}, ""},
		{"a key with a responder", m{"mode": "ca", "anchors": pem, "keys": keys(jwk(responder))}, ""},
		{"the entry names the responder", m{"mode": "ca", "anchors": pem, "keys": keys(jwk()), "ocsp": m{"responder": "http://127.0.0.1:8888"}}, ""},
		{"all of ocsp", m{"mode": "ca", "anchors": pem, "ocsp": m{"responder": "https://ocsp.example/a?b", "tls": "soft", "shortLived": true}}, ""},
		{"a week's certificate without responder", m{"mode": "ca", "anchors": pem, "keys": keys(jwk(catest.Valid(time.Now(), time.Now().Add(7*24*time.Hour)))), "ocsp": m{"shortLived": true}}, ""},
		{"pinned, with the issuer among the anchors", m{"anchors": pem, "keys": keys(jwk(responder))}, ""},
		{"pinned, without responder", m{"keys": keys(jwk())}, ""},
		{"no anchors", m{"mode": "ca"}, "anchors: missing"},
		{"bareKey", m{"mode": "ca", "anchors": pem, "quirks": m{"bareKey": true}}, "quirks.bareKey:"},
		{"a bare key", m{"mode": "ca", "anchors": pem, "keys": keys(bare)}, "keys[0].x5c: missing"},
		{"a key of another authority", m{"mode": "ca", "anchors": []string{catest.PEM(catest.New(t, "Root").Cert)}, "keys": keys(jwk(responder))}, "keys[0].x5c: no path to the anchors"},
		{"a key without the platform's name", m{"mode": "ca", "anchors": pem, "keys": keys(jwk(responder, catest.Names("x.example")))}, "keys[0].x5c: certificate policy: the certificate names"},
		{"a key that nobody can be asked about", m{"mode": "ca", "anchors": pem, "keys": keys(jwk())}, "keys[0].x5c: certificate policy: the certificate names no OCSP responder"},
		{"pinned, with a responder and no issuer", m{"keys": keys(jwk(responder))}, "keys[0].x5c: certificate policy: the certificate's issuer is neither"},
		{"a responder by file", m{"mode": "ca", "anchors": pem, "ocsp": m{"responder": "file:///etc/passwd"}}, "ocsp.responder: not an http"},
		{"a responder with a password", m{"mode": "ca", "anchors": pem, "ocsp": m{"responder": "http://a:b@ocsp.example/"}}, "ocsp.responder: user information"},
		{"soft for signing", m{"mode": "ca", "anchors": pem, "ocsp": m{"signing": "soft"}}, `ocsp: unknown member "signing"`},
		{"tls: off", m{"mode": "ca", "anchors": pem, "ocsp": m{"tls": "off"}}, "ocsp.tls:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.entry["domain"] = "bank.example:8443"
			text, err := json.Marshal(c.entry)
			if err != nil {
				t.Fatal(err)
			}
			ps, err := identity.ParseTrust(text)
			if c.want != "" {
				if err == nil || !strings.HasPrefix(err.Error(), c.want) {
					t.Fatalf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := ps[0].JSON()
			if err != nil {
				t.Fatal(err)
			}
			again, err := identity.ParseTrust(out)
			if err != nil || !again[0].SameAs(ps[0]) || again[0].OCSP != ps[0].OCSP || again[0].Mode != ps[0].Mode {
				t.Errorf("written and read again: got %+v, %v", again, err)
			}
		})
	}
}

// TestQuestions: what is asked, of whom.
func TestQuestions(t *testing.T) {
	now := time.Now()
	root := catest.New(t, "Root")
	asked := root.Sub(t, "Asked", catest.Responder("http://root.example/"))
	host := mustHost(t, "bank.example:8443")
	leaf := asked.Issue(t, catest.NewKey(t), bank, responder)
	week := asked.Issue(t, catest.NewKey(t), bank, responder, catest.Valid(now.Add(-time.Hour), now.Add(6*24*time.Hour)))
	namesake := asked.Issue(t, catest.NewKey(t), bank, responder, func(c *x509.Certificate) { c.Subject.CommonName = "Asked" })
	for _, c := range []struct {
		name  string
		p     *identity.Platform
		certs []*x509.Certificate
		want  []string
	}{
		{"ca: leaf and authority", &identity.Platform{Mode: identity.ModeCA}, []*x509.Certificate{leaf, asked.Cert}, []string{"http://ocsp.example/", "http://root.example/"}},
		{"ca: the entry's responder for the leaf", &identity.Platform{Mode: identity.ModeCA, OCSP: identity.OCSPPolicy{Responder: "http://ours.example/"}}, []*x509.Certificate{leaf, asked.Cert}, []string{"http://ours.example/", "http://root.example/"}},
		{"ca: a week's certificate is asked about", &identity.Platform{Mode: identity.ModeCA}, []*x509.Certificate{week, asked.Cert}, []string{"http://ocsp.example/", "http://root.example/"}},
		{"ca: unless the entry says no, and then about the authority all the same", &identity.Platform{Mode: identity.ModeCA, OCSP: identity.OCSPPolicy{ShortLived: true}}, []*x509.Certificate{week, asked.Cert}, []string{"http://root.example/"}},
		{"ca: a long one all the same", &identity.Platform{Mode: identity.ModeCA, OCSP: identity.OCSPPolicy{ShortLived: true}}, []*x509.Certificate{leaf, asked.Cert}, []string{"http://ocsp.example/", "http://root.example/"}},
		{"pinned: the leaf", &identity.Platform{Mode: identity.ModePinned}, []*x509.Certificate{leaf, asked.Cert}, []string{"http://ocsp.example/"}},
		{"pinned: a leaf with the name of its authority", &identity.Platform{Mode: identity.ModePinned}, []*x509.Certificate{namesake, asked.Cert}, []string{"http://ocsp.example/"}},
		{"pinned: self-signed", &identity.Platform{Mode: identity.ModePinned, OCSP: identity.OCSPPolicy{Responder: "http://ours.example/"}}, []*x509.Certificate{selfMade(t)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.p.Domain, c.p.Anchors = host, []*x509.Certificate{root.Cert}
			k, err := identity.NewKey(host, "k", c.certs...)
			if err != nil {
				t.Fatal(err)
			}
			if k, err = c.p.Certify(k, now, nil); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, q := range c.p.Questions(k) {
				got = append(got, q.Responder)
				if q.Certificate.CheckSignatureFrom(q.Issuer) != nil {
					t.Errorf("the issuer of %s is not its issuer", q.Certificate.Subject)
				}
			}
			if strings.Join(got, " ") != strings.Join(c.want, " ") {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// TestStandingByEvidence: the time of the signature, of the check, of the revocation, and
// what is proved.
func TestStandingByEvidence(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	root := catest.New(t, "Root")
	sub := root.Sub(t, "Sub", catest.Responder("http://root.example/"))
	leaf := sub.Issue(t, catest.NewKey(t), bank, responder)
	p := caPlatform(t, nil, root.Cert)
	k, err := p.KeyFromX5C("k", x5c(leaf, sub.Cert))
	if err != nil {
		t.Fatal(err)
	}
	if k, err = p.Certify(k, now, nil); err != nil {
		t.Fatal(err)
	}
	hour := func(n int) time.Time { return now.Add(time.Duration(n) * time.Hour) }
	about := func(s catest.Single) []byte {
		s.Cert, s.Issuer = leaf, sub.Cert
		if s.ThisUpdate.IsZero() {
			s.ThisUpdate, s.NextUpdate = hour(-1), hour(1)
		}
		return catest.Answer{Singles: []catest.Single{s}, By: sub, Produced: s.ThisUpdate}.DER(t)
	}
	rootSays := func(s catest.Single) []byte {
		s.Cert, s.Issuer = sub.Cert, root.Cert
		return catest.Answer{Singles: []catest.Single{s}, By: root}.DER(t)
	}
	good, subGood := about(catest.Single{}), rootSays(catest.Single{})
	revoked := func(reason, at int) []byte {
		return about(catest.Single{Status: catest.Revoked, Reason: reason, RevokedAt: hour(at)})
	}
	earlier := about(catest.Single{ThisUpdate: hour(-20), NextUpdate: hour(5)})
	for _, c := range []struct {
		name      string
		at, since time.Time
		checked   time.Time
		answers   [][]byte
		want      identity.RevocationState // 0: it stands
	}{
		{"good", hour(0), time.Time{}, now, [][]byte{good, subGood}, 0},
		{"in the other order", hour(0), time.Time{}, now, [][]byte{subGood, good}, 0},
		{"an old signature, checked now", hour(-90), time.Time{}, now, [][]byte{good, subGood}, 0},
		{"no answer", hour(0), time.Time{}, now, nil, identity.StateUnknown},
		{"none about the authority between", hour(0), time.Time{}, now, [][]byte{good}, identity.StateUnknown},
		{"checked when the answer had ended", hour(0), time.Time{}, hour(2), [][]byte{good, subGood}, identity.StateUnknown},
		{"checked before it was signed", hour(1), time.Time{}, now, [][]byte{good, subGood}, identity.StateUnknown},
		{"superseded before it signed", hour(0), time.Time{}, now, [][]byte{revoked(4, -1), subGood}, identity.StateRevoked},
		{"superseded at that moment", hour(-1), time.Time{}, now, [][]byte{revoked(4, -1), subGood}, identity.StateRevoked},
		{"superseded after it signed", hour(-2), time.Time{}, now, [][]byte{revoked(4, -1), subGood}, 0},
		{"superseded before it signed, an older good beside it", hour(0), time.Time{}, now, [][]byte{earlier, revoked(4, -1), subGood}, identity.StateRevoked},
		{"a newer good beside it", hour(0), time.Time{}, now, [][]byte{about(catest.Single{ThisUpdate: hour(0), NextUpdate: hour(1)}), revoked(4, -1), subGood}, identity.StateRevoked},
		{"the same, the other way round", hour(0), time.Time{}, now, [][]byte{revoked(4, -1), earlier, subGood}, identity.StateRevoked},
		{"stolen after it signed, without proof", hour(-2), time.Time{}, now, [][]byte{revoked(1, -1), subGood}, identity.StateCompromised},
		{"stolen after it is proved to have existed", hour(-2), hour(-2), now, [][]byte{revoked(1, -1), subGood}, 0},
		{"stolen before it is proved to have existed", hour(-3), hour(-1), now, [][]byte{revoked(1, -1), subGood}, identity.StateCompromised},
		{"the authority stolen", hour(-2), time.Time{}, now, [][]byte{revoked(2, -1), subGood}, identity.StateCompromised},
		{"the authority between revoked before", hour(0), hour(0), now, [][]byte{good, rootSays(catest.Single{Status: catest.Revoked, Reason: 4})}, identity.StateRevoked},
	} {
		t.Run(c.name, func(t *testing.T) {
			ev := identity.Evidence{CheckedAt: c.checked, Certificates: k.Certificates, Answers: c.answers}
			text, err := json.Marshal(ev)
			if err != nil {
				t.Fatal(err)
			}
			var again identity.Evidence
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			err = p.CheckRevocation(k, c.at, c.since, again)
			r, _ := errors.AsType[*identity.RevocationError](err)
			if c.want == 0 && err != nil || c.want != 0 && (r == nil || r.State != c.want) {
				t.Errorf("got %v, want state %d", err, c.want)
			}
		})
	}
}

func TestSerialNumbers(t *testing.T) {
	c := *selfMade(t)
	for _, n := range []*big.Int{nil, big.NewInt(0), big.NewInt(-1), new(big.Int).Lsh(big.NewInt(1), 160)} {
		c.SerialNumber = n
		breach, _ := errors.AsType[*identity.PolicyError](identity.CheckPolicy(&c))
		if breach == nil || breach.Rule != identity.RuleSerial {
			t.Errorf("serial number %v: got %v, want the rule %s", n, breach, identity.RuleSerial)
		}
	}
}

var unknownCritical = pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4, 5}, Critical: true, Value: []byte{5, 0}}

func mustHost(t *testing.T, s string) identity.Host {
	t.Helper()
	h, err := identity.ParseHost(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func selfMade(t *testing.T) *x509.Certificate {
	t.Helper()
	key := catest.NewKey(t)
	c, err := identity.NewSelfSigned(key, identity.CertificateSpec{Subject: "bank.example", Names: []string{"bank.example"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPathOfOneFileIsNotThatOfAnother: what is remembered of a path that other
// certificates made does not serve where they are missing.
func TestPathOfOneFileIsNotThatOfAnother(t *testing.T) {
	now := time.Now()
	root := catest.New(t, "Root")
	sub := root.Sub(t, "Sub")
	p := caPlatform(t, nil, root.Cert)
	k, err := p.KeyFromX5C("k", x5c(sub.Issue(t, catest.NewKey(t), bank, responder)))
	if err != nil {
		t.Fatal(err)
	}
	for i, more := range [][]*x509.Certificate{nil, {sub.Cert}, nil, {catest.New(t, "Sub").Cert}, {sub.Cert}} {
		_, err := p.Certify(k, now, more)
		if with := i == 1 || i == 4; with && err != nil || !with && !errors.Is(err, identity.ErrNoAnchor) {
			t.Errorf("look %d, with %d more certificates: got %v", i, len(more), err)
		}
	}
}

// explicitCurve is a certificate whose key brings the parameters of its curve (which are
// those of P-256) instead of its name; made with OpenSSL.
const explicitCurve = "MIIClTCCAjugAwIBAgIUEaZ3GU6YhI3WIjl5C68G4XMMWXwwCgYIKoZIzj0EAwIwEzERMA8GA1UEAwwIZXhwbGljaXQwHhcNMjYxMTIzMDQ1MjIxWhcNMjcxMTIzMDQ1MjIxWjATMREwDwYDVQQDDAhleHBsaWNpdDCCAUswggEDBgcqhkjOPQIBMIH3AgEBMCwGByqGSM49AQECIQD/////AAAAAQAAAAAAAAAAAAAAAP///////////////zBbBCD/////AAAAAQAAAAAAAAAAAAAAAP///////////////AQgWsY12Ko6k+ez671VdpiGvGUdBrDMU7D2O848PifSYEsDFQDEnTYIhucEk2pmeOETnSa3gZ9+kARBBGsX0fLhLEJH+Lzm5WOkQPJ3A32BLeszoPShOUXYmMKWT+NC4v4af5uO5+tKfA+eFivOM1drMV7Oy7ZAaDe/UfUCIQD/////AAAAAP//////////vOb6racXnoTzucrC/GMlUQIBAQNCAAQnpiuKiXuHxGRyXkHmAK7lExhmCCtnLEJxa9LfiOf9Oin9aN/28lQkZnvUZq3tz9NVBWAzpssNanhfm5Kb+4goo3kwdzAdBgNVHQ4EFgQUhPF7FvN2Ak3soBBpDMJvGmhNREUwHwYDVR0jBBgwFoAUhPF7FvN2Ak3soBBpDMJvGmhNREUwDwYDVR0TAQH/BAUwAwEB/zAXBgNVHREEEDAOggxiYW5rLmV4YW1wbGUwCwYDVR0PBAQDAgeAMAoGCCqGSM49BAMCA0gAMEUCIQDG46PB/W7JBAj8mMI9IyVY49RxQcP140nspupw2QSmHAIgarDBecw+7mFHsu1fphF8rjLh+7GAnjkozu4r/WOUlAs="

// TestCertificatesThatCannotBeRead: in an x5c, in a trust entry and as an anchor alike.
func TestCertificatesThatCannotBeRead(t *testing.T) {
	root := catest.New(t, "Root")
	p := caPlatform(t, nil, root.Cert)
	sound := root.Issue(t, catest.NewKey(t), bank, responder, func(c *x509.Certificate) { c.SerialNumber = big.NewInt(0x7123456789abcdef) })
	negative := bytes.Clone(sound.Raw)
	negative[bytes.Index(negative, sound.SerialNumber.Bytes())] |= 0x80
	explicit, err := base64.StdEncoding.DecodeString(explicitCurve)
	if err != nil {
		t.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"negative serial number": negative, "explicit curve parameters": explicit, "an extension twice": duplicated(t, root, sound),
		"cut short": sound.Raw[:len(sound.Raw)-1], "bytes after its end": append(bytes.Clone(sound.Raw), 0), "empty": {},
	} {
		text := base64.StdEncoding.EncodeToString(der)
		if _, err := p.KeyFromX5C("k", []string{text}); err == nil {
			t.Errorf("%s: in x5c: got a key", name)
		}
		if _, err := p.KeyFromX5C("k", []string{x5c(sound)[0], text}); err == nil {
			t.Errorf("%s: above the leaf: got a key", name)
		}
		anchor := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
		entry, err := json.Marshal(map[string]any{"domain": "bank.example", "mode": "ca", "anchors": []string{anchor}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := identity.ParseTrust(entry); err == nil {
			t.Errorf("%s: as an anchor: it was read", name)
		}
	}
}

// duplicated is c with its first extension once more.
func duplicated(t *testing.T, by *catest.Authority, c *x509.Certificate) []byte {
	t.Helper()
	tmpl := *c
	tmpl.ExtraExtensions = append(slices.Clone(c.Extensions), c.Extensions[0])
	der, err := x509.CreateCertificate(rand.Reader, &tmpl, by.Cert, c.PublicKey, by.Key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}
