package envelope

import (
	"bytes"
	"testing"
)

var canonicalTexts = []struct {
	text string
	want bool // known to be canonical
}{
	{`{}`, true}, {`[]`, true}, {`{"a":[],"b":{"c":null,"d":true},"e":false}`, true}, {`{"A":1,"a":"é€😀"}`, true},
	{`{"n":[0,1,-1,10,123456789012345,-0.5,0.1,0.000001,1.5,18000.5,100]}`, true}, {`"x"`, true}, {"{\"a\":\"\x7f\"}", true},
	{`{"b":1,"a":2}`, false}, {`{"a":1 }`, false}, {` {}`, false}, {`{"a": 1}`, false}, {`[1, 2]`, false}, {`{"a":"\u0041"}`, false}, {`{"a":"\""}`, false},
	{`{"\u0041":1}`, false}, {`-0`, false}, {`1.0`, false}, {`0.0`, false}, {`-0.0`, false}, {`1e2`, false}, {`1E2`, false}, {`0.0000001`, false}, {`1.50`, false},
	{`1234567890123456`, false}, {`0.12345678901234567`, false}, {`{"é":1}`, false}, {"{\"a\":1}\n", false},
}

func TestIsCanonical(t *testing.T) {
	for _, c := range canonicalTexts {
		if got := isCanonical([]byte(c.text)); got != c.want {
			t.Errorf("%s: got %t, want %t", c.text, got, c.want)
		}
		sameWhenCanonical(t, []byte(c.text))
	}
	deep := bytes.Repeat([]byte("["), 100)
	if isCanonical(append(deep, bytes.Repeat([]byte("]"), 100)...)) {
		t.Error("deeper than the limit")
	}
}

// sameWhenCanonical: what is taken for canonical is so.
func sameWhenCanonical(t *testing.T, text []byte) {
	t.Helper()
	want, err := Canonicalize(text)
	if err != nil {
		return // not what it is for
	}
	if isCanonical(text) && !bytes.Equal(want, text) {
		t.Fatalf("%q is taken for canonical, which is %q", text, want)
	}
	// What the library writes is mostly recognised, and always the same again.
	if isCanonical(want) {
		if again, err := Canonicalize(want); err != nil || !bytes.Equal(again, want) {
			t.Fatalf("%q: %q, %v", want, again, err)
		}
	}
}

func FuzzIsCanonical(f *testing.F) {
	for _, c := range canonicalTexts {
		f.Add([]byte(c.text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { sameWhenCanonical(t, text) })
}

// TestIsCanonicalOfNumbers goes through numbers of every size and sign.
func TestIsCanonicalOfNumbers(t *testing.T) {
	for _, digits := range []string{"1", "12", "105", "999", "123456789", "99999999999999", "9007199254740"} {
		for point := range len(digits) + 9 {
			s := digits
			switch {
			case point >= len(digits):
				s = "0." + string(bytes.Repeat([]byte("0"), point-len(digits))) + digits
			case point > 0:
				s = digits[:len(digits)-point] + "." + digits[len(digits)-point:]
			}
			for _, sign := range []string{"", "-"} {
				sameWhenCanonical(t, []byte(sign+s))
			}
		}
	}
}

func BenchmarkDocumentHash(b *testing.B) {
	document := []byte(`{"items":[` + string(bytes.TrimSuffix(bytes.Repeat([]byte(`{"description":"Green coffee in bags","packages":320,"weight":18000.5},`), 110), []byte(","))) + `]}`)
	for name, text := range map[string][]byte{"canonical": document, "not": append([]byte(" "), document...)} {
		b.Run(name, func(b *testing.B) {
			block := &Transferblock{Document: text}
			if isCanonical(text) {
				block.canonical = text
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := block.DocumentHash(nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
