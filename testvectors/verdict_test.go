package testvectors_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

// expects are the verdicts as the vectors write them, and the exit codes of eblverify.
var expects = map[judge.Verdict]string{judge.Valid: "valid", judge.ValidThen: "validAtSigningTime", judge.Indeterminate: "indeterminate", judge.Invalid: "invalid"}

var exitCodes = map[string]int{"valid": 0, "validAtSigningTime": 0, "indeterminate": 3, "invalid": 1}

// judgedAs is the verdict on a bundle's vector, under its limits.
func judgedAs(t *testing.T, b *testvectors.Bundle) *judge.Report {
	t.Helper()
	now, err := time.Parse(time.RFC3339, b.At)
	if err != nil {
		t.Fatal(err)
	}
	return judge.File(bytesOf(t, b), judge.Options{Trust: vectest.Trust(t, b.Trust), Now: now, Stop: func() bool { return b.Seconds != nil && *b.Seconds == 0 }})
}

func judged(t *testing.T, text []byte, trust, at string) *judge.Report {
	t.Helper()
	now, err := time.Parse(time.RFC3339, at)
	if err != nil {
		t.Fatal(err)
	}
	return judge.File(text, judge.Options{Trust: vectest.Trust(t, trust), Now: now})
}

// checkReport holds a report against a bundle's vector: verdict, rule, place, state.
func checkReport(t *testing.T, b *testvectors.Bundle, r *judge.Report) {
	t.Helper()
	if expects[r.Verdict] != b.Expect || r.Rule != b.Reason {
		t.Errorf("%s (%s): got %s %s (%s), want %s %s", b.Name, b.Comment, r.Verdict, r.Rule, r.Detail, b.Expect, b.Reason)
		return
	}
	at := func(p *int) int {
		if p == nil {
			return -1
		}
		return *p
	}
	got := map[string]int{"entry": r.Entry, "transaction": r.Transaction, "step": at(r.Step), "receipt": at(r.Receipt), "rejection": at(r.Rejection), "branch": at(r.Branch)}
	for name, index := range got {
		want, named := b.Place[name]
		if !named {
			want = -1
		}
		if index != want && b.Reason != "" {
			t.Errorf("%s: %s: got %d, want %d", b.Name, name, index, want)
		}
	}
	if (r.State != nil) != (b.State != nil) {
		t.Errorf("%s: got the state %+v, want %+v", b.Name, r.State, b.State)
	}
	if r.State == nil || b.State == nil {
		return
	}
	s := testvectors.State{Possessor: r.State.Possessor, Status: r.State.Status, Issuing: r.State.Issuing, ToOrder: r.State.ToOrder, Head: r.State.Head, Length: r.State.Length, DocumentHash: r.Document}
	if s != *b.State {
		t.Errorf("%s: state: got %+v, want %+v", b.Name, s, *b.State)
	}
}

// TestBundleVerdicts: our verdict on every bundle, theirs and ours. The Node reader says
// the same of each (TestNodeReaderAgrees).
func TestBundleVerdicts(t *testing.T) {
	for _, b := range bundles(t) {
		checkReport(t, b, judgedAs(t, b))
	}
}

// TestVerdictIsOfTheFileAlone: what was judged before, and what could be remembered of it,
// changes nothing: the same verdicts from the last bundle to the first.
func TestVerdictIsOfTheFileAlone(t *testing.T) {
	bs := bundles(t)
	slices.Reverse(bs)
	for _, b := range bs {
		checkReport(t, b, judgedAs(t, b))
	}
}

// TestStrangerWithTheBinary: somebody with nothing but eblverify, a trust file and the
// bundles reaches each verdict.
func TestStrangerWithTheBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds eblverify and runs it for each bundle")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "eblverify")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "../cmd/eblverify").CombinedOutput(); err != nil {
		t.Fatalf("building eblverify: %v\n%s", err, out)
	}
	for _, b := range bundles(t) {
		trust, err := testvectors.Trust(b.Trust)
		if err != nil {
			t.Fatal(err)
		}
		file, platforms := filepath.Join(dir, "bundle.json"), filepath.Join(dir, "platforms.json")
		if err := errors.Join(os.WriteFile(file, bytesOf(t, b), 0o600), os.WriteFile(platforms, trust, 0o600)); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), bin, file, "--trust", platforms, "--at", b.At, "--json")
		if b.Seconds != nil {
			cmd.Args = append(cmd.Args, "--timeout", max(time.Duration(*b.Seconds)*time.Second, time.Nanosecond).String()) // 0: no limit
		}
		cmd.Env = []string{"PATH=/nowhere", "HOME=" + dir}
		out, err := cmd.Output()
		if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
			t.Fatal(err)
		} else if code := cmd.ProcessState.ExitCode(); code != exitCodes[b.Expect] {
			t.Errorf("%s: got exit code %d (%v), want %d", b.Name, code, exit, exitCodes[b.Expect])
		}
		var said struct{ Reports []*judge.Report }
		if err := json.Unmarshal(out, &said); err != nil || len(said.Reports) != 1 {
			t.Fatalf("%s: %v in %s, want one report", b.Name, err, out)
		}
		checkReport(t, b, said.Reports[0])
	}
}

