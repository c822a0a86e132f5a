package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"eblnode/envelope"
)

// A raced bill has one user who may move it, and many callers with that user's token.
type raced struct {
	document string
	user     string
	remote   bool // all targets are on the other platform
}

// remoteEvery is how many bills there are to one whose targets are all on another
// platform; such an order asks the peer first whether it is ready, which takes its time.
const remoteEvery = 20

// raceUsers is how many targets there are on each platform, by name; the winner is one.
func targetName(i int) string { return fmt.Sprintf("t%d", i) }

// runRace lets many callers at once give one bill to different targets, for each of many
// bills, over the local API of a real process: each bill has exactly one winner, and is
// where the winner sent it.
func runRace(ctx context.Context, o *options) (*summary, error) {
	one := *o
	one.nodes = 2
	w, err := openWorkspace(&one, "race")
	if err != nil {
		return nil, err
	}
	o.seed = one.seed
	r := &race{o: &one, h: w.h, counts: newCounter(), s: &summary{Figures: map[string]any{}}}
	if err := w.close(r.s, r.all(ctx, w)); err != nil {
		return nil, err
	}
	return r.s, nil
}

func (r *race) all(ctx context.Context, w *workspace) error {
	r.o.say("building; folder %s", w.dir)
	program, err := r.o.build(ctx, w.dir, "eblnode", "./cmd/eblnode")
	if err != nil {
		return err
	}
	if r.f, err = newFleet(ctx, r.o, fleetSpec{nodes: 2, program: program, dir: w.dir, resuming: w.resuming}); err != nil {
		return err
	}
	defer r.f.close()
	r.home = r.f.nodes[0]
	if err := w.made(); err != nil {
		return err
	}
	if err := r.prepare(ctx); err != nil {
		return err
	}
	if err := r.run(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

type race struct {
	o      *options
	f      *fleet
	home   *node
	bills  []raced
	h      *history
	counts *counter
	s      *summary
	won    int
}

// prepare makes the users and issues the bills. Each bill has a user of its own, since
// the rate limit is the user's.
func (r *race) prepare(ctx context.Context) error {
	for _, n := range r.f.nodes {
		n.users = nil
		for i := range r.o.callers {
			n.users = append(n.users, targetName(i))
		}
	}
	for i := range r.o.bills {
		r.home.users = append(r.home.users, fmt.Sprintf("holder%d", i))
	}
	r.o.say("adding %d users, issuing %d bills", len(r.home.users)+len(r.f.nodes[1].users), r.o.bills)
	for _, n := range r.f.nodes {
		if err := n.addHolders(ctx); err != nil {
			return err
		}
	}
	issued := map[string]bool{}
	for _, e := range r.h.all() {
		issued[e.Document] = issued[e.Document] || e.Kind == "issued"
	}
	for i := range r.o.bills {
		b := raced{user: fmt.Sprintf("holder%d", i), remote: i%remoteEvery == 0}
		text := fmt.Appendf(nil, `{"carrierCode":"TRTR","isToOrder":true,"transportDocumentReference":"race-%d"}`, i)
		b.document = envelope.HashOf(text).String()
		r.bills = append(r.bills, b)
		if issued[b.document] {
			continue
		}
		for {
			var out operation
			err := r.home.as(ctx, "issuer", http.MethodPost, "/api/v1/ebls", map[string]any{"document": rawDocument(text), "to": b.user + "@" + r.home.domain}, &out)
			if e, ok := errors.AsType[*refusal](err); ok && e.status == http.StatusTooManyRequests {
				sleep(ctx, 100*time.Millisecond)
				continue
			} else if ok && e.text == "alreadyIssued" { // by a run that was stopped before it knew
				err = nil
			}
			if err != nil {
				return err
			}
			break
		}
		if err := r.h.add(event{Kind: "issued", Document: b.document}); err != nil {
			return err
		}
	}
	return nil
}

func (r *race) run(ctx context.Context) error {
	rng, done := r.o.random("race"), r.h.parts()
	if len(done) > 0 {
		r.o.say("going on after %d of %d bills", len(done), len(r.bills))
	}
	pace := newPace(part(len(done), len(r.bills)))
	for i, b := range r.bills {
		if what, found := done[b.document]; found {
			r.won++
			for _, name := range what {
				r.counts.add(name)
			}
			continue
		}
		before, won := r.counts.copy(), r.won
		if err := r.one(ctx, rng, b); err != nil {
			return err
		}
		if r.won == won+1 && len(r.s.Findings) == 0 {
			if err := r.h.done(b.document, r.counts.since(before)...); err != nil {
				return err
			}
		}
		if r.o.verbose {
			r.o.say("bill %d is done", i)
		}
		if (i+1)%100 == 0 {
			r.o.say("%5d bills, %d winners%s", i+1, r.won, pace.left(part(i+1, len(r.bills))))
		}
	}
	return nil
}

// one lets all callers at one bill.
func (r *race) one(ctx context.Context, rng *rand.Rand, b raced) error {
	type result struct {
		target string
		out    operation
		err    error
	}
	results := make([]result, r.o.callers)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i, t := range rng.Perm(r.o.callers) {
		to := r.home.domain
		if b.remote || t == 0 {
			to = r.f.nodes[1].domain
		}
		results[i].target = targetName(t) + "@" + to
		wg.Go(func() {
			x := &results[i]
			<-gate
			x.err = r.home.as(ctx, b.user, http.MethodPost, "/api/v1/ebls/"+b.document+"/transfer?wait=20", map[string]string{"to": x.target}, &x.out)
		})
	}
	close(gate)
	wg.Wait()
	winner := ""
	for _, x := range results {
		e, refused := errors.AsType[*refusal](x.err)
		switch {
		case x.err == nil && winner != "":
			r.s.wrong("bill %s has two winners, %s and %s: DOUBLED", b.document, winner, x.target)
		case x.err == nil:
			winner = x.target
			r.won++
			if t := x.out.Transfer; t != nil {
				r.counts.add("won by a transfer, " + t.State)
				if t.State == "accepted" {
					if err := r.h.add(event{Kind: "accepted", Document: b.document, From: r.home.domain, To: t.Peer, Transfer: t.ID, Envelope: t.Envelope, Verdict: t.Verdict}); err != nil {
						return err
					}
				}
			} else {
				r.counts.add("won by a local step")
			}
		case refused:
			r.counts.add(fmt.Sprintf("lost: %d %s", e.status, e.text))
		default:
			return fmt.Errorf("a caller had no answer: %w", x.err)
		}
	}
	if winner == "" {
		// Stopped between the race and its note, an earlier run has had its winner.
		if before, err := r.home.bill(ctx, b.document); err == nil && before != nil && before.Possessor != b.user+"@"+r.home.domain {
			r.counts.add("won in an earlier run")
			r.won++
			return r.check(ctx, b, before.Possessor)
		}
		r.s.wrong("bill %s has no winner", b.document)
		return nil
	}
	return r.check(ctx, b, winner)
}

// check asks both nodes where the bill is.
func (r *race) check(ctx context.Context, b raced, winner string) error {
	held := 0
	for _, n := range r.f.nodes {
		v := &billView{}
		err := n.as(ctx, "auditor", http.MethodGet, "/api/v1/ebls/"+b.document, nil, v)
		if e, ok := errors.AsType[*refusal](err); ok && e.status == http.StatusNotFound {
			continue
		} else if ok && e.status == http.StatusTooManyRequests {
			return nil // the auditor reads the databases at the end
		}
		if err != nil {
			return err
		}
		if v.Possessor != winner {
			r.s.wrong("bill %s was won by %s, and %s says that %s has it", b.document, winner, n.domain, v.Possessor)
		}
		if v.Control == "held" {
			held++
		}
	}
	if held != 1 {
		r.s.wrong("bill %s is held on %d nodes: DOUBLED", b.document, held)
	}
	return nil
}

func (r *race) finish(ctx context.Context) error {
	if err := r.f.stop(); err != nil {
		return err
	}
	report, err := r.f.audit(ctx, r.h.all())
	if err != nil {
		return err
	}
	r.s.take(report)
	counts := map[string]int{}
	r.counts.into(counts)
	r.s.Figures["bills"], r.s.Figures["callersEach"], r.s.Figures["winners"], r.s.Figures["answers"] = len(r.bills), r.o.callers, r.won, counts
	if r.won != len(r.bills) {
		r.s.wrong("%d bills and %d winners", len(r.bills), r.won)
	}
	return nil
}
