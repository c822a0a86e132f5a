package node_test

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// A desk answers OCSP questions inside the process, with answers of the authority.
type desk struct {
	t  testing.TB
	ca *catest.Authority

	mu    sync.Mutex
	says  map[string]catest.Single // by serial number; good where nothing is said
	down  error
	asked int
}

func newDesk(t testing.TB) *desk {
	return &desk{t: t, ca: catest.New(t, "Consortium"), says: map[string]catest.Single{}}
}

func (d *desk) answer(_ context.Context, qs []identity.Question) ([][]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.down != nil {
		return nil, d.down
	}
	var out [][]byte
	for _, q := range qs {
		s := d.says[q.Certificate.SerialNumber.String()]
		s.Cert, s.Issuer = q.Certificate, q.Issuer
		out = append(out, catest.Answer{Singles: []catest.Single{s}, By: d.ca}.DER(d.t))
	}
	return out, nil
}

// say sets what is told of p's signing certificate.
func (d *desk) say(p *ebltest.Platform, s catest.Single) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.says[p.Signer.Key.Certificates[0].SerialNumber.String()] = s
}

func (d *desk) stop(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.down = err
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked
}

func (d *desk) asks() ebltest.Option {
	return ebltest.Configure(func(c *node.Config) { c.Revocation = d.answer })
}

// under is a platform below the authority, whose certificate names a responder.
func (d *desk) under(edits ...catest.Edit) ebltest.Option {
	return ebltest.Under(d.ca, append([]catest.Edit{catest.Responder("http://ocsp.example/")}, edits...)...)
}

func gone(reason int, at time.Time) catest.Single {
	return catest.Single{Status: catest.Revoked, Reason: reason, RevokedAt: at}
}

// TestTransfersInCAMode: what a receiver answers to a block whose newest or older signature
// rests on an authority, and that nothing is stored where nothing is said.
func TestTransfersInCAMode(t *testing.T) {
	d := newDesk(t)
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual(), d.under())
	b := w.Platform("b.example", ebltest.Manual(), d.asks())
	c := w.Platform("c.example", ebltest.Manual(), d.under())
	bob := b.User("bob").ID
	now := time.Now()
	stranger := catest.New(t, "Consortium")
	signAs := func(p *ebltest.Platform, by *catest.Authority, edits ...catest.Edit) func() {
		own := p.Signer
		key := catest.NewKey(t)
		leaf := by.Issue(t, key, append([]catest.Edit{catest.Names("a.example"), catest.Responder("http://ocsp.example/")}, edits...)...)
		k, err := identity.NewKey(p.Domain(), "", leaf)
		if err != nil {
			t.Fatal(err)
		}
		if p.Signer, err = identity.NewSigner(k, identity.ES256, key); err != nil {
			t.Fatal(err)
		}
		return func() { p.Signer = own }
	}
	for _, x := range []struct {
		name string
		as   func() func() // what a signs with
		desk func()
		want answer
	}{
		{"a certificate for another platform", func() func() { return signAs(a, d.ca, catest.Names("c.example")) }, nil, answer{code: node.BSIG, text: "badSignature"}},
		{"a TLS certificate", func() func() { return signAs(a, d.ca, catest.TLS) }, nil, answer{code: node.BSIG, text: "badSignature"}},
		{"a certificate that nobody can be asked about", func() func() { return signAs(a, d.ca, func(c *x509.Certificate) { c.OCSPServer = nil }) }, nil, answer{code: node.BSIG, text: "badSignature"}},
		{"a certificate that had expired", func() func() { return signAs(a, d.ca, catest.Valid(now.AddDate(0, -2, 0), now.AddDate(0, -1, 0))) }, nil, answer{code: node.BSIG, text: "badSignature"}},
		{"an authority that b does not know", func() func() { return signAs(a, stranger) }, nil, answer{code: node.Forbidden, text: "unknownKey"}},
		{"the responder is down", nil, func() { d.stop(errors.New("connection refused")) }, answer{code: node.Unavailable, text: "unavailable"}},
		{"the responder does not know the certificate", nil, func() { d.say(a, catest.Single{Status: catest.Unknown}) }, answer{code: node.Unavailable, text: "unavailable"}},
		{"revoked before it signed", nil, func() { d.say(a, gone(4, now.Add(-time.Hour))) }, answer{code: node.BSIG, text: "badSignature"}},
		{"stolen", nil, func() { d.say(a, gone(1, now.Add(-time.Hour))) }, answer{code: node.Forbidden, text: "keyCompromised"}},
		{"stolen after it signed, says the thief", nil, func() { d.say(a, gone(1, now.Add(time.Minute))) }, answer{code: node.Forbidden, text: "keyCompromised"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if x.as != nil {
				defer x.as()()
			}
			if x.desk != nil {
				x.desk()
				defer func() { d.stop(nil); d.say(a, catest.Single{}) }()
			}
			body, _ := a.Offer(bob)
			x.want.path = "$.endorsementChain[0].signature"
			mustAnswer(t, b, a, body, x.want)
		})
	}
	// The same of an older entry: a issued, c sends.
	for _, x := range []struct {
		name string
		desk func()
		want answer
	}{
		{"an older one: the responder does not know it", func() { d.say(a, catest.Single{Status: catest.Unknown}) }, answer{code: node.Unavailable, text: "unavailable"}},
		{"an older one: revoked before it signed", func() { d.say(a, gone(4, now.Add(-time.Hour))) }, answer{code: node.BENV, text: "badChainSignature"}},
		{"an older one: stolen", func() { d.say(a, gone(1, now.Add(-time.Hour))) }, answer{code: node.Forbidden, text: "keyCompromised"}},
	} {
		t.Run(x.name, func(t *testing.T) {
			root := chainOf(a, issue("carl@c.example"))
			x.desk()
			defer d.say(a, catest.Single{})
			x.want.path = "$.endorsementChain[0].signature"
			mustAnswer(t, b, c, c.Extend(root, transfer(bob)), x.want)
		})
	}
	// An answer that may pass is given again: the same bytes, when the responder is back.
	body, document := a.Offer(bob)
	d.stop(errors.New("connection refused"))
	mustAnswer(t, b, a, body, answer{code: node.Unavailable, text: "unavailable", path: "$"})
	d.stop(nil)
	mustChange(t, b, func() { mustAccept(t, b, a, body) },
		"+audit", "+bills", "+documents", "+entries", "+evidence", "+evidence_keys", "+evidence_parts", "+evidence_parts", "+evidence_parts", "+parties", "+receipts")
	ev, err := b.Node().EvidenceOf(t.Context(), document)
	if err != nil || len(ev) != 1 {
		t.Fatalf("got %d pieces of evidence and %v, want one", len(ev), err)
	}
	for _, e := range ev {
		if len(e.Certificates) != 2 || len(e.Answers) != 1 || time.Since(e.CheckedAt) > time.Minute {
			t.Errorf("got %d certificates and %d answers of %s, want 2, 1 and now", len(e.Certificates), len(e.Answers), e.CheckedAt)
		}
	}
	// What is stored is not asked about again, whatever became of the key: a receipt for ever.
	asked := d.count()
	d.say(a, gone(1, now.Add(-time.Hour)))
	mustAccept(t, b, a, body)
	if d.count() != asked {
		t.Error("a block that was accepted before: the responder was asked again")
	}
}

