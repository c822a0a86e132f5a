package envelope

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// This file is for texts so large that what the library needs for them counts: it keeps
// each name of an object in a set, and makes a canonical form in memory, of up to 25 times
// the size of an unkind text. Here names are sorted where they stand, and the canonical form
// goes into a hash piece by piece. The library is what both are tested against.

// largeText is from which size on a text is read with little memory. Below it the library is
// as good, and quicker.
const largeText = 256 << 10

// A member is one of an object: where its name and its value stand in the text.
type member struct {
	name     []byte // without quotes; unescaped, where it was not plain
	from, to int
}

// A walker goes through one valid JSON text.
type walker struct {
	scanner
	starts  []int32  // where each object and array begins, in ascending order
	ends    []int32  // and behind which byte it ends
	members []member // of all objects that are open: a stack
	names   []byte   // of those members, which were escaped in the text
}

func newWalker(text []byte) *walker {
	return &walker{scanner: scanner{s: text, depth: len(text)}}
}

// mark notes where all objects and arrays end, so that pass need not go through them: else one
// that lies below sixty others would be read sixty times.
func (w *walker) mark() {
	var open []int32
	for i := 0; i < len(w.s); i++ {
		switch w.s[i] {
		case '"':
			w.i = i
			w.text()
			i = w.i - 1
		case '{', '[':
			open = append(open, int32(len(w.starts)))
			w.starts, w.ends = append(w.starts, int32(i)), append(w.ends, 0)
		case '}', ']':
			w.ends[open[len(open)-1]] = int32(i + 1)
			open = open[:len(open)-1]
		}
	}
	w.i = 0
}

// pass goes behind the value that begins here.
func (w *walker) pass() {
	if b := w.s[w.i]; b != '{' && b != '[' {
		w.skip(false)
		return
	}
	n, _ := slices.BinarySearch(w.starts, int32(w.i))
	w.i = int(w.ends[n])
}

// object puts the members of the object that begins here onto the stack, in order of their
// names; twice is where the value of one begins whose name another has, or 0. read must read
// the value that begins where it is called.
func (w *walker) object(read func(), order func(a, b []byte) int) (list []member, twice int) {
	base := len(w.members)
	w.each('}', func() {
		at := w.i
		raw, plain := w.text()
		m := member{name: raw}
		if !plain {
			m.name = w.unescaped(w.s[at:w.i])
		}
		w.next()
		w.i++ // the colon
		w.next()
		m.from = w.i
		read()
		m.to = w.i
		w.members = append(w.members, m)
	})
	list = w.members[base:]
	slices.SortFunc(list, func(a, b member) int { return cmp.Or(order(a.name, b.name), cmp.Compare(a.from, b.from)) })
	for i := 1; i < len(list); i++ {
		if bytes.Equal(list[i-1].name, list[i].name) {
			return list, list[i].from
		}
	}
	return list, 0
}

// unescaped puts a string's value behind those that are kept. What was put there before stays
// as it is, though names may move.
func (w *walker) unescaped(quoted []byte) []byte {
	start := len(w.names)
	names, err := jsontext.AppendUnquote(w.names, quoted)
	if err != nil {
		w.bad = true
	}
	w.names = names
	return names[start:len(names):len(names)]
}

// compareUTF16 is the order of RFC 8785, section 3.2.3: by UTF-16 code units, so that what
// needs two of them comes before U+E000.
func compareUTF16(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	if n == len(a) || n == len(b) {
		return cmp.Compare(len(a), len(b))
	}
	for n > 0 && !utf8.RuneStart(a[n]) {
		n--
	}
	x, _ := utf8.DecodeRune(a[n:])
	y, _ := utf8.DecodeRune(b[n:])
	return cmp.Or(cmp.Compare(firstUnit(x), firstUnit(y)), cmp.Compare(x, y)) // equal first units have a second
}

func firstUnit(r rune) rune {
	if hi, _ := utf16.EncodeRune(r); hi != utf8.RuneError {
		return hi
	}
	return r
}

// valid says whether a text is strict JSON without the second of two names.
func valid(text []byte) bool {
	if len(text) < largeText {
		return isJSON(text)
	}
	return isJSON(text, jsontext.AllowDuplicateNames(true)) && twice(text) == 0
}

