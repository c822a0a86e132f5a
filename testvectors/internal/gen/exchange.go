package main

import (
	"encoding/json"
	"strings"
)

// An exchange is a receiver's life as others see it: requests in order, each with the
// answer it must get, and what the receiver knows at the end.
type exchange struct {
	Comment  string    `json:"comment"`
	Spec     string    `json:"spec"`
	Kind     string    `json:"kind"`
	At       string    `json:"at"`
	Trust    string    `json:"trust"`
	Receiver string    `json:"receiver"`
	Users    []string  `json:"users"`
	Settings *settings `json:"settings,omitempty"`
	Before   []before  `json:"before,omitempty"`
	Requests []request `json:"requests"`
	Bills    []held    `json:"bills"`
}

// settings are those of the receiver that are not the usual ones.
type settings struct {
	Body            int     `json:"body,omitempty"` // bytes of a body at most
	Tokens          bool    `json:"tokens,omitempty"`
	Rate            float64 `json:"rate,omitempty"`  // requests a second of one peer,
	Burst           int     `json:"burst,omitempty"` // and at once
	VerdictsPerHour int     `json:"verdictsPerHour,omitempty"`
}

// before is a bill that the receiver had a part in before the requests.
type before struct {
	Input       json.RawMessage `json:"input"` // the block as it knows it
	Issuer      string          `json:"issuer,omitempty"`
	Verdict     string          `json:"verdict,omitempty"`
	AnswersLost bool            `json:"answersLost,omitempty"`
}

type request struct {
	Comment string            `json:"comment"`
	Sender  string            `json:"sender"`
	Method  string            `json:"method,omitempty"` // PUT
	Path    string            `json:"path,omitempty"`   // /v1/transferblocks
	Headers map[string]string `json:"headers,omitempty"`
	Input   json.RawMessage   `json:"input,omitempty"`
	Text    *string           `json:"inputText,omitempty"`
	Answer  answer            `json:"answer"`
}

// An answer is a receipt, a signed rejection, or an error that nobody signed.
type answer struct {
	Status       int    `json:"status"`
	Receipt      string `json:"receipt,omitempty"` // the envelopeHash that it is over
	Code         int    `json:"code,omitempty"`
	Text         string `json:"text,omitempty"`
	ResponseCode string `json:"responseCode,omitempty"` // of the signed rejection
	EnvelopeHash string `json:"envelopeHash,omitempty"`
	// SameAs is the request whose signed answer comes again, byte for byte.
	SameAs *int `json:"sameAs,omitempty"`
}

// held is a bill as the receiver knows it at the end.
type held struct {
	DocumentHash string `json:"documentHash"`
	Possessor    string `json:"possessor"`
	Status       string `json:"status"`
	Head         string `json:"head"`
	Length       int    `json:"length"`
}

const (
	receiver = "receiver.example"
	rita     = "rita@receiver.example"
	ruth     = "ruth@receiver.example"
)

func (b *bill) last() entry { return b.entries[len(b.entries)-1] }

func of(comment, sender string, b *bill) request {
	return request{Comment: comment, Sender: sender, Input: json.RawMessage(b.body().String())}
}

func (r request) receipt(b *bill) request {
	r.Answer = answer{Status: 200, Receipt: b.last().hash}
	return r
}

// again: the signed answer of request i, byte for byte.
func (r request) again(a answer, i int) request {
	a.SameAs = &i
	r.Answer = a
	return r
}

var statuses = map[string]int{"BSIG": 422, "BENV": 422, "DISE": 409}

func (r request) rejected(responseCode, text string, b *bill) request {
	r.Answer = answer{Status: statuses[responseCode], Code: map[string]int{"BSIG": 8001, "BENV": 8002, "DISE": 8003}[responseCode], Text: text, ResponseCode: responseCode,
		EnvelopeHash: sum(b.last().payload)}
	return r
}

func (r request) refused(status, code int, text string) request {
	r.Answer = answer{Status: status, Code: code, Text: text}
	return r
}

func (r request) with(header, value string) request {
	r.Headers = map[string]string{header: value}
	return r
}

func (r request) as(text string) request {
	r.Input, r.Text = nil, &text
	return r
}

func at(b *bill, possessor string) []held {
	return []held{{sum(b.canonical), possessor, "active", sum(b.last().payload), len(b.entries)}}
}

