package envelope

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// sameAsTheLibrary holds the reading of large texts against the library's, on one of any size.
func sameAsTheLibrary(t *testing.T, text []byte) {
	t.Helper()
	if checkDepth(text, MaxDepth) != nil || !jsontext.Value(text).IsValid(jsontext.AllowDuplicateNames(true)) {
		return
	}
	if got, want := twice(text) == 0, jsontext.Value(text).IsValid(); got != want {
		t.Errorf("no name twice: got %t, want %t: %.300q", got, want, text)
	}
	if !jsontext.Value(text).IsValid() || CheckNumbers(text) != nil {
		return
	}
	want, err := canonical(text)
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if !writeCanonical(&got, text, canonicalNumberOf) || !bytes.Equal(got.Bytes(), want) {
		t.Errorf("canonical: got %.300q, want %.300q", got.Bytes(), want)
	}
	a, _ := sumOf(text, exactNumber)
	b, _ := sumOf(want, exactNumber)
	if a != b {
		t.Errorf("a text and its canonical form are not the same value: %.300q", text)
	}
}

// oddNames sort otherwise by bytes, by characters and by UTF-16 code units, or are one name
// in two spellings.
var oddNames = []string{`""`, `"a"`, `"\u0061"`, `"A"`, `"aa"`, `"é"`, `"e\u0301"`, `"\uD83D\uDE00"`, `"😀"`, `"\uFB33"`, `"דּ"`, `"\uE000"`, `"\uFFFF"`, `"𐀀"`, `"𐀁"`, `"\n"`, `"\u000a"`, `"\\"`, `"\""`, `"\/"`, `"/"`, `"\u0000"`,
	"\"\u2028\"", "\"\x7f\"", `"ö"`, `"1"`, `"10"`, `"2"`}

var oddNumbers = []string{"0", "-0", "1", "-1", "1e20", "1e21", "1E-7", "0.000001", "1.0", "1.50", "123456789012345", "1e0", "-2.5e-3", "333333333.3333333", "5e-324", "100e-2"}

// randomJSON is any value, with white space, odd names and now and then one of them twice.
func randomJSON(r *rand.Rand, b *strings.Builder, depth int) {
	space := func() { b.WriteString([]string{"", "", "", " ", "\n\t", "\r"}[r.IntN(6)]) }
	space()
	defer space()
	kind := r.IntN(8)
	if depth == 0 {
		kind = 2 + r.IntN(6)
	}
	switch kind {
	case 0:
		b.WriteByte('{')
		space()
		names := r.Perm(len(oddNames))[:r.IntN(6)]
		for i, n := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			space()
			b.WriteString(oddNames[n])
			space()
			b.WriteByte(':')
			randomJSON(r, b, depth-1)
		}
		b.WriteByte('}')
	case 1:
		b.WriteByte('[')
		space()
		for i := range r.IntN(6) {
			if i > 0 {
				b.WriteByte(',')
			}
			randomJSON(r, b, depth-1)
		}
		b.WriteByte(']')
	case 2:
		b.WriteString([]string{"true", "false", "null"}[r.IntN(3)])
	case 3, 4, 5:
		b.WriteString(oddNumbers[r.IntN(len(oddNumbers))])
	default:
		b.WriteString(oddNames[r.IntN(len(oddNames))])
	}
}

