package main

import (
	"strconv"
	"strings"
)

const (
	payloadAt     = signatureAt + ".payload"
	transactionAt = payloadAt + ".transactions[0]"
)

func payloadVectors(g *generator) {
	k := g.key("carrier-1")
	bad := func(name, spec, path, comment string, change func(obj) obj) {
		b := newBill()
		b.sealPayload(k, change(b.payload(issue())).String())
		g.put("envelope/refuse-"+name, malformed(spec, payloadAt+path, comment).block(b))
	}
	badTx := func(name, spec, path, comment string, t obj) {
		g.put("envelope/refuse-"+name, malformed(spec, transactionAt+path, comment).block(newBill().seal(k, t)))
	}
	good := func(name, spec, comment string, t obj) {
		g.put("envelope/"+name, accept(spec, comment).ends(newBill().seal(k, t), shipper, "active"))
	}
	set := func(name, raw string) func(obj) obj { return func(o obj) obj { return o.with(name, raw) } }
	h := sum(document)
	bad("no-document-hash", "S1", ".documentHash", "required", func(o obj) obj { return o.without("documentHash") })
	bad("document-hash-null", "S1", ".documentHash", "required", set("documentHash", "null"))
	bad("document-hash-upper-case", "S1", ".documentHash", "64 lower-case hex digits", set("documentHash", quote(strings.ToUpper(h))))
	bad("document-hash-63-digits", "S1", ".documentHash", "64 lower-case hex digits", set("documentHash", quote(h[:63])))
	bad("document-hash-number", "S1", ".documentHash", "a string", set("documentHash", "1"))
	bad("previous-upper-case", "S2", ".previousEnvelopeHash", "64 lower-case hex digits", set("previousEnvelopeHash", quote(strings.ToUpper(h))))
	bad("previous-empty", "S2", ".previousEnvelopeHash", "null or a hash, not an empty text", set("previousEnvelopeHash", `""`))
	bad("previous-number", "S2", ".previousEnvelopeHash", "a string", set("previousEnvelopeHash", "0"))
	bad("no-transactions", "S3", ".transactions", "required", func(o obj) obj { return o.without("transactions") })
	bad("transactions-null", "S3", ".transactions", "required", set("transactions", "null"))
	bad("transactions-empty", "S3", ".transactions", "at least one", set("transactions", "[]"))
	bad("transactions-object", "S3", ".transactions", "an array", set("transactions", issue().String()))
	bad("transaction-null", "S3", ".transactions[0].instruction", "an object", set("transactions", "[null]"))
	bad("transaction-string", "S3", ".transactions[0]", "an object", set("transactions", `["ISSU"]`))
	b := newBill()
	b.sealPayload(k, b.payload(issue()).without("previousEnvelopeHash").String())
	g.put("envelope/previous-absent", accept("S2", "absent in entry 0, as good as null").ends(b, shipper, "active"))
	b = newBill()
	b.sealPayload(k, b.payload(issue().with("x", "[1]")).with("y", `{"z":1e400}`).String())
	g.put("envelope/unknown-members-signed", accept("J10", "unknown members of payload and transaction are kept and signed").ends(b, shipper, "active"))

	t := issue()
	good("action", "S4", "action is an alias of instruction", t.without("instruction").with("action", `"ISSU"`))
	good("action-null", "S4", "null counts as absent", t.with("action", "null"))
	badTx("action-and-instruction", "S4", ".action", "both names at once", t.with("action", `"ISSU"`))
	badTx("no-instruction", "S4", ".instruction", "required", t.without("instruction"))
	for name, v := range map[string]string{"unknown": "ENDO", "lower-case": "issu", "empty": "", "space": "ISSU ", "surr-pint": "SURRENDER_FOR_DELIVERY"} {
		badTx("instruction-"+name, "S4", ".instruction", "one of ISSU, TRNS, SURR, AMND, SW2P", t.with("instruction", quote(v)))
	}
	badTx("instruction-number", "S4", ".instruction", "a string", t.with("instruction", "1"))
	good("comments-255", "S5", "255 characters, however many bytes or UTF-16 units", t.with("comments", quote(strings.Repeat("😀", 255))))
	good("comments-empty", "S5", "empty is not absent, and as good", t.with("comments", `""`))
	good("comments-null", "S5", "null counts as absent", t.with("comments", "null"))
	good("comments-escapes", "S5", "an escape is one character, not six", t.with("comments", `"`+strings.Repeat(`\u00e9`, 255)+`"`))
	badTx("comments-256", "S5", ".comments", "256 characters", t.with("comments", quote(strings.Repeat("x", 256))))
	badTx("comments-256-astral", "S5", ".comments", "256 characters", t.with("comments", quote(strings.Repeat("😀", 256))))
	badTx("comments-number", "S5", ".comments", "a string", t.with("comments", "1"))
	badTx("no-is-to-order", "S7", ".isToOrder", "required", t.without("isToOrder"))
	badTx("is-to-order-null", "S7", ".isToOrder", "required", t.with("isToOrder", "null"))
	badTx("is-to-order-string", "S7", ".isToOrder", "a boolean", t.with("isToOrder", `"true"`))
	badTx("is-to-order-number", "S7", ".isToOrder", "a boolean", t.with("isToOrder", "1"))
	second := newBill().seal(k, issue(), tx("TRNS", carrier, agent, 1).without("platformHost"))
	g.put("envelope/refuse-second-transaction", malformed("S8", payloadAt+".transactions[1].platformHost", "the shape of every transaction").block(second))
	later := newBill().seal(k, issue(), tx("TRNS", carrier, ben, 1)).seal(g.key("bank-1"), tx("TRNS", bank, "nobody", 2))
	g.put("envelope/refuse-second-entry", malformed("S9", "$.endorsementChain[1].signature.payload.transactions[0].transferee", "the shape of every entry").block(later))
}

