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
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || r == utf8.RuneError
}

// Plain is s with control, direction and invisible characters written as \uXXXX.
func Plain(s string) string {
	if strings.IndexFunc(s, hidden) < 0 {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, "\\u{%x}", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// PlainJSON escapes the same characters in JSON text, in JSON's own way: what is read
// from it is the text as it was.
func PlainJSON(text []byte) []byte {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r == '\n' || !hidden(r):
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, "\\u%04x\\u%04x", 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return []byte(b.String())
}
