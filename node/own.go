package node

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A SigningKey is one of the keys that a node signs with, each for its time.
type SigningKey struct {
	Signer *identity.Signer
	// From is when this key takes over from those with an earlier From; zero: at once.
	// It is our own plan, and not the key's window: peers must have a new key before
	// anything is signed with it.
	From time.Time
}

// own is who the node is at a moment; it is swapped whole.
type own struct {
	self *identity.Platform
	keys []SigningKey // of a later turn first
}

// newOwn checks that every key is one of self's.
func newOwn(self *identity.Platform, keys []SigningKey) (*own, error) {
	o := &own{self: self, keys: slices.Clone(keys)}
	for i, k := range keys {
		if k.Signer == nil {
			return nil, errors.New("a signing key is nil")
		}
		published, found := self.Key(k.Signer.Key.ID)
		if !found {
			return nil, fmt.Errorf("the signing key %q is not in our own trust entry", k.Signer.Key.ID)
		}
		if published.Thumbprint() != k.Signer.Key.Thumbprint() {
			return nil, fmt.Errorf("our own trust entry has another key under the name of the signing key %q", k.Signer.Key.ID)
		}
		o.keys[i].From = k.From.UTC()
	}
	slices.SortStableFunc(o.keys, func(a, b SigningKey) int {
		if c := b.From.Compare(a.From); c != 0 {
			return c
		}
		return b.Signer.Key.NotBefore.Compare(a.Signer.Key.NotBefore)
	})
	return o, nil
}

// at is the key that signs what is dated at; nil if none may. Of those whose turn has
// come, the latest; one that has run out or was revoked gives way to the one before it,
// or, if there is no other, to one whose turn has not come: peers may have it already,
// and without it nothing moves at all.
func (o *own) at(at time.Time) *identity.Signer {
	var early *identity.Signer
	for _, k := range o.keys {
		published, _ := o.self.Key(k.Signer.Key.ID)
		switch {
		case !mayDate(published, at):
		case !k.From.After(at):
			return k.Signer
		default:
			early = k.Signer // at last the one that comes next
		}
	}
	return early
}

// mayDate reports whether a signature of k may be dated at. An envelope tells its time in
// milliseconds, everything else in seconds: the key must be valid at both.
func mayDate(k *identity.Key, at time.Time) bool {
	for _, t := range []time.Time{at.Truncate(time.Second), at.Truncate(time.Millisecond)} {
		if !k.ValidAt(t) || k.Compromised() || !k.Revoked.IsZero() && !t.Before(k.Revoked) {
			return false
		}
	}
	return true
}

// until is when, from now on, no key may sign for the first time: past it the node stops.
// It is now where none may sign now, and zero where that will never come.
func (o *own) until(now time.Time) time.Time {
	for at := now; ; {
		s := o.at(at)
		if s == nil {
			return at
		}
		k, _ := o.self.Key(s.Key.ID)
		end := k.NotAfter
		if !k.Revoked.IsZero() && (end.IsZero() || k.Revoked.Before(end)) {
			end = k.Revoked
		}
		if end.IsZero() {
			return time.Time{}
		}
		// One that is still valid a second later takes over, or this one's turn is over
		// before its end and the next one counts from there.
		next := end.Truncate(time.Second).Add(time.Second)
		if !next.After(at) {
			next = at.Add(time.Second)
		}
		at = next
	}
}

// signer is what signs a thing that is dated at. With every key out of its window nothing
// is signed, and nothing moves: a receipt that nobody may believe is worse than none.
func (n *Node) signer(at time.Time) (*identity.Signer, error) {
	if s := n.own.Load().at(at); s != nil {
		return s, nil
	}
	n.log.Error("none of our own signing keys is valid now; nothing is signed")
	e := refuse(Unavailable, TextUnavailable, "this node's signing key is not valid now, so it signs nothing; its operator must put a new one in place")
	e.Retry = 3600
	return nil, e
}

// Self is our own trust entry, with every key that we ever published.
func (n *Node) Self() *identity.Platform { return n.own.Load().self }

