package node_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// answer is what a receiver must say.
type answer struct {
	code  node.Code
	text  string
	entry int    // -1: the refusal names none
	path  string // a beginning; "": not compared
	also  []string
}

// signed reports whether the answer is a signed rejection.
func (a answer) signed() (envelope.ResponseCode, bool) {
	code, ok := map[node.Code]envelope.ResponseCode{
		node.BSIG: envelope.BadSignatureCode, node.BENV: envelope.BadEnvelopeCode, node.DISE: envelope.DisputeCode}[a.code]
	return code, ok
}

// mustAnswer offers body and fails the test unless the answer, what is stored, and the
// answer to the same question again are right.
func mustAnswer(t *testing.T, to, from *ebltest.Platform, body []byte, want answer) node.Reply {
	t.Helper()
	code, signed := want.signed()
	if !signed {
		mustChange(t, to, func() {
			reply, err := to.Put(from, body)
			if reply != (node.Reply{}) {
				t.Errorf("an unsigned refusal came with %+v", reply)
			}
			e := mustRefuse(t, err, want.code, want.text)
			if e.Entry != want.entry || !strings.HasPrefix(e.Path, want.path) {
				t.Errorf("got entry %d at %q, want %d at %q…", e.Entry, e.Path, want.entry, want.path)
			}
			if want.code == node.Unavailable && e.Retry == 0 {
				t.Errorf("%v: it does not say when to come again", e)
			}
		})
		return node.Reply{}
	}
	var first node.Reply
	mustChange(t, to, func() {
		var err error
		if first, err = to.Put(from, body); err != nil {
			t.Fatalf("got %v, want a signed %s %s", err, code, want.text)
		}
		mustRejectAs(t, first, to, from, body, code, want.text)
		if e := first.Refusal; e.Code != want.code || e.Entry != want.entry || !strings.HasPrefix(e.Path, want.path) {
			t.Errorf("beside the rejection: got %d, entry %d at %q, want %d, %d at %q…", e.Code, e.Entry, e.Path, want.code, want.entry, want.path)
		}
	}, append([]string{"+audit", "+rejections"}, want.also...)...)
	mustChange(t, to, func() {
		again, err := to.Put(from, body)
		if err != nil || again.Rejection != first.Rejection || again.Reference != first.Reference || again.At != first.At || again.Refusal.Error() != first.Refusal.Error() {
			t.Errorf("the same question: got %+v and %v, want %+v", again, err, first)
		}
	})
	return first
}

func mustRejectAs(t testing.TB, r node.Reply, to, from *ebltest.Platform, body []byte, code envelope.ResponseCode, reason string) {
	t.Helper()
	rej, err := envelope.OpenRejection(r.Rejection, to.Entry, time.Now())
	if err != nil {
		t.Fatalf("the rejection: %v (reply %+v)", err, r)
	}
	last := ebltest.Parse(t, body).Last()
	if rej.Code != code || rej.Reason != reason || !rej.Answers(last, from.Domain(), to.Domain()) || r.Receipt != "" {
		t.Fatalf("got %+v, want %s %s about this envelope", rej, code, reason)
	}
}

func mustAccept(t testing.TB, to, from *ebltest.Platform, body []byte) string {
	t.Helper()
	r, err := to.Put(from, body)
	if err != nil || r.Rejection != "" {
		t.Fatalf("got %+v and %v, want a receipt", r, err)
	}
	if _, err := envelope.OpenReceipt([]byte(r.Receipt), ebltest.Parse(t, body).Last().Claimed, to.Entry, time.Now()); err != nil {
		t.Fatal(err)
	}
	return r.Receipt
}

// stage is the receiver b with the peers a and c, and x whom b does not know.
type stage struct {
	w          *ebltest.Network
	a, b, c, x *ebltest.Platform
	d          *ebltest.Platform // has part in no chain yet, and runs its outbox
	bob        string
}

