// Package chain says who is in control of a bill, and why: it verifies a chain of
// signed envelopes back to the issuance and applies the law of the bill to it.
//
// It does no I/O and reads no clock. The node, the command line and the offline
// verifier call the same function and cannot disagree.
package chain

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
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
	// Arriving says that the newest entry is seen now for the first time, unless Known has
	// it. Then its key must stand at Now too: with a key that was revoked, for whatever
	// reason, anybody who has it could sign and put an earlier time, and only the signature
	// itself would speak for that. Older entries are vouched for by the newest one, whose key
	// stands. False offline, where a chain is looked at long after it was made.
	Arriving bool
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
	// Workers is how many signatures of one chain may be computed at once; 0 and 1 mean one
	// after the other. The verdict is the same.
	Workers int
	// DocumentHash, unless zero, is what the document's hash must be. Where the block's
	// Document is nil (it was deleted, and its hash kept) it stands for it, and what
	// would be compared with the document is not compared.
	DocumentHash envelope.Hash
	// Before stands for the entries of the block that were not read
	// ([envelope.Transferblock.Known]): what Verify made of them before. nil where all were.
	Before *Verified
	// Stop is asked before each signature; true ends the work with OutOfTime. nil: never.
	Stop func() bool
}

// A Chain is a verified chain.
type Chain struct {
	Document envelope.Hash
	// Entries are all; of those that Options.Before stood for there is only who they are.
	Entries []Entry
	// State is the bill after the last entry.
	State State

	trust  *identity.Trust
	issuer *identity.Platform
	times  times
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
	if err := v.begin(); err != nil {
		return nil, err
	}
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
	from    int // where what is verified here begins; see Options.Before
	signers []*identity.Platform
	ahead   []verified // by entry
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
	v.lookAhead()
	for i := v.from; i < len(v.block.Entries)-1; i++ {
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

// A verified is what came of one signature.
type verified struct {
	asked, done bool
	known       envelope.Known
	key         *identity.Key
	err         error
}

// known asks what is known of an entry, once.
func (v *verifier) known(i int) envelope.Known {
	a := &v.ahead[i]
	if !a.asked && v.opts.Known != nil {
		a.known = v.opts.Known(i, v.block.Entries[i].JWS.Raw)
	}
	a.asked = true
	return a.known
}

// fewest is how many signatures are worth the trouble of sharing them out.
const fewest = 8

// lookAhead computes the signatures of the older entries side by side, where that was asked
// for: what an entry's signature is worth depends on no other. They are then judged in their
// order, so that the verdict is that on the first bad one.
func (v *verifier) lookAhead() {
	last := len(v.block.Entries) - 1
	if v.opts.Workers < 2 || last < fewest {
		return
	}
	var work []int
	for i := v.from; i < last; i++ {
		if v.known(i).Key == [32]byte{} {
			work = append(work, i)
		}
	}
	if len(work) < fewest {
		return
	}
	var next atomic.Int64
	var failed atomic.Bool
	var wg sync.WaitGroup
	for range min(v.opts.Workers, len(work)) {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(work) || failed.Load() {
					return
				}
				i := work[n]
				p, trusted := v.signerOf(i)
				if !trusted {
					failed.Store(true)
					return
				}
				e, out := &v.block.Entries[i], &v.ahead[i]
				out.key, out.err = e.JWS.VerifyKnown(p, e.Payload.SignedAt(), out.known)
				out.done = true
				if out.err != nil {
					failed.Store(true)
				}
			}
		})
	}
	wg.Wait()
}

func (v *verifier) signature(i int, p *identity.Platform) *Error {
	e := &v.block.Entries[i]
	at := e.Payload.SignedAt()
	known, a := v.known(i), &v.ahead[i]
	if !a.done {
		if v.opts.Stop != nil && v.opts.Stop() {
			return v.fail(OutOfTime, i, errOutOfTime, "%s", errOutOfTime)
		}
		a.key, a.err = e.JWS.VerifyKnown(p, at, known)
	}
	key, err := a.key, a.err
	var ev *identity.Evidence
	judged := at
	if v.opts.Arriving && i == len(v.block.Entries)-1 && known.Since.IsZero() && !known.Judged && v.opts.Now.After(at) {
		judged = v.opts.Now
	}
	if err == nil {
		err = envelope.CheckNotRevoked(key, judged)
	}
	if err == nil {
		ev, err = v.opts.revocation(i, p, key, judged, known)
	}
	if err != nil {
		reason := Reason(BadSignature)
		if serr, ok := errors.AsType[*envelope.SignatureError](err); ok {
			reason = Reason(serr.Reason)
		}
		if reason == BadSignature && i < len(v.block.Entries)-1 {
			reason = BadChainSignature
		}
		e := v.fail(reason, i, err, "%s", detail(err))
		e.Part = partOf(err)
		return e
	}
	v.signers[i] = p
	v.chain.Entries[i] = Entry{Hash: e.Hash(), Claimed: e.Claimed, Signer: p.Domain, Key: key, Evidence: ev, SignedAt: at}
	return nil
}

