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
	folder, err := os.Open(dir)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("locking the data folder: %w", err)
	}
	l := locks{f, folder}
	// The folder itself too: somebody may take the file "lock" for one that a crash has left,
	// and two processes that write would each hash the audit log after its own rows. Where a
	// file system locks no folders, the file alone must do.
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		_ = l.Close()
		return nil, fmt.Errorf("%w: %s", ErrInUse, dir)
	}
	return l, nil
}

// locks are the files that are locked until they are closed.
type locks []*os.File

func (l locks) Close() error {
	var err error
	for _, f := range l {
		err = errors.Join(err, f.Close())
	}
	return err
}
