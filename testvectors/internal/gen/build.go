package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"log"
	"slices"
	"strconv"
	"strings"
)

// An obj is a JSON object as text: its members in order, so that what is signed is
// exactly what stands here.
type obj [][2]string // name, JSON text of the value

func (o obj) with(name, raw string) obj {
	c := slices.Clone(o)
	for i := range c {
		if c[i][0] == name {
			c[i][1] = raw
			return c
		}
	}
	return append(c, [2]string{name, raw})
}

func (o obj) without(name string) obj {
	return slices.DeleteFunc(slices.Clone(o), func(m [2]string) bool { return m[0] == name })
}

func (o obj) String() string {
	parts := make([]string, len(o))
	for i, m := range o {
		parts[i] = quote(m[0]) + ":" + m[1]
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		log.Fatal(err)
	}
	return strings.TrimSpace(b.String())
}

func sum(s string) string {
	h := sha256.Sum256([]byte(s))
	return hex.EncodeToString(h[:])
}

// The clock of the vectors: transactions from start on, verified at the time clock.
const (
	start = int64(1780300800000) // 2026-06-01T08:00:00Z
	clock = "2026-06-01T12:00:00Z"
)

func ms(minute float64) string { return strconv.FormatInt(start+int64(minute*60000), 10) }

// tx is a transaction of platform, some minutes after start.
func tx(instruction, platform, transferee string, minute float64) obj {
	return obj{
		{"instruction", quote(instruction)},
		{"isToOrder", "true"},
		{"platformHost", quote("https://" + platform)},
		{"timestamp", ms(minute)},
		{"transferee", quote(transferee)},
	}
}

// Who occurs in the vectors.
const (
	carrier = "carrier.example" // issues
	bank    = "bank.example"
	trade   = "trade.example"
	shipper = "shipper@carrier.example"
	agent   = "agent@carrier.example"
	ben     = "ben@bank.example"
	tess    = "tess@trade.example"
)

func issue() obj { return tx("ISSU", carrier, shipper, 0) }

// The standard document, in RFC 8785 form.
const document = `{"carrierCode":"CARR","isToOrder":true,"transportDocumentReference":"TD-2026-1"}`

// A bill grows entry by entry; its methods change it and return it.
type bill struct {
	text      string // the document as sent
	canonical string
	entries   []entry
}

type entry struct {
	hash, jws, payload string
	beside             string // eblEnvelope, if any
}

func newBill() *bill { return &bill{text: document, canonical: document} }

func billOf(text, canonical string) *bill { return &bill{text: text, canonical: canonical} }

func (b *bill) previous() string {
	if len(b.entries) == 0 {
		return "null"
	}
	return quote(b.entries[len(b.entries)-1].hash)
}

func (b *bill) payload(txs ...obj) obj {
	list := make([]string, len(txs))
	for i, t := range txs {
		list[i] = t.String()
	}
	return obj{
		{"documentHash", quote(sum(b.canonical))},
		{"previousEnvelopeHash", b.previous()},
		{"transactions", "[" + strings.Join(list, ",") + "]"},
	}
}

// seal adds an entry as it should be.
func (b *bill) seal(k *key, txs ...obj) *bill { return b.sealPayload(k, b.payload(txs...).String()) }

func (b *bill) sealPayload(k *key, payload string) *bill {
	return b.add(payload, compact(k, k.header(), payload))
}

func (b *bill) add(payload, jws string) *bill {
	b.entries = append(b.entries, entry{hash: sum(payload), jws: jws, payload: payload})
	return b
}

func (k *key) header() obj { return obj{{"alg", quote(k.alg)}, {"kid", quote(k.kid)}} }

// compact signs with the algorithm of the key.
func compact(k *key, header obj, payload string) string {
	text := b64([]byte(header.String())) + "." + b64([]byte(payload))
	return text + "." + b64(k.signBytes(k.alg, text))
}

func (e entry) obj() obj {
	o := obj{{"envelopeHash", quote(e.hash)}, {"signature", quote(e.jws)}}
	if e.beside != "" {
		o = o.with("eblEnvelope", e.beside)
	}
	return o
}

func (b *bill) chain() string {
	list := make([]string, len(b.entries))
	for i, e := range b.entries {
		list[i] = e.obj().String()
	}
	return "[" + strings.Join(list, ",") + "]"
}

func (b *bill) body() obj { return obj{{"document", b.text}, {"endorsementChain", b.chain()}} }

// pick returns a bill with the entries of these indexes, as they were signed.
func (b *bill) pick(indexes ...int) *bill {
	c := billOf(b.text, b.canonical)
	for _, i := range indexes {
		c.entries = append(c.entries, b.entries[i])
	}
	return c
}

// longBill is ISSU to shipper, TRNS to ben; ben to tess; tess back to ben.
func (g *generator) longBill() *bill {
	return newBill().
		seal(g.key("carrier-1"), issue(), tx("TRNS", carrier, ben, 1)).
		seal(g.key("bank-1"), tx("TRNS", bank, tess, 10)).
		seal(g.key("trade-1"), tx("TRNS", trade, ben, 20))
}
