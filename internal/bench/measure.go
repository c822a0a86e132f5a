package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"eblnode/identity"
)

// A scenario is one way to send.
type scenario struct {
	alg     identity.Alg
	entries int
	clients int
	known   bool // all entries but the newest are known to the node
	http2   bool // the clients share one connection
}

func (s scenario) name() string {
	kind := "first"
	if s.known {
		kind = "known"
	}
	name := fmt.Sprintf("%s/%s/n=%d/clients=%d", kind, s.alg, s.entries, s.clients)
	if s.http2 {
		name += "/http2"
	}
	return name
}

// scenarios are all that are measured; the short form has those with a target.
func scenarios(short bool) []scenario {
	var list []scenario
	for _, known := range []bool{false, true} {
		for _, alg := range algs {
			for _, n := range []int{1, 5, 20, 100} {
				for _, clients := range []int{1, 32} {
					s := scenario{alg: alg, entries: n, clients: clients, known: known}
					if known && n < 5 || short && (alg != identity.ES256 || clients == 1 && n > 1 || s.target() == 0 && clients > 1) {
						continue
					}
					list = append(list, s)
				}
			}
		}
	}
	if !short {
		list = append(list, scenario{alg: identity.ES256, entries: 1, clients: 32, http2: true})
	}
	return list
}

// target is the largest ratio to the floor (first sight) or to first sight (known) that is
// aimed at; 0: none.
func (s scenario) target() float64 {
	if s.alg != identity.ES256 || s.clients != 32 || s.http2 {
		return 0
	}
	if s.known {
		return map[int]float64{20: 0.30, 100: 0.12}[s.entries]
	}
	return map[int]float64{1: 3.5, 5: 2.2, 20: 1.7, 100: 1.4}[s.entries]
}

// perRound is how many transfers a round has: enough for a fifth of a second, and for all
// clients; with a known prefix, what the node still remembers. To sign a hundred entries with
// RSA takes a quarter of a second: one block for each client must do.
func (s scenario) perRound() int {
	n := map[int]int{1: 512, 5: 256, 20: 96, 100: 64}[s.entries]
	if s.known {
		n = map[int]int{5: 192, 20: 64, 100: 32}[s.entries] // what the node keeps in memory of all its rounds
	}
	if s.entries == 100 && s.alg == identity.RS256 {
		n = 32
	}
	if s.clients == 1 {
		n = max(n/4, 16)
	}
	return n
}

// A result is what the rounds of a scenario gave: of each the median, in microseconds of
// CPU and milliseconds of time.
type result struct {
	Name    string  `json:"name"`
	Alg     string  `json:"alg"`
	Entries int     `json:"entries"`
	Clients int     `json:"clients"`
	Known   bool    `json:"knownPrefix"`
	HTTP2   bool    `json:"http2,omitempty"`
	Bills   int     `json:"storedBills,omitempty"`
	Floor   float64 `json:"floorMicros"`
	Node    float64 `json:"nodeMicros"`
	Best    float64 `json:"bestNodeMicros"`
	Ratio   float64 `json:"ratio"` // to the floor of the same round
	Rate    float64 `json:"perSecond"`
	P50     float64 `json:"p50Millis"`
	P99     float64 `json:"p99Millis"`
	Mallocs float64 `json:"allocations"`
	Bytes   float64 `json:"allocatedBytes"`
	Dials   int64   `json:"connectionsOpened"`
	// Pages is what was written to the database's log, a transfer; 0 where no round could tell.
	Pages    float64 `json:"logPages,omitempty"`
	LogBytes float64 `json:"logBytes,omitempty"`
	Sent     int     `json:"transfers"`
	// Of is the cost as a part of that of first sight, for a known prefix.
	Of     float64 `json:"ofFirstSight,omitempty"`
	Target float64 `json:"target,omitempty"`
	scenario
}

const documentSize = 8 << 10

var serial int

