package oauth

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/node"
)

// A Config says how tokens for a node are made and judged. Node is required, and
// TokenEndpoint where there is no Outside.
type Config struct {
	Node *node.Node
	// TokenEndpoint is the https URL at which peers reach our token endpoint, as the
	// metadata name it.
	TokenEndpoint string
	// Lifetime is how long an access token of ours is good; 0 means 5 min, and 10 min
	// is the most.
	Lifetime time.Duration
	// Outside is the authorization server that issues tokens in our place; nil: we do.
	Outside *Outside
}

// A Server is the authorization server that a node is for its peers, and the check of
// their tokens. It is safe for concurrent use.
type Server struct {
	node     *node.Node
	endpoint string
	lifetime time.Duration
	outside  *Outside
	seen     verified
}

// NewServer makes a server. A lifetime over the limit and an endpoint that is no https URL
// are errors: neither would show before the first peer is refused.
func NewServer(cfg Config) (*Server, error) {
	s := &Server{node: cfg.Node, endpoint: cfg.TokenEndpoint, lifetime: cfg.Lifetime, outside: cfg.Outside}
	if s.lifetime == 0 {
		s.lifetime = defaultLifetime
	}
	if s.lifetime < 30*time.Second || s.lifetime > maxLifetime {
		return nil, fmt.Errorf("access tokens live from 30s to %s, not %s", maxLifetime, s.lifetime)
	}
	if s.outside != nil {
		return s, nil
	}
	u, err := url.Parse(s.endpoint)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return nil, errors.New("the token endpoint is not an https URL")
	}
	return s, nil
}

// Issues reports whether the node itself issues tokens: whether it has a token endpoint
// and metadata.
func (s *Server) Issues() bool { return s.outside == nil }

