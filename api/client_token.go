package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"eblnode/envelope"
	"eblnode/identity"
)

// Whether a peer wants tokens it says itself, by a 401, and may change its mind; nothing
// of it is configured here.
const (
	wantUnknown int32 = iota
	wantNone
	wantToken
)

const (
	// expectOver is the size of a body, in bytes, that is not sent before a peer of which we do
	// not know whether it wants a token has said yes to the header.
	expectOver = 64 << 10
	// wantAge is how long "no tokens" is believed before a transfer is prepared, in
	// seconds.
	wantAge = 300
)

// ask makes a request. Where the peer wants a token it gets one; a token that it does not
// take is renewed, once.
func (c *Client) ask(ctx context.Context, sender identity.Host, method string, at *url.URL, body []byte) (*answer, error) {
	if sender != c.cfg.Self {
		return nil, fmt.Errorf("asking %s: we are %s and cannot ask as %s", c.cfg.Peer.Domain, c.cfg.Self, sender)
	}
	token := ""
	if c.wanted.Load() == wantToken {
		// Without one the peer says whether it still wants it.
		token, _ = c.tokens.Token(ctx)
	}
	a, err := c.request(ctx, method, at, body, token)
	if err != nil {
		c.wanted.CompareAndSwap(wantNone, wantUnknown)
		return nil, err
	}
	if c.tokens == nil || !a.bearer || a.signed() {
		return a, nil
	}
	c.wanted.Store(wantToken)
	c.tokens.Drop(token)
	if token, err = c.tokens.Token(ctx); err != nil {
		return nil, err
	}
	if a, err = c.request(ctx, method, at, body, token); err == nil && a.bearer {
		c.tokens.Drop(token)
	}
	return a, err
}

// checkToken finds out whether the peer wants a token, and that ours is taken: it asks for
// something that is not there. Only a 401 is a no: whatever else is said, the question of
// the token came before it.
func (c *Client) checkToken(ctx context.Context, sender identity.Host) error {
	now := c.cfg.Now().Unix()
	if c.tokens == nil || c.wanted.Load() == wantNone && now-c.asked.Load() < wantAge {
		return nil
	}
	a, err := c.ask(ctx, sender, http.MethodGet, c.path("../transferblocks/"+envelope.Hash{}.String()+"/verdict"), nil)
	if err != nil {
		return err
	}
	if a.status == http.StatusUnauthorized {
		return a.refusal()
	}
	c.asked.Store(now)
	c.wanted.CompareAndSwap(wantUnknown, wantNone)
	return nil
}

// signed reports whether the answer holds something that can be a signed one. Its status
// then says nothing.
func (a *answer) signed() bool {
	if _, ok := a.jws(); ok {
		return true
	}
	f, ok := a.foreign()
	return ok && f.Rejection != ""
}