func newStage(t *testing.T) *stage {
	w := ebltest.New(t)
	s := &stage{w: w, a: w.Platform("a.example", ebltest.Manual()), c: w.Platform("c.example", ebltest.Manual(), ebltest.NotIssuer())}
	s.b = w.Platform("b.example", ebltest.Manual())
	s.d = w.Platform("d.example")
	s.x = w.Platform("x.example", ebltest.Manual(), ebltest.Stranger())
	s.bob = s.b.User("bob").ID
	return s
}

// withKey runs f while p seals with a new key that nobody was given.
func withKey(t testing.TB, p *ebltest.Platform, f func()) {
	t.Helper()
	other, err := identity.GenerateSigner(p.Domain(), identity.ES256, identity.CertificateSpec{
		Subject: "other", NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	own := p.Signer
	p.Signer = other
	defer func() { p.Signer = own }()
	f()
}

// chainOf is a body in which each of the sealers adds an entry over a new document: the
// first issues.
func chainOf(first *ebltest.Platform, txs []ebltest.Tx, more ...func(body []byte) []byte) []byte {
	doc := first.Document()
	body := ebltest.Body(doc, first.Seal(envelope.HashOf(doc), envelope.Hash{}, txs...))
	for _, f := range more {
		body = f(body)
	}
	return body
}

func extend(p *ebltest.Platform, txs ...ebltest.Tx) func([]byte) []byte {
	return func(body []byte) []byte { return p.Extend(body, txs...) }
}

// edit changes a parsed block before it is put together again.
func edit(t testing.TB, body []byte, f func(*envelope.Transferblock)) []byte {
	t.Helper()
	b := ebltest.Parse(t, body)
	f(b)
	return ebltest.Body(b.Document, b.Entries...)
}

func issue(to string) []ebltest.Tx { return []ebltest.Tx{{Instruction: envelope.Issue, To: to}} }

func transfer(to string) ebltest.Tx { return ebltest.Tx{Instruction: envelope.Transfer, To: to} }

func TestUnsignedRefusals(t *testing.T) {
	s := newStage(t)
	good, _ := s.a.Offer(s.bob)
	viaC := func(ISSUer *ebltest.Platform) []byte {
		return chainOf(ISSUer, issue("cees@c.example"), extend(s.c, transfer(s.bob)))
	}
	for _, c := range []struct {
		name string
		from *ebltest.Platform
		body func() []byte
		want answer
	}{
		{"stranger", s.x, func() []byte { return good }, answer{code: node.Forbidden, text: "unknownPeer", entry: -1}},
		{"we ourselves", s.b, func() []byte { return good }, answer{code: node.Forbidden, text: "unknownPeer", entry: -1}},
		{"not JSON", s.a, func() []byte { return []byte("{") }, answer{code: node.Malformed, text: "malformed", entry: -1, path: "$"}},
		{"no entry", s.a, func() []byte { return []byte(`{"document":{},"endorsementChain":[]}`) }, answer{code: node.Malformed, text: "malformed", entry: -1, path: "$.endorsementChain"}},
		{"document twice", s.a, func() []byte { return append([]byte(`{"document":{},`), good[1:]...) }, answer{code: node.Malformed, text: "malformed", entry: -1}},
		{"detached JWS", s.a, func() []byte {
			j := ebltest.Parse(t, good).Last().JWS.Raw
			head, rest, _ := strings.Cut(j, ".")
			_, sig, _ := strings.Cut(rest, ".")
			return []byte(strings.Replace(string(good), j, head+".."+sig, 1))
		}, answer{code: node.Malformed, text: "malformed", entry: -1, path: "$.endorsementChain[0].signature"}},
		{"trailing data", s.a, func() []byte { return append(good[:len(good):len(good)], " {}"...) }, answer{code: node.Malformed, text: "malformed", entry: -1}},
		{"stolen: the newest entry is another peer's", s.c, func() []byte { return good }, answer{code: node.Forbidden, text: "signerMismatch", entry: 0}},
		{"newest entry names a stranger", s.a, func() []byte { b, _ := s.x.Offer(s.bob); return b }, answer{code: node.Forbidden, text: "signerMismatch", entry: 0}},
		{"unknown key", s.a, func() (b []byte) { withKey(t, s.a, func() { b, _ = s.a.Offer(s.bob) }); return }, answer{code: node.Forbidden, text: "unknownKey", entry: 0}},
		{"unknown key of an older entry", s.c, func() (b []byte) { withKey(t, s.a, func() { b = viaC(s.a) }); return }, answer{code: node.Forbidden, text: "unknownKey", entry: 0}},
		{"our signature that we do not know", s.a, func() []byte {
			return chainOf(s.b, issue("al@a.example"), extend(s.a, transfer(s.bob)))
		}, answer{code: node.Unavailable, text: "quarantine", entry: 0}},
	} {
		t.Run(c.name, func(t *testing.T) { mustAnswer(t, s.b, c.from, c.body(), c.want) })
	}
	t.Run("the good one is still taken", func(t *testing.T) { mustAccept(t, s.b, s.a, good); checkNode(t, s.b) })
}

func TestTooLargeBlockIsNotRead(t *testing.T) {
	w := ebltest.New(t)
	a := w.Platform("a.example", ebltest.Manual())
	b := w.Platform("b.example", ebltest.Manual(), ebltest.Configure(func(c *node.Config) { c.Limits.Body = 4096 }))
	doc := fmt.Appendf(nil, `{"x":%q}`, strings.Repeat("x", 4096))
	body := ebltest.Body(doc, a.Seal(envelope.HashOf(doc), envelope.Hash{}, issue(b.User("bob").ID)...))
	mustAnswer(t, b, a, body, answer{code: node.TooLarge, text: "tooLarge", entry: -1})
}

// signedCases are the refusals of checks 7 to 11 that are signed.
func signedCases(t *testing.T, s *stage) []struct {
	name string
	from *ebltest.Platform
	body []byte
	want answer
} {
	benv := func(text string, entry int, path string) answer {
		return answer{code: node.BENV, text: text, entry: entry, path: path}
	}
	law := func(l string, entry, tx int) answer {
		return benv("unlawful/"+l, entry, fmt.Sprintf("$.endorsementChain[%d].signature.payload.transactions[%d]", entry, tx))
	}
	offer := func() []byte { b, _ := s.a.Offer(s.bob); return b }
	viaC := func() []byte {
		return chainOf(s.a, issue("cees@c.example"), extend(s.c, transfer(s.bob)))
	}
	now := time.Now()
	to := func(who string) []byte { b, _ := s.a.Offer(who); return b }
	return []struct {
		name string
		from *ebltest.Platform
		body []byte
		want answer
	}{
		{"7 bad signature", s.a, edit(t, offer(), func(b *envelope.Transferblock) { b.Entries[0] = ebltest.BadSignature(t, b.Entries[0]) }), answer{code: node.BSIG, text: "badSignature"}},
		{"7 signed when the key was not valid", s.a, chainOf(s.a, []ebltest.Tx{{Instruction: envelope.Issue, To: s.bob, At: now.Add(-48 * time.Hour)}}), answer{code: node.BSIG, text: "badSignature"}},
		{"8 older entry of a stranger", s.a, chainOf(s.x, issue("al@a.example"), extend(s.a, transfer(s.bob))), benv("platformNotTrusted", 0, "$.endorsementChain[0]")},
		{"8 older signature is bad", s.c, edit(t, viaC(), func(b *envelope.Transferblock) { b.Entries[0] = ebltest.BadSignature(t, b.Entries[0]) }), benv("badChainSignature", 0, "$.endorsementChain[0].signature")},
		{"9 envelopeHash", s.a, edit(t, offer(), func(b *envelope.Transferblock) { b.Entries[0].Claimed[0] ^= 1 }), benv("badHash", 0, "$.endorsementChain[0].envelopeHash")},
		{"9 link", s.c, edit(t, viaC(), func(b *envelope.Transferblock) {
			b.Entries[1] = s.c.Seal(b.Entries[0].Payload.DocumentHash, envelope.HashOf([]byte("x")), transfer(s.bob))
		}), benv("badLink", 1, "$.endorsementChain[1].signature.payload.previousEnvelopeHash")},
		{"9 entry taken out", s.c, edit(t, chainOf(s.a, issue("al@a.example"), extend(s.a, transfer("cees@c.example")), extend(s.c, transfer(s.bob))), func(b *envelope.Transferblock) { b.Entries = append(b.Entries[:1], b.Entries[2]) }), benv("badLink", 1, "")},
		{"9 issuance taken off", s.c, edit(t, viaC(), func(b *envelope.Transferblock) { b.Entries = b.Entries[1:] }), benv("badLink", 0, "")},
		{"9 entries exchanged", s.a, edit(t, viaC(), func(b *envelope.Transferblock) { b.Entries[0], b.Entries[1] = b.Entries[1], b.Entries[0] }), benv("badLink", 0, "")},
		{"9 document", s.a, edit(t, offer(), func(b *envelope.Transferblock) { b.Document = s.a.Document() }), benv("documentMismatch", 0, "$.endorsementChain[0].signature.payload.documentHash")},
		{"9 entry of another bill", s.c, edit(t, viaC(), func(b *envelope.Transferblock) {
			b.Entries[1] = s.c.Seal(envelope.HashOf([]byte("x")), b.Entries[0].Claimed, transfer(s.bob))
		}), benv("documentMismatch", 1, "")},
		{"10 not an issuer", s.c, chainOf(s.c, issue(s.bob)), benv("notAnIssuer", 0, "")},
		{"10 not issued", s.a, chainOf(s.a, []ebltest.Tx{transfer(s.bob)}), law("notIssued", 0, 0)},
		{"10 issued twice", s.a, chainOf(s.a, issue("al@a.example"), extend(s.a, issue(s.bob)...)), law("issuedTwice", 1, 0)},
		{"10 of somebody else's bill", s.c, chainOf(s.a, issue("al@a.example"), extend(s.c, transfer(s.bob))), law("notInControl", 1, 0)},
		{"10 after it was given away", s.a, chainOf(s.a, issue("cees@c.example"), extend(s.a, transfer(s.bob))), law("notInControl", 1, 0)},
		{"10 given away and on in one entry", s.a, chainOf(s.a, append(issue("cees@c.example"), transfer(s.bob))), law("notInControl", 0, 1)},
		{"10 to itself", s.a, chainOf(s.a, append(issue(s.bob), transfer(s.bob))), law("notInControl", 0, 1)},
		{"10 to who has it", s.a, chainOf(s.a, []ebltest.Tx{issue("al@a.example")[0], transfer("al@a.example"), transfer(s.bob)}), law("samePossessor", 0, 1)},
		{"10 transaction of another platform", s.a, chainOf(s.a, []ebltest.Tx{issue("al@a.example")[0], {Instruction: envelope.Transfer, To: s.bob, Platform: s.c.Domain()}}), law("otherPlatform", 0, 1)},
		{"10 time goes back", s.a, chainOf(s.a, []ebltest.Tx{{Instruction: envelope.Issue, To: "al@a.example", At: now}, {Instruction: envelope.Transfer, To: s.bob, At: now.Add(-time.Millisecond)}}), law("timeReversed", 0, 1)},
		{"10 time goes back between entries", s.c, chainOf(s.a, []ebltest.Tx{{Instruction: envelope.Issue, To: "cees@c.example", At: now}}, extend(s.c, ebltest.Tx{Instruction: envelope.Transfer, To: s.bob, At: now.Add(-5*time.Minute - time.Second)})), law("timeReversed", 1, 0)},
		{"10 time ahead", s.a, chainOf(s.a, []ebltest.Tx{{Instruction: envelope.Issue, To: s.bob, At: now.Add(6 * time.Minute)}}), law("timeAhead", 0, 0)},
		{"10 isToOrder is not the document's", s.a, chainOf(s.a, []ebltest.Tx{{Instruction: envelope.Issue, To: s.bob, NotToOrder: true}}), law("toOrderChanged", 0, 0)},
		{"10 returned to a platform that did not issue", s.a, chainOf(s.a, issue("al@a.example"), extend(s.a, ebltest.Tx{Instruction: envelope.Surrender, To: s.bob})), law("notToTheIssuer", 1, 0)},
		{"11 for another platform", s.a, to("cees@c.example"), benv("notForUs", 0, "$.endorsementChain[0].signature.payload.transactions[0].transferee")},
		{"11 unknown user", s.a, to("nobody@b.example"), benv("transfereeNotAccepted", 0, "$.endorsementChain[0].signature.payload.transactions[0].transferee")},
		{"11 user in another case", s.a, to("Bob@b.example"), benv("transfereeNotAccepted", 0, "")},
		{"11 disabled user", s.a, to("gone@b.example"), benv("transfereeNotAccepted", 0, "")},
		{"11 auditor", s.a, to("auditor@b.example"), benv("transfereeNotAccepted", 0, "")},
		{"11 operator", s.a, to("operator@b.example"), benv("transfereeNotAccepted", 0, "")},
	}
}

func TestSignedRefusals(t *testing.T) {
	s := newStage(t)
	s.b.User("auditor", node.AuditorRole)
	s.b.User("operator", node.OperatorRole)
	s.b.User("gone")
	if err := s.b.Node().DisableUser(t.Context(), "test", "gone"); err != nil {
		t.Fatal(err)
	}
	cases := signedCases(t, s)
	answers := map[string]node.Reply{}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { answers[c.name] = mustAnswer(t, s.b, c.from, c.body, c.want) })
	}
	if a, b, c := answers["11 unknown user"], answers["11 disabled user"], answers["11 auditor"]; a.Refusal.Error() != b.Refusal.Error() || b.Refusal.Error() != c.Refusal.Error() {
		t.Errorf("the answer tells who is a user here: %v, %v, %v", a.Refusal, b.Refusal, c.Refusal)
	}
	s.b.Restart()
	for _, c := range cases {
		again, err := s.b.Put(c.from, c.body)
		if err != nil || again.Rejection != answers[c.name].Rejection {
			t.Errorf("%s after a restart: got %+v and %v, want the stored rejection", c.name, again, err)
		}
	}
	checkNode(t, s.b)
}

