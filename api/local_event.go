package api

import (
	"context"
	"net/http"
	"time"

	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"
)

// EventView is one thing that happened to a bill: names and states, nothing of the
// document. The body of a webhook is one too.
type EventView struct {
	ID     string `json:"id"`     // unique for ever; who gets an event twice knows it by this
	Cursor string `json:"cursor"` // its place in the list
	// Type is bill.issued, transfer.accepted and so on; ignore those you do not know.
	Type string `json:"type"`
	At   stamp  `json:"timestamp"`
	// Data is the bill after the transaction in which this happened.
	Data jsontext.Value `json:"data"`
}

// EventList is some events, oldest first.
type EventList struct {
	Events []EventView `json:"events"`
	// NextCursor is the cursor with which to ask for what follows, also where there is
	// nothing yet.
	NextCursor string `json:"nextCursor"`
}

func (h *localHandler) events(c *gin.Context, u *node.User) {
	limit, refusal := queryInt(c, "limit", pageDefault, 1, pageMost)
	var wait int64
	if refusal == nil {
		wait, refusal = queryInt(c, "wait", 0, 0, waitMost)
	}
	cursors := c.Request.URL.Query()["cursor"]
	if refusal == nil && len(cursors) > 1 {
		refusal = malformed("", "the query has more than one cursor")
	}
	if refusal != nil {
		fail(c, refusal)
		return
	}
	cursor := ""
	if len(cursors) == 1 {
		cursor = cursors[0]
	}
	list := h.node.Events
	ctx := c.Request.Context()
	if wait > 0 {
		list = h.node.AwaitEvents
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(wait)*time.Second)
		defer cancel()
	}
	page, err := list(ctx, u, cursor, int(limit))
	if err != nil {
		fail(c, err)
		return
	}
	out := EventList{Events: []EventView{}, NextCursor: page.Next}
	for _, e := range page.Events {
		out.Events = append(out.Events, EventView{ID: e.ID, Cursor: e.Cursor, Type: string(e.Type), At: stamp(e.At), Data: e.Data})
	}
	writeJSON(c, http.StatusOK, out)
}
