//go:build linux

package powercut

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// What the kernel asks of an inode. Unlink, Rmdir and Rename only allow: the library
// keeps the names.
var _ interface {
	fs.NodeOnAdder
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeFlusher
	fs.NodeAllocater
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeMknoder
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeRenamer
	fs.NodeStatfser
} = (*inode)(nil)

func (f *inode) lock() func() {
	f.disk.mu.Lock()
	return f.disk.mu.Unlock
}

func (f *inode) attr(out *fuse.Attr) {
	out.Mode = f.mode
	out.Nlink = 1
	out.Size = uint64(len(f.data))
	out.Blksize = 4096
	out.Blocks = (out.Size + 511) / 512
	out.SetTimes(&f.at, &f.at, &f.at)
}

func (f *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	defer f.lock()()
	f.attr(&out.Attr)
	return 0
}

func (f *inode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	size, sized := in.GetSize()
	if sized {
		if errno := f.ask(Write); errno != 0 {
			return errno
		}
	}
	defer f.lock()()
	if mode, ok := in.GetMode(); ok {
		f.mode = f.mode&syscall.S_IFMT | mode&0o7777
	}
	if sized {
		f.change(change{at: int64(size), cut: true})
	}
	f.attr(&out.Attr)
	return 0
}

func (f *inode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	defer f.lock()()
	if flags&syscall.O_TRUNC != 0 {
		f.change(change{cut: true})
	}
	// The index of the write-ahead log is memory shared through this file, so the
	// kernel's pages of it must outlive an open.
	return nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *inode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	defer f.lock()()
	off = min(off, int64(len(f.data)))
	n := copy(dest, f.data[off:])
	return fuse.ReadResultData(dest[:n]), 0
}

func (f *inode) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := f.ask(Write); errno != 0 {
		return 0, errno
	}
	defer f.lock()()
	f.change(change{at: off, data: clone(data)})
	return uint32(len(data)), 0
}

// change is what a write does: the bytes read at once, and are durable after an fsync.
func (f *inode) change(c change) {
	f.data = c.apply(f.data)
	f.pending = append(f.pending, c)
	f.at = time.Now()
	f.disk.stats.Writes++
}

func (f *inode) Fsync(_ context.Context, _ fs.FileHandle, _ uint32) syscall.Errno {
	if errno := f.ask(Sync); errno != 0 {
		return errno
	}
	defer f.lock()()
	f.sync()
	f.disk.stats.Syncs++
	return 0
}

// Flush is a close. It makes nothing durable.
func (f *inode) Flush(context.Context, fs.FileHandle) syscall.Errno { return 0 }

func (f *inode) Allocate(_ context.Context, _ fs.FileHandle, off, size uint64, mode uint32) syscall.Errno {
	if mode != 0 {
		return syscall.EOPNOTSUPP
	}
	if errno := f.ask(Write); errno != 0 {
		return errno
	}
	defer f.lock()()
	if end := int64(off + size); end > int64(len(f.data)) {
		f.change(change{at: end, cut: true})
	}
	return 0
}

// ask asks Before. No lock is held: it may take its time, or kill somebody.
func (f *inode) ask(op Op) syscall.Errno {
	if f.disk.Before == nil {
		return 0
	}
	return f.disk.Before(op, f.Path(nil))
}

func (f *inode) add(ctx context.Context, mode uint32, out *fuse.EntryOut) *fs.Inode {
	defer f.lock()()
	n := &inode{disk: f.disk, mode: mode, at: time.Now()}
	n.attr(&out.Attr)
	return f.NewPersistentInode(ctx, n, fs.StableAttr{Mode: mode & syscall.S_IFMT})
}

func (f *inode) Create(ctx context.Context, _ string, _ uint32, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	return f.add(ctx, syscall.S_IFREG|mode&0o7777, out), nil, fuse.FOPEN_KEEP_CACHE, 0
}

func (f *inode) Mkdir(ctx context.Context, _ string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return f.add(ctx, syscall.S_IFDIR|mode&0o7777, out), 0
}

func (f *inode) Mknod(ctx context.Context, _ string, mode uint32, _ uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return f.add(ctx, mode, out), 0
}

func (f *inode) Unlink(context.Context, string) syscall.Errno { return 0 }

func (f *inode) Rmdir(_ context.Context, name string) syscall.Errno {
	if c := f.GetChild(name); c != nil && len(c.Children()) > 0 {
		return syscall.ENOTEMPTY
	}
	return 0
}

func (f *inode) Rename(context.Context, string, fs.InodeEmbedder, string, uint32) syscall.Errno {
	return 0
}

func (f *inode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	out.Bsize, out.NameLen = 4096, 255
	out.Blocks, out.Bfree, out.Bavail = 1<<20, 1<<20, 1<<20
	out.Files, out.Ffree = 1<<20, 1<<20
	return 0
}
