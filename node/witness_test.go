package node_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/internal/witness"
	"eblnode/node"
)

// backup makes a backup of p's database while it runs.
func backup(t testing.TB, p *ebltest.Platform) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backup.db")
	if err := p.Node().Backup(t.Context(), path); err != nil {
		t.Fatal(err)
	}
	return path
}

// restore puts an old database back, beside the new witness, and starts the node.
func restore(t testing.TB, p *ebltest.Platform, backup string) {
	t.Helper()
	p.Stop()
	if _, err := node.Restore(t.Context(), p.Dir, backup, p.Domain(), time.Now()); err != nil {
		t.Fatal(err)
	}
	p.Start()
}

// journal reads the records of a stopped or running node, without those that tell of the
// audit log alone.
func journal(t testing.TB, p *ebltest.Platform) []witness.Record {
	t.Helper()
	var list []witness.Record
	j, err := witness.Open(filepath.Join(p.Dir, node.WitnessFile), func(r witness.Record, _ witness.Line) error {
		if r.Kind != "log" {
			list = append(list, r)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return list
}

// mustMatch fails the test unless what matters of two dumps is equal: not when it was
// stored, nor the audit log, which tells of the restore.
func mustBeAsBefore(t testing.TB, p *ebltest.Platform, before []string) {
	t.Helper()
	keep := func(lines []string) []string {
		var out []string
		for _, l := range lines {
			table, rest, _ := strings.Cut(l, ":")
			switch table {
			case "audit", "orders", "peers", "users", "evidence_keys", "verdict_polls":
				continue
			}
			var fields []string
			for _, f := range strings.Split(rest, " ") {
				name, _, _ := strings.Cut(f, "=")
				switch name {
				case "at", "changed_at", "created_at", "stored_at", "sent_at", "settled_at", "version", "id", "bill", "seq":
					continue
				}
				fields = append(fields, f)
			}
			out = append(out, table+": "+strings.Join(fields, " "))
		}
		return out
	}
	if got := changes(keep(before), keep(dump(t, p))); len(got) != 0 {
		t.Errorf("%s: after the restore differs %v", p.Domain(), got)
	}
}

// TestRestoredDatabaseLearnsFromTheWitness: everything that a node can do happens after
// the backup. The old database with the new witness ends where the new one was.
func TestRestoredDatabaseLearnsFromTheWitness(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	issuer := a.User("issuer", node.IssuerRole)
	al, ann, bob := a.User("al"), a.User("ann"), b.User("bob")
	before := map[string]envelope.Hash{}
	for _, name := range []string{"sent", "endorsed", "refused", "surrendered", "still"} {
		before[name] = a.Issue(al.ID)
	}
	old := backup(t, a)

	a.Transfer(al, before["sent"], bob.ID)
	a.Transfer(al, before["endorsed"], ann.ID)
	a.Settled(a.Move(al, before["refused"], envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	a.Move(al, before["surrendered"], envelope.Surrender, "")
	if _, err := a.Node().Honour(t.Context(), issuer.User, before["surrendered"], node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	fresh := a.Issue(al.ID)
	there := a.Issue(ann.ID)
	a.Transfer(ann, there, bob.ID)
	b.Transfer(bob, there, al.ID) // came home
	gone := b.Issue(bob.ID)
	b.Transfer(bob, gone, al.ID)
	a.Transfer(al, gone, ann.ID)
	a.Transfer(ann, gone, bob.ID) // came and went
	bad, _ := b.Offer("nobody@a.example")
	first, err := a.Put(b, bad)
	if err != nil || first.Rejection == "" {
		t.Fatal(first, err)
	}
	state := dump(t, a)
	records := len(journal(t, a))

	restore(t, a, old)
	mustBeAsBefore(t, a, state)
	again, err := a.Put(b, bad)
	if err != nil || again.Rejection != first.Rejection {
		t.Errorf("the rejection changed: %v", err)
	}
	mustHold(t, w, before["sent"], bob.ID)
	mustHold(t, w, before["endorsed"], ann.ID)
	mustHold(t, w, before["refused"], al.ID)
	mustHold(t, w, before["still"], al.ID)
	mustHold(t, w, fresh, al.ID)
	mustHold(t, w, there, al.ID)
	mustHold(t, w, gone, bob.ID)
	checkAll(t, w)
	if got := len(journal(t, a)); got != records {
		t.Errorf("got %d records after the restore, want the %d before: what is entered again is not new", got, records)
	}

	// And goes on, and once more from the same backup.
	a.Transfer(al, fresh, bob.ID)
	a.Transfer(al, there, bob.ID)
	state = dump(t, a)
	restore(t, a, old)
	mustBeAsBefore(t, a, state)
	a.Restart()
	mustBeAsBefore(t, a, state)
	checkAll(t, w)
}

// TestRestoredBillIsNotSpentTwice: the bill left after the backup, and its receipt never
// came. With the old database alone it could be given to another platform.
func TestRestoredBillIsNotSpentTwice(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("c.example")
	al, bob, cees := a.User("al"), b.User("bob"), c.User("cees")
	x := tap(w)
	doc := a.Issue(al.ID)
	old := backup(t, a)
	moved := a.Move(al, doc, envelope.Transfer, bob.ID)
	x.answer(lose) // b accepts, and its answer is lost
	stop := a.Run()
	waitFor(t, "an attempt", func() bool { return a.View(doc).Transfer.Attempts > 0 })
	stop()

	restore(t, a, old)
	v := a.View(doc)
	if v.Control != node.Locked || v.Transfer == nil || v.Transfer.ID != moved.Transfer || v.Transfer.State != node.Sending {
		t.Fatalf("got %s with %+v, want the transfer in doubt", v.Control, v.Transfer)
	}
	_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(cees.ID)})
	mustRefuse(t, err, node.Conflict, "locked")
	x.answer(nil)
	stop = a.Run()
	defer stop()
	a.Settled(moved.Transfer, node.Accepted)
	x.mustSendTheSame(t, doc)
	mustHold(t, w, doc, bob.ID)
	checkAll(t, w)
}

// TestQuarantineLastsWhileTheWitnessCannotBeEntered: the trust entry of the addressee came
// after the backup, so its receipt cannot be checked. Nothing moves until it is there.
func TestQuarantineLastsWhileTheWitnessCannotBeEntered(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example")
	al, ann := a.User("al"), a.User("ann")
	doc, other := a.Issue(al.ID), a.Issue(al.ID)
	old := backup(t, a)
	b := w.Platform("b.example")
	c := w.Platform("c.example")
	bob := b.User("bob")
	a.Transfer(al, doc, bob.ID)
	back := b.Issue(bob.ID)
	b.Transfer(bob, back, al.ID)
	block := b.Block(back)
	restore(t, a, old)
	a.Trust(c)
	if v := a.View(doc); v.Quarantine == "" || !strings.Contains(v.Reason, "b.example") {
		t.Fatalf("got %q, want a quarantine that names b.example", v.Reason)
	}
	held, err := a.Node().Witness(t.Context())
	if err != nil || len(held.Bills) != 2 {
		t.Fatalf("got %+v and %v, want two bills", held, err)
	}
	for _, b := range held.Bills { // the cure of docs/OPERATIONS.md goes by these words
		if want := "there is no trust entry for b.example"; !strings.Contains(b.Problem, want) {
			t.Errorf("got %q, want %q", b.Problem, want)
		}
	}
	for name, do := range map[string]func() error{
		"transfer to another platform": func() error {
			_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(c.User("cees").ID)})
			return err
		},
		"endorsement": func() error {
			_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID)})
			return err
		},
		"surrender": func() error {
			_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Surrender})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := mustRefuse(t, do(), node.Conflict, "locked")
			if !strings.Contains(e.Detail, "quarantine") {
				t.Errorf("got %q", e.Detail)
			}
		})
	}
	a.Transfer(al, other, ann.ID) // which nobody named
	totals, err := a.Node().Totals(t.Context())
	if err != nil || totals.Quarantined != 2 || totals.Frozen {
		t.Errorf("got %+v and %v, want 2 bills in quarantine", totals, err)
	}
	if v := a.View(doc); v.Quarantine == "" {
		t.Error("the attempts freed the bill")
	}
	a.Trust(b)
	waitFor(t, "the quarantine to end", func() bool { return a.View(doc).Quarantine == "" && a.View(doc).Control == node.Away })
	waitFor(t, "the bill that came", func() bool { return len(w.InControl(back)) == 1 })
	mustHold(t, w, back, al.ID)
	first, err := a.Put(b, block)
	if err != nil || first.Receipt == "" {
		t.Errorf("the peer's repeat got %+v and %v, want the receipt that it had", first, err)
	}
	checkAll(t, w)
}

