package judge_test

import (
	"fmt"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
)

// BenchmarkBundle judges a bundle with a chain of n entries and a receipt for each, as
// eblverify does: from its bytes to the verdict, without a network and without a database.
func BenchmarkBundle(b *testing.B) {
	for _, v := range []struct {
		n    int
		ocsp [][]byte // an answer, of whatever, has the reader look since when each entry is proved to exist
	}{{1, nil}, {20, nil}, {100, nil}, {100, [][]byte{{0}}}} {
		n := v.n
		b.Run(fmt.Sprintf("n=%d/ocsp=%d", n, len(v.ocsp)), func(b *testing.B) {
			body, o := longBundle(b, n, v.ocsp)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if r := judge.File(body, o); r.Verdict != judge.Valid || r.State.Length != n || !r.State.Settled {
					b.Fatalf("got %s (%s: %s), state %+v; want %s with %d entries, settled", r.Verdict, r.Rule, r.Detail, r.State, judge.Valid, n)
				}
			}
		})
	}
}

// longBundle is a bill that two platforms handed to each other n times.
func longBundle(b *testing.B, n int, ocsp [][]byte) ([]byte, judge.Options) {
	b.Helper()
	now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	var signers []*identity.Signer
	var platforms []*identity.Platform
	for _, name := range []string{"carrier.example", "bank.example"} {
		s, err := identity.GenerateSigner(identity.Host{Name: name}, identity.ES256, identity.CertificateSpec{
			Subject: name, NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(1, 0, 0)})
		must(err)
		signers = append(signers, s)
		platforms = append(platforms, &identity.Platform{Domain: s.Key.Platform, Mode: identity.ModePinned, Issuer: true, Keys: []*identity.Key{s.Key}})
	}
	trust, err := identity.NewTrust(platforms...)
	must(err)
	document := []byte(`{"carrierCode":"CARR","isToOrder":true,"transportDocumentReference":"BENCH"}`)
	bundle := &envelope.Bundle{Made: envelope.Made{By: platforms[0].Domain, At: now, Selection: envelope.SelectBill},
		DocumentHash: envelope.HashOf(document), OCSP: ocsp, Block: envelope.Transferblock{Document: document}}
	var previous envelope.Hash
	for i := range n {
		by, to := signers[i%2], signers[(i+1)%2]
		at := now.Add(time.Duration(i-n) * time.Minute)
		tx := envelope.Transaction{Instruction: envelope.Transfer, At: at, ToOrder: true, PlatformHost: by.Key.Platform}
		if i == 0 {
			tx.Instruction = envelope.Issue
		}
		text, err := envelope.NewTransaction(tx, []byte(`"desk@`+to.Key.Platform.Name+`"`))
		must(err)
		e, err := envelope.Seal(bundle.DocumentHash, previous, [][]byte{text}, by)
		must(err)
		receipt, err := envelope.SignReceipt(e.Claimed, to, at.Add(time.Second))
		must(err)
		bundle.Block.Entries, previous = append(bundle.Block.Entries, e), e.Hash()
		bundle.Receipts = append(bundle.Receipts, envelope.JWS{Raw: receipt})
	}
	must(bundle.Sign(signers[0]))
	body, err := bundle.Marshal()
	must(err)
	return body, judge.Options{Trust: trust, Now: now}
}
