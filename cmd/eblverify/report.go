package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// The verdicts.
const (
	valid         = "VALID"
	invalid       = "INVALID"
	indeterminate = "INDETERMINATE"
	// Of the evidence of a fork: somebody signed twice, or nobody is shown to have.
	proven  = "PROVEN"
	nothing = "PROVES NOTHING"
)

// A report is the verdict on one block, and why. Its JSON form is the output of --json.
type report struct {
	File    string `json:"file"`
	Verdict string `json:"verdict"`
	// Reason, Law, Entry, Transaction, Path and Detail tell the first broken rule, or what
	// is missing. Entry and Transaction are -1 where none is meant.
	Reason      string `json:"reason,omitempty"`
	Law         string `json:"law,omitempty"`
	Entry       int    `json:"entry"`
	Transaction int    `json:"transaction"`
	Path        string `json:"jsonPath,omitempty"`
	Detail      string `json:"detail,omitempty"`

	Document  string  `json:"documentHash,omitempty"`
	Carrier   string  `json:"carrierCode,omitempty"`
	Reference string  `json:"transportDocumentReference,omitempty"`
	State     *state  `json:"state,omitempty"`
	Entries   []entry `json:"entries,omitempty"`
	Forks     []fork  `json:"forks,omitempty"` // of the evidence of a fork
}

type state struct {
	Status     string `json:"status"`
	Possessor  string `json:"possessor"`
	Issuing    string `json:"issuingPlatform"`
	ReturnedBy string `json:"returnedBy,omitempty"`
	ToOrder    bool   `json:"isToOrder"`
	Head       string `json:"head"`
	Length     int    `json:"length"`
}

type entry struct {
	Signer       string        `json:"signer"`
	Key          string        `json:"kid"`
	Fingerprint  string        `json:"keyFingerprint"`
	SignedAt     string        `json:"signedAt"`
	EnvelopeHash string        `json:"envelopeHash"`
	Transactions []transaction `json:"transactions"`
}

type transaction struct {
	Instruction string `json:"instruction"`
	Transferee  string `json:"transferee"`
	At          string `json:"at"`
	Comments    string `json:"comments,omitempty"`
}

func (r *report) exit() int {
	switch r.Verdict {
	case valid, proven:
		return exitValid
	case invalid, nothing:
		return exitInvalid
	}
	return exitUnsure
}

// judge is the verdict on a block. It and the node call the same two functions.
func judge(body []byte, trust *identity.Trust, at time.Time, limits envelope.Limits) report {
	b, err := envelope.Parse(body, limits)
	if err != nil {
		r := report{Verdict: invalid, Reason: "malformed", Detail: err.Error(), Entry: -1, Transaction: -1}
		if f, ok := errors.AsType[*envelope.FormatError](err); ok {
			r.Path, r.Detail = f.Path, f.Detail
		}
		return r
	}
	c, err := chain.Verify(b, chain.Options{Trust: trust, Now: at})
	if err != nil {
		return refusal(err)
	}
	r := report{Verdict: valid, Entry: -1, Transaction: -1, Document: c.Document.String(), Carrier: b.Reference.CarrierCode, Reference: b.Reference.Number}
	s := c.State
	r.State = &state{Status: string(s.Status), Possessor: s.Possessor.String(), Issuing: s.Issuing.String(), ToOrder: s.ToOrder,
		Head: s.Head.String(), Length: s.Length}
	if !s.ReturnedBy.IsZero() {
		r.State.ReturnedBy = s.ReturnedBy.String()
	}
	for i := range c.Entries {
		r.Entries = append(r.Entries, entryOf(&c.Entries[i], &b.Entries[i]))
	}
	return r
}

func refusal(err error) report {
	r := report{Verdict: invalid, Detail: err.Error(), Entry: -1, Transaction: -1}
	e, ok := errors.AsType[*chain.Error](err)
	if !ok {
		r.Verdict, r.Reason = indeterminate, "internal"
		return r
	}
	if e.Reason.Indeterminate() {
		r.Verdict = indeterminate
	}
	r.Reason, r.Law, r.Entry, r.Transaction, r.Path, r.Detail = string(e.Reason), string(e.Law), e.Entry, e.Transaction, e.Path(), e.Detail
	return r
}

func entryOf(e *chain.Entry, wire *envelope.Entry) entry {
	out := entry{Signer: e.Signer.String(), Key: e.Key.ID, Fingerprint: e.Key.Fingerprint(), SignedAt: e.SignedAt.UTC().Format(time.RFC3339Nano), EnvelopeHash: e.Claimed.String()}
	for i, tx := range e.Transactions {
		out.Transactions = append(out.Transactions, transaction{string(tx.Instruction), tx.Transferee.String(),
			tx.At.UTC().Format(time.RFC3339Nano), wire.Payload.Transactions[i].Comments})
	}
	return out
}

// people writes the report as text.
func (r *report) people(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n", plain(r.File), r.Verdict)
	if r.Verdict == proven || r.Verdict == nothing {
		r.peopleFork(w)
		return
	}
	if r.Verdict != valid {
		reason := r.Reason
		if r.Law != "" {
			reason += "/" + r.Law
		}
		fmt.Fprintf(w, "  %s: %s\n", reason, plain(r.Detail))
		if r.Path != "" {
			fmt.Fprintf(w, "  at %s\n", plain(r.Path))
		}
		return
	}
	s := r.State
	switch {
	case s.ReturnedBy != "":
		fmt.Fprintf(w, "  in control   %s, to whom %s returned it (%s)\n", s.Possessor, s.ReturnedBy, s.Status)
	default:
		fmt.Fprintf(w, "  in control   %s\n", s.Possessor)
	}
	fmt.Fprintln(w, "               as of this chain: what came after it, or the carrier's verdict on a return, is not in it")
	fmt.Fprintf(w, "  document     %s\n", r.Document)
	if r.Reference != "" || r.Carrier != "" {
		fmt.Fprintf(w, "  bill         carrier %s, reference %s\n", plain(r.Carrier), plain(r.Reference))
	}
	fmt.Fprintf(w, "  issued by    %s, to order: %t\n", s.Issuing, s.ToOrder)
	fmt.Fprintf(w, "  because each signature, hash link and transaction of %d entries holds:\n", len(r.Entries))
	for i, e := range r.Entries {
		fmt.Fprintf(w, "  %3d  signed by %s with key %s (%s)\n", i, e.Signer, plain(e.Key), e.Fingerprint)
		for _, t := range e.Transactions {
			fmt.Fprintf(w, "       %s  %s to %s", t.At, t.Instruction, t.Transferee)
			if t.Comments != "" {
				fmt.Fprintf(w, "  \"%s\"", plain(t.Comments))
			}
			fmt.Fprintln(w)
		}
	}
}
