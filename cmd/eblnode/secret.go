package main

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"eblnode/identity"
	"eblnode/internal/hsm"
	"eblnode/internal/keyfile"
	"eblnode/internal/rights"
)

// A secret comes from a file, from the environment, or from a descriptor that whoever
// started us left open. It is never an argument: those are seen by everybody on the
// machine. A descriptor is the best of the three: nothing of it stays anywhere.
type secret struct {
	file     string // named in the configuration
	variable string // EBLNODE_KEY_PASSPHRASE; with _FD the number of a descriptor. "": the file alone
}

// passphraseVariable holds the passphrase of encrypted keys.
const passphraseVariable = "EBLNODE_KEY_PASSPHRASE"

// pinVariable holds the PIN of keys in hardware.
const pinVariable = "EBLNODE_KEY_PIN"

// maxSecret bounds a secret, in bytes.
const maxSecret = 4096

// read gives the secret without the line end behind it; empty where there is none.
func (s secret) read() ([]byte, error) {
	if inherited := descriptors[s.variable]; inherited != nil && os.Getenv(s.variable+"_FD") != "" {
		return inherited()
	}
	if value := os.Getenv(s.variable); value != "" && s.variable != "" {
		return []byte(value), nil
	}
	if s.file == "" {
		return nil, nil
	}
	if err := rights.Ours(s.file); err != nil {
		return nil, err
	}
	f, err := os.Open(s.file)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return line(f, s.file)
}

// descriptors are read at the very start of the process, and once: later their numbers may
// be those of files of our own.
var descriptors = map[string]func() ([]byte, error){
	passphraseVariable: sync.OnceValues(func() ([]byte, error) { return readDescriptor(passphraseVariable + "_FD") }),
	pinVariable:        sync.OnceValues(func() ([]byte, error) { return readDescriptor(pinVariable + "_FD") }),
}

func readDescriptor(variable string) ([]byte, error) {
	number := os.Getenv(variable)
	if number == "" {
		return nil, nil
	}
	fd, err := strconv.ParseUint(number, 10, 16)
	if err != nil || fd < 3 {
		return nil, usage("%s: %q is not the number of an open descriptor, 3 or more", variable, number)
	}
	// One of the runtime's own must be neither read nor closed.
	if !inherits(uintptr(fd)) {
		return nil, usage("%s: there is no open descriptor %d", variable, fd)
	}
	f := os.NewFile(uintptr(fd), variable)
	defer func() { _ = f.Close() }()
	return line(f, variable)
}

func line(r io.Reader, from string) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("reading the secret from %s: %w", from, err)
	}
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(text) == 0 || len(text) > maxSecret || bytes.ContainsAny(text, "\n\r\x00") {
		return nil, fmt.Errorf("reading the secret from %s: it is one line of 1 to %d bytes", from, maxSecret)
	}
	return text, nil
}

// minMetricsToken is the shortest token of metrics, in bytes: nobody shall guess it.
const minMetricsToken = 16

// metricsToken is what opens /metrics and nothing else; "" if there is none.
func (c *config) metricsToken(dir string) (string, error) {
	path := c.Metrics.TokenFile
	if path != "" && !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	token, err := secret{file: path}.read()
	if err != nil {
		return "", usage("metrics.tokenFile: %s", err)
	}
	if path != "" && len(token) < minMetricsToken {
		return "", usage("metrics.tokenFile: a token has %d characters at least", minMetricsToken)
	}
	return string(token), nil
}

// access opens the private keys of a configuration. Passphrase and PIN are read when the
// first key needs them, and once: a descriptor cannot be read again, and a token counts
// wrong PINs.
func (c *config) access() *keyfile.Access {
	a := &keyfile.Access{Passphrase: sync.OnceValues(secret{c.Keys.PassphraseFile, passphraseVariable}.read)}
	if at := c.Keys.PKCS11; at.Module != "" {
		token := sync.OnceValues(func() (*hsm.Token, error) {
			pin, err := secret{at.PinFile, pinVariable}.read()
			if err != nil {
				return nil, err
			}
			return hsm.Open(hsm.Config{Module: at.Module, Token: at.Token, PIN: string(pin)})
		})
		a.HSM = func(label string) (crypto.Signer, error) {
			t, err := token()
			if err != nil {
				return nil, err
			}
			return t.Signer(label)
		}
	}
	return a
}

// privateText is a private key as it is to stand in a file: encrypted where a passphrase
// is there.
func privateText(priv crypto.Signer, access *keyfile.Access) ([]byte, error) {
	text, err := identity.MarshalPrivateKey(priv)
	if err != nil {
		return nil, err
	}
	passphrase, err := access.Passphrase()
	if err != nil || len(passphrase) == 0 {
		return text, err
	}
	return keyfile.Encrypt(text, passphrase)
}

// sameCare refuses to write a new key in the clear beside encrypted ones.
func sameCare(folder string, access *keyfile.Access) error {
	encrypted, err := keyfile.AnyEncrypted(folder)
	if err != nil || !encrypted {
		return err
	}
	passphrase, err := access.Passphrase()
	if err == nil && len(passphrase) == 0 {
		err = refused("the keys in %s are encrypted, so a new one must be: set keys.passphraseFile, or EBLNODE_KEY_PASSPHRASE_FD", folder)
	}
	return err
}

// hardware finds the key of that label.
func (c *config) hardware(access *keyfile.Access, label string) (crypto.Signer, error) {
	if access.HSM == nil {
		return nil, usage("--hsm: keys.pkcs11.module in %s does not say where the hardware is", configFile)
	}
	priv, err := access.HSM(label)
	if errors.Is(err, hsm.ErrNotBuilt) {
		return nil, usage("--hsm: %w", err)
	}
	return priv, err
}
