package envelope

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/lestrrat-go/jwx/v2/cert"
	"github.com/lestrrat-go/jwx/v2/jwa"
	"github.com/lestrrat-go/jwx/v2/jws"
)

// sign makes a compact JWS with jwx, which does the encoding and the conversion of
// ECDSA signatures. typ "" leaves the member out.
func sign(payload []byte, s *identity.Signer, typ string, iat time.Time) (string, error) {
	if key, ok := s.Private().(*ecdsa.PrivateKey); ok && s.Alg() == identity.ES256 && typ != "" {
		if chain := certificatesFor(s.Key); chain == nil {
			return signOften(payload, s, key, typ, iat)
		}
	}
	h := jws.NewHeaders()
	set := func(name string, value any) error { return h.Set(name, value) }
	if s.Key.ID != "" {
		if err := set(jws.KeyIDKey, s.Key.ID); err != nil {
			return "", err
		}
	}
	if chain := certificatesFor(s.Key); chain != nil {
		if err := set(jws.X509CertChainKey, chain); err != nil {
			return "", err
		}
	}
	if typ != "" {
		if err := set(jws.TypeKey, typ); err != nil {
			return "", err
		}
	}
	if !iat.IsZero() {
		if err := set("iat", iat.Unix()); err != nil {
			return "", err
		}
	}
	out, err := jws.Sign(payload, jws.WithKey(jwa.SignatureAlgorithm(s.Alg()), s.Private(), jws.WithProtectedHeaders(h)))
	if err != nil {
		return "", fmt.Errorf("signing as %q: %w", s.Key.ID, err)
	}
	return string(out), nil
}

// signOften makes the same JWS as jwx does, in half its time, for what a node signs most:
// receipts and the like, with ES256 and a key in memory. Each transfer waits for one.
func signOften(payload []byte, s *identity.Signer, key *ecdsa.PrivateKey, typ string, iat time.Time) (string, error) {
	header := append(make([]byte, 0, 256), `{"alg":"ES256"`...)
	if !iat.IsZero() {
		header = strconv.AppendInt(append(header, `,"iat":`...), iat.Unix(), 10)
	}
	if s.Key.ID != "" {
		quoted, err := jsontext.AppendQuote(append(header, `,"kid":`...), s.Key.ID)
		if err != nil {
			return "", fmt.Errorf("signing as %q: %w", s.Key.ID, err)
		}
		header = quoted
	}
	header = append(append(append(header, `,"typ":"`...), typ...), `"}`...)
	b64 := base64.RawURLEncoding
	out := b64.AppendEncode(make([]byte, 0, b64.EncodedLen(len(header))+b64.EncodedLen(len(payload))+2+86), header)
	out = b64.AppendEncode(append(out, '.'), payload)
	digest := sha256.Sum256(out)
	r, v, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", fmt.Errorf("signing as %q: %w", s.Key.ID, err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return string(b64.AppendEncode(append(out, '.'), signature[:])), nil
}

// certificatesFor is the x5c of what k signs: what leads to an authority, for those who
// trust that and not the key; nil for a certificate that nobody but itself signed.
func certificatesFor(k *identity.Key) *cert.Chain {
	chain := &cert.Chain{}
	for _, c := range k.Certificates {
		if bytes.Equal(c.RawSubject, c.RawIssuer) {
			break // whoever trusts an anchor has it
		}
		_ = chain.AddString(base64.StdEncoding.EncodeToString(c.Raw)) // base64 it is
	}
	if chain.Len() == 0 {
		return nil
	}
	return chain
}
