package envelope

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// sameLean holds a text without its long strings against the text: JSON or not, a name twice
// or not.
func sameLean(t *testing.T, text []byte) {
	t.Helper()
	for _, long := range []int{0, 1, 9} {
		short, fits := lean(make([]byte, 0, len(text)), text, long)
		if !fits {
			t.Fatalf("%d bytes do not fit into as many", len(text))
		}
		for _, opts := range [][]jsontext.Options{nil, {jsontext.AllowDuplicateNames(true)}} {
			if got, want := jsontext.Value(short).IsValid(opts...), jsontext.Value(text).IsValid(opts...); got != want {
				t.Fatalf("without strings of %d and more: got %t, want %t: %.300q became %.300q", long, got, want, text, short)
			}
		}
	}
}

func TestLeanTextsAreJSONExactlyIfTheyWere(t *testing.T) {
	for _, text := range []string{
		"", `"`, `""`, `"\"`, `"\`, `"a" "b"`, `"a":`, `{"a" 1}`, `{"a" : "b" , "a" :"c"}`, `{"abcdefghij" "abcdefghij"}`, `["a":"b"]`, `\"abc"`, `["\ud800"]`, `["abcdefghijk\u12"]`,
		"[\"abcdefgh\x00\"]", "[\"abcdefghi\x1f\"]", "[\"abcdefgh\x7f\"]", "[\"abcdefgh\xff\"]", "[\"abcdefghé\"]", `["abcdefghijk",]`, `["abcdefghijk"x]`, `["abcdefghijk`, `{"":"abcdefghijk"` + "\x00}",
		"\xef\xbb\xbf" + `"abcdefghijk"`, `"abcdefghijk"` + "\n\t :", `{"a":"abcdefghijk":1}`,
	} {
		sameLean(t, []byte(text))
	}
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 2))
	for range 3000 {
		var b strings.Builder
		randomJSON(r, &b, 4)
		text := []byte(b.String())
		sameLean(t, text)
		for range 5 { // and damaged
			if len(text) > 0 {
				damaged := bytes.Clone(text)
				damaged[r.IntN(len(text))] = "\" \\{]:,0a\x00\x1f\xff"[r.IntN(12)]
				sameLean(t, damaged)
			}
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzLean(f *testing.F) {
	f.Add([]byte(`{"abcdefghij":"abcdefghij","b":["\u0041abcdefghij", "abcdefghij" ]}`))
	f.Add([]byte("{\"a\" :\"abcdefghi\x00\\\"\"}"))
	f.Fuzz(sameLean)
}

// TestPlainIsEveryByte: one byte that a string may not hold as it is, wherever it stands.
func TestPlainIsEveryByte(t *testing.T) {
	for n := range 20 {
		for i := range n {
			for c := range 256 {
				s := bytes.Repeat([]byte{'a'}, n)
				s[i] = byte(c)
				want := c >= ' ' && c < 0x80 && c != '"' && c != '\\'
				if got := isPlain(s); got != want {
					t.Fatalf("byte %#x at %d of %d: got %t, want %t", c, i, n, got, want)
				}
			}
		}
	}
}

// TestStrictInLongBlocks: what the library refuses is refused in texts that it is shown a part of.
func TestStrictInLongBlocks(t *testing.T) {
	jws := base64.RawURLEncoding.EncodeToString(make([]byte, 900))
	block := `{"document":{"a":[%s]},"endorsementChain":[` + strings.TrimSuffix(strings.Repeat(`{"signature":"`+jws+`"},`, 40), ",") + `]}`
	for inner, want := range map[string]bool{
		`"` + jws + `"`: true, `"` + jws + "\x1f\"": false, `"` + jws + "\xff\"": false, `"` + jws + `\u00g0"`: false, `"` + jws + `\ud800"`: false, `"` + jws + `" "`: false, `"` + jws: false,
		`{"` + jws + `":1,"` + jws + `":2}`: false, `{"` + jws + `":1,"x":2}`: true, `"` + jws + `" :1`: false, strings.Repeat(`"short",`, 20_000) + `1`: true, strings.Repeat(`"short",`, 20_000): false,
	} {
		text := fmt.Appendf(nil, block, inner)
		if len(text) < leanFrom {
			t.Fatalf("%d bytes, want more", len(text))
		}
		if got := isJSON(text); got != want || got != jsontext.Value(text).IsValid() {
			t.Errorf("%.40q…: got %t, want %t", inner, got, want)
		}
	}
	whole := fmt.Appendf(nil, block, "1")
	short, fits := lean(make([]byte, 0, leanRoom), whole, longText)
	if !fits || len(short) > len(whole)/20 {
		t.Errorf("%d of %d bytes are left, want the twentieth part", len(short), len(whole))
	}
}
