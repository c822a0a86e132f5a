package judge

import (
	"errors"
	"fmt"

	"eblnode/envelope"
	"eblnode/identity"
)

// A ForkKind says what two continuations of one entry show.
type ForkKind string

// The kinds. Only the first two accuse anybody.
const (
	// SignedTwice: one platform signed two continuations, and neither has a
	// rejection by its addressee.
	SignedTwice ForkKind = "signedTwice"
	// RejectedAndContinued: an addressee signed that it rejects an envelope, and signed
	// on after it.
	RejectedAndContinued ForkKind = "rejectedAndContinued"
	// LawfulAgain: the addressee of one of the two rejected it, so that the other was
	// lawful (wire document, section 7).
	LawfulAgain ForkKind = "lawful"
	// TwoSigners: the continuations are of two platforms; neither signed twice.
	TwoSigners ForkKind = "twoSigners"
	// Continued: the chain ends where the branch goes on, and nobody rejected that.
	Continued ForkKind = "continued"
)

// A Fork is one place where two continuations part, and what that shows.
type Fork struct {
	Kind     ForkKind `json:"kind"`
	Platform string   `json:"platform,omitempty"` // who is accused, or signed lawfully again
	Entry    int      `json:"entry"`
	// Envelopes are the two continuations; one where Kind is Continued, or lawful after
	// the end of the chain.
	Envelopes []string `json:"envelopeHashes"`
	// Code is what the rejection says where Kind is RejectedAndContinued. BSIG is about bytes: its
	// platform may have got and accepted others of the same envelope, so it is not accused.
	Code envelope.ResponseCode `json:"responseCode,omitempty"`
}

// Accuses reports whether f proves something against its platform.
func (f Fork) Accuses() bool {
	return f.Kind == SignedTwice || f.Kind == RejectedAndContinued && f.Code != envelope.BadSignatureCode
}

// opens reports whether f leaves open who is in control.
func (f Fork) opens() bool {
	return f.Kind == SignedTwice || f.Kind == RejectedAndContinued || f.Kind == Continued
}

// A refusal is a verified rejection, BSIG or BENV, of an envelope.
type refusal struct {
	by   *identity.Platform
	code envelope.ResponseCode
	text envelope.Hash // of the JWS
}

// A path is a chain from the issuance: the file's own, or one with a branch at its end.
type path struct {
	branch  int // -1: the chain of the file
	entries []*envelope.Entry
	signers []*identity.Platform // nil: not judged
}

// branches is G. Each rests on signatures over the same document and the same previous
// envelope, by the reader's keys.
func (j *judging) branches() bool {
	if len(j.b.Branches) == 0 {
		return true
	}
	j.refusals()
	own := path{branch: -1}
	for i := range j.b.Block.Entries {
		e := &j.b.Block.Entries[i]
		own.entries, own.signers = append(own.entries, e), append(own.signers, j.ownSigner(i))
	}
	paths := []path{own}
	seen := map[parted]bool{}
	first := (*Fork)(nil) // the first finding that leaves open who is in control
	which := 0
	for i := range j.b.Branches {
		if j.stopped() {
			return j.late()
		}
		p, ok := j.branch(i, own)
		if !ok {
			return false
		}
		for _, before := range paths {
			f, found := j.part(before, p)
			if !found {
				continue
			}
			if len(f.Envelopes) == 2 {
				what := parted{f.Kind, f.Envelopes[0], f.Envelopes[1]}
				if seen[what] {
					continue
				}
				seen[what] = true
			}
			j.Forks = append(j.Forks, f)
			if before.branch < 0 && first == nil && f.opens() {
				first, which = &f, i
			}
		}
		paths = append(paths, p)
	}
	switch {
	case first == nil && j.stopped():
		return j.late() // the last branch may not have been looked at
	case first == nil:
		return true
	}
	j.Branch, j.Path = &which, fmt.Sprintf("$.branches[%d]", which)
	return j.broken(Indeterminate, "forked", string(first.Kind), fmt.Sprintf("branch %d", which), "%s", first.Sentence())
}

