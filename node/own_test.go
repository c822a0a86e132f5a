package node_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// rotating is a platform with two signing keys: the first until turn, the second from then
// on, and a clock that the test moves. Both are in the trust entry that peers hold.
type rotating struct {
	*ebltest.Platform
	first, second *identity.Signer
	clock         atomic.Int64 // ms
}

func (r *rotating) set(at time.Time) { r.clock.Store(at.UnixMilli()) }

// rotate makes one. The windows of its keys do not overlap at all, so that a signature by
// the wrong one is refused.
func rotate(w *ebltest.Network, t *testing.T, domain string, turn time.Time) *rotating {
	t.Helper()
	host, err := identity.ParseHost(domain)
	if err != nil {
		t.Fatal(err)
	}
	signer := func(from, to time.Time) *identity.Signer {
		s, err := identity.GenerateSigner(host, identity.ES256, identity.CertificateSpec{Subject: domain, NotBefore: from, NotAfter: to})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	r := &rotating{first: signer(turn.Add(-300*24*time.Hour), turn.Add(-time.Second)), second: signer(turn, turn.Add(300*24*time.Hour))}
	r.set(turn.Add(-time.Minute))
	r.Platform = w.Platform(domain,
		ebltest.WithEntry(func(p *identity.Platform) { p.Keys = []*identity.Key{r.first.Key, r.second.Key} }),
		ebltest.Configure(func(c *node.Config) {
			c.Signers = []node.SigningKey{{Signer: r.first}, {Signer: r.second, From: turn}}
			c.Now = func() time.Time { return time.UnixMilli(r.clock.Load()) }
		}))
	return r
}

// kids are the key names in the signatures of the chain of a bill.
func kids(t *testing.T, p *ebltest.Platform, table string) (list []string) {
	t.Helper()
	rows, err := node.DB(p.Node()).Query("SELECT jws FROM " + table + " ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var jws string
		if err := rows.Scan(&jws); err != nil {
			t.Fatal(err)
		}
		list = append(list, kidOf(t, jws))
	}
	return list
}

func kidOf(t *testing.T, jws string) string {
	t.Helper()
	j, err := envelope.ParseJWS(jws)
	if err != nil {
		t.Fatal(err)
	}
	return j.Header.Kid
}

// TestRotationBetweenTwoTransactionsOfOneEntry: a bill moves inside the platform before a
// new key takes over and after it, and then leaves. Each step is signed by the key of its
// own time, the envelope by the one of its last transaction.
func TestRotationBetweenTwoTransactionsOfOneEntry(t *testing.T) {
	w := ebltest.New(t)
	turn := time.Now().Truncate(time.Second).Add(-time.Hour)
	r, bank := rotate(w, t, "carrier.example", turn), w.Platform("bank.example")
	al, bo, desk := r.User("al"), r.User("bo"), bank.User("desk")
	bill := r.Issue(al.ID)
	r.set(turn)
	r.Transfer(al, bill, bo.ID)
	r.set(turn.Add(time.Minute))
	r.Transfer(bo, bill, desk.ID)
	one, two := r.first.Key.ID, r.second.Key.ID
	if got, want := kids(t, r.Platform, "steps"), []string{one, two}; !slices.Equal(got, want) {
		t.Errorf("steps: got %v, want %v", got, want)
	}
	if got, want := kids(t, bank, "entries"), []string{two}; !slices.Equal(got, want) {
		t.Errorf("entries: got %v, want %v", got, want)
	}
	// And home again, where the same chain is checked under both keys.
	r.set(time.Now())
	bank.Transfer(desk, bill, al.ID)
	checkNode(t, r.Platform)
	checkNode(t, bank)
}

// TestEnvelopeAheadOfTheClockIsSignedForItsTime: the clock was set back over the turn of a
// key after a step. The envelope has that step's time, so the key of that time signs it;
// the one of the clock's time would be refused for ever.
func TestEnvelopeAheadOfTheClockIsSignedForItsTime(t *testing.T) {
	w := ebltest.New(t)
	turn := time.Now().Truncate(time.Second).Add(-time.Hour)
	r, bank := rotate(w, t, "carrier.example", turn), w.Platform("bank.example")
	al, bo, cy := r.User("al"), r.User("bo"), r.User("cy")
	bill := r.Issue(al.ID)
	r.set(turn.Add(time.Second))
	r.Transfer(al, bill, bo.ID)
	r.set(turn.Add(-30 * time.Second))
	r.Transfer(bo, bill, cy.ID)
	r.Transfer(cy, bill, bank.User("desk").ID)
	two := r.second.Key.ID
	if got, want := kids(t, bank, "entries"), []string{two}; !slices.Equal(got, want) {
		t.Errorf("entries: got %v, want %v", got, want)
	}
	if got, want := kids(t, r.Platform, "steps"), []string{r.first.Key.ID, two, two}; !slices.Equal(got, want) {
		t.Errorf("steps: got %v, want %v", got, want)
	}
	checkNode(t, r.Platform)
}

// TestNothingIsDatedAfterItsKey: half a second after the end of the last key nothing is
// signed, although the second in which it ended is not over: an envelope tells its
// milliseconds, and peers would refuse it for good.
func TestNothingIsDatedAfterItsKey(t *testing.T) {
	w := ebltest.New(t)
	turn := time.Now().Truncate(time.Second).Add(-time.Hour)
	r, bank := rotate(w, t, "carrier.example", turn), w.Platform("bank.example")
	al := r.User("al")
	bill := r.Issue(al.ID)
	end := r.second.Key.NotAfter
	r.set(end.Add(500 * time.Millisecond))
	_, err := r.Node().Move(t.Context(), al.User, bill, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(bank.User("desk").ID)})
	wantUnavailable(t, "after the last key", err)
	if key, until := r.Node().SignsWith(); key != nil || until.After(r.Node().Now()) {
		t.Errorf("after the last key: got %v until %s, want none", key, until)
	}
	r.set(turn.Add(-500 * time.Millisecond)) // between the two
	if key, until := r.Node().SignsWith(); key != nil || until.After(r.Node().Now()) {
		t.Errorf("between the keys: got %v until %s, want none", key, until)
	}
	r.set(turn)
	if key, until := r.Node().SignsWith(); key == nil || key.ID != r.second.Key.ID || !until.Equal(end.Add(time.Second)) {
		t.Errorf("at the turn: got %v until %s, want the second key until %s", key, until, end.Add(time.Second))
	}
}

