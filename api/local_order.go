package api

import (
	"context"
	"net/http"
	"time"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"
)

// An issueOrder is the body of POST /api/v1/ebls.
type issueOrder struct {
	Document jsontext.Value `json:"document"` // the transport document, an object
	To       jsontext.Value `json:"to"`       // "localid@domain" or a Party
	ToOrder  *bool          `json:"isToOrder"`
	Comments string         `json:"comments"`
}

// A moveOrder is the body of transfer, surrender, amend and switch-to-paper.
type moveOrder struct {
	To       jsontext.Value `json:"to"`
	Comments string         `json:"comments"`
}

// A honourOrder is the body of honour.
type honourOrder struct {
	Replacement jsontext.Value `json:"replacement"`
	Comments    string         `json:"comments"`
}

// A declineOrder is the body of decline.
type declineOrder struct {
	Comments string `json:"comments"`
}

// A verdictOrder is the body of POST /api/v1/verdicts.
type verdictOrder struct {
	Verdict string `json:"verdict"`
}

// How long an order waits for its peer, in seconds.
const (
	waitDefault = 10
	waitMost    = 60
)

// orderLimit bounds the body of an order: a document and something beside.
func (h *localHandler) orderLimit() int { return h.node.Limits().BodyLimit() }

// given is v, or nothing where it is absent or null.
func given(v jsontext.Value) []byte {
	if v.Kind() == 'n' {
		return nil
	}
	return v
}

func (h *localHandler) issue(c *gin.Context, u *node.User) {
	wait, refusal := queryInt(c, "wait", waitDefault, 0, waitMost)
	var o issueOrder
	var once node.Once
	if refusal == nil {
		once, refusal = h.readOrder(c, &o)
	}
	switch {
	case refusal != nil:
	case o.Document.Kind() != '{':
		refusal = malformed("$.document", "the document, a JSON object, is required")
	case len(given(o.To)) == 0:
		refusal = malformed("$.to", "say who gets the bill: localid@domain or a Party")
	}
	if refusal != nil {
		fail(c, refusal)
		return
	}
	moved, err := h.node.Issue(c.Request.Context(), u, node.IssueOrder{Document: o.Document, To: given(o.To), ToOrder: o.ToOrder, Comments: o.Comments, Once: once})
	if err == nil {
		eventOf(c).bill = moved.Document.String()
	}
	h.settle(c, u, moved, err, wait)
}

// move is the handler of one instruction.
func (h *localHandler) move(in envelope.Instruction) func(*gin.Context, *node.User) {
	return func(c *gin.Context, u *node.User) {
		var o moveOrder
		document, wait, once, refusal := h.order(c, &o)
		if refusal == nil && in == envelope.Transfer && len(given(o.To)) == 0 {
			refusal = malformed("$.to", "say who gets the bill: localid@domain or a Party")
		}
		if refusal != nil {
			fail(c, refusal)
			return
		}
		moved, err := h.node.Move(c.Request.Context(), u, document, node.MoveOrder{Instruction: in, To: given(o.To), Comments: o.Comments, Once: once})
		h.settle(c, u, moved, err, wait)
	}
}

// order reads what orders about one bill have in common.
func (h *localHandler) order(c *gin.Context, v any) (document envelope.Hash, wait int64, once node.Once, refusal *node.Error) {
	if document, refusal = documentHash(c); refusal != nil {
		return
	}
	if wait, refusal = queryInt(c, "wait", waitDefault, 0, waitMost); refusal != nil {
		return
	}
	once, refusal = h.readOrder(c, v)
	return
}

// readOrder reads the body of an order into v, and the key that makes it safe to send
// again. What is asked is the path and the body, whatever the spelling of its JSON; how
// long to wait for the peer is not part of it.
func (h *localHandler) readOrder(c *gin.Context, v any) (node.Once, *node.Error) {
	return readKeyed(c, h.orderLimit(), v)
}

// readKeyed is readOrder with a limit of its own, in bytes.
func readKeyed(c *gin.Context, limit int, v any) (node.Once, *node.Error) {
	var once node.Once
	keys := c.Request.Header.Values("Idempotency-Key")
	if len(keys) > 1 || len(keys) == 1 && keys[0] == "" {
		return once, malformed("", "send one Idempotency-Key, not empty, or none")
	}
	body, refusal := readJSON(c, limit, v)
	if refusal != nil || len(keys) == 0 {
		return once, refusal
	}
	canonical, err := envelope.Canonicalize(body)
	if err != nil {
		return once, node.AsError(err)
	}
	once.Key = keys[0]
	once.Request = envelope.HashOf(append([]byte(c.Request.URL.Path+"\n"), canonical...))
	return once, nil
}