// refusals notes who rejected which envelope for good. It is a look of its own, since a
// fork is told also where an earlier rule left the verdict open.
func (j *judging) refusals() {
	j.refused = map[envelope.Hash][]refusal{}
	for i := range j.b.Rejections {
		if j.stopped() {
			return
		}
		r := &j.b.Rejections[i]
		e, _, bytes := j.subject(r.Rejection)
		if e == nil || !bytes || r.Rejection.Code == envelope.DisputeCode {
			continue
		}
		sender, known := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
		receiver, trusted := j.addressee(e)
		if !known || !trusted || r.Rejection.Sender != sender.Domain || r.Rejection.Receiver != receiver.Domain {
			continue
		}
		if _, part, ok := j.signed(r.JWS, receiver, e.Payload.SignedAt()); ok && part == "" {
			j.refused[e.Hash()] = append(j.refused[e.Hash()], refusal{receiver, r.Rejection.Code, r.Rejection.JWSSum})
		}
	}
}

// refusal is a rejection of e: BENV is of the envelope, BSIG of these bytes of it alone. A forger who
// gets one for a signature that he spoilt has no rejection of the envelope.
func (j *judging) refusal(e *envelope.Entry) *refusal {
	for i := range j.refused[e.Hash()] {
		if r := &j.refused[e.Hash()][i]; r.code == envelope.BadEnvelopeCode || r.text == envelope.HashOf([]byte(e.JWS.Raw)) {
			return r
		}
	}
	return nil
}

// Sentence says what f shows, for a person.
func (f Fork) Sentence() string {
	switch f.Kind {
	case SignedTwice:
		return f.Platform + " signed two continuations of one envelope; a rejection of either by its addressee, if there is one, would clear it"
	case RejectedAndContinued:
		if !f.Accuses() {
			return f.Platform + " rejected a signature of an envelope (BSIG), and signed on after that envelope, which it may have got again with another"
		}
		return f.Platform + " signed that it rejects an envelope, and signed on after it"
	case LawfulAgain:
		return f.Platform + " signed again after a rejection, which is lawful"
	case Continued:
		return f.Platform + " signed an envelope after the end of this chain, and nobody rejected it"
	}
	return "two platforms signed one continuation each; nobody signed twice"
}

// ownSigner is the platform that signed an entry of the chain. Where the chain could not be judged
// nobody has compared hashes and links yet, and a forger may have laid envelopes of two bills, or
// of two times, beside each other: what does not follow the entry before it accuses nobody.
func (j *judging) ownSigner(i int) *identity.Platform {
	e := &j.b.Block.Entries[i]
	p, trusted := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
	if j.got != nil {
		return p
	}
	var previous envelope.Hash
	if i > 0 {
		previous = j.b.Block.Entries[i-1].Claimed
	}
	if !trusted || j.stopped() || !j.honest(e) || e.Payload.Linked != (i > 0) || e.Payload.Previous != previous || e.Payload.DocumentHash != j.b.DocumentHash {
		return nil
	}
	if _, err := j.believeKnown(e.JWS, p, e.Payload.SignedAt(), j.known(i, e.JWS.Raw)); err != nil {
		return nil
	}
	return p
}

// signerOf is the platform whose signature over e, of a branch, holds; nil where it does not, or
// the reader does not trust the platform or key.
func (j *judging) signerOf(e *envelope.Entry) *identity.Platform {
	p, trusted := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
	if !trusted || j.stopped() {
		return nil
	}
	if _, err := j.believe(e.JWS, p, e.Payload.SignedAt()); err != nil {
		return nil
	}
	return p
}