// believe verifies one signature of p, of the time at, and judges the standing of its key.
// entry is for the functions of o.
func (o *Options) believe(entry int, j envelope.JWS, p *identity.Platform, at time.Time) (*identity.Key, *identity.Evidence, error) {
	if o.Stop != nil && o.Stop() {
		return nil, nil, errOutOfTime
	}
	var known envelope.Known
	if o.Known != nil {
		known = o.Known(entry, j.Raw)
	}
	key, err := j.VerifyKnown(p, at, known)
	if err != nil {
		return nil, nil, err
	}
	ev, err := o.revocation(entry, p, key, at, known)
	return key, ev, err
}

// revocation judges the certificates of the key by what was kept, and if that does not
// answer, by what can be told now.
func (o *Options) revocation(entry int, p *identity.Platform, k *identity.Key, at time.Time, known envelope.Known) (*identity.Evidence, error) {
	if known.Judged {
		return known.Evidence, nil
	}
	if len(p.Questions(k)) == 0 {
		if p.Mode == identity.ModeCA {
			return &identity.Evidence{CheckedAt: o.Now, Certificates: k.Certificates}, nil
		}
		return nil, nil
	}
	if known.Evidence != nil && envelope.CheckRevocation(p, k, at, known.Since, *known.Evidence) == nil {
		return known.Evidence, nil
	}
	unknown := &envelope.SignatureError{Reason: envelope.RevocationUnknown, Detail: fmt.Sprintf("whether the certificate of a key of %s is revoked is not known", p.Domain)}
	if o.Revocation == nil {
		if known.Evidence != nil {
			return nil, envelope.CheckRevocation(p, k, at, known.Since, *known.Evidence)
		}
		return nil, unknown
	}
	ev, err := o.Revocation(entry, p, k)
	if err != nil {
		unknown.Detail += ": " + err.Error()
		unknown.Err = err
		return nil, unknown
	}
	return &ev, envelope.CheckRevocation(p, k, at, known.Since, ev)
}

var errOutOfTime = errors.New("the time for it is over")

// partOf is the part of a reason that a refused signature has.
func partOf(err error) string {
	if serr, ok := errors.AsType[*envelope.SignatureError](err); ok {
		return serr.Part
	}
	return ""
}

// hashes is check 9.
func (v *verifier) hashes() *Error {
	doc := v.opts.DocumentHash
	if v.block.Document != nil {
		var err error
		if doc, err = v.block.DocumentHash(v.signers[0]); err != nil {
			return v.fail(DocumentMismatch, 0, err, "the document has no hash")
		}
		if said := v.opts.DocumentHash; !said.IsZero() && said != doc {
			return v.failIn(DocumentMismatch, "bundle", 0, "documentHash of the file is not the hash of the document")
		}
	}
	v.chain.Document = doc
	if b := v.opts.Before; b != nil && b.state.Document != doc {
		return v.failIn(DocumentMismatch, "entry", 0, "documentHash is not the hash of the document")
	}
	for i := v.from; i < len(v.block.Entries); i++ {
		e := &v.block.Entries[i]
		if e.Claimed != e.WireHash(v.signers[i]) {
			return v.failIn(BadHash, "claimed", i, "envelopeHash is not the SHA-256 of the signed payload")
		}
		if !e.BesideAgrees() {
			return v.failIn(BadHash, "beside", i, "the eblEnvelope beside the signature is not what was signed")
		}
		var previous envelope.Hash
		if i > 0 {
			previous = v.block.Entries[i-1].Claimed
		}
		switch {
		case e.Payload.Linked == (i > 0) && e.Payload.Previous == previous:
		case i == 0:
			return v.failIn(BadLink, "first", i, "the first entry of a chain has no previousEnvelopeHash")
		default:
			return v.failIn(BadLink, "previous", i, "previousEnvelopeHash is not the envelopeHash of entry %d", i-1)
		}
		if e.Payload.DocumentHash != doc {
			return v.failIn(DocumentMismatch, "entry", i, "documentHash is not the hash of the document")
		}
	}
	return nil
}

