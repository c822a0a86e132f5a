package envelope_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
)

func asking(c *x509.Certificate) { c.OCSPServer = []string{"http://ocsp.example/"} }

// signerUnder is a signer whose certificate a signed.
func signerUnder(t *testing.T, a *catest.Authority, domain, kid string, edits ...catest.Edit) *identity.Signer {
	t.Helper()
	key := catest.NewKey(t)
	return signerOf(t, domain, kid, key, append([]*x509.Certificate{a.Issue(t, key, append([]catest.Edit{catest.Names(domain), asking}, edits...)...)}, a.Path...)...)
}

func signerOf(t *testing.T, domain, kid string, key *ecdsa.PrivateKey, chain ...*x509.Certificate) *identity.Signer {
	t.Helper()
	host, err := identity.ParseHost(domain)
	if err != nil {
		t.Fatal(err)
	}
	k, err := identity.NewKey(host, kid, chain...)
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.NewSigner(k, identity.ES256, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func entryOf(t *testing.T, entry map[string]any) *identity.Platform {
	t.Helper()
	text, err := json.Marshal(entry)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	return ps[0]
}

// TestSignaturesInCAMode: an x5c is as good as the path that it leads to, at the time of the
// signature, and no better.
func TestSignaturesInCAMode(t *testing.T) {
	now := time.Now()
	root, strangers := catest.New(t, "Consortium"), catest.New(t, "Consortium")
	sub := root.Sub(t, "Sub")
	ca := map[string]any{"domain": "bank.example", "mode": "ca", "anchors": []string{catest.PEM(root.Cert)}}
	with := func(name string, value any) map[string]any {
		m := map[string]any{}
		for k, v := range ca {
			m[k] = v
		}
		m[name] = value
		return m
	}
	listed := signerUnder(t, root, "bank.example", "listed")
	jwk := func(s *identity.Signer, more map[string]any) map[string]any {
		text, err := s.Key.JWK()
		if err != nil {
			t.Fatal(err)
		}
		m := map[string]any{}
		if err := json.Unmarshal(text, &m); err != nil {
			t.Fatal(err)
		}
		for k, v := range more {
			m[k] = v
		}
		return m
	}
	keys := func(list ...any) map[string]any { return map[string]any{"keys": list} }
	withListed := with("keys", keys(jwk(listed, nil)))
	withStolen := with("keys", keys(jwk(listed, map[string]any{"revoked": now.Add(-time.Hour).UTC().Format(time.RFC3339), "reason": "keyCompromise"})))
	renamed := *listed
	renamedKey := *listed.Key
	renamedKey.ID = "brand-new"
	renamed.Key = &renamedKey
	yesterday := signerUnder(t, root, "bank.example", "y", catest.Valid(now.AddDate(-1, 0, 0), now.AddDate(0, 0, -1)))
	for _, c := range []struct {
		name   string
		signer *identity.Signer
		entry  map[string]any
		at     time.Time
		want   envelope.SignatureReason // "" is believed
	}{
		{"by a key that nobody listed", signerUnder(t, root, "bank.example", "k"), ca, now, ""},
		{"through another authority", signerUnder(t, sub, "bank.example", "k"), ca, now, ""},
		{"by a listed key", listed, withListed, now, ""},
		{"by a key that is not listed, beside one that is", signerUnder(t, sub, "bank.example", "k"), withListed, now, ""},
		{"expired since", yesterday, ca, now.AddDate(0, 0, -2), ""},
		{"expired when it signed", yesterday, ca, now, envelope.BadSignature},
		{"by another platform of the same consortium", signerUnder(t, root, "shipper.example", "k"), ca, now, envelope.BadSignature},
		{"by a TLS key", signerUnder(t, root, "bank.example", "k", catest.TLS), ca, now, envelope.BadSignature},
		{"x5c of a stranger's authority", signerUnder(t, strangers, "bank.example", "k"), ca, now, envelope.UnknownKey},
		{"x5c of a stranger's authority under the kid of a listed key", signerUnder(t, strangers, "bank.example", "listed"), withListed, now, envelope.BadSignature},
		{"by a stolen key", listed, withStolen, now, envelope.KeyCompromised},
		{"by a stolen key under a new name", &renamed, withStolen, now, envelope.KeyCompromised},
		{"in pinned mode x5c brings nothing", signerUnder(t, root, "bank.example", "k"), map[string]any{"domain": "bank.example",
			"anchors": []string{catest.PEM(root.Cert)}, "keys": keys(jwk(listed, nil))}, now, envelope.UnknownKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			receipt, err := envelope.SignReceipt(envelope.Hash{1}, c.signer, c.at)
			if err != nil {
				t.Fatal(err)
			}
			j, err := envelope.ParseJWS(receipt)
			if err != nil {
				t.Fatal(err)
			}
			k, err := j.Verify(entryOf(t, c.entry), c.at, false)
			serr, _ := errors.AsType[*envelope.SignatureError](err)
			if (serr == nil) != (c.want == "") || serr != nil && serr.Reason != c.want {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err != nil {
				return
			}
			if n := len(k.Certificates); !k.Certificates[n-1].Equal(root.Cert) {
				t.Errorf("got a path of %d that does not end in the anchor", n)
			}
			// Verified before, by us: the signature is passed over, the path is not.
			known := envelope.Known{Key: k.Thumbprint()}
			if _, err := j.VerifyKnown(entryOf(t, c.entry), c.at, known); err != nil {
				t.Errorf("again: %v", err)
			}
			other := with("anchors", []string{catest.PEM(strangers.Cert)})
			if _, err := j.VerifyKnown(entryOf(t, other), c.at, known); err == nil {
				t.Error("again, with another anchor: got no error")
			}
			bad := j
			bad.Raw = strings.Replace(j.Raw, ".", "A.", 1)
			if reread, err := envelope.ParseJWS(bad.Raw); err == nil {
				if _, err := reread.Verify(entryOf(t, c.entry), c.at, false); err == nil {
					t.Error("changed: got no error")
				}
			}
		})
	}
}

// TestX5CThatCannotBeRead is a bad signature, and no panic.
func TestX5CThatCannotBeRead(t *testing.T) {
	root := catest.New(t, "Root")
	p := entryOf(t, map[string]any{"domain": "bank.example", "mode": "ca", "anchors": []string{catest.PEM(root.Cert)}})
	for _, x5c := range []string{`["AAAA"]`, `["%"]`, `["` + strings.Repeat(`AAAA","`, 50) + `AAAA"]`} {
		head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","kid":"k","x5c":` + x5c + `}`))
		j, err := envelope.ParseJWS(head + ".e30." + base64.RawURLEncoding.EncodeToString(make([]byte, 64)))
		if err != nil {
			t.Fatal(err)
		}
		_, err = j.Verify(p, time.Now(), false)
		if serr, _ := errors.AsType[*envelope.SignatureError](err); serr == nil || serr.Reason != envelope.BadSignature {
			t.Errorf("%.30s: got %v, want %s", x5c, err, envelope.BadSignature)
		}
	}
}

// TestWhatWeSignBringsItsCertificates, without the anchor; a self-signed one is nobody's path.
func TestWhatWeSignBringsItsCertificates(t *testing.T) {
	root := catest.New(t, "Root")
	sub := root.Sub(t, "Sub")
	key := catest.NewKey(t)
	leaf := sub.Issue(t, key, catest.Names("bank.example"))
	host, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	own, err := identity.GenerateSigner(host, identity.ES256, identity.CertificateSpec{Subject: "bank", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 1, 0)})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		signer *identity.Signer
		want   int
	}{
		"self-signed":              {own, 0},
		"leaf alone":               {signerOf(t, "bank.example", "k", key, leaf), 1},
		"leaf and authority":       {signerOf(t, "bank.example", "k", key, leaf, sub.Cert), 2},
		"leaf, authority and root": {signerOf(t, "bank.example", "k", key, leaf, sub.Cert, root.Cert), 2},
	} {
		receipt, err := envelope.SignReceipt(envelope.Hash{1}, c.signer, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		j, err := envelope.ParseJWS(receipt)
		if err != nil || len(j.Header.X5C) != c.want {
			t.Errorf("%s: got %d certificates and %v, want %d", name, len(j.Header.X5C), err, c.want)
		}
	}
}

// TestTokenUnderALongPath: three certificates of the size that RSA authorities make lie between
// the key and the anchor. The assertion brings them and is read all the same; the access token,
// which goes with each request, brings none.
func TestTokenUnderALongPath(t *testing.T) {
	large := func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4, 6}, Value: make([]byte, 1500)})
	}
	root := catest.New(t, "Root")
	policy := root.Sub(t, "Policy", large)
	issuing := policy.Sub(t, "Issuing", large)
	s := signerUnder(t, issuing, "bank.example", "k", large)
	claims := map[string]any{"iss": "bank.example"}
	ca := &identity.Platform{Domain: s.Key.Platform, Mode: identity.ModeCA, Anchors: []*x509.Certificate{root.Cert}}
	own := &identity.Platform{Domain: s.Key.Platform, Mode: identity.ModePinned, Keys: []*identity.Key{s.Key}}
	for _, c := range []struct {
		typ         string
		p           *identity.Platform
		least, most int
	}{{envelope.TypAssertion, ca, 8 << 10, envelope.MaxJWT}, {envelope.TypAccess, own, 0, 1 << 10}} {
		text, err := envelope.SignJWT(c.typ, claims, s)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) < c.least || len(text) > c.most {
			t.Errorf("%s: got %d bytes, want %d to %d", c.typ, len(text), c.least, c.most)
		}
		j, err := envelope.ParseJWT(text)
		if err != nil {
			t.Errorf("%s: %v", c.typ, err)
			continue
		}
		if _, err := j.Verify(c.p, time.Now(), false); err != nil {
			t.Errorf("%s: %v", c.typ, err)
		}
	}
	if len(s.Key.Certificates) == 0 {
		t.Error("the key itself has lost its certificates")
	}
}
