package chain

import (
	"errors"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// Verified is what Verify made of a chain, kept for when it comes back with more entries: a
// chain whose beginning is the same to the byte, judged by the same trust entries, has there
// the state that it had. It does not change, and many may use it at once.
//
// It is no way around a rule. What can be another answer at another time is asked again: who
// may issue, whether the document is still the one, and the clock. And it is no state of the
// law to go on from by itself: only Verify makes one, and only of a whole chain.
type Verified struct {
	trust  *identity.Trust
	issuer *identity.Platform
	hashes []envelope.Hash
	state  State
	times  times
}

// times are what the law remembers of the clock beside the state.
type times struct {
	highest time.Time // of the last transactions of the entries
	latest  time.Time // of all transactions
}

// Verified is what is to be kept of c.
func (c *Chain) Verified() *Verified {
	return &Verified{trust: c.trust, issuer: c.issuer, hashes: c.Hashes(), state: c.State, times: c.times}
}

// Trust is by which trust entries it was verified. It counts as long as they are the ones.
func (b *Verified) Trust() *identity.Trust { return b.trust }

// begin makes room for the entries, and fills in those that were verified before.
func (v *verifier) begin() error {
	b, n := v.opts.Before, len(v.block.Entries)
	v.from = v.block.Known()
	switch {
	case b == nil && v.from == 0:
	case b == nil || len(b.hashes) != v.from || v.from >= n:
		return errors.New("the entries that were not read are not those that were verified")
	case b.trust != v.opts.Trust:
		return errors.New("the trust entries are others than when the beginning was verified")
	}
	v.ahead = make([]verified, n)
	v.signers = make([]*identity.Platform, n)
	v.chain.Entries = make([]Entry, n)
	v.chain.trust = v.opts.Trust
	if b != nil {
		v.signers[0] = b.issuer
		for i, h := range b.hashes {
			v.chain.Entries[i] = Entry{Hash: h, Claimed: v.block.Entries[i].Claimed}
		}
	}
	return nil
}

// stillLawful asks again what depends on more than the entries themselves: the clock may
// have been set back, and the document says whether the bill is to order.
func (v *verifier) stillLawful(b *Verified) *Error {
	at := place{now: v.opts.Now, toOrder: v.block.ToOrder}
	if err := at.check(Transaction{At: b.times.latest, ToOrder: b.state.ToOrder}); err != nil {
		return &Error{Reason: Unlawful, Law: err.Law, Entry: 0, Transaction: 0, Detail: err.Detail}
	}
	return nil
}
