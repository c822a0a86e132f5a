//go:build pkcs11

package hsm_test

import (
	"crypto/x509"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/hsm"
)

// module finds SoftHSM, hardware made of software; without it the test is skipped.
func module(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Skip("SoftHSM is not there: apt-get install softhsm2")
	}
	for _, path := range []string{"/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so", "/usr/local/lib/softhsm/libsofthsm2.so", "/opt/homebrew/lib/softhsm/libsofthsm2.so"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	t.Skip("libsofthsm2.so is not where it usually is")
	return ""
}

// newToken makes a token with a key of each algorithm; the label is the algorithm's name.
func newToken(t *testing.T, algs ...identity.Alg) hsm.Config {
	t.Helper()
	c := hsm.Config{Module: module(t), Token: "eblnode", PIN: "1234"}
	dir := t.TempDir()
	conf := filepath.Join(dir, "softhsm2.conf")
	if err := os.WriteFile(conf, []byte("directories.tokendir = "+dir+"\nlog.level = ERROR\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOFTHSM2_CONF", conf)
	util := func(args ...string) {
		if out, err := exec.CommandContext(t.Context(), "softhsm2-util", args...).CombinedOutput(); err != nil {
			t.Fatalf("softhsm2-util %v: %v\n%s", args, err, out)
		}
	}
	util("--init-token", "--free", "--label", c.Token, "--pin", c.PIN, "--so-pin", "5678")
	for i, alg := range algs {
		priv, err := identity.GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		text, err := identity.MarshalPrivateKey(priv)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, "key.pem")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		util("--import", file, "--token", c.Token, "--label", string(alg), "--id", string(rune('a'+i))+"0", "--pin", c.PIN)
	}
	return c
}

// TestHardwareSigns: a key that never leaves the token signs a receipt that others believe,
// under each algorithm.
func TestHardwareSigns(t *testing.T) {
	algs := []identity.Alg{identity.ES256, identity.ES384, identity.PS256, identity.RS256}
	token, err := hsm.Open(newToken(t, algs...))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := token.Close(); err != nil {
			t.Error(err)
		}
	}()
	host, err := identity.ParseHost("bank.example")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, alg := range algs {
		priv, err := token.Signer(string(alg))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := identity.MarshalPrivateKey(priv); err == nil {
			t.Errorf("%s: the key left the token", alg)
		}
		cert, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: "bank.example", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)})
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		key, err := identity.NewKey(host, string(alg), []*x509.Certificate{cert}...)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := identity.NewSigner(key, alg, priv)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		hash := envelope.HashOf([]byte(alg))
		receipt, err := envelope.SignReceipt(hash, signer, now)
		if err != nil {
			t.Fatalf("%s: %v", alg, err)
		}
		if _, err := envelope.OpenReceipt([]byte(receipt), hash, &identity.Platform{Domain: host, Keys: []*identity.Key{key}}, now); err != nil {
			t.Errorf("%s: %v", alg, err)
		}
	}
	if _, err := token.Signer("nobody"); err == nil || !strings.Contains(err.Error(), "has 0 of that label") {
		t.Errorf("a key that is not there: got %v", err)
	}
}

// TestTokenThatIsNotOurs: a wrong PIN, none, another token, another library, and one that
// others can write are refused, and no error shows the PIN.
func TestTokenThatIsNotOurs(t *testing.T) {
	c := newToken(t, identity.ES256)
	writable := filepath.Join(t.TempDir(), "module.so")
	if err := os.WriteFile(writable, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(writable, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*hsm.Config){
		"a wrong PIN":          func(c *hsm.Config) { c.PIN = "98765" },
		"no PIN":               func(c *hsm.Config) { c.PIN = "" },
		"another token":        func(c *hsm.Config) { c.Token = "other" },
		"no library":           func(c *hsm.Config) { c.Module = "/nowhere.so" },
		"a writable library":   func(c *hsm.Config) { c.Module = writable },
		"a library that isn't": func(c *hsm.Config) { c.Module = "/etc/hostname" },
	} {
		bad := c
		change(&bad)
		token, err := hsm.Open(bad)
		if err == nil {
			t.Errorf("%s: the token was opened", name)
			_ = token.Close()
			continue
		}
		if strings.Contains(err.Error(), "98765") || strings.Contains(err.Error(), c.PIN) {
			t.Errorf("%s: the PIN is in %v", name, err)
		}
	}
}
