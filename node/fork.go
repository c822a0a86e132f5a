package node

import (
	"cmp"
	"context"
	"slices"

	"eblnode/envelope"
	"eblnode/identity"
)

// ForkEvidence is what shows a stranger who signed two continuations of a bill: its bundle
// (docs/BUNDLE.md). NotFound where no other chain was offered.
func (n *Node) ForkEvidence(ctx context.Context, document envelope.Hash) (*envelope.Bundle, error) {
	b, err := loadBill(ctx, n.store.read, document)
	if err != nil {
		return nil, busy(err)
	}
	none := refuse(NotFound, "notFound", "no other chain of this bill was offered here")
	if b == nil {
		return nil, none
	}
	out, err := n.bundle(ctx, b, bundleOrder{selection: envelope.SelectFork})
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(out.Branches, func(br envelope.Branch) bool { return br.From != "" }) {
		return nil, none
	}
	return out, nil
}

// forkFile is what the database has of a forked bill.
type forkFile struct {
	node     *Node
	q        querier
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

// entry parses a stored entry, and notes whom it concerns. Its Claimed is its hash on the
// wire, as its signer reads it.
func (f *forkFile) entry(jws string) (envelope.Entry, error) {
	e, err := envelope.ParseEntry(jws, anyLength)
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

func (f *forkFile) loadBranches(ctx context.Context) error {
	rows, err := f.q.QueryContext(ctx, "SELECT idx, peer, jws FROM branches WHERE bill = ? ORDER BY idx, id", f.bill.id)
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

// first is where the branch that ends with b begins.
func (b *forkBranch) first() *forkBranch {
	for b.before != nil {
		b = b.before
	}
	return b
}

// leaves are the last entries of the branches: of each place where the chain was left, and each
// peer that offered it, one before the second of any. A file holds 63, and who signs more than
// that is not to push out what proves another.
func (f *forkFile) leaves() []*forkBranch {
	type start struct {
		idx  int
		peer string
	}
	seen, turn := map[start]int{}, map[*forkBranch]int{}
	var list []*forkBranch
	for _, b := range f.branches {
		if b.continued {
			continue
		}
		s := start{b.first().idx, b.peer}
		turn[b] = seen[s]
		seen[s]++
		list = append(list, b)
	}
	slices.SortStableFunc(list, func(a, b *forkBranch) int { return cmp.Compare(turn[a], turn[b]) })
	return list
}

// path is the part of the chain that ends with leaf that is not ours; nil where what it
// follows is not ours either.
func (f *forkFile) path(leaf *forkBranch) (path []envelope.Entry, at int) {
	for b := leaf; b != nil; b = b.before {
		path = append(path, b.Entry)
	}
	first := leaf.first()
	if first.idx > len(f.ours) || first.idx > 0 && f.ours[first.idx-1].Claimed != first.Payload.Previous {
		return nil, 0
	}
	slices.Reverse(path)
	return path, first.idx
}
