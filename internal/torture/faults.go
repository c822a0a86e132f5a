package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"eblnode/internal/torture/audit"
)

// runFaults is the main mode: real processes, users who move bills between them, and a
// nemesis. At the end everything heals, what is in doubt must resolve, and the auditor
// reads the databases.
func runFaults(ctx context.Context, o *options) (*summary, error) {
	if o.nodes < 2 {
		return nil, errors.New("at least two nodes are needed")
	}
	w, err := openWorkspace(o, "faults")
	if err != nil {
		return nil, err
	}
	s := &summary{Figures: map[string]any{}}
	if err := w.close(s, faultsIn(ctx, o, w, s)); err != nil {
		return nil, err
	}
	return s, nil
}

func faultsIn(ctx context.Context, o *options, w *workspace, s *summary) error {
	var edits []edit
	if o.skew > 0 {
		edits = clockEdits
	}
	o.say("building; folder %s", w.dir)
	program, err := o.build(ctx, w.dir, "eblnode", "./cmd/eblnode", edits...)
	if err != nil {
		return err
	}
	f, err := newFleet(ctx, o, fleetSpec{nodes: o.nodes, users: workers, proxies: true, program: program, dir: w.dir, resuming: w.resuming})
	if err != nil {
		return err
	}
	defer f.close()
	if err := w.made(); err != nil {
		return err
	}
	if o.skew > 0 {
		f.ahead = o.far
	}
	r := &faultRun{o: o, f: f, h: w.h, s: s, counts: newCounter()}
	if err := r.torture(ctx); err != nil {
		return err
	}
	if err := r.heal(ctx); err != nil {
		return err
	}
	return r.audit(ctx)
}

// A faultRun is one run of the main mode.
type faultRun struct {
	o      *options
	f      *fleet
	h      *history
	s      *summary
	l      *load
	counts *counter
}

func (r *faultRun) torture(ctx context.Context) error {
	o := r.o
	r.l = &load{o: o, f: r.f, h: r.h, counts: r.counts, target: int64(o.transfers)}
	r.l.done.Store(int64(r.h.count("accepted")))
	r.l.serial.Store(int64(len(r.h.all())))
	m := &nemesis{o: o, f: r.f, l: r.l, h: r.h, rng: o.random("nemesis"), counts: r.counts, kills: r.h.count("kill")}
	r.l.busy.Store(m.kills < o.kills)
	known, err := r.known(ctx)
	if err != nil {
		return err
	}
	r.f.dns.SetHook(m.hook)
	for _, n := range r.f.nodes {
		n.proxy.harm.Store(250)
	}
	start, before := time.Now(), r.l.done.Load()
	finished := make(chan struct{})
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan error, 2)
	go func() { ended <- m.run(ctx, finished) }()
	p := &replayer{f: r.f, l: r.l, h: r.h, rng: o.random("replayer"), counts: r.counts}
	go func() { ended <- p.run(ctx, finished) }()
	loaded := make(chan error, 1)
	go func() {
		err := r.l.run(ctx, known, min(max(64, o.transfers/20), 4000))
		close(finished)
		loaded <- err
	}()
	// If the nemesis fails, for one that a node did not come back, nobody will finish.
	for range 2 {
		if err := <-ended; err != nil {
			cancel(err)
		}
	}
	err = <-loaded
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	r.f.dns.SetHook(nil)
	took := time.Since(start)
	r.s.Figures["transfersAccepted"] = r.l.done.Load()
	r.s.Figures["transfersPerSecondUnderFaults"] = float64(int(float64(r.l.done.Load()-before)/took.Seconds()*10)) / 10
	r.s.Figures["kills"], r.s.Figures["stops"], r.s.Figures["fewestInFlightAtKillOrStop"] = m.kills, m.stops, m.fewest
	r.s.Figures["secondsUnderFaults"], r.s.Figures["secondsOfTheNemesis"] = since(start), m.spent.seconds()
	r.counts.addN("dns: queries that failed", int(m.dnsFails.Load()))
	return err
}

