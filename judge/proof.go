package judge

import (
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A proof is something that another platform signed, which speaks for an entry of the
// chain, and over the hash links for all before it.
type proof struct {
	entry int
	by    identity.Host
	at    time.Time
}

// known is what the file holds of a signature of the chain (entry), or of another (-1).
func (j *judging) known(entry int, jws string) envelope.Known {
	k := envelope.Known{Evidence: j.evidence(jws)}
	if entry >= 0 && j.thefts() {
		k.Since = j.since(entry)
	}
	return k
}

// believe verifies a signature that is not of the chain, and the standing of its key by what
// the file holds. Only a nil error means that it counts.
func (j *judging) believe(jws envelope.JWS, p *identity.Platform, at time.Time) (*identity.Key, error) {
	return j.believeKnown(jws, p, at, envelope.Known{Evidence: j.evidence(jws.Raw)})
}

// believeKnown is believe for what is known of a signature.
func (j *judging) believeKnown(jws envelope.JWS, p *identity.Platform, at time.Time, known envelope.Known) (*identity.Key, error) {
	key, err := jws.VerifyKnown(p, at, known)
	if err != nil || len(p.Questions(key)) == 0 {
		return key, err
	}
	if known.Evidence == nil {
		return nil, &envelope.SignatureError{Reason: envelope.RevocationUnknown, Detail: "the file has no answer on whether the certificate of a key of " + p.Domain.String() + " is revoked"}
	}
	if err := envelope.CheckRevocation(p, key, at, known.Since, *known.Evidence); err != nil {
		return nil, err
	}
	return key, nil
}

// revokedSince is when the key's certificate was revoked, by the answers in the file that
// were held of this JWS; zero: none says so.
func (j *judging) revokedSince(k *identity.Key, jws string) time.Time {
	p, trusted := j.o.Trust.Find(k.Platform)
	if !trusted || len(p.Questions(k)) == 0 {
		return time.Time{}
	}
	if ev := j.evidence(jws); ev != nil {
		return p.RevokedSince(k, *ev)
	}
	return time.Time{}
}

// evidence is what the file's maker held when it believed a signature: of several checks
// of it the newest. nil: nothing. It brings no trust: a path must still lead to the
// reader's anchors, and an answer is signed by the authority.
func (j *judging) evidence(jws string) *identity.Evidence {
	j.index()
	newest := j.checked[envelope.HashOf([]byte(jws))]
	if newest == nil {
		return nil
	}
	ev := &identity.Evidence{CheckedAt: newest.At}
	for _, h := range newest.Certificates {
		if len(ev.Certificates) == envelope.MostOfEvidence {
			break
		}
		if der := j.pool[h]; der != nil {
			if c := j.o.Memory.certificate(h, der); c != nil {
				ev.Certificates = append(ev.Certificates, c)
			}
		}
	}
	for _, h := range newest.OCSP {
		if der := j.pool[h]; der != nil {
			ev.Answers = append(ev.Answers, der)
		}
	}
	return ev
}

// index is made once: a file may bring thousands of each.
func (j *judging) index() {
	if j.checked != nil {
		return
	}
	j.checked, j.pool = map[envelope.Hash]*envelope.Check{}, map[envelope.Hash][]byte{}
	for i := range j.b.Checks {
		if c := &j.b.Checks[i]; j.checked[c.JWS] == nil || c.At.After(j.checked[c.JWS].At) {
			j.checked[c.JWS] = c
		}
	}
	for _, list := range [][][]byte{j.b.Certificates, j.b.OCSP} {
		for _, der := range list {
			j.pool[envelope.HashOf(der)] = der
		}
	}
}

// thefts reports whether a key may have been stolen, by the reader's trust entries or by an
// answer in the file: only then does it matter since when something existed.
func (j *judging) thefts() bool {
	if len(j.b.OCSP) > 0 {
		return true
	}
	for _, p := range j.o.Trust.Platforms() {
		for _, k := range p.Keys {
			if k.Compromised() {
				return true
			}
		}
	}
	return false
}

// since is the earliest time at which something in the file proves that entry at existed:
// docs/BUNDLE.md, section 4. Zero: nothing does. A later entry, a receipt or the carrier's
// verdict does, of another platform, by a key that was not stolen itself.
func (j *judging) since(at int) (since time.Time) {
	if j.proofs == nil {
		j.proofs = j.findProofs()
	}
	signer := j.o.Trust.Name(j.b.Block.Entries[at].Payload.Transactions[0].PlatformHost)
	for _, p := range j.proofs {
		if p.entry >= at && p.entry <= j.reach[at] && p.by != signer && (since.IsZero() || p.at.Before(since)) {
			since = p.at
		}
	}
	return since
}

// honest reports whether the envelopeHash of e is the one that its platform, if it is trusted,
// must have given it.
func (j *judging) honest(e *envelope.Entry) bool {
	signer, trusted := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
	return trusted && e.Claimed == e.WireHash(signer)
}

func (j *judging) findProofs() []proof {
	list := []proof{}
	entries := j.b.Block.Entries
	// The links are what makes a later entry speak for one before it; a false envelopeHash is none.
	j.reach = make([]int, len(entries))
	for i := len(entries) - 1; i >= 0; i-- {
		j.reach[i] = i
		if i+1 < len(entries) && entries[i+1].Payload.Linked && entries[i+1].Payload.Previous == entries[i].Claimed && j.honest(&entries[i]) {
			j.reach[i] = j.reach[i+1]
		}
	}
	add := func(entry int, jws envelope.JWS, p *identity.Platform, at time.Time) {
		if at.IsZero() || at.After(j.o.Now) || at.Before(entries[entry].Payload.SignedAt().Add(-envelope.ClockSkew)) || j.stopped() {
			return
		}
		if _, err := j.believe(jws, p, at); err == nil {
			list = append(list, proof{entry, p.Domain, at})
		}
	}
	place := map[string]int{}
	for i := range entries {
		e := &entries[i]
		if !j.honest(e) {
			continue // what it claims to be is not what a receipt would be of
		}
		signer, _ := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
		place[e.Claimed.String()] = i
		add(i, e.JWS, signer, e.Payload.SignedAt())
	}
	for _, jws := range j.b.Receipts {
		if i, found := place[string(jws.Payload)]; found {
			if p, trusted := j.addressee(&entries[i]); trusted {
				add(i, jws, p, jws.Header.IsAt)
			}
		}
	}
	if v, n := j.b.Verdict, len(entries)-1; v != nil && n >= 0 && j.honest(&entries[n]) && v.Verdict.EnvelopeHash == entries[n].Hash() && !v.Verdict.At.Before(j.newest.Add(-envelope.ClockSkew)) {
		if p, trusted := j.o.Trust.Find(entries[0].Payload.Transactions[0].PlatformHost); trusted {
			add(n, v.JWS, p, v.Verdict.At)
		}
	}
	return list
}
