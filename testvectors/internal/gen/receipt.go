package main

import "strings"

// receipts are made by bank.example for the newest entry of longBill's first two.
const iat = "1780308000" // 2026-06-01T10:00:00Z

func (g *generator) transfer() (*bill, *vec) {
	b := newBill().seal(g.key("carrier-1"), issue(), tx("TRNS", carrier, ben, 1))
	e := b.entries[0]
	return b, &vec{vector{At: clock, Trust: "base", Sender: carrier, Receiver: bank, Signer: bank, EnvelopeHash: e.hash, JWS: e.jws}}
}

// about makes an answer vector: reason "" accepts.
func (g *generator) about(kind, spec, reason, comment, text string) *vec {
	_, v := g.transfer()
	v.v.Kind, v.v.Spec, v.v.Comment, v.v.Expect = kind, spec, comment, "accept"
	if kind == "receipt" {
		v.v.JWS = ""
	}
	if reason == "notOurTransfer" {
		v.v.Expect, v.v.Reason = "chain", reason
	} else if reason != "" {
		v.v.Expect, v.v.Reason = answers[reason].expect, reason
	}
	return v.text(text)
}

func (k *key) answerHeader(typ string) obj {
	return obj{{"alg", quote(k.alg)}, {"iat", iat}, {"kid", quote(k.kid)}, {"typ", quote(typ)}}
}

const receiptType = "eblnode-receipt+jws"

func receiptVectors(g *generator) {
	k := g.key("bank-1")
	b, _ := g.transfer()
	hash := b.entries[0].hash
	h := k.answerHeader(receiptType)
	good := compact(k, h, hash)
	put := func(name, spec, reason, comment, text string) *vec {
		return g.about("receipt", spec, reason, comment, text).named(g, "receipt/"+name)
	}
	put("receipt", "A1", "", "as we write it: the JWS alone", good)
	put("receipt-quoted", "A1", "", "as a JSON string", quote(good))
	put("receipt-escaped", "A1", "", "a JSON string with an escape", `"`+strings.Replace(good, ".", `\u002e`, 1)+`"`)
	put("receipt-white-space", "A1", "", "with white space around it", "\r\n "+good+"\n")
	put("receipt-no-typ", "A1", "", "of a peer that writes no typ", compact(k, h.without("typ"), hash))
	put("receipt-other-typ", "A1", "", "of a peer that writes a typ of its own", compact(k, h.with("typ", `"JOSE"`), hash))
	put("receipt-no-kid", "A1", "", "without kid each key of the receiver is tried", compact(k, h.without("kid"), hash))
	put("receipt-no-iat", "A1", "", "without a time of its own", compact(k, h.without("iat"), hash))
	r := g.key("trade-1")
	put("receipt-rs256", "A1", "", "signed with RSA", compact(r, r.answerHeader(receiptType), hash)).signer(trade)
	put("refuse-receipt-other-envelope", "A2", "malformed", "a receipt for another envelope", compact(k, h, sum("another")))
	put("refuse-receipt-upper-case", "A2", "malformed", "the bare envelopeHash text, in its one spelling", compact(k, h, strings.ToUpper(hash)))
	put("refuse-receipt-quoted-payload", "A2", "malformed", "the payload is the bare text, not a JSON string", compact(k, h, quote(hash)))
	put("refuse-receipt-newline", "A2", "malformed", "the payload is the bare text", compact(k, h, hash+"\n"))
	put("refuse-receipt-json", "A2", "malformed", "the payload is the bare text, not an object", compact(k, h, `{"envelopeHash":"`+hash+`"}`))
	put("refuse-receipt-document-hash", "A2", "malformed", "the hash of the document is not that of the envelope", compact(k, h, sum(document)))
	put("refuse-receipt-empty", "A2", "malformed", "an answer of 200 without a receipt", "")
	put("refuse-receipt-envelope", "A2", "malformed", "our own envelope sent back", b.entries[0].jws)
	put("refuse-receipt-wrapped", "A2", "malformed", "a JSON object around it", `{"receipt":`+quote(good)+`}`)
	put("refuse-receipt-vertical-tab", "A2", "malformed", "spaces, tabs and line ends may stand around it, nothing else", "\v"+good)
	put("refuse-receipt-byte-order-mark", "A2", "malformed", "spaces, tabs and line ends may stand around it, nothing else", "\ufeff"+good)
	put("receipt-iat-ahead", "A4", "", "an iat ahead of our clock says nothing: the time of reading counts", compact(k, h.with("iat", "1780315260"), hash))
	put("refuse-receipt-trailing-data", "A2", "malformed", "nothing after it", quote(good)+"{}")
	for _, typ := range []string{"rejection", "verdict", "step"} {
		put("refuse-receipt-typ-"+typ, "A3", "malformed", "another kind of statement of ours is no receipt", compact(k, h.with("typ", quote("eblnode-"+typ+"+jws")), hash))
	}
	put("refuse-receipt-none", "A2", "malformed", "unsecured", b64([]byte(`{"alg":"none"}`))+"."+b64([]byte(hash))+".")
	put("refuse-receipt-crit", "A2", "malformed", "the header rules hold for answers too", compact(k, h.with("crit", `["x"]`), hash))
	put("refuse-receipt-other-platform", "A4", "unknownKey", "a trusted platform, but not the one that the transfer is addressed to", compact(r, r.answerHeader(receiptType), hash))
	put("refuse-receipt-stranger", "A4", "badSignature", "the receiver's kid, a stranger's signature", compact(g.key("stranger-1"), h, hash))
	put("refuse-receipt-unknown-kid", "A4", "unknownKey", "a key that we have not been given", compact(g.key("stranger-1"), g.key("stranger-1").answerHeader(receiptType), hash))
	put("refuse-receipt-sender", "A4", "unknownKey", "signed by the sender itself", compact(g.key("carrier-1"), g.key("carrier-1").answerHeader(receiptType), hash))
	put("refuse-receipt-changed", "A4", "badSignature", "the signature of another receipt", good[:strings.LastIndexByte(good, '.')+1]+strings.Split(compact(k, h, sum("another")), ".")[2])
	put("refuse-receipt-compromised", "A4", "keyCompromised", "signed by a key that was stolen", compact(g.key("carrier-1"), g.key("carrier-1").answerHeader(receiptType), hash)).signer(carrier).trust("compromised")
	put("receipt-window", "A1", "", "signed (iat) while the key might sign, read later", compact(g.key("carrier-1"), g.key("carrier-1").answerHeader(receiptType).with("iat", "1780302600"), hash)).signer(carrier).trust("window")
	put("refuse-receipt-window", "A4", "badSignature", "signed (iat) after the key might sign", compact(g.key("carrier-1"), g.key("carrier-1").answerHeader(receiptType), hash)).signer(carrier).trust("window")
}

