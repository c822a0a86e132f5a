package chain

import (
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A Status is where a bill is in its life.
type Status string

// The statuses. The zero value is a bill not yet issued.
const (
	Unissued         Status = ""
	Active           Status = "active"
	SurrenderPending Status = "surrenderPending"
	AmendmentPending Status = "amendmentPending"
	PaperPending     Status = "paperPending"
	Void             Status = "void"
)

// Pending reports whether the bill lies with its issuer for a yes or a no.
func (s Status) Pending() bool {
	return s == SurrenderPending || s == AmendmentPending || s == PaperPending
}

// A Profile is the wire format of a chain.
type Profile string

// V1 is the transferblock of 2022, in which title and possession move together.
const V1 Profile = "v1"

// A State is all that the law needs to know of one bill. It is a value: Apply returns
// a new one. The zero State is a bill not yet issued.
type State struct {
	Document envelope.Hash
	Profile  Profile
	ToOrder  bool
	// Issuing is the domain of the platform that issued the bill.
	Issuing identity.Host
	// Issuer is the user who issued it, known on the issuing platform only; else zero.
	Issuer identity.Identifier
	// Possessor is in control. Its Host is the domain of its platform.
	Possessor identity.Identifier
	// Endorsee has title; in v1 always the possessor.
	Endorsee identity.Identifier
	Status   Status
	// ReturnedBy is who returned the bill while a return is pending.
	ReturnedBy identity.Identifier
	// Head is the newest entry and Length the number of entries. Steps inside a
	// platform change the state without changing either.
	Head   envelope.Hash
	Length int
}

// A Law is a part of the law of the bill that a transaction broke.
type Law string

// The closed list.
const (
	NotIssued        Law = "notIssued"        // the first transaction is not ISSU
	IssuedTwice      Law = "issuedTwice"      // ISSU again
	NotInControl     Law = "notInControl"     // the actor is not the platform of the party in control
	SamePossessor    Law = "samePossessor"    // the transferee is in control already
	ReturnPending    Law = "returnPending"    // the issuer may only give the bill back
	NotReturnedBy    Law = "notReturnedBy"    // declined to somebody who did not return it
	NotToTheIssuer   Law = "notToTheIssuer"   // a return to somebody other than the issuer
	BillVoid         Law = "billVoid"         // nothing follows a verdict
	ToOrderChanged   Law = "toOrderChanged"   // isToOrder is not what it was
	NoSuchAct        Law = "noSuchAct"        // an instruction that the law does not know
	OtherPlatform    Law = "otherPlatform"    // a transaction of another platform in the entry
	TimeReversed     Law = "timeReversed"     // a timestamp before an earlier one
	TimeAhead        Law = "timeAhead"        // a timestamp ahead of our clock
	NothingToHonour  Law = "nothingToHonour"  // a verdict without the return it answers
	VerdictUnfitting Law = "verdictUnfitting" // a verdict of another kind, or about another entry
)

// A LawError is a transaction that the law does not allow. The state is unchanged.
type LawError struct {
	Law    Law
	Detail string
}

func (e *LawError) Error() string { return string(e.Law) + ": " + e.Detail }

func unlawful(law Law, format string, args ...any) error {
	return &LawError{Law: law, Detail: fmt.Sprintf(format, args...)}
}

// A Transaction is what the law sees of a transaction: who does what, in favour of
// whom. Hosts are domains of platforms (identity.Trust.Name), so that two names of one
// platform are one.
type Transaction struct {
	Instruction envelope.Instruction
	Actor       identity.Host
	Transferee  identity.Identifier
	ToOrder     bool
	At          time.Time
}

// Apply is the law of the bill: the state after tx, or a *LawError and the state as it
// was. It is pure, and the only place where the law is written:
//
//	ISSU              once, first; the transferee is in control
//	TRNS              by the platform in control, while Active
//	SURR, AMND, SW2P  the same, in favour of the issuer; a return is then pending
//	TRNS              while a return is pending, by the issuing platform, back to
//	                  who returned it: the return is declined
//
// Nothing follows a verdict ([State.Conclude]).
func (s State) Apply(tx Transaction) (State, error) {
	if s.Status == Unissued {
		return s.issue(tx)
	}
	switch {
	case s.Status == Void:
		return s, unlawful(BillVoid, "the bill is void; nothing follows")
	case tx.Instruction == envelope.Issue:
		return s, unlawful(IssuedTwice, "the bill was issued already")
	case tx.ToOrder != s.ToOrder:
		return s, unlawful(ToOrderChanged, "isToOrder was %t at issuance", s.ToOrder)
	case tx.Actor != s.Possessor.Host:
		return s, unlawful(NotInControl, "%s acts, but %s is in control", tx.Actor, s.Possessor)
	case tx.Transferee == s.Possessor:
		return s, unlawful(SamePossessor, "%s is in control already", tx.Transferee)
	}
	if s.Status.Pending() {
		return s.decline(tx)
	}
	next := s
	switch tx.Instruction {
	case envelope.Transfer:
	case envelope.Surrender:
		next.Status = SurrenderPending
	case envelope.Amend:
		next.Status = AmendmentPending
	case envelope.SwitchToPaper:
		next.Status = PaperPending
	default:
		// The wire formats take no such instruction. What a later one may bring must not pass
		// for a transfer before the law has a row for it.
		return s, unlawful(NoSuchAct, "%s is no instruction that the law knows", tx.Instruction)
	}
	if next.Status != Active {
		if tx.Transferee.Host != s.Issuing || !s.Issuer.IsZero() && tx.Transferee != s.Issuer {
			return s, unlawful(NotToTheIssuer, "a bill is returned to its issuer at %s, not to %s", s.Issuing, tx.Transferee)
		}
		next.ReturnedBy = s.Possessor
	}
	next.Possessor, next.Endorsee = tx.Transferee, tx.Transferee
	return next, nil
}

func (s State) issue(tx Transaction) (State, error) {
	if tx.Instruction != envelope.Issue {
		return s, unlawful(NotIssued, "the first transaction is %s, not ISSU", tx.Instruction)
	}
	next := s
	next.Profile = V1
	next.Status = Active
	next.ToOrder = tx.ToOrder
	next.Issuing = tx.Actor
	next.Possessor, next.Endorsee = tx.Transferee, tx.Transferee
	return next, nil
}

func (s State) decline(tx Transaction) (State, error) {
	if tx.Instruction != envelope.Transfer {
		return s, unlawful(ReturnPending, "the bill was returned; the issuer honours it or gives it back")
	}
	if tx.Transferee != s.ReturnedBy {
		return s, unlawful(NotReturnedBy, "a declined bill goes back to %s and to nobody else", s.ReturnedBy)
	}
	next := s
	next.Status = Active
	next.ReturnedBy = identity.Identifier{}
	next.Possessor, next.Endorsee = tx.Transferee, tx.Transferee
	return next, nil
}

// Conclude applies the carrier's verdict: the bill is void. The caller has verified
// that the issuing platform signed it.
func (s State) Conclude(v envelope.Verdict) (State, error) {
	want := map[Status]envelope.VerdictKind{
		SurrenderPending: envelope.Surrendered,
		AmendmentPending: envelope.Amended,
		PaperPending:     envelope.Paper,
	}
	kind, pending := want[s.Status]
	switch {
	case s.Status == Void:
		return s, unlawful(BillVoid, "the bill is void; nothing follows")
	case !pending:
		return s, unlawful(NothingToHonour, "no return is pending")
	case v.Kind != kind:
		return s, unlawful(VerdictUnfitting, "the verdict %q does not answer %s", v.Kind, s.Status)
	case v.DocumentHash != s.Document || v.EnvelopeHash != s.Head:
		return s, unlawful(VerdictUnfitting, "the verdict is about another bill or another entry")
	case (v.Kind == envelope.Amended) == v.ReplacedBy.IsZero():
		return s, unlawful(VerdictUnfitting, "replacedBy belongs to an amendment, and to nothing else")
	}
	next := s
	next.Status = Void
	next.Possessor, next.Endorsee, next.ReturnedBy = identity.Identifier{}, identity.Identifier{}, identity.Identifier{}
	return next, nil
}