func timestampVectors(g *generator) {
	k := g.key("carrier-1")
	good := func(name, comment, raw, at, trust string) {
		b := newBill().seal(k, issue().with("timestamp", raw))
		g.put("envelope/timestamp-"+name, accept("S6", comment).ends(b, shipper, "active").at(at).trust(trust))
	}
	good("milliseconds", "13 digits", "1780300800000", clock, "base")
	good("microseconds", "16 digits are microseconds", "1780300800000000", clock, "base")
	good("nanoseconds", "19 digits are nanoseconds, as in the example of 2022", "1780300800000000000", clock, "base")
	good("zero", "no lower bound", "0", clock, "bare")
	good("one-digit", "milliseconds", "7", clock, "bare")
	good("15-digits", "microseconds: 1973", "100000000000000", clock, "bare")
	good("17-digits", "nanoseconds: 1970", "10000000000000000", clock, "bare")
	good("16-digits-most", "microseconds: 2286", "9999999999999999", "2286-11-20T17:46:40Z", "bare")
	good("2-to-63-minus-1", "the last: nanoseconds, 2262", "9223372036854775807", "2262-04-11T23:47:17Z", "bare")
	far := newBill().seal(k, issue().with("timestamp", "99999999999999"))
	g.put("envelope/refuse-timestamp-14-digits", unlawful("T3", "timeAhead", "14 digits are milliseconds: the year 5138").block(far).trust("bare").place(0, 0))
	for name, raw := range map[string]string{
		"2-to-63": "9223372036854775808", "20-digits": "17803008000000000000", "negative": "-1", "fraction": "1780300800000.5", "fraction-zero": "1780300800000.0",
		"exponent": "1.7803008e12", "exponent-integer": "17803008E5", "string": `"1780300800000"`, "date": `"2026-06-01T08:00:00Z"`, "null": "null", "boolean": "true", "object": "{}", "minus-zero": "-0",
	} {
		b := newBill().seal(k, issue().with("timestamp", raw))
		g.put("envelope/refuse-timestamp-"+name, malformed("S6", transactionAt+".timestamp", "an integer from 0 to below 2^63 in plain digits").block(b))
	}
	b := newBill().seal(k, issue().without("timestamp"))
	g.put("envelope/refuse-no-timestamp", malformed("S6", transactionAt+".timestamp", "required").block(b))
	b = newBill().seal(k, issue().with("timestamp", "01780300800000"))
	g.put("envelope/refuse-timestamp-leading-zero", malformed("J1", "", "no number of JSON").block(b))
}

