package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"eblnode/identity"
	"eblnode/internal/keyfile"

	"github.com/spf13/cobra"
)

func (a *app) keyCSR() *cobra.Command {
	p := newKeyPlan{use: "tls", alg: "ES256"}
	var out string
	c := &cobra.Command{
		Use: "csr", Short: "Make a key and a certificate request for it", Args: cobra.NoArgs,
		Long: `Make a private key and print a certificate signing request (PKCS #10, PEM) for it, for an
authority to sign: ours, or that of a peer which certifies its callers itself. The key
stays in keys/ and is used once its certificate has come (eblnode key import). With the
--name of a key that is there already the request is for that one. The fingerprint is
for whoever signs: tell it over another channel.`,
		Example: `  eblnode key csr --name at-bank --out at-bank.csr
  eblnode key import at-bank.pem --peer bank.example --now`,
		RunE: func(*cobra.Command, []string) error { return a.request(&p, out) },
	}
	p.flags(c, "signing or tls")
	c.Flags().StringVar(&p.alg, "alg", p.alg, "algorithm of the key: ES256, ES384, ES512, PS256 …")
	p.hsmFlag(c)
	c.Flags().StringVar(&out, "out", "", "write the request to this new file instead of printing it")
	return c
}

// oneUse reads --use.
func (p *newKeyPlan) oneUse() (keyfile.Use, error) {
	if p.use != "signing" && p.use != "tls" {
		return "", usage("--use %q is not signing or tls", p.use)
	}
	return keyfile.Use(p.use), nil
}

func (a *app) request(p *newKeyPlan, out string) error {
	use, err := p.oneUse()
	if err != nil {
		return err
	}
	alg, err := identity.ParseAlg(p.alg)
	if err != nil {
		return usage("--alg: %s", err)
	}
	c, err := loadConfig(a.data)
	if err != nil {
		return err
	}
	folder := filepath.Join(a.data, keysDir)
	m, err := p.maker(c, folder)
	if err != nil {
		return err
	}
	priv, err := m.keyFor(folder, use, p, alg)
	if err != nil {
		return err
	}
	text, err := identity.NewRequest(priv, c.Domain, c.names())
	if err != nil {
		return err
	}
	if out != "" {
		if err := writeNew(out, text); err != nil {
			return err
		}
	}
	key := &identity.Key{Public: priv.Public()}
	v := map[string]string{"use": p.use, "name": p.name, "fingerprint": key.Fingerprint(), "request": string(text)}
	return a.print(v, func(w io.Writer) {
		if out == "" {
			_, _ = w.Write(text)
		}
		where, more := keyfile.PrivateFile(folder, use, p.name), ""
		if p.hsm != "" {
			where, more = p.hsm+" in hardware", " --hsm "+p.hsm
		}
		fmt.Fprintf(a.errOut, "fingerprint of the key: %s (tell it whoever signs the request, over another channel)\n", key.Fingerprint())
		fmt.Fprintf(a.errOut, "the key is %s; when its certificate has come: eblnode key import FILE --use %s%s\n", where, use, more)
	})
}

// keyFor is the private key of that name, or a new one.
func (m maker) keyFor(folder string, use keyfile.Use, p *newKeyPlan, alg identity.Alg) (crypto.Signer, error) {
	if m.private != nil {
		return m.private, nil
	}
	if p.name != "" {
		if err := keyfile.CheckName(p.name); err != nil {
			return nil, usage("--name: %s", err)
		}
		priv, err := keyfile.ReadPrivate(keyfile.PrivateFile(folder, use, p.name), m.access)
		if !errors.Is(err, fs.ErrNotExist) {
			return priv, err
		}
	}
	name, err := freeName(folder, p.name, time.Now(), []keyfile.Use{use})
	if err != nil {
		return nil, err
	}
	p.name = name
	priv, err := identity.GenerateKey(alg)
	if err != nil {
		return nil, usage("--alg: %s", err)
	}
	text, err := privateText(priv, m.access)
	if err != nil {
		return nil, err
	}
	return priv, writeNew(keyfile.PrivateFile(folder, use, name), text)
}

