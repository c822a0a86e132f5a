package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// index lists, for each check of docs/PROTOCOL.md, the vectors that show it.
type index map[string]*shown

type shown struct{ accepted, refused, exchanges []string }

func (x index) add(spec, name, expect string) {
	s := x[spec]
	if s == nil {
		s = &shown{}
		x[spec] = s
	}
	switch {
	case strings.HasPrefix(name, "exchange/"):
		s.exchanges = append(s.exchanges, name)
	case expect == "accept":
		s.accepted = append(s.accepted, name)
	default:
		s.refused = append(s.refused, name)
	}
}

func (x index) text() []byte {
	var specs []string
	for spec := range x {
		specs = append(specs, spec)
	}
	slices.SortFunc(specs, func(a, b string) int { return 1000*int(a[0]) - 1000*int(b[0]) + number(a) - number(b) })
	var b bytes.Buffer
	b.WriteString("# Which vector shows which check\n\nThe ids are those of [docs/PROTOCOL.md](../../docs/PROTOCOL.md). Made by `go generate`.\n\n| check | accepted | refused | exchanges |\n| --- | --- | --- | --- |\n")
	list := func(names []string) string {
		slices.Sort(names)
		return strings.Join(names, ", ")
	}
	for _, spec := range specs {
		s := x[spec]
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", spec, list(s.accepted), list(s.refused), list(s.exchanges))
	}
	return b.Bytes()
}

func number(spec string) (n int) {
	if _, err := fmt.Sscanf(spec[1:], "%d", &n); err != nil {
		return 0
	}
	return n
}
