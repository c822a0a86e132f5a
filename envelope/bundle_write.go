package envelope

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

func texts[T any](list []T, text func(*T) string) []string {
	out := make([]string, 0, len(list))
	for i := range list {
		out = append(out, text(&list[i]))
	}
	return out
}

// evidence are the members that parties signed; both sides of a transfer have the same.
type evidence struct {
	DocumentHash Hash           `json:"documentHash"`
	Document     jsontext.Value `json:"document,omitempty"`
	Chain        jsontext.Value `json:"chain"`
	Steps        []string       `json:"steps,omitzero"`
	Receipts     []string       `json:"receipts"`
	Rejections   []string       `json:"rejections"`
	Verdict      string         `json:"verdict,omitempty"`
}

func (b *Bundle) evidence() evidence {
	e := evidence{DocumentHash: b.DocumentHash, Document: b.Block.Document,
		Receipts:   texts(b.Receipts, func(j *JWS) string { return j.Raw }),
		Rejections: texts(b.Rejections, func(r *BundleRejection) string { return r.JWS.Raw })}
	chain := []byte("[")
	for i := range b.Block.Entries {
		x := &b.Block.Entries[i]
		if i > 0 {
			chain = append(chain, ',')
		}
		chain = append(chain, `{"envelopeHash":"`+x.Claimed.String()+`","signature":"`+x.JWS.Raw+`"`...)
		if x.Beside != nil {
			chain = append(append(chain, `,"eblEnvelope":`...), x.Beside...)
		}
		chain = append(chain, '}')
	}
	e.Chain = append(chain, ']')
	if b.Verdict != nil {
		e.Verdict = b.Verdict.JWS.Raw
	}
	return e
}

// Evidence is the part that parties signed, in RFC 8785 form: for one selection both
// sides of a transfer have the same bytes. What the maker saw, and steps since on its
// platform, are not in it.
func (b *Bundle) Evidence() ([]byte, error) { return canonicalOf(b.evidence()) }

// Marshal writes the file, with each signed byte as it is held. Where a part cannot be
// written, or what was written would not be read, it is an error: no reader gets a file
// that ParseBundle refuses, unless it passes a limit.
//
// Of branches it writes what a reader takes ([Bundle.readable]).
func (b *Bundle) Marshal() ([]byte, error) {
	b = b.readable()
	w := struct {
		Format string `json:"format"`
		Made   any    `json:"made"`
		evidence
		Branches     []branchText     `json:"branches"`
		Certificates []string         `json:"certificates"`
		OCSP         []string         `json:"ocsp"`
		Checks       []checkText      `json:"checks"`
		Trust        []jsontext.Value `json:"trust"`
		Signature    string           `json:"signature,omitempty"`
	}{Format: BundleFormat, evidence: b.evidence(), Signature: b.Signature, Branches: []branchText{}, Checks: []checkText{}, Trust: []jsontext.Value{}}
	w.Made = struct {
		By        string    `json:"by"`
		At        string    `json:"at"`
		Selection Selection `json:"selection"`
	}{b.Made.By.String(), b.Made.At.UTC().Format(wireTime), b.Made.Selection}
	w.Steps = texts(b.Steps, func(s *BundleStep) string { return s.JWS.Raw })
	for i := range b.Branches {
		br := &b.Branches[i]
		w.Branches = append(w.Branches, branchText{From: br.From, At: &br.At, Entries: texts(br.Entries, func(e *Entry) string { return e.JWS.Raw })})
	}
	b64 := func(der *[]byte) string { return base64.StdEncoding.EncodeToString(*der) }
	w.Certificates, w.OCSP = texts(b.Certificates, b64), texts(b.OCSP, b64)
	hex := func(h *Hash) string { return h.String() }
	for i := range b.Checks {
		c := &b.Checks[i]
		jws, at, platform, key := c.JWS.String(), c.At.UTC().Format(wireTime), c.Platform.String(), c.Key.String()
		w.Checks = append(w.Checks, checkText{&jws, &at, &platform, &key, texts(c.Certificates, hex), texts(c.OCSP, hex)})
	}
	for _, t := range b.Trust {
		w.Trust = append(w.Trust, t)
	}
	out, err := json.Marshal(w, json.Deterministic(true))
	if err != nil {
		return nil, fmt.Errorf("writing a bundle: %w", err)
	}
	return out, nil
}

// Sign puts the maker's signature under b: Made.By, at Made.At, by s.
func (b *Bundle) Sign(s *identity.Signer) error {
	b.Signature = ""
	body, err := b.Marshal()
	if err != nil {
		return err
	}
	sum, err := bundleSum(body)
	if err != nil {
		return fmt.Errorf("signing a bundle: %w", err)
	}
	payload, err := canonicalOf(bundleClaim{b.Made.At.UTC().Format(wireTime), sum, b.Made.By.String()})
	if err != nil {
		return err
	}
	b.Signature, err = sign(payload, s, TypBundle, b.Made.At)
	return err
}

type bundleClaim struct {
	At  string `json:"at"`
	Sum Hash   `json:"bundleSha256"`
	By  string `json:"by"`
}

// bundleSum is the hash of a bundle without its signature, in RFC 8785 form, so that white
// space and the order of members play no part.
func bundleSum(body []byte) (Hash, error) {
	var m map[string]jsontext.Value
	if err := reread(body, &m); err != nil {
		return Hash{}, err
	}
	delete(m, "signature")
	if err := CheckNumbers(body); err != nil {
		return Hash{}, err
	}
	c, err := canonicalOf(m)
	if err != nil {
		return Hash{}, err
	}
	return HashOf(c), nil
}

// quickSum is bundleSum of the file that was read, which mostly stands in RFC 8785 form but for
// the order of its members. False: it does not know.
func (b *Bundle) quickSum() (h Hash, ok bool) {
	members := slices.Clone(b.members)
	slices.SortFunc(members, func(x, y topMember) int { return strings.Compare(x.name, y.name) }) // they are ASCII
	out := sha256.New()
	before := "{"
	for _, m := range members {
		if m.name == "signature" {
			continue
		}
		_, _ = io.WriteString(out, before+`"`+m.name+`":`)
		before = ","
		switch {
		case m.name == "document" && sameBytes(b.Block.canonical, b.Block.Document), isCanonical(m.value):
			_, _ = out.Write(m.value)
		case CheckNumbers(m.value) != nil || !writeCanonical(out, m.value, canonicalNumberOf):
			return Hash{}, false
		}
	}
	_, _ = io.WriteString(out, "}")
	out.Sum(h[:0])
	return h, members != nil
}

// OpenSignature verifies the maker's signature by the keys of trust. nil: Made.By made this
// file, and nothing in it was changed since. The error is a *FormatError or a
// *SignatureError. b comes from ParseBundle.
func (b *Bundle) OpenSignature(p *identity.Platform, now time.Time) error {
	j, ferr := parseJWS(b.Signature)
	if ferr != nil {
		return ferr
	}
	if j.Header.Typ != TypBundle {
		return malformed("typ", "$.signature.header.typ", "not %s", TypBundle)
	}
	sum, ok := b.quickSum()
	if !ok {
		var err error
		if sum, err = bundleSum(b.body); err != nil {
			return err
		}
	}
	want, err := canonicalOf(bundleClaim{b.Made.at, sum, b.Made.by})
	if err != nil {
		return err
	}
	if string(j.Payload) != string(want) || p.Domain != b.Made.By {
		return malformed("value", "$.signature.payload", "the signature is of another file, maker or time")
	}
	_, err = j.Verify(p, signedAt(j, now), true)
	return err
}
