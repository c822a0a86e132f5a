package node_test

import (
	"os"
	"path/filepath"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestWordOfADisabledOperatorFreesNothing: one operator proposed a release and was sent away.
// Another one alone is not two.
func TestWordOfADisabledOperatorFreesNothing(t *testing.T) {
	for name, everything := range map[string]bool{"a bill": false, "everything": true} {
		t.Run(name, func(t *testing.T) {
			w := ebltest.New(t)
			a := w.Platform("a.example", ebltest.Manual())
			gone, two, three := a.User("gone", node.OperatorRole), a.User("two", node.OperatorRole), a.User("three", node.OperatorRole)
			old := backup(t, a)
			doc := w.Platform("b.example").Issue(a.User("al").ID)
			o := node.ReleaseOrder{Document: doc, Reason: "asked", Evidence: letter}
			if everything {
				o.Document = envelope.Hash{}
				a.Stop()
				if err := os.Remove(filepath.Join(a.Dir, node.WitnessFile)); err != nil {
					t.Fatal(err)
				}
				a.Start()
			} else {
				restore(t, a, old)
			}
			say := func(by *ebltest.User) bool {
				t.Helper()
				done, err := a.Node().Release(t.Context(), by.User, o)
				if err != nil {
					t.Fatal(err)
				}
				return done
			}
			if say(gone) {
				t.Fatal("one operator alone freed it")
			}
			if err := a.Node().DisableUser(t.Context(), "admin", gone.Local); err != nil {
				t.Fatal(err)
			}
			if say(two) {
				t.Error("freed by one active operator, with the word of one that is disabled")
			}
			if !say(three) {
				t.Error("two active operators did not free it")
			}
			mustBeClean(t, a)
		})
	}
}

// TestWordAboutAnEarlierFreezeFreesNothing: one operator wanted everything released, and then
// the witness was found. Days later it is lost again, and one other operator alone is not two.
func TestWordAboutAnEarlierFreezeFreesNothing(t *testing.T) {
	a := ebltest.New(t).Platform("a.example", ebltest.Manual())
	one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
	a.Issue(a.User("al").ID)
	path := filepath.Join(a.Dir, node.WitnessFile)
	move := func(from, to string) {
		t.Helper()
		a.Stop()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
		a.Start()
	}
	say := func(by *ebltest.User) bool {
		t.Helper()
		done, err := a.Node().Release(t.Context(), by.User, node.ReleaseOrder{Reason: "asked", Evidence: letter})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	move(path, path+".lost")
	if say(one) {
		t.Fatal("one operator alone freed it")
	}
	move(path+".lost", path)
	move(path, path+".lost")
	if w, err := a.Node().Witness(t.Context()); err != nil || w.Frozen == "" || len(w.Releases) > 0 {
		t.Errorf("got %+v and %v, want it frozen and no proposal", w, err)
	}
	a.Restart() // the same freeze
	if say(two) {
		t.Fatal("freed by one operator, with what another one had said of an earlier freeze")
	}
	a.Restart()
	if !say(one) {
		t.Error("two operators did not free it")
	}
	mustBeClean(t, a)
}

// TestWordAboutAnEarlierRestoreFreesNothing is the same of a bill in quarantine.
func TestWordAboutAnEarlierRestoreFreesNothing(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	one, two := a.User("one", node.OperatorRole), a.User("two", node.OperatorRole)
	al := a.User("al")
	say := func(by *ebltest.User, doc envelope.Hash) bool {
		t.Helper()
		done, err := a.Node().Release(t.Context(), by.User, node.ReleaseOrder{Document: doc, Reason: "asked", Evidence: letter})
		if err != nil {
			t.Fatal(err)
		}
		return done
	}
	first := backup(t, a)
	b := w.Platform("b.example")
	doc := b.Issue(al.ID)
	restore(t, a, first) // which knows no b.example
	if say(one, doc) {
		t.Fatal("one operator alone freed it")
	}
	a.Trust(b)
	a.Restart()
	mustHold(t, w, doc, al.ID)
	second := backup(t, a) // with the proposal in it
	c := w.Platform("c.example")
	stop := a.Run()
	a.Transfer(al, doc, c.User("carl").ID)
	stop()
	restore(t, a, second) // which knows no c.example, to which the bill has left
	if a.View(doc).Quarantine == "" {
		t.Fatal("the bill is not in quarantine")
	}
	if say(two, doc) {
		t.Fatal("freed by one operator, with what another one had said of an earlier restore")
	}
	if !say(one, doc) {
		t.Error("two operators did not free it")
	}
	mustBeClean(t, a)
}
