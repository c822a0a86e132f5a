// Package envelope is the wire format: the transferblock of DCSA's eBL Envelope
// (2022), read strictly and written in one way, and the signed answers to it.
//
// A transferblock is one JSON object: the transport document and its endorsement
// chain. Each entry of the chain is a compact JWS over an envelope:
//
//	{"document": {…}, "endorsementChain": [{"envelopeHash": "…", "signature": "eyJ…"}, …]}
//
//	{"documentHash": "…", "previousEnvelopeHash": null, "transactions": [
//	  {"instruction": "ISSU", "timestamp": 1767225600000, "isToOrder": true,
//	   "platformHost": "https://carrier.example", "transferee": "acme@carrier.example"}]}
//
// [Parse] checks the shape of everything and believes nothing: what it returns is
// what the sender wrote. Package chain decides whether it is true. What was signed
// is kept as it was received, and nothing here writes it again: the one way to
// make signed bytes is to sign new ones.
//
// The package knows neither HTTP nor storage, reads no clock, and does not know what
// a transaction means.
package envelope

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

// A Transferblock is a document with its chain, well formed and not verified.
type Transferblock struct {
	Document []byte // as received; a JSON object whose numbers keep their value
	Entries  []Entry
	// Field is the name under which the chain came: endorsementChain, or its older
	// spelling.
	Field string
	// ToOrder is document.isToOrder; nil where the document does not say.
	ToOrder *bool
	// Reference is what names the bill at its carrier.
	Reference Reference

	canonical []byte  // the Document that is certainly in RFC 8785 form; nil: nobody knows
	prefix    *Prefix // of Entries; nil: all were read
}

// A Reference is how a carrier names a bill: at most one live bill on its issuing
// platform has it. Empty fields are absent in the document.
type Reference struct {
	CarrierCode  string // carrierCode
	Number       string // transportDocumentReference
	SubReference string // transportDocumentSubReference
}

// An Entry is one signed envelope of the chain.
type Entry struct {
	// Claimed is the envelopeHash beside the signature, as received. It is what
	// receipts are made over; who an entry is, is its Hash.
	Claimed Hash
	// JWS is the signed envelope, not verified.
	JWS JWS
	// Payload is the envelope read from it.
	Payload Payload
	// Beside is the optional eblEnvelope that stood beside the signature; nil if none.
	Beside []byte
}

// Hash is who an entry is, whatever the wire says: the SHA-256 of its payload bytes.
func (e *Entry) Hash() Hash { return e.JWS.payloadHash() }

// WireHash is the envelopeHash as the platform that signed the entry reads it.
func (e *Entry) WireHash(p *identity.Platform) Hash { return wireHash(e.JWS, p.Quirks.EnvelopeHash) }

// BesideAgrees reports whether the eblEnvelope beside the signature, where there is
// one, is the same JSON value as the signed payload.
func (e *Entry) BesideAgrees() bool {
	return e.Beside == nil || sameValue(e.Beside, e.JWS.Payload)
}

// DocumentHash is the document's hash as issuer, the platform that issued it, reads
// it; nil stands for the normal reading.
func (b *Transferblock) DocumentHash(issuer *identity.Platform) (Hash, error) {
	quirk := ""
	if issuer != nil {
		quirk = issuer.Quirks.DocumentHash
	}
	if quirk == "" && sameBytes(b.canonical, b.Document) {
		return HashOf(b.Document), nil
	}
	return documentHash(b.Document, quirk)
}

// sameBytes reports whether two slices are one.
func sameBytes(a, b []byte) bool {
	return len(a) > 0 && len(a) == len(b) && &a[0] == &b[0]
}

// Last is the newest entry.
func (b *Transferblock) Last() *Entry { return &b.Entries[len(b.Entries)-1] }

// Parse reads a request body. The error is a *FormatError that names the place, and
// the limit if one was passed. A document of more than 1 MiB stays where it is in body,
// which must then not be changed.
func Parse(body []byte, limits Limits) (*Transferblock, error) {
	return ParseKnown(body, limits, nil)
}

// ParseKnown is Parse that does not read again the beginning of the chain, where find has it:
// find is told the compact JWS of the first entry, which it must not keep, and gives a
// [Prefix] read under the same limits, or nil. Only a longer chain that begins with all of it
// makes use of it; see [Transferblock.Known].
func ParseKnown(body []byte, limits Limits, find func(first []byte) *Prefix) (*Transferblock, error) {
	b, err := parse(body, limits.withDefaults(), find)
	if err != nil {
		return nil, err
	}
	return b, nil
}

