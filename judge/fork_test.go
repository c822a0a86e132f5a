package judge_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
)

// accused lists what a report says to be proved against somebody.
func accused(r *judge.Report) (list []string) {
	for _, f := range r.Forks {
		if f.Accuses() {
			list = append(list, string(f.Kind)+" "+f.Platform)
		}
	}
	return list
}

// TestForgedForkAccusesNobody: where the chain cannot be judged, its hashes and links have not been
// either. Two honest envelopes of one platform, laid beside each other by a forger, prove nothing.
func TestForgedForkAccusesNobody(t *testing.T) {
	issue := move{to: "ann@carrier", in: envelope.Issue}
	toBank := move{to: "ben@bank", in: envelope.Transfer, minutes: 1}
	// stranger ends the chain with an entry of a platform that the reader does not know.
	stranger := func(s *scene, last envelope.Entry) envelope.Entry {
		return s.seal("evil", last.Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 50})
	}
	for name, forge := range map[string]func(s *scene, b *envelope.Bundle){
		"of two bills": func(s *scene, b *envelope.Bundle) {
			other := s.sealOf(envelope.HashOf([]byte("another bill")), "carrier", envelope.Hash{}, issue, toBank)
			b.Block.Entries = []envelope.Entry{other, stranger(s, other)}
			b.Branches = []envelope.Branch{{At: 0, Entries: []envelope.Entry{s.seal("carrier", envelope.Hash{}, issue, toBank)}}}
		},
		"of two times": func(s *scene, b *envelope.Bundle) {
			// The bill went carrier, bank, carrier, bank: all lawful.
			e := []envelope.Entry{s.seal("carrier", envelope.Hash{}, issue, toBank)}
			e = append(e, s.seal("bank", e[0].Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 5}))
			e = append(e, s.seal("carrier", e[1].Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 9}))
			later := s.seal("bank", e[2].Hash(), move{to: "tess@trade", in: envelope.Transfer, minutes: 12})
			first := e[0]
			first.Claimed = e[2].Hash() // the later one then "follows" entry 0
			b.Block.Entries = []envelope.Entry{first, e[1], stranger(s, e[1])}
			b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{later}}}
		},
		"of what was rejected": func(s *scene, b *envelope.Bundle) {
			first := s.seal("carrier", envelope.Hash{}, issue, toBank)
			no := s.seal("bank", first.Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 5})
			again := s.seal("bank", first.Hash(), move{to: "tess@trade", in: envelope.Transfer, minutes: 9})
			// Of another time, and not after what the carrier rejected.
			elsewhere := s.seal("carrier", envelope.HashOf([]byte("elsewhere")), move{to: "ben@bank", in: envelope.Transfer, minutes: 20})
			b.Block.Entries = []envelope.Entry{first, no, elsewhere, stranger(s, elsewhere)}
			b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{again}}}
			b.Rejections = []envelope.BundleRejection{s.rejection("carrier", no, "bank", "carrier", "BENV")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.party("evil")
			b := s.bundle()
			b.Receipts, b.Steps = nil, nil
			forge(s, b)
			r := s.judge(b, s.without("evil"))
			if r.Rule != "platformNotTrusted" || r.Verdict != judge.Indeterminate {
				t.Fatalf("got %s %s (%s), want INDETERMINATE platformNotTrusted", r.Verdict, r.Rule, r.Detail)
			}
			if got := accused(r); got != nil {
				t.Errorf("got %q, want nobody accused: no two of these follow the same envelope of one bill", got)
			}
		})
	}
}

