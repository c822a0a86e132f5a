package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 for Alg.Hash
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// An Alg is a JWS signature algorithm of the closed list of the wire document,
// section 3. There is no constant for "none", for HMAC or for EdDSA, so none of
// them can be asked for.
type Alg string

// The algorithms that we sign with and believe.
const (
	RS256 Alg = "RS256"
	RS384 Alg = "RS384"
	RS512 Alg = "RS512"
	PS256 Alg = "PS256"
	PS384 Alg = "PS384"
	PS512 Alg = "PS512"
	ES256 Alg = "ES256"
	ES384 Alg = "ES384"
	ES512 Alg = "ES512"
)

// ParseAlg reads the name of an algorithm, compared byte for byte ("rs256" and
// "None" are unknown). On an error the signature must not be looked at.
func ParseAlg(s string) (Alg, error) {
	a := Alg(s)
	if a.Hash() == 0 {
		return "", fmt.Errorf("the signature algorithm %q is not allowed", clip(s))
	}
	return a, nil
}

// Hash is the hash that a signs; 0 where a is not of the list.
func (a Alg) Hash() crypto.Hash {
	switch a {
	case RS256, PS256, ES256:
		return crypto.SHA256
	case RS384, PS384, ES384:
		return crypto.SHA384
	case RS512, PS512, ES512:
		return crypto.SHA512
	}
	return 0
}

// curve is what an ES algorithm demands (RFC 7518, section 3.4); nil for RSA.
func (a Alg) curve() elliptic.Curve {
	switch a {
	case ES256:
		return elliptic.P256()
	case ES384:
		return elliptic.P384()
	case ES512:
		return elliptic.P521()
	}
	return nil
}

// MaxKidLength is the longest "kid", in bytes.
const MaxKidLength = 256

// A Key is a public signing key of a platform, as it stands in the trust entry.
// It is shared between goroutines and must not be changed once in a [Trust].
type Key struct {
	// ID is the "kid"; empty only where the platform has a single key. Unique
	// within the platform.
	ID string
	// Platform is the domain of the trust entry that holds the key.
	Platform Host
	// Alg is the JWK's own "alg". Empty: any that fits type and curve.
	Alg Alg
	// Public is an *rsa.PublicKey or an *ecdsa.PublicKey.
	Public crypto.PublicKey
	// NotBefore and NotAfter bound when the key may sign, not when its signatures
	// may be checked; both are within it, zero is open. The certificate's own
	// validity has already been taken into account.
	NotBefore, NotAfter time.Time
	// Certificates is the "x5c", leaf first; nil for a bare key.
	Certificates []*x509.Certificate
	// Revoked is when the key lost its standing, zero if it did not; Reason is the
	// RFC 5280 name of the reason, empty if none was given.
	Revoked time.Time
	Reason  string
}

// ReasonKeyCompromise is the revocation reason after which a signature counts
// only if it can be shown to be older.
const ReasonKeyCompromise = "keyCompromise"

// NewKey makes the key of a certificate: chain is an x5c, leaf first, checked as
// one in a trust file, and the window is the leaf's. An empty id becomes
// [KeyID]. For a bare key, fill in a Key.
func NewKey(platform Host, id string, chain ...*x509.Certificate) (*Key, error) {
	if len(chain) == 0 {
		return nil, errors.New("making a key: no certificate")
	}
	k := &Key{ID: id, Platform: platform, Public: chain[0].PublicKey}
	if id == "" {
		k.ID = KeyID(k.Public)
	}
	if err := checkKid(k.ID); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	if err := k.certify(chain); err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	return k, nil
}

// Fits reports whether k may be used with a: type of key, curve, and the JWK's
// own alg where it has one (wire document, section 3).
func (k *Key) Fits(a Alg) bool {
	if k.Alg != "" && k.Alg != a {
		return false
	}
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		return a.Hash() != 0 && a.curve() == nil
	case *ecdsa.PublicKey:
		return a.curve() != nil && pub.Curve == a.curve()
	}
	return false
}

// ValidAt reports whether t lies in the window in which k may sign. It says
// nothing about revocation.
func (k *Key) ValidAt(t time.Time) bool {
	return (k.NotBefore.IsZero() || !t.Before(k.NotBefore)) && (k.NotAfter.IsZero() || !t.After(k.NotAfter))
}

