package main

import "strings"

// jsonVectors are strict JSON in the body and in payloads.
func jsonVectors(g *generator) {
	k := g.key("carrier-1")
	b := newBill().seal(k, issue())
	body := b.body().String()
	e := b.entries[0]
	text := func(name, spec, path, comment, s string) {
		g.put("envelope/refuse-"+name, malformed(spec, path, comment).text(s))
	}
	text("empty-body", "J1", "", "no JSON value", "")
	text("white-space-only", "J1", "", "no JSON value", " \n")
	text("body-cut", "J1", "", "the text ends too early", body[:len(body)-1])
	text("trailing-comma", "J1", "", "not JSON", strings.TrimSuffix(body, "}")+",}")
	text("comment", "J1", "", "not JSON", "/* block */"+body)
	text("single-quotes", "J1", "", "not JSON", strings.ReplaceAll(body, `"document"`, `'document'`))
	text("body-null", "B2", "", "the body is an object with document and chain", "null")
	text("body-array", "B2", "", "an object", "["+body+"]")
	text("body-string", "B2", "", "an object, not a text with one inside", quote(body))
	text("body-number", "B2", "", "an object", "1")
	text("trailing-brace", "J4", "", "nothing after the value", body+"}")
	text("second-value", "J4", "", "nothing after the value", body+" "+body)
	text("trailing-nul", "J4", "", "nothing after the value", body+"\x00")
	text("byte-order-mark", "J4", "", "no byte order mark", "\ufeff"+body)
	text("duplicate-document", "J2", "", "which one is signed for?", strings.TrimSuffix(body, "}")+`,"document":{}}`)
	text("duplicate-chain", "J2", "", "which one is shown?", strings.TrimSuffix(body, "}")+`,"endorsementChain":[]}`)
	text("duplicate-unknown", "J2", "", "also of members that nobody reads", strings.TrimSuffix(body, "}")+`,"x":{"y":1,"y":1}}`)
	text("duplicate-signature", "J2", "", "in an entry", strings.Replace(body, `"signature":`, `"signature":"a.b.c","signature":`, 1))
	text("duplicate-in-document", "J2", "", "the hash would cover one, the reader see the other", strings.Replace(body, document, `{"carrierCode":"CARR","isToOrder":true,"transportDocumentReference":"TD-2026-1","carrierCode":"CARR"}`, 1))
	text("name-other-case", "J3", "$.endorsementChain", "names are compared exactly", strings.Replace(body, "endorsementChain", "EndorsementChain", 1))
	text("name-one-letter-other-case", "J3", "$.document", "names are compared exactly", strings.Replace(body, `"document"`, `"documenT"`, 1))
	text("signature-long-s", "J3", "$.endorsementChain[0].signature", "U+017F folds to s in some decoders; here it is another name", strings.Replace(body, `"signature"`, `"ſignature"`, 1))
	text("lone-surrogate", "J5", "", "in a member that nobody reads", strings.TrimSuffix(body, "}")+`,"x":"\udead"}`)
	for name, s := range map[string]string{"ff": "\xff", "overlong": "\xc0\xaf", "surrogate": "\xed\xa0\x80", "cut": "\xe2\x82"} {
		g.put("envelope/refuse-utf8-"+name, malformed("J5", "", "not UTF-8").bytes([]byte(strings.TrimSuffix(body, "}")+`,"x":"`+s+`"}`)))
	}
	nest := func(levels int) string {
		return strings.Repeat("[", levels) + strings.Repeat("]", levels)
	}
	deep := strings.TrimSuffix(document, "}") + `,"x":` // the body is level 1, the document 2
	sealDeep := func(levels int) *bill {
		return billOf(deep+nest(levels)+"}", deep+nest(levels)+"}").seal(k, issue())
	}
	g.put("envelope/depth-64", accept("J6", "64 levels, the body being the first").ends(sealDeep(62), shipper, "active").flags("limit"))
	g.put("envelope/refuse-depth-65", malformed("J6", "", "65 levels").block(sealDeep(63)).flags("limit"))
	payloadDeep := func(levels int) *bill {
		b := newBill()
		return b.sealPayload(k, b.payload(issue()).with("x", nest(levels)).String())
	}
	g.put("envelope/depth-payload-64", accept("J6", "a payload counts from its own root").ends(payloadDeep(63), shipper, "active").flags("limit"))
	g.put("envelope/refuse-depth-payload-65", malformed("J6", signatureAt+".payload", "65 levels in a payload").block(payloadDeep(64)).flags("limit"))
	payloadText := func(name, spec, comment, p string) {
		g.put("envelope/refuse-payload-"+name, malformed(spec, "", comment).block(newBill().sealPayload(k, p)))
	}
	p := e.payload
	payloadText("not-json", "J1", "a payload is JSON", "ISSU to shipper")
	payloadText("trailing-data", "J4", "nothing after the value", p+"{}")
	payloadText("byte-order-mark", "J4", "no byte order mark", "\ufeff"+p)
	payloadText("duplicate-name", "J2", "in the payload", strings.TrimSuffix(p, "}")+`,"documentHash":"`+sum("x")+`"}`)
	payloadText("duplicate-transferee", "J2", "two transferees: two readers, two possessors", strings.Replace(p, `"transferee":`, `"transferee":"thief@carrier.example","transferee":`, 1))
	payloadText("duplicate-unknown-deep", "J2", "at any depth", strings.Replace(p, `"transferee":`, `"x":[{"y":1,"y":2}],"transferee":`, 1))
	payloadText("bad-utf8", "J5", "valid UTF-8", strings.Replace(p, `"transferee":`, `"x":"`+"\xff"+`","transferee":`, 1))
	payloadText("lone-surrogate", "J5", "no lone surrogate", strings.Replace(p, `"transferee":`, `"x":"\ud800","transferee":`, 1))
	payloadText("name-other-case", "J3", "names are compared exactly", strings.Replace(p, `"transferee"`, `"Transferee"`, 1))
	payloadText("array", "S1", "an object", "["+p+"]")
	payloadText("null", "S1", "an object", "null")
	g.put("envelope/payload-names-beside-other-case", accept("J3", "a member in another case is another member, and ignored").
		ends(newBill().sealPayload(k, strings.Replace(p, `"transferee":`, `"TRANSFEREE":"thief@carrier.example","transferee":`, 1)), shipper, "active"))
}