// known are the bills of earlier runs of this folder, where they are now.
func (r *faultRun) known(ctx context.Context) ([]*cargo, error) {
	var list []*cargo
	gone := map[string]bool{}
	for _, e := range r.h.all() {
		gone[e.Document] = gone[e.Document] || e.Kind == "void"
	}
	for _, e := range r.h.all() {
		if e.Kind != "issued" || gone[e.Document] {
			continue
		}
		gone[e.Document] = true // a name twice in the history is still one bill
		c := &cargo{document: e.Document, issuing: r.f.find(e.From)}
		if err := r.find(ctx, c); err != nil {
			return nil, err
		}
		if !c.gone {
			list = append(list, c)
		}
	}
	if len(list) > 0 {
		r.o.say("going on with %d bills and %d transfers of earlier runs", len(list), r.l.done.Load())
	}
	return list, nil
}

// find follows a bill from its issuing node to where it is, by what the nodes say: each
// says where it went when it last left.
func (r *faultRun) find(ctx context.Context, c *cargo) error {
	c.at = r.f.find(c.issuing.domain)
	var b *billView
	var told time.Time
	for until := time.Now().Add(settleTime); time.Now().Before(until); {
		var err error
		if b, err = r.l.ask(ctx, c.at, "auditor", c.document); err != nil {
			return err
		}
		if b == nil {
			r.s.wrong("bill %s: %s does not know it: LOST", c.document, c.at.domain)
			c.gone = true
			return nil
		}
		local, domain, _ := strings.Cut(b.Possessor, "@")
		switch next := r.f.find(domain); {
		case b.Control == "void":
			c.gone = true
			return nil
		case b.Control == "held":
			c.user, c.pending = local, b.Status != "active"
			return nil
		case b.Control == "away" && next != nil && next != c.at:
			c.at = next
		case !sleep(ctx, 50*time.Millisecond): // in flight
			return ctx.Err()
		case told.IsZero():
			told = time.Now()
		case time.Since(told) > 5*time.Second:
			told = time.Now()
			r.o.say("waiting for bill %.8s: %s says %s, %s %+v", c.document, c.at.domain, b.Control, b.Reason, b.Transfer)
		}
	}
	r.s.wrong("bill %s: nobody says that it is there; %s says %+v", c.document, c.at.domain, b)
	c.gone = true
	return nil
}

// settleTime is how long transfers in doubt may take to resolve once all is well.
const settleTime = 60 * time.Second

