package chain

import "fmt"

// A Reason says which rule a chain broke. The list is closed; docs/PROTOCOL.md has a
// row for each.
type Reason string

// Who may answer what with each reason is decided by the receiver: see [Reason.Class].
const (
	SignerMismatch     Reason = "signerMismatch"     // the newest entry is not from the platform on the connection
	UnknownKey         Reason = "unknownKey"         // a key we have not been given
	KeyCompromised     Reason = "keyCompromised"     // signed by a key reported stolen
	RevocationUnknown  Reason = "revocationUnknown"  // nobody could say whether the signer's certificate is revoked
	BadSignature       Reason = "badSignature"       // of the newest entry
	PlatformNotTrusted Reason = "platformNotTrusted" // no trust entry for a signer
	BadChainSignature  Reason = "badChainSignature"  // of an older entry
	BadHash            Reason = "badHash"            // envelopeHash, or eblEnvelope beside the signature, is not the payload's
	BadLink            Reason = "badLink"            // previousEnvelopeHash
	DocumentMismatch   Reason = "documentMismatch"   // documentHash
	NotAnIssuer        Reason = "notAnIssuer"        // entry 0 is from a platform that may not issue this bill
	Unlawful           Reason = "unlawful"           // the law of the bill; Law says which part
	// Of bundles alone; a request always has its document.
	DocumentNeeded Reason = "documentNeeded" // only the document would tell, and it is not there
	OutOfTime      Reason = "timeLimit"      // judging took longer than allowed
)

// A Class is how a refusal is answered.
type Class int

const (
	// Unsigned: we refuse to sign anything, since the same bytes may be good once
	// we know more.
	Unsigned Class = iota
	// BSIG: the newest entry's signature is wrong.
	BSIG
	// BENV: the envelope or its chain is wrong and stays wrong.
	BENV
	// Later: we could not find out now; unsigned, and worth another try.
	Later
)

// Class says how a receiver answers r (wire document, section 5, checks 6 to 10).
func (r Reason) Class() Class {
	switch r {
	case SignerMismatch, UnknownKey, KeyCompromised:
		return Unsigned
	case RevocationUnknown:
		return Later
	case BadSignature:
		return BSIG
	}
	return BENV
}

// Indeterminate reports whether r means that a verifier lacks something, rather than
// that the chain is wrong.
func (r Reason) Indeterminate() bool {
	switch r {
	case UnknownKey, KeyCompromised, PlatformNotTrusted, RevocationUnknown, DocumentNeeded, OutOfTime:
		return true
	}
	return false
}

// An Error is the first rule that a chain broke, and where.
type Error struct {
	Reason      Reason
	Law         Law    // the part of the law, where Reason is Unlawful; else ""
	Part        string // of other reasons, as docs/BUNDLE.md has it; "" where there is none
	Entry       int    // index in the chain, from 0
	Transaction int    // index in the entry, from 0; -1 where the entry as a whole is meant
	Detail      string // a sentence for a person
	Err         error  // the cause, if any
}

func (e *Error) Error() string {
	reason := string(e.Reason)
	if e.Law != "" {
		reason += "/" + string(e.Law)
	}
	where := fmt.Sprintf("entry %d", e.Entry)
	if e.Transaction >= 0 {
		where += fmt.Sprintf(", transaction %d", e.Transaction)
	}
	return fmt.Sprintf("%s: %s: %s", reason, where, e.Detail)
}

// Rule is the code of the broken rule in docs/BUNDLE.md: the reason and its part.
func (e *Error) Rule() string {
	switch {
	case e.Law != "":
		return string(e.Reason) + "/" + string(e.Law)
	case e.Part != "":
		return string(e.Reason) + "/" + e.Part
	}
	return string(e.Reason)
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Path is the JSONPath of the place in a transferblock.
func (e *Error) Path() string {
	p := fmt.Sprintf("$.endorsementChain[%d]", e.Entry)
	switch e.Reason {
	case BadHash:
		return p + ".envelopeHash"
	case BadLink:
		return p + ".signature.payload.previousEnvelopeHash"
	case DocumentMismatch:
		return p + ".signature.payload.documentHash"
	}
	if e.Transaction >= 0 {
		return fmt.Sprintf("%s.signature.payload.transactions[%d]", p, e.Transaction)
	}
	return p + ".signature"
}
