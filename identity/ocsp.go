package identity

import (
	"bytes"
	"crypto"
	_ "crypto/sha1" // CertIDs are named by it; it protects nothing there
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"

	"golang.org/x/crypto/ocsp"
)

// Limits of an OCSP answer (RFC 6960).
const (
	MaxOCSPAnswer = 64 << 10        // bytes
	OCSPSkew      = 5 * time.Minute // how far a responder's clock may be ahead of ours
	OCSPMaxAge    = 24 * time.Hour  // of an answer that does not say when the next one comes
	maxStatuses   = 100             // of certificates in one answer
	// How long an answer may claim to be good; about an authority's certificate longer, since a
	// root that is kept off the network speaks once a year.
	nextUpdateFar          = 32 * 24 * time.Hour
	nextUpdateFarAuthority = 400 * 24 * time.Hour
)

// A Question asks whether one certificate is revoked.
type Question struct {
	Certificate, Issuer *x509.Certificate
	Responder           string // URL to ask
	// Others are asked in their order, where Responder gives no answer that holds.
	Others []string
}

// A Status is what an OCSP answer says of one certificate.
type Status struct {
	Good bool
	// Revoked is when, where it is revoked: the earlier of the time of revocation and the
	// invalidity date. Reason is the RFC 5280 name, "unspecified" if none is given.
	Revoked time.Time
	Reason  string
	// ThisUpdate is when the responder knew this; Until is when the answer loses its worth.
	ThisUpdate, Until time.Time
}

// Request is the OCSP request, DER. It has no nonce: responders that sign in advance
// ignore it, and an answer is judged by its times.
func (q Question) Request() ([]byte, error) {
	der, err := ocsp.CreateRequest(q.Certificate, q.Issuer, nil)
	if err != nil {
		return nil, fmt.Errorf("making an OCSP request: %w", err)
	}
	return der, nil
}

// An OCSPRefusal is an answer that says nothing, and which rule it broke.
type OCSPRefusal struct {
	Rule string // one of OCSPRules
	Err  error
}

// OCSPRules are the rules that an OCSPRefusal can name, in the order in which they are
// looked at.
var OCSPRules = []string{
	"unreadable", // no OCSP response, none that says anything, or one whose signature is wrong
	"signer",     // not signed by the issuer or by whom it appointed
	"policy",     // signed with a key or an algorithm that is too weak
	"extension",  // a critical extension that nobody understands
	"ahead",      // made after now
	"about",      // not about this certificate of this issuer, or more than once
	"ended",      // its time is over, or too long
	"unknown",    // the responder does not know the certificate
}

func (e *OCSPRefusal) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *OCSPRefusal) Unwrap() error { return e.Err }

func refused(rule, format string, a ...any) error {
	return &OCSPRefusal{rule, fmt.Errorf(format, a...)}
}

// Read judges an OCSP answer at the time now. The error says why the answer says nothing
// about the certificate; then its state is unknown, whatever the answer claims. It is an
// *OCSPRefusal.
//
// x/crypto/ocsp checks that some certificate of the issuer signed. That is not enough:
// each certificate that the authority ever issued could vouch for itself. Checked here,
// beyond it:
//
//  1. the answer is about this issuer: both hashes of the CertID are computed again;
//  2. and about this serial number, in exactly one of its statuses;
//  3. it is signed by the issuer itself, or by a certificate that the issuer signed for
//     id-kp-OCSPSigning;
//  4. such a delegate is valid now, and exempt from being asked about (ocsp-nocheck): nobody
//     else could say whether it is revoked;
//  5. thisUpdate and producedAt are not ahead of now by more than OCSPSkew;
//  6. nextUpdate has not passed; without one, thisUpdate is at most OCSPMaxAge ago;
//  7. keys and signature algorithms meet the certificate policy: no SHA-1, no RSA below 2048;
//  8. "unknown" and statuses of none of the three kinds are errors, and so are critical
//     extensions that nobody understands.
func (q Question) Read(answer []byte, now time.Time) (Status, error) {
	s, err := q.read(answer, now)
	if err != nil {
		return Status{}, fmt.Errorf("reading an OCSP answer about %s: %w", certText(q.Certificate), err)
	}
	return s, nil
}

