package api

import (
	"net/http"
	"net/url"
	"strings"
	"sync"

	"eblnode/identity"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"
)

// adminHandler serves operators.
type adminHandler struct {
	node     *node.Node
	version  string
	options  Options
	checking sync.Mutex // held while an fsck runs
}

// ActorHeader names the operator in the rows of the audit. It is informational: whoever
// can open the socket is an operator.
const ActorHeader = "X-Eblnode-Actor"

// NewAdminHandler serves the operators' commands of n. It asks for no credentials, so
// it belongs on a Unix socket of mode 0600 in the data folder and nowhere else.
func NewAdminHandler(n *node.Node, o Options) http.Handler {
	o = o.withDefaults()
	h := &adminHandler{node: n, version: o.Version, options: o}
	g := newEngine("admin", o)
	v1 := g.Group("/admin/v1")
	h.webhooks(v1)
	h.systems(v1)
	v1.GET("/peers", h.listPeers)
	v1.POST("/peers", h.addPeers)
	v1.GET("/peers/:domain", h.showPeer)
	v1.DELETE("/peers/:domain", h.removePeer)
	v1.GET("/users", h.listUsers)
	v1.POST("/users", h.addUser)
	v1.POST("/users/:local/token", h.replaceToken)
	v1.POST("/users/:local/disable", h.disableUser)
	v1.POST("/users/:local/approvers", h.setApprovers)
	v1.GET("/ebls/:documentHash/fork", h.fork)
	v1.GET("/self", h.self)
	v1.POST("/reload", h.reloadKeys)
	v1.POST("/peers/:domain/check", h.checkPeer)
	v1.POST("/peers/:domain/fetch", h.fetchPeer)
	v1.GET("/status", h.status)
	v1.POST("/fsck", h.fsck)
	v1.POST("/backup", h.backup)
	v1.POST("/archive", h.archive)
	v1.POST("/ebls/:documentHash/hold", h.hold)
	v1.GET("/witness", h.witness)
	v1.POST("/witness/release", h.release)
	return g
}

// PeerView is a trust entry in short.
type PeerView struct {
	Domain      string `json:"domain"`
	Name        string `json:"name,omitempty"`
	Endpoint    string `json:"endpoint,omitempty"` // as configured; absent: DNS says it
	Issuer      bool   `json:"issuer"`
	Keys        int    `json:"keys"`
	Fingerprint string `json:"fingerprint"` // what two operators compare
	// Circuit is closed, or open where the peer has failed so often that it gets one probe
	// at a time. Failures counts those in a row since FailingSince.
	Circuit      string `json:"circuit"`
	Failures     int    `json:"failures"`
	FailingSince stamp  `json:"failingSince,omitzero"`
	NextProbeAt  stamp  `json:"nextProbeAt,omitzero"`
	Trouble      string `json:"trouble,omitempty"` // the last failure, for people
}

// PeerList lists peers by their domain.
type PeerList struct {
	Peers []PeerView `json:"peers"`
}

// UserList lists users by their local id.
type UserList struct {
	Users []UserView `json:"users"`
}

// NewUserView is a user just added, with the token that is shown this once.
type NewUserView struct {
	User  UserView `json:"user"`
	Token string   `json:"token"`
}

// TokenView is a new token of a user; only its SHA-256 is kept, so it is shown this once.
type TokenView struct {
	Local string `json:"local"`
	Token string `json:"token"`
}

// StatusView is what an operator looks at first.
type StatusView struct {
	Domain    string         `json:"domain"`
	Version   string         `json:"version"`
	Time      stamp          `json:"time"` // the node's clock
	Peers     int            `json:"peers"`
	Bills     map[string]int `json:"bills"`     // by control
	Transfers map[string]int `json:"transfers"` // by state
	// OldestInDoubt is when the oldest transfer without a signed answer was sent.
	OldestInDoubt stamp `json:"oldestInDoubt,omitzero"`
	// ForkEntries counts entries of forked chains kept as proof.
	ForkEntries int `json:"forkEntries"`
	// Quarantined counts bills of which the witness knows more than the database; Frozen
	// says that nothing moves, for want of the witness.
	Quarantined int  `json:"quarantined"`
	Frozen      bool `json:"frozen"`
}

type newUser struct {
	Local string     `json:"local"`
	Name  string     `json:"name"`
	Role  string     `json:"role"`
	Codes []CodeView `json:"identifyingCodes"`
	Tax1  string     `json:"taxReference1"`
	Tax2  string     `json:"taxReference2"`
}

// actor is who the audit names.
func actor(c *gin.Context) string {
	who := clip(strings.TrimSpace(c.GetHeader(ActorHeader)), 64)
	if who == "" {
		who = "operator"
	}
	eventOf(c).who = who
	return who
}

func (h *adminHandler) viewPeer(p *identity.Platform) PeerView {
	v := PeerView{Domain: p.Domain.String(), Name: p.Name, Endpoint: p.Endpoint, Issuer: p.Issuer, Keys: len(p.Keys), Fingerprint: p.Fingerprint(), Circuit: "closed"}
	c := h.node.Circuit(p.Domain)
	v.Failures, v.FailingSince, v.NextProbeAt, v.Trouble = c.Failures, stamp(c.Since), stamp(c.Next), c.Trouble
	if c.Open {
		v.Circuit = "open"
	}
	return v
}

func (h *adminHandler) peers() []*identity.Platform {
	var list []*identity.Platform
	for _, p := range h.node.Trust().Platforms() {
		if p.Domain != h.node.Domain() {
			list = append(list, p)
		}
	}
	return list
}

