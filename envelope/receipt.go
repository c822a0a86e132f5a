package envelope

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

// The typ of what we sign beside envelopes. Each kind has its own, so that none can
// be taken for another.
const (
	TypReceipt   = "eblnode-receipt+jws"
	TypRejection = "eblnode-rejection+jws"
	TypVerdict   = "eblnode-verdict+jws"
	TypStep      = "eblnode-step+jws"
	TypBundle    = "eblnode-bundle+jws"
)

// SignReceipt signs that the envelope was accepted: the payload is the bare
// envelopeHash text of the chain's last entry as it was received (wire document,
// section 6). Signing twice gives other bytes; a receipt is signed once and stored.
func SignReceipt(claimed Hash, s *identity.Signer, at time.Time) (string, error) {
	return sign([]byte(claimed.String()), s, TypReceipt, at)
}

// OpenReceipt verifies a receipt for the envelope that we sent to p. body is the
// answer as it came: the JWS bare or as a JSON string, with white space around it.
// Only a nil error means that p took control; the error is a *FormatError or a
// *SignatureError, and the transfer stays in doubt.
func OpenReceipt(body []byte, want Hash, p *identity.Platform, at time.Time) (JWS, error) {
	return OpenReceiptBetween(body, want, p, at, at)
}

// OpenReceiptBetween is OpenReceipt for a receipt that was made somewhen from our sealing
// of the envelope (from) until now (to). It matters where the receipt has no iat: a
// receipt that is given again for ever outlives the key that made it, and counts if that
// key could sign at either end of the time.
func OpenReceiptBetween(body []byte, want Hash, p *identity.Platform, from, to time.Time) (JWS, error) {
	text := bytes.Trim(body, jsonSpace)
	if len(text) > 0 && text[0] == '"' {
		var s string
		if err := decode(text, &s, 1); err != nil {
			return JWS{}, err
		}
		text = []byte(s)
	}
	j, err := parseJWS(string(text))
	if err != nil {
		return JWS{}, err
	}
	if j.Header.Typ != "" && j.Header.Typ != TypReceipt && isOurs(j.Header.Typ) {
		return JWS{}, malformed("typ", "$.header.typ", "this is a %s, not a receipt", j.Header.Typ)
	}
	if string(j.Payload) != want.String() {
		return JWS{}, malformed("value", "$.payload", "the receipt is not for the envelope that we sent")
	}
	_, verdict := j.Verify(p, signedAt(j, to), false)
	if verdict != nil && j.Header.IsAt.IsZero() && from.Before(to) {
		_, verdict = j.Verify(p, from, false)
	}
	if verdict != nil {
		return JWS{}, verdict
	}
	return j, nil
}

func isOurs(typ string) bool {
	switch typ {
	case TypReceipt, TypRejection, TypVerdict, TypStep, TypRoot, TypBundle, TypAssertion, TypAccess:
		return true
	}
	return false
}

// signedAt is the time for which the key of an answer is judged: its iat, if it has
// one that is not ahead of ours, else the time at which we look.
func signedAt(j JWS, now time.Time) time.Time {
	if iat := j.Header.IsAt; !iat.IsZero() && iat.Before(now) {
		return iat
	}
	return now
}

// A ResponseCode is the code of a signed rejection.
type ResponseCode string

// The closed list. BSIG and BENV give the sender its bill back; DISE never does.
const (
	BadSignatureCode ResponseCode = "BSIG"
	BadEnvelopeCode  ResponseCode = "BENV"
	DisputeCode      ResponseCode = "DISE"
)

// A Rejection is a signed no to a transfer. Both hashes are computed by the
// receiver, never copied from the request.
type Rejection struct {
	EnvelopeHash Hash // SHA-256 of the payload bytes
	JWSSum       Hash // SHA-256 of the compact JWS, so that it is about these bytes alone
	Sender       identity.Host
	Receiver     identity.Host
	Code         ResponseCode
	Reason       string
	At           time.Time
}