func (v *vec) signer(domain string) *vec { v.v.Signer = domain; return v }

func rejectionVectors(g *generator) {
	k := g.key("bank-1")
	b, _ := g.transfer()
	e := b.entries[0]
	p := obj{{"envelopeHash", quote(e.hash)}, {"errorDateTime", `"2026-06-01T10:00:00.000Z"`}, {"jwsSha256", quote(sum(e.jws))},
		{"reason", `"transfereeNotAccepted"`}, {"receiver", quote(bank)}, {"responseCode", `"BENV"`}, {"sender", quote(carrier)}}
	h := k.answerHeader("eblnode-rejection+jws")
	put := func(name, spec, reason, comment string, header, payload obj) *vec {
		return g.about("rejection", spec, reason, comment, compact(k, header, payload.String())).named(g, "receipt/"+name)
	}
	put("rejection", "N1", "", "as we write it", h, p)
	put("rejection-bsig", "N1", "", "of the signature", h, p.with("responseCode", `"BSIG"`).with("reason", `"badSignature"`))
	put("rejection-dise", "N1", "", "of a fork: gives nothing back", h, p.with("responseCode", `"DISE"`).with("reason", `"forked"`))
	put("rejection-domain-spelling", "N1", "", "domains are compared as domains", h, p.with("receiver", `"BANK.example.:443"`))
	put("rejection-unknown-member", "N1", "", "unknown members are tolerated", h, p.with("x", "1"))
	put("refuse-rejection-other-envelope", "N2", "notOurTransfer", "about another envelope", h, p.with("envelopeHash", quote(sum("x"))))
	put("refuse-rejection-other-bytes", "N2", "notOurTransfer", "about another JWS of the same payload", h, p.with("jwsSha256", quote(sum("x"))))
	put("refuse-rejection-other-sender", "N2", "notOurTransfer", "somebody else sent these bytes", h, p.with("sender", quote(trade)))
	put("refuse-rejection-other-receiver", "N2", "notOurTransfer", "somebody else refused these bytes", h, p.with("receiver", quote(trade)))
	put("refuse-rejection-typ-missing", "N3", "malformed", "typ is required here", h.without("typ"), p)
	put("refuse-rejection-typ-receipt", "N3", "malformed", "a receipt's typ", h.with("typ", quote(receiptType)), p)
	put("refuse-rejection-code", "N3", "malformed", "BSIG, BENV or DISE", h, p.with("responseCode", `"RECE"`))
	put("refuse-rejection-no-hash", "N3", "malformed", "required", h, p.without("envelopeHash"))
	put("refuse-rejection-no-bytes", "N3", "malformed", "required", h, p.without("jwsSha256"))
	put("refuse-rejection-no-sender", "N3", "malformed", "required", h, p.without("sender"))
	put("refuse-rejection-no-reason", "N3", "malformed", "required", h, p.without("reason"))
	put("refuse-rejection-reason-number", "N3", "malformed", "a string", h, p.with("reason", "1"))
	put("refuse-rejection-deep", "N3", "malformed", "at most 4 levels", h, p.with("x", `[[[[]]]]`))
	for name, at := range map[string]string{"comma": "2026-06-01T10:00:00,5Z", "lower-case": "2026-06-01t10:00:00z", "no-zone": "2026-06-01T10:00:00", "30-february": "2026-02-30T10:00:00Z", "hour-24": "2026-06-01T24:00:00Z", "one-digit": "2026-06-01T9:00:00Z"} {
		put("refuse-rejection-date-"+name, "N3", "malformed", "an RFC 3339 time, in one spelling", h, p.with("errorDateTime", quote(at)))
	}
	put("rejection-date-offset", "N3", "", "an RFC 3339 time with an offset", h, p.with("errorDateTime", `"2026-06-01T12:00:00.123456789+02:00"`))
	put("refuse-rejection-alias", "N2", "notOurTransfer", "another host of the receiver: a platform is named by its domain here", h, p.with("receiver", `"api.bank.example"`))
	put("refuse-rejection-date", "N3", "malformed", "an RFC 3339 time", h, p.with("errorDateTime", `"yesterday"`))
	stranger := compact(g.key("stranger-1"), h, p.String())
	g.put("receipt/refuse-rejection-stranger", g.about("rejection", "N4", "badSignature", "signed by a stranger under the receiver's kid", stranger))
	own := compact(g.key("carrier-1"), g.key("carrier-1").answerHeader("eblnode-rejection+jws"), p.String())
	g.put("receipt/refuse-rejection-sender", g.about("rejection", "N4", "unknownKey", "signed by the sender itself", own))
}

