// Package judge says what a file proves: a transferblock or an evidence bundle, against
// trust entries that the reader holds. It is the whole verdict of eblverify, on the command
// line and in its page.
//
// It does no I/O and reads no clock. The rules, their order and their codes are those of
// docs/BUNDLE.md.
package judge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// A Verdict is what a file comes to.
type Verdict string

// The verdicts; docs/BUNDLE.md, section 2.
const (
	Valid         Verdict = "VALID"
	ValidThen     Verdict = "VALID AT SIGNING TIME" // a key has ended or was revoked since it signed
	Invalid       Verdict = "INVALID"
	Indeterminate Verdict = "INDETERMINATE"
)

// Holds reports whether v says that every rule holds.
func (v Verdict) Holds() bool { return v == Valid || v == ValidThen }

// Options say against what a file is judged.
type Options struct {
	Trust  *identity.Trust // whom the reader believes; nothing in a file adds to it
	Now    time.Time
	Limits envelope.Limits
	// Stop is asked before each signature; true ends the work as INDETERMINATE. nil: never.
	Stop func() bool
	// Journey asks for Report.Journey too: one more look at every signature.
	Journey bool
	// Memory is kept from file to file by whoever judges many; nil: each is judged by itself.
	Memory *Memory
}

// A Report is the verdict on one file, and why. Its JSON form is the output of
// eblverify --json.
type Report struct {
	File    string  `json:"file"`
	Kind    string  `json:"kind"` // transferblock, bundle, archive
	Verdict Verdict `json:"verdict"`
	// Rule is the code of the first broken rule, or of what is missing (docs/BUNDLE.md):
	// Reason, and Law or another part. Detail is a sentence for a person.
	Rule   string `json:"rule,omitempty"`
	Reason string `json:"reason,omitempty"`
	Law    string `json:"law,omitempty"`
	Detail string `json:"detail,omitempty"`
	// The place, counted from 0; Entry and Transaction are -1 where none is meant, the
	// others nil.
	Entry       int    `json:"entry"`
	Transaction int    `json:"transaction"`
	Step        *int   `json:"step,omitempty"`
	Receipt     *int   `json:"receipt,omitempty"`
	Rejection   *int   `json:"rejection,omitempty"`
	Branch      *int   `json:"branch,omitempty"`
	Path        string `json:"jsonPath,omitempty"`

	Document  string  `json:"documentHash,omitempty"`
	Carrier   string  `json:"carrierCode,omitempty"`
	Reference string  `json:"transportDocumentReference,omitempty"`
	State     *State  `json:"state,omitempty"`
	Entries   []Entry `json:"entries,omitempty"`
	Steps     []Entry `json:"steps,omitempty"` // since the last entry, not sealed yet
	// Lapsed are the keys that make the verdict ValidThen.
	Lapsed []Lapse `json:"lapsed,omitempty"`
	Forks  []Fork  `json:"forks,omitempty"`
	Made   *Made   `json:"made,omitempty"`
	Checks []Check `json:"checks,omitempty"`

	// Journey is every entry as it stands in the file, each looked at by itself, also
	// where the verdict is not good. Nothing in it says who is in control.
	Journey []Leg `json:"-"`
	// Text is the document as it stands in the file; nil where it is not there.
	Text []byte `json:"-"`
}

// A State is who is in control, as far as the file goes.
type State struct {
	Status     string `json:"status"`
	Possessor  string `json:"possessor"` // "" once the bill is void
	Issuing    string `json:"issuingPlatform"`
	ReturnedBy string `json:"returnedBy,omitempty"`
	ToOrder    bool   `json:"isToOrder"`
	Head       string `json:"head,omitempty"`
	Length     int    `json:"length"`
	// Settled: the last entry has a receipt, a step after it, or the carrier's verdict. Where
	// it has none its addressee may still reject it, and control returns to its sender.
	Settled bool `json:"settled"`
	// AsOf is when the newest entry, step or carrier's verdict of the file was signed. Whoever
	// handed it over can have left out what came later.
	AsOf   string `json:"asOf"`
	Honour string `json:"verdict,omitempty"` // surrendered, amended, paper
	// ReplacedBy is the document that replaces an amended bill.
	ReplacedBy string `json:"replacedBy,omitempty"`
}

// An Entry is a verified entry, or a verified step.
type Entry struct {
	Signer       string        `json:"signer"`
	Key          string        `json:"kid"`
	Fingerprint  string        `json:"keyFingerprint"`
	SignedAt     string        `json:"signedAt"`
	EnvelopeHash string        `json:"envelopeHash,omitempty"`
	Transactions []Transaction `json:"transactions"`
}

// A Transaction is one transfer of control in a verified entry.
type Transaction struct {
	Instruction string `json:"instruction"`
	Transferee  string `json:"transferee"`
	At          string `json:"at"`
	Comments    string `json:"comments,omitempty"`
}

// A Lapse is a key that signed well and could not sign today.
type Lapse struct {
	Platform    string `json:"platform"`
	Key         string `json:"kid"`
	Fingerprint string `json:"keyFingerprint"`
	Why         string `json:"why"`
}