// SignRejection signs r. What the receiver signed it must never take back: store it
// in the transaction that checks that the envelope was not accepted.
func SignRejection(r Rejection, s *identity.Signer) (string, error) {
	payload, err := canonicalOf(map[string]string{
		"envelopeHash":  r.EnvelopeHash.String(),
		"jwsSha256":     r.JWSSum.String(),
		"sender":        r.Sender.String(),
		"receiver":      r.Receiver.String(),
		"responseCode":  string(r.Code),
		"reason":        r.Reason,
		"errorDateTime": r.At.UTC().Format(wireTime),
	})
	if err != nil {
		return "", err
	}
	return sign(payload, s, TypRejection, r.At)
}

const wireTime = "2006-01-02T15:04:05.000Z07:00"

// jsonSpace is the white space of JSON, and all that may stand around an answer:
// unicode.IsSpace knows more, and other languages know other.
const jsonSpace = " \t\r\n"

// OpenRejection verifies a rejection signed by p. It does not say that the rejection
// is about our transfer: compare hash, bytes, sender and receiver before control
// moves back ([Rejection.Answers]).
func OpenRejection(jws string, p *identity.Platform, at time.Time) (Rejection, error) {
	j, r, err := rejectionOf(jws)
	if err != nil {
		return Rejection{}, err
	}
	if _, err := j.Verify(p, signedAt(j, at), false); err != nil {
		return Rejection{}, err
	}
	return r, nil
}

// rejectionOf reads a rejection without verifying it.
func rejectionOf(jws string) (JWS, Rejection, *FormatError) {
	j, err := parseJWS(jws)
	if err != nil {
		return JWS{}, Rejection{}, err
	}
	if j.Header.Typ != TypRejection {
		return JWS{}, Rejection{}, malformed("typ", "$.header.typ", "not %s", TypRejection)
	}
	r, err := parseRejection(j.Payload)
	if err != nil {
		return JWS{}, Rejection{}, err.under("$.payload")
	}
	return j, r, nil
}

func parseRejection(data []byte) (Rejection, *FormatError) {
	var w struct {
		EnvelopeHash *Hash          `json:"envelopeHash"`
		JWSSum       *Hash          `json:"jwsSha256"`
		Sender       *identity.Host `json:"sender"`
		Receiver     *identity.Host `json:"receiver"`
		Code         ResponseCode   `json:"responseCode"`
		Reason       *string        `json:"reason"`
		At           string         `json:"errorDateTime"`
	}
	if err := decode(data, &w, 4); err != nil {
		return Rejection{}, err
	}
	if w.EnvelopeHash == nil || w.JWSSum == nil || w.Sender == nil || w.Receiver == nil || w.Reason == nil {
		return Rejection{}, malformed("missing", "$", "envelopeHash, jwsSha256, sender, receiver or reason is missing")
	}
	switch w.Code {
	case BadSignatureCode, BadEnvelopeCode, DisputeCode:
	default:
		return Rejection{}, malformed("value", "$.responseCode", "not one of BSIG, BENV, DISE")
	}
	at, ok := identity.ParseTime(w.At)
	if !ok {
		return Rejection{}, malformed("time", "$.errorDateTime", "not an RFC 3339 time")
	}
	return Rejection{EnvelopeHash: *w.EnvelopeHash, JWSSum: *w.JWSSum, Sender: *w.Sender, Receiver: *w.Receiver, Code: w.Code, Reason: *w.Reason, At: at}, nil
}

// Answers reports whether r is about this entry, sent by sender to receiver. A
// rejection made by somebody else, for other bytes, or for another pair of platforms
// answers nothing.
func (r Rejection) Answers(e *Entry, sender, receiver identity.Host) bool {
	return r.EnvelopeHash == e.Hash() && r.JWSSum == HashOf([]byte(e.JWS.Raw)) && r.Sender == sender && r.Receiver == receiver
}

// A VerdictKind is the carrier's yes to a return.
type VerdictKind string

// The kinds of verdict; each is final.
const (
	Surrendered VerdictKind = "surrendered"
	Amended     VerdictKind = "amended"
	Paper       VerdictKind = "paper"
)

