package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"strings"
	"time"
)

// An authority signs certificates.
type authority struct {
	key  *key
	cert *x509.Certificate
}

var day = 24 * time.Hour

// newYear begins the certificates of the vectors.
var newYear = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func template(name string) *x509.Certificate {
	serial := sha256.Sum256([]byte(name))
	serial[0] = 1 // positive
	return &x509.Certificate{SerialNumber: new(big.Int).SetBytes(serial[:8]), Subject: pkix.Name{CommonName: name + " (TEST)"},
		NotBefore: newYear, NotAfter: newYear.Add(700 * day), BasicConstraintsValid: true}
}

// issue makes a certificate; by nil makes an anchor.
func issueCertificate(k *key, by *authority, t *x509.Certificate) *x509.Certificate {
	parent, signer := t, k
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der := must(x509.CreateCertificate(bytes.NewReader(nil), t, parent, k.priv.Public(), deterministic{signer.priv}))
	return must(x509.ParseCertificate(der))
}

func authorityTemplate(name string) *x509.Certificate {
	t := template(name)
	t.IsCA, t.KeyUsage, t.NotAfter = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign, newYear.Add(3650*day)
	return t
}

func (g *generator) authority(name string, by *authority, edit func(*x509.Certificate)) *authority {
	t := authorityTemplate(name)
	if edit != nil {
		edit(t)
	}
	k := g.ec(name, "ES256")
	return &authority{k, issueCertificate(k, by, t)}
}

func leaf(k *key, by *authority, edit func(*x509.Certificate)) *x509.Certificate {
	t := template("leaf of " + carrier)
	// Seven days, of which the vectors' trust file says that nobody need be asked.
	t.NotBefore = time.Date(2026, 5, 29, 0, 0, 0, 0, time.UTC)
	t.NotAfter = t.NotBefore.Add(7 * day)
	t.DNSNames, t.KeyUsage = []string{carrier}, x509.KeyUsageDigitalSignature
	if edit != nil {
		edit(t)
	}
	return issueCertificate(k, by, t)
}

func x5cOf(certs ...*x509.Certificate) string {
	var list []string
	for _, c := range certs {
		list = append(list, quote(base64.StdEncoding.EncodeToString(c.Raw)))
	}
	return "[" + strings.Join(list, ",") + "]"
}

func anchor(a *authority) []string {
	return []string{string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))}
}

