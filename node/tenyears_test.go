package node_test

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
)

// term is how long one signing key is used; five of them are ten years.
const term = 730 * 24 * time.Hour

// A decade is a bill on its way for ten years, between real nodes: the carrier's, whose key
// an authority vouches for that ends after five and a half years, and two with pinned keys
// that are rotated five times.
type decade struct {
	t           *testing.T
	base        time.Time
	clock       atomic.Int64 // ms
	ca          *catest.Authority
	caGone      atomic.Bool
	carrierLeaf *x509.Certificate
	carrier     *ebltest.Platform
	bank, trade *ebltest.Platform
	doc         envelope.Hash
	// files are what a platform exported in a year: "bank 0".
	files map[string]*envelope.Bundle
}

func (d *decade) now() time.Time { return time.UnixMilli(d.clock.Load()) }

func (d *decade) year(n float64) time.Time {
	return d.base.Add(time.Duration(n * float64(365*24*time.Hour)))
}

// set moves the clock of all; a little past the year, so that nothing falls on an edge.
func (d *decade) set(n float64) { d.clock.Store(d.year(n).Add(time.Hour).UnixMilli()) }

// answer is the authority's responder, while there is one.
func (d *decade) answer(_ context.Context, qs []identity.Question) ([][]byte, error) {
	if d.caGone.Load() {
		return nil, errors.New("no such host: ocsp.example")
	}
	var out [][]byte
	for _, q := range qs {
		out = append(out, d.says(q.Certificate, d.now(), catest.Single{}))
	}
	return out, nil
}

// says is what the authority signs at a time about a certificate.
func (d *decade) says(c *x509.Certificate, at time.Time, s catest.Single) []byte {
	s.Cert, s.Issuer = c, d.ca.Cert
	s.ThisUpdate, s.NextUpdate = at.Add(-time.Minute), at.Add(time.Hour)
	return catest.Answer{Singles: []catest.Single{s}, By: d.ca, Produced: at.Add(-time.Minute)}.DER(d.t)
}

// rotated is a platform with six keys, each for its two years.
func (d *decade) rotated(w *ebltest.Network, domain string, opts ...ebltest.Option) *ebltest.Platform {
	d.t.Helper()
	host, err := identity.ParseHost(domain)
	if err != nil {
		d.t.Fatal(err)
	}
	var keys []*identity.Key
	var signers []node.SigningKey
	for i := range 6 {
		from := d.base.Add(time.Duration(i) * term)
		s, err := identity.GenerateSigner(host, identity.ES256, identity.CertificateSpec{Subject: domain, NotBefore: from, NotAfter: from.Add(term)})
		if err != nil {
			d.t.Fatal(err)
		}
		keys, signers = append(keys, s.Key), append(signers, node.SigningKey{Signer: s, From: from})
	}
	signers[0].From = time.Time{}
	return w.Platform(domain, append(opts, ebltest.WithEntry(func(p *identity.Platform) { p.Keys = keys }),
		ebltest.Configure(func(c *node.Config) { c.Signers, c.Now, c.Revocation = signers, d.now, d.answer }))...)
}

// newDecade lives through it.
func newDecade(t *testing.T) *decade {
	d := &decade{t: t, base: time.Now().Add(-2 * time.Hour).Truncate(time.Second), files: map[string]*envelope.Bundle{}}
	d.set(0)
	d.ca = catest.New(t, "Consortium", catest.Valid(d.year(-1), d.year(5.5)))
	w := ebltest.New(t)
	d.carrier = w.Platform("carrier.example", ebltest.Under(d.ca, catest.Responder("http://ocsp.example/"), catest.Valid(d.base.Add(-time.Hour), d.base.Add(term))),
		ebltest.Configure(func(c *node.Config) { c.Now, c.Revocation = d.now, d.answer }))
	d.carrierLeaf = d.carrier.Signer.Key.Certificates[0]
	d.bank, d.trade = d.rotated(w, "bank.example"), d.rotated(w, "trade.example", ebltest.NotIssuer())
	bob, tess := d.bank.User("bob"), d.trade.User("tess")
	d.doc = d.carrier.Issue(bob.ID)
	export := func(year string, ps ...*ebltest.Platform) {
		for _, p := range ps {
			name, _, _ := strings.Cut(p.Domain().Name, ".")
			d.files[name+" "+year] = bundleOf(t, p, d.doc, -1)
		}
	}
	export("0", d.carrier, d.bank)
	d.set(1)
	d.carrier.Stop() // it closed, and nobody misses it
	for _, move := range []struct {
		year     float64
		from     *ebltest.Platform
		by       *ebltest.User
		to, what string
	}{{3, d.bank, bob, tess.ID, ""}, {5, d.trade, tess, bob.ID, "5"}, {7, d.bank, bob, tess.ID, ""}, {9, d.trade, tess, bob.ID, ""}, {10, d.bank, bob, tess.ID, "10"}} {
		d.set(move.year)
		d.caGone.Store(move.year > 5)
		move.from.Transfer(move.by, d.doc, move.to)
		if move.what != "" {
			export(move.what, d.bank, d.trade)
		}
	}
	return d
}