func parse(body []byte, limits Limits, find func([]byte) *Prefix) (*Transferblock, *FormatError) {
	if len(body) > limits.Body {
		return nil, &FormatError{Rule: "limit", Path: "$", Limit: "body", Detail: fmt.Sprintf("the body has more than %d bytes", limits.Body)}
	}
	if err := checkWidth(body, limits); err != nil {
		return nil, err
	}
	if b := scanBlock(body, limits, find); b != nil {
		return b, nil
	}
	return parseSlowly(body, limits)
}

// parseSlowly is the reading that says what is wrong and where. Whatever scanBlock takes,
// it takes too, and makes the same of it.
func parseSlowly(body []byte, limits Limits) (*Transferblock, *FormatError) {
	var w struct {
		Document jsontext.Value `json:"document"`
		Chain    jsontext.Value `json:"endorsementChain"`
		OldChain jsontext.Value `json:"endorcementChain"`
	}
	if err := decode(body, &w, limits.Depth); err != nil {
		return nil, err
	}
	field, list, err := chainOf(w.Chain, w.OldChain)
	if err != nil {
		return nil, err
	}
	b := &Transferblock{Field: field}
	if err := b.parseDocument(w.Document); err != nil {
		return nil, err.under("$.document")
	}
	if err := b.parseChain(list, limits); err != nil {
		return nil, err.under("$." + field)
	}
	return b, nil
}

// present: null for an optional member counts as absent.
func present(v jsontext.Value) bool { return v != nil && v.Kind() != 'n' }

func (b *Transferblock) parseDocument(doc jsontext.Value) *FormatError {
	if doc == nil {
		return malformed("missing", "$", "missing")
	}
	if doc.Kind() != '{' {
		return malformed("type", "$", "not an object")
	}
	if err := CheckNumbers(doc); err != nil {
		return err
	}
	var w struct {
		ToOrder *bool   `json:"isToOrder"`
		Carrier *string `json:"carrierCode"`
		Number  *string `json:"transportDocumentReference"`
		Sub     *string `json:"transportDocumentSubReference"`
	}
	if err := reread(doc, &w); err != nil {
		return err
	}
	b.Document = trimJSON(doc)
	if isCanonical(b.Document) {
		b.canonical = b.Document
	}
	b.ToOrder = w.ToOrder
	b.Reference = Reference{CarrierCode: deref(w.Carrier), Number: deref(w.Number), SubReference: deref(w.Sub)}
	return nil
}

func (b *Transferblock) parseChain(list jsontext.Value, limits Limits) *FormatError {
	if list.Kind() != '[' {
		return malformed("type", "$", "not an array")
	}
	if tooWide(list, 1, limits.Chain) {
		return &FormatError{Rule: "limit", Path: "$", Limit: "chain", Detail: fmt.Sprintf("the chain has more than %d entries", limits.Chain)}
	}
	var ws []struct {
		Hash      *string        `json:"envelopeHash"`
		Signature *string        `json:"signature"`
		Beside    jsontext.Value `json:"eblEnvelope"`
	}
	if err := reread(list, &ws); err != nil {
		return err
	}
	if len(ws) == 0 {
		return malformed("missing", "$", "the chain has no entry")
	}
	b.Entries = make([]Entry, len(ws))
	for i, w := range ws {
		at := fmt.Sprintf("$[%d]", i)
		if w.Hash == nil {
			return malformed("missing", at+".envelopeHash", "missing")
		}
		if w.Signature == nil {
			return malformed("missing", at+".signature", "missing")
		}
		claimed, err := ParseHash(*w.Hash)
		if err != nil {
			return malformed("hash", at+".envelopeHash", "%s", err)
		}
		e, ferr := parseEntry(*w.Signature, limits)
		if ferr != nil {
			return ferr.under(at + ".signature")
		}
		e.Claimed = claimed
		if present(w.Beside) {
			if w.Beside.Kind() != '{' {
				return malformed("type", at+".eblEnvelope", "not an object")
			}
			e.Beside = trimJSON(w.Beside)
		}
		b.Entries[i] = e
	}
	return nil
}

// ParseEntry reads one signed envelope outside a transferblock. Its Claimed hash is
// the normal reading.
func ParseEntry(jws string, limits Limits) (Entry, error) {
	e, err := parseEntry(jws, limits.withDefaults())
	if err != nil {
		return Entry{}, err
	}
	e.Claimed = e.Hash()
	return e, nil
}

func parseEntry(signature string, limits Limits) (Entry, *FormatError) {
	j, err := parseJWS(signature)
	if err != nil {
		return Entry{}, err
	}
	p, err := parsePayload(j.Payload, limits)
	if err != nil {
		return Entry{}, err.under("$.payload")
	}
	return Entry{JWS: j, Payload: p}, nil
}

// A Payload is what an envelope says (2022 text, "eblEnvelope").
type Payload struct {
	DocumentHash Hash
	Previous     Hash // previousEnvelopeHash; zero if null or absent
	Linked       bool // previousEnvelopeHash is there: 64 zeros are a hash, and no other null
	Transactions []Transaction
}

