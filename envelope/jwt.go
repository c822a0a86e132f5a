package envelope

import (
	"fmt"
	"strings"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

// The typ of the tokens that we sign. They are signed with the key that signs envelopes,
// so each kind must be unlike every other statement of ours.
const (
	// TypAssertion is a client's proof of who it is, to an authorization server (RFC 7523
	// and its revision, which named the typ).
	TypAssertion = "client-authentication+jwt"
	// TypAccess is an access token (RFC 9068).
	TypAccess = "at+jwt"
)

// MaxJWT is the longest token that is read, in bytes. In ca mode an assertion brings the
// certificates between its key and an anchor, and each RSA certificate of those makes it three
// kilobytes longer: it is base64 within base64.
const MaxJWT = 24 << 10

// A JWT is a JSON Web Token in the one spelling that [ParseJWS] takes, and *not yet
// verified*: nothing in it is true before Verify says whose it is.
type JWT struct {
	JWS
	Claims Claims
}

// Claims are the claims that we read; others are ignored. A zero value is an absent claim.
type Claims struct {
	Issuer, Subject, ID string   // iss, sub, jti
	Audience            []string // aud
	// OneAudience says that aud was a single string and not a list. A list, even of one,
	// lets a token be meant for several, and is refused where only one can be meant.
	OneAudience                  bool
	Expires, NotBefore, IssuedAt time.Time // exp, nbf, iat
	Scope                        []string  // scope: words of a string, or a list as some issuers write it
	ClientID                     string    // client_id
	Certificate                  string    // cnf, x5t#S256: base64url of the SHA-256 of the certificate it is bound to (RFC 8705)
	OnBehalfOf, UserID           string    // obo, uid: the customer and its person for whom a system acts
}

// ParseJWT reads a compact JWT: all rules of [ParseJWS], at most [MaxJWT] bytes, and a
// payload that is a strict JSON object whose known claims have their types. The error is
// a *FormatError. An encrypted token, a list of signatures or an unsigned one has no form
// that gets here.
func ParseJWT(s string) (JWT, error) {
	if len(s) > MaxJWT {
		return JWT{}, malformed("size", "$", "the token has %d bytes, more than %d", len(s), MaxJWT)
	}
	j, err := parseJWS(s)
	if err != nil {
		return JWT{}, err
	}
	c, err := parseClaims(j.Payload)
	if err != nil {
		return JWT{}, err.under("$.payload")
	}
	return JWT{j, c}, nil
}

// SigningInput is what the signature covers. It names a token for a list of those seen,
// where the text of the whole does not: an ECDSA signature has a twin as good as itself.
func (j JWS) SigningInput() string { return j.Raw[:j.signed] }

func parseClaims(data []byte) (Claims, *FormatError) {
	var w struct {
		Iss      *string        `json:"iss"`
		Sub      *string        `json:"sub"`
		Jti      *string        `json:"jti"`
		Aud      jsontext.Value `json:"aud"`
		Exp      jsontext.Value `json:"exp"`
		Nbf      jsontext.Value `json:"nbf"`
		Iat      jsontext.Value `json:"iat"`
		Scope    jsontext.Value `json:"scope"`
		ClientID *string        `json:"client_id"`
		Cnf      struct {
			Certificate *string `json:"x5t#S256"`
		} `json:"cnf"`
		Obo *string `json:"obo"`
		UID *string `json:"uid"`
	}
	if len(data) == 0 || data[0] != '{' {
		return Claims{}, malformed("type", "$", "the claims are not a JSON object")
	}
	if err := decode(data, &w, 8); err != nil {
		return Claims{}, err
	}
	c := Claims{Issuer: deref(w.Iss), Subject: deref(w.Sub), ID: deref(w.Jti), ClientID: deref(w.ClientID),
		Certificate: deref(w.Cnf.Certificate), OnBehalfOf: deref(w.Obo), UserID: deref(w.UID)}
	for _, d := range []struct {
		name string
		from jsontext.Value
		to   *time.Time
	}{{"exp", w.Exp, &c.Expires}, {"nbf", w.Nbf, &c.NotBefore}, {"iat", w.Iat, &c.IssuedAt}} {
		if err := numericDate(d.from, d.to); err != nil {
			return Claims{}, malformed("time", "$."+d.name, "not a number of seconds since 1970")
		}
	}
	var err *FormatError
	if c.Audience, c.OneAudience, err = oneOrMore(w.Aud); err != nil {
		return Claims{}, err.under("$.aud")
	}
	words, one, err := oneOrMore(w.Scope)
	if err != nil {
		return Claims{}, err.under("$.scope")
	}
	if c.Scope = words; one {
		c.Scope = strings.Fields(words[0])
	}
	return c, nil
}

// numericDate reads a NumericDate (RFC 7519, section 2): seconds, perhaps with a
// fraction, which is cut off.
func numericDate(v jsontext.Value, to *time.Time) error {
	if len(v) == 0 || v.Kind() == 'n' {
		return nil
	}
	var seconds float64
	if err := decode(v, &seconds, 1); err != nil {
		return err
	}
	if seconds < 1 || seconds >= 1<<40 {
		return fmt.Errorf("out of range")
	}
	*to = time.Unix(int64(seconds), 0).UTC()
	return nil
}

// UpToSecond is t, or the next full second. A NumericDate is cut to seconds, so a limit on
// how far away one lies is counted from here: else a token for exactly as long as it may be
// would be refused now and then, when two clocks differ by a moment.
func UpToSecond(t time.Time) time.Time {
	if s := t.Truncate(time.Second); !s.Equal(t) {
		return s.Add(time.Second)
	}
	return t
}

// oneOrMore reads a string or a list of strings.
func oneOrMore(v jsontext.Value) (list []string, one bool, err *FormatError) {
	switch {
	case len(v) == 0 || v.Kind() == 'n':
		return nil, false, nil
	case v.Kind() == '"':
		var s string
		err := reread(v, &s)
		return []string{s}, true, err
	}
	err = reread(v, &list)
	return list, false, err
}

// SignJWT signs claims as a token of that typ. What it says of time is the caller's: no
// iat is added. An access token brings no certificates: who reads it is who signed it, and it
// has to fit into the header of each request.
func SignJWT(typ string, claims map[string]any, s *identity.Signer) (string, error) {
	payload, err := canonicalOf(claims)
	if err != nil {
		return "", err
	}
	if typ == TypAccess && s.Key.Certificates != nil {
		bare, key := *s, *s.Key
		key.Certificates, bare.Key = nil, &key
		s = &bare
	}
	return sign(payload, s, typ, time.Time{})
}