// copyOf is a file by itself.
func (d *decade) copyOf(name string) *envelope.Bundle { return asRead(d.t, d.files[name]) }

// reader is a stranger's trust file: the three entries, changed.
func (d *decade) reader(edits ...func(ps map[string]*identity.Platform)) *identity.Trust {
	d.t.Helper()
	ps := map[string]*identity.Platform{}
	for name, p := range map[string]*ebltest.Platform{"carrier": d.carrier, "bank": d.bank, "trade": d.trade} {
		e := *p.Entry
		e.Keys = nil
		for _, k := range p.Entry.Keys {
			c := *k
			e.Keys = append(e.Keys, &c)
		}
		ps[name] = &e
	}
	for _, edit := range edits {
		edit(ps)
	}
	var list []*identity.Platform
	for _, p := range ps {
		list = append(list, p)
	}
	trust, err := identity.NewTrust(list...)
	if err != nil {
		d.t.Fatal(err)
	}
	return trust
}

// without takes platforms away.
func without(names ...string) func(map[string]*identity.Platform) {
	return func(ps map[string]*identity.Platform) {
		for _, name := range names {
			delete(ps, name)
		}
	}
}

// revoked marks the key that a platform signs with in a year.
func (d *decade) revoked(name string, inUse float64, reason string, at float64) func(map[string]*identity.Platform) {
	return func(ps map[string]*identity.Platform) {
		k := ps[name].Keys[int(d.year(inUse).Add(time.Hour).Sub(d.base)/term)]
		k.Revoked, k.Reason = d.year(at), reason
	}
}

// pinned is the carrier's key by itself, as if no authority had ever been.
func (d *decade) pinned(ps map[string]*identity.Platform) {
	p := ps["carrier"]
	p.Mode, p.Anchors = identity.ModePinned, nil
	k := *d.carrier.Signer.Key
	p.Keys = []*identity.Key{&k}
}

// told puts another answer of the authority into a file, in place of what its maker was told.
func (d *decade) told(b *envelope.Bundle, s catest.Single) *envelope.Bundle {
	d.t.Helper()
	n := 0
	b.OCSP = nil
	for i := range b.Checks {
		if c := &b.Checks[i]; len(c.OCSP) > 0 {
			der := d.says(d.carrierLeaf, c.At, s)
			b.OCSP, c.OCSP = append(b.OCSP, der), []envelope.Hash{envelope.HashOf(der)}
			n++
		}
	}
	if n == 0 {
		d.t.Fatal("the file has no answer of the authority")
	}
	return b
}

// A later is one file before one reader at one time, and what it comes to where the table does
// not say it by itself.
type later struct {
	what    string
	file    *envelope.Bundle
	trust   *identity.Trust
	year    float64
	verdict judge.Verdict // "": that of the row
	rule    string        // where the row names none, or another
}

// stripped is a file without some of its evidence.
func stripped(b *envelope.Bundle, edit func(*envelope.Bundle)) *envelope.Bundle {
	edit(b)
	return b
}

func noOCSP(b *envelope.Bundle)     { b.OCSP, b.Certificates, b.Checks = nil, nil, nil }
func noReceipts(b *envelope.Bundle) { b.Receipts = nil }
func noDocument(b *envelope.Bundle) { b.Block.Document = nil }

