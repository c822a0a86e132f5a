// Package oauth is access tokens between platforms: the authorization server that a node
// is for its peers ([Server]), the check of a token that a peer shows, and the getting of
// tokens from a peer's authorization server ([Source]).
//
// A token proves nothing that the TLS connection does not prove already; it is asked for
// because others' rules demand it, and so that a peer's right to use the API can be
// limited in time and scope. The profile is FAPI 2.0 for machines: client credentials, a
// private_key_jwt assertion (RFC 7523), tokens bound to the client's certificate (RFC
// 8705). Clients are the peers and nobody else, their client keys are the signing keys of
// their trust entries, so onboarding needs nothing more.
//
// Tokens and assertions are verified by the strict reader of package envelope. None is
// ever part of an error or of a line of the log.
package oauth

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"eblnode/identity"
	"eblnode/node"
)

// The scopes: what a token is good for.
const (
	ScopeTransfer = "ebl.transfer" // PUT of a transferblock
	ScopeVerdict  = "ebl.verdict"  // GET of a carrier's verdict
)

// scopes are all that there are, in the order in which they are written.
var scopes = []string{ScopeTransfer, ScopeVerdict}

// The texts that RFC 7523 fixes.
const (
	grantType     = "client_credentials"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
)

const (
	// skew is how far ahead of ours a clock may be that says when something was made, and how
	// long after its end it is still taken. FAPI 2.0: 10 s are taken, 60 not. It is not
	// added to how far away an end may be: those limits are on our clock.
	skew = 10 * time.Second
	// maxAssertion is how far away an assertion's end may be.
	maxAssertion = 5 * time.Minute
	// maxQuirk is the same where its replay is stopped by its hash alone.
	maxQuirk = time.Minute
	// maxLifetime is the longest life of an access token.
	maxLifetime = 10 * time.Minute
	// defaultLifetime is the life that ours have.
	defaultLifetime = 5 * time.Minute
	// maxID is the longest jti, in bytes.
	maxID = 255
)

// Issuer is the name of p as an authorization server: that of its trust entry, else its
// domain as an https URL. It is what an assertion for p is addressed to, whatever p's
// metadata say.
func Issuer(p *identity.Platform) string {
	if p.OAuth.Issuer != "" {
		return p.OAuth.Issuer
	}
	return "https://" + p.Domain.String()
}

// Audience is whom a token for p is meant for: p's name as a resource.
func Audience(p *identity.Platform) string {
	if p.OAuth.Audience != "" {
		return p.OAuth.Audience
	}
	return "https://" + p.Domain.String()
}

// ClientID is the name of p as a client: that of its trust entry, else its domain.
func ClientID(p *identity.Platform) string {
	if p.OAuth.ClientID != "" {
		return p.OAuth.ClientID
	}
	return p.Domain.String()
}

// Thumbprint is the confirmation of RFC 8705, section 3.1: base64url of the SHA-256 of the
// certificate.
func Thumbprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// A Refusal is a no in the words of RFC 6749 and RFC 6750, beside ours.
type Refusal struct {
	Err *node.Error
	// OAuth is the error code of the RFCs; "" where there was no token at all.
	OAuth string
	// Scope is what was needed, for insufficient_scope.
	Scope string
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap gives the refusal in our words.
func (r *Refusal) Unwrap() error { return r.Err }

// Description is why, as error_description: what RFC 6749 and RFC 6750 let stand there, and
// so fit for a header. A refusal may quote the name of a key, which a client chose.
func (r *Refusal) Description() string { return quotable(r.Err.Detail) }

// Challenge is the value of WWW-Authenticate that goes with the refusal.
func (r *Refusal) Challenge() string {
	if r.OAuth == "" {
		return "Bearer"
	}
	s := `Bearer error="` + r.OAuth + `", error_description="` + r.Description() + `"`
	if r.Scope != "" {
		s += `, scope="` + r.Scope + `"`
	}
	return s
}

// quotable leaves in a text what may stand in a quoted string of these RFCs, and so in a
// header: no quote, no backslash, no line end.
func quotable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '\''
		}
		return r
	}, s)
}

func refuse(code node.Code, text, oauth, detail string) *Refusal {
	return &Refusal{Err: &node.Error{Code: code, Text: text, Detail: detail, Entry: -1, Transaction: -1}, OAuth: oauth}
}

// scopeOf reads a scope parameter: nothing means all.
func scopeOf(s string) ([]string, bool) {
	if s == "" {
		return scopes, true
	}
	var list []string
	for _, word := range strings.Split(s, " ") {
		if !slices.Contains(scopes, word) {
			return nil, false
		}
		if !slices.Contains(list, word) {
			list = append(list, word)
		}
	}
	return list, true
}
