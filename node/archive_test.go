package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
)

// look judges the archives below a folder: the rules that are broken.
func look(t *testing.T, dir string, o judge.ArchiveOptions) (rules []string) {
	t.Helper()
	read := func(path string) []byte {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	tree := judge.ArchiveTree{Path: dir, Roots: read(filepath.Join(dir, envelope.RootsName))}
	folders, err := filepath.Glob(filepath.Join(dir, "*", envelope.ArchiveListName))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range folders {
		f := judge.ArchiveFolder{Path: name, Name: filepath.Base(filepath.Dir(name)), List: read(name), Files: map[string]envelope.Hash{}}
		found, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "*"))
		for _, path := range found {
			if path != name {
				f.Files[filepath.Base(path)] = envelope.HashOf(read(path))
			}
		}
		tree.Folders = append(tree.Folders, f)
	}
	for _, r := range judge.Archive(tree, o) {
		if r.Verdict != judge.Valid {
			rules = append(rules, r.Rule)
		}
	}
	return rules
}

// TestArchive writes archives on two days; what is then deleted, put in or changed shows.
func TestArchive(t *testing.T) {
	c := &clock{}
	a := ebltest.New(t).Platform("a.example", c.option())
	al := a.User("al")
	docs := []envelope.Hash{a.Issue(al.ID), a.Issue(al.ID)}
	dir := filepath.Join(t.TempDir(), "archive")
	archive := func(rootsOnly bool) node.Archived {
		t.Helper()
		out, err := a.Node().Archive(t.Context(), "op", dir, rootsOnly)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	trust := stranger(t, a)
	first := archive(false)
	if first.Bills != 2 || first.Roots != 0 || first.Left != 0 {
		t.Errorf("got %+v, want two bills", first)
	}
	if got := look(t, dir, judge.ArchiveOptions{Trust: trust, Now: c.now()}); len(got) != 1 || got[0] != "archive/unsealed" {
		t.Errorf("before the day is over: got %v", got)
	}
	for _, doc := range docs {
		text, err := os.ReadFile(filepath.Join(first.Folder, doc.String()+".json"))
		if err != nil {
			t.Fatal(err)
		}
		if r := judge.File(text, judge.Options{Trust: trust, Now: c.now()}); !r.Verdict.Holds() || r.Made.Selection != "archive" || r.Made.Signature != "good" {
			t.Errorf("a bundle of the archive: got %s %s", r.Verdict, r.Rule)
		}
	}
	c.skip(day)
	a.Issue(al.ID)
	second := archive(false)
	if second.Bills != 3 || second.Roots != 1 {
		t.Errorf("the next day: got %+v, want three bills and one root", second)
	}
	c.skip(day)
	if out := archive(true); out.Folder != "" || out.Roots != 2 {
		t.Errorf("roots only: got %+v, want two", out)
	}
	if got := look(t, dir, judge.ArchiveOptions{Trust: trust, Now: c.now()}); len(got) != 0 {
		t.Errorf("as it was written: got %v, want nothing", got)
	}
	mustBeClean(t, a)

	// What is done to it afterwards shows: TestEveryManipulationOfAnArchiveShows.
	if err := os.RemoveAll(first.Folder); err != nil {
		t.Fatal(err)
	}
	if got := look(t, dir, judge.ArchiveOptions{Trust: trust, Now: c.now()}); len(got) != 1 || got[0] != "archive/deleted" {
		t.Errorf("an archive gone: got %v", got)
	}
	if got := look(t, dir, judge.ArchiveOptions{Trust: stranger(t), Now: c.now()}); len(got) == 0 || got[0] != "archive/platformNotTrusted" {
		t.Errorf("without its trust entry: got %v", got)
	}
	// The folder of another platform is not written to.
	if _, err := ebltest.New(t).Platform("b.example").Node().Archive(t.Context(), "op", dir, false); err == nil {
		t.Error("another platform wrote to the archive")
	}
}

// TestArchiveThatTakesDaysIsNone: no root that a reader waits for would name it, so it is refused,
// and nothing of it stays.
func TestArchiveThatTakesDaysIsNone(t *testing.T) {
	c := &clock{}
	var slow atomic.Bool
	a := ebltest.New(t).Platform("a.example", ebltest.Configure(func(cfg *node.Config) {
		cfg.Now = func() time.Time {
			if slow.Load() {
				c.skip(day)
			}
			return c.now()
		}
	}))
	al := a.User("al")
	a.Issue(al.ID)
	a.Issue(al.ID)
	dir := filepath.Join(t.TempDir(), "archive")
	slow.Store(true)
	_, err := a.Node().Archive(t.Context(), "op", dir, false)
	slow.Store(false)
	if e := node.AsError(err); err == nil || e.Code != node.NotPossible || !strings.Contains(e.Error(), "too late for the roots") {
		t.Errorf("got %v, want it refused as too late", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*Z")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
	if out, err := a.Node().Archive(t.Context(), "op", dir, false); err != nil || out.Bills != 2 {
		t.Errorf("written again: got %+v and %v", out, err)
	}
	mustBeClean(t, a)
}

// TestRetention: what ended ten years ago loses its document, unless it is held; heads,
// envelopes, receipts and verdicts stay, a stranger still sees who was in control, and fsck
// is content. What is still in somebody's control here stays whole.
func TestRetention(t *testing.T) {
	c := &clock{}
	w := ebltest.New(t)
	keep := ebltest.Configure(func(cfg *node.Config) { cfg.Retention = node.MinRetention })
	a, b := w.Platform("a.example", c.option(), keep), w.Platform("b.example", c.option(), keep)
	al, bob, issuer := a.User("al"), b.User("bob"), a.User("issuer", node.IssuerRole)
	away, held, here := a.Issue(bob.ID), a.Issue(bob.ID), a.Issue(al.ID)
	void := a.Issue(bob.ID)
	b.Settled(b.Move(bob, void, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	if _, err := a.Node().Honour(t.Context(), issuer.User, void, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	auditor := &node.User{Local: "auditor", Role: node.AuditorRole}
	hasDocument := func(doc envelope.Hash) bool {
		t.Helper()
		text, err := a.Node().Document(t.Context(), auditor, doc)
		return err == nil && len(text) > 0
	}
	hold := func(doc envelope.Hash, release bool, want node.Code) {
		t.Helper()
		err := a.Node().Hold(t.Context(), "op", doc, "claim 2026-114", release)
		if want == 0 && err != nil || want != 0 && (err == nil || err.(*node.Error).Code != want) {
			t.Errorf("hold (release: %t): got %v, want %d", release, err, want)
		}
	}
	hold(held, true, node.Conflict)
	hold(held, false, 0)
	hold(held, false, node.Conflict)
	hold(envelope.HashOf(nil), false, node.NotFound)
	stop := a.Stop
	_ = stop
	c.skip(node.MinRetention - time.Hour) // nine years and 364 days, and more
	a.Restart()
	time.Sleep(100 * time.Millisecond)
	for _, doc := range []envelope.Hash{away, held, here, void} {
		if !hasDocument(doc) {
			t.Errorf("before its time: the document of %s is gone", doc)
		}
	}
	c.skip(2 * time.Hour)
	a.Restart()
	waitFor(t, "the documents to go", func() bool { return !hasDocument(away) && !hasDocument(void) })
	if !hasDocument(held) || !hasDocument(here) {
		t.Error("a document that is held, or of a bill that is here, is gone")
	}
	mustBeClean(t, a)
	trust := stranger(t, a, b)
	for doc, want := range map[envelope.Hash]string{away: bob.ID, void: ""} {
		file := bundleOf(t, a, doc, -1)
		r := judge.File(mustMarshalBundle(t, file), judge.Options{Trust: trust, Now: c.now()})
		if file.Block.Document != nil || r.Verdict != judge.ValidThen || r.State.Possessor != want || r.State.Length == 0 {
			t.Errorf("without its document: got %s %s %+v, want %q", r.Verdict, r.Rule, r.State, want)
		}
		_, err := a.Node().Block(t.Context(), auditor, doc)
		mustRefuse(t, err, node.NotFound, "notFound")
	}
	hold(away, false, node.Conflict)
	hold(held, true, 0)
	c.skip(25 * time.Hour)
	a.Restart()
	waitFor(t, "the released one to go", func() bool { return !hasDocument(held) })
	mustBeClean(t, a)
}

func mustMarshalBundle(t *testing.T, b *envelope.Bundle) []byte {
	t.Helper()
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
