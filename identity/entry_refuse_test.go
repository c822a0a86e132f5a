package identity

import (
	"bytes"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"strings"
	"testing"
)

// Each is a sound file but for one thing, and the error begins with its path.
func TestParseTrustRefusesAndNamesThePath(t *testing.T) {
	other := ecKey(t, elliptic.P256())
	otherCert := selfSign(t, other, nil)
	ca, inter := newCA(t, "CA"), newCA(t, "CA").sub(t, "Sub CA")
	b64 := base64.RawURLEncoding.EncodeToString
	five := selfSign(t, other, func(c *x509.Certificate) { c.NotAfter = c.NotBefore.Add(5 * 365 * day) })
	encipher := selfSign(t, other, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })
	rsa1024 := must(rsa.GenerateKey(rand.Reader, 1024))
	fat := new(big.Int).Lsh(big.NewInt(1), 16383)
	notSelf := ca.issue(t, other, leafTemplate("bank.example"))
	noSign := newCAWithUsage(t, x509.KeyUsageDigitalSignature)
	ladder := []*x509.Certificate{otherCert}
	for range maxChain {
		ladder = append(ladder, newCA(t, "CA").cert)
	}
	x5c := func(certs ...*x509.Certificate) any { return jwkOf(&other.PublicKey, "", certs...)["x5c"] }
	withOther := func(s *sample, kid string, certs ...*x509.Certificate) *sample {
		return s.set("keys.keys.0", jwkOf(&other.PublicKey, kid, certs...))
	}
	long := strings.Repeat("x", 256)
	const k0 = "keys.keys.0."
	for _, c := range []struct {
		name   string
		change func(s *sample)
		want   string // beginning of the error
	}{
		{"no domain", func(s *sample) { s.set("domain", nil) }, "domain: missing"},
		{"empty domain", func(s *sample) { s.set("domain", "") }, "domain: empty"},
		{"domain not a string", func(s *sample) { s.set("domain", 7) }, "domain: not a string"},
		{"domain an IP address", func(s *sample) { s.set("domain", "192.0.2.1") }, "domain: host"},
		{"unknown member", func(s *sample) { s.set("trusted", true) }, `unknown member "trusted"`},
		{"member in another case", func(s *sample) { s.set("Issuer", true) }, `unknown member "Issuer"`},
		{"member without name", func(s *sample) { s.set("", true) }, `unknown member ""`},
		{"unknown member of tls", func(s *sample) { s.set("tls.pin", "x") }, `tls: unknown member "pin"`},
		{"unknown member of quirks", func(s *sample) { s.set("quirks.bareKeys", true) }, `quirks: unknown member "bareKeys"`},
		{"name with escape sequence", func(s *sample) { s.set("name", "\x1b[2J") }, "name: the control character U+001B"},
		{"name with right-to-left override", func(s *sample) { s.set("name", "a\u202eb") }, "name: the control character U+202E"},
		{"name with line separator", func(s *sample) { s.set("name", "a\u2028b") }, "name: the control character U+2028"},
		{"name too long", func(s *sample) { s.set("name", long) }, "name: 256 bytes"},
		{"code too long", func(s *sample) { s.set("code", long) }, "code: 256 bytes"},
		{"hosts not an array", func(s *sample) { s.set("hosts", "a.example") }, "hosts: not an array"},
		{"host an IP address", func(s *sample) { s.set("hosts.1", "[::1]") }, "hosts[1]: host"},
		{"host not a string", func(s *sample) { s.set("hosts.1", 1) }, "hosts[1]: not a string"},
		{"host null", func(s *sample) { s.set("hosts", []any{nil}) }, "hosts[0]: not a string"},
		{"host empty", func(s *sample) { s.set("hosts.0", "") }, "hosts[0]: empty"},
		{"host twice", func(s *sample) { s.set("hosts.0", "old.example") }, "hosts[1]: stands in the list twice"},
		{"endpoint http", func(s *sample) { s.set("endpoint", "http://a.example/") }, "endpoint: not an https URL"},
		{"endpoint without scheme", func(s *sample) { s.set("endpoint", "a.example/v1") }, "endpoint: not an https URL"},
		{"endpoint opaque", func(s *sample) { s.set("endpoint", "https:a.example") }, "endpoint: host"},
		{"endpoint with user", func(s *sample) { s.set("endpoint", "https://u:secret@a.example/") }, "endpoint: user information"},
		{"endpoint with user and a broken escape", func(s *sample) { s.set("endpoint", "https://u:secret@a.example/%zz") }, "endpoint: not a URL"},
		{"endpoint with query", func(s *sample) { s.set("endpoint", "https://a.example/?x=1") }, "endpoint: a query"},
		{"endpoint with empty query", func(s *sample) { s.set("endpoint", "https://a.example/?") }, "endpoint: a query"},
		{"endpoint with fragment", func(s *sample) { s.set("endpoint", "https://a.example/#x") }, "endpoint: a query"},
		{"endpoint an IPv4 address", func(s *sample) { s.set("endpoint", "https://127.0.0.1/") }, "endpoint: host"},
		{"endpoint a hexadecimal address", func(s *sample) { s.set("endpoint", "https://0x7f000001/") }, "endpoint: host"},
		{"endpoint an IPv6 address", func(s *sample) { s.set("endpoint", "https://[::1]:8443/") }, "endpoint: host"},
		{"endpoint without host", func(s *sample) { s.set("endpoint", "https:///v1") }, "endpoint: host"},
		{"endpoint with space", func(s *sample) { s.set("endpoint", "https://a.example/ x") }, "endpoint: the byte 0x20"},
		{"endpoint with back slash", func(s *sample) { s.set("endpoint", `https://a.example\@evil.example`) }, "endpoint: the byte 0x5c"},
		{"endpoint too long", func(s *sample) { s.set("endpoint", "https://a.example/"+strings.Repeat("x", 2048)) }, "endpoint: 2066 bytes"},
		{"mode ca and bare keys", func(s *sample) { s.set("mode", "ca") }, `quirks.bareKey: in the mode "ca"`},
		{"mode unknown", func(s *sample) { s.set("mode", "any") }, `mode: "any" is not a mode`},
		{"mode in another case", func(s *sample) { s.set("mode", "Pinned") }, `mode: "Pinned" is not a mode`},
		{"issuer a string", func(s *sample) { s.set("issuer", "true") }, "issuer: not true or false"},
		{"issuer a number", func(s *sample) { s.set("issuer", 1) }, "issuer: not true or false"},
		{"carriers empty", func(s *sample) { s.set("carriers", []any{}) }, "carriers: empty"},
		{"carrier with control", func(s *sample) { s.set("carriers.0", "A\n") }, "carriers[0]: the control character"},
		{"anchor not PEM", func(s *sample) { s.set("anchors.0", "MIIB") }, "anchors[0]: not one certificate"},
		{"anchor of two certificates", func(s *sample) { s.set("tls.anchors.0", pemOf(ca.cert)+pemOf(ca.cert)) }, "tls.anchors[0]: not one certificate"},
		{"anchor after other text", func(s *sample) { s.set("tls.anchors.0", "x\n"+pemOf(ca.cert)) }, "tls.anchors[0]: not one certificate"},
		{"anchor a private key", func(s *sample) {
			s.set("tls.anchors.0", string(must(MarshalPrivateKey(other))))
		}, "tls.anchors[0]: not one certificate"},
		{"anchor a leaf of somebody", func(s *sample) { s.set("tls.anchors.0", pemOf(notSelf)) }, "tls.anchors[0]: neither an authority nor"},
		{"anchor a self-signed leaf for five years", func(s *sample) { s.set("tls.anchors.0", pemOf(five)) }, "tls.anchors[0]: certificate policy"},
		{"anchor an RSA-1024 authority", func(s *sample) {
			s.set("tls.anchors.0", pemOf(selfSign(t, rsa1024, func(c *x509.Certificate) {
				c.IsCA, c.BasicConstraintsValid = true, true
				c.KeyUsage = x509.KeyUsageCertSign
			})))
		}, "tls.anchors[0]: certificate policy"},
		{"anchor an authority that may not sign certificates", func(s *sample) { s.set("tls.anchors.0", pemOf(noSign)) }, "tls.anchors[0]: certificate policy"},
		{"pin without prefix", func(s *sample) { s.set("tls.pins.0", strings.TrimPrefix(PinText([32]byte{}), "sha256/")) }, "tls.pins[0]: not a pin"},
		{"pin of another hash", func(s *sample) { s.set("tls.pins.0", "sha1/"+strings.Repeat("A", 27)+"=") }, "tls.pins[0]: not a pin"},
		{"pin too short", func(s *sample) { s.set("tls.pins.0", "sha256/AAAA") }, "tls.pins[0]: not a pin"},
		{"pin in base64url", func(s *sample) {
			s.set("tls.pins.0", "sha256/"+base64.URLEncoding.EncodeToString(bytes.Repeat([]byte{255}, 32)))
		}, "tls.pins[0]: not a pin"},
		{"pin with stray bits", func(s *sample) { s.set("tls.pins.0", "sha256/"+strings.Repeat("A", 42)+"B=") }, "tls.pins[0]: not a pin"},
		{"pin with line break", func(s *sample) { s.set("tls.pins.0", PinText([32]byte{})+"\n") }, "tls.pins[0]: not a pin"},
		{"tls not an object", func(s *sample) { s.set("tls", []any{}) }, "tls: not an object"},
		{"quirk chainField", func(s *sample) { s.set("quirks.chainField", "chain") }, "quirks.chainField: "},
		{"quirk documentHash", func(s *sample) { s.set("quirks.documentHash", "none") }, "quirks.documentHash: "},
		{"quirk envelopeHash", func(s *sample) { s.set("quirks.envelopeHash", "hex") }, "quirks.envelopeHash: "},
		{"quirk assertionAudience", func(s *sample) { s.set("quirks.assertionAudience", "issuer") }, "quirks.assertionAudience: "},
		{"oauth of another type", func(s *sample) { s.set("oauth", "x") }, "oauth: "},
		{"unknown member of oauth", func(s *sample) { s.set("oauth.clientid", "x") }, `oauth: unknown member "clientid"`},
		{"issuer over http", func(s *sample) { s.set("oauth.issuer", "http://login.example") }, "oauth.issuer: not an https URL"},
		{"issuer with a query", func(s *sample) { s.set("oauth.issuer", "https://login.example?x=1") }, "oauth.issuer: a query"},
		{"client id with a line end", func(s *sample) { s.set("oauth.clientId", "a\r\nb") }, "oauth.clientId: "},
		{"client id with a space", func(s *sample) { s.set("oauth.clientId", "a b") }, "oauth.clientId: "},
		{"audience empty", func(s *sample) { s.set("oauth.audience", "") }, "oauth.audience: "},
		{"quirk bareKey a string", func(s *sample) { s.set("quirks.bareKey", "yes") }, "quirks.bareKey: not true or false"},

		{"no keys member", func(s *sample) { s.set("keys", nil) }, "keys: no key"},
		{"keys an array", func(s *sample) { s.set("keys", []any{}) }, "keys: not an object"},
		{"no key", func(s *sample) { s.set("keys.keys", []any{}) }, "keys: no key"},
		{"key not an object", func(s *sample) { s.set("keys.keys.1", "x") }, "keys[1]: not an object"},
		{"1,001 keys", func(s *sample) {
			var many []any
			for i := range 1001 {
				many = append(many, m{"kid": fmt.Sprint(i)})
			}
			s.set("keys.keys", many)
		}, "keys: 1001 keys, more than 1000"},
		{"two keys, one without kid", func(s *sample) { s.set("keys.keys.1.kid", nil) }, "keys[1].kid: missing"},
		{"kid twice", func(s *sample) { s.set("keys.keys.1.kid", "2026-1") }, `keys[1].kid: "2026-1" names two keys`},
		{"kid empty", func(s *sample) { s.set(k0+"kid", "") }, "keys[0].kid: empty"},
		{"kid with space", func(s *sample) { s.set(k0+"kid", "a b") }, "keys[0].kid: the kid has the byte 0x20"},
		{"kid with DEL", func(s *sample) { s.set(k0+"kid", "a\x7f") }, "keys[0].kid: the kid has the byte 0x7f"},
		{"kid not ASCII", func(s *sample) { s.set(k0+"kid", "ä") }, "keys[0].kid: the kid has the byte 0xc3"},
		{"kid too long", func(s *sample) { s.set(k0+"kid", long+"x") }, "keys[0].kid: the kid has 257 bytes"},
		{"kid a number", func(s *sample) { s.set(k0+"kid", 1) }, "keys[0].kid: not a string"},
		{"the same key under two kids", func(s *sample) {
			again := m{}
			for n, v := range s.entry["keys"].(m)["keys"].([]any)[0].(m) {
				again[n] = v
			}
			again["kid"] = "again"
			s.set("keys.keys.1", again)
		}, `keys[1]: the same key as "2026-1"`},
		{"private EC key", func(s *sample) { s.set(k0+"d", "AAAA") }, "keys[0].d: a private or symmetric key"},
		{"private RSA key", func(s *sample) { s.set("keys.keys.1.p", "AAAA") }, "keys[1].p: a private or symmetric key"},
		{"symmetric member", func(s *sample) { s.set(k0+"k", "AAAA") }, "keys[0].k: a private or symmetric key"},
		{"symmetric key", func(s *sample) { s.set("keys.keys.0", m{"kty": "oct", "kid": "x"}) }, "keys[0].kty: certificate policy"},
		{"Ed25519 key", func(s *sample) { s.set(k0+"kty", "OKP") }, "keys[0].kty: certificate policy"},
		{"kty missing", func(s *sample) { s.set(k0+"kty", nil) }, "keys[0].kty: certificate policy"},
		{"curve secp256k1", func(s *sample) { s.set(k0+"crv", "secp256k1") }, "keys[0].crv: certificate policy"},
		{"curve P-224", func(s *sample) { s.set(k0+"crv", "P-224") }, "keys[0].crv: certificate policy"},
		{"curve of another length", func(s *sample) { s.set(k0+"crv", "P-384").set(k0+"alg", nil) }, "keys[0]: certificate policy"},
		{"point off the curve", func(s *sample) { s.set(k0+"y", b64(bytes.Repeat([]byte{1}, 32))) }, "keys[0]: certificate policy"},
		{"coordinate missing", func(s *sample) { s.set(k0+"y", nil) }, "keys[0].y: missing"},
		{"coordinate with padding", func(s *sample) { s.set(k0+"x", s.entry["keys"].(m)["keys"].([]any)[0].(m)["x"].(string)+"=") }, "keys[0].x: not base64url"},
		{"coordinate with zeros in front", func(s *sample) {
			x := s.entry["keys"].(m)["keys"].([]any)[0].(m)["x"].(string)
			s.set(k0+"x", b64(append([]byte{0}, must(base64.RawURLEncoding.DecodeString(x))...)))
		}, "keys[0]: a coordinate has not the length"},
		{"modulus missing", func(s *sample) { s.set("keys.keys.1.n", nil) }, "keys[1].n: missing"},
		{"modulus with line break", func(s *sample) { s.set("keys.keys.1.n", rsaMember("n")+"\n") }, "keys[1].n: not base64url"},
		{"modulus in the other alphabet", func(s *sample) { s.set("keys.keys.1.n", "+/+/") }, "keys[1].n: not base64url"},
		{"RSA-1024", func(s *sample) { s.set("keys.keys.1", jwkOf(&rsa1024.PublicKey, "x")) }, "keys[1]: certificate policy: the RSA key has 1024 bits"},
		{"RSA-16384", func(s *sample) { s.set("keys.keys.1.n", b64(fat.SetBit(fat, 0, 1).Bytes())) }, "keys[1]: certificate policy: the RSA key has 16384 bits"},
		{"exponent 3", func(s *sample) { s.set("keys.keys.1.e", "Aw") }, "keys[1]: certificate policy: the RSA exponent is 3"},
		{"exponent even", func(s *sample) { s.set("keys.keys.1.e", "AQAC") }, "keys[1]: certificate policy: the RSA exponent is 65538"},
		{"exponent 2^31+1", func(s *sample) { s.set("keys.keys.1.e", b64([]byte{128, 0, 0, 1})) }, "keys[1].e: certificate policy"},
		{"exponent 2^64+65537", func(s *sample) { s.set("keys.keys.1.e", b64([]byte{1, 0, 0, 0, 0, 0, 1, 0, 1})) }, "keys[1].e: certificate policy"},
		{"use enc", func(s *sample) { s.set(k0+"use", "enc") }, `keys[0].use: "enc"`},
		{"use in another case", func(s *sample) { s.set(k0+"use", "SIG") }, `keys[0].use: "SIG"`},
		{"key_ops without verify", func(s *sample) { s.set(k0+"key_ops", []any{"sign"}) }, "keys[0].key_ops: without"},
		{"key_ops empty", func(s *sample) { s.set(k0+"key_ops", []any{}) }, "keys[0].key_ops: without"},
		{"key_ops a string", func(s *sample) { s.set(k0+"key_ops", "verify") }, "keys[0].key_ops: not an array"},
		{"alg none", func(s *sample) { s.set(k0+"alg", "none") }, `keys[0].alg: the signature algorithm "none"`},
		{"alg HS256", func(s *sample) { s.set(k0+"alg", "HS256") }, `keys[0].alg: the signature algorithm "HS256"`},
		{"alg of encryption", func(s *sample) { s.set("keys.keys.1.alg", "RSA-OAEP") }, `keys[1].alg: the signature algorithm "RSA-OAEP"`},
		{"alg of another curve", func(s *sample) { s.set(k0+"alg", "ES384") }, "keys[0].alg: ES384 does not fit"},
		{"alg of another type", func(s *sample) { s.set(k0+"alg", "RS256") }, "keys[0].alg: RS256 does not fit"},
		{"time without zone", func(s *sample) { s.set(k0+"notBefore", "2026-01-01T00:00:00") }, "keys[0].notBefore: "},
		{"time with an hour of one digit", func(s *sample) { s.set(k0+"notBefore", "2026-01-01T8:00:00Z") }, "keys[0].notBefore: "},
		{"time with comma", func(s *sample) { s.set(k0+"notBefore", "2026-01-01T00:00:00,5Z") }, "keys[0].notBefore: "},
		{"date alone", func(s *sample) { s.set(k0+"notAfter", "2026-01-01") }, "keys[0].notAfter: "},
		{"time a number", func(s *sample) { s.set(k0+"notAfter", 1767225600) }, "keys[0].notAfter: not a string"},
		{"zero time", func(s *sample) { s.set(k0+"notBefore", "0001-01-01T00:00:00Z") }, "keys[0].notBefore: "},
		{"year 10000", func(s *sample) { s.set(k0+"notAfter", "9999-12-31T23:59:59-01:00") }, "keys[0].notAfter: "},
		{"window the wrong way round", func(s *sample) { s.set(k0+"notAfter", "2026-05-14T00:00:00Z") }, "keys[0].notAfter: before notBefore"},
		{"window outside the certificate", func(s *sample) {
			s.set(k0+"notBefore", "2020-01-01T00:00:00Z").set(k0+"notAfter", "2020-02-01T00:00:00Z")
		}, "keys[0].x5c: the window and the certificate's validity"},
		{"revoked yes", func(s *sample) { s.set("keys.keys.1.revoked", true) }, "keys[1].revoked: not a string"},
		{"revoked at no time", func(s *sample) { s.set("keys.keys.1.revoked", "yes") }, "keys[1].revoked: "},
		{"reason without revoked", func(s *sample) { s.set("keys.keys.1.revoked", nil) }, "keys[1].reason: a reason without"},
		{"reason unknown", func(s *sample) { s.set("keys.keys.1.reason", "stolen") }, `keys[1].reason: "stolen"`},
		{"reason in another case", func(s *sample) { s.set("keys.keys.1.reason", "KeyCompromise") }, "keys[1].reason: "},
		{"reason removeFromCRL", func(s *sample) { s.set("keys.keys.1.reason", "removeFromCRL") }, "keys[1].reason: "},
		{"bare key without the quirk", func(s *sample) { s.set("keys.keys.1.x5c", nil).set("quirks.bareKey", nil) }, "keys[1].x5c: missing"},
		{"x5c empty", func(s *sample) { s.set(k0+"x5c", []any{}) }, "keys[0].x5c: empty"},
		{"x5c a string", func(s *sample) { s.set(k0+"x5c", "x") }, "keys[0].x5c: not an array"},
		{"x5c in base64url", func(s *sample) {
			s.set(k0+"x5c", []any{base64.RawURLEncoding.EncodeToString(append(otherCert.Raw, 0xff, 0xff, 0xff))})
		}, "keys[0].x5c: certificate 0 is not base64"},
		{"x5c with line breaks", func(s *sample) { s.set(k0+"x5c.0", base64.StdEncoding.EncodeToString(otherCert.Raw)+"\n") }, "keys[0].x5c: certificate 0 is not base64"},
		{"x5c not a certificate", func(s *sample) { s.set(k0+"x5c", []any{"AAAA"}) }, "keys[0].x5c: certificate 0"},
		{"x5c with bytes after the end", func(s *sample) {
			s.set(k0+"x5c.0", base64.StdEncoding.EncodeToString(append(bytes.Clone(otherCert.Raw), 0)))
		}, "keys[0].x5c: certificate 0"},
		{"x5c of another key", func(s *sample) { s.set(k0+"x5c", x5c(otherCert)) }, "keys[0].x5c: the certificate is for another key"},
		{"x5c for five years", func(s *sample) { withOther(s, "x", five) }, "keys[0].x5c: certificate policy: the certificate is valid for 1825 days"},
		{"x5c for encipherment", func(s *sample) { withOther(s, "x", encipher) }, "keys[0].x5c: certificate policy: the key usage"},
		{"x5c whose second did not sign the first", func(s *sample) { withOther(s, "x", otherCert, inter.cert) }, "keys[0].x5c: certificate 0 is not signed by certificate 1"},
		{"x5c with an RSA-1024 issuer", func(s *sample) { withOther(s, "x", otherCert, selfSign(t, rsa1024, nil)) }, "keys[0].x5c: certificate 1: certificate policy"},
		{"x5c a ladder", func(s *sample) { withOther(s, "x", ladder...) }, "keys[0].x5c: 11 certificates"},
		{"x5t#S256 of another", func(s *sample) { s.set(k0+"x5t#S256", b64(make([]byte, 32))) }, "keys[0].x5c: the certificate is not the one of x5t#S256"},
	} {
		s := newSample(t)
		c.change(s)
		for form, text := range map[string]struct{ prefix, before, after string }{
			"object":    {"", "", ""},
			"array":     {"[0]", "[", "]"},
			"platforms": {"platforms[0]", `{"platforms":[`, "]}"},
		} {
			_, err := ParseTrust([]byte(text.before + string(s.text()) + text.after))
			want := c.want
			if text.prefix != "" {
				want = text.prefix + "." + c.want
				if strings.HasPrefix(c.want, "unknown member") {
					want = text.prefix + ": " + c.want
				}
			}
			if err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s (%s): got %v, want %s…", c.name, form, err, want)
			} else if strings.Contains(err.Error(), "secret") {
				t.Errorf("%s (%s): the error shows the password: %v", c.name, form, err)
			}
		}
	}
}

func newCAWithUsage(t testing.TB, u x509.KeyUsage) *x509.Certificate {
	return selfSign(t, ecKey(t, elliptic.P256()), func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid, c.KeyUsage = true, true, u })
}

func rsaMember(name string) string { return jwkOf(&rsaKey().PublicKey, "")[name].(string) }
