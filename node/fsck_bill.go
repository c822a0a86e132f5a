package node

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// A billCheck derives one bill from its stored bytes. It does no I/O.
type billCheck struct {
	*ledger
	f        *billFile
	chain    *chain.Chain // nil: none, or not to be believed
	open     [][]byte     // transactions of the steps since the head
	sealed   map[int][][]byte
	locals   map[string]bool // local users who had a part
	transfer *transfer       // the one that locks the bill; nil if none
	findings []Finding
}

// checkBill looks at one bill and all that hangs on it.
func (l *ledger) checkBill(f *billFile) []Finding {
	c := &billCheck{ledger: l, f: f, sealed: map[int][][]byte{}, locals: map[string]bool{}}
	c.document()
	s, ok := c.replay()
	if !ok {
		// Nothing that follows from the chain can be told.
		return c.findings
	}
	s = c.steps(s)
	c.entries()
	c.transfers(s)
	c.branches()
	s = c.verdict(s)
	c.evidenceRows()
	c.row(s)
	c.parties()
	return c.findings
}

func (c *billCheck) bad(table, row, cure, format string, args ...any) {
	c.findings = append(c.findings, Finding{Table: table, Bill: c.f.hash, Row: row, What: fmt.Sprintf(format, args...), Cure: cure})
}

// document checks what is read of the document, and where there is no chain, that it is
// the one of the hash.
func (c *billCheck) document() {
	if c.f.deleted {
		if len(c.f.document) > 0 || c.f.control != Voided && c.f.control != Away {
			c.bad("deletions", "", cureState, "the document was deleted, and is there, or the bill is not over")
		}
		return
	}
	ref, _, err := envelope.InspectDocument(c.f.document)
	if err != nil {
		c.bad("documents", "", cureBackup, "document: %v", err)
		return
	}
	if ref != c.f.reference {
		c.bad("bills", "", cureState, "carrier_code, reference, sub_reference: the row says %q, the document %q", c.f.reference, ref)
	}
	if len(c.f.entries) == 0 && envelope.HashOf(c.f.document) != c.f.hash {
		c.bad("documents", "", cureBackup, "document: it is not the one of document_hash")
	}
}

// anyLength lets stored chains be as long as they are; a limit may have been lowered.
var anyLength = envelope.Limits{Body: 1 << 40, Chain: maxEntries, Transactions: maxEntries, Depth: 10_000, Members: 1 << 40, Values: 1 << 40}

// replay verifies the chain from its bytes, signatures and all, and gives the state after
// it. false: there is none to go on with.
func (c *billCheck) replay() (chain.State, bool) {
	s := chain.State{Document: c.f.hash}
	if c.f.issuer != "" {
		id, err := identity.ParseIdentifier(c.f.issuer)
		if err != nil {
			c.bad("bills", "", cureState, "issuer: %v", err)
		}
		s.Issuer = id
	}
	if len(c.f.entries) == 0 {
		return s, true
	}
	block := &envelope.Transferblock{Document: c.f.document}
	for i, e := range c.f.entries {
		if e.idx != i {
			c.bad("entries", fmt.Sprintf("entry %d", e.idx), cureBackup, "idx: it stands where entry %d should be", i)
			return s, false
		}
		block.Entries = append(block.Entries, envelope.Entry{Claimed: e.claimed, JWS: envelope.JWS{Raw: e.jws}})
	}
	for i := range block.Entries {
		// By itself first: what is no JWS would break the JSON of the block.
		if _, err := envelope.ParseEntry(block.Entries[i].JWS.Raw, anyLength); err != nil {
			c.bad("entries", fmt.Sprintf("entry %d", i), cureBackup, "jws: %v", err)
			return s, false
		}
	}
	var err error
	if c.f.deleted {
		// Each entry was parsed by itself above.
		for i := range block.Entries {
			claimed := block.Entries[i].Claimed
			block.Entries[i], _ = envelope.ParseEntry(block.Entries[i].JWS.Raw, anyLength)
			block.Entries[i].Claimed = claimed
		}
		block.Document, block.Reference = nil, c.f.reference
	} else if block, err = envelope.Parse(block.Marshal(false), anyLength); err != nil {
		c.bad("bills", "", cureBackup, "document: %v", err)
		return s, false
	}
	c.chain, err = c.verify(block)
	if err != nil {
		where := ""
		if e, ok := errors.AsType[*chain.Error](err); ok {
			where = fmt.Sprintf("entry %d", e.Entry)
		}
		c.bad("entries", where, cureBackup, "the chain does not verify: %v", err)
		return s, false
	}
	issuer := s.Issuer
	s = c.chain.State
	s.Issuer = issuer
	return s, true
}

