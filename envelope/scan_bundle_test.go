package envelope

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/testvectors"
)

// sameBundle holds the quick reading of a bundle against the slow one: it may give up, and must
// not take what the slow one refuses, or make something else of it.
func sameBundle(t *testing.T, body []byte, limits Limits) (taken bool) {
	t.Helper()
	limits = limits.withDefaults()
	quick := scanBundle(bytes.Clone(body), limits)
	if quick == nil {
		return false
	}
	if checkDepth(body, limits.Depth) != nil || tooWide(body, 2, max(maxCertificates, limits.Chain, limits.Transactions)) {
		t.Fatalf("the scanner took what passes a limit:\n%q", body)
	}
	slow, err := parseBundleSlowly(body, limits)
	if err != nil {
		t.Fatalf("the scanner took what is refused with %v:\n%q", err, body)
	}
	if sum, ok := quick.quickSum(); ok {
		if want, err := bundleSum(body); err != nil || sum != want {
			t.Fatalf("another sum: got %s, want %s, %v:\n%q", sum, want, err, body)
		}
	} else if _, err := bundleSum(body); err == nil {
		t.Fatalf("the sum is not found:\n%q", body)
	}
	if _, ok := slow.quickSum(); ok {
		t.Fatal("a sum of members that nobody knows")
	}
	for _, b := range []*Bundle{quick, slow} {
		b.members, b.Block.canonical = nil, nil // what only makes it quicker
	}
	if !reflect.DeepEqual(quick, slow) {
		t.Fatalf("the scanner made something else of it:\n%q\n%+v\n%+v", body, quick, slow)
	}
	return true
}

// everyMember is a bundle with something in every member.
func everyMember(t testing.TB) string {
	t.Helper()
	s, now := scanSigner(t), time.Unix(1767225600, 0).UTC()
	must := func(jws string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return `"` + jws + `"`
	}
	hash := strings.Repeat("0a", 32)
	h, err := ParseHash(hash)
	if err != nil {
		t.Fatal(err)
	}
	entry := `"` + signedText(t, s, `{"documentHash":"`+hash+`","previousEnvelopeHash":null,"transactions":[`+plainTx+`]}`) + `"`
	return `{"format":"eblnode-bundle/1","made":{"by":"a.example","at":"2026-01-01T00:00:00Z","selection":"bill"},"documentHash":"` + hash + `","document":{"carrierCode":"C","n":[1.50]},
"chain":[{"envelopeHash":"` + hash + `","signature":` + entry + `,"eblEnvelope":{"x":1}}],"steps":[` + must(SignStep(Step{DocumentHash: h, Transaction: []byte(plainTx)}, s, now)) +
		`],"receipts":[` + must(SignReceipt(h, s, now)) + `],"rejections":[` + must(SignRejection(Rejection{EnvelopeHash: h, JWSSum: h, Sender: s.Key.Platform, Receiver: s.Key.Platform, Code: BadEnvelopeCode, At: now}, s)) +
		`],"verdict":` + must(SignVerdict(Verdict{DocumentHash: h, EnvelopeHash: h, Kind: Surrendered, At: now}, s)) + `,"branches":[{"from":"a.example","at":0,"entries":[` + entry + `]}],
"certificates":["AQID"],"ocsp":["BAUG"],"checks":[{"jws":"` + hash + `","at":"2026-01-01T00:00:00.5Z","platform":"a.example","key":"` + hash + `","certificates":["` + hash + `"],"ocsp":[]}],
"trust":[{"domain":"a.example","keys":{}}],"signature":` + must(SignReceipt(h, s, now)) + `}`
}

// TestBundleScannerAgainstTheSlowReading with all vectors, and with a bundle whose every byte is
// changed or cut off.
func TestBundleScannerAgainstTheSlowReading(t *testing.T) {
	list, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		body, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if taken := sameBundle(t, body, Limits{}); !taken && v.Expect == "valid" {
			t.Errorf("%s: the scanner gives up on an ordinary bundle", v.Name)
		}
	}
	whole := everyMember(t)
	for _, b := range []string{whole, " " + strings.ReplaceAll(whole, ",", "\n, ") + "\t"} {
		if !sameBundle(t, []byte(b), Limits{}) {
			t.Errorf("the scanner gives up on an ordinary bundle: %q", b)
		}
	}
	for _, l := range []Limits{{Chain: 1}, {Transactions: 1}, {Depth: 3}, {Depth: 2}, {Depth: 1}} {
		sameBundle(t, []byte(whole), l)
	}
	for i := range whole {
		for _, c := range []byte{0, ' ', '"', '\\', '{', ']', ',', '0', 'a', 0xff} {
			damaged := []byte(whole)
			damaged[i] = c
			sameBundle(t, damaged, Limits{})
		}
		sameBundle(t, []byte(whole[:i]), Limits{})
	}
}

