package catest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1" // answers that are signed with it must be refused
	_ "crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// A Status is a status in an answer.
type Status int

// The statuses.
const (
	Good Status = iota
	Revoked
	Unknown
)

// A Single is what an answer says of one certificate. Zero times: thisUpdate a minute ago,
// nextUpdate in an hour.
type Single struct {
	Cert, Issuer *x509.Certificate
	Status       Status
	RevokedAt    time.Time
	Reason       int // CRLReason
	Invalidity   time.Time
	ThisUpdate   time.Time
	NextUpdate   time.Time
	NoNextUpdate bool
	Serial       *big.Int    // instead of that of Cert
	Hash         crypto.Hash // of the CertID; 0: SHA-1
	Critical     bool        // an extension that nobody knows
}

// An Answer is an OCSP response, signed by By with its certificate beside it.
type Answer struct {
	Singles  []Single
	By       *Authority
	Bare     bool // without the certificate of By
	Produced time.Time
	Hash     crypto.Hash // of the signature; 0: SHA-256
	Critical bool        // an extension of the whole that nobody knows
}

type certID struct {
	Hash             pkix.AlgorithmIdentifier
	NameHash, IDHash []byte
	Serial           *big.Int
}

type single struct {
	CertID     certID
	Status     asn1.RawValue
	ThisUpdate time.Time        `asn1:"generalized"`
	NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
	Extensions []pkix.Extension `asn1:"optional,explicit,tag:1"`
}

type responseData struct {
	ResponderID asn1.RawValue
	ProducedAt  time.Time `asn1:"generalized"`
	Responses   []single
	Extensions  []pkix.Extension `asn1:"optional,explicit,tag:1"`
}

type basicResponse struct {
	Data         asn1.RawValue
	Algorithm    pkix.AlgorithmIdentifier
	Signature    asn1.BitString
	Certificates []asn1.RawValue `asn1:"optional,explicit,tag:0"`
}

type revoked struct {
	At     time.Time       `asn1:"generalized"`
	Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
}

var hashOIDs = map[crypto.Hash]asn1.ObjectIdentifier{
	crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1},
}

// DER encodes and signs the answer.
func (a Answer) DER(t testing.TB) []byte {
	t.Helper()
	marshal := func(v any) []byte {
		der, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	data := responseData{
		ResponderID: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: a.By.Cert.RawSubject},
		ProducedAt:  orTime(a.Produced, -time.Minute),
	}
	for _, s := range a.Singles {
		data.Responses = append(data.Responses, s.encode(t, marshal))
	}
	if a.Critical {
		data.Extensions = []pkix.Extension{unknownExtension}
	}
	tbs := marshal(data)
	hash := a.Hash
	if hash == 0 {
		hash = crypto.SHA256
	}
	w := hash.New()
	w.Write(tbs)
	sig, err := a.By.Key.Sign(rand.Reader, w.Sum(nil), hash)
	if err != nil {
		t.Fatal(err)
	}
	basic := basicResponse{Data: asn1.RawValue{FullBytes: tbs}, Algorithm: algorithm(t, a.By.Key, hash), Signature: asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}}
	if !a.Bare {
		basic.Certificates = []asn1.RawValue{{FullBytes: a.By.Cert.Raw}}
	}
	return marshal(struct {
		Status   asn1.Enumerated
		Response struct {
			Type asn1.ObjectIdentifier
			Body []byte
		} `asn1:"explicit,tag:0"`
	}{0, struct {
		Type asn1.ObjectIdentifier
		Body []byte
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, marshal(basic)}})
}

var unknownExtension = pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4, 5}, Critical: true, Value: []byte{5, 0}}

func (s Single) encode(t testing.TB, marshal func(any) []byte) single {
	hash := s.Hash
	if hash == 0 {
		hash = crypto.SHA1
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(s.Issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		t.Fatal(err)
	}
	sum := func(b []byte) []byte {
		w := hash.New()
		w.Write(b)
		return w.Sum(nil)
	}
	out := single{CertID: certID{pkix.AlgorithmIdentifier{Algorithm: hashOIDs[hash], Parameters: asn1.NullRawValue}, sum(s.Issuer.RawSubject), sum(spki.Key.RightAlign()), s.Serial}}
	if s.Serial == nil {
		out.CertID.Serial = s.Cert.SerialNumber
	}
	out.ThisUpdate = orTime(s.ThisUpdate, -time.Minute)
	if !s.NoNextUpdate {
		out.NextUpdate = orTime(s.NextUpdate, time.Hour)
	}
	switch s.Status {
	case Good:
		out.Status = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0}
	case Unknown:
		out.Status = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 2}
	case Revoked:
		var seq asn1.RawValue
		if _, err := asn1.Unmarshal(marshal(revoked{orTime(s.RevokedAt, -time.Hour), asn1.Enumerated(s.Reason)}), &seq); err != nil {
			t.Fatal(err)
		}
		out.Status = asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: seq.Bytes}
	}
	if !s.Invalidity.IsZero() {
		when, err := asn1.MarshalWithParams(s.Invalidity.UTC().Truncate(time.Second), "generalized")
		if err != nil {
			t.Fatal(err)
		}
		out.Extensions = append(out.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: when})
	}
	if s.Critical {
		out.Extensions = append(out.Extensions, unknownExtension)
	}
	return out
}

func orTime(at time.Time, otherwise time.Duration) time.Time {
	if at.IsZero() {
		at = time.Now().Add(otherwise)
	}
	return at.UTC().Truncate(time.Second)
}

func algorithm(t testing.TB, key crypto.Signer, hash crypto.Hash) pkix.AlgorithmIdentifier {
	switch key.(type) {
	case *ecdsa.PrivateKey:
		if hash == crypto.SHA1 {
			return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 1}}
		}
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	case *rsa.PrivateKey:
		if hash == crypto.SHA1 {
			return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 5}, Parameters: asn1.NullRawValue}
		}
		return pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 11}, Parameters: asn1.NullRawValue}
	}
	t.Fatal("a key of an unknown kind")
	return pkix.AlgorithmIdentifier{}
}
