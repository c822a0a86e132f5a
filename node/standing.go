package node

import (
	"context"
	"time"

	"eblnode/identity"
)

// Standing asks now, as for a signature of this moment, whether the certificates behind a
// key of p were revoked. asked is false where nobody is named who could tell; then the
// entry alone speaks, and err is nil. The error may be a *identity.RevocationError.
func (n *Node) Standing(ctx context.Context, p *identity.Platform, k *identity.Key) (asked bool, err error) {
	if p.Mode == identity.ModeCA {
		if k, err = p.Certify(k, n.cfg.Now(), nil); err != nil {
			return false, err
		}
	}
	if len(p.Questions(k)) == 0 {
		return false, nil
	}
	ev, err := n.revocation(ctx, p, k)
	if err != nil {
		return true, err
	}
	return true, p.CheckRevocation(k, ev.CheckedAt, time.Time{}, ev)
}
