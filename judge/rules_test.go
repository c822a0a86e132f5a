package judge_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
	"eblnode/testvectors"
)

// A party is a platform that signs whatever a test wants.
type party struct {
	*identity.Signer
	entry *identity.Platform
	name  string
}

// A scene is a bill between three platforms, and the trust file of a stranger.
type scene struct {
	t       *testing.T
	now     time.Time
	parties map[string]*party
	doc     []byte
	now2    time.Time // of judging; zero: now
}

func newScene(t *testing.T) *scene {
	s := &scene{t: t, now: time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC), parties: map[string]*party{}, doc: []byte(`{"carrierCode":"CARR","isToOrder":true}`)}
	for _, name := range []string{"carrier", "bank", "trade"} {
		s.party(name)
	}
	s.parties["carrier"].entry.Issuer = true
	return s
}

func (s *scene) party(name string) *party {
	s.t.Helper()
	domain, err := identity.ParseHost(name + ".example")
	if err != nil {
		s.t.Fatal(err)
	}
	signer, err := identity.GenerateSigner(domain, identity.ES256, identity.CertificateSpec{Subject: name, NotBefore: s.now.Add(-24 * time.Hour), NotAfter: s.now.AddDate(1, 0, 0)})
	if err != nil {
		s.t.Fatal(err)
	}
	p := &party{Signer: signer, entry: &identity.Platform{Domain: domain, Mode: identity.ModePinned, Keys: []*identity.Key{signer.Key}}, name: name}
	s.parties[name] = p
	return p
}

// without is what the reader holds, less some.
func (s *scene) without(names ...string) *identity.Trust {
	s.t.Helper()
	var list []*identity.Platform
	for name, p := range s.parties {
		if !strings.Contains(" "+strings.Join(names, " ")+" ", " "+name+" ") {
			list = append(list, p.entry)
		}
	}
	trust, err := identity.NewTrust(list...)
	if err != nil {
		s.t.Fatal(err)
	}
	return trust
}

func (s *scene) hash() envelope.Hash {
	c, err := envelope.Canonicalize(s.doc)
	if err != nil {
		s.t.Fatal(err)
	}
	return envelope.HashOf(c)
}

type move struct {
	by, to   string // platform; user and platform, "ben@bank"
	in       envelope.Instruction
	minutes  int
	straight bool
}

func (s *scene) tx(m move) []byte {
	s.t.Helper()
	tx, err := envelope.NewTransaction(envelope.Transaction{Instruction: m.in, At: s.at(m.minutes), ToOrder: !m.straight, PlatformHost: s.parties[m.by].entry.Domain}, []byte(`"`+m.to+`.example"`))
	if err != nil {
		s.t.Fatal(err)
	}
	return tx
}

func (s *scene) at(minutes int) time.Time { return s.now.Add(time.Duration(minutes-600) * time.Minute) }

func (s *scene) seal(by string, previous envelope.Hash, moves ...move) envelope.Entry {
	return s.sealOf(s.hash(), by, previous, moves...)
}

func (s *scene) sealOf(document envelope.Hash, by string, previous envelope.Hash, moves ...move) envelope.Entry {
	s.t.Helper()
	var txs [][]byte
	for _, m := range moves {
		if m.by == "" {
			m.by = by
		}
		txs = append(txs, s.tx(m))
	}
	e, err := envelope.Seal(document, previous, txs, s.parties[by].Signer)
	if err != nil {
		s.t.Fatal(err)
	}
	return e
}

func (s *scene) must(jws string, err error) string {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	return jws
}

func (s *scene) receipt(by string, e envelope.Entry, minutes int) envelope.JWS {
	return envelope.JWS{Raw: s.must(envelope.SignReceipt(e.Claimed, s.parties[by].Signer, s.at(minutes)))}
}

func (s *scene) rejection(by string, e envelope.Entry, from, to string, code envelope.ResponseCode) envelope.BundleRejection {
	r := envelope.Rejection{EnvelopeHash: e.Hash(), JWSSum: envelope.HashOf([]byte(e.JWS.Raw)), Sender: s.parties[from].entry.Domain, Receiver: s.parties[to].entry.Domain, Code: code, At: s.at(50)}
	return envelope.BundleRejection{JWS: envelope.JWS{Raw: s.must(envelope.SignRejection(r, s.parties[by].Signer))}}
}

