package main

import (
	"strings"
)

// acceptVectors are whole lives of bills.
func acceptVectors(g *generator) {
	c, b, t := g.key("carrier-1"), g.key("bank-1"), g.key("trade-1")
	ok := func(name, spec, comment string, bl *bill, possessor, status string) *vec {
		v := accept(spec, comment).ends(bl, possessor, status)
		g.put("chain/"+name, v)
		return v
	}
	ok("issued", "L1", "the smallest chain", newBill().seal(c, issue()), shipper, "active")
	ok("issued-to-other-platform", "L1", "the first possessor may be a user of another platform", newBill().seal(c, tx("ISSU", carrier, ben, 0)), ben, "active")
	ok("three-entries", "L3", "three platforms, three entries, two signature algorithms", g.longBill(), ben, "active")
	ok("many-transactions", "L4", "several transactions of one platform in one entry",
		newBill().seal(c, issue(), tx("TRNS", carrier, agent, 1), tx("TRNS", carrier, "clerk@carrier.example", 1), tx("TRNS", carrier, ben, 2)), ben, "active")
	ok("same-platform-twice", "L4", "a platform may sign several entries in a row",
		newBill().seal(c, issue()).seal(c, tx("TRNS", carrier, agent, 1)).seal(c, tx("TRNS", carrier, ben, 2)).seal(b, tx("TRNS", bank, tess, 3)), tess, "active")
	ok("back-and-forth", "L3", "a bill may come back to a platform, and leave it again",
		g.longBill().seal(b, tx("TRNS", bank, shipper, 30)).seal(c, tx("TRNS", carrier, ben, 40)), ben, "active")
	ten := newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1))
	for i := 1; i < 10; i++ {
		if i%2 == 1 {
			ten.seal(b, tx("TRNS", bank, tess, float64(i*2)))
		} else {
			ten.seal(t, tx("TRNS", trade, ben, float64(i*2)))
		}
	}
	ok("ten-entries", "L3", "a longer chain", ten, tess, "active")
	ok("local-ids-differ-in-case", "L5", "local ids are compared exactly: another user", newBill().seal(c, issue(), tx("TRNS", carrier, "Shipper@carrier.example", 1)), "Shipper@carrier.example", "active")
	straight := func(doc string) *bill {
		return billOf(doc, doc).seal(c, issue().with("isToOrder", "false"))
	}
	v := accept("L8", "a straight bill").ends(straight(strings.Replace(document, "true", "false", 1)), shipper, "active")
	v.v.State.ToOrder = new(false)
	g.put("chain/straight", v)
	straightMoved := straight(strings.Replace(document, "true", "false", 1)).seal(c, tx("TRNS", carrier, ben, 1).with("isToOrder", "false"))
	v = accept("L8", "in v1 a straight bill may be transferred: no consignee is named").ends(straightMoved, ben, "active")
	v.v.State.ToOrder = new(false)
	g.put("chain/straight-transferred", v)
	v = accept("L8", "a document that does not say: the transactions decide").ends(straight(`{"carrierCode":"CARR"}`), shipper, "active")
	v.v.State.ToOrder = new(false)
	g.put("chain/straight-document-silent", v)
	v = accept("L8", "null counts as absent").ends(straight(`{"isToOrder":null}`), shipper, "active")
	v.v.State.ToOrder = new(false)
	g.put("chain/straight-document-null", v)
	ok("transferee-party", "S9", "an object as transferee in the middle of a chain: its identifier decides",
		newBill().seal(c, issue(), tx("TRNS", carrier, "", 1).with("transferee", `{"eBLPlatformIdentifier":"ben@bank.example","partyName":"Ben"}`)).seal(b, tx("TRNS", bank, tess, 2)), tess, "active")
	g.put("chain/last-platform-not-trusted", accept("P2", "nobody needs to trust the platform of the last transferee").
		ends(newBill().seal(c, tx("ISSU", carrier, ben, 0)), ben, "active").trust("carrier-only"))
	g.put("chain/sender", accept("P1", "the platform on the connection signed the newest entry").ends(g.longBill(), ben, "active").sender(trade))
	alias := newBill().seal(c, issue(), tx("TRNS", "ebl.carrier.example:8443", "ben@api.bank.example", 1)).
		seal(b, tx("TRNS", "api.bank.example", tess, 2), tx("TRNS", bank, ben, 3))
	alias = alias.pick(0).seal(b, tx("TRNS", "api.bank.example:444", "bill@bank.example", 2), tx("TRNS", bank, tess, 3))
	g.put("chain/alias-hosts", accept("P3", "domain and listed hosts are one platform, in platformHost and in identifiers").ends(alias, tess, "active").sender(bank))
	g.put("chain/this-carrier", accept("P5", "the carrierCode is one of those that the platform may issue for").
		ends(newBill().seal(c, issue()), shipper, "active").trust("this-carrier"))
	g.put("chain/old-chain-name", accept("B3", "the quirk chainField is about how we write to that peer; both spellings are read from everybody").
		json(obj{{"document", document}, {"endorcementChain", g.longBill().chain()}}.String()).ends(g.longBill(), ben, "active").trust("quirk-chain-field").flags("quirk"))
}

