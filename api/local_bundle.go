package api

import (
	"net/http"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// bundle is the evidence about a bill, for strangers: the file itself.
func (h *localHandler) bundle(c *gin.Context, u *node.User) {
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	entry, refusal := queryInt(c, "entry", -1, 0, 1<<20)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	b, err := h.node.Bundle(c.Request.Context(), u, document, int(entry))
	if err != nil {
		fail(c, err)
		return
	}
	writeBundle(c, b)
}

func writeBundle(c *gin.Context, b *envelope.Bundle) {
	text, err := b.Marshal()
	if err != nil {
		fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", text)
}
