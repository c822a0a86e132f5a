package identity_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"math/big"
	"testing"

	"eblnode/identity"
)

// The signature is written anew for the library. It must say of each what the library says
// of the two numbers themselves.
func TestNumbersOfASignatureAreReadAsTheLibraryReadsThem(t *testing.T) {
	for alg, c := range map[identity.Alg]struct {
		curve elliptic.Curve
		count int
	}{identity.ES256: {elliptic.P256(), 700}, identity.ES384: {elliptic.P384(), 60}, identity.ES512: {elliptic.P521(), 30}} {
		curve := c.curve
		priv, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key := &identity.Key{Public: &priv.PublicKey}
		size := (curve.Params().BitSize + 7) / 8
		digest := make([]byte, alg.Hash().Size())
		judge := func(name string, r, s []byte) bool {
			t.Helper()
			got := key.VerifiesDigest(alg, digest, append(bytes.Clone(r), s...))
			if want := ecdsa.Verify(&priv.PublicKey, digest, new(big.Int).SetBytes(r), new(big.Int).SetBytes(s)); got != want {
				t.Fatalf("%s, %s: got %t, want %t\nr %x\ns %x", alg, name, got, want, r, s)
			}
			return got
		}
		short, good := 0, 0
		for range c.count { // with P-256 one number in 256 begins with a byte of zeros, with P-521 every other
			_, _ = rand.Read(digest)
			x, y, err := ecdsa.Sign(rand.Reader, priv, digest)
			if err != nil {
				t.Fatal(err)
			}
			r, s := x.FillBytes(make([]byte, size)), y.FillBytes(make([]byte, size))
			if r[0] == 0 || s[0] == 0 {
				short++
			}
			if judge("signed", r, s) {
				good++
			}
			r[size-1] ^= 1
			judge("one bit", r, s)
		}
		if good != c.count || short == 0 && alg != identity.ES384 {
			t.Fatalf("%s: %d of %d verified, %d with a short number", alg, good, c.count, short)
		}
		zero, one, most := make([]byte, size), make([]byte, size), bytes.Repeat([]byte{0xff}, size)
		one[size-1] = 1
		order := curve.Params().N.FillBytes(make([]byte, size))
		edge := [][]byte{zero, one, most, order}
		for _, r := range edge {
			for _, s := range edge {
				if judge("at the edge", r, s) {
					t.Fatalf("%s: %x and %x are a signature", alg, r, s)
				}
			}
		}
	}
}
