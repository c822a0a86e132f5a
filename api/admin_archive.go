package api

import (
	"net/http"
	"path/filepath"

	"github.com/gin-gonic/gin"
)

type archiveOrder struct {
	Path      string `json:"path"`
	RootsOnly bool   `json:"rootsOnly"`
}

// ArchiveView says what was archived.
type ArchiveView struct {
	Folder string `json:"folder,omitempty"` // the new one; absent where only the roots were written
	Sum    string `json:"sha256,omitempty"` // of its list of files
	Bills  int    `json:"bills"`
	Left   int    `json:"leftOut"` // in quarantine
	Roots  int    `json:"roots"`   // signed roots of the audit log beside it
}

func (h *adminHandler) archive(c *gin.Context) {
	who := actor(c)
	var v archiveOrder
	if _, refusal := readJSON(c, 64<<10, &v); refusal != nil {
		fail(c, refusal)
		return
	}
	if !filepath.IsAbs(v.Path) {
		fail(c, malformed("$.path", "the path is not absolute"))
		return
	}
	unlimited(c)
	done, err := h.node.Archive(c.Request.Context(), who, v.Path, v.RootsOnly)
	if err != nil {
		fail(c, err)
		return
	}
	out := ArchiveView{Folder: done.Folder, Bills: done.Bills, Left: done.Left, Roots: done.Roots}
	if !done.Sum.IsZero() {
		out.Sum = done.Sum.String()
	}
	writeJSON(c, http.StatusOK, out)
}

type holdOrder struct {
	Reason  string `json:"reason"`
	Release bool   `json:"release"`
}

// HoldView says whether a bill is held.
type HoldView struct {
	DocumentHash string `json:"documentHash"`
	Held         bool   `json:"held"`
}

// hold keeps documents and evidence of a bill beyond their time, or lets go.
func (h *adminHandler) hold(c *gin.Context) {
	who := actor(c)
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	var v holdOrder
	if _, refusal := readJSON(c, 64<<10, &v); refusal != nil {
		fail(c, refusal)
		return
	}
	if err := h.node.Hold(c.Request.Context(), who, document, v.Reason, v.Release); err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, HoldView{document.String(), !v.Release})
}
