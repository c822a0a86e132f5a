package api

import (
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// reloadKeys reads the files of our keys again and answers with our trust entry. Where
// something is wrong with them the node goes on with those that it has.
func (h *adminHandler) reloadKeys(c *gin.Context) {
	who := actor(c)
	if h.options.Reload == nil {
		fail(c, refuse(node.NotPossible, "notPossible", "this node does not read its keys from files"))
		return
	}
	if err := h.options.Reload(c.Request.Context(), who); err != nil {
		fail(c, refuse(node.NotPossible, "notPossible", "the keys were not taken, and the node goes on with those that it had: "+err.Error()))
		return
	}
	writeEntry(c, h.node.Self())
}