// hashVectors are check 9.
func hashVectors(g *generator) {
	c, b := g.key("carrier-1"), g.key("bank-1")
	no := func(name, spec, reason, comment string, bl *bill, entry int) *vec {
		v := refuse(spec, reason, comment).block(bl).entry(entry)
		g.put("chain/refuse-"+name, v)
		return v
	}
	for i, name := range []string{"first", "middle", "last"} {
		bl := g.longBill()
		bl.entries[i].hash = sum("something else")
		no("envelope-hash-"+name, "H2", "badHash", "envelopeHash is not the SHA-256 of the payload", bl, i)
	}
	bl := g.longBill()
	bl.entries[2].hash = sum(bl.entries[2].jws)
	no("envelope-hash-of-jws", "H2", "badHash", "the hash of the JWS in place of that of its payload", bl, 2)
	bl = g.longBill()
	bl.entries[1].hash = sum(strings.Split(bl.entries[1].jws, ".")[1])
	no("envelope-hash-base64url-no-quirk", "H6", "badHash", "the old reading is never guessed", bl, 1)
	bl = g.longBill()
	bl.entries[0].hash = strings.Repeat("0", 64)
	no("envelope-hash-zero", "H2", "badHash", "well formed, and not the hash", bl, 0)

	no("entry-removed", "H3", "badLink", "the middle of the chain is missing", g.longBill().pick(0, 2), 1)
	no("entries-swapped", "H3", "badLink", "two entries in the other order", g.longBill().pick(0, 2, 1), 1)
	no("entry-twice", "H3", "badLink", "the newest entry twice", g.longBill().pick(0, 1, 1), 2)
	no("head-removed", "H3", "badLink", "entry 0 has a previousEnvelopeHash: the issuance is missing", g.longBill().pick(1, 2), 0)
	first := newBill()
	first.sealPayload(c, first.payload(issue()).with("previousEnvelopeHash", quote(sum("x"))).String())
	no("link-in-entry-0", "H3", "badLink", "entry 0 has no previousEnvelopeHash", first, 0)
	zero := newBill()
	zero.sealPayload(c, zero.payload(issue()).with("previousEnvelopeHash", quote(strings.Repeat("0", 64))).String())
	no("link-zero-in-entry-0", "H3", "badLink", "zeros are a hash, not null", zero, 0)
	for name, raw := range map[string]string{"null": "null", "to-itself": quote(sum("itself")), "to-document": quote(sum(document)), "zero": quote(strings.Repeat("0", 64))} {
		bl := newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1))
		bl.sealPayload(b, bl.payload(tx("TRNS", bank, tess, 2)).with("previousEnvelopeHash", raw).String())
		no("link-"+name, "H3", "badLink", "the previousEnvelopeHash of entry 1 is not the envelopeHash of entry 0", bl, 1)
	}
	bl = newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1))
	bl.sealPayload(b, bl.payload(tx("TRNS", bank, tess, 2)).without("previousEnvelopeHash").String())
	no("link-absent", "H3", "badLink", "absent is for entry 0 only", bl, 1)
	bl = g.longBill()
	bl.sealPayload(b, bl.payload(tx("TRNS", bank, tess, 30)).with("previousEnvelopeHash", quote(bl.entries[1].hash)).String())
	no("link-skips", "H3", "badLink", "the hash of the entry before the one before", bl, 3)
	other := billOf(strings.Replace(document, "TD-2026-1", "TD-2026-2", 1), strings.Replace(document, "TD-2026-1", "TD-2026-2", 1)).
		seal(c, issue(), tx("TRNS", carrier, ben, 1)).seal(b, tx("TRNS", bank, tess, 10))
	graft := g.longBill().pick(0)
	graft.entries = append(graft.entries, other.entries[1])
	no("entry-of-other-bill", "H3", "badLink", "an entry of another bill", graft, 1)

	bl = g.longBill()
	bl.text = strings.Replace(document, "TD-2026-1", "TD-2026-2", 1)
	no("document-changed", "H1", "documentMismatch", "another document under the chain", bl, 0)
	for i, name := range []string{"first", "last"} {
		bl := newBill()
		keys, txs := []*key{c, b}, []obj{tx("ISSU", carrier, ben, 0), tx("TRNS", bank, tess, 1)}
		for j := range keys {
			p := bl.payload(txs[j])
			if j == i {
				p = p.with("documentHash", quote(sum("other")))
			}
			bl.sealPayload(keys[j], p.String())
		}
		no("document-hash-"+name, "H1", "documentMismatch", "documentHash is the same in every entry", bl, i)
	}
	nfd := billOf("{\"name\":\"e\u0301\"}", `{"name":"é"}`).seal(c, issue())
	no("document-nfd", "H1", "documentMismatch", "composed was signed, decomposed is shown: no normalisation", nfd, 0)
	asSent := `{"b":1.0,"a":"x"}`
	no("document-as-sent-no-quirk", "H5", "documentMismatch", "the old reading is never guessed", billOf(asSent, asSent).seal(c, issue()), 0)
	g.quirkVectors(asSent)

	loose := newBill()
	loose.canonical = `{"isToOrder":true,"weight":[100,0.5]}`
	loose.text = "{ \"weight\" : [1E2, 5e-1],\n\t\"isToOrder\" :true }"
	g.put("chain/document-not-canonical", accept("H1", "a document in any form: what is hashed is its RFC 8785 form").
		text(loose.seal(c, issue()).body().String()).ends(loose, shipper, "active"))
}

