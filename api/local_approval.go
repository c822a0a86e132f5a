package api

import (
	"net/http"
	"net/url"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"
)

// ApprovalView is an order that waits for a second person, or did.
type ApprovalView struct {
	ID           string         `json:"id"`
	RequestedBy  string         `json:"requestedBy"` // local id
	Order        string         `json:"order"`       // issue, honour, decline, TRNS, SURR, AMND or SW2P
	DocumentHash string         `json:"documentHash"`
	To           jsontext.Value `json:"to,omitempty"`
	Comments     string         `json:"comments,omitempty"`
	// RequestHash covers the whole order; who approves names it.
	RequestHash string         `json:"requestSha256"`
	Content     jsontext.Value `json:"content,omitempty"` // the whole order; not in lists
	Via         *node.Act      `json:"via,omitempty"`     // the system that asked in the user's name
	State       string         `json:"state"`             // pending, approved, rejected or expired
	AskedAt     stamp          `json:"askedAt"`
	ExpiresAt   stamp          `json:"expiresAt"`
	DecidedBy   string         `json:"decidedBy,omitempty"`
	DecidedAt   stamp          `json:"decidedAt,omitzero"`
	Reason      string         `json:"reason,omitempty"`
	Transfer    string         `json:"transfer,omitempty"` // that an approved order started
	Verdict     string         `json:"verdict,omitempty"`
	Repeated    bool           `json:"repeated,omitempty"`
}

// ApprovalList lists approvals, those that wait first.
type ApprovalList struct {
	Approvals []ApprovalView `json:"approvals"`
}

// WaitingView is the answer to an order that waits for a second person.
type WaitingView struct {
	Approval ApprovalView `json:"approval"`
	// Repeated says that the same order waited already.
	Repeated bool `json:"repeated,omitempty"`
}

// An approveOrder is the body of approve.
type approveOrder struct {
	RequestHash string `json:"requestSha256"`
}

// A rejectApprovalOrder is the body of reject.
type rejectApprovalOrder struct {
	Reason string `json:"reason"`
}

func viewApproval(a *node.Approval) ApprovalView {
	return ApprovalView{ID: a.ID, RequestedBy: a.User, Order: a.Kind, DocumentHash: a.Document.String(), To: jsontext.Value(a.To), Comments: a.Comments,
		RequestHash: a.Request.String(), Content: jsontext.Value(a.Order), Via: a.Act, State: string(a.State), AskedAt: stamp(a.AskedAt), ExpiresAt: stamp(a.ExpiresAt),
		DecidedBy: a.DecidedBy, DecidedAt: stamp(a.DecidedAt), Reason: a.Reason, Transfer: a.Transfer, Verdict: a.Verdict, Repeated: a.Repeated}
}

func (h *localHandler) approvals(c *gin.Context, u *node.User) {
	list, err := h.node.Approvals(c.Request.Context(), u)
	if err != nil {
		fail(c, err)
		return
	}
	out := ApprovalList{Approvals: []ApprovalView{}}
	for i := range list {
		out.Approvals = append(out.Approvals, viewApproval(&list[i]))
	}
	writeJSON(c, http.StatusOK, out)
}

func (h *localHandler) approval(c *gin.Context, u *node.User) {
	a, err := h.node.Approval(c.Request.Context(), u, c.Param("id"))
	answerApproval(c, a, err)
}

func answerApproval(c *gin.Context, a *node.Approval, err error) {
	if err != nil {
		fail(c, err)
		return
	}
	eventOf(c).bill = a.Document.String()
	writeJSON(c, http.StatusOK, viewApproval(a))
}

// approve is POST /api/v1/approvals/{id}/approve.
func (h *localHandler) approve(c *gin.Context, u *node.User) {
	var o approveOrder
	once, refusal := readKeyed(c, 4<<10, &o)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	sum, err := envelope.ParseHash(o.RequestHash)
	if err != nil {
		fail(c, malformed("$.requestSha256", "name the order that you have looked at by its hash"))
		return
	}
	a, err := h.node.Approve(c.Request.Context(), u, c.Param("id"), sum, once)
	answerApproval(c, a, err)
}

// rejectApproval is POST /api/v1/approvals/{id}/reject.
func (h *localHandler) rejectApproval(c *gin.Context, u *node.User) {
	var o rejectApprovalOrder
	once, refusal := readKeyed(c, 16<<10, &o)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	a, err := h.node.RejectApproval(c.Request.Context(), u, c.Param("id"), o.Reason, once)
	answerApproval(c, a, err)
}

type approversOrder struct {
	Approvers []string `json:"approvers"`
}

// setApprovers is POST /admin/v1/users/{local}/approvers.
func (h *adminHandler) setApprovers(c *gin.Context) {
	who := actor(c)
	local, err := url.PathUnescape(c.Param("local"))
	if err != nil {
		fail(c, malformed("", "the local id in the path is not escaped as in a URL"))
		return
	}
	var o approversOrder
	if _, refusal := readJSON(c, 64<<10, &o); refusal != nil {
		fail(c, refusal)
		return
	}
	if err := h.node.SetApprovers(c.Request.Context(), who, local, o.Approvers); err != nil {
		fail(c, err)
		return
	}
	h.listUsers(c)
}