func (q Question) read(answer []byte, now time.Time) (Status, error) {
	if q.Certificate == nil || q.Issuer == nil {
		return Status{}, refused("about", "the certificate or its issuer is not known")
	}
	if len(answer) > MaxOCSPAnswer {
		return Status{}, refused("unreadable", "%d bytes, more than %d", len(answer), MaxOCSPAnswer)
	}
	// The signature by the embedded certificate, and that certificate's by the issuer, are
	// checked by the library.
	r, err := ocsp.ParseResponseForCert(answer, q.Certificate, q.Issuer)
	if err != nil {
		// An authority below another that sends its own certificate along: the library wants
		// that one to be signed by itself.
		again, other := ocsp.ParseResponseForCert(answer, q.Certificate, nil)
		if other != nil || again.Certificate == nil || !bytes.Equal(again.Certificate.Raw, q.Issuer.Raw) {
			return Status{}, refused("unreadable", "%w", err)
		}
		r = again
	}
	if err := q.checkResponderOf(r, now); err != nil {
		return Status{}, refused(ruleOf(err, "signer"), "%w", err)
	}
	data, err := parseStatuses(r.TBSResponseData)
	if err != nil {
		return Status{}, refused(ruleOf(err, "unreadable"), "%w", err)
	}
	if data.ProducedAt.After(now.Add(OCSPSkew)) {
		return Status{}, refused("ahead", "it was made at %s, after now", data.ProducedAt.UTC().Format(time.RFC3339))
	}
	mine := slices.DeleteFunc(slices.Clone(data.Responses), func(s singleResponse) bool { return !q.is(s.CertID) })
	if len(mine) != 1 {
		return Status{}, refused("about", "%d of its %d statuses are about this certificate of this issuer", len(mine), len(data.Responses))
	}
	far := nextUpdateFar
	if q.Certificate.BasicConstraintsValid && q.Certificate.IsCA {
		far = nextUpdateFarAuthority
	}
	s, err := mine[0].status(now, far)
	// Beyond the end of who signed it nobody believes it: it must be asked for again by then.
	if d := r.Certificate; err == nil && d != nil && !q.isIssuer(d) && d.NotAfter.Before(s.Until) {
		s.Until = d.NotAfter.UTC()
	}
	return s, err
}

// isIssuer reports whether c is the issuer's certificate, or another one that it signed for its
// own name and key: a root that was made anew, perhaps, while an entry still has the old one. It
// is the key that signs.
func (q Question) isIssuer(c *x509.Certificate) bool {
	return bytes.Equal(c.Raw, q.Issuer.Raw) ||
		bytes.Equal(c.RawSubject, q.Issuer.RawSubject) && samePublic(c.PublicKey, q.Issuer.PublicKey) && c.CheckSignatureFrom(q.Issuer) == nil
}

// ruleOf is the rule of a part of the check that broke the certificate policy, else another.
func ruleOf(err error, otherwise string) string {
	p, ok := errors.AsType[*PolicyError](err)
	switch {
	case !ok || p.Rule == RuleExtKeyUsage || p.Rule == RuleKeyUsage:
		return otherwise
	case p.Rule == RuleExtensions:
		return "extension"
	}
	return "policy"
}

// checkResponderOf looks at who signed.
func (q Question) checkResponderOf(r *ocsp.Response, now time.Time) error {
	if err := checkPublic(q.Issuer.PublicKey); err != nil {
		return fmt.Errorf("the issuer: %w", err)
	}
	switch r.SignatureAlgorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
	default:
		return breach(RuleSignature, "it is signed with %v", r.SignatureAlgorithm)
	}
	d := r.Certificate
	if d == nil || q.isIssuer(d) {
		// Once more by ourselves, since for an embedded certificate the library asks only
		// who signed that.
		if err := r.CheckSignatureFrom(q.Issuer); err != nil {
			return fmt.Errorf("it is not signed by the issuer: %w", err)
		}
		return nil
	}
	if err := d.CheckSignatureFrom(q.Issuer); err != nil {
		return fmt.Errorf("its responder is not one of the issuer: %w", err)
	}
	if !slices.Contains(d.ExtKeyUsage, x509.ExtKeyUsageOCSPSigning) {
		return breach(RuleExtKeyUsage, "its responder's certificate is not for OCSPSigning")
	}
	if hasKeyUsage(d) && d.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return breach(RuleKeyUsage, "the key usage of its responder's certificate lacks digitalSignature")
	}
	if now.Before(d.NotBefore) || now.After(d.NotAfter) {
		return fmt.Errorf("its responder's certificate is not valid at %s", now.UTC().Format(time.RFC3339))
	}
	if !slices.ContainsFunc(d.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNoCheck) }) {
		return errors.New("its responder's certificate lacks ocsp-nocheck, so that somebody would have to be asked about it")
	}
	if len(d.UnhandledCriticalExtensions) > 0 {
		return breach(RuleExtensions, "the critical extension %v of its responder's certificate is not understood", d.UnhandledCriticalExtensions[0])
	}
	if err := checkPublic(d.PublicKey); err != nil {
		return err
	}
	return checkSignatureAlgorithm(d)
}

var (
	oidNoCheck        = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 5}
	oidInvalidityDate = asn1.ObjectIdentifier{2, 5, 29, 24}
)

// hashes are those that a CertID may be made with.
var hashes = map[string]crypto.Hash{
	"1.3.14.3.2.26": crypto.SHA1, "2.16.840.1.101.3.4.2.1": crypto.SHA256, "2.16.840.1.101.3.4.2.2": crypto.SHA384, "2.16.840.1.101.3.4.2.3": crypto.SHA512,
}

// The part of RFC 6960, section 4.2.1, that x/crypto/ocsp keeps to itself.
type responseData struct {
	Version     int `asn1:"optional,default:0,explicit,tag:0"`
	ResponderID asn1.RawValue
	ProducedAt  time.Time `asn1:"generalized"`
	Responses   []singleResponse
	Extensions  []pkix.Extension `asn1:"optional,explicit,tag:1"`
}

