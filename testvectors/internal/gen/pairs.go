package main

import (
	"fmt"
	"strings"
)

// pairVectors give the rows that only had refusals their accepted counterpart, and the
// other way round: what is on the good side of each line.
func pairVectors(g *generator) {
	c, b := g.key("carrier-1"), g.key("bank-1")
	good := func(name, spec, comment string, bl *bill) {
		g.put(name, accept(spec, comment).ends(bl, shipper, "active"))
	}
	text := func(name, spec, comment, body string, bl *bill) {
		g.put(name, accept(spec, comment).text(body).ends(bl, shipper, "active"))
	}
	one := func() *bill { return newBill().seal(c, issue()) }
	e := one().entries[0]

	nulls := `{"carrierCode":null,"isToOrder":null,"transportDocumentReference":null,"transportDocumentSubReference":null}`
	good("envelope/document-members-null", "B1", "null counts as absent, and is hashed as it stands", billOf(nulls, nulls).seal(c, issue()))
	good("envelope/document-empty", "B1", "no member of a document is required", billOf(`{}`, `{}`).seal(c, issue()))
	text("envelope/body-white-space", "B2", "white space around and between", " \r\n\t"+strings.ReplaceAll(one().body().String(), ":", " :\n")+"\n", one())
	text("envelope/body-chain-first", "B4", "members in any order", obj{{"endorsementChain", one().chain()}, {"document", document}}.String(), one())
	text("envelope/entry-signature-first", "B5", "members in any order", obj{{"document", document}, {"endorsementChain", "[" + obj{{"signature", quote(e.jws)}, {"envelopeHash", quote(e.hash)}}.String() + "]"}}.String(), one())
	escaped := strings.Replace(quote(e.jws), ".", `\u002e`, 2)
	text("envelope/entry-signature-escaped", "B5", "a JSON string may be written with escapes: what it says is the one spelling", obj{{"document", document}, {"endorsementChain", "[" + obj{{"envelopeHash", quote(e.hash)}, {"signature", escaped}}.String() + "]"}}.String(), one())

	good("signed/three-parts", "W1", "header, payload, signature", one())
	for name, member := range map[string][2]string{
		"crit-other-case": {"Crit", `["exp"]`}, "jwk-inside": {"x", `{"jwk":{"kty":"EC"},"crit":[]}`}, "b64-prefix": {"b64x", "false"},
	} {
		good("signed/header-"+name, "W4", "only these names, and only at the top: others are ignored", signed(c, c.header().with(member[0], member[1])))
	}
	k := g.key("rsa-1")
	g.put("signed/kid-of-four", accept("K2", "one of four keys, and it made the signature").ends(signed(k, k.header()), shipper, "active").trust("algs"))

	p := newBill()
	payload := p.payload(issue())
	good("envelope/payload-transactions-first", "S1", "members in any order", p.sealPayload(c, obj{payload[2], payload[1], payload[0]}.String()))
	var many []obj
	many = append(many, issue())
	for i := 1; i < 20; i++ {
		many = append(many, tx("TRNS", carrier, []string{shipper, agent}[i%2], float64(i)))
	}
	many = append(many, tx("TRNS", carrier, shipper, 20))
	good("envelope/transactions-21", "S3", "as many transactions as the bill made at one platform", newBill().seal(c, many...))
	straightDoc := strings.Replace(document, "true", "false", 1)
	v := accept("S7", "a boolean").ends(billOf(straightDoc, straightDoc).seal(c, issue().with("isToOrder", "false")), shipper, "active")
	v.v.State.ToOrder = new(false)
	g.put("envelope/is-to-order-false", v)

	spaced := newBill()
	good("chain/hash-of-the-bytes", "H2", "the hash is of the bytes that were signed, not of a canonical form of them", spaced.sealPayload(c, strings.ReplaceAll(spaced.payload(issue()).String(), `":`, `" : `)+"\n"))
	linked := newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1)).seal(b, tx("TRNS", bank, shipper, 2))
	good("chain/linked", "H3", "each entry names the one before it", linked)
	beside := newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1)).seal(b, tx("TRNS", bank, shipper, 2))
	for i := range beside.entries {
		beside.entries[i].beside = beside.entries[i].payload
	}
	good("chain/beside-each", "H4", "eblEnvelope beside each signature", beside)
	good("chain/issued-once", "L2", "issued, and moved", newBill().seal(c, issue(), tx("TRNS", carrier, agent, 1), tx("TRNS", carrier, shipper, 2)))

	composed, decomposed := `{"name":"Ærø é"}`, "{\"name\":\"Ærø e\u0301\"}"
	g.put("chain/refuse-document-normalised", refuse("J9", "documentMismatch", "the document was composed (NFC) on its way: another document").block(billOf(composed, decomposed).seal(c, issue())).entry(0))
	sorted := `{"\ufb33":1,"😀":2}`
	g.put("chain/refuse-document-sorted-by-code-point", refuse("J8", "documentMismatch", "the hash of the members in the order of code points, not of UTF-16 units").block(billOf(sorted, strings.NewReplacer(`\ufb33`, "\ufb33").Replace(sorted)).seal(c, issue())).entry(0))
	known := newBill()
	stripped := known.payload(issue().with("x", "1"))
	known.add(stripped.String(), strings.Join([]string{strings.Split(compact(c, c.header(), known.payload(issue()).String()), ".")[0], b64([]byte(stripped.String())), strings.Split(compact(c, c.header(), known.payload(issue()).String()), ".")[2]}, "."))
	g.put("signed/refuse-unknown-member-added", refuse("J10", "badSignature", "a member that nobody reads was put into the signed payload").block(known).entry(0))

	// The limits that a file can carry without being a burden.
	most := []obj{issue()}
	for i := 1; i < 1000; i++ {
		most = append(most, tx("TRNS", carrier, fmt.Sprintf("u%d@carrier.example", i), 1))
	}
	most[999] = tx("TRNS", carrier, shipper, 1)
	g.put("envelope/transactions-1000", accept("B7", "1,000 transactions in an entry").ends(newBill().seal(c, most...), shipper, "active").flags("limit"))
	g.put("envelope/refuse-transactions-1001", malformed("B7", payloadAt+".transactions", "1,001 transactions in an entry").block(newBill().seal(c, append(most, tx("TRNS", carrier, agent, 1))...)).flags("limit"))
}
