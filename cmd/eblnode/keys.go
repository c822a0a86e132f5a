package main

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"eblnode/api"
	"eblnode/identity"
	"eblnode/internal/keyfile"
	"eblnode/internal/rights"
	"eblnode/node"
)

// The folder keys/ of the data folder; see package keyfile for what is in it.
const keysDir = "keys"

// keys are what the node proves itself with.
type keys struct {
	folder  string
	domain  identity.Host
	signing []keyfile.Key
	tls     []keyfile.Key
	public  []*identity.Key      // all signing keys, ours now and before
	signers []node.SigningKey    // those that may sign
	private map[string]time.Time // turn of each signing key with a private half
}

// loadKeys reads them. Without access nothing secret is read: what there is can be told
// then, and nothing signed.
func loadKeys(dir string, c *config, access *keyfile.Access) (*keys, error) {
	domain, err := c.domain()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, keysDir)
	if err := oursAlone(folder); err != nil {
		return nil, err
	}
	k := &keys{folder: folder, domain: domain, private: map[string]time.Time{}}
	if k.signing, err = keyfile.Load(folder, keyfile.Signing, access); err != nil {
		return nil, err
	}
	if k.tls, err = keyfile.Load(folder, keyfile.TLS, access); err != nil {
		return nil, err
	}
	if err := k.take(folder, c.Keys.Signing); err != nil {
		return nil, err
	}
	// A name in the configuration is the one key that is used, whatever else is there.
	if name := c.Keys.TLS; name != "" {
		k.tls = slices.DeleteFunc(k.tls, func(t keyfile.Key) bool { return t.Name != name && t.Note.Peer == "" })
	}
	if t := keyfile.Current(k.tls, time.Now(), ""); t == nil || t.Note.Peer != "" {
		return nil, fmt.Errorf("keys.tls: there is no %s with its key", keyfile.CertificateFile(folder, keyfile.TLS, orAny(c.Keys.TLS)))
	}
	return k, nil
}

