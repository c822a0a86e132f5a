package chain

import "eblnode/envelope"

// A Relation is how an offered chain stands to the chain we know.
type Relation int

const (
	// Same: the same entries.
	Same Relation = iota
	// Extends: ours, with entries after it. An unknown bill is extended.
	Extends
	// Behind: the offered chain ends where ours goes on.
	Behind
	// Forked: the chains part; somebody signed twice.
	Forked
)

// String names the relation.
func (r Relation) String() string {
	return [...]string{"same", "extends", "behind", "forked"}[r]
}

// Compare compares an offered chain with the one we know, both as the Hash of each
// entry from the issuance on. at is the first index at which they differ, or the
// length of the shorter one.
func Compare(known, offered []envelope.Hash) (rel Relation, at int) {
	for at < len(known) && at < len(offered) && known[at] == offered[at] {
		at++
	}
	switch {
	case at == len(known) && at == len(offered):
		return Same, at
	case at == len(known):
		return Extends, at
	case at == len(offered):
		return Behind, at
	}
	return Forked, at
}
