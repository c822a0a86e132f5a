package api

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI is the description of all listeners, an OpenAPI 3.0 document in JSON.
func OpenAPI() []byte { return append([]byte(nil), openAPI...) }

// localHandler serves local users.
type localHandler struct {
	node  *node.Node
	limit *limiter
}

// NewLocalHandler serves the local listener of n: its users, each with a bearer token,
// and what an operator watches. It belongs on loopback, or behind TLS; a token is as
// good as the bills of its user. Without o.Metrics there is no /metrics; who may read that,
// see [Options].
func NewLocalHandler(n *node.Node, o Options) http.Handler {
	o = o.withDefaults()
	h := &localHandler{node: n, limit: newLimiter(o, 0)}
	g := newEngine("local", o)
	g.GET("/healthz", func(c *gin.Context) { writeJSON(c, http.StatusOK, statusText{"ok"}) })
	g.GET("/readyz", h.ready)
	g.GET("/openapi.json", func(c *gin.Context) { c.Data(http.StatusOK, "application/json", openAPI) })
	if o.Metrics != nil {
		g.GET("/metrics", h.scrape(o))
	}
	v1 := g.Group("/api/v1")
	v1.GET("/whoami", h.user(h.whoami))
	v1.GET("/ebls", h.user(h.list))
	v1.POST("/ebls", h.user(h.issue))
	v1.GET("/ebls/:documentHash", h.user(h.bill))
	v1.GET("/ebls/:documentHash/chain", h.user(h.chain))
	v1.GET("/ebls/:documentHash/bundle", h.user(h.bundle))
	v1.GET("/ebls/:documentHash/document", h.user(h.document))
	v1.POST("/ebls/:documentHash/transfer", h.user(h.move(envelope.Transfer)))
	v1.POST("/ebls/:documentHash/surrender", h.user(h.move(envelope.Surrender)))
	v1.POST("/ebls/:documentHash/amend", h.user(h.move(envelope.Amend)))
	v1.POST("/ebls/:documentHash/switch-to-paper", h.user(h.move(envelope.SwitchToPaper)))
	v1.POST("/ebls/:documentHash/honour", h.user(h.honour))
	v1.POST("/ebls/:documentHash/decline", h.user(h.decline))
	v1.GET("/transfers/:id", h.user(h.transfer))
	v1.GET("/events", h.user(h.events))
	v1.POST("/transfers/:id/cancel", h.user(h.cancel))
	v1.GET("/transfers", h.user(h.openTransfers))
	v1.POST("/transfers/:id/resolve", h.user(h.resolve))
	v1.GET("/transfers/:id/resolution", h.user(h.resolution))
	v1.GET("/incoming", h.user(h.incoming))
	v1.POST("/incoming/reject", h.user(h.rejectIncoming))
	v1.POST("/verdicts", h.user(h.takeVerdict))
	v1.GET("/approvals", h.user(h.approvals))
	v1.GET("/approvals/:id", h.user(h.approval))
	v1.POST("/approvals/:id/approve", h.user(h.approve))
	v1.POST("/approvals/:id/reject", h.user(h.rejectApproval))
	return g
}

type statusText struct {
	Status string `json:"status"`
}

func (h *localHandler) ready(c *gin.Context) {
	if err := h.node.Ready(c.Request.Context()); err != nil {
		e := refuse(node.Unavailable, node.TextUnavailable, "the database cannot be written")
		e.Err, e.Retry = err, 2
		fail(c, e)
		return
	}
	writeJSON(c, http.StatusOK, statusText{"ready"})
}