// supply signs, and for a known prefix prepares, blocks.
func (o *options) supply(ctx context.Context, s *stage, sc scenario, size, count int) ([]*block, error) {
	serial++
	prefix := fmt.Sprintf("R%s-%d", runID, serial)
	if !sc.known {
		return s.party.blocks(sc.alg, prefix, size, sc.entries, count, holder+"@"+nodeDomain)
	}
	l := newLoad(s, 16)
	defer l.close()
	return s.comeBack(ctx, l, sc.alg, prefix, sc.entries, count)
}

// measure runs the rounds of a scenario, floor and node by turns.
func (o *options) measure(ctx context.Context, s *stage, f *floor, sc scenario, size int) (*result, error) {
	count := sc.perRound()
	list, err := o.supply(ctx, s, sc, size, count*(o.rounds+1)) // one round before, for connections and caches
	if err != nil {
		return nil, err
	}
	l := sc.load(s)
	defer l.close()
	if _, err := l.send(ctx, list[:count]); err != nil {
		return nil, err
	}
	t := tally{load: l, floor: f, sc: sc, profile: o.profile}
	unknown := sc
	unknown.known = false
	first := tally{load: l, floor: f, sc: unknown} // for a known prefix: first sight of others, in the same rounds
	var of []float64
	var fresh []*block
	few := max(count/2, min(count, sc.clients))
	if sc.known {
		if fresh, err = o.supply(ctx, s, unknown, size, few*o.rounds); err != nil {
			return nil, err
		}
	}
	for range o.rounds {
		list = list[count:]
		if err := t.round(ctx, list[:count]); err != nil {
			return nil, err
		}
		if !sc.known {
			continue
		}
		if err := first.round(ctx, fresh[:few]); err != nil {
			return nil, err
		}
		fresh = fresh[few:]
		of = append(of, t.last()/first.last())
	}
	if err := o.profiled(ctx, &t, sc.name()); err != nil {
		return nil, err
	}
	r := t.result()
	r.Of = median(of)
	r.Dials, r.Sent = l.dials.Load(), count*(o.rounds+1)
	return r, nil
}

// load makes the clients of a scenario.
func (s scenario) load(on *stage) *load {
	if s.http2 {
		return newSharedLoad(on, s.clients)
	}
	return newLoad(on, s.clients)
}

// A tally collects rounds.
type tally struct {
	load    *load
	floor   *floor
	sc      scenario
	profile string // the folder for profiles; "" for none

	floors, nodes, ratios, rates, p50s, p99s []float64
	pages                                    []float64 // of the log a transfer, where a round could tell
	pageSize                                 int64
	mallocs, bytes                           float64
	count                                    int
	profiles                                 []string // files
}

func (t *tally) round(ctx context.Context, part []*block) error {
	var cs []*checks
	for _, b := range part {
		cs = append(cs, t.floor.prepare(t.sc.alg, b))
	}
	from, s := 0, t.load.stage
	if t.sc.known {
		from = t.sc.entries - 1
	}
	low, err := t.floor.run(cs, from)
	if err != nil {
		return err
	}
	before, err := s.memstats(ctx, false)
	if err != nil {
		return err
	}
	log, logErr := s.readLog()
	stop, err := t.profileNode(ctx)
	if err != nil {
		return err
	}
	r, err := t.load.send(ctx, part)
	if err := errors.Join(err, stop()); err != nil {
		return err
	}
	after, err := s.memstats(ctx, false)
	if err != nil {
		return err
	}
	if frames, ok := s.framesSince(log); ok && logErr == nil {
		t.pages, t.pageSize = append(t.pages, float64(frames)/float64(len(part))), log.pageSize
	}
	again, err := t.floor.run(cs, from) // on both sides of the node's, since the hour changes
	if err != nil {
		return err
	}
	low = (low + again) / 2
	t.floors, t.nodes = append(t.floors, micro(low)), append(t.nodes, micro(r.perTransfer()))
	t.ratios, t.rates = append(t.ratios, float64(r.perTransfer())/float64(low)), append(t.rates, r.rate())
	t.p50s, t.p99s = append(t.p50s, micro(percentile(r.latency, 0.5))/1000), append(t.p99s, micro(percentile(r.latency, 0.99))/1000)
	t.mallocs += float64(after.Mallocs - before.Mallocs)
	t.bytes += float64(after.Bytes - before.Bytes)
	t.count += len(part)
	return nil
}

