package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// Limits of a trust file. They bound the work that a file costs that was sent by
// somebody else, and are far above what a platform needs.
const (
	MaxTrustSize = 4 << 20 // bytes of a trust file
	MaxKeys      = 1000    // keys of one platform
	maxText      = 255     // bytes of a name or code
	maxURL       = 2048    // bytes of an endpoint
)

// ParseTrust reads a trust file: one entry, an array of entries, or
// {"platforms": […]}. The text is read strictly: no name twice, none in another
// case, none that is not known (a JWK may have members of its own), nothing after
// the end. One bad entry refuses the whole, since half a trust file trusts
// somebody other than its author meant. An error begins with the JSON path of
// what is wrong; a bad key or certificate is also a *PolicyError.
//
// The entries are checked one by one; [NewTrust] compares them with each other.
func ParseTrust(data []byte) ([]*Platform, error) {
	if len(data) > MaxTrustSize {
		return nil, fmt.Errorf("the trust file has %d bytes, more than %d", len(data), MaxTrustSize)
	}
	root, err := readJSON(data)
	if err != nil {
		return nil, err
	}
	path, list := "", []any(nil)
	switch v := root.(type) {
	case []any:
		list = v
	case map[string]any:
		if _, many := v["platforms"]; !many {
			p := readPlatform(newObject("", v, &err))
			if err != nil {
				return nil, err
			}
			return []*Platform{p}, nil
		}
		o := newObject("", v, &err)
		o.only("platforms")
		path, list = "platforms", o.list("platforms")
	default:
		return nil, errors.New("a trust file is an object or an array")
	}
	var platforms []*Platform
	for i, v := range list {
		p := readPlatform(newObject(element(path, i), v, &err))
		if err != nil {
			return nil, err
		}
		platforms = append(platforms, p)
	}
	if err != nil {
		return nil, err
	}
	return platforms, nil
}

func readPlatform(o *object) *Platform {
	o.only("domain", "name", "code", "hosts", "endpoint", "mode", "anchors", "issuer", "carriers", "keys", "tls", "ocsp", "oauth", "quirks")
	p := &Platform{
		Domain: readHost(o, "domain", o.text("domain")),
		Name:   readFree(o, "name"), Code: readFree(o, "code"),
		Endpoint: o.text("endpoint"), Mode: o.text("mode"),
		Issuer: o.flag("issuer"), Carriers: o.texts("carriers"),
		Anchors: readAnchors(o, "anchors"),
	}
	if !o.has("domain") {
		o.fail("domain", errors.New("missing"))
	}
	for i, s := range o.texts("hosts") {
		p.Hosts = append(p.Hosts, readHost(o, element("hosts", i), s))
	}
	if o.has("endpoint") {
		if err := checkEndpoint(p.Endpoint); err != nil {
			o.fail("endpoint", err)
		}
	}
	switch p.Mode {
	case "":
		p.Mode = ModePinned
	case ModePinned:
	case ModeCA:
		if len(p.Anchors) == 0 {
			o.fail("anchors", errors.New(`missing; in the mode "ca" they are what is trusted`))
		}
	default:
		o.fail("mode", fmt.Errorf("%q is not a mode; leave it out or write %q or %q", clip(p.Mode), ModePinned, ModeCA))
	}
	// To us an empty list means no limit, to its author surely the contrary.
	if o.has("carriers") && len(p.Carriers) == 0 {
		o.fail("carriers", errors.New("empty, which would mean every carrier; leave it out for that"))
	}
	for i, c := range p.Carriers {
		if err := checkFree(c); err != nil {
			o.fail(element("carriers", i), err)
		}
	}
	readTLS(o.object("tls"), &p.TLS)
	readOCSP(o.object("ocsp"), &p.OCSP)
	readOAuth(o.object("oauth"), &p.OAuth)
	readQuirks(o.object("quirks"), &p.Quirks)
	if p.Mode == ModeCA && p.Quirks.BareKey {
		o.fail("quirks.bareKey", errors.New(`in the mode "ca" a key without certificate is nothing`))
	}
	if o.failed() {
		return p
	}
	readKeys(o, p)
	return p
}

// readKeys reads {"keys": {"keys": […]}}. Paths in errors leave out the inner
// name, which every JWK set has.
func readKeys(o *object, p *Platform) {
	set := o.object("keys").list("keys")
	if len(set) == 0 && p.Mode != ModeCA {
		o.fail("keys", errors.New("no key"))
	}
	if len(set) > MaxKeys {
		o.fail("keys", fmt.Errorf("%d keys, more than %d", len(set), MaxKeys))
	}
	if o.failed() {
		return
	}
	kids, material := map[string]bool{}, map[[32]byte]string{}
	for i, v := range set {
		path := element(member(o.path, "keys"), i)
		jwk := newObject(path, v, o.err)
		k := readKey(jwk, p.Domain, p.Quirks.BareKey)
		if o.failed() {
			return
		}
		if k.ID == "" && len(set) > 1 {
			jwk.fail("kid", errors.New("missing; only a single key needs none"))
		}
		if kids[k.ID] {
			jwk.fail("kid", fmt.Errorf("%q names two keys", k.ID))
		}
		// Revoked under one name, the key would live on under the other.
		if other, ok := material[k.Thumbprint()]; ok {
			jwk.failAt(path, fmt.Errorf("the same key as %q", other))
		}
		if err := p.checkStanding(k); err != nil {
			jwk.fail("x5c", err)
		}
		kids[k.ID], material[k.Thumbprint()] = true, k.ID
		p.Keys = append(p.Keys, k)
	}
}