// cancel is POST /api/v1/transfers/{id}/cancel.
func (h *localHandler) cancel(c *gin.Context, u *node.User) {
	var o struct{}
	once, refusal := h.readOrder(c, &o)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	ctx := c.Request.Context()
	moved, err := h.node.Cancel(ctx, u, c.Param("id"), once)
	if err != nil {
		fail(c, err)
		return
	}
	eventOf(c).bill = moved.Document.String()
	v, err := h.node.Bill(context.WithoutCancel(ctx), u, moved.Document)
	if err != nil {
		fail(c, err)
		return
	}
	x, err := h.node.Transfer(context.WithoutCancel(ctx), u, moved.Transfer)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, OperationView{Bill: viewBill(v), Transfer: viewTransfer(x), Repeated: moved.Repeated})
}

func (h *localHandler) honour(c *gin.Context, u *node.User) {
	var o honourOrder
	document, wait, once, refusal := h.order(c, &o)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	moved, err := h.node.Honour(c.Request.Context(), u, document, node.HonourOrder{Replacement: given(o.Replacement), Comments: o.Comments, Once: once})
	h.settle(c, u, moved, err, wait)
}

func (h *localHandler) decline(c *gin.Context, u *node.User) {
	var o declineOrder
	document, wait, once, refusal := h.order(c, &o)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	moved, err := h.node.Decline(c.Request.Context(), u, document, node.DeclineOrder{Comments: o.Comments, Once: once})
	h.settle(c, u, moved, err, wait)
}

// settle answers an order: 200 when it is done, 202 while its transfer is open, 409 where
// the peer said no. The whole state goes with each, since the order itself was obeyed.
func (h *localHandler) settle(c *gin.Context, u *node.User, moved node.Moved, err error, wait int64) {
	if err != nil {
		fail(c, err)
		return
	}
	if moved.Approval != nil {
		writeJSON(c, http.StatusAccepted, WaitingView{Approval: viewApproval(moved.Approval), Repeated: moved.Repeated})
		return
	}
	var x *node.TransferView
	if moved.Transfer != "" {
		ctx, cancel := context.WithTimeout(c.Request.Context(), time.Duration(wait)*time.Second)
		defer cancel()
		if x, err = h.node.Await(ctx, u, moved.Transfer); err != nil {
			fail(c, err)
			return
		}
	}
	v, err := h.node.Bill(context.WithoutCancel(c.Request.Context()), u, moved.Document)
	if err != nil {
		fail(c, err)
		return
	}
	out := OperationView{Bill: viewBill(v), Verdict: moved.Verdict, Repeated: moved.Repeated}
	if !moved.ReplacedBy.IsZero() {
		out.ReplacedBy = moved.ReplacedBy.String()
	}
	if x == nil {
		writeJSON(c, http.StatusOK, out)
		return
	}
	out.Transfer = viewTransfer(x)
	switch x.State {
	case node.Accepted:
		writeJSON(c, http.StatusOK, out)
	case node.Rejected:
		if x.SettledBy == "operators" {
			failWith(c, refuse(node.Conflict, "rejected", "two operators settled this transfer for want of an answer of "+x.Peer.String()+": you are in control again"), &out)
			return
		}
		failWith(c, refuse(node.Conflict, "rejected", x.Peer.String()+" rejected the bill with its signature, so you are in control again: "+x.LastAnswer), &out)
	case node.DisputedT:
		failWith(c, refuse(node.Conflict, "disputed", x.Peer.String()+" knows another chain of this bill; two operators must resolve it: "+x.LastAnswer), &out)
	case node.Cancelled:
		failWith(c, refuse(node.Conflict, "cancelled", "the transfer was cancelled before anything was sent"), &out)
	default:
		writeJSON(c, http.StatusAccepted, out)
	}
}

// takeVerdict is POST /api/v1/verdicts: a carrier's verdict that came as a file.
func (h *localHandler) takeVerdict(c *gin.Context, u *node.User) {
	var o verdictOrder
	if _, refusal := readJSON(c, 1<<20, &o); refusal != nil {
		fail(c, refusal)
		return
	}
	if u.Role == node.AuditorRole {
		fail(c, refuse(node.Forbidden, node.TextForbidden, "an auditor changes nothing"))
		return
	}
	document, err := envelope.VerdictSubject(o.Verdict)
	if err != nil {
		fail(c, err)
		return
	}
	eventOf(c).bill = document.String()
	// A user does not learn by a verdict of its own making which bills are here.
	if u.Role != node.OperatorRole {
		if _, err := h.node.Bill(c.Request.Context(), u, document); err != nil {
			fail(c, err)
			return
		}
	}
	if err := h.node.TakeVerdict(c.Request.Context(), u.Local, o.Verdict); err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, VerdictView{DocumentHash: document.String(), Verdict: o.Verdict})
}

// VerdictView is a carrier's verdict that was believed and stored: the bill is void.
type VerdictView struct {
	DocumentHash string `json:"documentHash"`
	Verdict      string `json:"verdict"` // compact JWS
}
