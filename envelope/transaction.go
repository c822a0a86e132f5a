package envelope

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

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
