package main

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"strings"
)

const (
	signatureAt = "$.endorsementChain[0].signature"
	headerAt    = signatureAt + ".header"
)

// signed is a block of one entry with this header, signed by k with its alg.
func signed(k *key, header obj) *bill {
	b := newBill()
	payload := b.payload(issue()).String()
	return b.add(payload, compact(k, header, payload))
}

// resigned is signed with this signature in place of the right one.
func resigned(k *key, signature func(text string) []byte) *bill {
	b := newBill()
	payload := b.payload(issue()).String()
	text := b64([]byte(k.header().String())) + "." + b64([]byte(payload))
	return b.add(payload, text+"."+b64(signature(text)))
}

// spelled is a good entry with its JWS changed as text.
func spelled(k *key, change func(head, payload, sig string) string) *bill {
	b := signed(k, k.header())
	p := strings.Split(b.entries[0].jws, ".")
	b.entries[0].jws = change(p[0], p[1], p[2])
	return b
}

func algVectors(g *generator) {
	for _, c := range []struct{ alg, kid string }{
		{"RS256", "rsa-1"}, {"RS384", "rsa-1"}, {"RS512", "rsa-1"}, {"PS256", "rsa-1"}, {"PS384", "rsa-1"}, {"PS512", "rsa-1"},
		{"ES256", "carrier-1"}, {"ES384", "p384-1"}, {"ES512", "p521-1"},
	} {
		k := *g.key(c.kid)
		k.alg = c.alg
		b := signed(&k, k.header())
		g.put("signed/alg-"+strings.ToLower(c.alg), accept("W3", "an algorithm of the list").ends(b, shipper, "active").trust("algs").flags(c.alg))
		b = signed(&k, obj{{"alg", quote(c.alg)}})
		g.put("signed/alg-no-kid-"+strings.ToLower(c.alg), accept("K3", "without kid the key is found by the algorithm").ends(b, shipper, "active").trust("algs").flags(c.alg, "noKid"))
	}
	k := g.key("carrier-1")
	for _, c := range []struct{ name, comment, raw string }{
		{"none", "an unsecured JWS with a signature nobody looks at", `"none"`}, {"none-mixed-case", "for filters that compare exactly", `"nOnE"`},
		{"hs256", "HMAC: the public key as secret", `"HS256"`}, {"eddsa", "not of the list", `"EdDSA"`}, {"es256k", "not of the list", `"ES256K"`},
		{"lower-case", "names are compared exactly", `"es256"`}, {"trailing-space", "names are compared exactly", `"ES256 "`},
		{"empty", "no name", `""`}, {"null", "required", `null`}, {"array", "a string", `["ES256"]`}, {"number", "a string", `256`},
	} {
		g.put("signed/refuse-alg-"+c.name, malformed("W3", headerAt+".alg", c.comment).block(signed(k, k.header().with("alg", c.raw))))
	}
	g.put("signed/refuse-alg-missing", malformed("W3", headerAt+".alg", "required").block(signed(k, k.header().without("alg"))))
	g.put("signed/refuse-alg-other-name", malformed("W3", headerAt+".alg", "member names are compared exactly").block(signed(k, obj{{"ALG", `"ES256"`}, {"kid", quote(k.kid)}})))
	r := g.key("rsa-1")
	for _, c := range []struct{ name, comment, trust, alg, kid string }{
		{"es256-names-rsa", "an EC algorithm for an RSA key", "algs", "ES256", "rsa-1"},
		{"rs256-names-ec", "an RSA algorithm for an EC key", "algs", "RS256", "carrier-1"},
		{"es256-names-p384", "the wrong curve", "algs", "ES256", "p384-1"},
		{"own-alg", "the JWK's own alg is another one, and the signature is a good one", "own-alg", "RS512", "rsa-1"},
		{"ps256-over-rs256", "PKCS #1 v1.5 bytes under a PSS header", "algs", "PS256", "rsa-1"},
	} {
		k := *r
		if c.alg == "RS512" {
			k.alg = c.alg
		}
		b := signed(&k, obj{{"alg", quote(c.alg)}, {"kid", quote(c.kid)}})
		g.put("signed/refuse-fit-"+c.name, refuse("W7", "badSignature", c.comment).block(b).trust(c.trust).entry(0))
	}
	b := signed(&key{r.kid, "RS384", r.priv}, obj{{"alg", `"RS384"`}})
	g.put("signed/refuse-fit-own-alg-no-kid", refuse("W7", "unknownKey", "no kid, and no key of that platform is for RS384").block(b).trust("own-alg").entry(0))
	g.put("signed/fit-own-alg", accept("W7", "the JWK's own alg is that of the header").ends(signed(r, r.header()), shipper, "active").trust("own-alg"))
}

