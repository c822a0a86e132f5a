package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// bill derives the state of a bill from its signed bytes, and compares it with what the
// node says it is.
func (a *auditor) bill(l *ledger, b *bill) {
	a.report.Rows++
	wrong := func(format string, args ...any) {
		a.report.wrong("%s: bill %s: "+format, append([]any{l.domain, b.hash}, args...)...)
	}
	if envelope.HashOf(b.document) != b.hash {
		wrong("the stored document has another hash")
		return
	}
	state := chain.State{Document: b.hash}
	if len(b.entries) > 0 {
		c, ok := a.chain(b, wrong)
		if !ok {
			return
		}
		state = c.State
	}
	var err error
	if b.issuer != "" {
		if state.Issuer, err = identity.ParseIdentifier(b.issuer); err != nil {
			wrong("its issuer: %s", err)
		}
	}
	state, ok := a.steps(l, b, state, wrong)
	if !ok {
		return
	}
	if b.verdict != "" {
		issuing, found := a.trust.Find(state.Issuing)
		if !found {
			wrong("nobody knows its issuing platform %s", state.Issuing)
			return
		}
		v, err := envelope.OpenVerdict(b.verdict, issuing, a.now)
		if err == nil {
			state, err = state.Conclude(v)
		}
		if err != nil {
			wrong("the carrier's verdict: %s", err)
			return
		}
	}
	b.state = state
	a.compare(l, b, wrong)
}

// chain verifies all entries of a bill back to its issuance.
func (a *auditor) chain(b *bill, wrong func(string, ...any)) (*chain.Chain, bool) {
	block := &envelope.Transferblock{Document: b.document}
	for i, e := range b.entries {
		if e.idx != i {
			wrong("entry %d is missing", i)
			return nil, false
		}
		block.Entries = append(block.Entries, envelope.Entry{Claimed: e.claimed, JWS: envelope.JWS{Raw: e.jws}})
	}
	parsed, err := envelope.Parse(block.Marshal(false), envelope.Limits{Body: 1 << 30})
	if err != nil {
		wrong("the chain cannot be read: %s", err)
		return nil, false
	}
	c, err := chain.Verify(parsed, chain.Options{Trust: a.trust, Now: a.now, Known: func(_ int, jws string) envelope.Known {
		return envelope.Known{Key: a.verified[sha256.Sum256([]byte(jws))]}
	}})
	if err != nil {
		wrong("the chain does not hold: %s", err)
		return nil, false
	}
	for i, e := range c.Entries {
		a.verified[sha256.Sum256([]byte(b.entries[i].jws))] = e.Key.Thumbprint()
		if e.Hash != b.entries[i].hash {
			wrong("entry %d is stored under another hash", i)
		}
	}
	a.report.Entries += len(c.Entries)
	return c, true
}

// steps applies the local steps that no entry carries yet, and looks for the others in
// the entries that carry them.
func (a *auditor) steps(l *ledger, b *bill, state chain.State, wrong func(string, ...any)) (chain.State, bool) {
	self, _ := a.trust.Find(l.host)
	var previous envelope.Hash
	index := 0
	for i, s := range b.steps {
		st, err := envelope.OpenStep(s.jws, self)
		if err != nil {
			wrong("step %d: %s", i, err)
			return state, false
		}
		a.report.Steps++
		if st.DocumentHash != b.hash || !bytes.Equal(st.Transaction, []byte(s.tx)) {
			wrong("step %d is about another bill or transaction", i)
			return state, false
		}
		if s.sealed.Valid {
			if at := int(s.sealed.Int64); at >= len(b.entries) || !payloadHolds(b.entries[at].jws, s.tx) {
				wrong("step %d is not in entry %d, which is said to carry it", i, s.sealed.Int64)
			}
			continue
		}
		if st.Head != state.Head || st.Index != index || st.Previous != previous {
			wrong("step %d does not follow the one before", i)
			return state, false
		}
		tx, err := envelope.ParseTransaction([]byte(s.tx))
		if err == nil {
			state, err = state.Apply(chain.LawOf(tx, a.trust))
		}
		if err != nil {
			wrong("step %d: %s", i, err)
			return state, false
		}
		index, previous = index+1, envelope.HashOf([]byte(s.jws))
	}
	return state, true
}

// payloadHolds reports whether the payload of an entry carries a transaction as it stands.
func payloadHolds(jws, tx string) bool {
	j, err := envelope.ParseJWS(jws)
	return err == nil && bytes.Contains(j.Payload, []byte(tx))
}

// compare holds the row of a bill against the state derived from its signed bytes.
func (a *auditor) compare(l *ledger, b *bill, wrong func(string, ...any)) {
	s := b.state
	for _, f := range []struct{ name, got, want string }{
		{"issuing", b.issuing, s.Issuing.String()},
		{"possessor", b.possessor, idText(s.Possessor)},
		{"status", b.status, string(s.Status)},
		{"returned_by", b.returned, idText(s.ReturnedBy)},
		{"head", hex.EncodeToString(b.head), s.Head.String()},
	} {
		if f.got != f.want {
			wrong("%s is %q, and by its signed bytes it is %q", f.name, f.got, f.want)
		}
	}
	if b.length != s.Length {
		wrong("length is %d, and by its signed bytes it is %d", b.length, s.Length)
	}
	here := s.Possessor.Host == l.host
	switch b.control {
	case "held":
		if !here || b.open != nil {
			wrong("it is held, and the possessor is %s, open transfer: %t", s.Possessor, b.open != nil)
		}
	case "locked":
		if !here || b.open == nil || b.open.state == "disputed" {
			wrong("it is locked, and the possessor is %s, open transfer: %t", s.Possessor, b.open != nil)
		}
	case "disputed":
		if b.open == nil || b.open.state != "disputed" {
			wrong("it is disputed without a disputed transfer")
		}
	case "away":
		if here || b.open != nil {
			wrong("it is away, and the possessor is %s, open transfer: %t", s.Possessor, b.open != nil)
		}
	case "void":
		if b.verdict == "" {
			wrong("it is void without a verdict")
		}
	default:
		wrong("control is %q", b.control)
	}
}

func idText(i identity.Identifier) string {
	if i.IsZero() {
		return ""
	}
	return i.String()
}
