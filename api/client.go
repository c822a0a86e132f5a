package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"eblnode/api/oauth"
	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/node"
)

// A ClientConfig says how to talk to a peer. Self, Certificate, Peer and Endpoint are
// required.
type ClientConfig struct {
	// Self is our own domain, the sender of every request.
	Self identity.Host
	// Certificate is shown to the peer.
	Certificate CertificateSource
	// Own is Certificate without what takes time (an OCSP answer beside it), since it is asked
	// before each request; nil: Certificate.
	Own CertificateSource
	// Peer is its trust entry; the server must prove to be it.
	Peer *identity.Platform
	// Endpoint is where it takes transferblocks; https.
	Endpoint *url.URL
	// DialContext makes connections; discovery.Resolver's refuses addresses of our own
	// network. nil means a net.Dialer, which refuses none.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	// Revoked asks whether the server's certificate is revoked; nil: nobody is asked.
	Revoked RevocationCheck
	// Timeout bounds one request with its answer; 0 means 60 s.
	Timeout time.Duration
	Now     func() time.Time // nil: time.Now
	// Tokens says how to get access tokens for peers that ask for them; nil: not at all.
	Tokens *TokenConfig
}

// A TokenConfig is what it takes to get access tokens.
type TokenConfig struct {
	// Self is our own trust entry, which names us as a client.
	Self *identity.Platform
	// Sign signs our assertions; see node.SignToken.
	Sign func(typ string, claims map[string]any) (string, error)
	// Outside is the authorization server that platforms share; nil: there is none.
	Outside *oauth.Outside
	// Trust is by whom a peer's issuer is compared with those of others; nil: with none.
	Trust func() *identity.Trust
	Log   *slog.Logger // nil: nothing is logged
}

// maxAnswer bounds what a peer can make us read, in bytes.
const maxAnswer = 1 << 20

// maxConns is how many connections a peer gets: as many as transfers may be under way, and
// some for the questions before a transfer, which must not wait for those.
const maxConns = 16 + 8

// A Client is a node elsewhere: a [node.Peer] over https, with connections that are
// kept and used again. It is safe for concurrent use. Close it when done.
type Client struct {
	cfg       ClientConfig
	transport *kept
	tokens    *oauth.Source // nil: none can be got
	wanted    atomic.Int32  // what the peer wants, as far as it has said
	asked     atomic.Int64  // when that was last asked for, in seconds
}

var _ node.Peer = (*Client)(nil)

