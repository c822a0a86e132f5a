package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"eblnode/identity"
	"eblnode/internal/keyfile"

	"github.com/spf13/cobra"
)

// authorityName is the name of our own small authority among the key files: ca-peers.
const authorityName = "peers"

// authorityYears is how long it lives. It signs nothing that outlives it.
const authorityYears = 10

// A signPlan is what eblnode peer sign-csr is told.
type signPlan struct {
	domain, out string
	hosts       []string
	life        span
	yes         bool
}

func (a *app) peerSignCSR() *cobra.Command {
	p := signPlan{life: span(identity.MaxClientLifetime)}
	c := &cobra.Command{
		Use: "sign-csr FILE --domain DOMAIN", Short: "Certify a peer's key for connections to us", Args: cobra.ExactArgs(1),
		Long: `Sign a certificate request (PKCS #10, PEM) of a peer with our own small authority, made at
the first use (keys/ca-peers.key): a client certificate for connections to us, for one
year at most. The request must name the peer's domain and no host that is not the peer's.

The fingerprint of the requested key is shown; confirm it once the peer has said the same
over another channel. If we hold a trust entry of the peer, it then knows the peer by this
certificate too: by its pin where the entry has pins, by our authority where it has
anchors or neither.`,
		Example: `  eblnode peer sign-csr bank.csr --domain bank.example --out bank-for-us.pem`,
		RunE:    func(c *cobra.Command, args []string) error { return a.signCSR(c, args[0], p) },
	}
	f := c.Flags()
	f.StringVar(&p.domain, "domain", "", "whose request it is (needed)")
	f.StringSliceVar(&p.hosts, "host", nil, "another host of a peer of which we hold no entry yet")
	f.Var(&p.life, "for", "how long the certificate is valid, 365d at most (default 365d)")
	f.Lookup("for").DefValue = ""
	f.StringVar(&p.out, "out", "", "write the certificate to this new file instead of printing it")
	f.BoolVar(&p.yes, "yes", false, "the fingerprint has been compared; do not ask")
	return c
}

func (a *app) signCSR(c *cobra.Command, file string, p signPlan) error {
	if p.domain == "" {
		return usage("--domain is needed: whose request is it?")
	}
	domain, err := identity.ParseHost(p.domain)
	if err != nil {
		return usage("--domain: %s", err)
	}
	if time.Duration(p.life) > identity.MaxClientLifetime || p.life == 0 {
		return usage("--for: up to 365d")
	}
	text, err := a.readArg(file)
	if err != nil {
		return err
	}
	return a.withAdmin(c, func(r *remote) error {
		peer, err := heldEntry(c.Context(), r, domain)
		if err != nil {
			return err
		}
		named := peer
		if named == nil {
			named = &identity.Platform{Domain: domain}
			for _, s := range p.hosts {
				h, err := identity.ParseHost(s)
				if err != nil {
					return usage("--host: %s", err)
				}
				named.Hosts = append(named.Hosts, h)
			}
		}
		return a.certify(c.Context(), r, text, named, peer, p)
	})
}

// certify signs the request of named; peer is its entry, nil where we hold none.
func (a *app) certify(ctx context.Context, r *remote, request []byte, named, peer *identity.Platform, p signPlan) error {
	csr, err := identity.ParseRequest(request, named)
	if err != nil {
		return refused("%w", err)
	}
	if peer != nil {
		if err := mayBeAsked(peer, time.Duration(p.life)); err != nil {
			return err
		}
	}
	key := &identity.Key{Public: csr.PublicKey}
	fmt.Fprintf(a.errOut, "domain: %s\n  names: %v\n  fingerprint of the key: %s\n", named.Domain, csr.DNSNames, key.Fingerprint())
	if !p.yes && !a.agreed("Does the peer say the same fingerprint? [y/N] ") {
		return refused("the request of %s is not confirmed, so nothing was signed (--yes says that you have compared the fingerprint)", named.Domain)
	}
	ca, err := a.authority()
	if err != nil {
		return err
	}
	now := time.Now().Truncate(time.Second)
	cert, err := ca.Sign(csr, now, now.Add(time.Duration(p.life)))
	if err != nil {
		return refused("%w", err)
	}
	if p.out != "" {
		if err := writeNew(p.out, keyfile.CertificatesPEM(cert, ca.Certificate)); err != nil {
			return err
		}
	}
	pin := identity.SPKIPin(cert)
	if peer != nil {
		if err := knowBy(ctx, r, peer, pin, ca); err != nil {
			return err
		}
	}
	v := map[string]any{"domain": named.Domain.String(), "certificate": string(keyfile.CertificatesPEM(cert)), "authority": string(keyfile.CertificatesPEM(ca.Certificate)),
		"fingerprint": key.Fingerprint(), "pin": identity.PinText(pin), "notAfter": cert.NotAfter.UTC(), "trusted": peer != nil}
	return a.print(v, func(w io.Writer) {
		if p.out == "" {
			_, _ = w.Write(keyfile.CertificatesPEM(cert, ca.Certificate))
		} else {
			fmt.Fprintf(w, "wrote %s: valid until %s; hand it to the peer, who takes it with: eblnode key import %s --peer OUR-DOMAIN\n", p.out, cert.NotAfter.UTC().Format(time.DateOnly), filepath.Base(p.out))
		}
		if peer == nil {
			fmt.Fprintf(a.errOut, "we hold no trust entry of %s yet: its tls.pins must have %s when you add it\n", named.Domain, identity.PinText(pin))
		}
	})
}