func (s *scene) verdict(by string, v envelope.Verdict, minutes int) *envelope.BundleVerdict {
	v.At = s.at(minutes)
	return &envelope.BundleVerdict{JWS: envelope.JWS{Raw: s.must(envelope.SignVerdict(v, s.parties[by].Signer))}}
}

func (s *scene) step(by string, head, previous envelope.Hash, index int, m move) envelope.BundleStep {
	if m.by == "" {
		m.by = by
	}
	return envelope.BundleStep{JWS: envelope.JWS{Raw: s.must(envelope.SignStep(envelope.Step{DocumentHash: s.hash(), Head: head, Index: index, Previous: previous, Transaction: s.tx(m)}, s.parties[by].Signer, s.at(m.minutes)))}}
}

// bundle is a good one: issued at the carrier's, sent to the bank, passed on inside it.
func (s *scene) bundle() *envelope.Bundle {
	first := s.seal("carrier", envelope.Hash{}, move{to: "ann@carrier", in: envelope.Issue, minutes: 0}, move{to: "ben@bank", in: envelope.Transfer, minutes: 1})
	second := s.seal("bank", first.Hash(), move{to: "tess@trade", in: envelope.Transfer, minutes: 10})
	b := &envelope.Bundle{Made: envelope.Made{By: s.parties["trade"].entry.Domain, At: s.at(60), Selection: envelope.SelectBill}, DocumentHash: s.hash()}
	b.Block.Document = s.doc
	b.Block.Entries = []envelope.Entry{first, second}
	b.Receipts = []envelope.JWS{s.receipt("bank", first, 2), s.receipt("trade", second, 11)}
	one := s.step("trade", second.Hash(), envelope.Hash{}, 0, move{to: "tom@trade", in: envelope.Transfer, minutes: 20})
	b.Steps = []envelope.BundleStep{one, s.step("trade", second.Hash(), envelope.HashOf([]byte(one.JWS.Raw)), 1, move{to: "tess@trade", in: envelope.Transfer, minutes: 21})}
	return b
}

// returned is a bill that came back to the carrier, and was honoured.
func (s *scene) returned() *envelope.Bundle {
	b := s.bundle()
	second := b.Block.Entries[1]
	third := s.seal("trade", second.Hash(), move{to: "ann@carrier", in: envelope.Surrender, minutes: 30})
	b.Block.Entries = append(b.Block.Entries, third)
	b.Receipts = append(b.Receipts, s.receipt("carrier", third, 31))
	b.Steps = nil
	b.Verdict = s.verdict("carrier", envelope.Verdict{DocumentHash: s.hash(), EnvelopeHash: third.Hash(), Kind: envelope.Surrendered}, 40)
	return b
}

func (s *scene) judge(b *envelope.Bundle, trust *identity.Trust) *judge.Report {
	s.t.Helper()
	if err := b.Sign(s.parties["trade"].Signer); err != nil {
		s.t.Fatal(err)
	}
	text, err := b.Marshal()
	if err != nil {
		s.t.Fatal(err)
	}
	now := s.now2
	if now.IsZero() {
		now = s.now
	}
	return judge.File(text, judge.Options{Trust: trust, Now: now, Journey: true})
}

func flip(jws string) envelope.JWS {
	i := len(jws) - 10
	c := byte('A')
	if jws[i] == 'A' {
		c = 'B'
	}
	return envelope.JWS{Raw: jws[:i] + string(c) + jws[i+1:]}
}

var placeInBundle = regexp.MustCompile(`^\$\.(documentHash|verdict|(chain|steps|receipts|rejections|branches)\[[0-9]+\])`)