// SignsWith is the key that signs now, and the time at which no key of ours will be valid
// any more (zero: never; not after now: it has come). The key is nil where none is.
func (n *Node) SignsWith() (key *identity.Key, until time.Time) {
	o, now := n.own.Load(), n.cfg.Now()
	if s := o.at(now); s != nil {
		key, _ = o.self.Key(s.Key.ID)
	}
	return key, o.until(now)
}

// SignsAt says which of keys signs what is dated at, as a node with this entry does, and
// when, from then on, none may; see [Node.SignsWith].
func SignsAt(self *identity.Platform, keys []SigningKey, at time.Time) (key *identity.Key, until time.Time, err error) {
	o, err := newOwn(self, keys)
	if err != nil {
		return nil, time.Time{}, err
	}
	if s := o.at(at); s != nil {
		key, _ = self.Key(s.Key.ID)
	}
	return key, o.until(at), nil
}

// SetOwn replaces our own trust entry and the keys that sign, while the node runs: what is
// under way ends with the key that it began with, and what comes next is signed with the
// new ones. Keys that were published before stay in the entry, also where self lacks them;
// a revocation is never taken back. An error changes nothing.
func (n *Node) SetOwn(ctx context.Context, actor string, self *identity.Platform, keys []SigningKey) error {
	if self.Domain != n.Domain() {
		return fmt.Errorf("the data folder now belongs to %s, and this node is %s", self.Domain, n.Domain())
	}
	n.peers.Lock()
	defer n.peers.Unlock()
	return n.setOwn(ctx, actor, self, keys)
}

func (n *Node) setOwn(ctx context.Context, actor string, self *identity.Platform, keys []SigningKey) error {
	var next *own
	var trust *identity.Trust
	err := n.store.update(ctx, func(t *tx) error {
		var before string
		if err := t.QueryRowContext(t.ctx, "SELECT entry FROM node").Scan(&before); err != nil {
			return err
		}
		merged, err := inherit(before, self)
		if err != nil {
			return err
		}
		if next, err = newOwn(merged, keys); err != nil {
			return err
		}
		if trust, err = n.trustWith(t.ctx, t, merged); err != nil {
			return err
		}
		text, err := merged.JSON()
		if err != nil || string(text) == before {
			return err
		}
		if err := t.exec("UPDATE node SET entry = ? WHERE id = 1", string(text)); err != nil {
			return err
		}
		return t.audit(actor, "self.change", envelope.Hash{}, envelope.HashOf(text).String())
	})
	if err != nil {
		return err
	}
	// The trust first: what a new key signs must be one of ours at every moment.
	n.trust.Store(trust)
	n.verified.epoch(trust)
	n.own.Store(next)
	return nil
}

// inherit gives self what our entry before had and must keep: keys and their revocations.
func inherit(before string, self *identity.Platform) (*identity.Platform, error) {
	if before == "" {
		return self, nil
	}
	ps, err := identity.ParseTrust([]byte(before))
	if err != nil {
		return nil, fmt.Errorf("reading our own former trust entry: %w", err)
	}
	old, merged := ps[0], *self
	merged.Keys = slices.Clone(self.Keys)
	for _, k := range old.Keys {
		i := slices.IndexFunc(merged.Keys, func(o *identity.Key) bool { return o.Thumbprint() == k.Thumbprint() })
		if i < 0 {
			if other, taken := merged.Key(k.ID); taken {
				return nil, fmt.Errorf("the key %q was another one before (%s, now %s); older chains name it: give the new one a name of its own",
					k.ID, k.Fingerprint(), other.Fingerprint())
			}
			merged.Keys = append(merged.Keys, k)
			continue
		}
		if merged.Keys[i].ID != k.ID {
			return nil, fmt.Errorf("our key %q was published as %q, and older chains name it so", merged.Keys[i].ID, k.ID)
		}
		if !k.Revoked.IsZero() && (merged.Keys[i].Revoked.IsZero() || k.Compromised() && !merged.Keys[i].Compromised()) {
			held := *merged.Keys[i]
			held.Revoked, held.Reason = k.Revoked, k.Reason
			merged.Keys[i] = &held
		}
	}
	for _, h := range old.Hosts {
		if !merged.Owns(h) {
			return nil, fmt.Errorf("hosts: the host %s was published as ours, and older chains name it; keep it", h)
		}
	}
	return &merged, nil
}
