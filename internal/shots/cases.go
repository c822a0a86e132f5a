package main

import (
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A picture is one file to be judged, and what it must come to.
type picture struct {
	name, file    string
	body          []byte
	trust         *identity.Trust
	at            time.Time
	verdict, rule string
}

// cases are one of each kind of page.
func cases() ([]picture, error) {
	w, err := newWorld()
	if err != nil {
		return nil, err
	}
	fewer, err := identity.NewTrust(w.ps["carrier.example"].entry, w.ps["trade.example"].entry)
	if err != nil {
		return nil, err
	}
	at := start.AddDate(0, 1, 0)
	var all []*identity.Platform
	for i := range 10 {
		p, err := newPlatform(fmt.Sprintf("platform-%d.example", i), fmt.Sprintf("Platform %d", i), false)
		if err != nil {
			return nil, err
		}
		w.ps[p.entry.Domain.Name] = p
		all = append(all, p.entry)
	}
	every, err := identity.NewTrust(append(all, w.ps["carrier.example"].entry, w.ps["bank.example"].entry, w.ps["trade.example"].entry)...)
	if err != nil {
		return nil, err
	}
	list := []picture{
		{name: "valid", file: "bundle.json", verdict: "VALID"},
		{name: "ten-years-on", file: "bundle.json", verdict: "VALID AT SIGNING TIME", at: start.AddDate(10, 0, 0)},
		{name: "not-trusted", file: "bundle.json", verdict: "INDETERMINATE", rule: "platformNotTrusted", trust: fewer},
		{name: "broken-link", file: "bundle-without-the-bank.json", verdict: "INVALID", rule: "badLink/previous"},
		{name: "fork", file: "bundle.json", verdict: "INDETERMINATE", rule: "forked/signedTwice"},
		{name: "surrendered", file: "bundle.json", verdict: "VALID"},
		{name: "rejected", file: "bundle.json", verdict: "VALID"},
		{name: "rejected-last", file: "bundle.json", verdict: "INVALID", rule: "rejectedEntry"},
		{name: "long-names", file: "a-file-whose-name-goes-on-and-on-without-any-place-to-break-it-at-all-0123456789abcdef0123456789abcdef.json", verdict: "VALID"},
		{name: "huge", file: "bundle.json", verdict: "VALID"},
		{name: "ten-platforms", file: "bundle.json", verdict: "VALID"},
	}
	for i := range list {
		c := &list[i]
		switch {
		case c.name == "ten-platforms":
			c.trust = every
		case c.trust == nil:
			c.trust = w.trust
		}
		if c.at.IsZero() {
			c.at = at
		}
		b, err := w.of(c)
		if err != nil {
			return nil, err
		}
		if err := b.Sign(w.ps["trade.example"].Signer); err != nil {
			return nil, err
		}
		if c.body, err = b.Marshal(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (w *world) of(c *picture) (*envelope.Bundle, error) {
	n := map[string]int{"broken-link": 3, "surrendered": 3, "long-names": 1, "huge": 1, "ten-platforms": 1}[c.name]
	if n == 0 {
		n = 2
	}
	b, err := w.bundle(n)
	if err != nil {
		return nil, err
	}
	switch c.name {
	case "broken-link": // one envelope in the middle taken out, as somebody would who wants it forgotten
		b.Block.Entries = append(b.Block.Entries[:1:1], b.Block.Entries[2:]...)
		b.Receipts = append(b.Receipts[:1:1], b.Receipts[2:]...)
	case "fork": // the bank sells the bill twice
		err = w.again(b, move{envelope.Transfer, "mogiana", "carrier.example", "Fazenda Alta Mogiana", 291}, "")
	case "rejected": // a first try that the addressee refused
		err = w.again(b, move{envelope.Transfer, "kontr", "trade.example", "Kontor Röstkaffee", 280}, "trade.example")
	case "rejected-last":
		b.Receipts = b.Receipts[:1]
		err = w.reject(b, &b.Block.Entries[1], "bank.example", "trade.example")
	case "surrendered":
		var jws string
		jws, err = envelope.SignVerdict(envelope.Verdict{DocumentHash: b.DocumentHash, EnvelopeHash: b.Block.Last().Hash(), Kind: envelope.Surrendered, At: start.Add(445 * time.Hour)}, w.ps["carrier.example"].Signer)
		b.Verdict = &envelope.BundleVerdict{JWS: envelope.JWS{Raw: jws}}
	case "long-names":
		err = seal(b, w.ps, "bank.example", []move{{envelope.Transfer, "the-documentation-and-collections-department-of-the-branch-office", "trade.example", "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft und Söhne mit beschränkter Haftung", 290}})
	case "ten-platforms":
		by := "bank.example"
		for i := range 10 {
			to := fmt.Sprintf("platform-%d.example", i)
			if err = seal(b, w.ps, by, []move{{envelope.Transfer, "desk", to, "Desk", 6 + i}}); err != nil {
				break
			}
			by = to
		}
	case "huge":
		for i := range 160 {
			by, to := "bank.example", "carrier.example"
			if i%2 == 1 {
				by, to = to, by
			}
			if err = seal(b, w.ps, by, []move{{envelope.Transfer, "desk", to, "Desk", 6 + i}}); err != nil {
				break
			}
		}
	}
	return b, err
}

// again is another continuation after the first entry, by the bank; rejected, if by is given.
func (w *world) again(b *envelope.Bundle, m move, by string) error {
	other := &envelope.Bundle{DocumentHash: b.DocumentHash}
	other.Block.Entries = append(other.Block.Entries, b.Block.Entries[0])
	if err := seal(other, w.ps, "bank.example", []move{m}); err != nil {
		return err
	}
	b.Branches = []envelope.Branch{{From: "carrier.example", At: 1, Entries: other.Block.Entries[1:]}}
	if by == "" {
		return nil
	}
	return w.reject(b, &b.Branches[0].Entries[0], "bank.example", by)
}

func (w *world) reject(b *envelope.Bundle, e *envelope.Entry, from, by string) error {
	r := envelope.Rejection{EnvelopeHash: e.Hash(), JWSSum: envelope.HashOf([]byte(e.JWS.Raw)), Sender: w.ps[from].entry.Domain, Receiver: w.ps[by].entry.Domain,
		Code: envelope.BadEnvelopeCode, Reason: "transfereeNotAccepted", At: start.Add(291 * time.Hour)}
	jws, err := envelope.SignRejection(r, w.ps[by].Signer)
	b.Rejections = append(b.Rejections, envelope.BundleRejection{JWS: envelope.JWS{Raw: jws}})
	return err
}
