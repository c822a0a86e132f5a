package envelope_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"eblnode/envelope"
)

// frame returns what stands around the document of a good block.
func frame(t testing.TB) (head, tail string) {
	t.Helper()
	for _, v := range load(t, "chain") {
		if v.Name == "chain/issued" {
			b, err := envelope.Parse(input(t, v), envelope.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			whole := string(b.Marshal(false))
			return `{"document":`, whole[len(`{"document":`)+len(b.Document):]
		}
	}
	t.Fatal("no vector chain/issued")
	return "", ""
}

// TestRefusesWhatIsNotJSON: each text stands in a document; a parser that mends one of
// them shows another document than was signed.
func TestRefusesWhatIsNotJSON(t *testing.T) {
	head, tail := frame(t)
	for _, in := range []string{
		// Structure.
		``, `,`, `[`, `]`, `{`, `}`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1,,2]`, `[1 2]`, `[1:2]`, `[}`, `{]`, `{"a"}`, `{"a":}`, `{"a",1}`, `{"a":1,}`, `{,"a":1}`,
		`{"a":1 "b":2}`, `{a:1}`, `{1:1}`, `{null:1}`, `{'a':1}`, `{"a"::1}`, `{"a":1}}`, `[1]]`, `{"a":1}//x`, `/**/1`, `[1;2]`, `<null>`, `*`, `#`,
		// Literals.
		`True`, `nul`, `nulll`, `truefalse`, `undefined`, `None`, `nan`, `NaN`, `Infinity`, `-Infinity`,
		// Numbers.
		`01`, `-01`, `00`, `+1`, `-`, `--1`, `.1`, `1.`, `-.1`, `1.e1`, `1e`, `1e+`, `1E-`, `1ee1`, `1e1.5`, `0x1f`, `1_000`, `1 000`, `１`, `1e1e1`, `0b1`, `1f`,
		// Strings.
		`"`, `"a`, `'a'`, `"\x41"`, `"\u12"`, `"\u12g4"`, `"\U0041"`, `"\`, `"\"`, `"\a"`, "\"\n\"", "\"\t\"", "\"\x00\"", "\"\x1f\"", `"\ud800"`, `"\ud800A"`, `"\udc00\ud800"`,
		"\"\xff\"", "\"\xc0\x80\"", "\"\xe0\x80\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "\"\xf8\x88\x80\x80\x80\"", "\"\xc3\"", "\xfe\xff\x00\x22",
		// White space that JSON does not know.
		"\u00a01", "\u2028" + `1`, "\ufeff1", "\v1", "\f1", "\x00", "1\x00",
		// Names.
		`{"a":1,"a":1}`, `{"a":1,"\u0061":2}`, `{"":1,"":2}`, `{"a":{"b":1,"b":2}}`, `[[{"a":1,"a":2}]]`,
	} {
		t.Run(in, func(t *testing.T) {
			_, err := envelope.Parse([]byte(head+`{"x":`+in+`}`+tail), envelope.Limits{})
			if _, ok := errors.AsType[*envelope.FormatError](err); !ok {
				t.Errorf("in a document: got %v, want malformed", err)
			}
			if _, err := envelope.Canonicalize([]byte(in)); err == nil {
				t.Error("alone: got no error, want malformed")
			}
		})
	}
}

