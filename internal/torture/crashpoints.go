package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"eblnode/envelope"
)

// Whom a run of this mode kills when both have come to their point.
const (
	killSender = iota
	killReceiver
	killBoth
	killChoices
)

var killNames = [killChoices]string{"sender", "receiver", "both"}

// A crashRun is one transfer in which each side has a point at which it is killed, or, if
// it is not its turn, held for a moment.
type crashRun struct {
	sender, receiver crashPoint
	kill             int
	receiverFirst    bool // which of both comes back first
}

// convergeTime is how long a transfer may take from the last start to its end.
const convergeTime = 60 * time.Second

// grace is how long one side waits at its point for the other to come to its own.
const grace = 250 * time.Millisecond

// runCrashpoints makes a transfer for each pair of points of sender and receiver and each
// choice of whom to kill. Where both can stand at their points at once, they do; else
// each is killed when it comes to its own, in the same attempt or in a later one.
func runCrashpoints(ctx context.Context, o *options) (*summary, error) {
	one := *o
	one.nodes = 2
	w, err := openWorkspace(&one, "crashpoints")
	if err != nil {
		return nil, err
	}
	o.seed = one.seed
	c := &crasher{o: &one, h: w.h, s: &summary{Figures: map[string]any{}}, counts: newCounter()}
	if err := w.close(c.s, c.all(ctx, w)); err != nil {
		return nil, err
	}
	return c.s, nil
}

// all makes the runs that no earlier one with this folder has made.
func (c *crasher) all(ctx context.Context, w *workspace) error {
	var err error
	if c.named, err = crashPoints(c.o.root); err != nil {
		return err
	}
	for _, name := range c.named.gone {
		c.s.wrong("the crash point %s is listed, and no source has it", name)
	}
	for _, name := range c.named.undescribed {
		c.s.wrong("the crash point %s is in the sources, and nothing says what it means", name)
	}
	c.rng = c.o.random("crashpoints")
	c.o.say("building with %d edits; folder %s", len(c.named.edits), w.dir)
	program, err := c.o.build(ctx, w.dir, "eblnode", "./cmd/eblnode", c.named.edits...)
	if err != nil {
		return err
	}
	c.points = func(n *node) string { return n.dir + ".points" }
	c.f, err = newFleet(ctx, c.o, fleetSpec{nodes: 2, users: 1, proxies: true, program: program, dir: w.dir, resuming: w.resuming, retryMax: "100ms",
		env: func(n *node) []string {
			// What a run that was stopped has armed is not for this one.
			_, _ = os.RemoveAll(c.points(n)), os.MkdirAll(c.points(n), 0o700)
			return []string{"TORTURE_POINTS=" + c.points(n)}
		}})
	if err != nil {
		return err
	}
	defer c.f.close()
	if err := w.made(); err != nil {
		return err
	}
	list, done := c.plan(), w.h.parts()
	if len(done) > 0 {
		c.o.say("going on after %d of %d runs", len(done), len(list))
	}
	pace := newPace(part(len(done), len(list)))
	for i, r := range list {
		name := fmt.Sprintf("run %d", i)
		if counted, is := done[name]; is {
			for _, what := range counted {
				c.counts.add(what)
			}
			continue
		}
		before, found := c.counts.copy(), len(c.s.Findings)
		if err := c.run(ctx, i, r); err != nil {
			return fmt.Errorf("%s, %s × %s, killing %s: %w", name, r.sender.name, r.receiver.name, killNames[r.kill], err)
		}
		if c.o.enough(c.s) {
			return nil
		}
		if len(c.s.Findings) > found {
			continue // not done: who goes on with this folder is to see it too
		}
		if err := w.h.done(name, c.counts.since(before)...); err != nil {
			return err
		}
		if c.o.verbose {
			c.o.say("%s is done", name)
		} else if (i+1)%25 == 0 {
			c.o.say("%4d of %d runs%s", i+1, len(list), pace.left(part(i+1, len(list))))
		}
	}
	return c.finish(ctx, len(list))
}

type crasher struct {
	o      *options
	f      *fleet
	named  *crashPlan
	points func(*node) string
	rng    *rand.Rand
	s      *summary
	counts *counter
	h      *history
	times  []time.Duration
}

