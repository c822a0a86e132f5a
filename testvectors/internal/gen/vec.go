package main

import (
	"encoding/base64"
	"encoding/json"
	"log"
)

// families are the folders of vectors.
var families = []string{"json", "canonical", "signed", "envelope", "chain", "ca", "receipt"}

// A vector is one file; package testvectors says what its members mean. It is
// written down here once more so that this program needs none of its own output to run.
type vector struct {
	Comment      string          `json:"comment"`
	Spec         string          `json:"spec"`
	Kind         string          `json:"kind"`
	Expect       string          `json:"expect"`
	Reason       string          `json:"reason,omitempty"`
	Law          string          `json:"law,omitempty"`
	Code         int             `json:"code,omitempty"`
	Entry        *int            `json:"entry,omitempty"`
	Transaction  *int            `json:"transaction,omitempty"`
	Path         string          `json:"path,omitempty"`
	Flags        []string        `json:"flags,omitempty"`
	At           string          `json:"at,omitempty"`
	Sender       string          `json:"sender,omitempty"`
	Trust        string          `json:"trust,omitempty"`
	Signer       string          `json:"signer,omitempty"`
	Receiver     string          `json:"receiver,omitempty"`
	EnvelopeHash string          `json:"envelopeHash,omitempty"`
	JWS          string          `json:"jws,omitempty"`
	Input        json.RawMessage `json:"input,omitempty"`
	InputText    *string         `json:"inputText,omitempty"`
	InputBase64  *string         `json:"inputBase64,omitempty"`
	Canonical    string          `json:"canonical,omitempty"`
	State        *state          `json:"state,omitempty"`
}

// A state is the bill after an accepted block; of a document, its hash alone.
type state struct {
	Possessor    string `json:"possessor,omitempty"`
	Status       string `json:"status,omitempty"`
	Issuing      string `json:"issuing,omitempty"`
	ToOrder      *bool  `json:"toOrder,omitempty"`
	Head         string `json:"head,omitempty"`
	Length       int    `json:"length,omitempty"`
	DocumentHash string `json:"documentHash"`
}

// A vec is a vector in the making.
type vec struct{ v vector }

// answers are the level and errorCode of each reason.
var answers = map[string]struct {
	expect string
	code   int
}{
	"malformed":          {"malformed", 7001},
	"signerMismatch":     {"chain", 7103},
	"unknownKey":         {"indeterminate", 7103},
	"keyCompromised":     {"indeterminate", 7103},
	"platformNotTrusted": {"indeterminate", 8002},
	"badSignature":       {"signature", 8001},
	"badChainSignature":  {"signature", 8002},
	"badHash":            {"chain", 8002},
	"badLink":            {"chain", 8002},
	"documentMismatch":   {"chain", 8002},
	"notAnIssuer":        {"chain", 8002},
	"unlawful":           {"chain", 8002},
}

func accept(spec, comment string) *vec {
	return &vec{vector{Spec: spec, Comment: comment, Kind: "block", Expect: "accept", At: clock, Trust: "base"}}
}

func refuse(spec, reason, comment string) *vec {
	a, ok := answers[reason]
	if !ok {
		log.Fatalf("no answer for %s", reason)
	}
	return &vec{vector{Spec: spec, Comment: comment, Kind: "block", Expect: a.expect, Reason: reason, Code: a.code, At: clock, Trust: "base"}}
}

func malformed(spec, path, comment string) *vec {
	v := refuse(spec, "malformed", comment)
	v.v.Path = path
	return v
}

func unlawful(spec, law, comment string) *vec {
	v := refuse(spec, "unlawful", comment)
	v.v.Law = law
	return v
}

func (v *vec) at(t string) *vec           { v.v.At = t; return v }
func (v *vec) trust(name string) *vec     { v.v.Trust = name; return v }
func (v *vec) sender(domain string) *vec  { v.v.Sender = domain; return v }
func (v *vec) flags(words ...string) *vec { v.v.Flags = words; return v }
func (v *vec) entry(i int) *vec           { v.v.Entry = &i; return v }
func (v *vec) place(i, t int) *vec        { v.v.Entry, v.v.Transaction = &i, &t; return v }

// block sets an input of which any JSON text will do.
func (v *vec) block(b *bill) *vec { return v.json(b.body().String()) }

func (v *vec) json(text string) *vec { v.v.Input = json.RawMessage(text); return v }

func (v *vec) text(s string) *vec { v.v.InputText = &s; return v }

func (v *vec) bytes(b []byte) *vec {
	s := base64.StdEncoding.EncodeToString(b)
	v.v.InputBase64 = &s
	return v
}

// ends sets the input to b and the state to what b must end in: a bill of
// carrier.example, to order.
func (v *vec) ends(b *bill, possessor, status string) *vec {
	if v.v.Input == nil && v.v.InputText == nil {
		v.block(b)
	}
	v.v.State = &state{
		Possessor: possessor, Status: status, Issuing: carrier, ToOrder: new(true),
		Head: sum(b.entries[len(b.entries)-1].payload), Length: len(b.entries), DocumentHash: sum(b.canonical),
	}
	return v
}
