//go:build !pkcs11

package hsm

import "crypto"

// A Token is an open token.
type Token struct{}

// Open always fails.
func Open(Config) (*Token, error) { return nil, ErrNotBuilt }

// Signer always fails.
func (*Token) Signer(string) (crypto.Signer, error) { return nil, ErrNotBuilt }

// Close does nothing.
func (*Token) Close() error { return nil }
