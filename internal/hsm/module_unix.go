//go:build unix

package hsm

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// safeModule is the true path of a module that nobody but us and root can write or replace.
// Its code runs in this process: who can put another file in its place has our keys. So the
// file, each folder above it and each link on the way must belong to us or to root and be
// closed to others' writing. A folder like /tmp, where others may write and not replace what
// is not theirs (sticky), will do above the last one.
func safeModule(module string) (string, error) {
	if !filepath.IsAbs(module) {
		return "", fmt.Errorf("keys.pkcs11.module: %q is not an absolute path, and would be looked for in the folders of others", module)
	}
	path, err := filepath.EvalSymlinks(module)
	if err != nil {
		return "", err
	}
	// The folders of the name that was given too: a link in one of them could be led
	// elsewhere between now and the next start.
	for _, p := range []string{path, module} {
		for at := filepath.Clean(p); ; at = filepath.Dir(at) {
			if err := ours(at, at == path, at == filepath.Dir(path)); err != nil {
				return "", err
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return path, nil
}

func ours(path string, module, folder bool) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	mode := info.Mode()
	if module && !mode.IsRegular() {
		return fmt.Errorf("keys.pkcs11.module: %s is not a file", path)
	}
	owner, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return fmt.Errorf("%s: whose it is cannot be told", path)
	}
	if owner.Uid != 0 && int(owner.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to user %d, who could replace the module, and its code would run here: chown it to root", path, owner.Uid)
	}
	if mode&fs.ModeSymlink != 0 {
		return nil // it has no rights of its own; its folder is looked at
	}
	sticky := mode.IsDir() && mode&fs.ModeSticky != 0 && !folder
	if mode.Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("%s can be written by others, and the module's code would run here: chmod go-w %s", path, path)
	}
	return nil
}
