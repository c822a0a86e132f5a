//go:build pkcs11

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestNodeWithKeysInHardware runs testdata/pkcs11 with a program that was built for it.
func TestNodeWithKeysInHardware(t *testing.T) {
	if _, err := exec.LookPath("softhsm2-util"); err != nil {
		t.Skip("SoftHSM is not there: apt-get install softhsm2")
	}
	if _, err := os.Stat("/usr/lib/softhsm/libsofthsm2.so"); err != nil {
		t.Skip("libsofthsm2.so is not where it usually is")
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", "pkcs11", "-o", dir, "eblnode/cmd/eblnode")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building with PKCS #11: %v\n%s", err, out)
	}
	plain := bin
	t.Cleanup(func() { bin = plain })
	bin = dir
	runScripts(t, testscript.Params{Dir: filepath.Join("testdata", "pkcs11")})
}