// rows are what docs/BUNDLE.md, section 4, says happened since, by the beginning of the row,
// and files to which it did.
func (d *decade) rows() map[string][]later {
	theft := func(at float64) catest.Single {
		return catest.Single{Status: catest.Revoked, Reason: 1, RevokedAt: d.year(at)}
	}
	other := func(reason int, at float64) catest.Single {
		return catest.Single{Status: catest.Revoked, Reason: reason, RevokedAt: d.year(at)}
	}
	all := func(trust *identity.Trust, edit func(*envelope.Bundle), verdict judge.Verdict, rule string) (list []later) {
		for _, name := range []string{"carrier 0", "bank 0", "bank 5", "trade 5", "bank 10", "trade 10"} {
			b := d.copyOf(name)
			if edit != nil {
				edit(b)
			}
			list = append(list, later{name, b, trust, 10.1, verdict, rule})
		}
		return list
	}
	then := judge.ValidThen
	const unasked = "revocationUnknown"
	return map[string][]later{
		"nothing; the keys are still in use": {
			{"in the year itself", d.copyOf("bank 0"), d.reader(), 0, "", ""},
			{"the carrier's own file", d.copyOf("carrier 0"), d.reader(), 0, "", ""},
			{"the carrier's own file, its key pinned", d.copyOf("carrier 0"), d.reader(d.pinned), 0, "", ""},
		},
		"a key's window ended (`notAfter`, or its certificate's)": append(all(d.reader(), nil, "", ""),
			later{"a file of year 5 in year 5", d.copyOf("bank 5"), d.reader(), 5, "", ""}),
		"keys rotated five times; the old ones are in the trust file with their windows": {
			{"bank 10", d.copyOf("bank 10"), d.reader(), 10.1, "", ""},
			{"trade 10", d.copyOf("trade 10"), d.reader(), 10.1, "", ""},
		},
		"a key revoked after it signed (`superseded`, `cessationOfOperation` …)": { // and whatever the row adds
			{"in the trust file, superseded", d.copyOf("trade 5"), d.reader(d.revoked("bank", 3, "superseded", 4)), 10.1, "", ""},
			{"in the trust file, cessation", d.copyOf("bank 10"), d.reader(d.revoked("trade", 5, "cessationOfOperation", 5.9)), 10.1, "", ""},
			{"the authority said so, superseded", d.told(d.copyOf("trade 5"), other(4, 1)), d.reader(), 10.1, "", ""},
			{"the authority said so, cessation", d.told(d.copyOf("trade 10"), other(5, 2)), d.reader(), 10.1, "", ""},
		},
		"a key revoked at or before the time of the entry": {
			{"in the trust file", d.copyOf("trade 5"), d.reader(d.revoked("bank", 3, "superseded", 2.5)), 10.1, "", "badChainSignature/revoked"},
			{"in the trust file, the newest", d.copyOf("bank 5"), d.reader(d.revoked("trade", 5, "superseded", 4.5)), 10.1, "", "badSignature/revoked"},
			{"the authority said so", d.told(d.copyOf("trade 5"), other(4, -0.1)), d.reader(), 10.1, "", "badChainSignature/revoked"},
		},
		"a key reported stolen, with proof of existence before `revoked`": {
			{"in the trust file, by a later entry", stripped(d.copyOf("trade 5"), noReceipts), d.reader(d.revoked("bank", 3, "keyCompromise", 5.5)), 10.1, "", ""},
			{"in the trust file, by a receipt", d.copyOf("bank 5"), d.reader(d.revoked("trade", 5, "keyCompromise", 5.9)), 10.1, "", ""},
			{"the authority said so, by a receipt of year 0", d.told(stripped(d.copyOf("trade 5"), func(b *envelope.Bundle) { b.Receipts = append(b.Receipts, d.copyOf("bank 0").Receipts...) }), theft(1)), d.reader(), 10.1, "", ""},
		},
		"a key reported stolen, no such proof": {
			{"in the trust file, no receipt", stripped(d.copyOf("bank 5"), noReceipts), d.reader(d.revoked("trade", 5, "keyCompromise", 5.9)), 10.1, "", ""},
			{"in the trust file, proof of after", d.copyOf("trade 5"), d.reader(d.revoked("bank", 3, "keyCompromise", 2.9)), 10.1, "", ""},
			{"the authority said so, the receipt taken out", d.told(stripped(d.copyOf("trade 5"), noReceipts), theft(1)), d.reader(), 10.1, "", ""},
			{"the authority said so, stolen before", d.told(d.copyOf("trade 10"), theft(-0.1)), d.reader(), 10.1, "", ""},
		},
		"the key is not in the reader's trust file": {
			{"of the bank", d.copyOf("trade 5"), d.reader(func(ps map[string]*identity.Platform) { ps["bank"].Keys = ps["bank"].Keys[2:] }), 10.1, "", "unknownKey/kid"},
			{"of the newest", d.copyOf("bank 10"), d.reader(func(ps map[string]*identity.Platform) { ps["bank"].Keys = ps["bank"].Keys[:5] }), 10.1, "", "unknownKey/kid"},
		},
		"the platform is not in it (it closed, say)": {
			{"the carrier", d.copyOf("trade 5"), d.reader(without("carrier")), 10.1, "", ""},
			{"the bank", d.copyOf("trade 5"), d.reader(without("bank")), 10.1, "", ""},
			{"the last addressee alone", d.copyOf("bank 0"), d.reader(without("bank", "trade")), 10.1, then, ""},
		},
		"the CA is gone, keys are `pinned`": append(all(d.reader(d.pinned), nil, then, ""),
			later{"the reader never heard of the CA, in the year itself", d.copyOf("bank 0"), d.reader(d.pinned), 0, judge.Valid, ""}),
		"the CA is gone, keys are trusted by `ca`": append(append(all(d.reader(), nil, then, ""), all(d.reader(), noOCSP, judge.Indeterminate, unasked)...),
			later{"another CA of that name", d.copyOf("bank 10"), d.reader(func(ps map[string]*identity.Platform) {
				ps["carrier"].Anchors = []*x509.Certificate{catest.New(d.t, "Consortium", catest.Valid(d.year(-1), d.year(20))).Cert}
			}), 10.1, judge.Indeterminate, "unknownKey/anchor"}),
		"the document was deleted; its hash is kept": append(all(d.reader(), noDocument, then, ""),
			later{"an issuer for some carriers", stripped(d.copyOf("bank 10"), noDocument), d.reader(func(ps map[string]*identity.Platform) { ps["carrier"].Carriers = []string{"TEST"} }), 10.1, judge.Indeterminate, "documentNeeded"}),
		"envelopes were deleted": {
			{"the first", stripped(d.copyOf("bank 10"), func(b *envelope.Bundle) { b.Block.Entries, b.Receipts = b.Block.Entries[1:], nil }), d.reader(), 10.1, "", "badLink/first"},
			{"one between", stripped(d.copyOf("bank 10"), func(b *envelope.Bundle) {
				b.Block.Entries, b.Receipts = append(b.Block.Entries[:2:2], b.Block.Entries[3:]...), nil
			}), d.reader(), 10.1, "", "badLink/previous"},
		},
		"the clock of the reader is before the signatures (`--at`)": {
			{"year 9 before a file of year 10", d.copyOf("trade 10"), d.reader(), 9.5, "", ""},
			{"before all", d.copyOf("bank 0"), d.reader(), -0.5, "", ""},
		},
	}
}

