package main

// A documentCase is a document with its RFC 8785 text, written by hand.
type documentCase struct{ name, spec, comment, text, canonical string }

func documentVec(spec, comment, text string) *vec {
	return &vec{vector{Spec: spec, Comment: comment, Kind: "document", Expect: "accept", InputText: &text}}
}

func (v *vec) canonical(text string) *vec {
	v.v.Canonical = text
	v.v.State = &state{DocumentHash: sum(text)}
	return v
}

func (v *vec) refused(path string) *vec {
	v.v.Expect, v.v.Reason, v.v.Code, v.v.Path = "malformed", "malformed", 7001, path
	return v
}

func canonicalVectors(g *generator) {
	for _, c := range []documentCase{
		{"empty", "J8", "the smallest document", `{}`, `{}`},
		{"white-space", "J8", "insignificant white space of all four kinds goes", "{ \"b\" :\t1 ,\r\n\"a\": [ true , null ] }", `{"a":[true,null],"b":1}`},
		{"rfc-8785-example", "J8", "in the manner of RFC 8785, 3.2.2: numbers, escapes, literals",
			`{"numbers":[333333333.3333333,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`,
			`{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"utf-16-order", "J8", "names are sorted by UTF-16 code units: an emoji (D83D…) comes before U+FB33, which sorting by code point or UTF-8 gets wrong",
			`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`,
			`{"\r":"Carriage Return","1":"One","` + "\u0080" + `":"Control","ö":"Latin Small Letter O With Diaeresis","€":"Euro Sign","😀":"Emoji: Grinning Face","` + "\ufb33" + `":"Hebrew Letter Dalet With Dagesh"}`},
		{"prefix-order", "J8", "a name that begins another comes first; the empty name is first of all", `{"ab":1,"a":2,"":3,"B":4}`, `{"":3,"B":4,"a":2,"ab":1}`},
		{"nested-order", "J8", "sorting is recursive, also in objects in arrays; arrays keep their order", `{"z":[{"b":1,"a":2},3],"y":{"d":1,"c":{"f":1,"e":2}}}`, `{"y":{"c":{"e":2,"f":1},"d":1},"z":[{"a":2,"b":1},3]}`},
		{"escapes", "J8", "only what must be escaped is: short forms where they exist, \\u00xx in lower case; solidus, DEL and U+2028 stand as they are",
			`{"s":"\b\t\n\f\r\u0000\u001F\u007f\/\u2028<>&"}`, `{"s":"\b\t\n\f\r\u0000\u001f` + "\u007f/\u2028" + `<>&"}`},
		{"nfc", "J9", "no Unicode normalisation: composed", `{"name":"K\u00f8benhavn \u00e9"}`, `{"name":"København é"}`},
		{"nfd", "J9", "no Unicode normalisation: decomposed, another document with another hash", `{"name":"K\u00f8benhavn e\u0301"}`, "{\"name\":\"København e\u0301\"}"},
		{"nfc-and-nfd-names", "J9", "names that only normalisation makes equal are two names", `{"\u00e9":1,"e\u0301":2}`, "{\"e\u0301\":2,\"é\":1}"},
		{"astral", "J8", "an escaped surrogate pair is one character", `{"s":"\uD834\uDD1E"}`, `{"s":"𝄞"}`},
		{"names-differ-in-case", "J3", "names are compared exactly: two members", `{"isToOrder":true,"ISTOORDER":false}`, `{"ISTOORDER":false,"isToOrder":true}`},
	} {
		g.put("canonical/"+c.name, documentVec(c.spec, c.comment, c.text).canonical(c.canonical))
	}
	for _, c := range []documentCase{
		{"refuse-duplicate-name", "J2", "which of the two would be hashed?", `{"a":1,"a":1}`, "$.document.a"},
		{"refuse-duplicate-name-escaped", "J2", "equal after unescaping", `{"a":1,"\u0061":2}`, "$.document.a"},
		{"refuse-duplicate-name-deep", "J2", "at any depth", `{"a":[{"b":{"c":1,"c":2}}]}`, ""},
		{"refuse-lone-high-surrogate", "J5", "no character, and mended in many ways", `{"s":"\ud83d"}`, ""},
		{"refuse-lone-low-surrogate", "J5", "in a name", `{"\ude00":1}`, ""},
		{"refuse-swapped-surrogates", "J5", "low before high", `{"s":"\ude00\ud83d"}`, ""},
		{"refuse-array", "B1", "the document is an object", `[]`, "$.document"},
		{"refuse-string", "B1", "the document is an object, not a text with one inside", `"{}"`, "$.document"},
		{"refuse-null", "B1", "the document is required", `null`, "$.document"},
	} {
		g.put("canonical/"+c.name, documentVec(c.spec, c.comment, c.text).refused(c.canonical))
	}
}

func numberVectors(g *generator) {
	for _, c := range []struct{ name, comment, in, out string }{
		{"zero", "", "0", "0"},
		{"minus-zero", "RFC 8785 writes -0 as 0; the value is the same", "-0", "0"},
		{"minus-zero-fraction", "still zero", "-0.00E+5", "0"},
		{"zero-huge-exponent", "zero, whatever the exponent", "0e9999", "0"},
		{"one-point-zero", "the value is kept, the text is not", "1.0", "1"},
		{"exponent", "the value is kept, the text is not", "1E2", "100"},
		{"smallest", "the smallest double above zero", "5e-324", "5e-324"},
		{"largest", "the largest double", "1.7976931348623157e308", "1.7976931348623157e+308"},
		{"two-to-53", "the last of the exact integers", "9007199254740992", "9007199254740992"},
		{"two-to-53-minus-1", "", "-9007199254740991", "-9007199254740991"},
		{"two-to-68-rounded", "2^68 as RFC 8785 writes it", "295147905179352830000", "295147905179352830000"},
		{"just-below-1e21", "the last without exponent", "999999999999999900000", "999999999999999900000"},
		{"1e21", "the first with exponent", "1000000000000000000000", "1e+21"},
		{"1e-6", "the last without exponent", "0.000001", "0.000001"},
		{"1e-7", "the first with exponent", "0.0000001", "1e-7"},
		{"shortest-of-two", "the shortest text that reads back", "333333333.3333333", "333333333.3333333"},
		{"point-one", "0.1 is no double, but its shortest text is 0.1", "0.1", "0.1"},
		{"weight", "a weight with trailing zeros", "13000.300", "13000.3"},
	} {
		comment := c.comment
		if comment == "" {
			comment = c.in
		}
		g.put("canonical/number-"+c.name, documentVec("J7", comment, `{"n":`+c.in+`}`).canonical(`{"n":`+c.out+`}`).flags("number"))
	}
	for _, c := range []struct{ name, comment, in string }{
		{"20-digits", "RFC 8785 would write 12345678901234567000: two documents, one hash", "12345678901234567890"},
		{"two-to-53-plus-1", "the first integer that is no double", "9007199254740993"},
		{"two-to-68", "a double, but its RFC 8785 text is another number", "295147905179352825856"},
		{"17-digits", "RFC 8785 writes 333333333.3333333", "333333333.33333329"},
		{"overflow", "beyond every double", "1e400"},
		{"minus-overflow", "beyond every double", "-1e400"},
		{"underflow", "would become 0", "1e-400"},
		{"below-smallest", "would become 5e-324", "4e-324"},
		{"long-fraction", "would lose its last digit", "0.1000000000000000055511151231257827"},
		{"one-and-a-bit", "would become 1", "1.00000000000000000001"},
	} {
		g.put("canonical/refuse-number-"+c.name, documentVec("J7", c.comment, `{"n":`+c.in+`}`).refused("$.document").flags("number"))
	}
	g.put("canonical/refuse-number-deep", documentVec("J7", "at any depth", `{"a":[{"b":[1,2,9007199254740993]}]}`).refused("$.document").flags("number"))
	g.put("canonical/number-in-string", documentVec("J7", "a string is no number", `{"n":"9007199254740993 1e400"}`).canonical(`{"n":"9007199254740993 1e400"}`).flags("number"))
	for _, c := range []struct{ name, in string }{
		{"leading-zero", "01"}, {"plus", "+1"}, {"no-integer", ".5"}, {"no-fraction", "1."}, {"hex", "0x10"}, {"nan", "NaN"}, {"infinity", "-Infinity"}, {"no-exponent", "1e"},
	} {
		g.put("canonical/refuse-syntax-"+c.name, documentVec("J1", "no number of JSON", `{"n":`+c.in+`}`).refused("").flags("number"))
	}
}
