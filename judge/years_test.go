package judge_test

import (
	"fmt"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
)

// rotate gives a platform another key; the old ones stay in its trust entry, each with the
// window in which it could sign.
func (s *scene) rotate(name string, minutes int) {
	old := s.parties[name]
	entry := *old.entry
	entry.Keys = append([]*identity.Key{}, entry.Keys...)
	last := *entry.Keys[len(entry.Keys)-1]
	last.NotAfter = s.at(minutes)
	entry.Keys[len(entry.Keys)-1] = &last
	signer := s.party(name)
	entry.Keys = append(entry.Keys, signer.Key)
	signer.entry = &entry
}

// mark changes what the reader knows of the keys of a platform.
func (s *scene) mark(name, reason string, minutes int) {
	entry := *s.parties[name].entry
	entry.Keys = append([]*identity.Key{}, entry.Keys...)
	for i, k := range entry.Keys {
		c := *k
		c.Revoked, c.Reason = s.at(minutes), reason
		entry.Keys[i] = &c
	}
	s.parties[name].entry = &entry
}

// TestTenYears is the table of docs/BUNDLE.md, section 4.
func TestTenYears(t *testing.T) {
	const compromise = identity.ReasonKeyCompromise
	later := func(s *scene) { s.now2 = s.now.AddDate(10, 0, 0) }
	for name, c := range map[string]struct {
		do      func(s *scene, b *envelope.Bundle) []string // gives whom the reader lacks
		verdict judge.Verdict
		rule    string
	}{
		"nothing happened": {func(*scene, *envelope.Bundle) []string { return nil }, judge.Valid, ""},
		"ten years on":     {func(s *scene, _ *envelope.Bundle) []string { later(s); return nil }, judge.ValidThen, ""},
		"ten years on, only a receipt's key is in use": {func(s *scene, b *envelope.Bundle) []string {
			later(s)
			b.Steps = nil
			return nil
		}, judge.ValidThen, ""},
		"revoked since":  {func(s *scene, _ *envelope.Bundle) []string { s.mark("carrier", "superseded", 300); return nil }, judge.ValidThen, ""},
		"revoked before": {func(s *scene, _ *envelope.Bundle) []string { s.mark("carrier", "superseded", 1); return nil }, judge.Invalid, "badChainSignature/revoked"},
		"stolen since, with a receipt of before": {func(s *scene, b *envelope.Bundle) []string {
			b.Block.Entries, b.Receipts, b.Steps = b.Block.Entries[:1], b.Receipts[:1], nil
			s.mark("carrier", compromise, 300)
			return nil
		}, judge.ValidThen, ""},
		"stolen since, with a later entry of before": {func(s *scene, b *envelope.Bundle) []string {
			b.Receipts, b.Steps = nil, nil
			s.mark("carrier", compromise, 300)
			return nil
		}, judge.ValidThen, ""},
		"stolen since, with the carrier's verdict of before": {func(s *scene, b *envelope.Bundle) []string {
			*b = *s.returned()
			b.Receipts = nil
			s.mark("trade", compromise, 300)
			return nil
		}, judge.ValidThen, ""},
		"stolen since, and nothing shows it older": {func(s *scene, b *envelope.Bundle) []string {
			b.Block.Entries, b.Receipts, b.Steps = b.Block.Entries[:1], nil, nil
			s.mark("carrier", compromise, 300)
			return nil
		}, judge.Indeterminate, "keyCompromised"},
		"stolen since, and only the maker's clock shows it older": {func(s *scene, b *envelope.Bundle) []string {
			b.Block.Entries, b.Receipts, b.Steps = b.Block.Entries[:1], nil, nil
			b.Checks = []envelope.Check{{JWS: envelope.HashOf([]byte(b.Block.Entries[0].JWS.Raw)), At: s.at(2), Platform: s.parties["carrier"].entry.Domain}}
			s.mark("carrier", compromise, 300)
			return nil
		}, judge.Indeterminate, "keyCompromised"},
		"stolen before the receipt": {func(s *scene, b *envelope.Bundle) []string {
			b.Block.Entries, b.Receipts, b.Steps = b.Block.Entries[:1], []envelope.JWS{s.receipt("bank", b.Block.Entries[0], 400)}, nil
			s.mark("carrier", compromise, 300)
			return nil
		}, judge.Indeterminate, "keyCompromised"},
		"stolen, and the receipt's key too": {func(s *scene, b *envelope.Bundle) []string {
			b.Block.Entries, b.Receipts, b.Steps = b.Block.Entries[:1], b.Receipts[:1], nil
			s.mark("carrier", compromise, 300)
			s.mark("bank", compromise, 300)
			return nil
		}, judge.Indeterminate, "keyCompromised"},
		"stolen, and only itself says that it is older": {func(s *scene, b *envelope.Bundle) []string {
			first := s.seal("carrier", envelope.Hash{}, move{to: "ann@carrier", in: envelope.Issue})
			b.Block.Entries = []envelope.Entry{first, s.seal("carrier", first.Hash(), move{to: "bob@carrier", in: envelope.Transfer, minutes: 3})}
			b.Receipts, b.Steps = []envelope.JWS{s.receipt("carrier", first, 2)}, nil
			s.mark("carrier", compromise, 300)
			return nil
		}, judge.Indeterminate, "keyCompromised"},
		"stolen, nobody knows when": {func(s *scene, _ *envelope.Bundle) []string {
			s.mark("carrier", compromise, 300)
			for _, k := range s.parties["carrier"].entry.Keys {
				k.Revoked = time.Time{}
			}
			return nil
		}, judge.Indeterminate, "keyCompromised"},
		"the platform closed":       {func(*scene, *envelope.Bundle) []string { return []string{"carrier"} }, judge.Indeterminate, "platformNotTrusted"},
		"the last addressee closed": {func(_ *scene, b *envelope.Bundle) []string { b.Steps = nil; return []string{"trade"} }, judge.Valid, ""},
		"the document is gone": {func(s *scene, b *envelope.Bundle) []string {
			later(s)
			b.Block.Document = nil
			return nil
		}, judge.ValidThen, ""},
		"an envelope is gone": {func(_ *scene, b *envelope.Bundle) []string {
			b.Block.Entries, b.Receipts = b.Block.Entries[1:], b.Receipts[1:]
			return nil
		}, judge.Invalid, "badLink/first"},
		"a clock of before": {func(s *scene, _ *envelope.Bundle) []string { s.now2 = s.at(-60); return nil }, judge.Invalid, "unlawful/timeAhead"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			b := s.bundle()
			lack := c.do(s, b)
			r := s.judge(b, s.without(lack...))
			if r.Verdict != c.verdict || r.Rule != c.rule {
				t.Errorf("got %s %q (%s), want %s %q", r.Verdict, r.Rule, r.Detail, c.verdict, c.rule)
			}
			if (r.Verdict == judge.ValidThen) != (len(r.Lapsed) > 0) {
				t.Errorf("got %s and the keys %+v: which ones ended is what makes the difference", r.Verdict, r.Lapsed)
			}
		})
	}
}

