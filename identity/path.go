package identity

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// oidDocumentSigning is id-kp-documentSigning (RFC 9336).
var oidDocumentSigning = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 36}

// ErrNoAnchor is in the tree of an error of [Platform.Certify] if the certificates lead to
// no anchor of the entry. It may be an anchor that we have not been given yet, so, unlike a
// broken rule, it is nothing to sign about.
var ErrNoAnchor = errors.New("no path to the anchors of the entry")

// KeyFromX5C makes the key that the x5c of a JWS brings (RFC 7515, section 4.1.6), for a
// platform in ModeCA. It is worth nothing before [Platform.Certify] has led it to an anchor
// at the time of the signature. A key that the entry lists is given as it is listed, with
// its window and its revocation: a message cannot bring it back under another name.
func (p *Platform) KeyFromX5C(kid string, x5c []string) (*Key, error) {
	if p.Mode != ModeCA {
		return nil, fmt.Errorf("%s is not trusted by its authorities", p.Domain)
	}
	if len(x5c) == 0 || len(x5c) > maxChain {
		return nil, breach(RulePath, "x5c has %d certificates, not 1 to %d", len(x5c), maxChain)
	}
	var chain []*x509.Certificate
	for i, s := range x5c {
		der, err := decodeBase64(base64.StdEncoding, s)
		if err == nil {
			var c *x509.Certificate
			if c, err = parseCertificate(der); err == nil {
				chain = append(chain, c)
			}
		}
		if err != nil {
			return nil, breach(RulePath, "certificate %d of x5c cannot be read", i)
		}
	}
	if err := checkPublic(chain[0].PublicKey); err != nil {
		return nil, err
	}
	for _, k := range p.Keys {
		if samePublic(k.Public, chain[0].PublicKey) {
			return k, nil
		}
	}
	if kid == "" {
		kid = KeyID(chain[0].PublicKey)
	}
	if err := checkKid(kid); err != nil {
		return nil, breach(RulePath, "%s", err)
	}
	return &Key{ID: kid, Platform: p.Domain, Public: chain[0].PublicKey, Certificates: chain,
		NotBefore: chain[0].NotBefore.UTC(), NotAfter: chain[0].NotAfter.UTC()}, nil
}

// Certify says whether k, a key of p, may be believed for a signature of the time at, as
// far as its certificates go. In ModePinned it is k itself. In ModeCA it is k with a path,
// leaf first and anchor last, that was valid then: policy, digitalSignature or
// nonRepudiation in a key usage, an extended key usage (if there is one) that allows
// documents or mail to be signed, the platform's domain among the DNS names, and a path by
// RFC 5280 to the entry's anchors and no others, and somebody who can be asked whether it is
// revoked, unless it is the anchor or the entry passes over it. more are certificates that may stand in
// the path; they are believed no more than those of k.
//
// The error is a *PolicyError that names the rule, or ErrNoAnchor. Revocation is another
// question: [Platform.Questions].
func (p *Platform) Certify(k *Key, at time.Time, more []*x509.Certificate) (*Key, error) {
	if p.Mode != ModeCA {
		return k, nil
	}
	if len(k.Certificates) == 0 {
		return nil, breach(RulePath, "the key %q has no certificate", k.ID)
	}
	path, err := p.signingPath(k.Certificates, at, more)
	if err != nil {
		return nil, err
	}
	certified := *k
	certified.Certificates = path
	// What nobody can be asked about could be stolen for years.
	if _, err := p.questions(&certified); err != nil {
		return nil, err
	}
	return &certified, nil
}

// A foundPath is one that Verify found, and the time in which it holds.
type foundPath struct {
	path     []*x509.Certificate
	from, to time.Time
}

var foundPaths memo[foundPath]

// signingPath does not search again for a path that it has found once.
func (p *Platform) signingPath(chain []*x509.Certificate, at time.Time, more []*x509.Certificate) ([]*x509.Certificate, error) {
	name := pathName(p, chain, more)
	if f, ok := foundPaths.get(name); ok && !at.Before(f.from) && !at.After(f.to) {
		return f.path, nil
	}
	if err := checkSigningLeaf(chain[0], p.Domain); err != nil {
		return nil, err
	}
	path, err := p.searchPath(chain, at, more)
	if err != nil {
		return nil, err
	}
	f := foundPath{path: path, from: path[0].NotBefore, to: path[0].NotAfter}
	for _, c := range path[1:] {
		if c.NotBefore.After(f.from) {
			f.from = c.NotBefore
		}
		if c.NotAfter.Before(f.to) {
			f.to = c.NotAfter
		}
	}
	foundPaths.put(name, f)
	return path, nil
}

// pathName covers all that the verdict depends on but the time. more too: else a path that
// one file brought would be found for another file that lacks it, and what a verifier says
// of a file would depend on the files before it.
func pathName(p *Platform, chain, more []*x509.Certificate) [32]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%s %d %d\n", p.Domain.Name, len(chain), len(p.Anchors))
	for _, c := range slices.Concat(chain, p.Anchors, more) {
		sum := sha256.Sum256(c.Raw)
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}