func hostVectors(g *generator) {
	k := g.key("carrier-1")
	one := func(host string) *bill { return newBill().seal(k, issue().with("platformHost", quote(host))) }
	good := func(name, comment, host string) {
		g.put("envelope/host-"+name, accept("S8", comment).ends(one(host), shipper, "active"))
	}
	good("bare", "host", "carrier.example")
	good("url", "https://host", "https://carrier.example")
	good("url-path", "the path is ignored", "https://carrier.example/v1/transferblocks")
	good("url-slash", "the path is ignored", "https://carrier.example/")
	good("scheme-upper-case", "the scheme in any case", "HTTPS://carrier.example")
	good("upper-case", "names in any case", "https://CARRIER.Example")
	good("port-443", "443 is the port of https", "carrier.example:443")
	good("final-dot", "a final dot says nothing", "https://carrier.example./")
	good("final-dot-port", "both", "carrier.example.:443")
	good("any-port", "a name without port in the trust entry matches that host at any port", "https://carrier.example:9443")
	good("listed", "a listed host with its port", "https://ebl.carrier.example:8443")
	notListed := one("https://ebl.carrier.example")
	g.put("chain/refuse-host-listed-other-port", refuse("P2", "platformNotTrusted", "a name with port matches only that port").block(notListed).entry(0))
	bad := func(name, comment, host string) {
		g.put("envelope/refuse-host-"+name, malformed("S8", transactionAt+".platformHost", comment).block(one(host)))
	}
	bad("empty", "a name", "")
	bad("http", "https only", "http://carrier.example")
	bad("scheme-only", "a name", "https://")
	bad("user-info", "no user info", "https://carrier.example@attacker.example")
	bad("user-info-bare", "no user info", "user@carrier.example")
	bad("query", "no query", "https://carrier.example?x=1")
	bad("query-after-path", "no query", "https://carrier.example/v1?x=1")
	bad("fragment", "no fragment", "https://carrier.example#attacker.example")
	bad("path-without-scheme", "host[:port] has no path", "carrier.example/v1")
	bad("port-empty", "a port has digits", "carrier.example:")
	bad("port-zero", "1 to 65535", "carrier.example:0")
	bad("port-65536", "1 to 65535", "carrier.example:65536")
	bad("port-leading-zero", "one spelling", "carrier.example:0443")
	bad("port-name", "digits", "carrier.example:https")
	bad("ipv4", "a name, not an address", "https://192.0.2.1")
	bad("ipv6", "a name, not an address", "https://[2001:db8::1]")
	bad("space", "no white space", " carrier.example")
	bad("backslash", "no name", `https://carrier.example\@attacker.example`)
	bad("underscore", "no host name", "carrier_1.example")
	bad("two-dots", "an empty label", "carrier..example")
	bad("hyphens-third-fourth", "reserved for encoded labels", "ca--rrier.example")
	bad("label-hyphen-first", "no host name", "-carrier.example")
	bad("label-64", "a label has at most 63 characters", strings.Repeat("a", 64)+".example")
	bad("name-254", "a name has at most 253 characters", strings.Repeat("a.", 123)+"examples")
	bad("last-label-number", "an address to many resolvers", "https://192.0.2.0x1")
	bad("idna-bad-punycode", "no encoded label", "xn--a.example")
	bad("nul", "no name", "carrier.example\x00.attacker.example")
	number := newBill().seal(k, issue().with("platformHost", "1"))
	g.put("envelope/refuse-host-number", malformed("S8", transactionAt+".platformHost", "a string").block(number))
	idn := func(name, comment, host, at string) {
		b := newBill().seal(k, tx("ISSU", carrier, "lager@"+at, 0).with("platformHost", quote(host)))
		v := accept("S8", comment).ends(b, "lager@xn--bcher-kva.example", "active").trust("hosts").flags("idna")
		v.v.State.Issuing = "xn--bcher-kva.example"
		g.put("envelope/host-"+name, v)
	}
	idn("idna-unicode", "IDNA to ASCII", "https://bücher.example", "BÜCHER.example")
	idn("idna-ascii", "the ASCII form", "XN--BCHER-KVA.example", "bücher.example.")
	idn("idna-decomposed", "IDNA composes: u and a diaeresis", "https://bu\u0308cher.example", "xn--bcher-kva.example:443")
	port := func(domain string) *bill {
		return newBill().seal(k, tx("ISSU", "xn--bcher-kva.example", "quay@"+domain, 0))
	}
	state := func(possessor string, b *bill) *vec {
		v := accept("S8", "").ends(b, possessor, "active").trust("hosts")
		v.v.State.Issuing = "xn--bcher-kva.example"
		return v
	}
	v := state("quay@harbour.example:8443", port("harbour.example:8443"))
	v.v.Comment = "the domain of an identifier has a port where that of the trust entry has"
	g.put("envelope/transferee-domain-port", v)
	v = state("quay@harbour.example", port("harbour.example"))
	v.v.Comment = "without the port it is another domain, here of nobody we trust; the last transferee's platform need not be"
	g.put("envelope/transferee-domain-other-port", v)
	b := port("harbour.example:8443").seal(g.key("bank-1"), tx("TRNS", "harbour.example:8443", "lager@bücher.example", 1))
	v = state("lager@xn--bcher-kva.example", b)
	v.v.Comment = "a platform whose domain has a port signs"
	g.put("chain/platform-domain-port", v)
	b = port("harbour.example:8443").seal(g.key("bank-1"), tx("TRNS", "harbour.example:9443", "lager@bücher.example", 1))
	g.put("chain/refuse-platform-domain-other-port", refuse("P2", "platformNotTrusted", "a name with port matches only that port").block(b).trust("hosts").entry(1))
}

