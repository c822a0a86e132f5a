package main

import (
	"encoding/base64"
	"encoding/json"
	"log"

	"eblnode/testvectors"
)

// A vec is a vector in the making.
type vec struct{ v testvectors.Vector }

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
	return &vec{testvectors.Vector{Spec: spec, Comment: comment, Kind: "block", Expect: "accept", At: clock, Trust: "base"}}
}

func refuse(spec, reason, comment string) *vec {
	a, ok := answers[reason]
	if !ok {
		log.Fatalf("no answer for %s", reason)
	}
	return &vec{testvectors.Vector{Spec: spec, Comment: comment, Kind: "block", Expect: a.expect, Reason: reason, Code: a.code, At: clock, Trust: "base"}}
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
	v.v.State = &testvectors.State{
		Possessor: possessor, Status: status, Issuing: carrier, ToOrder: true,
		Head: sum(b.entries[len(b.entries)-1].payload), Length: len(b.entries), DocumentHash: sum(b.canonical),
	}
	return v
}
