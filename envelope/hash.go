package envelope

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"unsafe"
)

// A Hash is a SHA-256. On the wire it is 64 lower-case hex digits, in the
// database 32 bytes.
type Hash [sha256.Size]byte

// HashOf is the SHA-256 of b.
func HashOf(b []byte) Hash { return sha256.Sum256(b) }

// hashOfText is HashOf for a string, of which the conversion would make a copy: of each
// signature that is checked, and of all of a large one. Sum256 only reads.
func hashOfText(s string) Hash {
	return sha256.Sum256(unsafe.Slice(unsafe.StringData(s), len(s)))
}

// ParseHash reads the one spelling a hash has on the wire. Upper-case digits are
// refused: two spellings of one hash would be two texts under a signature.
func ParseHash(s string) (Hash, error) {
	h, ok := parseHash(s)
	if !ok {
		return Hash{}, errHash
	}
	return h, nil
}

func parseHash[T string | []byte](s T) (h Hash, ok bool) {
	if len(s) != 2*len(h) {
		return Hash{}, false
	}
	for i := range h {
		high, low := digits[s[2*i]], digits[s[2*i+1]]
		if high|low > 15 {
			return Hash{}, false
		}
		h[i] = high<<4 | low
	}
	return h, true
}

// digits are the values of the lower-case hex digits; 16 is none.
var digits = func() (d [256]byte) {
	for i := range d {
		d[i] = 16
	}
	for i, c := range []byte("0123456789abcdef") {
		d[c] = byte(i)
	}
	return d
}()

var errHash = errors.New("a hash is 64 lower-case hex digits")

// String is the wire form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero value, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// notZero refuses 64 zeros where a hash may be absent: to us they would be the same, to other
// readers not.
func notZero(h *Hash, path string) *FormatError {
	if h != nil && h.IsZero() {
		return malformed("hash", path, "64 zeros are the hash of nothing: leave it out")
	}
	return nil
}

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHash.
func (h *Hash) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHash(string(b))
	return err
}
