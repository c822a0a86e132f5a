package envelope

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// This file holds every old reading of the 2022 text that we still take, so that
// all of them can be seen at once and taken away together.

// Aliases that are read from everybody: each is another name for the same value,
// and both names at once are malformed.
const (
	chainField    = "endorsementChain"
	oldChainField = "endorcementChain" // the spelling of the 2022 prose and its examples
)

// chainOf is the chain under whichever of its two names it came, and that name.
func chainOf(now, old jsontext.Value) (field string, list jsontext.Value, err *FormatError) {
	switch {
	case present(now) && present(old):
		return "", nil, malformed("both", "$."+oldChainField, "both spellings of endorsementChain are there")
	case present(old):
		return oldChainField, old, nil
	case !present(now):
		return "", nil, malformed("missing", "$."+chainField, "missing")
	}
	return chainField, now, nil
}

// instructionOf is the instruction of a transaction, which some write as action.
func instructionOf(instruction, action *string) (*string, *FormatError) {
	switch {
	case instruction != nil && action != nil:
		return nil, malformed("both", "$.action", "instruction and its alias action are both there")
	case instruction != nil:
		return instruction, nil
	case action != nil:
		return action, nil
	}
	return nil, malformed("missing", "$.instruction", "missing")
}

// providerOf is whose code an identifying code is; the older Party named an agency.
func providerOf(provider, agency *string) string {
	if deref(provider) != "" {
		return *provider
	}
	return deref(agency)
}

// Quirk values of a trust entry. A quirk replaces the normal reading for one
// platform; nothing is guessed from the message.
const (
	documentHashAsSent    = "as-sent"   // SHA-256 of the document without insignificant white space
	envelopeHashBase64url = "base64url" // SHA-256 of the payload's base64url text
)

// timestampOf reads the digits of a timestamp: milliseconds since 1970, or, in old
// blocks, microseconds (15 or 16 digits) or nanoseconds (17 and more; the example
// of 2022 has 19).
func timestampOf(digits string) (time.Time, bool) {
	// The unit follows from the number of digits, so there is nothing but digits: no -0.
	if digits == "" || digits[0] == '-' || len(digits) > 1 && digits[0] == '0' {
		return time.Time{}, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return time.Time{}, false
	}
	switch {
	case len(digits) >= 17:
		return time.Unix(0, n).UTC(), true
	case len(digits) >= 15:
		return time.UnixMicro(n).UTC(), true
	}
	return time.UnixMilli(n).UTC(), true
}

// documentHash is the hash of the document as the issuing platform reads it.
func documentHash(document []byte, quirk string) (Hash, error) {
	if quirk == documentHashAsSent {
		// Compact only drops white space outside strings; the text is valid JSON already.
		var b bytes.Buffer
		if err := json.Compact(&b, document); err != nil {
			return Hash{}, malformed("json", "$.document", "not JSON")
		}
		return HashOf(b.Bytes()), nil
	}
	if len(document) >= largeText {
		h, ok := sumOf(document, canonicalNumberOf)
		if !ok {
			return Hash{}, malformed("number", "$", "it has no form in RFC 8785")
		}
		return h, nil
	}
	c, err := canonical(document)
	if err != nil {
		return Hash{}, err
	}
	return HashOf(c), nil
}

// wireHash is the envelopeHash as the platform that signed the entry reads it.
func wireHash(j JWS, quirk string) Hash {
	if quirk == envelopeHashBase64url {
		return HashOf([]byte(j.Raw[indexDot(j.Raw)+1 : j.signed]))
	}
	return j.payloadHash()
}

func indexDot(s string) int {
	for i := 0; i < len(s); i++ {
		if s[i] == '.' {
			return i
		}
	}
	return -1
}