func spellingVectors(g *generator) {
	k := g.key("carrier-1")
	for _, c := range []struct {
		name, spec, comment string
		change              func(h, p, s string) string
	}{
		{"two-parts", "W1", "no signature part", func(h, p, s string) string { return h + "." + p }},
		{"four-parts", "W1", "one part too many", func(h, p, s string) string { return h + "." + p + "." + s + "." + s }},
		{"five-parts", "W1", "a JWE has five", func(h, p, s string) string { return h + "." + p + "." + s + "." + s + "." + s }},
		{"empty", "W1", "no text at all", func(h, p, s string) string { return "" }},
		{"detached", "W1", "the payload must be attached", func(h, p, s string) string { return h + ".." + s }},
		{"no-signature", "W1", "an unsecured JWS", func(h, p, s string) string { return h + "." + p + "." }},
		{"no-header", "W1", "a header is needed", func(h, p, s string) string { return "." + p + "." + s }},
		{"flattened-json", "W1", "the JSON serialisation as a text", func(h, p, s string) string {
			return obj{{"payload", quote(p)}, {"protected", quote(h)}, {"signature", quote(s)}}.String()
		}},
		{"padded-header", "W2", "no padding", func(h, p, s string) string { return h + "=." + p + "." + s }},
		{"padded-payload", "W2", "no padding", func(h, p, s string) string { return h + "." + p + "=." + s }},
		{"padded-signature", "W2", "no padding", func(h, p, s string) string { return h + "." + p + "." + s + "==" }},
		{"trailing-newline", "W2", "no white space", func(h, p, s string) string { return h + "." + p + "." + s + "\n" }},
		{"inner-newline", "W2", "no white space, even where decoders skip it", func(h, p, s string) string { return h + "." + p + "." + s[:20] + "\r\n" + s[20:] }},
		{"leading-space", "W2", "no white space", func(h, p, s string) string { return " " + h + "." + p + "." + s }},
		{"space-in-payload", "W2", "no white space", func(h, p, s string) string { return h + "." + p[:8] + " " + p[8:] + "." + s }},
		{"stray-bits-signature", "W2", "64 bytes leave four bits in the last character; they must be zero", func(h, p, s string) string { return h + "." + p + "." + stray(s) }},
		{"impossible-length", "W2", "4n+1 characters are no bytes", func(h, p, s string) string { return h + "." + p + "." + s[:85] }},
		{"percent-encoded", "W2", "another alphabet", func(h, p, s string) string { return h + "." + p + "." + s + "%3D" }},
	} {
		path := signatureAt
		if c.name == "no-header" {
			path = headerAt
		}
		g.put("signed/refuse-"+c.name, malformed(c.spec, path, c.comment).block(spelled(k, c.change)))
	}
	// RS256 over 256 bytes: some of its 342 characters is - or _ for certain.
	r := g.key("rsa-1")
	other := spelled(r, func(h, p, s string) string {
		return h + "." + p + "." + strings.NewReplacer("-", "+", "_", "/").Replace(s)
	})
	g.put("signed/refuse-standard-alphabet", malformed("W2", signatureAt, "+ and / in place of - and _").block(other).trust("algs"))
	b := newBill()
	payload := b.payload(issue()).String()
	for len(payload)%3 == 0 {
		payload += " "
	}
	text := b64([]byte(k.header().String())) + "." + stray(b64([]byte(payload)))
	b.add(payload, text+"."+b64(k.signBytes("ES256", text)))
	g.put("signed/refuse-stray-bits-payload", malformed("W2", signatureAt, "signed as it stands, but not the one spelling").block(b))
	header := k.header().String()
	for len(header)%3 == 0 {
		header += " "
	}
	text = stray(b64([]byte(header))) + "." + b64([]byte(payload))
	b = newBill().add(payload, text+"."+b64(k.signBytes("ES256", text)))
	g.put("signed/refuse-stray-bits-header", malformed("W2", signatureAt, "signed as it stands, but not the one spelling").block(b))
	// The payload is ours to write: white space and any order of members are its own spelling.
	b = newBill()
	payload = strings.ReplaceAll(b.payload(issue().with("comments", quote("ünïcödé ☃ ÿ"))).String(), ",", " ,\n\t")
	b.sealPayload(k, payload)
	g.put("signed/payload-not-canonical", accept("W2", "the payload need not be canonical JSON: what was signed is what counts").ends(b, shipper, "active"))
}

// stray sets the lowest bit of the last character.
func stray(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, s[len(s)-1])
	return s[:len(s)-1] + alphabet[i|1:i|1+1]
}

