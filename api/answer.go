package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"eblnode/identity"
	"eblnode/node"
)

// An answer is what a peer said, not verified. It is read leniently, since only the
// signature in it will count.
type answer struct {
	peer   identity.Host
	status int
	body   []byte // without white space around it
	retry  int    // seconds; 0: not said
	bearer bool   // a 401 that asks for a bearer token
	date   string // the peer's clock, as it says
}

// foreignError is an ErrorResponse as any platform may write it.
type foreignError struct {
	Message   string `json:"statusCodeMessage"`
	Reference string `json:"providerCorrelationReference"`
	At        string `json:"errorDateTime"`
	Errors    []struct {
		Code    int    `json:"errorCode"`
		Text    string `json:"errorCodeText"`
		Message string `json:"errorCodeMessage"`
		Path    string `json:"jsonPath"`
	} `json:"errors"`
	Rejection string `json:"rejectionSignedContent"`
}

// maxQuote is how much of a peer's text goes into a message of ours, in characters.
const maxQuote = 200

// reply is the signed answer, if there is something that can be one.
func (a *answer) reply() (node.Reply, error) {
	if jws, ok := a.jws(); ok {
		return node.Reply{Receipt: jws}, nil
	}
	f, ok := a.foreign()
	if !ok || f.Rejection == "" {
		return node.Reply{}, a.refusal()
	}
	r := node.Reply{Rejection: f.Rejection, Refusal: a.describe(f), Reference: clip(f.Reference, maxQuote)}
	if at, err := time.Parse(time.RFC3339, f.At); err == nil {
		r.At = at.UnixMilli()
	}
	return r, nil
}

// jws reports whether the body looks like a compact JWS, bare or in quotes, and gives it
// as it came.
func (a *answer) jws() (string, bool) {
	s := string(a.body)
	bare := s
	if len(s) > 2 && s[0] == '"' && json.Unmarshal(a.body, &bare) != nil {
		return "", false
	}
	if strings.Count(bare, ".") != 2 {
		return "", false
	}
	for _, r := range bare {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-', r == '_', r == '.':
		default:
			return "", false
		}
	}
	return s, true
}

func (a *answer) foreign() (foreignError, bool) {
	var f foreignError
	ok := len(a.body) > 0 && a.body[0] == '{' && json.Unmarshal(a.body, &f) == nil
	return f, ok
}

// refusal is the answer as an error, for people and for the next attempt; nothing of it
// is proved. It is an *node.Error.
func (a *answer) refusal() error {
	if f, ok := a.foreign(); ok && len(f.Errors) > 0 {
		e := a.describe(f)
		e.Detail = fmt.Sprintf("%s answered %d, unsigned: %s", a.peer, a.status, e.Detail)
		return e
	}
	e := refuse(a.code(0), "unsignedAnswer", "")
	e.Retry = a.retry
	switch {
	case len(a.body) == 0 && a.status >= 300 && a.status < 400:
		e.Detail = fmt.Sprintf("%s answered %d, a redirect; none is followed", a.peer, a.status)
	case len(a.body) == 0:
		e.Detail = fmt.Sprintf("%s answered %d and nothing else", a.peer, a.status)
	default:
		e.Detail = fmt.Sprintf("%s answered %d and no signature: %q", a.peer, a.status, clip(string(a.body), maxQuote))
	}
	return e
}

// describe reads the first error of f.
func (a *answer) describe(f foreignError) *node.Error {
	e := refuse(a.code(0), "unsignedAnswer", clip(f.Message, maxQuote))
	e.Retry = a.retry
	if len(f.Errors) > 0 {
		first := f.Errors[0]
		e.Code, e.Path = a.code(first.Code), clip(first.Path, maxQuote)
		if first.Text != "" {
			e.Text = clip(first.Text, maxQuote)
		}
		if first.Message != "" {
			e.Detail = clip(first.Message, maxQuote)
		}
	}
	return e
}

// code is a code of our closed list: the peer's own, if it is there, else what its
// status says.
func (a *answer) code(theirs int) node.Code {
	if _, found := statuses[node.Code(theirs)]; found {
		return node.Code(theirs)
	}
	switch a.status {
	case http.StatusUnauthorized:
		return node.Unauthorized
	case http.StatusForbidden:
		return node.Forbidden
	case http.StatusNotFound:
		return node.NotFound
	case http.StatusTooManyRequests:
		return node.TooManyRequests
	}
	return node.Unavailable
}
