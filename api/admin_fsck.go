package api

import (
	"net/http"
	"strconv"
	"time"

	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
)

type fsckOrder struct {
	Sample int `json:"sample"`
}

// FsckLine is a line of the answer to an fsck: how far it is, and at the end the report,
// or why there is none.
type FsckLine struct {
	Done   int            `json:"done,omitzero"`
	Total  int            `json:"total,omitzero"`
	Report *FsckView      `json:"report,omitempty"`
	Error  *ErrorResponse `json:"error,omitempty"`
}

// FsckView is what an fsck looked at and found.
type FsckView struct {
	Domain  string `json:"domain"`
	Clean   bool   `json:"clean"`
	Sampled bool   `json:"sampled"` // not everything was looked at
	Checked struct {
		Bills      int `json:"bills"`
		Entries    int `json:"entries"`
		Steps      int `json:"steps"`
		Transfers  int `json:"transfers"`
		Receipts   int `json:"receipts"`
		Rejections int `json:"rejections"`
		Branches   int `json:"branches"`
		AuditRows  int `json:"auditRows"`
		AuditRoots int `json:"auditRoots"`
	} `json:"checked"`
	Findings     []FindingView `json:"findings"`
	Omitted      int           `json:"omitted,omitzero"` // further findings that are not listed
	Milliseconds int64         `json:"milliseconds"`
}

// FindingView is one thing that is wrong.
type FindingView struct {
	Table string `json:"table"`
	Bill  string `json:"bill,omitempty"` // document hash
	Row   string `json:"row,omitempty"`
	What  string `json:"what"`
	Cure  string `json:"cure"`
}

// NewFsckView is r for an answer.
func NewFsckView(domain string, r *node.FsckReport) *FsckView {
	v := &FsckView{Domain: domain, Clean: r.Clean(), Sampled: r.Sampled, Findings: []FindingView{}, Omitted: r.Omitted, Milliseconds: r.Took.Milliseconds()}
	k := &v.Checked
	k.Bills, k.Entries, k.Steps, k.Transfers, k.Receipts = r.Bills, r.Entries, r.Steps, r.Transfers, r.Receipts
	k.Rejections, k.Branches, k.AuditRows, k.AuditRoots = r.Rejections, r.Branches, r.AuditRows, r.AuditRoots
	for _, f := range r.Findings {
		line := FindingView{Table: f.Table, Row: f.Row, What: f.What, Cure: f.Cure}
		if !f.Bill.IsZero() {
			line.Bill = f.Bill.String()
		}
		v.Findings = append(v.Findings, line)
	}
	return v
}

// fsck answers with JSON lines, since it may take hours and an operator wants to see it
// go on. One runs at a time: it takes what the machine has.
func (h *adminHandler) fsck(c *gin.Context) {
	actor(c)
	var order fsckOrder
	if _, refusal := readJSON(c, 4<<10, &order); refusal != nil {
		fail(c, refusal)
		return
	}
	if order.Sample < 0 {
		fail(c, malformed("$.sample", strconv.Itoa(order.Sample)+" is less than none"))
		return
	}
	if !h.checking.TryLock() {
		fail(c, refuse(node.Conflict, "conflict", "an fsck is under way already"))
		return
	}
	defer h.checking.Unlock()
	rc := http.NewResponseController(c.Writer)
	// The server's limits are for answers that take seconds. In a process without a
	// connection there are none to lift.
	_, _ = rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})
	c.Header("Content-Type", "application/x-ndjson")
	c.Status(http.StatusOK)
	write := func(line FsckLine) {
		text, err := json.Marshal(line)
		if err != nil { // a type of ours that has no JSON form
			panic(err)
		}
		// Who has gone away is told nothing, and its context ends the check.
		_, _ = c.Writer.Write(append(text, '\n'))
		_ = rc.Flush()
	}
	var last time.Time
	report, err := h.node.Fsck(c.Request.Context(), node.FsckOptions{Sample: order.Sample, Progress: func(done, total int) {
		if now := time.Now(); now.Sub(last) > 200*time.Millisecond {
			last = now
			write(FsckLine{Done: done, Total: total})
		}
	}})
	if err != nil {
		refusal := refuse(node.Unavailable, node.TextUnavailable, "fsck could not tell: "+clip(err.Error(), 300))
		e := newErrorResponse(methodText(c.Request.Method), requestURI(c), refusal)
		e.Reference, e.At = eventOf(c).ref, time.Now().UTC().Format(timeFormat)
		eventOf(c).code, eventOf(c).err = refusal.Code, err
		write(FsckLine{Error: &e})
		return
	}
	write(FsckLine{Report: NewFsckView(h.node.Domain().String(), report)})
}
