package api

import (
	"net/http"

	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"
)

// NewPublicHandler serves the optional public listener of n: our public keys and our trust
// entry, so that two strangers can fetch each other's before they are peers, where our
// tokens are to be had, and nothing else. Each address is limited in rate (IPv6: each /64). Serve it with
// [PublicTLS].
func NewPublicHandler(n *node.Node, o Options) http.Handler {
	o = o.withDefaults()
	limit := newLimiter(o, o.Concurrency)
	g := newEngine("public", o)
	limited := func(serve func(*gin.Context)) gin.HandlerFunc {
		return func(c *gin.Context) {
			leave, refusal := limit.enter(addressOf(c.Request.RemoteAddr))
			if refusal != nil {
				fail(c, refusal)
				return
			}
			defer leave()
			serve(c)
		}
	}
	keys := limited(func(c *gin.Context) { writeJWKS(c, n) })
	g.GET("/v1"+pathJWKS, keys)
	g.GET(pathJWKS, keys)
	g.GET(pathPlatform, limited(func(c *gin.Context) { writePlatform(c, n) }))
	if o.Tokens != nil && o.Tokens.Issues() {
		metadata := limited(func(c *gin.Context) { writeJSON(c, http.StatusOK, o.Tokens.Metadata()) })
		g.GET(pathServer, metadata)
		g.GET(pathProvider, metadata)
	}
	return g
}

// writePlatform answers with our own trust entry, the very bytes whose fingerprint two
// operators compare.
func writePlatform(c *gin.Context, n *node.Node) {
	text, err := n.Self().JSON()
	if err != nil {
		fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", text)
}

// writeJWKS answers with our keys as a JWK set, the old ones too: chains signed with
// them are checked for years.
func writeJWKS(c *gin.Context, n *node.Node) {
	var set struct {
		Keys []jsontext.Value `json:"keys"`
	}
	for _, k := range n.Self().Keys {
		jwk, err := k.JWK()
		if err != nil {
			fail(c, err)
			return
		}
		set.Keys = append(set.Keys, jwk)
	}
	writeJSON(c, http.StatusOK, set)
}