// TestForkIsToldWhereTheChainIsOpen is the other side: a true fork is proved, whoever signed on
// after it.
func TestForkIsToldWhereTheChainIsOpen(t *testing.T) {
	s := newScene(t)
	s.party("evil")
	b := s.bundle()
	b.Receipts, b.Steps = nil, nil
	first, second := b.Block.Entries[0], b.Block.Entries[1]
	b.Block.Entries = append(b.Block.Entries, s.seal("evil", second.Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 50}))
	b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{s.seal("bank", first.Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 12})}}}
	r := s.judge(b, s.without("evil"))
	if got := strings.Join(accused(r), ", "); got != "signedTwice bank.example" || r.Rule != "platformNotTrusted" {
		t.Errorf("got %q and %s, want signedTwice bank.example and platformNotTrusted", got, r.Rule)
	}
}

// TestForkUnderAKeyThatWasStolenLater: an entry that counts, since others had it before the theft,
// counts against its signer too.
func TestForkUnderAKeyThatWasStolenLater(t *testing.T) {
	s := newScene(t)
	b := s.bundle()
	b.Steps = nil
	first := b.Block.Entries[0]
	old := *s.parties["bank"]
	fresh := s.party("bank")
	other := s.seal("bank", first.Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 12})
	b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{other}}}
	stolen := *old.Key
	stolen.Revoked, stolen.Reason = s.at(30), identity.ReasonKeyCompromise
	entry := *fresh.entry
	entry.Keys = []*identity.Key{&stolen, fresh.Key}
	s.parties["bank"] = &party{Signer: fresh.Signer, entry: &entry, name: "bank"}
	b.Receipts = []envelope.JWS{s.receipt("trade", b.Block.Entries[1], 11)} // before the theft
	without := *b
	without.Branches = nil
	if r := s.judge(&without, s.without()); r.Verdict != judge.ValidThen {
		t.Fatalf("without the branch: got %s %s (%s), want %s", r.Verdict, r.Rule, r.Detail, judge.ValidThen)
	}
	if r := s.judge(b, s.without()); r.Rule != "forked/signedTwice" {
		t.Errorf("got %s %s (%s), want forked/signedTwice", r.Verdict, r.Rule, r.Detail)
	}
}

// TestTimeEndsInTheLastBranch: what was not looked at for want of time is no finding.
func TestTimeEndsInTheLastBranch(t *testing.T) {
	s := newScene(t)
	b := s.bundle()
	b.Receipts, b.Steps = nil, nil
	b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{s.seal("bank", b.Block.Entries[0].Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 12})}}}
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for asked, whole := 0, false; !whole; asked++ {
		if asked > 100 {
			t.Fatal("it never came to its end")
		}
		n := 0
		r := judge.File(text, judge.Options{Trust: s.without(), Now: s.now.Add(time.Hour), Stop: func() bool { n++; return n > asked }})
		switch r.Rule {
		case "timeLimit":
		case "forked/signedTwice":
			whole = n <= asked
		default:
			t.Fatalf("stopped after %d questions: got %s %q, want timeLimit or forked/signedTwice", asked, r.Verdict, r.Rule)
		}
	}
}

