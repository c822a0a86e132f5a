package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lestrrat-go/jwx/v2/jwk"
)

// reasons are the CRLReason names of RFC 5280, section 5.3.1. removeFromCRL is
// missing: it takes a revocation back, and a key here that is not revoked says
// nothing at all.
var reasons = []string{"unspecified", ReasonKeyCompromise, "cACompromise", "affiliationChanged", "superseded",
	"cessationOfOperation", "certificateHold", "privilegeWithdrawn", "aACompromise"}

// privateMembers are those of RFC 7518 that hold a private or symmetric key.
// Whoever sends one has lost it, so the key is refused rather than cut to size.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k"}

// readKey reads one JWK of a trust entry. Members that RFC 7517 and we do not
// know are passed over.
func readKey(o *object, platform Host, bareAllowed bool) *Key {
	k := &Key{ID: o.text("kid"), Platform: platform}
	if err := checkKid(k.ID); err != nil {
		o.fail("kid", err)
	}
	readUse(o)
	k.Public = readPublic(o)
	if o.failed() {
		return k
	}
	if name := o.text("alg"); name != "" {
		a, err := ParseAlg(name)
		if err == nil && !k.Fits(a) {
			err = fmt.Errorf("%s does not fit the key", a)
		}
		if err != nil {
			o.fail("alg", err)
		}
		k.Alg = a
	}
	readStanding(o, k)
	if o.failed() {
		return k
	}
	if !o.has("x5c") {
		if !bareAllowed {
			o.fail("x5c", errors.New("missing; a key without certificate needs quirks.bareKey"))
		}
		return k
	}
	chain, err := readChain(o)
	if err == nil {
		err = k.certify(chain)
	}
	if err != nil {
		o.fail("x5c", err)
	}
	return k
}

func readUse(o *object) {
	if use := o.text("use"); use != "" && use != "sig" {
		o.fail("use", fmt.Errorf("%q, but the key must be for signatures", clip(use)))
	}
	if o.has("key_ops") && !slices.Contains(o.texts("key_ops"), "verify") {
		o.fail("key_ops", errors.New(`without "verify"`))
	}
}

// readPublic reads the key itself. jwx decodes it; what jwx lets pass (other
// spellings of base64, points off the curve, an exponent that only looks small
// once cut to 64 bits) is refused here.
func readPublic(o *object) crypto.PublicKey {
	for _, name := range privateMembers {
		if o.has(name) {
			o.fail(name, errors.New("a private or symmetric key; consider it lost and make a new one"))
			return nil
		}
	}
	var m keyMembers
	switch m.Kty = o.text("kty"); m.Kty {
	case "RSA":
		m.N, m.E = readBase64URL(o, "n"), readBase64URL(o, "e")
		if e, _ := base64.RawURLEncoding.DecodeString(m.E); new(big.Int).SetBytes(e).BitLen() > 31 {
			o.fail("e", breach(RuleExponent, "the RSA exponent is 2^31 or more"))
		}
	case "EC":
		m.Crv, m.X, m.Y = o.text("crv"), readBase64URL(o, "x"), readBase64URL(o, "y")
		if !slices.Contains([]string{"P-256", "P-384", "P-521"}, m.Crv) {
			o.fail("crv", breach(RuleKeyType, "the EC key is not on P-256, P-384 or P-521"))
		}
	default:
		o.fail("kty", breach(RuleKeyType, "the key type is %q, neither RSA nor EC", clip(m.Kty)))
	}
	if o.failed() {
		return nil
	}
	pub, err := decodePublic(m)
	if err == nil {
		err = checkPublic(pub)
	}
	if err != nil {
		o.failAt(o.path, err)
		return nil
	}
	if again, ok := jwkMembers(pub); ok && m.Kty == "EC" && again != m {
		o.failAt(o.path, errors.New("a coordinate has not the length that its curve demands"))
	}
	return pub
}

func decodePublic(m keyMembers) (crypto.PublicKey, error) {
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	parsed, err := jwk.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("not a JWK: %w", err)
	}
	var raw any
	if err := parsed.Raw(&raw); err != nil {
		return nil, fmt.Errorf("not a JWK: %w", err)
	}
	switch pub := raw.(type) {
	case *rsa.PublicKey:
		return pub, nil
	case *ecdsa.PublicKey:
		return pub, nil
	}
	return nil, errors.New("not a public key")
}

