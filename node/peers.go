package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// loadTrust reads the trust entries of the database and swaps them in whole, so that no
// request sees half a change.
func (n *Node) loadTrust(ctx context.Context) error {
	trust, err := n.trustWith(ctx, n.store.read, n.Self())
	if err == nil {
		n.trust.Store(trust)
		n.verified.epoch(trust)
	}
	return err
}

// trustWith is the trust entries of the database beside ours.
func (n *Node) trustWith(ctx context.Context, q querier, self *identity.Platform) (*identity.Trust, error) {
	all := []*identity.Platform{self}
	err := each(ctx, q, "SELECT entry FROM peers WHERE removed_at IS NULL", nil, func(scan func(...any) error) error {
		var entry string
		if err := scan(&entry); err != nil {
			return err
		}
		ps, err := identity.ParseTrust([]byte(entry))
		all = append(all, ps...)
		return err
	})
	if err == nil {
		var trust *identity.Trust
		if trust, err = identity.NewTrust(all...); err == nil {
			return trust, nil
		}
	}
	return nil, fmt.Errorf("reading the trust entries: %w", err)
}

// AddPeers adds or replaces trust entries, all or none. A key of an entry that is
// replaced must not vanish, since chains signed with it must be checked for years; a
// host neither, since older envelopes name it. Let a key end by its notAfter, or mark
// it revoked.
func (n *Node) AddPeers(ctx context.Context, actor string, ps []*identity.Platform) error {
	// Two entries added at once must see each other: if they exclude each other and both
	// were stored, the node could not start any more.
	n.peers.Lock()
	defer n.peers.Unlock()
	all := []*identity.Platform{}
	fresh := map[identity.Host]bool{}
	for _, p := range ps {
		if n.isSelf(p.Domain) {
			return refuse(Malformed, "malformed", "%s is this node itself", p.Domain)
		}
		if fresh[p.Domain] {
			return refuse(Malformed, "malformed", "%s is there twice", p.Domain)
		}
		fresh[p.Domain] = true
		if err := n.keepsFormer(ctx, p); err != nil {
			return err
		}
		all = append(all, p)
	}
	for _, p := range n.Trust().Platforms() {
		if !fresh[p.Domain] {
			all = append(all, p)
		}
	}
	// The names and keys of a removed peer stay its own: bills that went to it would go
	// on with whoever took them over.
	former, err := n.removedPeers(ctx)
	if err != nil {
		return busy(err)
	}
	for _, p := range former {
		if !fresh[p.Domain] {
			all = append(all, p)
		}
	}
	if _, err := identity.NewTrust(all...); err != nil {
		return refuse(Malformed, "malformed", "%s", err)
	}
	err = n.store.update(ctx, func(t *tx) error {
		for _, p := range ps {
			entry, err := p.JSON()
			if err != nil {
				return err
			}
			if err := t.exec(`INSERT INTO peers (domain, entry, added_at) VALUES (?, ?, ?)
			  ON CONFLICT (domain) DO UPDATE SET entry = excluded.entry, added_at = excluded.added_at, removed_at = NULL`,
				p.Domain.String(), string(entry), millis(t.now)); err != nil {
				return err
			}
			if err := t.audit(actor, "peer.add", envelope.Hash{}, p.Domain.String()+" "+envelope.HashOf(entry).String()); err != nil {
				return err
			}
		}
		return nil
	})
	return n.reloadTrust(ctx, err)
}

// reloadTrust ends a change of the trust entries: also a failed one, since it may have
// happened.
func (n *Node) reloadTrust(ctx context.Context, changed error) error {
	if err := n.loadTrust(context.WithoutCancel(ctx)); changed == nil {
		return err
	}
	return changed
}

// removedPeers are the entries that were taken away.
func (n *Node) removedPeers(ctx context.Context) ([]*identity.Platform, error) {
	rows, err := n.store.read.QueryContext(ctx, "SELECT entry FROM peers WHERE removed_at IS NOT NULL")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*identity.Platform
	for rows.Next() {
		var entry string
		if err := rows.Scan(&entry); err != nil {
			return nil, err
		}
		ps, err := identity.ParseTrust([]byte(entry))
		if err != nil {
			return nil, err
		}
		list = append(list, ps...)
	}
	return list, rows.Err()
}

// keepsFormer is keeps for the entry that p replaces, a removed one too.
func (n *Node) keepsFormer(ctx context.Context, p *identity.Platform) error {
	var entry string
	err := n.store.read.QueryRowContext(ctx, "SELECT entry FROM peers WHERE domain = ?", p.Domain.String()).Scan(&entry)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return busy(err)
	}
	former, err := identity.ParseTrust([]byte(entry))
	if err != nil {
		return fmt.Errorf("reading the former entry of %s: %w", p.Domain, err)
	}
	if err := keeps(former[0], p); err != nil {
		return err
	}
	return n.keepsUsed(ctx, p)
}