func (c *billCheck) verify(block *envelope.Transferblock) (*chain.Chain, error) {
	// A clock that was set back since is not the chain's fault.
	o := chain.Options{Trust: c.trust, Now: c.now.AddDate(0, 0, 1), Known: c.known}
	if c.f.deleted {
		o.DocumentHash = c.f.hash
	}
	got, err := chain.Verify(block, o)
	if err == nil || c.before == c.trust {
		return got, err
	}
	o.Trust = c.before
	if got, again := chain.Verify(block, o); again == nil {
		return got, nil
	}
	return nil, err
}

// steps checks that each step is signed and follows the one before it, and applies those
// since the head to s.
func (c *billCheck) steps(s chain.State) chain.State {
	previous := map[int]envelope.Hash{}
	lawful := true
	for i, stored := range c.f.steps {
		name := fmt.Sprintf("step %d", stored.seq)
		bad := func(format string, args ...any) { c.bad("steps", name, cureBackup, format, args...) }
		if stored.seq != i {
			bad("seq: step %d should stand here", i)
		}
		st, err := envelope.OpenStep(stored.jws, c.us)
		if err != nil {
			bad("jws: %v", err)
			lawful = false
			continue
		}
		tx, err := envelope.ParseTransaction(st.Transaction)
		if err != nil {
			bad("jws: %v", err)
			lawful = false
			continue
		}
		if string(st.Transaction) != stored.tx {
			bad("tx: it is not the transaction that was signed")
		}
		if stored.at != millis(tx.At) {
			bad("at: the row says %d, what was signed %d", stored.at, millis(tx.At))
		}
		group, head, list := -1, c.f.lastHash(len(c.f.entries)), &c.open
		if stored.sealed.Valid {
			group = int(stored.sealed.Int64)
			head = c.f.lastHash(group)
			of := c.sealed[group]
			list = &of
		}
		if st.DocumentHash != c.f.hash || st.Head != head || st.Index != len(*list) || st.Previous != previous[group] {
			bad("it does not follow what is before it: index %d since head %s", st.Index, st.Head)
		}
		previous[group] = envelope.HashOf([]byte(stored.jws))
		*list = append(*list, st.Transaction)
		if stored.sealed.Valid {
			c.sealed[group] = *list
		}
		c.had(tx.Transferee.ID)
		if stored.sealed.Valid || !lawful {
			continue
		}
		if s, err = s.Apply(chain.LawOf(tx, c.trust)); err != nil {
			bad("it is against the law of the bill: %v", err)
			lawful = false
		}
	}
	return s
}

// lastHash is who the entry before idx is; zero before the first.
func (f *billFile) lastHash(idx int) envelope.Hash {
	if idx < 1 || idx > len(f.entries) {
		return envelope.Hash{}
	}
	return f.entries[idx-1].hash
}

// had notes a local user who was in control.
func (c *billCheck) had(id identity.Identifier) {
	id.Host = c.trust.Name(id.Host)
	if id.Host == c.domain {
		c.locals[id.Local] = true
	}
}

