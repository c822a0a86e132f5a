package witness

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf8"

	"eblnode/internal/ascii"
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
	// Log are the rows of the audit log that were written with the change; nil for none.
	Log *LogRows `json:"log,omitempty"`
	// Data is what else is needed to make the change again, by Kind.
	Data json.RawMessage `json:"data,omitempty"`
}

// LogRows are rows of the audit log, which is numbered without holes and whose rows are each
// hashed with the one before: whoever knows the hash of the last one knows all of it.
type LogRows struct {
	First int64 `json:"first"`
	Last  int64 `json:"last"`
	Hash  Hash  `json:"hash"` // of the last one
}

// Bare is r without its Data.
func (r Record) Bare() Record {
	r.Data = nil
	return r
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
	// Secret is random, and in no other file: see [Journal.Seal].
	Secret Hash `json:"secret"`
}

// Encode gives the line of r.
//
// It is written here and not by encoding/json, which reads the data again to see whether
// it is JSON: that is for who made it to know. It must be of one line.
func Encode(r Record) (Line, error) {
	return EncodeWith(r, len(r.Data), func(b []byte) ([]byte, error) { return append(b, r.Data...), nil })
}

// EncodeWith is Encode with data that is appended in its place, of about that size: a large
// one is then not held twice. r.Data is not looked at.
func EncodeWith(r Record, size int, data func([]byte) ([]byte, error)) (Line, error) {
	b := make([]byte, hashWidth, hashWidth+512+len(r.JWS)+size)
	b = strconv.AppendInt(append(b, `{"generation":`...), r.Generation, 10)
	b = hex.AppendEncode(append(b, `,"previous":"`...), r.Previous[:])
	b = strconv.AppendInt(append(b, `","at":`...), r.At, 10)
	b = hex.AppendEncode(append(b, `,"document":"`...), r.Document[:])
	b = hex.AppendEncode(append(b, `","head":"`...), r.Head[:])
	b = AppendQuoted(append(b, `","kind":`...), r.Kind)
	if r.Peer != "" {
		b = AppendQuoted(append(b, `,"peer":`...), r.Peer)
	}
	if r.JWS != "" {
		b = AppendQuoted(append(b, `,"jws":`...), r.JWS)
	}
	if r.Log != nil {
		b = strconv.AppendInt(append(b, `,"log":{"first":`...), r.Log.First, 10)
		b = strconv.AppendInt(append(b, `,"last":`...), r.Log.Last, 10)
		b = append(hex.AppendEncode(append(b, `,"hash":"`...), r.Log.Hash[:]), `"}`...)
	}
	if size > 0 {
		at := len(b)
		var err error
		if b, err = data(append(b, `,"data":`...)); err != nil {
			return Line{}, fmt.Errorf("encoding record %d: %w", r.Generation, err)
		}
		if bytes.IndexByte(b[at:], '\n') >= 0 {
			return Line{}, fmt.Errorf("encoding record %d: the data has a line end", r.Generation)
		}
	}
	b = append(b, "}\n"...)
	return Line{r.Generation, r.Previous, seal(b), b}, nil
}

// AppendQuoted appends s as a JSON string.
func AppendQuoted[T string | []byte](b []byte, s T) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		if i = ascii.Plain(s, i); i == len(s) {
			break
		}
		c := s[i]
		if c >= utf8.RuneSelf {
			if r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))])); r != utf8.RuneError || size > 1 {
				i += size - 1
				continue
			}
		}
		b = append(b, s[from:i]...)
		from = i + 1
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, "\ufffd"...)
		}
	}
	return append(append(b, s[from:]...), '"')
}

// QuotedSize is about how many bytes AppendQuoted appends of s: never less, if s is JSON.
func QuotedSize(s []byte) int {
	n := len(s) + 2
	for _, c := range []byte(`"\`) {
		n += bytes.Count(s, []byte{c})
	}
	for _, c := range []byte("\n\r\t") {
		n += 5 * bytes.Count(s, []byte{c})
	}
	return n
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
	return text, seal(text), nil
}

// seal puts the hash of a line's JSON before it.
func seal(text []byte) Hash {
	sum := Hash(sha256.Sum256(text[hashWidth : len(text)-1]))
	hex.Encode(text, sum[:])
	text[hashWidth-1] = ' '
	return sum
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
