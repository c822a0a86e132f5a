package envelope

import (
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

// A JWS is a compact JWS with its payload attached, in the one spelling we
// accept, and *not yet verified*: [JWS.Verify] says whose it is.
//
// JOSE libraries read several spellings of one JWS (padding, the other base64
// alphabet, line ends, stray bits in the last character), and a second spelling
// has the same signature and another hash: a second chain entry out of nothing.
// So the text is parsed here, strictly, and no library sees it before.
type JWS struct {
	Raw     string // as received
	Header  Header
	Payload []byte // decoded; do not modify

	signed    int // Raw[:signed] is what the signature covers
	signature []byte
	sums      *sums // nil where it was not parsed
}

// sums are what is asked of a JWS again and again.
type sums struct {
	payload Hash // of Payload
	signed  Hash // of Raw[:signed]
	// by is a key that made the signature; nil: none was found yet. Of that key it is not
	// computed again: a file's evidence is gone through before its chain.
	by atomic.Pointer[identity.Key]
}

func (j *JWS) payloadHash() Hash {
	if j.sums != nil {
		return j.sums.payload
	}
	return HashOf(j.Payload)
}

// A Header is what we read of a JWS header. Members not listed are ignored.
type Header struct {
	Alg  identity.Alg
	Kid  string // "" if none
	Typ  string // "" if none
	X5C  []string
	IsAt time.Time // iat; zero if none
}

// ParseJWS reads a compact JWS: strict base64url, strict JSON in the header, an
// algorithm of the closed list, none of crit, b64, zip, jwk, jku, x5u. The error is
// a *FormatError. The payload is not looked at.
func ParseJWS(s string) (JWS, error) {
	j, err := parseJWS(s)
	if err != nil {
		return JWS{}, err
	}
	return j, nil
}

func parseJWS(s string) (JWS, *FormatError) {
	head, rest, ok := strings.Cut(s, ".")
	body, sig, ok2 := strings.Cut(rest, ".")
	switch {
	case !ok || !ok2 || strings.Contains(sig, "."):
		return JWS{}, malformed("jws", "$", "not a compact JWS: it has not three parts")
	case body == "":
		return JWS{}, malformed("jws", "$", "the JWS has no payload; a detached JWS is not taken")
	case sig == "":
		return JWS{}, malformed("jws", "$", "the JWS has no signature")
	}
	if len(head) > maxHeaderRead {
		return JWS{}, &FormatError{Rule: "limit", Path: "$.header", Limit: "header", Detail: fmt.Sprintf("the JWS header has more than %d characters", maxHeaderRead)}
	}
	j := JWS{Raw: s, signed: len(head) + 1 + len(body)}
	var header []byte
	var err error
	if j.Header, ok = headers.get(head); !ok {
		if header, err = decodeBase64(head); err != nil {
			return JWS{}, malformed("jws", "$", "the JWS header is not canonical base64url: %s", err)
		}
	}
	if j.Payload, err = decodeBase64(body); err != nil {
		return JWS{}, malformed("jws", "$", "the JWS payload is not canonical base64url: %s", err)
	}
	if j.signature, err = decodeBase64(sig); err != nil {
		return JWS{}, malformed("jws", "$", "the JWS signature is not canonical base64url: %s", err)
	}
	if !ok {
		var ferr *FormatError
		if j.Header, ferr = parseHeader(header); ferr != nil {
			return JWS{}, ferr.under("$.header")
		}
		headers.put(head, j.Header)
	}
	j.sums = &sums{payload: HashOf(j.Payload), signed: hashOfText(s[:j.signed])}
	return j, nil
}

// maxHeaderRead bounds a header, in characters of base64: a chain of certificates has a tenth of
// it, and a list of empty ones costs twenty times its bytes.
const maxHeaderRead = 128 << 10

// headers are those seen last: a platform writes the same one under each of its keys, and
// the certificates in it are long.
var headers headerCache

type headerCache struct {
	mu sync.RWMutex
	m  map[string]Header
}

// What strangers can make us keep: so many headers of at most so many bytes.
const (
	maxHeaders    = 256
	maxHeaderText = 16 << 10
)

func (c *headerCache) get(head string) (Header, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h, ok := c.m[head]
	return h, ok
}

func (c *headerCache) put(head string, h Header) {
	if len(head) > maxHeaderText {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.m == nil || len(c.m) >= maxHeaders {
		c.m = map[string]Header{}
	}
	c.m[strings.Clone(head)] = h
}

// decodeBase64 reads base64url without padding in its one spelling. The decoder's
// strict mode refuses stray bits but skips line ends, hence the scan.
func decodeBase64(s string) ([]byte, error) {
	if strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0 {
		return nil, fmt.Errorf("it has a line end")
	}
	return base64.RawURLEncoding.Strict().DecodeString(s)
}

func parseHeader(data []byte) (Header, *FormatError) {
	var w struct {
		Alg  *string        `json:"alg"`
		Kid  *string        `json:"kid"`
		Typ  *string        `json:"typ"`
		Cty  *string        `json:"cty"`
		X5C  []*string      `json:"x5c"`
		X5T  *string        `json:"x5t#S256"`
		IAt  jsontext.Value `json:"iat"`
		Crit jsontext.Value `json:"crit"`
		B64  jsontext.Value `json:"b64"`
		Zip  jsontext.Value `json:"zip"`
		JWK  jsontext.Value `json:"jwk"`
		JKU  jsontext.Value `json:"jku"`
		X5U  jsontext.Value `json:"x5u"`
	}
	if err := decode(data, &w, MaxDepth); err != nil {
		return Header{}, err
	}
	// Each of these would let the message change how it is read, or bring its own key.
	for _, m := range []struct {
		name  string
		value jsontext.Value
	}{{"crit", w.Crit}, {"b64", w.B64}, {"zip", w.Zip}, {"jwk", w.JWK}, {"jku", w.JKU}, {"x5u", w.X5U}} {
		if m.value != nil {
			return Header{}, malformed("header", "$."+m.name, "this header member is not allowed")
		}
	}
	if w.Alg == nil {
		return Header{}, malformed("alg", "$.alg", "missing")
	}
	alg, err := identity.ParseAlg(*w.Alg)
	if err != nil {
		return Header{}, malformed("alg", "$.alg", "not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512")
	}
	h := Header{Alg: alg, Kid: deref(w.Kid), Typ: deref(w.Typ)}
	for i, c := range w.X5C {
		if c == nil {
			return Header{}, malformed("header", fmt.Sprintf("$.x5c[%d]", i), "null is not of the type that belongs here")
		}
		h.X5C = append(h.X5C, *c)
	}
	if w.Kid != nil && *w.Kid == "" {
		return Header{}, malformed("header", "$.kid", "empty")
	}
	if present(w.IAt) {
		if w.IAt.Kind() != '0' {
			return Header{}, malformed("header", "$.iat", "not a number of seconds")
		}
		// RFC 7519's NumericDate may have a fraction, and no limit; a time that no clock
		// shows counts as none.
		seconds, err := strconv.ParseFloat(string(trimJSON(w.IAt)), 64)
		if err == nil && seconds > 0 && seconds < 1<<40 {
			h.IsAt = time.Unix(int64(seconds), 0).UTC()
		}
	}
	return h, nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Verify finds the key of platform p that made the signature, at the time the
// signature claims to be from. The header's kid names the one key; without it every
// key that fits the algorithm is tried, [identity.MaxKeysTried] at most. The key
// comes from p, that is from our trust store; nothing in the message adds to it, except
// where p is trusted by its authorities: there x5c may bring a key, if it leads to them.
//
// existed says that we have proof that this very JWS existed before the key was
// reported stolen (our store held it); then a compromise does not count against it.
//
// The error is a *SignatureError: UnknownKey and KeyCompromised may pass with the
// same bytes after onboarding, BadSignature never does. Whether the key's certificate was
// revoked is for [CheckRevocation].
func (j JWS) Verify(p *identity.Platform, at time.Time, existed bool) (*identity.Key, error) {
	var known Known
	if existed {
		known.Since = time.Unix(0, 0)
	}
	return j.VerifyKnown(p, at, known)
}

// Known is what a verifier holds of a JWS beside its bytes. The zero Known is nothing.
type Known struct {
	// Key is the thumbprint of the key under which the verifier itself verified exactly
	// this JWS before: the signature is not computed again, the key's standing is. Never
	// taken from others.
	Key [32]byte
	// Since is when this very JWS is proved to have existed; zero without proof. What is
	// older than a theft of the key counts in spite of it.
	Since time.Time
	// Evidence is what was kept when the signature was believed; nil if nothing.
	Evidence *identity.Evidence
	// Judged says that the verifier itself judged the certificates' standing before and
	// keeps that: it is not judged again. Never taken from others.
	Judged bool
}

// VerifyKnown is Verify with what is known of the JWS. In a platform's ca mode the key
// returned holds the path that leads to the anchor.
func (j JWS) VerifyKnown(p *identity.Platform, at time.Time, known Known) (*identity.Key, error) {
	keys, err := j.candidates(p, known.Key)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if known.Key != [32]byte{} && k.Thumbprint() == known.Key || known.Key == [32]byte{} && j.verifies(k) {
			return j.certified(p, k, at, known)
		}
	}
	if known.Key != [32]byte{} {
		return nil, &SignatureError{Reason: UnknownKey, Part: "kid", Detail: fmt.Sprintf("the key that made this signature is no longer in the trust entry of %s", p.Domain)}
	}
	if j.Header.Kid != "" {
		return nil, badSignature("value", "the signature is not that of key %q of %s", j.Header.Kid, p.Domain)
	}
	return nil, &SignatureError{Reason: UnknownKey, Part: "noKid", Detail: fmt.Sprintf("no %s key that %s gave us made the signature, and the header names none", j.Header.Alg, p.Domain)}
}

// candidates are the keys that may have made the signature; with a thumbprint, those that
// may be the one.
func (j JWS) candidates(p *identity.Platform, thumbprint [32]byte) ([]*identity.Key, error) {
	unknown := func(part, format string, args ...any) error {
		return &SignatureError{Reason: UnknownKey, Part: part, Detail: fmt.Sprintf(format, args...)}
	}
	if thumbprint != [32]byte{} {
		keys := p.Keys
		if p.Mode == identity.ModeCA && len(j.Header.X5C) > 0 {
			if k, err := p.KeyFromX5C(j.Header.Kid, j.Header.X5C); err == nil {
				keys = append(slices.Clone(keys), k)
			}
		}
		return keys, nil
	}
	k, found := p.Key(j.Header.Kid)
	if !found && p.Mode == identity.ModeCA && len(j.Header.X5C) > 0 {
		var err error
		if k, err = p.KeyFromX5C(j.Header.Kid, j.Header.X5C); err != nil {
			return nil, badSignature("certificate", "the certificates of x5c: %s", err)
		}
		found = true
	}
	switch {
	case !found && j.Header.Kid != "":
		return nil, unknown("kid", "%s gave us no key with this kid", p.Domain)
	case !found:
		keys := p.KeysFor(j.Header.Alg)
		if len(keys) == 0 {
			return nil, unknown("noKid", "%s gave us no key for %s", p.Domain, j.Header.Alg)
		}
		return keys, nil
	case !k.Fits(j.Header.Alg):
		return nil, badSignature("algorithm", "alg %s does not fit the key that the header names", j.Header.Alg)
	}
	return []*identity.Key{k}, nil
}

// MostOfEvidence is how many certificates of [Known].Evidence may stand in a path beside those of the
// key and of x5c, the first ones: as many as x5c may have.
const MostOfEvidence = 10

// certified leads k to an anchor, where p is trusted by those, and judges its standing.
func (j JWS) certified(p *identity.Platform, k *identity.Key, at time.Time, known Known) (*identity.Key, error) {
	if p.Mode == identity.ModeCA {
		var more []*x509.Certificate
		if own, err := p.KeyFromX5C("", j.Header.X5C); err == nil {
			more = append(more, own.Certificates...)
		}
		if known.Evidence != nil {
			more = append(more, known.Evidence.Certificates[:min(len(known.Evidence.Certificates), MostOfEvidence)]...)
		}
		c, err := p.Certify(k, at, more)
		if errors.Is(err, identity.ErrNoAnchor) {
			return nil, &SignatureError{Reason: UnknownKey, Part: "anchor", Detail: err.Error()}
		}
		if err != nil {
			return nil, badSignature("certificate", "the certificate of the key is not believed for %s: %s", at.UTC().Format(time.RFC3339), err)
		}
		k = c
	}
	if err := standing(k, at, known.Since); err != nil {
		return nil, err
	}
	return k, nil
}

// standing judges the key for the time of the signature: its window, and what was
// reported of it since.
func standing(k *identity.Key, at, since time.Time) error {
	switch {
	case !k.ValidAt(at):
		return badSignature("window", "the key was not valid for signing at %s", at.UTC().Format(time.RFC3339))
	case k.Compromised() && (since.IsZero() || !since.Before(k.Revoked)):
		return &SignatureError{Reason: KeyCompromised, Detail: fmt.Sprintf("a key of %s was reported stolen; only what we held before counts", k.Platform)}
	}
	return CheckNotRevoked(k, at)
}

// CheckNotRevoked refuses k, by what its trust entry says, for a signature that is not shown
// to be older than at. What was stolen is for [JWS.VerifyKnown]. The error is a
// *SignatureError.
func CheckNotRevoked(k *identity.Key, at time.Time) error {
	if !k.Revoked.IsZero() && !k.Compromised() && !at.Before(k.Revoked) {
		return badSignature("revoked", "the key was revoked at %s, and the signature is not shown to be older", k.Revoked.UTC().Format(time.RFC3339))
	}
	return nil
}

// CheckRevocation judges, by ev, the standing of k (as VerifyKnown gave it) for a signature
// of the time at that is proved to have existed since then. The error is a *SignatureError.
func CheckRevocation(p *identity.Platform, k *identity.Key, at, since time.Time, ev identity.Evidence) error {
	err := p.CheckRevocation(k, at, since, ev)
	if err == nil {
		return nil
	}
	reason := BadSignature
	if r, ok := errors.AsType[*identity.RevocationError](err); ok {
		switch r.State {
		case identity.StateUnknown:
			reason = RevocationUnknown
		case identity.StateCompromised:
			reason = KeyCompromised
		}
	}
	part := ""
	if reason == BadSignature {
		part = "revoked"
	}
	return &SignatureError{Reason: reason, Part: part, Detail: err.Error(), Err: err}
}

// verifies is the standard library's verdict on the bytes, after the forms that it
// would let pass.
func (j JWS) verifies(k *identity.Key) bool {
	if j.sums == nil {
		return k.Verifies(j.Header.Alg, []byte(j.Raw[:j.signed]), j.signature)
	}
	if by := j.sums.by.Load(); by != nil && (by == k || by.Thumbprint() == k.Thumbprint()) {
		return k.Fits(j.Header.Alg)
	}
	var ok bool
	if j.Header.Alg.Hash() == crypto.SHA256 {
		ok = k.VerifiesDigest(j.Header.Alg, j.sums.signed[:], j.signature)
	} else {
		ok = k.Verifies(j.Header.Alg, []byte(j.Raw[:j.signed]), j.signature)
	}
	if ok {
		j.sums.by.Store(k)
	}
	return ok
}