func (a *app) keyImport() *cobra.Command {
	p := newKeyPlan{use: "tls"}
	var key string
	c := &cobra.Command{
		Use: "import CERTIFICATE", Short: "Take a certificate, with or without its private key", Args: cobra.ExactArgs(1),
		Long: `Take a certificate (PEM, with those above it behind it) for a key that eblnode key csr made,
or for the one in --key. Its turn comes after --in, as with eblnode key rotate; hand the
new trust entry to your peers before. A new certificate for a TLS key that has one takes
its place. With --peer only that peer is shown it, on connections to it.`,
		Example: `  eblnode key import cert.pem --in 7d
  eblnode key import signing.pem --key signing.key --use signing --name 2027`,
		RunE: func(c *cobra.Command, args []string) error { return a.importKey(c, &p, args[0], key) },
	}
	p.flags(c, "signing or tls")
	p.turnFlags(c)
	p.hsmFlag(c)
	c.Flags().StringVar(&key, "key", "", "file with the private key (PEM, mode 0600)")
	c.Flags().StringVar(&p.peer, "peer", "", "the one peer that is shown this TLS certificate: its authority signed it")
	return c
}

// An imported certificate with what goes with it.
type imported struct {
	use    keyfile.Use
	name   string
	chain  []*x509.Certificate
	key    []byte // nil where the private half is in the folder or in hardware
	folder string
	maker  maker
}

func (a *app) importKey(c *cobra.Command, p *newKeyPlan, file, key string) error {
	use, err := p.oneUse()
	if err != nil {
		return err
	}
	cfg, err := loadConfig(a.data)
	if err != nil {
		return err
	}
	domain, err := cfg.domain()
	if err != nil {
		return err
	}
	i := &imported{use: use, name: p.name, folder: filepath.Join(a.data, keysDir)}
	if i.chain, err = keyfile.ReadCertificates(file); err != nil {
		return refused("%w", err)
	}
	if i.maker, err = p.maker(cfg, i.folder); err != nil {
		return err
	}
	if err := i.find(key); err != nil {
		return err
	}
	note := keyfile.Note{From: p.turn(time.Now()), HSM: p.hsm}
	if p.peer != "" {
		peer, err := identity.ParseHost(p.peer)
		if err != nil || use != keyfile.TLS {
			return usage("--peer is a domain, and for TLS certificates")
		}
		note.Peer = peer.String()
		if !c.Flags().Changed("in") {
			note.From = time.Now().UTC().Truncate(time.Second) // nobody else sees it
		}
	}
	if err := i.check(domain, note.Peer); err != nil {
		return refused("%s: %w", file, err)
	}
	if err := i.write(note); err != nil {
		return err
	}
	return a.taken(c.Context(), fmt.Sprintf("took the certificate of the %s key %s", use, i.name), i.name, note.From)
}

// find looks for the private half: in the file, or among the keys that we have.
func (i *imported) find(file string) error {
	priv, err := i.maker.private, error(nil)
	if file != "" {
		if priv, err = keyfile.ReadPrivate(file, i.maker.access); err != nil {
			return refused("%w", err)
		}
	}
	if priv != nil {
		if !keyfile.SameKey(priv.Public(), i.chain[0].PublicKey) {
			return refused("the private key is not the key of the certificate")
		}
		if i.name, err = freeName(i.folder, i.name, time.Now(), []keyfile.Use{i.use}); err == nil && file != "" {
			i.key, err = privateText(priv, i.maker.access)
		}
		return err
	}
	names, err := filepath.Glob(keyfile.PrivateFile(i.folder, i.use, "*"))
	if err != nil {
		return err
	}
	for _, path := range names {
		priv, err := keyfile.ReadPrivate(path, i.maker.access)
		if err != nil {
			return err
		}
		if !keyfile.SameKey(priv.Public(), i.chain[0].PublicKey) {
			continue
		}
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), string(i.use)+"-"), ".key")
		if i.name != "" && i.name != name {
			return usage("the key of this certificate has the name %s already", name)
		}
		i.name = name
		return nil
	}
	return refused("no %s key in %s is that of the certificate; name its file with --key", i.use, i.folder)
}