// TestOldEnvelopeOutlivesItsCertificate: a bill goes on when the certificate that it was
// issued with has expired and its responder knows it no more.
func TestOldEnvelopeOutlivesItsCertificate(t *testing.T) {
	d := newDesk(t)
	w := ebltest.New(t)
	clk := &clock{}
	in := time.Now().Add(time.Hour)
	a := w.Platform("a.example", d.under(catest.Valid(time.Now().Add(-time.Hour), in)), clk.option())
	b := w.Platform("b.example", d.asks(), clk.option())
	al, bob := a.User("al"), b.User("bob")
	doc := a.Issue(bob.ID)
	clk.skip(2 * time.Hour)
	d.say(a, catest.Single{Status: catest.Unknown})
	a.Certified(catest.Responder("http://ocsp.example/"))
	a.Restart()
	// Answers are as old as the clock of the test is ahead.
	d.mu.Lock()
	for k, s := range d.says {
		s.ThisUpdate, s.NextUpdate = time.Now(), time.Now().Add(24*time.Hour)
		d.says[k] = s
	}
	d.mu.Unlock()
	d.say(a, catest.Single{ThisUpdate: time.Now(), NextUpdate: time.Now().Add(24 * time.Hour)})
	b.Transfer(bob, doc, al.ID)
	if got := a.View(doc); got.Possessor != al.ID || got.Control != node.Held {
		t.Errorf("got %s %s, want it with %s", got.Possessor, got.Control, al.ID)
	}
	checkNode(t, b)
	for _, p := range []*ebltest.Platform{a, b} {
		mustBeClean(t, p)
	}
}