// TestBlockFromBeforeTheBackupIsNotAcceptedTwice: a bill came and went after the backup. The
// database knows nothing of it, and its first sender sends its block once more.
func TestBlockFromBeforeTheBackupIsNotAcceptedTwice(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al := a.User("al")
	old := backup(t, a)
	c := w.Platform("c.example")
	doc := b.Issue(al.ID)
	block := b.Block(doc)
	receipt, err := a.Put(b, block)
	if err != nil {
		t.Fatal(err)
	}
	a.Transfer(al, doc, c.User("cees").ID)
	restore(t, a, old) // without c's trust entry
	got, err := a.Put(b, block)
	if err != nil || got != receipt {
		t.Errorf("got %+v and %v, want the stored receipt", got, err)
	}
	longer := b.Extend(block, ebltest.Tx{Instruction: envelope.Transfer, To: al.ID})
	if got, err := a.Put(b, longer); got.Receipt != "" {
		t.Errorf("got %+v and %v", got, err)
	}
	if v := a.View(doc); v.Quarantine == "" {
		t.Errorf("got %s of %s, want quarantine", v.Control, v.Possessor)
	}
	a.Trust(c)
	waitFor(t, "the quarantine to end", func() bool { return a.View(doc).Quarantine == "" })
	mustHold(t, w, doc, "cees@c.example")
	checkAll(t, w)
}

