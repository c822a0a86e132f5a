package node_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// A clock that a test sets.
type clock struct{ ahead atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.ahead.Load())) }
func (c *clock) skip(d time.Duration) { c.ahead.Add(int64(d)) }

func (c *clock) option() ebltest.Option {
	return ebltest.Configure(func(cfg *node.Config) { cfg.Now = c.now })
}

func roots(t *testing.T, p *ebltest.Platform) []record {
	t.Helper()
	return query(t, p, "SELECT last, day, root FROM audit_roots ORDER BY last")
}

const day = 24 * time.Hour

// TestAuditLogIsSignedOnceADay: at the start and while it runs, linked, and not for days
// on which nothing happened.
func TestAuditLogIsSignedOnceADay(t *testing.T) {
	c := &clock{}
	a := ebltest.New(t).Platform("a.example", c.option())
	a.Issue(a.User("al").ID)
	if got := roots(t, a); len(got) != 0 {
		t.Fatalf("on the first day: got %v", got)
	}
	c.skip(day)
	waitFor(t, "the root of yesterday", func() bool { return len(roots(t, a)) == 1 })
	first, err := envelope.OpenRoot(roots(t, a)[0]["root"].(string), a.Entry, true)
	if err != nil {
		t.Fatal(err)
	}
	if want := c.now().UTC().Add(-day).Format(time.DateOnly); first.Day != want || !first.Previous.IsZero() || first.Rows == 0 {
		t.Errorf("got %+v, want the one of %s", first, want)
	}
	a.Restart() // again on the same day: nothing more
	mustBeClean(t, a)
	a.Issue(a.User("al").ID)
	c.skip(3 * day) // stopped for three days
	a.Restart()
	got := roots(t, a)
	if len(got) != 2 {
		t.Fatalf("got %d roots, want 2", len(got))
	}
	second, err := envelope.OpenRoot(got[1]["root"].(string), a.Entry, true)
	if err != nil || second.Previous != envelope.HashOf([]byte(got[0]["root"].(string))) || second.Rows <= first.Rows {
		t.Errorf("got %+v and %v, want it to follow the first", second, err)
	}
	c.skip(5 * day)
	a.Restart()
	if got := roots(t, a); len(got) != 2 {
		t.Errorf("days without a row: got %d roots, want 2", len(got))
	}
	if r := mustBeClean(t, a); r.AuditRoots != 2 {
		t.Errorf("fsck looked at %d roots, want 2", r.AuditRoots)
	}
	// The clock is set back over midnight, and rows are written on a day that is signed.
	c.skip(-6 * day)
	a.Issue(a.User("al").ID)
	a.Restart()
	mustBeClean(t, a)
	c.skip(8 * day)
	a.Restart()
	if got := roots(t, a); len(got) != 3 {
		t.Errorf("after the clock was set back: got %d roots, want 3", len(got))
	}
	mustBeClean(t, a)
}

// TestRootOfADayAhead: the clock was a week ahead when a day was signed. Until that day has
// come nothing can be signed, and fsck blames nobody for it.
func TestRootOfADayAhead(t *testing.T) {
	c := &clock{}
	a := ebltest.New(t).Platform("a.example", c.option(), ebltest.Manual())
	al := a.User("al")
	c.skip(8 * day)
	a.Restart()
	if got := roots(t, a); len(got) != 1 {
		t.Fatalf("got %d roots, want that of the week ahead", len(got))
	}
	c.skip(-8 * day)
	a.Issue(al.ID)
	for range 10 {
		a.Restart()
		mustBeClean(t, a)
		c.skip(day)
	}
	if got := roots(t, a); len(got) != 2 {
		t.Errorf("after that day: got %d roots, want 2", len(got))
	}
	mustBeClean(t, a)
}

// TestAuditLogIsAppendOnly: our own code can neither change nor delete.
func TestAuditLogIsAppendOnly(t *testing.T) {
	c := &clock{}
	a := ebltest.New(t).Platform("a.example", c.option(), ebltest.Manual())
	a.Issue(a.User("al").ID)
	c.skip(day)
	a.Restart()
	for _, q := range []string{"UPDATE audit SET detail = ''", "DELETE FROM audit", "REPLACE INTO audit SELECT * FROM audit WHERE id = 1", "UPDATE audit SET id = id + 1",
		"UPDATE audit_roots SET day = ''", "DELETE FROM audit_roots", "REPLACE INTO audit_roots (last, day, root, at) SELECT last, day, '', 0 FROM audit_roots"} {
		if err := node.Update(t, a.Node(), q); err == nil || !strings.Contains(err.Error(), "append only") {
			t.Errorf("%s: got %v, want a refusal", q, err)
		}
	}
	mustBeClean(t, a)
}

// TestRewrittenAuditLogIsFound: somebody who recomputes all hashes still lacks our key.
func TestRewrittenAuditLogIsFound(t *testing.T) {
	c := &clock{}
	a := ebltest.New(t).Platform("a.example", c.option(), ebltest.Manual())
	a.Issue(a.User("al").ID)
	c.skip(day)
	a.Restart()
	unlock(t, a)
	var previous []byte
	for _, r := range query(t, a, "SELECT id, at, actor, action, bill, detail FROM audit ORDER BY id") {
		detail := r["detail"].(string) + " "
		sum := node.AuditHash(previous, r["at"].(int64), []string{r["actor"].(string), r["action"].(string), hashOf(r["bill"]).String(), detail})
		previous = sum[:]
		node.Exec(t, a.Node(), "UPDATE audit SET detail = ?, hash = ? WHERE id = ?", detail, previous, r["id"])
	}
	report, err := a.Node().Fsck(t.Context(), node.FsckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(report.Findings, func(f node.Finding) bool { return f.Table == "audit" && strings.Contains(f.What, "signed") }) {
		t.Errorf("got %v, want the row that was signed", report.Findings)
	}
}

// TestDayWithoutARootIsFound.
func TestDayWithoutARootIsFound(t *testing.T) {
	c := &clock{}
	a := ebltest.New(t).Platform("a.example", c.option(), ebltest.Manual())
	a.Issue(a.User("al").ID)
	c.skip(3 * day)
	report, err := a.Node().Fsck(t.Context(), node.FsckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Findings) != 1 || report.Findings[0].Table != "audit_roots" {
		t.Errorf("got %v, want the root that is missing", report.Findings)
	}
	a.Restart()
	mustBeClean(t, a)
}