// TestAnswerOfARevokedKeySettlesNothing: a receipt and a rejection are believed as envelopes
// are; nobody to ask, and the transfer stays in doubt.
func TestAnswerOfARevokedKeySettlesNothing(t *testing.T) {
	for _, to := range []string{"bob", "nobody"} {
		d := newDesk(t)
		w := ebltest.New(t)
		a := w.Platform("a.example", d.asks())
		b := w.Platform("b.example", d.under(), ebltest.Manual())
		al := a.User("al")
		b.User("bob")
		doc := a.Issue(al.ID)
		for _, state := range []catest.Single{{Status: catest.Unknown}, gone(4, time.Now().Add(-time.Hour)), gone(1, time.Now().Add(time.Minute))} {
			d.say(b, state)
			if state.Status == catest.Unknown {
				a.Move(al, doc, envelope.Transfer, to+"@b.example")
			}
			tries := a.View(doc).Transfer.Attempts
			waitFor(t, "two more attempts", func() bool { return a.View(doc).Transfer.Attempts > tries+1 })
			if got := a.View(doc).Control; got != node.Locked {
				t.Fatalf("%s, %+v: got %s, want it locked", to, state, got)
			}
		}
		d.say(b, catest.Single{})
		d.stop(errors.New("connection refused"))
		tries := a.View(doc).Transfer.Attempts
		waitFor(t, "two more attempts", func() bool { return a.View(doc).Transfer.Attempts > tries+1 })
		if got := a.View(doc).Control; got != node.Locked {
			t.Fatalf("%s, nobody answers: got %s, want it locked", to, got)
		}
		d.stop(nil)
		want := map[string]node.TransferState{"bob": node.Accepted, "nobody": node.Rejected}[to]
		a.Settled(a.View(doc).Transfer.ID, want)
		ev, err := a.Node().EvidenceOf(t.Context(), doc)
		if err != nil {
			t.Fatal(err)
		}
		answered := 0
		for _, e := range ev {
			answered += len(e.Answers)
		}
		if answered != 1 {
			t.Errorf("%s: got %d OCSP answers in the evidence, want that of the answer", to, answered)
		}
		mustBeClean(t, a)
	}
}