// last is what a transfer cost in the last round.
func (t *tally) last() float64 { return t.nodes[len(t.nodes)-1] }

func (t *tally) result() *result {
	n, sc := float64(max(t.count, 1)), t.sc
	r := &result{Name: sc.name(), Alg: string(sc.alg), Entries: sc.entries, Clients: sc.clients, Known: sc.known, HTTP2: sc.http2, scenario: sc, Target: sc.target(),
		Floor: median(t.floors), Node: median(t.nodes), Best: slices.Min(t.nodes), Ratio: median(t.ratios), Rate: median(t.rates), P50: median(t.p50s), P99: median(t.p99s),
		Mallocs: t.mallocs / n, Bytes: t.bytes / n, Pages: median(t.pages)}
	r.LogBytes = r.Pages * float64(t.pageSize)
	return r
}

// median of a copy; of an even number, the mean of the two in the middle.
func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// compareSizes sends the same to an empty database and to a full one, by turns.
func (o *options) compareSizes(ctx context.Context, empty, full *stage, f *floor, bills int) (*sizes, error) {
	sc := scenario{alg: identity.ES256, entries: 1, clients: 32}
	count := sc.perRound()
	var lists [2][]*block
	var ts [2]tally
	for i, s := range []*stage{empty, full} {
		ts[i] = tally{load: newLoad(s, sc.clients), floor: f, sc: sc, profile: o.profile}
		defer ts[i].load.close()
		var err error
		if lists[i], err = o.supply(ctx, s, sc, 1<<10, count*(o.rounds+1)); err != nil {
			return nil, err
		}
		if _, err := ts[i].load.send(ctx, lists[i][:count]); err != nil {
			return nil, err
		}
	}
	var ratios []float64
	for round := range o.rounds {
		for i := range ts {
			if err := ts[i].round(ctx, lists[i][count*(round+1):count*(round+2)]); err != nil {
				return nil, err
			}
		}
		ratios = append(ratios, ts[1].nodes[round]/ts[0].nodes[round])
	}
	written, err := o.wal(ctx, full, sc.clients)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(o.profiled(ctx, &ts[0], "no bills"), o.profiled(ctx, &ts[1], fmt.Sprintf("%d bills", bills))); err != nil {
		return nil, err
	}
	a, b := ts[0].result(), ts[1].result()
	return &sizes{Bills: bills, Empty: a.Node, Full: b.Node, Ratio: median(ratios), EmptyRate: a.Rate, FullRate: b.Rate, Pages: written}, nil
}

// sizes is what stored bills cost.
type sizes struct {
	Bills     int     `json:"bills"`
	Empty     float64 `json:"emptyMicros"`
	Full      float64 `json:"fullMicros"`
	Ratio     float64 `json:"ratio"`
	EmptyRate float64 `json:"emptyPerSecond"`
	FullRate  float64 `json:"fullPerSecond"`
	Pages     *pages  `json:"walPages"` // of the full one, a transfer with a document of 8 KiB
}

// parts are 1 to 32 clients, for the plot.
func (o *options) clientCurve(ctx context.Context, s *stage, f *floor) ([]*result, error) {
	var list []*result
	for _, clients := range []int{1, 2, 4, 8, 16, 32, 64} {
		r, err := o.measure(ctx, s, f, scenario{alg: identity.ES256, entries: 1, clients: clients}, documentSize)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// unhurried lets the node's checkpoints and collector come to rest between measurements.
func unhurried() { time.Sleep(100 * time.Millisecond) }
