// Package rights looks at who else on the machine can read or change a file of the node.
package rights

import (
	"fmt"
	"os"
)

// Ours refuses a file or folder that anybody but its owner can read, write or enter: keys,
// the database, the witness, the configuration. The error says the chmod that mends it; that
// of a file that is not there is fs.ErrNotExist.
func Ours(path string) error {
	return check(path, 0o077, "open to others", map[bool]string{false: "600", true: "700"})
}

// Unchanged refuses a file or folder that anybody but its owner can write: what everybody
// may read and nobody may change, as a certificate, an anchor, or a folder in which somebody
// could put another file in the place of ours. A folder in which each may only remove its
// own files, as /tmp, is none.
func Unchanged(path string) error {
	return check(path, 0o022, "open to others who can write to it", map[bool]string{false: "go-w", true: "go-w"})
}

func check(path string, not os.FileMode, what string, cure map[bool]string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	mode := info.Mode()
	if mode.Perm()&not == 0 || not == 0o022 && mode.IsDir() && mode&os.ModeSticky != 0 {
		return nil
	}
	return fmt.Errorf("%s is %s (mode %o); run: chmod %s %s", path, what, mode.Perm(), cure[mode.IsDir()], path)
}
