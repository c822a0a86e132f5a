package api

import (
	"net/http"

	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// WebhookView is a back end that is told of events over HTTP.
type WebhookView struct {
	ID     string   `json:"id"`
	URL    string   `json:"url"`
	Events []string `json:"events"` // the types that it is told of; empty: all
	State  string   `json:"state"`  // active or disabled
	Reason string   `json:"reason,omitempty"`
	// Cursor: all events up to there were taken, given up, or are being tried again.
	Cursor       string `json:"cursor"`
	Pending      int    `json:"pending"` // what its receiver has still to take
	Oldest       stamp  `json:"oldestPendingAt,omitzero"`
	Delivered    int64  `json:"delivered"`
	Dropped      int64  `json:"dropped"`      // given up for age
	Failed       int    `json:"failedRounds"` // rounds in a row without a delivery
	FailingSince stamp  `json:"failingSince,omitzero"`
	LastAt       stamp  `json:"lastAttemptAt,omitzero"`
	LastAnswer   string `json:"lastAnswer,omitempty"`
	NextAt       stamp  `json:"nextAttemptAt,omitzero"`
	CreatedAt    stamp  `json:"createdAt"`
}

// WebhookList lists webhooks, the oldest first.
type WebhookList struct {
	Webhooks []WebhookView `json:"webhooks"`
}

// NewWebhookView is a webhook just added, with its secret, which is shown this once.
type NewWebhookView struct {
	Webhook WebhookView `json:"webhook"`
	Secret  string      `json:"secret"`
}

// WebhookTestView is what came of a test.
type WebhookTestView struct {
	Delivered bool   `json:"delivered"`
	Answer    string `json:"answer"`
}

type newWebhook struct {
	URL    string   `json:"url"`
	Events []string `json:"events"`
	Secret string   `json:"secret"` // "": the node makes one
}

type webhookReplay struct {
	From string `json:"from"` // a cursor, "0" for the first event; "": from where it stopped
}

// webhooks adds the paths of webhooks.
func (h *adminHandler) webhooks(v1 *gin.RouterGroup) {
	v1.GET("/webhooks", h.listWebhooks)
	v1.POST("/webhooks", h.addWebhook)
	v1.DELETE("/webhooks/:id", h.removeWebhook)
	v1.POST("/webhooks/:id/replay", h.replayWebhook)
	v1.POST("/webhooks/:id/test", h.testWebhook)
}

func viewWebhook(w *node.Webhook) WebhookView {
	out := WebhookView{ID: w.ID, URL: w.URL, Events: []string{}, State: "disabled", Reason: w.Reason, Cursor: w.Cursor, Pending: w.Pending,
		Oldest: stamp(w.Oldest), Delivered: w.Delivered, Dropped: w.Dropped, Failed: w.Failed, FailingSince: stamp(w.FailingSince),
		LastAt: stamp(w.LastAt), LastAnswer: w.LastAnswer, NextAt: stamp(w.NextAt), CreatedAt: stamp(w.CreatedAt)}
	if w.Active {
		out.State = "active"
	}
	for _, t := range w.Types {
		out.Events = append(out.Events, string(t))
	}
	return out
}

func (h *adminHandler) listWebhooks(c *gin.Context) {
	list, err := h.node.Webhooks(c.Request.Context())
	if err != nil {
		fail(c, err)
		return
	}
	out := WebhookList{Webhooks: []WebhookView{}}
	for i := range list {
		out.Webhooks = append(out.Webhooks, viewWebhook(&list[i]))
	}
	writeJSON(c, http.StatusOK, out)
}

func (h *adminHandler) addWebhook(c *gin.Context) {
	who := actor(c)
	var in newWebhook
	if _, refusal := readJSON(c, 64<<10, &in); refusal != nil {
		fail(c, refusal)
		return
	}
	var types []node.EventType
	for _, t := range in.Events {
		types = append(types, node.EventType(t))
	}
	w, secret, err := h.node.AddWebhook(c.Request.Context(), who, in.URL, in.Secret, types)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusCreated, NewWebhookView{Webhook: viewWebhook(w), Secret: secret})
}

func (h *adminHandler) removeWebhook(c *gin.Context) {
	who := actor(c)
	if err := h.node.RemoveWebhook(c.Request.Context(), who, c.Param("id")); err != nil {
		fail(c, err)
		return
	}
	h.listWebhooks(c)
}

func (h *adminHandler) replayWebhook(c *gin.Context) {
	who := actor(c)
	var in webhookReplay
	if _, refusal := readJSON(c, 64<<10, &in); refusal != nil {
		fail(c, refusal)
		return
	}
	w, err := h.node.ReplayWebhook(c.Request.Context(), who, c.Param("id"), in.From)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, viewWebhook(w))
}

func (h *adminHandler) testWebhook(c *gin.Context) {
	actor(c)
	delivered, answer, err := h.node.TestWebhook(c.Request.Context(), c.Param("id"))
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, WebhookTestView{Delivered: delivered, Answer: answer})
}
