package judge

import (
	"fmt"
	"strings"
	"time"

	"eblnode/envelope"
)

// A Leg is one entry, step, branch or carrier's verdict as it stands in the file, looked at by
// itself: for a picture, also where the verdict is not good. It is not evidence of who is in
// control.
type Leg struct {
	Kind     string // entry, step, branch, verdict
	Index    int    // in the chain, among the steps, or the branch
	At       int    // of a branch: it follows entry At-1 of the chain
	After    int    // of a branch: how many entries it has after this first one
	Platform string // whom it says to be of: the trusted domain, or what it claims
	Signer   Result // the signature: ok, failed, unjudged
	Why      string // of a signature that does not hold
	Hash     Result // envelopeHash; "" for a step and a verdict
	Link     Result // to the entry or step before
	// Receipt and Rejection are the answers of its addressee: ok, unjudged, failed; "" none
	// in the file. Code is what the rejection says (BSIG, BENV, DISE).
	Receipt   Result
	Rejection Result
	Code      string
	Key       string
	SignedAt  time.Time
	Envelope  string // envelopeHash
	Honour    string // of the carrier's verdict: surrendered, amended, paper
	// Broken: the verdict of the report is about this leg.
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
	legs := map[*envelope.Entry]int{} // where in Journey an entry is
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
		legs[&entries[i]] = len(j.Journey)
		j.Journey = append(j.Journey, leg)
	}
	for i := range j.b.Steps {
		s := &j.b.Steps[i]
		e := envelope.Entry{JWS: s.JWS, Payload: envelope.Payload{Transactions: []envelope.Transaction{s.Transaction}}}
		leg := j.leg(&e, "step", i)
		leg.Hash = ""
		if j.Step != nil && *j.Step == i && (j.Rule == "badStep/head" || j.Rule == "badStep/previous") {
			leg.Link = Failed
		}
		j.Journey = append(j.Journey, leg)
	}
	if j.b.Verdict != nil && len(entries)+len(j.b.Steps) > 0 {
		j.Journey = append(j.Journey, j.verdictLeg())
	}
	for i := range j.b.Branches {
		b := &j.b.Branches[i]
		leg := j.leg(&b.Entries[0], "branch", i)
		leg.At, leg.After = b.At, len(b.Entries)-1
		if j.Branch != nil && *j.Branch == i && j.Rule == "badBranch/link" {
			leg.Link = Failed
		}
		for k := range b.Entries {
			legs[&b.Entries[k]] = len(j.Journey)
		}
		j.Journey = append(j.Journey, leg)
	}
	j.answers(legs)
	j.blame()
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
		_, err := e.JWS.VerifyKnown(p, leg.SignedAt, envelope.Known{Since: time.Unix(0, 0), Evidence: j.evidence(e.JWS.Raw)})
		leg.signature(err)
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

// signature notes what a look at a signature gave.
func (l *Leg) signature(err error) {
	if err == nil {
		return
	}
	l.Signer, l.Why = Failed, fmt.Sprint(err)
	if e, ok := err.(*envelope.SignatureError); ok && e.Reason != envelope.BadSignature {
		l.Signer = Unjudged
	}
}

// verdictLeg is the carrier's verdict on a returned bill.
func (j *judging) verdictLeg() Leg {
	v := j.b.Verdict
	leg := Leg{Kind: "verdict", Signer: OK, Link: OK, Key: v.JWS.Header.Kid, SignedAt: v.Verdict.At, Honour: string(v.Verdict.Kind)}
	first := &j.b.Block.Entries
	host := j.state.Issuing
	if len(*first) > 0 {
		host = (*first)[0].Payload.Transactions[0].PlatformHost
	} else if host.IsZero() {
		host = j.b.Steps[0].Transaction.PlatformHost
	}
	leg.Platform = j.o.Trust.Name(host).String()
	p, trusted := j.o.Trust.Find(host)
	switch {
	case !trusted:
		leg.Signer, leg.Why = Unjudged, "you have no trust entry for "+leg.Platform
	case j.stopped():
		leg.Signer, leg.Why = Unjudged, "judging took longer than allowed"
	default:
		_, err := j.believe(v.JWS, p, v.Verdict.At)
		leg.signature(err)
	}
	return leg
}

// answers notes receipts and rejections at the legs that they are about.
func (j *judging) answers(legs map[*envelope.Entry]int) {
	place := map[string]*envelope.Entry{} // the last entry that claims a hash
	for i := range j.b.Block.Entries {
		e := &j.b.Block.Entries[i]
		place[e.Claimed.String()] = e
	}
	for k, jws := range j.b.Receipts {
		e := place[string(jws.Payload)]
		if e == nil {
			continue // of nothing that is drawn
		}
		leg := &j.Journey[legs[e]]
		if leg.Receipt != Failed {
			leg.Receipt = j.answer(jws, e)
		}
		if j.Receipt != nil && *j.Receipt == k {
			leg.Receipt, leg.Broken = Failed, true
		}
	}
	for k := range j.b.Rejections {
		if j.stopped() {
			return // a file can make this look long
		}
		r := &j.b.Rejections[k]
		e, _, bytes := j.subject(r.Rejection)
		if e == nil {
			continue
		}
		leg := &j.Journey[legs[e]]
		if leg.Rejection != Failed {
			leg.Rejection, leg.Code = j.answer(r.JWS, e), string(r.Rejection.Code)
		}
		if j.Rejection != nil && *j.Rejection == k {
			leg.Broken = true
		}
		if !bytes || leg.Broken && j.Reason == "badRejection" && *j.Rejection == k {
			leg.Rejection = Failed
		}
	}
}

// answer looks at what the addressee of e signed.
func (j *judging) answer(jws envelope.JWS, e *envelope.Entry) Result {
	p, trusted := j.addressee(e)
	if !trusted || j.stopped() {
		return Unjudged
	}
	switch _, part, known := j.signed(jws, p, e.Payload.SignedAt()); {
	case !known:
		return Unjudged
	case part != "":
		return Failed
	}
	return OK
}

// blame marks the leg that the verdict is about; answers has marked those of receipts and
// rejections.
func (j *judging) blame() {
	if j.Verdict.Holds() {
		return
	}
	for i := range j.Journey {
		leg := &j.Journey[i]
		switch leg.Kind {
		case "entry":
			leg.Broken = leg.Broken || j.Entry == leg.Index && j.Step == nil
			if leg.Broken && j.Transaction >= 0 && j.Transaction < len(leg.Transactions) {
				leg.Transactions[j.Transaction].Broken = true
			}
		case "step":
			leg.Broken = j.Step != nil && *j.Step == leg.Index
		case "verdict":
			leg.Broken = strings.HasPrefix(j.Path, "$.verdict")
		case "branch":
			leg.Broken = leg.Broken || j.Branch != nil && *j.Branch == leg.Index
		}
	}
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
