package testvectors_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/catest"
	"eblnode/judge"
)

// A pki is a bill of one entry under authorities that somebody made up, a file about it, and
// a trust file: for asking two readers.
type pki struct {
	*testing.T
	*rand.Rand
	base, signed time.Time
	notes        []string // what is unusual, for whoever must find out why the readers differ
	path         []*catest.Authority
	certs        []*x509.Certificate // leaf first, root last
	key, bank    *ecdsa.PrivateKey
}

// one in n, and what it is.
func (p *pki) rare(n int, note string) bool {
	if p.IntN(n) != 0 {
		return false
	}
	p.notes = append(p.notes, note)
	return true
}

// edit makes a certificate unusual.
func (p *pki) edit(authority bool) catest.Edit {
	return func(c *x509.Certificate) {
		if p.rare(45, "ended") {
			c.NotAfter = p.base.Add(-time.Hour)
		}
		if p.rare(45, "later") {
			c.NotBefore = p.base.Add(time.Hour)
		}
		if p.rare(45, "for servers") {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
		if p.rare(45, "another usage") {
			c.KeyUsage = x509.KeyUsageDataEncipherment
		}
		if p.rare(3, "asks") {
			c.OCSPServer = []string{"http://ocsp.example"}
		}
		switch {
		case !authority:
		case p.rare(20, "path length"):
			c.MaxPathLen, c.MaxPathLenZero = p.IntN(2), true
		case p.rare(30, "permitted names"):
			c.PermittedDNSDomains = []string{[]string{"example", "bank.example", ".carrier.example", "carrier.example"}[p.IntN(4)]}
		case p.rare(30, "excluded names"):
			c.ExcludedDNSDomains = []string{[]string{"example", "bank.example"}[p.IntN(2)]}
		case p.rare(40, "no authority"):
			c.IsCA = false
		}
	}
}

// authorityKey is now and then one that the policy refuses.
func (p *pki) authorityKey() crypto.Signer {
	if !p.rare(40, "weak key") {
		return catest.NewKey(p.T)
	}
	k, err := ecdsa.GenerateKey(elliptic.P224(), crand.Reader)
	if err != nil {
		p.Fatal(err)
	}
	return k
}

// make makes root, authorities and leaf.
func (p *pki) make() {
	p.key, p.notes = catest.NewKey(p.T), nil
	p.signed = p.base
	p.path = []*catest.Authority{catest.NewOf(p.T, "root", p.authorityKey(), p.edit(true))}
	for i := range p.IntN(4) {
		p.notes = append(p.notes, fmt.Sprintf("%d:", i))
		p.path = append(p.path, p.path[i].SubOf(p.T, []string{"sub", "root"}[p.IntN(2)], p.authorityKey(), p.edit(true)))
	}
	p.notes = append(p.notes, "leaf:")
	short := p.rare(3, "short")
	leaf := p.path[len(p.path)-1].Issue(p.T, p.key, catest.Names("carrier.example"), func(c *x509.Certificate) {
		if p.rare(6, "named as who signed it") {
			c.Subject = p.path[len(p.path)-1].Cert.Subject
		}
		if short {
			c.NotBefore, c.NotAfter = p.base.Add(-72*time.Hour), p.base.Add(96*time.Hour)
		}
	}, p.edit(false))
	p.certs = []*x509.Certificate{leaf}
	for i := range p.path {
		p.certs = append(p.certs, p.path[len(p.path)-1-i].Cert)
	}
}

var b64 = base64.RawURLEncoding.EncodeToString

func jwk(k *ecdsa.PrivateKey, kid string) map[string]any {
	raw, _ := k.PublicKey.Bytes()
	return map[string]any{"kty": "EC", "crv": "P-256", "kid": kid, "x": b64(raw[1:33]), "y": b64(raw[33:])}
}

func (p *pki) text(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		p.Fatal(err)
	}
	return text
}

