package node_test

import (
	"testing"

	"eblnode/internal/ebltest"
)

// TestGrowthOfTheWitness measures what docs/OPERATIONS.md says of it ("Backup and restore"):
// bytes in the journal for one bill that is issued and sent away, and for one that comes,
// beyond the document itself.
func TestGrowthOfTheWitness(t *testing.T) {
	const bills = 20
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, bob := a.User("al"), b.User("bob")
	a.Transfer(al, a.Issue(al.ID), bob.ID) // what comes once: keys, the first connection
	document := int64(len(a.Document()))
	beforeA, beforeB := fileSize(t, a), fileSize(t, b)
	for range bills {
		a.Transfer(al, a.Issue(al.ID), bob.ID)
	}
	sent, came := (fileSize(t, a)-beforeA)/bills-document, (fileSize(t, b)-beforeB)/bills-document
	t.Logf("sent: %d bytes, came: %d bytes, and the document of %d", sent, came, document)
	for what, c := range map[string]struct{ got, least, most int64 }{"a bill issued and sent": {sent, 3000, 5000}, "a bill that came": {came, 1200, 2500}} {
		if c.got < c.least || c.got > c.most {
			t.Errorf("%s: got %d bytes in the witness, want %d to %d, as docs/OPERATIONS.md says", what, c.got, c.least, c.most)
		}
	}
}