func transfereeVectors(g *generator) {
	k := g.key("carrier-1")
	good := func(name, comment, raw, possessor string) {
		b := newBill().seal(k, issue().with("transferee", raw))
		g.put("envelope/transferee-"+name, accept("S9", comment).ends(b, possessor, "active"))
	}
	bad := func(name, path, comment, raw string) {
		b := newBill().seal(k, issue().with("transferee", raw))
		g.put("envelope/refuse-transferee-"+name, malformed("S9", transactionAt+".transferee"+path, comment).block(b))
	}
	const atext = "!#$%&'*+-/=?^_`{|}~"
	good("dot-atom", "every character of an RFC 5322 atom", quote("aZ09."+atext+"@carrier.example"), "aZ09."+atext+"@carrier.example")
	good("case-kept", "the case of the local id is kept", `"ShipPer@CARRIER.example"`, "ShipPer@carrier.example")
	good("local-128", "128 characters", quote(strings.Repeat("a", 128)+"@carrier.example"), strings.Repeat("a", 128)+"@carrier.example")
	good("alias-host", "a listed host is the platform", `"shipper@EBL.carrier.example:8443"`, shipper)
	good("untrusted-platform", "the platform of the last transferee need not be trusted", `"zoe@elsewhere.example"`, "zoe@elsewhere.example")
	good("object-small", "an object with its identifier alone", `{"eBLPlatformIdentifier":"shipper@carrier.example"}`, shipper)
	good("party", "a DCSA Party of 2022 with all members",
		`{"eBLPlatformIdentifier":"shipper@carrier.example","partyName":"Shipper & Söhne","taxReference1":"CVR-1","taxReference2":"CVR-2","publicKey":"eyJhbGciOiJSUzI1NiJ9","address":{"name":"H","street":"Elbstraße","country":"Germany"},"partyContactDetails":[{"name":"H","email":"h@shipper.example"}],"identifyingCodes":[{"DCSAResponsibleAgencyCode":"SMDG","partyCode":"MSK","codeListName":"LCL"},{"codeListProvider":"GLEIF","partyCode":"529900T8BM49AURSDO55"}]}`, shipper)
	good("party-nulls", "null counts as absent", `{"eBLPlatformIdentifier":"shipper@carrier.example","partyName":null,"taxReference1":null,"identifyingCodes":null,"address":null}`, shipper)
	good("party-unknown-members", "other members are tolerated", `{"eBLPlatformIdentifier":"shipper@carrier.example","isToOrder":false,"x":[{"y":null}]}`, shipper)
	good("party-unread-members", "publicKey, address and partyContactDetails are carried and not read, whatever they are",
		`{"eBLPlatformIdentifier":"shipper@carrier.example","publicKey":1,"address":"Elbstraße 1","partyContactDetails":{}}`, shipper)
	good("code-without-list", "a code without its list says nothing, and harms nothing", `{"eBLPlatformIdentifier":"shipper@carrier.example","identifyingCodes":[{"partyCode":"MSK"}]}`, shipper)
	for name, id := range map[string]string{
		"no-at": "shipper", "empty": "", "no-local": "@carrier.example", "no-domain": "shipper@", "two-ats": "a@b@carrier.example", "leading-dot": ".a@carrier.example",
		"trailing-dot": "a.@carrier.example", "two-dots": "a..b@carrier.example", "space": "a b@carrier.example", "quoted": `"a b"@carrier.example`, "comment": "a(x)@carrier.example",
		"non-ascii": "sjö@carrier.example", "local-129": strings.Repeat("a", 129) + "@carrier.example", "ip": "a@192.0.2.1", "bad-port": "a@carrier.example:99999", "url": "a@https://carrier.example", "path": "a@carrier.example/x",
		"trailing-newline": "a@carrier.example\n",
	} {
		bad("id-"+name, "", "not localid@domain[:port]", quote(id))
	}
	badMissing := newBill().seal(k, issue().without("transferee"))
	g.put("envelope/refuse-no-transferee", malformed("S9", transactionAt+".transferee", "required").block(badMissing))
	for name, raw := range map[string]string{"null": "null", "number": "1", "array": `["shipper@carrier.example"]`, "boolean": "true"} {
		bad(name, "", "a string or an object", raw)
	}
	bad("object-no-identifier", ".eBLPlatformIdentifier", "required", `{"partyName":"Shipper"}`)
	bad("object-identifier-null", ".eBLPlatformIdentifier", "required", `{"eBLPlatformIdentifier":null}`)
	bad("object-identifier-bad", ".eBLPlatformIdentifier", "localid@domain[:port]", `{"eBLPlatformIdentifier":"shipper"}`)
	bad("object-other-case", ".eBLPlatformIdentifier", "names are compared exactly", `{"eblPlatformIdentifier":"shipper@carrier.example"}`)
	bad("object-name-number", ".partyName", "a string", `{"eBLPlatformIdentifier":"shipper@carrier.example","partyName":1}`)
	bad("object-tax-number", ".taxReference1", "a string", `{"eBLPlatformIdentifier":"shipper@carrier.example","taxReference1":`+strconv.Itoa(1)+`}`)
	bad("object-codes-object", ".identifyingCodes", "an array", `{"eBLPlatformIdentifier":"shipper@carrier.example","identifyingCodes":{}}`)
	bad("object-code-null", ".identifyingCodes[0]", "an array of objects: null is none", `{"eBLPlatformIdentifier":"shipper@carrier.example","identifyingCodes":[null]}`)
	bad("object-code-number", ".identifyingCodes[0].partyCode", "a string", `{"eBLPlatformIdentifier":"shipper@carrier.example","identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":1}]}`)
}
