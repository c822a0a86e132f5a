package envelope

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// BundleFormat is the first member of an evidence bundle (docs/BUNDLE.md).
const BundleFormat = "eblnode-bundle/1"

// The limits of a bundle beside [Limits], in numbers of things; docs/BUNDLE.md, section 1.
const (
	MaxBundleBytes  = 32 << 20
	MaxBranches     = 63
	maxDocument     = 8 << 20
	maxCertificates = 4000 // and as many OCSP answers and checks
	maxDER          = 64 << 10
	maxOfCheck      = 64 // certificates of one check, and answers
	maxTrustEntries = 1000
	maxSignature    = 16 << 10
)

// A Selection says which evidence its maker put into a bundle.
type Selection string

// The selections.
const (
	SelectBill     Selection = "bill"     // all there is of a bill
	SelectTransfer Selection = "transfer" // the chain up to one entry, and the answers to it
	SelectFork     Selection = "fork"     // all there is of a bill with other continuations
	SelectArchive  Selection = "archive"  // a file of an archive
)

// A Bundle is the evidence about one bill, well formed and not verified: who is in
// control, and why, from one file. Nothing in it is a reason to trust a key.
type Bundle struct {
	Made Made
	// DocumentHash is what the maker says that the document's hash is.
	DocumentHash Hash
	// Block is the chain; its Document is nil where only the hash is kept, and it has
	// no entry where the bill never left its platform.
	Block      Transferblock
	Steps      []BundleStep
	Receipts   []JWS // the payload is not looked at
	Rejections []BundleRejection
	Verdict    *BundleVerdict // nil if there is none
	Branches   []Branch
	// Certificates and OCSP are DER, as they came, each once.
	Certificates, OCSP [][]byte
	Checks             []Check
	// Trust are trust entries as the maker held them, JSON. Never used to verify.
	Trust [][]byte
	// Signature is the maker's, "" if none. No verdict depends on it.
	Signature string

	body    []byte      // as read; nil in one that was made
	members []topMember // of body, where they are known
}

// Made says who made a bundle, when, and of what.
type Made struct {
	By        identity.Host
	At        time.Time
	Selection Selection

	by, at string // as read
}

// A BundleStep is a transaction inside a platform, not sealed yet.
type BundleStep struct {
	JWS         JWS
	Step        Step
	Transaction Transaction
}

// A BundleRejection is a signed no to an entry of the chain or of a branch.
type BundleRejection struct {
	JWS       JWS
	Rejection Rejection
}

// A BundleVerdict is the carrier's verdict.
type BundleVerdict struct {
	JWS     JWS
	Verdict Verdict
}

// A Branch is another continuation of the chain: its first entry follows entry At-1.
type Branch struct {
	From    string // domain of who offered it, or ""
	At      int
	Entries []Entry
}

// A Check is what the maker looked at when it believed a signature.
type Check struct {
	JWS          Hash // of the text of the JWS
	At           time.Time
	Platform     identity.Host
	Key          Hash // thumbprint, RFC 7638
	Certificates []Hash
	OCSP         []Hash
}

// IsBundle reports whether body says that it is a bundle of whatever version, and not a
// transferblock: a block may have a member format too, that means nothing to us, and says
// what it is by its chain.
func IsBundle(body []byte) bool {
	if plainlyBundle(body) {
		return true
	}
	var head struct {
		Format   jsontext.Value `json:"format"`
		Chain    jsontext.Value `json:"endorsementChain"`
		OldChain jsontext.Value `json:"endorcementChain"`
	}
	if json.Unmarshal(body, &head, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) == nil {
		return head.Format != nil && !present(head.Chain) && !present(head.OldChain)
	}
	return bytes.Contains(body[:min(len(body), 4096)], []byte("eblnode-bundle/")) // a damaged one
}

// plainlyBundle: it begins as we write one, and nowhere in it a member can have one of the
// chain's names in a block, which cannot be written otherwise without \u.
func plainlyBundle(body []byte) bool {
	return bytes.HasPrefix(body, []byte(`{"format":"`+BundleFormat+`",`)) && !bytes.Contains(body, []byte(`\u`)) &&
		!bytes.Contains(body, []byte(`"`+chainField+`"`)) && !bytes.Contains(body, []byte(`"`+oldChainField+`"`))
}

