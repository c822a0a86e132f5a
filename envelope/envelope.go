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
