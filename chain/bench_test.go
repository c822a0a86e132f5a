package chain_test

import (
	"fmt"
	"testing"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// BenchmarkVerify is a chain seen for the first time, all signatures one after the other, and
// one of which all but the newest entry was verified before. Parsing is not in it: see
// BenchmarkParse of envelope.
func BenchmarkVerify(b *testing.B) {
	for _, n := range []int{1, 20, 100} {
		block, o := longBlock(b, n)
		body := block.Marshal(false)
		b.Run(fmt.Sprintf("first/n=%d", n), func(b *testing.B) { benchVerify(b, body, nil, o) })
		if n == 1 {
			continue
		}
		part := *block
		part.Entries = block.Entries[: n-1 : n-1]
		c, err := chain.Verify(&part, o)
		if err != nil {
			b.Fatal(err)
		}
		o.Before = c.Verified()
		b.Run(fmt.Sprintf("known/n=%d", n), func(b *testing.B) { benchVerify(b, body, part.Prefix(), o) })
	}
}

// benchVerify verifies blocks that nobody has verified yet, since a block remembers what was
// computed of it.
func benchVerify(b *testing.B, body []byte, p *envelope.Prefix, o chain.Options) {
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		block, err := envelope.ParseKnown(body, envelope.Limits{}, func([]byte) *envelope.Prefix { return p })
		if err != nil || p != nil && block.Known() != p.Len() {
			b.Fatalf("got %v and %d entries that were not read, want %d", err, block.Known(), p.Len())
		}
		b.StartTimer()
		c, err := chain.Verify(block, o)
		if err != nil || c.State.Possessor.String() == "" {
			b.Fatalf("got %+v and %v", c, err)
		}
	}
}

// longBlock is a block of n entries between two platforms, each of which
// hands the bill to the other, and how it is verified as one that does not arrive now.
func longBlock(b *testing.B, n int) (*envelope.Transferblock, chain.Options) {
	b.Helper()
	now := time.Now().UTC().Truncate(time.Millisecond)
	var signers []*identity.Signer
	var platforms []*identity.Platform
	for _, name := range []string{"carrier.example", "bank.example"} {
		s, err := identity.GenerateSigner(identity.Host{Name: name}, identity.ES256, identity.CertificateSpec{
			Subject: name, NotBefore: now.Add(-1000 * time.Hour), NotAfter: now.Add(time.Hour)})
		if err != nil {
			b.Fatal(err)
		}
		signers = append(signers, s)
		platforms = append(platforms, &identity.Platform{Domain: s.Key.Platform, Mode: identity.ModePinned, Issuer: true, Keys: []*identity.Key{s.Key}})
	}
	trust, err := identity.NewTrust(platforms...)
	if err != nil {
		b.Fatal(err)
	}
	block := &envelope.Transferblock{Document: []byte(`{"carrierCode":"CARR","isToOrder":true,"transportDocumentReference":"BENCH"}`)}
	var previous envelope.Hash
	for i := range n {
		by, to := signers[i%2], signers[(i+1)%2]
		tx := envelope.Transaction{Instruction: envelope.Transfer, At: now.Add(time.Duration(i-n) * time.Minute), ToOrder: true, PlatformHost: by.Key.Platform}
		if i == 0 {
			tx.Instruction = envelope.Issue
		}
		text, err := envelope.NewTransaction(tx, []byte(`"desk@`+to.Key.Platform.Name+`"`))
		if err != nil {
			b.Fatal(err)
		}
		e, err := envelope.Seal(envelope.HashOf(block.Document), previous, [][]byte{text}, by)
		if err != nil {
			b.Fatal(err)
		}
		block.Entries, previous = append(block.Entries, e), e.Hash()
	}
	return block, chain.Options{Trust: trust, Now: now}
}