// TestVerdictOfARevokedKeyIsNotTaken: neither by file nor by asking.
func TestVerdictOfARevokedKeyIsNotTaken(t *testing.T) {
	d := newDesk(t)
	w := ebltest.New(t)
	a := w.Platform("a.example", d.under())
	b := w.Platform("b.example", d.asks(), ebltest.Manual())
	issuer, bob := a.User("issuer", node.IssuerRole), b.User("bob")
	doc := a.Issue(bob.ID)
	stop := b.Run()
	b.Settled(b.Move(bob, doc, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	stop()
	if _, err := a.Node().Honour(t.Context(), issuer.User, doc, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	jws, err := a.Node().Verdict(t.Context(), b.Domain(), doc)
	if err != nil {
		t.Fatal(err)
	}
	d.stop(errors.New("connection refused"))
	mustChange(t, b, func() {
		mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", jws), node.Unavailable, node.TextUnavailable)
	})
	d.stop(nil)
	d.say(a, catest.Single{Status: catest.Unknown})
	mustChange(t, b, func() {
		mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", jws), node.Unavailable, node.TextUnavailable)
	})
	d.say(a, gone(4, time.Now().Add(-time.Hour)))
	mustChange(t, b, func() {
		mustRefuse(t, b.Node().TakeVerdict(t.Context(), "test", jws), node.NotPossible, "verdictNotBelieved")
	})
	d.say(a, catest.Single{})
	if err := b.Node().TakeVerdict(t.Context(), "test", jws); err != nil {
		t.Fatal(err)
	}
	mustBeClean(t, b)
}

// TestStolenKeyIsForeseen: a chain with a signature of a key reported stolen does not leave
// for a peer that has not seen it, since that would never be answered.
func TestStolenKeyIsForeseen(t *testing.T) {
	w := ebltest.New(t)
	a, b, c, d := w.Platform("a.example"), w.Platform("b.example"), w.Platform("c.example"), w.Platform("d.example")
	bob, carl := b.User("bob"), c.User("carl")
	doc := a.Issue(carl.ID)
	c.Transfer(carl, doc, bob.ID)
	stolen := *a.Entry
	key := *stolen.Keys[0]
	key.Revoked, key.Reason = time.Now().UTC().Truncate(time.Second).Add(time.Hour), identity.ReasonKeyCompromise
	stolen.Keys = []*identity.Key{&key}
	if err := b.Node().AddPeers(t.Context(), "test", []*identity.Platform{&stolen}); err != nil {
		t.Fatal(err)
	}
	mustChange(t, b, func() {
		_, err := b.Node().Move(t.Context(), bob.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(d.User("dan").ID)})
		mustRefuse(t, err, node.NotPossible, node.TextCompromised)
	})
	// Who signed after it has seen it.
	b.Transfer(bob, doc, carl.ID)
}

// TestRevokedMarkStays: an entry that comes again cannot take back what was said of a key,
// nor the authorities that older signatures rest on.
func TestRevokedMarkStays(t *testing.T) {
	d := newDesk(t)
	w := ebltest.New(t)
	a, b := w.Platform("a.example", ebltest.Manual()), w.Platform("b.example", ebltest.Manual(), d.asks())
	c := w.Platform("c.example", ebltest.Manual(), d.under())
	at := time.Now().UTC().Truncate(time.Second)
	with := func(revoked time.Time, reason string) *identity.Platform {
		p := *a.Entry
		k := *p.Keys[0]
		k.Revoked, k.Reason = revoked, reason
		p.Keys = []*identity.Key{&k}
		return &p
	}
	add := func(p *identity.Platform) error {
		return b.Node().AddPeers(t.Context(), "test", []*identity.Platform{p})
	}
	for _, x := range []struct {
		name     string
		old, new *identity.Platform
		ok       bool
	}{
		{"marked", with(time.Time{}, ""), with(at, "superseded"), true},
		{"the same again", with(at, "superseded"), with(at, "superseded"), true},
		{"good again", with(at, "superseded"), with(time.Time{}, ""), false},
		{"stolen, as it turned out", with(at, "superseded"), with(at.Add(-time.Hour), "keyCompromise"), true},
		{"the mark is gone", with(at.Add(-time.Hour), "keyCompromise"), with(time.Time{}, ""), false},
		{"stolen later", with(at.Add(-time.Hour), "keyCompromise"), with(at, "keyCompromise"), false},
		{"not stolen after all", with(at.Add(-time.Hour), "keyCompromise"), with(at.Add(-time.Hour), "superseded"), false},
	} {
		before := dump(t, b)
		err := add(x.new)
		if (err == nil) != x.ok {
			t.Errorf("%s: got %v, want it taken: %t", x.name, err, x.ok)
		}
		if err != nil {
			mustRefuse(t, err, node.Malformed, "malformed")
			if got := changes(before, dump(t, b)); len(got) > 0 {
				t.Errorf("%s: changed %v", x.name, got)
			}
		}
	}
	body, _ := c.Offer(b.User("bob").ID)
	mustAccept(t, b, c, body)
	other := *c.Entry
	other.Anchors = append([]*x509.Certificate{catest.New(t, "Consortium").Cert}, other.Anchors...)
	if err := add(&other); err != nil {
		t.Errorf("one more anchor: %v", err)
	}
	without := other
	without.Anchors = other.Anchors[:1]
	mustRefuse(t, add(&without), node.Malformed, "malformed")
	pinned := other
	pinned.Mode, pinned.Keys = identity.ModePinned, []*identity.Key{ebltest.New(t).Platform("x.example", ebltest.Manual()).Signer.Key}
	k := *pinned.Keys[0]
	k.Platform = c.Domain()
	pinned.Keys = []*identity.Key{&k}
	mustRefuse(t, add(&pinned), node.Malformed, "malformed")
	k2 := *c.Signer.Key
	pinned.Keys = []*identity.Key{&k2}
	if err := add(&pinned); err != nil {
		t.Errorf("pinned, with the key that has signed: %v", err)
	}
	mustBeClean(t, b)
}

// TestRestoredDatabaseAsksNobody: what is entered again from the witness is judged by the
// evidence in it, though by now the responder is down and the key stolen.
func TestRestoredDatabaseAsksNobody(t *testing.T) {
	d := newDesk(t)
	w := ebltest.New(t)
	a, b := w.Platform("a.example", d.asks()), w.Platform("b.example", d.under())
	al, bob, issuer := a.User("al"), b.User("bob"), b.User("issuer", node.IssuerRole)
	sent, refused := a.Issue(al.ID), a.Issue(al.ID)
	old := backup(t, a)
	a.Transfer(al, sent, bob.ID)
	a.Settled(a.Move(al, refused, envelope.Transfer, "nobody@b.example").Transfer, node.Rejected)
	came, returned := b.Issue(al.ID), b.Issue(al.ID)
	a.Settled(a.Move(al, returned, envelope.Surrender, issuer.ID).Transfer, node.Accepted)
	if _, err := b.Node().Honour(t.Context(), issuer.User, returned, node.HonourOrder{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the verdict", func() bool { return a.View(returned).Control == node.Voided })
	state := dump(t, a)
	time.Sleep(1100 * time.Millisecond) // OCSP knows no parts of a second
	d.say(b, gone(1, time.Now()))
	d.stop(errors.New("connection refused"))
	asked := d.count()
	restore(t, a, old)
	mustBeAsBefore(t, a, state)
	if d.count() != asked {
		t.Error("a responder was asked")
	}
	mustHold(t, w, came, al.ID)
	mustBeClean(t, a)
}