// entries compares the rows of the chain with what was verified, and looks for what must
// stand beside each.
func (c *billCheck) entries() {
	if c.chain == nil {
		return
	}
	for i, e := range c.f.entries {
		v := &c.chain.Entries[i]
		name := fmt.Sprintf("entry %d", i)
		bad := func(format string, args ...any) { c.bad("entries", name, cureBackup, format, args...) }
		if e.hash != v.Hash {
			bad("hash: the row says %s, the bytes %s", e.hash, v.Hash)
		}
		if e.signer != v.Signer.String() {
			bad("signer: the row says %s, the signature is that of %s", e.signer, v.Signer)
		}
		if e.key != v.Key.Thumbprint() {
			bad("key: the row says %s, the signature is by %x", e.key, v.Key.Thumbprint())
		} else if !c.evidence[e.key] {
			c.bad("evidence_keys", "key "+e.key.String(), cureBackup, "the key that signed %s is not kept as evidence", name)
		}
		if e.signedAt != millis(v.SignedAt) {
			bad("signed_at: the row says %d, the entry %d", e.signedAt, millis(v.SignedAt))
		}
		last := v.Transactions[len(v.Transactions)-1]
		c.had(last.Transferee)
		if v.Signer == c.domain {
			c.ours(i, name)
		}
		c.receipt(i, name, v)
	}
	for group := range c.sealed {
		if group < 0 || group >= len(c.f.entries) || c.chain.Entries[group].Signer != c.domain {
			c.bad("steps", "", cureBackup, "sealed: steps are sealed into entry %d, which is not an entry of ours", group)
		}
	}
}

// ours checks an entry that we sealed: it holds its steps exactly as they were signed,
// and an accepted transfer brought it into the chain.
func (c *billCheck) ours(i int, name string) {
	e, err := envelope.ParseEntry(c.f.entries[i].jws, anyLength)
	if err != nil {
		return // found already
	}
	if !carries(&e, c.sealed[i]) {
		c.bad("steps", name, cureBackup, "the %d steps sealed into this entry are not the %d transactions before its last one", len(c.sealed[i]), len(e.Payload.Transactions)-1)
	}
	if !slices.ContainsFunc(c.f.transfers, func(x *transfer) bool { return x.state == Accepted && x.idx == i && x.jws == c.f.entries[i].jws }) {
		c.bad("transfers", name, cureBackup, "no accepted transfer of ours carries this entry that we signed")
	}
}

// carries reports whether e is these steps, to the byte, and one transaction more.
func carries(e *envelope.Entry, steps [][]byte) bool {
	if len(e.Payload.Transactions) != len(steps)+1 {
		return false
	}
	text := []byte(`,"transactions":[`)
	for _, s := range steps {
		text = append(append(text, s...), ',')
	}
	return bytes.Contains(e.JWS.Payload, text)
}

// receipt checks that we signed a receipt for each entry that gave us the bill, and for no
// other.
func (c *billCheck) receipt(i int, name string, v *chain.Entry) {
	e := &c.f.entries[i]
	r, found := c.f.receipts[e.idx]
	toUs := v.After.Possessor.Host == c.domain
	bad := func(format string, args ...any) { c.bad("receipts", name, cureBackup, format, args...) }
	switch {
	case !found && toUs:
		bad("there is no receipt for this entry, which gave the bill to %s", v.After.Possessor)
		return
	case !found:
		return
	case !toUs:
		bad("there is a receipt for an entry that gave the bill to %s", v.After.Possessor)
	}
	for _, no := range c.f.refused[e.idx] {
		if no.code == string(envelope.BadEnvelopeCode) || no.jwsSum == envelope.HashOf([]byte(e.jws)) {
			c.bad("rejections", fmt.Sprintf("rejection %d of envelope %s", no.id, e.hash), cureBackup, "code: the envelope was accepted, and rejected with %s", no.code)
		}
	}
	j, err := envelope.OpenReceipt([]byte(r.receipt), e.claimed, c.us, fromMillis(r.at))
	if err != nil {
		bad("receipt: %v", err)
		return
	}
	if j.Raw != r.receipt {
		bad("receipt: it is not the bare JWS that was sent")
	}
	if r.peer != v.Signer.String() {
		bad("peer: the row says %s, the entry is by %s", r.peer, v.Signer)
	}
	// Later it may be: entered again from the witness.
	if iat := j.Header.IsAt; iat.Unix() > r.at/1000 {
		bad("at: the row says %d, before the receipt was signed at %d", r.at, millis(iat))
	}
}

