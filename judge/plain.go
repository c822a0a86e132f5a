package judge

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden are characters that draw nothing, or turn what stands beside them: a bill must
// not write its own verdict on the screen of whoever checks it.
func hidden(r rune) bool {
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// mostMarks is how many marks may stand on one letter: no writing piles up more, and a
// pile of hundreds is drawn over the lines above.
const mostMarks = 4

// escaped is s with what is hidden, but for keep, and marks beyond mostMarks written by escape.
func escaped(s string, keep rune, escape func(*strings.Builder, rune)) string {
	var b strings.Builder
	marks := 0
	for _, r := range s {
		marks++
		if !unicode.In(r, unicode.Mn, unicode.Me) {
			marks = 0
		}
		if r != keep && hidden(r) || marks > mostMarks {
			escape(&b, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Plain is s with control, direction and invisible characters, and marks piled on one letter,
// written as \uXXXX.
func Plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
		return s
	}
	return escaped(s, -1, func(b *strings.Builder, r rune) {
		if r > 0xffff {
			fmt.Fprintf(b, "\\u{%x}", r)
		} else {
			fmt.Fprintf(b, "\\u%04x", r)
		}
	})
}

// PlainJSON escapes the same characters in JSON text, in JSON's own way: what is read
// from it is the text as it was.
func PlainJSON(text []byte) []byte {
	return []byte(escaped(string(text), '\n', func(b *strings.Builder, r rune) {
		if r > 0xffff {
			r -= 0x10000
			fmt.Fprintf(b, "\\u%04x\\u%04x", 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		} else {
			fmt.Fprintf(b, "\\u%04x", r)
		}
	}))
}