// authorityVectors are platforms that are trusted by an authority (mode ca): the key comes
// with the message, and counts if its certificates lead to an anchor of the trust file.
func authorityVectors(g *generator) {
	root := g.authority("ca-root", nil, nil)
	narrow := g.authority("ca-narrow", nil, func(c *x509.Certificate) { c.MaxPathLenZero = true })
	under := g.authority("ca-under", root, nil)
	k := g.ec("ca-leaf", "ES256")
	ca := func(name string, a *authority, list ...jwk) {
		p := platform{Domain: carrier, Issuer: true, Mode: "ca", Anchors: anchor(a), OCSP: map[string]any{"shortLived": true}}
		if list != nil {
			p.Keys = keys(list...)
		}
		g.trust(name, p, platform{Domain: bank, Keys: keys(g.key("bank-1").public()), Quirks: bare})
	}
	ca("ca", root)
	ca("ca-narrow", narrow)

	header := func(raw string) obj { return obj{{"alg", `"ES256"`}, {"kid", `"ca-leaf"`}, {"x5c", raw}} }
	with := func(certs ...*x509.Certificate) *bill { return signed(k, header(x5cOf(certs...))) }
	good := func(name, comment string, b *bill) {
		g.put("ca/"+name, accept("K7", comment).ends(b, shipper, "active").trust("ca"))
	}
	no := func(name, reason, comment string, b *bill) *vec {
		return refuse("K7", reason, comment).block(b).trust("ca").entry(0).named(g, "ca/refuse-"+name)
	}
	edit := func(f func(*x509.Certificate)) *x509.Certificate { return leaf(k, root, f) }
	usage := func(u ...x509.ExtKeyUsage) *x509.Certificate {
		return edit(func(c *x509.Certificate) { c.ExtKeyUsage = u })
	}
	sub := func(a *authority) *bill { return with(leaf(k, a, nil), a.cert) }

	good("anchor-signed", "the anchor of the trust file signed the certificate", with(leaf(k, root, nil)))
	good("one-between", "a path over one more authority, which x5c brings", sub(under))
	good("anchor-too", "the anchor itself may stand in x5c, and says nothing there", with(leaf(k, root, nil), root.cert))
	good("any-order", "the certificates after the first may stand in any order", with(leaf(k, under, nil), root.cert, under.cert))
	good("no-kid", "without kid the first certificate of x5c is the key's", signed(k, header(x5cOf(leaf(k, root, nil))).without("kid")))
	good("other-kid", "the kid is a name that the signer chose", signed(k, header(x5cOf(leaf(k, root, nil))).with("kid", `"2026-7"`)))
	good("two-names", "one of the names is the platform's, in any case", with(edit(func(c *x509.Certificate) { c.DNSNames = []string{"www.carrier.example", "CARRIER.example"} })))
	good("usage-mail", "an extended key usage that allows mail to be signed", with(usage(x509.ExtKeyUsageEmailProtection, x509.ExtKeyUsageClientAuth)))
	good("usage-any", "any extended key usage", with(usage(x509.ExtKeyUsageAny)))
	good("usage-documents", "an extended key usage that allows documents to be signed (RFC 9336)", with(edit(func(c *x509.Certificate) {
		c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 36}}
	})))
	good("commitment", "a key usage with nonRepudiation alone", with(edit(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageContentCommitment })))
	named := func(permitted, excluded []string) *authority {
		return g.authority("ca-named-"+strings.Join(append(permitted, excluded...), "-"), root, func(c *x509.Certificate) {
			c.PermittedDNSDomains, c.ExcludedDNSDomains, c.PermittedDNSDomainsCritical = permitted, excluded, true
		})
	}
	good("name-allowed", "an authority that may name the platform's domain", sub(named([]string{"carrier.example"}, nil)))

	strangers := g.authority("ca-strangers", nil, nil)
	no("strangers", "unknownKey", "a path to somebody else's anchor", with(leaf(k, strangers, nil), strangers.cert))
	no("gap", "unknownKey", "the authority between is missing", with(leaf(k, under, nil)))
	no("no-x5c", "unknownKey", "a kid, and no certificate", signed(k, obj{{"alg", `"ES256"`}, {"kid", `"ca-leaf"`}}))
	pinned := newBill()
	payload := pinned.payload(tx("ISSU", bank, ben, 0)).String()
	pinned.add(payload, compact(k, header(x5cOf(leaf(k, root, func(c *x509.Certificate) { c.DNSNames = []string{bank} }))), payload))
	no("pinned-platform", "unknownKey", "a platform that is trusted by its listed keys: x5c brings it none", pinned)
	bad := func(name, comment string, c *x509.Certificate) { no(name, "badSignature", comment, with(c)) }
	bad("other-name", "the certificate of another platform", edit(func(c *x509.Certificate) { c.DNSNames = []string{bank} }))
	bad("common-name", "a common name is no name", edit(func(c *x509.Certificate) { c.DNSNames, c.Subject.CommonName = nil, carrier }))
	bad("below-the-name", "a name below the platform's domain is another", edit(func(c *x509.Certificate) { c.DNSNames = []string{"sign.carrier.example"} }))
	bad("wildcard", "a wildcard is not the domain", edit(func(c *x509.Certificate) { c.DNSNames = []string{"*.example"} }))
	bad("expired", "ended before the entry was signed", edit(func(c *x509.Certificate) { c.NotAfter = time.Date(2026, 6, 1, 7, 59, 59, 0, time.UTC) }))
	bad("not-yet", "begins after the entry was signed", edit(func(c *x509.Certificate) { c.NotBefore = time.Date(2026, 6, 1, 8, 0, 1, 0, time.UTC) }))
	bad("nobody-to-ask", "valid for more than a week, and neither it nor the trust file says who knows whether it was revoked", edit(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(7*day + time.Second) }))
	bad("732-days", "valid for more than 731 days", edit(func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(732 * day) }))
	bad("usage-server", "a certificate for TLS servers", usage(x509.ExtKeyUsageServerAuth))
	bad("key-usage", "a key usage without digitalSignature and nonRepudiation", edit(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }))
	bad("no-key-usage", "no key usage at all", edit(func(c *x509.Certificate) { c.KeyUsage = 0 }))
	bad("authority-signs", "an authority signs certificates, and nothing else", edit(func(c *x509.Certificate) {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageDigitalSignature|x509.KeyUsageCertSign
	}))
	bad("critical", "a critical extension that nobody knows", edit(func(c *x509.Certificate) {
		c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3, 4}, Critical: true, Value: []byte{5, 0}}}
	}))
	notCA := &authority{g.ec("ca-no-authority", "ES256"), nil}
	notCA.cert = issueCertificate(notCA.key, root, func() *x509.Certificate {
		t := template("no authority")
		t.KeyUsage = x509.KeyUsageDigitalSignature
		return t
	}())
	no("no-authority", "unknownKey", "the certificate between is no authority's, so that there is no path", sub(notCA))
	late := g.authority("ca-late", root, func(c *x509.Certificate) { c.NotBefore = newYear.Add(300 * day) })
	no("late-authority", "badSignature", "the authority between began after the entry was signed", sub(late))
	no("name-not-allowed", "badSignature", "an authority that may name another domain only", sub(named([]string{"bank.example"}, nil)))
	no("name-excluded", "badSignature", "an authority that may name all but this", sub(named(nil, []string{"example"})))
	deep := g.authority("ca-deep", narrow, nil)
	no("path-length", "badSignature", "the anchor allows no authority below it", sub(deep)).trust("ca-narrow")
	g.put("ca/path-length-zero", accept("K7", "the anchor allows no authority below it, and there is none").ends(with(leaf(k, narrow, nil)), shipper, "active").trust("ca-narrow"))
	weak := &authority{&key{"ca-weak", "ES256", must(ecdsa.ParseRawPrivateKey(elliptic.P224(), append(make([]byte, 27), 7)))}, nil}
	weak.cert = issueCertificate(weak.key, root, authorityTemplate("ca-weak"))
	no("weak-authority", "badSignature", "the key of the authority between is on P-224: the policy is for it too", sub(weak))
	eleven := []*x509.Certificate{leaf(k, root, nil)}
	for len(eleven) < 11 {
		eleven = append(eleven, root.cert)
	}
	no("eleven", "badSignature", "x5c has at most ten certificates", with(eleven...))
	g.put("ca/ten", accept("K7", "x5c may have ten certificates").ends(with(eleven[:10]...), shipper, "active").trust("ca"))
	astray := g.authority("ca-astray", strangers, func(c *x509.Certificate) { c.NotBefore = newYear.Add(300 * day) })
	no("late-and-nowhere", "unknownKey", "the authority between began later, and leads to nobody's anchor: another certificate of it may turn up", sub(astray))
	no("wrong-key", "badSignature", "the certificate of another key than that which signed", signed(g.key("stranger-1"), header(x5cOf(leaf(k, root, nil)))))
	no("x5c-garbage", "badSignature", "no certificate", signed(k, header(`["AAAA"]`)))
	no("x5c-base64url", "badSignature", "x5c is standard base64, not base64url", signed(k, header(strings.NewReplacer("+", "-", "/", "_").Replace(x5cOf(leaf(k, root, nil))))))
	impostor := g.authority("ca-impostor", nil, func(c *x509.Certificate) { c.Subject = root.cert.Subject })
	no("forged", "unknownKey", "signed by another authority of the anchor's name", with(leaf(k, impostor, nil)))
}
