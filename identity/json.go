package identity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds the nesting of a trust file; the root is 1.
const maxDepth = 32

// readJSON reads one JSON text strictly. encoding/json alone would fold the case
// of names, keep the last of two equal ones and mend broken Unicode: with each
// of these a file says one thing to the person who read it and another to us.
// Values are map[string]any, []any, string, json.Number, bool; a member that is
// null counts as absent.
func readJSON(data []byte) (any, error) {
	if !utf8.Valid(data) {
		return nil, errors.New("not valid UTF-8")
	}
	// A Decoder is laxer about structure than Valid, and reads a stream.
	if !json.Valid(data) {
		if err := json.Unmarshal(data, new(any)); err != nil {
			return nil, fmt.Errorf("not valid JSON: %w", err)
		}
		return nil, errors.New("not valid JSON")
	}
	if loneSurrogate(data) {
		return nil, errors.New("a \\u escape is half of a surrogate pair")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	return readValue(d, "", 1)
}

func readValue(d *json.Decoder, path string, depth int) (any, error) {
	tok, err := d.Token()
	if err != nil {
		return nil, at(path, err)
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth > maxDepth {
		return nil, at(path, fmt.Errorf("nested deeper than %d", maxDepth))
	}
	if delim == '[' {
		list := []any{}
		for d.More() {
			v, err := readValue(d, element(path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := d.Token()
		return list, err
	}
	members := map[string]any{}
	for d.More() {
		tok, err := d.Token()
		if err != nil {
			return nil, at(path, err)
		}
		name := tok.(string) // Valid: a name is a string
		if _, twice := members[name]; twice {
			return nil, at(path, fmt.Errorf("the member %q stands twice", clip(name)))
		}
		if members[name], err = readValue(d, member(path, name), depth+1); err != nil {
			return nil, err
		}
	}
	for name, v := range members {
		if v == nil {
			delete(members, name)
		}
	}
	_, err = d.Token()
	return members, err
}

// loneSurrogate looks at the escapes of a valid JSON text.
func loneSurrogate(data []byte) bool {
	unit := func(i int) uint64 {
		if i+6 > len(data) || data[i] != '\\' || data[i+1] != 'u' {
			return 0
		}
		n, _ := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
		return n
	}
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		switch u := unit(i); {
		case u >= 0xdc00 && u <= 0xdfff:
			return true
		case u >= 0xd800 && u <= 0xdbff:
			if low := unit(i + 6); low < 0xdc00 || low > 0xdfff {
				return true
			}
			i += 11
		default:
			i++ // the escaped character; it may be a backslash
		}
	}
	return false
}

func element(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func member(path, name string) string {
	if path == "" {
		return clip(name)
	}
	return path + "." + clip(name)
}

func at(path string, err error) error {
	if path == "" {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// An object reads the members of a JSON object by type. The first thing wrong
// stays in *err, shared by an object and those read from it, and what is read
// after it is zero; so the reader asks once, at the end.
type object struct {
	path    string
	members map[string]any
	err     *error
}

func newObject(path string, v any, err *error) *object {
	o := &object{path: path, err: err}
	var ok bool
	if o.members, ok = v.(map[string]any); !ok {
		o.failAt(path, errors.New("not an object"))
	}
	return o
}

func (o *object) failed() bool { return *o.err != nil }

func (o *object) fail(name string, err error) { o.failAt(member(o.path, name), err) }

func (o *object) failAt(path string, err error) {
	if *o.err == nil && err != nil {
		*o.err = at(path, err)
	}
}

func (o *object) has(name string) bool {
	_, ok := o.members[name]
	return ok
}

// only refuses members of other names: a misspelt "revoked" must not pass for a
// key in good standing.
func (o *object) only(names ...string) {
	known := make(map[string]bool, len(names))
	for _, n := range names {
		known[n] = true
	}
	first := "" // the least, so that the error is the same each time
	for n := range o.members {
		if !known[n] && (first == "" || n < first) {
			first = n
		}
	}
	if first != "" || o.has("") {
		o.failAt(o.path, fmt.Errorf("unknown member %q", clip(first)))
	}
}

func (o *object) text(name string) string {
	v, ok := o.members[name]
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		o.fail(name, errors.New("not a string"))
	} else if s == "" {
		// Absent and empty would be told apart by some readers only.
		o.fail(name, errors.New("empty; leave the member out"))
	}
	return s
}

func (o *object) flag(name string) bool {
	v, ok := o.members[name]
	if !ok {
		return false
	}
	b, ok := v.(bool)
	if !ok {
		o.fail(name, errors.New("not true or false"))
	}
	return b
}

func (o *object) list(name string) []any {
	v, ok := o.members[name]
	if !ok {
		return nil
	}
	l, ok := v.([]any)
	if !ok {
		o.fail(name, errors.New("not an array"))
	}
	return l
}

// texts reads an array of strings, none empty, none twice.
func (o *object) texts(name string) []string {
	var out []string
	seen := map[string]bool{}
	for i, v := range o.list(name) {
		s, ok := v.(string)
		switch {
		case !ok:
			o.fail(element(name, i), errors.New("not a string"))
		case s == "":
			o.fail(element(name, i), errors.New("empty"))
		case seen[s]:
			o.fail(element(name, i), errors.New("stands in the list twice"))
		}
		seen[s] = true
		out = append(out, s)
	}
	return out
}

// object reads a member that is an object; an absent one has no members.
func (o *object) object(name string) *object {
	v, ok := o.members[name]
	if !ok {
		v = map[string]any(nil)
	}
	return newObject(member(o.path, name), v, o.err)
}