type bundleText struct {
	Format       *string          `json:"format"`
	Made         *madeText        `json:"made"`
	DocumentHash *string          `json:"documentHash"`
	Document     jsontext.Value   `json:"document,omitempty"`
	Chain        jsontext.Value   `json:"chain"`
	Steps        []string         `json:"steps"`
	Receipts     []string         `json:"receipts"`
	Rejections   []string         `json:"rejections"`
	Verdict      *string          `json:"verdict,omitempty"`
	Branches     []branchText     `json:"branches"`
	Certificates []string         `json:"certificates"`
	OCSP         []string         `json:"ocsp"`
	Checks       []checkText      `json:"checks"`
	Trust        []jsontext.Value `json:"trust"`
	Signature    *string          `json:"signature,omitempty"`
}

type madeText struct {
	By        *string `json:"by"`
	At        *string `json:"at"`
	Selection *string `json:"selection"`
}

type branchText struct {
	From    string   `json:"from"`
	At      *int     `json:"at"`
	Entries []string `json:"entries"`
}

type checkText struct {
	JWS          *string  `json:"jws"`
	At           *string  `json:"at"`
	Platform     *string  `json:"platform"`
	Key          *string  `json:"key"`
	Certificates []string `json:"certificates"`
	OCSP         []string `json:"ocsp"`
}

// ParseBundle reads a bundle, strictly: the shape of everything in it. A zero Body means
// MaxBundleBytes. The bundle keeps body, which must not be changed. The error is a *FormatError whose Rule is a code of docs/BUNDLE.md.
func ParseBundle(body []byte, limits Limits) (*Bundle, error) {
	if limits.Body <= 0 {
		limits.Body = MaxBundleBytes
	}
	b, err := parseBundle(body, limits.withDefaults())
	if err != nil {
		return nil, err
	}
	return b, nil
}

func parseBundle(body []byte, limits Limits) (*Bundle, *FormatError) {
	if len(body) > limits.Body {
		return nil, tooMany("$", "body", "the bundle has more than %d bytes", limits.Body)
	}
	small := len(body) < largeText // whatever is in it costs little
	if small {
		if b := scanBundle(body, limits); b != nil {
			return b, nil
		}
	}
	if err := checkDepth(body, limits.Depth); err != nil {
		return nil, err
	}
	if most := max(maxCertificates, limits.Chain, limits.Transactions); tooWide(body, 2, most) {
		return nil, tooMany("$", "elements", "an array has more than %d elements", most)
	}
	if !small {
		if b := scanBundle(body, limits); b != nil {
			return b, nil
		}
	}
	return parseBundleSlowly(body, limits)
}

