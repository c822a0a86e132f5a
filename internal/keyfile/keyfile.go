// Package keyfile keeps a node's own keys in a folder: for each key its certificates,
// USE-NAME.crt, its private half, USE-NAME.key, and, where something is to be said of it,
// USE-NAME.json. USE is signing or tls.
//
// A certificate without private half is an old key: what it signed is checked for years,
// and it signs nothing any more. A private half without certificate waits for one.
package keyfile

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
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
	"eblnode/internal/rights"
)

// A Use is what a key is for.
type Use string

// The uses. A CA key signs the client certificates of peers that asked for one.
const (
	Signing Use = "signing"
	TLS     Use = "tls"
	CA      Use = "ca"
)

// A Note is what we remember of a key beside its certificate.
type Note struct {
	// From is when the key's turn comes; zero: at once. Peers have it before.
	From time.Time `json:"from,omitzero"`
	// Until ends a signing key's window before its certificate does.
	Until time.Time `json:"until,omitzero"`
	// Revoked is when the key lost its standing, and Reason the RFC 5280 name of why.
	Revoked time.Time `json:"revoked,omitzero"`
	Reason  string    `json:"reason,omitempty"`
	// Peer is the one peer that is shown a TLS certificate, on connections to it: that
	// peer's own authority signed it. Empty: everybody.
	Peer string `json:"peer,omitempty"`
	// HSM is the label of the private half in the hardware that holds it; then there is no
	// private file.
	HSM string `json:"hsm,omitempty"`
}

// An Access is what it takes to use private keys. With a nil *Access nobody can: what is
// loaded then tells which keys there are, and no secret is read.
type Access struct {
	// Passphrase opens encrypted files. It is asked when the first one is met; nil, or an
	// empty passphrase, opens none.
	Passphrase func() ([]byte, error)
	// HSM finds a key in hardware by its label; nil: there is none.
	HSM func(label string) (crypto.Signer, error)
}

// Locked stands for a private half that is there and was not opened.
type Locked struct{ public crypto.PublicKey }

// Public is the key of the certificate.
func (l *Locked) Public() crypto.PublicKey { return l.public }

// Sign always fails.
func (l *Locked) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, errors.New("signing: the private key was not opened")
}

// A Key is one key of the folder.
type Key struct {
	Use     Use
	Name    string
	Chain   []*x509.Certificate // leaf first; never empty
	Private crypto.Signer       // nil: we cannot use the key any more
	Note    Note
}

// maxFile bounds what is read of one file.
const maxFile = 1 << 20

// NoteFile, CertificateFile and PrivateFile are the files of a key in a folder.
func NoteFile(folder string, use Use, name string) string {
	return filepath.Join(folder, string(use)+"-"+name+".json")
}

// CertificateFile: see [NoteFile].
func CertificateFile(folder string, use Use, name string) string {
	return filepath.Join(folder, string(use)+"-"+name+".crt")
}

// PrivateFile: see [NoteFile].
func PrivateFile(folder string, use Use, name string) string {
	return filepath.Join(folder, string(use)+"-"+name+".key")
}

// CheckName refuses a name that is not fit for a file, or that another program could read
// as something else. For a signing key it is also the kid.
func CheckName(name string) error {
	if name == "" || len(name) > 64 || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
		return fmt.Errorf("the key name %q: 1 to 64 letters, digits, dots, hyphens and underscores, with a letter or digit first", name)
	}
	for _, c := range []byte(name) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return fmt.Errorf("the key name %q: only letters, digits, dots, hyphens and underscores", name)
		}
	}
	return nil
}

// Load reads the keys of one use, by name. One that is damaged, that does not fit its
// certificate or whose private half others can read is an error: half a key ring would
// sign with another key than its operator meant.
func Load(folder string, use Use, access *Access) ([]Key, error) {
	if err := rights.Ours(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	names, err := filepath.Glob(CertificateFile(folder, use, "*"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var keys []Key
	for _, path := range names {
		name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), string(use)+"-"), ".crt")
		k, err := load(folder, use, name, access)
		if err != nil {
			return nil, err
		}
		keys = append(keys, *k)
	}
	return keys, nil
}

func load(folder string, use Use, name string, access *Access) (*Key, error) {
	path := CertificateFile(folder, use, name)
	k := &Key{Use: use, Name: name}
	var err error
	// A certificate is no secret, but whoever changes it changes who we are.
	if err := rights.Unchanged(path); err != nil {
		return nil, err
	}
	if k.Chain, err = ReadCertificates(path); err != nil {
		return nil, err
	}
	if err := identity.CheckPolicy(k.Chain[0]); use == TLS && err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if k.Note, err = readNote(NoteFile(folder, use, name)); err != nil {
		return nil, err
	}
	private := PrivateFile(folder, use, name)
	switch {
	case access == nil:
		k.Private, err = locked(private, k)
	case k.Note.HSM != "" && access.HSM == nil:
		err = fmt.Errorf("the key of %s is in hardware (%s), and keys.pkcs11.module is not set", path, k.Note.HSM)
	case k.Note.HSM != "":
		private = "the key " + k.Note.HSM + " in hardware"
		if k.Private, err = access.HSM(k.Note.HSM); err != nil {
			err = fmt.Errorf("opening %s: %w", private, err)
		}
	default:
		k.Private, err = ReadPrivate(private, access)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if k.Private != nil && !SameKey(k.Private.Public(), k.Chain[0].PublicKey) {
		return nil, fmt.Errorf("%s is not the key of %s", private, path)
	}
	return k, nil
}

// locked looks that a private half is there and ours alone.
func locked(path string, k *Key) (crypto.Signer, error) {
	if k.Note.HSM == "" {
		if err := rights.Ours(path); err != nil {
			return nil, err
		}
	}
	return &Locked{k.Chain[0].PublicKey}, nil
}

// SameKey compares public keys.
func SameKey(a, b crypto.PublicKey) bool {
	x, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && x.Equal(b)
}

func read(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("reading %s: %d bytes, more than %d", path, info.Size(), maxFile)
	}
	return os.ReadFile(path)
}

