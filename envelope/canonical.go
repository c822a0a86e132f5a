package envelope

import (
	"bytes"

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

// canonical is Canonicalize for a value that was checked already.
func canonical(v []byte) ([]byte, error) {
	c := jsontext.Value(bytes.Clone(v))
	if err := c.Canonicalize(); err != nil {
		return nil, jsonError(err)
	}
	return c, nil
}
