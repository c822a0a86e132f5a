package main

import (
	"eblnode/envelope"
	"eblnode/identity"
)

type places = map[string]int

func issued() *builder { return newBill().seal(own("carrier"), tx("ISSU", "carrier", shipper, 0)) }

// toBen is issued and given to the bank.
func toBen() *builder {
	return newBill().seal(own("carrier"), tx("ISSU", "carrier", shipper, 0), tx("TRNS", "carrier", agent, 1), tx("TRNS", "carrier", ben, 2))
}

// toTess went on to the trader, with receipts.
func toTess() *builder {
	return toBen().seal(own("bank"), tx("TRNS", "bank", bea, 10), tx("TRNS", "bank", tess, 12)).receipt(0, own("bank"), 3).receipt(1, own("trade"), 13)
}

// home came back to the carrier, and back again to the bank.
func home() *builder {
	return toTess().seal(own("trade"), tx("TRNS", "trade", ben, 20)).receipt(2, own("bank"), 21)
}

// returned lies with the carrier again.
func returned(instruction string) *builder {
	return toBen().receipt(0, own("bank"), 3).seal(own("bank"), tx(instruction, "bank", shipper, 15)).receipt(1, own("carrier"), 16)
}

func goodBundles(g *generator) {
	g.good("valid", ben, "active", made{b: home(), comment: "over three platforms and back, with every receipt"})
	g.good("valid", tess, "active", made{b: toTess().edit(func(b *envelope.Bundle) { b.Made.Selection = envelope.SelectTransfer }), comment: "the evidence of one transfer"})
	g.good("valid", "", "void", made{b: returned("SW2P").verdict(envelope.Paper, own("carrier"), 30), comment: "the carrier issued paper"})
	g.good("valid", "", "void", made{b: returned("AMND").verdict(envelope.Amended, own("carrier"), 30, func(v *envelope.Verdict) { v.ReplacedBy = hash("7") }), comment: "the carrier amended it, and names the bill that replaces it"})
	g.good("valid", agent, "active", made{b: newBill().step(own("carrier"), tx("ISSU", "carrier", shipper, 0)).step(own("carrier"), tx("TRNS", "carrier", agent, 4)), comment: "never left the carrier's platform"})
	g.good("valid", ben, "active", made{b: returned("SURR").seal(own("carrier"), tx("TRNS", "carrier", ben, 25)), comment: "the carrier declined, and gave it back"})
	g.good("validAtSigningTime", ben, "active", made{b: home(), at: "2041-01-01T00:00:00Z", comment: "fifteen years later: every certificate has ended"})
	g.good("validAtSigningTime", ben, "active", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", agent, 10)).seal(own("carrier"), tx("TRNS", "carrier", ben, 30)).receipt(2, own("bank"), 40), trust: "compromised",
		comment: "the carrier's key was stolen; the bank's receipt for the newest entry speaks for all before it"})
}

func shapes(g *generator) {
	g.bad("malformed/json", made{b: home().noSignature(), change: [2]string{`"receipts":[`, `"receipts":,[`}, comment: "not JSON in the middle"})
	g.bad("malformed/duplicateName", made{b: home(), change: [2]string{`"rejections":[]`, `"rejections":[],"receipts":[]`}, comment: "receipts, and none"})
	g.bad("malformed/utf8", made{b: home(), change: [2]string{`"København"`, `"K\udc00benhavn"`}, comment: "the second half of a pair alone"})
	g.bad("malformed/format", made{b: home(), change: [2]string{`eblnode-bundle/1`, `eblnode-bundle/1.0`}, comment: "another version"})
	g.bad("malformed/unknownMember", made{b: home(), change: [2]string{`"selection":"bill"`, `"selection":"bill","for":"the court"`}, comment: "in made"})
	g.bad("malformed/missing", made{b: home(), change: [2]string{`"documentHash":"` + newBill().bundle.DocumentHash.String() + `","document":`, `"document":`}, comment: "the hash of the document"})
	g.bad("malformed/type", made{b: home(), change: [2]string{`"branches":[]`, `"branches":{}`}, comment: "branches are an array"})
	g.bad("malformed/number", made{b: home(), change: [2]string{`13000.3`, `13000.300000000000001`}, comment: "a weight that would become another number"})
	g.bad("malformed/hash", made{b: issued(), change: [2]string{`"envelopeHash":"`, `"envelopeHash":"0`}, comment: "65 digits"})
	g.bad("malformed/jws", made{b: home(), change: [2]string{part(home().bundle.Receipts[0].Raw, 2), part(home().bundle.Receipts[0].Raw, 2) + "+"}, comment: "another alphabet"})
	g.bad("malformed/time", made{b: home(), change: [2]string{`"at":"2026-06-01T11:00:00.000Z"`, `"at":"2026-06-01 11:00:00"`}, comment: "a space for the T"})
	g.bad("malformed/value", made{b: home().branch(1, func(b *builder) { b.seal(own("bank"), tx("TRNS", "bank", agent, 11)) }), change: [2]string{`"at":1,`, `"at":-1,`}, comment: "a place below zero"})
	g.bad("malformed/base64", made{b: home().edit(func(b *envelope.Bundle) { b.OCSP = [][]byte{{0x30, 0x03, 0x0a, 0x01, 0x03}} }), change: [2]string{`"MAMKAQM="`, `"MAMKAQM"`}, comment: "without padding"})
}

