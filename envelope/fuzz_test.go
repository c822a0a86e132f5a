package envelope_test

import (
	"bytes"
	"encoding/json"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"eblnode/envelope"
)

// FuzzParse: what is taken can be written again, and is then the same block.
func FuzzParse(f *testing.F) {
	for _, v := range load(f, "envelope", "chain", "signed") {
		f.Add(input(f, v))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := envelope.Parse(body, envelope.Limits{})
		if err != nil {
			return
		}
		for _, old := range []bool{false, true} {
			again, err := envelope.Parse(b.Marshal(old), envelope.Limits{Body: 2*len(body) + 1024})
			if err != nil {
				t.Fatalf("written again: got %v", err)
			}
			for i := range b.Entries {
				b.Entries[i].Beside = nil // not written
			}
			again.Field = b.Field // the name is the writer's choice
			if !reflect.DeepEqual(again, b) {
				t.Fatalf("written again: got %+v, want %+v", again, b)
			}
		}
		if b.Last().Hash() != envelope.HashOf(b.Last().JWS.Payload) || len(b.Last().Payload.Transactions) == 0 {
			t.Fatal("an entry without hash or transactions")
		}
	})
}

// FuzzParseJWS: a compact JWS has one spelling: three parts of canonical base64url.
func FuzzParseJWS(f *testing.F) {
	for _, v := range load(f, "signed") {
		var w struct {
			Chain []struct{ Signature string } `json:"endorsementChain"`
		}
		if json.Unmarshal(input(f, v), &w) == nil && len(w.Chain) > 0 {
			f.Add(w.Chain[0].Signature)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		j, err := envelope.ParseJWS(s)
		if err != nil {
			return
		}
		if j.Raw != s || j.Header.Alg.Hash() == 0 {
			t.Fatalf("got raw %q, alg %q of %q", j.Raw, j.Header.Alg, s)
		}
		if strings.Count(s, ".") != 2 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
			t.Fatalf("taken, though it is not base64url and two dots: %q", s)
		}
		// Another last character of any part is another text or none.
		for i := range len(s) {
			if i+1 < len(s) && s[i+1] != '.' {
				continue
			}
			for _, c := range "AQgwBRhx" {
				other := s[:i] + string(c) + s[i+1:]
				o, err := envelope.ParseJWS(other)
				if err == nil && other != s && i == strings.LastIndexByte(s, '.')-1 && bytes.Equal(o.Payload, j.Payload) {
					t.Fatalf("two spellings of one payload: %q and %q", s, other)
				}
			}
		}
	})
}

// FuzzCanonicalize: doing it twice changes nothing, and no value changes.
func FuzzCanonicalize(f *testing.F) {
	for _, v := range load(f, "canonical") {
		f.Add(input(f, v))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := envelope.Canonicalize(in)
		if err != nil {
			return
		}
		again, err := envelope.Canonicalize(out)
		if err != nil || !bytes.Equal(out, again) {
			t.Fatalf("again: got %s, %v, want %s", again, err, out)
		}
		if a, b := valueOf(t, in), valueOf(t, out); !reflect.DeepEqual(a, b) {
			t.Fatalf("value: got %v, want %v", b, a)
		}
	})
}

// valueOf reads JSON with the standard library, numbers as exact fractions.
func valueOf(t *testing.T, text []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("the standard library refuses what we take: %v", err)
	}
	return exact(t, v)
}

func exact(t *testing.T, v any) any {
	t.Helper()
	switch v := v.(type) {
	case json.Number:
		// The number of 0e999999999 would have a billion digits.
		if strings.Trim(strings.SplitN(strings.ToLower(string(v)), "e", 2)[0], "-.0") == "" {
			return "0"
		}
		r, ok := new(big.Rat).SetString(string(v))
		if !ok {
			t.Fatalf("no number: %s", v)
		}
		return r.RatString()
	case []any:
		for i := range v {
			v[i] = exact(t, v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = exact(t, v[k])
		}
	}
	return v
}

// FuzzTransferee: whoever it names is named the same when written as an identifier.
func FuzzTransferee(f *testing.F) {
	for _, s := range []string{
		`"ben@bank.example"`, `"Ben.O'Hara+x@BANK.example.:443"`, `"a@bücher.example:8443"`, `{"eBLPlatformIdentifier":"ben@bank.example"}`,
		`{"eBLPlatformIdentifier":"ben@bank.example","partyName":"Ben","identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":"X","codeListName":null}],"taxReference1":"1","address":{"city":"Køb"}}`,
		`""`, `"@"`, `"a@"`, `"a@b"`, `null`, `{}`, `[]`, `{"eBLPlatformIdentifier":null}`, `"a@1.2.3.4"`, `"\u0061@b.example"`, ` "a@b.example" `,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := envelope.ParseTransferee(in)
		if err != nil {
			return
		}
		if p.ID.IsZero() || p.ID.Local == "" || p.ID.Host.Name == "" {
			t.Fatalf("%s names nobody: %+v", in, p.ID)
		}
		text, err := json.Marshal(p.ID.String())
		if err != nil {
			t.Fatal(err)
		}
		again, err := envelope.ParseTransferee(text)
		if err != nil || again.ID != p.ID {
			t.Fatalf("%s as identifier %s: got %+v, %v, want %+v", in, text, again.ID, err, p.ID)
		}
		for _, c := range p.Codes {
			if c.Provider == "" || c.Code == "" {
				t.Fatalf("%s: a code that cannot be compared: %+v", in, c)
			}
		}
	})
}