func (g *generator) exchange(name, spec, comment string, bills []held, requests ...request) {
	g.exchangeWith(name, spec, comment, func(x *exchange) { x.Bills = append(x.Bills, bills...) }, requests...)
}

func (g *generator) exchangeWith(name, spec, comment string, edit func(*exchange), requests ...request) {
	x := exchange{Comment: comment, Spec: spec, Kind: "exchange", At: clock, Trust: "base", Receiver: receiver, Users: []string{"rita", "ruth"}, Requests: requests, Bills: []held{}}
	edit(&x)
	g.index.add(spec, "exchange/"+name, "")
	g.write("exchange/"+name+".json", x)
}

// historyVectors are answers that depend on what the receiver has signed itself.
func historyVectors(g *generator) {
	c, b, r := g.key("carrier-1"), g.key("bank-1"), g.ec("receiver-1", "ES256")
	ours := func(comment string, name, spec string, edit func(*exchange), requests ...request) {
		g.exchangeWith(name, spec, comment, func(x *exchange) { x.Trust = "receiver"; edit(x) }, requests...)
	}
	known := func(b *bill) before { return before{Input: json.RawMessage(b.body().String())} }
	// Issued by rita, here, to ruth, who gave it to the bank.
	issued := func() *bill {
		return newBill().seal(r, tx("ISSU", receiver, ruth, 0), tx("TRNS", receiver, ben, 1))
	}
	wrong, right := issued().seal(b, tx("SURR", bank, ruth, 10)), issued().seal(b, tx("SURR", bank, rita, 11))
	no := of("surrendered to a user who did not issue it", bank, wrong).rejected("BENV", "notTheIssuer", wrong)
	ours("a bill that the receiver issued comes back to the very user that issued it, and to nobody else", "not-the-issuer", "R8", func(x *exchange) {
		first := known(issued())
		first.Issuer = "rita"
		x.Before = []before{first}
		x.Bills = []held{{sum(right.canonical), rita, "surrenderPending", sum(right.last().payload), 2}}
	}, no, of("again", bank, wrong).again(no.Answer, 0), of("to who issued it", bank, right).receipt(right))

	away := func() *bill { // to rita, who gave it to the bank
		return newBill().seal(c, issue(), tx("TRNS", carrier, rita, 1)).seal(r, tx("TRNS", receiver, ben, 5))
	}
	short := away().pick(0)
	dise := of("the chain as it was, before the receiver signed on", carrier, short).rejected("DISE", "behind", short)
	ours("a receiver that has lost its answers (a restored backup), and knows more than it is told", "behind", "R9", func(x *exchange) {
		first := known(away())
		first.AnswersLost = true
		x.Before = []before{first}
		x.Bills = []held{{sum(short.canonical), ben, "active", sum(away().last().payload), 2}}
	}, dise, of("again", carrier, short).again(dise.Answer, 0))
	ours("a receiver that has its answers gives the receipt of then", "old-block-after-it-moved-on", "R2", func(x *exchange) {
		x.Before = []before{known(away())}
		x.Bills = []held{{sum(short.canonical), ben, "active", sum(away().last().payload), 2}}
	}, of("the chain as it was, before the receiver signed on", carrier, short).receipt(short))

	surrendered := func() *bill {
		return newBill().seal(c, issue(), tx("TRNS", carrier, rita, 1)).seal(r, tx("SURR", receiver, shipper, 5))
	}
	declined := surrendered().seal(c, tx("TRNS", carrier, rita, 30))
	verdict := obj{{"at", `"2026-06-01T08:20:00.000Z"`}, {"documentHash", quote(sum(surrendered().canonical))}, {"envelopeHash", quote(sum(surrendered().last().payload))}, {"verdict", `"surrendered"`}}
	void := of("the carrier declines after all", carrier, declined).rejected("BENV", "unlawful/billVoid", declined)
	ours("the carrier honoured a surrender, and the receiver holds its verdict: nothing follows", "bill-void", "R12", func(x *exchange) {
		first := known(surrendered())
		first.Verdict = compact(c, obj{{"alg", quote(c.alg)}, {"iat", "1780302000"}, {"kid", quote(c.kid)}, {"typ", `"eblnode-verdict+jws"`}}, verdict.String())
		x.Before = []before{first}
		x.Bills = []held{{sum(surrendered().canonical), "", "void", sum(surrendered().last().payload), 2}}
	}, void, of("again", carrier, declined).again(void.Answer, 0))
	ours("without the verdict the same is lawful: the carrier declines, and gives it back", "declined", "L7", func(x *exchange) {
		x.Before = []before{known(surrendered())}
		x.Bills = at(declined, rita)
	}, of("the carrier declines", carrier, declined).receipt(declined))

	stranger := away().seal(b, tx("TRNS", bank, rita, 10))
	ours("the receiver’s own signature, of which it knows nothing: it decides nothing, for somebody has its key or it has lost its records", "own-signature-unknown", "R13", func(*exchange) {},
		of("a chain that goes over us", bank, stranger).refused(503, 7503, "quarantine"))
}