func signatures(g *generator) {
	stranger := func(kid string) *identity.Signer { return signer("stranger-1", kid) }
	g.bad("platformNotTrusted", made{b: toTess(), trust: "bank-only", place: places{"entry": 0}, comment: "the reader trusts the bank alone"})
	g.bad("unknownKey/kid", made{b: newBill().seal(stranger("carrier-9"), tx("ISSU", "carrier", ben, 0)).seal(own("bank"), tx("TRNS", "bank", tess, 5)), place: places{"entry": 0}, comment: "a key of the carrier that the reader was not given"})
	g.bad("unknownKey/noKid", made{b: toBen().seal(stranger(""), tx("TRNS", "bank", tess, 9)), place: places{"entry": 1}, comment: "no kid, and none of the bank's keys"})
	g.bad("badSignature/algorithm", made{b: toBen().seal(signer("trade-1", "bank-1"), tx("TRNS", "bank", tess, 9)), place: places{"entry": 1}, comment: "RSA under the kid of an EC key"})
	g.bad("badSignature/value", made{b: toBen().seal(stranger("bank-1"), tx("TRNS", "bank", tess, 9)), place: places{"entry": 1}, comment: "a stranger under the bank's kid"})
	g.bad("badSignature/window", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", agent, 60.1)), trust: "bank-window", place: places{"entry": 1}, comment: "six seconds late"})
	g.bad("badSignature/revoked", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", agent, 61)), trust: "bank-revoked", place: places{"entry": 1}, comment: "after the bank replaced the key"})
	g.bad("badChainSignature/algorithm", made{b: toBen().seal(signer("trade-1", "bank-1"), tx("TRNS", "bank", agent, 9)).seal(own("carrier"), tx("TRNS", "carrier", ben, 10)), place: places{"entry": 1}, comment: "RSA under the kid of an EC key, in the middle"})
	g.bad("badChainSignature/value", made{b: newBill().seal(stranger("carrier-1"), tx("ISSU", "carrier", ben, 0)).seal(own("bank"), tx("TRNS", "bank", tess, 9)), place: places{"entry": 0}, comment: "the issuance is forged"})
	g.bad("badChainSignature/window", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", agent, 61)).seal(own("carrier"), tx("TRNS", "carrier", ben, 70)), trust: "bank-window", place: places{"entry": 1}, comment: "in the middle"})
	g.bad("badChainSignature/revoked", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", agent, 61)).seal(own("carrier"), tx("TRNS", "carrier", ben, 70)), trust: "bank-revoked", place: places{"entry": 1}, comment: "in the middle"})
	g.bad("keyCompromised", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", agent, 10)), trust: "bank-compromised", place: places{"entry": 1}, comment: "the bank's key was stolen, and the carrier's receipt is not here"})
}

func links(g *generator) {
	g.bad("documentMismatch/bundle", made{b: home(), change: [2]string{"TD-2026-7", "TD-2026-6"}, place: places{"entry": 0}, comment: "another reference was written into the document"})
	g.bad("badHash/claimed", made{b: toTess().edit(func(b *envelope.Bundle) { b.Block.Entries[0].Claimed = hash("0") }), place: places{"entry": 0}, comment: "the hash of the issuance was changed"})
	g.bad("badHash/beside", made{b: issued().edit(func(b *envelope.Bundle) { b.Block.Entries[0].Beside = []byte(`{}`) }), place: places{"entry": 0}, comment: "beside the signature stands nothing"})
	g.bad("badLink/first", made{b: newBill().after(hash("8")).seal(own("carrier"), tx("ISSU", "carrier", ben, 0)), place: places{"entry": 0}, comment: "an issuance that follows something"})
	g.bad("badLink/previous", made{b: toBen().after(hash("9")).seal(own("bank"), tx("TRNS", "bank", tess, 9)), place: places{"entry": 1}, comment: "follows another chain"})
	g.bad("documentMismatch/entry", made{b: toBen().naming(hash("a")).seal(own("bank"), tx("TRNS", "bank", tess, 9)), place: places{"entry": 1}, comment: "the newest entry is of another document"})
	g.bad("notAnIssuer/issuer", made{b: toBen(), trust: "no-issuer", place: places{"entry": 0}, comment: "the reader's file does not let the carrier's platform issue"})
	g.bad("notAnIssuer/carrier", made{b: issued(), trust: "other-carrier", place: places{"entry": 0}, comment: "for another carrier only"})
	g.bad("documentNeeded", made{b: issued().edit(func(b *envelope.Bundle) { b.Block.Document = nil }), trust: "other-carrier", place: places{"entry": 0}, comment: "it may be a bill of that carrier, or not"})
}

func laws(g *generator) {
	at := func(entry, transaction int) places { return places{"entry": entry, "transaction": transaction} }
	g.bad("unlawful/otherPlatform", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", bea, 9), tx("TRNS", "carrier", tess, 10)), place: at(1, 1), comment: "a transaction of the carrier under the bank's signature"})
	g.bad("unlawful/timeReversed", made{b: toBen().seal(own("bank"), tx("TRNS", "bank", bea, 9), tx("TRNS", "bank", tess, 8)), place: at(1, 1), comment: "before the one before it"})
	g.bad("unlawful/timeAhead", made{b: toBen(), at: "2026-06-01T07:50:00Z", place: at(0, 0), comment: "the reader's clock is before the issuance"})
	g.bad("unlawful/toOrderChanged", made{b: toBen().seal(own("bank"), straight("TRNS", "bank", tess, 9, false)), place: at(1, 0), comment: "in a later entry"})
	g.bad("unlawful/notIssued", made{b: newBill().seal(own("carrier"), tx("SURR", "carrier", agent, 0)), place: at(0, 0), comment: "surrendered before it was issued"})
	g.bad("unlawful/issuedTwice", made{b: toBen().seal(own("bank"), tx("ISSU", "bank", tess, 9)), place: at(1, 0), comment: "issued again by the bank"})
	g.bad("unlawful/notInControl", made{b: newBill().seal(own("carrier"), tx("ISSU", "carrier", ben, 0), tx("TRNS", "carrier", agent, 1)), place: at(0, 1), comment: "the carrier takes back what it gave away"})
	g.bad("unlawful/samePossessor", made{b: newBill().seal(own("carrier"), tx("ISSU", "carrier", shipper, 0), tx("TRNS", "carrier", shipper, 1)), place: at(0, 1), comment: "to itself"})
	g.bad("unlawful/notToTheIssuer", made{b: toBen().seal(own("bank"), tx("AMND", "bank", bea, 9)), place: at(1, 0), comment: "an amendment asked of the bank itself"})
	g.bad("unlawful/returnPending", made{b: returned("SW2P").seal(own("carrier"), tx("SURR", "carrier", agent, 20)), place: at(2, 0), comment: "surrendered while the carrier has to answer"})
	g.bad("unlawful/notReturnedBy", made{b: returned("AMND").seal(own("carrier"), tx("TRNS", "carrier", tess, 20)), place: at(2, 0), comment: "declined to the trader"})
}

func steps(g *generator) {
	at := places{"step": 0}
	inside := func(s *identity.Signer, m float64, edit ...func(*envelope.Step)) *builder {
		return toBen().receipt(0, own("bank"), 3).step(s, tx("TRNS", "bank", bea, m), edit...)
	}
	g.bad("badStep/algorithm", made{b: inside(signer("trade-1", "bank-1"), 9), place: at, comment: "RSA under the kid of an EC key"})
	g.bad("badStep/value", made{b: inside(signer("stranger-1", "bank-1"), 9), place: at, comment: "a stranger under the bank's kid"})
	g.bad("badStep/window", made{b: inside(own("bank"), 60.1), trust: "bank-window", place: at, comment: "six seconds late"})
	g.bad("badStep/revoked", made{b: inside(own("bank"), 60), trust: "bank-revoked", place: at, comment: "at the moment of the revocation"})
	g.bad("badStep/document", made{b: inside(own("bank"), 9, func(s *envelope.Step) { s.DocumentHash = hash("b") }), place: at, comment: "of another bill"})
	g.bad("badStep/head", made{b: inside(own("bank"), 9, func(s *envelope.Step) { s.Head = envelope.Hash{} }), place: at, comment: "as if the chain were not there"})
	g.bad("badStep/index", made{b: inside(own("bank"), 9, func(s *envelope.Step) { s.Index = 1 }), place: at, comment: "the first one is missing"})
	g.bad("badStep/previous", made{b: inside(own("bank"), 9, func(s *envelope.Step) { s.Previous = hash("c") }), place: at, comment: "the first one follows nothing"})
	g.bad("unlawful/timeReversed", made{b: inside(own("bank"), 9).step(own("bank"), tx("TRNS", "bank", ben, 8)), place: places{"step": 1}, comment: "all steps are one entry to be: no five minutes between them"})
}

func answers(g *generator) {
	r := places{"receipt": 0}
	g.bad("badReceipt/entry", made{b: toBen().receiptOf(hash("d"), own("bank"), 3), place: r, comment: "of another bill"})
	g.bad("badReceipt/twice", made{b: toBen().receipt(0, own("bank"), 3).receipt(0, own("bank"), 4), place: places{"receipt": 1}, comment: "signed once, stored for ever"})
	g.bad("badReceipt/value", made{b: toBen().receipt(0, signer("stranger-1", "bank-1"), 3), place: r, comment: "a stranger under the bank's kid"})
	g.bad("badReceipt/algorithm", made{b: toBen().receipt(0, signer("trade-1", "bank-1"), 3), place: r, comment: "RSA under the kid of an EC key"})
	g.bad("badReceipt/window", made{b: toBen().receipt(0, own("bank"), 60.1), trust: "bank-window", place: r, comment: "six seconds late"})
	g.bad("badReceipt/revoked", made{b: toBen().receipt(0, own("bank"), 60), trust: "bank-revoked", place: r, comment: "at the moment of the revocation"})
	g.bad("badReceipt/time", made{b: toBen().receipt(0, own("bank"), -3.1), place: r, comment: "five minutes and six seconds before the entry"})

	n := places{"rejection": 0}
	no := func(code envelope.ResponseCode, s *identity.Signer, m float64, edit ...func(*envelope.Rejection)) *builder {
		b := toBen()
		return b.rejection(b.entry(0), code, s, m, edit...)
	}
	g.bad("badRejection/entry", made{b: no("BENV", own("bank"), 5, func(r *envelope.Rejection) { r.EnvelopeHash = hash("e") }), place: n, comment: "of another envelope"})
	g.bad("badRejection/bytes", made{b: no("BSIG", own("bank"), 5, func(r *envelope.Rejection) { r.JWSSum = hash("f") }), place: n, comment: "of another signature over the same payload"})
	g.bad("badRejection/parties", made{b: no("BENV", own("bank"), 5, func(r *envelope.Rejection) { r.Sender = host("bank") }), place: n, comment: "the bank sent it to itself"})
	g.bad("badRejection/value", made{b: no("BENV", signer("stranger-1", "bank-1"), 5), place: n, comment: "a stranger under the bank's kid"})
	g.bad("rejectedEntry", made{b: no("BENV", own("bank"), 5), place: n, comment: "the bank said no"})
	g.bad("contradicted", made{b: no("BSIG", own("bank"), 5).step(own("bank"), tx("TRNS", "bank", bea, 9)), place: n, comment: "rejected, and passed on inside the bank"})
	g.bad("disputed", made{b: no("DISE", own("bank"), 5), place: n, comment: "the bank knows another chain"})
}

func verdicts(g *generator) {
	v := func(kind envelope.VerdictKind, s *identity.Signer, m float64, edit ...func(*envelope.Verdict)) *builder {
		return returned("SURR").verdict(kind, s, m, edit...)
	}
	g.bad("badVerdict/value", made{b: v(envelope.Surrendered, signer("stranger-1", "carrier-1"), 30), comment: "a stranger under the carrier's kid"})
	g.bad("badVerdict/time", made{b: v(envelope.Surrendered, own("carrier"), 9.9), comment: "five minutes and six seconds before the return"})
	g.bad("unlawful/nothingToHonour", made{b: toTess().verdict(envelope.Surrendered, own("carrier"), 30), comment: "while the trader has it"})
	g.bad("unlawful/verdictUnfitting", made{b: v(envelope.Surrendered, own("carrier"), 30, func(v *envelope.Verdict) { v.EnvelopeHash = hash("1") }), comment: "of another return"})
}

func branches(g *generator) {
	n := places{"branch": 0}
	g.bad("badBranch/link", made{b: toTess().branch(1, func(b *builder) { b.after(hash("2")).seal(own("bank"), tx("TRNS", "bank", agent, 11)) }), place: n, comment: "of another chain"})
	g.bad("badBranch/value", made{b: toTess().branch(1, func(b *builder) { b.seal(signer("stranger-1", "bank-1"), tx("TRNS", "bank", agent, 11)) }), place: n, comment: "forged, to accuse the bank"})
	g.bad("badBranch/document", made{b: toTess().branch(1, func(b *builder) { b.naming(hash("3")).seal(own("bank"), tx("TRNS", "bank", agent, 11)) }), place: n, comment: "of another bill"})
	g.bad("forked/signedTwice", made{b: toTess().branch(1, func(b *builder) { b.seal(own("bank"), tx("TRNS", "bank", agent, 11)) }), place: n, comment: "the bank sold one bill twice"})
	g.bad("forked/continued", made{b: toTess().branch(2, func(b *builder) { b.seal(own("trade"), tx("TRNS", "trade", ben, 30)) }), place: n, comment: "the trader gave it away after the end of this chain"})
}