// TestTakesWhatIsJSON: strict is not stricter than JSON.
func TestTakesWhatIsJSON(t *testing.T) {
	head, tail := frame(t)
	for in, want := range map[string]string{
		`null`: `null`, `true`: `true`, `false`: `false`, `[]`: `[]`, `{}`: `{}`, ` [ ] `: `[]`, "\t{\r\n}\n": `{}`, `""`: `""`, `"a"`: `"a"`, `[[[]]]`: `[[[]]]`,
		`0`: `0`, `-0`: `0`, `-1`: `-1`, `0.0`: `0`, `1e0`: `1`, `1E+2`: `100`, `1e-2`: `0.01`, `-1.5e1`: `-15`, `123456789`: `123456789`, `[1,-2,3.5]`: `[1,-2,3.5]`,
		`"\""`: `"\""`, `"\\"`: `"\\"`, `"\/"`: `"/"`, `"\b\f\n\r\t"`: `"\b\f\n\r\t"`, `"\u0041"`: `"A"`, `"\u000a"`: `"\n"`, `"\u0000"`: `"\u0000"`, `"\uD83D\uDE00"`: `"😀"`,
		`"\uFFFF"`: "\"\uffff\"", `"\uFEFF"`: "\"\ufeff\"", "\"\u2028\x7f\"": "\"\u2028\x7f\"", `"€"`: `"€"`, `"http://x//"`: `"http://x//"`, `"/**/"`: `"/**/"`, `"[{"`: `"[{"`,
		`{"":0}`: `{"":0}`, `{"b":1,"a":2}`: `{"a":2,"b":1}`, `{"a":{"a":{"a":1}}}`: `{"a":{"a":{"a":1}}}`, `{"a":1,"A":2}`: `{"A":2,"a":1}`, `{"\u0000":1}`: `{"\u0000":1}`,
	} {
		t.Run(in, func(t *testing.T) {
			b, err := envelope.Parse([]byte(head+`{"x":`+in+`}`+tail), envelope.Limits{})
			if err != nil {
				t.Fatalf("in a document: got %v", err)
			}
			if got := string(b.Document); got != `{"x":`+in+`}` {
				t.Errorf("document: got %s, want it as received", got)
			}
			if got, err := envelope.Canonicalize([]byte(in)); err != nil || string(got) != want {
				t.Errorf("canonical: got %s, %v, want %s", got, err, want)
			}
		})
	}
}

// TestBesideIsComparedByValue: the same numbers beyond every double are the same.
func TestBesideIsComparedByValue(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{`1e400`, `1E400`, true}, {`1e400`, `10e399`, true}, {`1e999999`, `1e999999`, true}, {`1e400`, `1e401`, false},
		{`9007199254740993`, `9007199254740992`, false}, {`-0`, `0`, true}, {`"\u0061"`, `"a"`, true}, {`"é"`, `"e\u0301"`, false},
		{`[1,2]`, `[2,1]`, false}, {`{"a":1,"b":2}`, `{ "b":2,"a":1.0 }`, true}, {`null`, `0`, false}, {`true`, `false`, false}, {`"1"`, `1`, false},
	} {
		e := envelope.Entry{JWS: envelope.JWS{Payload: []byte(`{"x":` + c.a + `}`)}, Beside: []byte(`{"x":` + c.b + `}`)}
		if got := e.BesideAgrees(); got != c.want {
			t.Errorf("%s beside %s: got %t, want %t", c.b, c.a, got, c.want)
		}
	}
}

// TestLimits: each limit takes its value and refuses one more, and says which it was.
func TestLimits(t *testing.T) {
	for _, v := range load(t, "chain") {
		if v.Name != "chain/many-transactions" && v.Name != "chain/ten-entries" {
			continue
		}
		body := input(t, v)
		for _, c := range []struct {
			name        string
			most, fewer envelope.Limits
		}{
			{"body", envelope.Limits{Body: len(body)}, envelope.Limits{Body: len(body) - 1}},
			{"chain", envelope.Limits{Chain: 10}, envelope.Limits{Chain: 9}},
			{"transactions", envelope.Limits{Transactions: 4}, envelope.Limits{Transactions: 3}},
			{"depth", envelope.Limits{Depth: 3}, envelope.Limits{Depth: 2}},
		} {
			if c.name == "chain" && v.Name != "chain/ten-entries" || c.name == "transactions" && v.Name != "chain/many-transactions" {
				continue
			}
			if _, err := envelope.Parse(body, c.most); err != nil {
				t.Errorf("%s: at the limit of %s: got %v", v.Name, c.name, err)
			}
			_, err := envelope.Parse(body, c.fewer)
			if ferr, ok := errors.AsType[*envelope.FormatError](err); !ok || ferr.Limit != c.name {
				t.Errorf("%s: over the limit of %s: got %v, want it named", v.Name, c.name, err)
			}
		}
	}
}

