package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"eblnode/internal/report"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

// drawn is the page of a vector.
func drawn(t *testing.T, v *testvectors.Bundle) (string, *judge.Report) {
	t.Helper()
	r, o := vectest.Judge(t, v)
	page, err := report.HTML(report.Input{Report: r, Trust: o.Trust, At: o.Now, Maker: "eblverify test"})
	if err != nil {
		t.Fatal(err)
	}
	return string(page), r
}

var (
	styleElement = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	policyMeta   = regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`)
	// elsewhere is what could load something, or run.
	elsewhere = regexp.MustCompile(`(?i)<script|<link|<iframe|<object|<embed|<base|<form|\ssrc=|\shref=|\son[a-z]+=|\sstyle=|url\(|@import|javascript:`)
)

// TestPageStandsAlone draws every vector: the page loads nothing, runs nothing, its policy
// allows neither and fits its own style, and it says the verdict and every check.
func TestPageStandsAlone(t *testing.T) {
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		page, r := drawn(t, v)
		if bad := elsewhere.FindString(page); bad != "" {
			t.Errorf("%s: the page has %q", v.Name, bad)
		}
		style := styleElement.FindStringSubmatch(page)
		policy := policyMeta.FindStringSubmatch(page)
		if style == nil || policy == nil {
			t.Fatalf("%s: no style or no policy", v.Name)
		}
		sum := sha256.Sum256([]byte(style[1]))
		want := strings.ReplaceAll("default-src 'none'; style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'; base-uri 'none'; form-action 'none'", "'", "&#39;")
		if got := strings.ReplaceAll(strings.ReplaceAll(policy[1], "&#43;", "+"), "'", "&#39;"); got != want {
			t.Errorf("%s: got the policy %s, want %s", v.Name, got, want)
		}
		if !strings.Contains(page, "<h1>"+string(r.Verdict)+"</h1>") || strings.Count(page, `<td class="mark">`) != len(r.Checks) {
			t.Errorf("%s: the page does not say %s and %d checks", v.Name, r.Verdict, len(r.Checks))
		}
		if who := "In control: <strong>"; strings.Contains(page, who) != r.Verdict.Holds() {
			t.Errorf("%s: %s, and the page says who is in control: %t", v.Name, r.Verdict, strings.Contains(page, who))
		}
		// A file whose end was cut off is good, and a person must know it; nothing follows a void bill.
		if what := "may have left out what came later"; strings.Contains(page, what) != (r.State != nil && r.State.Possessor != "") {
			t.Errorf("%s: %s, and the page warns of what may be cut off: %t", v.Name, r.Verdict, strings.Contains(page, what))
		}
		// A document that is not the signed one must not be called that.
		if what := "It is what was signed"; strings.Contains(page, what) != (r.Verdict.Holds() && r.Text != nil) {
			t.Errorf("%s: %s, and the page says that the document was signed: %t", v.Name, r.Verdict, strings.Contains(page, what))
		}
		if what := "The document is not in the file"; strings.Contains(page, what) != (r.Reason != "malformed" && r.Text == nil) {
			t.Errorf("%s: %s, and the page says that the document is not there: %t", v.Name, r.Rule, strings.Contains(page, what))
		}
		links, marks := 0, 0
		for _, leg := range r.Journey {
			if leg.Link == judge.Failed {
				links++
			}
			if leg.Rejection != "" {
				marks++
			}
		}
		if got := strings.Count(page, `class="link broken"`); got != links {
			t.Errorf("%s: broken links, drawn red: got %d, want %d", v.Name, got, links)
		}
		if got := strings.Count(page, `class="rx refusal`); got != marks {
			t.Errorf("%s: rejections, drawn: got %d, want %d", v.Name, got, marks)
		}
		tone := map[judge.Verdict]string{judge.Invalid: `class="warn bad">✗ ` + r.Rule[:min(len(r.Rule), 12)], judge.Indeterminate: `class="warn unsure">? ` + r.Rule[:min(len(r.Rule), 12)]}[r.Verdict]
		if len(r.Journey) > 0 && tone != "" && !strings.Contains(page, tone) {
			t.Errorf("%s: the picture does not show where %s is broken", v.Name, r.Rule)
		}
	}
}

var (
	drawnRow = regexp.MustCompile(`(?s)<div class="jrow".*?</svg></div>`)
	words    = regexp.MustCompile(`aria-label="([^"]*)"`)
)

// place is the words of the row in which the picture shows what the verdict is about.
func place(t *testing.T, page string) string {
	t.Helper()
	for _, row := range drawnRow.FindAllString(page, -1) {
		if strings.Contains(row, `class="warn bad">✗ `) || strings.Contains(row, `class="warn unsure">? `) {
			return html.UnescapeString(words.FindStringSubmatch(row)[1])
		}
	}
	return ""
}