// settingVectors are answers that depend on how the receiver is set up.
func settingVectors(g *generator) {
	c := g.key("carrier-1")
	one := newBill().seal(c, issue(), tx("TRNS", carrier, rita, 1))
	first := of("a bill for a user of ours", carrier, one)
	g.exchangeWith("too-large", "C7", "a body over the limit is not read; the same block without its ballast is", func(x *exchange) {
		x.Settings, x.Bills = &settings{Body: 2000}, at(one, rita)
	},
		of("2,001 bytes and more", carrier, one).as(one.body().with("x", quote(strings.Repeat("x", 2000))).String()).refused(413, 7113, "tooLarge"), first.receipt(one),
		of("again too large: what was accepted stays so", carrier, one).as(one.body().with("x", quote(strings.Repeat("x", 2000))).String()).refused(413, 7113, "tooLarge"))
	g.exchangeWith("tokens", "X1", "a receiver that wants access tokens says so, and decides nothing", func(x *exchange) { x.Settings = &settings{Tokens: true} },
		of("no token", carrier, one).refused(401, 7101, "tokenRequired"),
		of("no bearer token", carrier, one).with("Authorization", "Basic Y2FycmllcjpzZWNyZXQ=").refused(401, 7101, "tokenRequired"),
		of("a token that nobody made", carrier, one).with("Authorization", "Bearer e30.e30.AAAA").refused(401, 7101, "tokenInvalid"))
	many := first.receipt(one)
	g.exchangeWith("too-many-requests", "C4", "two at once and then one in a thousand seconds: the third waits, and another peer does not", func(x *exchange) {
		x.Settings, x.Bills = &settings{Rate: 0.001, Burst: 2}, at(one, rita)
	},
		many, of("the same again", carrier, one).again(many.Answer, 0), of("a third time", carrier, one).refused(429, 7129, "tooManyRequests"),
		of("from somebody else", bank, one).refused(403, 7103, "signerMismatch"))
	nobody := func(name string) *bill {
		return newBill().seal(c, issue(), tx("TRNS", carrier, name+"@receiver.example", 1))
	}
	no := of("for a user that nobody knows", carrier, nobody("nobody")).rejected("BENV", "transfereeNotAccepted", nobody("nobody"))
	g.exchangeWith("verdicts-rationed", "R15", "one new signed no an hour: the next is an error that nobody signed, and what was signed is given again", func(x *exchange) {
		x.Settings = &settings{VerdictsPerHour: 1}
	},
		no, of("another", carrier, nobody("none")).refused(429, 7129, "tooManyRequests"), of("the first again", carrier, nobody("nobody")).again(no.Answer, 0))
	leaf := g.ocspLeaf()
	k := g.key("ocsp-leaf")
	asked := newBill()
	payload := asked.payload(issue(), tx("TRNS", carrier, rita, 1)).String()
	asked.add(payload, compact(k, obj{{"alg", `"ES256"`}, {"kid", `"ocsp-leaf"`}, {"x5c", x5cOf(leaf)}}, payload))
	toBank := newBill()
	payload = toBank.payload(issue(), tx("TRNS", carrier, ben, 1)).String()
	toBank.add(payload, compact(k, obj{{"alg", `"ES256"`}, {"kid", `"ocsp-leaf"`}, {"x5c", x5cOf(leaf)}}, payload))
	g.exchangeWith("revocation-unknown", "K8", "nobody answers whether the certificate was revoked: nothing is decided, the sender asks again", func(x *exchange) { x.Trust = "ocsp" },
		of("the newest entry", carrier, asked).refused(503, 7503, "unavailable"),
		of("an older entry", bank, toBank.seal(g.key("bank-1"), tx("TRNS", bank, rita, 10))).refused(503, 7503, "unavailable"))
}

