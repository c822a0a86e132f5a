package node

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"slices"

	"eblnode/envelope"
	"eblnode/identity"
)

// A bundleOrder says what goes into a bundle.
type bundleOrder struct {
	selection envelope.Selection
	entry     int // of SelectTransfer: the last entry
}

// Bundle is the evidence about a bill that u may see, for strangers: docs/BUNDLE.md. It is
// signed by us, unless our key is not valid now. entry, unless below zero, selects the
// transfer by that entry of the chain: both sides of it have the same evidence.
func (n *Node) Bundle(ctx context.Context, u *User, document envelope.Hash, entry int) (*envelope.Bundle, error) {
	b, err := n.visible(ctx, u, document)
	if err != nil {
		return nil, err
	}
	o := bundleOrder{selection: envelope.SelectBill}
	if entry >= 0 {
		o = bundleOrder{envelope.SelectTransfer, entry}
	}
	return n.bundle(ctx, b, o)
}

// bundle reads everything in one snapshot, so that its parts are of one moment.
func (n *Node) bundle(ctx context.Context, b *bill, o bundleOrder) (*envelope.Bundle, error) {
	var out *envelope.Bundle
	var why string
	err := n.store.snapshot(ctx, func(q querier) (err error) {
		// What an older database says of who is in control is not given to strangers.
		if why, err = n.quarantine(ctx, q, b.state.Document); err != nil || why != "" {
			return err
		}
		f := &bundleFile{forkFile: forkFile{node: n, q: q, bill: b, parties: map[identity.Host]bool{}}, o: o, keys: map[envelope.Hash]bool{}}
		out, err = f.make(ctx)
		return err
	})
	if why != "" {
		return nil, lockedInQuarantine(why)
	}
	if err != nil {
		return nil, err
	}
	// Nothing leaves that a power cut could still take from us.
	if err := n.store.settled(ctx); err != nil {
		return nil, busy(err)
	}
	n.vouch(ctx, out)
	if signer, err := n.signer(out.Made.At); err == nil {
		if err := out.Sign(signer); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// bundleFile is a bundle under way.
type bundleFile struct {
	forkFile
	o    bundleOrder
	b    *envelope.Bundle
	keys map[envelope.Hash]bool // thumbprints of keys that signed something in it
	open *transfer
}

func (f *bundleFile) make(ctx context.Context) (*envelope.Bundle, error) {
	f.b = &envelope.Bundle{DocumentHash: f.bill.state.Document}
	f.b.Made = envelope.Made{By: f.node.Domain(), At: f.node.cfg.Now(), Selection: f.o.selection}
	if err := f.bill.loadDocument(ctx, f.q); err != nil {
		return nil, err
	}
	if len(f.bill.document) > 0 {
		f.b.Block.Document = f.bill.document
	}
	parts := []func(context.Context) error{f.chain, f.steps, f.loadBranches, f.branches, f.receipts, f.rejections, f.verdict, f.kept, f.seen}
	if f.o.selection == envelope.SelectTransfer {
		parts = []func(context.Context) error{f.chain, f.receipts, f.rejections, f.kept, f.seen}
	}
	for _, part := range parts {
		if err := part(ctx); err != nil {
			return nil, err
		}
	}
	return f.b, nil
}

// chain is what we accepted or sealed. An envelope of ours that has left counts as our
// head: its addressee may have it.
func (f *bundleFile) chain(ctx context.Context) error {
	type stored struct {
		jws, signer string
		key         envelope.Hash
		at          int64
	}
	var list []stored
	err := each(ctx, f.q, "SELECT jws, signer, key, stored_at FROM entries WHERE id >= ? AND id < ? ORDER BY id",
		[]any{f.bill.id * maxEntries, (f.bill.id + 1) * maxEntries}, func(scan func(...any) error) error {
			var s stored
			if err := scan(&s.jws, &s.signer, sqlHash{&s.key}, &s.at); err != nil {
				return err
			}
			list = append(list, s)
			return nil
		})
	if err != nil {
		return err
	}
	if f.open, err = openTransfer(ctx, f.q, f.bill.id); err != nil {
		return err
	}
	if f.open != nil && f.open.state != Prepared {
		list = append(list, stored{f.open.jws, f.node.Domain().String(), f.ownKey(f.open.jws), f.open.createdAt})
	} else {
		f.open = nil
	}
	for i, s := range list {
		if f.o.selection == envelope.SelectTransfer && i > f.o.entry {
			break
		}
		e, err := f.entry(s.jws)
		if err != nil {
			return err
		}
		host, err := identity.ParseHost(s.signer)
		if err != nil {
			return err
		}
		f.ours = append(f.ours, e)
		f.keys[s.key] = true
		f.b.Checks = append(f.b.Checks, envelope.Check{JWS: envelope.HashOf([]byte(s.jws)), At: fromMillis(s.at), Platform: host, Key: s.key})
	}
	if f.o.selection == envelope.SelectTransfer && f.o.entry >= len(f.ours) {
		return refuse(NotFound, "notFound", "the chain has %d entries", len(list))
	}
	f.b.Block.Entries = f.ours
	return nil
}

// ownKey is the thumbprint of the key of ours that signed jws; zero if none is named.
func (f *bundleFile) ownKey(jws string) envelope.Hash {
	if j, err := envelope.ParseJWS(jws); err == nil {
		if k, found := f.node.Self().Key(j.Header.Kid); found {
			return k.Thumbprint()
		}
	}
	return envelope.Hash{}
}

// steps are those that no entry carries yet.
func (f *bundleFile) steps(ctx context.Context) error {
	if f.open != nil {
		return nil // sealed in what has left
	}
	return each(ctx, f.q, "SELECT jws FROM steps WHERE id >= ? AND id < ? AND sealed IS NULL ORDER BY id",
		[]any{f.bill.id * maxEntries, (f.bill.id + 1) * maxEntries}, func(scan func(...any) error) error {
			var s envelope.BundleStep
			err := scan(&s.JWS.Raw)
			f.b.Steps = append(f.b.Steps, s)
			f.parties[f.node.Domain()] = true
			f.keys[f.ownKey(s.JWS.Raw)] = true
			return err
		})
}

// branches are the other chains that were offered, and envelopes of ours that their
// addressees rejected: whoever sees both can tell that we did not sign twice.
func (f *bundleFile) branches(ctx context.Context) error {
	have := func(e *envelope.Entry, at int) bool {
		return at < len(f.ours) && f.ours[at].Hash() == e.Hash() ||
			slices.ContainsFunc(f.b.Branches, func(b envelope.Branch) bool { return b.At == at && b.Entries[0].Hash() == e.Hash() })
	}
	for _, leaf := range f.leaves() {
		if len(f.b.Branches) >= envelope.MaxBranches {
			break
		}
		path, at := f.path(leaf)
		// The bytes may be another signature of the payload that we have.
		for len(path) > 0 && at < len(f.ours) && f.ours[at].Hash() == path[0].Hash() {
			path, at = path[1:], at+1
		}
		if len(path) > 0 {
			f.b.Branches = append(f.b.Branches, envelope.Branch{From: leaf.peer, At: at, Entries: path})
		}
	}
	return each(ctx, f.q, "SELECT idx, jws FROM transfers WHERE bill = ? AND state = 'rejected' AND settled_by = 'rejection' ORDER BY seq",
		[]any{f.bill.id}, func(scan func(...any) error) error {
			var at int
			var jws string
			if err := scan(&at, &jws); err != nil {
				return err
			}
			e, err := f.entry(jws)
			if err != nil {
				return err
			}
			if !have(&e, at) && len(f.b.Branches) < envelope.MaxBranches {
				f.b.Branches = append(f.b.Branches, envelope.Branch{At: at, Entries: []envelope.Entry{e}})
			}
			return nil
		})
}

// receipts are those that we gave and got, in the order of the chain, one an entry.
func (f *bundleFile) receipts(ctx context.Context) error {
	of := map[int]string{}
	read := func(query string) error {
		return each(ctx, f.q, query, []any{f.bill.id}, func(scan func(...any) error) error {
			var at int
			var jws string
			err := scan(&at, &jws)
			if of[at] == "" {
				of[at] = jws
			}
			return err
		})
	}
	if err := read(`SELECT e.idx, r.receipt FROM entries e CROSS JOIN receipts r ON r.id = e.id AND r.envelope_hash = e.hash
	  WHERE e.id >= ?1 * 1048576 AND e.id < (?1 + 1) * 1048576 ORDER BY e.id`); err != nil {
		return err
	}
	if err := read("SELECT idx, verdict FROM transfers WHERE bill = ? AND state = 'accepted' AND settled_by = 'receipt' ORDER BY seq"); err != nil {
		return err
	}
	for i := range f.ours {
		if of[i] != "" && (f.o.selection != envelope.SelectTransfer || i == f.o.entry) {
			f.b.Receipts = append(f.b.Receipts, envelope.JWS{Raw: of[i]})
		}
	}
	return nil
}

// rejections are those that we gave and got, of what stands in the file.
func (f *bundleFile) rejections(ctx context.Context) error {
	if f.o.selection == envelope.SelectTransfer && len(f.b.Receipts) > 0 {
		return nil // settled
	}
	here := map[envelope.Hash]bool{} // the bytes of envelopes in the file
	first := 0
	if f.o.selection == envelope.SelectTransfer {
		first = f.o.entry
	}
	var hashes []envelope.Hash
	note := func(e *envelope.Entry) {
		here[envelope.HashOf([]byte(e.JWS.Raw))] = true
		hashes = append(hashes, e.Hash())
	}
	for i := range f.ours[min(first, len(f.ours)):] {
		note(&f.ours[first+i])
	}
	for i := range f.b.Branches {
		for k := range f.b.Branches[i].Entries {
			note(&f.b.Branches[i].Entries[k])
		}
	}
	seen := map[string]bool{}
	take := func(sum envelope.Hash, jws string) {
		if here[sum] && !seen[jws] {
			seen[jws] = true
			f.b.Rejections = append(f.b.Rejections, envelope.BundleRejection{JWS: envelope.JWS{Raw: jws}})
		}
	}
	err := each(ctx, f.q, "SELECT jws, verdict FROM transfers WHERE bill = ? AND state IN ('rejected', 'disputed') AND verdict IS NOT NULL ORDER BY seq",
		[]any{f.bill.id}, func(scan func(...any) error) error {
			var sent, jws string
			err := scan(&sent, &jws)
			take(envelope.HashOf([]byte(sent)), jws)
			return err
		})
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		err := each(ctx, f.q, "SELECT jws_sum, rejection FROM rejections WHERE envelope_hash = ? ORDER BY id", []any{hash[:]}, func(scan func(...any) error) error {
			var sum envelope.Hash
			var jws string
			err := scan(sqlHash{&sum}, &jws)
			take(sum, jws)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *bundleFile) verdict(ctx context.Context) error {
	return each(ctx, f.q, "SELECT verdict FROM verdicts WHERE bill = ?", []any{f.bill.id}, func(scan func(...any) error) error {
		f.b.Verdict = &envelope.BundleVerdict{}
		return scan(&f.b.Verdict.JWS.Raw)
	})
}

// kept is what was asked about keys when their signatures were believed: the path that was
// taken and the answers, of each JWS in the file.
func (f *bundleFile) kept(ctx context.Context) error {
	all, err := loadEvidence(ctx, f.q, f.bill.id, f.bill.id)
	if err != nil {
		return err
	}
	signers := map[envelope.Hash]identity.Host{}
	note := func(jws string, by identity.Host) { signers[envelope.HashOf([]byte(jws))] = by }
	for i := range f.ours {
		e := &f.ours[i]
		note(e.JWS.Raw, f.node.Trust().Name(e.Payload.Transactions[0].PlatformHost))
		// Who answered is who was addressed.
		for k := range f.b.Receipts {
			if j, err := envelope.ParseJWS(f.b.Receipts[k].Raw); err == nil && string(j.Payload) == e.Claimed.String() {
				note(j.Raw, f.node.Trust().Name(e.Payload.Transactions[len(e.Payload.Transactions)-1].Transferee.ID.Host))
			}
		}
	}
	if f.b.Verdict != nil {
		note(f.b.Verdict.JWS.Raw, f.bill.state.Issuing)
	}
	for _, s := range all[f.bill.id] {
		by, here := signers[s.jws]
		if !here {
			continue
		}
		ev, err := s.evidence()
		if err != nil {
			return err
		}
		c := envelope.Check{JWS: s.jws, At: ev.CheckedAt, Platform: by, Certificates: f.pool(ev.Certificates)}
		if len(ev.Certificates) > 0 {
			if k, err := identity.NewKey(by, "", ev.Certificates[0]); err == nil {
				c.Key = k.Thumbprint()
			}
		}
		for _, der := range ev.Answers {
			if !slices.ContainsFunc(f.b.OCSP, func(have []byte) bool { return bytes.Equal(have, der) }) {
				f.b.OCSP = append(f.b.OCSP, der)
			}
			c.OCSP = append(c.OCSP, envelope.HashOf(der))
		}
		// In the place of what an entry's row tells.
		i := slices.IndexFunc(f.b.Checks, func(o envelope.Check) bool { return o.JWS == s.jws })
		if i < 0 {
			f.b.Checks = append(f.b.Checks, c)
			continue
		}
		if c.Key.IsZero() {
			c.Key = f.b.Checks[i].Key
		}
		f.b.Checks[i] = c
	}
	return nil
}

// seen is what we held of the keys: trust entries as of then, and as they are now, with
// their certificates.
func (f *bundleFile) seen(ctx context.Context) error {
	var entries [][]byte
	err := each(ctx, f.q, "SELECT thumbprint, entry FROM evidence_keys ORDER BY platform, first_used, thumbprint", nil, func(scan func(...any) error) error {
		var key envelope.Hash
		var entry string
		if err := scan(sqlHash{&key}, &entry); err != nil {
			return err
		}
		if f.keys[key] {
			entries = append(entries, []byte(entry))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, p := range f.node.Trust().Platforms() {
		if !f.parties[p.Domain] {
			continue
		}
		entry, err := p.JSON()
		if err != nil {
			return fmt.Errorf("writing the trust entry of %s: %w", p.Domain, err)
		}
		entries = append(entries, entry)
	}
	have := map[string]bool{}
	for _, entry := range entries {
		var b bytes.Buffer
		if err := json.Compact(&b, entry); err != nil {
			return err
		}
		if have[b.String()] {
			continue
		}
		have[b.String()] = true
		f.b.Trust = append(f.b.Trust, b.Bytes())
		if err := f.certificates(entry); err != nil {
			return err
		}
	}
	return nil
}

// certificates puts those of the keys that signed something into the file, each once.
func (f *bundleFile) certificates(entry []byte) error {
	ps, err := identity.ParseTrust(entry)
	if err != nil {
		return fmt.Errorf("reading a trust entry that is kept: %w", err)
	}
	for _, p := range ps {
		for _, k := range p.Keys {
			if !f.keys[k.Thumbprint()] {
				continue
			}
			for i := range f.b.Checks {
				if c := &f.b.Checks[i]; c.Key == k.Thumbprint() && len(c.Certificates) == 0 {
					c.Certificates = f.pool(k.Certificates)
				}
			}
		}
	}
	return nil
}

func (f *bundleFile) pool(certs []*x509.Certificate) (sums []envelope.Hash) {
	for _, c := range certs {
		if !slices.ContainsFunc(f.b.Certificates, func(der []byte) bool { return bytes.Equal(der, c.Raw) }) {
			f.b.Certificates = append(f.b.Certificates, c.Raw)
		}
		sums = append(sums, envelope.HashOf(c.Raw))
	}
	return sums
}
