package envelope

import (
	"crypto/sha256"
	"fmt"
	"strconv"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// NewTransaction writes a transaction in RFC 8785 form, as we sign it. transferee
// is a JSON string or object as [ParseTransferee] takes it. The timestamp is cut to
// milliseconds. What is returned parses back to the same transaction; the error is
// a *FormatError where a value cannot stand on the wire.
func NewTransaction(tx Transaction, transferee []byte) ([]byte, error) {
	w := struct {
		Comments     string         `json:"comments,omitempty"`
		Instruction  Instruction    `json:"instruction"`
		ToOrder      bool           `json:"isToOrder"`
		PlatformHost string         `json:"platformHost"`
		Timestamp    int64          `json:"timestamp"`
		Transferee   jsontext.Value `json:"transferee"`
	}{tx.Comments, tx.Instruction, tx.ToOrder, "https://" + tx.PlatformHost.String(), tx.At.UnixMilli(), transferee}
	data, err := json.Marshal(w)
	if err != nil {
		return nil, jsonError(err)
	}
	if data, err = Canonicalize(data); err != nil {
		return nil, err
	}
	if _, err := ParseTransaction(data); err != nil {
		return nil, err
	}
	return data, nil
}

// Seal signs transactions, exactly as they stand, into the next envelope of a chain.
// previous is the envelopeHash of the entry before, as it stood on the wire, and the
// zero Hash for the first entry.
//
// Whoever seals two envelopes with one previous has signed a fork: the caller must
// have locked the bill first.
func Seal(document, previous Hash, transactions [][]byte, s *identity.Signer) (Entry, error) {
	if len(transactions) == 0 {
		return Entry{}, malformed("missing", "$.transactions", "missing or empty")
	}
	payload := []byte(`{"documentHash":"` + document.String() + `","previousEnvelopeHash":`)
	if previous.IsZero() {
		payload = append(payload, "null"...)
	} else {
		payload = append(payload, `"`+previous.String()+`"`...)
	}
	payload = append(payload, `,"transactions":[`...)
	for i, tx := range transactions {
		if i > 0 {
			payload = append(payload, ',')
		}
		payload = append(payload, tx...)
	}
	payload = append(payload, "]}"...)
	raw, err := sign(payload, s, "", time.Time{})
	if err != nil {
		return Entry{}, fmt.Errorf("sealing an envelope: %w", err)
	}
	return ParseEntry(raw, Limits{Transactions: len(transactions)})
}

// Marshal writes the body that sends the block: the document and each signature as
// they are held, byte for byte. The same block always gives the same bytes. oldField
// writes the spelling of the 2022 prose, for the peers whose trust entry asks for it.
func (b *Transferblock) Marshal(oldField bool) []byte {
	field, size := chainField, 64+len(b.Document)
	if oldField {
		field = oldChainField
	}
	for i := range b.Entries {
		size += 128 + len(b.Entries[i].JWS.Raw)
	}
	out := make([]byte, 0, size)
	out = append(out, `{"document":`...)
	out = append(out, b.Document...)
	out = append(out, `,"`+field+`":[`...)
	for i := range b.Entries {
		if i > 0 {
			out = append(out, ',')
		}
		e := &b.Entries[i]
		out = append(out, `{"envelopeHash":"`+e.Claimed.String()+`","signature":"`...)
		out = append(out, e.JWS.Raw...) // base64url and dots: nothing to escape
		out = append(out, `"}`...)
	}
	return append(out, "]}"...)
}

// WritesOldField reports whether p's trust entry asks for the old spelling.
func WritesOldField(p *identity.Platform) bool { return p.Quirks.ChainField == oldChainField }

// RequestSum identifies a request for the rule "same question, same answer": the
// document, and of each entry the claimed hash, the signature and what stood beside
// it, byte for byte; the white space and member order of the wrapper play no part. b must
// be parsed: of a signature its two parts go in, the hash of what it covers and itself.
func (b *Transferblock) RequestSum() Hash {
	h := sha256.New()
	buf := append(strconv.AppendInt(make([]byte, 0, 1024), int64(len(b.Document)), 10), ':')
	h.Write(buf)
	h.Write(b.Document)
	if b.prefix != nil {
		h.Write(b.prefix.sums)
	}
	for i := b.Known(); i < len(b.Entries); i++ {
		e := &b.Entries[i]
		buf = e.appendSum(buf[:0], len(e.Beside))
		h.Write(buf)
		h.Write(e.Beside)
	}
	return Hash(h.Sum(nil))
}
