package main

import (
	"fmt"
	"math"
)

// What the flags may ask for at most: a file is held in memory, and what nests is walked
// down and up.
const (
	mostBytes = 1 << 30
	mostDepth = 10_000
	mostCount = math.MaxInt32
)

// checkLimits refuses limits that are none: one that is given and allows nothing, or more
// than can be held. Left out, each has its default. given says whether a flag was there.
func (o *options) checkLimits(given func(string) bool) error {
	for _, l := range []struct {
		name  string
		value int
		most  int
	}{{"max-bytes", o.limits.Body, mostBytes}, {"max-entries", o.limits.Chain, mostCount}, {"max-transactions", o.limits.Transactions, mostCount}, {"max-depth", o.limits.Depth, mostDepth}, {"max-members", o.limits.Members, mostCount}, {"max-values", o.limits.Values, mostCount}} {
		switch {
		case given(l.name) && l.value < 1:
			return fmt.Errorf("--%s: %d is no limit: at least 1, and without the flag its default", l.name, l.value)
		case l.value > l.most:
			return fmt.Errorf("--%s: %d is too much: at most %d", l.name, l.value, l.most)
		}
	}
	if o.timeout < 0 {
		return fmt.Errorf("--timeout: %s is less than nothing; 0 means without limit", o.timeout)
	}
	return nil
}
