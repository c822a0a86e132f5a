package envelope

import (
	"bytes"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Canonicalize returns the RFC 8785 form of one JSON value: members sorted by
// their UTF-16 code units, numbers as ECMAScript writes them, no white space.
// The value must pass the strict rules of the package, and every number in it
// must keep its value; otherwise the error is a *FormatError. data is not changed.
func Canonicalize(data []byte) ([]byte, error) {
	var v jsontext.Value
	if err := decode(data, &v, MaxDepth); err != nil {
		return nil, err
	}
	if err := CheckNumbers(v); err != nil {
		return nil, err
	}
	return canonical(v)
}

// isCanonical reports whether valid JSON is certainly in RFC 8785 form already, as most
// documents are that come. It knows the plain cases: no white space, no escapes, names of
// ASCII in ascending order, numbers of few digits. Where it says no, nobody knows.
func isCanonical(v []byte) bool {
	c := newScanner(v, MaxDepth)
	return c.canonical() && c.i == len(v)
}

func (c *scanner) canonical() bool {
	switch b := c.s[c.i]; b {
	case '{':
		return c.canonicalObject(nil)
	case '[':
		if c.depth--; c.depth < 0 {
			return false
		}
		c.i++
		for first := true; ; first = false {
			if c.s[c.i] == ']' {
				c.i++
				c.depth++
				return true
			}
			if !first {
				if c.s[c.i] != ',' {
					return false
				}
				c.i++
			}
			if !c.canonical() {
				return false
			}
		}
	case '"':
		_, plain := c.text()
		return plain
	case 't', 'f', 'n':
		c.skip(false)
		return true
	default:
		if b != '-' && (b < '0' || b > '9') {
			return false // white space
		}
		start := c.i
		c.skip(false)
		return canonicalNumber(c.s[start:c.i])
	}
}

// canonicalObject tells member, unless nil, of each member of the object itself.
func (c *scanner) canonicalObject(member func(name, value []byte)) bool {
	if c.depth--; c.depth < 0 {
		return false
	}
	c.i++
	var last []byte
	for first := true; ; first = false {
		if c.s[c.i] == '}' {
			c.i++
			c.depth++
			return true
		}
		if !first {
			if c.s[c.i] != ',' {
				return false
			}
			c.i++
		}
		if c.s[c.i] != '"' {
			return false
		}
		name, plain := c.text()
		if !plain || !first && bytes.Compare(last, name) >= 0 {
			return false
		}
		for _, b := range name {
			if b >= utf8.RuneSelf { // UTF-16 sorts some of them otherwise
				return false
			}
		}
		last = name
		if c.s[c.i] != ':' {
			return false
		}
		c.i++
		start := c.i
		if !c.canonical() {
			return false
		}
		if member != nil {
			member(name, c.s[start:c.i])
		}
	}
}

// canonicalNumber takes whole numbers and decimals of at most 15 digits, from a millionth
// on: a double keeps all those digits, and ECMAScript writes no exponent.
func canonicalNumber(n []byte) bool {
	n, negative := bytes.CutPrefix(n, []byte("-"))
	if len(n) > 15 {
		return false
	}
	whole, fraction, decimal := bytes.Cut(n, []byte("."))
	for _, part := range [][]byte{whole, fraction} {
		for _, b := range part {
			if b < '0' || b > '9' {
				return false // an exponent
			}
		}
	}
	switch {
	case !decimal:
		return !negative || n[0] != '0' // -0 is written 0
	case fraction[len(fraction)-1] == '0':
		return false
	case bytes.Equal(whole, []byte("0")):
		return len(fraction)-len(bytes.TrimLeft(fraction, "0")) <= 5
	}
	return true
}

// canonical is Canonicalize for a value that was checked already.
func canonical(v []byte) ([]byte, error) {
	c := jsontext.Value(bytes.Clone(v))
	if err := c.Canonicalize(); err != nil {
		return nil, jsonError(err)
	}
	return c, nil
}
