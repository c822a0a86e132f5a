package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/identity"
)

// flooded is what an honest peer notices of a flood: the node has its usual limits, and both
// the flood and the peer have their cost on the same cores as the node.
type flooded struct {
	Sent     int     `json:"honestBlocks"` // in each of the three
	Alone    latency `json:"alone"`
	Silent   latency `json:"besideIdleConnections"`
	Loud     latency `json:"besideAFlood"`
	Idle     int     `json:"idleConnectionsTried"`
	Requests int64   `json:"floodRequests"`
	Refused  int64   `json:"floodRequestsRefused"`
	Strange  int64   `json:"strangersHandshakes"`
}

// latency is in milliseconds.
type latency struct {
	P50 float64 `json:"p50Millis"`
	P99 float64 `json:"p99Millis"`
}

func latencyOf(list []time.Duration) latency {
	slices.Sort(list)
	return latency{micro(percentile(list, 0.5)) / 1000, micro(percentile(list, 0.99)) / 1000}
}

const (
	idleTried   = 5000 // connections of an address that say nothing; see HTTP-06 in docs/SECURITY.md
	honestEvery = 25 * time.Millisecond
	honestBurst = 100 // blocks in a round: with the pace, below a peer's limit
	floodPeers  = 16
	strangers   = 4
)

// flood measures rounds of an honest peer by turns: alone, beside connections that say
// nothing, and beside a flood of requests and handshakes.
func (o *options) flood(ctx context.Context, program string, p *party) (*flooded, error) {
	dir := o.dir + "/flood-" + runID
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s, err := newStage(ctx, program, dir, p)
	if err != nil {
		return nil, err
	}
	bad, err := newParty("flood.example")
	if err != nil {
		return nil, err
	}
	if err := s.trust(ctx, bad.entry); err != nil {
		return nil, err
	}
	s.limited = true
	if err := s.start(ctx); err != nil {
		return nil, err
	}
	defer s.stop()
	list, err := p.blocks(identity.ES256, "H"+runID, documentSize, 1, honestBurst*(3*o.rounds+1), holder+"@"+nodeDomain)
	if err != nil {
		return nil, err
	}
	l := newLoad(s, 4)
	defer l.close()
	take := func() []*block { part := list[:honestBurst]; list = list[honestBurst:]; return part }
	if _, err := l.paced(ctx, take()); err != nil {
		return nil, err
	}
	r := &flooded{Sent: honestBurst * o.rounds, Idle: idleTried}
	starts := []func(context.Context) (end func()){
		func(context.Context) func() { return func() {} },
		func(ctx context.Context) func() { return r.silent(ctx, s) },
		func(ctx context.Context) func() { return r.loud(ctx, s, bad) },
	}
	took := make([][]time.Duration, len(starts))
	for range o.rounds {
		for i, start := range starts {
			end := start(ctx)
			part, err := l.paced(ctx, take())
			end()
			if err != nil {
				return nil, err
			}
			took[i] = append(took[i], part...)
			unhurried()
		}
	}
	r.Alone, r.Silent, r.Loud = latencyOf(took[0]), latencyOf(took[1]), latencyOf(took[2])
	return r, nil
}

// paced sends blocks as a peer does that keeps to its limit; each must be accepted. A block's
// time counts from when it was due, not from when a client was free.
func (l *load) paced(ctx context.Context, list []*block) ([]time.Duration, error) {
	took, errs := make([]time.Duration, len(list)), make([]error, len(list))
	start := time.Now()
	var wg sync.WaitGroup
	for i, b := range list {
		due := start.Add(time.Duration(i) * honestEvery)
		time.Sleep(time.Until(due))
		wg.Go(func() {
			status, answer, err := l.put(ctx, l.clients[i%len(l.clients)], b.body)
			if took[i] = time.Since(due); err == nil && status != http.StatusOK {
				err = fmt.Errorf("a block was not accepted: %d %.300s", status, answer)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	return took, errors.Join(errs...)
}

// silent opens connections that say nothing.
func (r *flooded) silent(ctx context.Context, s *stage) (end func()) {
	var open []net.Conn
	for range idleTried {
		if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", s.peer); err == nil {
			open = append(open, c)
		}
	}
	return func() {
		for _, c := range open {
			_ = c.Close()
		}
	}
}

// loud begins a flood: strangers who shake hands again and again, and a peer that sends as
// fast as it is answered.
func (r *flooded) loud(ctx context.Context, s *stage, bad *party) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var requests, refused, strange atomic.Int64
	for range strangers {
		wg.Go(func() {
			for ctx.Err() == nil {
				d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
				if c, err := d.DialContext(ctx, "tcp", s.peer); err == nil {
					_ = c.Close()
				}
				strange.Add(1)
			}
		})
	}
	l := newLoad(&stage{party: bad, entry: s.entry, peer: s.peer}, floodPeers)
	for _, c := range l.clients {
		wg.Go(func() {
			for ctx.Err() == nil {
				status, _, err := l.put(ctx, c, []byte(`{"document":{},"endorsementChain":[]}`))
				requests.Add(1)
				if err != nil || status == http.StatusTooManyRequests {
					refused.Add(1)
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
		l.close()
		r.Requests, r.Refused, r.Strange = r.Requests+requests.Load(), r.Refused+refused.Load(), r.Strange+strange.Load()
	}
}