func readTLS(o *object, t *TLSIdentity) {
	o.only("pins", "anchors")
	for i, s := range o.texts("pins") {
		pin, err := ParsePin(s)
		if err != nil {
			o.fail(element("pins", i), err)
		}
		t.Pins = append(t.Pins, pin)
	}
	t.Anchors = readAnchors(o, "anchors")
}

// readOCSP reads how revocation is asked. TLS is hard unless the entry says otherwise: a
// certificate of which nobody knows whether it was stolen opens no connection.
func readOCSP(o *object, c *OCSPPolicy) {
	o.only("responder", "tls", "shortLived")
	c.Responder, c.ShortLived = o.text("responder"), o.flag("shortLived")
	if o.has("responder") {
		if err := checkResponder(c.Responder); err != nil {
			o.fail("responder", err)
		}
	}
	switch mode := o.text("tls"); mode {
	case "", "hard":
	case "soft":
		c.SoftTLS = true
	default:
		o.fail("tls", fmt.Errorf("%q is neither hard nor soft", clip(mode)))
	}
}

func readQuirks(o *object, q *Quirks) {
	o.only("chainField", "documentHash", "envelopeHash", "bareKey", "assertionAudience")
	oneOf := func(name string, values ...string) string {
		s := o.text(name)
		for _, v := range values {
			if s == v {
				return s
			}
		}
		if o.has(name) {
			o.fail(name, fmt.Errorf("%q is not one of %q", clip(s), values))
		}
		return s
	}
	q.ChainField = oneOf("chainField", "endorcementChain", "endorsementChain")
	q.DocumentHash = oneOf("documentHash", "as-sent")
	q.EnvelopeHash = oneOf("envelopeHash", "base64url")
	q.BareKey = o.flag("bareKey")
	q.AssertionAudience = oneOf("assertionAudience", AudienceTokenEndpoint)
}

func readHost(o *object, name, s string) Host {
	if s == "" {
		return Host{}
	}
	h, err := ParseHost(s)
	if err != nil {
		o.fail(name, err)
	}
	return h
}

func readFree(o *object, name string) string {
	s := o.text(name)
	if err := checkFree(s); err != nil {
		o.fail(name, err)
	}
	return s
}

// checkFree refuses what would move the cursor of an operator's terminal or
// change the order of what it shows.
func checkFree(s string) error {
	if len(s) > maxText {
		return fmt.Errorf("%d bytes, more than %d", len(s), maxText)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp) {
			return fmt.Errorf("the control character %U", r)
		}
	}
	return nil
}

func readAnchors(o *object, name string) []*x509.Certificate {
	var anchors []*x509.Certificate
	for i, s := range o.texts(name) {
		c, err := parseAnchor(s)
		if err != nil {
			o.fail(element(name, i), err)
		}
		anchors = append(anchors, c)
	}
	return anchors
}

func parseAnchor(s string) (*x509.Certificate, error) {
	text := []byte(strings.TrimSpace(s))
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 || !bytes.HasPrefix(text, []byte("-----BEGIN ")) {
		return nil, errors.New("not one certificate in PEM form")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return c, checkAnchor(c)
}

// checkEndpoint is rule 3 of the wire document, section 9.
func checkEndpoint(s string) error {
	if len(s) > maxURL {
		return fmt.Errorf("%d bytes, more than %d", len(s), maxURL)
	}
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '\\' {
			return fmt.Errorf("the byte %#02x; a URL is ASCII without spaces", s[i])
		}
	}
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("not a URL") // the cause would repeat a password
	}
	switch {
	case u.Scheme != "https":
		return errors.New("not an https URL")
	case u.User != nil:
		return errors.New("user information is not allowed")
	case strings.ContainsAny(s, "?#"):
		return errors.New("a query or fragment is not allowed")
	}
	_, err = ParseHost(u.Host)
	return err
}

// checkResponder takes http too: an OCSP answer is signed, and responders have always been
// asked so.
func checkResponder(s string) error {
	if len(s) > maxURL {
		return fmt.Errorf("%d bytes, more than %d", len(s), maxURL)
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("not a URL") // the cause would repeat a password
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Opaque != "":
		return errors.New("not an http or https URL")
	case u.User != nil || u.Fragment != "":
		return errors.New("user information or a fragment is not allowed")
	}
	return nil
}