func checkSigningLeaf(leaf *x509.Certificate, domain Host) error {
	if err := CheckPolicy(leaf); err != nil {
		return err
	}
	if leaf.BasicConstraintsValid && leaf.IsCA {
		return breach(RuleKeyUsage, "the certificate is an authority's, which signs certificates and nothing else")
	}
	// The keys of a platform's TLS servers lie where its signing keys do not.
	if leaf.KeyUsage&(x509.KeyUsageDigitalSignature|x509.KeyUsageContentCommitment) == 0 {
		return breach(RuleKeyUsage, "the key usage has neither digitalSignature nor nonRepudiation")
	}
	if !allowsSigning(leaf) {
		return breach(RuleExtKeyUsage, "the extended key usage allows neither documents nor mail to be signed")
	}
	if !slices.ContainsFunc(leaf.DNSNames, func(san string) bool { return strings.EqualFold(san, domain.Name) }) {
		return breach(RuleName, "the certificate names %s, not %s", sanText(leaf), domain.Name)
	}
	return nil
}

// allowsSigning: no extended key usage at all allows everything.
func allowsSigning(c *x509.Certificate) bool {
	return len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 ||
		slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageEmailProtection) ||
		slices.ContainsFunc(c.UnknownExtKeyUsage, oidDocumentSigning.Equal)
}

func (p *Platform) searchPath(chain []*x509.Certificate, at time.Time, more []*x509.Certificate) ([]*x509.Certificate, error) {
	if at.IsZero() {
		return nil, breach(RulePath, "there is no time to judge it for") // x509 would take its own clock
	}
	if at.Before(chain[0].NotBefore) || at.After(chain[0].NotAfter) {
		return nil, breach(RulePath, "the certificate is valid from %s to %s", chain[0].NotBefore.UTC().Format(time.RFC3339), chain[0].NotAfter.UTC().Format(time.RFC3339))
	}
	opts := x509.VerifyOptions{
		Roots:         x509.NewCertPool(), // nil would mean the system's
		Intermediates: x509.NewCertPool(),
		CurrentTime:   at,
		KeyUsages:     []x509.ExtKeyUsage{x509.ExtKeyUsageAny}, // allowsSigning knows more usages
	}
	for _, c := range p.Anchors {
		opts.Roots.AddCert(c)
	}
	for i, c := range chain[1:] {
		// Before a path is tried: the sizes bound what it costs.
		if err := checkIssuer(c); err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
	}
	more = slices.DeleteFunc(slices.Clone(more[:min(len(more), mostBeside)]), func(c *x509.Certificate) bool { return checkIssuer(c) != nil })
	between := slices.Concat(chain[1:], more)
	for _, c := range between {
		opts.Intermediates.AddCert(c)
	}
	paths, err := chain[0].Verify(opts)
	if err != nil {
		// Which of several errors x509 gives depends on the order in which it tries.
		if !leads(chain[0], between, p.Anchors) {
			return nil, fmt.Errorf("%w of %s", ErrNoAnchor, p.Domain)
		}
		return nil, breach(RulePath, "%s", strings.TrimPrefix(err.Error(), "x509: "))
	}
	for _, path := range paths {
		if !slices.ContainsFunc(path[1:], func(c *x509.Certificate) bool { return !allowsSigning(c) }) {
			return path, nil
		}
	}
	return nil, breach(RuleExtKeyUsage, "the extended key usage of an authority in the path does not allow signing")
}

// mostBeside bounds the certificates beside those of the key: ten of x5c, ten of the evidence.
const mostBeside = 2 * maxChain

// mostSignatures bounds the search of leads, as x509 bounds its own.
const mostSignatures = 100

// leads reports whether signatures lead from the leaf to an anchor at all, whatever else is wrong
// with the certificates: then no other anchor or certificate that somebody finds mends it.
func leads(leaf *x509.Certificate, between, anchors []*x509.Certificate) bool {
	if slices.ContainsFunc(anchors, leaf.Equal) {
		return true
	}
	tried := 0
	signs := func(parent, c *x509.Certificate) bool {
		if !bytes.Equal(c.RawIssuer, parent.RawSubject) || tried >= mostSignatures {
			return false
		}
		tried++
		return c.CheckSignatureFrom(parent) == nil
	}
	reached := []*x509.Certificate{leaf}
	for i := 0; i < len(reached); i++ {
		c := reached[i]
		if slices.ContainsFunc(anchors, func(a *x509.Certificate) bool { return signs(a, c) }) {
			return true
		}
		for _, b := range between {
			if !slices.ContainsFunc(reached, b.Equal) && signs(b, c) {
				reached = append(reached, b)
			}
		}
	}
	return false
}

// parseCertificate is x509.ParseCertificate, once for the same bytes.
func parseCertificate(der []byte) (*x509.Certificate, error) {
	sum := sha256.Sum256(der)
	if c, ok := parsedCertificates.get(sum); ok {
		return c, nil
	}
	c, err := x509.ParseCertificate(der)
	if err == nil {
		parsedCertificates.put(sum, c)
	}
	return c, err
}

var parsedCertificates memo[*x509.Certificate]

// maxMemo bounds a memo; a full one is emptied, since who fills it has many certificates
// and no favourites.
const maxMemo = 4096

// A memo remembers what a pure function gave, by a hash of all its arguments.
type memo[V any] struct {
	mu sync.RWMutex
	m  map[[32]byte]V
}

func (m *memo[V]) get(k [32]byte) (V, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	v, ok := m.m[k]
	return v, ok
}

func (m *memo[V]) put(k [32]byte, v V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.m == nil || len(m.m) >= maxMemo {
		m.m = map[[32]byte]V{}
	}
	m.m[k] = v
}