func (g *generator) quirkVectors(asSent string) {
	c, b := g.key("carrier-1"), g.key("bank-1")
	bl := billOf(asSent, asSent).seal(c, issue().with("isToOrder", "true"), tx("TRNS", carrier, ben, 1)).seal(b, tx("TRNS", bank, tess, 2))
	g.put("chain/quirk-as-sent", accept("H5", "the issuing platform hashes the text: order and 1.0 stand as they are").
		text(bl.body().String()).ends(bl, tess, "active").trust("quirk-as-sent").flags("quirk"))
	spaced := billOf("{ \"b\" : 1.0 ,\r\n\t\"a\": \"x\" }", asSent).seal(c, issue())
	g.put("chain/quirk-as-sent-white-space", accept("H5", "without insignificant white space").
		text(spaced.body().String()).ends(spaced, shipper, "active").trust("quirk-as-sent").flags("quirk"))
	inner := billOf(`{"a":"x  y \" z"}`, `{"a":"x  y \" z"}`).seal(c, issue())
	g.put("chain/quirk-as-sent-space-in-string", accept("H5", "white space in strings is no insignificant one").
		text(inner.body().String()).ends(inner, shipper, "active").trust("quirk-as-sent").flags("quirk"))
	canonical := billOf(asSent, `{"a":"x","b":1}`).seal(c, issue())
	g.put("chain/refuse-quirk-as-sent-canonical", refuse("H5", "documentMismatch", "a quirk stands instead of the normal reading, not beside it").
		text(canonical.body().String()).trust("quirk-as-sent").flags("quirk").entry(0))
	g.put("chain/refuse-quirk-as-sent-other-platform", refuse("H5", "documentMismatch", "the quirk of the issuing platform counts, not that of a later one").
		text(bl.body().String()).trust("quirk-as-sent-bank").flags("quirk").entry(0))
	big := billOf(`{"n":12345678901234567890}`, `{"n":12345678901234567890}`).seal(c, issue())
	g.put("chain/refuse-quirk-as-sent-number", malformed("J7", "$.document", "the rule of numbers holds with the quirk too").
		text(big.body().String()).trust("quirk-as-sent").flags("quirk", "number"))

	mixed := newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1)).seal(b, tx("TRNS", bank, tess, 2))
	mixed.entries[1].hash = sum(strings.Split(mixed.entries[1].jws, ".")[1])
	tail := mixed.pick(0, 1).seal(g.key("trade-1"), tx("TRNS", trade, ben, 3))
	g.put("chain/quirk-base64url", accept("H6", "the entry of bank.example is hashed over its base64url text").ends(mixed, tess, "active").trust("quirk-base64url").flags("quirk"))
	g.put("chain/quirk-base64url-in-the-middle", accept("H6", "the link is to the envelopeHash as it stands on the wire").ends(tail, ben, "active").trust("quirk-base64url").flags("quirk"))
	g.put("chain/refuse-quirk-base64url-normal", refuse("H6", "badHash", "a quirk stands instead of the normal reading, not beside it").
		block(g.longBill()).trust("quirk-base64url").flags("quirk").entry(1))
	bl = newBill().seal(c, issue())
	bl.entries[0].hash = sum(strings.Split(bl.entries[0].jws, ".")[1])
	g.put("chain/refuse-quirk-base64url-other-platform", refuse("H6", "badHash", "the quirk of the platform that signed the entry counts").
		block(bl).trust("quirk-base64url").flags("quirk").entry(0))
	// A link to our own hash of the entry before, where the wire has the other.
	skew := mixed.pick(0, 1)
	skew.sealPayload(g.key("trade-1"), skew.payload(tx("TRNS", trade, ben, 3)).with("previousEnvelopeHash", quote(sum(skew.entries[1].payload))).String())
	g.put("chain/refuse-quirk-base64url-link", refuse("H3", "badLink", "the link is to the envelopeHash as it stands on the wire, not to the normal reading").
		block(skew).trust("quirk-base64url").flags("quirk").entry(2))
}

