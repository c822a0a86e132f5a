package main

import (
	"crypto"
	_ "crypto/sha1" // CertIDs are named by it, and answers that are signed with it are refused
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"time"
)

// An answered is a vector of an OCSP answer: what it says of one certificate at one time.
type answered struct {
	Comment     string     `json:"comment"`
	Spec        string     `json:"spec"`
	Kind        string     `json:"kind"`
	Expect      string     `json:"expect"`
	Reason      string     `json:"reason,omitempty"`
	At          string     `json:"at"`
	Certificate string     `json:"certificate"` // base64 of the DER
	Issuer      string     `json:"issuer"`
	Input       string     `json:"inputBase64"`
	Status      *certState `json:"status,omitempty"`
}

// A certState is what an answer says that counts.
type certState struct {
	Good    bool   `json:"good"`
	Revoked string `json:"revoked,omitempty"` // since when
	Reason  string `json:"reason,omitempty"`
}

// A single is what an answer says of one certificate.
type single struct {
	cert, issuer *x509.Certificate
	status       int // 0 good, 1 revoked, 2 unknown
	revoked      time.Time
	reason       int
	invalidity   time.Time
	this, next   time.Time // no next: zero
	hash         crypto.Hash
	extensions   []pkix.Extension
}

// A response is an OCSP answer in the making.
type response struct {
	singles    []single
	by         *authority
	bare       bool // without the certificate of who signed
	produced   time.Time
	hash       crypto.Hash
	extensions []pkix.Extension
}

var (
	oidHash      = map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: {1, 3, 14, 3, 2, 26}, crypto.SHA256: {2, 16, 840, 1, 101, 3, 4, 2, 1}}
	oidECDSA     = map[crypto.Hash]asn1.ObjectIdentifier{crypto.SHA1: {1, 2, 840, 10045, 4, 1}, crypto.SHA256: {1, 2, 840, 10045, 4, 3, 2}}
	unknownToAll = pkix.Extension{Id: asn1.ObjectIdentifier{1, 2, 3, 4, 5}, Critical: true, Value: []byte{5, 0}}
	noCheck      = pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}, Value: []byte{5, 0}}
)

type certID struct {
	Hash             pkix.AlgorithmIdentifier
	NameHash, IDHash []byte
	Serial           *big.Int
}

type singleResponse struct {
	CertID     certID
	Status     asn1.RawValue
	ThisUpdate time.Time        `asn1:"generalized"`
	NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
	Extensions []pkix.Extension `asn1:"optional,explicit,tag:1"`
}

func hashed(h crypto.Hash, b []byte) []byte {
	w := h.New()
	w.Write(b)
	return w.Sum(nil)
}

func (s single) encode() singleResponse {
	h := s.hash
	if h == 0 {
		h = crypto.SHA1
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	must(asn1.Unmarshal(s.issuer.RawSubjectPublicKeyInfo, &spki))
	out := singleResponse{CertID: certID{pkix.AlgorithmIdentifier{Algorithm: oidHash[h], Parameters: asn1.NullRawValue}, hashed(h, s.issuer.RawSubject), hashed(h, spki.Key.RightAlign()), s.cert.SerialNumber},
		Status: asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: s.status}, ThisUpdate: s.this, NextUpdate: s.next, Extensions: s.extensions}
	if s.status == 1 {
		var info asn1.RawValue
		must(asn1.Unmarshal(must(asn1.Marshal(struct {
			At     time.Time       `asn1:"generalized"`
			Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
		}{s.revoked, asn1.Enumerated(s.reason)})), &info))
		out.Status.IsCompound, out.Status.Bytes = true, info.Bytes
	}
	if !s.invalidity.IsZero() {
		out.Extensions = append(out.Extensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 24}, Value: must(asn1.MarshalWithParams(s.invalidity, "generalized"))})
	}
	return out
}

