package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// A nemesis does harm to a fleet, at points of its progress that the seed gives.
type nemesis struct {
	o      *options
	f      *fleet
	l      *load
	h      *history
	rng    *rand.Rand
	counts *counter

	kills    int // done, those of earlier runs of this state too
	stops    int
	fewest   int // transfers in flight at any kill or stop
	dns      atomic.Int32
	dnsFails atomic.Int64

	outage atomic.Int64   // counts the failures of DNS
	timers sync.WaitGroup // ends of faults that last

	pace  pace
	spent stopwatch

	phases int   // with a clock that is hours off, begun so far
	far    *node // has such a clock; nil while all are about right
	until  int   // kills at which it is put right
}

// least is how many transfers must be in flight when a node is killed or stopped.
const least = 8

const (
	dnsWell int32 = iota
	dnsServfail
	dnsSilent
)

// hook makes DNS fail when it is told to.
func (m *nemesis) hook(_ *dns.Msg, _ bool, reply *dns.Msg) *dns.Msg {
	switch m.dns.Load() {
	case dnsServfail:
		m.dnsFails.Add(1)
		reply.Answer, reply.Ns, reply.Rcode = nil, nil, dns.RcodeServerFailure
	case dnsSilent:
		m.dnsFails.Add(1)
		return nil
	}
	return reply
}

// run strikes until the load is done.
func (m *nemesis) run(ctx context.Context, finished <-chan struct{}) error {
	defer m.timers.Wait()
	m.fewest = 1 << 30
	m.pace = newPace(m.progress())
	for {
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		due := int(m.l.done.Load()*int64(m.o.kills)/max(1, m.l.target)) + 1
		m.l.busy.Store(m.kills < m.o.kills)
		// With a clock hours off the load may wait for that node alone: the phase goes on to its end.
		if m.kills >= m.o.kills || m.kills >= due && m.far == nil {
			continue
		}
		if err := m.strike(ctx, finished); err != nil {
			return err
		}
	}
}

// progress is the part of the run that is done: the slower one of kills and transfers.
func (m *nemesis) progress() float64 {
	return min(part(m.kills, m.o.kills), part(int(m.l.done.Load()), int(m.l.target)))
}

// strike is one kill, and before it, at times, something milder.
func (m *nemesis) strike(ctx context.Context, finished <-chan struct{}) error {
	off := m.spent.on("letting a node stand still")
	switch m.rng.IntN(4) {
	case 0:
		if err := m.stop(ctx, finished); err != nil {
			return err
		}
	case 1:
		m.partition()
	case 2:
		n := m.f.nodes[m.rng.IntN(len(m.f.nodes))]
		m.counts.addN("network: connections cut at once", n.proxy.cutAll())
	}
	off()
	victims := m.victims()
	if m.far != nil && m.kills >= m.until {
		victims = []*node{m.far}
	}
	off = m.spent.on("waiting for enough in flight, and looking")
	hit, err := m.freeze(ctx, finished, victims, "killed", func(n *node) { n.kill() })
	off()
	if err != nil || !hit {
		return err
	}
	m.kills += len(victims)
	if err := m.h.add(event{Kind: "kill", From: fmt.Sprint(domainsOf(victims))}); err != nil {
		return err
	}
	if m.o.verbose || m.kills%10 < len(victims) {
		m.o.say("%5d transfers accepted, %d kills, %d stops, at least %d in flight at each%s", m.l.done.Load(), m.kills, m.stops, m.fewest, m.pace.left(m.progress()))
	}
	if failing := m.rng.IntN(3); failing > 0 {
		m.fail(int32(failing), time.Duration(500+m.rng.IntN(1500))*time.Millisecond)
	}
	sleep(ctx, time.Duration(m.rng.IntN(400))*time.Millisecond)
	off = m.spent.on("starting nodes again")
	err = m.restart(ctx, victims)
	off()
	sleep(ctx, time.Duration(m.rng.IntN(600))*time.Millisecond)
	return err
}

// victims are one node, or at times two.
func (m *nemesis) victims() []*node {
	list := slices.Clone(m.f.nodes)
	m.rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if m.rng.IntN(4) == 0 && len(list) > 2 && m.kills+1 < m.o.kills {
		return list[:2]
	}
	return list[:1]
}

