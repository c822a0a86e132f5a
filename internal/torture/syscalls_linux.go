package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"eblnode/internal/torture/powercut"
)

// runSyscalls lets the n-th of each call by which a node writes to its files fail, or be the
// last thing that it does, while it accepts a bill and while it sends one; for n = 1, 2, … until a run ends without the
// fault. After each the bill must be in one place, the one that its users were told of.
//
// Where there is strace, the faults are put into the calls of the running process. They
// are counted by thread there, so where there is FUSE it is done once more by the disk
// itself, which counts all calls; and what ends the process cuts the power too.
func runSyscalls(ctx context.Context, o *options) (*summary, error) {
	s := &summary{Figures: map[string]any{}}
	only, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	var missing []string
	for _, by := range []struct {
		name   string
		usable func() error
		inject func(*syscallRun) injector
	}{
		{"strace", straceUsable, func(r *syscallRun) injector { return &stracer{node: r.f.nodes[0], dir: r.dir} }},
		{"disk", powercut.Usable, func(r *syscallRun) injector { return r.disk }},
	} {
		if err := by.usable(); err != nil {
			missing = append(missing, by.name+": "+err.Error())
			continue
		}
		r := &syscallRun{o: o, s: s, name: by.name, only: only, figures: map[string]int{}, made: map[string][]powercut.Op{}}
		if err := r.run(ctx, by.inject); err != nil {
			return nil, fmt.Errorf("faults by %s: %w", by.name, err)
		}
		o.seed = r.o.seed
		s.Figures[by.name], s.Figures[by.name+"Calls"] = r.figures, r.made
	}
	if len(missing) == 2 {
		return &summary{Skipped: fmt.Sprint(missing)}, nil
	}
	s.Figures["skipped"] = missing
	return s, nil
}

// A callFault is what happens to one call.
type callFault struct {
	call powercut.Op // write or fsync of the disk, or the name of a system call
	how  string
}

func (f callFault) at(n int) string { return fmt.Sprintf("%s at %s %d", f.how, f.call, n) }

// hows are the faults of each call.
var hows = []string{"EIO", "ENOSPC", "SIGKILL"}

// An injector makes one call of a node fail.
type injector interface {
	// calls are those by which the node writes to what it keeps while do runs.
	calls(ctx context.Context, do func() error) ([]powercut.Op, error)
	// arm lets the n-th call from now on fail.
	arm(ctx context.Context, f callFault, n int) error
	// disarm ends that and says whether it has happened.
	disarm() (fired bool, err error)
}

// A syscallRun is one fleet of two nodes; the first has the faults.
type syscallRun struct {
	o       *options
	s       *summary
	name    string
	only    *regexp.Regexp
	dir     string
	f       *fleet
	h       *history
	l       *load
	disk    *faultyDisk // nil with strace
	figures map[string]int
	made    map[string][]powercut.Op // calls, by what is done
	done    map[string][]string      // what an earlier run has done in this folder
}

// run makes the part of one injector. With -state, what strace does goes on where an earlier
// run stopped, kind of fault by kind; the disk, which is in memory, begins anew.
func (r *syscallRun) run(ctx context.Context, newInjector func(*syscallRun) injector) error {
	one := *r.o
	one.nodes, one.kills, one.skew = 2, 0, 0
	if r.o.state != "" {
		one.state = filepath.Join(r.o.state, r.name)
	}
	w, err := openWorkspace(&one, "syscalls by "+r.name)
	if err != nil {
		return err
	}
	r.o, r.dir, r.h, r.done = &one, w.dir, w.h, w.h.parts()
	for part, what := range r.done {
		if op, is := strings.CutPrefix(part, "calls of "); is {
			for _, name := range what {
				r.made[op] = append(r.made[op], powercut.Op(name))
			}
			continue
		}
		if n, err := strconv.Atoi(strings.Join(what, "")); err == nil {
			r.figures[part] = n
		}
	}
	if _, all := r.done["all"]; all {
		r.o.say("%s: done in an earlier run", r.name)
		return w.close(r.s, nil)
	}
	return w.close(r.s, r.inFolder(ctx, w, newInjector))
}

