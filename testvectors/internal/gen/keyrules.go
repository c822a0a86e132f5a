package main

import (
	"encoding/base64"
	"fmt"
)

// keyVectors are the rules of which key is used.
func keyVectors(g *generator) {
	k, stranger, old := g.key("carrier-1"), g.key("stranger-1"), g.key("carrier-0")
	noKid := obj{{"alg", `"ES256"`}}
	ok := func(spec, comment, trust string, b *bill) *vec {
		return accept(spec, comment).ends(b, shipper, "active").trust(trust)
	}
	no := func(spec, reason, comment, trust string, b *bill) *vec {
		return refuse(spec, reason, comment).block(b).trust(trust).entry(0)
	}
	g.put("signed/kid-second-key", ok("K1", "kid names the one key to use", "two-keys", signed(k, k.header())))
	g.put("signed/kid-null", ok("K3", "kid null counts as absent", "two-keys", signed(k, k.header().with("kid", "null"))))
	g.put("signed/refuse-kid-unknown", no("K1", "unknownKey", "we may not have been given it yet: nothing is signed about it", "base", signed(stranger, stranger.header())))
	g.put("signed/refuse-kid-unknown-right-key", no("K1", "unknownKey", "kid is not a hint: another name of the right key is not tried", "base", signed(k, k.header().with("kid", `"carrier-9"`))))
	g.put("signed/refuse-kid-other-case", no("K1", "unknownKey", "kid is compared exactly", "base", signed(k, k.header().with("kid", `"Carrier-1"`))))
	g.put("signed/refuse-kid-of-other-platform", no("K1", "unknownKey", "kid names keys of the signing platform only", "base", signed(g.key("bank-1"), g.key("bank-1").header())))
	g.put("signed/refuse-kid-path", no("K1", "unknownKey", "kid is only ever compared", "base", signed(k, k.header().with("kid", `"../../../../dev/null"`))))
	g.put("signed/refuse-kid-wrong-key", no("K2", "badSignature", "signed by another key of the same platform: kid is binding", "two-keys", signed(k, k.header().with("kid", `"carrier-0"`))))
	g.put("signed/refuse-kid-stranger-key", no("K2", "badSignature", "kid of a trusted key, signature of a stranger", "base", signed(stranger, k.header())))
	attacker := `["` + base64.StdEncoding.EncodeToString(stranger.certificate(carrier)) + `"]`
	g.put("signed/refuse-x5c-of-attacker", no("W8", "badSignature", "x5c is no source of trust: kid names our key, x5c the signer's", "base", signed(stranger, k.header().with("x5c", attacker))))
	g.put("signed/refuse-x5c-of-attacker-no-kid", no("W8", "unknownKey", "x5c is no source of trust", "base", signed(stranger, noKid.with("x5c", attacker))))

	g.put("signed/no-kid-one-key", ok("K3", "the platform's only key has no kid, nor has the header", "no-kid-one-key", signed(k, noKid)))
	g.put("signed/no-kid-two-keys-first", ok("K3", "each key that fits is tried", "two-keys", signed(old, noKid)))
	g.put("signed/no-kid-two-keys-second", ok("K3", "each key that fits is tried", "two-keys", signed(k, noKid)))
	g.put("signed/refuse-no-kid-stranger", no("K3", "unknownKey", "none verifies: it may be a key that we have not been given yet", "two-keys", signed(stranger, noKid)))
	g.put("signed/refuse-no-kid-bank", no("K3", "unknownKey", "a trusted key, but of another platform", "base", signed(g.key("bank-1"), noKid)))
	g.put("signed/refuse-no-kid-no-fitting-key", no("K3", "unknownKey", "the platform has no key for the algorithm", "base", signed(&key{"rsa-1", "RS256", g.key("rsa-1").priv}, obj{{"alg", `"RS256"`}})))
	g.put("signed/refuse-kid-but-key-has-none", no("K1", "unknownKey", "the header names a key, the trust entry's only key has no name", "no-kid-one-key", signed(k, k.header())))
	for i, name := range map[int]string{1: "newest", 16: "sixteenth"} {
		m := g.key(fmt.Sprintf("many-%02d", i))
		g.put("signed/no-kid-seventeen-keys-"+name, ok("K3", "of seventeen keys the sixteen newest (notBefore) are tried", "seventeen-keys", signed(m, noKid)).flags("limit"))
	}
	m := g.key("many-17")
	g.put("signed/refuse-no-kid-seventeenth-key", no("K3", "unknownKey", "at most sixteen keys are tried, the newest first", "seventeen-keys", signed(m, noKid)).flags("limit"))
	g.put("signed/kid-seventeenth-key", ok("K1", "with its kid the oldest of seventeen keys counts", "seventeen-keys", signed(m, m.header())))
}

// dated is a block of one entry with the ISSU that many minutes after start.
func dated(k *key, minute float64) *bill {
	return newBill().seal(k, tx("ISSU", carrier, shipper, minute))
}

