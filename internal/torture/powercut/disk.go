//go:build linux

// Package powercut is a disk that loses power. A [Disk] is a file system in memory that
// knows of each file what was written and what of that an fsync has made durable. A cut
// takes away the rest, as a power failure does and as the end of a process, however
// sudden, does not: the kernel still writes out what a killed process has written.
//
// It is as kind as a real disk may be, and no kinder than the node needs: names (create,
// rename, remove) are durable at once, contents only with the fsync of that very file.
package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// A Disk is the file system. Its zero value is not usable; see [New].
type Disk struct {
	// Before, if not nil, is asked before each write and each fsync of a file; what it
	// returns, other than 0, is the answer, and the operation does not happen. Set it
	// while nothing is mounted.
	Before func(op Op, file string) syscall.Errno

	mu     sync.Mutex
	root   *inode
	server *fuse.Server
	stats  Stats
}

// An Op is what Before is asked about.
type Op string

// The operations. Truncations and allocations count as writes.
const (
	Write Op = "write"
	Sync  Op = "fsync"
)

// Stats counts what happened since the disk was made.
type Stats struct {
	Writes int `json:"writes"`
	Syncs  int `json:"fsyncs"`
	// LostWrites is how many writes the cuts took away, LostBytes how much.
	LostWrites int `json:"lostWrites"`
	LostBytes  int `json:"lostBytes"`
}

// New makes an empty disk.
func New() *Disk {
	d := &Disk{}
	d.root = &inode{disk: d, mode: syscall.S_IFDIR | 0o700}
	return d
}

// Usable says why a disk cannot be mounted on this machine; nil if it can.
func Usable() error {
	if os.Geteuid() != 0 {
		return errors.New("mounting a file system needs root")
	}
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("there is no FUSE here: %w", err)
	}
	if err := f.Close(); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "powercut-")
	if err != nil {
		return err
	}
	d := New()
	if err := d.Mount(dir); err != nil {
		return errors.Join(err, os.Remove(dir))
	}
	return errors.Join(d.Unmount(), os.Remove(dir))
}

// Mount shows the disk at dir.
func (d *Disk) Mount(dir string) error {
	// No time-outs: with them the kernel kept, for a moment, a name whose socket it then
	// did not find.
	server, err := fs.Mount(dir, d.root, &fs.Options{
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "powercut", Name: "powercut"},
	})
	if err != nil {
		return fmt.Errorf("mounting at %s: %w", dir, err)
	}
	d.server = server
	return nil
}

// Unmount takes the disk away. Whoever uses it must have ended. What is not durable is
// still there at the next Mount: only Cut loses it.
func (d *Disk) Unmount() error {
	if d.server == nil {
		return nil
	}
	var err error
	for range 1000 { // the kernel lets go of a killed process's files a moment later
		if err = d.server.Unmount(); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("unmounting: %w", err)
	}
	d.server.Wait()
	d.server = nil
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root = d.root.reborn() // an inode belongs to one mount
	return nil
}

// Cut loses what no fsync has made durable. The disk must not be mounted. With a source
// of chance some of the lost writes, in part or whole, made it to the disk all the same,
// as a disk that reorders leaves them; without one none did.
func (d *Disk) Cut(chance *rand.Rand) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root.each("", func(_ string, f *inode) {
		f.data = clone(f.durable)
		for _, c := range f.pending {
			if chance != nil && chance.IntN(2) == 0 {
				if len(c.data) > sector && chance.IntN(4) == 0 { // torn
					c.data = c.data[:chance.IntN(len(c.data)/sector)*sector]
				}
				f.data = c.apply(f.data)
				continue
			}
			d.stats.LostWrites++
			d.stats.LostBytes += len(c.data)
		}
		f.durable, f.pending = clone(f.data), nil
	})
}

// Settle makes everything durable.
func (d *Disk) Settle() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.root.each("", func(_ string, f *inode) { f.sync() })
}

// Stats are the counters.
func (d *Disk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Export writes a copy of the disk's files below dir, so that they can be looked at
// without changing them.
func (d *Disk) Export(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	d.root.each("", func(name string, f *inode) {
		to := filepath.Join(dir, filepath.FromSlash(name))
		err = errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o700))
		err = errors.Join(err, os.WriteFile(to, f.data, os.FileMode(f.mode&0o777)))
	})
	return err
}

// sector is what a disk writes whole or not at all.
const sector = 512

// A change is a write or, with cut, a change of size, that no fsync has covered.
type change struct {
	at   int64
	data []byte
	cut  bool // the size becomes at
}

func (c change) apply(data []byte) []byte {
	if c.cut {
		return resize(data, c.at)
	}
	if end := c.at + int64(len(c.data)); end > int64(len(data)) {
		data = resize(data, end)
	}
	copy(data[c.at:], c.data)
	return data
}

func resize(data []byte, size int64) []byte {
	if size <= int64(len(data)) {
		return data[:size]
	}
	if size <= int64(cap(data)) {
		old := len(data)
		data = data[:size]
		clear(data[old:])
		return data
	}
	bigger := make([]byte, size, size+size/2)
	copy(bigger, data)
	return bigger
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }

// An inode is a file, a folder or a socket.
type inode struct {
	fs.Inode
	disk *Disk
	mode uint32
	at   time.Time

	data    []byte   // as it reads
	durable []byte   // as it reads after a cut
	pending []change // from durable to data

	kept map[string]*inode // children, between two mounts
}

// sync makes a file durable.
func (f *inode) sync() {
	for _, c := range f.pending {
		f.durable = c.apply(f.durable)
	}
	f.pending = nil
}

// each calls do for every file below f.
func (f *inode) each(name string, do func(name string, f *inode)) {
	if f.mode&syscall.S_IFMT == syscall.S_IFREG {
		do(name, f)
	}
	for child, c := range f.children() {
		c.each(filepath.ToSlash(filepath.Join(name, child)), do)
	}
}

func (f *inode) children() map[string]*inode {
	if f.kept != nil {
		return f.kept
	}
	all := map[string]*inode{}
	for name, c := range f.Children() {
		if own, ok := c.Operations().(*inode); ok {
			all[name] = own
		}
	}
	return all
}

// reborn is f for the next mount. Sockets end with the process that listens on them.
func (f *inode) reborn() *inode {
	n := &inode{disk: f.disk, mode: f.mode, at: f.at, data: f.data, durable: f.durable, pending: f.pending}
	if f.mode&syscall.S_IFMT != syscall.S_IFDIR {
		return n
	}
	n.kept = map[string]*inode{}
	for name, c := range f.children() {
		n.kept[name] = c.reborn()
	}
	return n
}

// OnAdd puts the children that were there at the last mount below f.
func (f *inode) OnAdd(ctx context.Context) {
	kept := f.kept
	f.kept = nil
	for name, c := range kept {
		f.AddChild(name, f.NewPersistentInode(ctx, c, fs.StableAttr{Mode: c.mode & syscall.S_IFMT}), true)
	}
}