// TestBrokenIsDrawnAtItsPlace: the row of the first broken rule is the one that the vector
// names, whatever the rule is about.
func TestBrokenIsDrawnAtItsPlace(t *testing.T) {
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	drawnAt := map[string]bool{}
	for _, v := range list {
		page, r := drawn(t, v)
		if r.Verdict.Holds() || len(r.Journey) == 0 {
			continue
		}
		want := ""
		switch {
		case r.Step != nil:
			want = fmt.Sprintf("Step %d ", *r.Step)
		case r.Branch != nil:
			want = fmt.Sprintf("Other continuation %d ", *r.Branch)
		case strings.HasPrefix(r.Path, "$.verdict"):
			want = "The carrier's verdict "
		case r.Entry >= 0:
			want = fmt.Sprintf("Envelope %d ", r.Entry)
		case r.Receipt != nil && r.Rule != "badReceipt/entry", r.Rejection != nil && r.Rule != "badRejection/entry":
			want = "" // at whatever it answers
		default:
			want = "The verdict is about this: " + r.Rule
		}
		if got := place(t, page); got == "" || !strings.HasPrefix(got, want) || !strings.Contains(got, r.Rule) {
			t.Errorf("%s: %s is drawn at %q, want %q", v.Name, r.Rule, got, want)
		}
		drawnAt[strings.TrimRight(want, "0123456789 ")] = true
	}
	if len(drawnAt) < 6 {
		t.Errorf("the vectors have rules broken at %v, want steps, branches, the verdict, envelopes, answers and none", drawnAt)
	}
}

// TestFileCannotWriteThePage puts markup, controls and characters that turn the direction
// into every text that comes from a file.
func TestFileCannotWriteThePage(t *testing.T) {
	const evil = "</style></title><script>injected=1</script><img src=x onerror=alert(1)>\"'&\u202eDILAV\u200b\x1b[2J\u2066 VALID"
	doc, err := os.ReadFile("../demo/document.json")
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatal(err)
	}
	var poison func(v any) any
	poison = func(v any) any {
		switch v := v.(type) {
		case map[string]any:
			for k := range v {
				v[k] = poison(v[k])
			}
			if p, ok := v["documentParties"].(map[string]any); ok {
				p[evil] = map[string]any{"partyName": evil}
			}
			return v
		case []any:
			for i := range v {
				v[i] = poison(v[i])
			}
			return v
		case string:
			return evil
		}
		return v
	}
	text, err := json.Marshal(poison(v))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Now()
	n := 0
	r := &judge.Report{File: evil, Kind: "bundle", Verdict: judge.Valid, Text: text, Carrier: evil, Reference: evil, Receipt: &n, Detail: evil, Rule: "x",
		State:   &judge.State{Possessor: evil, Status: "active", ReturnedBy: evil},
		Entries: []judge.Entry{{Signer: evil, Key: evil, SignedAt: evil, EnvelopeHash: evil, Fingerprint: evil, Transactions: []judge.Transaction{{Instruction: "TRNS", Transferee: evil, Comments: evil}}}},
		Steps:   []judge.Entry{{Signer: evil, Key: evil, Transactions: []judge.Transaction{{Instruction: "TRNS", Transferee: evil, At: evil, Comments: evil}}}},
		Lapsed:  []judge.Lapse{{Platform: evil, Key: evil, Why: "ended"}}, Made: &judge.Made{By: evil, At: evil, Selection: "bill", Signature: "bad"},
		Checks: []judge.Check{{What: evil, Result: judge.OK, Detail: evil}},
		Journey: []judge.Leg{{Kind: "entry", Platform: evil, Signer: judge.Failed, Why: evil, Key: evil, Envelope: evil, Receipt: judge.OK, SignedAt: at,
			Transactions: []judge.LegTransaction{{Instruction: evil, To: evil + "@" + evil, ToPlatform: evil + "2", ToName: evil, Comments: evil}, {Instruction: "TRNS", To: evil, ToPlatform: evil}}}}}
	page, err := report.HTML(report.Input{Report: r, At: at, Maker: "test"})
	if err != nil {
		t.Fatal(err)
	}
	got := string(page)
	if bad := regexp.MustCompile(`(?i)<script|<img|onerror=alert\(1\)>|</title><s`).FindString(got); bad != "" {
		t.Errorf("the file wrote %q into the page", bad)
	}
	if strings.Count(got, "</style>") != 1 || strings.Count(got, "</title>") < 1 {
		t.Error("the file ended an element of the page")
	}
	for _, c := range got {
		if c != '\n' && unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co) {
			t.Fatalf("the page has the character U+%04X", c)
		}
	}
	if !strings.Contains(got, `\u202eDILAV`) {
		t.Error("the text is not shown, escaped")
	}
}