// windowVectors are validity, revocation and roll-over: all for the time of the last
// transaction of the entry.
func windowVectors(g *generator) {
	k, old, b1 := g.key("carrier-1"), g.key("carrier-0"), g.key("bank-1")
	ok := func(name, spec, trust, comment string, minute float64) {
		g.put("signed/"+name, accept(spec, comment).ends(dated(k, minute), shipper, "active").trust(trust))
	}
	no := func(name, spec, reason, trust, comment string, minute float64) {
		g.put("signed/refuse-"+name, refuse(spec, reason, comment).block(dated(k, minute)).trust(trust).entry(0))
	}
	ok("window-first-moment", "K4", "window", "both ends of the window belong to it", 0)
	ok("window-last-moment", "K4", "window", "both ends of the window belong to it", 60)
	no("window-before", "K4", "badSignature", "window", "one millisecond before the key may sign", -1.0/60000)
	no("window-after", "K4", "badSignature", "window", "one millisecond after the key may sign", 60+1.0/60000)
	no("window-certificate", "K4", "badSignature", "base", "before the certificate of the key begins (2025)", -300*24*60)
	g.put("signed/window-checked-later", accept("K4", "the window limits when a key may sign, not when its signature may be checked").
		ends(dated(k, 30), shipper, "active").trust("window").at("2031-01-01T00:00:00Z"))
	b := newBill().seal(k, tx("ISSU", carrier, shipper, -10), tx("TRNS", carrier, agent, 10))
	g.put("signed/window-last-transaction-inside", accept("K4", "the signature's time is that of the last transaction, here inside the window").ends(b, agent, "active").trust("window"))
	b = newBill().seal(k, tx("ISSU", carrier, shipper, 50), tx("TRNS", carrier, agent, 70))
	g.put("signed/refuse-window-last-transaction-outside", refuse("K4", "badSignature", "the signature's time is that of the last transaction, here outside the window").block(b).trust("window").entry(0))
	g.put("signed/refuse-window-no-kid", refuse("K4", "badSignature", "without kid too: the key is known, and may not sign").
		block(func() *bill {
			b := newBill()
			p := b.payload(tx("ISSU", carrier, shipper, 70)).String()
			return b.add(p, compact(k, obj{{"alg", `"ES256"`}}, p))
		}()).trust("window").entry(0))

	since := func(name, trust string) {
		g.put("signed/"+name, accept("K5", "signed before the key was revoked, for a reason other than theft, says a block that is looked at later").
			ends(dated(k, 59), shipper, "active").trust(trust).flags("offline"))
		g.put("signed/refuse-"+name+"-arriving", refuse("K5", "badSignature", "the same block, seen for the first time when the key was revoked already: it may have been signed since, and dated back").
			block(dated(k, 59)).trust(trust).sender(carrier).entry(0))
	}
	since("revoked-later", "revoked")
	no("revoked-before", "K5", "badSignature", "revoked", "signed after the key was revoked", 61)
	no("revoked-same-moment", "K5", "badSignature", "revoked", "from the moment of the revocation on", 60)
	since("revoked-later-no-reason", "revoked-no-reason")
	no("revoked-before-no-reason", "K5", "badSignature", "revoked-no-reason", "signed after the key was revoked", 61)
	no("compromised-later", "K6", "keyCompromised", "compromised", "after a theft the time that a signature claims for itself proves nothing", 1)
	no("compromised-before", "K6", "keyCompromised", "compromised", "signed after the theft was reported", 61)

	// An older entry of the chain: other answers to the same troubles.
	chain := func(k *key, minute float64) *bill {
		return newBill().seal(k, tx("ISSU", carrier, shipper, minute), tx("TRNS", carrier, ben, minute)).
			seal(b1, tx("TRNS", bank, "tom@bank.example", 65))
	}
	older := func(name, spec, reason, trust, comment string, b *bill) {
		g.put("chain/refuse-older-"+name, refuse(spec, reason, comment).block(b).trust(trust).sender(bank).entry(0))
	}
	older("window", "K4", "badChainSignature", "window", "an older entry signed outside the key's window", chain(k, 61))
	older("revoked", "K5", "badChainSignature", "revoked", "an older entry signed after the key was revoked", chain(k, 61))
	older("compromised", "K6", "keyCompromised", "compromised", "a stolen key in an older entry: unsigned, since proof may exist", chain(k, 1))
	older("unknown-key", "K1", "unknownKey", "base", "an unknown key in an older entry: unsigned, since it may be a new one", chain(old, 1))
	older("wrong-key", "K2", "badChainSignature", "two-keys", "an older entry signed by another key than the one named", chain(&key{"carrier-0", "ES256", k.priv}, 1))
	g.put("chain/older-revoked-later", accept("K5", "an older entry signed before the revocation still counts").
		ends(chain(k, 59), "tom@bank.example", "active").trust("revoked").sender(bank))
	g.put("chain/key-rollover", accept("K4", "old entries by the old key, new ones by the new").
		ends(newBill().seal(old, issue()).seal(k, tx("TRNS", carrier, agent, 20)), agent, "active").trust("rollover"))
	g.put("chain/refuse-key-rollover-old-key", refuse("K4", "badSignature", "the old key may not sign any more").
		block(newBill().seal(old, issue()).seal(old, tx("TRNS", carrier, agent, 20))).trust("rollover").entry(1))
}