// plan lists all runs; or draws some of them, in which each point has its turn before any
// has another.
func (c *crasher) plan() []crashRun {
	senders, receivers := c.named.senders, c.named.receivers
	var list []crashRun
	if n := c.o.pairs; n > 0 && n < len(senders)*len(receivers)*killChoices {
		var s, r []crashPoint
		for i := range n {
			if i%len(senders) == 0 {
				s = shuffled(c.rng, senders)
			}
			if i%len(receivers) == 0 {
				r = shuffled(c.rng, receivers)
			}
			list = append(list, crashRun{s[i%len(s)], r[i%len(r)], (i + c.rng.IntN(2)) % killChoices, c.rng.IntN(2) == 0})
		}
		return list
	}
	for _, s := range senders {
		for _, r := range receivers {
			for k := range killChoices {
				list = append(list, crashRun{s, r, k, c.rng.IntN(2) == 0})
			}
		}
	}
	return list
}

func shuffled[T any](rng *rand.Rand, list []T) []T {
	list = slices.Clone(list)
	rng.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	return list
}

func (c *crasher) arm(n *node, p crashPoint) error {
	dir := c.points(n)
	for _, name := range []string{"hit-", "go-"} {
		_ = os.Remove(filepath.Join(dir, name+p.name))
	}
	return os.WriteFile(filepath.Join(dir, "armed-"+p.name), nil, 0o600)
}

// release lets a process go on from its point, and disarms it.
func (c *crasher) release(n *node, p crashPoint) {
	_ = os.Remove(filepath.Join(c.points(n), "armed-"+p.name))
	_ = os.WriteFile(filepath.Join(c.points(n), "go-"+p.name), nil, 0o600)
}

func (c *crasher) hit(n *node, p crashPoint) bool {
	_, err := os.Stat(filepath.Join(c.points(n), "hit-"+p.name))
	return err == nil
}

// await waits until one of the points has been reached.
func await(ctx context.Context, for_ time.Duration, reached func() bool) bool {
	for until := time.Now().Add(for_); time.Now().Before(until); {
		if reached() {
			return true
		}
		if !sleep(ctx, 2*time.Millisecond) {
			return false
		}
	}
	return reached()
}

// A side is one of the two processes in a run.
type side struct {
	name string
	n    *node
	p    crashPoint
	kill bool
	done bool
}

func (c *crasher) run(ctx context.Context, i int, r crashRun) error {
	from, to := c.f.nodes[0], c.f.nodes[1]
	text := fmt.Appendf(nil, `{"carrierCode":"TRTR","isToOrder":true,"transportDocumentReference":"crash-%d-%d"}`, i, time.Now().UnixNano())
	document := envelope.HashOf(text).String()
	var out operation
	if err := from.as(ctx, "issuer", http.MethodPost, "/api/v1/ebls", map[string]any{"document": rawDocument(text), "to": "u0@" + from.domain}, &out); err != nil {
		return err
	}
	if err := c.h.add(event{Kind: "issued", Document: document}); err != nil {
		return err
	}
	sender := &side{name: "sender", n: from, p: r.sender, kill: r.kill != killReceiver}
	receiver := &side{name: "receiver", n: to, p: r.receiver, kill: r.kill != killSender}
	for _, s := range []*side{sender, receiver} {
		if err := c.arm(s.n, s.p); err != nil {
			return err
		}
	}
	answer := make(chan *transferView, 1)
	go func() {
		var out operation
		_ = from.as(ctx, "u0", http.MethodPost, "/api/v1/ebls/"+document+"/transfer?wait=5", map[string]string{"to": "u0@" + to.domain}, &out)
		answer <- out.Transfer
	}()
	if err := c.crash(ctx, document, r, sender, receiver); err != nil {
		return err
	}
	for _, s := range []*side{sender, receiver} {
		c.release(s.n, s.p)
	}
	if err := c.converge(ctx, document, r); err != nil {
		return err
	}
	if x := <-answer; x != nil && x.State == "accepted" {
		c.counts.add("callers told at once")
		return c.h.add(event{Kind: "accepted", Document: document, From: from.domain, To: to.domain, Transfer: x.ID, Envelope: x.Envelope, Verdict: x.Verdict})
	}
	c.counts.add("callers left in doubt")
	return nil
}

// crash kills the sides as they come to their points.
func (c *crasher) crash(ctx context.Context, document string, r crashRun, sender, receiver *side) error {
	both := func() bool { return c.hit(sender.n, sender.p) && c.hit(receiver.n, receiver.p) }
	any := func() bool {
		return !sender.done && c.hit(sender.n, sender.p) || !receiver.done && c.hit(receiver.n, receiver.p)
	}
	first := true
	for !sender.done || !receiver.done {
		if !await(ctx, 8*time.Second, any) {
			if err := ctx.Err(); err != nil {
				return err
			}
			// Such as a sender that was killed at its end: nothing comes to its peer any more.
			c.missed(sender, receiver)
			return c.retell(ctx, document, sender)
		}
		if first && await(ctx, grace, both) {
			c.counts.add("runs with both at their points at once")
		}
		first = false
		var at []*side
		for _, s := range []*side{sender, receiver} {
			if !s.done && c.hit(s.n, s.p) {
				at = append(at, s)
				s.done = true
				c.counts.add("reached by the " + s.name + ": " + s.p.name + ", " + s.p.what)
			}
		}
		if err := c.strike(ctx, at, r.receiverFirst); err != nil {
			return err
		}
	}
	return nil
}

