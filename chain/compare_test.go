package chain_test

import (
	"fmt"
	"testing"

	"eblnode/chain"
	"eblnode/envelope"
)

// hashesOf makes a chain of the letters of s.
func hashesOf(s string) []envelope.Hash {
	var hs []envelope.Hash
	for _, c := range s {
		hs = append(hs, envelope.HashOf([]byte(string(c))))
	}
	return hs
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		known, offered string
		want           chain.Relation
		at             int
	}{
		{"", "", chain.Same, 0}, {"", "a", chain.Extends, 0}, {"", "abc", chain.Extends, 0},
		{"a", "a", chain.Same, 1}, {"abc", "abc", chain.Same, 3},
		{"a", "ab", chain.Extends, 1}, {"ab", "abcd", chain.Extends, 2},
		{"abc", "ab", chain.Behind, 2}, {"abc", "a", chain.Behind, 1}, {"abc", "", chain.Behind, 0},
		{"a", "b", chain.Forked, 0}, {"abc", "abx", chain.Forked, 2}, {"abc", "axc", chain.Forked, 1}, {"ab", "axyz", chain.Forked, 1}, {"abcd", "abx", chain.Forked, 2},
		// The same entries in another order, or one missing, are no extension.
		{"ab", "ba", chain.Forked, 0}, {"abc", "acb", chain.Forked, 1}, {"ab", "bc", chain.Forked, 0},
	} {
		t.Run(fmt.Sprintf("%s/%s", c.known, c.offered), func(t *testing.T) {
			rel, at := chain.Compare(hashesOf(c.known), hashesOf(c.offered))
			if rel != c.want || at != c.at {
				t.Errorf("got %s at %d, want %s at %d", rel, at, c.want, c.at)
			}
			// Seen from the other side.
			mirror := map[chain.Relation]chain.Relation{chain.Same: chain.Same, chain.Extends: chain.Behind, chain.Behind: chain.Extends, chain.Forked: chain.Forked}
			if back, at := chain.Compare(hashesOf(c.offered), hashesOf(c.known)); back != mirror[c.want] || at != c.at {
				t.Errorf("from the other side: got %s at %d, want %s at %d", back, at, mirror[c.want], c.at)
			}
		})
	}
}
