package judge

import (
	"fmt"
	"time"

	"eblnode/envelope"
)

// A Leg is one entry, step or branch as it stands in the file, looked at by itself: for a
// picture, also where the verdict is not good. It is not evidence of who is in control.
type Leg struct {
	Kind     string // entry, step, branch
	Index    int    // in the chain, among the steps, or the branch
	Platform string // whom it says to be of: the trusted domain, or what it claims
	Signer   Result // the signature: ok, failed, unjudged
	Why      string // of a signature that does not hold
	Hash     Result // envelopeHash; "" for a step
	Link     Result // to the entry or step before
	Receipt  Result // of its addressee: ok, unjudged, failed; "" none in the file
	Key      string
	SignedAt time.Time
	Envelope string // envelopeHash
	// Broken: the verdict is about this leg.
	Broken       bool
	Transactions []LegTransaction
}

// A LegTransaction is one transaction of a leg.
type LegTransaction struct {
	Instruction string
	At          time.Time
	To          string // identifier, as it stands there
	ToPlatform  string
	ToName      string // the party's name, if it is given
	Comments    string
	Broken      bool
}

// picture fills Journey.
func (j *judging) picture() {
	if !j.o.Journey {
		return
	}
	entries := j.b.Block.Entries
	for i := range entries {
		leg := j.leg(&entries[i], "entry", i)
		var previous envelope.Hash
		if i > 0 {
			previous = entries[i-1].Claimed
		}
		if entries[i].Payload.Linked != (i > 0) || entries[i].Payload.Previous != previous {
			leg.Link = Failed
		}
		for k, jws := range j.b.Receipts {
			switch {
			case string(jws.Payload) != entries[i].Claimed.String():
			case j.Receipt != nil && *j.Receipt == k:
				leg.Receipt = Failed
			case j.receipted[i]:
				leg.Receipt = OK
			default:
				leg.Receipt = Unjudged
			}
		}
		if j.Entry == i && j.Transaction >= 0 && j.Transaction < len(leg.Transactions) {
			leg.Transactions[j.Transaction].Broken = true
		}
		leg.Broken = j.Entry == i
		j.Journey = append(j.Journey, leg)
	}
	for i := range j.b.Steps {
		s := &j.b.Steps[i]
		e := envelope.Entry{JWS: s.JWS, Payload: envelope.Payload{Transactions: []envelope.Transaction{s.Transaction}}}
		leg := j.leg(&e, "step", i)
		leg.Hash = ""
		leg.Broken = j.Step != nil && *j.Step == i
		if leg.Broken && (j.Rule == "badStep/head" || j.Rule == "badStep/previous") {
			leg.Link = Failed
		}
		j.Journey = append(j.Journey, leg)
	}
	for i := range j.b.Branches {
		leg := j.leg(&j.b.Branches[i].Entries[0], "branch", i)
		leg.Broken = j.Branch != nil && *j.Branch == i
		j.Journey = append(j.Journey, leg)
	}
}

func (j *judging) leg(e *envelope.Entry, kind string, index int) Leg {
	first := e.Payload.Transactions[0]
	leg := Leg{Kind: kind, Index: index, Platform: j.o.Trust.Name(first.PlatformHost).String(), Signer: OK, Hash: OK, Link: OK,
		Key: e.JWS.Header.Kid, SignedAt: e.Payload.SignedAt(), Envelope: e.Claimed.String()}
	p, trusted := j.o.Trust.Find(first.PlatformHost)
	switch {
	case !trusted:
		leg.Signer, leg.Why = Unjudged, "you have no trust entry for "+leg.Platform
	case j.stopped():
		leg.Signer, leg.Why = Unjudged, "judging took longer than allowed"
	default:
		if _, err := e.JWS.VerifyKnown(p, leg.SignedAt, envelope.Known{Since: time.Unix(0, 0), Evidence: j.evidence(e.JWS.Raw)}); err != nil {
			leg.Signer, leg.Why = Failed, fmt.Sprint(err)
			if unknown(err) {
				leg.Signer = Unjudged
			}
		}
		if e.Claimed != e.WireHash(p) && kind == "entry" {
			leg.Hash = Failed
		}
	}
	for _, tx := range e.Payload.Transactions {
		leg.Transactions = append(leg.Transactions, LegTransaction{Instruction: string(tx.Instruction), At: tx.At, To: tx.Transferee.ID.String(),
			ToPlatform: j.o.Trust.Name(tx.Transferee.ID.Host).String(), ToName: tx.Transferee.Name, Comments: tx.Comments})
	}
	return leg
}

func unknown(err error) bool {
	e, ok := err.(*envelope.SignatureError)
	return ok && e.Reason != envelope.BadSignature
}

// Platforms lists who is in the journey, in the order of appearance.
func (r *Report) Platforms() (list []string) {
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] {
			seen[name] = true
			list = append(list, name)
		}
	}
	for _, leg := range r.Journey {
		add(leg.Platform)
		for _, tx := range leg.Transactions {
			add(tx.ToPlatform)
		}
	}
	return list
}
