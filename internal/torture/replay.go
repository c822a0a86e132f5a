package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"
)

// A replayer is the fault "duplicate". The proxies see ciphertext and cannot send anything
// twice; so it sends what nodes have sent once more, over connections of its own with
// their certificates, several times at once: beside the original while that is under way,
// and after it. Each receipt that it gets is kept, and each rejection must be the one that
// the sender has.
type replayer struct {
	f      *fleet
	l      *load
	h      *history
	rng    *rand.Rand
	counts *counter
}

// duplicated are the states at its sender in which a transfer is sent again, and how many
// times in ten.
var duplicated = map[string]int{"sending": 5, "accepted": 3, "rejected": 2}

func (r *replayer) run(ctx context.Context, finished <-chan struct{}) error {
	for {
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(20+r.rng.IntN(150)) * time.Millisecond):
		}
		from := r.f.nodes[r.rng.IntN(len(r.f.nodes))]
		x, err := r.pick(ctx, from)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			r.counts.add("duplicates not sent: the database could not be read")
			continue // such as a node that is starting
		}
		if err := r.send(ctx, x, 1+r.rng.IntN(3)); err != nil {
			return err
		}
	}
}

// pick draws a transfer from the database of its sender: under way, or of late.
func (r *replayer) pick(ctx context.Context, from *node) (*letter, error) {
	draw, state := r.rng.IntN(10), ""
	for _, s := range []string{"sending", "accepted", "rejected"} {
		if state = s; draw < duplicated[s] {
			break
		}
		draw -= duplicated[s]
	}
	return r.f.readLetter(ctx, from, "t.state = ? AND t.seq > (SELECT max(seq) FROM transfers) - 1000 ORDER BY random() LIMIT 1", state)
}

// send puts copies of a letter at once.
func (r *replayer) send(ctx context.Context, x *letter, copies int) error {
	if x.to == nil || x.to.proxy == nil {
		return nil
	}
	address, _ := x.to.proxy.to.Load().(string)
	client, err := peerClient(x.from, x.to)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	errs := make([]error, copies)
	var wg sync.WaitGroup
	for i := range copies {
		wg.Go(func() { errs[i] = r.put(ctx, client, x, address) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *replayer) put(ctx context.Context, client *http.Client, x *letter, address string) error {
	status, text, err := putBlock(ctx, client, address, x.body)
	what := "duplicates of a transfer " + x.state + ": "
	if err != nil {
		r.counts.add(what + "no answer")
		return nil
	}
	rejection := rejectionIn(text)
	switch {
	case status == http.StatusOK && x.state == "rejected":
		r.l.problem("envelope %s was rejected by %s, and put again it is accepted: DOUBLED", x.envelope, x.to.domain)
	case status == http.StatusOK:
		r.counts.add(what + "the receipt")
		return r.h.add(event{Kind: "receipt", From: x.from.domain, To: x.to.domain, Envelope: x.envelope.String(), Verdict: strings.TrimSpace(string(text)), How: "replay"})
	case x.state == "accepted" && rejection != "":
		r.l.problem("envelope %s was accepted by %s, and put again it is rejected: %d %.300s", x.envelope, x.to.domain, status, text)
	case x.state == "rejected" && rejection != "" && rejection != x.verdict:
		r.l.problem("envelope %s was rejected by %s, and put again it is with other words: CHANGED", x.envelope, x.to.domain)
	case rejection != "":
		r.counts.add(what + "the rejection")
		return r.h.add(event{Kind: "rejection", From: x.from.domain, To: x.to.domain, Envelope: x.envelope.String(), Verdict: rejection, How: "replay"})
	default:
		r.counts.add(fmt.Sprintf("%srefused with %d", what, status))
	}
	return nil
}

// unduplicated makes a finding of each state in which nothing was answered twice. A short
// run may lack rejections, since only a clock that is far off makes them.
func unduplicated(s *summary, counts map[string]int, long bool) {
	states := []string{"sending", "accepted"}
	if long {
		states = append(states, "rejected")
	}
	for _, state := range states {
		what := "duplicates of a transfer " + state + ": "
		if counts[what+"the receipt"]+counts[what+"the rejection"] == 0 {
			s.wrong("no duplicate of a transfer %s was answered with what its sender got: the fault \"duplicate\" was not tried", state)
		}
	}
}
