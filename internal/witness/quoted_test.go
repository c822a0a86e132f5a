package witness_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"eblnode/internal/witness"
)

// TestQuotedIsTheTextAgain: what is quoted is JSON and says the same, for every byte at every
// place of a text.
func TestQuotedIsTheTextAgain(t *testing.T) {
	check := func(text string) {
		t.Helper()
		got := witness.AppendQuoted([]byte("x"), text)
		if other := witness.AppendQuoted([]byte("x"), []byte(text)); !bytes.Equal(got, other) {
			t.Fatalf("%q: a string gives %q, its bytes %q", text, got, other)
		}
		if size := witness.QuotedSize([]byte(text)); json.Valid([]byte(text)) && utf8.ValidString(text) && size < len(got)-1 {
			t.Fatalf("%q: %d bytes, said to be %d", text, len(got)-1, size)
		}
		var back string
		if err := json.Unmarshal(got[1:], &back); err != nil || back != strings.ToValidUTF8(text, "\ufffd") && !strings.Contains(back, "\ufffd") {
			t.Fatalf("%q: got %q, which is %q, %v", text, got, back, err)
		}
		if bytes.IndexByte(got, '\n') >= 0 {
			t.Fatalf("%q: the line has an end in it", text)
		}
	}
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := []byte(strings.Repeat("~", length))
				text[at] = byte(c)
				check(string(text))
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 20000 {
		text := make([]byte, r.IntN(40))
		for i := range text {
			text[i] = "ab\"\\\x1f \x7f\x00\n\u00e9"[r.IntN(11)]
		}
		check(string(text))
	}
	check("{\r\n\t\"a\": \"\\u0001\\\\\",\n\"b\":\"\x7f\"}")
	check(`{"a":"é","b":"\u0001😀` + "\U0010ffff")
}

func BenchmarkQuoted(b *testing.B) {
	text := strings.Repeat("eyJhbGciOiJFUzI1NiJ9", 100)
	buf := make([]byte, 0, 4096)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		buf = witness.AppendQuoted(buf[:0], text)
	}
}