// TestDefaultLimits are those of the wire document: 8 MiB, 1,000 entries, 1,000
// transactions, 64 levels; and ours, 10,000 members and 500,000 values. Nothing is verified before they are checked.
func TestDefaultLimits(t *testing.T) {
	head, tail := frame(t)
	entry := strings.TrimSuffix(strings.TrimPrefix(tail, `,"endorsementChain":[`), `]}`)
	chain := func(n int) string {
		return head + "{}" + `,"endorsementChain":[` + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]}"
	}
	transactions := func(n int) string {
		const tx = `{"instruction":"ISSU","timestamp":0,"isToOrder":true,"platformHost":"a.example","transferee":"a@a.example"}`
		p := `{"documentHash":"` + strings.Repeat("0", 64) + `","transactions":[` + strings.TrimSuffix(strings.Repeat(tx+",", n), ",") + `]}`
		jws := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"ES256"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(p)) + ".AAAA"
		return head + `{},"endorsementChain":[{"envelopeHash":"` + strings.Repeat("0", 64) + `","signature":"` + jws + `"}]}`
	}
	members := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"%d":0,`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	pad := func(size int) string { return head + "{}" + tail + strings.Repeat(" ", size-len(head+"{}"+tail)) }
	for _, c := range []struct{ name, most, more string }{
		{"body", pad(8 << 20), pad(8<<20 + 1)},
		{"chain", chain(1000), chain(1001)},
		{"transactions", transactions(1000), transactions(1001)},
		{"members", head + "{" + members(10_000) + "}" + tail, head + "{" + members(10_001) + "}" + tail},
		{"values", head + `{"x":[` + strings.Repeat("0,", 499_992) + "0]}" + tail, head + `{"x":[` + strings.Repeat("0,", 499_993) + "0]}" + tail},
		{"depth", head + `{"x":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + "}" + tail, head + `{"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + "}" + tail},
	} {
		if _, err := envelope.Parse([]byte(c.most), envelope.Limits{}); err != nil {
			t.Errorf("at the limit of %s: got %v", c.name, err)
		}
		_, err := envelope.Parse([]byte(c.more), envelope.Limits{})
		if ferr, ok := errors.AsType[*envelope.FormatError](err); !ok || ferr.Limit != c.name {
			t.Errorf("over the limit of %s: got %v, want it named", c.name, err)
		}
	}
	if got := (envelope.Limits{}).BodyLimit(); got != 8<<20 {
		t.Errorf("body limit: got %d, want 8 MiB", got)
	}
}

// TestDepthLimitIsOfTheWhole: a limit above the default counts from the root only.
func TestDepthLimitIsOfTheWhole(t *testing.T) {
	head, tail := frame(t)
	deep := func(n int) []byte {
		return []byte(head + `{"x":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" + tail)
	}
	if _, err := envelope.Parse(deep(98), envelope.Limits{Depth: 100}); err != nil {
		t.Errorf("100 of 100 levels: got %v", err)
	}
	if _, err := envelope.Parse(deep(99), envelope.Limits{Depth: 100}); err == nil {
		t.Error("101 of 100 levels: got no error")
	}
	// A body of brackets, and brackets that only stand in strings.
	if _, err := envelope.Parse([]byte(strings.Repeat("[", 1<<20)), envelope.Limits{}); err == nil {
		t.Error("a million brackets: got no error")
	}
	if _, err := envelope.Parse([]byte(head+`{"x":"`+strings.Repeat(`[{\"`, 100)+`"}`+tail), envelope.Limits{}); err != nil {
		t.Errorf("brackets in a string: got %v", err)
	}
}
