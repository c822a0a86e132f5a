package testvectors_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

func archives(t *testing.T) []*testvectors.Archive {
	t.Helper()
	list, err := testvectors.LoadArchives()
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestArchiveVectors: what is found in each folder, all of it. The Node reader finds the same
// (TestNodeReaderAgrees).
func TestArchiveVectors(t *testing.T) {
	schema, seen := schemaOf(t, "archive.schema.json"), map[string]bool{}
	for _, v := range archives(t) {
		file, err := testvectors.Files.ReadFile("testdata/" + v.Name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		mustFit(t, schema, v.Name, file)
		at, err := time.Parse(time.RFC3339, v.At)
		if err != nil {
			t.Fatal(err)
		}
		o := judge.ArchiveOptions{Trust: vectest.Trust(t, v.Trust), Now: at}
		if v.Root != "" {
			if o.Root, err = envelope.ParseHash(v.Root); err != nil {
				t.Fatal(err)
			}
		}
		worst, rules := "valid", map[string]bool{}
		for _, r := range judge.Archive(treeOf(v), o) {
			if r.Rule != "" {
				rules[r.Rule], seen[r.Rule] = true, true
			}
			if r.Verdict == judge.Invalid || r.Verdict == judge.Indeterminate && worst == "valid" {
				worst = expects[r.Verdict]
			}
		}
		if got := slices.Sorted(maps.Keys(rules)); worst != v.Expect || !slices.Equal(got, v.Rules) {
			t.Errorf("%s (%s): got %s %v, want %s %v", v.Name, v.Comment, worst, got, v.Expect, v.Rules)
		}
	}
	page, err := os.ReadFile("../docs/BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## 6. ")
	codes := 0
	for _, row := range regexp.MustCompile("(?m)^\\| (`archive/[^|]*`) \\| [V?] \\|").FindAllStringSubmatch(section, -1) {
		for _, span := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			codes++
			if code := "archive/" + span[1][strings.Index(span[1], "/")+1:]; !seen[code] {
				t.Errorf("docs/BUNDLE.md has %s, and no vector shows it", code)
			}
		}
	}
	if codes != len(seen) || codes < 10 {
		t.Errorf("the page has %d codes, the vectors show %d", codes, len(seen))
	}
}

// treeOf is the folder of a vector as a program finds it on a disk.
func treeOf(v *testvectors.Archive) judge.ArchiveTree {
	tree, folders := judge.ArchiveTree{Path: "."}, map[string]*judge.ArchiveFolder{}
	for _, path := range slices.Sorted(maps.Keys(v.Files)) {
		text := []byte(v.Files[path])
		dir, name, inside := strings.Cut(path, "/")
		switch {
		case !inside && path == envelope.RootsName:
			tree.Roots = text
			continue
		case !inside:
			tree.Others = append(tree.Others, path)
			continue
		}
		f := folders[dir]
		if f == nil {
			f = &judge.ArchiveFolder{Path: dir, Name: dir, Files: map[string]envelope.Hash{}}
			folders[dir] = f
		}
		switch {
		case name == envelope.ArchiveListName:
			f.List = text
		case strings.HasSuffix(name, "/"):
			f.Files[strings.TrimSuffix(name, "/")] = envelope.Hash{}
		case name != "":
			f.Files[name] = envelope.HashOf(text)
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(folders)) {
		tree.Folders = append(tree.Folders, *folders[dir])
	}
	return tree
}
