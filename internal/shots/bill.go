package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

var start = time.Date(2026, 11, 19, 9, 12, 0, 0, time.UTC)

// A platform signs.
type platform struct {
	*identity.Signer
	entry *identity.Platform
}

func newPlatform(name, people string, issuer bool) (*platform, error) {
	domain, err := identity.ParseHost(name)
	if err != nil {
		return nil, err
	}
	s, err := identity.GenerateSigner(domain, identity.ES256, identity.CertificateSpec{Subject: people, NotBefore: start.AddDate(0, -3, 0), NotAfter: start.AddDate(1, 0, 0)})
	if err != nil {
		return nil, err
	}
	return &platform{s, &identity.Platform{Domain: domain, Name: people, Mode: identity.ModePinned, Issuer: issuer, Keys: []*identity.Key{s.Key}}}, nil
}

type move struct {
	in       envelope.Instruction
	to       string // a party: user, platform, name
	platform string
	name     string
	hours    int
}

// platforms are the three, and the trust file of a stranger.
func platforms() (map[string]*platform, *identity.Trust, error) {
	ps := map[string]*platform{}
	var entries []*identity.Platform
	for _, x := range []struct {
		name, people string
		issuer       bool
	}{{"carrier.example", "Northern Line Shipping", true}, {"bank.example", "Hansa Handelsbank", false}, {"trade.example", "Kontor Trade Desk", false}} {
		p, err := newPlatform(x.name, x.people, x.issuer)
		if err != nil {
			return nil, nil, err
		}
		ps[x.name] = p
		entries = append(entries, p.entry)
	}
	trust, err := identity.NewTrust(entries...)
	return ps, trust, err
}

// A world is the three platforms and the bill that goes between them: from the carrier to the
// shipper, the bank, the consignee, and back to the carrier against the cargo.
type world struct {
	ps    map[string]*platform
	trust *identity.Trust
	doc   []byte
}

type leg struct {
	by    string
	moves []move
}

var legs = []leg{
	{"carrier.example", []move{{envelope.Issue, "mogiana", "carrier.example", "Fazenda Alta Mogiana", 0}, {envelope.Transfer, "lc-desk", "bank.example", "Hansa Handelsbank", 5}}},
	{"bank.example", []move{{envelope.Transfer, "kontor", "trade.example", "Kontor Röstkaffee", 290}}},
	{"trade.example", []move{{envelope.Surrender, "documentation", "carrier.example", "Northern Line", 440}}},
}

func newWorld() (*world, error) {
	document, err := os.ReadFile(filepath.Join("internal", "demo", "document.json"))
	if err != nil {
		return nil, err
	}
	if document, err = envelope.Canonicalize(document); err != nil {
		return nil, err
	}
	ps, trust, err := platforms()
	return &world{ps, trust, document}, err
}

// bundle has the first legs.
func (w *world) bundle(n int) (*envelope.Bundle, error) {
	b := &envelope.Bundle{Made: envelope.Made{By: w.ps["trade.example"].entry.Domain, At: start.AddDate(0, 0, 21), Selection: envelope.SelectBill}, DocumentHash: envelope.HashOf(w.doc)}
	b.Block.Document = w.doc
	for _, l := range legs[:n] {
		if err := seal(b, w.ps, l.by, l.moves); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func seal(b *envelope.Bundle, ps map[string]*platform, by string, moves []move) error {
	var txs [][]byte
	for _, m := range moves {
		party, err := json.Marshal(map[string]string{"eBLPlatformIdentifier": m.to + "@" + m.platform, "partyName": m.name})
		if err != nil {
			return err
		}
		tx, err := envelope.NewTransaction(envelope.Transaction{Instruction: m.in, At: start.Add(time.Duration(m.hours) * time.Hour), ToOrder: true, PlatformHost: ps[by].entry.Domain}, party)
		if err != nil {
			return err
		}
		txs = append(txs, tx)
	}
	var previous envelope.Hash
	if len(b.Block.Entries) > 0 {
		previous = b.Block.Last().Hash()
	}
	e, err := envelope.Seal(b.DocumentHash, previous, txs, ps[by].Signer)
	if err != nil {
		return err
	}
	b.Block.Entries = append(b.Block.Entries, e)
	last := moves[len(moves)-1]
	receipt, err := envelope.SignReceipt(e.Hash(), ps[last.platform].Signer, start.Add(time.Duration(last.hours)*time.Hour+2*time.Minute))
	b.Receipts = append(b.Receipts, envelope.JWS{Raw: receipt})
	return err
}
