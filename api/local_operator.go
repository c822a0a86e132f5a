package api

import (
	"net/http"
	"strings"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// What two operators decide, each with a token of its own. It is on the local listener
// and not on the admin socket, where everybody is the same.

// ProposalView is what one operator asks another to confirm.
type ProposalView struct {
	Outcome     string `json:"outcome"` // away, held or reject
	Reason      string `json:"reason"`
	EvidenceSum string `json:"evidenceSha256,omitempty"`
	Evidence    []byte `json:"evidence,omitempty"` // base64; only where it is asked for
	ProposedBy  string `json:"proposedBy"`
	ProposedAt  stamp  `json:"proposedAt"`
	ConfirmedBy string `json:"confirmedBy,omitempty"`
	ConfirmedAt stamp  `json:"confirmedAt,omitzero"`
}

// TransferList is the transfers without an end, the oldest first.
type TransferList struct {
	Transfers []TransferView `json:"transfers"`
}

// IncomingView is a block of a peer that was refused without a signature: its sender
// waits.
type IncomingView struct {
	RequestHash  string        `json:"requestHash"` // names it
	Peer         string        `json:"peer"`
	EnvelopeHash string        `json:"envelopeHash,omitempty"` // absent where the block could not be read
	DocumentHash string        `json:"documentHash,omitempty"`
	Code         int           `json:"errorCode"`
	Text         string        `json:"errorCodeText"`
	Message      string        `json:"errorCodeMessage"` // why, and what is missing
	JSONPath     string        `json:"jsonPath,omitempty"`
	Size         int           `json:"bytes"`
	Times        int           `json:"times"`
	FirstAt      stamp         `json:"firstAt"`
	LastAt       stamp         `json:"lastAt"`
	Proposal     *ProposalView `json:"proposal,omitempty"`
}

// IncomingList is such blocks, the newest first.
type IncomingList struct {
	Incoming []IncomingView `json:"incoming"`
}

// IncomingDecision is what an operator's word about a block did.
type IncomingDecision struct {
	Block IncomingView `json:"block"`
	// Rejected is false where another operator must confirm.
	Rejected bool `json:"rejected"`
}

// A resolveOrder is the body of resolve.
type resolveOrder struct {
	Outcome     string `json:"outcome"`
	Reason      string `json:"reason"`
	Evidence    []byte `json:"evidence"`
	Confirm     bool   `json:"confirm"`
	EvidenceSum string `json:"evidenceSha256"`
}

// A rejectOrder is the body of POST /api/v1/incoming/reject.
type rejectOrder struct {
	Hash   string `json:"hash"`
	Block  []byte `json:"block"`
	Reason string `json:"reason"`
}

func viewProposal(p *node.Proposal) *ProposalView {
	if p == nil {
		return nil
	}
	v := &ProposalView{Outcome: p.Outcome, Reason: p.Reason, Evidence: p.Evidence, ProposedBy: p.ProposedBy, ProposedAt: stamp(p.ProposedAt),
		ConfirmedBy: p.ConfirmedBy, ConfirmedAt: stamp(p.ConfirmedAt)}
	if !p.EvidenceSum.IsZero() {
		v.EvidenceSum = p.EvidenceSum.String()
	}
	return v
}

func viewIncoming(r *node.Refused) IncomingView {
	v := IncomingView{RequestHash: r.Request.String(), Peer: r.Peer.String(), Code: int(r.Refusal.Code), Text: r.Refusal.Text, Message: r.Refusal.Detail,
		JSONPath: r.Refusal.Path, Size: r.Size, Times: r.Times, FirstAt: stamp(r.FirstAt), LastAt: stamp(r.LastAt), Proposal: viewProposal(r.Proposal)}
	if !r.Envelope.IsZero() {
		v.EnvelopeHash, v.DocumentHash = r.Envelope.String(), r.Document.String()
	}
	return v
}

// openTransfers is GET /api/v1/transfers.
func (h *localHandler) openTransfers(c *gin.Context, u *node.User) {
	list, err := h.node.OpenTransfers(c.Request.Context(), u)
	if err != nil {
		fail(c, err)
		return
	}
	out := TransferList{Transfers: []TransferView{}}
	for i := range list {
		out.Transfers = append(out.Transfers, *viewTransfer(&list[i]))
	}
	writeJSON(c, http.StatusOK, out)
}

// resolve is POST /api/v1/transfers/{id}/resolve.
func (h *localHandler) resolve(c *gin.Context, u *node.User) {
	var o resolveOrder
	once, refusal := readKeyed(c, 2*node.MaxEvidence, &o)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	order := node.ResolveOrder{Outcome: o.Outcome, Reason: o.Reason, Evidence: o.Evidence, Confirm: o.Confirm, Once: once}
	if o.Confirm {
		var err error
		if order.EvidenceSum, err = envelope.ParseHash(o.EvidenceSum); err != nil {
			fail(c, malformed("$.evidenceSha256", "to confirm, name the evidence that you have seen by its SHA-256"))
			return
		}
	}
	v, err := h.node.Resolve(c.Request.Context(), u, c.Param("id"), order)
	if err != nil {
		fail(c, err)
		return
	}
	eventOf(c).bill = v.Document.String()
	writeJSON(c, http.StatusOK, viewTransfer(v))
}

// resolution is GET /api/v1/transfers/{id}/resolution.
func (h *localHandler) resolution(c *gin.Context, u *node.User) {
	p, err := h.node.Resolution(c.Request.Context(), u, c.Param("id"))
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, viewProposal(p))
}

// incoming is GET /api/v1/incoming.
func (h *localHandler) incoming(c *gin.Context, u *node.User) {
	list, err := h.node.Refused(c.Request.Context(), u)
	if err != nil {
		fail(c, err)
		return
	}
	out := IncomingList{Incoming: []IncomingView{}}
	for i := range list {
		out.Incoming = append(out.Incoming, viewIncoming(&list[i]))
	}
	writeJSON(c, http.StatusOK, out)
}

// rejectIncoming is POST /api/v1/incoming/reject.
func (h *localHandler) rejectIncoming(c *gin.Context, u *node.User) {
	var o rejectOrder
	if _, refusal := readJSON(c, 2*h.orderLimit(), &o); refusal != nil {
		fail(c, refusal)
		return
	}
	order := node.RejectOrder{Block: o.Block, Reason: o.Reason}
	if len(o.Block) == 0 || o.Hash != "" {
		var err error
		if order.Hash, err = envelope.ParseHash(strings.TrimSpace(o.Hash)); err != nil || len(o.Block) > 0 {
			fail(c, malformed("$.hash", "name the block by its hash, 64 lower-case hexadecimal digits, or send it; not both"))
			return
		}
	}
	v, done, err := h.node.RejectRefused(c.Request.Context(), u, order)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, IncomingDecision{Block: viewIncoming(v), Rejected: done})
}