// der encodes and signs the answer.
func (r response) der() []byte {
	data := struct {
		ResponderID asn1.RawValue
		ProducedAt  time.Time `asn1:"generalized"`
		Responses   []singleResponse
		Extensions  []pkix.Extension `asn1:"optional,explicit,tag:1"`
	}{asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 1, IsCompound: true, Bytes: r.by.cert.RawSubject}, r.produced, nil, r.extensions}
	for _, s := range r.singles {
		data.Responses = append(data.Responses, s.encode())
	}
	tbs, h := must(asn1.Marshal(data)), r.hash
	if h == 0 {
		h = crypto.SHA256
	}
	signature := must(r.by.key.priv.Sign(nil, hashed(h, tbs), h))
	basic := struct {
		Data         asn1.RawValue
		Algorithm    pkix.AlgorithmIdentifier
		Signature    asn1.BitString
		Certificates []asn1.RawValue `asn1:"optional,explicit,tag:0"`
	}{asn1.RawValue{FullBytes: tbs}, pkix.AlgorithmIdentifier{Algorithm: oidECDSA[h]}, asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}, nil}
	if !r.bare {
		basic.Certificates = []asn1.RawValue{{FullBytes: r.by.cert.Raw}}
	}
	type body struct {
		Type asn1.ObjectIdentifier
		Body []byte
	}
	return must(asn1.Marshal(struct {
		Status   asn1.Enumerated
		Response body `asn1:"explicit,tag:0"`
	}{0, body{asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}, must(asn1.Marshal(basic))}}))
}

// An ocspCA is who answers in the vectors: an authority, its responder, and a leaf.
type ocspCA struct {
	g         *generator
	ca, other *authority
	delegate  func(string, func(*x509.Certificate)) *authority
	leaf      *x509.Certificate
}

// minuteAt is a time of the vectors: so many minutes after the first transaction.
func minuteAt(m float64) time.Time {
	return time.UnixMilli(start + int64(m*60000)).UTC().Truncate(time.Second)
}

// said is an answer of minute 30, good for a week, about the leaf.
func (o *ocspCA) said(edit func(*single)) response {
	s := single{cert: o.leaf, issuer: o.ca.cert, this: minuteAt(30), next: minuteAt(30 + 7*24*60)}
	if edit != nil {
		edit(&s)
	}
	return response{singles: []single{s}, by: o.ca, produced: s.this}
}

func (o *ocspCA) put(name, spec, comment string, der []byte, at time.Time, says *certState) {
	v := answered{Comment: comment, Spec: spec, Kind: "ocsp", Expect: "accept", At: at.Format(time.RFC3339), Certificate: base64.StdEncoding.EncodeToString(o.leaf.Raw),
		Issuer: base64.StdEncoding.EncodeToString(o.ca.cert.Raw), Input: base64.StdEncoding.EncodeToString(der), Status: says}
	if says == nil {
		name, v.Expect, v.Reason = "refuse-"+name, "indeterminate", "revocationUnknown"
	}
	o.g.index.add(spec, "ocsp/"+name, v.Expect)
	o.g.write("ocsp/"+name+".json", v)
}

// ocspLeaf is the certificate that the answers are about, of an authority of the family ca.
func (g *generator) ocspLeaf() *x509.Certificate {
	root := &authority{g.key("ca-root"), nil}
	root.cert = issueCertificate(root.key, nil, authorityTemplate("ca-root"))
	return leaf(g.ec("ocsp-leaf", "ES256"), root, func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = newYear, newYear.Add(365*day)
		c.OCSPServer = []string{"http://ocsp.example/"}
	})
}

