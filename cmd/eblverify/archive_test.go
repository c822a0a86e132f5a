package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/judge"
	"eblnode/node"
)

// An archived is a folder of archives of three days, as a node wrote it: two bills on the
// first, three on the second and the third; each day is signed.
type archived struct {
	dir, trust, at string
	folders        []string // by their names
	roots          []envelope.Hash
}

func archiveOf(t *testing.T) *archived {
	t.Helper()
	var ahead atomic.Int64
	a := ebltest.New(t).Platform("a.example", ebltest.Configure(func(c *node.Config) {
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	}))
	al := a.User("al")
	x := &archived{dir: filepath.Join(t.TempDir(), "archive"), trust: entryFile(t, filepath.Join(t.TempDir(), "trust"), a), at: time.Now().Add(96 * time.Hour).Format(time.RFC3339)}
	make := func(rootsOnly bool) node.Archived {
		made, err := a.Node().Archive(t.Context(), "op", x.dir, rootsOnly)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	a.Issue(al.ID)
	for range 3 {
		a.Issue(al.ID)
		x.folders = append(x.folders, filepath.Base(make(false).Folder))
		ahead.Add(int64(24 * time.Hour))
	}
	make(true)
	for _, jws := range x.read(t).Roots {
		x.roots = append(x.roots, envelope.HashOf([]byte(jws)))
	}
	if len(x.roots) != 3 {
		t.Fatalf("got %d roots, want one a day", len(x.roots))
	}
	return x
}

func (x *archived) path(name ...string) string {
	return filepath.Join(append([]string{x.dir}, name...)...)
}

func (x *archived) read(t *testing.T) *envelope.ArchiveRoots {
	t.Helper()
	text, err := os.ReadFile(x.path(envelope.RootsName))
	if err != nil {
		t.Fatal(err)
	}
	roots, err := envelope.ParseArchiveRoots(text)
	if err != nil {
		t.Fatal(err)
	}
	return roots
}

// files are all files below the folder, by their path in it.
func (x *archived) files(t *testing.T) (list []string) {
	t.Helper()
	err := filepath.WalkDir(x.dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			list = append(list, strings.TrimPrefix(path, x.dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// spoilt judges a copy of the folder that change was done to.
func (x *archived) spoilt(t *testing.T, change func(*archived) error, more ...string) (out string, code int) {
	t.Helper()
	y := *x
	y.dir = filepath.Join(t.TempDir(), "archive")
	if err := errors.Join(os.CopyFS(y.dir, os.DirFS(x.dir)), change(&y)); err != nil {
		t.Fatal(err)
	}
	out, errOut, code := do(t, "", append([]string{y.dir, "--trust", x.trust, "--at", x.at}, more...)...)
	if errOut != "" {
		t.Fatalf("got %s", errOut)
	}
	return out, code
}

func swap(a, b string) error {
	return errors.Join(os.Rename(a, a+".x"), os.Rename(b, a), os.Rename(a+".x", b))
}

func copyFile(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, text, 0o600)
}

func rewrite(path string, f func([]byte) []byte) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, f(text), 0o600)
}

// manipulations are what can be done to each file, to each folder, and to each pair,
// mechanically.
func (x *archived) manipulations(t *testing.T) map[string]func(*archived) error {
	list := map[string]func(*archived) error{}
	files := x.files(t)
	for i, f := range files {
		list["delete "+f] = func(x *archived) error { return os.Remove(x.path(f)) }
		list["rename "+f] = func(x *archived) error { return os.Rename(x.path(f), x.path(f+".json")) }
		list["hide "+f] = func(x *archived) error { return os.Rename(x.path(f), x.path(filepath.Dir(f), ".x")) }
		list["duplicate "+f] = func(x *archived) error { return copyFile(x.path(f), x.path(filepath.Dir(f), "copy.json")) }
		list["duplicate beside the roots "+f] = func(x *archived) error { return copyFile(x.path(f), x.path("copy.json")) }
		list["duplicate as another kind "+f] = func(x *archived) error { return copyFile(x.path(f), x.path(f+".bak")) }
		list["empty "+f] = func(x *archived) error { return os.Truncate(x.path(f), 0) }
		list["cut "+f] = func(x *archived) error { return rewrite(x.path(f), func(b []byte) []byte { return b[:len(b)-1] }) }
		list["halve "+f] = func(x *archived) error { return rewrite(x.path(f), func(b []byte) []byte { return b[:len(b)/2] }) }
		list["more after "+f] = func(x *archived) error {
			return rewrite(x.path(f), func(b []byte) []byte { return append(b, "{}"...) })
		}
		list["a folder in the place of "+f] = func(x *archived) error {
			return errors.Join(os.Remove(x.path(f)), os.Mkdir(x.path(f), 0o700))
		}
		list["a link in the place of "+f] = func(x *archived) error {
			return errors.Join(os.Rename(x.path(f), x.dir+".away"), os.Symlink(x.dir+".away", x.path(f)))
		}
		for _, d := range append(slices.Clone(x.folders), ".") {
			if filepath.Dir(f) == d {
				continue
			}
			list["move "+f+" to "+d] = func(x *archived) error {
				return os.Rename(x.path(f), x.path(d, "moved-"+filepath.Base(f)))
			}
			if base := filepath.Base(f); base == envelope.ArchiveListName || base == envelope.RootsName {
				list["place "+f+" in "+d] = func(x *archived) error { return copyFile(x.path(f), x.path(d, base)) }
			}
		}
		for _, g := range files[:i] {
			list["swap "+f+" and "+g] = func(x *archived) error { return swap(x.path(f), x.path(g)) }
		}
	}
	for i, d := range x.folders {
		list["delete folder "+d] = func(x *archived) error { return os.RemoveAll(x.path(d)) }
		list["empty folder "+d] = func(x *archived) error {
			return errors.Join(os.RemoveAll(x.path(d)), os.Mkdir(x.path(d), 0o700))
		}
		list["rename folder "+d] = func(x *archived) error { return os.Rename(x.path(d), x.path("20200101T000000Z")) }
		list["hide folder "+d] = func(x *archived) error { return os.Rename(x.path(d), x.path("."+d)) }
		list["duplicate folder "+d] = func(x *archived) error { return os.CopyFS(x.path("20200101T000000Z"), os.DirFS(x.path(d))) }
		list["duplicate folder as hidden "+d] = func(x *archived) error { return os.CopyFS(x.path("."+d), os.DirFS(x.path(d))) }
		list["put an empty folder into "+d] = func(x *archived) error { return os.Mkdir(x.path(d, "more"), 0o700) }
		list["move folder out of sight "+d] = func(x *archived) error {
			return errors.Join(os.Mkdir(x.path("more"), 0o700), os.Rename(x.path(d), x.path("more", d)))
		}
		for j := range x.folders[:i] {
			list["put folder into folder "+d] = func(x *archived) error { return os.Rename(x.path(d), x.path(x.folders[j], d)) }
			list[fmt.Sprintf("swap folders %d %d", i, j)] = func(x *archived) error { return swap(x.path(d), x.path(x.folders[j])) }
		}
	}
	list["put an empty folder beside"] = func(x *archived) error { return os.Mkdir(x.path("more"), 0o700) }
	list["put a file beside that is no bundle"] = func(x *archived) error { return os.WriteFile(x.path("README"), nil, 0o600) }
	return list
}

// TestEveryManipulationOfAnArchiveShows: whatever is deleted, put in, renamed, swapped or cut
// off, a sentence says so and the exit code is not 0.
func TestEveryManipulationOfAnArchiveShows(t *testing.T) {
	x := archiveOf(t)
	if out, code := x.spoilt(t, func(*archived) error { return nil }, "--root", x.roots[2].String()); code != 0 || strings.Count(out, "signed under the root of") != 3 || !strings.Contains(out, "newest "+x.roots[2].String()) {
		t.Fatalf("as it was written: got exit code %d, want 0: %s", code, out)
	}
	all := x.manipulations(t)
	if len(all) < 200 {
		t.Errorf("got %d manipulations, want 200 at least", len(all))
	}
	seen := map[string]int{}
	for name, change := range all {
		out, code := x.spoilt(t, change)
		told := false
		for _, l := range strings.Split(out, "\n") {
			if _, after, ok := strings.Cut(l, "  archive/"); ok {
				rule, sentence, _ := strings.Cut(after, ": ")
				seen[rule]++
				told = told || sentence != ""
			}
		}
		if code == 0 || !told {
			t.Errorf("%s: got exit code %d and\n%s", name, code, out)
		}
	}
	for _, rule := range []string{"malformed", "deleted", "inserted", "changed", "renamed", "noRoots"} {
		if seen[rule] == 0 {
			t.Errorf("none of %d manipulations shows as archive/%s: %v", len(all), rule, seen)
		}
	}
}

// TestEveryBitOfTheIndexCounts changes each byte of roots.json and of a list, one bit of it.
func TestEveryBitOfTheIndexCounts(t *testing.T) {
	x := archiveOf(t)
	ps, err := loadTrust([]string{x.trust})
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, x.at)
	if err != nil {
		t.Fatal(err)
	}
	o := judge.ArchiveOptions{Trust: ps, Now: at}
	tree := x.tree(t)
	for _, r := range judge.Archive(tree, o) {
		if r.Verdict != judge.Valid {
			t.Fatalf("as it was written: got %s: %s", r.Rule, r.Detail)
		}
	}
	for name, text := range map[string]*[]byte{envelope.RootsName: &tree.Roots, envelope.ArchiveListName: &tree.Folders[1].List} {
		whole := *text
		for i := range whole {
			for _, bit := range []byte{1 << (i % 8), 0x20} { // of letters, the other case
				*text = slices.Clone(whole)
				(*text)[i] ^= bit
				if !slices.ContainsFunc(judge.Archive(tree, o), func(r *judge.Report) bool { return !r.Verdict.Holds() && r.Detail != "" }) {
					t.Errorf("%s: byte %d, bit %x: nothing is seen", name, i, bit)
				}
			}
		}
		*text = whole
	}
}

func (x *archived) tree(t *testing.T) judge.ArchiveTree {
	t.Helper()
	tree := judge.ArchiveTree{Path: x.dir}
	var err error
	if tree.Roots, err = os.ReadFile(x.path(envelope.RootsName)); err != nil {
		t.Fatal(err)
	}
	for _, d := range x.folders {
		f, err := archiveFolder(x.path(d), &progress{})
		if err != nil {
			t.Fatal(err)
		}
		tree.Folders = append(tree.Folders, f)
	}
	return tree
}

// TestArchiveIndexIsReadStrictly: roots.json and archive.json are read as strictly as a
// bundle. Two readers must not see two lists.
func TestArchiveIndexIsReadStrictly(t *testing.T) {
	x := archiveOf(t)
	replaced := func(from, to string) func([]byte) []byte {
		return func(b []byte) []byte {
			out := strings.Replace(string(b), from, to, 1)
			if out == string(b) {
				t.Fatalf("there is no %s to change", from)
			}
			return []byte(out)
		}
	}
	for _, file := range []string{envelope.RootsName, filepath.Join(x.folders[0], envelope.ArchiveListName)} {
		for name, f := range map[string]func([]byte) []byte{
			"a name twice":            replaced(`"by":`, `"by": "b.example", "by":`),
			"an unknown member":       replaced(`"by":`, `"for": "the court", "by":`),
			"another case":            replaced(`"by":`, `"By":`),
			"text after it":           func(b []byte) []byte { return append(b, "{}"...) },
			"a byte order mark":       func(b []byte) []byte { return append([]byte("\ufeff"), b...) },
			"no UTF-8":                replaced("a.example", "a.ex\xffmple"),
			"another format":          replaced("/1", "/2"),
			"no platform":             replaced(`"by": "a.example",`, ""),
			"the platform in capital": replaced("a.example", "A.example"),
			"null":                    func([]byte) []byte { return []byte("null") },
			"an array":                func(b []byte) []byte { return []byte("[" + string(b) + "]") },
			"deep":                    func([]byte) []byte { return []byte(strings.Repeat("[", 1<<20)) },
		} {
			out, code := x.spoilt(t, func(y *archived) error { return rewrite(y.path(file), f) })
			if code != 1 || !strings.Contains(out, "archive/malformed: ") {
				t.Errorf("%s, %s: got exit code %d and\n%s, want 1 and archive/malformed", file, name, code, out)
			}
		}
	}
}

// TestNewestRootsCutOff: what a folder alone cannot show, and what the hash of a root that
// somebody kept does.
func TestNewestRootsCutOff(t *testing.T) {
	x := archiveOf(t)
	lastDay := func(y *archived) error {
		roots := y.read(t)
		roots.Roots = roots.Roots[:2]
		text, err := roots.Marshal()
		return errors.Join(err, os.WriteFile(y.path(envelope.RootsName), text, 0o600), os.RemoveAll(y.path(y.folders[2])))
	}
	if out, code := x.spoilt(t, lastDay); code != 0 {
		t.Errorf("the last day removed with its root: got exit code %d, want 0: docs/BUNDLE.md says that nobody can see it: %s", code, out)
	}
	for i, want := range []int{0, 0, 1} {
		out, code := x.spoilt(t, lastDay, "--root", x.roots[i].String())
		if code != want || want == 1 && !strings.Contains(out, "archive/cutOff: the root that you kept") {
			t.Errorf("with the root of day %d kept: got exit code %d, want %d: %s", i, code, want, out)
		}
	}
	onlyRoot := func(y *archived) error {
		return errors.Join(lastDay(y), os.CopyFS(y.path(y.folders[2]), os.DirFS(x.path(x.folders[2]))))
	}
	if out, code := x.spoilt(t, onlyRoot); code != 3 || !strings.Contains(out, "archive/unsealed") {
		t.Errorf("the last root removed, its archive left: got exit code %d, want 3: %s", code, out)
	}
	stripped := func(y *archived) error {
		err := os.Remove(y.path(envelope.RootsName))
		for _, d := range y.folders {
			err = errors.Join(err, os.Remove(y.path(d, envelope.ArchiveListName)))
		}
		return err
	}
	if out, code := x.spoilt(t, stripped, "--root", x.roots[0].String()); code != 3 || !strings.Contains(out, "archive/noRoots") {
		t.Errorf("all lists and roots taken away: got exit code %d, want 3: %s", code, out)
	}
}

// TestArchiveAtATime: --at is the time of judging of the roots too.
func TestArchiveAtATime(t *testing.T) {
	x := archiveOf(t)
	for at, want := range map[string]string{
		time.Now().Add(36 * time.Hour).Format(time.RFC3339):   "archive/timeAhead: root",
		time.Now().Add(-24 * time.Hour).Format(time.RFC3339):  "archive/timeAhead: root",
		time.Now().Add(3650 * day).UTC().Format(time.RFC3339): "",
	} {
		out, _, code := do(t, "", x.dir, "--trust", x.trust, "--at", at)
		if (code == 0) != (want == "") || !strings.Contains(out, want) {
			t.Errorf("--at %s: got exit code %d and %s, want %q", at, code, out, want)
		}
	}
}

const day = 24 * time.Hour

// TestArchivesInAFolder: archives further down, and pieces of one, are judged too.
func TestArchivesInAFolder(t *testing.T) {
	x := archiveOf(t)
	above := filepath.Dir(x.dir)
	see := func(name, dir string, code int, says string) {
		t.Helper()
		out, _, got := do(t, "", dir, "--trust", x.trust, "--at", x.at)
		if got != code || !strings.Contains(out, says) {
			t.Errorf("%s: got exit code %d and %s, want %d and %s", name, got, out, code, says)
		}
	}
	see("an archive below the folder", above, 0, "signed under the root of")
	see("one day of it by itself", x.path(x.folders[0]), 3, "archive/noRoots")
	if err := copyFile(x.path(envelope.RootsName), x.path(x.folders[0], "..", "..", envelope.RootsName)); err != nil {
		t.Fatal(err)
	}
	see("its roots one folder up", above, 1, "archive/deleted")
	empty, err := identity.NewTrust()
	if err != nil {
		t.Fatal(err)
	}
	if got := archives(x.dir, judge.ArchiveOptions{Trust: empty, Now: time.Now().Add(4 * day)}, &progress{}); len(got) != 4 || got[0].Rule != "archive/platformNotTrusted" || got[1].Rule != "archive/noRoots" {
		t.Errorf("nobody is trusted: got %+v", got)
	}
	// As *.json names them.
	for _, name := range []string{x.path(envelope.RootsName), x.path(x.folders[0], envelope.ArchiveListName)} {
		see(name, name, 3, "name the folder")
		if err := rewrite(name, func(b []byte) []byte { return append(b, "{}"...) }); err != nil {
			t.Fatal(err)
		}
		see(name+", changed", name, 1, "malformed")
	}
	top := t.TempDir()
	deep := filepath.Join(top, strings.Repeat("a/", maxFolderDepth+2))
	if err := errors.Join(os.MkdirAll(deep, 0o700), copyFile(x.path(envelope.RootsName), filepath.Join(deep, envelope.RootsName))); err != nil {
		t.Fatal(err)
	}
	see("deeper than is looked", top, 3, "are not looked into")
}

// TestArchiveWithAFileThatTakesHours: a file may be said to have terabytes, and have none.
func TestArchiveWithAFileThatTakesHours(t *testing.T) {
	x := archiveOf(t)
	for name, want := range map[string]string{"more.json": "archive/inserted", "": "archive/changed"} {
		start := time.Now()
		out, code := x.spoilt(t, func(y *archived) error {
			path := y.path(y.folders[0], name)
			if name == "" {
				files, err := filepath.Glob(y.path(y.folders[0], "*.json"))
				if err != nil {
					return err
				}
				path = files[slices.IndexFunc(files, func(f string) bool { return filepath.Base(f) != envelope.ArchiveListName })]
			}
			return errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 1<<40))
		})
		if !strings.Contains(out, want) || code != exitInvalid {
			t.Errorf("got %d and %s, want %s", code, out, want)
		}
		if took := time.Since(start); took > 2*time.Minute {
			t.Errorf("%s: took %s", want, took)
		}
	}
}
