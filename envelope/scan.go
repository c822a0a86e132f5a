package envelope

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"eblnode/identity"
)

// This file, with scanner.go, reads a block that is well formed, quickly: the library says in one pass that
// the text is strict JSON, and then the parts are found without looking at what it has
// looked at. At anything unusual, and anything wrong, it gives up, and parseSlowly reads
// the same text anew. So what is refused, and why, is decided in one place only, and a fuzz
// target holds the two against each other.

// largeDocument is from which size on a document is not copied out of its body: whoever
// uses a buffer again does not do so with large ones.
const largeDocument = 1 << 20

// scanBlock is nil where the text is not a block, or not an ordinary one.
func scanBlock(body []byte, limits Limits, find func([]byte) *Prefix) *Transferblock {
	if !valid(body) {
		return nil
	}
	c := newScanner(body, limits.Depth)
	if c.next() != '{' {
		return nil
	}
	b := &Transferblock{}
	c.members(func(name []byte) {
		switch string(name) {
		case "document":
			b.scanDocument(c, false)
		case chainField, oldChainField:
			if b.Field != "" || c.s[c.i] != '[' {
				c.bad = true
				return
			}
			b.Field = string(name)
			b.scanChain(c, limits, false, find)
		default:
			c.skip(false)
		}
	})
	if c.bad || b.Document == nil || len(b.Entries) == 0 {
		return nil
	}
	return b
}

// scanDocument reads the document that begins here. kept: nobody changes the text.
func (b *Transferblock) scanDocument(c *scanner, kept bool) {
	if c.s[c.i] != '{' {
		c.bad = true
		return
	}
	start := c.i
	quick := *c // most documents come in the one form that is hashed, in which every number keeps its value
	canonical := quick.canonicalObject(func(name, value []byte) {
		v := newScanner(value, 1)
		b.documentMember(name, v, false)
		c.bad = c.bad || v.bad
	})
	if canonical {
		c.i = quick.i
	} else {
		b.ToOrder, b.Reference = nil, Reference{}
		c.members(func(name []byte) { b.documentMember(name, c, true) })
	}
	switch {
	case c.bad:
		return
	case kept || c.i-start > largeDocument:
		b.Document = c.s[start:c.i:c.i]
	default:
		b.Document = bytes.Clone(c.s[start:c.i])
	}
	if canonical {
		b.canonical = b.Document
	}
}

// documentMember reads a member's value. numbers: it must say whether each number in it keeps
// its value.
func (b *Transferblock) documentMember(name []byte, c *scanner, numbers bool) {
	field := func(to *string) {
		if s, found := c.optional(); found {
			*to = s
		}
	}
	switch string(name) {
	case "isToOrder":
		b.ToOrder = c.boolean()
	case "carrierCode":
		field(&b.Reference.CarrierCode)
	case "transportDocumentReference":
		field(&b.Reference.Number)
	case "transportDocumentSubReference":
		field(&b.Reference.SubReference)
	default:
		if numbers {
			c.skip(true)
		}
	}
}

// scanChain reads the chain that begins here. only: its entries have no members that we do not know.
func (b *Transferblock) scanChain(c *scanner, limits Limits, only bool, find func([]byte) *Prefix) {
	parts := c.parts(limits, only)
	if c.bad || len(parts) == 0 {
		c.bad = true
		return
	}
	b.Entries = make([]Entry, len(parts))
	if find != nil {
		if p := find(c.s[parts[0].from:parts[0].to]); p != nil && p.begins(c.s, parts) {
			b.prefix = p
			for i := range p.jws {
				b.Entries[i] = Entry{Claimed: p.claimed[i], JWS: JWS{Raw: p.jws[i]}}
			}
		}
	}
	// One text for all, which is what stays of the request where the chain is kept: of what a
	// peer put between them, nothing.
	k, size := b.Known(), 0
	for i := k; i < len(parts); i++ {
		size += parts[i].to - parts[i].from
	}
	var all strings.Builder
	all.Grow(size)
	for i := k; i < len(parts); i++ {
		all.Write(c.s[parts[i].from:parts[i].to])
	}
	text, at := all.String(), 0
	for i := k; i < len(parts); i++ {
		e, p := &b.Entries[i], &parts[i]
		raw := text[at : at+p.to-p.from]
		at += len(raw)
		var err *FormatError
		if *e, err = scanEntry(raw, limits); err != nil {
			c.bad = true
			return
		}
		e.Claimed, e.Beside = p.claimed, p.beside
	}
}

// scanEntry is parseEntry, but what it says is wrong is not for anybody to read.
func scanEntry(raw string, limits Limits) (Entry, *FormatError) {
	j, err := parseJWS(raw)
	if err != nil {
		return Entry{}, err
	}
	p, ok := scanPayload(j.Payload, limits)
	if !ok {
		return Entry{}, malformed("json", "$", "not an ordinary payload")
	}
	return Entry{JWS: j, Payload: p}, nil
}

