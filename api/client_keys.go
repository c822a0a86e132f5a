package api

import (
	"context"
	"fmt"
	"net/http"

	"eblnode/identity"
)

// Keys asks for the key set that the peer publishes on its peer listener, over a connection
// that has proved who it is. Nothing in it is trusted by that; see [identity.ParseKeySet].
// The set of a peer that publishes none is nil without an error.
func (c *Client) Keys(ctx context.Context, sender identity.Host) ([]byte, error) {
	return c.document(ctx, sender, "../.well-known/jwks.json")
}

// Platform asks for the trust entry that the peer publishes of itself; as Keys.
func (c *Client) Platform(ctx context.Context, sender identity.Host) ([]byte, error) {
	return c.document(ctx, sender, "../../.well-known/ebl-platform.json")
}

func (c *Client) document(ctx context.Context, sender identity.Host, path string) ([]byte, error) {
	a, err := c.ask(ctx, sender, http.MethodGet, c.path(path), nil)
	if err != nil {
		return nil, err
	}
	switch a.status {
	case http.StatusOK:
		return a.body, nil
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return nil, nil
	}
	return nil, a.refusal()
}

// published is the entry that a peer publishes of itself, checked: it is the peer's own, and
// its key set, where there is one, says the same.
func published(domain identity.Host, entry, keys []byte) (*identity.Platform, error) {
	ps, err := identity.ParseTrust(entry)
	if err != nil {
		return nil, fmt.Errorf("the trust entry that %s publishes: %w", domain, err)
	}
	if len(ps) != 1 || ps[0].Domain != domain {
		return nil, fmt.Errorf("what %s publishes is not its own trust entry", domain)
	}
	if keys == nil {
		return ps[0], nil
	}
	set, err := identity.ParseKeySet(keys, domain, ps[0].Quirks.BareKey)
	if err != nil {
		return nil, fmt.Errorf("the key set that %s publishes: %w", domain, err)
	}
	for _, k := range set {
		if own, found := ps[0].Key(k.ID); !found || own.Thumbprint() != k.Thumbprint() {
			return nil, fmt.Errorf("%s publishes the key %q in its key set, and not, or another, in its trust entry", domain, k.ID)
		}
	}
	return ps[0], nil
}
