package identity

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"math/big"
	"strings"
)

// Verifies reports whether k made signature over message with a, in the form that JWS
// gives it (RFC 7518, section 3). It says nothing about when, and whether k might.
//
// It is the standard library's verdict after the forms that libraries let pass: PS* with
// a salt of another length than the hash, and ES* of another length than twice the curve's.
// The other s of ECDSA is as good; nothing of ours is named by the bytes of a signature.
func (k *Key) Verifies(a Alg, message, signature []byte) bool {
	if !k.Fits(a) {
		return false
	}
	h := a.Hash().New()
	h.Write(message)
	return k.VerifiesDigest(a, h.Sum(nil), signature)
}

// VerifiesDigest is Verifies for a message whose hash, of a's kind, is known.
func (k *Key) VerifiesDigest(a Alg, digest, signature []byte) bool {
	if !k.Fits(a) || len(digest) != a.Hash().Size() {
		return false
	}
	switch pub := k.Public.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(string(a), "PS") {
			return rsa.VerifyPSS(pub, a.Hash(), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(pub, a.Hash(), digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (pub.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(pub, digest, r, s)
	}
	return false
}
