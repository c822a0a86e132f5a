package main

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/binary"
	"io"
	"log"
	"math/big"
	"time"
)

// A key is a private key that everybody knows.
type key struct {
	kid  string
	alg  string // the one that it signs with unless told otherwise
	priv crypto.Signer
}

// stream is SHA-256 in counter mode over a label: as good as random to the tests, and
// the same for ever.
type stream struct {
	label string
	n     uint64
	rest  []byte
}

func (s *stream) Read(p []byte) (int, error) {
	for i := range p {
		if len(s.rest) == 0 {
			sum := sha256.Sum256(binary.BigEndian.AppendUint64([]byte("eblnode test key "+s.label+" "), s.n))
			s.rest = sum[:]
			s.n++
		}
		p[i], s.rest = s.rest[0], s.rest[1:]
	}
	return len(p), nil
}

func (g *generator) ec(kid, alg string) *key {
	curve := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}[alg]
	d := make([]byte, (curve.Params().BitSize+7)/8)
	if _, err := io.ReadFull(&stream{label: kid}, d); err != nil {
		log.Fatal(err)
	}
	d[0] = 0 // below the order of each curve
	return g.keep(&key{kid, alg, must(ecdsa.ParseRawPrivateKey(curve, d))})
}

func (g *generator) rsa(kid, alg string) *key {
	s := &stream{label: kid}
	p, q := prime(s), prime(s)
	one, e := big.NewInt(1), big.NewInt(65537)
	phi := new(big.Int).Mul(new(big.Int).Sub(p, one), new(big.Int).Sub(q, one))
	priv := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537},
		D:         new(big.Int).ModInverse(e, phi),
		Primes:    []*big.Int{p, q},
	}
	priv.Precompute()
	if err := priv.Validate(); err != nil {
		log.Fatal(err)
	}
	return g.keep(&key{kid, alg, priv})
}

// prime finds the next prime of 1024 bits with both upper bits set.
func prime(s *stream) *big.Int {
	for {
		b := make([]byte, 128)
		if _, err := io.ReadFull(s, b); err != nil {
			log.Fatal(err)
		}
		b[0] |= 0xc0
		b[127] |= 1
		p := new(big.Int).SetBytes(b)
		if p.ProbablyPrime(20) && new(big.Int).Mod(p, big.NewInt(65537)).Cmp(big.NewInt(1)) != 0 {
			return p
		}
	}
}

func (g *generator) keep(k *key) *key {
	if old, ok := g.keys[k.kid]; ok {
		return old
	}
	g.keys[k.kid] = k
	return k
}

func (g *generator) key(kid string) *key {
	k, ok := g.keys[kid]
	if !ok {
		log.Fatalf("no key %s", kid)
	}
	return k
}

// A jwk is a key, public or private, in a fixed order.
type jwk struct {
	Comment   string   `json:"comment,omitempty"`
	Kid       string   `json:"kid,omitempty"`
	Kty       string   `json:"kty"`
	Crv       string   `json:"crv,omitempty"`
	X         string   `json:"x,omitempty"`
	Y         string   `json:"y,omitempty"`
	N         string   `json:"n,omitempty"`
	E         string   `json:"e,omitempty"`
	D         string   `json:"d,omitempty"`
	P         string   `json:"p,omitempty"`
	Q         string   `json:"q,omitempty"`
	DP        string   `json:"dp,omitempty"`
	DQ        string   `json:"dq,omitempty"`
	QI        string   `json:"qi,omitempty"`
	Use       string   `json:"use"`
	Alg       string   `json:"alg,omitempty"`
	NotBefore string   `json:"notBefore,omitempty"`
	NotAfter  string   `json:"notAfter,omitempty"`
	Revoked   string   `json:"revoked,omitempty"`
	Reason    string   `json:"reason,omitempty"`
	X5c       [][]byte `json:"x5c,omitempty"`
}

var b64 = base64.RawURLEncoding.EncodeToString

func (k *key) public() jwk {
	j := jwk{Kid: k.kid, Use: "sig"}
	switch priv := k.priv.(type) {
	case *ecdsa.PrivateKey:
		point := must(priv.PublicKey.Bytes())
		half := len(point) / 2
		j.Kty, j.Crv = "EC", priv.Curve.Params().Name
		j.X, j.Y = b64(point[1:1+half]), b64(point[1+half:])
	case *rsa.PrivateKey:
		j.Kty, j.N, j.E = "RSA", b64(priv.N.Bytes()), "AQAB"
	}
	return j
}

func (k *key) private() jwk {
	j := k.public()
	j.Comment = "TEST KEY, public on purpose: never trust it"
	switch priv := k.priv.(type) {
	case *ecdsa.PrivateKey:
		j.D = b64(must(priv.Bytes()))
	case *rsa.PrivateKey:
		j.D, j.P, j.Q = b64(priv.D.Bytes()), b64(priv.Primes[0].Bytes()), b64(priv.Primes[1].Bytes())
		j.DP, j.DQ, j.QI = b64(priv.Precomputed.Dp.Bytes()), b64(priv.Precomputed.Dq.Bytes()), b64(priv.Precomputed.Qinv.Bytes())
	}
	return j
}

func (g *generator) writeKeys() {
	for kid, k := range g.keys {
		g.write("keys/"+kid+".json", k.private())
	}
}

// deterministic signs without a source of randomness: RFC 6979 for ECDSA.
type deterministic struct{ crypto.Signer }

func (d deterministic) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return d.Signer.Sign(nil, digest, opts)
}

// certificate is self-signed and valid for 2026 and 2027.
func (k *key) certificate(domain string) []byte {
	serial := sha256.Sum256([]byte(k.kid))
	t := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial[:8]),
		Subject:      pkix.Name{CommonName: domain + " (TEST)"},
		DNSNames:     []string{domain},
		NotBefore:    time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:     time.Date(2027, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:     x509.KeyUsageDigitalSignature,

		BasicConstraintsValid: true,
	}
	return must(x509.CreateCertificate(bytes.NewReader(nil), t, t, k.priv.Public(), deterministic{k.priv}))
}
