//go:build unix

package main

import (
	"fmt"
	"syscall"
)

// examineDisk looks at the room that is left: a full disk stops every transfer.
func examineDisk(dir string) finding {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return finding{"disk", "error", err.Error(), ""}
	}
	free := uint64(st.Bavail) * uint64(st.Bsize)
	f := finding{"disk", "ok", fmt.Sprintf("%.1f GB free", float64(free)/1e9), ""}
	switch {
	case free < 100e6:
		f.State, f.Cure = "error", "make room: a full disk stops every transfer"
	case free < 1e9:
		f.State, f.Cure = "warning", "make room soon"
	}
	return f
}