// A Verdict is the carrier's signed yes to SURR, AMND or SW2P (wire document,
// section 8). After it the bill is void.
type Verdict struct {
	DocumentHash Hash
	EnvelopeHash Hash // the entry by which the bill was returned; zero where it never left the platform
	Kind         VerdictKind
	ReplacedBy   Hash // the document that replaces an amended bill; zero otherwise
	At           time.Time
}

// SignVerdict signs v.
func SignVerdict(v Verdict, s *identity.Signer) (string, error) {
	m := map[string]string{
		"documentHash": v.DocumentHash.String(),
		"verdict":      string(v.Kind),
		"at":           v.At.UTC().Format(wireTime),
	}
	if !v.EnvelopeHash.IsZero() {
		m["envelopeHash"] = v.EnvelopeHash.String()
	}
	if !v.ReplacedBy.IsZero() {
		m["replacedBy"] = v.ReplacedBy.String()
	}
	payload, err := canonicalOf(m)
	if err != nil {
		return "", err
	}
	return sign(payload, s, TypVerdict, v.At)
}

// OpenVerdict verifies a verdict signed by p, which must be the platform that issued
// the bill; the caller compares hash and state.
func OpenVerdict(jws string, p *identity.Platform, at time.Time) (Verdict, error) {
	j, v, err := verdictOf(strings.Trim(jws, jsonSpace))
	if err != nil {
		return Verdict{}, err
	}
	if _, err := j.Verify(p, v.At, false); err != nil {
		return Verdict{}, err
	}
	if v.At.After(at.Add(ClockSkew)) {
		return Verdict{}, malformed("value", "$.payload.at", "the verdict is dated after now")
	}
	return v, nil
}

// ClockSkew is how far the clocks of two platforms may differ.
const ClockSkew = 5 * time.Minute

// verdictOf reads a verdict without verifying it.
func verdictOf(jws string) (JWS, Verdict, *FormatError) {
	j, err := parseJWS(jws)
	if err != nil {
		return JWS{}, Verdict{}, err
	}
	if j.Header.Typ != TypVerdict {
		return JWS{}, Verdict{}, malformed("typ", "$.header.typ", "not %s", TypVerdict)
	}
	v, err := parseVerdict(j.Payload)
	if err != nil {
		return JWS{}, Verdict{}, err.under("$.payload")
	}
	return j, v, nil
}

func parseVerdict(data []byte) (Verdict, *FormatError) {
	var w struct {
		DocumentHash *Hash       `json:"documentHash"`
		EnvelopeHash *Hash       `json:"envelopeHash"`
		Kind         VerdictKind `json:"verdict"`
		ReplacedBy   *Hash       `json:"replacedBy"`
		At           string      `json:"at"`
	}
	if err := decode(data, &w, 4); err != nil {
		return Verdict{}, err
	}
	if w.DocumentHash == nil {
		return Verdict{}, malformed("missing", "$.documentHash", "missing")
	}
	switch w.Kind {
	case Surrendered, Amended, Paper:
	default:
		return Verdict{}, malformed("value", "$.verdict", "not one of surrendered, amended, paper")
	}
	at, ok := identity.ParseTime(w.At)
	if !ok {
		return Verdict{}, malformed("time", "$.at", "not an RFC 3339 time")
	}
	for _, h := range []*Hash{w.EnvelopeHash, w.ReplacedBy} {
		if err := notZero(h, "$"); err != nil {
			return Verdict{}, err
		}
	}
	v := Verdict{DocumentHash: *w.DocumentHash, Kind: w.Kind, At: at}
	if w.EnvelopeHash != nil {
		v.EnvelopeHash = *w.EnvelopeHash
	}
	if w.ReplacedBy != nil {
		v.ReplacedBy = *w.ReplacedBy
	}
	return v, nil
}

// A Step is one transaction inside a platform, signed from the moment it happens. Steps
// are linked; when the bill leaves they are sealed, as they stand, into one envelope.
type Step struct {
	DocumentHash Hash
	Head         Hash // Hash of the last entry of the chain; zero before the first
	Index        int  // from 0, since that head
	Previous     Hash // HashOf the JWS of the step before; zero for index 0
	Transaction  []byte
	By           StepBy // who acted in the user's name; zero: the user itself
}