// TestLargeTextsAreReadAsTheLibraryReadsThem: the same names twice, the same canonical form.
func TestLargeTextsAreReadAsTheLibraryReadsThem(t *testing.T) {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	twiceSeen := 0
	for range 20_000 {
		var b strings.Builder
		randomJSON(r, &b, 4)
		sameAsTheLibrary(t, []byte(b.String()))
		if !jsontext.Value(b.String()).IsValid() {
			twiceSeen++
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if twiceSeen < 100 {
		t.Errorf("%d texts with a name twice, want many", twiceSeen)
	}
}

// TestDeepTextsAreReadOnce: what lies below sixty objects is not gone through sixty times.
func TestDeepTextsAreReadOnce(t *testing.T) {
	nest := func(levels int) []byte {
		inner := `[` + strings.Repeat(`[                              ], `, 100_000) + `0]`
		return []byte(strings.Repeat(`{"b":0,"a":`, levels) + inner + strings.Repeat(`}`, levels))
	}
	took := func(levels int) time.Duration {
		least := time.Hour
		for range 5 {
			text, start := nest(levels), time.Now()
			if _, ok := sumOf(text, canonicalNumberOf); !ok {
				t.Fatal("no hash")
			}
			least = min(least, time.Since(start))
		}
		return least
	}
	if flat, deep := took(1), took(60); deep > 8*flat {
		t.Errorf("below sixty objects: %s, below one: %s", deep, flat)
	}
	sameAsTheLibrary(t, nest(60))
}

func FuzzLargeText(f *testing.F) {
	f.Add([]byte(`{"b":[1e20,{"😀":"\u0041"}],"a":{"x":-0,"\u0078":1}}`))
	f.Add([]byte(` { "z" : [ ] , "é":{}, "e\u0301":"\/" } `))
	f.Fuzz(sameAsTheLibrary)
}

// TestLargeBlocksAreReadLikeSmallOnes: a document over the bound has the hash that its canonical
// form has, and a name twice, deep in it or in a payload, is refused.
func TestLargeBlocksAreReadLikeSmallOnes(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{"z":[`)
	for i := 30_000; i > 0; i-- {
		fmt.Fprintf(&b, `{"b":%d.0,"a":"\u0061"},`, i)
	}
	document := b.String() + `{"x":1}]}`
	if len(document) < largeText {
		t.Fatalf("%d bytes, want it large", len(document))
	}
	c, err := canonical([]byte(document))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := documentHash([]byte(document), ""); err != nil || got != HashOf(c) {
		t.Errorf("hash: got %s and %v, want %s", got, err, HashOf(c))
	}
	var v jsontext.Value
	if err := decode([]byte(document), &v, MaxDepth); err != nil {
		t.Errorf("got %v", err)
	}
	bad := b.String() + `{"x":1,"y":2,"\u0078":3}]}`
	if err := decode([]byte(bad), &v, MaxDepth); err == nil || err.Rule != "duplicateName" {
		t.Errorf("a name twice: got %v, want duplicateName", err)
	}
	if valid([]byte(bad)) || !valid([]byte(document)) {
		t.Error("valid does not see the name that stands twice, or sees one that does not")
	}
	if _, err := documentHash([]byte(b.String()+`1e400]}`), ""); err == nil {
		t.Error("a number beyond every double: got a hash")
	}
	if !sameValue(jsontext.Value(document), c) || sameValue(jsontext.Value(document), jsontext.Value(b.String()+`{"x":2}]}`)) {
		t.Error("large values are not compared by value")
	}
}

// TestWidthIsCounted: the limits of members and values take what they say and refuse one more.
func TestWidthIsCounted(t *testing.T) {
	for text, want := range map[string][2]int{ // members of the widest object, values
		`{}`: {0, 1}, `[]`: {0, 1}, `0`: {0, 1}, ` [ ] `: {0, 1}, `[1]`: {0, 2}, `[1,2]`: {0, 3}, `[[],{},""]`: {0, 4},
		`{"a":1}`: {1, 2}, `{"a":1,"b":{"c":[],"d":"},{,"}}`: {2, 5}, `{"a":"\\","b":"\","}`: {2, 3}, `[{"a":0},{"a":0,"b":0,"c":0},{}]`: {3, 8}, "{\n\"a\" : [ 1 , 2 ] }": {1, 4},
	} {
		for i, l := range []Limits{{Members: want[0], Values: 1000}, {Members: 1000, Values: want[1]}} {
			l.Depth = MaxDepth
			if err := checkWidth([]byte(text), l); err != nil && want[i] > 0 {
				t.Errorf("%s: at %v: got %v", text, want, err)
			}
			fewer := l
			if i == 0 {
				fewer.Members--
			} else {
				fewer.Values--
			}
			if want[i] < 2 {
				continue
			}
			name := []string{"members", "values"}[i]
			if err := checkWidth([]byte(text), fewer); err == nil || err.Limit != name {
				t.Errorf("%s: one less than %v: got %v, want %s named", text, want, err, name)
			}
		}
	}
	// What lies behind a value that is too deep must not be read uncounted.
	deep := `{"d":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `,` + strings.Repeat(`"":0,`, 20_000) + `"":0}`
	if err := checkWidth([]byte(deep), Limits{}.withDefaults()); err == nil || err.Limit != "depth" {
		t.Errorf("members behind a deep value: got %v, want depth named", err)
	}
	head := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256","x5c":[` + strings.Repeat(`"",`, 40_000) + `""]}`))
	if _, err := parseJWS(head + ".e30.AAAA"); err == nil || err.Limit != "header" {
		t.Errorf("a header of %d characters: got %v, want its limit named", len(head), err)
	}
	for _, odd := range []string{"", "]", "}}", `"`, `{"`, "[[[[", `,,,`, `{"a\`} { // anything may come
		_ = Limits{Members: 1, Values: 1}.CheckWidth([]byte(odd))
	}
}

// TestPrefixKeepsNothingElse: what a peer puts between two entries is not kept with the chain,
// where it would count for nothing and take all memory.
func TestPrefixKeepsNothingElse(t *testing.T) {
	jws := func(n int) string {
		p := fmt.Sprintf(`{"documentHash":"%064d","previousEnvelopeHash":null,"transactions":[{"instruction":"ISSU","timestamp":0,"isToOrder":true,"platformHost":"a.example","transferee":"a@a.example"}]}`, n)
		return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(p)) + ".AAAA"
	}
	entry := func(n int) string { return fmt.Sprintf(`"envelopeHash":"%064d","signature":"%s"}`, n, jws(n)) }
	junk := strings.Repeat("x", 4<<20)
	heap := func() uint64 {
		var m runtime.MemStats
		for range 3 { // what lies in a pool goes with the second
			runtime.GC()
		}
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	var kept []*Prefix
	for range 8 {
		b, err := Parse([]byte(`{"document":{},"endorsementChain":[{`+entry(1)+`,{"note":"`+junk+`",`+entry(2)+`]}`), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, b.Prefix())
	}
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("eight chains of two entries keep %d bytes", grown)
	}
	runtime.KeepAlive(kept)
}