var errWitness = errors.New("test: the witness cannot be written")

// TestCrashBetweenCommitAndWitness: the change is in the database, its record not on the
// disk of the journal. Nothing was revealed; the next start completes the journal.
func TestCrashBetweenCommitAndWitness(t *testing.T) {
	for _, torn := range []string{"nothing written", "half a record", "all written"} {
		t.Run(torn, func(t *testing.T) {
			s := newStage(t)
			body, doc := s.a.Offer(s.bob)
			whole := len(journal(t, s.b))
			size := fileSize(t, s.b)
			node.SetBeforeWitness(t, s.b.Node(), func() error { return errWitness })
			r, err := s.b.Put(s.a, body)
			if r != (node.Reply{}) {
				t.Errorf("revealed %+v before the witness had it", r)
			}
			mustRefuse(t, err, node.Unavailable, "unavailable")
			// Fail-stop: nothing more is promised, not even what is stored.
			node.SetBeforeWitness(t, s.b.Node(), nil)
			for range 2 {
				r, err = s.b.Put(s.a, body)
				if r != (node.Reply{}) {
					t.Errorf("revealed %+v after the witness failed", r)
				}
				mustRefuse(t, err, node.Unavailable, "unavailable")
			}
			if err := s.b.Node().Ready(t.Context()); !errors.Is(err, witness.ErrFailed) {
				t.Errorf("ready: got %v", err)
			}
			s.b.Stop()
			switch torn {
			case "nothing written":
				truncate(t, s.b, size)
			case "half a record":
				truncate(t, s.b, (size+fileSize(t, s.b))/2)
			}
			s.b.Start()
			if got := len(journal(t, s.b)); got != whole+1 {
				t.Errorf("got %d records, want %d", got, whole+1)
			}
			first, err := s.b.Put(s.a, body)
			if err != nil || first.Receipt == "" {
				t.Fatal(first, err)
			}
			mustHold(t, s.w, doc, s.bob)
			checkNode(t, s.b)
		})
	}
}

// TestWitnessThatFailsEndsTheNode: nobody may be told anything after it, so the process
// ends, and whoever starts it again has it mended.
func TestWitnessThatFailsEndsTheNode(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
	al := a.User("al")
	ended := make(chan error, 1)
	go func() { ended <- a.Node().Run(t.Context()) }()
	node.SetBeforeWitness(t, a.Node(), func() error { return errWitness })
	body, _ := b.Offer(al.ID)
	_, err := a.Put(b, body)
	mustRefuse(t, err, node.Unavailable, "unavailable")
	select {
	case err := <-ended:
		if !errors.Is(err, witness.ErrFailed) || !errors.Is(err, errWitness) {
			t.Errorf("the outbox ended with %v, want ErrFailed and its cause", err)
		}
	case <-time.After(ebltest.Patience):
		t.Error("the node goes on")
	}
}

