package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"eblnode/identity"
)

// A CertificateSource gives the certificate to show in a handshake. It is asked each
// time, so that a renewed one is used without a restart.
type CertificateSource func() (*tls.Certificate, error)

// Fixed is the source of one certificate.
func Fixed(c tls.Certificate) CertificateSource {
	return func() (*tls.Certificate, error) { return &c, nil }
}

// cipherSuites are those for TLS 1.2 (wire document, section 10); TLS 1.3 has its own.
// Without the list Go would offer CBC suites too.
var cipherSuites = []uint16{
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
}

func baseTLS() *tls.Config {
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		CipherSuites: cipherSuites,
		// One protocol, one parser, where nobody gains by another.
		NextProtos: []string{"http/1.1"},
	}
}

// ServerTLS is for the peer listener: the handshake succeeds only with the certificate of
// a platform in trust at that time. The check is in VerifyConnection, so that a resumed
// session is checked as the first one was; the handlers check once more at each request,
// since a trust entry may change while a connection lives.
func ServerTLS(source CertificateSource, trust func() *identity.Trust, now func() time.Time) *tls.Config {
	return ServerTLSAsking(source, trust, now, nil)
}

// A RevocationCheck says whether the certificates of a connection, proved to be p's, are
// revoked; discovery.OCSP.CheckTLS is one. An error ends the connection. It may wait some
// seconds for a network.
type RevocationCheck func(ctx context.Context, p *identity.Platform, s tls.ConnectionState) error

// revocationTime bounds a RevocationCheck in a handshake.
const revocationTime = 8 * time.Second

// ServerTLSAsking is ServerTLS that asks, in each handshake, whether the certificate is
// revoked; nil: nobody is asked.
func ServerTLSAsking(source CertificateSource, trust func() *identity.Trust, now func() time.Time, revoked RevocationCheck) *tls.Config {
	c := baseTLS()
	// Peers may use either. Who asks belongs to the connection, and so to each of its streams.
	c.NextProtos = []string{"h2", "http/1.1"}
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return source() }
	c.ClientAuth = tls.RequireAnyClientCert // the path, where there is one, is checked by the trust entry
	c.VerifyConnection = func(s tls.ConnectionState) error {
		p, err := trust().PeerByTLS(s.PeerCertificates, now())
		if err != nil {
			return err
		}
		return revoked.check(context.Background(), p, s)
	}
	return c
}

func (f RevocationCheck) check(ctx context.Context, p *identity.Platform, s tls.ConnectionState) error {
	if f == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, revocationTime)
	defer cancel()
	return f(ctx, p, s)
}

// ClientTLS is for connections to peer: the handshake fails unless the server proves, by
// peer's trust entry, to be peer, so that no byte of a request goes to anybody else. The
// name in the certificate is not compared with the URL: DNS says where a peer is, and
// the entry who it is.
func ClientTLS(source CertificateSource, peer *identity.Platform, now func() time.Time, revoked RevocationCheck) *tls.Config {
	c := baseTLS()
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return source() }
	c.InsecureSkipVerify = true // the check below is in its place, and stricter
	c.ClientSessionCache = &sessions{source: source}
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if peer == nil {
			return errors.New("no peer to connect to")
		}
		if err := peer.CheckTLS(s.PeerCertificates, identity.ServerAuth, now()); err != nil {
			return fmt.Errorf("this is not %s: %w", peer.Domain, err)
		}
		return revoked.check(context.Background(), peer, s)
	}
	return c
}

// PublicTLS is for listeners whose callers show no certificate.
func PublicTLS(source CertificateSource) *tls.Config {
	c := baseTLS()
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return source() }
	return c
}