func (r *syscallRun) inFolder(ctx context.Context, w *workspace, newInjector func(*syscallRun) injector) (err error) {
	if r.name == "disk" {
		if r.disk, err = newFaultyDisk(filepath.Join(r.dir, "p0")); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.disk.Unmount()) }()
	}
	program, err := r.o.build(ctx, r.dir, "eblnode", "./cmd/eblnode")
	if err != nil {
		return err
	}
	spec := fleetSpec{nodes: 2, users: 1, proxies: true, program: program, dir: r.dir, retryMax: "200ms", resuming: w.resuming}
	if r.disk != nil {
		spec.disk = r.disk.Export
	}
	if r.f, err = newFleet(ctx, r.o, spec); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.f.close()) }()
	fr := &faultRun{o: r.o, f: r.f, h: r.h, s: &summary{Figures: map[string]any{}}, counts: newCounter()}
	fr.l = &load{o: r.o, f: r.f, h: r.h, counts: fr.counts}
	r.l = fr.l
	if r.disk != nil {
		r.disk.node = r.f.nodes[0]
		r.disk.Settle()
	} else if err := w.made(); err != nil {
		return err
	}
	if err := r.faults(ctx, newInjector(r)); err != nil || r.o.enough(r.s) {
		return err
	}
	if err := fr.heal(ctx); err != nil {
		return err
	}
	if err := fr.audit(ctx); err != nil {
		return err
	}
	for _, w := range fr.s.Findings {
		r.s.wrong("%s: %s", r.name, w)
	}
	if len(r.s.Findings) > 0 {
		return nil
	}
	return errors.Join(r.h.done("all"), w.made())
}

// faults runs all of them.
func (r *syscallRun) faults(ctx context.Context, in injector) error {
	if err := r.all(ctx, in); err != nil || r.o.enough(r.s) {
		return err
	}
	if s, ok := in.(*stracer); ok {
		return r.starts(ctx, s)
	}
	return nil
}

// mostCalls is far more than one transfer takes; a fault that still fires then is one of
// another making.
const mostCalls = 200

