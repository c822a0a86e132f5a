package api

import (
	"net/http"

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
	writeEntry(c, h.node.Self(), false)
}

// checkPeer looks at what lies between us and a peer or, with our own domain, at us as peers
// find us.
func (h *adminHandler) checkPeer(c *gin.Context) {
	actor(c)
	if h.options.Examine != nil && c.Param("domain") == h.node.Domain().String() {
		writeJSON(c, http.StatusOK, h.options.Examine.Self(c.Request.Context()))
		return
	}
	p, refusal := h.peer(c)
	if refusal == nil && h.options.Examine == nil {
		refusal = refuse(node.NotPossible, "notPossible", "this node has no way to its peers")
	}
	if refusal != nil {
		fail(c, refusal)
		return
	}
	writeJSON(c, http.StatusOK, h.options.Examine.Peer(c.Request.Context(), p))
}

// fetchPeer asks a peer for the trust entry that it publishes of itself now. Nothing is
// changed by that.
func (h *adminHandler) fetchPeer(c *gin.Context) {
	actor(c)
	p, refusal := h.peer(c)
	if refusal == nil && h.options.Examine == nil {
		refusal = refuse(node.NotPossible, "notPossible", "this node has no way to its peers")
	}
	if refusal != nil {
		fail(c, refusal)
		return
	}
	now, composed, err := h.options.Examine.Current(c.Request.Context(), p)
	if err != nil {
		e := refuse(node.NotPossible, node.TextPeerNotReady, "its trust entry cannot be had: "+err.Error())
		e.Err = err
		fail(c, e)
		return
	}
	writeEntry(c, now, composed)
}
