package main

import (
	"strings"
	"unicode/utf8"
)

// jsonRuleVectors are the rules of RFC 8259 one by one, each as the value of a member of a
// document: what a parser that mends one of them takes, is shown as another document than
// was signed.
func jsonRuleVectors(g *generator) {
	for name, text := range jsonStructure() {
		refuseJSON(g, "structure-"+name, "J1", "one JSON value", text)
	}
	for name, text := range map[string]string{
		"true-capital": `True`, "true-cut": `tru`, "true-long": `truex`, "false-upper": `FALSE`, "null-cut": `nul`, "null-long": `nulll`, "undefined": `undefined`, "none": `None`,
		"nan": `NaN`, "nan-lower": `nan`, "infinity": `Infinity`, "minus-infinity": `-Infinity`, "two-joined": `truefalse`,
	} {
		refuseJSON(g, "literal-"+name, "J1", "true, false and null are the literals", text)
	}
	for name, text := range map[string]string{
		"leading-zero": `012`, "minus-leading-zero": `-012`, "two-zeros": `00`, "plus": `+1`, "minus-alone": `-`, "two-minus": `--1`, "no-integer": `.5`, "no-fraction": `1.`, "minus-point": `-.1`,
		"point-exponent": `1.e1`, "exponent-empty": `1e`, "exponent-sign-only": `1e+`, "exponent-twice": `1e1e1`, "exponent-fraction": `1e1.5`, "two-e": `1ee1`, "hex": `0x1f`, "octal": `0o17`, "binary": `0b1`,
		"underscore": `1_000`, "space-inside": `1 000`, "comma-decimal": `1,5`, "full-width": `１`, "suffix": `1f`, "big-suffix": `1n`, "two-points": `1.2.3`, "minus-space": `- 1`,
	} {
		refuseJSON(g, "number-"+name, "J1", "a number has one syntax", text)
	}
	for name, text := range map[string]string{
		"open": `"a`, "open-empty": `"`, "single-quotes": `'a'`, "escape-x": `"\x41"`, "escape-short": `"\u12"`, "escape-not-hex": `"\u12g4"`, "escape-upper-u": `"\U0041"`, "escape-a": `"\a"`, "escape-zero": `"\0"`,
		"escape-quote": `"\'"`, "escape-newline": "\"\\\n\"", "escape-at-end": `"\"`, "newline": "\"\n\"", "tab": "\"\t\"", "nul": "\"\x00\"", "unit-separator": "\"\x1f\"", "unquoted": `a`, "backtick": "`a`", "escape-emoji": `"\😀"`,
	} {
		refuseJSON(g, "string-"+name, "J1", "a string has one syntax; control characters are escaped", text)
	}
	for name, text := range map[string]string{
		"high-alone": `"\ud800"`, "high-then-letter": `"\ud800A"`, "high-then-high": `"\ud800\ud800"`, "low-alone": `"\udc00"`, "swapped": `"\udc00\ud800"`, "high-then-escape": `"\ud800\n"`, "in-name": `{"\ud800":1}`,
	} {
		refuseJSON(g, "surrogate-"+name, "J5", "half a surrogate pair is no character", text)
	}
	for name, text := range map[string]string{
		"ff": "\"\xff\"", "continuation-alone": "\"\x80\"", "overlong-2": "\"\xc0\x80\"", "overlong-3": "\"\xe0\x80\x80\"", "overlong-4": "\"\xf0\x80\x80\x80\"", "surrogate": "\"\xed\xa0\x80\"",
		"beyond-unicode": "\"\xf4\x90\x80\x80\"", "five-bytes": "\"\xf8\x88\x80\x80\x80\"", "cut-2": "\"\xc3\"", "cut-3": "\"\xe2\x82\"", "latin-1": "\"K\xf8benhavn\"", "utf-16-mark": "\xfe\xff\x00\x22",
	} {
		refuseJSON(g, "utf8-"+name, "J5", "valid UTF-8", text)
	}
	for name, text := range map[string]string{
		"no-break-space": "\u00a01", "line-separator": "\u20281", "byte-order-mark": "\ufeff1", "vertical-tab": "\v1", "form-feed": "\f1", "next-line": "\u00851", "nul": "\x001", "ideographic": "\u30001",
	} {
		refuseJSON(g, "space-"+name, "J1", "white space is space, tab, line feed, carriage return", text)
	}
	for name, text := range map[string]string{
		"same": `{"a":1,"a":1}`, "other-value": `{"a":1,"a":2}`, "escaped": `{"a":1,"\u0061":2}`, "empty": `{"":1,"":2}`, "deep": `{"a":{"b":1,"b":2}}`, "in-array": `[[{"a":1,"a":2}]]`,
		"far-apart": `{"a":1,"b":{"c":[1,2,3]},"d":null,"a":1}`, "null": `{"a":null,"a":1}`, "pair": `{"\ud83d\ude00":1,"😀":2}`, "proto": `{"__proto__":1,"__proto__":2}`,
	} {
		refuseJSON(g, "name-twice-"+name, "J2", "no member name twice, compared after unescaping", text)
	}
	for _, c := range takenJSON() {
		text := `{"x":` + c.text + `}`
		g.put("json/"+c.name, documentVec(c.spec, c.comment, text).canonical(`{"x":`+c.canonical+`}`))
	}
}

func refuseJSON(g *generator, name, spec, comment, value string) {
	text := `{"x":` + value + `}`
	v := documentVec(spec, comment, text).refused("")
	if !utf8.ValidString(text) {
		v.v.InputText = nil
		v.bytes([]byte(text))
	}
	g.put("json/refuse-"+name, v)
}

