package envelope_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A pen is a platform that signs.
type pen struct {
	*identity.Signer
	p *identity.Platform
}

func newPen(t *testing.T, name string, now time.Time) pen {
	t.Helper()
	domain, err := identity.ParseHost(name)
	if err != nil {
		t.Fatal(err)
	}
	s, err := identity.GenerateSigner(domain, identity.ES256, identity.CertificateSpec{Subject: name, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	return pen{s, &identity.Platform{Domain: domain, Keys: []*identity.Key{s.Key}}}
}

func step(t *testing.T, domain, to string, in envelope.Instruction, at time.Time) []byte {
	t.Helper()
	host, err := identity.ParseHost(domain)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := envelope.NewTransaction(envelope.Transaction{Instruction: in, At: at, ToOrder: true, PlatformHost: host}, []byte(`"`+to+`"`))
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// fullBundle has something in every member.
func fullBundle(t *testing.T, now time.Time) (*envelope.Bundle, pen) {
	t.Helper()
	a, b := newPen(t, "a.example", now), newPen(t, "b.example", now)
	doc := []byte(`{"isToOrder":true,"carrierCode":"CARR","text":"<&>","weight":1.50}`)
	canonical, err := envelope.Canonicalize(doc)
	if err != nil {
		t.Fatal(err)
	}
	must := func(jws string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return jws
	}
	hash := envelope.HashOf(canonical)
	e, err := envelope.Seal(hash, envelope.Hash{}, [][]byte{step(t, "a.example", "x@a.example", envelope.Issue, now), step(t, "a.example", "y@b.example", envelope.Transfer, now)}, a.Signer)
	if err != nil {
		t.Fatal(err)
	}
	lost, err := envelope.Seal(hash, envelope.Hash{}, [][]byte{step(t, "a.example", "x@b.example", envelope.Issue, now)}, a.Signer)
	if err != nil {
		t.Fatal(err)
	}
	quote := func(s string) string { return `"` + s + `"` }
	text := `{"format":"eblnode-bundle/1","made":{"by":"b.example","at":"2026-11-23T04:00:00.000Z","selection":"bill"},"documentHash":` + quote(hash.String()) +
		`,"document":` + string(doc) + `,"chain":[{"envelopeHash":` + quote(e.Hash().String()) + `,"signature":` + quote(e.JWS.Raw) + `}],"steps":[` +
		quote(must(envelope.SignStep(envelope.Step{DocumentHash: hash, Head: e.Hash(), Transaction: step(t, "b.example", "z@b.example", envelope.Transfer, now)}, b.Signer, now))) + `],"receipts":[` +
		quote(must(envelope.SignReceipt(e.Hash(), b.Signer, now))) + `],"rejections":[` +
		quote(must(envelope.SignRejection(envelope.Rejection{EnvelopeHash: lost.Hash(), JWSSum: envelope.HashOf([]byte(lost.JWS.Raw)), Sender: a.p.Domain, Receiver: b.p.Domain, Code: envelope.BadEnvelopeCode, At: now}, b.Signer))) + `],"verdict":` +
		quote(must(envelope.SignVerdict(envelope.Verdict{DocumentHash: hash, EnvelopeHash: e.Hash(), Kind: envelope.Surrendered, At: now}, a.Signer))) +
		`,"branches":[{"from":"","at":0,"entries":[` + quote(lost.JWS.Raw) + `]}],"certificates":["AQID"],"ocsp":["BAUG"],"checks":[{"jws":` + quote(envelope.HashOf([]byte(e.JWS.Raw)).String()) +
		`,"at":"2026-11-23T04:00:00.000Z","platform":"a.example","key":` + quote(hash.String()) + `,"certificates":[` + quote(hash.String()) + `],"ocsp":[]}],"trust":[{"domain":"a.example","keys":{"keys":[]}}]}`
	bundle, err := envelope.ParseBundle([]byte(text), envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	// What was read is written as it was read: nothing signed, and not the document, changes.
	again, err := bundle.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != text {
		t.Fatalf("got %s\nwant %s", again, text)
	}
	return bundle, b
}

func TestBundleIsWrittenAsItWasRead(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	b, _ := fullBundle(t, now)
	if len(b.Block.Entries) != 1 || len(b.Steps) != 1 || len(b.Receipts) != 1 || len(b.Rejections) != 1 || b.Verdict == nil || len(b.Branches) != 1 || len(b.Checks) != 1 || len(b.Trust) != 1 {
		t.Errorf("got %+v, want one of each", b)
	}
	// A block may have a member format: the wire tolerates what it does not know.
	for _, field := range []string{"endorsementChain", "endorcementChain", `endorsement\u0043hain`, `\u0065ndorcementChain`} {
		if envelope.IsBundle([]byte(`{"format":"eblnode-bundle/1","document":{},"` + field + `":[]}`)) {
			t.Errorf("a block with %s and a format: got a bundle", field)
		}
	}
	if !envelope.IsBundle(mustMarshal(t, b)) || envelope.IsBundle([]byte(`{"document":{"format":"eblnode-bundle/2"},"endorsementChain":[]}`)) {
		t.Error("a bundle is known by its member format, and nothing else is one")
	}
}

func mustMarshal(t *testing.T, b *envelope.Bundle) []byte {
	t.Helper()
	body, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func TestMakerSignsTheWholeFile(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	b, maker := fullBundle(t, now)
	b.Made.At = now
	if err := b.Sign(maker.Signer); err != nil {
		t.Fatal(err)
	}
	body := mustMarshal(t, b)
	open := func(body []byte) error {
		got, err := envelope.ParseBundle(body, envelope.Limits{})
		if err != nil {
			return err
		}
		return got.OpenSignature(maker.p, now.Add(time.Minute))
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, body, "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"as written": body, "indented": pretty.Bytes()} {
		if err := open(body); err != nil {
			t.Errorf("%s: got %v, want a good signature", name, err)
		}
	}
	for name, change := range map[string][2]string{
		"the maker":        {`"by":"b.example"`, `"by":"c.example"`},
		"the selection":    {`"selection":"bill"`, `"selection":"fork"`},
		"the document":     {`"weight":1.50`, `"weight":2.50`},
		"a certificate":    {`"AQID"`, `"AQIE"`},
		"a trust entry":    {`"domain":"a.example"`, `"domain":"c.example"`},
		"a receipt left":   {`"receipts":[`, `"receipts":[],"ocsp":[],"x":[`},
		"who offered":      {`"from":""`, `"from":"c.example"`},
		"when it was seen": {`04:00:00.000Z","platform"`, `05:00:00.000Z","platform"`},
	} {
		other := strings.Replace(string(body), change[0], change[1], 1)
		if other == string(body) {
			t.Fatalf("%s: nothing changed", name)
		}
		if err := open([]byte(other)); err == nil {
			t.Errorf("%s changed: got a good signature", name)
		}
	}
	if c := newPen(t, "b.example", now); true {
		got, err := envelope.ParseBundle(body, envelope.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := got.OpenSignature(c.p, now); err == nil {
			t.Error("another key of that name: got a good signature")
		}
	}
	if _, err := envelope.OpenReceipt([]byte(b.Signature), b.DocumentHash, maker.p, now); err == nil {
		t.Error("a bundle's signature passed for a receipt")
	}
}

func TestBundleShape(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	full, _ := fullBundle(t, now)
	good := string(mustMarshal(t, full))
	jws := full.Block.Entries[0].JWS.Raw
	for name, c := range map[string]struct{ from, to, rule string }{
		"no JSON":                        {good, `{`, "json"},
		"text after it":                  {good, good + `{}`, "json"},
		"byte order mark":                {good, "\xef\xbb\xbf" + good, "json"},
		"a name twice":                   {`"steps":`, `"steps":[],"steps":`, "duplicateName"},
		"a name twice, deep":             {`"weight":`, `"weight":1,"weight":`, "duplicateName"},
		"bad UTF-8":                      {`<&>`, "\xff", "utf8"},
		"a lone surrogate":               {`<&>`, `\ud800`, "utf8"},
		"another version":                {`eblnode-bundle/1`, `eblnode-bundle/2`, "format"},
		"no format":                      {`"format":"eblnode-bundle/1",`, ``, "missing"},
		"an unknown member":              {`"steps":`, `"x":1,"steps":`, "unknownMember"},
		"an unknown member of made":      {`"by":`, `"x":1,"by":`, "unknownMember"},
		"an unknown member of an entry":  {`"envelopeHash":`, `"x":1,"envelopeHash":`, "unknownMember"},
		"an unknown member of a check":   {`"platform":`, `"x":1,"platform":`, "unknownMember"},
		"names in another case":          {`"steps":`, `"Steps":`, "unknownMember"},
		"no maker":                       {`"by":"b.example",`, ``, "missing"},
		"no chain":                       {`"chain":[`, `"chain":null,"steps":[],"receipts":[],"rejections":[],"branches":[` + `],"trust":[],"checks":[]}` + "\x00", "json"},
		"a maker who is no domain":       {`"by":"b.example"`, `"by":"b example"`, "host"},
		"no time":                        {`"at":"2026-11-23T04:00:00.000Z","selection"`, `"at":"today","selection"`, "time"},
		"an hour of one digit":           {`"at":"2026-11-23T04:00:00.000Z","selection"`, `"at":"2026-11-23T4:00:00.000Z","selection"`, "time"},
		"a comma in a time":              {`"at":"2026-11-23T04:00:00.000Z","platform"`, `"at":"2026-11-23T04:00:00,000Z","platform"`, "time"},
		"another selection":              {`"selection":"bill"`, `"selection":"all"`, "value"},
		"a hash in capitals":             {full.DocumentHash.String(), strings.Repeat("A", 64), "hash"},
		"a document that is a list":      {`"document":{`, `"document":[{}],"x":{`, "unknownMember"},
		"a number that changes":          {`1.50`, `12345678901234567890`, "number"},
		"steps that are no list":         {`"steps":[`, `"steps":{},"x":[`, "type"},
		"a step that is an envelope":     {full.Steps[0].JWS.Raw, jws, "typ"},
		"a rejection that is a receipt":  {full.Rejections[0].JWS.Raw, full.Receipts[0].Raw, "typ"},
		"a receipt that is a rejection":  {full.Receipts[0].Raw, full.Rejections[0].JWS.Raw, "typ"},
		"a verdict that is a receipt":    {full.Verdict.JWS.Raw, full.Receipts[0].Raw, "typ"},
		"an entry that is a step":        {jws, full.Steps[0].JWS.Raw, "missing"},
		"a JWS in another spelling":      {jws, jws + "=", "jws"},
		"a JWS of two parts":             {jws, strings.SplitN(jws, ".", 2)[1], "jws"},
		"a branch below zero":            {`"at":0`, `"at":-1`, "value"},
		"a branch nowhere":               {`"at":0,`, ``, "missing"},
		"a branch of nothing":            {`"at":0,"entries":["` + full.Branches[0].Entries[0].JWS.Raw, `"at":0,"entries":[],"x":["`, "unknownMember"},
		"a certificate that is no text":  {`"AQID"`, `"AQ*D"`, "base64"},
		"a certificate in two lines":     {`"AQID"`, `"AQ\nID"`, "base64"},
		"an empty OCSP answer":           {`"BAUG"`, `""`, "base64"},
		"a trust entry that is a string": {`"trust":[{`, `"trust":["",{`, "type"},
		"a check without time":           {`"at":"2026-11-23T04:00:00.000Z","platform"`, `"platform"`, "missing"},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, c.from, c.to, 1)
			if bad == good {
				t.Fatal("nothing changed")
			}
			_, err := envelope.ParseBundle([]byte(bad), envelope.Limits{})
			f, ok := errors.AsType[*envelope.FormatError](err)
			if !ok || f.Rule != c.rule {
				t.Errorf("got %v (%+v), want the rule %s", err, f, c.rule)
			}
		})
	}
}

func TestBundleLimits(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	full, _ := fullBundle(t, now)
	good := string(mustMarshal(t, full))
	many := func(s string, n int) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for name, c := range map[string]struct {
		body   string
		limits envelope.Limits
	}{
		"bytes":        {good, envelope.Limits{Body: len(good) - 1}},
		"depth":        {good, envelope.Limits{Depth: 3}},
		"entries":      {strings.Replace(good, `"chain":[`, `"chain":[`+many(`{"envelopeHash":"","signature":""}`, 1000)+",", 1), envelope.Limits{}},
		"steps":        {strings.Replace(good, `"steps":[`, `"steps":[`+many(`""`, 1000)+",", 1), envelope.Limits{}},
		"receipts":     {strings.Replace(good, `"receipts":[`, `"receipts":[`+many(`""`, 1000)+",", 1), envelope.Limits{}},
		"branches":     {strings.Replace(good, `"branches":[`, `"branches":[`+many(`{}`, 63)+",", 1), envelope.Limits{}},
		"certificates": {strings.Replace(good, `"certificates":[`, `"certificates":[`+many(`"AA=="`, 4000)+",", 1), envelope.Limits{}},
		"a large one":  {strings.Replace(good, `"AQID"`, `"`+strings.Repeat("AAAA", 30000)+`"`, 1), envelope.Limits{}},
		"checks":       {strings.Replace(good, `"checks":[`, `"checks":[`+many(`{}`, 4000)+",", 1), envelope.Limits{}},
		"trust":        {strings.Replace(good, `"trust":[`, `"trust":[`+many(`{}`, 1000)+",", 1), envelope.Limits{}},
		"brackets":     {strings.Repeat("[", 1<<20), envelope.Limits{}},
		"document":     {strings.Replace(good, `<&>`, strings.Repeat("x", 9<<20), 1), envelope.Limits{}},
	} {
		_, err := envelope.ParseBundle([]byte(c.body), c.limits)
		f, ok := errors.AsType[*envelope.FormatError](err)
		if !ok || f.Rule != "limit" || f.Limit == "" {
			t.Errorf("%s: got %v (%+v), want the rule limit and the limit's name", name, err, f)
		}
	}
}

// TestManyContinuationsLeaveTheFileReadable: a peer that signs as many long continuations as it
// can takes nobody's evidence away. Each keeps its beginning.
func TestManyContinuationsLeaveTheFileReadable(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Second)
	full, maker := fullBundle(t, now)
	lost := full.Branches[0].Entries[0]
	var txs [][]byte
	for range 1000 {
		txs = append(txs, step(t, "a.example", "x@b.example", envelope.Issue, now))
	}
	large, err := envelope.Seal(full.DocumentHash, envelope.Hash{}, txs, maker.Signer)
	if err != nil {
		t.Fatal(err)
	}
	dispute, err := envelope.SignRejection(envelope.Rejection{EnvelopeHash: lost.Hash(), JWSSum: envelope.HashOf([]byte(lost.JWS.Raw)), Sender: maker.p.Domain, Receiver: maker.p.Domain, Code: envelope.DisputeCode, At: now}, maker.Signer)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		branches   int
		entries    []envelope.Entry
		rejections int
		first      int // entries of the first branch, at least
	}{
		"long":     {3, slices.Repeat([]envelope.Entry{lost}, 600), 1, 590},
		"large":    {60, []envelope.Entry{large, large}, 1, 1},
		"many":     {70, []envelope.Entry{lost}, 1, 1},
		"disputed": {1, []envelope.Entry{lost}, 1500, 1},
	} {
		b := *full
		b.Made.At = now
		b.Branches = slices.Repeat([]envelope.Branch{{From: "a.example", Entries: c.entries}}, c.branches)
		b.Rejections = append(slices.Repeat([]envelope.BundleRejection{{JWS: envelope.JWS{Raw: dispute}}}, c.rejections), full.Rejections...)
		if err := b.Sign(maker.Signer); err != nil {
			t.Fatal(err)
		}
		got, err := envelope.ParseBundle(mustMarshal(t, &b), envelope.Limits{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := got.OpenSignature(maker.p, now); err != nil {
			t.Errorf("%s: the maker's signature: %v", name, err)
		}
		if len(got.Branches) < min(c.branches, 10) || len(got.Branches[0].Entries) < min(len(c.entries), c.first) || got.Branches[0].Entries[0].Hash() != c.entries[0].Hash() {
			t.Errorf("%s: got %d branches, want the beginning of each", name, len(got.Branches))
		}
		kept := slices.ContainsFunc(got.Rejections, func(r envelope.BundleRejection) bool { return r.Rejection.Code != envelope.DisputeCode })
		if kept != (name != "large") {
			t.Errorf("%s: the rejection of what is in the file, and only that: got %t", name, kept)
		}
	}
}

// TestBundleDocumentIsOptional: a document that was deleted leaves its hash.
func TestBundleDocumentIsOptional(t *testing.T) {
	full, maker := fullBundle(t, time.Now().UTC().Truncate(time.Second))
	full.Block.Document = nil
	if err := full.Sign(maker.Signer); err != nil {
		t.Fatal(err)
	}
	got, err := envelope.ParseBundle(mustMarshal(t, full), envelope.Limits{})
	if err != nil || got.Block.Document != nil {
		t.Errorf("got %v and document %s, want none", err, got.Block.Document)
	}
	if fmt.Sprint(got.DocumentHash) != fmt.Sprint(full.DocumentHash) {
		t.Errorf("got %s, want %s", got.DocumentHash, full.DocumentHash)
	}
}
