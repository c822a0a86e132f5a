package envelope

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"eblnode/identity"
)

// sameReading holds the quick reading against the slow one: it may give up, and must not
// take what the slow one refuses, or make something else of it.
func sameReading(t *testing.T, body []byte, limits Limits) (taken bool) {
	t.Helper()
	quick := scanBlock(bytes.Clone(body), limits.withDefaults(), nil)
	if quick == nil {
		return false
	}
	slow, err := parseSlowly(body, limits.withDefaults())
	if err != nil {
		t.Fatalf("the scanner took what is refused with %v:\n%q", err, body)
	}
	if quick.canonical != nil && !sameBytes(quick.canonical, quick.Document) {
		t.Fatalf("another document is canonical:\n%q\n%q", quick.canonical, quick.Document)
	}
	if want, err := canonical(quick.Document); quick.canonical != nil && (err != nil || !bytes.Equal(want, quick.Document)) {
		t.Fatalf("not canonical: %v\n%q\n%q", err, quick.Document, want)
	}
	quick.canonical, slow.canonical = nil, nil
	if !reflect.DeepEqual(quick, slow) {
		t.Fatalf("the scanner made something else of it:\n%q\n%+v\n%+v", body, quick, slow)
	}
	return true
}

func scanSigner(t testing.TB) *identity.Signer {
	t.Helper()
	s, err := identity.GenerateSigner(identity.Host{Name: "a.example"}, identity.ES256, identity.CertificateSpec{Subject: "a",
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const plainTx = `{"instruction":"ISSU","timestamp":1767225600000,"isToOrder":true,"platformHost":"https://a.example","transferee":"al@a.example"}`

const fullTx = ` { "action" : "TRNS", "comments":"héllo \"w\"\u00e9\n", "timestamp" : 1767225600000123456, "isToOrder":false ,"x":[{"y":[1,2.5e3,null]}],
  "platformHost":"HTTPS://A.example:443/x", "transferee":{"eBLPlatformIdentifier":"al@\u0061.example","partyName":"A\u0301","taxReference1":null,"taxReference2":"7",
  "identifyingCodes":[{"codeListProvider":"","DCSAResponsibleAgencyCode":"SMDG","partyCode":"X"},{"partyCode":"Y"},{"codeListProvider":"LEI","partyCode":"Z","codeListName":"n"}],"address":{"a":[]}}} `

func signedText(t testing.TB, s *identity.Signer, payload string) string {
	t.Helper()
	raw, err := sign([]byte(payload), s, "", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// scanBodies are blocks whose parts are at the edge of what is well formed.
func scanBodies(t testing.TB) (bodies []string, ordinary int) {
	s := scanSigner(t)
	hash := strings.Repeat("0a", 32)
	entry := func(payload string) string {
		return `{"envelopeHash":"` + hash + `","signature":"` + signedText(t, s, payload) + `"}`
	}
	payload := func(txs string) string {
		return `{"documentHash":"` + hash + `","previousEnvelopeHash":null,"transactions":[` + txs + `]}`
	}
	block := func(document string, entries ...string) string {
		return `{"document":` + document + `,"endorsementChain":[` + strings.Join(entries, ",") + `]}`
	}
	plain := entry(payload(plainTx))
	bodies = []string{
		block(`{}`, plain),
		block(`{"isToOrder":true,"carrierCode":"MAEU","transportDocumentReference":"R\"1","transportDocumentSubReference":null,"n":[0,-0,1.50,1e2,123456789012345]}`, plain, plain),
		" {\r\n\"endorcementChain\" : [ " + plain + " ] , \"more\" : [ { } , [ ] , \"]\" ], \"document\" : { \"a\" : \"}\" } }\t",
		block(`{"a":{"isToOrder":"no"}}`, entry(payload(fullTx)), entry(payload(plainTx+","+fullTx))),
		block(`{}`, `{"signature":"`+signedText(t, s, payload(plainTx))+`","eblEnvelope":{ "a" : 1 },"z":null,"envelopeHash":"`+hash+`"}`),
	}
	ordinary = len(bodies)
	for _, tx := range []string{
		strings.Replace(plainTx, `"instruction":"ISSU"`, `"instruction":"","action":"ISSU"`, 1),
		strings.Replace(plainTx, `"instruction":"ISSU"`, `"instruction":null,"action":"ISSU"`, 1),
		strings.Replace(plainTx, `"instruction":"ISSU"`, `"action":"ISSU","instruction":"ISSU"`, 1),
		strings.Replace(plainTx, `"isToOrder":true`, `"isToOrder":null`, 1),
		strings.Replace(plainTx, `"isToOrder":true`, `"istoorder":true`, 1),
		strings.Replace(plainTx, `1767225600000`, `"1767225600000"`, 1),
		strings.Replace(plainTx, `1767225600000`, `-0`, 1),
		strings.Replace(plainTx, `1767225600000`, `1.0`, 1),
		strings.Replace(plainTx, `"al@a.example"`, `{"eBLPlatformIdentifier":"al@a.example","identifyingCodes":[null]}`, 1),
		strings.Replace(plainTx, `"al@a.example"`, `{"eBLPlatformIdentifier":"al@a.example","partyName":7}`, 1),
		strings.Replace(plainTx, `"al@a.example"`, `{"eBLPlatformIdentifier":null}`, 1),
		strings.Replace(plainTx, `"al@a.example"`, `["al@a.example"]`, 1),
		strings.Replace(plainTx, `"al@a.example"`, `null`, 1),
		strings.Replace(plainTx, `{`, `{"comments":"`+strings.Repeat("é", 256)+`",`, 1),
		strings.Replace(plainTx, `{`, `{"\u0069nstruction":"TRNS",`, 1),
		strings.Replace(plainTx, `{`, `{"deep":`+strings.Repeat("[", 61)+strings.Repeat("]", 61)+`,`, 1),
		strings.Replace(plainTx, `{`, `{"deep":`+strings.Repeat("[", 62)+strings.Repeat("]", 62)+`,`, 1),
		strings.Replace(plainTx, `{`, `{"deep":"\ud800",`, 1),
	} {
		bodies = append(bodies, block(`{}`, entry(payload(tx))))
	}
	for _, document := range []string{`{"n":9007199254740993}`, `{"n":1e400}`, `{"n":333333333.33333329}`, `{"n":12345678901234567890}`, `{"n":0.1234567890123456789}`, `{"n":1E2,"m":1.0}`, `[]`, `null`, `{"a":1,"a":2}`, `{"carrierCode":7}`, `{"isToOrder":"x"}`,
		`{"isToOrder":null}`, "{\"a\":\"\xff\"}", `{"deep":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `}`, `{"deep":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`, `{"carrier\u0043ode":"X"}`} {
		bodies = append(bodies, block(document, plain))
	}
	bodies = append(bodies, block(`{}`), block(`{}`, `{}`), block(`{}`, `7`), block(`{}`, strings.Replace(plain, hash, strings.ToUpper(hash), 1)), block(`{}`, plain)+"{}", "\ufeff"+block(`{}`, plain),
		block(`{}`, plain[:len(plain)-1]+`,"eblEnvelope":null}`), block(`{}`, plain[:len(plain)-1]+`,"eblEnvelope":[]}`), block(`{}`, strings.Replace(plain, "signature\":\"e", "signature\":\"\\u0065", 1)),
		strings.Replace(block(`{}`, plain), `{"document"`, `{"endorcementChain":null,"document"`, 1), strings.Replace(block(`{}`, plain), `{"document"`, `{"endorcementChain":[],"document"`, 1),
		block(`{}`, entry(`{"documentHash":"`+hash+`","previousEnvelopeHash":"`+hash+`","transactions":[`+plainTx+`]}`)), block(`{}`, entry(`{"documentHash":"`+hash+`","transactions":[]}`)),
		block(`{}`, entry(`{"documentHash":null,"transactions":[`+plainTx+`]}`)), block(`{}`, entry(`[]`)), `7`, ``, `{`, `{}`, `null`)
	return bodies, ordinary
}

// TestScannerAgainstTheSlowReading also with every byte of a block changed or cut off.
func TestScannerAgainstTheSlowReading(t *testing.T) {
	bodies, ordinary := scanBodies(t)
	for i, b := range bodies {
		taken := sameReading(t, []byte(b), Limits{})
		if i < ordinary && !taken {
			t.Errorf("the scanner gives up on an ordinary block: %q", b)
		}
		for _, l := range []Limits{{Chain: 1}, {Transactions: 1}, {Depth: 3}, {Depth: 2}, {Depth: 1}} {
			sameReading(t, []byte(b), l)
		}
	}
	for _, b := range bodies[:ordinary] {
		for i := range b {
			for _, c := range []byte{0, ' ', '"', '\\', '{', ']', ',', '0', 'a', 0xff} {
				damaged := []byte(b)
				damaged[i] = c
				sameReading(t, damaged, Limits{})
			}
			sameReading(t, []byte(b[:i]), Limits{})
		}
	}
}

// FuzzScanner looks for a text that the two readings disagree about.
func FuzzScanner(f *testing.F) {
	bodies, _ := scanBodies(f)
	for _, b := range bodies {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, body []byte) { sameReading(t, body, Limits{}) })
}

// FuzzScanPayload does the same inside a signature, where a fuzzer does not get by itself.
func FuzzScanPayload(f *testing.F) {
	for _, tx := range []string{plainTx, fullTx} {
		f.Add([]byte(`{"documentHash":"` + strings.Repeat("0a", 32) + `","previousEnvelopeHash":null,"transactions":[` + tx + `]}`))
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		quick, ok := scanPayload(bytes.Clone(payload), Limits{}.withDefaults())
		if !ok {
			return
		}
		slow, err := parsePayload(payload, Limits{}.withDefaults())
		if err != nil || !reflect.DeepEqual(quick, slow) {
			t.Fatalf("%q: got %+v, want %+v and %v", payload, quick, slow, err)
		}
	})
}

// sameWithPrefix holds a reading that leaves out what is known against the whole one.
// It reports whether anything was left out.
func sameWithPrefix(t *testing.T, body []byte, p *Prefix) bool {
	t.Helper()
	got, gotErr := ParseKnown(bytes.Clone(body), Limits{}, func([]byte) *Prefix { return p })
	want, wantErr := Parse(bytes.Clone(body), Limits{})
	if !reflect.DeepEqual(gotErr, wantErr) {
		t.Fatalf("%q: got %v, want %v", body, gotErr, wantErr)
	}
	if wantErr != nil {
		return false
	}
	if got.RequestSum() != want.RequestSum() {
		t.Fatalf("%q: the prefix changes the sum of the request", body)
	}
	k := got.Known()
	if k > 0 && k != p.Len() || k >= len(got.Entries) {
		t.Fatalf("%q: %d of %d entries known, the prefix has %d", body, k, len(got.Entries), p.Len())
	}
	for i := range k {
		if got.Entries[i].Claimed != want.Entries[i].Claimed || got.Entries[i].JWS.Raw != want.Entries[i].JWS.Raw || want.Entries[i].Beside != nil {
			t.Fatalf("%q: entry %d is not the known one", body, i)
		}
	}
	if !reflect.DeepEqual(got.Prefix(), want.Prefix()) {
		t.Fatalf("%q: another prefix comes of it", body)
	}
	got.prefix, got.Entries, want.Entries = nil, got.Entries[k:], want.Entries[k:]
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: got %+v, want %+v", body, got, want)
	}
	return k > 0
}

// TestKnownBeginningIsNotReadAgain and only the very same one is a known one: a byte, a hash
// beside it, an eblEnvelope or the order makes another of it.
func TestKnownBeginningIsNotReadAgain(t *testing.T) {
	s := scanSigner(t)
	one := func(hash, more string, n int) string {
		payload := `{"documentHash":"` + strings.Repeat("0a", 32) + `","transactions":[` + strings.Replace(plainTx, "1767225600000", fmt.Sprint(1767225600000+n), 1) + `]}`
		return `{"envelopeHash":"` + strings.Repeat(hash, 32) + `","signature":"` + signedText(t, s, payload) + `"` + more + `}`
	}
	a, b, c := one("0a", "", 1), one("0b", "", 2), one("0c", "", 3)
	block := func(entries ...string) string {
		return `{"document":{"carrierCode":"MAEU"},"endorsementChain":[` + strings.Join(entries, ",") + `]}`
	}
	prefix := func(body string) *Prefix {
		read, err := Parse([]byte(body), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		return read.Prefix()
	}
	p := prefix(block(a, b))
	beside := strings.TrimSuffix(b, "}") + `,"eblEnvelope":{"a":1}}`
	for name, v := range map[string]struct {
		body string
		p    *Prefix
		want bool
	}{
		"one more":                        {block(a, b, c), p, true},
		"two more":                        {block(a, b, c, c), p, true},
		"other white space":               {strings.ReplaceAll(block(a, b, c), ",", " ,\n"), p, true},
		"members in another order":        {block(`{"signature":`+strings.Split(a, `"signature":`)[1][:len(strings.Split(a, `"signature":`)[1])-1]+`,"envelopeHash":"`+strings.Repeat("0a", 32)+`"}`, b, c), p, true},
		"the older field":                 {strings.Replace(block(a, b, c), "endorsementChain", "endorcementChain", 1), p, true},
		"no more":                         {block(a, b), p, false},
		"less":                            {block(a), p, false},
		"twice the first":                 {block(a, a, b, c), p, false},
		"another order":                   {block(b, a, c), p, false},
		"without the first":               {block(b, c, c), p, false},
		"another hash beside":             {block(strings.Replace(a, "0a0a", "0a0b", 1), b, c), p, false},
		"another signature":               {block(one("0a", "", 1), b, c), p, false},
		"an eblEnvelope in the chain":     {block(a, beside, c), p, false},
		"an eblEnvelope when it was read": {block(a, b, c), prefix(block(a, beside)), true},
		"null in its place":               {block(a, strings.TrimSuffix(b, "}")+`,"eblEnvelope":null}`, c), p, true}, // counts as absent
		"an escape":                       {block(strings.Replace(a, `"signature":"e`, `"signature":"\u0065`, 1), b, c), p, false},
		"a bad one after it":              {block(a, b, c[:len(c)-2]+`="}`), p, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameWithPrefix(t, []byte(v.body), v.p); got != v.want {
				t.Errorf("left out: %t, want %t", got, v.want)
			}
		})
	}
	body := block(a, b, c)
	for i := range body {
		for _, x := range []byte{0, ' ', '"', '\\', '{', ']', ',', '0', 'a', 0xff} {
			damaged := []byte(body)
			damaged[i] = x
			sameWithPrefix(t, damaged, p)
		}
		sameWithPrefix(t, []byte(body[:i]), p)
	}
}

func BenchmarkParse(b *testing.B) {
	s := scanSigner(b)
	for _, n := range []int{1, 100} {
		payload := `{"documentHash":"` + strings.Repeat("0a", 32) + `","previousEnvelopeHash":null,"transactions":[` + strings.Replace(plainTx, `"al@a.example"`,
			`{"eBLPlatformIdentifier":"al@a.example","partyName":"`+strings.Repeat("Bank ", 100)+`"}`, 1) + `]}`
		entry := `{"envelopeHash":"` + strings.Repeat("0a", 32) + `","signature":"` + signedText(b, s, payload) + `"}`
		document := `{"items":[` + strings.TrimSuffix(strings.Repeat(`{"description":"Green coffee in bags","weight":18000.5,"packages":320},`, 110), ",") + `]}`
		body := []byte(`{"document":` + document + `,"endorsementChain":[` + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + `]}`)
		for name, f := range map[string]func([]byte, Limits) (*Transferblock, *FormatError){
			"scan": func(b []byte, l Limits) (*Transferblock, *FormatError) { return parse(b, l, nil) }, "slow": parseSlowly} {
			b.Run(fmt.Sprintf("%s/n=%d", name, n), func(b *testing.B) {
				b.SetBytes(int64(len(body)))
				b.ReportAllocs()
				for b.Loop() {
					if _, err := f(body, Limits{}.withDefaults()); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
