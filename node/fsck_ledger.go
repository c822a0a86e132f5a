package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A ledger is against what stored signatures are checked: everybody whose signatures
// counted when they were stored. What was reported of a key since (revoked, stolen)
// takes nothing from what the store held before; a key's window is the one of its
// evidence.
type ledger struct {
	domain identity.Host
	us     *identity.Platform
	trust  *identity.Trust
	// before reads hashes by the quirks of the evidence, and trust by those of the
	// entries of now: an operator may have changed them between two envelopes.
	before   *identity.Trust
	evidence map[[32]byte]bool // thumbprints in evidence_keys
	now      time.Time
}

type storedKey struct {
	thumbprint envelope.Hash
	platform   string
	entry      string
}

type storedPeer struct {
	domain  string
	entry   string
	removed bool
}

// ledger reads trust entries and evidence; what is wrong with them goes to r.
func (n *Node) ledger(ctx context.Context, r *FsckReport) (*ledger, error) {
	var keys []storedKey
	var peers []storedPeer
	var domain string
	err := n.store.snapshot(ctx, func(q querier) error {
		if err := q.QueryRowContext(ctx, "SELECT domain FROM node").Scan(&domain); err != nil {
			return err
		}
		err := each(ctx, q, "SELECT domain, entry, removed_at IS NOT NULL FROM peers ORDER BY removed_at IS NOT NULL, domain", nil, func(scan func(...any) error) error {
			var p storedPeer
			err := scan(&p.domain, &p.entry, &p.removed)
			peers = append(peers, p)
			return err
		})
		if err != nil {
			return err
		}
		return each(ctx, q, "SELECT thumbprint, platform, entry FROM evidence_keys", nil, func(scan func(...any) error) error {
			var k storedKey
			err := scan(sqlHash{&k.thumbprint}, &k.platform, &k.entry)
			keys = append(keys, k)
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	if domain != n.Domain().String() {
		r.add(Finding{Table: "node", What: fmt.Sprintf("domain: the database says that it belongs to %s", domain), Cure: cureEvidence})
	}
	return n.newLedger(peers, keys, r), nil
}

func (n *Node) newLedger(peers []storedPeer, keys []storedKey, r *FsckReport) *ledger {
	l := &ledger{domain: n.Domain(), evidence: map[[32]byte]bool{}, now: n.cfg.Now()}
	current := []*identity.Platform{forFsck(n.Self())}
	for _, p := range peers {
		ps, err := identity.ParseTrust([]byte(p.entry))
		if err != nil || len(ps) != 1 || ps[0].Domain.String() != p.domain {
			r.add(Finding{Table: "peers", Row: p.domain, What: fmt.Sprintf("entry: it is not the trust entry of that platform (%v)", err), Cure: cureTrust})
			continue
		}
		current = append(current, forFsck(ps[0]))
	}
	former := map[identity.Host]*identity.Platform{}
	for _, p := range current {
		former[p.Domain] = forFsck(p)
	}
	for _, k := range keys {
		l.evidence[k.thumbprint] = true
		ps, err := identity.ParseTrust([]byte(k.entry))
		bad := func(format string, args ...any) {
			r.add(Finding{Table: "evidence_keys", Row: "key " + k.thumbprint.String(), What: fmt.Sprintf(format, args...), Cure: cureEvidence})
		}
		switch {
		case err != nil || len(ps) != 1 || len(ps[0].Keys) != 1:
			bad("entry: it is no trust entry with one key (%v)", err)
			continue
		case ps[0].Keys[0].Thumbprint() != k.thumbprint:
			bad("thumbprint: the entry holds another key, %x", ps[0].Keys[0].Thumbprint())
			continue
		case ps[0].Domain.String() != k.platform:
			bad("platform: the row says %s, the entry %s", k.platform, ps[0].Domain)
			continue
		}
		p := former[ps[0].Domain]
		if p == nil || !replaceKey(p, ps[0].Keys[0]) && !brought(p, ps[0]) {
			// A trust entry never loses a key, so this one was put here by hand.
			bad("the trust entry of %s has no such key, and it never loses one", ps[0].Domain)
			if ps[0].Domain == l.domain {
				r.Findings[len(r.Findings)-1].Cure = cureKey
			}
			continue
		}
		p.Quirks = ps[0].Quirks
		widen(p, ps[0])
	}
	l.join(current, former, r)
	return l
}

// forFsck is a copy of p with what checking stored signatures needs of it.
func forFsck(p *identity.Platform) *identity.Platform {
	c := *p
	c.TLS = identity.TLSIdentity{}
	c.Hosts, c.Keys = slices.Clone(p.Hosts), nil
	for _, k := range p.Keys {
		held := *k
		held.Revoked, held.Reason = time.Time{}, ""
		c.Keys = append(c.Keys, &held)
	}
	return &c
}

// replaceKey puts k, as it was trusted when it was used, in the place of the same key.
func replaceKey(p *identity.Platform, k *identity.Key) bool {
	for i := range p.Keys {
		if p.Keys[i].Thumbprint() == k.Thumbprint() {
			held := *k
			held.ID = p.Keys[i].ID // it may have got a name since
			held.Revoked, held.Reason = time.Time{}, ""
			p.Keys[i] = &held
			return true
		}
	}
	return false
}

// brought reports whether the key of the older entry came with its signatures and was
// trusted by an authority, as it still would be for its time.
func brought(p, older *identity.Platform) bool {
	if p.Mode != identity.ModeCA || older.Mode != identity.ModeCA {
		return false
	}
	k := older.Keys[0]
	_, begin := p.Certify(k, k.NotBefore, nil)
	_, end := p.Certify(k, k.NotAfter, nil)
	return begin == nil || end == nil
}

// widen lets p issue what it could issue by an older entry too.
func widen(p, older *identity.Platform) {
	switch {
	case !older.Issuer:
	case !p.Issuer:
		p.Issuer, p.Carriers = true, older.Carriers
	case len(older.Carriers) == 0:
		p.Carriers = nil
	case len(p.Carriers) > 0:
		p.Carriers = slices.Concat(p.Carriers, older.Carriers)
	}
}

// join makes the trust sets. A peer that was removed may have left a host to another
// one; then its entries cannot be told apart, and it is left out.
func (l *ledger) join(current []*identity.Platform, former map[identity.Host]*identity.Platform, r *FsckReport) {
	var now, then []*identity.Platform
	for _, p := range current {
		f := former[p.Domain]
		withKeys := *p
		withKeys.Keys = f.Keys
		trust, err := identity.NewTrust(append(slices.Clone(now), &withKeys)...)
		if err != nil {
			r.add(Finding{Table: "peers", Row: p.Domain.String(), What: "entry: it cannot stand beside the others: " + err.Error(), Cure: cureTrust})
			continue
		}
		now, l.trust = append(now, &withKeys), trust
		then = append(then, f)
		if p.Domain == l.domain {
			l.us = &withKeys
		}
	}
	// The same hosts and keys as above, so it cannot fail; without it there is one reading.
	if trust, err := identity.NewTrust(then...); err == nil {
		l.before = trust
	} else {
		l.before = l.trust
	}
}