// TestWitnessTakenAwayEndsTheNode: what it writes is in no file that a start finds, and with
// the next loss of the database it would be gone, though it was acknowledged.
func TestWitnessTakenAwayEndsTheNode(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"deleted":           os.Remove,
		"replaced":          func(path string) error { return os.WriteFile(path+".new", nil, 0o600) },
		"cut by a rotation": func(path string) error { return os.Truncate(path, 0) },
		"written to": func(path string) error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err == nil {
				_, err = f.WriteString("x")
			}
			return errors.Join(err, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example")
			al := a.User("al")
			ended := make(chan error, 1)
			go func() { ended <- a.Node().Run(t.Context()) }()
			path := filepath.Join(a.Dir, node.WitnessFile)
			err := harm(path)
			if name == "replaced" {
				err = errors.Join(err, os.Rename(path+".new", path))
			}
			if err != nil {
				t.Fatal(err)
			}
			body, _ := b.Offer(al.ID)
			_, err = a.Put(b, body)
			mustRefuse(t, err, node.Unavailable, "unavailable")
			select {
			case err := <-ended:
				if !errors.Is(err, witness.ErrFailed) || !strings.Contains(err.Error(), "its file") {
					t.Errorf("the outbox ended with %v, want ErrFailed and its cause", err)
				}
			case <-time.After(20 * time.Second):
				t.Error("the node goes on")
			}
			a.Restart()
			v, err := a.Node().Witness(t.Context())
			mended := name == "written to" // the database has what came after
			if err != nil || (v.Frozen == "") != mended {
				t.Errorf("started again: got %+v and %v, want everything frozen, or all of it mended", v, err)
			}
		})
	}
}

func fileSize(t testing.TB, p *ebltest.Platform) int64 {
	t.Helper()
	info, err := os.Stat(filepath.Join(p.Dir, node.WitnessFile))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

func truncate(t testing.TB, p *ebltest.Platform, size int64) {
	t.Helper()
	if err := os.Truncate(filepath.Join(p.Dir, node.WitnessFile), size); err != nil {
		t.Fatal(err)
	}
}

// TestCommitSaidToHaveFailedIsWitnessed: the commit happened and was reported as failed; the
// next one must not leave a hole in the journal.
func TestCommitSaidToHaveFailedIsWitnessed(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	al, ann := a.User("al"), a.User("ann")
	doc, other := a.Issue(al.ID), a.Issue(al.ID)
	failOnce(t, a, true)
	_, err := a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID)})
	mustRefuse(t, err, node.Unavailable, "unavailable")
	a.Transfer(al, other, ann.ID)
	if got := len(journal(t, a)); got != 4 {
		t.Errorf("got %d records, want 4", got)
	}
	a.Restart()
	mustHold(t, w, doc, ann.ID)
	checkNode(t, a)
}