// Compromised reports whether somebody else may hold the private key. Then the
// time that a signature claims for itself proves nothing.
func (k *Key) Compromised() bool { return k.Reason == ReasonKeyCompromise }

// Thumbprint is the SHA-256 thumbprint of RFC 7638. It depends on the key
// material alone, so the same key has the same one under every kid. A Public of
// another type than those named at [Key] has the zero thumbprint.
func (k *Key) Thumbprint() [32]byte {
	switch k.Public.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey:
	default:
		return [32]byte{} // might not be comparable
	}
	if sum, known := thumbprints.get(k.Public); known {
		return sum
	}
	sum, ok := thumbprint(k.Public)
	if ok {
		thumbprints.put(k.Public, sum)
	}
	return sum
}

// thumbprints are those of the keys in use, by their addresses: a public key is never
// changed in its place.
var thumbprints cache[crypto.PublicKey, [32]byte]

// Fingerprint is the thumbprint in the form of [Fingerprint].
func (k *Key) Fingerprint() string { return Fingerprint(k.Thumbprint()) }

// Fingerprint writes a SHA-256 for two people to compare by telephone: sixteen
// groups of four hexadecimal digits.
func Fingerprint(sum [32]byte) string {
	b := make([]byte, 0, 5*len(sum)/2)
	for i := 0; i < len(sum); i += 2 {
		if i > 0 {
			b = append(b, ' ')
		}
		b = hex.AppendEncode(b, sum[i:i+2])
	}
	return string(b)
}

// KeyID is the kid that we give a key when nobody chose one: its RFC 7638
// thumbprint in base64url. Empty for a key that is neither RSA nor EC.
func KeyID(pub crypto.PublicKey) string {
	sum, ok := thumbprint(pub)
	if !ok {
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// thumbprint hashes the required members in lexical order, without white space.
// Nothing in them needs escaping.
func thumbprint(pub crypto.PublicKey) ([32]byte, bool) {
	m, ok := jwkMembers(pub)
	if !ok {
		return [32]byte{}, false
	}
	text := `{"e":"` + m.E + `","kty":"RSA","n":"` + m.N + `"}`
	if m.Kty == "EC" {
		text = `{"crv":"` + m.Crv + `","kty":"EC","x":"` + m.X + `","y":"` + m.Y + `"}`
	}
	return sha256.Sum256([]byte(text)), true
}

// keyMembers are the members of a JWK that make the key.
type keyMembers struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
}

func jwkMembers(pub crypto.PublicKey) (keyMembers, bool) {
	b64 := base64.RawURLEncoding.EncodeToString
	switch pub := pub.(type) {
	case *rsa.PublicKey:
		if pub == nil || pub.N == nil {
			return keyMembers{}, false
		}
		return keyMembers{Kty: "RSA", N: b64(pub.N.Bytes()), E: b64(big.NewInt(int64(pub.E)).Bytes())}, true
	case *ecdsa.PublicKey:
		if pub == nil || pub.Curve == nil {
			return keyMembers{}, false
		}
		point, err := pub.Bytes() // 4, x, y, each coordinate in full length
		if err != nil {
			return keyMembers{}, false
		}
		size := len(point) / 2
		return keyMembers{Kty: "EC", Crv: pub.Curve.Params().Name, X: b64(point[1 : 1+size]), Y: b64(point[1+size:])}, true
	}
	return keyMembers{}, false
}

// samePublic compares key material, whatever the types.
func samePublic(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}

// checkKid allows what thumbprints, UUIDs, dates and mail addresses need. A kid
// is only ever compared, but it is also shown and logged.
func checkKid(s string) error {
	if len(s) > MaxKidLength {
		return fmt.Errorf("the kid has %d bytes, more than %d", len(s), MaxKidLength)
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 0x21 || s[i] > 0x7e {
			return fmt.Errorf("the kid has the byte %#02x; it may hold printable ASCII without spaces", s[i])
		}
	}
	return nil
}

// clip shortens a text that a stranger chose before it goes into an error.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