func (p *pki) jws(k *ecdsa.PrivateKey, header map[string]any, payload string) string {
	header["alg"] = "ES256"
	text := b64(p.text(header)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(crand.Reader, k, sum[:])
	if err != nil {
		p.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + b64(signature)
}

// x5c is the path without the root, with now and then one missing, one too many, or too many.
func (p *pki) x5c() (list []string) {
	for i, c := range p.certs[:len(p.certs)-1] {
		if i == 0 || !p.rare(8, "one missing") {
			list = append(list, base64.StdEncoding.EncodeToString(c.Raw))
		}
	}
	if p.rare(15, "a stray") {
		list = append(list, base64.StdEncoding.EncodeToString(catest.NewOf(p.T, "stray", p.authorityKey()).Cert.Raw))
	}
	if p.rare(15, "about ten") {
		for most := 9 + p.IntN(3); len(list) < most; {
			list = append(list, base64.StdEncoding.EncodeToString(p.certs[len(p.certs)-1].Raw))
		}
	}
	return list
}

func sum(b []byte) string { return envelope.HashOf(b).String() }

// check is what a maker looked at: some of the certificates, and answers about them.
func (p *pki) check(jws string, file map[string]any) map[string]any {
	at := p.signed.Add(time.Duration(p.IntN(120)-10) * time.Minute)
	certificates, answers := []string{}, []string{}
	keep := func(list string, der []byte, sums *[]string) {
		file[list] = append(file[list].([]string), base64.StdEncoding.EncodeToString(der))
		*sums = append(*sums, sum(der))
	}
	if p.rare(10, "ten others first") {
		for range 10 {
			keep("certificates", catest.NewOf(p.T, "root", catest.NewKey(p.T)).Cert.Raw, &certificates)
		}
	}
	for i, c := range p.certs {
		if p.IntN(2) == 0 {
			keep("certificates", c.Raw, &certificates)
		}
		if i == len(p.certs)-1 {
			break
		}
		for range []int{0, 1, 1, 1, 2}[p.IntN(5)] {
			by := p.path[len(p.path)-1-i]
			s := catest.Single{Cert: c, Issuer: p.certs[i+1], ThisUpdate: at.Add(-time.Duration(p.IntN(60)) * time.Minute), NextUpdate: at.Add(time.Hour)}
			if p.rare(4, fmt.Sprintf("revoked %d", i)) {
				s.Status, s.RevokedAt, s.Reason = catest.Revoked, p.signed.Add(time.Duration(p.IntN(60)-30)*time.Minute), []int{0, 1, 2, 4, 10}[p.IntN(5)]
			}
			a := catest.Answer{Singles: []catest.Single{s}, By: by, Produced: s.ThisUpdate, Bare: p.rare(8, "bare")}
			keep("ocsp", a.DER(p.T), &answers)
		}
	}
	return map[string]any{"jws": sum([]byte(jws)), "at": at.Format(time.RFC3339), "platform": "carrier.example", "key": sum(nil), "certificates": certificates, "ocsp": answers}
}

// ask makes the file and the trust file.
func (p *pki) ask() (text, trust []byte) {
	anchors := []string{catest.PEM(p.path[0].Cert)}
	if p.rare(6, "another anchor") {
		anchors = []string{catest.PEM(p.certs[p.IntN(len(p.certs))])}
	}
	ocsp := map[string]any{"shortLived": p.rare(2, "passes over the short")}
	if p.rare(3, "responder") {
		ocsp["responder"] = "http://r.example"
	}
	carrier := map[string]any{"domain": "carrier.example", "issuer": true, "mode": "ca", "anchors": anchors, "ocsp": ocsp}
	pinned := p.rare(4, "pinned")
	if pinned {
		carrier["mode"] = "pinned"
	}
	header, x5c := map[string]any{}, p.x5c()
	if !p.rare(6, "no kid") {
		header["kid"] = "k"
	}
	if p.rare(4, "listed") || pinned {
		key := jwk(p.key, "k")
		key["x5c"] = x5c
		carrier["keys"] = map[string]any{"keys": []any{key}}
	} else {
		header["x5c"] = x5c
	}
	bank := map[string]any{"domain": "bank.example", "quirks": map[string]any{"bareKey": true}, "keys": map[string]any{"keys": []any{jwk(p.bank, "b")}}}
	document := sum([]byte("{}"))
	payload := fmt.Sprintf(`{"documentHash":"%s","transactions":[{"instruction":"ISSU","isToOrder":true,"platformHost":"https://carrier.example","timestamp":%d,"transferee":"ben@bank.example"}]}`, document, p.signed.UnixMilli())
	jws, hash := p.jws(p.key, header, payload), sum([]byte(payload))
	file := map[string]any{"format": "eblnode-bundle/1", "made": map[string]any{"by": "bank.example", "at": p.base.Format(time.RFC3339), "selection": "bill"}, "documentHash": document,
		"chain": []any{map[string]any{"envelopeHash": hash, "signature": jws}}, "certificates": []string{}, "ocsp": []string{}}
	if p.rare(2, "receipt") {
		file["receipts"] = []string{p.jws(p.bank, map[string]any{"kid": "b", "typ": envelope.TypReceipt, "iat": p.signed.Add(time.Duration(p.IntN(40)) * time.Minute).Unix()}, hash)}
	}
	checks := []any{}
	for range p.IntN(3) {
		checks = append(checks, p.check(jws, file))
	}
	file["checks"] = checks
	return p.text(file), p.text(map[string]any{"platforms": []any{carrier, bank}})
}

// TestBothReadersAgreeOnAuthorities asks both readers about keys under authorities that were made
// at random: what stands above a key, who may be asked about it, and what was answered.
func TestBothReadersAgreeOnAuthorities(t *testing.T) {
	nodeJS(t, "batch.mjs") // skips without Node
	p := &pki{T: t, Rand: rand.New(rand.NewPCG(2, 9)), base: time.Now().UTC().Truncate(time.Second), bank: catest.NewKey(t)}
	var qs []question
	var reports []*judge.Report
	var notes []string
	for len(qs) < max(200, mutations()/20) {
		p.make()
		text, trust := p.ask()
		platforms, err := identity.ParseTrust(trust)
		if err != nil {
			continue // no reader's trust file
		}
		all, err := identity.NewTrust(platforms...)
		if err != nil {
			t.Fatal(err)
		}
		now := p.base.Add(time.Duration(p.IntN(200)) * time.Hour)
		var file struct {
			Chain json.RawMessage `json:"chain"`
		}
		if err := json.Unmarshal(text, &file); err != nil {
			t.Fatal(err)
		}
		block := p.text(map[string]any{"document": map[string]any{}, "endorsementChain": file.Chain})
		for kind, text := range map[string][]byte{"bundle": text, "block": block} {
			qs = append(qs, question{Kind: kind, Trust: string(trust), At: now.Format(time.RFC3339), Input: text})
			reports = append(reports, judge.File(text, judge.Options{Trust: all, Now: now}))
			notes = append(notes, kind+": "+strings.Join(p.notes, ", "))
		}
	}
	seen := map[string]int{}
	for i, got := range askNode(t, qs) {
		r := reports[i]
		seen[r.Rule]++
		want, rule := expects[r.Verdict], r.Rule
		if qs[i].Kind == "block" { // in the words of its vectors
			want, rule = map[judge.Verdict]string{judge.Valid: "accept", judge.ValidThen: "accept", judge.Indeterminate: "indeterminate", judge.Invalid: "signature"}[r.Verdict], r.Reason
		}
		if got.Expect != want || got.Reason != rule {
			t.Errorf("Go says %s %s (%s), Node says %s %s (%s): %s", r.Verdict, r.Rule, r.Detail, got.Expect, got.Reason, got.Detail, notes[i])
		}
	}
	t.Logf("%d files, both readers agree: %v", len(qs), seen)
	if len(seen) < 5 {
		t.Errorf("only %d different answers: %v", len(seen), seen)
	}
}
