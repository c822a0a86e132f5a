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
	return r == utf8.RuneError || r == blankBraille || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// blankBraille is a letter to Unicode, and nothing to who looks at it.
const blankBraille = '\u2800'

// mostMarks is how many marks may stand on one letter: no writing piles up more, and a
// pile of hundreds is drawn over the lines above.
const mostMarks = 4

// escaped is s with what is hidden, but for keep, and marks beyond mostMarks written by escape.
// Nearly all of it is ASCII that hides nothing, and is not looked up in tables.
func escaped[T string | []byte](s T, keep rune, escape func([]byte, rune) []byte) []byte {
	out := make([]byte, 0, len(s)+len(s)/8)
	marks := 0
	for i := 0; i < len(s); {
		start := i
		for i < len(s) && (' ' <= s[i] && s[i] <= '~' || rune(s[i]) == keep) {
			i++
		}
		if i > start {
			out, marks = append(out, s[start:i]...), 0
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		i += size
		marks++
		if !unicode.In(r, unicode.Mn, unicode.Me) {
			marks = 0
		}
		if hidden(r) || marks > mostMarks {
			out = escape(out, r)
		} else {
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// Plain is s with control, direction and invisible characters, and marks piled on one letter,
// written as \uXXXX.
func Plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0 {
		return s
	}
	return string(escaped(s, -1, func(b []byte, r rune) []byte {
		if r > 0xffff {
			return fmt.Appendf(b, "\\u{%x}", r)
		}
		return fmt.Appendf(b, "\\u%04x", r)
	}))
}

// PlainJSON escapes the same characters in JSON text, in JSON's own way: what is read
// from it is the text as it was.
func PlainJSON(text []byte) []byte {
	return escaped(text, '\n', func(b []byte, r rune) []byte {
		if r > 0xffff {
			r -= 0x10000
			return fmt.Appendf(b, "\\u%04x\\u%04x", 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
		return fmt.Appendf(b, "\\u%04x", r)
	})
}
