// Package report writes a verdict of package judge as one self-contained HTML page for
// people: what it comes to, the bill's journey as a picture, parties and cargo, and every
// check with its result. It looks right on a phone and on paper.
//
// It does no I/O. Nothing in a page is loaded from elsewhere, no script is in it, and its
// Content-Security-Policy allows neither. Whatever comes from the file is escaped, control and
// direction characters too.
package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"strings"
	"time"

	"eblnode/identity"
	"eblnode/judge"
)

//go:embed report.css
var style string

//go:embed report.html.tmpl
var page string

// An Input is a verdict and what it rests on.
type Input struct {
	Report *judge.Report
	Trust  *identity.Trust // the reader's own, named in the page by fingerprint
	At     time.Time       // as of when it was judged
	// Maker names the program and its version, for the foot of the page.
	Maker string
}

// view is what the template sees.
type view struct {
	*judge.Report
	At, Maker string
	Class     string
	Headline  string
	Sentence  string
	Place     string
	Picture   template.HTML
	Cargo     *cargo
	Shaped    bool // it could be read
	Trusted   []trusted
	Vouched   bool // an entry trusts keys that its authorities vouch for, and these may come with the file
	Style     template.CSS
	Policy    string
	// What is listed, of lists that a file can make long. Cut: something was left out.
	Signed, Within []shown[signed]
	Ended          []shown[judge.Lapse]
	Parted         []shown[judge.Fork]
	Looked         []shown[judge.Check]
	Cut            bool
}

// signed is an entry or step, with those of its transactions that are listed.
type signed struct {
	judge.Entry
	Moves []shown[judge.Transaction]
}

type trusted struct{ Domain, Name, Fingerprint string }

var pages = template.Must(template.New("page").Funcs(template.FuncMap{
	"p":    func(s string) string { return shorten(s, maxSentence) },
	"verb": verb,
	"when": func(s string) string {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t.UTC().Format("2 Jan 2006 15:04:05 UTC")
		}
		return shorten(s, maxText)
	},
	"mark": func(r judge.Result) string {
		return map[judge.Result]string{judge.OK: "holds", judge.Failed: "BROKEN", judge.Missing: "OPEN", judge.Unjudged: "not judged", judge.Info: "note"}[r]
	},
}).Parse(page))

// HTML is the whole page.
func HTML(in Input) ([]byte, error) { return in.render("page") }

// Fragment is its content alone, for the page in which a person drops files.
func Fragment(in Input) ([]byte, error) { return in.render("content") }

// Style is the style sheet of both.
func Style() string { return style }

func (in Input) render(name string) ([]byte, error) {
	r := in.Report
	sum := sha256.Sum256([]byte(style))
	v := view{Report: r, At: in.At.UTC().Format("2 Jan 2006 15:04:05 UTC"), Maker: in.Maker, Cargo: readDocument(r.Text), Shaped: r.Reason != "malformed" && r.Kind != "file", Style: template.CSS(style),
		Policy: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; form-action 'none'"}
	v.Class, v.Headline, v.Sentence = headline(r)
	v.Place = whereBroken(r)
	v.Picture, v.Cut = drawJourney(r)
	v.bound()
	for _, p := range in.Trust.Platforms() {
		v.Vouched = v.Vouched || p.Mode == identity.ModeCA
		v.Trusted = append(v.Trusted, trusted{p.Domain.String(), p.Name, p.Fingerprint()})
	}
	var b bytes.Buffer
	if err := pages.ExecuteTemplate(&b, name, v); err != nil {
		return nil, fmt.Errorf("writing the report: %w", err)
	}
	return b.Bytes(), nil
}

// bound picks what is listed.
func (v *view) bound() {
	list := func(all []judge.Entry) []shown[signed] {
		var out []shown[signed]
		for _, s := range ends(all, maxListed, nil) {
			v.Cut = v.Cut || s.Skipped > 0 || len(s.Item.Transactions) > maxTransactions
			out = append(out, shown[signed]{s.Index, signed{s.Item, ends(s.Item.Transactions, maxTransactions, nil)}, s.Skipped})
		}
		return out
	}
	v.Signed, v.Within = list(v.Entries), list(v.Steps)
	v.Ended = ends(v.Lapsed, maxListed, nil)
	v.Parted = ends(v.Forks, maxListed, func(f *judge.Fork) bool { return f.Accuses() })
	v.Looked = ends(v.Checks, maxChecks, func(c *judge.Check) bool { return c.Result == judge.Failed || c.Result == judge.Missing })
	v.Cut = v.Cut || len(v.Ended) < len(v.Lapsed) || len(v.Parted) < len(v.Forks) || len(v.Looked) < len(v.Checks)
}

// headline is the verdict in the words of a person.
func headline(r *judge.Report) (class, headline, sentence string) {
	switch r.Verdict {
	case judge.Invalid:
		return "invalid", "INVALID", "A rule is broken. This file does not show who is in control of the bill, whatever else becomes known."
	case judge.Indeterminate:
		return "open", "INDETERMINATE", "Nobody can tell from this file and these trust entries who is in control of the bill."
	}
	sentence = "Every signature, every hash link back to the issuance, and the law of the bill hold."
	if r.Verdict == judge.ValidThen {
		sentence += " A key that signed well has ended, or was revoked, since."
	}
	return "valid", string(r.Verdict), sentence
}

// whereBroken says where the first broken rule is.
func whereBroken(r *judge.Report) string {
	var parts []string
	add := func(name string, n int) { parts = append(parts, fmt.Sprintf("%s %d", name, n)) }
	if r.Entry >= 0 {
		add("envelope", r.Entry)
	}
	if r.Transaction >= 0 {
		add("transaction", r.Transaction)
	}
	for _, p := range []struct {
		name string
		n    *int
	}{{"step", r.Step}, {"receipt", r.Receipt}, {"rejection", r.Rejection}, {"branch", r.Branch}} {
		if p.n != nil {
			add(p.name, *p.n)
		}
	}
	if len(parts) == 0 {
		return r.Path // of a shape that is wrong
	}
	return strings.Join(parts, ", ")
}