// TestKeyWhoseTurnHasNotComeIsBetterThanNone: the old key was revoked before the new one's
// turn. The node goes on with the new one, which peers have had with the same entry.
func TestKeyWhoseTurnHasNotComeIsBetterThanNone(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example")
	next := another(t, a)
	entry := withKeys(a, revoked(a.Signer.Key, "superseded"), next.Key)
	keys := []node.SigningKey{{Signer: a.Signer}, {Signer: next, From: time.Now().Add(time.Hour)}}
	if err := a.Node().SetOwn(t.Context(), "test", entry, keys); err != nil {
		t.Fatal(err)
	}
	if key, _ := a.Node().SignsWith(); key == nil || key.ID != next.Key.ID {
		t.Errorf("got %v, want the next key", key)
	}
}

// another makes a further signing key of p.
func another(t *testing.T, p *ebltest.Platform) *identity.Signer {
	t.Helper()
	s, err := identity.GenerateSigner(p.Domain(), identity.ES256, identity.CertificateSpec{Subject: "another",
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withKeys(p *ebltest.Platform, keys ...*identity.Key) *identity.Platform {
	e := *p.Entry
	e.Keys = keys
	return &e
}

func revoked(k *identity.Key, reason string) *identity.Key {
	r := *k
	r.Revoked, r.Reason = time.Now().Add(-time.Minute).UTC().Truncate(time.Second), reason
	return &r
}

// TestKeyIsReplacedWhileTheNodeRuns: what was signed before stays valid, what comes after
// is signed by the new key, and a peer that has not got the new one yet refuses without a
// signature until it has: the same bytes are then accepted.
func TestKeyIsReplacedWhileTheNodeRuns(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	al, desk := a.User("al"), b.User("desk")
	before, after := a.Issue(al.ID), a.Issue(al.ID)
	a.Transfer(al, before, desk.ID)
	next := another(t, a)
	entry := withKeys(a, a.Signer.Key, next.Key)
	if err := a.Node().SetOwn(t.Context(), "test", entry, []node.SigningKey{{Signer: next}, {Signer: a.Signer}}); err != nil {
		t.Fatal(err)
	}
	moved := a.Move(al, after, envelope.Transfer, desk.ID)
	for said, until := "", time.Now().Add(ebltest.Patience); !strings.Contains(said, "no key with this kid"); time.Sleep(5 * time.Millisecond) {
		v, err := a.Node().Transfer(t.Context(), al.User, moved.Transfer)
		if err != nil || time.Now().After(until) {
			t.Fatalf("got %+v, %v, want an unsigned refusal", v, err)
		}
		said = v.LastAnswer
	}
	a.Entry = entry
	b.Trust(a)
	a.Settled(moved.Transfer, node.Accepted)
	if got := kids(t, b, "entries"); !slices.Equal(got, []string{a.Signer.Key.ID, next.Key.ID}) {
		t.Errorf("entries: got %v, want the old and the new key", got)
	}
	b.Transfer(desk, before, al.ID)
	b.Transfer(desk, after, al.ID)
	checkNode(t, a)
	checkNode(t, b)
	if r, err := a.Node().Fsck(t.Context(), node.FsckOptions{}); err != nil || !r.Clean() {
		t.Errorf("fsck: %v, %v", r, err)
	}
}

// TestOldKeysArePublishedForEver: a key whose file is gone stays in our entry, over a
// restart too; its name is never given to another; a revocation is not taken back.
func TestOldKeysArePublishedForEver(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.WithEntry(func(p *identity.Platform) {
		h, _ := identity.ParseHost("other.a.example")
		p.Hosts = []identity.Host{h}
	}))
	old, next := a.Signer, another(t, a)
	bill := a.Issue(a.User("al").ID)
	set := func(e *identity.Platform, signers ...*identity.Signer) error {
		var keys []node.SigningKey
		for _, s := range signers {
			keys = append(keys, node.SigningKey{Signer: s})
		}
		return a.Node().SetOwn(t.Context(), "test", e, keys)
	}
	if err := set(withKeys(a, revoked(old.Key, identity.ReasonKeyCompromise), next.Key), next); err != nil {
		t.Fatal(err)
	}
	if err := set(withKeys(a, next.Key), next); err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		if k, found := a.Node().Self().Key(old.Key.ID); !found || !k.Compromised() {
			t.Errorf("%s: got %v, want the old key, compromised", when, k)
		}
		// We held the bill before, so it is good, and it goes on under the new key.
		if v, err := a.Node().Bill(t.Context(), a.User("al").User, bill); err != nil || v.Control != node.Held {
			t.Errorf("%s: the bill: got %+v, %v, want held", when, v, err)
		}
	}
	check("without the old key's file")
	a.Entry, a.Signer = withKeys(a, next.Key), next
	a.Restart()
	check("after a restart")
	if err := set(withKeys(a, old.Key, next.Key), old, next); err != nil {
		t.Fatal(err)
	}
	check("with the revocation left out")
	if key, _ := a.Node().SignsWith(); key.ID != next.Key.ID {
		t.Errorf("signs with %q, want the key that was not stolen", key.ID)
	}
	a.Transfer(a.User("al"), bill, a.User("bo").ID)

	thief := another(t, a)
	thief.Key.ID = old.Key.ID
	renamed := *next.Key
	renamed.ID = "renamed"
	fewer := withKeys(a, next.Key)
	fewer.Hosts = nil
	for name, c := range map[string]struct {
		entry *identity.Platform
		want  string
	}{
		"another key under an old name": {withKeys(a, thief.Key, next.Key), "was another one before"},
		"an old key under another name": {withKeys(a, &renamed), "was published as"},
		"a host that went away":         {fewer, "other.a.example"},
		"the key that signs is missing": {withKeys(a, old.Key), ""},
	} {
		before := dump(t, a)
		err := set(c.entry, next)
		if c.want == "" { // it is in the entry of before, and stays
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if after := dump(t, a); !slices.Equal(before, after) {
			t.Errorf("%s: something changed: %v", name, changes(before, after))
		}
	}
}

// TestStrangersKeyIsNotOurs: our entry cannot take a key or a host that a peer has.
func TestStrangersKeyIsNotOurs(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	stolen := *b.Signer.Key
	stolen.Platform = a.Domain()
	err := a.Node().SetOwn(t.Context(), "test", withKeys(a, a.Signer.Key, &stolen), []node.SigningKey{{Signer: a.Signer}})
	if err == nil || !strings.Contains(err.Error(), "is also a key of") {
		t.Errorf("got %v, want a refusal", err)
	}
	e := *a.Entry
	e.Domain = b.Domain()
	if err := a.Node().SetOwn(t.Context(), "test", &e, []node.SigningKey{{Signer: a.Signer}}); err == nil {
		t.Error("the node became another platform")
	}
}
