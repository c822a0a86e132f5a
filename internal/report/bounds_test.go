package report_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
	"eblnode/internal/report"
	"eblnode/judge"
	"eblnode/testvectors"
)

// TestHostileFileGivesASmallPage draws a report as long as the limits of a bundle allow, each
// text as long as it may be: the page stays small, says what it left out, and shows what is
// broken.
func TestHostileFileGivesASmallPage(t *testing.T) {
	const n = 1000
	long := strings.Repeat("&\u202e", 200)
	at := time.Date(2026, 11, 19, 9, 12, 0, 0, time.UTC)
	moves := make([]judge.LegTransaction, n)
	listed := make([]judge.Transaction, n)
	for i := range moves {
		host := fmt.Sprintf("p%d.%s.example", i, strings.Repeat("x", 60))
		moves[i] = judge.LegTransaction{Instruction: "TRNS", To: strings.Repeat("u", 128) + "@" + host, ToPlatform: host, ToName: long, Comments: long}
		listed[i] = judge.Transaction{Instruction: "TRNS", Transferee: moves[i].To, Comments: long}
	}
	r := &judge.Report{File: long, Kind: "bundle", Verdict: judge.Invalid, Reason: "unlawful", Rule: "unlawful/notInControl", Detail: strings.Repeat(long, 100), Entry: 500, Transaction: 700}
	for i := range n {
		leg := judge.Leg{Kind: "entry", Index: i, Platform: fmt.Sprintf("q%d.example", i), Signer: judge.Failed, Why: long, Key: long, Hash: judge.Failed, Link: judge.Failed, Receipt: judge.Failed, Rejection: judge.Failed,
			Code: "BENV", SignedAt: at, Envelope: long, Broken: i == 500, Transactions: moves}
		if i == 500 {
			leg.Transactions = append([]judge.LegTransaction{}, moves...)
			leg.Transactions[700].Broken = true
		}
		r.Journey = append(r.Journey, leg)
		e := judge.Entry{Signer: long, Key: long, SignedAt: long, EnvelopeHash: long, Fingerprint: long, Transactions: listed}
		r.Entries, r.Steps = append(r.Entries, e), append(r.Steps, e)
		r.Lapsed = append(r.Lapsed, judge.Lapse{Platform: long, Key: long, Why: long})
		r.Forks = append(r.Forks, judge.Fork{Kind: judge.SignedTwice, Platform: long, Entry: i})
	}
	for i := range 63 {
		r.Journey = append(r.Journey, judge.Leg{Kind: "branch", Index: i, At: 3, Platform: "q3.example", SignedAt: at, Transactions: moves})
	}
	for i := range 8 * n {
		c := judge.Check{What: fmt.Sprintf("check %d", i), Result: judge.OK, Detail: long}
		if i == 4321 {
			c.Result = judge.Failed
		}
		r.Checks = append(r.Checks, c)
	}
	r.Text = []byte(`{"documentParties":[` + strings.TrimSuffix(strings.Repeat(`{"partyFunction":"OS","party":{"partyName":"`+strings.Repeat("&", 400)+`"}},`, 2000), ",") +
		`],"vesselVoyages":[` + strings.TrimSuffix(strings.Repeat(`{"vesselName":"`+strings.Repeat("&", 400)+`"},`, 2000), ",") + `]}`)
	began := time.Now()
	page, err := report.HTML(report.Input{Report: r, At: at, Maker: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 30*time.Second { // half a second, where nobody else works
		t.Errorf("drawing took %s", took)
	}
	if len(page) > report.MaxPage {
		t.Errorf("the page has %d bytes, want at most %d", len(page), report.MaxPage)
	}
	text := string(page)
	got := place(t, text)
	for what, ok := range map[string]bool{
		"what is broken":                strings.HasPrefix(got, "Envelope 500 "),
		"the broken transaction":        strings.Contains(got, "here: transferred to") && strings.Contains(got, "more transactions. "),
		"the failed check":              strings.Contains(text, "check 4321<"),
		"that the file is long":         strings.Contains(text, "The file holds more than fits here."),
		"how many envelopes are left":   regexp.MustCompile(`… \d+ envelopes more, checked, not drawn`).MatchString(text),
		"how many platforms share one":  regexp.MustCompile(`… \d+ more</text>`).MatchString(text),
		"how many checks are left":      regexp.MustCompile(`<td class="dim">\d+ more</td>`).MatchString(text),
		"that the document says more":   strings.Contains(text, "The document says more"),
		"the first and the last":        strings.Contains(text, "Envelope 0 ·") && strings.Contains(text, "Envelope 999 ·") || strings.Contains(text, "Other continuation 62 ·"),
		"at most so many rows and head": strings.Count(text, `role="listitem"`) < 70,
	} {
		if !ok {
			t.Errorf("the page does not show %s; at the broken place it says %q", what, got)
		}
	}
}

// TestShortFileIsShownWhole: where nothing is long, nothing is left out.
func TestShortFileIsShownWhole(t *testing.T) {
	moves := []judge.LegTransaction{{Instruction: "ISSU", To: "a@a.example", ToPlatform: "a.example"}, {Instruction: "TRNS", To: "b@b.example", ToPlatform: "b.example"}}
	r := &judge.Report{Verdict: judge.Valid, State: &judge.State{Possessor: "b@b.example"}}
	for i := range 20 {
		r.Journey = append(r.Journey, judge.Leg{Kind: "entry", Index: i, Platform: "a.example", Signer: judge.OK, Hash: judge.OK, Link: judge.OK, Transactions: moves})
		r.Checks = append(r.Checks, judge.Check{What: "x", Result: judge.OK})
	}
	page, err := report.HTML(report.Input{Report: r, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if text := string(page); strings.Contains(text, "… ") || strings.Contains(text, "The file holds more") || strings.Count(text, "Envelope ")-strings.Count(text, `aria-label="Envelope `) != 20 {
		t.Error("the page of a short file leaves something out")
	}
}

// TestPageOfBundlesThatNobodyWrote draws bundles put together from pieces of others: whatever
// is in a file is drawn, or left out, but never ends the drawing, and what the verdict is about
// always has its place.
func TestPageOfBundlesThatNobodyWrote(t *testing.T) {
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	trust, err := testvectors.Trust("base")
	if err != nil {
		t.Fatal(err)
	}
	ps, err := identity.ParseTrust(trust)
	if err != nil {
		t.Fatal(err)
	}
	believed, err := identity.NewTrust(ps...)
	if err != nil {
		t.Fatal(err)
	}
	var pool []map[string]json.RawMessage
	for _, v := range list {
		body, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]json.RawMessage
		if json.Unmarshal(body, &m) == nil && m["chain"] != nil {
			pool = append(pool, m)
		}
	}
	r := rand.New(rand.NewPCG(7, 31))
	names := []string{"chain", "steps", "receipts", "rejections", "branches", "verdict", "document", "documentHash", "checks", "ocsp"}
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	rules := map[string]bool{}
	tries := 600
	if testing.Short() {
		tries = 60
	}
	for range tries {
		m := maps.Clone(pool[r.IntN(len(pool))])
		for range 1 + r.IntN(3) {
			name, other := names[r.IntN(len(names))], pool[r.IntN(len(pool))]
			if v, there := other[name]; there {
				m[name] = v
			} else {
				delete(m, name)
			}
		}
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		v := judge.File(body, judge.Options{Trust: believed, Now: now, Journey: true})
		page, err := report.HTML(report.Input{Report: v, Trust: believed, At: now, Maker: "test"})
		if err != nil || len(page) > report.MaxPage {
			t.Fatalf("got %v and %d bytes of %s", err, len(page), body)
		}
		rules[v.Rule] = true
		if !v.Verdict.Holds() && len(v.Journey) > 0 && !strings.Contains(place(t, string(page)), v.Rule) {
			t.Errorf("%s has no place in the picture of %s", v.Rule, body)
		}
	}
	if len(rules) < min(20, tries/6) {
		t.Errorf("got only %d rules: %v", len(rules), rules)
	}
}