// TestRules breaks one rule of docs/BUNDLE.md at a time. Every code of the page has a case
// here, except those of shape, which the codec's own tests have.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	type change func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust)
	// edit changes the good bundle.
	edit := func(f func(s *scene, b *envelope.Bundle)) change {
		return func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) { f(s, b); return b, s.without() }
	}
	// chain puts another chain in its place.
	chain := func(f func(s *scene) []envelope.Entry) change {
		return edit(func(s *scene, b *envelope.Bundle) { b.Block.Entries, b.Receipts, b.Steps = f(s), nil, nil })
	}
	// firstThen seals a lawful first entry and what f adds.
	firstThen := func(f func(s *scene, first envelope.Entry) []envelope.Entry) change {
		return chain(func(s *scene) []envelope.Entry {
			first := s.seal("carrier", envelope.Hash{}, move{to: "ann@carrier", in: envelope.Issue, minutes: 0}, move{to: "ben@bank", in: envelope.Transfer, minutes: 1})
			return append([]envelope.Entry{first}, f(s, first)...)
		})
	}
	law := func(moves ...move) change {
		return firstThen(func(s *scene, first envelope.Entry) []envelope.Entry {
			return []envelope.Entry{s.seal("bank", first.Hash(), moves...)}
		})
	}
	issued := func(moves ...move) change {
		return chain(func(s *scene) []envelope.Entry { return []envelope.Entry{s.seal("carrier", envelope.Hash{}, moves...)} })
	}
	trust := func(f func(s *scene)) change {
		return func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) { f(s); return b, s.without() }
	}
	lack := func(names ...string) change {
		return func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) { return b, s.without(names...) }
	}
	// other gives the platform another key under the same kid, or another kid.
	other := func(name, kid string) func(s *scene) {
		return func(s *scene) {
			was := s.parties[name].Key.ID
			p := *s.parties[name]
			k := *s.party(name).Key
			k.ID = was
			if kid != "" {
				k.ID = kid
			}
			entry := *p.entry
			entry.Keys = []*identity.Key{&k}
			s.parties[name] = &party{Signer: p.Signer, entry: &entry, name: name}
		}
	}
	key := func(name string, f func(s *scene, k *identity.Key)) func(s *scene) {
		return func(s *scene) {
			k := *s.parties[name].Key
			k.Certificates = nil
			f(s, &k)
			entry := *s.parties[name].entry
			entry.Keys = []*identity.Key{&k}
			entry.Quirks.BareKey = true
			s.parties[name].entry = &entry
		}
	}
	window := func(s *scene, k *identity.Key) { k.NotAfter = s.at(0).Add(-time.Minute) }
	revoked := func(s *scene, k *identity.Key) { k.Revoked, k.Reason = s.at(0).Add(-time.Minute), "superseded" }
	stolen := func(s *scene, k *identity.Key) { k.Revoked, k.Reason = s.at(0), identity.ReasonKeyCompromise }
	alg := func(_ *scene, k *identity.Key) { k.Alg = identity.ES384 }
	noKid := func(s *scene) { s.parties["bank"].Key.ID = "" }
	// alone leaves only the chain, so that the bank signed nothing but its entry.
	alone := func(c change) change {
		return func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Receipts, b.Steps, b.Verdict = nil, nil, nil
			return c(s, b)
		}
	}
	verdict := func(f func(s *scene, b *envelope.Bundle)) change {
		return func(s *scene, _ *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b := s.returned()
			f(s, b)
			return b, s.without()
		}
	}
	replace := func(kind envelope.VerdictKind, minutes int, of func(v *envelope.Verdict)) change {
		return verdict(func(s *scene, b *envelope.Bundle) {
			v := envelope.Verdict{DocumentHash: s.hash(), EnvelopeHash: b.Block.Entries[2].Hash(), Kind: kind}
			if of != nil {
				of(&v)
			}
			b.Verdict = s.verdict("carrier", v, minutes)
		})
	}
	// verdictKey changes a key of the carrier that signed the verdict alone.
	verdictKey := func(f func(s *scene, k *identity.Key)) change {
		return func(s *scene, _ *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b := s.returned()
			b.Receipts = b.Receipts[:2]
			was := *s.parties["carrier"]
			second := s.party("carrier")
			b.Verdict = s.verdict("carrier", envelope.Verdict{DocumentHash: s.hash(), EnvelopeHash: b.Block.Entries[2].Hash(), Kind: envelope.Surrendered}, 40)
			k := *second.Key
			k.Certificates = nil
			f(s, &k)
			second.entry.Keys = []*identity.Key{was.Key, &k}
			second.entry.Issuer = true
			return b, s.without()
		}
	}
	step := func(f func(s *scene, head envelope.Hash, one envelope.BundleStep) envelope.BundleStep) change {
		return edit(func(s *scene, b *envelope.Bundle) {
			b.Steps[1] = f(s, b.Block.Entries[1].Hash(), b.Steps[0])
		})
	}
	to := move{to: "tess@trade", in: envelope.Transfer, minutes: 21}
	// branched adds another continuation after entry 0.
	branched := func(f func(s *scene, b *envelope.Bundle, e envelope.Entry)) change {
		return edit(func(s *scene, b *envelope.Bundle) {
			b.Steps = nil
			f(s, b, s.seal("bank", b.Block.Entries[0].Hash(), move{to: "carl@carrier", in: envelope.Transfer, minutes: 12}))
		})
	}
	// tradeBranch is one of a platform that signed nothing else.
	tradeBranch := func(f func(s *scene, k *identity.Key)) change {
		return func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps, b.Receipts = nil, nil
			b.Branches = []envelope.Branch{{At: 2, Entries: []envelope.Entry{s.seal("trade", b.Block.Entries[1].Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 30})}}}
			key("trade", f)(s)
			return b, s.without()
		}
	}
	cases := []struct {
		rule    string
		verdict judge.Verdict
		change  change
	}{
		{"", judge.Valid, edit(func(*scene, *envelope.Bundle) {})},
		{"", judge.Valid, edit(func(_ *scene, b *envelope.Bundle) { b.Block.Document = nil })},
		{"", judge.Valid, alone(lack("trade"))}, // the last addressee, who signed nothing
		{"platformNotTrusted", judge.Indeterminate, lack("bank")},
		{"unknownKey/kid", judge.Indeterminate, trust(other("bank", "another"))},
		{"unknownKey/noKid", judge.Indeterminate, func(s *scene, _ *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			noKid(s)
			b := s.bundle()
			other("bank", "another")(s)
			return b, s.without()
		}},
		{"badSignature/algorithm", judge.Invalid, alone(trust(key("bank", alg)))},
		{"badSignature/value", judge.Invalid, alone(trust(other("bank", "")))},
		{"badSignature/window", judge.Invalid, alone(trust(key("bank", window)))},
		{"badSignature/revoked", judge.Invalid, alone(trust(key("bank", revoked)))},
		{"badChainSignature/algorithm", judge.Invalid, trust(key("carrier", alg))},
		{"badChainSignature/value", judge.Invalid, trust(other("carrier", ""))},
		{"badChainSignature/window", judge.Invalid, trust(key("carrier", window))},
		{"badChainSignature/revoked", judge.Invalid, trust(key("carrier", revoked))},
		{"keyCompromised", judge.Indeterminate, trust(key("carrier", stolen))},
		{"documentMismatch/bundle", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.DocumentHash[0] ^= 1 })},
		{"badHash/claimed", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.Block.Entries[1].Claimed[0] ^= 1 })},
		{"badHash/beside", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.Block.Entries[1].Beside = []byte(`{}`) })},
		{"badLink/first", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.Block.Entries = b.Block.Entries[1:] })},
		{"badLink/previous", judge.Invalid, firstThen(func(s *scene, _ envelope.Entry) []envelope.Entry {
			return []envelope.Entry{s.seal("bank", envelope.HashOf(nil), move{to: "tess@trade", in: envelope.Transfer, minutes: 10})}
		})},
		{"documentMismatch/entry", judge.Invalid, firstThen(func(s *scene, first envelope.Entry) []envelope.Entry {
			return []envelope.Entry{s.sealOf(envelope.HashOf(nil), "bank", first.Hash(), move{to: "tess@trade", in: envelope.Transfer, minutes: 10})}
		})},
		{"notAnIssuer/issuer", judge.Invalid, trust(func(s *scene) { s.parties["carrier"].entry.Issuer = false })},
		{"notAnIssuer/carrier", judge.Invalid, trust(func(s *scene) { s.parties["carrier"].entry.Carriers = []string{"MAEU"} })},
		{"documentNeeded", judge.Indeterminate, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Block.Document = nil
			s.parties["carrier"].entry.Carriers = []string{"CARR"}
			return b, s.without()
		}},
		{"unlawful/otherPlatform", judge.Invalid, law(move{to: "bob@bank", in: envelope.Transfer, minutes: 10}, move{by: "trade", to: "tess@trade", in: envelope.Transfer, minutes: 11})},
		{"unlawful/timeReversed", judge.Invalid, law(move{to: "bob@bank", in: envelope.Transfer, minutes: 10}, move{to: "tess@trade", in: envelope.Transfer, minutes: 9})},
		{"unlawful/timeReversed", judge.Invalid, law(move{to: "tess@trade", in: envelope.Transfer, minutes: -5})},
		{"unlawful/timeAhead", judge.Invalid, law(move{to: "tess@trade", in: envelope.Transfer, minutes: 606})},
		{"unlawful/toOrderChanged", judge.Invalid, law(move{to: "tess@trade", in: envelope.Transfer, minutes: 10, straight: true})},
		{"unlawful/notIssued", judge.Invalid, issued(move{to: "ann@carrier", in: envelope.Transfer})},
		{"unlawful/issuedTwice", judge.Invalid, issued(move{to: "ann@carrier", in: envelope.Issue}, move{to: "bob@carrier", in: envelope.Issue, minutes: 1})},
		{"unlawful/notInControl", judge.Invalid, firstThen(func(s *scene, first envelope.Entry) []envelope.Entry {
			return []envelope.Entry{s.seal("trade", first.Hash(), move{to: "tess@trade", in: envelope.Transfer, minutes: 10})}
		})},
		{"unlawful/samePossessor", judge.Invalid, law(move{to: "ben@bank", in: envelope.Transfer, minutes: 10})},
		{"unlawful/notToTheIssuer", judge.Invalid, law(move{to: "tess@trade", in: envelope.Surrender, minutes: 10})},
		{"unlawful/returnPending", judge.Invalid, firstThen(func(s *scene, first envelope.Entry) []envelope.Entry {
			second := s.seal("bank", first.Hash(), move{to: "ann@carrier", in: envelope.Amend, minutes: 10})
			return []envelope.Entry{second, s.seal("carrier", second.Hash(), move{to: "ben@bank", in: envelope.Surrender, minutes: 11})}
		})},
		{"unlawful/notReturnedBy", judge.Invalid, firstThen(func(s *scene, first envelope.Entry) []envelope.Entry {
			second := s.seal("bank", first.Hash(), move{to: "ann@carrier", in: envelope.SwitchToPaper, minutes: 10})
			return []envelope.Entry{second, s.seal("carrier", second.Hash(), move{to: "tess@trade", in: envelope.Transfer, minutes: 11})}
		})},

		{"badStep/value", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.Steps[1].JWS = flip(b.Steps[1].JWS.Raw) })},
		{"badStep/algorithm", judge.Invalid, trust(key("trade", alg))},
		{"badStep/window", judge.Invalid, trust(key("trade", window))},
		{"badStep/revoked", judge.Invalid, trust(key("trade", revoked))},
		{"keyCompromised", judge.Indeterminate, trust(key("trade", stolen))},
		{"platformNotTrusted", judge.Indeterminate, lack("trade")},
		{"badStep/document", judge.Invalid, step(func(s *scene, head envelope.Hash, one envelope.BundleStep) envelope.BundleStep {
			s.doc = []byte(`{"isToOrder":true}`)
			return s.step("trade", head, envelope.HashOf([]byte(one.JWS.Raw)), 1, to)
		})},
		{"badStep/head", judge.Invalid, step(func(s *scene, _ envelope.Hash, one envelope.BundleStep) envelope.BundleStep {
			return s.step("trade", envelope.HashOf(nil), envelope.HashOf([]byte(one.JWS.Raw)), 1, to)
		})},
		{"badStep/index", judge.Invalid, step(func(s *scene, head envelope.Hash, one envelope.BundleStep) envelope.BundleStep {
			return s.step("trade", head, envelope.HashOf([]byte(one.JWS.Raw)), 2, to)
		})},
		{"badStep/previous", judge.Invalid, step(func(s *scene, head envelope.Hash, _ envelope.BundleStep) envelope.BundleStep {
			return s.step("trade", head, envelope.HashOf(nil), 1, to)
		})},
		{"unlawful/samePossessor", judge.Invalid, step(func(s *scene, head envelope.Hash, one envelope.BundleStep) envelope.BundleStep {
			return s.step("trade", head, envelope.HashOf([]byte(one.JWS.Raw)), 1, move{to: "tom@trade", in: envelope.Transfer, minutes: 21})
		})},
		{"badStep/head", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.Block.Entries, b.Receipts = b.Block.Entries[:1], nil })},
		{"badStep/index", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) {
			b.Steps[0], b.Steps[1] = b.Steps[1], b.Steps[0]
			b.Steps = b.Steps[:1]
			b.Receipts = nil
		})},

		{"keyCompromised", judge.Indeterminate, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			first := b.Block.Entries[0]
			first.Claimed[0] ^= 1 // what follows a false hash does not speak for the entry
			b.Block.Entries = []envelope.Entry{first, s.seal("bank", first.Claimed, move{to: "tess@trade", in: envelope.Transfer, minutes: 10})}
			b.Receipts, b.Steps = nil, nil
			key("carrier", func(s *scene, k *identity.Key) { k.Revoked, k.Reason = s.at(30), identity.ReasonKeyCompromise })(s)
			return b, s.without()
		}},

		{"badReceipt/entry", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			e := b.Block.Entries[0]
			e.Claimed[0] ^= 1
			b.Receipts = append(b.Receipts, s.receipt("bank", e, 3))
		})},
		{"badReceipt/twice", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			b.Receipts = append(b.Receipts, s.receipt("bank", b.Block.Entries[0], 3))
		})},
		{"badReceipt/value", judge.Invalid, edit(func(_ *scene, b *envelope.Bundle) { b.Receipts[0] = flip(b.Receipts[0].Raw) })},
		{"badReceipt/algorithm", judge.Invalid, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps = nil
			key("trade", alg)(s)
			return b, s.without()
		}},
		{"badReceipt/window", judge.Invalid, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps = nil
			key("trade", window)(s)
			return b, s.without()
		}},
		{"badReceipt/revoked", judge.Invalid, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps = nil
			key("trade", revoked)(s)
			return b, s.without()
		}},
		{"badReceipt/time", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) { b.Receipts[1] = s.receipt("trade", b.Block.Entries[1], 4) })},

		{"badRejection/entry", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", s.seal("bank", envelope.HashOf(nil), to), "bank", "trade", "BENV")}
		})},
		{"badRejection/bytes", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			twin := b.Block.Entries[1]
			twin.JWS.Raw += "x"
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", twin, "bank", "trade", "BENV")}
		})},
		{"badRejection/parties", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "carrier", "trade", "BENV")}
		})},
		{"badRejection/value", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			r := s.rejection("trade", b.Block.Entries[1], "bank", "trade", "BENV")
			r.JWS = flip(r.JWS.Raw)
			b.Rejections = []envelope.BundleRejection{r}
		})},
		{"badRejection/window", judge.Invalid, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps, b.Receipts = nil, nil
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "BENV")}
			key("trade", window)(s)
			return b, s.without()
		}},
		{"badRejection/revoked", judge.Invalid, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps, b.Receipts = nil, nil
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "BENV")}
			key("trade", revoked)(s)
			return b, s.without()
		}},
		{"badRejection/algorithm", judge.Invalid, func(s *scene, b *envelope.Bundle) (*envelope.Bundle, *identity.Trust) {
			b.Steps, b.Receipts = nil, nil
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "BENV")}
			key("trade", alg)(s)
			return b, s.without()
		}},
		{"rejectedEntry", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			b.Steps, b.Receipts = nil, nil
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "BSIG")}
		})},
		{"contradicted", judge.Indeterminate, edit(func(s *scene, b *envelope.Bundle) {
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "BENV")}
		})},
		{"contradicted", judge.Indeterminate, edit(func(s *scene, b *envelope.Bundle) {
			b.Steps, b.Receipts = nil, nil
			b.Rejections = []envelope.BundleRejection{s.rejection("bank", b.Block.Entries[0], "carrier", "bank", "BENV")}
		})},
		{"disputed", judge.Indeterminate, edit(func(s *scene, b *envelope.Bundle) {
			b.Steps, b.Receipts = nil, nil
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "DISE")}
		})},
		{"", judge.Valid, edit(func(s *scene, b *envelope.Bundle) { // taken in the end
			b.Rejections = []envelope.BundleRejection{s.rejection("trade", b.Block.Entries[1], "bank", "trade", "DISE")}
		})},

		{"", judge.Valid, verdict(func(*scene, *envelope.Bundle) {})},
		{"badVerdict/value", judge.Invalid, verdict(func(_ *scene, b *envelope.Bundle) { b.Verdict.JWS = flip(b.Verdict.JWS.Raw) })},
		{"badVerdict/algorithm", judge.Invalid, verdictKey(alg)},
		{"badVerdict/window", judge.Invalid, verdictKey(func(s *scene, k *identity.Key) { k.NotAfter = s.at(35) })},
		{"badVerdict/revoked", judge.Invalid, verdictKey(func(s *scene, k *identity.Key) { k.Revoked, k.Reason = s.at(35), "superseded" })},
		{"unknownKey/kid", judge.Indeterminate, verdict(func(s *scene, b *envelope.Bundle) {
			b.Verdict = s.verdict("bank", envelope.Verdict{DocumentHash: s.hash(), EnvelopeHash: b.Block.Entries[2].Hash(), Kind: envelope.Surrendered}, 40)
		})},
		{"badVerdict/time", judge.Invalid, replace(envelope.Surrendered, 606, nil)},
		{"badVerdict/time", judge.Invalid, replace(envelope.Surrendered, 24, nil)},
		{"unlawful/verdictUnfitting", judge.Invalid, replace(envelope.Paper, 40, nil)},
		{"unlawful/verdictUnfitting", judge.Invalid, replace(envelope.Surrendered, 40, func(v *envelope.Verdict) { v.EnvelopeHash[0] ^= 1 })},
		{"unlawful/verdictUnfitting", judge.Invalid, replace(envelope.Surrendered, 40, func(v *envelope.Verdict) { v.ReplacedBy = envelope.HashOf(nil) })},
		{"unlawful/nothingToHonour", judge.Invalid, edit(func(s *scene, b *envelope.Bundle) {
			b.Verdict = s.verdict("carrier", envelope.Verdict{DocumentHash: s.hash(), EnvelopeHash: b.Block.Entries[1].Hash(), Kind: envelope.Surrendered}, 40)
		})},

		{"badBranch/link", judge.Invalid, branched(func(_ *scene, b *envelope.Bundle, e envelope.Entry) {
			b.Branches = []envelope.Branch{{At: 0, Entries: []envelope.Entry{e}}}
		})},
		{"badBranch/link", judge.Invalid, branched(func(_ *scene, b *envelope.Bundle, e envelope.Entry) {
			b.Branches = []envelope.Branch{{At: 3, Entries: []envelope.Entry{e}}}
		})},
		{"badBranch/same", judge.Invalid, branched(func(_ *scene, b *envelope.Bundle, _ envelope.Entry) {
			b.Branches = []envelope.Branch{{At: 1, Entries: b.Block.Entries[1:]}}
		})},
		{"badBranch/document", judge.Invalid, branched(func(s *scene, b *envelope.Bundle, _ envelope.Entry) {
			b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{s.sealOf(envelope.HashOf(nil), "bank", b.Block.Entries[0].Hash(), to)}}}
		})},
		{"badBranch/value", judge.Invalid, branched(func(_ *scene, b *envelope.Bundle, e envelope.Entry) {
			e.JWS = flip(e.JWS.Raw)
			b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{e}}}
		})},
		{"badBranch/algorithm", judge.Invalid, tradeBranch(alg)},
		{"badBranch/window", judge.Invalid, tradeBranch(window)},
		{"badBranch/revoked", judge.Invalid, tradeBranch(revoked)},
		{"forked/signedTwice", judge.Indeterminate, branched(func(_ *scene, b *envelope.Bundle, e envelope.Entry) {
			b.Branches = []envelope.Branch{{From: "carrier.example", At: 1, Entries: []envelope.Entry{e}}}
		})},
		{"", judge.Valid, branched(func(s *scene, b *envelope.Bundle, e envelope.Entry) { // rejected: the second was lawful
			b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{e}}}
			b.Rejections = []envelope.BundleRejection{s.rejection("carrier", e, "bank", "carrier", "BENV")}
		})},
		{"forked/rejectedAndContinued", judge.Indeterminate, branched(func(s *scene, b *envelope.Bundle, e envelope.Entry) {
			b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{e, s.seal("carrier", e.Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 14})}}}
			b.Rejections = []envelope.BundleRejection{s.rejection("carrier", e, "bank", "carrier", "BENV")}
		})},
		{"forked/continued", judge.Indeterminate, branched(func(s *scene, b *envelope.Bundle, _ envelope.Entry) {
			b.Branches = []envelope.Branch{{At: 2, Entries: []envelope.Entry{s.seal("trade", b.Block.Entries[1].Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 30})}}}
		})},
	}
	for i, c := range cases {
		t.Run(fmt.Sprintf("%d %s", i, c.rule), func(t *testing.T) {
			s := newScene(t)
			b, trust := c.change(s, s.bundle())
			r := s.judge(b, trust)
			if r.Rule != c.rule || r.Verdict != c.verdict {
				t.Fatalf("got %s %q (%s), want %s %q", r.Verdict, r.Rule, r.Detail, c.verdict, c.rule)
			}
			if !c.verdict.Holds() && !placeInBundle.MatchString(r.Path) {
				t.Errorf("got the place %s, which a bundle has not", r.Path)
			}
			if (r.State != nil) != c.verdict.Holds() || !c.verdict.Holds() && (r.Detail == "" || len(r.Entries) > 0) {
				t.Errorf("got state %+v and %q: who is in control is said only where every rule holds, else why not", r.State, r.Detail)
			}
		})
		seen[c.rule] = true
	}
	page, err := os.ReadFile("../docs/BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	// Those of authorities have their cases among the test vectors (TestVectors).
	vectors, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range vectors {
		if strings.HasSuffix(b.Reason, "/certificate") || b.Reason == "unknownKey/anchor" {
			seen[b.Reason] = true
		}
	}
	for _, code := range codes(string(page)) {
		if !seen[code] && code != "revocationUnknown" && code != "timeLimit" {
			t.Errorf("docs/BUNDLE.md has the code %s, which no case here shows", code)
		}
	}
	if len(seen) < 60 {
		t.Errorf("%d codes, want 60 at least", len(seen))
	}
}