// A StepBy says who did a step in a user's name, and by which token.
type StepBy struct {
	System   string `json:"system,omitempty"`     // a registered system of the user's
	Customer string `json:"onBehalfOf,omitempty"` // the user, as the system names it
	Person   string `json:"userId,omitempty"`     // at the customer, as the system says
	Token    string `json:"tokenId,omitempty"`
	Approver string `json:"approvedBy,omitempty"` // the second person, where there had to be one
}

// SignStep signs st.
func SignStep(st Step, s *identity.Signer, at time.Time) (string, error) {
	m := map[string]any{
		"documentHash": st.DocumentHash.String(),
		"index":        st.Index,
		"transaction":  jsontext.Value(st.Transaction),
	}
	if !st.Head.IsZero() {
		m["head"] = st.Head.String()
	}
	if !st.Previous.IsZero() {
		m["previous"] = st.Previous.String()
	}
	if st.By != (StepBy{}) {
		m["by"] = st.By
	}
	payload, err := canonicalOf(m)
	if err != nil {
		return "", err
	}
	return sign(payload, s, TypStep, at)
}

// OpenStep verifies a step signed by p.
func OpenStep(jws string, p *identity.Platform) (Step, error) {
	j, st, tx, err := stepOf(jws, Limits{}.withDefaults())
	if err != nil {
		return Step{}, err
	}
	if _, err := j.Verify(p, tx.At, true); err != nil {
		return Step{}, err
	}
	return st, nil
}

// stepOf reads a step without verifying it.
func stepOf(jws string, limits Limits) (JWS, Step, Transaction, *FormatError) {
	none := func(err *FormatError) (JWS, Step, Transaction, *FormatError) {
		return JWS{}, Step{}, Transaction{}, err
	}
	j, err := parseJWS(jws)
	if err != nil {
		return none(err)
	}
	if j.Header.Typ != TypStep {
		return none(malformed("typ", "$.header.typ", "not %s", TypStep))
	}
	var w struct {
		DocumentHash *Hash          `json:"documentHash"`
		Head         *Hash          `json:"head"`
		Index        *int           `json:"index"`
		Previous     *Hash          `json:"previous"`
		Transaction  jsontext.Value `json:"transaction"`
		By           jsontext.Value `json:"by"`
	}
	if err := decode(j.Payload, &w, limits.Depth); err != nil {
		return none(err.under("$.payload"))
	}
	if w.DocumentHash == nil || w.Index == nil || !present(w.Transaction) {
		return none(malformed("missing", "$.payload", "documentHash, index or transaction is missing"))
	}
	if *w.Index < 0 {
		return none(malformed("value", "$.payload.index", "below zero"))
	}
	for _, h := range []*Hash{w.Head, w.Previous} {
		if err := notZero(h, "$.payload"); err != nil {
			return none(err)
		}
	}
	tx, err := parseTransaction(w.Transaction)
	if err != nil {
		return none(err.under("$.payload.transaction"))
	}
	st := Step{DocumentHash: *w.DocumentHash, Index: *w.Index, Transaction: trimJSON(w.Transaction)}
	if w.By.Kind() == '{' {
		_ = reread(w.By, &st.By) // a remark: no rule looks at it
	}
	if w.Head != nil {
		st.Head = *w.Head
	}
	if w.Previous != nil {
		st.Previous = *w.Previous
	}
	return j, st, tx, nil
}

// canonicalOf writes one of our own payloads.
func canonicalOf(v any) ([]byte, error) {
	data, err := marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding a payload: %w", err)
	}
	return canonical(data)
}

// VerdictSubject is the document that a verdict, not verified, is about: it only says
// which bill to look up.
func VerdictSubject(jws string) (Hash, error) {
	j, err := parseJWS(jws)
	if err != nil {
		return Hash{}, err
	}
	v, err := parseVerdict(j.Payload)
	if err != nil {
		return Hash{}, err.under("$.payload")
	}
	return v.DocumentHash, nil
}
