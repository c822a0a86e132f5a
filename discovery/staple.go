package discovery

import (
	"crypto/tls"
	"crypto/x509"

	"eblnode/identity"
)

// ownQuestion is the question about a certificate of ours, if it names a responder and its
// issuer stands beside it.
func ownQuestion(c *tls.Certificate) (identity.Question, bool) {
	if c == nil || len(c.Certificate) < 2 {
		return identity.Question{}, false
	}
	leaf := c.Leaf
	if leaf == nil {
		var err error
		if leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return identity.Question{}, false
		}
	}
	if len(leaf.OCSPServer) == 0 {
		return identity.Question{}, false
	}
	others := leaf.OCSPServer[1:]
	issuer, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil || leaf.CheckSignatureFrom(issuer) != nil {
		return identity.Question{}, false
	}
	return identity.Question{Certificate: leaf, Issuer: issuer, Responder: leaf.OCSPServer[0], Others: others[:min(len(others), 3)]}, true
}
