package api

import (
	"net/http"
	"net/url"

	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json/jsontext"
)

// SystemView is a registered system of customers.
type SystemView struct {
	Name      string         `json:"name"`
	Keys      []KeyView      `json:"keys"`
	Customers []CustomerView `json:"customers"`
	Disabled  bool           `json:"disabled"`
	CreatedAt stamp          `json:"createdAt"`
}

// KeyView names a key of a ring.
type KeyView struct {
	ID          string `json:"kid,omitempty"`
	Fingerprint string `json:"fingerprint"` // what two people compare
}

// CustomerView is a local user as a system names it.
type CustomerView struct {
	Customer string `json:"customer"`
	Local    string `json:"local"`
}

// SystemList lists systems by name.
type SystemList struct {
	Systems []SystemView `json:"systems"`
}

type newSystem struct {
	Name      string         `json:"name"`
	Keys      jsontext.Value `json:"keys"` // a JWK set
	Customers []CustomerView `json:"customers"`
}

// systems adds the routes about systems.
func (h *adminHandler) systems(v1 *gin.RouterGroup) {
	v1.GET("/systems", h.listSystems)
	v1.POST("/systems", h.addSystem)
	v1.POST("/systems/:name/disable", h.disableSystem)
}

func viewSystem(s *node.System) SystemView {
	v := SystemView{Name: s.Name, Keys: []KeyView{}, Customers: []CustomerView{}, Disabled: s.Disabled, CreatedAt: stamp(s.CreatedAt)}
	for id, fingerprint := range s.Fingerprints() {
		v.Keys = append(v.Keys, KeyView{id, fingerprint})
	}
	for _, c := range s.Customers {
		v.Customers = append(v.Customers, CustomerView{c.ID, c.Local})
	}
	return v
}

func (h *adminHandler) listSystems(c *gin.Context) {
	list, err := h.node.Systems(c.Request.Context())
	if err != nil {
		fail(c, err)
		return
	}
	out := SystemList{Systems: []SystemView{}}
	for i := range list {
		out.Systems = append(out.Systems, viewSystem(&list[i]))
	}
	writeJSON(c, http.StatusOK, out)
}

// addSystem registers a system, or replaces keys and customers of one.
func (h *adminHandler) addSystem(c *gin.Context) {
	who := actor(c)
	var v newSystem
	if _, refusal := readJSON(c, 256<<10, &v); refusal != nil {
		fail(c, refusal)
		return
	}
	s := node.System{Name: v.Name, Keys: v.Keys, CreatedAt: h.node.Now()}
	for _, customer := range v.Customers {
		s.Customers = append(s.Customers, node.Customer{ID: customer.Customer, Local: customer.Local})
	}
	if err := h.node.AddSystem(c.Request.Context(), who, s); err != nil {
		fail(c, err)
		return
	}
	writeJSON(c, http.StatusOK, viewSystem(&s))
}

func (h *adminHandler) disableSystem(c *gin.Context) {
	who := actor(c)
	name, err := url.PathUnescape(c.Param("name"))
	if err != nil {
		fail(c, malformed("", "the name in the path is not escaped as in a URL"))
		return
	}
	if err := h.node.DisableSystem(c.Request.Context(), who, name); err != nil {
		fail(c, err)
		return
	}
	h.listSystems(c)
}
