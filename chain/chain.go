// Package chain says who is in control of a bill, and why: it verifies a chain of
// signed envelopes back to the issuance and applies the law of the bill to it.
//
// It does no I/O and reads no clock. The node, the command line and the offline
// verifier call the same function and cannot disagree.
package chain

import (
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// Options say against what a chain is verified.
type Options struct {
	// Trust holds every platform whose signatures count.
	Trust *identity.Trust
	// Sender is the platform on the connection; the newest entry must be its own.
	// Zero offline, where there is no connection.
	Sender identity.Host
	// Now bounds timestamps from above.
	Now time.Time
	// Known tells what the verifier holds of exactly this JWS: that it verified it before,
	// since when it has it, what was known of the key then. nil means nothing is known. It
	// must compare the whole compact JWS, never the hash of its payload, since a payload
	// says nothing of who signed it.
	Known func(entry int, jws string) envelope.Known
	// Revocation gets what can be told now of the certificates of k, a key of p that has
	// signed this entry; it is asked in the order of the entries, and only where there are
	// [identity.Platform.Questions] and Known has no evidence that answers them. nil, and an
	// error, leave it unknown. It may wait for a network; Verify does not.
	Revocation func(entry int, p *identity.Platform, k *identity.Key) (identity.Evidence, error)
}

// A Chain is a verified chain.
type Chain struct {
	Document envelope.Hash
	Entries  []Entry
	// State is the bill after the last entry.
	State State
}

// An Entry is a verified entry.
type Entry struct {
	Hash    envelope.Hash // who the entry is
	Claimed envelope.Hash // its envelopeHash on the wire
	Signer  identity.Host // domain of the platform that signed
	Key     *identity.Key
	// Evidence is what the key's standing was judged by; nil where the trust entry alone
	// says it all, as for a pinned key that nobody has to be asked about.
	Evidence *identity.Evidence
	SignedAt time.Time
	// Transactions are what the law saw, and After the state after the entry.
	Transactions []Transaction
	After        State
}

// Hashes lists who the entries are.
func (c *Chain) Hashes() []envelope.Hash {
	hs := make([]envelope.Hash, len(c.Entries))
	for i := range c.Entries {
		hs[i] = c.Entries[i].Hash
	}
	return hs
}

// Head is the newest entry.
func (c *Chain) Head() *Entry { return &c.Entries[len(c.Entries)-1] }

// Verify checks a block in the order of the wire document, section 5, checks 6 to 10:
// who sent the newest entry; its signature; the older entries' keys and signatures;
// hashes, links and document hash; the law over all transactions. It stops at the
// first broken rule. The error is an *Error; only a nil error yields a Chain.
//
// The order is part of the protocol: nothing after check 7 happens for a stranger,
// and a rejection is signed only for what the sender itself has signed.
func Verify(b *envelope.Transferblock, o Options) (*Chain, error) {
	v := &verifier{block: b, opts: o}
	for _, step := range []func() *Error{v.newest, v.older, v.hashes, v.law} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return &v.chain, nil
}

type verifier struct {
	block   *envelope.Transferblock
	opts    Options
	signers []*identity.Platform
	chain   Chain
}

// signerOf is the trusted platform that the entry's first transaction names. That the
// other transactions name the same is for the law to say.
func (v *verifier) signerOf(i int) (*identity.Platform, bool) {
	return v.opts.Trust.Find(v.block.Entries[i].Payload.Transactions[0].PlatformHost)
}

// newest is checks 6 and 7.
func (v *verifier) newest() *Error {
	n := len(v.block.Entries)
	v.signers = make([]*identity.Platform, n)
	v.chain.Entries = make([]Entry, n)
	host := v.block.Entries[n-1].Payload.Transactions[0].PlatformHost
	p, trusted := v.signerOf(n - 1)
	if !v.opts.Sender.IsZero() && (!trusted || p.Domain != v.opts.Sender) {
		return v.fail(SignerMismatch, n-1, nil, "the newest entry is from %s, but %s sent it", host, v.opts.Sender)
	}
	if !trusted {
		return v.fail(PlatformNotTrusted, n-1, nil, "there is no trust entry for %s", host)
	}
	return v.signature(n-1, p)
}

// older is check 8.
func (v *verifier) older() *Error {
	for i := range v.block.Entries[:len(v.block.Entries)-1] {
		p, trusted := v.signerOf(i)
		if !trusted {
			host := v.block.Entries[i].Payload.Transactions[0].PlatformHost
			return v.fail(PlatformNotTrusted, i, nil, "there is no trust entry for %s", host)
		}
		if err := v.signature(i, p); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) signature(i int, p *identity.Platform) *Error {
	e := &v.block.Entries[i]
	at := e.Payload.SignedAt()
	var known envelope.Known
	if v.opts.Known != nil {
		known = v.opts.Known(i, e.JWS.Raw)
	}
	key, err := e.JWS.VerifyKnown(p, at, known)
	var ev *identity.Evidence
	if err == nil {
		ev, err = v.revocation(i, p, key, known)
	}
	if err != nil {
		reason := Reason(BadSignature)
		if serr, ok := errors.AsType[*envelope.SignatureError](err); ok {
			reason = Reason(serr.Reason)
		}
		if reason == BadSignature && i < len(v.block.Entries)-1 {
			reason = BadChainSignature
		}
		return v.fail(reason, i, err, "%s", detail(err))
	}
	v.signers[i] = p
	v.chain.Entries[i] = Entry{Hash: e.Hash(), Claimed: e.Claimed, Signer: p.Domain, Key: key, Evidence: ev, SignedAt: at}
	return nil
}

// revocation judges the certificates of the key by what was kept, and if that does not
// answer, by what can be told now.
func (v *verifier) revocation(i int, p *identity.Platform, k *identity.Key, known envelope.Known) (*identity.Evidence, error) {
	if known.Judged {
		return known.Evidence, nil
	}
	if len(p.Questions(k)) == 0 {
		// None to ask, or nobody who could be asked, which an authority's key must not be.
		if err := envelope.CheckRevocation(p, k, v.block.Entries[i].Payload.SignedAt(), known.Since, identity.Evidence{}); err != nil {
			return nil, err
		}
		if p.Mode == identity.ModeCA {
			return &identity.Evidence{CheckedAt: v.opts.Now, Certificates: k.Certificates}, nil
		}
		return nil, nil
	}
	at := v.block.Entries[i].Payload.SignedAt()
	if known.Evidence != nil && envelope.CheckRevocation(p, k, at, known.Since, *known.Evidence) == nil {
		return known.Evidence, nil
	}
	unknown := &envelope.SignatureError{Reason: envelope.RevocationUnknown, Detail: fmt.Sprintf("whether the certificate of a key of %s is revoked is not known", p.Domain)}
	if v.opts.Revocation == nil {
		if known.Evidence != nil {
			return nil, envelope.CheckRevocation(p, k, at, known.Since, *known.Evidence)
		}
		return nil, unknown
	}
	ev, err := v.opts.Revocation(i, p, k)
	if err != nil {
		unknown.Detail += ": " + err.Error()
		unknown.Err = err
		return nil, unknown
	}
	return &ev, envelope.CheckRevocation(p, k, at, known.Since, ev)
}

// hashes is check 9.
func (v *verifier) hashes() *Error {
	doc, err := v.block.DocumentHash(v.signers[0])
	if err != nil {
		return v.fail(DocumentMismatch, 0, err, "the document has no hash")
	}
	v.chain.Document = doc
	for i := range v.block.Entries {
		e := &v.block.Entries[i]
		if e.Claimed != e.WireHash(v.signers[i]) {
			return v.fail(BadHash, i, nil, "envelopeHash is not the SHA-256 of the signed payload")
		}
		if !e.BesideAgrees() {
			return v.fail(BadHash, i, nil, "the eblEnvelope beside the signature is not what was signed")
		}
		var previous envelope.Hash
		if i > 0 {
			previous = v.block.Entries[i-1].Claimed
		}
		switch {
		case e.Payload.Linked == (i > 0) && e.Payload.Previous == previous:
		case i == 0:
			return v.fail(BadLink, i, nil, "the first entry of a chain has no previousEnvelopeHash")
		default:
			return v.fail(BadLink, i, nil, "previousEnvelopeHash is not the envelopeHash of entry %d", i-1)
		}
		if e.Payload.DocumentHash != doc {
			return v.fail(DocumentMismatch, i, nil, "documentHash is not the hash of the document")
		}
	}
	return nil
}

// law is check 10.
func (v *verifier) law() *Error {
	issuer := v.signers[0]
	if !issuer.MayIssueFor(v.block.Reference.CarrierCode) {
		return v.fail(NotAnIssuer, 0, nil, "%s may not issue a bill of carrier %q", issuer.Domain, v.block.Reference.CarrierCode)
	}
	s := State{Document: v.chain.Document}
	var highest time.Time
	for i := range v.block.Entries {
		e := &v.chain.Entries[i]
		var err *Error
		if s, err = v.apply(i, s, &highest); err != nil {
			return err
		}
		s.Head, s.Length = e.Hash, i+1
		e.After = s
	}
	v.chain.State = s
	return nil
}

// apply is the law over one entry: its times, its one platform, each transaction.
func (v *verifier) apply(i int, s State, highest *time.Time) (State, *Error) {
	var last time.Time
	for t, wire := range v.block.Entries[i].Payload.Transactions {
		tx := LawOf(wire, v.opts.Trust)
		fail := func(law Law, format string, args ...any) (State, *Error) {
			return s, &Error{Reason: Unlawful, Law: law, Entry: i, Transaction: t, Detail: fmt.Sprintf(format, args...)}
		}
		switch {
		case tx.Actor != v.chain.Entries[i].Signer:
			return fail(OtherPlatform, "the entry is signed by %s, the transaction is by %s", v.chain.Entries[i].Signer, tx.Actor)
		case tx.At.Before(last):
			return fail(TimeReversed, "the timestamp is before that of the transaction before it")
		case tx.At.Before(highest.Add(-envelope.ClockSkew)):
			return fail(TimeReversed, "the timestamp is more than 5 minutes below an earlier entry's")
		case tx.At.After(v.opts.Now.Add(envelope.ClockSkew)):
			return fail(TimeAhead, "the timestamp is more than 5 minutes ahead of %s", v.opts.Now.UTC().Format(time.RFC3339))
		case v.block.ToOrder != nil && tx.ToOrder != *v.block.ToOrder:
			return fail(ToOrderChanged, "isToOrder is %t in the document", *v.block.ToOrder)
		}
		next, err := s.Apply(tx)
		if err != nil {
			lawErr, _ := errors.AsType[*LawError](err)
			return fail(lawErr.Law, "%s", lawErr.Detail)
		}
		s, last = next, tx.At
		v.chain.Entries[i].Transactions = append(v.chain.Entries[i].Transactions, tx)
	}
	if last.After(*highest) {
		*highest = last
	}
	return s, nil
}

// LawOf is what the law sees of a transaction on the wire.
func LawOf(tx envelope.Transaction, trust *identity.Trust) Transaction {
	id := tx.Transferee.ID
	id.Host = trust.Name(id.Host)
	return Transaction{
		Instruction: tx.Instruction,
		Actor:       trust.Name(tx.PlatformHost),
		Transferee:  id,
		ToOrder:     tx.ToOrder,
		At:          tx.At,
	}
}

func (v *verifier) fail(r Reason, entry int, cause error, format string, args ...any) *Error {
	return &Error{Reason: r, Entry: entry, Transaction: -1, Detail: fmt.Sprintf(format, args...), Err: cause}
}

func detail(err error) string {
	if serr, ok := errors.AsType[*envelope.SignatureError](err); ok {
		return serr.Detail
	}
	return err.Error()
}