// SignedAt is the time that the signature stands for: that of the last transaction.
func (p *Payload) SignedAt() time.Time { return p.Transactions[len(p.Transactions)-1].At }

// An Instruction says what a transaction does to the bill.
type Instruction string

// The instructions of the 2022 text. What each may do is the law of the bill,
// chain.State.Apply.
const (
	Issue         Instruction = "ISSU"
	Transfer      Instruction = "TRNS"
	Surrender     Instruction = "SURR"
	Amend         Instruction = "AMND"
	SwitchToPaper Instruction = "SW2P"
)

// A Transaction is one transfer of control, as its platform wrote it.
type Transaction struct {
	Instruction  Instruction
	Comments     string // at most 255 characters
	At           time.Time
	ToOrder      bool
	PlatformHost identity.Host // the platform that made it
	Transferee   identity.Party
	// TransfereeRaw is the transferee as received, a JSON string or object.
	TransfereeRaw []byte
}

// MaxComments is the limit of a transaction's comments, in characters.
const MaxComments = 255

// largePayload is from where on the transactions of a payload are counted before they are
// read: an array of nothing else would take twelve times its size of memory.
const largePayload = 1 << 20

func parsePayload(data []byte, limits Limits) (Payload, *FormatError) {
	var w struct {
		Document     *string          `json:"documentHash"`
		Previous     *string          `json:"previousEnvelopeHash"`
		Transactions []jsontext.Value `json:"transactions"`
	}
	tooMany := &FormatError{Rule: "limit", Path: "$.transactions", Limit: "transactions", Detail: fmt.Sprintf("more than %d transactions in one entry", limits.Transactions)}
	if err := checkWidth(data, limits); err != nil {
		return Payload{}, err
	}
	if len(data) > largePayload {
		var only struct {
			Transactions jsontext.Value `json:"transactions"`
		}
		if err := decode(data, &only, limits.Depth); err != nil {
			return Payload{}, err
		}
		if tooWide(only.Transactions, 1, limits.Transactions) {
			return Payload{}, tooMany
		}
	}
	if err := decode(data, &w, limits.Depth); err != nil {
		return Payload{}, err
	}
	var p Payload
	var err error
	if w.Document == nil {
		return Payload{}, malformed("missing", "$.documentHash", "missing")
	}
	if p.DocumentHash, err = ParseHash(*w.Document); err != nil {
		return Payload{}, malformed("hash", "$.documentHash", "%s", err)
	}
	if w.Previous != nil {
		if p.Previous, err = ParseHash(*w.Previous); err != nil {
			return Payload{}, malformed("hash", "$.previousEnvelopeHash", "%s", err)
		}
		p.Linked = true
	}
	if len(w.Transactions) == 0 {
		return Payload{}, malformed("missing", "$.transactions", "missing or empty")
	}
	if len(w.Transactions) > limits.Transactions {
		return Payload{}, tooMany
	}
	p.Transactions = make([]Transaction, len(w.Transactions))
	for i, raw := range w.Transactions {
		tx, ferr := parseTransaction(raw)
		if ferr != nil {
			return Payload{}, ferr.under(fmt.Sprintf("$.transactions[%d]", i))
		}
		p.Transactions[i] = tx
	}
	return p, nil
}

// ParseTransaction reads one transaction; the error is a *FormatError.
func ParseTransaction(data []byte) (Transaction, error) {
	if err := checkDepth(data, MaxDepth); err != nil {
		return Transaction{}, err
	}
	tx, err := parseTransaction(data)
	if err != nil {
		return Transaction{}, err
	}
	return tx, nil
}