func (h *adminHandler) listPeers(c *gin.Context) {
	out := PeerList{Peers: []PeerView{}}
	for _, p := range h.peers() {
		out.Peers = append(out.Peers, h.viewPeer(p))
	}
	writeJSON(c, http.StatusOK, out)
}

// addPeers takes a trust file as it is: one entry, an array, or {"platforms": […]}.
func (h *adminHandler) addPeers(c *gin.Context) {
	who := actor(c)
	if refusal := checkMediaType(c.Request); refusal != nil {
		fail(c, refusal)
		return
	}
	body, refusal := readBody(c, identity.MaxTrustSize)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	ps, err := identity.ParseTrust(body)
	if err != nil {
		fail(c, malformed("", err.Error()))
		return
	}
	if err := h.node.AddPeers(c.Request.Context(), who, ps); err != nil {
		fail(c, err)
		return
	}
	out := PeerList{Peers: []PeerView{}}
	for _, p := range ps {
		out.Peers = append(out.Peers, h.viewPeer(p))
	}
	writeJSON(c, http.StatusOK, out)
}

// peer finds the peer in the path.
func (h *adminHandler) peer(c *gin.Context) (*identity.Platform, *node.Error) {
	domain, err := identity.ParseHost(c.Param("domain"))
	if err == nil {
		for _, p := range h.peers() {
			if p.Domain == domain {
				return p, nil
			}
		}
	}
	return nil, refuse(node.NotFound, "notFound", "there is no peer of that domain")
}

func (h *adminHandler) showPeer(c *gin.Context) {
	p, refusal := h.peer(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	writeEntry(c, p, false)
}

// writeEntry answers with a trust entry, as a trust file.
func writeEntry(c *gin.Context, p *identity.Platform, composed bool) {
	text, err := p.JSON()
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, EntryView{Entry: text, Fingerprint: p.Fingerprint(), Composed: composed})
}

// EntryView is a trust entry, as it stands in a trust file, with its fingerprint.
type EntryView struct {
	Entry       jsontext.Value `json:"entry"`
	Fingerprint string         `json:"fingerprint"`
	// Composed says that the platform publishes no entry, and this is ours with the keys of its
	// key set: nobody but us has this fingerprint.
	Composed bool `json:"composed,omitempty"`
}

func (h *adminHandler) removePeer(c *gin.Context) {
	who := actor(c)
	p, refusal := h.peer(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	if err := h.node.RemovePeer(c.Request.Context(), who, p.Domain); err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, h.viewPeer(p))
}

func (h *adminHandler) listUsers(c *gin.Context) {
	users, err := h.node.Users(c.Request.Context())
	if err != nil {
		fail(c, err)
		return
	}
	out := UserList{Users: []UserView{}}
	for i := range users {
		out.Users = append(out.Users, viewUser(&users[i]))
	}
	writeJSON(c, http.StatusOK, out)
}

func (h *adminHandler) addUser(c *gin.Context) {
	who := actor(c)
	var v newUser
	if _, refusal := readJSON(c, 64<<10, &v); refusal != nil {
		fail(c, refusal)
		return
	}
	u := userOf(v)
	token, err := h.node.AddUser(c.Request.Context(), who, u)
	if err != nil {
		fail(c, err)
		return
	}
	u.CreatedAt = h.node.Now()
	writeJSON(c, http.StatusCreated, NewUserView{User: viewUser(&u), Token: token})
}

func (h *adminHandler) replaceToken(c *gin.Context) {
	who := actor(c)
	local, err := url.PathUnescape(c.Param("local"))
	if err != nil {
		fail(c, malformed("", "the local id in the path is not escaped as in a URL"))
		return
	}
	token, err := h.node.ReplaceToken(c.Request.Context(), who, local)
	if err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, TokenView{Local: local, Token: token})
}

func (h *adminHandler) disableUser(c *gin.Context) {
	who := actor(c)
	// A local id may hold a slash, so it comes escaped.
	local, err := url.PathUnescape(c.Param("local"))
	if err != nil {
		fail(c, malformed("", "the local id in the path is not escaped as in a URL"))
		return
	}
	if err := h.node.DisableUser(c.Request.Context(), who, local); err != nil {
		fail(c, err)
		return
	}
	h.listUsers(c)
}

// fork is the evidence of a fork, the file itself.
func (h *adminHandler) fork(c *gin.Context) {
	document, refusal := documentHash(c)
	if refusal != nil {
		fail(c, refusal)
		return
	}
	proof, err := h.node.ForkEvidence(c.Request.Context(), document)
	if err != nil {
		fail(c, err)
		return
	}
	writeBundle(c, proof)
}

func (h *adminHandler) self(c *gin.Context) { writeEntry(c, h.node.Self(), false) }

func (h *adminHandler) status(c *gin.Context) {
	t, err := h.node.Totals(c.Request.Context())
	if err != nil {
		fail(c, err)
		return
	}
	out := StatusView{Domain: h.node.Domain().String(), Version: h.version, Time: stamp(h.node.Now()), Peers: len(h.peers()),
		Bills: map[string]int{}, Transfers: map[string]int{}, OldestInDoubt: stamp(t.OldestDoubt), ForkEntries: t.Branches,
		Quarantined: t.Quarantined, Frozen: t.Frozen}
	for control, n := range t.Bills {
		out.Bills[string(control)] = n
	}
	for state, n := range t.Transfers {
		out.Transfers[string(state)] = n
	}
	writeJSON(c, http.StatusOK, out)
}
