package node

import (
	"bytes"
	"context"
	"slices"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// vouch asks what is told of our own certificates, for the signatures in the file that are
// ours and have none that was kept when they were made: whoever trusts us by our authority
// cannot judge them without. An answer by which the signature does not stand is left out, like
// one that does not come; the file then says less, and nothing false. It waits for a network:
// never inside a transaction.
func (n *Node) vouch(ctx context.Context, b *envelope.Bundle) {
	self := n.Self()
	if n.cfg.Revocation == nil || !slices.ContainsFunc(self.Keys, issuedByAnother) {
		return
	}
	kept := map[envelope.Hash]bool{}
	for _, c := range b.Checks {
		kept[c.JWS] = kept[c.JWS] || c.Platform == self.Domain && len(c.OCSP) > 0
	}
	told := map[[32]byte]*ownAnswers{}
	look := func(raw string, at time.Time) {
		if kept[envelope.HashOf([]byte(raw))] {
			return
		}
		j, k, at := ownSignature(self, raw, at)
		if k == nil {
			return
		}
		own, asked := told[k.Thumbprint()]
		if !asked {
			own = n.askOfOwn(ctx, self, k, at)
			told[k.Thumbprint()] = own
		}
		if own == nil || own.evidence.CheckedAt.Before(at.Add(-identity.OCSPSkew)) ||
			envelope.CheckRevocation(own.held, own.key, at, time.Time{}, own.evidence) != nil {
			return
		}
		addCheck(b, j, n.Domain(), k, &own.evidence)
	}
	for i := range b.Block.Entries {
		look(b.Block.Entries[i].JWS.Raw, b.Block.Entries[i].Payload.SignedAt())
	}
	for _, s := range b.Steps {
		look(s.JWS.Raw, time.Time{})
	}
	for _, r := range b.Receipts {
		look(r.Raw, time.Time{})
	}
	for _, r := range b.Rejections {
		look(r.JWS.Raw, time.Time{})
	}
	if b.Verdict != nil {
		look(b.Verdict.JWS.Raw, time.Time{})
	}
}

// issuedByAnother: somebody can be asked about the key's certificate.
func issuedByAnother(k *identity.Key) bool {
	return len(k.Certificates) > 0 && !bytes.Equal(k.Certificates[0].RawSubject, k.Certificates[0].RawIssuer)
}

// ownSignature reads a JWS; k is nil unless a key of ours made it. What we sign beside envelopes
// says by its iat when.
func ownSignature(self *identity.Platform, raw string, at time.Time) (j envelope.JWS, k *identity.Key, signed time.Time) {
	j, err := envelope.ParseJWS(raw)
	if err != nil {
		return j, nil, at
	}
	if at.IsZero() {
		at = j.Header.IsAt
	}
	k, found := self.Key(j.Header.Kid)
	if !found || !k.Fits(j.Header.Alg) {
		return j, nil, at
	}
	pinned := *self // by the key itself, whoever vouches for it
	pinned.Mode = identity.ModePinned
	if _, err := j.VerifyKnown(&pinned, at, envelope.Known{Since: time.Unix(0, 0)}); err != nil {
		return j, nil, at
	}
	return j, k, at
}

// ownAnswers are what was told of one key of ours, asked as those do who hold us so.
type ownAnswers struct {
	held     *identity.Platform
	key      *identity.Key
	evidence identity.Evidence
}

// askOfOwn asks about one key of ours; nil where there is nothing to ask, or no answer. Peers
// may hold us by our authority or by this key: the questions are those of whom it takes more to
// convince.
func (n *Node) askOfOwn(ctx context.Context, self *identity.Platform, k *identity.Key, at time.Time) *ownAnswers {
	held := *self
	held.Mode = identity.ModeCA
	if certified, err := held.Certify(k, at, nil); err == nil {
		k = certified
	} else {
		held.Mode = identity.ModePinned
	}
	if len(held.Questions(k)) == 0 {
		return nil
	}
	ev, err := n.revocation(ctx, &held, k)
	if err != nil || len(ev.Answers) == 0 {
		return nil
	}
	return &ownAnswers{&held, k, ev}
}

func addCheck(b *envelope.Bundle, j envelope.JWS, us identity.Host, k *identity.Key, ev *identity.Evidence) {
	c := envelope.Check{JWS: envelope.HashOf([]byte(j.Raw)), At: ev.CheckedAt, Platform: us, Key: k.Thumbprint()}
	for _, cert := range ev.Certificates {
		c.Certificates = append(c.Certificates, addBlob(&b.Certificates, cert.Raw))
	}
	for _, der := range ev.Answers {
		c.OCSP = append(c.OCSP, addBlob(&b.OCSP, der))
	}
	b.Checks = append(b.Checks, c)
}

// addBlob puts a certificate or answer into the list, once.
func addBlob(list *[][]byte, der []byte) envelope.Hash {
	sum := envelope.HashOf(der)
	for _, have := range *list {
		if envelope.HashOf(have) == sum {
			return sum
		}
	}
	*list = append(*list, der)
	return sum
}