// TestWitnessIsOnTheDiskBeforeTheAnswer: whatever the number of callers, none has its
// answer before the record is synced.
func TestWitnessIsOnTheDiskBeforeTheAnswer(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	al, ann := a.User("al"), a.User("ann")
	var docs []envelope.Hash
	for range 16 {
		docs = append(docs, a.Issue(al.ID))
	}
	var syncing, answered atomic.Int32
	hold := make(chan struct{})
	node.SetBeforeWitness(t, a.Node(), func() error { syncing.Add(1); <-hold; return nil })
	done := make(chan error)
	for _, d := range docs {
		go func() {
			_, err := a.Node().Move(context.Background(), al.User, d, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID)})
			answered.Add(1)
			done <- err
		}()
	}
	waitFor(t, "the first fsync", func() bool { return syncing.Load() > 0 })
	committed := func() (n int) {
		if err := node.DB(a.Node()).QueryRow("SELECT count(*) FROM bills WHERE possessor = ?", ann.ID).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	waitFor(t, "all to be in a commit or in the queue", func() bool { n := committed(); return n > 0 && n+node.Waiting(a.Node()) == len(docs) })
	if n := answered.Load(); n != 0 {
		t.Errorf("%d answers before the witness was on the disk", n)
	}
	close(hold)
	for range docs {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := syncing.Load(); n > 2 {
		t.Errorf("got %d fsyncs for %d callers who waited together, want 2", n, len(docs))
	}
	if got := len(journal(t, a)); got != 32 {
		t.Errorf("got %d records, want 32", got)
	}
}

// TestChangeOfControlWithoutARecordIsNotCommitted: the mistake of a later hand.
func TestChangeOfControlWithoutARecordIsNotCommitted(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	doc := a.Issue(a.User("al").ID)
	before := dump(t, a)
	if err := node.SaveWithoutRecord(t, a.Node(), doc); err == nil || !strings.Contains(err.Error(), "without a record") {
		t.Errorf("got %v", err)
	}
	if got := changes(before, dump(t, a)); len(got) != 0 {
		t.Errorf("changed %v", got)
	}
}

func TestStrangeWitnessFreezesEverything(t *testing.T) {
	path := func(p *ebltest.Platform) string { return filepath.Join(p.Dir, node.WitnessFile) }
	for name, f := range map[string]struct {
		spoil func(t *testing.T, p *ebltest.Platform) error
		words string
	}{
		"missing": {func(_ *testing.T, p *ebltest.Platform) error { return os.Remove(path(p)) }, "is missing"},
		"of another node": {func(t *testing.T, p *ebltest.Platform) error {
			o := ebltest.New(t).Platform("a.example", ebltest.Manual())
			o.Stop()
			text, err := os.ReadFile(path(o))
			return errors.Join(err, os.WriteFile(path(p), text, 0o600))
		}, "another node"},
		"no journal": {func(_ *testing.T, p *ebltest.Platform) error {
			return os.WriteFile(path(p), []byte("bills of lading\n"), 0o600)
		}, "is none"},
		"empty": {func(_ *testing.T, p *ebltest.Platform) error { return os.Truncate(path(p), 0) }, "is none"},
		"a changed record": {func(_ *testing.T, p *ebltest.Platform) error {
			text, err := os.ReadFile(path(p))
			text[len(text)/3] ^= 1
			return errors.Join(err, os.WriteFile(path(p), text, 0o600))
		}, "lost"},
		"an older one": {func(t *testing.T, p *ebltest.Platform) error {
			text, err := os.ReadFile(path(p))
			lines := strings.SplitAfter(string(text), "\n")
			return errors.Join(err, os.WriteFile(path(p), []byte(strings.Join(lines[:2], "")), 0o600))
		}, "lost"},
	} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
			al, ann := a.User("al"), a.User("ann")
			doc := a.Issue(al.ID)
			known, _ := b.Offer(al.ID)
			receipt, err := a.Put(b, known)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				a.Issue(al.ID)
			}
			a.Stop()
			whole, err := os.ReadFile(path(a))
			if err != nil {
				t.Fatal(err)
			}
			if err := f.spoil(t, a); err != nil {
				t.Fatal(err)
			}
			for range 2 { // and it stays so
				a.Start()
				if v := a.View(doc); !strings.Contains(v.Quarantine, f.words) {
					t.Errorf("got %q, want %q", v.Quarantine, f.words)
				}
				// Not mustChange: fsck rightly finds the witness wrong.
				before := dump(t, a)
				_, err = a.Node().Move(t.Context(), al.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(ann.ID)})
				mustRefuse(t, err, node.Conflict, "locked")
				_, err = a.Node().Issue(t.Context(), a.User("issuer").User, node.IssueOrder{Document: a.Document(), To: ebltest.Quote(al.ID)})
				mustRefuse(t, err, node.Conflict, "locked")
				unknown, _ := b.Offer(al.ID)
				bad, _ := b.Offer("nobody@a.example")
				for _, body := range [][]byte{unknown, bad} {
					if r, err := a.Put(b, body); r != (node.Reply{}) || node.AsError(err).Text != "quarantine" {
						t.Errorf("got %+v and %v", r, err)
					}
				}
				if r, err := a.Put(b, known); err != nil || r != receipt {
					t.Errorf("a repeat got %+v and %v", r, err)
				}
				if after := dump(t, a); !slices.Equal(before, after) {
					t.Errorf("something changed: %v", changes(before, after))
				}
				a.Stop()
			}
			// The right file is found again.
			if err := os.WriteFile(path(a), whole, 0o600); err != nil {
				t.Fatal(err)
			}
			a.Start()
			a.Transfer(al, doc, ann.ID)
			checkNode(t, a)
		})
	}
}