// keepsUsed refuses a pinned entry without a key that has signed what is stored here: one
// that an authority vouched for, and that no entry listed.
func (n *Node) keepsUsed(ctx context.Context, p *identity.Platform) error {
	if p.Mode == identity.ModeCA {
		return nil // its anchors are all there, by keeps
	}
	listed := map[[32]byte]bool{}
	for _, k := range p.Keys {
		listed[k.Thumbprint()] = true
	}
	rows, err := n.store.read.QueryContext(ctx, "SELECT thumbprint FROM evidence_keys WHERE platform = ?", p.Domain.String())
	if err != nil {
		return busy(err)
	}
	defer rows.Close()
	for rows.Next() {
		var key envelope.Hash
		if err := rows.Scan(sqlHash{&key}); err != nil {
			return busy(err)
		}
		if !listed[key] {
			return refuse(Malformed, "malformed", "the new entry of %s pins keys and lacks the key %s, which an authority vouched for and which has signed bills here; list it", p.Domain, identity.Fingerprint(key))
		}
	}
	return rows.Err()
}

// keeps refuses an entry that would drop what older signatures need.
func keeps(old, p *identity.Platform) error {
	names := map[[32]byte]string{}
	for _, k := range p.Keys {
		names[k.Thumbprint()] = k.ID
	}
	for _, k := range old.Keys {
		id, found := names[k.Thumbprint()]
		if !found {
			return refuse(Malformed, "malformed", "the new entry of %s lacks the key %q, with which older chains are checked; keep it and give it a notAfter, or mark it revoked", p.Domain, k.ID)
		}
		// A key without a name may get one; signatures with its name could not be checked
		// under another.
		if k.ID != "" && id != k.ID {
			return refuse(Malformed, "malformed", "the new entry of %s calls the key %q by another kid, %q; older chains name it", p.Domain, k.ID, id)
		}
	}
	for _, k := range p.Keys {
		if err := keepsRevoked(old, p, k); err != nil {
			return err
		}
	}
	if old.Mode == identity.ModeCA && p.Mode == identity.ModeCA {
		for _, c := range old.Anchors {
			if !slices.ContainsFunc(p.Anchors, c.Equal) {
				return refuse(Malformed, "malformed", "the new entry of %s lacks the anchor %q, to which older signatures lead; keep it", p.Domain, c.Subject.CommonName)
			}
		}
	}
	for _, h := range old.Hosts {
		if !p.Owns(h) {
			return refuse(Malformed, "malformed", "the new entry of %s lacks the host %s, which older chains name; keep it", p.Domain, h)
		}
	}
	return nil
}

// keepsRevoked refuses to take back what was said of a key: whoever can hand us an entry
// would bring a stolen key back to life with it. A revocation may become worse or earlier.
func keepsRevoked(old, p *identity.Platform, k *identity.Key) error {
	for _, o := range old.Keys {
		if o.Thumbprint() != k.Thumbprint() || o.Revoked.IsZero() {
			continue
		}
		switch {
		case k.Revoked.IsZero():
			return refuse(Malformed, "malformed", "the key %q of %s was revoked at %s, and the new entry does not say so; keep the mark", o.ID, p.Domain, o.Revoked.Format(time.RFC3339))
		case k.Revoked.After(o.Revoked):
			return refuse(Malformed, "malformed", "the key %q of %s was revoked at %s, and the new entry says later", o.ID, p.Domain, o.Revoked.Format(time.RFC3339))
		case o.Compromised() && !k.Compromised():
			return refuse(Malformed, "malformed", "the key %q of %s was reported stolen, and the new entry does not say so; keep the reason", o.ID, p.Domain)
		}
	}
	return nil
}

// RemovePeer takes a peer's trust entry away. Nothing of it is accepted any more, and
// bills with its signatures in their chain are not accepted from others either. A
// peer with a transfer still open is not removed: its verdict could not be checked.
func (n *Node) RemovePeer(ctx context.Context, actor string, domain identity.Host) error {
	n.peers.Lock()
	defer n.peers.Unlock()
	err := n.store.update(ctx, func(t *tx) error {
		var open int
		if err := t.QueryRowContext(t.ctx, `SELECT count(*) FROM transfers WHERE peer = ? AND state IN ('prepared', 'sending', 'disputed')`,
			domain.String()).Scan(&open); err != nil {
			return err
		}
		if open > 0 {
			return refuse(Conflict, TextLocked, "%d transfers to %s wait for its verdict; settle them first", open, domain)
		}
		if err := t.execOne("UPDATE peers SET removed_at = ? WHERE domain = ? AND removed_at IS NULL", millis(t.now), domain.String()); err != nil {
			return refuse(NotFound, "notFound", "there is no peer %s", domain)
		}
		return t.audit(actor, "peer.remove", envelope.Hash{}, domain.String())
	})
	return n.reloadTrust(ctx, err)
}

// stillPeer refuses what was begun for a peer that has been removed since.
func (t *tx) stillPeer(domain identity.Host) error {
	var found int
	if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM peers WHERE domain = ? AND removed_at IS NULL", domain.String()).Scan(&found); err != nil {
		return err
	}
	if found == 0 {
		return refuse(NotPossible, TextNotTrusted, "%s is no longer a peer", domain)
	}
	return nil
}
