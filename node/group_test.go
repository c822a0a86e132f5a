package node_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

type exec = func(query string, args ...any) error

// addParty is a job that leaves a trace.
func addParty(name string, then error) func(exec) error {
	return func(run exec) error {
		if err := run("INSERT INTO parties (bill, local_id) VALUES ((SELECT min(id) FROM bills), ?)", name); err != nil {
			return err
		}
		return then
	}
}

func parties(t testing.TB, p *ebltest.Platform) []string {
	t.Helper()
	rows, err := node.DB(p.Node()).Query("SELECT local_id FROM parties WHERE local_id LIKE 'job%' ORDER BY local_id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		list = append(list, s)
	}
	return list
}

// TestOneThatFailsTakesNothingOfTheOthers: an error, a broken rule of the database, a panic
// in one of those who share a commit.
func TestOneThatFailsTakesNothingOfTheOthers(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	a.Issue(a.User("al").ID)
	var commits atomic.Int32
	node.SetBeforeCommit(t, a.Node(), func() (bool, error) { commits.Add(1); return true, nil })
	mine := errors.New("this one alone")
	errs := node.Together(t, a.Node(), addParty("job0", nil), addParty("job1", mine), addParty("job2", nil),
		func(run exec) error {
			return errors.Join(addParty("job3", nil)(run), run("INSERT INTO node (id, domain) VALUES (1, 'x')"))
		},
		func(run exec) error { _ = addParty("job4", nil)(run); panic("in the fifth") },
		addParty("job5", nil))
	for i, want := range []string{"", mine.Error(), "", "UNIQUE", "in the fifth", ""} {
		if got := fmt.Sprint(errs[i]); (errs[i] == nil) != (want == "") || !strings.Contains(got, want) {
			t.Errorf("job %d: got %q, want %q", i, got, want)
		}
	}
	if got, want := parties(t, a), []string{"job0", "job2", "job5"}; !slices.Equal(got, want) {
		t.Errorf("kept %v, want %v", got, want)
	}
	if n := commits.Load(); n != 1 {
		t.Errorf("got %d commits for a group, want 1", n)
	}
	node.Exec(t, a.Node(), "DELETE FROM parties WHERE local_id LIKE 'job%'")
	checkNode(t, a)
}

// TestCommitOfAGroupFails: everybody is told so, whether it happened or not.
func TestCommitOfAGroupFails(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			w := ebltest.New(t)
			a := w.Platform("a.example", ebltest.Manual())
			a.Issue(a.User("al").ID)
			failOnce(t, a, f.commit)
			mine := errors.New("this one alone")
			errs := node.Together(t, a.Node(), addParty("job0", nil), addParty("job1", mine), addParty("job2", nil))
			for i, want := range []error{errDisk, mine, errDisk} {
				if !errors.Is(errs[i], want) {
					t.Errorf("job %d: got %v, want %v", i, errs[i], want)
				}
			}
			if got := len(parties(t, a)); got != map[bool]int{true: 2}[f.commit] {
				t.Errorf("%d rows were kept", got)
			}
			if errs := node.Together(t, a.Node(), addParty("job7", nil)); errs[0] != nil {
				t.Errorf("afterwards: %v", errs[0])
			}
			node.Exec(t, a.Node(), "DELETE FROM parties WHERE local_id LIKE 'job%'")
			checkNode(t, a)
		})
	}
}