// TestUnreasonableReturn: a return must go to the very user that issued the bill.
func TestReturnToAnotherUserOfTheIssuer(t *testing.T) {
	s := newStage(t)
	issuer, al, bob := s.a.User("issuer", node.IssuerRole), s.a.User("al"), s.b.User("bob")
	stopA := s.a.Run()
	defer stopA()
	doc := s.a.Issue(bob.ID)
	body := s.b.Block(doc)
	for _, in := range []envelope.Instruction{envelope.Surrender, envelope.Amend, envelope.SwitchToPaper} {
		mustAnswer(t, s.a, s.b, s.b.Extend(body, ebltest.Tx{Instruction: in, To: al.ID}), answer{code: node.BENV, text: "notTheIssuer", entry: 1})
	}
	mustAccept(t, s.a, s.b, s.b.Extend(body, ebltest.Tx{Instruction: envelope.Surrender, To: issuer.ID}))
	mustChange(t, s.a, func() {
		_, err := s.a.Node().Move(t.Context(), issuer.User, doc, node.MoveOrder{Instruction: envelope.Transfer, To: ebltest.Quote(al.ID)})
		mustRefuse(t, err, node.Conflict, "unlawful/notReturnedBy")
		_, err = s.a.Node().Honour(t.Context(), al.User, doc, node.HonourOrder{})
		mustRefuse(t, err, node.NotFound, "notFound")
	})
}

