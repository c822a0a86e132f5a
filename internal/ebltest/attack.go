package ebltest

import (
	"crypto/elliptic"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"

	"eblnode/envelope"
)

// This file makes what an attacker would send.

// Parse reads a transferblock; the test fails if it is malformed.
func Parse(t testing.TB, body []byte) *envelope.Transferblock {
	t.Helper()
	b, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Extend is the transferblock body with one more entry, sealed by p over its last one.
func (p *Platform) Extend(body []byte, txs ...Tx) []byte {
	p.t.Helper()
	b := Parse(p.t, body)
	e := p.Seal(b.Last().Payload.DocumentHash, b.Last().Claimed, txs...)
	return Body(b.Document, append(b.Entries, e)...)
}

// Twin is an ES256 entry with the other signature that verifies, (r, n−s): other bytes,
// the same envelope. Anybody can make it, without the key.
func Twin(t testing.TB, e envelope.Entry) envelope.Entry {
	t.Helper()
	signed, sig := cutSignature(t, e.JWS.Raw)
	order, _ := new(big.Int).SetString("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16)
	s := new(big.Int).SetBytes(sig[32:])
	s.Sub(order, s).FillBytes(sig[32:])
	return reread(t, e, signed, sig)
}

// BadSignature is an ES256 entry whose signature has one bit changed.
func BadSignature(t testing.TB, e envelope.Entry) envelope.Entry {
	t.Helper()
	signed, sig := cutSignature(t, e.JWS.Raw)
	sig[40] ^= 1
	return reread(t, e, signed, sig)
}

func cutSignature(t testing.TB, jws string) (signed string, sig []byte) {
	t.Helper()
	dot := strings.LastIndexByte(jws, '.')
	sig, err := base64.RawURLEncoding.DecodeString(jws[dot+1:])
	if err != nil || len(sig) != 64 {
		t.Fatalf("not an ES256 signature: %d bytes, %v", len(sig), err)
	}
	return jws[:dot+1], sig
}

func reread(t testing.TB, e envelope.Entry, signed string, sig []byte) envelope.Entry {
	t.Helper()
	out, err := envelope.ParseEntry(signed+base64.RawURLEncoding.EncodeToString(sig), envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	out.Claimed = e.Claimed
	return out
}

// Rewrap is the same transferblock in another spelling of its wrapper: white space, the
// order of members, unknown members. What is signed is untouched.
func Rewrap(t testing.TB, body []byte) []byte {
	t.Helper()
	b := Parse(t, body)
	var out strings.Builder
	out.WriteString("{ \"note\" : [1],\n\"endorsementChain\" : [\n")
	for i, e := range b.Entries {
		if i > 0 {
			out.WriteString(" ,\n")
		}
		out.WriteString(`{"signature" : "` + e.JWS.Raw + `", "envelopeHash":"` + e.Claimed.String() + `", "x": null}`)
	}
	out.WriteString("], \"document\":\t" + string(b.Document) + "}\n")
	return []byte(out.String())
}

// OtherS is the twin of a P-256 signature as JWS has it: (r, n-s) is as good as (r, s).
func OtherS(sig []byte) []byte {
	half := len(sig) / 2
	s := new(big.Int).Sub(elliptic.P256().Params().N, new(big.Int).SetBytes(sig[half:]))
	return append(slices.Clone(sig[:half]), s.FillBytes(make([]byte, half))...)
}