// ReadCertificates reads one or more certificates in PEM form; other blocks and text
// between them are passed over.
func ReadCertificates(path string) ([]*x509.Certificate, error) {
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	var chain []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
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

// ReadPrivate reads a private key, encrypted or not, and refuses one that others can read.
func ReadPrivate(path string, access *Access) (crypto.Signer, error) {
	if err := rights.Ours(path); err != nil {
		return nil, err
	}
	text, err := read(path)
	if err != nil {
		return nil, err
	}
	if isEncrypted(text) {
		var passphrase []byte
		if access != nil && access.Passphrase != nil {
			if passphrase, err = access.Passphrase(); err != nil {
				return nil, err
			}
		}
		if len(passphrase) == 0 {
			return nil, fmt.Errorf("%s is encrypted, and there is no passphrase: set keys.passphraseFile, or EBLNODE_KEY_PASSPHRASE_FD", path)
		}
		if text, err = decrypt(text, passphrase); err != nil {
			return nil, fmt.Errorf("reading %s: %w", path, err)
		}
	}
	priv, err := identity.ParsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return priv, nil
}

func readNote(path string) (n Note, err error) {
	err = rights.Ours(path)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	text, err := read(path)
	if err != nil {
		return n, err
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&n); err != nil {
		return n, fmt.Errorf("reading %s: %w", path, err)
	}
	return n, nil
}

// WriteNote keeps what is to be said of a key, whole or not at all.
func WriteNote(folder string, use Use, name string, n Note) error {
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return Replace(NoteFile(folder, use, name), append(text, '\n'))
}

// CertificatesPEM writes certificates one after the other.
func CertificatesPEM(chain ...*x509.Certificate) []byte {
	var b bytes.Buffer
	for _, c := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a buffer takes all
	}
	return b.Bytes()
}

// WriteNew writes a file that must not exist yet, for its owner alone.
func WriteNew(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync() // a key that peers know and a power cut takes is a bad start
	}
	return errors.Join(err, f.Close())
}

// Replace writes a file for its owner alone, whole or not at all.
func Replace(path string, data []byte) error {
	temporary := path + ".new"
	_ = os.Remove(temporary)
	if err := WriteNew(temporary, data); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Stamp changes when any file of the folder does.
func Stamp(folder string) string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d %d %v\n", e.Name(), info.Size(), info.ModTime().UnixNano(), info.Mode())
		}
	}
	return b.String()
}

// Current is the key that is used at a time for a peer, of those that we can use: one for
// that peer alone before one for everybody, one that is valid before one that is not, and
// then the one whose turn came last. Where none is valid yet or any more the choice is the
// latest, so that whoever looks at it says why it is not good. Nil: there is none at all.
func Current(keys []Key, at time.Time, peer string) *Key {
	var best *Key
	for i := range keys {
		k := &keys[i]
		if k.Private == nil || !k.Note.Revoked.IsZero() || k.Note.Peer != "" && k.Note.Peer != peer {
			continue
		}
		if best == nil || k.better(best, at) {
			best = k
		}
	}
	return best
}

func (k *Key) better(o *Key, at time.Time) bool {
	for _, by := range []func(*Key) bool{
		func(k *Key) bool { return k.Valid(at) },
		func(k *Key) bool { return !k.Note.From.After(at) },
		func(k *Key) bool { return k.Note.Peer != "" },
	} {
		if a, b := by(k), by(o); a != b {
			return a
		}
	}
	if c := k.Note.From.Compare(o.Note.From); c != 0 {
		// Of two whose turn has come the later; of two whose turn has not, the sooner.
		return (c > 0) == !k.Note.From.After(at)
	}
	if c := k.Chain[0].NotBefore.Compare(o.Chain[0].NotBefore); c != 0 {
		return c > 0
	}
	return k.Name > o.Name
}

// Valid reports whether the certificate is valid at a time.
func (k *Key) Valid(at time.Time) bool {
	return !at.Before(k.Chain[0].NotBefore) && !at.After(k.Chain[0].NotAfter)
}

// Until is when, from now on, no key is valid for the first time; now where none is.
func Until(keys []Key, now time.Time, peer string) time.Time {
	at := now
	for {
		k := Current(keys, at, peer)
		if k == nil || !k.Valid(at) {
			return at
		}
		at = k.Chain[0].NotAfter.Add(time.Second)
	}
}
