package judge

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// The files of an archive beside the bundles; docs/BUNDLE.md, section 6.
const (
	ArchiveFormat   = "eblnode-archive/1"
	RootsFormat     = "eblnode-archive-roots/1"
	ArchiveListName = "archive.json"
	RootsName       = "roots.json"
)

// An ArchiveList lists the files of one archive.
type ArchiveList struct {
	Format string        `json:"format"` // ArchiveFormat
	By     string        `json:"by"`     // domain of the platform
	At     string        `json:"at"`     // RFC 3339
	Files  []ArchiveFile `json:"files"`
}

// An ArchiveFile is one of them.
type ArchiveFile struct {
	Name string `json:"name"`
	Sum  string `json:"sha256"`
}

// ArchiveRoots are the roots of the audit log of who made the archives, from the first on.
type ArchiveRoots struct {
	Format string   `json:"format"` // RootsFormat
	By     string   `json:"by"`
	Roots  []string `json:"roots"` // compact JWS
}

// Roots are verified roots.
type Roots struct {
	List []envelope.Root
	Head envelope.Hash // of the newest; zero if there is none
	by   identity.Host
}

func archiveReport(file string) *Report {
	r := newReport("archive")
	r.File, r.Verdict = file, Valid
	return r
}

func (r *Report) archive(v Verdict, part, format string, args ...any) *Report {
	r.Verdict, r.Reason, r.Rule, r.Detail = v, "archive", "archive/"+part, fmt.Sprintf(format, args...)
	result := Failed
	if v == Indeterminate {
		result = Missing
	}
	r.check("the archive", result, r.Detail)
	return r
}

func strictly(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(v)
}

// OpenRoots verifies a file of roots: each signed by its platform, each naming the one
// before it. Where that does not hold, the report says why, and there are no roots.
func OpenRoots(file string, text []byte, trust *identity.Trust) (*Roots, *Report) {
	r := archiveReport(file)
	var w ArchiveRoots
	if err := strictly(text, &w); err != nil || w.Format != RootsFormat {
		return nil, r.archive(Invalid, "malformed", "this is not a list of roots (%s)", RootsFormat)
	}
	by, err := identity.ParseHost(w.By)
	if err != nil {
		return nil, r.archive(Invalid, "malformed", "by is not a domain")
	}
	p, trusted := trust.Find(by)
	if !trusted {
		return nil, r.archive(Indeterminate, "platformNotTrusted", "there is no trust entry for %s, which made the archive", by)
	}
	out := &Roots{by: p.Domain}
	for i, jws := range w.Roots {
		root, err := envelope.OpenRoot(jws, p)
		if e, ok := errors.AsType[*envelope.SignatureError](err); ok && e.Reason != envelope.BadSignature {
			return nil, r.archive(Indeterminate, "unknownKey", "root %d: %s", i, e.Detail)
		}
		switch {
		case err != nil:
			return nil, r.archive(Invalid, "root", "root %d: %s", i, err)
		case root.Previous != out.Head:
			return nil, r.archive(Invalid, "root", "root %d does not follow the one before it: one was taken out, or put in", i)
		case i > 0 && root.Day <= out.List[i-1].Day:
			return nil, r.archive(Invalid, "root", "root %d is not of a later day than the one before it", i)
		}
		out.List, out.Head = append(out.List, root), envelope.HashOf([]byte(jws))
	}
	newest := "none yet"
	if !out.Head.IsZero() {
		newest = "newest " + out.Head.String()
	}
	r.check(fmt.Sprintf("%d roots, each signed and linked to the one before it", len(out.List)), OK, newest)
	return out, r
}

// Missing says of each archive that a root names and that is not among the lists found:
// it was deleted.
func (roots *Roots) Missing(file string, lists map[envelope.Hash]bool) (reports []*Report) {
	for _, root := range roots.List {
		for _, sum := range root.Archives {
			if !lists[sum] {
				reports = append(reports, archiveReport(file).archive(Invalid, "deleted", "the archive of %s whose list has the SHA-256 %s is not there", root.Day, sum))
			}
		}
	}
	return reports
}

// Archive judges one archive: its list by the roots, and its files by the list. files are
// the SHA-256 of what is in the folder beside the list.
func (roots *Roots) Archive(file string, list []byte, files map[string]envelope.Hash) *Report {
	r := archiveReport(file)
	var w ArchiveList
	if err := strictly(list, &w); err != nil || w.Format != ArchiveFormat {
		return r.archive(Invalid, "malformed", "%s is not a list of files (%s)", ArchiveListName, ArchiveFormat)
	}
	at, err := time.Parse(time.RFC3339, w.At)
	if err != nil || w.By != roots.by.String() {
		return r.archive(Invalid, "malformed", "%s is of another platform, or of no time", ArchiveListName)
	}
	listed := map[string]bool{}
	for _, f := range w.Files {
		sum, there := files[f.Name]
		switch {
		case listed[f.Name]:
			return r.archive(Invalid, "malformed", "%s is listed twice", f.Name)
		case !there:
			return r.archive(Invalid, "deleted", "%s is in the list and not in the folder", f.Name)
		case sum.String() != f.Sum:
			return r.archive(Invalid, "changed", "%s is not the file that was archived", f.Name)
		}
		listed[f.Name] = true
	}
	for name := range files {
		if !listed[name] {
			return r.archive(Invalid, "inserted", "%s is in the folder and not in the list", name)
		}
	}
	r.check(fmt.Sprintf("%d files, each as it was archived", len(w.Files)), OK, "")
	sum := envelope.HashOf(list)
	for _, root := range roots.List {
		for _, a := range root.Archives {
			if a == sum {
				r.check("signed under the root of "+root.Day, OK, "SHA-256 of the list "+sum.String())
				return r
			}
		}
	}
	if n := len(roots.List); n > 0 && roots.List[n-1].Day >= at.UTC().Format(time.DateOnly) {
		return r.archive(Invalid, "inserted", "no root names this archive, though one of its day was signed")
	}
	return r.archive(Indeterminate, "unsealed", "no root speaks for the day of this archive yet: fetch the roots once that day is over")
}
