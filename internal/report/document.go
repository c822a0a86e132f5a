package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strings"

	"eblnode/judge"
)

// A cargo is what a transport document says of itself, as far as it could be read. Where
// the verdict is good it is what was signed; nobody compares it with a ship.
type cargo struct {
	Facts     []fact
	Parties   []party
	Goods     []goods
	Equipment []string
	Cut       bool // the document holds more than is shown
}

type fact struct{ Name, Value string }

type party struct {
	Role, Name, Address string
	Codes               []string
}

type goods struct {
	Description []string
	Facts       []string
}

// Bounds of what is shown; the document itself is in the bundle.
const (
	maxShown = 24
	maxText  = 300
	maxCodes = 8 // of a party
)

// readDocument finds what people look for in a DCSA transport document, of whatever
// version. What is not there, or of another type, is left out.
func readDocument(text []byte) *cargo {
	if text == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var doc map[string]any
	if d.Decode(&doc) != nil {
		return nil
	}
	c := &cargo{}
	add := func(name string, parts ...string) {
		if len(c.Facts) >= maxShown {
			c.Cut = true
			return
		}
		var kept []string
		for _, p := range parts {
			if p != "" {
				kept = append(kept, p)
			}
		}
		if len(kept) > 0 {
			c.Facts = append(c.Facts, fact{name, cut(strings.Join(kept, " "))})
		}
	}
	add("Reference", str(doc, "transportDocumentReference"), str(doc, "transportDocumentSubReference"))
	add("Carrier", str(doc, "carrierCode"), bracket(str(doc, "carrierCodeListProvider")))
	add("Issued", str(doc, "issueDate"), place(doc["placeOfIssue"]))
	add("Shipped on board", str(doc, "shippedOnBoardDate"))
	for _, v := range c.list(doc["vesselVoyages"]) {
		add("Vessel", str(v, "vesselName"), bracket("IMO "+str(v, "vesselIMONumber")), str(v, "universalExportVoyageReference"))
	}
	if len(c.list(doc["vesselVoyages"])) == 0 {
		add("Vessel", str(doc, "vesselName"))
	}
	route := object(doc["transports"])
	for _, p := range []struct{ name, member string }{{"Place of receipt", "placeOfReceipt"}, {"Port of loading", "portOfLoading"}, {"Port of discharge", "portOfDischarge"}, {"Place of delivery", "placeOfDelivery"}} {
		add(p.name, place(route[p.member]))
	}
	add("Departure, arrival", join(" – ", str(route, "plannedDepartureDate"), str(route, "plannedArrivalDate")))
	add("Declared value", str(doc, "declaredValue"), str(doc, "declaredValueCurrency"))
	c.parties(doc)
	for _, item := range c.list(doc["consignmentItems"]) {
		c.item(item)
	}
	for _, e := range c.list(doc["utilizedTransportEquipments"]) {
		c.equipment(e)
	}
	return c
}

func (c *cargo) parties(doc map[string]any) {
	add := func(role string, v any) {
		p := object(v)
		name := str(p, "partyName")
		switch {
		case name == "":
			return
		case len(c.Parties) >= maxShown:
			c.Cut = true
			return
		}
		out := party{Role: role, Name: cut(name), Address: cut(address(p["address"]))}
		codes := c.list(p["identifyingCodes"])
		c.Cut = c.Cut || len(codes) > maxCodes
		for _, code := range codes[:min(len(codes), maxCodes)] {
			list := str(code, "codeListName")
			if list == "" {
				list = str(code, "codeListProvider")
			}
			out.Codes = append(out.Codes, cut(strings.TrimSpace(list+" "+str(code, "partyCode"))))
		}
		if slices.ContainsFunc(c.Parties, func(o party) bool { return reflect.DeepEqual(o, out) }) {
			return // named twice
		}
		c.Parties = append(c.Parties, out)
	}
	switch parties := doc["documentParties"].(type) {
	case map[string]any:
		roles := make([]string, 0, len(parties))
		for role := range parties {
			roles = append(roles, role)
		}
		rank := map[string]int{"shipper": -4, "consignee": -3, "endorsee": -3, "notifyParties": -2, "issuingParty": -1}
		sort.Slice(roles, func(i, j int) bool {
			if rank[roles[i]] != rank[roles[j]] {
				return rank[roles[i]] < rank[roles[j]]
			}
			return roles[i] < roles[j]
		})
		for _, role := range roles {
			switch v := parties[role].(type) {
			case map[string]any:
				add(words(role), v)
			case []any:
				for _, x := range v {
					if inner, ok := object(x)["party"]; ok {
						add(words(role)+" "+bracket(str(object(x), "partyFunction")), inner)
					} else {
						add(words(strings.TrimSuffix(role, "ies")+map[bool]string{true: "y"}[strings.HasSuffix(role, "ies")]), x)
					}
				}
			}
		}
	case []any:
		for _, x := range parties {
			add(str(object(x), "partyFunction"), object(x)["party"])
		}
	}
}

