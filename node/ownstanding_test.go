package node_test

import (
	"errors"
	"testing"
	"time"

	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/judge"
)

// TestSenderKeepsWhatItsAuthoritySaysOfItself: the sender's file is as good as the addressee's
// for a reader who trusts by authority. Where the authority does not answer, or says that the
// key is gone, the transfer ends all the same, and nothing is kept.
func TestSenderKeepsWhatItsAuthoritySaysOfItself(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		desk    func(own *desk, a *ebltest.Platform)
		verdict judge.Verdict
		rule    string
		checks  int
	}{
		"good":             {func(*desk, *ebltest.Platform) {}, judge.Valid, "", 1},
		"nobody answers":   {func(own *desk, _ *ebltest.Platform) { own.stop(errors.New("connection refused")) }, judge.Indeterminate, "revocationUnknown", 0},
		"it is not known":  {func(own *desk, a *ebltest.Platform) { own.say(a, catest.Single{Status: catest.Unknown}) }, judge.Indeterminate, "revocationUnknown", 0},
		"revoked meantime": {func(own *desk, a *ebltest.Platform) { own.say(a, gone(4, now.Add(-time.Hour))) }, judge.Indeterminate, "revocationUnknown", 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			own := &desk{t: t, ca: d.ca, says: map[string]catest.Single{}} // what a is told; b is told that all is well
			w := ebltest.New(t)
			a := w.Platform("a.example", d.under(), own.asks())
			b := w.Platform("b.example", d.asks())
			bob := b.User("bob")
			c.desk(own, a)
			doc := a.Issue(bob.ID)
			mustHold(t, w, doc, bob.ID)
			trust := stranger(t, a, b)
			file := bundleOf(t, a, doc, -1)
			if r := judged(t, file, trust); r.Verdict != c.verdict || r.Rule != c.rule {
				t.Errorf("the sender's file: got %s %s (%s), want %s %s", r.Verdict, r.Rule, r.Detail, c.verdict, c.rule)
			}
			if r := judged(t, bundleOf(t, b, doc, -1), trust); r.Verdict != judge.Valid {
				t.Errorf("the addressee's file: got %s %s (%s)", r.Verdict, r.Rule, r.Detail)
			}
			kept := 0
			for _, check := range file.Checks {
				if len(check.OCSP) > 0 && check.Platform == a.Domain() {
					kept++
				}
			}
			if kept != c.checks || c.checks == 0 && len(file.OCSP) > 0 {
				t.Errorf("got %d checks of its own key and %d answers, want %d", kept, len(file.OCSP), c.checks)
			}
			// When the receipt comes; and for the file, where nothing was kept.
			if want := 2 - c.checks; own.count() != want {
				t.Errorf("its authority was asked %d times, want %d", own.count(), want)
			}
			mustBeClean(t, a)
			mustBeClean(t, b)
		})
	}
	// A key that no authority vouches for asks nobody.
	d := newDesk(t)
	w := ebltest.New(t)
	a, b := w.Platform("a.example", d.asks()), w.Platform("b.example")
	doc := a.Issue(b.User("bob").ID)
	if d.count() != 0 || len(bundleOf(t, a, doc, -1).OCSP) != 0 {
		t.Errorf("a pinned, self-signed key: %d questions", d.count())
	}
}
