package audit

import (
	"bytes"

	"eblnode/envelope"
	"eblnode/identity"
)

// transfer checks a row of an outbox against what its addressee has.
func (a *auditor) transfer(l *ledger, x *transfer) {
	wrong := func(format string, args ...any) {
		a.report.wrong("%s: transfer %s to %s: "+format, append([]any{l.domain, x.id, x.peer}, args...)...)
	}
	e, err := envelope.ParseEntry(x.jws, envelope.Limits{})
	if err != nil || e.Hash() != x.hash {
		wrong("its envelope is not the one it names: %v", err)
		return
	}
	peer, found := a.platform(x.peer)
	if !found {
		wrong("its addressee is not known")
		return
	}
	other := a.ledger(x.peer)
	if x.settled == "operators" {
		a.report.Resolved++
		if want := map[string]string{"accepted": "away", "rejected": "held"}[x.state]; want == "" || l.decided[x.id] != want {
			wrong("operators have settled it as %s, and what they confirmed is %q", x.state, l.decided[x.id])
		}
	}
	switch x.state {
	case "accepted":
		a.report.Accepted++
		b := l.byID[x.bill]
		if x.idx >= len(b.entries) || b.entries[x.idx].hash != x.hash {
			wrong("it was accepted and is not entry %d of the chain", x.idx)
		}
		if x.settled == "chain" {
			a.report.ByChain++
		} else if x.settled == "receipt" {
			if j, err := envelope.OpenReceipt([]byte(x.verdict), e.Claimed, peer, a.now); err != nil || j.Raw != x.verdict {
				wrong("its receipt: %v", err)
			}
		}
		if other == nil {
			return
		}
		got, has := other.received[x.hash]
		switch {
		case !has:
			wrong("it was accepted, and the addressee has no receipt for it: LOST")
		case x.settled == "receipt" && got.text != x.verdict:
			wrong("the receipt here and the addressee's differ: CHANGED")
		}
	case "rejected":
		a.report.Rejected++
		if x.settled != "operators" {
			r, err := envelope.OpenRejection(x.verdict, peer, a.now)
			if err != nil || !r.Answers(&e, l.host, peer.Domain) {
				wrong("its rejection is not about it: %v", err)
			}
		}
		if other != nil {
			if _, has := other.received[x.hash]; has {
				wrong("it was rejected and accepted: DOUBLED")
			}
		}
	}
}

func (a *auditor) platform(domain string) (*identity.Platform, bool) {
	h, err := identity.ParseHost(domain)
	if err != nil {
		return nil, false
	}
	return a.trust.Find(h)
}

func (a *auditor) ledger(domain string) *ledger {
	for _, l := range a.nodes {
		if l.domain == domain {
			return l
		}
	}
	return nil
}

// receipts checks what a node has signed to have accepted.
func (a *auditor) receipts(l *ledger) {
	self, _ := a.trust.Find(l.host)
	for hash, c := range l.received {
		b := l.byID[c.bill]
		if b == nil || c.idx >= len(b.entries) || b.entries[c.idx].hash != hash {
			a.report.wrong("%s: the envelope %s was accepted and is not in the chain of its bill: LOST", l.domain, hash)
			continue
		}
		if j, err := envelope.OpenReceipt([]byte(c.text), b.entries[c.idx].claimed, self, a.now); err != nil || j.Raw != c.text {
			a.report.wrong("%s: the receipt of envelope %s: %v", l.domain, hash, err)
		}
		if l.refused[hash] > 0 {
			a.report.wrong("%s: the envelope %s was accepted and rejected with BENV", l.domain, hash)
		}
		a.report.Receipts++
	}
}

// world looks at each bill over all nodes: where it is, and that it is there once.
func (a *auditor) world(seen Seen) {
	all := map[envelope.Hash]map[*ledger]*bill{}
	for _, l := range a.nodes {
		for h, b := range l.bills {
			if all[h] == nil {
				all[h] = map[*ledger]*bill{}
			}
			all[h][l] = b
		}
	}
	a.report.Issued = len(all)
	for h, where := range all {
		a.place(h, where)
	}
	if n := a.report.Held + a.report.InFlight + a.report.Terminal; n != a.report.Issued {
		a.report.wrong("issued %d, held %d + in flight %d + terminal %d = %d: not conserved", a.report.Issued, a.report.Held, a.report.InFlight, a.report.Terminal, n)
	}
	for _, s := range seen.Issued {
		h, err := envelope.ParseHash(s)
		if err != nil || all[h] == nil {
			a.report.wrong("bill %s was issued, as its issuer was told, and is nowhere: LOST", s)
		}
	}
}