// platformText is an entry as we write it; the order of its members is fixed.
type platformText struct {
	Domain   string      `json:"domain"`
	Name     string      `json:"name,omitempty"`
	Code     string      `json:"code,omitempty"`
	Hosts    []Host      `json:"hosts,omitempty"`
	Endpoint string      `json:"endpoint,omitempty"`
	Mode     string      `json:"mode,omitempty"`
	Anchors  []string    `json:"anchors,omitempty"`
	Issuer   bool        `json:"issuer,omitempty"`
	Carriers []string    `json:"carriers,omitempty"`
	Keys     keySetText  `json:"keys"`
	TLS      *tlsText    `json:"tls,omitempty"`
	OCSP     *ocspText   `json:"ocsp,omitempty"`
	OAuth    *oauthText  `json:"oauth,omitempty"`
	Quirks   *quirksText `json:"quirks,omitempty"`
}

type keySetText struct {
	Keys []jwkText `json:"keys"`
}

type tlsText struct {
	Pins    []string `json:"pins,omitempty"`
	Anchors []string `json:"anchors,omitempty"`
}

type ocspText struct {
	Responder  string `json:"responder,omitempty"`
	TLS        string `json:"tls,omitempty"`
	ShortLived bool   `json:"shortLived,omitempty"`
}

type quirksText struct {
	ChainField   string `json:"chainField,omitempty"`
	DocumentHash string `json:"documentHash,omitempty"`
	EnvelopeHash string `json:"envelopeHash,omitempty"`
	BareKey      bool   `json:"bareKey,omitempty"`

	AssertionAudience string `json:"assertionAudience,omitempty"`
}

// JSON writes p as a trust file of one entry, indented, the same bytes for the
// same entry; [ParseTrust] reads it back to an equal one. An entry that
// ParseTrust would refuse is an error here, so that we never hand one out.
func (p *Platform) JSON() ([]byte, error) {
	t, err := p.text()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(t); err != nil {
		return nil, fmt.Errorf("writing the trust entry of %s: %w", p.Domain, err)
	}
	if _, err := ParseTrust(b.Bytes()); err != nil {
		return nil, fmt.Errorf("writing the trust entry of %s: %w", p.Domain, err)
	}
	return b.Bytes(), nil
}

// Fingerprint is what two operators compare when they exchange entries: the
// SHA-256 of everything that [Platform.JSON] writes, without its indentation, in
// the form of [Fingerprint]. It covers rights and quirks too, so that nobody can
// add "issuer" to a file under way; compare it before editing. Empty for an
// entry that JSON refuses.
func (p *Platform) Fingerprint() string {
	text, err := p.JSON()
	if err != nil {
		return ""
	}
	var b bytes.Buffer
	if err := json.Compact(&b, text); err != nil {
		return ""
	}
	return Fingerprint(sha256.Sum256(b.Bytes()))
}

// SameAs reports whether p and o say the same. Entries that JSON refuses are
// the same as nothing.
func (p *Platform) SameAs(o *Platform) bool {
	a, errA := p.JSON()
	b, errB := o.JSON()
	return errA == nil && errB == nil && bytes.Equal(a, b)
}

func (p *Platform) text() (platformText, error) {
	t := platformText{Domain: p.Domain.String(), Name: p.Name, Code: p.Code, Hosts: p.Hosts, Endpoint: p.Endpoint,
		Mode: p.Mode, Anchors: anchorTexts(p.Anchors), Issuer: p.Issuer, Carriers: p.Carriers,
		Keys: keySetText{Keys: []jwkText{}}, OAuth: p.OAuth.text()}
	for _, k := range p.Keys {
		kt, err := k.text()
		if err != nil {
			return t, fmt.Errorf("writing the trust entry of %s: %w", p.Domain, err)
		}
		t.Keys.Keys = append(t.Keys.Keys, kt)
	}
	if len(p.TLS.Pins)+len(p.TLS.Anchors) > 0 {
		t.TLS = &tlsText{Anchors: anchorTexts(p.TLS.Anchors)}
		for _, pin := range p.TLS.Pins {
			t.TLS.Pins = append(t.TLS.Pins, PinText(pin))
		}
	}
	if p.OCSP != (OCSPPolicy{}) {
		t.OCSP = &ocspText{Responder: p.OCSP.Responder, ShortLived: p.OCSP.ShortLived}
		if p.OCSP.SoftTLS {
			t.OCSP.TLS = "soft"
		}
	}
	if p.Quirks != (Quirks{}) {
		q := quirksText(p.Quirks)
		t.Quirks = &q
	}
	return t, nil
}

func anchorTexts(certs []*x509.Certificate) []string {
	var out []string
	for _, c := range certs {
		out = append(out, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})))
	}
	return out
}
