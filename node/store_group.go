package node

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// groupMost is how many transactions share one commit at most. More would only make the
// first of them wait.
const groupMost = 64

// gatherFor is how long the writer waits for those who are on their way to it, at most. It
// waits only while somebody is: what two fsyncs cost is shared by more, and a page that all
// write is written once.
const gatherFor = time.Millisecond

// patience is how long a transaction waits for its turn.
const patience = 30 * time.Second

// errClosed is the answer to who writes while the node closes.
var errClosed = errors.New("the node is closing")

// A job is one write transaction that waits for its turn, or for the commit.
type job struct {
	ctx   context.Context
	fn    func(*tx) error
	taken atomic.Bool // by the writer, or by who gave up waiting
	tx    *tx         // set while it is part of a commit
	err   error
	stack string // of a panic in fn
	panic any
	done  chan struct{}
}

// grouping is the queue of the one writer.
//
// What waits is committed together: one transaction of the database, in which each job has
// a savepoint of its own, so that one that fails takes nothing of the others with it; one
// fsync of the database's log, one of the witness, and then all are told. A commit that
// fails, fails for each of them: whether it happened is not known, and nobody is told yes.
type grouping struct {
	queue  chan *job
	coming atomic.Int64 // who is about to write something; see expect
	closed sync.Once
	quit   chan struct{} // closed when the store closes
	ended  chan struct{} // closed when the writer has
}

func (g *grouping) init() {
	g.queue, g.quit, g.ended = make(chan *job, 1024), make(chan struct{}), make(chan struct{})
}

// update runs fn in a write transaction. If it returns nil, what fn did is on the disk,
// in the database and in the witness: only then may anything of it be revealed. If it
// returns an error, it may or may not have been kept, and nothing may be revealed; asking
// again tells.
//
// fn runs on the writer's goroutine, alone among all writers: it must not wait for another
// update. A caller that goes away does not stop it half way.
func (s *store) update(ctx context.Context, fn func(*tx) error) error {
	return s.updateExpected(ctx, func() {}, fn)
}

// expect tells the writer that somebody is about to call updateExpected. arrived must be
// called, and may be more than once.
func (g *grouping) expect() (arrived func()) {
	g.coming.Add(1)
	return sync.OnceFunc(func() { g.coming.Add(-1) })
}

// updateExpected is update for who was expected.
func (s *store) updateExpected(ctx context.Context, arrived func(), fn func(*tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{ctx: context.WithoutCancel(ctx), fn: fn, done: make(chan struct{})}
	wait := time.NewTimer(patience)
	defer wait.Stop()
	select {
	case s.queue <- j:
		arrived()
	case <-s.quit:
		return errClosed
	case <-wait.C:
		return fmt.Errorf("waiting for the database: %w", context.DeadlineExceeded)
	}
	select {
	case <-j.done:
	case <-s.ended:
		if j.taken.CompareAndSwap(false, true) {
			return errClosed
		}
		<-j.done
	case <-wait.C:
		if j.taken.CompareAndSwap(false, true) {
			return fmt.Errorf("waiting for the database: %w", context.DeadlineExceeded)
		}
		<-j.done // begun: what it writes to is the caller's
	}
	if j.panic != nil {
		panic(fmt.Sprintf("%v\n\nin a transaction:\n%s", j.panic, j.stack))
	}
	return j.err
}

// write is the writer: it takes what waits and commits it, until the store closes.
func (s *store) writeGroups() {
	defer close(s.ended)
	group := make([]*job, 0, groupMost)
	timer := time.NewTimer(gatherFor)
	defer timer.Stop()
	for {
		group = group[:0]
		select {
		case <-s.quit:
			return
		case j := <-s.queue:
			group = append(group, j)
		}
		s.commitGroup(s.gather(group, timer))
	}
}

// gather adds to the group who waits, and for a while who is on the way.
func (s *store) gather(group []*job, timer *time.Timer) []*job {
	late := false
	for started := false; len(group) < groupMost; {
		select {
		case j := <-s.queue:
			group = append(group, j)
			continue
		default:
		}
		if late || s.coming.Load() <= 0 {
			break
		}
		if !started {
			timer.Reset(gatherFor)
			started = true
		}
		select {
		case j := <-s.queue:
			group = append(group, j)
		case <-timer.C:
			late = true
		case <-s.quit:
			late = true
		}
	}
	return group
}

// commitGroup runs the jobs, and tells each what came of it.
func (s *store) commitGroup(group []*job) {
	ctx := context.Background()
	live := group[:0]
	for _, j := range group {
		if j.taken.CompareAndSwap(false, true) {
			live = append(live, j)
		}
	}
	if len(live) == 0 {
		return
	}
	err := s.inTurn(ctx, func() error { return s.transact(ctx, live) })
	if err == nil {
		err = s.settled(ctx)
	}
	for _, j := range live {
		if j.err == nil {
			j.err = err
		}
		close(j.done)
	}
}

// transact is one transaction of the database with all jobs in it. The error is one that
// all of them have; what is wrong with one alone is in its err.
func (s *store) transact(ctx context.Context, group []*job) error {
	w := s.writer
	if _, err := w.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return fmt.Errorf("beginning a transaction: %w", err)
	}
	open := true
	defer func() {
		if open {
			s.forget()
			_, _ = w.ExecContext(ctx, "ROLLBACK")
		}
	}()
	kept := 0
	for _, j := range group {
		ok, err := s.runOne(j, len(group) > 1)
		if err != nil {
			return err
		}
		if ok {
			kept++
		} else if gone := s.there(); gone != nil {
			return errors.Join(gone, j.err)
		}
	}
	if kept == 0 {
		return nil // each has its own error, or its panic
	}
	records, news := 0, false
	for _, j := range group {
		if j.tx != nil {
			records += len(j.tx.change.lines)
			news = news || len(j.tx.events) > 0
		}
	}
	if records > 0 {
		if err := s.beforeWitness(ctx, group); err != nil {
			return err
		}
	}
	if news {
		defer s.news.ring() // also after a commit that is said to have failed: it may have happened
	}
	open = false
	if err := s.commit(ctx); err != nil {
		return fmt.Errorf("committing: %w", err)
	}
	// crashpoint: w
	return s.handOver(group)
}

