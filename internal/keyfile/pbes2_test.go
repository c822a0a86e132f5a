package keyfile

import (
	"bytes"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"eblnode/identity"
)

// openssl runs the program, which is the second opinion on the format.
func openssl(t *testing.T, args ...string) []byte {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not there")
	}
	cmd := exec.CommandContext(t.Context(), "openssl", args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, errOut.String())
	}
	return out
}

func phrase(s string) *Access {
	return &Access{Passphrase: func() ([]byte, error) { return []byte(s), nil }}
}

func write(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOpensslReadsOurKeysAndWeReadItsKeys: neither program is needed to look after the
// keys of the other.
func TestOpensslReadsOurKeysAndWeReadItsKeys(t *testing.T) {
	for _, alg := range []identity.Alg{identity.ES256, identity.ES512, identity.PS256} {
		priv, err := identity.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		plain, err := identity.MarshalPrivateKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		encrypted, err := Encrypt(plain, []byte("wohl behütet"))
		if err != nil {
			t.Fatal(err)
		}
		got := openssl(t, "pkcs8", "-in", write(t, encrypted), "-passin", "pass:wohl behütet")
		if !bytes.Equal(got, plain) {
			t.Errorf("%s: openssl reads another key than we wrote", alg)
		}
		path := write(t, plain)
		for _, how := range [][]string{
			{"-v2", "aes-256-cbc"}, {"-v2", "aes-128-cbc"}, {"-v2", "aes-192-cbc"},
			{"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA1"}, {"-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512", "-iter", "5000"},
		} {
			text := openssl(t, append([]string{"pkcs8", "-topk8", "-in", path, "-passout", "pass:x"}, how...)...)
			back, err := ReadPrivate(write(t, text), phrase("x"))
			if err != nil || !SameKey(back.Public(), priv.Public()) {
				t.Errorf("%s %v: got %v, want the key", alg, how, err)
			}
		}
		for _, how := range [][]string{{"-v2", "des3"}, {"-v2", "aes-256-cbc", "-scrypt"}} {
			text := openssl(t, append([]string{"pkcs8", "-topk8", "-in", path, "-passout", "pass:x"}, how...)...)
			if _, err := ReadPrivate(write(t, text), phrase("x")); err == nil || !strings.Contains(err.Error(), "openssl pkcs8 -topk8 -v2 aes-256-cbc") {
				t.Errorf("%s %v: got %v, want a refusal with what to do", alg, how, err)
			}
		}
	}
}

// TestWrongPassphrase: a wrong one, none, and one that cannot be read are told apart, and
// no error shows any of the secrets.
func TestWrongPassphrase(t *testing.T) {
	priv, err := identity.GenerateKey(identity.ES256)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := identity.MarshalPrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	text, err := Encrypt(plain, []byte("right horse"))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, text)
	if _, err := ReadPrivate(path, phrase("wrong horse")); !errors.Is(err, ErrPassphrase) || strings.Contains(err.Error(), "horse") {
		t.Errorf("a wrong one: got %v, want ErrPassphrase", err)
	}
	for _, access := range []*Access{nil, {}, phrase("")} {
		if _, err := ReadPrivate(path, access); err == nil || !strings.Contains(err.Error(), "there is no passphrase: set keys.passphraseFile") {
			t.Errorf("none: got %v", err)
		}
	}
	broken := errors.New("vault is sealed")
	if _, err := ReadPrivate(path, &Access{Passphrase: func() ([]byte, error) { return nil, broken }}); !errors.Is(err, broken) {
		t.Errorf("one that cannot be read: got %v", err)
	}
	again, err := Encrypt(plain, []byte("right horse"))
	if err != nil || bytes.Equal(again, text) {
		t.Errorf("the same text twice (%v): the salt is not random", err)
	}
	if _, err := Encrypt(plain, nil); err == nil {
		t.Error("encrypted under nothing")
	}
	if _, err := Encrypt(text, []byte("x")); err == nil {
		t.Error("encrypted twice")
	}
	// Nobody opens it without an access, and yet it can be told that it is there.
	if found, err := IsEncrypted(path); err != nil || !found {
		t.Errorf("got %t, %v, want encrypted", found, err)
	}
}

// TestDamagedEncryptedKey: no changed or missing byte of a file is a panic, an endless
// derivation, or another key: that would not fit its certificate.
func TestDamagedEncryptedKey(t *testing.T) {
	folder, k := filepath.Join(t.TempDir(), "keys"), key(t, "x", 0, 100, Note{})
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, folder, k)
	path := PrivateFile(folder, TLS, "x")
	text := openssl(t, "pkcs8", "-topk8", "-in", path, "-passout", "pass:x", "-v2", "aes-256-cbc", "-iter", "1")
	block, _ := pem.Decode(text)
	good := 0
	try := func(name string, der []byte) {
		t.Helper()
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Load(folder, TLS, phrase("x"))
		if err == nil && !SameKey(got[0].Private.Public(), k.Private.Public()) {
			t.Errorf("%s: another key", name)
		}
		if err == nil {
			good++
		}
	}
	try("as it is", block.Bytes)
	if good != 1 {
		t.Fatal("the key itself is not read")
	}
	for i := range block.Bytes {
		for _, bit := range []byte{1, 0x80} {
			der := bytes.Clone(block.Bytes)
			der[i] ^= bit
			try("a changed byte", der)
		}
		try("cut off", block.Bytes[:i])
	}
	try("something behind it", append(bytes.Clone(block.Bytes), 0))
	// The copy of the public key in it is looked at by nobody; the rest is.
	if good > len(block.Bytes) {
		t.Errorf("%d of %d damaged keys were read", good-1, 3*len(block.Bytes)+1)
	}
}
