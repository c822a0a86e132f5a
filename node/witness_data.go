package node

import (
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/witness"
)

// This file is what each kind of record of the witness holds beside its line.

type issueData struct {
	Document string `json:"document"` // the bytes, which are valid UTF-8
	Issuer   string `json:"issuer"`   // local id
}

type preparedData struct {
	ID          string        `json:"id"`
	User        string        `json:"user"`
	Transferee  string        `json:"transferee"`
	Instruction string        `json:"instruction"`
	BodySum     envelope.Hash `json:"bodySum"`
}

type settledData struct {
	ID     string        `json:"id"` // of the transfer
	State  TransferState `json:"state"`
	By     string        `json:"by"`
	Answer string        `json:"answer,omitempty"`
	// Evidence is what the answer was believed by; absent if its key alone.
	Evidence *identity.Evidence `json:"evidence,omitempty"`
	// Decision is what two operators said, if they settled it.
	Decision *decision `json:"decision,omitempty"`
}

type verdictData struct {
	Evidence *identity.Evidence `json:"evidence,omitempty"`
}

type acceptedData struct {
	Sum envelope.Hash `json:"sum"` // of the request
	// Document is there where the bill was new; Entries are those that were.
	Document string       `json:"document,omitempty"`
	From     int          `json:"from"`
	Entries  []againEntry `json:"entries"`

	bill     int64  // in this database
	document []byte // in the place of Document, where it is written; not copied
}

// size is about how many bytes appendJSON appends.
func (d *acceptedData) size() int {
	n := 256 + len(d.Document)*17/16 + witness.QuotedSize(d.document)
	for _, e := range d.Entries {
		n += 128 + len(e.JWS)
	}
	return n
}

// slim reports whether all of d can be read again from the tables entries and documents.
func (d *acceptedData) slim() bool {
	return d.bill != 0 && !slices.ContainsFunc(d.Entries, func(e againEntry) bool { return e.Evidence != nil })
}

// appendJSON is the JSON of d: encoding/json takes longer for it than all of SQLite.
func (d acceptedData) appendJSON(b []byte) ([]byte, error) {
	b = append(b, `{"sum":"`...)
	b = hex.AppendEncode(b, d.Sum[:])
	b = append(b, '"')
	if d.Document != "" {
		b = witness.AppendQuoted(append(b, `,"document":`...), d.Document)
	} else if len(d.document) > 0 {
		b = witness.AppendQuoted(append(b, `,"document":`...), d.document)
	}
	b = append(b, `,"from":`...)
	b = strconv.AppendInt(b, int64(d.From), 10)
	b = append(b, `,"entries":[`...)
	for i, e := range d.Entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"claimed":"`...)
		b = hex.AppendEncode(b, e.Claimed[:])
		b = append(b, `","jws":`...)
		b = witness.AppendQuoted(b, e.JWS)
		if e.Evidence != nil {
			text, err := json.Marshal(e.Evidence)
			if err != nil {
				return nil, err
			}
			b = append(append(b, `,"evidence":`...), text...)
		}
		b = append(b, '}')
	}
	return append(b, "]}"...), nil
}

type againEntry struct {
	Claimed  envelope.Hash      `json:"claimed"`
	JWS      string             `json:"jws"`
	Evidence *identity.Evidence `json:"evidence,omitempty"`
}

type rejectionData struct {
	Envelope envelope.Hash         `json:"envelope"`
	JWSSum   envelope.Hash         `json:"jwsSum"`
	Sum      envelope.Hash         `json:"sum"` // of the request
	Code     envelope.ResponseCode `json:"code"`
	Refusal  json.RawMessage       `json:"refusal"`
	Branches []branch              `json:"branches,omitempty"`
	// Decision is what two operators said, if they rejected it.
	Decision *decision `json:"decision,omitempty"`
}

// A branch is an entry of another chain of a bill.
type branch struct {
	Index int    `json:"index"`
	JWS   string `json:"jws"`
}

// witnessSettled records that a transfer ended. d.ID is filled in.
func (t *tx) witnessSettled(b *bill, x *transfer, d settledData, jws string) error {
	d.ID, d.Evidence = x.id, x.evidence
	return t.witness(record{kind: recordSettled, document: b.state.Document, head: x.hash, peer: x.peer.String(), jws: jws, data: d})
}

// again is what it takes to accept the block once more.
func (in *incoming) again(bill int64, from int, fresh bool) acceptedData {
	d := acceptedData{Sum: in.sum, From: from, bill: bill}
	if fresh {
		d.document = in.block.Document
	}
	for i, e := range in.block.Entries[from:] {
		d.Entries = append(d.Entries, againEntry{e.Claimed, e.JWS.Raw, in.chain.Entries[from+i].Evidence})
	}
	return d
}
