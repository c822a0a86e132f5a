package chain

import (
	"errors"
	"fmt"

	"eblnode/envelope"
	"eblnode/identity"
)

// The reasons that an evidence bundle adds, beside those of a chain (docs/BUNDLE.md).
const (
	BadStep Reason = "badStep" // of a transaction inside a platform
)

// A Step is a verified step.
type Step struct {
	Signer      identity.Host
	Key         *identity.Key
	Transaction Transaction
	After       State
}

// VerifySteps follows the steps since the last entry of a chain: each signed by its
// platform, each naming the one before it, each lawful. state is that after the chain, or
// the zero State with a Document for a bill that never left its platform; block is that
// of the chain. The functions of o are asked with the entry -1. In the error, Entry is -1 and Transaction the index of the step.
func VerifySteps(block *envelope.Transferblock, state State, steps []envelope.BundleStep, o Options) ([]Step, error) {
	out := make([]Step, 0, len(steps))
	at := place{now: o.Now, toOrder: block.ToOrder}
	for i := range block.Entries {
		if t := block.Entries[i].Payload.SignedAt(); t.After(at.highest) {
			at.highest = t
		}
	}
	previous, head := envelope.Hash{}, envelope.Hash{}
	if n := len(block.Entries); n > 0 {
		head = block.Entries[n-1].Hash()
	}
	for i := range steps {
		s := &steps[i]
		fail := func(r Reason, part string, cause error, format string, args ...any) error {
			return &Error{Reason: r, Part: part, Entry: -1, Transaction: i, Detail: fmt.Sprintf(format, args...), Err: cause}
		}
		host := s.Transaction.PlatformHost
		p, trusted := o.Trust.Find(host)
		if !trusted {
			return nil, fail(PlatformNotTrusted, "", nil, "there is no trust entry for %s", host)
		}
		key, _, err := o.believe(-1, s.JWS, p, s.Transaction.At)
		if err != nil {
			reason := BadStep
			if serr, ok := errors.AsType[*envelope.SignatureError](err); ok && serr.Reason != envelope.BadSignature {
				reason = Reason(serr.Reason)
			} else if err == errOutOfTime {
				reason = OutOfTime
			}
			return nil, fail(reason, partOf(err), err, "%s", detail(err))
		}
		switch {
		case i == 0 && state.Status == Unissued && block.Document != nil && !isHash(block, p, state.Document):
			return nil, fail(DocumentMismatch, "bundle", nil, "documentHash is not the hash of the document")
		case s.Step.DocumentHash != state.Document:
			return nil, fail(BadStep, "document", nil, "the step is of another document")
		case s.Step.Head != head:
			return nil, fail(BadStep, "head", nil, "the step does not follow the last entry")
		case s.Step.Index != i:
			return nil, fail(BadStep, "index", nil, "the step says that it is number %d", s.Step.Index)
		case s.Step.Previous != previous:
			return nil, fail(BadStep, "previous", nil, "the step does not follow the one before it")
		}
		if i == 0 && state.Status == Unissued {
			if err := mayIssue(p, block); err != nil {
				err.Entry, err.Transaction = -1, i
				return nil, err
			}
		}
		tx := LawOf(s.Transaction, o.Trust)
		at.signer = p.Domain
		broken := at.check(tx)
		if broken == nil {
			if state, err = state.Apply(tx); err != nil {
				broken, _ = errors.AsType[*LawError](err)
			}
		}
		if broken != nil {
			return nil, &Error{Reason: Unlawful, Law: broken.Law, Entry: -1, Transaction: i, Detail: broken.Detail}
		}
		at.last, previous = tx.At, envelope.HashOf([]byte(s.JWS.Raw))
		out = append(out, Step{Signer: p.Domain, Key: key, Transaction: tx, After: state})
	}
	return out, nil
}

func isHash(b *envelope.Transferblock, p *identity.Platform, want envelope.Hash) bool {
	h, err := b.DocumentHash(p)
	return err == nil && h == want
}
