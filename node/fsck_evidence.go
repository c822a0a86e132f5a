package node

import (
	"eblnode/envelope"
	"eblnode/identity"
)

// known is what the database holds of an entry: its evidence is judged again, for the time
// of then. One without any was judged by the trust entry of then alone.
func (c *billCheck) known(i int, jws string) envelope.Known {
	k := envelope.Known{Since: fromMillis(c.f.entries[i].storedAt), Judged: true}
	sum := envelope.HashOf([]byte(jws))
	for _, s := range c.f.evidence {
		if s.jws != sum {
			continue
		}
		if ev, err := s.evidence(); err == nil { // else a finding of evidenceRows
			k.Evidence, k.Judged = ev, false
		}
	}
	return k
}

// evidenceRows checks that evidence is whole, and of something that is here.
func (c *billCheck) evidenceRows() {
	signed := map[envelope.Hash]bool{}
	for _, e := range c.f.entries {
		signed[envelope.HashOf([]byte(e.jws))] = true
	}
	for _, x := range c.f.transfers {
		signed[envelope.HashOf([]byte(x.verdict.String))] = true
	}
	signed[envelope.HashOf([]byte(c.f.verdict.String))] = true
	for _, s := range c.f.evidence {
		if _, err := s.evidence(); err != nil {
			// Which of the two was changed cannot be told.
			c.bad("evidence", "of "+s.jws.String(), cureBackup, "certificates, answers: %v", err)
			c.bad("evidence_parts", "of "+s.jws.String(), cureBackup, "sum, der: %v", err)
		}
		if !signed[s.jws] {
			c.bad("evidence", "of "+s.jws.String(), cureEvidence, "jws_sum: nothing signed of this bill has that hash")
		}
		delete(signed, s.jws)
	}
	// A key that no trust entry lists was believed by its path, and that was kept.
	for _, e := range c.f.entries {
		c.mustHaveEvidence(e.signer, e.jws, e.key, signed)
	}
	for _, x := range c.f.transfers {
		c.mustHaveEvidence(x.peer.String(), x.verdict.String, envelope.Hash{}, signed)
	}
	if c.chain != nil {
		c.mustHaveEvidence(c.chain.State.Issuing.String(), c.f.verdict.String, envelope.Hash{}, signed)
	}
}

// mustHaveEvidence misses the evidence of a signature that rests on it. key is zero where
// the row does not say.
func (c *billCheck) mustHaveEvidence(signer, jws string, key envelope.Hash, without map[envelope.Hash]bool) {
	host, err := identity.ParseHost(signer)
	if err != nil || jws == "" || c.f.deleted || !without[envelope.HashOf([]byte(jws))] {
		return
	}
	p, found := c.trust.Find(host)
	if !found || p.Mode != identity.ModeCA {
		return
	}
	if key.IsZero() {
		j, err := envelope.ParseJWS(jws)
		if err != nil {
			return
		}
		k, err := p.KeyFromX5C(j.Header.Kid, j.Header.X5C)
		if err != nil {
			return // a listed key, without x5c
		}
		key = envelope.Hash(k.Thumbprint())
	}
	for _, k := range p.Keys {
		if k.Thumbprint() == [32]byte(key) {
			return
		}
	}
	c.bad("evidence", "", cureBackup, "there is none for a signature of %s that its authority vouched for", signer)
}