// Made is who says to have made a bundle.
type Made struct {
	By        string `json:"by"`
	At        string `json:"at"`
	Selection string `json:"selection"`
	// Signature is good, none, unknown (no such platform or key here) or bad. The verdict
	// does not depend on it.
	Signature string `json:"signature"`
}

// A Result is what a check came to.
type Result string

// The results. Info and Unjudged change no verdict.
const (
	OK       Result = "ok"
	Failed   Result = "failed"
	Missing  Result = "missing"  // something to judge it is missing
	Unjudged Result = "unjudged" // of a platform or key that the reader does not have
	Info     Result = "info"
)

// A Check is one thing that was looked at, in the order of looking.
type Check struct {
	What   string `json:"what"`
	Result Result `json:"result"`
	Detail string `json:"detail,omitempty"`
}

// File judges one file. It never fails: what is wrong with it is the verdict.
func File(body []byte, o Options) *Report {
	if o.Memory == nil {
		o.Memory = &Memory{}
	}
	if envelope.IsBundle(body) {
		return bundle(body, o)
	}
	return block(body, o)
}

func newReport(kind string) *Report {
	return &Report{Kind: kind, Entry: -1, Transaction: -1}
}

// block is the verdict on a transferblock. It and the node call the same two functions.
func block(body []byte, o Options) *Report {
	r := newReport("transferblock")
	b, err := envelope.Parse(body, o.Limits)
	if err != nil {
		return r.malformed(err)
	}
	r.check("the shape of everything", OK, "")
	j := &judging{Report: r, o: o, b: &envelope.Bundle{Block: *b}}
	j.describe()
	if j.chain(nil) {
		j.conclude()
	}
	j.picture()
	return r
}

func (r *Report) check(what string, result Result, detail string) {
	r.Checks = append(r.Checks, Check{what, result, detail})
}

func (r *Report) malformed(err error) *Report {
	r.Verdict, r.Reason, r.Rule, r.Detail = Invalid, "malformed", "malformed", err.Error()
	if f, ok := errors.AsType[*envelope.FormatError](err); ok {
		r.Path, r.Detail = f.Path, f.Detail
		if f.Rule != "" {
			r.Rule += "/" + f.Rule
		}
	}
	r.check("the shape of everything", Failed, r.Detail)
	return r
}

// A judging is one bundle, or block, under way.
type judging struct {
	*Report
	o     Options
	b     *envelope.Bundle
	got   *chain.Chain // nil: there is no entry, or not verified
	steps []chain.Step
	state chain.State
	// receipted are the entries with a receipt, and refused the envelopes, by the SHA-256
	// of the payload, with a rejection by their addressee; only what was verified.
	receipted map[int]bool
	refused   map[envelope.Hash][]refusal
	newest    time.Time // of entries and steps
	proofs    []proof   // nil: not looked for yet
	// reach is up to which entry the links hold, from each on; made with proofs.
	reach []int
	// placed are the entries of the chain and the branches, by the SHA-256 of the payload.
	placed map[envelope.Hash][]placed
	// checked are the newest checks of the file by the JWS, pool its certificates and answers.
	checked map[envelope.Hash]*envelope.Check
	pool    map[envelope.Hash][]byte
}

// describe notes what the file says of the bill, to name it by.
func (j *judging) describe() {
	j.Text = j.b.Block.Document
	for i := range j.b.Block.Entries {
		if t := j.b.Block.Entries[i].Payload.SignedAt(); t.After(j.newest) {
			j.newest = t
		}
	}
	for i := range j.b.Steps {
		if t := j.b.Steps[i].Transaction.At; t.After(j.newest) {
			j.newest = t
		}
	}
}

// chain verifies the entries; false where that is the verdict.
func (j *judging) chain(known func(int, string) envelope.Known) bool {
	if len(j.b.Block.Entries) == 0 {
		return true
	}
	said := j.b.DocumentHash
	if said.IsZero() && j.Kind == "bundle" && j.b.Block.Document != nil {
		// To chain.Verify zero is a block, which says no hash. This too is the hash of nothing.
		said[0] = 1
	}
	c, err := chain.Verify(&j.b.Block, chain.Options{Trust: j.o.Trust, Now: j.o.Now, Known: known, DocumentHash: said, Stop: j.o.Stop})
	if err != nil {
		return j.refuse(err, "the chain")
	}
	j.got, j.state = c, c.State
	for i := range c.Entries {
		e := &c.Entries[i]
		if j.stopped() { // answers are read once more: a file can make that long
			return j.late()
		}
		j.lapse(e.Key, j.b.Block.Entries[i].JWS.Raw)
		j.Entries = append(j.Entries, entryOf(e, &j.b.Block.Entries[i]))
		j.check(fmt.Sprintf("entry %d: signed by %s", i, e.Signer), OK, fmt.Sprintf("key %s, valid for signing at %s", e.Key.ID, stamp(e.SignedAt)))
	}
	j.check("every hash and link, back to the issuance", OK, "")
	j.check("the law of the bill, every transaction", OK, "")
	return true
}

