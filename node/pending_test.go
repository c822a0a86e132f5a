package node_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// TestJournalIsCompletedToTheByte: what the database keeps of a received block for the
// witness, until that has it, makes the same line again, whatever is in the block.
func TestJournalIsCompletedToTheByte(t *testing.T) {
	s := newStage(t)
	body, doc := s.a.Offer(s.bob)
	for range 3 {
		first, _ := s.a.Offer(s.bob)
		mustAccept(t, s.b, s.a, first)
	}
	mustAccept(t, s.b, s.a, body)
	long, _ := s.a.Offer("desk@a.example")
	for range 40 {
		long = s.a.Extend(long, ebltest.Tx{Instruction: envelope.Transfer, To: "desk2@a.example"}, ebltest.Tx{Instruction: envelope.Transfer, To: "desk@a.example"})
	}
	mustAccept(t, s.b, s.a, s.a.Extend(long, ebltest.Tx{Instruction: envelope.Transfer, To: s.bob}))
	path := filepath.Join(s.b.Dir, node.WitnessFile)
	s.b.Stop()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The newest record is still in the database, whatever came of the journal.
	last := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for _, cut := range []int{last, last + 10, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s.b.Start()
		checkNode(t, s.b)
		mustBeClean(t, s.b)
		s.b.Stop()
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, whole) {
			t.Errorf("cut at %d of %d: the journal is another one now", cut, len(whole))
		}
	}
	s.b.Start()
	mustHold(t, s.w, doc, s.bob)
}

// TestJournalIsNotCompletedWithWhatWasChanged: whoever changes a stored entry meanwhile
// does not get it into the witness.
func TestJournalIsNotCompletedWithWhatWasChanged(t *testing.T) {
	s := newStage(t)
	body, _ := s.a.Offer(s.bob)
	mustAccept(t, s.b, s.a, body)
	node.Exec(t, s.b.Node(), "UPDATE documents SET document = CAST(document || ' ' AS BLOB)")
	path := filepath.Join(s.b.Dir, node.WitnessFile)
	s.b.Stop()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:bytes.LastIndexByte(whole[:len(whole)-1], '\n')+1], 0o600); err != nil {
		t.Fatal(err)
	}
	n, err := node.Open(t.Context(), s.b.Config())
	if err == nil {
		_ = n.Close()
		t.Fatal("a journal was completed with another document")
	}
}
