package api

import (
	"net/http"
	"os"
	"path/filepath"
	"time"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

// WitnessView says how the database and the witness stand to each other.
type WitnessView struct {
	Path       string `json:"path"`
	Generation int64  `json:"generation"` // newest record that the database knows
	Durable    int64  `json:"durable"`    // newest record on the disk of the journal
	// Frozen says why nothing moves, and Failed why the journal cannot be written; absent
	// where all is well.
	Frozen      string                `json:"frozen,omitempty"`
	Failed      string                `json:"failed,omitempty"`
	Quarantined []QuarantinedView     `json:"quarantined"`
	Proposals   []ReleaseProposalView `json:"proposals"` // releases that wait for a second operator
}

// QuarantinedView is a bill of which the witness knows more than the database.
type QuarantinedView struct {
	DocumentHash string `json:"documentHash"`
	Records      int    `json:"records"`           // that the database does not know
	First        int64  `json:"first"`             // generation of the first
	Problem      string `json:"problem,omitempty"` // why it could not be entered
}

// ReleaseProposalView is a release that one operator proposed.
type ReleaseProposalView struct {
	DocumentHash string `json:"documentHash,omitempty"` // absent: everything
	Operator     string `json:"operator"`
	Reason       string `json:"reason"`
	At           stamp  `json:"at"`
}

// ReleaseView is what became of a release.
type ReleaseView struct {
	// Released is false where another operator must say the same.
	Released bool        `json:"released"`
	Witness  WitnessView `json:"witness"`
}

// BackupView is a backup that was made.
type BackupView struct {
	Path  string `json:"path"`
	Bytes int64  `json:"bytes"`
}

type releaseOrder struct {
	DocumentHash string `json:"documentHash"`
	Everything   bool   `json:"everything"`
	Reason       string `json:"reason"`
	Evidence     []byte `json:"evidence"` // base64
}

type backupOrder struct {
	Path string `json:"path"`
}

func (h *adminHandler) viewWitness(c *gin.Context) (WitnessView, error) {
	w, err := h.node.Witness(c.Request.Context())
	if err != nil {
		return WitnessView{}, err
	}
	out := WitnessView{Path: w.Path, Generation: w.Generation, Durable: w.Durable, Frozen: w.Frozen, Failed: w.Failed,
		Quarantined: []QuarantinedView{}, Proposals: []ReleaseProposalView{}}
	for _, b := range w.Bills {
		out.Quarantined = append(out.Quarantined, QuarantinedView{b.Document.String(), b.Records, b.First, b.Problem})
	}
	for _, p := range w.Releases {
		v := ReleaseProposalView{Operator: p.Operator, Reason: p.Reason, At: stamp(p.At)}
		if !p.Document.IsZero() {
			v.DocumentHash = p.Document.String()
		}
		out.Proposals = append(out.Proposals, v)
	}
	return out, nil
}

func (h *adminHandler) witness(c *gin.Context) {
	v, err := h.viewWitness(c)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, v)
}

// release asks for the token of an operator, unlike the rest of this listener: two
// different people must say it, and the socket cannot tell them apart.
func (h *adminHandler) release(c *gin.Context) {
	token, refusal := bearer(c.Request)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	u, err := h.node.Authenticate(c.Request.Context(), token)
	if err != nil {
		fail(c, err)
		return
	}
	eventOf(c).who = u.Local
	var v releaseOrder
	if _, refusal := readJSON(c, 2<<20, &v); refusal != nil {
		fail(c, refusal)
		return
	}
	o := node.ReleaseOrder{Reason: v.Reason, Evidence: v.Evidence}
	if v.Everything == (v.DocumentHash != "") {
		fail(c, malformed("$.documentHash", "name a bill, or say everything; not both"))
		return
	}
	if !v.Everything {
		if o.Document, err = envelope.ParseHash(v.DocumentHash); err != nil {
			fail(c, malformed("$.documentHash", err.Error()))
			return
		}
	}
	done, err := h.node.Release(c.Request.Context(), u, o)
	if err != nil {
		fail(c, err)
		return
	}
	w, err := h.viewWitness(c)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, ReleaseView{Released: done, Witness: w})
}

func (h *adminHandler) backup(c *gin.Context) {
	actor(c)
	var v backupOrder
	if _, refusal := readJSON(c, 64<<10, &v); refusal != nil {
		fail(c, refusal)
		return
	}
	// Relative to what? The node's folder is not the caller's.
	if !filepath.IsAbs(v.Path) {
		fail(c, malformed("$.path", "the path is not absolute"))
		return
	}
	unlimited(c)
	if err := h.node.Backup(c.Request.Context(), v.Path); err != nil {
		fail(c, err)
		return
	}
	info, err := os.Stat(v.Path)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, BackupView{v.Path, info.Size()})
}

// unlimited lifts the server's limits, which are for answers that take seconds, from this
// one. In a process without a connection there are none to lift.
func unlimited(c *gin.Context) {
	rc := http.NewResponseController(c.Writer)
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})
}

var (
	quarantineDesc = prometheus.NewDesc("eblnode_bills_quarantined", "Bills of which the witness knows more than the database. Nothing about them changes.", nil, nil)
	frozenDesc     = prometheus.NewDesc("eblnode_frozen", "1 where nothing moves, for want of the witness.", nil, nil)
)

func witnessMetrics(t node.Totals, gauge func(d *prometheus.Desc, v float64, labels ...string)) {
	gauge(quarantineDesc, float64(t.Quarantined))
	frozen := 0.0
	if t.Frozen {
		frozen = 1
	}
	gauge(frozenDesc, frozen)
}
