package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// This file opens the few inner parts that the tests of package node_test need.

// errAbort ends a transaction that was only opened for its place in the queue.
var errAbort = errors.New("test: rolled back on purpose")

// SetBeforeCommit puts f at the last moment of every commit from now on; nil takes it
// away. It takes its turn behind the transaction under way.
func SetBeforeCommit(t testing.TB, n *Node, f func() (commit bool, err error)) {
	t.Helper()
	err := n.store.update(t.Context(), func(*tx) error {
		n.store.beforeCommit = f
		return errAbort
	})
	if !errors.Is(err, errAbort) {
		t.Fatal(err)
	}
}

// DB is the read side of the database.
func DB(n *Node) *sql.DB { return n.store.read.DB }

// Exec changes the database behind the node's back, as a test of what it then does.
func Exec(t testing.TB, n *Node, query string, args ...any) {
	t.Helper()
	n.store.turn <- struct{}{}
	defer func() { <-n.store.turn }()
	if _, err := n.store.writer.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// Update runs statements in one write transaction; the error is that of the store.
func Update(t testing.TB, n *Node, queries ...string) error {
	t.Helper()
	return n.store.update(t.Context(), func(x *tx) error {
		for _, q := range queries {
			if err := x.exec(q); err != nil {
				return err
			}
		}
		return nil
	})
}

// KeepRefused puts a block on the list of those that were refused without a signature, as
// a judgement does that took long.
func KeepRefused(t testing.TB, n *Node, r Request, refusal *Error) {
	t.Helper()
	block, err := envelope.Parse(r.Body, n.cfg.Limits)
	if err != nil {
		t.Fatal(err)
	}
	n.keepRefused(t.Context(), r, block, refusal)
}

// AuditHash is the hash of an audit row.
func AuditHash(previous []byte, at int64, fields []string) [32]byte {
	return auditHash(previous, at, fields)
}

// Pause is the back-off after so many attempts.
func Pause(n *Node, attempts int) time.Duration { return n.pause(attempts) }

// SetBeforeWitness puts f before each fsync of the witness; nil takes it away.
func SetBeforeWitness(t testing.TB, n *Node, f func() error) {
	t.Helper()
	n.store.turn <- struct{}{}
	n.store.journal.Load().BeforeSync = f
	<-n.store.turn
}

// SaveWithoutRecord changes a bill and does not tell the witness.
func SaveWithoutRecord(t testing.TB, n *Node, document envelope.Hash) error {
	t.Helper()
	return touch(t, n, document, func(*tx) error { return nil })
}

// Touch writes the row of a bill and does nothing beside but tell the witness.
func Touch(t testing.TB, n *Node, document envelope.Hash) error {
	t.Helper()
	return touch(t, n, document, func(x *tx) error { return x.witness(record{kind: "test", document: document}) })
}

func touch(t testing.TB, n *Node, document envelope.Hash, also func(*tx) error) error {
	return n.store.update(t.Context(), func(x *tx) error {
		b, err := loadBill(x.ctx, x, document)
		if err != nil {
			return err
		}
		if err := x.saveBill(b, n.Domain()); err != nil {
			return err
		}
		return also(x)
	})
}

// Together puts jobs into the queue of the writer while it is busy, so that they share one
// commit, and returns what each was told.
func Together(t testing.TB, n *Node, jobs ...func(exec func(query string, args ...any) error) error) []error {
	t.Helper()
	busy, free := make(chan struct{}), make(chan struct{})
	go func() {
		_ = n.store.update(t.Context(), func(*tx) error { close(busy); <-free; return errAbort })
	}()
	<-busy
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	for i, f := range jobs {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[i] = fmt.Errorf("panic: %v", v)
				}
			}()
			errs[i] = n.store.update(t.Context(), func(x *tx) error { return f(x.exec) })
		})
		for len(n.store.queue) <= i {
			time.Sleep(time.Millisecond)
		}
	}
	close(free)
	wg.Wait()
	return errs
}

// ForgetVerified lets all chains go that are kept in memory.
func ForgetVerified(n *Node) {
	n.verified.epoch(nil)
	n.verified.epoch(n.Trust())
}

// NotReadAgain is how many entries of a body n would not read, since it knows the chain.
func NotReadAgain(t testing.TB, n *Node, body []byte) int {
	t.Helper()
	b, _, err := n.verified.parse(body, n.cfg.Limits, n.Trust())
	if err != nil {
		t.Fatal(err)
	}
	return b.Known()
}

// UnderWay is how many attempts to a peer run now.
func UnderWay(n *Node, peer identity.Host) (count int) {
	n.busy.Range(func(_, v any) bool {
		if v.(identity.Host) == peer {
			count++
		}
		return true
	})
	return count
}

// Waiting is how many transactions wait for the writer of n.
func Waiting(n *Node) int { return len(n.store.queue) }

// Expect tells the writer of n that somebody is about to write.
func Expect(n *Node) (arrived func()) { return n.store.expect() }

// Expected is how many the writer of n waits for.
func Expected(n *Node) int64 { return n.store.coming.Load() }

// AttemptOnce makes one attempt of a transfer.
func AttemptOnce(ctx context.Context, n *Node, id string) { n.attempt(ctx, id) }
