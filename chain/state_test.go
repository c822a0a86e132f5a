package chain_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

func id(t testing.TB, s string) identity.Identifier {
	t.Helper()
	i, err := identity.ParseIdentifier(s)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func host(s string) identity.Host { return identity.Host{Name: s} }

var instructions = []envelope.Instruction{envelope.Issue, envelope.Transfer, envelope.Surrender, envelope.Amend, envelope.SwitchToPaper}

// The situations of the table. The carrier issues; ben@bank holds, or has returned.
var situations = map[string]struct {
	status      chain.Status
	possessor   string
	returnedBy  string
	transferees []string // the columns
}{
	"unissued":         {chain.Unissued, "", "", []string{"shipper@carrier", "agent@carrier", "ben@bank", "tess@trade"}},
	"active":           {chain.Active, "ben@bank", "", []string{"ben@bank", "bill@bank", "agent@carrier", "tess@trade"}},
	"active-at-home":   {chain.Active, "shipper@carrier", "", []string{"shipper@carrier", "agent@carrier", "ben@bank", "tess@trade"}},
	"surrender":        {chain.SurrenderPending, "agent@carrier", "ben@bank", []string{"agent@carrier", "clerk@carrier", "ben@bank", "tess@trade"}},
	"amendment":        {chain.AmendmentPending, "agent@carrier", "ben@bank", []string{"agent@carrier", "clerk@carrier", "ben@bank", "tess@trade"}},
	"paper":            {chain.PaperPending, "agent@carrier", "ben@bank", []string{"agent@carrier", "clerk@carrier", "ben@bank", "tess@trade"}},
	"returned-at-home": {chain.SurrenderPending, "agent@carrier", "shipper@carrier", []string{"agent@carrier", "clerk@carrier", "ben@bank", "shipper@carrier"}},
	"void":             {chain.Void, "", "", []string{"shipper@carrier", "agent@carrier", "ben@bank", "tess@trade"}},
}

// law is written down from the wire document, not from the code: situation,
// instruction, acting platform, and per transferee the status after it or the law broken.
// A star stands for what no other row names.
const law = `
unissued          ISSU  *        active          active          active          active
unissued          *     *        notIssued       notIssued       notIssued       notIssued
active            ISSU  *        issuedTwice     issuedTwice     issuedTwice     issuedTwice
active            TRNS  bank     samePossessor   active          active          active
active            SURR  bank     samePossessor   notToTheIssuer  surrenderPending notToTheIssuer
active            AMND  bank     samePossessor   notToTheIssuer  amendmentPending notToTheIssuer
active            SW2P  bank     samePossessor   notToTheIssuer  paperPending    notToTheIssuer
active            *     carrier  notInControl    notInControl    notInControl    notInControl
active            *     trade    notInControl    notInControl    notInControl    notInControl
active-at-home    ISSU  *        issuedTwice     issuedTwice     issuedTwice     issuedTwice
active-at-home    TRNS  carrier  samePossessor   active          active          active
active-at-home    SURR  carrier  samePossessor   surrenderPending notToTheIssuer notToTheIssuer
active-at-home    AMND  carrier  samePossessor   amendmentPending notToTheIssuer notToTheIssuer
active-at-home    SW2P  carrier  samePossessor   paperPending    notToTheIssuer  notToTheIssuer
active-at-home    *     bank     notInControl    notInControl    notInControl    notInControl
active-at-home    *     trade    notInControl    notInControl    notInControl    notInControl
surrender         ISSU  *        issuedTwice     issuedTwice     issuedTwice     issuedTwice
surrender         TRNS  carrier  samePossessor   notReturnedBy   active          notReturnedBy
surrender         *     carrier  samePossessor   returnPending   returnPending   returnPending
surrender         *     bank     notInControl    notInControl    notInControl    notInControl
surrender         *     trade    notInControl    notInControl    notInControl    notInControl
amendment         ISSU  *        issuedTwice     issuedTwice     issuedTwice     issuedTwice
amendment         TRNS  carrier  samePossessor   notReturnedBy   active          notReturnedBy
amendment         *     carrier  samePossessor   returnPending   returnPending   returnPending
amendment         *     bank     notInControl    notInControl    notInControl    notInControl
amendment         *     trade    notInControl    notInControl    notInControl    notInControl
paper             ISSU  *        issuedTwice     issuedTwice     issuedTwice     issuedTwice
paper             TRNS  carrier  samePossessor   notReturnedBy   active          notReturnedBy
paper             *     carrier  samePossessor   returnPending   returnPending   returnPending
paper             *     bank     notInControl    notInControl    notInControl    notInControl
paper             *     trade    notInControl    notInControl    notInControl    notInControl
returned-at-home  ISSU  *        issuedTwice     issuedTwice     issuedTwice     issuedTwice
returned-at-home  TRNS  carrier  samePossessor   notReturnedBy   notReturnedBy   active
returned-at-home  *     carrier  samePossessor   returnPending   returnPending   returnPending
returned-at-home  *     bank     notInControl    notInControl    notInControl    notInControl
returned-at-home  *     trade    notInControl    notInControl    notInControl    notInControl
void              *     *        billVoid        billVoid        billVoid        billVoid
`

// want looks up the table: the row that names most wins.
func want(t *testing.T, situation, instruction, actor string) []string {
	t.Helper()
	for _, key := range [][2]string{{instruction, actor}, {instruction, "*"}, {"*", actor}, {"*", "*"}} {
		for line := range strings.Lines(law) {
			f := strings.Fields(line)
			if len(f) == 7 && f[0] == situation && f[1] == key[0] && f[2] == key[1] {
				return f[3:]
			}
		}
	}
	t.Fatalf("the table has no row for %s %s by %s", situation, instruction, actor)
	return nil
}

func stateOf(t testing.TB, situation string) chain.State {
	t.Helper()
	c := situations[situation]
	s := chain.State{Document: envelope.HashOf([]byte("document")), Status: c.status, Head: envelope.HashOf([]byte("head")), Length: 2}
	if c.status == chain.Unissued {
		return chain.State{Document: s.Document}
	}
	s.Profile, s.ToOrder, s.Issuing = chain.V1, true, host("carrier")
	if c.possessor != "" {
		s.Possessor = id(t, c.possessor)
		s.Endorsee = s.Possessor
	}
	if c.returnedBy != "" {
		s.ReturnedBy = id(t, c.returnedBy)
	}
	return s
}

// TestApply holds every cell of the table: situation, instruction, actor, transferee.
func TestApply(t *testing.T) {
	cells := 0
	for situation, c := range situations {
		for _, in := range instructions {
			for _, actor := range []string{"carrier", "bank", "trade"} {
				for i, outcome := range want(t, situation, string(in), actor) {
					cells++
					t.Run(fmt.Sprintf("%s/%s by %s to %s", situation, in, actor, c.transferees[i]), func(t *testing.T) {
						before := stateOf(t, situation)
						to := id(t, c.transferees[i])
						after, err := before.Apply(chain.Transaction{Instruction: in, Actor: host(actor), Transferee: to, ToOrder: true, At: time.Unix(0, 0)})
						checkApplied(t, before, after, err, to, outcome)
					})
				}
			}
		}
	}
	if want := len(situations) * 5 * 3 * 4; cells != want {
		t.Errorf("cells: got %d, want %d", cells, want)
	}
}

func checkApplied(t *testing.T, before, after chain.State, err error, to identity.Identifier, outcome string) {
	t.Helper()
	status := chain.Status(outcome)
	if !status.Pending() && status != chain.Active {
		lawErr, ok := errors.AsType[*chain.LawError](err)
		if !ok || string(lawErr.Law) != outcome {
			t.Errorf("got %v, want %s", err, outcome)
		}
		if after != before {
			t.Errorf("state after a refusal: got %+v, want it unchanged", after)
		}
		return
	}
	if err != nil {
		t.Fatalf("got %v, want %s", err, outcome)
	}
	if after.Status != status || after.Possessor != to || after.Endorsee != to {
		t.Errorf("got %s with %s (title %s), want %s with %s", after.Status, after.Possessor, after.Endorsee, status, to)
	}
	if wantBy := before.Possessor; status.Pending() && after.ReturnedBy != wantBy || !status.Pending() && !after.ReturnedBy.IsZero() {
		t.Errorf("returned by: got %q, want %q while pending, else nobody", after.ReturnedBy, wantBy)
	}
	if before.Status != chain.Unissued && (after.Issuing != before.Issuing || after.ToOrder != before.ToOrder) ||
		after.Document != before.Document || after.Head != before.Head || after.Length != before.Length {
		t.Errorf("got %+v, want nothing else to change from %+v", after, before)
	}
}

// TestInstructionOfNoLaw: one that the law has no row for moves nothing, whoever gives it; the
// wire formats of today cannot carry one.
func TestInstructionOfNoLaw(t *testing.T) {
	for situation, c := range situations {
		for _, in := range []envelope.Instruction{"", "trns", "TRNS ", "ENDO", "PLED"} {
			for _, actor := range []string{"carrier", "bank", "trade"} {
				for _, to := range c.transferees {
					before := stateOf(t, situation)
					after, err := before.Apply(chain.Transaction{Instruction: in, Actor: host(actor), Transferee: id(t, to), ToOrder: true, At: time.Unix(0, 0)})
					law, ok := errors.AsType[*chain.LawError](err)
					if !ok || after != before {
						t.Fatalf("%s: %q by %s to %s: got %+v and %v, want a refusal and nothing changed", situation, in, actor, to, after, err)
					}
					if before.Status == chain.Active && before.Possessor.Host == host(actor) && before.Possessor != id(t, to) && law.Law != chain.NoSuchAct {
						t.Errorf("%s: %q: got %s, want %s", situation, in, law.Law, chain.NoSuchAct)
					}
				}
			}
		}
	}
}

// TestApplyReturnToTheVeryIssuer: the issuing platform knows which user issued the bill,
// and then a return to its colleague is unlawful.
func TestApplyReturnToTheVeryIssuer(t *testing.T) {
	s := stateOf(t, "active")
	s.Issuer = id(t, "agent@carrier")
	for to, want := range map[string]chain.Law{"agent@carrier": "", "clerk@carrier": chain.NotToTheIssuer, "Agent@carrier": chain.NotToTheIssuer} {
		_, err := s.Apply(chain.Transaction{Instruction: envelope.Surrender, Actor: host("bank"), Transferee: id(t, to), ToOrder: true})
		lawErr, _ := errors.AsType[*chain.LawError](err)
		if got := lawErr; (got == nil) != (want == "") || got != nil && got.Law != want {
			t.Errorf("to %s: got %v, want %q", to, err, want)
		}
	}
}

func TestApplyToOrderIsConstant(t *testing.T) {
	for _, issued := range []bool{true, false} {
		s, err := chain.State{}.Apply(chain.Transaction{Instruction: envelope.Issue, Actor: host("carrier"), Transferee: id(t, "shipper@carrier"), ToOrder: issued})
		if err != nil || s.ToOrder != issued {
			t.Fatalf("ISSU: got %+v, %v", s, err)
		}
		_, err = s.Apply(chain.Transaction{Instruction: envelope.Transfer, Actor: host("carrier"), Transferee: id(t, "ben@bank"), ToOrder: !issued})
		if lawErr, ok := errors.AsType[*chain.LawError](err); !ok || lawErr.Law != chain.ToOrderChanged {
			t.Errorf("issued as %t: got %v, want %s", issued, err, chain.ToOrderChanged)
		}
	}
}

// TestConclude holds every cell of situation, verdict and what it is about.
func TestConclude(t *testing.T) {
	fits := map[string]envelope.VerdictKind{"surrender": envelope.Surrendered, "amendment": envelope.Amended, "paper": envelope.Paper, "returned-at-home": envelope.Surrendered}
	for situation := range situations {
		for _, kind := range []envelope.VerdictKind{envelope.Surrendered, envelope.Amended, envelope.Paper} {
			for _, about := range []string{"this", "other document", "other entry", "no entry", "replaced", "not replaced"} {
				t.Run(fmt.Sprintf("%s/%s of %s", situation, kind, about), func(t *testing.T) {
					s := stateOf(t, situation)
					v := envelope.Verdict{DocumentHash: s.Document, EnvelopeHash: s.Head, Kind: kind}
					if about == "replaced" || about != "not replaced" && kind == envelope.Amended {
						v.ReplacedBy = envelope.HashOf([]byte("new"))
					}
					switch about {
					case "other document":
						v.DocumentHash[0] ^= 1
					case "other entry":
						v.EnvelopeHash[0] ^= 1
					case "no entry":
						v.EnvelopeHash = envelope.Hash{}
					}
					var want chain.Law
					switch {
					case situation == "void":
						want = chain.BillVoid
					case fits[situation] == "":
						want = chain.NothingToHonour
					case fits[situation] != kind, strings.HasPrefix(about, "other"), about == "no entry":
						want = chain.VerdictUnfitting
					case (kind == envelope.Amended) == v.ReplacedBy.IsZero():
						want = chain.VerdictUnfitting
					}
					after, err := s.Conclude(v)
					if want != "" {
						lawErr, ok := errors.AsType[*chain.LawError](err)
						if !ok || lawErr.Law != want || after != s {
							t.Errorf("got %+v, %v, want %s and no change", after, err, want)
						}
						return
					}
					if err != nil || after.Status != chain.Void || !after.Possessor.IsZero() || !after.Endorsee.IsZero() || !after.ReturnedBy.IsZero() {
						t.Errorf("got %+v, %v, want a void bill that nobody holds", after, err)
					}
				})
			}
		}
	}
}

// TestRandomLives tries random transactions and verdicts on one bill: whatever is
// refused changes nothing; there is one possessor, and none of a void bill; nothing follows
// the end; a prefix played again gives the state that was there.
func TestRandomLives(t *testing.T) {
	r := rand.New(rand.NewPCG(2026, 6))
	people := []identity.Identifier{}
	for _, s := range []string{"shipper@carrier", "agent@carrier", "ben@bank", "bill@bank", "tess@trade"} {
		people = append(people, id(t, s))
	}
	reached := map[chain.Status]int{}
	for life := range 2000 {
		s := chain.State{Document: envelope.HashOf([]byte{byte(life)})}
		var steps []func(chain.State) (chain.State, error)
		states := []chain.State{s}
		for range 60 {
			step := randomStep(r, people, s)
			next, err := step(s)
			if err != nil {
				if _, ok := errors.AsType[*chain.LawError](err); !ok || next != s {
					t.Fatalf("life %d: got %+v, %v, want a law and %+v", life, next, err, s)
				}
				continue
			}
			if s.Status == chain.Void {
				t.Fatalf("life %d: something follows the end: %+v", life, next)
			}
			if held := next.Status != chain.Void && next.Status != chain.Unissued; held == next.Possessor.IsZero() || next.Endorsee != next.Possessor {
				t.Fatalf("life %d: %s is held by %q, title %q", life, next.Status, next.Possessor, next.Endorsee)
			}
			if next.Status.Pending() == next.ReturnedBy.IsZero() || next.Status.Pending() && next.Possessor.Host != next.Issuing {
				t.Fatalf("life %d: %s, returned by %q, with %s", life, next.Status, next.ReturnedBy, next.Possessor)
			}
			reached[next.Status]++
			s = next
			steps, states = append(steps, step), append(states, s)
		}
		k := r.IntN(len(steps) + 1)
		again := states[0]
		for _, step := range steps[:k] {
			again, _ = step(again)
		}
		if again != states[k] {
			t.Fatalf("life %d: the first %d steps again: got %+v, want %+v", life, k, again, states[k])
		}
	}
	for _, status := range []chain.Status{chain.Active, chain.SurrenderPending, chain.AmendmentPending, chain.PaperPending, chain.Void} {
		if reached[status] < 100 {
			t.Errorf("%s was reached %d times: the test tries too little", status, reached[status])
		}
	}
}

// randomStep is often lawful and often not.
func randomStep(r *rand.Rand, people []identity.Identifier, s chain.State) func(chain.State) (chain.State, error) {
	if r.IntN(8) == 0 {
		v := envelope.Verdict{DocumentHash: s.Document, EnvelopeHash: s.Head, Kind: []envelope.VerdictKind{envelope.Surrendered, envelope.Amended, envelope.Paper}[r.IntN(3)]}
		if v.Kind == envelope.Amended {
			v.ReplacedBy = envelope.HashOf([]byte("new"))
		}
		return func(s chain.State) (chain.State, error) { return s.Conclude(v) }
	}
	tx := chain.Transaction{Instruction: instructions[r.IntN(5)], Transferee: people[r.IntN(len(people))], ToOrder: r.IntN(20) != 0, At: time.Unix(r.Int64N(1<<32), 0)}
	tx.Actor = people[r.IntN(len(people))].Host
	if r.IntN(2) == 0 && !s.Possessor.IsZero() {
		tx.Actor = s.Possessor.Host
	}
	if s.Status.Pending() && r.IntN(3) == 0 {
		tx.Transferee, tx.Instruction = s.ReturnedBy, envelope.Transfer
	}
	return func(s chain.State) (chain.State, error) { return s.Apply(tx) }
}

func TestStatusPending(t *testing.T) {
	pending := []chain.Status{chain.SurrenderPending, chain.AmendmentPending, chain.PaperPending}
	for _, s := range append(slices.Clone(pending), chain.Unissued, chain.Active, chain.Void) {
		if got, want := s.Pending(), slices.Contains(pending, s); got != want {
			t.Errorf("%q: got %t, want %t", s, got, want)
		}
	}
}