// ocspVectors are answers of an authority, and which of them count.
func ocspVectors(g *generator) {
	root := &authority{g.key("ca-root"), nil}
	root.cert = issueCertificate(root.key, nil, authorityTemplate("ca-root"))
	o := &ocspCA{g: g, ca: root, other: g.authority("ca-ocsp-other", nil, func(c *x509.Certificate) { c.Subject = root.cert.Subject })}
	o.leaf = g.ocspLeaf()
	o.delegate = func(name string, edit func(*x509.Certificate)) *authority {
		k := g.ec(name, "ES256")
		return &authority{k, issueCertificate(k, root, func() *x509.Certificate {
			t := template(name)
			t.KeyUsage, t.ExtKeyUsage, t.ExtraExtensions = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}, []pkix.Extension{noCheck}
			if edit != nil {
				edit(t)
			}
			return t
		}())}
	}
	g.trust("ocsp", platform{Domain: carrier, Issuer: true, Mode: "ca", Anchors: anchor(root)}, platform{Domain: bank, Keys: keys(g.key("bank-1").public()), Quirks: bare})
	pinned := g.key("ocsp-leaf").public()
	pinned.X5c = [][]byte{o.leaf.Raw, root.cert.Raw}
	g.trust("ocsp-pinned", platform{Domain: carrier, Issuer: true, Keys: keys(pinned)}, platform{Domain: bank, Keys: keys(g.key("bank-1").public()), Quirks: bare})
	o.good()
	o.bad()
}

func (o *ocspCA) good() {
	at := minuteAt(31)
	good := func(name, comment string, r response) {
		o.put(name, "K9", comment, r.der(), at, &certState{Good: true})
	}
	good("issuer", "signed by the issuer itself", o.said(nil))
	bare := o.said(nil)
	bare.bare = true
	good("issuer-bare", "the certificate of the issuer need not be there", bare)
	by := o.said(nil)
	by.by = o.delegate("ocsp-delegate", nil)
	good("delegate", "signed by a responder that the issuer appointed", by)
	good("sha256", "the issuer may be named by SHA-256 too", o.said(func(s *single) { s.hash = crypto.SHA256 }))
	good("ahead", "the responder's clock may be five minutes ahead", o.said(func(s *single) { s.this = minuteAt(36) }))
	good("no-next", "without nextUpdate an answer serves for a day", o.said(func(s *single) { s.this, s.next = minuteAt(31-24*60), time.Time{} }))
	good("last-moment", "until nextUpdate, that moment included", o.said(func(s *single) { s.this, s.next = minuteAt(-60), at }))
	other := o.said(nil)
	another := single{cert: o.other.cert, issuer: o.ca.cert, status: 1, revoked: minuteAt(0), this: minuteAt(30), next: minuteAt(60)}
	other.singles = append(other.singles, another)
	good("among-others", "one answer may speak of several certificates", other)
	revoked := func(name, comment string, edit func(*single), since float64, reason string) {
		r := o.said(func(s *single) { s.status, s.revoked = 1, minuteAt(20); edit(s) })
		o.put(name, "K8", comment, r.der(), at, &certState{Revoked: minuteAt(since).Format(time.RFC3339), Reason: reason})
	}
	revoked("revoked-superseded", "replaced by another", func(s *single) { s.reason = 4 }, 20, "superseded")
	revoked("revoked-unspecified", "nobody says why", func(*single) {}, 20, "unspecified")
	revoked("revoked-stolen", "the key was stolen", func(s *single) { s.reason = 1 }, 20, "keyCompromise")
	revoked("revoked-authority-stolen", "the key of the authority was stolen", func(s *single) { s.reason = 2 }, 20, "cACompromise")
	revoked("revoked-for-a-reason-that-is-none", "a reason that does not exist could mean anything, so it means the worst", func(s *single) { s.reason = 7 }, 20, "keyCompromise")
	revoked("revoked-suspected-before", "the invalidity date is before the time of revocation, and counts", func(s *single) { s.reason, s.invalidity = 1, minuteAt(5) }, 5, "keyCompromise")
	revoked("revoked-suspected-after", "an invalidity date after the revocation changes nothing", func(s *single) { s.reason, s.invalidity = 1, minuteAt(25) }, 20, "keyCompromise")
	// For the bundles: the same certificate, revoked before and after something was signed.
	revoked("revoked-at-the-beginning", "revoked when the first entry was signed", func(s *single) { s.reason, s.revoked = 4, minuteAt(0) }, 0, "superseded")
}