// missed counts the sides that did not come to their point in this run.
func (c *crasher) missed(sides ...*side) {
	for _, s := range sides {
		if !s.done {
			c.counts.add("points not reached after the other side was killed")
		}
	}
}

// retell gives the order again where the first one was lost with the process before it
// was sealed. It does no harm where it was not.
func (c *crasher) retell(ctx context.Context, document string, sender *side) error {
	for _, s := range c.f.nodes {
		if !s.alive() {
			return fmt.Errorf("%s is not up", s.domain)
		}
	}
	b := &billView{}
	if err := sender.n.as(ctx, "u0", http.MethodGet, "/api/v1/ebls/"+document, nil, b); err != nil {
		return err
	}
	if b.Control != "held" {
		return nil
	}
	c.counts.add("orders given again: the process ended before it sealed")
	var out operation
	return sender.n.as(ctx, "u0", http.MethodPost, "/api/v1/ebls/"+document+"/transfer?wait=5", map[string]string{"to": "u0@" + c.f.nodes[1].domain}, &out)
}

// strike kills the sides that are to be killed, lets the others go on, and brings the dead
// back, one after the other.
func (c *crasher) strike(ctx context.Context, at []*side, receiverFirst bool) error {
	if receiverFirst && len(at) == 2 {
		at[0], at[1] = at[1], at[0]
	}
	for _, s := range at {
		if s.kill {
			s.n.kill()
			c.counts.add("kills")
			c.counts.add("killed at " + s.p.name + ": " + s.p.what)
		}
	}
	for _, s := range at {
		if s.kill {
			if err := c.f.serve(ctx, s.n); err != nil {
				return err
			}
		} else {
			c.release(s.n, s.p)
			c.counts.add("held at " + s.p.name + ", and let go")
		}
	}
	return nil
}

// converge waits until the receiver has the bill and the sender knows it.
func (c *crasher) converge(ctx context.Context, document string, r crashRun) error {
	from, to := c.f.nodes[0], c.f.nodes[1]
	start := time.Now()
	var here, there string
	control := func(n *node) string {
		b := &billView{}
		if err := n.as(ctx, "u0", http.MethodGet, "/api/v1/ebls/"+document, nil, b); err != nil {
			return err.Error()
		}
		return b.Control
	}
	for time.Since(start) < convergeTime {
		if here = control(from); here == "held" {
			// Killed before anything was sealed: the order never was. Give it again.
			if err := c.retell(ctx, document, &side{n: from}); err != nil {
				return err
			}
		}
		if here = control(from); here == "away" {
			if there = control(to); there == "held" {
				c.times = append(c.times, time.Since(start))
				return nil
			}
		}
		if !sleep(ctx, 40*time.Millisecond) {
			return ctx.Err()
		}
	}
	c.s.wrong("%s × %s, killing %s: after %s the sender says %q and the receiver %q", r.sender.name, r.receiver.name, killNames[r.kill], convergeTime, here, there)
	return nil
}

func (c *crasher) finish(ctx context.Context, runs int) error {
	if err := c.f.stop(); err != nil {
		return err
	}
	report, err := c.f.audit(ctx, c.h.all())
	if err != nil {
		return err
	}
	c.s.take(report)
	counts := map[string]int{}
	c.counts.into(counts)
	c.s.Figures["runs"], c.s.Figures["crashes"] = runs, counts
	c.s.Figures["millisToConvergeP50"], c.s.Figures["millisToConvergeP99"] = quantile(c.times, 0.5), quantile(c.times, 0.99)
	c.unreached(counts)
	return nil
}

// unreached makes a finding of each point that the sources name and no run came to: what is
// said of it would not have been tried.
func (c *crasher) unreached(counts map[string]int) {
	for _, side := range []struct {
		name   string
		points []crashPoint
	}{{"sender", c.named.senders}, {"receiver", c.named.receivers}} {
		for _, p := range side.points {
			if counts["reached by the "+side.name+": "+p.name+", "+p.what] == 0 {
				c.s.wrong("no run came to the %s's crash point %s (%s)", side.name, p.name, p.what)
			}
		}
	}
}