func headerVectors(g *generator) {
	k := g.key("carrier-1")
	for _, c := range []struct{ name, comment, member, raw string }{
		{"crit", "an extension that must be understood", "crit", `["exp"]`}, {"crit-empty", "even empty", "crit", `[]`}, {"crit-null", "even null: it is not an optional member but one that may not be there", "crit", `null`},
		{"b64", "RFC 7797 changes what is signed", "b64", `false`}, {"b64-true", "even where it changes nothing", "b64", `true`},
		{"zip", "compression", "zip", `"DEF"`}, {"jku", "the message brings its own keys", "jku", `"https://attacker.example/jwks.json"`},
		{"x5u", "the message brings its own certificate", "x5u", `"https://attacker.example/cert.pem"`},
		{"jwk", "the message brings its own key", "jwk", `{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`},
	} {
		g.put("signed/refuse-header-"+c.name, malformed("W4", headerAt+"."+c.member, c.comment).block(signed(k, k.header().with(c.member, c.raw))))
	}
	for _, c := range []struct{ name, comment, member, raw string }{
		{"kid-number", "a string", "kid", `1`}, {"kid-empty", "names no key", "kid", `""`}, {"typ-number", "a string", "typ", `1`}, {"cty-array", "a string", "cty", `[]`},
		{"x5c-string", "an array of strings", "x5c", `"MIIB"`}, {"x5c-number", "an array of strings", "x5c", `[1]`}, {"x5c-element-null", "an array of strings: null is none", "x5c", `[null]`}, {"x5t-number", "a string", "x5t#S256", `1`}, {"iat-string", "a number", "iat", `"1780300800"`},
	} {
		path := headerAt + "." + c.member
		if c.name == "x5c-number" || c.name == "x5c-element-null" {
			path += "[0]"
		}
		g.put("signed/refuse-header-"+c.name, malformed("W5", path, c.comment).block(signed(k, k.header().with(c.member, c.raw))))
	}
	cert := base64.StdEncoding.EncodeToString(k.certificate(carrier))
	attacker := base64.StdEncoding.EncodeToString(g.key("stranger-1").certificate(carrier))
	for _, c := range []struct{ name, comment, member, raw string }{
		{"typ", "any typ", "typ", `"JWT"`}, {"typ-null", "null counts as absent", "typ", `null`}, {"cty", "any cty", "cty", `"json"`}, {"iat", "seconds since 1970", "iat", `1780300800`}, {"iat-huge", "a number beyond every double is still a number, and iat plays no part here", "iat", `1e400`},
		{"x5c", "certificates may stand there; they are not looked at", "x5c", `["` + cert + `"]`},
		{"x5c-of-attacker", "the key comes from the trust entry, so a foreign certificate changes nothing", "x5c", `["` + attacker + `"]`},
		{"x5t", "a thumbprint may stand there", "x5t#S256", `"AAAA"`},
		{"unknown-member", "members that we do not know are ignored", "x-trace", `{"a":[1]}`},
	} {
		b := signed(k, k.header().with(c.member, c.raw))
		spec := "W5"
		if c.name == "x5c-of-attacker" {
			spec = "W8"
		}
		g.put("signed/header-"+c.name, accept(spec, c.comment).ends(b, shipper, "active"))
	}
	b := newBill()
	payload := b.payload(issue()).String()
	raw := func(header string) *bill {
		text := b64([]byte(header)) + "." + b64([]byte(payload))
		return newBill().add(payload, text+"."+b64(k.signBytes("ES256", text)))
	}
	for _, c := range []struct{ name, spec, comment, header string }{
		{"duplicate-alg", "J2", "libraries take the first or the last", `{"alg":"ES256","alg":"none","kid":"carrier-1"}`},
		{"duplicate-unknown", "J2", "also of members that nobody reads", `{"alg":"ES256","kid":"carrier-1","a":{"b":1,"b":2}}`},
		{"trailing-data", "J4", "one JSON value", `{"alg":"ES256","kid":"carrier-1"}{}`},
		{"byte-order-mark", "J4", "no byte order mark", "\ufeff" + `{"alg":"ES256","kid":"carrier-1"}`},
		{"array", "W5", "an object", `["ES256"]`},
		{"null", "W5", "an object", `null`},
		{"not-json", "J1", "JSON", `alg=ES256`},
		{"bad-utf8", "J5", "valid UTF-8", `{"alg":"ES256","kid":"carrier-1","x":"` + "\xff" + `"}`},
	} {
		g.put("signed/refuse-header-"+c.name, malformed(c.spec, "", c.comment).block(raw(c.header)))
	}
}