// parseBundleSlowly is the reading that says what is wrong and where. Whatever scanBundle takes,
// it takes too, and makes the same of it.
func parseBundleSlowly(body []byte, limits Limits) (*Bundle, *FormatError) {
	var w bundleText
	// First without the names, so that another format is called that.
	if err := reread(body, &w); err != nil {
		return nil, err
	}
	switch {
	case w.Format == nil:
		return nil, malformed("missing", "$.format", "missing")
	case *w.Format != BundleFormat:
		return nil, malformed("format", "$.format", "this is not %s", BundleFormat)
	}
	if err := json.Unmarshal(body, &bundleText{}, json.RejectUnknownMembers(true)); err != nil {
		return nil, unknownMember(err)
	}
	b := &Bundle{body: body, Signature: deref(w.Signature)}
	for _, step := range []func(*bundleText, Limits) *FormatError{b.parseMade, b.parseChain, b.parseAnswers, b.parseBranches, b.parseSeen} {
		if err := step(&w, limits); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func unknownMember(err error) *FormatError {
	f := jsonError(err)
	f.Rule, f.Detail = "unknownMember", "a member that this format does not have"
	return f
}

func tooMany(path, limit, format string, args ...any) *FormatError {
	return &FormatError{Rule: "limit", Path: path, Limit: limit, Detail: fmt.Sprintf(format, args...)}
}

// hashAt reads a required hash.
func hashAt(s *string, path string) (Hash, *FormatError) {
	if s == nil {
		return Hash{}, malformed("missing", path, "missing")
	}
	h, err := ParseHash(*s)
	if err != nil {
		return Hash{}, malformed("hash", path, "%s", err)
	}
	return h, nil
}

func timeAt(s *string, path string) (time.Time, *FormatError) {
	if s == nil {
		return time.Time{}, malformed("missing", path, "missing")
	}
	at, ok := identity.ParseTime(*s)
	if !ok {
		return time.Time{}, malformed("time", path, "not an RFC 3339 time")
	}
	return at, nil
}

func hostAt(s *string, path string) (identity.Host, *FormatError) {
	if s == nil {
		return identity.Host{}, malformed("missing", path, "missing")
	}
	h, err := identity.ParseHost(*s)
	if err != nil {
		return identity.Host{}, malformed("host", path, "not a domain")
	}
	return h, nil
}

func (b *Bundle) parseMade(w *bundleText, _ Limits) (err *FormatError) {
	if w.Made == nil {
		return malformed("missing", "$.made", "missing")
	}
	m := Made{by: deref(w.Made.By), at: deref(w.Made.At), Selection: Selection(deref(w.Made.Selection))}
	if m.By, err = hostAt(w.Made.By, "$.made.by"); err != nil {
		return err
	}
	if m.At, err = timeAt(w.Made.At, "$.made.at"); err != nil {
		return err
	}
	switch m.Selection {
	case SelectBill, SelectTransfer, SelectFork, SelectArchive:
	case "":
		return malformed("missing", "$.made.selection", "missing")
	default:
		return malformed("value", "$.made.selection", "not one of bill, transfer, fork, archive")
	}
	b.Made = m
	b.DocumentHash, err = hashAt(w.DocumentHash, "$.documentHash")
	return err
}

func (b *Bundle) parseChain(w *bundleText, limits Limits) *FormatError {
	if present(w.Document) {
		if len(w.Document) > maxDocument {
			return tooMany("$.document", "document", "the document has more than %d bytes", maxDocument)
		}
		if err := b.Block.parseDocument(w.Document); err != nil {
			return err.under("$.document")
		}
	}
	b.Block.Field = chainField
	if !present(w.Chain) {
		return malformed("missing", "$.chain", "missing")
	}
	empty := w.Chain.Kind() == '[' && string(bytes.TrimSpace(w.Chain[1:len(w.Chain)-1])) == ""
	if !empty {
		if err := b.Block.parseChain(w.Chain, limits); err != nil {
			return err.under("$.chain")
		}
		// A request may have members that we do not know; a file of this format not.
		var only []struct {
			Hash      string         `json:"envelopeHash"`
			Signature string         `json:"signature"`
			Beside    jsontext.Value `json:"eblEnvelope"`
		}
		if err := json.Unmarshal(w.Chain, &only, json.RejectUnknownMembers(true)); err != nil {
			return unknownMember(err).under("$.chain")
		}
	}
	switch {
	case empty && len(w.Steps) == 0:
		return malformed("missing", "$.chain", "there is neither an entry nor a step")
	case len(w.Steps) > limits.Transactions:
		return tooMany("$.steps", "steps", "more than %d steps", limits.Transactions)
	}
	for i, s := range w.Steps {
		j, st, tx, err := stepOf(s, limits)
		if err != nil {
			return err.under(fmt.Sprintf("$.steps[%d]", i))
		}
		b.Steps = append(b.Steps, BundleStep{JWS: j, Step: st, Transaction: tx})
	}
	return nil
}

func (b *Bundle) parseAnswers(w *bundleText, limits Limits) *FormatError {
	if max(len(w.Receipts), len(w.Rejections)) > limits.Chain {
		return tooMany("$", "answers", "more than %d receipts or rejections", limits.Chain)
	}
	for i, s := range w.Receipts {
		j, err := receiptOf(s)
		if err != nil {
			return err.under(fmt.Sprintf("$.receipts[%d]", i))
		}
		b.Receipts = append(b.Receipts, j)
	}
	for i, s := range w.Rejections {
		j, r, err := rejectionOf(s)
		if err != nil {
			return err.under(fmt.Sprintf("$.rejections[%d]", i))
		}
		b.Rejections = append(b.Rejections, BundleRejection{JWS: j, Rejection: r})
	}
	if w.Verdict == nil {
		return nil
	}
	j, v, err := verdictOf(*w.Verdict)
	if err != nil {
		return err.under("$.verdict")
	}
	b.Verdict = &BundleVerdict{JWS: j, Verdict: v}
	return nil
}

// receiptOf reads what may be a receipt: other makers give it another typ, but not one of ours.
func receiptOf(s string) (JWS, *FormatError) {
	j, err := parseJWS(s)
	if err == nil && j.Header.Typ != TypReceipt && isOurs(j.Header.Typ) {
		return JWS{}, malformed("typ", "$.header.typ", "this is a %s, not a receipt", j.Header.Typ)
	}
	return j, err
}

func (b *Bundle) parseBranches(w *bundleText, limits Limits) *FormatError {
	if len(w.Branches) > MaxBranches {
		return tooMany("$.branches", "branches", "more than %d branches", MaxBranches)
	}
	total := 0
	for i, t := range w.Branches {
		at := fmt.Sprintf("$.branches[%d]", i)
		switch total += len(t.Entries); {
		case t.At == nil:
			return malformed("missing", at+".at", "missing")
		case *t.At < 0:
			return malformed("value", at+".at", "below zero")
		case len(t.Entries) == 0:
			return malformed("missing", at+".entries", "missing or empty")
		case total > limits.Chain:
			return tooMany("$.branches", "chain", "the branches have more than %d entries", limits.Chain)
		}
		br := Branch{From: t.From, At: *t.At}
		for k, s := range t.Entries {
			e, err := parseEntry(s, limits)
			if err != nil {
				return err.under(fmt.Sprintf("%s.entries[%d]", at, k))
			}
			e.Claimed = e.Hash()
			br.Entries = append(br.Entries, e)
		}
		b.Branches = append(b.Branches, br)
	}
	return nil
}

// parseSeen reads what the maker saw: certificates, OCSP answers, checks, trust entries.
func (b *Bundle) parseSeen(w *bundleText, _ Limits) (err *FormatError) {
	if b.Certificates, err = ders(w.Certificates, "$.certificates"); err != nil {
		return err
	}
	if b.OCSP, err = ders(w.OCSP, "$.ocsp"); err != nil {
		return err
	}
	if len(w.Checks) > maxCertificates {
		return tooMany("$.checks", "checks", "more than %d checks", maxCertificates)
	}
	for i, t := range w.Checks {
		at := fmt.Sprintf("$.checks[%d]", i)
		c := Check{}
		if c.JWS, err = hashAt(t.JWS, at+".jws"); err != nil {
			return err
		}
		if c.At, err = timeAt(t.At, at+".at"); err != nil {
			return err
		}
		if c.Platform, err = hostAt(t.Platform, at+".platform"); err != nil {
			return err
		}
		if c.Key, err = hashAt(t.Key, at+".key"); err != nil {
			return err
		}
		for _, list := range []struct {
			from []string
			to   *[]Hash
			name string
		}{{t.Certificates, &c.Certificates, "certificates"}, {t.OCSP, &c.OCSP, "ocsp"}} {
			if len(list.from) > maxOfCheck {
				return tooMany(at+"."+list.name, "checks", "more than %d in one check", maxOfCheck)
			}
			for k := range list.from {
				h, err := hashAt(&list.from[k], fmt.Sprintf("%s.%s[%d]", at, list.name, k))
				if err != nil {
					return err
				}
				*list.to = append(*list.to, h)
			}
		}
		b.Checks = append(b.Checks, c)
	}
	if len(w.Trust) > maxTrustEntries {
		return tooMany("$.trust", "trust", "more than %d trust entries", maxTrustEntries)
	}
	for i, t := range w.Trust {
		if t.Kind() != '{' {
			return malformed("type", fmt.Sprintf("$.trust[%d]", i), "not an object")
		}
		b.Trust = append(b.Trust, trimJSON(t))
	}
	return nil
}

func ders(list []string, path string) ([][]byte, *FormatError) {
	if len(list) > maxCertificates {
		return nil, tooMany(path, "certificates", "more than %d", maxCertificates)
	}
	var out [][]byte
	for i, s := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if len(s) > base64.StdEncoding.EncodedLen(maxDER) {
			return nil, tooMany(at, "certificates", "more than %d bytes", maxDER)
		}
		der, err := base64.StdEncoding.Strict().DecodeString(s)
		if err != nil || len(der) == 0 || bytes.ContainsAny([]byte(s), "\r\n") {
			return nil, malformed("base64", at, "not base64, or empty")
		}
		out = append(out, der)
	}
	return out, nil
}
