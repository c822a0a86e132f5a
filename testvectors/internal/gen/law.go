package main

// lawVectors are check 10 for bills that nobody has returned.
func lawVectors(g *generator) {
	c, b, t := g.key("carrier-1"), g.key("bank-1"), g.key("trade-1")
	no := func(name, spec, law, comment string, bl *bill, entry, transaction int) {
		g.put("chain/refuse-"+name, unlawful(spec, law, comment).block(bl).place(entry, transaction))
	}
	for _, in := range []string{"TRNS", "SURR", "AMND", "SW2P"} {
		no("first-"+lower(in), "L1", "notIssued", "the first transaction is ISSU", newBill().seal(c, tx(in, carrier, shipper, 0)), 0, 0)
	}
	no("issued-twice", "L2", "issuedTwice", "ISSU again in the same entry", newBill().seal(c, issue(), tx("ISSU", carrier, agent, 1)), 0, 1)
	no("issued-twice-later", "L2", "issuedTwice", "ISSU again in a later entry", newBill().seal(c, issue()).seal(c, tx("ISSU", carrier, agent, 1)), 1, 0)
	no("issued-twice-by-other", "L2", "issuedTwice", "ISSU by the possessor's platform", newBill().seal(c, tx("ISSU", carrier, ben, 0)).seal(b, tx("ISSU", bank, tess, 1)), 1, 0)
	no("issued-twice-same-party", "L2", "issuedTwice", "ISSU to the same party again", newBill().seal(c, issue(), issue()), 0, 1)

	away := func() *bill { return newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1)) }
	no("not-in-control", "L3", "notInControl", "trade.example acts, bank.example is in control", away().seal(t, tx("TRNS", trade, tess, 2)), 1, 0)
	no("not-in-control-any-more", "L3", "notInControl", "the carrier has given the bill away", away().seal(c, tx("TRNS", carrier, tess, 2)), 1, 0)
	no("not-in-control-former-holder", "L3", "notInControl", "a former holder's platform", away().seal(b, tx("TRNS", bank, tess, 2)).seal(b, tx("TRNS", bank, ben, 3)), 2, 0)
	no("not-in-control-issuer", "L3", "notInControl", "having issued it gives the carrier no right to take it back", away().seal(c, tx("TRNS", carrier, shipper, 2)), 1, 0)
	no("not-in-control-surrender", "L3", "notInControl", "a return too is for the possessor's platform", away().seal(c, tx("SURR", carrier, agent, 2)), 1, 0)
	no("middle-transferee-elsewhere", "L4", "notInControl", "in an entry every transferee but the last is on the signer's own platform", newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1), tx("TRNS", carrier, tess, 2)), 0, 2)
	no("issued-elsewhere-then-moved", "L4", "notInControl", "issued to another platform, so the carrier may not go on", newBill().seal(c, tx("ISSU", carrier, ben, 0), tx("TRNS", carrier, tess, 1)), 0, 1)
	no("control-untrusted-platform", "L3", "notInControl", "the bill lies with a platform that we do not know; another goes on", newBill().seal(c, tx("ISSU", carrier, "zoe@elsewhere.example", 0)).seal(b, tx("TRNS", bank, tess, 1)), 1, 0)

	no("same-possessor", "L5", "samePossessor", "a transfer to the party in control", newBill().seal(c, issue(), tx("TRNS", carrier, shipper, 1)), 0, 1)
	no("same-possessor-alias", "L5", "samePossessor", "the same user under another host of the platform", newBill().seal(c, issue(), tx("TRNS", carrier, "shipper@EBL.carrier.example:8443", 1)), 0, 1)
	no("same-possessor-party", "L5", "samePossessor", "the same user as an object", newBill().seal(c, issue(), tx("TRNS", carrier, "", 1).with("transferee", `{"eBLPlatformIdentifier":"shipper@carrier.example","partyName":"S"}`)), 0, 1)
	no("same-possessor-surrender", "L5", "samePossessor", "a return to the party in control", newBill().seal(c, issue(), tx("SURR", carrier, shipper, 1)), 0, 1)

	no("to-order-changed", "L8", "toOrderChanged", "isToOrder is constant along the chain", billOf(`{}`, `{}`).seal(c, issue(), tx("TRNS", carrier, ben, 1).with("isToOrder", "false")), 0, 1)
	no("to-order-changed-later", "L8", "toOrderChanged", "also from entry to entry", billOf(`{}`, `{}`).seal(c, tx("ISSU", carrier, ben, 0)).seal(b, tx("TRNS", bank, tess, 1).with("isToOrder", "false")), 1, 0)
	no("to-order-not-the-documents", "L8", "toOrderChanged", "isToOrder is what the document says", newBill().seal(c, issue().with("isToOrder", "false")), 0, 0)
	no("to-order-not-the-documents-straight", "L8", "toOrderChanged", "isToOrder is what the document says", billOf(`{"isToOrder":false}`, `{"isToOrder":false}`).seal(c, issue()), 0, 0)

	no("other-platform", "P3", "otherPlatform", "an entry is of one platform: the second transaction names another", newBill().seal(c, issue(), tx("TRNS", bank, agent, 1)), 0, 1)
	no("other-platform-in-control", "P3", "otherPlatform", "even where that platform is in control by then", newBill().seal(c, tx("ISSU", carrier, ben, 0), tx("TRNS", bank, tess, 1)), 0, 1)
	no("other-platform-untrusted", "P3", "otherPlatform", "a name that is nobody's is not the signer's", newBill().seal(c, issue(), tx("TRNS", "x.carrier.example", agent, 1)), 0, 1)
}