// verdict applies the carrier's.
func (c *billCheck) verdict(s chain.State) chain.State {
	if !c.f.verdict.Valid {
		return s
	}
	bad := func(format string, args ...any) { c.bad("verdicts", "", cureBackup, format, args...) }
	issuing, found := c.trust.Find(s.Issuing)
	if !found {
		bad("there is no trust entry for %s, which issued the bill", s.Issuing)
		return s
	}
	v, err := envelope.OpenVerdict(c.f.verdict.String, issuing, c.now.AddDate(0, 0, 1))
	if err != nil {
		bad("verdict: %v", err)
		return s
	}
	if s.Issuing == c.domain && c.f.verdictAt < millis(v.At) {
		bad("at: the row says %d, before the verdict was signed at %d", c.f.verdictAt, millis(v.At))
	}
	next, err := s.Conclude(v)
	if err != nil {
		bad("verdict: %v", err)
		return s
	}
	return next
}

// row compares the row of the table bills with the state that the bytes give.
func (c *billCheck) row(s chain.State) {
	f := c.f
	for _, col := range []struct{ name, row, want string }{
		{"document_hash", f.hash.String(), s.Document.String()},
		{"profile", f.profile, string(s.Profile)},
		{"to_order", fmt.Sprint(f.toOrder), fmt.Sprint(s.ToOrder)},
		{"issuing", f.issuing, s.Issuing.String()},
		{"possessor", f.possessor, text(s.Possessor)},
		{"status", f.status, string(s.Status)},
		{"returned_by", f.returnedBy, text(s.ReturnedBy)},
		{"head", f.head.String(), s.Head.String()},
		{"length", fmt.Sprint(f.length), fmt.Sprint(s.Length)},
	} {
		if col.row != col.want {
			c.bad("bills", "", cureState, "%s: the row says %q, the signed bytes %q", col.name, col.row, col.want)
		}
	}
	switch {
	case s.Issuing != c.domain && f.issuer != "":
		c.bad("bills", "", cureState, "issuer: %s, though %s issued the bill", f.issuer, s.Issuing)
	case s.Issuing == c.domain && s.Issuer.Host != c.domain:
		c.bad("bills", "", cureState, "issuer: %q, though this platform issued the bill", f.issuer)
	case s.Issuing == c.domain && s.Status.Pending() && s.Possessor != s.Issuer:
		c.bad("bills", "", cureState, "issuer: %s, though the bill was returned to %s", f.issuer, s.Possessor)
	}
	want := c.control(s)
	if f.control != want {
		c.bad("bills", "", cureState, "control: the row says %q, the signed bytes %q", f.control, want)
	}
	if live := want != Voided && (want != Away || s.Issuing == c.domain); f.live != live {
		c.bad("bills", "", cureState, "live: the row says %t, the signed bytes %t", f.live, live)
	}
	polls := want == Away && s.Status.Pending() && s.Issuing != c.domain && s.ReturnedBy.Host == c.domain
	if f.polled && !polls {
		c.bad("verdict_polls", "", cureBackup, "the carrier is asked for a verdict that is not due")
	} else if polls && !f.polled {
		c.bad("verdict_polls", "", "ask the carrier for its verdict as a file and enter it", "nobody asks the carrier for the verdict on this returned bill")
	}
}

func (c *billCheck) control(s chain.State) Control {
	switch {
	case s.Status == chain.Void:
		return Voided
	case s.Possessor.Host != c.domain:
		return Away
	case c.transfer != nil && c.transfer.state == DisputedT:
		return Disputed
	case c.transfer != nil:
		return Locked
	}
	return Held
}

// parties: whoever was in control here sees the bill, and nobody else does.
func (c *billCheck) parties() {
	if id, err := identity.ParseIdentifier(c.f.issuer); err == nil {
		c.had(id)
	}
	for _, local := range c.f.parties {
		if !c.locals[local] {
			c.bad("parties", local, cureEvidence, "local_id: this user sees the bill and never had a part in it")
		}
	}
	for local := range c.locals {
		if !slices.Contains(c.f.parties, local) {
			c.bad("parties", local, cureEvidence, "this user had the bill and does not see it")
		}
	}
	slices.SortStableFunc(c.findings, func(a, b Finding) int { return strings.Compare(a.Table, b.Table) })
}
