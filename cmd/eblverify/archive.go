package main

import (
	"crypto/sha256"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"eblnode/envelope"
	"eblnode/judge"
)

// maxArchiveList bounds archive.json and roots.json: some 800,000 files.
const maxArchiveList = 128 << 20

// archives judges the archives in and below a folder: nothing was deleted from them, put into
// them, renamed or changed. Each file named roots.json or archive.json below dir belongs to
// one of them, so that none is passed over.
func archives(dir string, o judge.ArchiveOptions, shown *progress) []*judge.Report {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	return archivesBelow(dir, 0, o, shown)
}

func archivesBelow(dir string, depth int, o judge.ArchiveOptions, shown *progress) (reports []*judge.Report) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // expand says so
	}
	has := func(name string) bool {
		for _, e := range entries {
			if e.Name() == name {
				return true
			}
		}
		return false
	}
	switch {
	case has(envelope.RootsName):
		return archive(dir, entries, o, shown)
	case has(envelope.ArchiveListName):
		// Its roots should lie one folder up: somebody took it out, or them away.
		f, err := archiveFolder(dir, shown)
		if err != nil {
			return []*judge.Report{unreadable(dir, err)}
		}
		return judge.Archive(judge.ArchiveTree{Path: dir, Folders: []judge.ArchiveFolder{f}}, o)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && depth < maxFolderDepth {
			reports = append(reports, archivesBelow(filepath.Join(dir, e.Name()), depth+1, o, shown)...)
		}
	}
	return reports
}

// archive judges the folder that holds roots.json.
func archive(dir string, entries []fs.DirEntry, o judge.ArchiveOptions, shown *progress) (reports []*judge.Report) {
	tree := judge.ArchiveTree{Path: dir}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == envelope.RootsName:
			text, err := plainFile(path, e)
			if err != nil {
				return []*judge.Report{unreadable(path, err)}
			}
			tree.Roots = text
		case e.IsDir():
			f, err := archiveFolder(path, shown)
			if err != nil {
				reports = append(reports, unreadable(path, err))
				continue
			}
			tree.Folders = append(tree.Folders, f)
		default:
			tree.Others = append(tree.Others, e.Name())
		}
	}
	return append(reports, judge.Archive(tree, o)...)
}

// archiveFolder reads a folder of an archive: its list, and the SHA-256 of all that lies
// beside it.
func archiveFolder(dir string, shown *progress) (judge.ArchiveFolder, error) {
	f := judge.ArchiveFolder{Path: dir, Files: map[string]envelope.Hash{}}
	absolute, err := filepath.Abs(dir) // "." has a name too
	if err != nil {
		return f, err
	}
	f.Name = filepath.Base(absolute)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return f, err
	}
	for i, e := range entries {
		shown.at(i, len(entries), "files of "+f.Name+" compared")
		path := filepath.Join(dir, e.Name())
		switch {
		case e.Name() == envelope.ArchiveListName:
			f.List, err = plainFile(path, e)
		case e.Type().IsRegular():
			f.Files[e.Name()], err = sumOf(path)
		default:
			f.Files[e.Name()] = envelope.Hash{}
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// plainFile reads a list or the roots; what is no plain file is empty. Links are not followed:
// what they lead to may be another thing tomorrow.
func plainFile(path string, e fs.DirEntry) ([]byte, error) {
	if !e.Type().IsRegular() {
		return []byte{}, nil
	}
	text, err := readLimited(path, nil, maxArchiveList)
	if err == nil && len(text) > maxArchiveList {
		return nil, errTooLarge
	}
	return text, err
}

// sumOf reads no file that is larger than any bundle may be, and gives it the sum of none: one of a
// terabyte with nothing in it takes no room on a disk, and an hour to read.
func sumOf(path string) (envelope.Hash, error) {
	file, err := os.Open(path)
	if err != nil {
		return envelope.Hash{}, err
	}
	defer file.Close()
	h := sha256.New()
	if info, err := file.Stat(); err == nil && info.Size() > mostBytes {
		return envelope.Hash{}, nil
	}
	if n, err := io.Copy(h, io.LimitReader(file, mostBytes+1)); err != nil || n > mostBytes {
		return envelope.Hash{}, err
	}
	return envelope.Hash(h.Sum(nil)), nil
}
