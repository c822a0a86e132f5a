//go:build !unix

package hsm

import (
	"fmt"
	"path/filepath"
)

// safeModule cannot tell here who may write a file; see "Keys in hardware" of the operator's
// manual.
func safeModule(module string) (string, error) {
	if !filepath.IsAbs(module) {
		return "", fmt.Errorf("keys.pkcs11.module: %q is not an absolute path", module)
	}
	return filepath.Clean(module), nil
}
