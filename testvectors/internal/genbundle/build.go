package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// The document is a fuller one than that of the other vectors.
const document = `{"carrierCode":"CARR","isElectronic":true,"isToOrder":true,"placeOfIssue":{"UNLocationCode":"DKCPH","locationName":"København"},"shippedOnBoardDate":"2026-05-30","transportDocumentReference":"TD-2026-7","utilizedTransportEquipments":[{"cargoGrossWeight":13000.3,"equipmentReference":"APZU4812090"}]}`

var start = time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC)

func minute(m float64) time.Time { return start.Add(time.Duration(m * float64(time.Minute))) }

// fixed signs without a random nonce (RFC 6979), so that files come out the same.
type fixed struct{ crypto.Signer }

func (f fixed) Sign(_ io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return f.Signer.Sign(nil, digest, opts)
}

var signers = map[[2]string]*identity.Signer{}

// signer signs with the test key of that name, and says that it is kid.
func signer(name, kid string) *identity.Signer {
	if s := signers[[2]string{name, kid}]; s != nil {
		return s
	}
	var jwk struct{ Kty, D, N, E, P, Q string }
	must(0, json.Unmarshal(must(os.ReadFile("testdata/keys/"+name+".json")), &jwk))
	number := func(s string) *big.Int {
		return new(big.Int).SetBytes(must(base64.RawURLEncoding.DecodeString(s)))
	}
	var priv crypto.Signer
	alg := identity.Alg("ES256")
	if jwk.Kty == "RSA" {
		key := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: number(jwk.N), E: int(number(jwk.E).Int64())}, D: number(jwk.D), Primes: []*big.Int{number(jwk.P), number(jwk.Q)}}
		key.Precompute()
		priv, alg = key, "RS256"
	} else {
		priv = must(ecdsa.ParseRawPrivateKey(elliptic.P256(), must(base64.RawURLEncoding.DecodeString(jwk.D))))
	}
	s := must(identity.NewSigner(&identity.Key{ID: kid, Public: priv.Public()}, alg, fixed{priv}))
	signers[[2]string{name, kid}] = s
	return s
}

func own(platform string) *identity.Signer { return signer(platform+"-1", platform+"-1") }

func host(platform string) identity.Host { return must(identity.ParseHost(platform + ".example")) }

// tx is a transaction of a platform, so many minutes after the start.
func tx(instruction, platform, transferee string, m float64) []byte {
	return straight(instruction, platform, transferee, m, true)
}

func straight(instruction, platform, transferee string, m float64, toOrder bool) []byte {
	return must(envelope.NewTransaction(envelope.Transaction{Instruction: envelope.Instruction(instruction), At: minute(m), ToOrder: toOrder, PlatformHost: host(platform), Comments: "as agreed"},
		must(json.Marshal(transferee))))
}

const (
	shipper = "shipper@carrier.example"
	agent   = "agent@carrier.example"
	ben     = "ben@bank.example"
	bea     = "bea@bank.example"
	tess    = "tess@trade.example"
)

// A builder makes one bundle; its methods change it and return it.
type builder struct {
	bundle   *envelope.Bundle
	previous *envelope.Hash // of the next entry, in place of the last one's
	document envelope.Hash  // that the next entries and steps name
	unsigned bool
}

func newBill() *builder {
	doc := []byte(document)
	b := &envelope.Bundle{Made: envelope.Made{By: host("carrier"), At: minute(180), Selection: envelope.SelectBill}, DocumentHash: envelope.HashOf(doc)}
	b.Block.Document = doc
	return &builder{bundle: b, document: b.DocumentHash}
}

func (b *builder) head() envelope.Hash {
	if n := len(b.bundle.Block.Entries); n > 0 {
		return b.bundle.Block.Entries[n-1].Claimed
	}
	return envelope.Hash{}
}

func (b *builder) seal(s *identity.Signer, txs ...[]byte) *builder {
	previous := b.head()
	if b.previous != nil {
		previous, b.previous = *b.previous, nil
	}
	b.bundle.Block.Entries = append(b.bundle.Block.Entries, must(envelope.Seal(b.document, previous, txs, s)))
	return b
}

