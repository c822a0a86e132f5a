package chain

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// ForkFormat is the first member of a file with the evidence of a fork.
const ForkFormat = "eblnode-fork-evidence/1"

// A ForkProof is what a stranger needs to see who signed two continuations of one bill:
// the signed bytes as they came. It proves nothing by itself: see [VerifyForkProof].
type ForkProof struct {
	Format       string        `json:"format"` // ForkFormat
	DocumentHash envelope.Hash `json:"documentHash"`
	// Chains are those known of the bill, each from its issuance; they part somewhere.
	Chains []ForkChain `json:"chains"`
	// Rejections are signed rejections of entries in them, compact JWS. Whoever is accused
	// may add one that is missing.
	Rejections []string `json:"rejections"`
	// Platforms are trust entries as the maker of the file held them, for comparing by
	// fingerprint. The verifier never takes a key from here.
	Platforms []json.RawMessage `json:"platforms"`
}

// A ForkChain is one chain of the bill.
type ForkChain struct {
	From    string   `json:"from"`    // who offered it to the maker of the file; "" for the maker's own
	Entries []string `json:"entries"` // compact JWS, as received
}

// ForkKind says what two chains that part show.
type ForkKind string

// The kinds. Only the first two accuse anybody.
const (
	// SignedTwice: one platform signed two continuations of one head, and neither has
	// a signed rejection.
	SignedTwice ForkKind = "signedTwice"
	// RejectedAndContinued: a platform signed that it rejects an envelope, and signed on
	// after it.
	RejectedAndContinued ForkKind = "rejectedAndContinued"
	// LawfulAgain: one of the two was rejected by its addressee, so that the
	// other was lawful (wire document, section 7).
	LawfulAgain ForkKind = "lawful"
	// TwoSigners: the continuations are signed by two platforms; neither signed twice.
	TwoSigners ForkKind = "twoSigners"
)

// A ForkFinding is what one place shows where two chains part.
type ForkFinding struct {
	Kind ForkKind
	// Platform is who is accused, or who signed lawfully again; zero for TwoSigners.
	Platform identity.Host
	Entry    int              // index in both chains
	Envelope [2]envelope.Hash // the two continuations
}

// Accuses reports whether the finding proves something against its platform.
func (f ForkFinding) Accuses() bool { return f.Kind == SignedTwice || f.Kind == RejectedAndContinued }

// MaxForkChains is how many chains of one bill are compared at most.
const MaxForkChains = 64

// VerifyForkProof says what the chains of p show, by the keys of trust and by nothing
// that p brings. Each finding rests on two signatures over the same document and the
// same previous envelope. The error is an *Error: indeterminate where a platform or key is
// missing in trust, else the evidence is not what it says to be.
//
// A rejection that p lacks cannot be seen: who is accused may show it, and is cleared.
func VerifyForkProof(p *ForkProof, trust *identity.Trust, now time.Time) ([]ForkFinding, error) {
	if p.Format != ForkFormat || len(p.Chains) < 2 || len(p.Chains) > MaxForkChains {
		return nil, forkError(BadLink, -1, nil, "this is not the evidence of a fork: %q with %d chains, want %q with 2 to %d", p.Format, len(p.Chains), ForkFormat, MaxForkChains)
	}
	v := &forkVerifier{proof: p, trust: trust, now: now}
	for _, c := range p.Chains {
		entries := make([]envelope.Entry, 0, len(c.Entries))
		for i, jws := range c.Entries {
			e, err := envelope.ParseEntry(jws, envelope.Limits{})
			if err != nil {
				return nil, forkError(BadHash, i, err, "the entry is not an envelope: %s", err)
			}
			if e.Payload.DocumentHash != p.DocumentHash {
				return nil, forkError(DocumentMismatch, i, nil, "the entry is of document %s", e.Payload.DocumentHash)
			}
			entries = append(entries, e)
		}
		v.chains = append(v.chains, entries)
	}
	seen := map[[2]envelope.Hash]bool{}
	for i := range v.chains {
		for j := range i {
			at := part(v.chains[j], v.chains[i])
			if at < 0 {
				continue
			}
			pair := [2]envelope.Hash{v.chains[j][at].Hash(), v.chains[i][at].Hash()}
			if seen[pair] {
				continue
			}
			seen[pair] = true
			if err := v.judge(v.chains[j], v.chains[i], at); err != nil {
				return nil, err
			}
		}
	}
	return v.found, nil
}

