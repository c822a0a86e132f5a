package envelope

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
)

// A Hash is a SHA-256. On the wire it is 64 lower-case hex digits, in the
// database 32 bytes.
type Hash [sha256.Size]byte

// HashOf is the SHA-256 of b.
func HashOf(b []byte) Hash { return sha256.Sum256(b) }

// ParseHash reads the one spelling a hash has on the wire. Upper-case digits are
// refused: two spellings of one hash would be two texts under a signature.
func ParseHash(s string) (Hash, error) {
	var h Hash
	if len(s) != 2*len(h) {
		return Hash{}, errHash
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return Hash{}, errHash
		}
	}
	if _, err := hex.Decode(h[:], []byte(s)); err != nil {
		return Hash{}, errHash
	}
	return h, nil
}

var errHash = errors.New("a hash is 64 lower-case hex digits")

// String is the wire form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero value, which stands for "none".
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText is ParseHash.
func (h *Hash) UnmarshalText(b []byte) (err error) {
	*h, err = ParseHash(string(b))
	return err
}