// twice gives the place of a member whose name another of its object has, after unescaping;
// 0 if there is none. The text is valid JSON but for that.
func twice(text []byte) (at int) {
	w := newWalker(text)
	var value func()
	object := func() {
		base, names := len(w.members), len(w.names)
		_, found := w.object(value, bytes.Compare)
		w.members, w.names = w.members[:base], w.names[:names]
		if found > 0 && (at == 0 || found < at) {
			at = found
		}
	}
	value = func() {
		switch w.next() {
		case '{':
			object()
		case '[':
			w.elements(value)
		default:
			w.skip(false)
		}
	}
	value()
	return at
}

// A numberForm appends a number's text in some form; false if it has none.
type numberForm func(dst, text []byte) ([]byte, bool)

// writeCanonical writes the RFC 8785 form of valid JSON, but for its numbers, which are
// number's. False: one of them has no such form.
func writeCanonical(out io.Writer, text []byte, number numberForm) bool {
	w := &canonicalWriter{walker: newWalker(text), out: out, number: number, buf: make([]byte, 0, min(len(text)+64, flushFrom+1<<10))}
	w.mark()
	w.next()
	w.value()
	w.flush(true)
	return !w.bad
}

type canonicalWriter struct {
	*walker
	out    io.Writer
	number numberForm
	buf    []byte
}

// flushFrom is how many bytes are written at once.
const flushFrom = 16 << 10

func (w *canonicalWriter) flush(all bool) {
	if all || len(w.buf) > flushFrom {
		_, _ = w.out.Write(w.buf) // a hash, which never fails
		w.buf = w.buf[:0]
	}
}

// value writes the one that begins here.
func (w *canonicalWriter) value() {
	w.flush(false)
	switch start := w.i; w.s[start] {
	case '{':
		base, names := len(w.members), len(w.names)
		list, _ := w.object(w.pass, compareUTF16)
		end := w.i
		w.buf = append(w.buf, '{')
		for i := range list {
			m := w.members[base+i] // the stack may have moved
			if i > 0 {
				w.buf = append(w.buf, ',')
			}
			w.quoted(m.name)
			w.buf = append(w.buf, ':')
			w.i = m.from
			w.value()
		}
		w.buf = append(w.buf, '}')
		w.members, w.names, w.i = w.members[:base], w.names[:names], end
	case '[':
		w.buf = append(w.buf, '[')
		first := true
		w.elements(func() {
			if !first {
				w.buf = append(w.buf, ',')
			}
			first = false
			w.value()
		})
		w.buf = append(w.buf, ']')
	case '"':
		raw, plain := w.text()
		if !plain {
			names := len(w.names)
			raw = w.unescaped(w.s[start:w.i])
			w.names = w.names[:names]
		}
		w.quoted(raw)
	case 't', 'f', 'n':
		w.buf = append(w.buf, w.skip(false)...)
	default:
		var ok bool
		if w.buf, ok = w.number(w.buf, w.skip(false)); !ok {
			w.bad = true
		}
	}
}

func (w *canonicalWriter) quoted(text []byte) {
	if len(text) > flushFrom {
		w.flush(true)
	}
	quoted, err := jsontext.AppendQuote(w.buf, text)
	if err != nil {
		w.bad = true
	}
	w.buf = quoted
}

// canonicalNumberOf writes a number as ECMAScript does.
func canonicalNumberOf(dst, text []byte) ([]byte, bool) {
	if canonicalNumber(text) {
		return append(dst, text...), true
	}
	f, err := strconv.ParseFloat(string(text), 64)
	switch size := math.Abs(f); {
	case f == 0:
		return append(dst, '0'), err == nil
	case 1e-6 <= size && size < 1e21:
		return strconv.AppendFloat(dst, f, 'f', -1, 64), err == nil
	}
	start := len(dst)
	dst = strconv.AppendFloat(dst, f, 'e', -1, 64)
	if n := len(dst); n-start > 3 && dst[n-2] == '0' && (dst[n-3] == '-' || dst[n-3] == '+') { // e-07 is written e-7
		dst[n-2] = dst[n-1]
		dst = dst[:n-1]
	}
	return dst, err == nil
}

// exactNumber writes a number's decimal value, so that two spellings of one are the same. What
// has no exact value here stands for itself.
func exactNumber(dst, text []byte) ([]byte, bool) {
	digits, exp, ok := decimal(string(text))
	if !ok {
		return append(dst, text...), true
	}
	if digits == "" {
		return append(dst, '0'), true
	}
	return strconv.AppendInt(append(append(dst, digits...), 'e'), int64(exp), 10), true
}

// sumOf is the hash of what writeCanonical writes.
func sumOf(text []byte, number numberForm) (h Hash, ok bool) {
	sum := sha256.New()
	ok = writeCanonical(sum, text, number)
	sum.Sum(h[:0])
	return h, ok
}
