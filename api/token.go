package api

import (
	"mime"
	"net/http"

	"eblnode/api/oauth"
	"eblnode/identity"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// The paths of the authorization server that a node is for its peers.
const (
	pathToken    = "/oauth2/token"
	pathServer   = "/.well-known/oauth-authorization-server"
	pathProvider = "/.well-known/openid-configuration" // where some clients look
)

// maxForm bounds the body of a request for a token, in bytes.
const maxForm = 32 << 10

// routeTokens adds the token endpoint, where the node issues tokens itself.
func (h *peerHandler) routeTokens(g *gin.Engine) {
	if h.tokens == nil || !h.tokens.Issues() {
		return
	}
	g.POST(pathToken, h.postToken)
	for _, path := range []string{pathServer, pathProvider} {
		g.GET(path, h.getMetadata)
	}
}

// token is check 2 of the wire document, section 5: where tokens are asked for, one that
// is this peer's, on this connection, and good for scope. limited says that the peer asks
// too often: then no signature is computed for it.
func (h *peerHandler) token(c *gin.Context, p *identity.Platform, scope string, limited bool) error {
	if h.tokens == nil || scope == "" {
		return nil
	}
	token, ok := oauth.Bearer(c.Request)
	if !ok || token == "" {
		return &oauth.Refusal{Err: refuse(node.Unauthorized, node.TextTokenRequired,
			"send one header Authorization: Bearer, with an access token; "+pathServer+" says where to get one")}
	}
	if limited {
		return nil
	}
	return h.tokens.Check(c.Request.Context(), token, p, c.Request.TLS.PeerCertificates[0], scope)
}

// postToken is POST /oauth2/token. Who asks is who is on the connection; the assertion
// must be that platform's.
func (h *peerHandler) postToken(c *gin.Context) {
	p, leave, err := h.admit(c, "")
	if err != nil {
		fail(c, err)
		return
	}
	defer leave()
	c.Header("Pragma", "no-cache")
	bad := ""
	switch kind, _, err := mime.ParseMediaType(c.GetHeader("Content-Type")); {
	case err != nil || kind != "application/x-www-form-urlencoded" || len(c.Request.Header.Values("Content-Encoding")) > 0:
		bad = "send a form, Content-Type: application/x-www-form-urlencoded"
	case c.Request.URL.RawQuery != "":
		bad = "no parameter may stand in the URL, which is written to logs"
	case len(c.Request.Header.Values("Authorization")) > 0:
		bad = "there is one way for a client to prove itself here, client_assertion; Authorization is another"
	}
	if bad != "" {
		fail(c, &oauth.Refusal{Err: malformed("", bad), OAuth: "invalid_request"})
		return
	}
	form, refusal := readBody(c, maxForm)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	grant, err := h.tokens.Grant(c.Request.Context(), p, c.Request.TLS.PeerCertificates[0], string(form))
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, grant)
}

// getMetadata is our description as an authorization server. It asks for no token: it is
// how a peer learns where to get one.
func (h *peerHandler) getMetadata(c *gin.Context) {
	_, leave, err := h.admit(c, "")
	if err != nil {
		fail(c, err)
		return
	}
	defer leave()
	writeJSON(c, http.StatusOK, h.tokens.Metadata())
}