func signatureVectors(g *generator) {
	k, r := g.key("carrier-1"), g.key("rsa-1")
	priv := k.priv.(*ecdsa.PrivateKey)
	n := priv.Curve.Params().N
	sign := func(text string) (*big.Int, *big.Int) {
		sig := k.signBytes("ES256", text)
		return new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	}
	zero := new(big.Int)
	for _, c := range []struct {
		name, comment string
		make          func(text string) []byte
	}{
		{"es256-63-bytes", "one byte short", func(t string) []byte { return k.signBytes("ES256", t)[:63] }},
		{"es256-65-bytes", "one byte long", func(t string) []byte { return append(k.signBytes("ES256", t), 0) }},
		{"es256-zero-before-s", "one byte long, though both numbers are right", func(t string) []byte {
			r, s := sign(t)
			return append(joinRS(r, zero, 32)[:33], s.FillBytes(make([]byte, 32))...)
		}},
		{"es256-66-bytes", "each half one byte longer, the same numbers", func(t string) []byte { r, s := sign(t); return joinRS(r, s, 33) }},
		{"es256-der", "ASN.1 in place of r and s", func(t string) []byte { r, s := sign(t); return must(asn1.Marshal(struct{ R, S *big.Int }{r, s})) }},
		{"es256-r-zero", "r out of range", func(t string) []byte { _, s := sign(t); return joinRS(zero, s, 32) }},
		{"es256-s-zero", "s out of range", func(t string) []byte { r, _ := sign(t); return joinRS(r, zero, 32) }},
		{"es256-both-zero", "valid for every message in some libraries", func(t string) []byte { return joinRS(zero, zero, 32) }},
		{"es256-r-is-n", "r out of range", func(t string) []byte { _, s := sign(t); return joinRS(n, s, 32) }},
		{"es256-s-is-n", "s out of range", func(t string) []byte { r, _ := sign(t); return joinRS(r, n, 32) }},
		{"es256-other-message", "a signature of something else", func(t string) []byte { return k.signBytes("ES256", t+"x") }},
		{"es256-digest-sha384", "the right key, another hash", func(t string) []byte { return k.signBytes("ES384", t) }},
	} {
		g.put("signed/refuse-"+c.name, refuse("W6", "badSignature", c.comment).block(resigned(k, c.make)).entry(0))
	}
	g.put("signed/es256-high-s", accept("W6", "r and n-s is as good as r and s: the entry is named by its payload, so nothing depends on which").
		ends(resigned(k, func(t string) []byte { r, s := sign(t); return joinRS(r, new(big.Int).Sub(n, s), 32) }), shipper, "active"))
	rsaPriv := r.priv.(*rsa.PrivateKey)
	for _, c := range []struct {
		name, comment, alg string
		make               func(text string) []byte
	}{
		{"rs256-short", "one byte short", "RS256", func(t string) []byte { return r.signBytes("RS256", t)[:255] }},
		{"rs256-long", "a zero before it", "RS256", func(t string) []byte { return append([]byte{0}, r.signBytes("RS256", t)...) }},
		{"rs256-plus-n", "the signature plus the modulus", "RS256", func(t string) []byte {
			return new(big.Int).Add(new(big.Int).SetBytes(r.signBytes("RS256", t)), rsaPriv.N).Bytes()
		}},
		{"rs256-sha512", "PKCS #1 with the digest of another algorithm", "RS256", func(t string) []byte { return r.signBytes("RS512", t) }},
		{"ps256-salt-0", "the salt must be as long as the hash", "PS256", func(t string) []byte { return signPSS(rsaPriv, hashOf("PS256"), digestOf(hashOf("PS256"), t), 0) }},
		{"ps256-salt-20", "the salt must be as long as the hash", "PS256", func(t string) []byte { return signPSS(rsaPriv, hashOf("PS256"), digestOf(hashOf("PS256"), t), 20) }},
		{"ps384-salt-32", "the salt must be as long as the hash", "PS384", func(t string) []byte { return signPSS(rsaPriv, hashOf("PS384"), digestOf(hashOf("PS384"), t), 32) }},
	} {
		b := resigned(&key{r.kid, c.alg, r.priv}, c.make)
		g.put("signed/refuse-"+c.name, refuse("W6", "badSignature", c.comment).block(b).trust("algs").entry(0))
	}
	p := g.key("p521-1")
	g.put("signed/refuse-es512-131-bytes", refuse("W6", "badSignature", "66 bytes each, though 521 bits leave seven of them zero").
		block(resigned(p, func(t string) []byte { return p.signBytes("ES512", t)[1:] })).trust("algs").entry(0))
	b := newBill()
	payload := b.payload(issue()).String()
	good := signed(k, k.header()).entries[0].jws
	parts := strings.Split(good, ".")
	changed := strings.Replace(payload, "shipper@", "thief@", 1)
	b.add(changed, parts[0]+"."+b64([]byte(changed))+"."+parts[2])
	g.put("signed/refuse-payload-changed", refuse("W6", "badSignature", "another transferee under the same signature").block(b).entry(0))
	b = newBill().add(payload, b64([]byte(k.header().with("typ", `"x"`).String()))+"."+parts[1]+"."+parts[2])
	g.put("signed/refuse-header-changed", refuse("W6", "badSignature", "the header is signed too").block(b).entry(0))
}
