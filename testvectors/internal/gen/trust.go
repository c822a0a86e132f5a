package main

import "fmt"

// A platform is a trust entry as it is written.
type platform struct {
	Domain   string           `json:"domain"`
	Hosts    []string         `json:"hosts,omitempty"`
	Mode     string           `json:"mode,omitempty"`
	Anchors  []string         `json:"anchors,omitempty"`
	Issuer   bool             `json:"issuer,omitempty"`
	Carriers []string         `json:"carriers,omitempty"`
	Keys     map[string][]jwk `json:"keys,omitempty"`
	OCSP     map[string]any   `json:"ocsp,omitempty"`
	Quirks   map[string]any   `json:"quirks,omitempty"`
}

func keys(list ...jwk) map[string][]jwk { return map[string][]jwk{"keys": list} }

// certified is a key as a pinned trust entry carries it.
func (k *key) certified(domain string) jwk {
	j := k.public()
	j.X5c = [][]byte{k.certificate(domain)}
	return j
}

// edit changes a JWK.
func (j jwk) edit(f func(*jwk)) jwk { f(&j); return j }

var bare = map[string]any{"bareKey": true}

func (g *generator) trust(name string, ps ...platform) {
	g.write("trust/"+name+".json", map[string]any{"platforms": ps})
}

func (g *generator) trustFiles() {
	carrierKey, bankKey, tradeKey := g.ec("carrier-1", "ES256"), g.ec("bank-1", "ES256"), g.rsa("trade-1", "RS256")
	g.ec("stranger-1", "ES256")
	c := platform{Domain: carrier, Hosts: []string{"ebl.carrier.example:8443"}, Issuer: true, Keys: keys(carrierKey.certified(carrier))}
	b := platform{Domain: bank, Hosts: []string{"api.bank.example"}, Keys: keys(bankKey.certified(bank))}
	t := platform{Domain: trade, Keys: keys(tradeKey.certified(trade))}
	g.trust("base", c, b, t)

	with := func(p platform, f func(*platform)) platform { f(&p); return p }
	g.trust("no-issuer", with(c, func(p *platform) { p.Issuer = false }), b, t)
	g.trust("other-carrier", with(c, func(p *platform) { p.Carriers = []string{"OTHR"} }), b, t)
	g.trust("this-carrier", with(c, func(p *platform) { p.Carriers = []string{"OTHR", "CARR"} }), b, t)
	g.trust("bank-issues", c, with(b, func(p *platform) { p.Issuer = true }), t)
	g.trust("quirk-as-sent", with(c, func(p *platform) { p.Quirks = map[string]any{"documentHash": "as-sent"} }), b, t)
	g.trust("quirk-as-sent-bank", c, with(b, func(p *platform) { p.Quirks = map[string]any{"documentHash": "as-sent"} }), t)
	g.trust("quirk-base64url", c, with(b, func(p *platform) { p.Quirks = map[string]any{"envelopeHash": "base64url"} }), t)
	g.trust("quirk-chain-field", c, with(b, func(p *platform) { p.Quirks = map[string]any{"chainField": "endorcementChain"} }), t)
	g.trust("carrier-only", c)
	g.trust("bank-only", b)
	// For a receiver that has signed itself: its own entry among them.
	g.trust("receiver", c, b, t, platform{Domain: receiver, Issuer: true, Keys: keys(g.ec("receiver-1", "ES256").public()), Quirks: bare})
	// Without certificates no window: for old and far timestamps.
	g.trust("bare", platform{Domain: carrier, Issuer: true, Keys: keys(carrierKey.public()), Quirks: bare})
	g.trust("hosts", platform{Domain: "xn--bcher-kva.example", Issuer: true, Keys: keys(carrierKey.public()), Quirks: bare},
		platform{Domain: "harbour.example:8443", Keys: keys(bankKey.public()), Quirks: bare})
	g.keyTrustFiles(bankKey)
}

// keyTrustFiles have one carrier each, with keys of all kinds.
func (g *generator) keyTrustFiles(bankKey *key) {
	one := func(name string, list ...jwk) {
		g.trust(name, platform{Domain: carrier, Issuer: true, Keys: keys(list...), Quirks: bare},
			platform{Domain: bank, Keys: keys(bankKey.public()), Quirks: bare})
	}
	rsaKey, p384, p521 := g.rsa("rsa-1", "RS256"), g.ec("p384-1", "ES384"), g.ec("p521-1", "ES512")
	carrierKey, old := g.key("carrier-1"), g.ec("carrier-0", "ES256")
	one("algs", carrierKey.public(), rsaKey.public(), p384.public(), p521.public())
	one("own-alg", rsaKey.public().edit(func(j *jwk) { j.Alg = "RS256" }), carrierKey.public())
	one("no-kid-one-key", carrierKey.public().edit(func(j *jwk) { j.Kid = "" }))
	one("two-keys", old.public(), carrierKey.public())
	one("rollover", old.public().edit(func(j *jwk) { j.NotAfter = "2026-06-01T08:10:00Z" }),
		carrierKey.public().edit(func(j *jwk) { j.NotBefore = "2026-06-01T08:10:00Z" }))
	one("window", carrierKey.public().edit(func(j *jwk) {
		j.NotBefore, j.NotAfter = "2026-06-01T08:00:00Z", "2026-06-01T09:00:00Z"
	}))
	one("revoked", carrierKey.public().edit(func(j *jwk) { j.Revoked, j.Reason = "2026-06-01T09:00:00Z", "superseded" }))
	one("revoked-no-reason", carrierKey.public().edit(func(j *jwk) { j.Revoked = "2026-06-01T09:00:00Z" }))
	one("compromised", carrierKey.public().edit(func(j *jwk) { j.Revoked, j.Reason = "2026-06-01T09:00:00Z", "keyCompromise" }))

	// For answers: the same said of the bank's key.
	bankIs := func(name string, f func(*jwk)) {
		g.trust(name, platform{Domain: carrier, Issuer: true, Keys: keys(carrierKey.public()), Quirks: bare},
			platform{Domain: bank, Keys: keys(bankKey.public().edit(f)), Quirks: bare})
	}
	bankIs("bank-window", func(j *jwk) { j.NotBefore, j.NotAfter = "2026-06-01T08:00:00Z", "2026-06-01T09:00:00Z" })
	bankIs("bank-revoked", func(j *jwk) { j.Revoked, j.Reason = "2026-06-01T09:00:00Z", "superseded" })
	bankIs("bank-compromised", func(j *jwk) { j.Revoked, j.Reason = "2026-06-01T09:00:00Z", "keyCompromise" })

	// Newest first: many-17 is the seventeenth to be tried, many-01 the first.
	var many []jwk
	for i := 1; i <= 17; i++ {
		k := g.ec(fmt.Sprintf("many-%02d", i), "ES256")
		many = append(many, k.public().edit(func(j *jwk) { j.NotBefore = fmt.Sprintf("2026-03-%02dT00:00:00Z", 20-i) }))
	}
	one("seventeen-keys", many...)
}
