package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"eblnode/api/oauth"
	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/internal/rights"
	"eblnode/node"
)

// What peers must show us: a certificate, or that and an access token.
const (
	authTLS    = "mtls"
	authTokens = "mtls+oauth2"
)

// An oauthConfig is the part of eblnode.yaml about access tokens.
type oauthConfig struct {
	Issuer        string        `yaml:"issuer"`
	Audience      string        `yaml:"audience"`
	ClientID      string        `yaml:"clientId"`
	TokenEndpoint string        `yaml:"tokenEndpoint"`
	Lifetime      time.Duration `yaml:"lifetime"`
	Outside       struct {
		Issuer  string `yaml:"issuer"`
		Anchors string `yaml:"anchors"`
		Scope   string `yaml:"scope"`
		Unbound bool   `yaml:"unbound"`
	} `yaml:"outside"`
}

// entry is what our trust entry says of it.
func (o *oauthConfig) entry() identity.OAuth {
	e := identity.OAuth{Issuer: o.Issuer, Audience: o.Audience, ClientID: o.ClientID}
	if o.Outside.Issuer != "" {
		e.Issuer = o.Outside.Issuer
	}
	return e
}

func (c *config) checkTokens() error {
	switch c.Auth {
	case "", authTLS, authTokens:
	default:
		return fmt.Errorf("auth: %q is neither %s nor %s", c.Auth, authTLS, authTokens)
	}
	o := &c.OAuth
	for _, u := range [][2]string{{"oauth.issuer", o.Issuer}, {"oauth.tokenEndpoint", o.TokenEndpoint}, {"oauth.outside.issuer", o.Outside.Issuer}} {
		if u[1] == "" {
			continue
		}
		if _, err := discovery.ParseEndpoint(u[1]); err != nil {
			return fmt.Errorf("%s: %w", u[0], err)
		}
	}
	switch {
	case o.Issuer != "" && o.Outside.Issuer != "":
		return errors.New("oauth: issuer names us as an authorization server, outside.issuer another in our place; leave one out")
	case o.Outside.Issuer == "" && (o.Outside.Anchors != "" || o.Outside.Scope != "" || o.Outside.Unbound):
		return errors.New("oauth.outside: issuer is needed")
	case c.Auth == authTokens && o.Outside.Issuer == "" && c.tokenEndpoint() == "":
		return errors.New("auth: mtls+oauth2 needs oauth.tokenEndpoint (or endpoint, beside which it is): peers must be told where to get tokens")
	case o.Lifetime != 0 && (o.Lifetime < 30*time.Second || o.Lifetime > 10*time.Minute):
		return errors.New("oauth.lifetime: access tokens live from 30s to 10m")
	}
	return nil
}

// tokenEndpoint is where peers get tokens from us; "" if we cannot say.
func (c *config) tokenEndpoint() string {
	if c.OAuth.TokenEndpoint != "" || c.Endpoint == "" {
		return c.OAuth.TokenEndpoint
	}
	u, err := url.Parse(c.Endpoint)
	if err != nil {
		return ""
	}
	return "https://" + u.Host + "/oauth2/token"
}

// tokens is what judges the tokens of peers; nil where none are asked for.
func (c *config) tokens(n *node.Node, outside *oauth.Outside) (*oauth.Server, error) {
	if c.Auth != authTokens {
		return nil, nil
	}
	s, err := oauth.NewServer(oauth.Config{Node: n, TokenEndpoint: c.tokenEndpoint(), Lifetime: c.OAuth.Lifetime, Outside: outside})
	if err != nil {
		return nil, usage("auth: %s", err)
	}
	return s, nil
}

// outside is the shared authorization server of the configuration; nil if there is none.
func (c *config) outside(dir string, dial func(context.Context, string, string) (net.Conn, error)) (*oauth.Outside, error) {
	o := &c.OAuth.Outside
	if o.Issuer == "" {
		return nil, nil
	}
	cfg := oauth.OutsideConfig{Issuer: o.Issuer, Scope: o.Scope, Unbound: o.Unbound, DialContext: dial}
	if path := o.Anchors; path != "" {
		if !filepath.IsAbs(path) {
			path = filepath.Join(dir, path)
		}
		if err := rights.Unchanged(path); err != nil {
			return nil, usage("oauth.outside.anchors: %s", err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, usage("oauth.outside.anchors: %s", err)
		}
		cfg.Anchors = x509.NewCertPool()
		if !cfg.Anchors.AppendCertsFromPEM(text) {
			return nil, usage("oauth.outside.anchors: there is no certificate in %s", path)
		}
	}
	return oauth.NewOutside(cfg)
}