// user finds who asks by the bearer token, then lets the request of that user in if the
// user does not ask too often.
func (h *localHandler) user(serve func(*gin.Context, *node.User)) gin.HandlerFunc {
	return func(c *gin.Context) {
		token, refusal := bearer(c.Request)
		if refusal != nil {
			c.Header("WWW-Authenticate", "Bearer")
			fail(c, refusal)
			return
		}
		u, err := h.authenticate(c.Request.Context(), token)
		if err != nil {
			if e, ok := errors.AsType[*node.Error](err); ok && e.Code == node.Unauthorized {
				c.Header("WWW-Authenticate", `Bearer error="invalid_token"`)
			}
			fail(c, err)
			return
		}
		eventOf(c).who = u.Local
		if u.Via != nil {
			eventOf(c).who += " by " + u.Via.System
		}
		leave, refusal := h.limit.enter(u.Local)
		if refusal != nil {
			fail(c, refusal)
			return
		}
		defer leave()
		serve(c, u)
	}
}

// authenticate finds the user of a token: one that we gave, which has no dot in it, or
// one that a registered system signed.
func (h *localHandler) authenticate(ctx context.Context, token string) (*node.User, error) {
	if strings.Contains(token, ".") {
		return h.node.AuthenticateSystem(ctx, token)
	}
	return h.node.Authenticate(ctx, token)
}

// bearer reads the token from the one place where it does not end up in logs and
// histories.
func bearer(r *http.Request) (string, *node.Error) {
	values := r.Header.Values("Authorization")
	if len(values) == 1 {
		if scheme, token, found := strings.Cut(values[0], " "); found && strings.EqualFold(scheme, "Bearer") && token != "" {
			return token, nil
		}
	}
	return "", refuse(node.Unauthorized, "tokenRequired", "send one header Authorization: Bearer, with the token of a user")
}

func (h *localHandler) whoami(c *gin.Context, u *node.User) {
	domain := h.node.Domain().String()
	writeJSON(c, http.StatusOK, WhoamiView{UserView: viewUser(u), ID: u.Local + "@" + domain, Platform: domain, Via: u.Via})
}

// The pages of a list.
const (
	pageDefault = 50
	pageMost    = 200
)

func (h *localHandler) list(c *gin.Context, u *node.User) {
	limit, refusal := queryInt(c, "limit", pageDefault, 1, pageMost)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	before, refusal := queryInt(c, "cursor", 0, 1, 1<<62)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	bills, next, err := h.node.Bills(c.Request.Context(), u, before, int(limit))
	if err != nil {
		fail(c, err)
		return
	}
	out := BillList{Bills: []BillView{}}
	for i := range bills {
		out.Bills = append(out.Bills, viewBill(&bills[i]))
	}
	if next > 0 {
		out.NextCursor = strconv.FormatInt(next, 10)
	}
	writeJSON(c, http.StatusOK, out)
}

// queryInt reads a number of the query, given at most once.
func queryInt(c *gin.Context, name string, absent, least, most int64) (int64, *node.Error) {
	values := c.Request.URL.Query()[name]
	if len(values) == 0 {
		return absent, nil
	}
	v, err := strconv.ParseInt(values[0], 10, 64)
	if err != nil || len(values) > 1 || v < least || v > most {
		return 0, malformed("", "the query's "+name+" is not one number from "+strconv.FormatInt(least, 10)+" to "+strconv.FormatInt(most, 10))
	}
	return v, nil
}

func (h *localHandler) bill(c *gin.Context, u *node.User) {
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	v, err := h.node.Bill(c.Request.Context(), u, document)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, viewBill(v))
}

func (h *localHandler) chain(c *gin.Context, u *node.User) {
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	block, err := h.node.Block(c.Request.Context(), u, document)
	if err != nil {
		fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", block)
}

func (h *localHandler) document(c *gin.Context, u *node.User) {
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	text, err := h.node.Document(c.Request.Context(), u, document)
	if err != nil {
		fail(c, err)
		return
	}
	c.Data(http.StatusOK, "application/json", text)
}

func (h *localHandler) transfer(c *gin.Context, u *node.User) {
	v, err := h.node.Transfer(c.Request.Context(), u, c.Param("id"))
	if err != nil {
		fail(c, err)
		return
	}
	eventOf(c).bill = v.Document.String()
	writeJSON(c, http.StatusOK, viewTransfer(v))
}