// TestEndCutOff: whoever hands a file over can cut its end off. It stays good, and the report
// tells of when it is.
func TestEndCutOff(t *testing.T) {
	s := newScene(t)
	whole := s.judge(s.bundle(), s.without())
	cut := s.bundle()
	cut.Block.Entries, cut.Receipts, cut.Steps = cut.Block.Entries[:1], cut.Receipts[:1], nil
	early := s.judge(cut, s.without())
	if whole.Verdict != judge.Valid || early.Verdict != judge.Valid || whole.State.Possessor != "tess@trade.example" || early.State.Possessor != "ben@bank.example" {
		t.Fatalf("got %s %+v and %s %+v", whole.Verdict, whole.State, early.Verdict, early.State)
	}
	if got, want := early.State.AsOf, s.at(1).Format(time.RFC3339); got != want {
		t.Errorf("cut: as of %s, want %s", got, want)
	}
	if got, want := whole.State.AsOf, s.at(21).Format(time.RFC3339); got != want {
		t.Errorf("whole: as of %s, want %s", got, want)
	}
	if got, want := s.judge(s.returned(), s.without()).State.AsOf, s.at(40).Format(time.RFC3339); got != want {
		t.Errorf("honoured: as of %s, want %s", got, want)
	}
}

// codes lists the codes of section 3 but those of shape: `a/b`, and `/c` for the reason
// before it.
func codes(page string) (list []string) {
	_, page, _ = strings.Cut(page, "\n## 3. ")
	page, _, _ = strings.Cut(page, "\n## 4. ")
	for _, line := range strings.Split(page, "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || strings.TrimSpace(cells[2]) != "V" && strings.TrimSpace(cells[2]) != "?" {
			continue
		}
		reason := ""
		for _, m := range regexp.MustCompile("`([a-zA-Z]*)(/[a-zA-Z0-9…]+)?`").FindAllStringSubmatch(cells[1], -1) {
			if m[1] != "" {
				reason = m[1]
			}
			if reason != "malformed" && !strings.Contains(m[2], "…") {
				list = append(list, reason+m[2])
			}
		}
	}
	return list
}