func exchangeVectors(g *generator) {
	c, b := g.key("carrier-1"), g.key("bank-1")
	toRita := func() *bill { return newBill().seal(c, issue(), tx("TRNS", carrier, rita, 1)) }
	toBank := func() *bill { return newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1)) }
	over := func() *bill { return toBank().seal(b, tx("TRNS", bank, rita, 10)) }

	one := toRita()
	first := of("a bill for a user of ours", carrier, one).receipt(one)
	spaced := strings.NewReplacer(`":`, `" : `, `,"`, `, "`).Replace(obj{{"endorsementChain", one.chain()}, {"document", one.text}}.String())
	g.exchange("replay", "R1", "the same question gets the same answer, byte for byte", at(one, rita), first,
		of("the very same", carrier, one).again(first.Answer, 0),
		of("the very same in another wrapping: white space and order of members", carrier, one).as(spaced).again(first.Answer, 0))
	damaged := of("the accepted envelope beside another document: never rejected any more", carrier, one)
	damaged.Input = json.RawMessage(one.body().with("document", `{"carrierCode":"CARR","isToOrder":true,"transportDocumentReference":"TD-2026-2"}`).String())
	g.exchange("accepted-is-never-rejected", "R2", "an accepted envelope gets its receipt, whatever stands around it", at(one, rita), first, damaged.again(first.Answer, 0))

	nobody := newBill().seal(c, issue(), tx("TRNS", carrier, "nobody@receiver.example", 1))
	no := of("for a user that nobody knows", carrier, nobody).rejected("BENV", "transfereeNotAccepted", nobody)
	g.exchange("rejected-and-sealed-anew", "R4", "a BENV gives the bill back: the sender signs another envelope for another user", at(one, rita), no,
		of("again: the same rejection", carrier, nobody).again(no.Answer, 0), of("a fresh envelope", carrier, one).receipt(one))
	changed := of("the rejected envelope, now with its document spelled anew: the reason of then, signed anew or not", carrier, nobody)
	changed.Input = json.RawMessage(nobody.body().with("document", `{"transportDocumentReference":"TD-2026-1","isToOrder":true,"carrierCode":"CARR"}`).String())
	g.exchange("rejected-is-never-accepted", "R4", "an envelope rejected with BENV is never accepted, whatever stands around it", nil, no, changed.rejected("BENV", "transfereeNotAccepted", nobody))

	forged := toRita()
	good := forged.entries[0].jws
	parts := strings.Split(good, ".")
	forged.entries[0].jws = parts[0] + "." + parts[1] + "." + b64(c.signBytes("ES256", "something else"))
	bsig := of("the signature is of something else", carrier, forged).rejected("BSIG", "badSignature", forged)
	g.exchange("bad-signature-then-good", "R5", "BSIG is about these bytes: the same payload, well signed, is accepted", at(one, rita), bsig,
		of("the same bytes again", carrier, forged).again(bsig.Answer, 0), of("the good signature", carrier, one).receipt(one))
	g.exchange("good-signature-then-bad", "R3", "no signed rejection names an envelope that was accepted", at(one, rita), first,
		of("the same payload under a bad signature", carrier, forged).refused(422, 8001, "badSignature"), of("the good one again", carrier, one).again(first.Answer, 0))

	two := over()
	g.exchange("somebody-else-sends-it", "P1", "an error that nobody signed decides nothing: the right sender is served", at(two, rita),
		of("the bank’s envelope, from the carrier", carrier, two).refused(403, 7103, "signerMismatch"), of("from the bank", bank, two).receipt(two))
	other := g.key("stranger-1")
	unknown := newBill().seal(other, issue(), tx("TRNS", carrier, rita, 1))
	g.exchange("unknown-key", "K1", "a key that was not given yet: nothing is decided", at(one, rita),
		of("signed with a key of tomorrow", carrier, unknown).refused(403, 7103, "unknownKey"), of("with the key of today", carrier, one).receipt(one))
	g.exchange("malformed-then-good", "J1", "what cannot be read decides nothing", at(one, rita),
		of("cut", carrier, one).as(one.body().String()[:200]).refused(400, 7001, "malformed"), of("whole", carrier, one).receipt(one))
	g.exchange("request-rules", "C5", "version, media type, coding, method and path come before the block", at(one, rita),
		of("another version", carrier, one).with("API-Version", "2").refused(400, 7002, "unsupportedApiVersion"),
		of("another media type", carrier, one).with("Content-Type", "text/plain").refused(415, 7115, "unsupportedMediaType"),
		of("another charset", carrier, one).with("Content-Type", "application/json; charset=latin1").refused(415, 7115, "unsupportedMediaType"),
		of("a coding", carrier, one).with("Content-Encoding", "gzip").refused(415, 7115, "unsupportedMediaType"),
		request{Comment: "another method", Sender: carrier, Method: "GET"}.refused(405, 7105, "methodNotAllowed"),
		request{Comment: "another path", Sender: carrier, Path: "/v1/transferblocks/", Input: json.RawMessage(one.body().String())}.refused(404, 7104, "notFound"),
		request{Comment: "the old path, version and charset named", Sender: carrier, Path: "/v1/transferblock", Headers: map[string]string{"API-Version": "1", "Content-Type": "application/json; charset=UTF-8"}, Input: json.RawMessage(one.body().String())}.receipt(one))

	fork := toBank().seal(b, tx("TRNS", bank, ruth, 11))
	taken := of("the bank gives it to rita", bank, two).receipt(two)
	dise := of("and the same bill to ruth", bank, fork).rejected("DISE", "forked", fork)
	g.exchange("fork", "R10", "a platform signs two continuations: the second is disputed, the first stays", at(two, rita), taken, dise,
		of("the second again", bank, fork).again(dise.Answer, 1), of("the first again", bank, two).again(taken.Answer, 0))
	direct := newBill().seal(c, issue(), tx("TRNS", carrier, ruth, 2))
	dise2 := of("another first envelope for the same document", carrier, direct).rejected("DISE", "forked", direct)
	g.exchange("issued-twice", "R10", "one document issued in two chains", at(two, rita), taken, dise2)
	noBefore := toBank().seal(b, tx("TRNS", bank, "nobody@receiver.example", 10))
	benv := of("to a user that nobody knows", bank, noBefore).rejected("BENV", "transfereeNotAccepted", noBefore)
	g.exchange("after-a-rejection-no-fork", "R10", "a second continuation after our own rejection of the first is lawful", at(two, rita), benv, of("to rita", bank, two).receipt(two))

	twin := billOf(strings.Replace(document, `"TD-2026-1"`, `"TD-2026-1","x":1`, 1), strings.Replace(document, `"TD-2026-1"`, `"TD-2026-1","x":1`, 1)).
		seal(c, issue(), tx("TRNS", carrier, ruth, 1))
	g.exchange("reference-in-use", "R14", "two live bills of one carrier with one reference", at(one, rita), first, of("another document with that reference", carrier, twin).rejected("BENV", "referenceInUse", twin))
	g.exchange("not-for-us", "R6", "the last transferee is a user of another platform", nil, of("for the bank", carrier, toBank()).rejected("BENV", "notForUs", toBank()))
	unlawful := toBank().seal(b, tx("TRNS", bank, tess, 10), tx("TRNS", bank, rita, 11))
	law := of("the bank moves what it has given away", bank, unlawful).rejected("BENV", "unlawful/notInControl", unlawful)
	g.exchange("unlawful", "L3", "the law over the whole chain", at(two, rita), law, of("again", bank, unlawful).again(law.Answer, 0), of("lawful", bank, two).receipt(two))
	cut := over()
	cut.entries[0].hash = sum("x")
	bad := of("an older entry’s hash is wrong", bank, cut).rejected("BENV", "badHash", cut)
	g.exchange("damaged-chain", "H2", "also where only an older entry was damaged the envelope is done with: the sender signs a fresh one", at(over().pick(0).seal(b, tx("TRNS", bank, rita, 12)), rita), bad,
		of("mended, the same newest envelope: the reason of then", bank, two).rejected("BENV", "badHash", two),
		of("a fresh envelope on the mended chain", bank, over().pick(0).seal(b, tx("TRNS", bank, rita, 12))).receipt(over().pick(0).seal(b, tx("TRNS", bank, rita, 12))))
	moved := newBill().seal(c, issue(), tx("TRNS", carrier, rita, 1))
	long := newBill().seal(c, issue()).seal(c, tx("TRNS", carrier, rita, 1))
	g.exchange("other-chain-of-the-same-moves", "R10", "the same transactions sealed otherwise are another chain", at(moved, rita), of("in one envelope", carrier, moved).receipt(moved),
		of("in two", carrier, long).rejected("DISE", "forked", long))
}
