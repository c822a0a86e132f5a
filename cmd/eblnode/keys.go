package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"eblnode/identity"
)

// The folder keys/ of the data folder holds, for each key, its certificate and its
// private half: signing-KID.crt and signing-KID.key, tls-NAME.crt and tls-NAME.key. Old
// signing certificates stay for ever, since what they signed is checked for years.
const keysDir = "keys"

// keys are what the node proves itself with.
type keys struct {
	signer *identity.Signer
	public []*identity.Key // all signing keys, ours now and before
	tls    tls.Certificate
}

func loadKeys(dir string, c *config) (*keys, error) {
	domain, err := c.domain()
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, keysDir)
	names, err := filepath.Glob(filepath.Join(folder, "signing-*.crt"))
	if err != nil {
		return nil, err
	}
	sort.Strings(names)
	k := &keys{}
	for _, name := range names {
		kid := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "signing-"), ".crt")
		chain, err := readCertificates(name)
		if err != nil {
			return nil, err
		}
		key, err := identity.NewKey(domain, kid, chain...)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		k.public = append(k.public, key)
		if kid != c.Keys.Signing {
			continue
		}
		priv, err := readPrivate(strings.TrimSuffix(name, ".crt") + ".key")
		if err != nil {
			return nil, err
		}
		if k.signer, err = identity.NewSigner(key, signingAlg(key), priv); err != nil {
			return nil, err
		}
	}
	if k.signer == nil {
		return nil, fmt.Errorf("keys.signing: there is no %s", filepath.Join(folder, "signing-"+c.Keys.Signing+".crt"))
	}
	k.tls, err = loadTLS(folder, c.Keys.TLS)
	return k, err
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

func loadTLS(folder, name string) (tls.Certificate, error) {
	base := filepath.Join(folder, "tls-"+name)
	chain, err := readCertificates(base + ".crt")
	if err != nil {
		return tls.Certificate{}, err
	}
	priv, err := readPrivate(base + ".key")
	if err != nil {
		return tls.Certificate{}, err
	}
	pub, ok := priv.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !pub.Equal(chain[0].PublicKey) {
		return tls.Certificate{}, fmt.Errorf("%s.key is not the key of %s.crt", base, base)
	}
	if err := identity.CheckPolicy(chain[0]); err != nil {
		return tls.Certificate{}, fmt.Errorf("reading %s.crt: %w", base, err)
	}
	c := tls.Certificate{PrivateKey: priv, Leaf: chain[0]}
	for _, cert := range chain {
		c.Certificate = append(c.Certificate, cert.Raw)
	}
	return c, nil
}

func readCertificates(path string) ([]*x509.Certificate, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
		chain = append(chain, cert)
	}
	if len(chain) == 0 {
		return nil, fmt.Errorf("reading %s: no certificate in PEM form", path)
	}
	return chain, nil
}

// readPrivate reads a private key, and refuses one that others can read.
func readPrivate(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s is open to others (mode %o); run: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	priv, err := identity.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return priv, nil
}

// A keyFile is a file for the folder of the keys.
type keyFile struct {
	name string
	text []byte
}

// newKeys makes a signing key and a TLS key of that name, each with a certificate of its
// own, and the files that hold them.
func newKeys(name string, domain identity.Host, hosts []string, now time.Time) ([]keyFile, *keys, error) {
	spec := identity.CertificateSpec{Subject: domain.String(), Names: hosts, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0)}
	priv, cert, files, err := newKey("signing-"+name, spec)
	if err != nil {
		return nil, nil, err
	}
	public, err := identity.NewKey(domain, name, cert)
	if err != nil {
		return nil, nil, err
	}
	signer, err := identity.NewSigner(public, "ES256", priv)
	if err != nil {
		return nil, nil, err
	}
	spec.Usages = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	priv, cert, more, err := newKey("tls-"+name, spec)
	if err != nil {
		return nil, nil, err
	}
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: priv, Leaf: cert}
	return append(files, more...), &keys{signer: signer, public: []*identity.Key{public}, tls: pair}, nil
}

func newKey(name string, spec identity.CertificateSpec) (crypto.Signer, *x509.Certificate, []keyFile, error) {
	priv, err := identity.GenerateKey("ES256")
	if err != nil {
		return nil, nil, nil, err
	}
	cert, err := identity.NewSelfSigned(priv, spec)
	if err != nil {
		return nil, nil, nil, err
	}
	text, err := identity.MarshalPrivateKey(priv)
	if err != nil {
		return nil, nil, nil, err
	}
	return priv, cert, []keyFile{{name + ".key", text},
		{name + ".crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})}}, nil
}

// writeNew writes a file that must not exist yet, for its owner alone.
func writeNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
