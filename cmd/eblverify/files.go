package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
)

var errTooLarge = errors.New("the file is too large")

// What a folder may hold: bounds against a folder that somebody else filled.
const (
	maxFiles       = 1_000_000
	maxFolderDepth = 16
)

// An input is one file to judge.
type input struct {
	name   string
	folder bool // found in a folder: told in one line
	err    error
}

// expand finds the files of folders: those that end in .json, in the order of their
// names. Links are not followed and nothing but plain files is opened. own are the reader's
// files, trust entries say, which may lie beside the bundles and are not judged.
func expand(names, own []string) ([]input, error) {
	var list []input
	var mine []fs.FileInfo
	for _, name := range own {
		if info, err := os.Stat(name); err == nil {
			mine = append(mine, info)
		}
	}
	isMine := func(d fs.DirEntry) bool {
		info, err := d.Info()
		return err == nil && slices.ContainsFunc(mine, func(m fs.FileInfo) bool { return os.SameFile(m, info) })
	}
	for _, name := range names {
		info, err := os.Stat(name)
		if name == "-" || err != nil || !info.IsDir() {
			list = append(list, input{name: name})
			continue
		}
		before, archived := len(list), false
		err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				list = append(list, input{path, true, err})
				return nil
			case d.IsDir() && path != name && strings.HasPrefix(d.Name(), "."):
				return fs.SkipDir
			case d.IsDir() && strings.Count(strings.TrimPrefix(path, name), string(filepath.Separator)) > maxFolderDepth:
				list = append(list, input{path, true, fmt.Errorf("folders more than %d deep are not looked into", maxFolderDepth)})
				return fs.SkipDir
			case !d.Type().IsRegular() || filepath.Ext(path) != ".json":
				return nil
			case isMine(d):
				return nil
			case d.Name() == envelope.ArchiveListName || d.Name() == envelope.RootsName:
				archived = true
				return nil // archives judges it
			case len(list) >= maxFiles:
				return fmt.Errorf("%s has more than %d files", name, maxFiles)
			}
			list = append(list, input{name: path, folder: true})
			return nil
		})
		if err != nil {
			return nil, err
		}
		if len(list) == before && !archived {
			list = append(list, input{name, false, errors.New("the folder has no file that ends in .json")})
		}
	}
	return list, nil
}

func (o *options) verifyFile(f input, in io.Reader, trust *identity.Trust, at time.Time) *judge.Report {
	body, err := []byte(nil), f.err
	if err == nil {
		limit := o.limits.Body
		if limit <= 0 {
			limit = envelope.MaxBundleBytes
		}
		body, err = readLimited(f.name, in, limit)
	}
	if err == nil && partOfArchive(f.name, body) {
		err = errors.New("it is no bundle but belongs to an archive, and is judged with it: name the folder")
	}
	if err != nil {
		return unreadable(f.name, err)
	}
	deadline := time.Now().Add(o.timeout)
	r := judge.File(body, judge.Options{Trust: trust, Now: at, Limits: o.limits, Journey: o.html != "", Memory: &o.memory,
		Stop: func() bool { return o.timeout > 0 && time.Now().After(deadline) }})
	r.File = f.name
	return r
}

// partOfArchive reports whether somebody named, say by *.json, what eblnode archive wrote beside
// the bundles.
func partOfArchive(name string, body []byte) bool {
	var err error
	switch filepath.Base(name) {
	case envelope.ArchiveListName:
		_, err = envelope.ParseArchiveList(body)
	case envelope.RootsName:
		_, err = envelope.ParseArchiveRoots(body)
	default:
		return false
	}
	return err == nil
}

func unreadable(name string, err error) *judge.Report {
	return &judge.Report{File: name, Kind: "file", Verdict: judge.Indeterminate, Rule: "unreadable", Reason: "unreadable", Detail: err.Error(), Entry: -1, Transaction: -1}
}

// readLimited reads one byte more than the limit, so that the parser sees that it is
// too much, and no more.
func readLimited(name string, in io.Reader, limit int) ([]byte, error) {
	var b bytes.Buffer
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		info, err := f.Stat()
		if err == nil && info.IsDir() {
			return nil, errors.New("it is a folder")
		}
		if err == nil && info.Mode().IsRegular() {
			b.Grow(int(min(info.Size(), int64(limit))) + bytes.MinRead)
		}
		in = f
	}
	_, err := b.ReadFrom(io.LimitReader(in, int64(limit)+1))
	return b.Bytes(), err
}

// A progress tells a person at a terminal how far long work is.
type progress struct {
	w    io.Writer
	next time.Time
	told bool
}

func newProgress(w io.Writer, json bool) *progress {
	if json || !isTerminal(w) {
		return &progress{}
	}
	return &progress{w: w, next: time.Now().Add(time.Second)}
}

// at tells where the work is; what says of what.
func (p *progress) at(done, all int, what string) {
	if p.w == nil || time.Now().Before(p.next) {
		return
	}
	p.next, p.told = time.Now().Add(200*time.Millisecond), true
	fmt.Fprintf(p.w, "\r\x1b[K%d of %d %s", done, all, judge.Plain(what))
}

func (p *progress) clear() {
	if p.told {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.told = false
	}
}