type singleResponse struct {
	CertID     certID
	Good       asn1.Flag        `asn1:"tag:0,optional"`
	Revoked    revokedInfo      `asn1:"tag:1,optional"`
	Unknown    asn1.Flag        `asn1:"tag:2,optional"`
	ThisUpdate time.Time        `asn1:"generalized"`
	NextUpdate time.Time        `asn1:"generalized,explicit,tag:0,optional"`
	Extensions []pkix.Extension `asn1:"explicit,tag:1,optional"`
}

type certID struct {
	Hash             pkix.AlgorithmIdentifier
	NameHash, IDHash []byte
	Serial           *big.Int
}

type revokedInfo struct {
	At     time.Time       `asn1:"generalized"`
	Reason asn1.Enumerated `asn1:"explicit,tag:0,optional"`
}

func parseStatuses(der []byte) (responseData, error) {
	var d responseData
	rest, err := asn1.Unmarshal(der, &d)
	if err == nil && len(rest) > 0 {
		err = errors.New("data after its end")
	}
	if err == nil && (d.Version != 0 || len(d.Responses) > maxStatuses) {
		err = fmt.Errorf("version %d with %d statuses", d.Version+1, len(d.Responses))
	}
	if err == nil {
		err = noCritical(d.Extensions)
	}
	return d, err
}

func noCritical(list []pkix.Extension) error {
	for _, e := range list {
		if e.Critical {
			return breach(RuleExtensions, "its critical extension %v is not understood", e.Id)
		}
	}
	return nil
}

// is computes both hashes of the issuer again.
func (q Question) is(id certID) bool {
	h, known := hashes[id.Hash.Algorithm.String()]
	if !known || id.Serial == nil || id.Serial.Cmp(q.Certificate.SerialNumber) != 0 {
		return false
	}
	var spki struct {
		Algorithm pkix.AlgorithmIdentifier
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(q.Issuer.RawSubjectPublicKeyInfo, &spki); err != nil {
		return false
	}
	sum := func(b []byte) []byte {
		w := h.New()
		w.Write(b)
		return w.Sum(nil)
	}
	return bytes.Equal(id.NameHash, sum(q.Issuer.RawSubject)) && bytes.Equal(id.IDHash, sum(spki.Key.RightAlign()))
}

func (s singleResponse) status(now time.Time, far time.Duration) (Status, error) {
	if err := noCritical(s.Extensions); err != nil {
		return Status{}, refused("extension", "%w", err)
	}
	if s.ThisUpdate.After(now.Add(OCSPSkew)) {
		return Status{}, refused("ahead", "it speaks of %s, after now", s.ThisUpdate.UTC().Format(time.RFC3339))
	}
	out := Status{Good: bool(s.Good), ThisUpdate: s.ThisUpdate.UTC(), Until: s.NextUpdate.UTC()}
	switch {
	case s.NextUpdate.IsZero():
		out.Until = s.ThisUpdate.Add(OCSPMaxAge).UTC()
	case s.NextUpdate.Before(s.ThisUpdate) || s.NextUpdate.Sub(s.ThisUpdate) > far:
		return Status{}, refused("ended", "it is to be good from %s to %s", s.ThisUpdate.UTC().Format(time.RFC3339), s.NextUpdate.UTC().Format(time.RFC3339))
	}
	if now.After(out.Until) {
		return Status{}, refused("ended", "it was good until %s", out.Until.Format(time.RFC3339))
	}
	switch {
	case bool(s.Good):
		return out, nil
	case bool(s.Unknown):
		return Status{}, refused("unknown", "the responder does not know the certificate")
	case s.Revoked.At.IsZero():
		return Status{}, refused("unknown", "it has no status")
	}
	out.Revoked, out.Reason = s.Revoked.At.UTC(), reasonName(int(s.Revoked.Reason))
	// The date from which the key is suspected; the time of revocation is when somebody noticed.
	for _, e := range s.Extensions {
		var since time.Time
		if !e.Id.Equal(oidInvalidityDate) {
			continue
		}
		if _, err := asn1.UnmarshalWithParams(e.Value, &since, "generalized"); err != nil {
			return Status{}, refused("unreadable", "its invalidity date cannot be read")
		}
		if since.Before(out.Revoked) {
			out.Revoked = since.UTC()
		}
	}
	return out, nil
}

// reasonName names a CRLReason of RFC 5280, section 5.3.1. One that does not exist could
// mean anything, so it means the worst.
func reasonName(n int) string {
	switch {
	case n >= 0 && n < 7:
		return reasons[n]
	case n == 9 || n == 10:
		return reasons[n-2] // 7 is not used, and 8 is removeFromCRL
	}
	return ReasonKeyCompromise
}

// certText names a certificate in an error.
func certText(c *x509.Certificate) string {
	if c == nil {
		return "no certificate"
	}
	return fmt.Sprintf("certificate %x of %q", c.SerialNumber, clip(c.Issuer.CommonName))
}