// branch checks one branch and gives the path to its end.
func (j *judging) branch(i int, own path) (path, bool) {
	b := &j.b.Branches[i]
	what := fmt.Sprintf("branch %d, from entry %d on", i, b.At)
	bad := func(part, format string, args ...any) (path, bool) {
		j.Branch, j.Path = &i, fmt.Sprintf("$.branches[%d]", i)
		return path{}, j.broken(Invalid, "badBranch", part, what, format, args...)
	}
	if b.At > len(own.entries) {
		return bad("link", "the branch begins after the end of the chain")
	}
	p := path{branch: i, entries: append([]*envelope.Entry{}, own.entries[:b.At]...), signers: append([]*identity.Platform{}, own.signers[:b.At]...)}
	for k := range b.Entries {
		e := &b.Entries[k]
		if signer, trusted := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost); trusted {
			e.Claimed = e.WireHash(signer)
		}
		var previous envelope.Hash
		if n := len(p.entries); n > 0 {
			previous = p.entries[n-1].Claimed
		}
		if e.Payload.Linked != (len(p.entries) > 0) || e.Payload.Previous != previous {
			return bad("link", "entry %d of the branch does not follow the one before it", k)
		}
		p.entries = append(p.entries, e)
	}
	if b.At < len(own.entries) && b.Entries[0].Hash() == own.entries[b.At].Hash() {
		return bad("same", "the branch begins with what the chain has there")
	}
	for k := range b.Entries {
		if b.Entries[k].Payload.DocumentHash != j.b.DocumentHash {
			return bad("document", "entry %d of the branch is of another document", k)
		}
	}
	judged := true
	for k := range b.Entries {
		e := &b.Entries[k]
		signer := j.signerOf(e)
		p.signers = append(p.signers, signer)
		if signer != nil {
			continue
		}
		judged = false
		known, trusted := j.o.Trust.Find(e.Payload.Transactions[0].PlatformHost)
		if !trusted {
			continue
		}
		_, err := j.believe(e.JWS, known, e.Payload.SignedAt())
		if serr, ok := errors.AsType[*envelope.SignatureError](err); ok && serr.Reason == envelope.BadSignature {
			return bad(serr.Part, "entry %d of the branch: %s", k, serr.Detail)
		}
	}
	if judged {
		j.check(what, OK, "every signature and link of it")
	} else {
		j.check(what, Unjudged, "you do not trust a platform or key that signed it")
	}
	return p, true
}

// parting is the first index at which two chains differ; -1 where one begins the other.
// The same payload under another signature is the same entry: anybody can make a second
// spelling of an ECDSA signature.
func parting(a, b path) int {
	for i := range min(len(a.entries), len(b.entries)) {
		if a.entries[i].Hash() != b.entries[i].Hash() {
			return i
		}
	}
	return -1
}

// parted is what two paths show where they part, told once. The kind is part of it: a rejection of
// one signature does not speak for the same envelope under another.
type parted struct {
	kind     ForkKind
	one, two string
}

// part is what the place shows where two paths part; false where nothing can be said.
func (j *judging) part(a, b path) (Fork, bool) {
	at := parting(a, b)
	if at < 0 {
		if a.branch >= 0 || len(b.entries) <= len(a.entries) {
			return Fork{}, false
		}
		return j.after(a, b)
	}
	one, two := a.signers[at], b.signers[at]
	if one == nil || two == nil {
		return Fork{}, false
	}
	f := Fork{Kind: SignedTwice, Platform: one.Domain.String(), Entry: at, Envelopes: []string{a.entries[at].Hash().String(), b.entries[at].Hash().String()}}
	if one.Domain != two.Domain {
		f.Kind, f.Platform = TwoSigners, ""
		return f, true
	}
	for _, p := range []path{a, b} {
		no := j.refusal(p.entries[at])
		if no == nil {
			continue
		}
		f.Kind = LawfulAgain
		if len(p.entries) > at+1 && p.signers[at+1] != nil && p.signers[at+1].Domain == no.by.Domain {
			f.Kind, f.Platform, f.Code = RejectedAndContinued, no.by.Domain.String(), no.code
			break
		}
	}
	return f, true
}

// after is a branch that begins where the chain ends.
func (j *judging) after(own, b path) (Fork, bool) {
	at := len(own.entries)
	e, signer := b.entries[at], b.signers[at]
	if signer == nil {
		return Fork{}, false
	}
	f := Fork{Kind: Continued, Platform: signer.Domain.String(), Entry: at, Envelopes: []string{e.Hash().String()}}
	if no := j.refusal(e); no != nil {
		f.Kind = LawfulAgain
		if len(b.entries) > at+1 && b.signers[at+1] != nil && b.signers[at+1].Domain == no.by.Domain {
			f.Kind, f.Platform, f.Code = RejectedAndContinued, no.by.Domain.String(), no.code
		}
	}
	return f, true
}