// law is check 10.
func (v *verifier) law() *Error {
	if err := mayIssue(v.signers[0], v.block); err != nil {
		return err
	}
	s := State{Document: v.chain.Document}
	if b := v.opts.Before; b != nil {
		if err := v.stillLawful(b); err != nil {
			return err
		}
		s, v.chain.times = b.state, b.times
	}
	for i := v.from; i < len(v.block.Entries); i++ {
		e := &v.chain.Entries[i]
		var err *Error
		if s, err = v.apply(i, s); err != nil {
			return err
		}
		s.Head, s.Length = e.Hash, i+1
		e.After = s
	}
	v.chain.State, v.chain.issuer = s, v.signers[0]
	return nil
}

// apply is the law over one entry: its times, its one platform, each transaction.
func (v *verifier) apply(i int, s State) (State, *Error) {
	var last time.Time
	ts := &v.chain.times
	for t, wire := range v.block.Entries[i].Payload.Transactions {
		tx := LawOf(wire, v.opts.Trust)
		fail := func(law Law, detail string) (State, *Error) {
			return s, &Error{Reason: Unlawful, Law: law, Entry: i, Transaction: t, Detail: detail}
		}
		at := place{signer: v.chain.Entries[i].Signer, last: last, highest: ts.highest, now: v.opts.Now, toOrder: v.block.ToOrder}
		if err := at.check(tx); err != nil {
			return fail(err.Law, err.Detail)
		}
		next, err := s.Apply(tx)
		if err != nil {
			lawErr, _ := errors.AsType[*LawError](err)
			return fail(lawErr.Law, lawErr.Detail)
		}
		s, last = next, tx.At
		if tx.At.After(ts.latest) {
			ts.latest = tx.At
		}
		v.chain.Entries[i].Transactions = append(v.chain.Entries[i].Transactions, tx)
	}
	if last.After(ts.highest) {
		ts.highest = last
	}
	return s, nil
}

// A place is what a transaction must fit beside the law of the bill: whose envelope it
// stands in, and the times before it.
type place struct {
	signer        identity.Host
	last, highest time.Time // of the transaction before in the entry; of earlier entries
	now           time.Time
	toOrder       *bool // what the document says
}

func (p place) check(tx Transaction) *LawError {
	broken := func(law Law, format string, args ...any) *LawError {
		return &LawError{Law: law, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case tx.Actor != p.signer:
		return broken(OtherPlatform, "the entry is signed by %s, the transaction is by %s", p.signer, tx.Actor)
	case tx.At.Before(p.last):
		return broken(TimeReversed, "the timestamp is before that of the transaction before it")
	case tx.At.Before(p.highest.Add(-envelope.ClockSkew)):
		return broken(TimeReversed, "the timestamp is more than 5 minutes below an earlier entry's")
	case tx.At.After(p.now.Add(envelope.ClockSkew)):
		return broken(TimeAhead, "the timestamp is more than 5 minutes ahead of %s", p.now.UTC().Format(time.RFC3339))
	case p.toOrder != nil && tx.ToOrder != *p.toOrder:
		return broken(ToOrderChanged, "isToOrder is %t in the document", *p.toOrder)
	}
	return nil
}

// mayIssue: the platform of the first transaction may issue this bill.
func mayIssue(p *identity.Platform, b *envelope.Transferblock) *Error {
	e := &Error{Reason: NotAnIssuer, Part: "issuer", Transaction: -1, Detail: fmt.Sprintf("%s may not issue bills", p.Domain)}
	switch {
	case !p.Issuer:
		return e
	case b.Document == nil && len(p.Carriers) > 0 && b.Reference.CarrierCode == "":
		e.Reason, e.Part, e.Detail = DocumentNeeded, "", fmt.Sprintf("%s may issue for some carriers only, and the document, which names the carrier, is not here", p.Domain)
		return e
	case (b.Document != nil || b.Reference.CarrierCode != "") && !p.MayIssueFor(b.Reference.CarrierCode):
		e.Part, e.Detail = "carrier", fmt.Sprintf("%s may not issue a bill of carrier %q", p.Domain, b.Reference.CarrierCode)
		return e
	}
	return nil
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

func (v *verifier) failIn(r Reason, part string, entry int, detail string, args ...any) *Error {
	e := v.fail(r, entry, nil, detail, args...)
	e.Part = part
	return e
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
