package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// A Hash is the SHA-256 of a record's JSON. The zero Hash stands for "none".
type Hash [sha256.Size]byte

// MarshalText is 64 lower-case hex digits.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText writes, and nothing else.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != 2*len(h) || !bytes.Equal(b, bytes.ToLower(b)) {
		return errors.New("a hash is 64 lower-case hex digits")
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// String is the text form.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// An Identity says whose journal it is. ID is random, and made with the database: a
// journal of another node of the same domain is another one.
type Identity struct {
	Domain string `json:"domain"`
	ID     string `json:"id"`
}

// A Record is one change of control, or one signed answer.
type Record struct {
	// Generation counts records, over all journals of the node, from 1. It has no holes.
	Generation int64 `json:"generation"`
	// Previous is the hash of the record before; zero for the first one of all.
	Previous Hash `json:"previous"`
	// At is when, in milliseconds since 1970.
	At int64 `json:"at"`
	// Document and Head are the bill's document hash and the newest entry of its chain
	// after the change.
	Document Hash `json:"document"`
	Head     Hash `json:"head"`
	// Kind is what happened; the node says what there is.
	Kind string `json:"kind"`
	// Peer is the other platform, if there is one.
	Peer string `json:"peer,omitempty"`
	// JWS is the signed text that the change rests on.
	JWS string `json:"jws,omitempty"`
	// Data is what else is needed to make the change again, by Kind.
	Data json.RawMessage `json:"data,omitempty"`
}

// A Line is a record as it stands in the journal.
type Line struct {
	Generation int64
	Previous   Hash
	Hash       Hash
	Text       []byte // with its line end
}

// header is the first line of a journal.
type header struct {
	Witness  int      `json:"witness"` // the version of the format: 1
	Identity Identity `json:"identity"`
	// After and Previous are the generation and hash after which this journal begins:
	// zero, unless an older journal was lost.
	After    int64 `json:"after"`
	Previous Hash  `json:"previous"`
	At       int64 `json:"at"`
}

// Encode gives the line of r.
func Encode(r Record) (Line, error) {
	text, hash, err := encode(r)
	if err != nil {
		return Line{}, fmt.Errorf("encoding record %d: %w", r.Generation, err)
	}
	return Line{r.Generation, r.Previous, hash, text}, nil
}

// Decode reads a line that Encode made; anything else is an error.
func Decode(text []byte) (Record, Line, error) {
	var r Record
	hash, err := decode(text, &r)
	if err == nil && (r.Generation < 1 || r.Kind == "") {
		err = errors.New("no generation or no kind")
	}
	if err != nil {
		return Record{}, Line{}, err
	}
	return r, Line{r.Generation, r.Previous, hash, text}, nil
}

// encode: the hash in hex, a space, the JSON, a line end. The hash in the line itself
// guards the last record too, which no other one names.
func encode(v any) ([]byte, Hash, error) {
	var b bytes.Buffer
	b.Write(make([]byte, hashWidth))
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, Hash{}, err
	}
	text := b.Bytes()
	sum := Hash(sha256.Sum256(text[hashWidth : len(text)-1]))
	hex.Encode(text, sum[:])
	text[hashWidth-1] = ' '
	return text, sum, nil
}

// hashWidth is what stands before the JSON of a line.
const hashWidth = 2*sha256.Size + 1

func decode(text []byte, v any) (Hash, error) {
	if len(text) <= hashWidth+1 || text[len(text)-1] != '\n' || text[hashWidth-1] != ' ' {
		return Hash{}, errors.New("not a line of a journal")
	}
	var sum Hash
	if err := sum.UnmarshalText(text[:hashWidth-1]); err != nil {
		return Hash{}, err
	}
	body := text[hashWidth : len(text)-1]
	if sha256.Sum256(body) != sum {
		return Hash{}, errors.New("the line is not what its hash says")
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return Hash{}, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return Hash{}, errors.New("more than one value in the line")
	}
	return sum, nil
}
