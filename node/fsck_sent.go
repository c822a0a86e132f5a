package node

import (
	"fmt"

	"eblnode/chain"
	"eblnode/envelope"
)

// transfers checks the outbox rows of the bill; s is the state after the steps.
func (c *billCheck) transfers(s chain.State) {
	for _, x := range c.f.transfers {
		bad := func(format string, args ...any) { c.bad("transfers", "transfer "+x.id, cureBackup, format, args...) }
		e, err := envelope.ParseEntry(x.jws, anyLength)
		if err != nil {
			bad("jws: %v", err)
			continue
		}
		if _, err := e.JWS.Verify(c.us, e.Payload.SignedAt(), true); err != nil {
			bad("jws: %v", err)
			continue
		}
		c.sent(x, &e, bad)
		c.settled(x, &e, bad)
		if x.state != Prepared && x.state != Sending && x.state != DisputedT {
			continue
		}
		if c.transfer != nil {
			bad("state: two transfers of one bill are open")
		}
		c.transfer = x
		if x.idx != len(c.f.entries) || !carries(&e, c.open) {
			bad("it is open and does not continue the chain of %d entries with its %d steps", len(c.f.entries), len(c.open))
		}
		if next, err := s.Apply(chain.LawOf(e.Payload.Transactions[len(e.Payload.Transactions)-1], c.trust)); err != nil {
			bad("jws: against the law of the bill: %v", err)
		} else if next.Possessor.Host != x.peer {
			bad("peer: the bill goes to %s", next.Possessor)
		}
	}
}

// sent compares the columns with the envelope.
func (c *billCheck) sent(x *transfer, e *envelope.Entry, bad func(string, ...any)) {
	txs := e.Payload.Transactions
	last := txs[len(txs)-1]
	if x.hash != e.Hash() {
		bad("envelope_hash: the row says %s, the envelope %s", x.hash, e.Hash())
	}
	if e.Payload.DocumentHash != c.f.hash {
		bad("bill: the envelope is of bill %s", e.Payload.DocumentHash)
	}
	if x.idx < 0 || x.idx > len(c.f.entries) {
		bad("idx: there is no place %d in a chain of %d", x.idx, len(c.f.entries))
		return
	}
	var previous envelope.Hash
	if x.idx > 0 {
		previous = c.f.entries[x.idx-1].claimed
	}
	if e.Payload.Previous != previous {
		bad("idx: the envelope does not follow entry %d", x.idx-1)
	}
	if x.steps != len(txs)-1 {
		bad("steps: the row says %d, the envelope %d", x.steps, len(txs)-1)
	}
	if x.instruction != string(last.Instruction) {
		bad("instruction: the row says %s, the envelope %s", x.instruction, last.Instruction)
	}
	if to, err := envelope.ParseTransferee([]byte(x.transferee)); err != nil || to.ID != last.Transferee.ID {
		bad("transferee: it is not that of the envelope, %s", last.Transferee.ID)
	}
	if c.trust.Name(last.Transferee.ID.Host) != x.peer {
		bad("peer: the row says %q, the envelope goes to %s", x.peer, last.Transferee.ID.Host)
	}
	from := c.possessorBefore(x.idx)
	if len(txs) > 1 {
		from = txs[len(txs)-2].Transferee.ID.Local
	}
	if x.user != from {
		bad("user: the row says %s, but %s was in control", x.user, from)
	}
	if !c.bodyIs(x, e) {
		bad("body_sum: it is not that of the request which the stored bytes make")
	}
}

func (c *billCheck) possessorBefore(idx int) string {
	if c.chain == nil || idx < 1 {
		return ""
	}
	return c.chain.Entries[idx-1].After.Possessor.Local
}

// bodyIs reports whether the request is the one prepared, in either spelling of its one
// member that has two.
func (c *billCheck) bodyIs(x *transfer, e *envelope.Entry) bool {
	if c.f.deleted {
		return true // nothing is left to compare it with
	}
	block := &envelope.Transferblock{Document: c.f.document}
	for _, r := range c.f.entries[:x.idx] {
		block.Entries = append(block.Entries, envelope.Entry{Claimed: r.claimed, JWS: envelope.JWS{Raw: r.jws}})
	}
	block.Entries = append(block.Entries, *e)
	return envelope.HashOf(block.Marshal(false)) == x.bodySum || envelope.HashOf(block.Marshal(true)) == x.bodySum
}