// bodyVectors are the members of the body and of an entry.
func bodyVectors(g *generator) {
	k := g.key("carrier-1")
	b := newBill().seal(k, issue())
	body, e := b.body(), b.entries[0]
	withEntry := func(o obj) string { return body.with("endorsementChain", "["+o.String()+"]").String() }
	good := func(name, spec, comment, text string) {
		g.put("envelope/"+name, accept(spec, comment).json(text).ends(b, shipper, "active"))
	}
	bad := func(name, spec, path, comment, text string) {
		g.put("envelope/refuse-"+name, malformed(spec, path, comment).json(text))
	}
	good("old-chain-name", "B3", "the spelling of the 2022 prose", obj{{"document", b.text}, {"endorcementChain", b.chain()}}.String())
	good("old-chain-name-null", "B3", "null counts as absent", body.with("endorcementChain", "null").String())
	good("chain-name-null", "B3", "null counts as absent, so the old spelling is read", obj{{"document", b.text}, {"endorsementChain", "null"}, {"endorcementChain", b.chain()}}.String())
	bad("both-chain-names", "B3", "$.endorcementChain", "both spellings at once", body.with("endorcementChain", b.chain()).String())
	bad("both-chain-names-empty", "B3", "$.endorcementChain", "even if one is empty", body.with("endorcementChain", "[]").String())
	bad("no-chain", "B4", "$.endorsementChain", "the chain is required", body.without("endorsementChain").String())
	bad("chain-null", "B4", "$.endorsementChain", "null counts as absent", body.with("endorsementChain", "null").String())
	bad("chain-empty", "B4", "$.endorsementChain", "at least one entry", body.with("endorsementChain", "[]").String())
	bad("chain-object", "B4", "$.endorsementChain", "an array", body.with("endorsementChain", e.obj().String()).String())
	bad("no-document", "B1", "$.document", "the document is required", body.without("document").String())
	bad("document-array", "B1", "$.document", "an object", body.with("document", "["+b.text+"]").String())
	bad("document-string", "B1", "$.document", "an object, not a text with one inside", body.with("document", quote(b.text)).String())
	bad("document-is-to-order-string", "B1", "$.document.isToOrder", "a boolean", body.with("document", `{"isToOrder":"true"}`).String())
	bad("document-carrier-number", "B1", "$.document.carrierCode", "a string", body.with("document", `{"carrierCode":1}`).String())
	bad("document-reference-number", "B1", "$.document.transportDocumentReference", "a string", body.with("document", `{"transportDocumentReference":1}`).String())
	bad("document-sub-reference-object", "B1", "$.document.transportDocumentSubReference", "a string", body.with("document", `{"transportDocumentSubReference":{}}`).String())
	good("unknown-members", "J10", "unknown members are tolerated in body and entry", body.with("x", `{"a":[null]}`).with("endorsementChain", "["+e.obj().with("y", "[1]").String()+"]").String())
	bad("entry-null", "B5", "$.endorsementChain[0].envelopeHash", "an object", body.with("endorsementChain", "[null]").String())
	bad("entry-string", "B5", "", "an object", body.with("endorsementChain", "["+quote(e.jws)+"]").String())
	bad("no-envelope-hash", "B5", "$.endorsementChain[0].envelopeHash", "required", withEntry(e.obj().without("envelopeHash")))
	bad("envelope-hash-null", "B5", "$.endorsementChain[0].envelopeHash", "required", withEntry(e.obj().with("envelopeHash", "null")))
	bad("no-signature", "B5", "$.endorsementChain[0].signature", "required", withEntry(e.obj().without("signature")))
	bad("signature-object", "B5", "", "a string: not the JSON serialisation", withEntry(e.obj().with("signature", `{"protected":"e30","payload":"e30","signature":"AA"}`)))
	for name, h := range map[string]string{"upper-case": strings.ToUpper(e.hash), "63-digits": e.hash[:63], "65-digits": e.hash + "0", "prefix": "sha256:" + e.hash, "not-hex": "g" + e.hash[1:], "empty": ""} {
		bad("envelope-hash-"+name, "B5", "$.endorsementChain[0].envelopeHash", "64 lower-case hex digits", withEntry(e.obj().with("envelopeHash", quote(h))))
	}
	good("beside", "B6", "the envelope beside its signature", withEntry(e.obj().with("eblEnvelope", e.payload)))
	good("beside-null", "B6", "null counts as absent", withEntry(e.obj().with("eblEnvelope", "null")))
	reordered := obj{{"transactions", `[{"transferee":"shipper\u0040carrier.example","timestamp":1.7803008E12,"platformHost":"https:\/\/carrier.example","isToOrder":true,"instruction":"ISSU"}]`},
		{"previousEnvelopeHash", "null"}, {"documentHash", quote(sum(document))}}
	g.put("envelope/beside-other-text", accept("B6", "the same JSON value in another text: order, escapes, number format").
		text(withEntry(e.obj().with("eblEnvelope", reordered.String()))).ends(b, shipper, "active"))
	bad("beside-string", "B6", "$.endorsementChain[0].eblEnvelope", "an object", withEntry(e.obj().with("eblEnvelope", quote(e.payload))))
	differs := func(name, comment, raw string) {
		g.put("chain/refuse-beside-"+name, refuse("H4", "badHash", comment).json(withEntry(e.obj().with("eblEnvelope", raw))).entry(0))
	}
	differs("other-transferee", "beside the signature stands something else", strings.Replace(e.payload, "shipper@", "thief@", 1))
	differs("member-missing", "null and absent are two JSON values", strings.Replace(e.payload, `"previousEnvelopeHash":null,`, "", 1))
	differs("member-more", "a member more is another value", strings.TrimSuffix(e.payload, "}")+`,"x":1}`)
	differs("empty", "an empty object is not what was signed", "{}")
	differs("timestamp-neighbour", "one millisecond apart", strings.Replace(e.payload, ms(0), "1780300800001", 1))
}