// TestTransfersOfAGroupWhoseCommitFails: no sender of the group is given a receipt, and each
// gets one when it asks again, the same one for ever.
func TestTransfersOfAGroupWhoseCommitFails(t *testing.T) {
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			s := newStage(t)
			var bodies [][]byte
			for range 12 {
				body, _ := s.a.Offer(s.bob)
				bodies = append(bodies, body)
			}
			var whole atomic.Bool
			node.SetBeforeCommit(t, s.b.Node(), func() (bool, error) {
				time.Sleep(20 * time.Millisecond) // the others come and wait
				if !whole.Load() {
					return f.commit, errDisk
				}
				return true, nil
			})
			replies, errs := make([]node.Reply, len(bodies)), make([]error, len(bodies))
			put := func() {
				var wg sync.WaitGroup
				for i, body := range bodies {
					wg.Go(func() { replies[i], errs[i] = s.b.Put(s.a, body) })
				}
				wg.Wait()
			}
			put()
			failed := 0
			for i := range bodies {
				if errs[i] != nil {
					failed++
					if replies[i] != (node.Reply{}) || node.AsError(errs[i]).Code != node.Unavailable {
						t.Errorf("block %d: got %+v and %v", i, replies[i], errs[i])
					}
				}
			}
			if failed == 0 {
				t.Error("no transfer was in a commit that failed: the test tests nothing")
			}
			checkNode(t, s.b)
			whole.Store(true)
			put()
			first := slices.Clone(replies)
			put()
			for i := range bodies {
				if errs[i] != nil || replies[i].Receipt == "" || replies[i].Receipt != first[i].Receipt {
					t.Errorf("block %d: got %+v and %v, want %+v", i, replies[i], errs[i], first[i])
				}
			}
			checkNode(t, s.b)
			mustBeClean(t, s.b)
		})
	}
}

// TestSameBlockFromManyAtOnce: in one group or in several, there is one receipt.
func TestSameBlockFromManyAtOnce(t *testing.T) {
	s := newStage(t)
	body, doc := s.a.Offer(s.bob)
	node.SetBeforeCommit(t, s.b.Node(), func() (bool, error) { time.Sleep(5 * time.Millisecond); return true, nil })
	replies := make([]node.Reply, 40)
	var wg sync.WaitGroup
	for i := range replies {
		wg.Go(func() {
			var err error
			if replies[i], err = s.b.Put(s.a, body); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, r := range replies {
		if r.Receipt == "" || r.Receipt != replies[0].Receipt {
			t.Fatalf("got %+v and %+v", r, replies[0])
		}
	}
	mustHold(t, s.w, doc, s.bob)
	checkNode(t, s.b)
}

// TestOneBillToTwoInOneGroup: the second order sees what the first did, though neither is
// committed.
func TestOneBillToTwoInOneGroup(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	al, ann, abe := a.User("al"), a.User("ann"), a.User("abe")
	doc := a.Issue(al.ID)
	node.SetBeforeCommit(t, a.Node(), func() (bool, error) { time.Sleep(5 * time.Millisecond); return true, nil })
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote([]string{ann.ID, abe.ID}[i%2])})
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
		}
	}
	if done != 1 {
		t.Errorf("%d orders moved one bill", done)
	}
	checkNode(t, a)
}

// TestCloseWhileOthersWait: who waits behind the transaction under way is told, and nothing
// hangs.
func TestCloseWhileOthersWait(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	a.User("al")
	n := a.Node()
	entered, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	node.SetBeforeCommit(t, n, func() (bool, error) { once.Do(func() { close(entered) }); <-free; return true, nil })
	errs := make(chan error, 8)
	for range cap(errs) {
		go func() { errs <- n.Ready(t.Context()) }()
	}
	<-entered
	stopped := make(chan struct{})
	go func() { a.Stop(); close(stopped) }()
	time.Sleep(20 * time.Millisecond)
	close(free)
	<-stopped
	done := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			done++
		}
	}
	if done == 0 {
		t.Error("the transaction under way was not waited for")
	}
	if err := n.Ready(t.Context()); err == nil {
		t.Error("a closed node writes")
	}
}

// TestWriterDoesNotWaitForWhoNeverComes: it waits a moment for others, and then commits; and
// whoever was refused, or found his answer, is expected no more.
func TestWriterDoesNotWaitForWhoNeverComes(t *testing.T) {
	s := newStage(t)
	n := s.b.Node()
	arrived := node.Expect(n)
	for range 20 {
		if err := n.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	arrived()
	arrived()
	good, _ := s.a.Offer(s.bob)
	mustAccept(t, s.b, s.a, good)
	mustAccept(t, s.b, s.a, good)
	bad := edit(t, good, func(b *envelope.Transferblock) { b.Entries[0] = ebltest.BadSignature(t, b.Entries[0]) })
	_, _ = s.b.Put(s.a, bad)
	withKey(t, s.a, func() {
		unknown, _ := s.a.Offer(s.bob)
		_, _ = s.b.Put(s.a, unknown)
	})
	if got := node.Expected(n); got != 0 {
		t.Errorf("%d are expected, and nobody comes", got)
	}
}
