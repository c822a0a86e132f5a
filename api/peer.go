// Package api is the node on the network: the handlers, one for each listener and trust
// zone, and [Client], the client of a peer's.
//
// Whatever can refuse a request stands in its handler, in the order of the wire
// document, section 5; there is no chain of middleware in which that order could hide.
package api

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"eblnode/api/oauth"
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
	// pathPlatform is our own trust entry, as eblnode peer self prints it.
	pathPlatform = "/.well-known/ebl-platform.json"
)

// peerHandler serves peers.
type peerHandler struct {
	node    *node.Node
	limit   *limiter
	revoked RevocationCheck
	tokens  *oauth.Server // nil: none are asked for
	seen    seenCerts
}

// NewPeerHandler serves the peer listener of n (wire document, sections 1, 5, 6 and 8).
// It must be served with [ServerTLS]: who asks is read from the certificate of the
// connection, and a request without one is refused.
func NewPeerHandler(n *node.Node, o Options) http.Handler {
	o = o.withDefaults()
	h := &peerHandler{node: n, limit: newLimiter(o, o.Concurrency), revoked: o.Revoked, tokens: o.Tokens}
	g := newEngine("peer", o)
	g.PUT(pathBlocks, h.putTransferblock)
	g.PUT(pathBlock, h.putTransferblock)
	g.GET(pathVerdict, h.getVerdict)
	g.GET("/v1"+pathJWKS, h.getJWKS)
	g.GET(pathJWKS, h.getJWKS)
	g.GET(pathPlatform, h.getPlatform)
	h.routeTokens(g)
	return g
}

// admit is checks 1 to 3, and the header that goes for all: who is it, by the trust
// entries of this moment and not of the handshake; has it a token for scope, where one is
// asked for ("": not here); and does it ask too often. Without an error leave must be called.
func (h *peerHandler) admit(c *gin.Context, scope string) (sender *identity.Platform, leave func(), err error) {
	unknown := refuse(node.Forbidden, node.TextUnknownPeer, "the certificate of this connection is not that of a platform we know; exchange trust entries first")
	if c.Request.TLS == nil {
		return nil, nil, unknown
	}
	p, err := h.seen.peer(h.node.Trust(), c.Request.TLS.PeerCertificates, h.node.Now())
	if err != nil {
		unknown.Err = err
		return nil, nil, unknown
	}
	eventOf(c).who = p.Domain.String()
	if err := h.stillStands(c, p); err != nil {
		return nil, nil, err
	}
	// The token comes before the limit in the order of answers, and the limit before the
	// work: a flood of bad tokens is counted too.
	leave, limited := h.limit.enter(p.Domain.String())
	if err := h.token(c, p, scope, limited != nil); err != nil {
		if limited == nil {
			leave()
		}
		return nil, nil, err
	}
	if limited != nil {
		return nil, nil, limited
	}
	if refusal := checkVersion(c.Request); refusal != nil {
		leave()
		return nil, nil, refusal
	}
	return p, leave, nil
}

// stillStands asks again about the certificate of a connection that was made some time ago:
// mostly what is kept answers.
func (h *peerHandler) stillStands(c *gin.Context, p *identity.Platform) error {
	if h.revoked == nil {
		return nil
	}
	err := h.revoked(c.Request.Context(), p, *c.Request.TLS)
	if err == nil {
		return nil
	}
	if r, ok := errors.AsType[*identity.RevocationError](err); ok && r.State == identity.StateUnknown {
		refusal := refuse(node.Unavailable, node.TextUnavailable, "whether the certificate of this connection is revoked cannot be told now; send the same again later")
		refusal.Retry, refusal.Err = 60, err
		return refusal
	}
	refusal := refuse(node.Forbidden, node.TextUnknownPeer, "the certificate of this connection is revoked")
	refusal.Err = err
	return refusal
}

// putTransferblock is PUT /v1/transferblocks.
func (h *peerHandler) putTransferblock(c *gin.Context) {
	sender, depart, err := h.admit(c, oauth.ScopeTransfer) // 1 to 3
	if err != nil {
		fail(c, err)
		return
	}
	defer depart()
	if refusal := checkMediaType(c.Request); refusal != nil {
		fail(c, refusal)
		return
	}
	// crashpoint: r1 r2
	body, leave, refusal := bodies.read(c, h.node.Limits().BodyLimit(), h.limit)
	defer leave()
	if refusal != nil {
		fail(c, refusal)
		return
	}
	defer bodies.give(body)
	reply, err := h.node.PutTransferblock(c.Request.Context(), node.Request{Sender: sender.Domain, Body: body}) // 4 to 13
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
	sender, leave, err := h.admit(c, oauth.ScopeVerdict)
	if err != nil {
		fail(c, err)
		return
	}
	defer leave()
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	jws, err := h.node.Verdict(c.Request.Context(), sender.Domain, document)
	if err != nil {
		fail(c, err)
		return
	}
	writeJWS(c, jws)
}

// getJWKS is our public keys for a peer; also what a peer asks to see whether it can
// reach us and is known.
func (h *peerHandler) getJWKS(c *gin.Context) {
	_, leave, err := h.admit(c, "") // keys are public, and needed before a token can be
	if err != nil {
		fail(c, err)
		return
	}
	defer leave()
	writeJWKS(c, h.node)
}

// getPlatform is our own trust entry for a peer, who takes a new one when we have new keys.
func (h *peerHandler) getPlatform(c *gin.Context) {
	_, leave, err := h.admit(c, "")
	if err != nil {
		fail(c, err)
		return
	}
	defer leave()
	writePlatform(c, h.node)
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
