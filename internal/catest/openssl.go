package catest

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// PrivatePEM writes a private key as PKCS #8.
func PrivatePEM(t testing.TB, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// Listed is a certificate as an authority's index has it: good, or revoked at a time for a
// reason. One that is not listed is unknown.
type Listed struct {
	Cert    *x509.Certificate
	Revoked time.Time
	Reason  string // as OpenSSL spells it: superseded, keyCompromise, …
}

// OpenSSL runs the responder of OpenSSL for a on a port, with answers signed by signer. It
// ends with the test, or when stop is called. Without openssl the test is skipped.
func (a *Authority) OpenSSL(t testing.TB, port int, signer *Authority, list ...Listed) (stop func()) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("there is no openssl on this machine")
	}
	index := ""
	for _, l := range list {
		serial := fmt.Sprintf("%X", l.Cert.SerialNumber)
		if len(serial)%2 == 1 {
			serial = "0" + serial
		}
		state, revoked := "V", ""
		if !l.Revoked.IsZero() {
			state, revoked = "R", l.Revoked.UTC().Format("060102150405Z")+","+l.Reason
		}
		index += strings.Join([]string{state, l.Cert.NotAfter.UTC().Format("060102150405Z"), revoked, serial, "unknown", "/CN=leaf"}, "\t") + "\n"
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	c := exec.Command("openssl", "ocsp", "-index", write("index.txt", index), "-CA", write("ca.pem", PEM(a.Cert)),
		"-rsigner", write("signer.pem", PEM(signer.Cert)), "-rkey", write("signer.key", PrivatePEM(t, signer.Key)),
		"-port", fmt.Sprint(port), "-nmin", "10", "-rmd", "sha256")
	said, err := c.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = c.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() { _ = c.Process.Kill(); _ = c.Wait() }
	t.Cleanup(stop)
	// It serves one connection after the other, so that looking whether it listens by
	// connecting would be in its way.
	lines := bufio.NewScanner(said)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "waiting for OCSP client") {
			go func() { _, _ = io.Copy(io.Discard, said) }()
			return stop
		}
	}
	t.Fatal("openssl ocsp does not listen")
	return stop
}
