package upstream

import (
	"crypto/x509"
	"encoding/pem"
	"testing"

	"eblnode/identity"
)

// keyOf is the key of a group. It need not be one that a trust entry takes: how the keys
// are made is part of what some vectors test.
func keyOf(t *testing.T, g group) *identity.Key {
	t.Helper()
	block, _ := pem.Decode([]byte(g.PublicPEM))
	if block == nil {
		t.Fatal("a group without a key")
	}
	pub, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &identity.Key{ID: "k", Public: pub}
}
