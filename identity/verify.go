package identity

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
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
		var der [2*(66+3) + 3]byte // of P-521
		return ecdsa.VerifyASN1(pub, digest, appendDER(der[:0], signature[:size], signature[size:]))
	}
	return false
}

// appendDER writes r and s as the SEQUENCE of two INTEGERs that the library reads. It has a
// function for big.Ints too, which writes the same with ten allocations.
func appendDER(b, r, s []byte) []byte {
	r, s = bytes.TrimLeft(r, "\x00"), bytes.TrimLeft(s, "\x00")
	// A first bit that is set would make the number negative; and 0 has a byte of its own.
	pad := func(n []byte) int {
		if len(n) == 0 || n[0]&0x80 != 0 {
			return 1
		}
		return 0
	}
	length := func(n int) {
		if n >= 0x80 { // at most 139
			b = append(b, 0x81)
		}
		b = append(b, byte(n))
	}
	b = append(b, 0x30)
	length(4 + pad(r) + len(r) + pad(s) + len(s))
	for _, n := range [][]byte{r, s} {
		b = append(b, 0x02)
		length(pad(n) + len(n))
		b = append(append(b, make([]byte, pad(n))...), n...)
	}
	return b
}