func lower(instruction string) string {
	return map[string]string{"TRNS": "trns", "SURR": "surr", "AMND": "amnd", "SW2P": "sw2p"}[instruction]
}

// returnVectors are SURR, AMND, SW2P and what follows.
func returnVectors(g *generator) {
	c, b := g.key("carrier-1"), g.key("bank-1")
	no := func(name, spec, law, comment string, bl *bill, entry, transaction int) {
		g.put("chain/refuse-"+name, unlawful(spec, law, comment).block(bl).place(entry, transaction))
	}
	ok := func(name, spec, comment string, bl *bill, possessor, status string) {
		g.put("chain/"+name, accept(spec, comment).ends(bl, possessor, status))
	}
	held := func() *bill { return newBill().seal(c, issue(), tx("TRNS", carrier, ben, 1)) }
	for _, r := range []struct{ in, status string }{{"SURR", "surrenderPending"}, {"AMND", "amendmentPending"}, {"SW2P", "paperPending"}} {
		n := lower(r.in)
		returned := func() *bill { return held().seal(b, tx(r.in, bank, agent, 2)) }
		ok("return-"+n, "L6", "returned to a user of the issuing platform", returned(), agent, r.status)
		ok("return-"+n+"-at-home", "L6", "returned by a user of the issuing platform itself", newBill().seal(c, issue(), tx(r.in, carrier, agent, 1)), agent, r.status)
		ok("return-"+n+"-declined", "L7", "declined: back to who returned it", returned().seal(c, tx("TRNS", carrier, ben, 3)), ben, "active")
		no("return-"+n+"-elsewhere", "L6", "notToTheIssuer", "a return goes to the issuing platform", held().seal(b, tx(r.in, bank, tess, 2)), 1, 0)
		no("return-"+n+"-own-platform", "L6", "notToTheIssuer", "a return to a user of the returning platform", held().seal(b, tx(r.in, bank, "bill@bank.example", 2)), 1, 0)
		no("return-"+n+"-moved-on", "L7", "notReturnedBy", "while a return is pending the issuer gives the bill to nobody else", returned().seal(c, tx("TRNS", carrier, tess, 3)), 2, 0)
		no("return-"+n+"-moved-on-at-home", "L7", "notReturnedBy", "not even to another of its own users", returned().seal(c, tx("TRNS", carrier, shipper, 3)), 2, 0)
		no("return-"+n+"-taken-back", "L7", "notInControl", "who returned the bill has given it away", returned().seal(b, tx("TRNS", bank, tess, 3)), 2, 0)
		for _, again := range []string{"SURR", "AMND", "SW2P"} {
			no("return-"+n+"-then-"+lower(again), "L7", "returnPending", "no return upon a return", returned().seal(c, tx(again, carrier, ben, 3)), 2, 0)
		}
		no("return-"+n+"-then-issu", "L2", "issuedTwice", "a replacement is a bill of its own", returned().seal(c, tx("ISSU", carrier, ben, 3)), 2, 0)
	}
	ok("return-declined-alias", "L7", "declined to the same user under another host", held().seal(b, tx("SURR", bank, agent, 2)).seal(c, tx("TRNS", carrier, "ben@api.bank.example", 3)), ben, "active")
	no("return-declined-other-case", "L7", "notReturnedBy", "local ids are compared exactly", held().seal(b, tx("SURR", bank, agent, 2)).seal(c, tx("TRNS", carrier, "Ben@bank.example", 3)), 2, 0)
	ok("return-to-listed-host", "L6", "a listed host of the issuing platform", held().seal(b, tx("SURR", bank, "agent@ebl.carrier.example:8443", 2)), agent, "surrenderPending")
	ok("return-declined-then-moved", "L7", "after a refusal the bill is as it was", held().seal(b, tx("AMND", bank, agent, 2)).seal(c, tx("TRNS", carrier, ben, 3)).seal(b, tx("TRNS", bank, tess, 4)), tess, "active")
	ok("return-declined-then-returned", "L7", "after a refusal it may be returned again, otherwise", held().seal(b, tx("AMND", bank, agent, 2)).seal(c, tx("TRNS", carrier, ben, 3)).seal(b, tx("SW2P", bank, agent, 4)), agent, "paperPending")
	ok("return-after-local-transfer", "L6", "who returned it is the last holder, not the platform's first", held().seal(b, tx("TRNS", bank, "bill@bank.example", 2), tx("SURR", bank, agent, 3)), agent, "surrenderPending")
	no("return-declined-to-first-holder", "L7", "notReturnedBy", "declined to the party that held it before the one who returned it", held().seal(b, tx("TRNS", bank, "bill@bank.example", 2), tx("SURR", bank, agent, 3)).seal(c, tx("TRNS", carrier, ben, 4)), 2, 0)
	no("return-and-more-in-one-entry", "L4", "notInControl", "after a return the entry's platform is not in control any more", held().seal(b, tx("SURR", bank, agent, 2), tx("TRNS", bank, ben, 3)), 1, 1)
}

