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