// all runs every fault at every call.
func (r *syscallRun) all(ctx context.Context, in injector) error {
	to, from := r.f.nodes[0], r.f.nodes[1]
	for _, op := range []struct {
		name     string
		from, to *node
	}{{"accept", from, to}, {"send", to, from}} {
		made, err := in.calls(ctx, func() error {
			for range 3 { // threads take turns, and the first has connections to make
				if _, err := r.move(ctx, "no fault", op.from, op.to, func() (bool, error) { return false, nil }); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("looking which calls %s makes: %w", op.name, err)
		}
		if len(made) < 2 {
			r.s.wrong("%s: to %s a bill the node makes no calls but %v: it neither writes nor syncs", r.name, op.name, made)
		}
		if err := r.remember(op.name, made); err != nil {
			return err
		}
		for _, call := range made {
			for _, how := range hows {
				f := callFault{call, how}
				err := r.each(ctx, f, op.name, func(n int) (bool, error) {
					if err := in.arm(ctx, f, n); err != nil {
						return false, err
					}
					return r.move(ctx, f.at(n), op.from, op.to, in.disarm)
				})
				if err != nil || r.o.enough(r.s) {
					return err
				}
			}
		}
	}
	return nil
}

// remember keeps which calls an operation makes.
func (r *syscallRun) remember(op string, made []powercut.Op) error {
	r.made[op] = made
	var names []string
	for _, m := range made {
		names = append(names, string(m))
	}
	return r.h.done("calls of "+op, names...)
}

// each lets one fault happen at the n-th call of an operation, for n = 1, 2, … until it
// does not.
func (r *syscallRun) each(ctx context.Context, f callFault, op string, try func(n int) (fired bool, err error)) error {
	what := fmt.Sprintf("%s at the n-th %s of %s", f.how, f.call, op)
	if _, is := r.done[what]; is || !r.only.MatchString(r.name+": "+what) {
		return nil
	}
	found := len(r.s.Findings)
	step := 1
	if strings.Contains(string(f.call), "write") {
		step = max(1, r.o.every) // of the others there are few
	}
	for n, idle := 1, 0; ; n += step {
		fired, err := try(n)
		if err != nil {
			return fmt.Errorf("%s, n = %d: %w", what, n, err)
		}
		if r.o.enough(r.s) {
			return nil
		}
		if !fired && n == 1 && idle < 4 {
			// On a busy machine the offer may come after the fault is over.
			n, idle = n-step, idle+1
			continue
		}
		if !fired {
			break
		}
		if n > mostCalls {
			r.s.wrong("%s: %s still fires at n = %d", r.name, what, n)
			break
		}
		r.figures[what]++
	}
	r.o.say("%s: %s: fired %d times", r.name, what, r.figures[what])
	if r.figures[what] == 0 {
		r.s.wrong("%s: %s never fired, so it was not tried", r.name, what)
	}
	if len(r.s.Findings) > found {
		return nil // who goes on with this folder is to see it too
	}
	return r.h.done(what, strconv.Itoa(r.figures[what]))
}

// move is one transfer of a new bill, under the fault that is armed. disarm ends that.
func (r *syscallRun) move(ctx context.Context, fault string, from, to *node, disarm func() (bool, error)) (fired bool, err error) {
	text, hash := r.l.document(from)
	receiver := to.users[0]
	body := map[string]any{"document": rawDocument(text), "to": receiver + "@" + to.domain}
	var out operation
	// A fault keeps the order waiting at most as long as a peer's next attempt takes.
	answer := from.as(ctx, "issuer", http.MethodPost, "/api/v1/ebls?wait=1", body, &out)
	fired, err = disarm()
	if err != nil {
		return fired, err
	}
	if err := r.revive(ctx); err != nil {
		return fired, err
	}
	where := fmt.Sprintf("%s: %s, bill %s", r.name, fault, hash)
	if answer == nil {
		if err := r.told(from, hash, out.Transfer); err != nil {
			return fired, err
		}
	}
	return fired, r.settles(ctx, where, hash, answer, from, to)
}

// starts does the same to the start of a node that was killed with an order under way: what
// it renames and removes, and what it recovers.
func (r *syscallRun) starts(ctx context.Context, in *stracer) error {
	if _, err := r.start(ctx, in, "no fault", "trace="+writing); err != nil {
		return err
	}
	made, err := in.made()
	if err != nil {
		return err
	}
	if err := r.remember("start", made); err != nil {
		return err
	}
	for _, call := range made {
		for _, how := range hows {
			f := callFault{call, how}
			err := r.each(ctx, f, "start", func(n int) (bool, error) { return r.start(ctx, in, f.at(n), in.inject(f, n)...) })
			if err != nil || r.o.enough(r.s) {
				return err
			}
		}
	}
	return nil
}

// start is one of them. The node may not come up under a fault, and must without one.
func (r *syscallRun) start(ctx context.Context, in *stracer, fault string, exprs ...string) (fired bool, err error) {
	hurt, other := r.f.nodes[0], r.f.nodes[1]
	text, hash := r.l.document(hurt)
	var out operation
	answer := hurt.as(ctx, "issuer", http.MethodPost, "/api/v1/ebls?wait=0", map[string]any{"document": rawDocument(text), "to": other.users[0] + "@" + other.domain}, &out)
	if answer == nil {
		if err := r.told(hurt, hash, out.Transfer); err != nil {
			return false, err
		}
	}
	hurt.kill()
	hurt.under = in.launch(exprs...)
	err = r.f.serve(ctx, hurt)
	hurt.under = nil
	if err != nil && !errors.Is(err, errStopped) {
		return false, err
	}
	if err != nil {
		r.figures["starts that ended"]++
	}
	starts := hurt.starts
	where := fmt.Sprintf("%s: %s of a start, bill %s", r.name, fault, hash)
	if err := r.settles(ctx, where, hash, answer, hurt, other); err != nil {
		return false, err
	}
	ended := err != nil || hurt.starts != starts // by itself, and was started again
	// With the process its strace ends, and has written all that it saw.
	hurt.kill()
	if fired, err = in.injected(ctx); err != nil {
		return false, err
	}
	return fired || ended, r.f.serve(ctx, hurt)
}

// revive starts the node again if its process has ended: by the fault, or by itself, as
// after one of the witness. What was not durable is lost then.
func (r *syscallRun) revive(ctx context.Context) error {
	hurt := r.f.nodes[0]
	if hurt.alive() {
		return nil
	}
	r.figures["processes that ended"]++
	if r.disk != nil {
		if err := r.disk.cut(); err != nil {
			return err
		}
	}
	return r.f.serve(ctx, hurt)
}

// told remembers what the caller of a successful order knows.
func (r *syscallRun) told(from *node, hash string, x *transferView) error {
	if err := r.h.add(event{Kind: "issued", Document: hash, From: from.domain, How: "answer"}); err != nil {
		return err
	}
	if x == nil || x.State != "accepted" {
		return nil
	}
	return r.l.accepted(&cargo{document: hash}, from, x, "answer")
}

// settles waits until the bill is in one place: with the receiver, or nowhere if the
// order was refused and nothing of it was kept.
func (r *syscallRun) settles(ctx context.Context, where, hash string, answer error, from, to *node) error {
	var b, there *billView
	for until := time.Now().Add(settleTime); time.Now().Before(until); {
		if err := r.revive(ctx); err != nil {
			return err
		}
		var err, err2 error
		b, err = from.bill(ctx, hash)
		there, err2 = to.bill(ctx, hash)
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case err != nil || err2 != nil: // one is starting, or says that it cannot read now
		case b == nil && there == nil && answer != nil:
			return nil
		case b != nil && there != nil && b.Control == "away" && there.Control == "held":
			return nil
		case b != nil && b.Control == "held" && there != nil && there.Control == "held":
			r.s.wrong("%s is held on both nodes: DOUBLED", where)
			return nil
		}
		sleep(ctx, 20*time.Millisecond)
	}
	r.s.wrong("%s did not settle in %s: its sender says %+v, its receiver %+v; the order was answered with %v", where, settleTime, b, there, answer)
	return nil
}

// bill reads a bill as the auditor sees it; nil where the node does not know it.
func (n *node) bill(ctx context.Context, document string) (*billView, error) {
	b := &billView{}
	err := n.as(ctx, "auditor", http.MethodGet, "/api/v1/ebls/"+document, nil, b)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusNotFound {
		return nil, nil
	}
	return b, err
}
