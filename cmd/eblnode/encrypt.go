package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"eblnode/internal/keyfile"

	"github.com/spf13/cobra"
)

func (a *app) keyEncrypt() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "encrypt", Short: "Encrypt our private keys under a passphrase", Args: cobra.NoArgs,
		Long: `Encrypt every private key in keys/ (PKCS #8 with PBES2, as openssl reads it). The
passphrase is that of --passphrase-file, else the configured one (keys.passphraseFile,
EBLNODE_KEY_PASSPHRASE or EBLNODE_KEY_PASSPHRASE_FD). Keys that are encrypted under the
configured one are encrypted anew under the other, which is then to be configured.

It helps against somebody who gets the files and not the passphrase: a backup, a disk
that was thrown away. A passphrase that lies beside the keys helps against nobody.`,
		Example: `  eblnode key encrypt --passphrase-file /run/secrets/eblnode
  EBLNODE_KEY_PASSPHRASE_FD=3 eblnode serve 3< <(vault read …)`,
		RunE: func(*cobra.Command, []string) error { return a.encryptKeys(file) },
	}
	c.Flags().StringVar(&file, "passphrase-file", "", "file with the new passphrase, one line, mode 0600")
	return c
}

func (a *app) encryptKeys(file string) error {
	c, err := loadConfig(a.data)
	if err != nil {
		return err
	}
	access := c.access()
	under := access
	if file != "" {
		under = &keyfile.Access{Passphrase: secret{file: file}.read}
	}
	passphrase, err := under.Passphrase()
	if err != nil {
		return err
	}
	if len(passphrase) == 0 {
		return usage("there is no passphrase: name a file with --passphrase-file, or set keys.passphraseFile or EBLNODE_KEY_PASSPHRASE_FD")
	}
	names, err := filepath.Glob(filepath.Join(a.data, keysDir, "*.key"))
	if err != nil {
		return err
	}
	// All are read and encrypted before one is written: a wrong passphrase changes nothing.
	texts := map[string][]byte{}
	for _, name := range names {
		before, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if file == "" && bytes.Contains(before, []byte("-----BEGIN ENCRYPTED")) {
			continue
		}
		priv, err := keyfile.ReadPrivate(name, access)
		if err != nil {
			return refused("%w; nothing was changed", err)
		}
		if texts[name], err = privateText(priv, &keyfile.Access{Passphrase: func() ([]byte, error) { return passphrase, nil }}); err != nil {
			return err
		}
	}
	done := []string{}
	for _, name := range names {
		if text := texts[name]; text != nil {
			if err := keyfile.Replace(name, text); err != nil {
				return err
			}
			done = append(done, strings.TrimSuffix(filepath.Base(name), ".key"))
		}
	}
	return a.print(map[string]any{"encrypted": done}, func(w io.Writer) {
		fmt.Fprintf(w, "encrypted %d keys: %s\n", len(done), strings.Join(done, ", "))
		if file != "" {
			fmt.Fprintln(w, "next: have the node find that passphrase (keys.passphraseFile, EBLNODE_KEY_PASSPHRASE_FD); it runs on with what it has read")
		}
	})
}
