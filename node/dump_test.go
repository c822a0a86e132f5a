package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
)

// dump is all that the node has stored, one line a row, without how often and when it
// tried to send, and without the events, which have tests of their own: a test compares
// two of them.
func dump(t testing.TB, p *ebltest.Platform) []string {
	t.Helper()
	db := snapshot(t, p)
	defer release(t, db)
	var lines []string
	for _, table := range queryRows(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' AND name <> 'events' ORDER BY name") {
		name := table["name"].(string)
		if name == "attempts" || name == "refused" {
			continue
		}
		if name == "witness" || name == "witness_pending" {
			continue // the place in the witness moves with every change
		}
		for _, r := range queryRows(t, db, "SELECT * FROM "+name) {
			if name == "transfers" {
				for _, column := range []string{"attempts", "next_at", "last_at", "last_answer"} {
					delete(r, column)
				}
			}
			if name == "verdict_polls" {
				delete(r, "attempts")
				delete(r, "next_at")
			}
			keys := []string{}
			for k := range r {
				keys = append(keys, k)
			}
			slices.Sort(keys)
			line := name + ":"
			for _, k := range keys {
				line += fmt.Sprintf(" %s=%v", k, show(r[k]))
			}
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return lines
}

func show(v any) any {
	if b, ok := v.([]byte); ok && len(b) == 32 {
		return envelope.HashOf(b).String()[:8] + "…" // enough to tell two apart
	}
	return v
}

// changes names what differs between two dumps: "+table" for each new line, "-table"
// for each that went.
func changes(before, after []string) []string {
	var list []string
	count := map[string]int{}
	for _, l := range before {
		count[l]--
	}
	for _, l := range after {
		count[l]++
	}
	for l, n := range count {
		table, _, _ := strings.Cut(l, ":")
		for ; n > 0; n-- {
			list = append(list, "+"+table)
		}
		for ; n < 0; n++ {
			list = append(list, "-"+table)
		}
	}
	slices.Sort(list)
	return list
}

// mustChange fails the test unless doing f changes exactly those rows at p, and leaves
// everything true.
func mustChange(t testing.TB, p *ebltest.Platform, f func(), want ...string) {
	t.Helper()
	before := dump(t, p)
	f()
	slices.Sort(want)
	if got := changes(before, dump(t, p)); !slices.Equal(got, want) {
		t.Errorf("%s changed %v, want %v", p.Domain(), got, want)
	}
	checkNode(t, p)
}
