package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/node"
)

// Bearer reads the token of a request from the one place where it may be: a single
// Authorization header. "" where there is none; ok is false where there is one that is no
// bearer token, or several.
func Bearer(r *http.Request) (token string, ok bool) {
	values := r.Header.Values("Authorization")
	if len(values) == 0 {
		return "", true
	}
	scheme, token, found := strings.Cut(values[0], " ")
	if len(values) > 1 || !found || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}

// Check judges the token of a request: that it is one of the issuer that we believe, for
// us, of the platform on this connection, bound to the certificate of this connection, and
// good for scope. An error that is no *Refusal means that it could not be told.
func (s *Server) Check(ctx context.Context, token string, peer *identity.Platform, leaf *x509.Certificate, scope string) error {
	c, err := s.claims(ctx, token)
	if err != nil {
		return err
	}
	bad := func(detail string) error {
		return refuse(node.Unauthorized, node.TextTokenInvalid, "invalid_token", detail)
	}
	// None of this is remembered: trust entry, certificate and clock are those of now.
	now := s.node.Now()
	if r := timely(*c, now, maxTokenAge(s.outside)); r != "" {
		return bad("the access token is not good now: " + r)
	}
	if client := ClientID(peer); c.ClientID != client || c.Subject != client && s.outside == nil {
		return bad("the access token is not that of the platform on this connection")
	}
	if c.Certificate == "" && (s.outside == nil || !s.outside.cfg.Unbound) {
		return bad("the access token is not bound to a certificate")
	}
	if c.Certificate != "" && c.Certificate != Thumbprint(leaf) {
		return bad("the access token is bound to another certificate than that of this connection")
	}
	if s.outside != nil {
		scope = s.outside.cfg.Scope
	}
	for word := range strings.FieldsSeq(scope) {
		if !slices.Contains(c.Scope, word) {
			r := refuse(node.Forbidden, node.TextInsufficientScope, "insufficient_scope", "the access token is not good for this; ask for the scope "+word)
			r.Scope = scope
			return r
		}
	}
	return nil
}

// maxTokenAge is how far away the end of a token may be: ours lives so long; another's
// issuer decides for itself, within a day.
func maxTokenAge(o *Outside) time.Duration {
	if o != nil {
		return 24 * time.Hour
	}
	return maxLifetime
}

// claims verifies a token's signature, issuer and audience, unless that was done before
// under the same keys.
func (s *Server) claims(ctx context.Context, token string) (*envelope.Claims, error) {
	issuer, keys := Issuer(s.node.Self()), s.node.Self()
	sum := sha256.Sum256([]byte(token))
	if s.outside != nil {
		issuer, keys = s.outside.cfg.Issuer, s.outside.lastKeys()
	}
	now := s.node.Now()
	if c := s.seen.get(sum, keys); c != nil {
		return c, nil
	}
	bad := func(detail string) error {
		return refuse(node.Unauthorized, node.TextTokenInvalid, "invalid_token", detail)
	}
	j, err := envelope.ParseJWT(token)
	if err != nil {
		return nil, bad("the access token is not a compact JWT in its one spelling")
	}
	switch t := strings.ToLower(strings.TrimPrefix(j.Header.Typ, "application/")); {
	case t == envelope.TypAccess:
	case s.outside != nil && (t == "" || t == "jwt"): // issuers older than RFC 9068
	default:
		return nil, bad("this is not an access token")
	}
	if s.outside != nil {
		if keys, err = s.outside.keysFor(ctx, j.Header.Kid, now); err != nil {
			return nil, err
		}
	}
	if _, err := j.Verify(keys, now, false); err != nil {
		if _, ok := errors.AsType[*envelope.SignatureError](err); ok {
			return nil, bad("the access token is not signed by the issuer that is believed here")
		}
		return nil, err
	}
	c := &j.Claims
	if c.Issuer != issuer {
		return nil, bad("the access token is of another issuer")
	}
	if !slices.Contains(c.Audience, Audience(s.node.Self())) {
		return nil, bad("the access token is not for this platform")
	}
	if s.outside != nil && c.ClientID == "" {
		c.ClientID = c.Subject
	}
	s.seen.put(sum, keys, c)
	return c, nil
}

// verified remembers tokens whose signature was computed, so that a peer's token costs
// one signature and not one a request. It holds sums, no tokens.
type verified struct {
	mu sync.Mutex
	m  map[[sha256.Size]byte]seenToken
}

type seenToken struct {
	keys   *identity.Platform // under which: other keys, other verdict
	claims *envelope.Claims
}

// maxVerified bounds the memory; it is more than there are peers.
const maxVerified = 4096

func (v *verified) get(sum [sha256.Size]byte, keys *identity.Platform) *envelope.Claims {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, found := v.m[sum]
	if !found || keys == nil || t.keys != keys {
		return nil
	}
	return t.claims
}

func (v *verified) put(sum [sha256.Size]byte, keys *identity.Platform, c *envelope.Claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.m) >= maxVerified || v.m == nil {
		v.m = map[[sha256.Size]byte]seenToken{} // the next request of each computes again
	}
	v.m[sum] = seenToken{keys, c}
}
