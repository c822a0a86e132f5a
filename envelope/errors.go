package envelope

import (
	"fmt"
	"strings"
)

// A FormatError says that something is not the wire format: bad JSON, a missing
// member, a second spelling. It is answered with an unsigned 400 (or 413 where
// Limit is set and the size of the body was it) and changes nothing; the sender
// must send something else (wire document, section 1, "shape").
type FormatError struct {
	Rule   string // which rule of shape, a code of docs/BUNDLE.md: json, missing, type, jws …
	Path   string // JSONPath of the place, "$" for the whole
	Detail string // a sentence for a person; never quotes the document
	Limit  string // the name of the limit that was passed, else empty
}

func (e *FormatError) Error() string {
	if e.Path == "" || e.Path == "$" {
		return "malformed: " + e.Detail
	}
	return "malformed: " + e.Path + ": " + e.Detail
}

func malformed(rule, path, format string, args ...any) *FormatError {
	return &FormatError{Rule: rule, Path: path, Detail: fmt.Sprintf(format, args...)}
}

// under puts the error below path: what was "$.a" becomes path + ".a".
func (e *FormatError) under(path string) *FormatError {
	c := *e
	c.Path = path + strings.TrimPrefix(e.Path, "$")
	return &c
}

// A SignatureReason says why a signature was not believed.
type SignatureReason string

// The closed list of reasons. What a receiver must do with each depends on
// where the entry stands (wire document, section 5, checks 7 and 8).
const (
	// BadSignature: a key of the platform was named or tried and the
	// signature is not its, or the key may not sign at that time.
	BadSignature SignatureReason = "badSignature"
	// UnknownKey: no key we were given for this platform fits. It may be a key
	// we have not been given yet, so nothing is signed about it.
	UnknownKey SignatureReason = "unknownKey"
	// KeyCompromised: the key was reported stolen. Only what is known to have
	// existed before counts.
	KeyCompromised SignatureReason = "keyCompromised"
	// RevocationUnknown: whether the key's certificate is revoked cannot be told now. The
	// same bytes may be judged later.
	RevocationUnknown SignatureReason = "revocationUnknown"
)

// A SignatureError is the refusal of a signature.
type SignatureError struct {
	Reason SignatureReason
	Part   string // algorithm, value, window, certificate, revoked; kid, noKid, anchor; "" for KeyCompromised
	Detail string
	Err    error // the cause, or nil
}

// Unwrap gives the cause.
func (e *SignatureError) Unwrap() error { return e.Err }

func (e *SignatureError) Error() string { return string(e.Reason) + ": " + e.Detail }

func badSignature(part, format string, args ...any) *SignatureError {
	return &SignatureError{Reason: BadSignature, Part: part, Detail: fmt.Sprintf(format, args...)}
}