// TestCargoSummary finds what a person looks for in the document of the demonstration.
func TestCargoSummary(t *testing.T) {
	doc, err := os.ReadFile("../demo/document.json")
	if err != nil {
		t.Fatal(err)
	}
	page, err := report.HTML(report.Input{Report: &judge.Report{Verdict: judge.Valid, State: &judge.State{Possessor: "a@b.example"}, Text: doc}, At: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"NLNE26110472", "NORTHERN AURORA", "Santos (BRSSZ)", "Hamburg (DEHAM)", "Fazenda Alta Mogiana", "To order of Hansa Handelsbank AG", "Notify party",
		"LEI 529900DEMO0SHIPPER01", "GREEN COFFEE BEANS", "320 Jute bags", "19440.0 KGM", "NLRU8820416 22R1, seals NL7741204 VET55120, set to -18.0 CEL", "HS 090111"} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// Another document is no reason to fail.
	for _, text := range []string{`{}`, `[]`, `{"documentParties":7,"consignmentItems":{},"vesselVoyages":[1]}`, `{"documentParties":[{"partyFunction":"OS","party":{"partyName":"Old Shipper"}}]}`, `{`} {
		page, err := report.HTML(report.Input{Report: &judge.Report{Verdict: judge.Invalid, Text: []byte(text)}, At: time.Now()})
		if err != nil || strings.Contains(text, "Old") && !strings.Contains(string(page), "Old Shipper") {
			t.Errorf("%s: got %v", text, err)
		}
	}
}

// TestCargoSummarySaysWhatItLeavesOut: of a list that is longer than the page, nobody may take
// what is shown for all there is.
func TestCargoSummarySaysWhatItLeavesOut(t *testing.T) {
	many := func(n int, item string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(item+",", n), ",") + "]"
	}
	const note = "The document says more than is shown here"
	for name, text := range map[string]string{
		"lines of cargo": `{"consignmentItems":[{"cargoItems":` + many(25, `{"equipmentReference":"NLRU8820416"}`) + `}]}`,
		"descriptions":   `{"consignmentItems":[{"descriptionOfGoods":` + many(25, `"COFFEE"`) + `}]}`,
		"HS codes":       `{"consignmentItems":[{"HSCodes":` + many(25, `"090111"`) + `}]}`,
		"items":          `{"consignmentItems":` + many(25, `{"descriptionOfGoods":"COFFEE"}`) + `}`,
		"seals":          `{"utilizedTransportEquipments":[{"equipmentReference":"X","seals":` + many(97, `{"number":"1"}`) + `}]}`,
		"codes":          `{"documentParties":{"shipper":{"partyName":"S","identifyingCodes":` + many(9, `{"codeListName":"LEI","partyCode":"1"}`) + `}}}`,
	} {
		for _, c := range []struct {
			text string
			want bool
		}{{text, true}, {`{"consignmentItems":[{"descriptionOfGoods":["COFFEE"]}]}`, false}} {
			page, err := report.HTML(report.Input{Report: &judge.Report{Verdict: judge.Valid, State: &judge.State{Possessor: "a@b.example"}, Text: []byte(c.text)}, At: time.Now()})
			if err != nil || strings.Contains(string(page), note) != c.want {
				t.Errorf("%s: got %v, want the note that something was left out: %v", name, err, c.want)
			}
		}
	}
	// Two of one name and role are two, if they are not the same.
	page, err := report.HTML(report.Input{Report: &judge.Report{Verdict: judge.Valid, State: &judge.State{Possessor: "a@b.example"}, Text: []byte(`{"documentParties":{"notifyParties":[{"partyName":"N","address":"Hamburg"},{"partyName":"N","address":"Santos"},{"partyName":"N","address":"Santos"}]}}`)}, At: time.Now()})
	if err != nil || strings.Count(string(page), "Santos") != 1 || !strings.Contains(string(page), "Hamburg") {
		t.Errorf("got %v and %d times Santos; want both parties, each once", err, strings.Count(string(page), "Santos"))
	}
}

// TestPageSaysWhereKeysComeFrom: where authorities vouch for keys, these come with the file.
func TestPageSaysWhereKeysComeFrom(t *testing.T) {
	for name, want := range map[string]bool{"ca": true, "base": false} {
		page, err := report.HTML(report.Input{Report: &judge.Report{Verdict: judge.Invalid}, Trust: vectest.Trust(t, name), At: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(page), "but those for which an authority in these entries vouches"); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