func TestTransfereeParticulars(t *testing.T) {
	lei := func(code string) string {
		return `"identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":"` + code + `","codeListName":"LEI"}]`
	}
	for _, c := range []struct {
		name, extra string
		match, ok   bool
	}{
		{"nothing given", ``, false, true},
		{"nothing given, match required", ``, true, false},
		{"code agrees", lei("529900T8BM49AURSDO55"), true, true},
		{"code contradicts", lei("529900T8BM49AURSDO56"), false, false},
		{"code of another list", `"identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":"x","codeListName":"other"}]`, false, true},
		{"code of another list, match required", `"identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":"x","codeListName":"other"}]`, true, false},
		{"older name of the provider contradicts", `"identifyingCodes":[{"DCSAResponsibleAgencyCode":"GLEIF","partyCode":"x","codeListName":"LEI"}]`, false, false},
		{"tax reference agrees", `"taxReference1":"NL1"`, true, true},
		{"tax reference contradicts", `"taxReference1":"NL2"`, false, false},
		{"code agrees, tax reference contradicts", lei("529900T8BM49AURSDO55") + `,"taxReference1":"NL2"`, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ebltest.New(t)
			a := w.Platform("a.example", ebltest.Manual())
			b := w.Platform("b.example", ebltest.Manual(), ebltest.Configure(func(cfg *node.Config) { cfg.RequirePartyMatch = c.match }))
			b.AddUser(node.User{Local: "bob", Role: node.HolderRole, Tax1: "NL1", Codes: []identity.IdentifyingCode{{Provider: "GLEIF", Code: "529900T8BM49AURSDO55", List: "LEI"}}})
			party := `{"eBLPlatformIdentifier":"bob@b.example"`
			if c.extra != "" {
				party += "," + c.extra
			}
			text, err := envelope.NewTransaction(envelope.Transaction{Instruction: envelope.Issue, At: time.Now(), ToOrder: true, PlatformHost: a.Domain()}, []byte(party+"}"))
			if err != nil {
				t.Fatal(err)
			}
			doc := a.Document()
			e, err := envelope.Seal(envelope.HashOf(doc), envelope.Hash{}, [][]byte{text}, a.Signer)
			if err != nil {
				t.Fatal(err)
			}
			if c.ok {
				mustAccept(t, b, a, ebltest.Body(doc, e))
				return
			}
			mustAnswer(t, b, a, ebltest.Body(doc, e), answer{code: node.BENV, text: "transfereeNotAccepted"})
		})
	}
}