func jsonStructure() map[string]string {
	return map[string]string{
		"nothing": ``, "comma": `,`, "array-open": `[`, "array-close": `]`, "object-open": `{`, "object-close": `}`, "array-cut": `[1`, "array-cut-comma": `[1,`, "array-trailing-comma": `[1,]`, "array-leading-comma": `[,1]`,
		"array-two-commas": `[1,,2]`, "array-no-comma": `[1 2]`, "array-colon": `[1:2]`, "array-semicolon": `[1;2]`, "brackets-mixed": `[}`, "brackets-crossed": `{"a":[1}]`, "object-no-value": `{"a"}`, "object-colon-only": `{"a":}`,
		"object-comma-for-colon": `{"a",1}`, "object-trailing-comma": `{"a":1,}`, "object-leading-comma": `{,"a":1}`, "object-no-comma": `{"a":1 "b":2}`, "object-two-colons": `{"a"::1}`, "object-equals": `{"a"=1}`,
		"name-unquoted": `{a:1}`, "name-number": `{1:1}`, "name-null": `{null:1}`, "name-single-quotes": `{'a':1}`, "name-array": `{[]:1}`, "comment-line": "1//x\n", "comment-block": `/**/1`, "comment-hash": "#x\n1",
		"array-closed-twice": `[1]]`, "object-closed-twice": `{"a":1}}`, "two-values": `1 2`, "angle-brackets": `<null>`, "parentheses": `(1)`, "star": `*`, "deep-open": strings.Repeat("[", 40),
	}
}

func takenJSON() []documentCase {
	return []documentCase{
		{"null", "J1", "a literal", `null`, `null`}, {"true", "J1", "a literal", `true`, `true`}, {"false", "J1", "a literal", `false`, `false`},
		{"array-empty", "J1", "white space anywhere between tokens", ` [ ] `, `[]`}, {"object-empty", "J1", "white space anywhere between tokens", "\t{\r\n}\n", `{}`}, {"string-empty", "J1", "an empty string", `""`, `""`},
		{"array-nested", "J1", "arrays in arrays", `[[[]]]`, `[[[]]]`}, {"array-mixed", "J1", "values of all kinds", `[null,1,"1",{},[],true]`, `[null,1,"1",{},[],true]`},
		{"number-minus", "J1", "a number", `-1`, `-1`}, {"number-fraction-zero", "J1", "a number", `0.0`, `0`}, {"number-exponent-zero", "J1", "a number", `1e0`, `1`}, {"number-exponent-plus", "J1", "a number", `1E+2`, `100`},
		{"number-exponent-minus", "J1", "a number", `1e-2`, `0.01`}, {"number-exponent-leading-zero", "J1", "an exponent may begin with zeros", `1e0002`, `100`}, {"number-minus-fraction", "J1", "a number", `-1.5e1`, `-15`},
		{"string-quote", "J1", "an escape", `"\""`, `"\""`}, {"string-backslash", "J1", "an escape", `"\\"`, `"\\"`}, {"string-solidus", "J1", "an escape that RFC 8785 does not write", `"\/"`, `"/"`},
		{"string-short-escapes", "J1", "escapes", `"\b\f\n\r\t"`, `"\b\f\n\r\t"`}, {"string-escaped-letter", "J1", "an escape that RFC 8785 does not write", `"\u0041"`, `"A"`}, {"string-escaped-newline", "J1", "RFC 8785 writes the short form", `"\u000a"`, `"\n"`},
		{"string-escaped-nul", "J1", "U+0000 is a character", `"\u0000"`, `"\u0000"`}, {"string-pair", "J5", "an escaped surrogate pair", `"\uD83D\uDE00"`, `"😀"`}, {"string-noncharacter", "J5", "U+FFFF is no character and may stand there", `"\uFFFF"`, "\"\uffff\""},
		{"string-inner-mark", "J4", "a byte order mark inside a string is a character", `"\uFEFF"`, "\"\ufeff\""}, {"string-separator-and-del", "J8", "U+2028 and DEL stand as they are", "\"\u2028\x7f\"", "\"\u2028\x7f\""},
		{"string-looks-like-comment", "J1", "text", `"/**/ // #"`, `"/**/ // #"`}, {"string-looks-like-json", "J1", "text", `"[{,:"`, `"[{,:"`}, {"string-backslash-u-text", "J1", "an escaped backslash and four letters", `"\\u0041"`, `"\\u0041"`},
		{"name-empty", "J2", "the empty name is a name", `{"":0}`, `{"":0}`}, {"name-order", "J8", "sorted", `{"b":1,"a":2}`, `{"a":2,"b":1}`}, {"name-again-deeper", "J2", "the same name in another object", `{"a":{"a":{"a":1}}}`, `{"a":{"a":{"a":1}}}`},
		{"name-case", "J3", "two names", `{"a":1,"A":2}`, `{"A":2,"a":1}`}, {"name-nul", "J2", "a name", `{"\u0000":1}`, `{"\u0000":1}`}, {"name-proto", "J2", "a name like any other, also in JavaScript", `{"__proto__":{"x":1},"constructor":2}`, `{"__proto__":{"x":1},"constructor":2}`},
		{"name-number", "J8", "names that look like numbers are sorted as text", `{"10":1,"9":2,"1":3}`, `{"1":3,"10":1,"9":2}`},
	}
}
