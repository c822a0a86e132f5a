package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"eblnode/identity"
)

// A scenario is one way to send.
type scenario struct {
	alg     identity.Alg
	entries int
	clients int
}

func (s scenario) name() string {
	return fmt.Sprintf("%s/n=%d/clients=%d", s.alg, s.entries, s.clients)
}

func scenarios() []scenario {
	var list []scenario
	for _, alg := range []identity.Alg{identity.ES256, identity.RS256} {
		for _, n := range []int{1, 5, 20, 100} {
			for _, clients := range []int{1, 32} {
				list = append(list, scenario{alg, n, clients})
			}
		}
	}
	return list
}

// perRound is how many transfers a round has: enough for a quarter of a second.
func (s scenario) perRound() int {
	n := map[int]int{1: 512, 5: 256, 20: 96, 100: 32}[s.entries]
	if s.clients == 1 {
		n = max(n/4, 16)
	}
	return n
}

// A result is what the rounds of a scenario gave: of each the median.
type result struct {
	floor, node    time.Duration
	ratio, rate    float64
	p50, p99       time.Duration
	mallocs, bytes uint64
	dials          int64
}

const documentSize = 8 << 10

var serial int

// measure runs the rounds of a scenario, floor and node by turns.
func (o *options) measure(ctx context.Context, s *stage, f *floor, sc scenario) (*result, error) {
	serial++
	count := sc.perRound()
	list, err := s.party.blocks(sc.alg, fmt.Sprintf("R%d-%d", os.Getpid(), serial), documentSize, sc.entries, count*(o.rounds+1), holder+"@"+nodeDomain)
	if err != nil {
		return nil, err
	}
	l := newLoad(s, sc.clients)
	defer l.close()
	if _, err := l.send(ctx, list[:count]); err != nil { // connections, caches
		return nil, err
	}
	if o.profile != "" {
		stop := o.profileNode(ctx, s, sc)
		defer stop()
	}
	var floors, nodes, p50s, p99s []time.Duration
	var ratios, rates []float64
	var mallocs, bytes uint64
	for round := range o.rounds {
		part := list[count*(round+1) : count*(round+2)]
		var cs []*checks
		for _, b := range part {
			cs = append(cs, f.prepare(sc.alg, b))
		}
		low, err := f.run(cs, 0)
		if err != nil {
			return nil, err
		}
		before, err := s.memstats(ctx, false)
		if err != nil {
			return nil, err
		}
		r, err := l.send(ctx, part)
		if err != nil {
			return nil, err
		}
		after, err := s.memstats(ctx, false)
		if err != nil {
			return nil, err
		}
		mallocs += after.Mallocs - before.Mallocs
		bytes += after.Bytes - before.Bytes
		floors, nodes = append(floors, low), append(nodes, r.perTransfer())
		ratios, rates = append(ratios, float64(r.perTransfer())/float64(low)), append(rates, r.rate())
		p50s, p99s = append(p50s, percentile(r.latency, 0.5)), append(p99s, percentile(r.latency, 0.99))
	}
	n := uint64(count * o.rounds)
	return &result{floor: median(floors), node: median(nodes), ratio: median(ratios), rate: median(rates), p50: median(p50s), p99: median(p99s),
		mallocs: mallocs / n, bytes: bytes / n, dials: l.dials.Load()}, nil
}

// median sorts its argument.
func median[T int64 | float64 | time.Duration](v []T) T {
	slices.Sort(v)
	if len(v) == 0 {
		return 0
	}
	return v[len(v)/2]
}

// profileNode takes a CPU profile of the node while a scenario runs.
func (o *options) profileNode(ctx context.Context, s *stage, sc scenario) (stop func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		text, err := s.ask(ctx, "/debug/pprof/profile?seconds=3")
		if err == nil {
			name := filepath.Join(o.profile, fmt.Sprintf("cpu-%s-n%d-c%d.pprof", sc.alg, sc.entries, sc.clients))
			err = os.WriteFile(name, text, 0o600)
		}
		if err != nil {
			o.progress("no profile: %s", err)
		}
	}()
	return func() { <-done }
}