func (o *ocspCA) bad() {
	at := minuteAt(31)
	bad := func(name, comment string, r response) { o.put(name, "K9", comment, r.der(), at, nil) }
	signed := func(by *authority) response { r := o.said(nil); r.by = by; return r }
	usual := func(s *single) {}
	bad("stranger", "signed by another authority of the same name", signed(o.other))
	bad("leaf-for-itself", "the certificate vouches for itself", signed(&authority{o.g.key("ocsp-leaf"), o.leaf}))
	bad("delegate-of-another-use", "a certificate of the issuer that is not for OCSPSigning", signed(o.delegate("ocsp-use", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })))
	bad("delegate-enciphers", "the responder's certificate may not sign", signed(o.delegate("ocsp-enciphers", func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment })))
	bad("delegate-ended", "the responder's certificate has ended", signed(o.delegate("ocsp-ended", func(c *x509.Certificate) { c.NotAfter = minuteAt(30) })))
	bad("delegate-not-yet", "the responder's certificate begins later", signed(o.delegate("ocsp-not-yet", func(c *x509.Certificate) { c.NotBefore = minuteAt(40) })))
	bad("delegate-could-be-revoked", "without ocsp-nocheck somebody would have to be asked about the responder", signed(o.delegate("ocsp-check", func(c *x509.Certificate) { c.ExtraExtensions = nil })))
	bad("delegate-critical", "a critical extension in the responder's certificate that nobody knows", signed(o.delegate("ocsp-critical", func(c *x509.Certificate) { c.ExtraExtensions = append(c.ExtraExtensions, unknownToAll) })))
	weak := o.said(nil)
	weak.hash = crypto.SHA1
	bad("sha1", "signed with SHA-1", weak)
	bad("next-passed", "nextUpdate has passed", o.said(func(s *single) { s.this, s.next = minuteAt(-60), minuteAt(30) }))
	bad("from-the-future", "more than five minutes ahead", o.said(func(s *single) { s.this = minuteAt(37) }))
	made := o.said(usual)
	made.produced = minuteAt(37)
	bad("made-in-the-future", "made more than five minutes ahead", made)
	bad("no-next-old", "without nextUpdate, and older than a day", o.said(func(s *single) { s.this, s.next = minuteAt(30-24*60), time.Time{} }))
	bad("good-for-years", "nobody may be sure for more than 32 days", o.said(func(s *single) { s.next = minuteAt(33 * 24 * 60) }))
	bad("next-before-this", "it ended before it began", o.said(func(s *single) { s.this, s.next = minuteAt(33), minuteAt(32) }))
	bad("other-issuer", "about a certificate of another authority of that name, with this serial number", o.said(func(s *single) { s.issuer = o.other.cert }))
	bad("other-serial", "about another certificate", o.said(func(s *single) { s.cert = o.other.cert }))
	twice := o.said(nil)
	twice.singles = append(twice.singles, twice.singles[0])
	bad("twice", "two statuses of one certificate", twice)
	bad("unknown", "the responder does not know the certificate", o.said(func(s *single) { s.status = 2 }))
	bad("critical", "a critical extension of the status that nobody knows", o.said(func(s *single) { s.extensions = []pkix.Extension{unknownToAll} }))
	whole := o.said(nil)
	whole.extensions = []pkix.Extension{unknownToAll}
	bad("critical-whole", "a critical extension of the answer that nobody knows", whole)
	sound := o.said(nil).der()
	flipped := append([]byte{}, sound...)
	flipped[len(flipped)/3] ^= 1
	o.put("changed", "K9", "one bit was changed", flipped, at, nil)
	o.put("trailing-data", "K9", "a byte after its end", append(append([]byte{}, sound...), 0), at, nil)
	o.put("cut", "K9", "cut", sound[:len(sound)-1], at, nil)
	o.put("try-later", "K9", "the responder has no time", []byte{0x30, 0x03, 0x0a, 0x01, 0x03}, at, nil)
	o.put("empty", "K9", "nothing", nil, at, nil)
	o.put("html", "K9", "a page that says good", []byte("<html>good</html>"), at, nil)
	// At minute 0 it was from the future: an answer is judged for the time of the check.
	o.put("before-it-was-made", "K9", "judged for a time before it was made", sound, minuteAt(0), nil)
}