// readBase64URL returns the text of a required member in base64url, checked.
func readBase64URL(o *object, name string) string {
	s := o.text(name)
	if !o.has(name) {
		o.fail(name, errors.New("missing"))
		return ""
	}
	if _, err := decodeBase64(base64.RawURLEncoding, s); err != nil {
		o.fail(name, fmt.Errorf("not base64url: %w", err))
	}
	return s
}

// decodeBase64 takes one spelling only; the standard decoder skips line breaks
// and, unless told, stray bits at the end.
func decodeBase64(enc *base64.Encoding, s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errors.New("a line break")
	}
	return enc.Strict().DecodeString(s)
}

// readStanding reads the window and the revocation.
func readStanding(o *object, k *Key) {
	k.NotBefore, k.NotAfter = readTime(o, "notBefore"), readTime(o, "notAfter")
	if !k.NotAfter.IsZero() && k.NotAfter.Before(k.NotBefore) {
		o.fail("notAfter", errors.New("before notBefore"))
	}
	k.Revoked, k.Reason = readTime(o, "revoked"), o.text("reason")
	switch {
	case k.Reason == "":
	case k.Revoked.IsZero():
		o.fail("reason", errors.New(`a reason without "revoked"`))
	case !slices.Contains(reasons, k.Reason):
		o.fail("reason", fmt.Errorf("%q is not a reason of RFC 5280 for a revocation", clip(k.Reason)))
	}
}

// rfc3339 has one reading everywhere. time.Parse alone takes a comma before the fraction, an
// hour of one digit and an offset of a whole day.
var rfc3339 = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$`)

// ParseTime reads a time of RFC 3339 as every reader of it must; ok is false for anything else.
func ParseTime(s string) (t time.Time, ok bool) {
	t, err := time.Parse(time.RFC3339, s)
	return t, err == nil && rfc3339.MatchString(s)
}

func readTime(o *object, name string) time.Time {
	s := o.text(name)
	if s == "" {
		return time.Time{}
	}
	t, ok := ParseTime(s)
	t = t.UTC()
	// The zero time would read as "not given", and not every year can be written.
	if !ok || t.Year() < firstYear || t.Year() > 9999 {
		o.fail(name, fmt.Errorf("%q is not an RFC 3339 time since %d", clip(s), firstYear))
		return time.Time{}
	}
	return t
}

func readChain(o *object) ([]*x509.Certificate, error) {
	texts := o.texts("x5c")
	if len(texts) == 0 {
		return nil, errors.New("empty")
	}
	var chain []*x509.Certificate
	for i, s := range texts {
		der, err := decodeBase64(base64.StdEncoding, s)
		if err != nil {
			return nil, fmt.Errorf("certificate %d is not base64: %w", i, err)
		}
		c, err := parseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i, err)
		}
		chain = append(chain, c)
	}
	// RFC 7517, section 4.9: if both stand there they must agree.
	if sum := o.text("x5t#S256"); sum != "" {
		if want := sha256.Sum256(chain[0].Raw); sum != base64.RawURLEncoding.EncodeToString(want[:]) {
			return nil, errors.New("the certificate is not the one of x5t#S256")
		}
	}
	return chain, nil
}

// jwkText is a key as we write it.
type jwkText struct {
	Kid string `json:"kid,omitempty"`
	keyMembers
	Use       string   `json:"use"`
	Alg       Alg      `json:"alg,omitempty"`
	NotBefore string   `json:"notBefore,omitempty"`
	NotAfter  string   `json:"notAfter,omitempty"`
	X5c       [][]byte `json:"x5c,omitempty"` // encoding/json writes []byte as base64
	Revoked   string   `json:"revoked,omitempty"`
	Reason    string   `json:"reason,omitempty"`
}

// JWK is the key as a JSON Web Key with its certificates, as a JWK set that we publish
// shows it. The members of ours are in it, which others pass over: an old key is published
// as one, with the window in which it could sign, and a revoked one as revoked.
func (k *Key) JWK() ([]byte, error) {
	t, err := k.text()
	if err != nil {
		return nil, err
	}
	return json.Marshal(t)
}

func (k *Key) text() (jwkText, error) {
	m, ok := jwkMembers(k.Public)
	if !ok {
		return jwkText{}, fmt.Errorf("writing the key %q: neither RSA nor EC", k.ID)
	}
	t := jwkText{Kid: k.ID, keyMembers: m, Use: "sig", Alg: k.Alg, NotBefore: timeText(k.NotBefore),
		NotAfter: timeText(k.NotAfter), Revoked: timeText(k.Revoked), Reason: k.Reason}
	for _, c := range k.Certificates {
		t.X5c = append(t.X5c, c.Raw)
	}
	return t, nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}
