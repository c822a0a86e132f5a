package api

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"eblnode/api/oauth"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
)

// statuses is the one place where a refusal becomes an HTTP status (wire document,
// section 6). 8001 to 8003 are signed for peers; the status says nothing that the
// signature does not.
var statuses = map[node.Code]int{
	node.Malformed:       http.StatusBadRequest,
	node.BadAPIVersion:   http.StatusBadRequest,
	node.Unauthorized:    http.StatusUnauthorized,
	node.Forbidden:       http.StatusForbidden,
	node.NotFound:        http.StatusNotFound,
	node.BadMethod:       http.StatusMethodNotAllowed,
	node.TooLarge:        http.StatusRequestEntityTooLarge,
	node.BadMediaType:    http.StatusUnsupportedMediaType,
	node.TooManyRequests: http.StatusTooManyRequests,
	node.Unavailable:     http.StatusServiceUnavailable,
	node.Internal:        http.StatusInternalServerError,
	node.BSIG:            http.StatusUnprocessableEntity,
	node.BENV:            http.StatusUnprocessableEntity,
	node.DISE:            http.StatusConflict,
	node.Conflict:        http.StatusConflict,
	node.NotPossible:     http.StatusUnprocessableEntity,
}

// statusOf is the HTTP status of a code.
func statusOf(c node.Code) int {
	if s, found := statuses[c]; found {
		return s
	}
	return http.StatusInternalServerError
}

// ErrorResponse is the DCSA ErrorResponse, the body of every error on every listener.
// It never quotes a document or a token.
type ErrorResponse struct {
	HTTPMethod        string `json:"httpMethod"`
	RequestURI        string `json:"requestUri"`
	StatusCode        int    `json:"statusCode"`
	StatusCodeText    string `json:"statusCodeText"`
	StatusCodeMessage string `json:"statusCodeMessage"`
	// Reference finds the request in our log.
	Reference string        `json:"providerCorrelationReference"`
	At        string        `json:"errorDateTime"` // RFC 3339, milliseconds, UTC
	Errors    []ErrorDetail `json:"errors"`
	// Rejection is a compact JWS, typ eblnode-rejection+jws, where the refusal is a
	// signed result; nothing else in the response is covered by a signature.
	Rejection string `json:"rejectionSignedContent,omitempty"`
	// Operation is where the bill stands, where a local order was carried out and the
	// peer said no to it.
	Operation *OperationView `json:"operation,omitempty"`
	// OAuthError and OAuthDescription say the same in the words of RFC 6749, where the
	// refusal is about a token.
	OAuthError       string `json:"error,omitempty"`
	OAuthDescription string `json:"error_description,omitempty"`
}

// ErrorDetail is one error of an ErrorResponse.
type ErrorDetail struct {
	Code     int    `json:"errorCode"`
	Text     string `json:"errorCodeText"`
	Message  string `json:"errorCodeMessage"`
	Property string `json:"property,omitempty"` // the last name of JSONPath
	JSONPath string `json:"jsonPath,omitempty"`
}

// timeFormat is how times are written on every listener.
const timeFormat = "2006-01-02T15:04:05.000Z"

func refuse(code node.Code, text, detail string) *node.Error {
	return &node.Error{Code: code, Text: text, Detail: detail, Entry: -1, Transaction: -1}
}

func malformed(path, detail string) *node.Error {
	e := refuse(node.Malformed, "malformed", detail)
	e.Path = path
	return e
}

// newErrorResponse describes e as the answer to a request.
func newErrorResponse(method, uri string, e *node.Error) ErrorResponse {
	status := statusOf(e.Code)
	return ErrorResponse{
		HTTPMethod: method, RequestURI: uri,
		StatusCode: status, StatusCodeText: http.StatusText(status), StatusCodeMessage: e.Detail,
		Errors: []ErrorDetail{{Code: int(e.Code), Text: e.Text, Message: e.Detail, Property: property(e.Path), JSONPath: e.Path}},
	}
}

// property is the last name in a JSONPath; "" where it ends in none.
func property(path string) string {
	name := path[strings.LastIndexByte(path, '.')+1:]
	if path == "" || strings.ContainsAny(name, "$[]'\" ") {
		return ""
	}
	return name
}

// fail answers with err, and keeps its cause for the one line of the log.
func fail(c *gin.Context, err error) {
	failWith(c, err, nil)
}

func failWith(c *gin.Context, err error, operation *OperationView) {
	e := node.AsError(err)
	ev := eventOf(c)
	ev.code, ev.err = e.Code, e.Err
	r := newErrorResponse(methodText(c.Request.Method), requestURI(c), e)
	r.Reference, r.At, r.Operation = ev.ref, time.Now().UTC().Format(timeFormat), operation
	if o, ok := errors.AsType[*oauth.Refusal](err); ok {
		if r.OAuthError = o.OAuth; o.OAuth != "" {
			r.OAuthDescription = o.Description()
		}
		if r.StatusCode == http.StatusUnauthorized || r.StatusCode == http.StatusForbidden {
			c.Header("WWW-Authenticate", o.Challenge())
		}
	}
	if e.Retry > 0 {
		c.Header("Retry-After", strconv.Itoa(e.Retry))
	}
	writeJSON(c, r.StatusCode, r)
	c.Abort()
}

// requestURI is the path of the request, cut short, without the query, which is the
// caller's text.
func requestURI(c *gin.Context) string {
	const most = 256
	if p := c.Request.URL.EscapedPath(); len(p) <= most {
		return p
	}
	return c.Request.URL.EscapedPath()[:most]
}

func methodText(method string) string {
	const most = 16
	return method[:min(len(method), most)]
}

// writeJSON writes v. The same v is always the same bytes.
func writeJSON(c *gin.Context, status int, v any) {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil { // a type of ours that has no JSON form
		panic(err)
	}
	c.Data(status, "application/json", b)
}