// heal ends all faults and waits until nothing is in doubt any more.
func (r *faultRun) heal(ctx context.Context) error {
	for _, n := range r.f.nodes {
		n.proxy.harm.Store(0)
		n.proxy.cutAll()
		if n.far {
			n.kill()
			n.far, n.env = false, nil
		}
		if !n.alive() {
			if err := r.f.serve(ctx, n); err != nil {
				return err
			}
		}
	}
	start := time.Now()
	left := -1
	for time.Since(start) < settleTime && left != 0 {
		open, err := r.f.sample(ctx)
		if err == nil {
			left = len(open)
		}
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	r.s.Figures["secondsToSettleAfterHealing"] = float64(time.Since(start).Milliseconds()) / 1000
	if left != 0 {
		r.s.wrong("%d transfers are open %s after everything healed", left, settleTime)
	}
	return r.f.stop()
}

// audit reads the databases and writes the figures.
func (r *faultRun) audit(ctx context.Context) error {
	r.o.say("auditing")
	report, err := r.f.audit(ctx, r.h.all())
	if err != nil {
		return err
	}
	r.s.take(report)
	r.s.recall(r.h)
	counts := map[string]int{}
	r.counts.into(counts)
	for _, n := range r.f.nodes {
		n.proxy.faults.into(counts)
	}
	r.s.Figures["faults"] = counts
	r.s.Figures["nodes"], r.s.Figures["clockSkew"], r.s.Figures["clockFar"] = r.o.nodes, r.o.skew.String(), r.o.far.String()
	r.s.Figures["ordersInDoubt"] = len(r.l.doubt)
	r.s.Figures["doubtMillisP50"], r.s.Figures["doubtMillisP99"] = quantile(r.l.doubt, 0.5), quantile(r.l.doubt, 0.99)
	if report.Forks > 0 {
		r.s.wrong("%d branches of forks were kept, and nobody signed twice", report.Forks)
	}
	if r.o.kills > 0 {
		unduplicated(r.s, counts, r.o.kills >= 60 && r.o.skew > 0 && r.o.far > 0)
	}
	if r.o.kills >= 60 {
		r.missed(counts)
		if r.o.skew > 0 && r.o.far > 0 && report.Rejected == 0 {
			r.s.wrong("no transfer was rejected, though a clock was hours ahead: run longer")
		}
	}
	return nil
}

// missed makes a finding of each state that no fault has hit: such a run proves less than
// it says.
func (r *faultRun) missed(counts map[string]int) {
	for _, list := range []struct {
		side   string
		states []string
	}{{"sender", senderStates}, {"receiver", recvStates}} {
		for _, state := range list.states {
			n := counts[list.side+" killed: "+state] + counts[list.side+" stopped: "+state]
			if n == 0 {
				r.s.wrong("no kill or stop has hit a %s in the state %q: run longer", list.side, state)
			}
		}
	}
}

// audit runs the auditor over the databases of all nodes, which have stopped, and the
// node's own fsck.
func (f *fleet) audit(ctx context.Context, events []event) (*audit.Report, error) {
	seen := audit.Seen{Ahead: f.ahead}
	for _, e := range events {
		switch e.Kind {
		case "issued":
			seen.Issued = append(seen.Issued, e.Document)
		case "accepted":
			seen.Transfers = append(seen.Transfers, audit.Transfer{Sender: e.From, Receiver: e.To, ID: e.Transfer, Document: e.Document, Envelope: e.Envelope, Receipt: e.Verdict})
			if e.Verdict != "" {
				seen.Receipts = append(seen.Receipts, audit.Receipt{Receiver: e.To, Envelope: e.Envelope, Text: e.Verdict})
			}
		case "step":
			seen.Steps = append(seen.Steps, audit.Step{Node: e.From, Document: e.Document, To: e.To})
		case "void":
			seen.Voided = append(seen.Voided, audit.Void{Node: e.From, Document: e.Document})
		case "rejection":
			seen.Rejections = append(seen.Rejections, audit.Receipt{Receiver: e.To, Envelope: e.Envelope, Text: e.Verdict})
		case "receipt":
			seen.Receipts = append(seen.Receipts, audit.Receipt{Receiver: e.To, Envelope: e.Envelope, Text: e.Verdict})
		}
	}
	report, err := f.auditFiles(ctx, f.nodes, nil, seen)
	if err != nil {
		return nil, err
	}
	// The node's own check must agree that all is well; where the two differ, one is wrong.
	for _, n := range f.nodes {
		if out, err := n.command(ctx, "fsck"); err != nil {
			report.Findings = append(report.Findings, fmt.Sprintf("%s: fsck is not clean: %s\n%.2000s", n.domain, err, out))
		}
	}
	return report, nil
}

// auditFiles runs the auditor when the files of all nodes are at hand.
func (f *fleet) auditFiles(ctx context.Context, left []*node, found []audit.Node, seen audit.Seen) (report *audit.Report, err error) {
	if len(left) == 0 {
		return audit.Run(ctx, found, f.trust, seen)
	}
	err = left[0].files(func(path string) error {
		var err error
		report, err = f.auditFiles(ctx, left[1:], append(found, audit.Node{Domain: left[0].domain, Database: path}), seen)
		return err
	})
	return report, err
}

// take adds an auditor's report to the summary.
func (s *summary) take(r *audit.Report) {
	s.Figures["audit"] = r
	for kind, n := range r.Kinds {
		if s.unlisted == nil {
			s.unlisted = map[string]int{}
		}
		s.unlisted[kind] += n - ofKind(r.Findings, kind)
	}
	for _, w := range r.Findings {
		s.wrong("%s", w)
	}
	if r.More > 0 {
		s.wrong("and %d more", r.More)
	}
}
