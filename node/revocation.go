package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// revocation gets what can be told now of the certificates of k, a key of p. It waits for a
// network: never inside a transaction.
func (n *Node) revocation(ctx context.Context, p *identity.Platform, k *identity.Key) (identity.Evidence, error) {
	if n.cfg.Revocation == nil {
		return identity.Evidence{}, errors.New("this node asks no OCSP responder")
	}
	answers, err := n.cfg.Revocation(ctx, p.Questions(k))
	if err != nil {
		return identity.Evidence{}, err
	}
	return identity.Evidence{CheckedAt: n.cfg.Now(), Certificates: k.Certificates, Answers: answers}, nil
}

// knownOf is what the store holds of an entry that it has. Its standing was judged when it
// was accepted, and is not asked about again: what the trust entry says of the key since
// counts all the same.
func (r *row) knownOf() envelope.Known {
	return envelope.Known{Key: r.key, Since: fromMillis(r.storedAt), Judged: true}
}

// stands judges the certificates behind a signature of p that was verified, at the time at
// or, where that is open, at one of the times. What comes back is kept with the signature;
// nil where nothing had to be asked.
func (n *Node) stands(ctx context.Context, p *identity.Platform, j envelope.JWS, times ...time.Time) (*identity.Evidence, error) {
	var k *identity.Key
	var at time.Time
	var err error
	for _, at = range times {
		if k, err = j.VerifyKnown(p, at, envelope.Known{}); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	if len(p.Questions(k)) == 0 {
		if p.Mode == identity.ModeCA {
			return &identity.Evidence{CheckedAt: n.cfg.Now(), Certificates: k.Certificates}, nil
		}
		return nil, nil
	}
	ev, err := n.revocation(ctx, p, k)
	if err != nil {
		return nil, &envelope.SignatureError{Reason: envelope.RevocationUnknown, Err: err,
			Detail: fmt.Sprintf("whether the certificate of a key of %s is revoked is not known: %s", p.Domain, err)}
	}
	return &ev, envelope.CheckRevocation(p, k, at, time.Time{}, ev)
}

// answerStands is stands for a receipt or rejection of p that was made between from, when the
// envelope was signed, and now. Where it claims to be older than its question, our clock was
// ahead then, or whoever has a key of before dated it back: its own time counts for nothing,
// and the key must stand now. Refusing all of those would leave in doubt for ever what a node
// sealed whose clock was ahead.
func (n *Node) answerStands(ctx context.Context, p *identity.Platform, jws string, from time.Time) (*identity.Evidence, error) {
	j, err := envelope.ParseJWS(jws)
	if err != nil {
		return nil, err
	}
	now, iat := n.cfg.Now(), j.Header.IsAt
	if !iat.IsZero() && iat.Before(from.Truncate(time.Second).Add(-envelope.ClockSkew)) {
		if _, err := j.VerifyKnown(p, now, envelope.Known{}); err != nil {
			return nil, fmt.Errorf("it is dated %s, and the envelope that it answers %s: %w", iat.Format(time.RFC3339), from.UTC().Format(time.RFC3339), err)
		}
		iat, from = now, now
	}
	if !asksOf(p) {
		return nil, nil
	}
	if !iat.IsZero() && iat.Before(now) {
		return n.stands(ctx, p, j, iat)
	}
	return n.stands(ctx, p, j, now, from)
}

// ownPatience is how long the end of a transfer waits for our own authority.
const ownPatience = 5 * time.Second

// ownStanding asks our own authority about the key that signed an envelope of ours, and keeps
// the answer as its addressee does: our file about the bill is then as good as the other's for
// a reader who trusts the authority, also when that is gone. It is no condition of anything:
// without an answer there is none in the file.
func (n *Node) ownStanding(ctx context.Context, e *envelope.Entry) *identity.Evidence {
	self := n.Self()
	if !asksOf(self) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ownPatience)
	defer cancel()
	ev, err := n.stands(ctx, self, e.JWS, e.Payload.SignedAt())
	if err != nil {
		n.log.WarnContext(ctx, "no answer about our own signing key was kept", "err", err)
		return nil
	}
	return ev
}

// asksOf reports whether any signature of p can need more than its trust entry.
func asksOf(p *identity.Platform) bool {
	if p.Mode == identity.ModeCA {
		return true
	}
	for _, k := range p.Keys {
		if len(p.Questions(k)) > 0 {
			return true
		}
	}
	return false
}

// foresee refuses to seal a bill whose chain has a signature of a key that was reported
// stolen since, for a peer that has not seen it before: the peer could not believe it, and
// would answer so for ever, unsigned, and the bill would stay locked. Who signed later in
// the chain has seen it.
func (n *Node) foresee(rows []row, peer *identity.Platform) error {
	seen := -1
	for i, r := range rows {
		if r.signer == peer.Domain.String() {
			seen = i
		}
	}
	for i := range rows[seen+1:] {
		r := rows[seen+1+i]
		host, err := identity.ParseHost(r.signer)
		if err != nil {
			return err
		}
		p, found := n.Trust().Find(host)
		if !found {
			continue // the peer has its own trust entries
		}
		for _, k := range p.Keys {
			if k.Compromised() && k.Thumbprint() == [32]byte(r.key) {
				return refuse(NotPossible, TextCompromised, "entry %d of this bill's chain is signed with the key %q of %s, which was reported stolen; %s has not seen that entry before and could not believe it",
					seen+1+i, k.ID, p.Domain, peer.Domain)
			}
		}
	}
	return nil
}