// runOne runs a job. ok says that its work is part of the transaction now; err, that the
// transaction cannot go on.
func (s *store) runOne(j *job, among bool) (ok bool, err error) {
	if among {
		if _, err := s.writer.ExecContext(j.ctx, "SAVEPOINT job"); err != nil {
			return false, fmt.Errorf("beginning a transaction: %w", err)
		}
	}
	t := &tx{writeConn: s.writer, ctx: j.ctx, now: s.now(), store: s}
	j.err = j.run(t)
	if j.err == nil && j.panic == nil {
		j.tx = t
		if among {
			if _, err := s.writer.ExecContext(j.ctx, "RELEASE job"); err != nil {
				return false, fmt.Errorf("ending a transaction: %w", err)
			}
		}
		return true, nil
	}
	s.forget()
	if s.spoils(j.err) {
		// The disk, or worse: SQLite may have rolled back all of it by itself.
		return false, j.err
	}
	if among {
		for _, q := range []string{"ROLLBACK TO job", "RELEASE job"} {
			if _, err := s.writer.ExecContext(j.ctx, q); err != nil {
				return false, errors.Join(fmt.Errorf("taking back a transaction: %w", err), j.err)
			}
		}
	}
	return false, nil
}

// run is fn and what every transaction does at its end. A panic is kept for the caller, on
// whose account it is.
func (j *job) run(t *tx) (err error) {
	defer func() {
		if v := recover(); v != nil {
			j.panic, j.stack = v, string(debug.Stack())
			err = fmt.Errorf("a panic in a transaction: %v", v)
		}
	}()
	if err := j.fn(t); err != nil {
		return err
	}
	if err := t.announce(); err != nil {
		return err
	}
	return t.writeEvents()
}

// commit ends a transaction. Whatever made one fail, the database is looked at before
// the next begins.
func (s *store) commit(ctx context.Context) error {
	commit, err := true, error(nil)
	if s.beforeCommit != nil {
		commit, err = s.beforeCommit()
	}
	if commit {
		_, failed := s.writer.ExecContext(ctx, "COMMIT")
		if failed != nil {
			// What is refused, as a row without its bill, is still open.
			_, _ = s.writer.ExecContext(ctx, "ROLLBACK")
		}
		err = errors.Join(failed, err)
	} else {
		_, _ = s.writer.ExecContext(ctx, "ROLLBACK")
		if err == nil {
			err = errors.New("not committed")
		}
	}
	if err != nil {
		s.forget()
		s.doubt = err
		return err
	}
	return s.there()
}
