package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
)

// journey moves the bill: issued, transferred, endorsed, surrendered, honoured.
func (r *run) journey(ctx context.Context) bool {
	n := r.net
	return r.stage("step", "the carrier issues a bill to the shipper", func() error {
		b, err := n.carrier.order(ctx, "carrier", "/api/v1/ebls", map[string]any{"document": json.RawMessage(document), "to": "shipper@carrier.example", "comments": "Issued at Santos."})
		if err != nil {
			return err
		}
		r.hash = b.DocumentHash
		canonical, err := envelope.Canonicalize(document)
		if err != nil {
			return err
		}
		if got := envelope.HashOf(canonical).String(); got != r.hash {
			return unexpected("the document hash is %s, and its SHA-256 is %s", r.hash, got)
		}
		r.note("document hash %s = SHA-256 of %d bytes of transport document (RFC 8785)", r.hash, len(canonical))
		r.note("a signed, linked step inside carrier.example; %s is in control", b.Possessor)
		return r.only(ctx, r.hash, n.carrier)
	}) && r.stage("step", "the shipper transfers it to the bank, on another platform", func() error {
		return r.move(ctx, n.carrier, "shipper", "transfer", "lc-desk@bank.example", n.bank)
	}) && r.stage("step", "the bank endorses it to the buyer, on a third platform", func() error {
		return r.move(ctx, n.bank, "lc-desk", "transfer", "buyer@consignee.example", n.consignee)
	}) && r.stage("step", "the buyer surrenders it to the carrier", func() error {
		return r.move(ctx, n.consignee, "buyer", "surrender", "carrier@carrier.example", n.carrier)
	}) && r.stage("step", "the carrier honours the surrender: the bill is void", func() error {
		b, err := n.carrier.order(ctx, "carrier", "/api/v1/ebls/"+r.hash+"/honour", map[string]any{})
		if err != nil {
			return err
		}
		r.note("verdict %s", short(b.Verdict, 60))
		if _, err := n.consignee.await(ctx, r.hash, func(b *bill) bool { return b.Control == "void" }); err != nil {
			return err
		}
		r.note("consignee.example fetched the verdict and checked that carrier.example signed it")
		return r.only(ctx, r.hash, nil)
	})
}

// move gives the bill to a party on another platform and checks what came of it.
func (r *run) move(ctx context.Context, from *platform, user, verb, to string, dest *platform) error {
	started := time.Now()
	b, err := from.order(ctx, user, "/api/v1/ebls/"+r.hash+"/"+verb, map[string]any{"to": to})
	if err != nil {
		return err
	}
	took := time.Since(started)
	if b.Transfer == nil || b.Transfer.State != "accepted" {
		return unexpected("the transfer is not accepted: %s", b.Reason)
	}
	receipt, err := envelope.ParseHash(b.Head)
	if err != nil {
		return err
	}
	if _, err := envelope.OpenReceipt([]byte(b.Transfer.Verdict), receipt, dest.self, time.Now()); err != nil {
		return unexpected("the receipt is not %s's: %s", dest.domain, err)
	}
	if r.receipt == "" {
		r.receipt = b.Transfer.Verdict
	}
	r.note("%s found by DNS, TLS identity proved both ways, envelope sealed, stored, then sent", dest.domain)
	r.note("%s checked: strict JSON, %d signature(s), hashes and links, the law, the transferee, what it knew", dest.domain, b.Length)
	r.note("receipt of %s over %s…: %s (%d ms)", dest.domain, b.Head[:12], short(b.Transfer.Verdict, 48), took.Milliseconds())
	block, err := from.call(ctx, "auditor", http.MethodGet, "/api/v1/ebls/"+r.hash+"/chain", nil)
	if err != nil {
		return err
	}
	r.blocks[from.domain] = block
	return r.only(ctx, r.hash, dest)
}

// only checks that exactly one node holds the bill, and which; nil: none does.
func (r *run) only(ctx context.Context, hash string, holder *platform) error {
	var holders []string
	for _, p := range r.net.all() {
		b, err := p.bill(ctx, "auditor", hash)
		if err != nil {
			return err
		}
		if b != nil && b.Control == "held" {
			holders = append(holders, p.domain)
		}
	}
	want := ""
	if holder != nil {
		want = holder.domain
	}
	if got := strings.Join(holders, " and "); got != want {
		return unexpected("held by %q, and should be by %q", got, want)
	}
	return nil
}

// offline judges the bundles of all three nodes as a stranger would: by the files and the
// trust entries alone.
func (r *run) offline(ctx context.Context) bool {
	return r.stage("check", "judge the evidence bundles of each node offline, from trust entries alone", func() error {
		entries := []*identity.Platform{r.net.carrier.self, r.net.bank.self, r.net.consignee.self}
		trust, err := identity.NewTrust(entries...)
		if err != nil {
			return err
		}
		for _, hash := range []string{r.hash, r.second} {
			var first *judge.Report
			for _, p := range r.net.all() {
				if b, err := p.bill(ctx, "auditor", hash); err != nil {
					return err
				} else if b == nil {
					continue
				}
				body, err := p.call(ctx, "auditor", http.MethodGet, "/api/v1/ebls/"+hash+"/bundle", nil)
				if err != nil {
					return err
				}
				name := fmt.Sprintf("%s-%s.json", hash[:12], strings.Split(p.domain, ".")[0])
				if err := r.handOut(name, body); err != nil {
					return err
				}
				j := judge.File(body, judge.Options{Trust: trust, Now: time.Now()})
				if hash == r.second && j.Rule == "forked/signedTwice" {
					// The attacker had the carrier's key, and this node kept what it signed.
					r.note("%s %s: %s", name, j.Verdict, j.Forks[0].Sentence())
					continue
				}
				if !j.Verdict.Holds() {
					return unexpected("the bundle of %s is %s: %s: %s", p.domain, j.Verdict, j.Rule, j.Detail)
				}
				r.note("%s %s: %d entries, in control %q (%s)", name, j.Verdict, j.State.Length, j.State.Possessor, j.State.Status)
				if first == nil || j.State.Length > first.State.Length {
					first = j
				}
			}
			for i, e := range first.Entries {
				for _, tx := range e.Transactions {
					r.note("  %d %-18s %s → %s", i, e.Signer, tx.Instruction, tx.Transferee)
				}
			}
		}
		var texts []json.RawMessage
		for _, p := range entries {
			text, err := p.JSON()
			if err != nil {
				return err
			}
			texts = append(texts, text)
		}
		text, err := json.MarshalIndent(texts, "", " ")
		if err != nil {
			return err
		}
		return r.handOut("platforms.trust", text)
	})
}

// handOut writes a file for the reader, where that was asked for.
func (r *run) handOut(name string, body []byte) error {
	if r.Bundles == "" {
		return nil
	}
	path := filepath.Join(r.Bundles, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, body, 0o644)
}
