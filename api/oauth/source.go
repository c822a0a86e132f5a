package oauth

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"eblnode/envelope"
	"eblnode/identity"

	"github.com/go-json-experiment/json"
)

// A SourceConfig says where tokens for a peer come from. All members but Outside are
// required.
type SourceConfig struct {
	// Self is our own trust entry, and Peer that of the peer whom the tokens are for.
	Self, Peer *identity.Platform
	// Endpoint is where the peer takes transferblocks; its metadata are beside it.
	Endpoint *url.URL
	// Transport makes requests to the peer. It must prove that the server is the peer
	// before the first byte, and dial no address of our own network: the metadata choose
	// what it is asked to dial.
	Transport http.RoundTripper
	// Certificate is the one that the peer sees: tokens are bound to it.
	Certificate func() (*tls.Certificate, error)
	// Own is the first certificate of that chain, DER; a token that was got under another one is
	// not used any more. nil: Certificate is asked.
	Own func() []byte
	// Sign signs an assertion; see node.SignToken.
	Sign func(typ string, claims map[string]any) (string, error)
	// Outside is the shared authorization server, for peers whose entry names it.
	Outside *Outside
	// Trust are all platforms that there are beside the peer; nil: nobody else.
	Trust func() *identity.Trust
	// Log is told once when the peer wants tokens and does not say where to get them.
	Log *slog.Logger     // nil: nothing is logged
	Now func() time.Time // nil: time.Now
}

// A Source gets access tokens for one peer, keeps the newest and renews it before it ends.
// It is safe for concurrent use: many callers make one request.
type Source struct {
	cfg    SourceConfig
	shared *http.Transport // to the shared authorization server; nil: the peer has its own

	turn  chan struct{} // held by who asks for a token
	mu    sync.Mutex
	token string
	until time.Time
	bound []byte // the certificate that we showed when we asked for it
	meta  *Metadata
	found time.Time // when meta was read
	lost  bool      // it was said that there are none
}

// NewSource makes a source; it asks nobody before it is asked.
func NewSource(cfg SourceConfig) *Source {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Own == nil {
		cfg.Own = func() []byte {
			c, err := cfg.Certificate()
			if err != nil || len(c.Certificate) == 0 {
				return nil
			}
			return c.Certificate[0]
		}
	}
	s := &Source{cfg: cfg, turn: make(chan struct{}, 1)}
	if o := cfg.Outside; o != nil && o.cfg.Issuer == Issuer(cfg.Peer) {
		s.shared = o.showing(cfg.Certificate)
	}
	return s
}

const (
	// renewBefore is how long before its end a token is not used any more: a request
	// takes its time.
	renewBefore = 30 * time.Second
	// metadataAge is how long metadata are believed.
	metadataAge = 10 * time.Minute
)

// Token is an access token for the peer that is good for some time. The error never holds
// a token or an assertion.
func (s *Source) Token(ctx context.Context) (string, error) {
	if t := s.kept(); t != "" {
		return t, nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return "", ctx.Err()
	}
	if t := s.kept(); t != "" {
		return t, nil // somebody else got it while we waited
	}
	own := s.cfg.Own()
	if s.shared != nil && !bytes.Equal(own, s.bound) {
		s.shared.CloseIdleConnections() // they show another certificate
	}
	token, life, err := s.get(ctx)
	s.tell(err)
	if err != nil {
		return "", fmt.Errorf("getting an access token for %s: %w", s.cfg.Peer.Domain, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.token, s.bound = token, own
	s.until = s.cfg.Now().Add(life - min(renewBefore, life/2))
	return token, nil
}

// tell warns that a peer that wants tokens has no metadata, which somebody has to mend: an
// attempt that fails says the same, but comes again and again.
func (s *Source) tell(err error) {
	none, is := errors.AsType[*NoMetadata](err)
	s.mu.Lock()
	told := s.lost
	s.lost = is
	s.mu.Unlock()
	if is && !told {
		s.cfg.Log.Warn("a peer wants access tokens and does not say where to get them; see eblnode peer check", "peer", s.cfg.Peer.Domain.String(), "err", none)
	}
}

func (s *Source) kept() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" || !s.cfg.Now().Before(s.until) || !bytes.Equal(s.cfg.Own(), s.bound) {
		return ""
	}
	return s.token
}