// TestSecondLiveBillWithOneReference: the carrier's reference names one live bill.
func TestSecondLiveBillWithOneReference(t *testing.T) {
	s := newStage(t)
	stop := s.b.Run()
	defer stop()
	first, doc := s.a.Offer(s.bob)
	mustAccept(t, s.b, s.a, first)
	number := s.b.View(doc).Reference.Number
	double := fmt.Appendf(nil, `{"carrierCode":"MAEU","isToOrder":true,"transportDocumentReference":%q}`, number)
	body := ebltest.Body(double, s.a.Seal(envelope.HashOf(double), envelope.Hash{}, issue(s.bob)...))
	mustAnswer(t, s.b, s.a, body, answer{code: node.BENV, text: "referenceInUse", entry: -1})
	// Once the first has gone on, a fresh envelope for the other is taken, the rejected
	// one is not.
	s.b.Transfer(s.b.User("bob"), doc, s.c.User("cees").ID)
	r, err := s.b.Put(s.a, ebltest.Rewrap(t, body))
	if err != nil {
		t.Fatal(err)
	}
	mustRejectAs(t, r, s.b, s.a, body, envelope.BadEnvelopeCode, "referenceInUse")
	time.Sleep(2 * time.Millisecond) // another timestamp, another envelope
	fresh := ebltest.Body(double, s.a.Seal(envelope.HashOf(double), envelope.Hash{}, issue(s.bob)...))
	mustAccept(t, s.b, s.a, fresh)
	// And now the first cannot come back here.
	back := s.c.Extend(s.c.Block(doc), transfer(s.bob))
	mustAnswer(t, s.b, s.c, back, answer{code: node.BENV, text: "referenceInUse", entry: -1})
	checkNode(t, s.b)
}