// mayBeAsked refuses a certificate that would open no connection: the responder that the entry
// names is asked about each that the peer shows, and knows none of our authority.
func mayBeAsked(peer *identity.Platform, life time.Duration) error {
	if c := peer.OCSP; c.Responder == "" || c.SoftTLS || c.ShortLived && life <= identity.ShortLife {
		return nil
	}
	return refused("our entry of %s names the OCSP responder %s, which would be asked about this certificate and does not know it, so that it would open no connection; have the peer's own certificates name their responder and take ocsp.responder out of the entry, or say \"tls\": \"soft\" beside it", peer.Domain, plain(peer.OCSP.Responder))
}

// knowBy lets the peer's entry know it by a certificate of our authority.
func knowBy(ctx context.Context, r *remote, peer *identity.Platform, pin [32]byte, ca *identity.Authority) error {
	p, changed := known(*peer, pin, ca.Certificate)
	if !changed {
		return nil
	}
	text, err := p.JSON()
	if err != nil {
		return err
	}
	return r.call(ctx, http.MethodPost, "/admin/v1/peers", text, nil)
}

// known is p with what a certificate of that pin by that authority must have to count: where
// the entry has pins its own, where it has anchors its authority, and so both where it has both.
func known(p identity.Platform, pin [32]byte, ca *x509.Certificate) (_ identity.Platform, changed bool) {
	pinned := len(p.TLS.Pins) > 0
	if pinned && !slices.Contains(p.TLS.Pins, pin) {
		p.TLS.Pins, changed = append(slices.Clone(p.TLS.Pins), pin), true
	}
	if (!pinned || len(p.TLS.Anchors) > 0) && !slices.ContainsFunc(p.TLS.Anchors, ca.Equal) {
		p.TLS.Anchors, changed = append(slices.Clone(p.TLS.Anchors), ca), true
	}
	return p, changed
}

// authority opens our own small authority, and makes it where there is none.
func (a *app) authority() (*identity.Authority, error) {
	c, err := loadConfig(a.data)
	if err != nil {
		return nil, err
	}
	access, folder := c.access(), filepath.Join(a.data, keysDir)
	cert, private := keyfile.CertificateFile(folder, keyfile.CA, authorityName), keyfile.PrivateFile(folder, keyfile.CA, authorityName)
	chain, err := keyfile.ReadCertificates(cert)
	if err == nil {
		priv, err := keyfile.ReadPrivate(private, access)
		if err != nil {
			return nil, err
		}
		return identity.OpenAuthority(chain[0], priv)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	priv, err := authorityKey(folder, private, access)
	if err != nil {
		return nil, err
	}
	now := time.Now().Truncate(time.Second)
	ca, err := identity.NewAuthority(priv, clipName(c.Domain)+" peers", now.Add(-time.Hour), now.AddDate(authorityYears, 0, 0))
	if err != nil {
		return nil, err
	}
	return ca, writeNew(cert, keyfile.CertificatesPEM(ca.Certificate))
}

// authorityKey makes the key of an authority that has no certificate yet, or takes the one that
// a command left behind that was stopped before it had made that.
func authorityKey(folder, path string, access *keyfile.Access) (crypto.Signer, error) {
	priv, err := keyfile.ReadPrivate(path, access)
	if !errors.Is(err, fs.ErrNotExist) {
		return priv, err
	}
	if err := sameCare(folder, access); err != nil {
		return nil, err
	}
	if priv, err = identity.GenerateKey(identity.ES384); err != nil {
		return nil, err
	}
	text, err := privateText(priv, access)
	if err != nil {
		return nil, err
	}
	return priv, writeNew(path, text)
}

// clipName keeps a domain within a common name.
func clipName(s string) string { return s[:min(len(s), 50)] }
