//go:build pkcs11

package hsm

import (
	"crypto"
	"errors"
	"fmt"

	"github.com/ThalesGroup/crypto11"
)

// A Token is an open token. It is safe for concurrent use. Close it when done.
type Token struct{ ctx *crypto11.Context }

// Open loads the module and logs in. A wrong PIN counts towards the token's limit of
// attempts, so it is not tried twice.
func Open(c Config) (*Token, error) {
	if c.PIN == "" {
		return nil, errors.New("opening the token: there is no PIN: set keys.pkcs11.pinFile, or EBLNODE_KEY_PIN_FD")
	}
	path, err := safeModule(c.Module)
	if err != nil {
		return nil, fmt.Errorf("opening the token: %w", err)
	}
	ctx, err := crypto11.Configure(&crypto11.Config{Path: path, TokenLabel: c.Token, Pin: c.PIN})
	if err != nil {
		return nil, fmt.Errorf("opening the token %q: %w", c.Token, err)
	}
	return &Token{ctx}, nil
}

// Signer finds the one key pair of that label.
func (t *Token) Signer(label string) (crypto.Signer, error) {
	pairs, err := t.ctx.FindKeyPairs(nil, []byte(label))
	if err != nil {
		return nil, fmt.Errorf("looking for the key %q: %w", label, err)
	}
	if len(pairs) != 1 {
		return nil, fmt.Errorf("looking for the key %q: the token has %d of that label, not one", label, len(pairs))
	}
	return pairs[0], nil
}

// Close logs out.
func (t *Token) Close() error { return t.ctx.Close() }
