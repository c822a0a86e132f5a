package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	_ "crypto/sha512"
	"encoding/asn1"
	"encoding/binary"
	"log"
	"math/big"
)

func hashOf(alg string) crypto.Hash {
	switch alg[2:] {
	case "256":
		return crypto.SHA256
	case "384":
		return crypto.SHA384
	case "512":
		return crypto.SHA512
	}
	log.Fatalf("no hash for %s", alg)
	return 0
}

func digestOf(h crypto.Hash, text string) []byte {
	d := h.New()
	d.Write([]byte(text))
	return d.Sum(nil)
}

// signBytes signs the text of a JWS, header.payload.
func (k *key) signBytes(alg, text string) []byte {
	h := hashOf(alg)
	digest := digestOf(h, text)
	switch priv := k.priv.(type) {
	case *ecdsa.PrivateKey:
		r, s := rs(must(priv.Sign(nil, digest, h)))
		return joinRS(r, s, size(priv))
	case *rsa.PrivateKey:
		if alg[0] == 'P' {
			return signPSS(priv, h, digest, h.Size())
		}
		return must(rsa.SignPKCS1v15(nil, priv, h, digest))
	}
	log.Fatalf("the key %s does not sign %s", k.kid, alg)
	return nil
}

func rs(der []byte) (r, s *big.Int) {
	var sig struct{ R, S *big.Int }
	must(asn1.Unmarshal(der, &sig))
	return sig.R, sig.S
}

func size(k *ecdsa.PrivateKey) int { return (k.Curve.Params().BitSize + 7) / 8 }

func joinRS(r, s *big.Int, size int) []byte {
	out := make([]byte, 2*size)
	r.FillBytes(out[:size])
	s.FillBytes(out[size:])
	return out
}

// signPSS is RFC 8017, 9.1.1, with a salt that follows from the digest. The standard
// library draws the salt at random, and then the files would change each time.
func signPSS(k *rsa.PrivateKey, h crypto.Hash, digest []byte, saltLength int) []byte {
	salt := mgf1(crypto.SHA256, append([]byte("salt"), digest...), saltLength)
	bits := k.N.BitLen() - 1
	length := (bits + 7) / 8
	d := h.New()
	d.Write(make([]byte, 8))
	d.Write(digest)
	d.Write(salt)
	hash := d.Sum(nil)
	db := make([]byte, length-len(hash)-1)
	db[len(db)-len(salt)-1] = 1
	copy(db[len(db)-len(salt):], salt)
	for i, m := range mgf1(h, hash, len(db)) {
		db[i] ^= m
	}
	db[0] &= 0xff >> (8*length - bits)
	em := append(append(db, hash...), 0xbc)
	sig := new(big.Int).Exp(new(big.Int).SetBytes(em), k.D, k.N)
	return sig.FillBytes(make([]byte, (k.N.BitLen()+7)/8))
}

func mgf1(h crypto.Hash, seed []byte, length int) []byte {
	var out []byte
	for i := uint32(0); len(out) < length; i++ {
		d := h.New()
		d.Write(binary.BigEndian.AppendUint32(append([]byte{}, seed...), i))
		out = d.Sum(out)
	}
	return out[:length]
}