// NewClient makes a client; it connects when it is first asked.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Self.IsZero() || cfg.Certificate == nil || cfg.Peer == nil || cfg.Endpoint == nil {
		return nil, errors.New("making a client: Self, Certificate, Peer and Endpoint are required")
	}
	if cfg.Endpoint.Scheme != "https" {
		return nil, fmt.Errorf("making a client of %s: the endpoint is not https", cfg.Peer.Domain)
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 60 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.DialContext == nil {
		cfg.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if cfg.Own == nil {
		cfg.Own = cfg.Certificate
	}
	c := &Client{cfg: cfg, transport: &kept{peer: cfg.Peer, now: cfg.Now, revoked: cfg.Revoked, own: cfg.Own, Transport: &http.Transport{
		TLSClientConfig:        ClientTLS(cfg.Certificate, cfg.Peer, cfg.Now, cfg.Revoked),
		TLSHandshakeTimeout:    10 * time.Second,
		DisableCompression:     true,
		MaxIdleConnsPerHost:    maxConns,
		MaxConnsPerHost:        maxConns,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  cfg.Timeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 32 << 10,
	}}}
	// Proxy stays nil: one from the environment would dial unchecked.
	c.transport.DialContext = c.transport.dialling(cfg.DialContext)
	if t := cfg.Tokens; t != nil {
		c.tokens = oauth.NewSource(oauth.SourceConfig{Self: t.Self, Peer: cfg.Peer, Endpoint: cfg.Endpoint, Transport: c.transport,
			Certificate: cfg.Certificate, Own: func() []byte { return leafOf(cfg.Own) }, Sign: t.Sign, Outside: t.Outside, Trust: t.Trust, Log: t.Log, Now: cfg.Now})
	}
	return c, nil
}

// Close lets idle connections go; requests under way come to their end.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Check asks for the peer's public keys: the first read shows whether it took our
// certificate, which with TLS 1.3 the handshake alone does not.
func (c *Client) Check(ctx context.Context, sender identity.Host) error {
	a, err := c.ask(ctx, sender, http.MethodGet, c.path("../.well-known/jwks.json"), nil)
	if err != nil {
		return err
	}
	switch a.status {
	case http.StatusOK, http.StatusNotFound, http.StatusMethodNotAllowed:
		// The receivers of 2022 publish no keys there. The handshake has shown who the
		// peer is, and an answer over it that it let us in.
		return c.checkToken(ctx, sender)
	}
	return a.refusal()
}

// PutTransferblock sends a block. The status of the answer is not covered by any
// signature, so it decides nothing.
func (c *Client) PutTransferblock(ctx context.Context, r node.Request) (node.Reply, error) {
	at := *c.cfg.Endpoint
	a, err := c.ask(ctx, r.Sender, http.MethodPut, &at, r.Body)
	if err != nil {
		return node.Reply{}, err
	}
	return a.reply()
}

// Verdict asks for the carrier's verdict on a bill.
func (c *Client) Verdict(ctx context.Context, sender identity.Host, document envelope.Hash) (string, error) {
	a, err := c.ask(ctx, sender, http.MethodGet, c.path("../transferblocks/"+document.String()+"/verdict"), nil)
	if err != nil {
		return "", err
	}
	jws, ok := a.jws()
	if !ok {
		return "", a.refusal()
	}
	if bare := ""; json.Unmarshal([]byte(jws), &bare) == nil {
		return bare, nil // quoted
	}
	return jws, nil
}

// path is a path beside the endpoint's own: its last element is the name of the
// collection, in one of two spellings.
func (c *Client) path(rel string) *url.URL {
	at := *c.cfg.Endpoint
	at.Path, at.RawPath = path.Join(at.Path, rel), ""
	return &at
}

// request makes one request, with a token where that is not "". Redirects are answers
// like any other: RoundTrip follows none.
func (c *Client) request(ctx context.Context, method string, at *url.URL, body []byte, token string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	var content io.Reader
	if method == http.MethodPut {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), content)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.cfg.Peer.Domain, err)
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/jose, application/json")
	req.Header.Set("API-Version", "1")
	req.Header.Set("User-Agent", "eblnode")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if len(body) > expectOver && c.tokens != nil && c.wanted.Load() == wantUnknown {
		// A peer that says no before it has read all closes the connection, and its
		// answer may be lost with it.
		req.Header.Set("Expect", "100-continue")
	}
	// crashpoint: s3 s4 s5
	res, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", c.cfg.Peer.Domain, err)
	}
	// crashpoint: s6
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", c.cfg.Peer.Domain, err)
	}
	if len(text) > maxAnswer {
		return nil, fmt.Errorf("reading the answer of %s: it is over the limit of %d bytes", c.cfg.Peer.Domain, maxAnswer)
	}
	a := &answer{peer: c.cfg.Peer.Domain, status: res.StatusCode, body: bytes.TrimSpace(text), date: res.Header.Get("Date")}
	// A date is not read: some minutes or hours more or less do no harm here.
	a.retry, _ = strconv.Atoi(res.Header.Get("Retry-After"))
	a.retry = min(max(a.retry, 0), 24*3600)
	scheme, _, _ := strings.Cut(res.Header.Get("WWW-Authenticate"), " ")
	a.bearer = a.status == http.StatusUnauthorized && strings.EqualFold(scheme, "Bearer")
	return a, nil
}
