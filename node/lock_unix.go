//go:build unix

package node

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"eblnode/internal/rights"
)

// lockDir takes the data folder for this process. The lock goes with the process, so
// that a crash leaves nothing to clean up.
func lockDir(dir string) (io.Closer, error) {
	err := rights.Ours(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("opening the data folder: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the data folder %w", err)
	}
	path := filepath.Join(dir, "lock")
	// Whoever can open it can hold it, and the node would not start.
	if err := rights.Ours(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return f, nil
}