// refuse makes err the verdict; it returns false, so that callers end with it.
func (j *judging) refuse(err error, what string) bool {
	j.State, j.Entries, j.Steps, j.Lapsed = nil, nil, nil, nil
	e, ok := errors.AsType[*chain.Error](err)
	if !ok {
		j.Verdict, j.Reason, j.Rule, j.Detail = Indeterminate, "internal", "internal", err.Error()
		j.check(what, Missing, j.Detail)
		return false
	}
	j.Verdict = Invalid
	result := Failed
	if e.Reason.Indeterminate() {
		j.Verdict, result = Indeterminate, Missing
	}
	j.Reason, j.Law, j.Rule, j.Entry, j.Transaction, j.Detail = string(e.Reason), string(e.Law), e.Rule(), e.Entry, e.Transaction, e.Detail
	if e.Entry >= 0 {
		j.Path = j.pathOf(e)
		what = fmt.Sprintf("entry %d", e.Entry)
		if e.Transaction >= 0 {
			what += fmt.Sprintf(", transaction %d", e.Transaction)
		}
	}
	j.check(what, result, j.Detail)
	return false
}

// pathOf is the place of e, by the name that the chain has in this file.
func (j *judging) pathOf(e *chain.Error) string {
	field := j.b.Block.Field
	if j.Kind == "bundle" {
		field = "chain"
		if e.Reason == chain.DocumentMismatch && e.Part == "bundle" {
			return "$.documentHash"
		}
	}
	return strings.Replace(e.Path(), "$.endorsementChain", "$."+field, 1)
}

// broken makes a rule of a bundle the verdict.
func (j *judging) broken(v Verdict, reason, part, what, format string, args ...any) bool {
	j.State, j.Entries, j.Steps, j.Lapsed = nil, nil, nil, nil
	j.Verdict, j.Reason, j.Rule, j.Detail = v, reason, reason, fmt.Sprintf(format, args...)
	if part != "" {
		j.Rule += "/" + part
	}
	result := Failed
	if v == Indeterminate {
		result = Missing
	}
	j.check(what, result, j.Detail)
	return false
}

// conclude writes the verdict where every rule holds.
func (j *judging) conclude() {
	s := j.state
	j.Document = s.Document.String()
	j.Carrier, j.Reference = j.b.Block.Reference.CarrierCode, j.b.Block.Reference.Number
	j.State = &State{AsOf: stamp(j.newest), Status: string(s.Status), Issuing: s.Issuing.String(), ToOrder: s.ToOrder, Length: s.Length,
		Settled: s.Length == 0 || j.receipted[s.Length-1] || len(j.steps) > 0 || s.Status == chain.Void}
	if !s.Head.IsZero() {
		j.State.Head = s.Head.String()
	}
	if !s.Possessor.IsZero() {
		j.State.Possessor = s.Possessor.String()
	}
	if !s.ReturnedBy.IsZero() {
		j.State.ReturnedBy = s.ReturnedBy.String()
	}
	if v := j.b.Verdict; v != nil {
		j.State.Honour, j.State.AsOf = string(v.Verdict.Kind), stamp(v.Verdict.At)
		if !v.Verdict.ReplacedBy.IsZero() {
			j.State.ReplacedBy = v.Verdict.ReplacedBy.String()
		}
	}
	j.Verdict = Valid
	if len(j.Lapsed) > 0 {
		j.Verdict = ValidThen
	}
}

// lapse notes a key that signed this JWS well and could not sign now.
func (j *judging) lapse(k *identity.Key, jws string) {
	why, revoked := "", j.revokedSince(k, jws)
	switch {
	case k.Compromised():
		why = "reported stolen, after what it signed was in the hands of others"
	case !k.Revoked.IsZero() && !j.o.Now.Before(k.Revoked):
		why = "revoked on " + stamp(k.Revoked)
	case !revoked.IsZero() && !j.o.Now.Before(revoked):
		why = "its certificate was revoked on " + stamp(revoked)
	case !k.NotAfter.IsZero() && j.o.Now.After(k.NotAfter):
		why = "ended on " + stamp(k.NotAfter)
	default:
		return
	}
	l := Lapse{Platform: k.Platform.String(), Key: k.ID, Fingerprint: k.Fingerprint(), Why: why}
	for _, o := range j.Lapsed {
		if o == l {
			return
		}
	}
	j.Lapsed = append(j.Lapsed, l)
}

func entryOf(e *chain.Entry, wire *envelope.Entry) Entry {
	out := Entry{Signer: e.Signer.String(), Key: e.Key.ID, Fingerprint: e.Key.Fingerprint(), SignedAt: stamp(e.SignedAt), EnvelopeHash: e.Claimed.String()}
	for i, tx := range e.Transactions {
		out.Transactions = append(out.Transactions, transactionOf(tx, wire.Payload.Transactions[i].Comments))
	}
	return out
}

func transactionOf(tx chain.Transaction, comments string) Transaction {
	return Transaction{string(tx.Instruction), tx.Transferee.String(), stamp(tx.At), comments}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