// restart brings nodes back, each with a clock of its own.
func (m *nemesis) restart(ctx context.Context, victims []*node) error {
	for _, n := range victims {
		if m.o.skew > 0 {
			n.env = []string{"TORTURE_CLOCK=" + m.clock(n).String()}
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, len(victims))
	for i, n := range victims {
		wg.Go(func() { errs[i] = m.f.serve(ctx, n) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("a killed node does not come back: %w", err)
		}
	}
	return nil
}

// farPhases is how often in a run the clock of one node is hours off.
func (o *options) farPhases() int { return min(max(1, o.kills/10), 24) }

// clock is by how much the clock of a node is off that is started now. It is a little for
// all of them, and for one at a time, in phases of a few kills, hours. What a node ahead
// seals, its peers reject lawfully, and the bill is back; what reaches a node 50 minutes
// behind, it rejects in its turn; one 2 hours behind takes all certificates for not yet
// valid, and neither sends nor signs anything. In each, control is in one place.
func (m *nemesis) clock(n *node) time.Duration {
	if m.far == n && m.kills >= m.until {
		m.far, n.far = nil, false
	}
	if m.far == nil && m.o.far > 0 && m.phases < m.o.farPhases() && m.kills >= (m.phases+1)*m.o.kills/(m.o.farPhases()+1) && m.kills+3 < m.o.kills {
		m.far, n.far, m.until = n, true, m.kills+2
		n.off = []time.Duration{m.o.far, -50 * time.Minute, -m.o.far}[m.phases%3]
		m.phases++
	}
	if m.far == n {
		m.counts.add("clock: starts off by " + n.off.String())
		return n.off
	}
	m.counts.add("clock: starts with another time")
	return time.Duration(m.rng.Int64N(int64(2*m.o.skew))) - m.o.skew
}

// freeze stops all nodes for a moment, so that it is known exactly how far each transfer
// is, strikes the victims, and lets the others go on. It waits for a moment at which
// enough transfers are in flight; false where the load ended before.
func (m *nemesis) freeze(ctx context.Context, finished <-chan struct{}, victims []*node, what string, strike func(*node)) (bool, error) {
	for {
		select {
		case <-finished:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		default:
		}
		for _, n := range m.f.nodes {
			n.signal(syscall.SIGSTOP)
		}
		open, err := m.f.sample(ctx)
		if err == nil && len(open) >= least {
			for _, n := range victims {
				strike(n)
			}
		}
		for _, n := range m.f.nodes {
			if what == "killed" || !slices.Contains(victims, n) || err != nil || len(open) < least {
				n.signal(syscall.SIGCONT)
			}
		}
		if err != nil {
			m.counts.add("looks that met a locked database")
		} else if len(open) >= least {
			m.fewest = min(m.fewest, len(open))
			m.classify(open, victims, what)
			return true, nil
		}
		sleep(ctx, time.Duration(2+m.rng.IntN(20))*time.Millisecond)
	}
}

// classify counts which states of transfers were hit.
func (m *nemesis) classify(open []openTransfer, victims []*node, what string) {
	hit := func(domain string) bool {
		return slices.ContainsFunc(victims, func(n *node) bool { return n.domain == domain })
	}
	for _, x := range open {
		if hit(x.from) {
			m.counts.add("sender " + what + ": " + x.senderState())
		}
		if hit(x.to) {
			m.counts.add("receiver " + what + ": " + x.receiverState())
		}
		if hit(x.from) && hit(x.to) {
			m.counts.add("both " + what + ": " + x.senderState())
		}
	}
}

// stop lets a node stand still for a while, with all its connections open.
func (m *nemesis) stop(ctx context.Context, finished <-chan struct{}) error {
	victims := m.victims()[:1]
	hit, err := m.freeze(ctx, finished, victims, "stopped", func(*node) {})
	if err != nil || !hit {
		return err
	}
	m.stops++
	sleep(ctx, time.Duration(200+m.rng.IntN(2500))*time.Millisecond)
	victims[0].signal(syscall.SIGCONT)
	return nil
}

// fail makes DNS fail for a while. What follows happens meanwhile, and a later failure
// takes the place of this one.
func (m *nemesis) fail(how int32, d time.Duration) {
	m.counts.add("dns: outages")
	this := m.outage.Add(1)
	m.dns.Store(how)
	m.later(d, func() {
		if m.outage.Load() == this {
			m.dns.Store(dnsWell)
		}
	})
}

// partition lets nothing through to a node for a while, in which others are killed, or it
// is itself.
func (m *nemesis) partition() {
	n := m.f.nodes[m.rng.IntN(len(m.f.nodes))]
	d := time.Duration(200+m.rng.IntN(1500)) * time.Millisecond
	if n.proxy.dead.Swap(true) {
		return // the one before is not over
	}
	m.counts.addN("network: connections cut at once", n.proxy.cutAll())
	m.counts.add("network: partitions")
	m.later(d, func() { n.proxy.dead.Store(false) })
}

// later does something after a time; run waits for it.
func (m *nemesis) later(d time.Duration, do func()) {
	m.timers.Add(1)
	time.AfterFunc(d, func() {
		defer m.timers.Done()
		do()
	})
}

func domainsOf(ns []*node) []string {
	var list []string
	for _, n := range ns {
		list = append(list, n.domain)
	}
	return list
}