// naming makes what follows name another document.
func (b *builder) naming(h envelope.Hash) *builder { b.document = h; return b }

// after makes the next entry follow another one.
func (b *builder) after(h envelope.Hash) *builder { b.previous = &h; return b }

func (b *builder) step(s *identity.Signer, t []byte, edit ...func(*envelope.Step)) *builder {
	st := envelope.Step{DocumentHash: b.document, Index: len(b.bundle.Steps), Transaction: t}
	if n := len(b.bundle.Block.Entries); n > 0 {
		st.Head = b.bundle.Block.Entries[n-1].Hash()
	}
	if n := len(b.bundle.Steps); n > 0 {
		st.Previous = envelope.HashOf([]byte(b.bundle.Steps[n-1].JWS.Raw))
	}
	for _, f := range edit {
		f(&st)
	}
	at := must(envelope.ParseTransaction(t)).At
	b.bundle.Steps = append(b.bundle.Steps, envelope.BundleStep{JWS: must(envelope.ParseJWS(must(envelope.SignStep(st, s, at))))})
	return b
}

func (b *builder) receipt(i int, s *identity.Signer, m float64) *builder {
	return b.receiptOf(b.bundle.Block.Entries[i].Claimed, s, m)
}

func (b *builder) receiptOf(h envelope.Hash, s *identity.Signer, m float64) *builder {
	b.bundle.Receipts = append(b.bundle.Receipts, must(envelope.ParseJWS(must(envelope.SignReceipt(h, s, minute(m))))))
	return b
}

func (b *builder) rejection(e *envelope.Entry, code envelope.ResponseCode, s *identity.Signer, m float64, edit ...func(*envelope.Rejection)) *builder {
	last := e.Payload.Transactions[len(e.Payload.Transactions)-1]
	r := envelope.Rejection{EnvelopeHash: e.Hash(), JWSSum: envelope.HashOf([]byte(e.JWS.Raw)), Sender: last.PlatformHost, Receiver: last.Transferee.ID.Host, Code: code, Reason: "transfereeNotAccepted", At: minute(m)}
	for _, f := range edit {
		f(&r)
	}
	b.bundle.Rejections = append(b.bundle.Rejections, envelope.BundleRejection{JWS: must(envelope.ParseJWS(must(envelope.SignRejection(r, s)))), Rejection: r})
	return b
}

func (b *builder) verdict(kind envelope.VerdictKind, s *identity.Signer, m float64, edit ...func(*envelope.Verdict)) *builder {
	v := envelope.Verdict{DocumentHash: b.bundle.DocumentHash, Kind: kind, At: minute(m)}
	if n := len(b.bundle.Block.Entries); n > 0 {
		v.EnvelopeHash = b.bundle.Block.Entries[n-1].Hash()
	}
	for _, f := range edit {
		f(&v)
	}
	b.bundle.Verdict = &envelope.BundleVerdict{JWS: must(envelope.ParseJWS(must(envelope.SignVerdict(v, s)))), Verdict: v}
	return b
}

// branch adds another continuation after entry at-1.
func (b *builder) branch(at int, other func(*builder)) *builder {
	side := &builder{bundle: &envelope.Bundle{}, document: b.document}
	side.bundle.Block.Entries = append(side.bundle.Block.Entries, b.bundle.Block.Entries[:at]...)
	other(side)
	b.bundle.Branches = append(b.bundle.Branches, envelope.Branch{From: "trade.example", At: at, Entries: side.bundle.Block.Entries[at:]})
	return b
}

func (b *builder) entry(i int) *envelope.Entry { return &b.bundle.Block.Entries[i] }

func (b *builder) edit(f func(*envelope.Bundle)) *builder { f(b.bundle); return b }

func (b *builder) noSignature() *builder { b.unsigned = true; return b }

// text is the file, as our encoder writes it, with the maker's signature.
func (b *builder) text() string {
	if !b.unsigned {
		must(0, b.bundle.Sign(own("carrier")))
	}
	return string(must(b.bundle.Marshal()))
}

// part is a piece of the text of a JWS, for changes after the encoder.
func part(jws string, i int) string { return strings.Split(jws, ".")[i] }
