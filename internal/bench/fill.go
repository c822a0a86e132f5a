package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/identity"
)

// fill gives the node bills until it has as many: each was signed by the sending platform,
// came through the peer listener and has its receipt, its events and its record in the
// witness, so that fsck has nothing to say about it. It takes what the node takes for that
// many transfers. A later run goes on where an earlier one ended: if that was within a batch,
// with new bills, and those of the batch that came in are there beside what was asked for.
func (o *options) fill(ctx context.Context, s *stage, bills, size int) error {
	have, err := s.filled()
	if err != nil {
		return err
	}
	const clients, batch = 48, 2048
	l := newLoad(s, clients)
	defer l.close()
	start, before := time.Now(), have
	ready := make(chan []*block, 1)
	failed := make(chan error, 1)
	go func() { // signs while others send
		defer close(ready)
		for at := have; at < bills; at += batch {
			list, err := s.party.blocks(identity.ES256, fmt.Sprintf("F%s-%d", runID, at), size, 1, min(batch, bills-at), holder+"@"+nodeDomain)
			if err != nil {
				failed <- err
				return
			}
			select {
			case ready <- list:
			case <-ctx.Done():
				return
			}
		}
	}()
	for list := range ready {
		if err := l.all(ctx, list); err != nil {
			return err
		}
		have += len(list)
		if err := s.setFilled(have); err != nil {
			return err
		}
		o.progress("filled %d of %d, %.0f a second", have, bills, float64(have-before)/time.Since(start).Seconds())
	}
	select {
	case err := <-failed:
		return err
	default:
		return ctx.Err()
	}
}

// all sends every block once, in any order; each must be accepted.
func (l *load) all(ctx context.Context, list []*block) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, len(l.clients))
	for i, c := range l.clients {
		wg.Go(func() {
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(list) {
					return
				}
				status, answer, err := l.put(ctx, c, list[n].body)
				if err == nil && status != http.StatusOK {
					err = fmt.Errorf("a block was not accepted: %d %s", status, answer)
				}
				errs[i] = err
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// filled is how many bills an earlier run has given the node.
func (s *stage) filled() (n int, err error) {
	text, err := os.ReadFile(s.dir + ".filled")
	if os.IsNotExist(err) {
		return 0, nil
	}
	if err == nil {
		_, err = fmt.Sscan(string(text), &n)
	}
	return n, err
}

func (s *stage) setFilled(n int) error {
	return os.WriteFile(s.dir+".filled", fmt.Append(nil, n), 0o600)
}