// platformVectors are check 6, and who signs.
func platformVectors(g *generator) {
	c, b, t := g.key("carrier-1"), g.key("bank-1"), g.key("trade-1")
	no := func(name, spec, reason, comment string, bl *bill, entry int) *vec {
		v := refuse(spec, reason, comment).block(bl).entry(entry)
		return v.named(g, "chain/refuse-"+name)
	}
	no("sender-other", "P1", "signerMismatch", "trade.example signed, bank.example sends", g.longBill(), 2).sender(bank)
	no("sender-of-older-entry", "P1", "signerMismatch", "the sender signed an older entry only", g.longBill(), 2).sender(carrier)
	stranger := newBill().seal(g.key("stranger-1"), tx("ISSU", "stranger.example", shipper, 0))
	no("sender-stranger-host", "P1", "signerMismatch", "the newest entry names a platform that we do not trust", stranger, 0).sender(bank)
	forged := newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1))
	forged.sealPayload(g.key("stranger-1"), forged.payload(tx("TRNS", carrier, tess, 2)).String())
	no("sender-before-signature", "P1", "signerMismatch", "whoever sent it is looked at before any signature", forged, 1).sender(bank)
	no("platform-not-trusted", "P2", "platformNotTrusted", "no trust entry for the signer of the newest entry", stranger, 0)
	older := newBill().seal(g.key("stranger-1"), tx("ISSU", "stranger.example", ben, 0)).seal(b, tx("TRNS", bank, tess, 1))
	no("platform-not-trusted-older", "P2", "platformNotTrusted", "no trust entry for the signer of an older entry: the sender has its bill back", older, 0).sender(bank)
	no("sub-domain", "P2", "platformNotTrusted", "a name below a trusted one is another name", newBill().seal(c, tx("ISSU", "x.carrier.example", shipper, 0)), 0)
	no("not-an-issuer", "P4", "notAnIssuer", "the platform may not issue", newBill().seal(c, issue()), 0).trust("no-issuer")
	no("bank-issues", "P4", "notAnIssuer", "a trusted platform that may not issue", newBill().seal(b, tx("ISSU", bank, ben, 0)), 0)
	v := accept("P4", "more than one platform may issue").ends(newBill().seal(b, tx("ISSU", bank, ben, 0)), ben, "active").trust("bank-issues")
	v.v.State.Issuing = bank
	g.put("chain/bank-issues", v)
	no("other-carrier", "P5", "notAnIssuer", "the platform may issue, but not for this carrierCode", newBill().seal(c, issue()), 0).trust("other-carrier")
	no("no-carrier", "P5", "notAnIssuer", "a document without carrierCode, a platform limited to some", billOf(`{"isToOrder":true}`, `{"isToOrder":true}`).seal(c, issue()), 0).trust("other-carrier")

	// The order of the checks.
	bad := func(i int) *bill {
		bl := g.longBill()
		e := &bl.entries[i]
		p := strings.Split(e.jws, ".")
		e.jws = p[0] + "." + p[1] + "." + b64(make([]byte, map[int]int{0: 64, 1: 64, 2: 256}[i]))
		return bl
	}
	no("signature-newest", "K2", "badSignature", "BSIG is for the newest entry", bad(2), 2)
	no("signature-middle", "K2", "badChainSignature", "an older entry: BENV", bad(1), 1)
	no("signature-first", "K2", "badChainSignature", "an older entry: BENV", bad(0), 0)
	both := bad(0)
	both.entries[2] = bad(2).entries[2]
	no("order-newest-signature-first", "P6", "badSignature", "the newest signature is looked at before the older ones", both, 2)
	hash := bad(2)
	hash.entries[2].hash = sum("x")
	no("order-signature-before-hash", "P6", "badSignature", "signatures before hashes", hash, 2)
	late := newBill().seal(c, tx("TRNS", carrier, ben, 0)).seal(b, tx("TRNS", bank, tess, 1))
	late.entries[1].hash = sum("x")
	no("order-hash-before-law", "P6", "badHash", "hashes of all entries before the law of the first", late, 1)
	no("order-issuer-before-law", "P6", "notAnIssuer", "who may issue before what is done", newBill().seal(t, tx("TRNS", trade, ben, 0)), 0)
}

// named puts v once the caller has completed it: the generator keeps pointers.
func (v *vec) named(g *generator, name string) *vec {
	g.later = append(g.later, func() { g.put(name, v) })
	return v
}