// settled checks the state of a transfer against what settled it.
func (c *billCheck) settled(x *transfer, e *envelope.Entry, bad func(string, ...any)) {
	inChain := x.idx < len(c.f.entries) && c.f.entries[x.idx].jws == x.jws
	if inChain != (x.state == Accepted) {
		bad("state: %s, and its envelope in the chain: %t", x.state, inChain)
	}
	if (x.state == Prepared || x.state == Cancelled) && (x.sentAt.Valid || x.attempts > 0) || x.state == Sending && !x.sentAt.Valid {
		bad("state: %s, sent: %t, %d attempts", x.state, x.sentAt.Valid, x.attempts)
	}
	switch x.state {
	case Prepared, Sending, Cancelled:
		if by := (map[bool]string{true: "cancel"})[x.state == Cancelled]; x.verdict.Valid || x.settledBy.String != by {
			bad("verdict, settled_by: %s, and yet settled by %q", x.state, x.settledBy.String)
		}
	case Accepted:
		c.accepted(x, e, inChain, bad)
	case Rejected, DisputedT:
		c.rejected(x, e, bad)
	default:
		bad("state: %q is none", x.state)
	}
}

func (c *billCheck) accepted(x *transfer, e *envelope.Entry, inChain bool, bad func(string, ...any)) {
	peer, known := c.trust.Find(x.peer)
	switch {
	case !known:
		bad("peer: there is no trust entry for %s", x.peer)
	case x.settledBy.String == "receipt":
		if _, err := envelope.OpenReceipt([]byte(x.verdict.String), e.Claimed, peer, fromMillis(x.settledAt.Int64)); err != nil {
			bad("verdict: %v", err)
		}
	case x.settledBy.String == "chain":
		if next := x.idx + 1; x.verdict.Valid || inChain && (next >= len(c.f.entries) || c.chain == nil || c.chain.Entries[next].Signer != x.peer) {
			bad("settled_by: chain, but it has a verdict, or no entry of %s follows it", x.peer)
		}
	case x.settledBy.String == "operators":
		if x.confirmed != ResolvedAway {
			bad("settled_by: no two operators said that it is away")
		}
	default:
		bad("settled_by: accepted by %q", x.settledBy.String)
	}
}

func (c *billCheck) rejected(x *transfer, e *envelope.Entry, bad func(string, ...any)) {
	peer, known := c.trust.Find(x.peer)
	if !known {
		bad("peer: there is no trust entry for %s", x.peer)
		return
	}
	if x.settledBy.String == "operators" && x.state == Rejected {
		if x.confirmed != ResolvedHeld {
			bad("settled_by: no two operators said that it is held")
		}
		return
	}
	if x.settledBy.String != "rejection" {
		bad("settled_by: %s by %q", x.state, x.settledBy.String)
	}
	rej, err := envelope.OpenRejection(x.verdict.String, peer, fromMillis(x.settledAt.Int64))
	switch {
	case err != nil:
		bad("verdict: %v", err)
	case !rej.Answers(e, c.domain, x.peer):
		bad("verdict: it is about another transfer")
	case (rej.Code == envelope.DisputeCode) != (x.state == DisputedT):
		bad("state: %s, but the rejection says %s", x.state, rej.Code)
	}
}

// branches checks the continuations that are kept as proof: each is signed, of this bill,
// and not the chain we know.
func (c *billCheck) branches() {
	type branch struct {
		storedBranch
		entry  envelope.Entry
		signer string
		wire   envelope.Hash
	}
	var list []branch
	for _, b := range c.f.branches {
		bad := func(format string, args ...any) {
			c.bad("branches", fmt.Sprintf("branch %d", b.id), cureBackup, format, args...)
		}
		e, err := envelope.ParseEntry(b.jws, anyLength)
		if err != nil {
			bad("jws: %v", err)
			continue
		}
		p, known := c.trust.Find(e.Payload.Transactions[0].PlatformHost)
		if !known {
			bad("jws: there is no trust entry for its signer")
			continue
		}
		if _, err := e.JWS.Verify(p, e.Payload.SignedAt(), true); err != nil {
			bad("jws: %v", err)
			continue
		}
		if e.Payload.DocumentHash != c.f.hash {
			bad("bill: it is of bill %s", e.Payload.DocumentHash)
		}
		if b.idx >= 0 && b.idx < len(c.f.entries) && c.f.entries[b.idx].hash == e.Hash() {
			bad("jws: it is entry %d of the chain we know", b.idx)
		}
		list = append(list, branch{b, e, p.Domain.String(), e.WireHash(p)})
	}
	for _, b := range list {
		// It follows the chain we know, or another branch; and whoever offered it signed it,
		// or what comes after it.
		follows := b.idx == 0 && !b.entry.Payload.Linked
		if b.idx > 0 && b.idx <= len(c.f.entries) {
			follows = b.entry.Payload.Previous == c.f.entries[b.idx-1].claimed
		}
		offered := false
		for _, o := range list {
			follows = follows || o.idx == b.idx-1 && b.entry.Payload.Previous == o.wire
			offered = offered || o.peer == b.peer && o.signer == b.peer && o.idx >= b.idx
		}
		if !follows {
			c.bad("branches", fmt.Sprintf("branch %d", b.id), cureBackup, "idx: it does not follow entry %d", b.idx-1)
		}
		if !offered {
			c.bad("branches", fmt.Sprintf("branch %d", b.id), cureBackup, "peer: %q signed nothing of it", b.peer)
		}
	}
}