func parseTransaction(data []byte) (Transaction, *FormatError) {
	var w struct {
		Instruction  *string        `json:"instruction"`
		Action       *string        `json:"action"`
		Comments     *string        `json:"comments"`
		Timestamp    jsontext.Value `json:"timestamp"`
		ToOrder      *bool          `json:"isToOrder"`
		PlatformHost *string        `json:"platformHost"`
		Transferee   jsontext.Value `json:"transferee"`
	}
	if err := reread(data, &w); err != nil {
		return Transaction{}, err
	}
	instruction, ferr := instructionOf(w.Instruction, w.Action)
	if ferr != nil {
		return Transaction{}, ferr
	}
	var tx Transaction
	switch tx.Instruction = Instruction(*instruction); tx.Instruction {
	case Issue, Transfer, Surrender, Amend, SwitchToPaper:
	default:
		return Transaction{}, malformed("instruction", "$.instruction", "not one of ISSU, TRNS, SURR, AMND, SW2P")
	}
	tx.Comments = deref(w.Comments)
	if utf8.RuneCountInString(tx.Comments) > MaxComments {
		return Transaction{}, malformed("comments", "$.comments", "more than %d characters", MaxComments)
	}
	if !present(w.Timestamp) {
		return Transaction{}, malformed("missing", "$.timestamp", "missing")
	}
	var ok bool
	if tx.At, ok = timestampOf(string(trimJSON(w.Timestamp))); !ok {
		return Transaction{}, malformed("timestamp", "$.timestamp", "not an integer from 0 to below 2^63 in plain digits")
	}
	if w.ToOrder == nil {
		return Transaction{}, malformed("missing", "$.isToOrder", "missing")
	}
	tx.ToOrder = *w.ToOrder
	if w.PlatformHost == nil {
		return Transaction{}, malformed("missing", "$.platformHost", "missing")
	}
	var err error
	if tx.PlatformHost, err = identity.ParsePlatformHost(*w.PlatformHost); err != nil {
		return Transaction{}, malformed("host", "$.platformHost", "not https://host[:port][/…] or host[:port]")
	}
	if tx.Transferee, ferr = parseTransferee(w.Transferee); ferr != nil {
		return Transaction{}, ferr.under("$.transferee")
	}
	tx.TransfereeRaw = trimJSON(w.Transferee)
	return tx, nil
}

// ParseTransferee reads a transferee: a JSON string localid@domain[:port], or an
// object with eBLPlatformIdentifier and members of the DCSA Party. Other members of
// the object are tolerated. The error is a *FormatError.
func ParseTransferee(data []byte) (identity.Party, error) {
	if err := checkDepth(data, MaxDepth); err != nil {
		return identity.Party{}, err
	}
	p, err := parseTransferee(data)
	if err != nil {
		return identity.Party{}, err
	}
	return p, nil
}

func parseTransferee(v jsontext.Value) (identity.Party, *FormatError) {
	if !present(v) {
		return identity.Party{}, malformed("missing", "$", "missing")
	}
	if v.Kind() == '"' {
		var s string
		if err := reread(v, &s); err != nil {
			return identity.Party{}, err
		}
		return partyOf(s, "$")
	}
	if v.Kind() != '{' {
		return identity.Party{}, malformed("type", "$", "neither a string nor an object")
	}
	var w struct {
		ID    *string `json:"eBLPlatformIdentifier"`
		Name  *string `json:"partyName"`
		Codes []*struct {
			Provider *string `json:"codeListProvider"`
			Agency   *string `json:"DCSAResponsibleAgencyCode"`
			Code     *string `json:"partyCode"`
			List     *string `json:"codeListName"`
		} `json:"identifyingCodes"`
		Tax1 *string `json:"taxReference1"`
		Tax2 *string `json:"taxReference2"`
	}
	if err := reread(v, &w); err != nil {
		return identity.Party{}, err
	}
	if w.ID == nil {
		return identity.Party{}, malformed("missing", "$.eBLPlatformIdentifier", "missing")
	}
	p, err := partyOf(*w.ID, "$.eBLPlatformIdentifier")
	if err != nil {
		return identity.Party{}, err
	}
	p.Name, p.TaxReference1, p.TaxReference2 = deref(w.Name), deref(w.Tax1), deref(w.Tax2)
	for i, c := range w.Codes {
		if c == nil {
			return identity.Party{}, malformed("type", fmt.Sprintf("$.identifyingCodes[%d]", i), "null is not of the type that belongs here")
		}
		provider := providerOf(c.Provider, c.Agency)
		// A code without its list says nothing that could be compared.
		if provider != "" && deref(c.Code) != "" {
			p.Codes = append(p.Codes, identity.IdentifyingCode{Provider: provider, Code: deref(c.Code), List: deref(c.List)})
		}
	}
	return p, nil
}

func partyOf(id, path string) (identity.Party, *FormatError) {
	parsed, err := identity.ParseIdentifier(id)
	if err != nil {
		return identity.Party{}, malformed("transferee", path, "not localid@domain[:port]: %s", detailOf(err))
	}
	return identity.Party{ID: parsed}, nil
}

// detailOf drops the part of an identity error that quotes the input.
func detailOf(err error) string {
	s := err.Error()
	if i := strings.LastIndex(s, `": `); i >= 0 {
		s = s[i+3:]
	}
	return s
}

// InspectDocument reads of a document what a block's parser reads: the carrier's
// reference and isToOrder (nil if absent). The error is a *FormatError.
func InspectDocument(document []byte) (Reference, *bool, error) {
	// In a block its root is the second level.
	if err := checkDepth(document, MaxDepth-1); err != nil {
		return Reference{}, nil, err
	}
	b := &Transferblock{}
	if err := b.parseDocument(document); err != nil {
		return Reference{}, nil, err.under("$.document")
	}
	return b.Reference, b.ToOrder, nil
}