// timeVectors are the rules of times against each other and against our clock.
func timeVectors(g *generator) {
	c, b, t := g.key("carrier-1"), g.key("bank-1"), g.key("trade-1")
	no := func(name, spec, law, comment string, bl *bill, entry, transaction int) {
		g.put("chain/refuse-"+name, unlawful(spec, law, comment).block(bl).place(entry, transaction))
	}
	ok := func(name, spec, comment string, bl *bill, possessor string) {
		g.put("chain/"+name, accept(spec, comment).ends(bl, possessor, "active"))
	}
	const one = 1.0 / 60000 // a millisecond
	ok("time-equal", "T1", "two transactions at one time", newBill().seal(c, issue(), tx("TRNS", carrier, agent, 0)), agent)
	no("time-reversed", "T1", "timeReversed", "a millisecond back within an entry", newBill().seal(c, issue(), tx("TRNS", carrier, agent, -one)), 0, 1)
	ok("time-mixed-units", "T1", "milliseconds and nanoseconds are compared as times", newBill().seal(c, issue(), tx("TRNS", carrier, agent, 0).with("timestamp", "1780300800000000001")), agent)
	no("time-reversed-nanosecond", "T1", "timeReversed", "nanoseconds are not cut", newBill().seal(c, issue().with("timestamp", "1780300800000000001"), tx("TRNS", carrier, agent, 0)), 0, 1)
	entry := func(minutes ...float64) *bill {
		bl := newBill().seal(c, tx("ISSU", carrier, ben, minutes[0])).seal(b, tx("TRNS", bank, tess, minutes[1]))
		if len(minutes) > 2 {
			bl.seal(t, tx("TRNS", trade, ben, minutes[2]))
		}
		return bl
	}
	ok("time-five-minutes-back", "T2", "the clocks of two platforms may differ by 5 minutes", entry(10, 5), tess)
	no("time-more-than-five-minutes-back", "T2", "timeReversed", "5 minutes and a millisecond below an earlier entry", entry(10, 5-one), 1, 0)
	ok("time-highest-so-far", "T2", "5 minutes below the highest so far", entry(10, 6, 5), ben)
	no("time-below-highest-so-far", "T2", "timeReversed", "within 5 minutes of the entry before, but not of the highest so far", entry(10, 6, 4), 2, 0)
	at := func(minute float64) *bill { return newBill().seal(c, tx("ISSU", carrier, shipper, minute)) }
	ok("time-five-minutes-ahead", "T3", "at most 5 minutes ahead of our clock", at(245), shipper)
	no("time-ahead", "T3", "timeAhead", "5 minutes and a millisecond ahead of our clock", at(245+one), 0, 0)
	no("time-ahead-an-hour", "T3", "timeAhead", "an hour ahead of our clock", at(300), 0, 0)
	g.put("chain/time-old", accept("T4", "no lower bound: verified years later").ends(at(0), shipper, "active").at("2040-01-01T00:00:00Z"))
	old := newBill().seal(c, issue().with("timestamp", "0"), tx("TRNS", carrier, agent, 0).with("timestamp", "1"))
	g.put("chain/time-1970", accept("T4", "no lower bound").ends(old, agent, "active").trust("bare"))
}