// parts reads the chain that begins here, and not what is signed.
func (c *scanner) parts(limits Limits, only bool) []part {
	var parts []part
	c.elements(func() {
		if c.s[c.i] != '{' || len(parts) >= limits.Chain {
			c.bad = true
			return
		}
		var p part
		var hash []byte
		c.members(func(name []byte) {
			switch string(name) {
			case "envelopeHash":
				hash = c.plain()
			case "signature":
				raw := c.plain()
				p.to = c.i - 1
				p.from = p.to - len(raw)
			case "eblEnvelope":
				switch c.s[c.i] {
				case '{':
					p.beside = bytes.Clone(c.skip(false))
				case 'n':
					c.word()
				default:
					c.bad = true
				}
			default:
				c.bad = c.bad || only
				c.skip(false)
			}
		})
		var ok bool
		if p.claimed, ok = parseHash(hash); c.bad || !ok || p.from == 0 {
			c.bad = true
			return
		}
		parts = append(parts, p)
	})
	return parts
}

// plain reads a string without escapes.
func (c *scanner) plain() []byte {
	if c.s[c.i] != '"' {
		c.bad = true
		return nil
	}
	raw, plain := c.text()
	if !plain {
		c.bad = true
	}
	return raw
}

// scanPayload is parsePayload for what is well formed.
func scanPayload(data []byte, limits Limits) (Payload, bool) {
	var p Payload
	if checkWidth(data, limits) != nil || !valid(data) {
		return p, false
	}
	c := newScanner(data, limits.Depth)
	if c.next() != '{' {
		return p, false
	}
	hash := func(to *Hash) {
		h, ok := parseHash(c.plain())
		if !ok {
			c.bad = true
		}
		*to = h
	}
	document := false
	c.members(func(name []byte) {
		switch string(name) {
		case "documentHash":
			document = true
			hash(&p.DocumentHash)
		case "previousEnvelopeHash":
			if c.s[c.i] == 'n' {
				c.word()
				return
			}
			p.Linked = true
			hash(&p.Previous)
		case "transactions":
			if c.s[c.i] != '[' {
				c.bad = true
				return
			}
			c.elements(func() {
				if c.s[c.i] != '{' || len(p.Transactions) >= limits.Transactions {
					c.bad = true
					return
				}
				tx, ok := c.transaction()
				if !ok {
					c.bad = true
				}
				p.Transactions = append(p.Transactions, tx)
			})
		default:
			c.skip(false)
		}
	})
	return p, !c.bad && document && len(p.Transactions) > 0
}

// transaction is parseTransaction for what is well formed.
func (c *scanner) transaction() (tx Transaction, ok bool) {
	var instruction, host string
	var toOrder *bool
	var named, at, party bool
	c.members(func(name []byte) {
		switch string(name) {
		case "instruction", "action":
			if named || c.s[c.i] != '"' {
				c.bad = true
				return
			}
			instruction, named = c.value(), true
		case "comments":
			tx.Comments, _ = c.optional()
		case "timestamp":
			tx.At, at = timestampOf(string(c.skip(false)))
		case "isToOrder":
			toOrder = c.boolean()
		case "platformHost":
			host, _ = c.optional()
		case "transferee":
			start := c.i
			tx.Transferee, party = c.party()
			tx.TransfereeRaw = c.s[start:c.i:c.i]
		default:
			c.skip(false)
		}
	})
	if c.bad || !at || !party || toOrder == nil || utf8.RuneCountInString(tx.Comments) > MaxComments {
		return tx, false
	}
	switch tx.Instruction = Instruction(instruction); tx.Instruction {
	case Issue, Transfer, Surrender, Amend, SwitchToPaper:
	default:
		return tx, false
	}
	tx.ToOrder = *toOrder
	var err error
	tx.PlatformHost, err = identity.ParsePlatformHost(host)
	return tx, err == nil
}

// party is parseTransferee for what is well formed.
func (c *scanner) party() (p identity.Party, ok bool) {
	var id string
	switch c.s[c.i] {
	case '"':
		id = c.value()
	case '{':
		c.members(func(name []byte) {
			switch string(name) {
			case "eBLPlatformIdentifier":
				id, _ = c.optional()
			case "partyName":
				p.Name, _ = c.optional()
			case "taxReference1":
				p.TaxReference1, _ = c.optional()
			case "taxReference2":
				p.TaxReference2, _ = c.optional()
			case "identifyingCodes":
				switch c.s[c.i] {
				case '[':
					c.elements(func() { c.code(&p) })
				case 'n':
					c.word()
				default:
					c.bad = true
				}
			default:
				c.skip(false)
			}
		})
	default:
		c.bad = true
		return p, false
	}
	parsed, err := identity.ParseIdentifier(id)
	p.ID = parsed
	return p, err == nil && !c.bad
}

func (c *scanner) code(p *identity.Party) {
	if c.s[c.i] != '{' {
		c.bad = true
		return
	}
	var code identity.IdentifyingCode
	var agency string
	c.members(func(name []byte) {
		switch string(name) {
		case "codeListProvider":
			code.Provider, _ = c.optional()
		case "DCSAResponsibleAgencyCode":
			agency, _ = c.optional()
		case "partyCode":
			code.Code, _ = c.optional()
		case "codeListName":
			code.List, _ = c.optional()
		default:
			c.skip(false)
		}
	})
	if code.Provider == "" {
		code.Provider = agency
	}
	if code.Provider != "" && code.Code != "" {
		p.Codes = append(p.Codes, code)
	}
}
