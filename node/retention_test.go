package node_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
)

// TestRetentionDeletesAnswersAndSaysSo: with the document of a bill that ended ten years ago go
// the kept answers of authorities; a legal hold keeps both. Each hold, release and deletion is a
// row of the audit log with who, which bill and why, and the log still holds together.
func TestRetentionDeletesAnswersAndSaysSo(t *testing.T) {
	c := &clock{}
	w := ebltest.New(t)
	ca := catest.New(t, "Consortium")
	keep := ebltest.Configure(func(cfg *node.Config) { cfg.Retention = node.MinRetention })
	// The short life of its certificates is the proof that they stand: nobody is asked.
	a := w.Platform("a.example", c.option(), ebltest.Under(ca, catest.Valid(time.Now().Add(-24*time.Hour), time.Now().Add(6*24*time.Hour))),
		ebltest.WithEntry(func(p *identity.Platform) { p.OCSP.ShortLived = true }))
	b := w.Platform("b.example", c.option(), keep)
	bob, al := b.User("bob"), a.User("al")
	gone, held := a.Issue(bob.ID), a.Issue(bob.ID)
	for _, doc := range []envelope.Hash{gone, held} {
		b.Transfer(bob, doc, al.ID) // it ended here: away
	}
	a.Stop()
	if err := b.Node().Hold(t.Context(), "olga", held, "claim 2026-114", false); err != nil {
		t.Fatal(err)
	}
	if err := b.Node().Hold(t.Context(), "olga", held, "  ", true); err == nil {
		t.Error("a hold was released without a reason")
	}
	kept := func(table string) (list []string) {
		t.Helper()
		for _, r := range query(t, b, "SELECT DISTINCT lower(hex(document_hash)) AS h FROM bills JOIN "+table+" ON bill = bills.id") {
			list = append(list, fmt.Sprint(r["h"]))
		}
		slices.Sort(list)
		return list
	}
	both := []string{gone.String(), held.String()}
	slices.Sort(both)
	if got := kept("evidence"); !slices.Equal(got, both) {
		t.Fatalf("got evidence of %v, want of both", got)
	}
	c.skip(node.MinRetention + time.Hour)
	b.Restart()
	waitFor(t, "the document to go", func() bool { return !slices.Contains(kept("documents"), gone.String()) })
	for _, table := range []string{"documents", "evidence"} {
		if got := kept(table); !slices.Equal(got, []string{held.String()}) {
			t.Errorf("%s: got %v, want of the held one alone", table, got)
		}
	}
	if err := b.Node().Hold(t.Context(), "otto", held, "claim 2026-114 is settled", true); err != nil {
		t.Fatal(err)
	}
	c.skip(25 * time.Hour)
	b.Restart()
	waitFor(t, "the released one to go", func() bool { return len(kept("documents")) == 0 && len(kept("evidence")) == 0 })
	var got []string
	for _, r := range query(t, b, "SELECT actor, action, lower(hex(bill)) AS bill, detail FROM audit WHERE action LIKE 'bill.h%' OR action = 'bill.documentDeleted' ORDER BY id") {
		got = append(got, fmt.Sprint(r["actor"], " ", r["action"], " ", strings.NewReplacer(gone.String(), "GONE", held.String(), "HELD").Replace(fmt.Sprint(r["bill"])), " ", r["detail"]))
	}
	want := []string{"olga bill.held HELD claim 2026-114", "b.example bill.documentDeleted GONE its time was over",
		"otto bill.holdReleased HELD claim 2026-114 is settled", "b.example bill.documentDeleted HELD its time was over"}
	if !slices.Equal(got, want) {
		t.Errorf("audit: got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	mustBeClean(t, b)
	// Who had it is still told, to whoever pins the keys; an authority's path went with the evidence.
	file := bundleOf(t, b, held, -1)
	pinned := *a.Entry
	pinned.Mode, pinned.Anchors, pinned.Keys = identity.ModePinned, nil, []*identity.Key{a.Signer.Key}
	trust, err := identity.NewTrust(&pinned, b.Entry)
	if err != nil {
		t.Fatal(err)
	}
	if r := judge.File(mustMarshalBundle(t, file), judge.Options{Trust: trust, Now: c.now()}); r.Verdict != judge.ValidThen || r.State.Possessor != al.ID || file.Block.Document != nil {
		t.Errorf("got %s %s (%s) %+v, want VALID AT SIGNING TIME and %s", r.Verdict, r.Rule, r.Detail, r.State, al.ID)
	}
}