// sameEvidence: all that a verdict on changed rests on stands in whole, byte for byte. What
// the maker says of itself and of what it saw may differ; no verdict depends on it. Nor
// does one on a receipt, rejection or branch of a key that the reader does not have: it is as if it were not there (docs/BUNDLE.md, section 2).
func sameEvidence(t *testing.T, changed, whole *envelope.Bundle, trust *identity.Trust) bool {
	t.Helper()
	unjudged := func(j envelope.JWS) bool {
		return !slices.ContainsFunc(trust.Platforms(), func(p *identity.Platform) bool {
			_, err := j.Verify(p, time.Time{}, true)
			serr, ok := errors.AsType[*envelope.SignatureError](err)
			return !ok || serr.Reason != envelope.UnknownKey
		})
	}
	raw := func(b *envelope.Bundle) (core, answers []string) {
		b = &envelope.Bundle{DocumentHash: b.DocumentHash, Block: b.Block, Steps: b.Steps, Verdict: b.Verdict, Receipts: b.Receipts, Rejections: b.Rejections, Branches: b.Branches}
		for _, j := range b.Receipts {
			answers = append(answers, j.Raw)
		}
		for _, r := range b.Rejections {
			answers = append(answers, r.JWS.Raw)
		}
		for _, br := range b.Branches {
			for _, e := range br.Entries {
				answers = append(answers, e.JWS.Raw)
			}
		}
		for _, s := range b.Steps {
			core = append(core, s.JWS.Raw)
		}
		b.Receipts, b.Rejections, b.Branches = nil, nil, nil
		e, err := b.Evidence()
		if err != nil {
			t.Fatal(err)
		}
		return append(core, string(e)), answers
	}
	core, answers := raw(whole)
	changedCore, changedAnswers := raw(changed)
	return slices.Equal(core, changedCore) && !slices.ContainsFunc(changedAnswers, func(s string) bool {
		j, err := envelope.ParseJWS(s)
		return !slices.Contains(answers, s) && (err != nil || !unjudged(j))
	})
}

// TestSingleMutationsOfBundlesAreRefused changes golden bundles in one place, at random.
// Of the changes that touch the evidence none may end in a good verdict; those that do not,
// by one rule (sameEvidence), are counted, and change no verdict.
func TestSingleMutationsOfBundlesAreRefused(t *testing.T) {
	good := slices.DeleteFunc(bundles(t), func(b *testvectors.Bundle) bool { return !strings.HasPrefix(b.Expect, "valid") })
	r := rand.New(rand.NewPCG(5, 10))
	refused, same := 0, 0
	verdicts := map[string]int{}
	for refused < mutations() {
		v := good[r.IntN(len(good))]
		in := bytesOf(t, v)
		whole, err := envelope.ParseBundle(in, envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			text := mutate(r, in)
			report := judged(t, text, v.Trust, v.At)
			verdicts[report.Reason]++
			changed, err := envelope.ParseBundle(text, envelope.Limits{})
			switch {
			case err == nil && report.Verdict.Holds() && sameEvidence(t, changed, whole, vectest.Trust(t, v.Trust)):
				same++
				if s := report.State; expects[report.Verdict] != v.Expect || s.Possessor != v.State.Possessor || s.Status != v.State.Status || s.Head != v.State.Head {
					t.Errorf("%s: got %s %+v, want %s %+v: %s", v.Name, report.Verdict, s, v.Expect, v.State, text)
				}
			case report.Verdict.Holds():
				t.Errorf("%s: %s, changed: %s", v.Name, report.Verdict, text)
			default:
				refused++
			}
		}
	}
	t.Logf("%d mutations refused, %d left the evidence as it was; %v", refused, same, verdicts)
	if same > refused/2 || len(verdicts) < 6 {
		t.Errorf("the mutations are too harmless or too much alike: %d of %d, %v", same, refused, verdicts)
	}
}