// Drop forgets a token that the peer did not take, unless there is a newer one already.
// What its metadata said is forgotten with it.
func (s *Source) Drop(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token != "" && s.token == token {
		s.token, s.meta = "", nil
	}
}

// get asks for a token.
func (s *Source) get(ctx context.Context) (token string, life time.Duration, err error) {
	issuer, rt := Issuer(s.cfg.Peer), s.cfg.Transport
	form := url.Values{"grant_type": {grantType}, "client_assertion_type": {assertionType}}
	var m *Metadata
	if o := s.cfg.Outside; s.shared != nil {
		rt = s.shared
		m, err = o.metadata(ctx)
		form.Set("resource", Audience(s.cfg.Peer)) // RFC 8707
		form.Set("scope", o.cfg.Scope)
	} else if err = s.alone(issuer); err == nil {
		m, err = s.metadata(ctx, issuer)
		form.Set("scope", strings.Join(scopes, " "))
	}
	if err != nil {
		return "", 0, err
	}
	if m.TokenEndpoint == "" {
		return "", 0, fmt.Errorf("the metadata of %s name no token endpoint", issuer)
	}
	if form["client_assertion"], err = s.assertion(issuer); err != nil {
		return "", 0, err
	}
	form.Set("client_id", ClientID(s.cfg.Self))
	body, err := ask(ctx, rt, http.MethodPost, m.TokenEndpoint, form)
	if err != nil {
		return "", 0, fmt.Errorf("asking %s: %w", m.TokenEndpoint, err)
	}
	return readGrant(body)
}

// alone refuses a peer whose entry names the issuer of another platform as its own: what it would
// get of us is addressed to that one, and good there for whoever shows it.
func (s *Source) alone(issuer string) error {
	if s.cfg.Trust == nil {
		return nil
	}
	for _, p := range s.cfg.Trust().Platforms() {
		if p.Domain != s.cfg.Peer.Domain && Issuer(p) == issuer {
			return fmt.Errorf("its trust entry names the issuer %s, which is that of %s too, and is not the outside issuer of our configuration (oauth.outside.issuer)", issuer, p.Domain)
		}
	}
	return nil
}

// assertion is our proof of who we are, to one issuer: that of the configuration. The
// token endpoint, which metadata name, is not in it: a peer that leads us to another's
// endpoint gets, or gives on, nothing that is good there.
func (s *Source) assertion(issuer string) ([]string, error) {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	now := s.cfg.Now()
	client := ClientID(s.cfg.Self)
	jwt, err := s.cfg.Sign(envelope.TypAssertion, map[string]any{"iss": client, "sub": client, "aud": issuer,
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "jti": base64.RawURLEncoding.EncodeToString(id[:])})
	return []string{jwt}, err
}

func readGrant(body []byte) (token string, life time.Duration, err error) {
	var g Grant
	if err := json.Unmarshal(body, &g); err != nil {
		return "", 0, errors.New("the answer holds no token")
	}
	switch {
	case !strings.EqualFold(g.Type, "Bearer"):
		return "", 0, errors.New("the token is not of the type Bearer")
	case g.Token == "" || len(g.Token) > envelope.MaxJWT || strings.ContainsFunc(g.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "", 0, errors.New("the token is not one that a header can carry")
	}
	if g.Expires <= 0 {
		g.Expires = 60 // not said
	}
	return g.Token, time.Duration(min(g.Expires, 24*3600)) * time.Second, nil
}

// metadata are those of the peer's own authorization server, beside its endpoint: where a
// peer is, DNS said, and who it is, the connection proves.
func (s *Source) metadata(ctx context.Context, issuer string) (*Metadata, error) {
	s.mu.Lock()
	m, found := s.meta, s.found
	s.mu.Unlock()
	if m != nil && s.cfg.Now().Sub(found) < metadataAge {
		return m, nil
	}
	base := "https://" + s.cfg.Endpoint.Host
	places := wellKnown(base)
	slices.Reverse(places) // RFC 8414 first
	m, err := discover(ctx, s.cfg.Transport, issuer, places...)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meta, s.found = m, s.cfg.Now()
	return m, nil
}
