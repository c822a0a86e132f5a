package envelope

import (
	"strings"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The files of an archive beside the bundles; docs/BUNDLE.md, section 6.
const (
	ArchiveListName = "archive.json" // in each archive
	RootsName       = "roots.json"   // beside the archives

	archiveFormat = "eblnode-archive/1"
	rootsFormat   = "eblnode-archive-roots/1"
	archiveFolder = "20060102T150405Z"
)

// An ArchiveList lists the files of one archive. Its bytes are what a root names.
type ArchiveList struct {
	By    identity.Host
	At    time.Time // in seconds
	Files []ArchiveFile
}

// An ArchiveFile is one of them: its name in the folder, and the SHA-256 of its bytes.
type ArchiveFile struct {
	Name string `json:"name"`
	Sum  Hash   `json:"sha256"`
}

// ArchiveRoots are the roots of the audit log of who made the archives, from the first on.
type ArchiveRoots struct {
	By    identity.Host
	Roots []string // compact JWS
}

// Folder is the name of the folder that the archive lies in: a copy under another name
// would pass for a second archive.
func (l *ArchiveList) Folder() string { return l.At.UTC().Format(archiveFolder) }

type archiveListText struct {
	Format *string         `json:"format"`
	By     *string         `json:"by"`
	At     *string         `json:"at"`
	Files  *[]*ArchiveFile `json:"files"`
}

type archiveRootsText struct {
	Format *string   `json:"format"`
	By     *string   `json:"by"`
	Roots  *[]string `json:"roots"`
}

// Marshal writes the list.
func (l *ArchiveList) Marshal() ([]byte, error) {
	format, by, at, files := archiveFormat, l.By.String(), l.At.UTC().Format(time.RFC3339), make([]*ArchiveFile, len(l.Files))
	for i := range l.Files {
		files[i] = &l.Files[i]
	}
	return json.Marshal(archiveListText{&format, &by, &at, &files}, jsontext.WithIndent(" "))
}

// Marshal writes the roots.
func (r *ArchiveRoots) Marshal() ([]byte, error) {
	format, by, roots := rootsFormat, r.By.String(), append([]string{}, r.Roots...)
	return json.Marshal(archiveRootsText{&format, &by, &roots}, jsontext.WithIndent(" "))
}

// ParseArchiveList reads a list, as strictly as a bundle is read. The error is a
// *FormatError.
func ParseArchiveList(text []byte) (*ArchiveList, error) {
	var w archiveListText
	if err := decodeClosed(text, &w); err != nil {
		return nil, err
	}
	by, err := archiveBy(w.Format, archiveFormat, w.By)
	if err != nil {
		return nil, err
	}
	if w.Files == nil {
		return nil, malformed("missing", "$.files", "missing")
	}
	at, err := timeAt(w.At, "$.at")
	if err != nil {
		return nil, err
	}
	if at.UTC().Format(time.RFC3339) != *w.At {
		return nil, malformed("time", "$.at", "not a time in seconds, in UTC")
	}
	l := &ArchiveList{By: by, At: at}
	seen := map[string]bool{}
	for _, f := range *w.Files {
		switch {
		case f == nil || f.Sum.IsZero():
			return nil, malformed("missing", "$.files", "a file without its SHA-256")
		case f.Name == "" || f.Name == "." || f.Name == ".." || f.Name == ArchiveListName || strings.ContainsAny(f.Name, "/\\\x00"):
			return nil, malformed("value", "$.files", "not the name of a file in the folder")
		case seen[f.Name]:
			return nil, malformed("value", "$.files", "a file is listed twice")
		}
		seen[f.Name] = true
		l.Files = append(l.Files, *f)
	}
	return l, nil
}

// ParseArchiveRoots reads a file of roots, strictly; the roots themselves are not looked
// at. The error is a *FormatError.
func ParseArchiveRoots(text []byte) (*ArchiveRoots, error) {
	var w archiveRootsText
	if err := decodeClosed(text, &w); err != nil {
		return nil, err
	}
	by, err := archiveBy(w.Format, rootsFormat, w.By)
	if err != nil {
		return nil, err
	}
	if w.Roots == nil {
		return nil, malformed("missing", "$.roots", "missing")
	}
	return &ArchiveRoots{by, *w.Roots}, nil
}

// decodeClosed is decode for a format whose members are all listed.
func decodeClosed(text []byte, v any) *FormatError {
	if err := decode(text, v, 4); err != nil {
		return err
	}
	if err := json.Unmarshal(text, v, json.RejectUnknownMembers(true)); err != nil {
		return unknownMember(err)
	}
	return nil
}

// archiveBy checks the format and reads the platform, in its one spelling: nothing else
// protects this member.
func archiveBy(format *string, want string, by *string) (identity.Host, *FormatError) {
	if deref(format) != want {
		return identity.Host{}, malformed("format", "$.format", "this is not %s", want)
	}
	h, err := hostAt(by, "$.by")
	if err != nil {
		return h, err
	}
	if h.String() != *by {
		return h, malformed("host", "$.by", "not a domain in its one spelling")
	}
	return h, nil
}
