package node_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// evidence is what p's node gives to a stranger, through a file as it travels.
func evidence(t *testing.T, p *ebltest.Platform, doc envelope.Hash) *chain.ForkProof {
	t.Helper()
	proof, err := p.Node().ForkEvidence(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(proof)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "fork.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out := &chain.ForkProof{}
	if text, err = os.ReadFile(file); err == nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out
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

func findings(t *testing.T, p *chain.ForkProof, trust *identity.Trust) []chain.ForkFinding {
	t.Helper()
	found, err := chain.VerifyForkProof(p, trust, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return found
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
	if len(found) != 1 || found[0].Kind != chain.SignedTwice || found[0].Platform != a.Domain() || found[0].Entry != 1 {
		t.Fatalf("got %+v, want that a signed twice at entry 1", found)
	}
	if len(proof.Platforms) != 3 || len(proof.Chains) != 2 || len(proof.Chains[1].Entries) != 3 {
		t.Errorf("the file: got %d platforms and %+v", len(proof.Platforms), proof.Chains)
	}
	// Without the key of who is accused nothing is said.
	if _, err := chain.VerifyForkProof(proof, stranger(t, b, c), time.Now()); err == nil || !err.(*chain.Error).Reason.Indeterminate() {
		t.Errorf("without a's entry: got %v", err)
	}
	// The entries that the file brings are nobody's reason to believe.
	thief := ebltest.New(t).Platform("a.example")
	if _, err := chain.VerifyForkProof(proof, stranger(t, thief, b, c), time.Now()); err == nil {
		t.Error("with another key of a: got findings")
	}
	change := func(name string, f func(*chain.ForkProof)) {
		t.Helper()
		p := evidence(t, b, doc)
		f(p)
		if found, err := chain.VerifyForkProof(p, trust, time.Now()); err == nil {
			for _, x := range found {
				if x.Accuses() {
					t.Errorf("%s: got %+v", name, x)
				}
			}
		}
	}
	ours, theirs := ebltest.Parse(t, b.Block(doc)), ebltest.Parse(t, other)
	change("a twin of the same envelope", func(p *chain.ForkProof) {
		p.Chains[1].Entries = []string{ours.Entries[0].JWS.Raw, ebltest.Twin(t, ours.Entries[1]).JWS.Raw}
	})
	change("a bad signature", func(p *chain.ForkProof) { p.Chains[1].Entries[1] = ebltest.BadSignature(t, theirs.Entries[1]).JWS.Raw })
	change("an entry of another place", func(p *chain.ForkProof) {
		p.Chains[1].Entries = p.Chains[1].Entries[:1]
		p.Chains[0].Entries = p.Chains[0].Entries[1:]
	})
	change("another document", func(p *chain.ForkProof) { p.DocumentHash[0] ^= 1 })
	another, _ := a.Offer(bob.ID)
	change("an entry of another bill", func(p *chain.ForkProof) {
		p.Chains[1].Entries[1] = ebltest.Parse(t, another).Entries[0].JWS.Raw
	})
	change("another format", func(p *chain.ForkProof) { p.Format = "x" })
	change("one chain", func(p *chain.ForkProof) { p.Chains = p.Chains[:1] })
	change("no chain that parts", func(p *chain.ForkProof) { p.Chains[1] = p.Chains[0] })
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
	proof, trust := evidence(t, b, doc), stranger(t, a, b, c)
	entry := *ebltest.Parse(t, toC).Last()
	for name, s := range map[string]struct {
		by       *ebltest.Platform
		from, to identity.Host
		code     envelope.ResponseCode
		alone    bool // without what c signed after it
		want     chain.ForkKind
		who      identity.Host
	}{
		"rejected and continued":   {c, a.Domain(), c.Domain(), "BENV", false, chain.RejectedAndContinued, c.Domain()},
		"rejected":                 {c, a.Domain(), c.Domain(), "BENV", true, chain.LawfulAgain, a.Domain()},
		"rejected for a signature": {c, a.Domain(), c.Domain(), "BSIG", true, chain.LawfulAgain, a.Domain()},
		"disputed":                 {c, a.Domain(), c.Domain(), "DISE", true, chain.SignedTwice, a.Domain()},
		"rejected by b":            {b, a.Domain(), c.Domain(), "BENV", true, chain.SignedTwice, a.Domain()},
		"rejected by a itself":     {a, a.Domain(), c.Domain(), "BENV", true, chain.SignedTwice, a.Domain()},
		"rejected from b":          {c, b.Domain(), c.Domain(), "BENV", true, chain.SignedTwice, a.Domain()},
	} {
		p := *proof
		p.Chains = append([]chain.ForkChain{}, proof.Chains...)
		if s.alone {
			p.Chains[1].Entries = p.Chains[1].Entries[:2]
		}
		p.Rejections = []string{reject(s.by.Signer, entry, s.from, s.to, s.code).Rejection}
		found := findings(t, &p, trust)
		if len(found) != 1 || found[0].Kind != s.want || found[0].Platform != s.who || found[0].Accuses() != (s.want != chain.LawfulAgain) {
			t.Errorf("%s: got %+v, want %s of %s", name, found, s.want, s.who)
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
	if len(found) != 1 || found[0].Kind != chain.RejectedAndContinued || found[0].Platform != b.Domain() {
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
	if len(found) != 1 || found[0].Kind != chain.TwoSigners || found[0].Accuses() {
		t.Errorf("got %+v, want two signers", found)
	}
}
