package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"testing"
)

// BenchmarkVerifiesDigest is one signature, as checked for each entry of a chain.
func BenchmarkVerifiesDigest(b *testing.B) {
	digest := sha256.Sum256([]byte("what was signed"))
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	rsaSig, err := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	r, s, err := ecdsa.Sign(rand.Reader, ecKey, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	for _, x := range []struct {
		alg Alg
		key *Key
		sig []byte
	}{
		{ES256, &Key{Public: &ecKey.PublicKey}, append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)},
		{RS256, &Key{Public: &rsaKey.PublicKey}, rsaSig},
	} {
		b.Run(string(x.alg), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !x.key.VerifiesDigest(x.alg, digest[:], x.sig) {
					b.Fatal("a good signature is refused")
				}
			}
		})
	}
}

// BenchmarkParseTrust is a trust file of so many entries, each with one key and its
// certificate.
func BenchmarkParseTrust(b *testing.B) {
	for _, n := range []int{1, 20} {
		b.Run(fmt.Sprintf("platforms=%d", n), func(b *testing.B) {
			text := []byte("[")
			for i := range n {
				s := newSigner(b, fmt.Sprintf("p%d.example", i), ES256)
				p := &Platform{Domain: s.Key.Platform, Mode: ModePinned, Keys: []*Key{s.Key}, TLS: TLSIdentity{Pins: [][32]byte{{1}}}}
				entry, err := p.JSON()
				if err != nil {
					b.Fatal(err)
				}
				if i > 0 {
					text = append(text, ',')
				}
				text = append(text, entry...)
			}
			text = append(text, ']')
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if ps, err := ParseTrust(text); err != nil || len(ps) != n {
					b.Fatalf("got %d entries and %v, want %d", len(ps), err, n)
				}
			}
		})
	}
}
