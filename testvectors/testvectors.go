// Package testvectors holds the test vectors of the transferblock for every
// implementation, ours and others: one file, one reason. README.md describes the
// format, schema.json is its JSON Schema. The package only carries the files; it
// imports nothing of ours, so that a fault of ours cannot agree with itself.
package testvectors

import (
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

//go:generate go run ./internal/gen
//go:generate go run ./internal/genbundle
//go:generate go run ./internal/nodejs reader-node/make.mjs

// Files is the folder testdata: keys, trust, and one folder per family.
//
//go:embed testdata
var Files embed.FS

// Families are the folders that hold vectors.
var Families = []string{"json", "canonical", "signed", "envelope", "chain", "ca", "receipt"}

// A Vector is one file. Members that a reader does not know are to be ignored.
type Vector struct {
	// Name is family/file without extension; it stands in the file name only.
	Name string `json:"-"`

	Comment string `json:"comment"`
	Spec    string `json:"spec"` // id of the check in docs/PROTOCOL.md
	// Kind says what Input is: "block", "document", "receipt", "rejection", "verdict".
	Kind string `json:"kind"`
	// Expect is "accept", "malformed", "signature", "chain" or "indeterminate".
	Expect string `json:"expect"`
	Reason string `json:"reason,omitempty"`
	Law    string `json:"law,omitempty"`
	Code   int    `json:"code,omitempty"` // errorCode of the answer
	// Entry and Transaction are the place, from 0; absent where there is none.
	Entry       *int   `json:"entry,omitempty"`
	Transaction *int   `json:"transaction,omitempty"`
	Path        string `json:"path,omitempty"` // JSONPath; advice, not law
	// Flags are words to filter by, such as "quirk" or "ES512".
	Flags []string `json:"flags,omitempty"`
	At    string   `json:"at,omitempty"` // the verifier's clock, RFC 3339
	// Sender is the platform on the connection; absent for an offline verifier.
	Sender string `json:"sender,omitempty"`
	Trust  string `json:"trust,omitempty"` // testdata/trust/NAME.json
	// Signer, and what follows it, belong to receipts, rejections and verdicts: the platform
	// that must have signed, and the transfer that is to be answered.
	Signer       string `json:"signer,omitempty"`
	Receiver     string `json:"receiver,omitempty"`
	EnvelopeHash string `json:"envelopeHash,omitempty"`
	JWS          string `json:"jws,omitempty"`
	// One of the three inputs is there. Input is any JSON text of the value; in the
	// other two the bytes matter.
	Input       json.RawMessage `json:"input,omitempty"`
	InputText   *string         `json:"inputText,omitempty"`
	InputBase64 *string         `json:"inputBase64,omitempty"`
	// Canonical is the RFC 8785 text of an accepted document.
	Canonical string `json:"canonical,omitempty"`
	State     *State `json:"state,omitempty"`
}

// A State is the bill after an accepted block.
type State struct {
	Possessor    string `json:"possessor"` // localid@ and the domain of the trust entry
	Status       string `json:"status"`
	Issuing      string `json:"issuing"`
	ToOrder      bool   `json:"toOrder"`
	Head         string `json:"head"` // SHA-256 of the newest payload, whatever the quirks
	Length       int    `json:"length"`
	DocumentHash string `json:"documentHash"`
}

// A Bundle is one file of the folder bundle: an evidence bundle and its verdict.
type Bundle struct {
	Name string `json:"-"`

	Comment string `json:"comment"`
	Kind    string `json:"kind"`  // "bundle"
	Maker   string `json:"maker"` // "go" or "node": whose encoder wrote it
	// Expect is "valid", "validAtSigningTime", "indeterminate" or "invalid", and Reason the
	// code of the first broken rule, or of what is missing (docs/BUNDLE.md).
	Expect string `json:"expect"`
	Reason string `json:"reason,omitempty"`
	// Place says where, by the name of the member: entry, transaction, step, receipt,
	// rejection, branch; from 0.
	Place map[string]int `json:"place,omitempty"`
	At    string         `json:"at"`
	Trust string         `json:"trust"`
	// Seconds is how long the reader may take; nil: as long as it takes.
	Seconds *int `json:"seconds,omitempty"`
	// One of the two inputs is there.
	InputText   *string `json:"inputText,omitempty"`
	InputBase64 *string `json:"inputBase64,omitempty"`
	// State is who is in control, where the verdict is good. A void bill has no possessor,
	// and one that never left its platform no head.
	State *State `json:"state,omitempty"`
}

// An Archive is one file of the folder archive: a folder of archives, and what is wrong with
// it.
type Archive struct {
	Name string `json:"-"`

	Comment string `json:"comment"`
	// Expect is "valid", "indeterminate" or "invalid": the worst of what is found, and Rules
	// all of it (docs/BUNDLE.md, section 6), sorted, each once.
	Expect string   `json:"expect"`
	Rules  []string `json:"rules"`
	At     string   `json:"at"`
	Trust  string   `json:"trust"`
	Root   string   `json:"root,omitempty"` // the hash of a root that the reader kept
	// Files are the texts by their paths; a path that ends in / is an empty folder.
	Files map[string]string `json:"files"`
}

// An OCSP is one file of the folder ocsp: an answer of a responder, and what it says of one
// certificate at one time.
type OCSP struct {
	Name string `json:"-"`

	Comment string `json:"comment"`
	Spec    string `json:"spec"`
	Expect  string `json:"expect"`           // "accept", or "indeterminate": it says nothing
	Reason  string `json:"reason,omitempty"` // "revocationUnknown"
	At      string `json:"at"`               // the time of the check
	// The certificate that is asked about, its issuer, and the answer, DER.
	Certificate []byte    `json:"certificate"`
	Issuer      []byte    `json:"issuer"`
	Input       []byte    `json:"inputBase64"`
	Status      *Standing `json:"status,omitempty"`
}

// A Standing is what an answer says that counts.
type Standing struct {
	Good    bool   `json:"good"`
	Revoked string `json:"revoked,omitempty"` // since when
	Reason  string `json:"reason,omitempty"`  // the RFC 5280 name
}

// An Exchange is one file of the folder exchange: requests to one receiver, in order, and
// the answer that each must get.
type Exchange struct {
	Name string `json:"-"`

	Comment  string    `json:"comment"`
	Spec     string    `json:"spec"`
	At       string    `json:"at"`
	Trust    string    `json:"trust"`
	Receiver string    `json:"receiver"` // domain of the platform that answers
	Users    []string  `json:"users"`    // its active users, by local id
	Settings Settings  `json:"settings,omitzero"`
	Before   []Before  `json:"before,omitempty"`
	Requests []Request `json:"requests"`
	Bills    []Held    `json:"bills"` // what the receiver knows at the end
}

// Before is a bill that the receiver had a part in before the requests. What it signed
// itself is signed with the key receiver-1.
type Before struct {
	Input json.RawMessage `json:"input"` // the block as the receiver knows it
	// Issuer is the user who issued it, where the receiver did.
	Issuer string `json:"issuer,omitempty"`
	// Verdict is the carrier's, which the receiver holds: the bill is void.
	Verdict string `json:"verdict,omitempty"`
	// AnswersLost: the receiver knows the chain, and no longer what it answered to each block.
	AnswersLost bool `json:"answersLost,omitempty"`
}

// Settings are those of the receiver that are not the usual ones; zero: as usual.
type Settings struct {
	Body            int     `json:"body"`   // bytes of a body at most
	Tokens          bool    `json:"tokens"` // it wants access tokens
	Rate            float64 `json:"rate"`   // requests a second of one peer,
	Burst           int     `json:"burst"`  // and at once
	VerdictsPerHour int     `json:"verdictsPerHour"`
}

// A Request is one request of an exchange.
type Request struct {
	Comment   string            `json:"comment"`
	Sender    string            `json:"sender"`            // the platform on the connection
	Method    string            `json:"method,omitempty"`  // absent: PUT
	Path      string            `json:"path,omitempty"`    // absent: /v1/transferblocks
	Headers   map[string]string `json:"headers,omitempty"` // beside, or in place of, Content-Type: application/json
	Input     json.RawMessage   `json:"input,omitempty"`
	InputText *string           `json:"inputText,omitempty"`
	Answer    Answer            `json:"answer"`
}

// Bytes is the body; none where the request has none.
func (r *Request) Bytes() []byte {
	if r.InputText != nil {
		return []byte(*r.InputText)
	}
	return r.Input
}

// An Answer is a receipt over Receipt, or an error; with ResponseCode there is a signed
// rejection about EnvelopeHash.
type Answer struct {
	Status       int    `json:"status"`
	Receipt      string `json:"receipt,omitempty"`
	Code         int    `json:"code,omitempty"` // errorCode
	Text         string `json:"text,omitempty"` // errorCodeText, and the reason of the rejection
	ResponseCode string `json:"responseCode,omitempty"`
	EnvelopeHash string `json:"envelopeHash,omitempty"`
	// SameAs is the request whose receipt or rejection comes again, byte for byte.
	SameAs *int `json:"sameAs,omitempty"`
}

// Held is a bill as the receiver knows it.
type Held struct {
	DocumentHash string `json:"documentHash"`
	Possessor    string `json:"possessor"`
	Status       string `json:"status"`
	Head         string `json:"head"`
	Length       int    `json:"length"`
}

// Bytes is the input.
func (v *Vector) Bytes() ([]byte, error) { return input(v.Name, v.InputText, v.InputBase64, v.Input) }

// Bytes is the bundle.
func (b *Bundle) Bytes() ([]byte, error) { return input(b.Name, b.InputText, b.InputBase64, nil) }

func input(name string, text, b64 *string, value json.RawMessage) ([]byte, error) {
	switch {
	case text != nil:
		return []byte(*text), nil
	case b64 != nil:
		b, err := base64.StdEncoding.DecodeString(*b64)
		if err != nil {
			return nil, fmt.Errorf("reading the vector %s: %w", name, err)
		}
		return b, nil
	case value != nil:
		return value, nil
	}
	return nil, fmt.Errorf("reading the vector %s: no input", name)
}

// Load reads the vectors of one family, in the order of their names.
func Load(family string) ([]*Vector, error) {
	return load(family, func(v *Vector, name string) { v.Name = name })
}

// LoadBundles reads the evidence bundles, in the order of their names.
func LoadBundles() ([]*Bundle, error) {
	return load("bundle", func(b *Bundle, name string) { b.Name = name })
}

// LoadArchives reads the folders of archives, in the order of their names.
func LoadArchives() ([]*Archive, error) {
	return load("archive", func(a *Archive, name string) { a.Name = name })
}

// LoadOCSP reads the OCSP answers, in the order of their names.
func LoadOCSP() ([]*OCSP, error) {
	return load("ocsp", func(a *OCSP, name string) { a.Name = name })
}

// LoadExchanges reads the exchanges, in the order of their names.
func LoadExchanges() ([]*Exchange, error) {
	return load("exchange", func(e *Exchange, name string) { e.Name = name })
}

func load[T any](family string, name func(*T, string)) ([]*T, error) {
	files, err := fs.Glob(Files, path.Join("testdata", family, "*.json"))
	if err != nil {
		return nil, fmt.Errorf("reading the vectors of %s: %w", family, err)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("reading the vectors of %s: there are none", family)
	}
	var out []*T
	for _, f := range files {
		text, err := Files.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("reading the vector %s: %w", f, err)
		}
		v := new(T)
		name(v, family+"/"+strings.TrimSuffix(path.Base(f), ".json"))
		if err := json.Unmarshal(text, v); err != nil {
			return nil, fmt.Errorf("reading the vector %s: %w", f, err)
		}
		out = append(out, v)
	}
	return out, nil
}

// Trust reads the trust file of that name.
func Trust(name string) ([]byte, error) {
	text, err := Files.ReadFile("testdata/trust/" + name + ".json")
	if err != nil {
		return nil, fmt.Errorf("reading the trust file %q: %w", name, err)
	}
	return text, nil
}