func (c *cargo) item(item map[string]any) {
	if len(c.Goods) >= maxShown {
		c.Cut = true
		return
	}
	g := goods{Description: c.texts(item["descriptionOfGoods"])}
	add := func(s string) {
		switch s = strings.TrimSpace(s); {
		case s == "":
		case len(g.Facts) >= maxShown:
			c.Cut = true
		default:
			g.Facts = append(g.Facts, cut(s))
		}
	}
	if codes := c.texts(item["HSCodes"]); len(codes) > 0 {
		add("HS " + strings.Join(codes, ", "))
	}
	for _, x := range c.list(item["cargoItems"]) {
		pack := object(x["outerPackaging"])
		parts := []string{str(x, "equipmentReference")}
		if n := str(pack, "numberOfPackages"); n != "" {
			parts = append(parts, n+" "+first(str(pack, "description"), str(pack, "packageCode"), "packages"))
		}
		parts = append(parts, measure(x, "cargoGrossWeight"), measure(x, "cargoGrossVolume"))
		add(join(", ", parts...))
	}
	if marks := c.texts(item["shippingMarks"]); len(marks) > 0 {
		add("Marks: " + strings.Join(marks, " · "))
	}
	c.Goods = append(c.Goods, g)
}

func (c *cargo) equipment(e map[string]any) {
	if len(c.Equipment) >= maxShown {
		c.Cut = true
		return
	}
	inner := object(e["equipment"])
	var seals []string
	for _, s := range c.list(e["seals"]) {
		seals = append(seals, first(str(s, "number"), str(s, "sealNumber")))
	}
	line := join(" ", first(str(inner, "equipmentReference"), str(e, "equipmentReference")), str(inner, "ISOEquipmentCode"))
	if len(seals) > 0 {
		line = join(", ", line, "seals "+strings.Join(seals, " "))
	}
	if t := object(e["activeReeferSettings"]); str(t, "temperatureSetpoint") != "" {
		line = join(", ", line, "set to "+str(t, "temperatureSetpoint")+" "+str(t, "temperatureUnit"))
	}
	if line != "" {
		c.Equipment = append(c.Equipment, cut(line))
	}
}

func object(v any) map[string]any {
	m, _ := v.(map[string]any)
	return m
}

// list is what of v are objects. Whoever reads the page must see that something was left out.
func (c *cargo) list(v any) (out []map[string]any) {
	l, _ := v.([]any)
	for _, x := range l {
		switch m := object(x); {
		case m == nil:
		case len(out) >= 4*maxShown:
			c.Cut = true
		default:
			out = append(out, m)
		}
	}
	return out
}

func (c *cargo) texts(v any) (out []string) {
	switch v := v.(type) {
	case string:
		return []string{cut(v)}
	case []any:
		for _, x := range v {
			switch s, ok := x.(string); {
			case !ok:
			case len(out) >= maxShown:
				c.Cut = true
			default:
				out = append(out, cut(s))
			}
		}
	}
	return out
}

// str is a member as text: a string, number or boolean.
func str(m map[string]any, name string) string {
	switch v := m[name].(type) {
	case string:
		return judge.Plain(v)
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return ""
}

func measure(m map[string]any, name string) string {
	if v := object(m[name]); v != nil {
		return join(" ", str(v, "value"), str(v, "unit"))
	}
	return join(" ", str(m, name), str(m, name+"Unit"))
}

func place(v any) string {
	m := object(v)
	return join(" ", str(m, "locationName"), bracket(str(m, "UNLocationCode")))
}

func address(v any) string {
	if s, ok := v.(string); ok {
		return judge.Plain(s)
	}
	m := object(v)
	return join(", ", join(" ", str(m, "street"), str(m, "streetNumber")), join(" ", str(m, "postCode"), str(m, "city")), str(m, "countryCode"))
}

func join(with string, parts ...string) string {
	var kept []string
	for _, p := range parts {
		if p = strings.TrimSpace(p); p != "" {
			kept = append(kept, p)
		}
	}
	return strings.Join(kept, with)
}

func first(list ...string) string {
	for _, s := range list {
		if s != "" {
			return s
		}
	}
	return ""
}

func bracket(s string) string {
	if strings.TrimSpace(strings.TrimPrefix(s, "IMO")) == "" {
		return ""
	}
	return "(" + s + ")"
}

// words writes a member's name for people: notifyParty, Notify party.
func words(name string) string {
	var b strings.Builder
	for i, r := range judge.Plain(name) {
		switch {
		case i == 0:
			b.WriteString(strings.ToUpper(string(r)))
		case 'A' <= r && r <= 'Z':
			b.WriteString(" " + strings.ToLower(string(r)))
		default:
			b.WriteRune(r)
		}
	}
	return cut(b.String())
}

// cut bounds a text that a stranger wrote.
func cut(s string) string { return shorten(s, maxText) }

// shorten is at most n characters of s, those that draw nothing escaped.
func shorten(s string, n int) string {
	if len(s) > 16*n {
		s = strings.ToValidUTF8(s[:16*n], "") + "…" // do not escape megabytes to show a line
	}
	s = judge.Plain(s)
	if r := []rune(s); len(r) > n {
		return string(r[:n]) + "…"
	}
	return s
}