// check refuses what peers would.
func (i *imported) check(domain identity.Host, peer string) error {
	leaf, now := i.chain[0], time.Now()
	if now.After(leaf.NotAfter) {
		return fmt.Errorf("it expired at %s", leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	if i.use == keyfile.Signing {
		if _, err := os.Lstat(keyfile.CertificateFile(i.folder, i.use, i.name)); err == nil {
			return fmt.Errorf("the key %s has a certificate, by which older signatures are checked; make a new key", i.name)
		}
		k, err := identity.NewKey(domain, i.name, i.chain...)
		if err != nil {
			return err
		}
		// As peers will read it: one that names an OCSP responder needs its issuer beside it.
		us := &identity.Platform{Domain: domain, Mode: identity.ModePinned, Keys: []*identity.Key{k}}
		_, err = us.JSON()
		return err
	}
	if !slices.Contains(leaf.DNSNames, domain.Name) {
		return fmt.Errorf("it does not name %s", domain.Name)
	}
	usages := []identity.Usage{identity.ClientAuth, identity.ServerAuth}
	if peer != "" {
		usages = usages[:1] // nobody calls us by it
	}
	us := &identity.Platform{Domain: domain, TLS: identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(leaf)}}}
	at := now
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	for _, u := range usages {
		if err := us.CheckTLS(i.chain, u, at); err != nil {
			return err
		}
	}
	return nil
}

func (i *imported) write(note keyfile.Note) error {
	if err := keyfile.WriteNote(i.folder, i.use, i.name, note); err != nil {
		return err
	}
	if i.key != nil {
		if err := writeNew(keyfile.PrivateFile(i.folder, i.use, i.name), i.key); err != nil {
			return err
		}
	}
	return keyfile.Replace(keyfile.CertificateFile(i.folder, i.use, i.name), keyfile.CertificatesPEM(i.chain...))
}

func (a *app) keyRevoke() *cobra.Command {
	var reason string
	c := &cobra.Command{
		Use: "revoke NAME", Short: "Say that a signing key of ours has lost its standing", Args: cobra.ExactArgs(1),
		Long: `Mark a signing key as revoked from now on: our trust entry and our JWK set say so, and it
signs nothing any more. This cannot be taken back. With the reason keyCompromise older
signatures of it count only where they can be shown to be older. Peers believe it when
they have the new trust entry: hand it to them at once.`,
		Example: `  eblnode key rotate --use signing --now && eblnode key revoke 2026-05 --reason keyCompromise`,
		RunE:    func(c *cobra.Command, args []string) error { return a.revoke(c.Context(), args[0], reason) },
	}
	c.Flags().StringVar(&reason, "reason", "superseded", "why: keyCompromise, superseded, cessationOfOperation, …")
	return c
}

func (a *app) revoke(ctx context.Context, name, reason string) error {
	cfg, k, err := a.ownKeys()
	if err != nil {
		return err
	}
	at := slices.IndexFunc(k.signing, func(f keyfile.Key) bool { return f.Name == name })
	if at < 0 {
		return refused("there is no signing key %s; see: eblnode key list", plain(name))
	}
	note, now := k.signing[at].Note, time.Now().UTC().Truncate(time.Second)
	if !note.Revoked.IsZero() {
		return refused("the key %s was revoked at %s", name, note.Revoked.UTC().Format(time.RFC3339))
	}
	note.Revoked, note.Reason = now, reason
	revoked := *k.public[at]
	revoked.Revoked, revoked.Reason = now, reason
	k.public[at] = &revoked
	if signs := k.signsAt(now.Add(time.Second)); signs == nil {
		return refused("no key would be left to sign with; make one first: eblnode key rotate --use signing --now")
	}
	if _, err := cfg.self(k); err != nil {
		return usage("--reason: %w", err)
	}
	if err := keyfile.WriteNote(filepath.Join(a.data, keysDir), keyfile.Signing, name, note); err != nil {
		return err
	}
	return a.taken(ctx, fmt.Sprintf("revoked %s (%s)", name, reason), name, now)
}