func verdictVectors(g *generator) {
	k := g.key("carrier-1")
	p := obj{{"at", `"2026-06-01T10:00:00.000Z"`}, {"documentHash", quote(sum(document))}, {"envelopeHash", quote(sum("the return"))}, {"verdict", `"surrendered"`}}
	h := k.answerHeader("eblnode-verdict+jws")
	put := func(name, spec, reason, comment string, header, payload obj) *vec {
		v := g.about("verdict", spec, reason, comment, compact(k, header, payload.String())).signer(carrier)
		v.v.Sender, v.v.Receiver, v.v.EnvelopeHash, v.v.JWS = "", "", "", ""
		return v.named(g, "receipt/"+name)
	}
	put("verdict-surrendered", "V1", "", "the carrier honours a surrender", h, p)
	put("verdict-paper", "V1", "", "the carrier has issued paper", h, p.with("verdict", `"paper"`))
	put("verdict-amended", "V1", "", "the carrier names the bill that replaces this one", h, p.with("verdict", `"amended"`).with("replacedBy", quote(sum("new"))))
	put("verdict-white-space", "V1", "", "as a file it may end in a line end", h, p).v.InputText = new(compact(k, h, p.String()) + "\n")
	put("verdict-null", "V1", "", "null counts as absent", h, p.with("replacedBy", "null"))
	put("refuse-verdict-kind", "V2", "malformed", "surrendered, amended or paper", h, p.with("verdict", `"void"`))
	put("refuse-verdict-no-document", "V2", "malformed", "required", h, p.without("documentHash"))
	put("refuse-verdict-replaced-by", "V2", "malformed", "a hash", h, p.with("replacedBy", `"TD-2026-2"`))
	put("refuse-verdict-zeros", "V2", "malformed", "64 zeros are the hash of nothing", h, p.with("replacedBy", quote(strings.Repeat("0", 64))))
	put("refuse-verdict-date", "V2", "malformed", "an RFC 3339 time", h, p.with("at", "1780308000"))
	put("refuse-verdict-typ", "V2", "malformed", "a rejection's typ", h.with("typ", `"eblnode-rejection+jws"`), p)
	put("refuse-verdict-ahead", "V2", "malformed", "more than 5 minutes ahead of our clock", h, p.with("at", `"2026-06-01T12:05:00.001Z"`))
	put("refuse-verdict-other-platform", "V3", "unknownKey", "not the platform that issued the bill", h, p).signer(bank)
}