// TestTrustEntriesOfTheMaker: they are compared with the reader's own, and never used.
func TestTrustEntriesOfTheMaker(t *testing.T) {
	s := newScene(t)
	same, err := s.parties["bank"].entry.JSON()
	if err != nil {
		t.Fatal(err)
	}
	unknown, err := s.party("evil").entry.JSON()
	if err != nil {
		t.Fatal(err)
	}
	b := s.bundle()
	b.Trust = [][]byte{same, []byte(strings.Replace(string(same), `"kty": "EC"`, `"kty": "RSA"`, 1)), unknown, []byte(`{"domain":"-"}`)}
	r := s.judge(b, s.without("evil"))
	var got []string
	for _, c := range r.Checks {
		if strings.Contains(c.What, "trust entry") {
			got = append(got, string(c.Result)+" "+c.What+": "+c.Detail)
		}
	}
	bank := "info the maker's trust entry for bank.example: "
	want := []string{bank + "the same as yours", bank + "not the same as yours, which alone counts",
		"info the maker's trust entry for evil.example: you have none; it is not used", "info a trust entry of the maker: it cannot be read; it is not used"}
	if !slices.Equal(got, want) || r.Verdict != judge.Valid {
		t.Errorf("got %s and\n%s\nwant VALID and\n%s", r.Verdict, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestTimeEndsWhileKeysAreLookedAtAgain: after all signatures of a chain the answers of responders
// are read once more, for keys that have ended since. A maker can give each signature 64 of them.
func TestTimeEndsWhileKeysAreLookedAtAgain(t *testing.T) {
	s := newScene(t)
	b := s.bundle()
	b.Receipts = nil
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	signatures := len(b.Block.Entries) + len(b.Steps)
	for asked := range 2 * signatures {
		n := 0
		r := judge.File(text, judge.Options{Trust: s.without(), Now: s.now, Stop: func() bool { n++; return n > asked }})
		if r.Rule != "timeLimit" || r.State != nil {
			t.Errorf("the time is over after %d questions: got %s %s and %+v, want timeLimit", asked, r.Verdict, r.Rule, r.State)
		}
	}
}

// TestSpoiltSignatureClearsAndAccusesNobody: a sender spoils the signature of an envelope, has that
// rejected (BSIG), and sends the envelope with a good one, which is accepted. The rejection is of
// other bytes: it clears no second continuation, and the addressee did nothing wrong.
func TestSpoiltSignatureClearsAndAccusesNobody(t *testing.T) {
	make := func(s *scene) (b *envelope.Bundle, spoilt envelope.Entry) {
		b = s.bundle()
		b.Receipts, b.Steps = nil, nil
		first, second := b.Block.Entries[0], b.Block.Entries[1]
		b.Block.Entries = append(b.Block.Entries, s.seal("trade", second.Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 20}))
		spoilt = second
		spoilt.JWS = flip(second.JWS.Raw)
		b.Branches = []envelope.Branch{{At: 1, Entries: []envelope.Entry{s.seal("bank", first.Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 12})}}}
		b.Rejections = []envelope.BundleRejection{s.rejection("trade", spoilt, "bank", "trade", "BSIG")}
		return b, spoilt
	}
	t.Run("a branch brings the spoilt bytes", func(t *testing.T) {
		s := newScene(t)
		s.party("evil")
		b, spoilt := make(s)
		last := b.Block.Entries[2]
		b.Block.Entries = append(b.Block.Entries, s.seal("evil", last.Hash(), move{to: "ben@bank", in: envelope.Transfer, minutes: 50}))
		b.Branches = append(b.Branches, envelope.Branch{At: 1, Entries: []envelope.Entry{spoilt}})
		r := s.judge(b, s.without("evil"))
		if got := strings.Join(accused(r), ", "); got != "signedTwice bank.example" {
			t.Errorf("got %q (%s %s), want signedTwice bank.example", got, r.Verdict, r.Rule)
		}
	})
	t.Run("under another key of the sender", func(t *testing.T) {
		s := newScene(t)
		b, _ := make(s)
		// The chain goes where the branch went, and the branch has what was rejected and signed on after.
		was, other := b.Block.Entries, b.Branches[0].Entries[0]
		b.Block.Entries, b.Branches = []envelope.Entry{was[0], other}, []envelope.Branch{{At: 1, Entries: was[1:]}}
		b.Rejections = []envelope.BundleRejection{s.rejection("trade", was[1], "bank", "trade", "BSIG")}
		r := s.judge(b, s.without())
		if got := accused(r); got != nil || r.Rule != "forked/rejectedAndContinued" {
			t.Errorf("got %q and %s %s, want nobody accused, and forked/rejectedAndContinued", got, r.Verdict, r.Rule)
		}
		// With BENV there are no other bytes to accept.
		b.Rejections = []envelope.BundleRejection{s.rejection("trade", was[1], "bank", "trade", "BENV")}
		if got := strings.Join(accused(s.judge(b, s.without())), ", "); got != "rejectedAndContinued trade.example" {
			t.Errorf("BENV: got %q, want rejectedAndContinued trade.example", got)
		}
	})
}