// TestBundleScannerAtEachMember puts other values in the place of each member, leaves it out, and
// adds one, at every level.
func TestBundleScannerAtEachMember(t *testing.T) {
	var whole map[string]json.RawMessage
	if err := json.Unmarshal([]byte(everyMember(t)), &whole); err != nil {
		t.Fatal(err)
	}
	taken := 0
	try := func(name string, value json.RawMessage) {
		t.Helper()
		m := map[string]json.RawMessage{}
		for n, v := range whole {
			m[n] = v
		}
		if m[name] = value; value == nil {
			delete(m, name)
		}
		body, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if sameBundle(t, body, Limits{}) {
			taken++
		}
	}
	values := []string{`null`, `""`, `"x"`, `"a\u002eexample"`, `0`, `-0`, `1.0`, `1e0`, `-1`, `99999999999999999999`, `true`, `[]`, `[null]`, `[[]]`, `{}`, `[{}]`, `["x"]`, `["A\/==","QQ==","QR==","QQ"]`, `{"carrier\u0043ode":"x"}`, `{"n":12345678901234567890}`}
	for name := range whole {
		try(name, nil)
		for _, v := range values {
			try(name, json.RawMessage(v))
		}
	}
	try("more", json.RawMessage("0"))
	for _, name := range []string{"made", "chain", "branches", "checks"} {
		one := strings.Trim(string(whole[name]), "[]\n ")
		again := func(part string) {
			if name != "made" {
				part = "[" + part + "," + one + "]"
			}
			try(name, json.RawMessage(part))
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal([]byte(one), &members); err != nil {
			t.Fatal(err)
		}
		names := []string{"more"}
		for n := range members {
			names = append(names, n)
		}
		for _, n := range names {
			for _, v := range append(slices.Clone(values), "") {
				other := map[string]json.RawMessage{}
				for m, was := range members {
					other[m] = was
				}
				if other[n] = json.RawMessage(v); v == "" {
					delete(other, n)
				}
				part, err := json.Marshal(other)
				if err != nil {
					t.Fatal(err)
				}
				again(string(part))
			}
		}
	}
	if taken < 40 {
		t.Errorf("the scanner took %d, which is no test", taken)
	}
}

// TestBundleScannerHoldsTheLimits: one more than may be is for the slow reading, which names it.
func TestBundleScannerHoldsTheLimits(t *testing.T) {
	whole := everyMember(t)
	many := func(name string, n int) string {
		i := strings.Index(whole, `"`+name+`":[`) + len(name) + 4
		depth, end := 0, i
		for ; depth > 0 || whole[end] != ']'; end++ {
			switch whole[end] {
			case '[':
				depth++
			case ']':
				depth--
			}
		}
		return whole[:i] + strings.TrimSuffix(strings.Repeat(whole[i:end]+",", n), ",") + whole[end:]
	}
	for name, most := range map[string]int{"chain": 10, "steps": 5, "receipts": 10, "rejections": 10, "branches": 10, "certificates": maxCertificates, "ocsp": maxCertificates, "checks": maxCertificates, "trust": maxTrustEntries} {
		limits := Limits{Chain: 10, Transactions: 5}
		if !sameBundle(t, []byte(many(name, most)), limits) {
			t.Errorf("%s: the scanner gives up at %d", name, most)
		}
		if sameBundle(t, []byte(many(name, most+1)), limits) {
			t.Errorf("%s: the scanner takes %d", name, most+1)
		}
	}
	if !sameBundle(t, []byte(many("branches", MaxBranches)), Limits{}) || sameBundle(t, []byte(many("branches", MaxBranches+1)), Limits{}) {
		t.Errorf("the scanner takes not %d branches but more or less", MaxBranches)
	}
	long := strings.Replace(whole, `"AQID"`, `"`+strings.Repeat("A", 4*(maxDER/3)+8)+`"`, 1)
	deep := strings.Replace(whole, `"keys":{}`, `"keys":`+strings.Repeat("[", 62)+strings.Repeat("]", 62), 1)
	for name, body := range map[string]string{"a long certificate": long, "deep trust": deep, "a large document": strings.Replace(whole, `"n":`, `"m":"`+strings.Repeat("x", maxDocument)+`","n":`, 1)} {
		if sameBundle(t, []byte(body), Limits{}) {
			t.Errorf("the scanner takes %s", name)
		}
	}
	if !sameBundle(t, []byte(strings.Replace(whole, `"n":`, `"m":"`+strings.Repeat("x", 2<<20)+`","n":`, 1)), Limits{}) {
		t.Error("the scanner gives up on a document of 2 MiB")
	}
}

// FuzzBundleScanner looks for a text that the two readings disagree about.
func FuzzBundleScanner(f *testing.F) {
	f.Add([]byte(everyMember(f)))
	f.Fuzz(func(t *testing.T, body []byte) { sameBundle(t, body, Limits{}) })
}
