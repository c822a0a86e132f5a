package node_test

import (
	"slices"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
)

// evidence is what p's node gives to a stranger, through a file as it travels.
func evidence(t *testing.T, p *ebltest.Platform, doc envelope.Hash) *envelope.Bundle {
	t.Helper()
	b, err := p.Node().ForkEvidence(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	return asRead(t, b)
}

// stranger trusts the platforms and holds nothing else.
func stranger(t *testing.T, ps ...*ebltest.Platform) *identity.Trust {
	t.Helper()
	var all []*identity.Platform
	for _, p := range ps {
		all = append(all, p.Entry)
	}
	trust, err := identity.NewTrust(all...)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

// judged is what a stranger makes of the file.
func judged(t *testing.T, b *envelope.Bundle, trust *identity.Trust) *judge.Report {
	t.Helper()
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return judge.File(text, judge.Options{Trust: trust, Now: time.Now()})
}

func findings(t *testing.T, b *envelope.Bundle, trust *identity.Trust) []judge.Fork {
	t.Helper()
	return judged(t, b, trust).Forks
}

// TestForkIsProvedToAStranger: a signed one bill to b and to c, and c went on. With b's
// file a stranger sees that it was a, and nothing that anybody changes in it accuses
// somebody else.
func TestForkIsProvedToAStranger(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	bob, carl := b.User("bob"), c.User("carl")
	root := chainOf(a, issue("al@a.example"))
	doc := ebltest.Parse(t, root).Last().Payload.DocumentHash
	mustAccept(t, b, a, a.Extend(root, transfer(bob.ID)))
	_, err := b.Node().ForkEvidence(t.Context(), doc)
	mustRefuse(t, err, node.NotFound, "notFound")
	other := c.Extend(a.Extend(root, transfer(carl.ID)), transfer(bob.ID))
	mustAnswer(t, b, c, other, answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches", "+branches"}})

	proof, trust := evidence(t, b, doc), stranger(t, a, b, c)
	found := findings(t, proof, trust)
	if len(found) != 1 || found[0].Kind != judge.SignedTwice || found[0].Platform != a.Domain().String() || found[0].Entry != 1 {
		t.Fatalf("got %+v, want that a signed twice at entry 1", found)
	}
	if r := judged(t, proof, trust); r.Verdict != judge.Indeterminate || r.Rule != "forked/signedTwice" || r.State != nil || r.Made.Signature != "good" {
		t.Errorf("got %s %s and %+v, want that nobody can tell who is in control", r.Verdict, r.Rule, r.State)
	}
	if len(proof.Trust) < 3 || len(proof.Branches) != 1 || len(proof.Branches[0].Entries) != 2 || proof.Branches[0].From != "c.example" || proof.Made.Selection != envelope.SelectFork {
		t.Errorf("the file: got %d platforms and %+v", len(proof.Trust), proof.Branches)
	}
	// Without the key of who is accused nothing is said.
	if r := judged(t, proof, stranger(t, b, c)); r.Verdict != judge.Indeterminate || r.Reason != "platformNotTrusted" || len(r.Forks) > 0 {
		t.Errorf("without a's entry: got %+v", r)
	}
	// With it alone, who signed twice is said all the same.
	if r := judged(t, proof, stranger(t, a)); len(r.Forks) != 1 || r.Forks[0].Platform != "a.example" || r.Verdict != judge.Indeterminate {
		t.Errorf("with a's entry alone: got %+v", r)
	}
	// The entries that the file brings are nobody's reason to believe.
	thief := ebltest.New(t).Platform("a.example")
	if r := judged(t, proof, stranger(t, thief, b, c)); r.Verdict.Holds() || len(r.Forks) > 0 {
		t.Errorf("with another key of a: got %+v", r)
	}
	change := func(name, rule string, f func(*envelope.Bundle)) {
		t.Helper()
		p := evidence(t, b, doc)
		p.Rejections = nil // they are of what is changed
		f(p)
		r := judged(t, p, trust)
		if r.Rule != rule || r.Verdict != judge.Invalid || r.Made.Signature != "bad" {
			t.Errorf("%s: got %s %s (%s), maker's signature %s, want INVALID %s, bad", name, r.Verdict, r.Rule, r.Detail, r.Made.Signature, rule)
		}
		for _, x := range r.Forks {
			if x.Accuses() {
				t.Errorf("%s: got %+v", name, x)
			}
		}
	}
	ours, theirs := ebltest.Parse(t, b.Block(doc)), ebltest.Parse(t, other)
	branch := func(at int, entries ...envelope.Entry) func(*envelope.Bundle) {
		return func(p *envelope.Bundle) { p.Branches[0].At, p.Branches[0].Entries = at, entries }
	}
	change("a twin of the same envelope", "badBranch/same", branch(1, ebltest.Twin(t, ours.Entries[1])))
	change("a bad signature", "badBranch/value", branch(1, ebltest.BadSignature(t, theirs.Entries[1])))
	change("an entry of another place", "badBranch/link", branch(0, theirs.Entries[1]))
	change("after the end", "badBranch/link", branch(3, theirs.Entries[1]))
	change("another document", "documentMismatch/bundle", func(p *envelope.Bundle) { p.DocumentHash[0] ^= 1 })
	another, _ := a.Offer(bob.ID)
	change("an entry of another bill", "badBranch/document", branch(0, ebltest.Parse(t, another).Entries[0]))
}

// TestLawfulSecondContinuationProvesNothing: after the addressee's BENV the sender may
// sign again. A DISE, or a rejection by somebody else or of something else, clears nobody.
func TestLawfulSecondContinuationProvesNothing(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	bob, carl := b.User("bob"), c.User("carl")
	root := chainOf(a, issue("al@a.example"))
	doc := ebltest.Parse(t, root).Last().Payload.DocumentHash
	toC := a.Extend(root, transfer(carl.ID))
	mustAccept(t, b, a, a.Extend(root, transfer(bob.ID)))
	// c said no to its one, and then went on with it all the same.
	mustAnswer(t, b, c, c.Extend(toC, transfer(bob.ID)), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches", "+branches"}})
	trust := stranger(t, a, b, c)
	entry := *ebltest.Parse(t, toC).Last()
	for name, s := range map[string]struct {
		by       *ebltest.Platform
		from, to identity.Host
		code     envelope.ResponseCode
		alone    bool // without what c signed after it
		want     judge.ForkKind
		who      identity.Host
		rule     string
	}{
		"rejected and continued":   {c, a.Domain(), c.Domain(), "BENV", false, judge.RejectedAndContinued, c.Domain(), "forked/rejectedAndContinued"},
		"rejected":                 {c, a.Domain(), c.Domain(), "BENV", true, judge.LawfulAgain, a.Domain(), ""},
		"rejected for a signature": {c, a.Domain(), c.Domain(), "BSIG", true, judge.LawfulAgain, a.Domain(), ""},
		"disputed":                 {c, a.Domain(), c.Domain(), "DISE", true, judge.SignedTwice, a.Domain(), "forked/signedTwice"},
		"rejected by b":            {b, a.Domain(), c.Domain(), "BENV", true, "", a.Domain(), ""},
		"rejected by a itself":     {a, a.Domain(), c.Domain(), "BENV", true, "", a.Domain(), ""},
		"rejected from b":          {c, b.Domain(), c.Domain(), "BENV", true, "", a.Domain(), ""},
	} {
		p := evidence(t, b, doc)
		if s.alone {
			p.Branches[0].Entries = p.Branches[0].Entries[:1]
		}
		p.Rejections = []envelope.BundleRejection{{JWS: envelope.JWS{Raw: reject(s.by.Signer, entry, s.from, s.to, s.code).Rejection}}}
		// Kids are chosen by who signs; without one it is the key that decides.
		r := judged(t, p, trust)
		if s.want == "" {
			if r.Verdict != judge.Invalid && !slices.ContainsFunc(r.Forks, func(f judge.Fork) bool { return f.Kind == judge.SignedTwice }) {
				t.Errorf("%s: got %s %s and %+v, want that it clears nobody", name, r.Verdict, r.Rule, r.Forks)
			}
			continue
		}
		if len(r.Forks) != 1 || r.Forks[0].Kind != s.want || r.Forks[0].Platform != s.who.String() || r.Forks[0].Accuses() != (s.want != judge.LawfulAgain) || r.Rule != s.rule {
			t.Errorf("%s: got %s %+v, want %s of %s", name, r.Rule, r.Forks, s.want, s.who)
		}
	}
}

// TestOwnRejectionIsInTheEvidence: our node signed two continuations, the second after
// the addressee's rejection; its file clears us by itself.
func TestOwnRejectionIsInTheEvidence(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	al, carl := a.User("al"), c.User("carl")
	doc := a.Issue(al.ID)
	x := tap(w)
	a.Settled(a.Move(al, doc, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	rejected := x.bodies(doc)[0]
	a.Transfer(al, doc, carl.ID)
	// b goes on with what it rejected.
	mustAnswer(t, a, b, b.Extend(rejected, transfer(al.ID)), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches", "+branches"}})
	found := findings(t, evidence(t, a, doc), stranger(t, a, b, c))
	if len(found) != 1 || found[0].Kind != judge.RejectedAndContinued || found[0].Platform != b.Domain().String() {
		t.Errorf("got %+v, want that b rejected and continued", found)
	}
}

// TestTwoIssuersSignedOnceEach: nobody of them signed twice.
func TestTwoIssuersSignedOnceEach(t *testing.T) {
	w := ebltest.New(t)
	a, b, c := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example")
	bob := b.User("bob")
	document := a.Document()
	doc := envelope.HashOf(document)
	mustAccept(t, b, a, ebltest.Body(document, a.Seal(doc, envelope.Hash{}, issue(bob.ID)...)))
	mustAnswer(t, b, c, ebltest.Body(document, c.Seal(doc, envelope.Hash{}, issue(bob.ID)...)), answer{code: node.DISE, text: "forked", entry: -1, also: []string{"+branches"}})
	found := findings(t, evidence(t, b, doc), stranger(t, a, b, c))
	if len(found) != 1 || found[0].Kind != judge.TwoSigners || found[0].Accuses() {
		t.Errorf("got %+v, want two signers", found)
	}
}