// oursAlone refuses a private half that others can read also where it is not used yet, or
// not by the node itself: one that waits for its certificate, or that of our own authority.
func oursAlone(folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.key"))
	for _, name := range names {
		if err := rights.Ours(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

// keptIn says where the private half of a key is.
func (k *keys) keptIn(f *keyfile.Key) string {
	switch encrypted, _ := keyfile.IsEncrypted(keyfile.PrivateFile(k.folder, f.Use, f.Name)); {
	case f.Private == nil:
		return ""
	case f.Note.HSM != "":
		return "hsm"
	case encrypted:
		return "encrypted"
	}
	return "file"
}

func orAny(name string) string {
	if name == "" {
		return "*"
	}
	return name
}

// take makes keys of the signing files, and signers of those that may sign: all, or the
// one of that name.
func (k *keys) take(folder, only string) error {
	for _, f := range k.signing {
		path := keyfile.CertificateFile(folder, keyfile.Signing, f.Name)
		key, err := identity.NewKey(k.domain, f.Name, f.Chain...)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		if until := f.Note.Until; !until.IsZero() && until.Before(key.NotAfter) {
			key.NotAfter = until.UTC()
		}
		key.Revoked, key.Reason = f.Note.Revoked.UTC(), f.Note.Reason
		if f.Note.Revoked.IsZero() {
			key.Revoked = time.Time{}
		}
		k.public = append(k.public, key)
		if f.Private == nil || only != "" && f.Name != only {
			continue
		}
		signer := &identity.Signer{Key: key} // enough to say when its turn is
		if _, locked := f.Private.(*keyfile.Locked); !locked {
			if signer, err = identity.NewSigner(key, signingAlg(key), f.Private); err != nil {
				return fmt.Errorf("reading %s: %w", path, err)
			}
		}
		turn := f.Note.From
		if only != "" {
			turn = time.Time{}
		}
		k.signers, k.private[f.Name] = append(k.signers, node.SigningKey{Signer: signer, From: turn}), turn
	}
	if len(k.signers) == 0 {
		return fmt.Errorf("keys.signing: there is no %s with its key", keyfile.CertificateFile(folder, keyfile.Signing, orAny(only)))
	}
	return nil
}

// signingAlg is how a key of ours signs.
func signingAlg(k *identity.Key) identity.Alg {
	for _, a := range []identity.Alg{"ES256", "ES384", "ES512", "PS256"} {
		if k.Fits(a) {
			return a
		}
	}
	return "RS256"
}

// certificate is what peer is shown at that time; "" is everybody who calls us.
func (k *keys) certificate(at time.Time, peer string) tls.Certificate {
	return pairOf(keyfile.Current(k.tls, at, peer))
}

func pairOf(k *keyfile.Key) tls.Certificate {
	c := tls.Certificate{PrivateKey: k.Private, Leaf: k.Chain[0]}
	for _, cert := range k.Chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c
}

// pins are the keys by which peers know us on TLS: those of now and of later. One that has
// run out is not among them, or a thief could put a new certificate on it.
func (k *keys) pins(now time.Time) (pins [][32]byte) {
	current := keyfile.Current(k.tls, now, "")
	for i := range k.tls {
		t := &k.tls[i]
		if t != current && (now.After(t.Chain[0].NotAfter) || !t.Note.Revoked.IsZero()) {
			continue
		}
		if pin := identity.SPKIPin(t.Chain[0]); !slices.Contains(pins, pin) {
			pins = append(pins, pin)
		}
	}
	return pins
}

// A keyStore is the keys of a running node; they are swapped whole.
type keyStore struct{ atomic.Pointer[keys] }

// source is for connections to peer, or, with "", for those to us.
func (s *keyStore) source(peer string) api.CertificateSource {
	return func() (*tls.Certificate, error) {
		c := s.Load().certificate(time.Now(), peer)
		return &c, nil
	}
}

// reload reads the keys again, and of the configuration who we are; everything else in it
// is read at the start alone. On an error all stays as it was.
//
// Two at once, as by a command and for files that changed, are made one after the other: else the
// one that has read less could be the last to say what it has read, and the newest key would not
// be used. The folder is stamped before it is read, so that what changes meanwhile is seen later.
func (o *opened) reload(ctx context.Context, actor string) error {
	o.reading.Lock()
	defer o.reading.Unlock()
	o.read = keyfile.Stamp(filepath.Join(o.dir, keysDir))
	c, err := loadConfig(o.dir)
	if err != nil {
		return err
	}
	// A passphrase in a file may have changed; one that came by a descriptor cannot be read
	// again, and hardware stays open.
	access := *o.access
	if os.Getenv(passphraseVariable+"_FD") == "" {
		access.Passphrase = c.access().Passphrase
	}
	k, err := loadKeys(o.dir, c, &access)
	if err != nil {
		return err
	}
	// Our names in tokens are also in what asks for them and what judges them, since the start.
	c.OAuth = o.config.OAuth
	self, err := c.self(k)
	if err != nil {
		return err
	}
	if err := o.node.SetOwn(ctx, actor, self, k.signers); err != nil {
		return err
	}
	o.keys.Store(k)
	o.peers.Close() // connections that were made with an older certificate
	return o.restoreKeys()
}

// unread reports whether the folder of the keys, by its stamp, is not as it was when they were read.
func (o *opened) unread(stamp string) bool {
	o.reading.Lock()
	defer o.reading.Unlock()
	return stamp != o.read
}

// restoreKeys puts the certificates of old keys back whose files are gone: the node still
// publishes them, and so must what commands print from the files.
func (o *opened) restoreKeys() error {
	folder := filepath.Join(o.dir, keysDir)
	for _, key := range o.node.Self().Keys {
		if keyfile.CheckName(key.ID) != nil || len(key.Certificates) == 0 {
			continue
		}
		path := keyfile.CertificateFile(folder, keyfile.Signing, key.ID)
		note := keyfile.Note{Until: key.NotAfter, Revoked: key.Revoked, Reason: key.Reason}
		_, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = errors.Join(keyfile.WriteNote(folder, keyfile.Signing, key.ID, note), keyfile.WriteNew(path, keyfile.CertificatesPEM(key.Certificates...)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// A keyFile is a file for the folder of the keys.
type keyFile struct {
	name string
	text []byte
}

// newKeys makes a signing key and a TLS key of that name, each with a certificate of its
// own, and the files that hold them.
func (m maker) newKeys(name string, domain identity.Host, hosts []string) ([]keyFile, *keys, error) {
	now := time.Now()
	spec := identity.CertificateSpec{Subject: domain.String(), Names: hosts, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}
	signing, files, err := m.newKey(keyfile.Signing, name, identity.ES256, spec)
	if err != nil {
		return nil, nil, err
	}
	pair, more, err := m.newKey(keyfile.TLS, name, identity.ES256, spec)
	if err != nil {
		return nil, nil, err
	}
	k := &keys{domain: domain, signing: []keyfile.Key{*signing}, tls: []keyfile.Key{*pair}, private: map[string]time.Time{}}
	return append(files, more...), k, k.take("", "")
}

// A maker makes keys: new ones for files, encrypted where access has a passphrase, or, where
// private is set, certificates for one that is in hardware.
type maker struct {
	access  *keyfile.Access
	private crypto.Signer
}

// newKey makes a key with a self-signed certificate.
func (m maker) newKey(use keyfile.Use, name string, alg identity.Alg, spec identity.CertificateSpec) (*keyfile.Key, []keyFile, error) {
	if use == keyfile.TLS {
		spec.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	}
	priv, files := m.private, []keyFile(nil)
	if priv == nil {
		var err error
		if priv, err = identity.GenerateKey(alg); err != nil {
			return nil, nil, err
		}
		text, err := privateText(priv, m.access)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, keyFile{filepath.Base(keyfile.PrivateFile("", use, name)), text})
	}
	cert, err := identity.NewSelfSigned(priv, spec)
	if err != nil {
		return nil, nil, err
	}
	k := &keyfile.Key{Use: use, Name: name, Chain: []*x509.Certificate{cert}, Private: priv}
	return k, append(files, keyFile{filepath.Base(keyfile.CertificateFile("", use, name)), keyfile.CertificatesPEM(cert)}), nil
}

// writeNew writes a file that must not exist yet, for its owner alone.
func writeNew(path string, data []byte) error { return keyfile.WriteNew(path, data) }
