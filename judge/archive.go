package judge

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// An ArchiveTree is all that lies in a folder of archives, as its reader found it.
type ArchiveTree struct {
	Path string // for the report
	// Roots is the text of roots.json; nil where there is none, empty where it is no plain file.
	Roots   []byte
	Folders []ArchiveFolder // in the order of their names
	Others  []string        // names of what else lies beside the roots
}

// An ArchiveFolder is one folder of it.
type ArchiveFolder struct {
	Path string // for the report
	Name string
	// List is the text of its archive.json; nil and empty as Roots.
	List []byte
	// Files are the SHA-256 of what lies beside the list; zero for what is no plain file.
	Files map[string]envelope.Hash
}

// ArchiveOptions say against what a tree is judged.
type ArchiveOptions struct {
	Trust *identity.Trust
	Now   time.Time
	// Root is the hash of a root that the reader kept from before; zero: none. Without one
	// nobody can see that the newest roots were cut off together with what they name.
	Root envelope.Hash
}

// Archive judges a folder of archives: nothing was deleted from it, put into it, renamed
// or changed since the roots were signed. The rules are those of docs/BUNDLE.md, section 6; each
// report but a good one names one that is broken. The bundles in it are judged by File.
func Archive(t ArchiveTree, o ArchiveOptions) []*Report {
	var reports []*Report
	var roots *archiveRoots
	if t.Roots != nil {
		var r *Report
		roots, r = openRoots(t, o)
		reports = append(reports, r)
		for _, name := range t.Others {
			reports = append(reports, archiveReport(t.Path).archive(Invalid, "inserted", "%s lies beside %s and belongs to no archive", name, envelope.RootsName))
		}
	}
	lists := map[envelope.Hash]string{} // where each list was found
	for _, f := range t.Folders {
		reports = append(reports, roots.folder(f, o, lists))
	}
	return append(reports, roots.missing(t.Path, lists)...)
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

// archiveRoots are verified roots. nil: there are none that hold.
type archiveRoots struct {
	list []envelope.Root
	by   identity.Host
}

// openRoots verifies a file of roots: each signed by its platform, each naming the one
// before it. Where that does not hold, the report says why, and there are no roots.
func openRoots(t ArchiveTree, o ArchiveOptions) (*archiveRoots, *Report) {
	r := archiveReport(t.Path + "/" + envelope.RootsName)
	w, err := envelope.ParseArchiveRoots(t.Roots)
	if err != nil {
		return nil, r.archive(Invalid, "malformed", "this is no list of roots: %s", err)
	}
	p, trusted := o.Trust.Find(w.By)
	if !trusted {
		return nil, r.archive(Indeterminate, "platformNotTrusted", "there is no trust entry for %s, which made the archive", w.By)
	}
	if p.Domain != w.By {
		return nil, r.archive(Invalid, "malformed", "by is %s, and not the domain %s", w.By, p.Domain)
	}
	out := &archiveRoots{by: p.Domain}
	var head envelope.Hash
	kept := o.Root.IsZero()
	for i, jws := range w.Roots {
		root, err := envelope.OpenRoot(jws, p, false)
		if e, ok := errors.AsType[*envelope.SignatureError](err); ok && e.Reason != envelope.BadSignature {
			return nil, r.archive(Indeterminate, string(e.Reason), "root %d: %s", i, e.Detail)
		}
		switch {
		case err != nil:
			return nil, r.archive(Invalid, "root", "root %d: %s", i, err)
		case root.Previous != head:
			return nil, r.archive(Invalid, "root", "root %d does not follow the one before it: one was taken out, or put in", i)
		case i > 0 && root.Day <= out.list[i-1].Day:
			return nil, r.archive(Invalid, "root", "root %d is not of a later day than the one before it", i)
		case root.At.UTC().Format(time.DateOnly) <= root.Day:
			return nil, r.archive(Invalid, "root", "root %d was signed before its day was over", i)
		case root.At.After(o.Now.Add(archiveAhead)):
			return nil, r.archive(Invalid, "timeAhead", "root %d was signed at %s, after the time of judging", i, stamp(root.At))
		}
		out.list, head = append(out.list, root), envelope.HashOf([]byte(jws))
		kept = kept || head == o.Root
	}
	if !kept {
		return nil, r.archive(Invalid, "cutOff", "the root that you kept, %s, is not among them: roots were cut off, or these are others", o.Root)
	}
	newest := "none yet"
	if !head.IsZero() {
		newest = "newest " + head.String()
	}
	r.check(fmt.Sprintf("%d roots, each signed and linked to the one before it", len(out.list)), OK, newest)
	return out, r
}

// archiveAhead is by how much clocks may differ.
const archiveAhead = 5 * time.Minute

// missing says of each archive that a root names and that was not found: it was deleted.
func (roots *archiveRoots) missing(path string, found map[envelope.Hash]string) (reports []*Report) {
	if roots == nil {
		return nil
	}
	for _, root := range roots.list {
		for _, sum := range root.Archives {
			if _, there := found[sum]; !there {
				reports = append(reports, archiveReport(path).archive(Invalid, "deleted", "the archive that the root of %s names, whose list has the SHA-256 %s, is not there", root.Day, sum))
			}
		}
	}
	return reports
}

// folder judges one archive: its files by its list, and the list by the roots.
func (roots *archiveRoots) folder(f ArchiveFolder, o ArchiveOptions, found map[envelope.Hash]string) *Report {
	r := archiveReport(f.Path)
	if f.List == nil {
		return r.archive(Invalid, "deleted", "there is no %s in this folder: it was taken away, or the folder is no archive", envelope.ArchiveListName)
	}
	w, err := envelope.ParseArchiveList(f.List)
	if err != nil {
		return r.archive(Invalid, "malformed", "%s is no list of files: %s", envelope.ArchiveListName, err)
	}
	sum := envelope.HashOf(f.List)
	other, twice := found[sum]
	found[sum] = f.Path
	switch {
	case twice:
		return r.archive(Invalid, "inserted", "this is the archive %s once more", other)
	case roots != nil && w.By != roots.by:
		return r.archive(Invalid, "malformed", "the list is of %s, and the roots are of %s", w.By, roots.by)
	case w.Folder() != f.Name:
		return r.archive(Invalid, "renamed", "the archive of %s lies in a folder of another name than %s", stamp(w.At), w.Folder())
	case w.At.After(o.Now.Add(archiveAhead)):
		return r.archive(Invalid, "timeAhead", "it was made at %s, after the time of judging", stamp(w.At))
	}
	if part, detail := compareFiles(w, f.Files); part != "" {
		return r.archive(Invalid, part, "%s", detail)
	}
	r.check(fmt.Sprintf("%d files, each as it was archived", len(w.Files)), OK, "")
	return roots.sealed(r, w, sum)
}

// compareFiles says what differs between a list and what lies beside it.
func compareFiles(w *envelope.ArchiveList, files map[string]envelope.Hash) (part, detail string) {
	listed := map[string]bool{}
	for _, f := range w.Files {
		listed[f.Name] = true
		switch sum, there := files[f.Name]; {
		case !there:
			return "deleted", f.Name + " is in the list and not in the folder"
		case sum != f.Sum:
			return "changed", f.Name + " is not the file that was archived"
		}
	}
	var more []string
	for name := range files {
		if !listed[name] {
			more = append(more, name)
		}
	}
	if len(more) == 0 {
		return "", ""
	}
	return "inserted", slices.Min(more) + " is in the folder and not in the list"
}

// sealed says whether a root speaks for the list.
func (roots *archiveRoots) sealed(r *Report, w *envelope.ArchiveList, sum envelope.Hash) *Report {
	if roots == nil {
		return r.archive(Indeterminate, "noRoots", "no roots that hold lie beside the archive (%s): nobody can tell whether this is the list that was made", envelope.RootsName)
	}
	for _, root := range roots.list {
		if slices.Contains(root.Archives, sum) {
			r.check("signed under the root of "+root.Day, OK, "SHA-256 of the list "+sum.String())
			return r
		}
	}
	// One that was begun before midnight and finished after it is in the root of the next day.
	if n := len(roots.list); n > 0 && roots.list[n-1].Day > w.At.UTC().Format(time.DateOnly) {
		return r.archive(Invalid, "inserted", "no root names this archive, though one of a later day was signed")
	}
	return r.archive(Indeterminate, "unsealed", "no root speaks for this archive yet: fetch the roots once its day is over, or the next if it was made over midnight")
}

// NoArchive is the report on a folder that should hold archives, since the reader kept a
// root of them, and holds none.
func NoArchive(path string) *Report {
	return archiveReport(path).archive(Indeterminate, "noRoots", "there is no archive here: neither %s nor %s", envelope.RootsName, envelope.ArchiveListName)
}
