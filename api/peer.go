// Package api is the node on the network: the handlers, one for each listener and trust
// zone, and [Client], the client of a peer's.
//
// Whatever can refuse a request stands in its handler, in the order of the wire
// document, section 5; there is no chain of middleware in which that order could hide.
package api

import (
	"net/http"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// The paths of the peer listener.
const (
	pathBlocks  = "/v1/transferblocks"
	pathBlock   = "/v1/transferblock" // the older spelling, the same handler
	pathVerdict = "/v1/transferblocks/:documentHash/verdict"
	pathJWKS    = "/.well-known/jwks.json"
)

// peerHandler serves peers.
type peerHandler struct {
	node  *node.Node
	limit *limiter
}

// NewPeerHandler serves the peer listener of n (wire document, sections 1, 5, 6 and 8).
// It must be served with [ServerTLS]: who asks is read from the certificate of the
// connection, and a request without one is refused.
func NewPeerHandler(n *node.Node, o Options) http.Handler {
	o = o.withDefaults()
	h := &peerHandler{node: n, limit: newLimiter(o, o.Concurrency)}
	g := newEngine("peer", o)
	g.PUT(pathBlocks, h.putTransferblock)
	g.PUT(pathBlock, h.putTransferblock)
	g.GET(pathVerdict, h.getVerdict)
	g.GET("/v1"+pathJWKS, h.getJWKS)
	g.GET(pathJWKS, h.getJWKS)
	return g
}

// admit is checks 1 and 3, and the header that goes for all: who is it, by the trust
// entries of this moment and not of the handshake; and does it ask too often. Without an
// error leave must be called.
func (h *peerHandler) admit(c *gin.Context) (sender identity.Host, leave func(), refusal *node.Error) {
	unknown := refuse(node.Forbidden, node.TextUnknownPeer, "the certificate of this connection is not that of a platform we know; exchange trust entries first")
	if c.Request.TLS == nil {
		return sender, nil, unknown
	}
	p, err := h.node.Trust().PeerByTLS(c.Request.TLS.PeerCertificates, h.node.Now())
	if err != nil {
		unknown.Err = err
		return sender, nil, unknown
	}
	eventOf(c).who = p.Domain.String()
	if leave, refusal = h.limit.enter(p.Domain.String()); refusal != nil {
		return sender, nil, refusal
	}
	if refusal = checkVersion(c.Request); refusal != nil {
		leave()
		return sender, nil, refusal
	}
	return p.Domain, leave, nil
}

// putTransferblock is PUT /v1/transferblocks.
func (h *peerHandler) putTransferblock(c *gin.Context) {
	sender, leave, refusal := h.admit(c) // 1, 3
	if refusal != nil {
		fail(c, refusal)
		return
	}
	defer leave()
	if refusal = checkMediaType(c.Request); refusal != nil {
		fail(c, refusal)
		return
	}
	// crashpoint: r1 r2
	body, refusal := readBody(c, h.node.Limits().BodyLimit())
	if refusal != nil {
		fail(c, refusal)
		return
	}
	reply, err := h.node.PutTransferblock(c.Request.Context(), node.Request{Sender: sender, Body: body}) // 4 to 13
	// crashpoint: r7
	switch {
	case err != nil:
		fail(c, err)
	case reply.Receipt != "":
		// crashpoint: r8
		writeJWS(c, reply.Receipt)
	default:
		writeRejection(c, reply)
	}
	// crashpoint: r9
}

// writeJWS answers with the bare text of a JWS.
func writeJWS(c *gin.Context, jws string) {
	kind := "application/json" // what the receivers of 2022 expect, though it is none
	if strings.Contains(strings.ToLower(strings.Join(c.Request.Header.Values("Accept"), ",")), "application/jose") {
		kind = "application/jose"
	}
	c.Data(http.StatusOK, kind, []byte(jws))
}

// writeRejection answers with a signed rejection. All of the body comes from what was
// stored with it, so that the same question has the same answer to the byte: the path
// is the one name of the handler, and time and reference are the first ones.
func writeRejection(c *gin.Context, reply node.Reply) {
	r := newErrorResponse(http.MethodPut, pathBlocks, reply.Refusal)
	r.Reference, r.At = reply.Reference, time.UnixMilli(reply.At).UTC().Format(timeFormat)
	r.Rejection = reply.Rejection
	ev := eventOf(c)
	ev.code, ev.ref = reply.Refusal.Code, reply.Reference
	writeJSON(c, r.StatusCode, r)
}

// getVerdict is GET /v1/transferblocks/{documentHash}/verdict.
func (h *peerHandler) getVerdict(c *gin.Context) {
	sender, leave, refusal := h.admit(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	defer leave()
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	jws, err := h.node.Verdict(c.Request.Context(), sender, document)
	if err != nil {
		fail(c, err)
		return
	}
	writeJWS(c, jws)
}

// getJWKS is our public keys for a peer; also what a peer asks to see whether it can
// reach us and is known.
func (h *peerHandler) getJWKS(c *gin.Context) {
	_, leave, refusal := h.admit(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	defer leave()
	writeJWKS(c, h.node)
}

// documentHash reads the hash in the path.
func documentHash(c *gin.Context) (envelope.Hash, *node.Error) {
	h, err := envelope.ParseHash(c.Param("documentHash"))
	if err != nil {
		return h, malformed("", "the document hash in the path is not 64 lower-case hexadecimal digits")
	}
	eventOf(c).bill = h.String()
	return h, nil
}