// TestWitnessOfAnotherHistory: the database was copied, and both went on. Neither's witness
// speaks for the other's database.
func TestWitnessOfAnotherHistory(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	al, ann := a.User("al"), a.User("ann")
	doc := a.Issue(al.ID)
	old := backup(t, a)
	a.Stop()
	before, err := os.ReadFile(filepath.Join(a.Dir, node.WitnessFile))
	if err != nil {
		t.Fatal(err)
	}
	a.Start()
	a.Transfer(al, doc, ann.ID)
	other := backup(t, a)
	a.Stop()
	// The other history: the old database with the old witness, a thing that only who owns
	// both can do.
	if err := os.WriteFile(filepath.Join(a.Dir, node.WitnessFile), before, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := node.Restore(t.Context(), a.Dir, old, a.Domain(), time.Now()); err != nil {
		t.Fatal(err)
	}
	a.Start()
	a.Transfer(al, doc, a.User("eve").ID)
	a.Issue(al.ID)
	a.Stop()
	if _, err := node.Restore(t.Context(), a.Dir, other, a.Domain(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	a.Start()
	if v := a.View(doc); !strings.Contains(v.Quarantine, "another history") {
		t.Errorf("got %q", v.Quarantine)
	}
}

func TestMissingDatabaseBesideAWitnessIsRefused(t *testing.T) {
	p := stopped(t)
	path := filepath.Join(p.Dir, node.DatabaseFile)
	for _, gone := range []func() error{func() error { return os.Truncate(path, 0) }, func() error { return os.Remove(path) }} {
		if err := gone(); err != nil {
			t.Fatal(err)
		}
		n, err := node.Open(t.Context(), p.Config())
		if err == nil {
			_ = n.Close()
			t.Fatal("opened")
		}
		if !strings.Contains(err.Error(), "witness") || !strings.Contains(err.Error(), "restore") {
			t.Errorf("got %v", err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a database was made: %v", err)
	}
}

func TestBackupOverwritesNothing(t *testing.T) {
	p := ebltest.New(t).Platform("a.example", ebltest.Manual())
	p.Issue(p.User("al").ID)
	path := backup(t, p)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v and %v, want 0600", info.Mode(), err)
	}
	err = p.Node().Backup(t.Context(), path)
	mustRefuse(t, err, node.Conflict, "conflict")
	if again, err := os.Stat(path); err != nil || again.Size() != info.Size() {
		t.Errorf("touched: %v", err)
	}
}

func TestRestoreRefusesWhatIsNoBackup(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual())
	doc := a.Issue(a.User("al").ID)
	good, foreign := backup(t, a), backup(t, b)
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name string, text []byte) string {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	if _, err := node.Restore(t.Context(), a.Dir, good, a.Domain(), time.Now()); !errors.Is(err, node.ErrInUse) {
		t.Errorf("beside a running node: got %v", err)
	}
	a.Stop()
	write("copied-wal", []byte("log"))
	for name, f := range map[string]struct {
		path   string
		domain identity.Host
		words  string
	}{
		"none":                {filepath.Join(dir, "none"), a.Domain(), "no such file"},
		"of another platform": {foreign, a.Domain(), "belongs to b.example"},
		"no database":         {write("text", []byte(strings.Repeat("bill", 2000))), a.Domain(), "or no database"},
		"cut in half":         {write("half", text[:len(text)/2]), a.Domain(), "damaged"},
		"empty":               {write("empty", nil), a.Domain(), "no database of a node"},
		"copied beside a log": {write("copied", text), a.Domain(), "-wal is beside it"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := node.Restore(t.Context(), a.Dir, f.path, f.domain, time.Now()); err == nil || !strings.Contains(err.Error(), f.words) {
				t.Errorf("got %v, want %q", err, f.words)
			}
			left, err := filepath.Glob(filepath.Join(a.Dir, "*restoring*"))
			if err != nil || len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
	a.Start()
	mustHold(t, w, doc, "al@a.example")
}

// TestCancelledTransferIsNotSentAfterARestore: it was prepared at the time of the backup,
// then cancelled, and the bill given to somebody else.
func TestCancelledTransferIsNotSentAfterARestore(t *testing.T) {
	for _, when := range []string{"prepared before the backup", "prepared after it"} {
		t.Run(when, func(t *testing.T) {
			w := ebltest.New(t)
			a, b, c := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example"), w.Platform("c.example")
			al, bob, cees := a.User("al"), b.User("bob"), c.User("cees")
			x := tap(w)
			doc := a.Issue(al.ID)
			old := backup(t, a)
			first := a.Move(al, doc, envelope.Transfer, bob.ID)
			if when == "prepared before the backup" {
				old = backup(t, a)
			}
			if _, err := a.Node().Cancel(t.Context(), al.User, first.Transfer, node.Once{}); err != nil {
				t.Fatal(err)
			}
			second := a.Move(al, doc, envelope.Transfer, cees.ID)
			restore(t, a, old)
			stop := a.Run()
			defer stop()
			a.Settled(second.Transfer, node.Accepted)
			if v, err := a.Node().Transfer(t.Context(), al.User, first.Transfer); err != nil || v.State != node.Cancelled {
				t.Errorf("got %+v and %v, want it cancelled", v, err)
			}
			mustHold(t, w, doc, cees.ID)
			x.mustSendTheSame(t, doc)
			checkAll(t, w)
		})
	}
}
