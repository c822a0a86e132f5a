// Shots makes the pictures of docs/: reports of eblverify as a browser shows them, on a desk
// and on a phone. It needs Chromium.
//
//	go run ./internal/shots          # in the folder of the module
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/report"
	"eblnode/judge"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "shots:", err)
		os.Exit(1)
	}
}

func run() error {
	dir, err := os.MkdirTemp("", "shots-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ps, trust, err := platforms()
	if err != nil {
		return err
	}
	held, err := journey(ps, 2)
	if err != nil {
		return err
	}
	good, err := held.Marshal()
	if err != nil {
		return err
	}
	b, err := journey(ps, 3)
	if err != nil {
		return err
	}
	// One envelope in the middle taken out, as somebody would who wants it forgotten.
	b.Block.Entries = append(b.Block.Entries[:1:1], b.Block.Entries[2:]...)
	b.Receipts = append(b.Receipts[:1:1], b.Receipts[2:]...)
	b.Signature = ""
	bad, err := b.Marshal()
	if err != nil {
		return err
	}
	for _, shot := range []struct {
		file          string
		body          []byte
		name          string
		width, height int
	}{
		{"report.png", good, "bundle.json", 880, 1150},
		{"report-phone.png", good, "bundle.json", 390, 1150},
		{"report-broken.png", bad, "bundle-without-the-bank.json", 880, 900},
	} {
		at := start.AddDate(0, 1, 0)
		r := judge.File(shot.body, judge.Options{Trust: trust, Now: at, Journey: true})
		r.File = shot.name
		html, err := report.HTML(report.Input{Report: r, Trust: trust, At: at, Maker: "eblverify"})
		if err != nil {
			return err
		}
		page, frame := filepath.Join(dir, "page.html"), filepath.Join(dir, "frame.html")
		// A frame is as narrow as a phone; the browser's own window may not be.
		text := fmt.Sprintf(`<body style="margin:0"><iframe src="page.html" style="border:0;width:%dpx;height:%dpx"></iframe>`, shot.width, shot.height)
		if err := os.WriteFile(page, html, 0o600); err != nil {
			return err
		}
		if err := os.WriteFile(frame, []byte(text), 0o600); err != nil {
			return err
		}
		if err := photograph(frame, filepath.Join("docs", shot.file), shot.width, shot.height, dir); err != nil {
			return err
		}
		fmt.Println("docs/"+shot.file, r.Verdict, r.Rule)
	}
	return nil
}

func photograph(page, to string, width, height int, dir string) error {
	to, err := filepath.Abs(to)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir="+filepath.Join(dir, "profile"),
		fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+to, "file://"+page)
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("chromium: %w: %s", err, out)
	}
	return nil
}

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

// journey is a bill that goes from the carrier to the shipper, the bank, the consignee, and
// back to the carrier against the cargo; the first legs of it.
func journey(ps map[string]*platform, legs int) (*envelope.Bundle, error) {
	document, err := os.ReadFile(filepath.Join("internal", "demo", "document.json"))
	if err != nil {
		return nil, err
	}
	if document, err = envelope.Canonicalize(document); err != nil {
		return nil, err
	}
	b := &envelope.Bundle{Made: envelope.Made{By: ps["trade.example"].entry.Domain, At: start.AddDate(0, 0, 21), Selection: envelope.SelectBill}, DocumentHash: envelope.HashOf(document)}
	b.Block.Document = document
	for _, leg := range []struct {
		by    string
		moves []move
	}{
		{"carrier.example", []move{{envelope.Issue, "mogiana", "carrier.example", "Fazenda Alta Mogiana", 0}, {envelope.Transfer, "lc-desk", "bank.example", "Hansa Handelsbank", 5}}},
		{"bank.example", []move{{envelope.Transfer, "kontor", "trade.example", "Kontor Röstkaffee", 290}}},
		{"trade.example", []move{{envelope.Surrender, "documentation", "carrier.example", "Northern Line", 440}}},
	}[:legs] {
		if err := seal(b, ps, leg.by, leg.moves); err != nil {
			return nil, err
		}
	}
	return b, b.Sign(ps["trade.example"].Signer)
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
