package node

import (
	"errors"
	"fmt"

	"eblnode/chain"
	"eblnode/envelope"
)

// A Code is the errorCode of a refusal. The list is closed (wire document, section 6;
// docs/PROTOCOL.md has it with the HTTP status and what to do).
type Code int

// The codes. 8001 to 8003 are signed where a peer asked; 8004 and 8005 are answers to
// local users only.
const (
	Malformed       Code = 7001
	BadAPIVersion   Code = 7002
	Unauthorized    Code = 7101
	Forbidden       Code = 7103
	NotFound        Code = 7104
	BadMethod       Code = 7105
	TooLarge        Code = 7113
	BadMediaType    Code = 7115
	TooManyRequests Code = 7129
	Unavailable     Code = 7503
	Internal        Code = 7500
	BSIG            Code = 8001
	BENV            Code = 8002
	DISE            Code = 8003
	Conflict        Code = 8004
	NotPossible     Code = 8005
)

// The texts (errorCodeText) that belong to codes with several; those of BENV are the
// reasons of package chain and the ones below.
const (
	TextUnknownPeer      = "unknownPeer"
	TextForbidden        = "forbidden"
	TextNotForUs         = "notForUs"
	TextTransferee       = "transfereeNotAccepted"
	TextNotTheIssuer     = "notTheIssuer"
	TextReferenceInUse   = "referenceInUse"
	TextBehind           = "behind"
	TextForked           = "forked"
	TextUnavailable      = "unavailable"
	TextQuarantine       = "quarantine"
	TextLocked           = "locked"
	TextAlreadyIssued    = "alreadyIssued"
	TextNotTrusted       = "platformNotTrusted"
	TextPeerNotReady     = "peerNotReady"
	TextUnknownUser      = "unknownUser"
	TextCursor           = "cursorUnknown"
	TextKeyReused        = "idempotencyKeyReused"
	TextAlreadySent      = "alreadySent"
	TextNotProposed      = "notProposed"
	TextSecondOperator   = "secondOperatorNeeded"
	TextNothingToResolve = "nothingToResolve"
	TextByOperators      = "rejectedByOperators"
	TextAccepted         = "alreadyAccepted"
	TextNotItsOwn        = "notItsOwn"
	TextAmbiguous        = "ambiguous"
	TextByFile           = "broughtAsFile"
	TextCompromised      = "keyCompromised"
	TextTokenRequired    = "tokenRequired"
	TextTokenInvalid     = "tokenInvalid"
	TextClientInvalid    = "clientInvalid"

	TextInsufficientScope = "insufficientScope"
	TextSecondPerson      = "secondPersonNeeded"
	TextApprovalOver      = "approvalOver"
	TextApprovalOther     = "approvalNotThis"
	TextApprovalsFull     = "tooManyApprovals"
)

// An Error is a refusal: something we do not do, and say so without a signature. It
// changes nothing. As part of a [Reply] it describes a signed rejection.
type Error struct {
	Code   Code
	Text   string // errorCodeText, from the closed list
	Detail string // errorCodeMessage: a sentence for a person, with the next step
	Path   string // JSONPath of the place, if there is one
	// Entry and Transaction place a broken rule in the chain; -1 where none is meant.
	Entry, Transaction int
	// Retry is after how many seconds the same bytes may be sent again; 0: not said.
	Retry int
	Err   error // the cause, for the log only
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%d %s: %s", e.Code, e.Text, e.Detail)
	if e.Path != "" {
		s += " (at " + e.Path + ")"
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func refuse(code Code, text, format string, args ...any) *Error {
	return &Error{Code: code, Text: text, Detail: fmt.Sprintf(format, args...), Entry: -1, Transaction: -1}
}

// busy is the answer when our own parts fail: nothing was decided, or we do not know
// whether it was; asking again gives the answer.
func busy(err error) *Error {
	e := refuse(Unavailable, TextUnavailable, "the node cannot answer now; send the same again later")
	e.Retry, e.Err = 2, err
	return e
}

// AsError gives the refusal in err, or 7500 with the detail withheld where err is
// none: it may hold what is nobody's business.
func AsError(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if f, ok := errors.AsType[*envelope.FormatError](err); ok {
		return formatRefusal(f)
	}
	e := refuse(Internal, "internalError", "an internal error; the reference finds it in our log")
	e.Err = err
	return e
}

func formatRefusal(f *envelope.FormatError) *Error {
	e := refuse(Malformed, "malformed", "%s", f.Detail)
	if f.Limit == "body" {
		e.Code, e.Text = TooLarge, "tooLarge"
	}
	e.Path = f.Path
	return e
}

// revocationRetry is after how many seconds a block is worth sending again of which nobody
// could say whether its signer's certificate is revoked.
const revocationRetry = 60

// refusalOf is the one classifier of a chain's errors: what is said, and whether it is
// signed (code 8001 or 8002) or not.
func refusalOf(err *chain.Error) *Error {
	e := refuse(Forbidden, string(err.Reason), "%s", err.Detail)
	switch err.Reason.Class() {
	case chain.BSIG:
		e.Code = BSIG
	case chain.BENV:
		e.Code = BENV
	case chain.Later:
		e.Code, e.Text, e.Retry = Unavailable, TextUnavailable, revocationRetry
	}
	if err.Law != "" {
		e.Text += "/" + string(err.Law)
	}
	e.Path, e.Entry, e.Transaction, e.Err = err.Path(), err.Entry, err.Transaction, err
	return e
}

// responseCode is the code of the signed rejection for e; false: not signed.
func responseCode(e *Error) (envelope.ResponseCode, bool) {
	switch e.Code {
	case BSIG:
		return envelope.BadSignatureCode, true
	case BENV:
		return envelope.BadEnvelopeCode, true
	case DISE:
		return envelope.DisputeCode, true
	}
	return "", false
}
