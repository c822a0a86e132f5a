package node

import (
	"context"
	"encoding/json"
	"fmt"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// ForkEvidence is what shows a stranger who signed two continuations of a bill: the chain
// that we know, and each other one that was offered, as they came; the signed rejections
// that we have of any of it; the trust entries that we hold. NotFound where there is no
// other chain.
func (n *Node) ForkEvidence(ctx context.Context, document envelope.Hash) (*chain.ForkProof, error) {
	b, err := loadBill(ctx, n.store.read, document)
	if err != nil {
		return nil, busy(err)
	}
	none := refuse(NotFound, "notFound", "no other chain of this bill was offered here")
	if b == nil {
		return nil, none
	}
	f := &forkFile{node: n, bill: b, parties: map[identity.Host]bool{}}
	if err := f.load(ctx); err != nil {
		return nil, busy(err)
	}
	if len(f.branches) == 0 {
		return nil, none
	}
	p := &chain.ForkProof{Format: chain.ForkFormat, DocumentHash: document, Rejections: []string{}, Platforms: []json.RawMessage{}}
	p.Chains = append(p.Chains, chain.ForkChain{Entries: spelled(f.ours)})
	for _, leaf := range f.branches {
		if leaf.continued || len(p.Chains) >= chain.MaxForkChains {
			continue
		}
		if path := f.path(leaf); path != nil {
			p.Chains = append(p.Chains, chain.ForkChain{From: leaf.peer, Entries: spelled(path)})
		}
	}
	if p.Rejections, err = f.rejections(ctx); err != nil {
		return nil, busy(err)
	}
	for _, t := range n.Trust().Platforms() {
		if !f.parties[t.Domain] {
			continue
		}
		entry, err := t.JSON()
		if err != nil {
			return nil, fmt.Errorf("writing the trust entry of %s: %w", t.Domain, err)
		}
		p.Platforms = append(p.Platforms, entry)
	}
	return p, nil
}

// forkFile is what the database has of a forked bill.
type forkFile struct {
	node     *Node
	bill     *bill
	ours     []envelope.Entry
	branches []*forkBranch
	parties  map[identity.Host]bool // who signed or was addressed
}

// A forkBranch is one stored entry of another chain.
type forkBranch struct {
	envelope.Entry
	idx       int
	peer      string
	before    *forkBranch // nil where it follows an entry of ours
	continued bool
}

func spelled(entries []envelope.Entry) []string {
	list := make([]string, 0, len(entries))
	for i := range entries {
		list = append(list, entries[i].JWS.Raw)
	}
	return list
}

// entry parses a stored entry, and notes whom it concerns. Its Claimed is its hash on the
// wire, as its signer reads it.
func (f *forkFile) entry(jws string) (envelope.Entry, error) {
	e, err := envelope.ParseEntry(jws, envelope.Limits{Transactions: maxEntries})
	if err != nil {
		return e, err
	}
	trust := f.node.Trust()
	if p, found := trust.Find(e.Payload.Transactions[0].PlatformHost); found {
		e.Claimed = e.WireHash(p)
		f.parties[p.Domain] = true
	}
	last := e.Payload.Transactions[len(e.Payload.Transactions)-1]
	if p, found := trust.Find(last.Transferee.ID.Host); found {
		f.parties[p.Domain] = true
	}
	return e, nil
}

func (f *forkFile) load(ctx context.Context) error {
	q := f.node.store.read
	rows, err := loadEntries(ctx, q, f.bill.id)
	if err != nil {
		return err
	}
	jws := make([]string, 0, len(rows)+1)
	for _, r := range rows {
		jws = append(jws, r.jws)
	}
	// An envelope of ours that has left counts as our head.
	open, err := openTransfer(ctx, q, f.bill.id)
	if err != nil {
		return err
	}
	if open != nil && open.state != Prepared {
		jws = append(jws, open.jws)
	}
	for _, s := range jws {
		e, err := f.entry(s)
		if err != nil {
			return err
		}
		f.ours = append(f.ours, e)
	}
	return f.loadBranches(ctx)
}

func (f *forkFile) loadBranches(ctx context.Context) error {
	rows, err := f.node.store.read.QueryContext(ctx, "SELECT idx, peer, jws FROM branches WHERE bill = ? ORDER BY idx, id", f.bill.id)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		b := &forkBranch{}
		var jws string
		if err := rows.Scan(&b.idx, &b.peer, &jws); err != nil {
			return err
		}
		if b.Entry, err = f.entry(jws); err != nil {
			return err
		}
		for _, o := range f.branches {
			if o.idx == b.idx-1 && o.Claimed == b.Payload.Previous {
				b.before, o.continued = o, true
				break
			}
		}
		f.branches = append(f.branches, b)
	}
	return rows.Err()
}

// path is the chain that ends with leaf; nil where its beginning is not ours.
func (f *forkFile) path(leaf *forkBranch) []envelope.Entry {
	var path []envelope.Entry
	first := leaf
	for b := leaf; b != nil; b = b.before {
		path = append([]envelope.Entry{b.Entry}, path...)
		first = b
	}
	if first.idx > len(f.ours) || first.idx > 0 && f.ours[first.idx-1].Claimed != first.Payload.Previous {
		return nil
	}
	return append(append([]envelope.Entry{}, f.ours[:first.idx]...), path...)
}

// rejections are those that we signed or were sent, of any entry of any of the chains.
func (f *forkFile) rejections(ctx context.Context) ([]string, error) {
	list := []string{}
	read := func(query string, args ...any) error {
		rows, err := f.node.store.read.QueryContext(ctx, query, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var jws string
			if err := rows.Scan(&jws); err != nil {
				return err
			}
			list = append(list, jws)
		}
		return rows.Err()
	}
	if err := read("SELECT verdict FROM transfers WHERE bill = ? AND state = 'rejected' AND verdict IS NOT NULL ORDER BY seq", f.bill.id); err != nil {
		return nil, err
	}
	entries := append([]envelope.Entry{}, f.ours...)
	for _, b := range f.branches {
		entries = append(entries, b.Entry)
	}
	for i := range entries {
		hash := entries[i].Hash()
		if err := read("SELECT rejection FROM rejections WHERE envelope_hash = ? AND code <> 'DISE' ORDER BY id", hash[:]); err != nil {
			return nil, err
		}
	}
	return list, nil
}