// part is the first index at which two chains differ; -1 where one begins the other. The
// same payload under another signature is the same entry: anybody can make a second
// spelling of an ECDSA signature.
func part(a, b []envelope.Entry) int {
	for i := range min(len(a), len(b)) {
		if a[i].Hash() != b[i].Hash() {
			return i
		}
	}
	return -1
}

type forkVerifier struct {
	proof  *ForkProof
	trust  *identity.Trust
	now    time.Time
	chains [][]envelope.Entry
	found  []ForkFinding
}

func forkError(r Reason, entry int, cause error, format string, args ...any) *Error {
	return &Error{Reason: r, Entry: entry, Transaction: -1, Detail: fmt.Sprintf(format, args...), Err: cause}
}

// judge is one place where two chains part.
func (v *forkVerifier) judge(a, b []envelope.Entry, at int) error {
	if a[at].Payload.Linked != b[at].Payload.Linked || a[at].Payload.Previous != b[at].Payload.Previous {
		return forkError(BadLink, at, nil, "the two entries do not follow the same one")
	}
	signers := [2]*identity.Platform{}
	for i, e := range []*envelope.Entry{&a[at], &b[at]} {
		var err error
		if signers[i], err = v.signed(e, at); err != nil {
			return err
		}
	}
	f := ForkFinding{Kind: SignedTwice, Platform: signers[0].Domain, Entry: at, Envelope: [2]envelope.Hash{a[at].Hash(), b[at].Hash()}}
	if signers[0].Domain != signers[1].Domain {
		f.Kind, f.Platform = TwoSigners, identity.Host{}
		v.found = append(v.found, f)
		return nil
	}
	for _, c := range [][]envelope.Entry{a, b} {
		by := v.rejectedBy(&c[at], signers[0].Domain)
		if by == nil {
			continue
		}
		f.Kind = LawfulAgain
		if len(c) > at+1 {
			if p, err := v.signed(&c[at+1], at+1); err == nil && p.Domain == by.Domain && c[at+1].Payload.Previous == c[at].WireHash(signers[0]) {
				f.Kind, f.Platform = RejectedAndContinued, by.Domain
				break
			}
		}
	}
	v.found = append(v.found, f)
	return nil
}

// signed is the platform whose signature over e holds.
func (v *forkVerifier) signed(e *envelope.Entry, at int) (*identity.Platform, error) {
	host := e.Payload.Transactions[0].PlatformHost
	p, found := v.trust.Find(host)
	if !found {
		return nil, forkError(PlatformNotTrusted, at, nil, "there is no trust entry for %s", host)
	}
	if _, err := e.JWS.Verify(p, e.Payload.SignedAt(), false); err != nil {
		reason := BadSignature
		if serr, ok := errors.AsType[*envelope.SignatureError](err); ok {
			reason = Reason(serr.Reason)
		}
		return nil, forkError(reason, at, err, "%s", detail(err))
	}
	return p, nil
}

// rejectedBy is the addressee of e, if it signed that it rejects e from sender for good.
func (v *forkVerifier) rejectedBy(e *envelope.Entry, sender identity.Host) *identity.Platform {
	last := e.Payload.Transactions[len(e.Payload.Transactions)-1]
	p, found := v.trust.Find(last.Transferee.ID.Host)
	if !found {
		return nil
	}
	for _, jws := range v.proof.Rejections {
		r, err := envelope.OpenRejection(jws, p, v.now)
		if err == nil && r.Code != envelope.DisputeCode && r.Answers(e, sender, p.Domain) {
			return p
		}
	}
	return nil
}