// TestFiveRotations: each entry by another key of its platform, all ended since.
func TestFiveRotations(t *testing.T) {
	s := newScene(t)
	e := s.seal("carrier", envelope.Hash{}, move{to: "ann@carrier", in: envelope.Issue}, move{to: "ben@bank", in: envelope.Transfer, minutes: 1})
	b := &envelope.Bundle{Made: envelope.Made{By: s.parties["trade"].entry.Domain, At: s.at(500), Selection: envelope.SelectBill}, DocumentHash: s.hash()}
	b.Block.Document, b.Block.Entries = s.doc, []envelope.Entry{e}
	for i := range 5 {
		at := 10 + 20*i
		b.Receipts = append(b.Receipts, s.receipt("bank", e, at-9))
		to := s.seal("bank", e.Hash(), move{to: fmt.Sprintf("ann%d@carrier", i), in: envelope.Transfer, minutes: at})
		back := s.seal("carrier", to.Hash(), move{to: fmt.Sprintf("ben%d@bank", i), in: envelope.Transfer, minutes: at + 5})
		b.Receipts = append(b.Receipts, s.receipt("carrier", to, at+1))
		b.Block.Entries, e = append(b.Block.Entries, to, back), back
		s.rotate("bank", at+8)
		s.rotate("carrier", at+8)
	}
	s.parties["carrier"].entry.Issuer = true
	s.now2 = s.now.AddDate(10, 0, 0)
	r := s.judge(b, s.without())
	if r.Verdict != judge.ValidThen || r.State.Length != 11 || len(r.Lapsed) != 10 || r.State.Possessor != "ben4@bank.example" {
		t.Errorf("got %s %s (%s), %+v and %d keys, want VALID AT SIGNING TIME by 10 keys", r.Verdict, r.Rule, r.Detail, r.State, len(r.Lapsed))
	}
	// A key that signs after its window does not become good by being old.
	b.Block.Entries = append(b.Block.Entries, s.seal("bank", e.Hash(), move{to: "ann@carrier", in: envelope.Transfer, minutes: 200}))
	entry := *s.parties["bank"].entry
	last := *entry.Keys[5]
	last.NotAfter = s.at(150)
	entry.Keys = append(append([]*identity.Key{}, entry.Keys[:5]...), &last)
	s.parties["bank"].entry = &entry
	if r := s.judge(b, s.without()); r.Rule != "badSignature/window" {
		t.Errorf("signed after its window: got %s %s, want badSignature/window", r.Verdict, r.Rule)
	}
}

// TestStop: work that takes too long ends, and proves nothing.
func TestStop(t *testing.T) {
	s := newScene(t)
	b := s.bundle()
	text, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	for allowed := range 6 {
		left := allowed
		r := judge.File(text, judge.Options{Trust: s.without(), Now: s.now, Stop: func() bool { left--; return left < 0 }})
		if r.Verdict != judge.Indeterminate || r.Rule != "timeLimit" || r.State != nil {
			t.Errorf("after %d signatures: got %s %s, want INDETERMINATE timeLimit", allowed, r.Verdict, r.Rule)
		}
	}
}
