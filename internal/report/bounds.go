package report

import "eblnode/judge"

// MaxPage is more bytes than any report has, whatever the file is: without the reader's own
// trust entries, of which all are named.
const MaxPage = 2 << 20

// Bounds of what a page shows. A file of thousands of entries, platforms or transactions is
// judged whole, and drawn by its first and its last ones and by what is broken, so that the page
// stays small enough to open, to send and to print, whoever wrote the file. The page says where
// something was left out.
const (
	maxRows         = 40  // of the picture
	maxTransactions = 12  // of one row or entry
	maxLanes        = 8   // platforms beside each other
	maxListed       = 30  // entries, steps, keys, forks
	maxChecks       = 100 // lines of the list of checks
	maxSentence     = 600 // characters of a text of the report
)

// A shown is one item of a long list. Skipped is how many were left out before it.
type shown[T any] struct {
	Index   int
	Item    T
	Skipped int
}

// ends picks the first and the last of a list, n together, and the few between them that
// keep names, each with its neighbours.
func ends[T any](list []T, n int, keep func(*T) bool) []shown[T] {
	var out []shown[T]
	skipped, extra := 0, 0
	for i := range list {
		if i >= n/2 && i < len(list)-n/2 {
			kept := keep != nil && extra < 6 && (keep(&list[i]) || keep(&list[i-1]) || keep(&list[i+1]))
			if !kept {
				skipped++
				continue
			}
			extra++
		}
		out = append(out, shown[T]{i, list[i], skipped})
		skipped = 0
	}
	return out
}

// A row is one line of the picture, top to bottom.
type row struct {
	leg  *judge.Leg
	rail rail
	// follows: a block of the chain is above, or below, and linked to this one.
	above, below bool
}

// A rail says what the line of other continuations does in a row.
type rail struct{ begins, passes, ends bool }

// rowsOf orders the journey as it is drawn: a branch stands below the entry beside which it is
// another continuation.
func rowsOf(legs []judge.Leg) (rows []row) {
	branches := map[int][]*judge.Leg{}
	length := 0
	for i := range legs {
		switch l := &legs[i]; l.Kind {
		case "branch":
			branches[l.At] = append(branches[l.At], l)
		case "entry":
			length++
		}
	}
	place := map[int]int{} // the row of an entry
	others := func(at int) {
		for _, l := range branches[at] {
			if from, found := place[at-1]; found {
				rows[from].rail.begins = true
				for i := from + 1; i < len(rows); i++ {
					rows[i].rail.passes = true
				}
			}
			rows = append(rows, row{leg: l, rail: rail{ends: true}})
		}
		delete(branches, at)
	}
	before := -1 // the row of the block above
	for i := range legs {
		l := &legs[i]
		if l.Kind == "branch" {
			continue
		}
		if l.Kind == "entry" {
			place[l.Index] = len(rows)
		}
		if before >= 0 {
			for k := before; k < len(rows); k++ {
				rows[k].below = true // past a branch the chain's own line goes on
			}
			for k := before + 1; k < len(rows); k++ {
				rows[k].above = true
			}
		}
		rows = append(rows, row{leg: l, above: before >= 0})
		before = len(rows) - 1
		if l.Kind == "entry" && l.Index < length-1 {
			others(l.Index)
		}
	}
	if length > 0 {
		others(length - 1)
	}
	others(length)
	for i := range legs { // what begins past the end
		if l := &legs[i]; l.Kind == "branch" && branches[l.At] != nil {
			rows = append(rows, row{leg: l})
		}
	}
	return rows
}