// Metadata describes us as an authorization server (RFC 8414; the same document serves
// those who look where OpenID Connect puts it).
type Metadata struct {
	Issuer        string   `json:"issuer"`
	TokenEndpoint string   `json:"token_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	Grants        []string `json:"grant_types_supported"`
	Responses     []string `json:"response_types_supported"` // none: there is no authorization endpoint
	Subjects      []string `json:"subject_types_supported"`
	Auth          []string `json:"token_endpoint_auth_methods_supported"`
	AuthAlgs      []string `json:"token_endpoint_auth_signing_alg_values_supported"`
	Scopes        []string `json:"scopes_supported"`
	Bound         bool     `json:"tls_client_certificate_bound_access_tokens"`
}

// Metadata is our description.
func (s *Server) Metadata() Metadata {
	jwks, _ := url.Parse(s.endpoint) // parsed before
	jwks.Path = "/.well-known/jwks.json"
	return Metadata{Issuer: Issuer(s.node.Self()), TokenEndpoint: s.endpoint, JWKS: jwks.String(), Grants: []string{grantType},
		Responses: []string{}, Subjects: []string{"public"}, Auth: []string{"private_key_jwt"},
		AuthAlgs: []string{string(identity.ES256), string(identity.PS256)}, Scopes: scopes, Bound: true}
}

// A Grant is the answer to a good request of a token (RFC 6749, section 5.1).
type Grant struct {
	Token   string `json:"access_token"`
	Type    string `json:"token_type"`
	Expires int64  `json:"expires_in"` // seconds
	Scope   string `json:"scope"`
}

func badRequest(code, detail string) *Refusal {
	return refuse(node.Malformed, "malformed", code, detail)
}

func badClient(detail string, args ...any) *Refusal {
	return refuse(node.Unauthorized, node.TextClientInvalid, "invalid_client", fmt.Sprintf(detail, args...))
}

// Grant judges a request at the token endpoint and makes a token. peer is the platform on
// the TLS connection and leaf its certificate; form is the body of the request, and
// nothing else of the request may hold a parameter.
func (s *Server) Grant(ctx context.Context, peer *identity.Platform, leaf *x509.Certificate, form string) (*Grant, error) {
	p, refusal := parameters(form)
	if refusal != nil {
		return nil, refusal
	}
	wanted, ok := scopeOf(p["scope"])
	if !ok {
		return nil, badRequest("invalid_scope", "the scopes here are "+strings.Join(scopes, " and "))
	}
	if err := s.authenticate(ctx, peer, p); err != nil {
		return nil, err
	}
	now := s.node.Now()
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	scope := strings.Join(wanted, " ")
	token, err := s.node.SignToken(envelope.TypAccess, map[string]any{
		"iss": Issuer(s.node.Self()), "aud": Audience(s.node.Self()), "sub": ClientID(peer), "client_id": ClientID(peer),
		"iat": now.Unix(), "exp": now.Add(s.lifetime).Unix(), "jti": base64.RawURLEncoding.EncodeToString(id[:]),
		"scope": scope, "cnf": map[string]string{"x5t#S256": Thumbprint(leaf)}})
	if err != nil {
		return nil, err
	}
	return &Grant{token, "Bearer", int64(s.lifetime / time.Second), scope}, nil
}

// parameters reads the form: each parameter once, and none that would be another way of
// proving who the client is.
func parameters(form string) (map[string]string, *Refusal) {
	values, err := url.ParseQuery(form)
	if err != nil {
		return nil, badRequest("invalid_request", "the body is not a form")
	}
	p := map[string]string{}
	for name, list := range values {
		if len(list) != 1 {
			return nil, badRequest("invalid_request", "a parameter occurs twice")
		}
		p[name] = list[0]
	}
	switch {
	case p["grant_type"] == "":
		return nil, badRequest("invalid_request", "grant_type is missing")
	case p["grant_type"] != grantType:
		return nil, badRequest("unsupported_grant_type", "the one grant_type here is "+grantType)
	case has(p, "client_secret"): // also an empty one: that is how a client without a secret sends it
		return nil, badRequest("invalid_request", "there is one way for a client to prove itself here, client_assertion; client_secret is another")
	case p["client_assertion"] == "":
		return nil, badClient("client_assertion is missing: a JWT signed with the key of the client's trust entry")
	case p["client_assertion_type"] != assertionType:
		return nil, badRequest("invalid_request", "client_assertion_type is not "+assertionType)
	}
	return p, nil
}

func has(p map[string]string, name string) bool {
	_, there := p[name]
	return there
}

// authenticate believes an assertion or says why not (RFC 7523, section 3, as FAPI 2.0
// narrows it).
func (s *Server) authenticate(ctx context.Context, peer *identity.Platform, p map[string]string) error {
	client := ClientID(peer)
	j, err := envelope.ParseJWT(p["client_assertion"])
	if err != nil {
		return badClient("the assertion is not a compact JWT in its one spelling: %s", node.AsError(err).Detail)
	}
	if a := j.Header.Alg; a != identity.ES256 && a != identity.PS256 {
		return badClient("the assertion is signed with %s; ES256 and PS256 are taken", a)
	}
	switch j.Header.Typ {
	case "", "JWT", envelope.TypAssertion:
	default:
		return badClient("the assertion's typ is that of something else")
	}
	// RFC 7523 leaves kid to the parties, and FAPI 2.0 says nothing of it: with one key there
	// is nothing to name. With several each would be tried in turn, and one that its owner
	// meant for something else would do; so the assertion says which.
	now := s.node.Now()
	if j.Header.Kid == "" && !oneKey(peer, now) {
		return badClient("the assertion's header has no kid, the name of the key in the client's trust entry, and the client has not exactly one valid key")
	}
	if err := s.node.Believe(ctx, peer, j.JWS); err != nil {
		if e, ok := errors.AsType[*node.Error](err); ok {
			return e // it could not be told now
		}
		if sig, ok := errors.AsType[*envelope.SignatureError](err); ok {
			return badClient("the assertion's signature: %s", sig.Detail)
		}
		return err
	}
	c := j.Claims
	switch {
	case c.Issuer != client || c.Subject != client:
		return badClient("iss and sub of the assertion are not both the client id of the platform on this connection, %s", client)
	case p["client_id"] != "" && p["client_id"] != client:
		return badClient("client_id is not the client of the assertion")
	}
	if r := timely(c, now, maxAssertion); r != "" {
		return badClient("%s", r)
	}
	quirk, refusal := s.addressed(peer, c, now)
	if refusal != nil {
		return refusal
	}
	// The hash of what is signed, not of the whole: an ECDSA signature has a twin.
	id := "assertion " + j.SigningInput()
	if c.ID != "" {
		id = "jti " + c.ID
	} else if !quirk {
		return badClient("the assertion has no jti, so it could be used twice")
	}
	if len(c.ID) > maxID {
		return badClient("the assertion's jti has more than %d bytes", maxID)
	}
	fresh, err := s.node.Spend(ctx, "client "+peer.Domain.String(), id, c.Expires.Add(skew))
	if err != nil {
		return err
	}
	if !fresh {
		return badClient("this assertion was used before; make a new one, with a jti of its own, for each request")
	}
	return nil
}

// oneKey reports whether there is one key that a new signature of p may be under. In the
// mode ca any key may be that p's authorities certify.
func oneKey(p *identity.Platform, now time.Time) bool {
	n := 0
	for _, k := range p.Keys {
		if k.Revoked.IsZero() && k.ValidAt(now) {
			n++
		}
	}
	return n == 1 && p.Mode != identity.ModeCA
}

// timely checks exp, nbf and iat against our clock. It gives what is wrong, or "".
func timely(c envelope.Claims, now time.Time, most time.Duration) string {
	switch {
	case c.Expires.IsZero():
		return "exp is missing"
	case now.After(c.Expires.Add(skew)):
		return "it has expired"
	case tooFar(c.Expires, now, most):
		return fmt.Sprintf("exp is more than %s away", most)
	case c.NotBefore.After(now.Add(skew)):
		return "nbf lies ahead of our clock"
	case c.IssuedAt.After(now.Add(skew)):
		return "iat lies ahead of our clock"
	}
	return ""
}

// tooFar reports whether an end lies further away than it may, by our clock.
func tooFar(end, now time.Time, most time.Duration) bool {
	return end.After(envelope.UpToSecond(now).Add(most))
}

// addressed checks aud: our issuer as one string. An assertion for several, or for an
// address that a stranger's metadata may name, can be shown to us by whoever got it. quirk
// says that the peer is one whose assertions are addressed to the token endpoint.
func (s *Server) addressed(peer *identity.Platform, c envelope.Claims, now time.Time) (quirk bool, _ *Refusal) {
	issuer := Issuer(s.node.Self())
	one := c.OneAudience && len(c.Audience) == 1
	switch {
	case one && c.Audience[0] == issuer:
		return false, nil
	case !one:
		return false, badClient("aud is not one string; it must be %s", issuer)
	case c.Audience[0] != s.endpoint:
		return false, badClient("aud is not this issuer; it must be %s", issuer)
	case peer.Quirks.AssertionAudience != identity.AudienceTokenEndpoint:
		missing := "; and it has no jti, which is needed"
		if c.ID != "" {
			missing = ""
		}
		return false, badClient("aud is the token endpoint, %s; it must be the issuer, %s, as one string%s", s.endpoint, issuer, missing)
	case tooFar(c.Expires, now, maxQuirk):
		return false, badClient("exp is more than %s away, which is too much for an assertion to the token endpoint", maxQuirk)
	}
	return true, nil
}