// TestBothReadersAgreeOnBundles asks both readers about bundles that nobody wrote by hand:
// changed in one place, and put together from pieces of others.
func TestBothReadersAgreeOnBundles(t *testing.T) {
	nodeJS(t, "batch.mjs") // skips without Node
	r := rand.New(rand.NewPCG(11, 3))
	all := bundles(t)
	var qs []question
	var trusts []string
	for range mutations() / 2 {
		v := all[r.IntN(len(all))]
		text := bytesOf(t, v)
		if r.IntN(4) == 0 {
			text = mutate(r, text)
		} else {
			text = reassemble(r, text, bytesOf(t, all[r.IntN(len(all))]))
		}
		trust, err := testvectors.Trust(v.Trust)
		if err != nil {
			t.Fatal(err)
		}
		qs, trusts = append(qs, question{Kind: "bundle", Trust: string(trust), At: v.At, Input: text}), append(trusts, v.Trust)
	}
	seen := map[string]int{}
	for i, got := range askNode(t, qs) {
		q := qs[i]
		report := judged(t, q.Input, trusts[i], q.At)
		seen[report.Rule]++
		reason, _, _ := strings.Cut(got.Reason, "/")
		if got.Expect != expects[report.Verdict] || reason != report.Reason && got.Reason != report.Rule {
			t.Errorf("Go says %s %s (%s), Node says %s %s (%s): %s", report.Verdict, report.Rule, report.Detail, got.Expect, got.Reason, got.Detail, q.Input)
		}
		if s := report.State; s != nil && got.State != nil {
			want := testvectors.State{Possessor: s.Possessor, Status: s.Status, Issuing: s.Issuing, ToOrder: s.ToOrder, Head: s.Head, Length: s.Length, DocumentHash: report.Document}
			if *got.State != want {
				t.Errorf("state: Node says %+v, Go says %+v", *got.State, want)
			}
		}
	}
	t.Logf("%d bundles, both readers agree: %v", len(qs), seen)
	if len(seen) < 30 {
		t.Errorf("only %d different answers: %v", len(seen), seen)
	}
}

// reassemble makes one or two changes of whole pieces: left out, doubled, in another
// place, or from another bundle.
func reassemble(r *rand.Rand, text, other []byte) []byte {
	var b, o map[string]json.RawMessage
	if json.Unmarshal(text, &b) != nil || json.Unmarshal(other, &o) != nil {
		return text
	}
	names := []string{"chain", "steps", "receipts", "rejections", "branches"}
	for range 1 + r.IntN(2) {
		name := names[r.IntN(len(names))]
		var list, more []json.RawMessage
		if json.Unmarshal(b[name], &list) != nil || json.Unmarshal(o[name], &more) != nil {
			continue
		}
		switch n := len(list); {
		case r.IntN(8) == 0 && o["verdict"] != nil:
			b["verdict"] = o["verdict"]
		case r.IntN(8) == 0:
			delete(b, []string{"verdict", "document", "signature"}[r.IntN(3)])
		case n > 0 && r.IntN(3) == 0:
			list = slices.Delete(list, n-1, n)
		case n > 0 && r.IntN(3) == 0:
			i, j := r.IntN(n), r.IntN(n)
			list[i], list[j] = list[j], list[i]
		case n > 0 && r.IntN(4) == 0:
			list = append(list, list[r.IntN(n)])
		case len(more) > 0:
			list = append(list, more[r.IntN(len(more))])
		}
		raw, err := json.Marshal(list)
		if err != nil {
			return text
		}
		b[name] = raw
	}
	out, err := json.Marshal(b)
	if err != nil {
		return text
	}
	return out
}

// TestFalseHashProvesNoAge: an entry that names itself falsely breaks a rule, so it does not show
// that the entry before it is older than a theft. Both readers say so.
func TestFalseHashProvesNoAge(t *testing.T) {
	nodeJS(t, "batch.mjs") // skips without Node
	all := bundles(t)
	i := slices.IndexFunc(all, func(b *testvectors.Bundle) bool {
		return b.Trust == "compromised" && strings.Contains(b.Comment, "the entry that the bank signed after it")
	})
	if i < 0 {
		t.Fatal("the vector is gone")
	}
	b := all[i]
	text := bytesOf(t, b)
	last := judged(t, text, b.Trust, b.At)
	if last.Verdict != judge.ValidThen {
		t.Fatalf("%s: got %s %s", b.Name, last.Verdict, last.Rule)
	}
	// The hash of the last entry stands there once, where it names itself.
	forged := bytes.Replace(text, []byte(last.State.Head), bytes.Repeat([]byte("b"), 64), 1)
	trust, err := testvectors.Trust(b.Trust)
	if err != nil {
		t.Fatal(err)
	}
	if r := judged(t, forged, b.Trust, b.At); r.Rule != "keyCompromised" || r.Entry != 0 {
		t.Errorf("got %s %s (%s), want keyCompromised of entry 0", r.Verdict, r.Rule, r.Detail)
	}
	if got := askNode(t, []question{{Kind: "bundle", Trust: string(trust), At: b.At, Input: forged}})[0]; got.Reason != "keyCompromised" {
		t.Errorf("Node says %s %s, want keyCompromised", got.Expect, got.Reason)
	}
}