// TestTableOfTenYears walks the table of docs/BUNDLE.md, section 4, row by row, with the files
// that real nodes wrote in the years 0, 5 and 10: a row without files, files without a row,
// and a verdict that is not the table's, fail.
func TestTableOfTenYears(t *testing.T) {
	d := newDecade(t)
	last := d.files["trade 10"]
	keys := map[string]bool{}
	for _, e := range last.Block.Entries {
		keys[e.JWS.Header.Kid] = true
	}
	if len(last.Block.Entries) != 6 || len(keys) != 6 || len(d.bank.Entry.Keys) != 6 {
		t.Fatalf("got %d entries by %d keys, want 6 by 6: five rotations", len(last.Block.Entries), len(keys))
	}
	page, err := os.ReadFile("../docs/BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n| what happened since | verdict | why |\n|")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := d.rows()
	lines := strings.Split(table, "\n")[1:]
	if len(lines) < 14 {
		t.Fatalf("got %d rows of the table, want 14 at least", len(lines))
	}
	codes := regexp.MustCompile("`([a-zA-Z]+(?:/[a-zA-Z]+)?)`")
	for _, line := range lines {
		cells := strings.Split(line, "|")
		what, verdict := strings.TrimSpace(cells[1]), judge.Verdict(strings.TrimSpace(cells[2]))
		var files []later
		for begins, list := range rows {
			if strings.HasPrefix(what, begins) {
				files = list
				delete(rows, begins)
			}
		}
		if len(files) == 0 {
			t.Errorf("the table says %q, and no file here is of that kind", what)
		}
		var named []string
		for _, m := range codes.FindAllStringSubmatch(cells[3], -1) {
			named = append(named, m[1])
		}
		for _, f := range files {
			want := f.verdict
			if want == "" {
				want = verdict
			} else if says := slices.Contains([]judge.Verdict{judge.Valid, judge.ValidThen, judge.Invalid, judge.Indeterminate}, verdict); says && want != verdict && !strings.Contains(string(cells[3]), "Of the last addressee") {
				t.Errorf("%s (%s): the table says %s, and the test %s", what, f.what, verdict, want)
			}
			r := judge.File(mustMarshalBundle(t, f.file), judge.Options{Trust: f.trust, Now: d.year(f.year).Add(2 * time.Hour)})
			if r.Verdict != want || f.rule != "" && r.Rule != f.rule {
				t.Errorf("%s (%s): got %s %s (%s), want %s %s", what, f.what, r.Verdict, r.Rule, r.Detail, want, f.rule)
			}
			switch {
			case r.Verdict.Holds() && (r.State == nil || !strings.HasPrefix(r.State.Possessor, "bob@") && !strings.HasPrefix(r.State.Possessor, "tess@")):
				t.Errorf("%s (%s): in control is %+v", what, f.what, r.State)
			case !r.Verdict.Holds() && len(named) > 0 && !slices.Contains(named, r.Rule) && !slices.Contains(named, r.Reason):
				t.Errorf("%s (%s): got %s, and the table names %q", what, f.what, r.Rule, named)
			}
		}
	}
	for what := range rows {
		t.Errorf("there are files of the kind %q, and the table has no such row", what)
	}
}