// place finds where one bill is.
func (a *auditor) place(h envelope.Hash, where map[*ledger]*bill) {
	var longest *bill
	var holders, locked []*ledger
	issued, void := false, false
	for l, b := range where {
		switch b.control {
		case "held":
			holders = append(holders, l)
		case "locked", "disputed":
			locked = append(locked, l)
		case "void":
			void = void || b.issuing == l.domain
		}
		issued = issued || b.issuing == l.domain
		if longest == nil || len(b.entries) > len(longest.entries) {
			longest = b
		}
	}
	if !issued {
		a.report.wrong("bill %s: its issuing platform does not know it", h)
	}
	for l, b := range where {
		for i := range b.entries {
			if longest.entries[i].hash != b.entries[i].hash {
				a.report.wrong("bill %s: forked at entry %d, on %s: DOUBLED", h, i, l.domain)
				break
			}
		}
	}
	// A sender without an answer stays locked although the addressee has the bill; it must
	// then be behind the holder by the very envelope that it is sending.
	for _, l := range locked {
		b := where[l]
		if b.open != nil && len(b.entries) < len(longest.entries) && longest.entries[len(b.entries)].hash != b.open.hash {
			a.report.wrong("bill %s: %s is sending a continuation other than the one that went on: DOUBLED", h, l.domain)
		}
	}
	ahead := 0 // locked nodes whose open envelope nobody has accepted
	for _, l := range locked {
		if b := where[l]; b.open == nil || !a.acceptedBy(b.open) {
			ahead++
		}
	}
	switch n := len(holders) + ahead; {
	case n > 1, n == 1 && void:
		a.report.wrong("bill %s: in control at %d places (held %s, sending %d, void %t): DOUBLED", h, n, domains(holders), ahead, void)
	case n == 0 && !void:
		a.report.wrong("bill %s: in control nowhere: LOST", h)
	case void:
		a.report.Terminal++
	case len(holders) == 1:
		a.report.Held++
		if b := where[holders[0]]; len(b.entries) != len(longest.entries) {
			a.report.wrong("bill %s: %s holds it and its chain is not the longest: DOUBLED", h, holders[0].domain)
		}
	default:
		a.report.InFlight++
	}
}

// acceptedBy reports whether the addressee of an open transfer has accepted it.
func (a *auditor) acceptedBy(x *transfer) bool {
	other := a.ledger(x.peer)
	if other == nil {
		return false
	}
	_, has := other.received[x.hash]
	return has
}

func domains(ls []*ledger) []string {
	var list []string
	for _, l := range ls {
		list = append(list, l.domain)
	}
	return list
}

// remembered compares with what callers saw: nothing that was acknowledged may be gone,
// and no receipt may have changed.
func (a *auditor) remembered(seen Seen) {
	for _, s := range seen.Transfers {
		l := a.ledger(s.Sender)
		if l == nil {
			continue
		}
		x := l.transfers[s.ID]
		switch {
		case x == nil:
			a.report.wrong("%s: transfer %s was acknowledged and is not there: LOST", s.Sender, s.ID)
		case x.state != "accepted":
			a.report.wrong("%s: transfer %s was acknowledged as accepted and is %s", s.Sender, s.ID, x.state)
		case x.hash.String() != s.Envelope:
			a.report.wrong("%s: transfer %s was acknowledged with envelope %s and has %s: CHANGED", s.Sender, s.ID, s.Envelope, x.hash)
		case s.Receipt != "" && x.verdict != s.Receipt:
			a.report.wrong("%s: transfer %s: its receipt is not the one its caller saw: CHANGED", s.Sender, s.ID)
		default:
			a.report.Confirmed++
		}
	}
	for _, s := range seen.Receipts {
		a.report.Seen++
		l := a.ledger(s.Receiver)
		h, err := envelope.ParseHash(s.Envelope)
		if l == nil || err != nil {
			continue
		}
		c, has := l.received[h]
		if !has {
			a.report.wrong("%s: a receipt for envelope %s was given out and the envelope is not there: LOST", s.Receiver, s.Envelope)
		} else if !bytes.Equal([]byte(c.text), []byte(s.Text)) {
			a.report.wrong("%s: the receipt of envelope %s is not the one given out: CHANGED", s.Receiver, s.Envelope)
		}
	}
	a.moves(seen)
	for _, s := range seen.Rejections {
		a.report.SeenNo++
		if l := a.ledger(s.Receiver); l != nil && !l.rejected[s.Text] {
			a.report.wrong("%s: the rejection of envelope %s that was given out is not there: CHANGED", s.Receiver, s.Envelope)
		}
	}
}

// moves compares with what callers saw of what no other platform signs: steps inside one,
// each of which is stored for ever, and returns that were honoured.
func (a *auditor) moves(seen Seen) {
	told := map[Step]int{}
	for _, s := range seen.Steps {
		told[s]++
	}
	for s, n := range told {
		found := 0
		if b := a.known(s.Node, s.Document); b != nil {
			for _, st := range b.steps {
				tx, err := envelope.ParseTransaction([]byte(st.tx))
				if err == nil && tx.Instruction != envelope.Issue && tx.Transferee.ID.String() == s.To {
					found++
				}
			}
		}
		if a.report.Moved += min(n, found); found < n {
			a.report.wrong("%s: bill %s was given to %s %d times, as its callers were told, and %d steps say so: LOST", s.Node, s.Document, s.To, n, found)
		}
	}
	for _, s := range seen.Voided {
		if b := a.known(s.Node, s.Document); b == nil || b.control != "void" || b.verdict == "" {
			a.report.wrong("%s: bill %s was void, as its callers were told, and is not: LOST", s.Node, s.Document)
		} else {
			a.report.Voided++
		}
	}
}

// known is what a node has of a bill; nil for nothing.
func (a *auditor) known(domain, document string) *bill {
	l := a.ledger(domain)
	h, err := envelope.ParseHash(document)
	if l == nil || err != nil {
		return nil
	}
	return l.bills[h]
}
