package envelope

import (
	"bytes"
	"sync"

	"eblnode/internal/ascii"

	"github.com/go-json-experiment/json/jsontext"
)

// Most of a block is signatures: strings of a thousand plain characters, which the library
// looks at one by one. This file leaves them out of what the library is shown. It decides
// nothing but that a string is plain.

const (
	leanFrom = 16 << 10 // bytes of a text; in a shorter one there is too little to win
	leanRoom = 64 << 10 // bytes of what is left; where it is more, the library reads the text itself
	longText = 128      // characters of a string that is left out
)

var leanRooms = sync.Pool{New: func() any { return new([leanRoom]byte) }}

// isJSON is the library's IsValid.
func isJSON(text []byte, opts ...jsontext.Options) bool {
	if len(text) >= leanFrom {
		room := leanRooms.Get().(*[leanRoom]byte)
		defer leanRooms.Put(room)
		if short, fits := lean(room[:0], text, longText); fits {
			text = short
		}
	}
	return jsontext.Value(text).IsValid(opts...)
}

// lean appends text without what stands in its strings of long characters and more, if that
// fits into dst. What comes is JSON exactly if text is, with the same names in the same
// objects: a string is left out only if each of its characters may stand in any string, no
// name is (a colon follows each name, and nothing else in JSON), and all between strings
// stays, so that up to the first error both are the same tokens, and there the same bytes.
func lean(dst, text []byte, long int) (short []byte, fits bool) {
	from, i := 0, 0 // text[:from] is done
	for {
		quote := bytes.IndexByte(text[i:], '"')
		if quote < 0 {
			break
		}
		start := i + quote + 1
		i = afterString(text, start)
		if i-1-start < long || text[i-1] != '"' || !isPlain(text[start:i-1]) || nextIs(':', text[i:]) {
			continue
		}
		if start-from > cap(dst)-len(dst) {
			return nil, false
		}
		dst = append(dst, text[from:start]...)
		from = i - 1
	}
	if len(text)-from > cap(dst)-len(dst) {
		return nil, false
	}
	return append(dst, text[from:]...), true
}

// afterString is behind the quote that ends the string whose first character is at i, or the
// end of the text. It may run on anything.
func afterString(text []byte, i int) int {
	end := bytes.IndexByte(text[i:], '"')
	if end < 0 {
		return len(text)
	}
	escape := bytes.IndexByte(text[i:i+end], '\\')
	if escape < 0 {
		return i + end + 1
	}
	for i += escape; i < len(text) && text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return min(i+1, len(text))
}

// isPlain says that a string holds nothing but ASCII that needs no escape.
func isPlain(s []byte) bool { return ascii.Plain(s, 0) == len(s) }

// nextIs says that c comes next, after white space.
func nextIs(c byte, text []byte) bool {
	for _, b := range text {
		switch b {
		case ' ', '\t', '\r', '\n':
			continue
		}
		return b == c
	}
	return false
}
