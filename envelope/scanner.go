package envelope

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"
)

// A scanner stands somewhere in valid JSON.
type scanner struct {
	s     []byte
	i     int
	depth int // levels still allowed
	bad   bool
}

// next skips white space and gives the byte that begins what follows.
func (c *scanner) next() byte {
	for {
		switch b := c.s[c.i]; b {
		case ' ', '\t', '\r', '\n':
			c.i++
		default:
			return b
		}
	}
}

// text reads a string and gives what stands between the quotes. plain: it has no escape,
// so that is its value.
func (c *scanner) text() (raw []byte, plain bool) {
	start := c.i + 1
	i := start + bytes.IndexByte(c.s[start:], '"')
	if bytes.IndexByte(c.s[start:i], '\\') < 0 {
		c.i = i + 1
		return c.s[start:i], true
	}
	for i = start; c.s[i] != '"'; i++ {
		if c.s[i] == '\\' {
			i++
		}
	}
	c.i = i + 1
	return c.s[start:i], false
}

// value reads a string's value.
func (c *scanner) value() string {
	start := c.i
	raw, plain := c.text()
	if plain {
		return string(raw)
	}
	v, err := jsontext.AppendUnquote(nil, c.s[start:c.i])
	if err != nil {
		c.bad = true
	}
	return string(v)
}

// members calls f for each member of the object that begins here; f reads the value. A
// name with an escape ends the scan.
func (c *scanner) members(f func(name []byte)) {
	c.each('}', func() {
		name, plain := c.text()
		if !plain {
			c.bad = true
			return
		}
		c.next()
		c.i++ // the colon
		c.next()
		f(name)
	})
}

// elements calls f for each element of the array that begins here.
func (c *scanner) elements(f func()) { c.each(']', f) }

// each calls f at each part of the object or array that begins here and ends with end.
func (c *scanner) each(end byte, f func()) {
	c.i++
	if c.depth--; c.depth < 0 {
		c.bad = true
	}
	for !c.bad {
		switch c.next() {
		case end:
			c.i++
			c.depth++
			return
		case ',':
			c.i++
			continue
		}
		f()
	}
}

// skip passes over a value and gives it. numbers: each number in it must keep its value.
func (c *scanner) skip(numbers bool) []byte {
	start := c.i
	level := 0
	for !c.bad {
		switch b := c.s[c.i]; b {
		case '"':
			c.text()
		case '{', '[':
			if level++; level > c.depth {
				c.bad = true
			}
			c.i++
		case '}', ']':
			level--
			c.i++
		case ' ', '\t', '\r', '\n', ',', ':':
			c.i++
			continue
		default:
			from := c.i
			for c.i < len(c.s) && !ends[c.s[c.i]] {
				c.i++
			}
			if numbers && (b == '-' || '0' <= b && b <= '9') && !short(c.s[from:c.i]) && !keepsValue(string(c.s[from:c.i])) {
				c.bad = true
			}
		}
		if level == 0 {
			return c.s[start:c.i]
		}
	}
	return nil
}

// ends are the bytes that end a number or a word.
var ends = [256]bool{' ': true, '\t': true, '\r': true, '\n': true, ',': true, ':': true, '}': true, ']': true}

// short reports whether a number has so few digits, and no exponent, that a double always
// keeps its value: any decimal of 15 digits comes back from the nearest double.
func short(n []byte) bool {
	return len(n) <= 15 && bytes.IndexByte(n, 'e') < 0 && bytes.IndexByte(n, 'E') < 0
}

// word reads true, false or null.
func (c *scanner) word() byte {
	b := c.s[c.i]
	c.skip(false)
	return b
}

// optional reads a string that may be null; found is false then.
func (c *scanner) optional() (v string, found bool) {
	switch c.s[c.i] {
	case '"':
		return c.value(), true
	case 'n':
		c.word()
	default:
		c.bad = true
	}
	return "", false
}

// boolean reads true or false; nil is null.
func (c *scanner) boolean() *bool {
	var v bool
	switch c.s[c.i] {
	case 't':
		v = true
	case 'f':
	case 'n':
		c.word()
		return nil
	default:
		c.bad = true
		return nil
	}
	c.word()
	return &v
}

func newScanner(text []byte, depth int) *scanner {
	return &scanner{s: text, depth: depth}
}
