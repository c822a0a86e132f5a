package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// SignToken signs claims as a token of that typ with the key that signs envelopes now. A
// client's assertion (envelope.TypAssertion) is signed with ES256 or PS256 and with
// nothing else (FAPI 2.0); a key for which neither fits is an error.
func (n *Node) SignToken(typ string, claims map[string]any) (string, error) {
	s, err := n.signer(n.Now())
	if err != nil {
		return "", err
	}
	if typ == envelope.TypAssertion {
		if s, err = assertionSigner(s); err != nil {
			return "", err
		}
	}
	return envelope.SignJWT(typ, claims, s)
}

func assertionSigner(s *identity.Signer) (*identity.Signer, error) {
	switch {
	case s.Alg() == identity.ES256 || s.Alg() == identity.PS256:
		return s, nil
	case s.Key.Fits(identity.PS256): // an RSA key that signs envelopes in another way
		return identity.NewSigner(s.Key, identity.PS256, s.Private())
	}
	return nil, fmt.Errorf("the signing key %q is for %s; access tokens are asked for with ES256 or PS256", s.Key.ID, s.Alg())
}

// Spend uses up a token that may be used once: fresh is true for one caller alone, also
// among many at once, and false for all others until the time given, also after a
// restart. owner is whose token it is, and id its name among the owner's. Call it once
// everything else about the token is verified: what is spent stays spent.
func (n *Node) Spend(ctx context.Context, owner, id string, until time.Time) (fresh bool, err error) {
	err = n.store.update(ctx, func(t *tx) error {
		fresh, err = t.spend(owner, id, until)
		return err
	})
	if err != nil {
		return false, busy(err)
	}
	return fresh, nil
}

// keptAfter is how much longer than its token a row stays: a clock that is set back must
// not make a token good again.
const keptAfter = time.Hour

func (t *tx) spend(owner, id string, until time.Time) (fresh bool, err error) {
	// More than are added, so that the table shrinks; few, so that nobody pays for all.
	if err := t.exec("DELETE FROM spent_tokens WHERE (owner, id) IN (SELECT owner, id FROM spent_tokens WHERE until < ? LIMIT 10)",
		millis(t.now.Add(-keptAfter))); err != nil {
		return false, err
	}
	sum := envelope.HashOf([]byte(id))
	res, err := t.ExecContext(t.ctx, "INSERT INTO spent_tokens (owner, id, until) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", owner, sum[:], millis(until))
	if err != nil {
		return false, err
	}
	rows, err := res.RowsAffected()
	return rows == 1, err
}

// Believe verifies a token that p signed just now, as the newest signature of a chain is
// verified: under p's trust entry, and with its certificate's revocation where that is asked
// for. The error is an *envelope.SignatureError, or an *Error where it cannot be told now.
func (n *Node) Believe(ctx context.Context, p *identity.Platform, j envelope.JWS) error {
	now := n.cfg.Now()
	if _, err := j.Verify(p, now, false); err != nil {
		return err
	}
	_, err := n.stands(ctx, p, j, now)
	if sig, ok := errors.AsType[*envelope.SignatureError](err); ok && sig.Reason == envelope.RevocationUnknown {
		return busy(err)
	}
	return err
}
