package main

import (
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/judge"
)

// archives judges the archives below a folder that "eblnode archive" wrote to: nothing was
// deleted from them, put into them, or changed. nil: the folder is none.
func archives(dir string, trust *identity.Trust) []*judge.Report {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil
	}
	path := filepath.Join(dir, judge.RootsName)
	text, err := readLimited(path, nil, envelope.MaxBundleBytes)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return []*judge.Report{unreadable(path, err)}
	}
	roots, report := judge.OpenRoots(path, text, trust)
	reports := []*judge.Report{report}
	if roots == nil {
		return reports
	}
	folders, err := os.ReadDir(dir)
	if err != nil {
		return append(reports, unreadable(dir, err))
	}
	lists := map[envelope.Hash]bool{}
	for _, f := range folders {
		name := filepath.Join(dir, f.Name())
		if !f.IsDir() {
			continue
		}
		list, err := readLimited(filepath.Join(name, judge.ArchiveListName), nil, envelope.MaxBundleBytes)
		if err != nil {
			reports = append(reports, unreadable(name, err))
			continue
		}
		lists[envelope.HashOf(list)] = true
		files, err := sums(name)
		if err != nil {
			reports = append(reports, unreadable(name, err))
			continue
		}
		reports = append(reports, roots.Archive(name, list, files))
	}
	return append(reports, roots.Missing(dir, lists)...)
}

// sums are the SHA-256 of what is in the folder beside the list; of what is no plain file
// it is zero.
func sums(dir string) (map[string]envelope.Hash, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	out := map[string]envelope.Hash{}
	for _, f := range list {
		if f.Name() == judge.ArchiveListName {
			continue
		}
		out[f.Name()] = envelope.Hash{}
		if !f.Type().IsRegular() {
			continue
		}
		h := sha256.New()
		file, err := os.Open(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(h, file)
		_ = file.Close()
		if err != nil {
			return nil, err
		}
		out[f.Name()] = envelope.Hash(h.Sum(nil))
	}
	return out, nil
}
