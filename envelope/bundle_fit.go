package envelope

import "slices"

// maxBranchBytes is how much of a file other continuations may be: each is as long as a peer
// likes, and with the document, the chain and the answers it must be read again.
const maxBranchBytes = 8 << 20

// readable is b without what would make a reader refuse it: a peer that signs many long
// continuations must not take our evidence from us. Each branch keeps its beginning, where
// it parts from the chain: that is what shows who signed twice, or signed on after a rejection.
// What was rejected beyond that goes with it.
func (b *Bundle) readable() *Bundle {
	limit := Limits{}.withDefaults().Chain
	entries, size := 0, 0
	for i := range b.Branches {
		entries += len(b.Branches[i].Entries)
		for k := range b.Branches[i].Entries {
			size += len(b.Branches[i].Entries[k].JWS.Raw)
		}
	}
	if entries <= limit && size <= maxBranchBytes && len(b.Branches) <= MaxBranches && len(b.Rejections) <= limit {
		return b
	}
	out := *b
	out.Branches = fitting(b.Branches[:min(len(b.Branches), MaxBranches)], limit)
	out.Rejections = about(&out, limit)
	return &out
}

// fitting gives each branch its first entry, where there is room, then the second, and then
// what is left of it to the first branches.
func fitting(all []Branch, entries int) []Branch {
	kept, size := make([]int, len(all)), maxBranchBytes
	grow := func(i, to int) {
		for kept[i] < min(to, len(all[i].Entries)) {
			n := len(all[i].Entries[kept[i]].JWS.Raw)
			if entries == 0 || n > size {
				return
			}
			kept[i], entries, size = kept[i]+1, entries-1, size-n
		}
	}
	for _, to := range []int{1, 2, entries} {
		for i := range all {
			grow(i, to)
		}
	}
	var out []Branch
	for i, n := range kept {
		if n > 0 {
			out = append(out, Branch{From: all[i].From, At: all[i].At, Entries: all[i].Entries[:n]})
		}
	}
	return out
}

// about are the rejections of b that are of an entry in it; where they are too many, a
// dispute over a branch, which changes no verdict, goes first.
func about(b *Bundle, most int) []BundleRejection {
	own, here := map[Hash]bool{}, map[Hash]bool{}
	for i := range b.Block.Entries {
		own[HashOf([]byte(b.Block.Entries[i].JWS.Raw))] = true
	}
	for i := range b.Branches {
		for k := range b.Branches[i].Entries {
			here[HashOf([]byte(b.Branches[i].Entries[k].JWS.Raw))] = true
		}
	}
	var out, disputes []BundleRejection
	for _, r := range b.Rejections {
		_, said, err := rejectionOf(r.JWS.Raw)
		switch {
		case err != nil || own[said.JWSSum] || here[said.JWSSum] && said.Code != DisputeCode:
			out = append(out, r)
		case here[said.JWSSum]:
			disputes = append(disputes, r)
		}
	}
	return slices.Concat(out, disputes[:max(0, min(len(disputes), most-len(out)))])
}
