//go:build unix

package witness

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// there fails where what was written is in no file that a start finds: the file was deleted,
// or somebody else writes to it or cuts it, as a program that rotates logs does. One that was
// moved away still holds it all.
func there(f *os.File, size int64) error {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("looking at it: %w", err)
	}
	if st.Nlink == 0 {
		return errors.New("its file was deleted")
	}
	if st.Size != size {
		return fmt.Errorf("its file has %d bytes and not the %d that were written: somebody else writes to it", st.Size, size)
	}
	return nil
}
