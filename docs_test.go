package eblnode_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	checkRow       = regexp.MustCompile(`(?m)^\| ([A-Z][0-9]+) \| (.*) \| (.*) \| (.*) \|$`)
	codeSpan       = regexp.MustCompile("`([^`]+)`")
	testFunc       = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	errorRow       = regexp.MustCompile(`(?m)^\| (7\d\d\d|8\d\d\d) \| (.*?) \|`)
	anErrorCode    = regexp.MustCompile(`\b[45]\d\d\b.*\b[78]\d\d\d\b`)
	comparesTables = regexp.MustCompile(`\b(dump|mustChange|mustAnswer|checkDump)\(`)
	vectorRef      = regexp.MustCompile(`^(json|canonical|signed|envelope|chain|receipt|exchange|ca|ocsp|bundle)/[a-z0-9-]+$`)
	offTheWire     = regexp.MustCompile(`^(receipt|ocsp|bundle)/`) // not sent to a node
)

// TestEveryCheckIsShown walks the tables of checks in docs/PROTOCOL.md: each row must
// name at least one test vector or test that exists.
func TestEveryCheckIsShown(t *testing.T) {
	text, err := os.ReadFile("docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, dumps := testNames(t)
	seen := map[string]bool{}
	for _, row := range checkRow.FindAllStringSubmatch(string(text), -1) {
		id, shown := row[1], row[4]
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		refs := codeSpan.FindAllStringSubmatch(shown, -1)
		if len(refs) == 0 {
			t.Errorf("%s names no vector and no test", id)
		}
		// A refusal must be shown by what also sees that nothing else changed: a vector,
		// all of which are sent to a node between two dumps, or a test with a dump.
		reads := id == "U7" || id == "U8" || id == "U9" // what is told, not what is done
		if answer := row[3]; !reads && anErrorCode.MatchString(answer) && !strings.HasPrefix(answer, "(") && !slices.ContainsFunc(refs, func(ref []string) bool {
			return vectorRef.MatchString(ref[1]) && !offTheWire.MatchString(ref[1]) || dumps[ref[1]]
		}) {
			t.Errorf("%s names no vector and no test that compares the tables before and after", id)
		}
		for _, ref := range refs {
			switch name := ref[1]; {
			case vectorRef.MatchString(name):
				if _, err := os.Stat(filepath.Join("testvectors", "testdata", name+".json")); err != nil {
					t.Errorf("%s: there is no vector %s", id, name)
				}
			case !tests[name]:
				t.Errorf("%s: there is no test %s", id, name)
			}
		}
	}
	if len(seen) < 90 {
		t.Errorf("got %d checks, want 90 at least: is the table's form still what this test reads?", len(seen))
	}
	specs := vectorSpecs(t)
	for id := range specs {
		if !seen[id] {
			t.Errorf("vectors name the check %s, which docs/PROTOCOL.md has not", id)
		}
	}
}

// testNames are all test functions of the tree; dumps are those that compare all tables
// before and after, by themselves or by a helper for it.
func testNames(t *testing.T) (names, dumps map[string]bool) {
	t.Helper()
	names, dumps = map[string]bool{}, map[string]bool{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, function := range strings.Split(string(text), "\nfunc ") {
			if m := testFunc.FindStringSubmatch("func " + function); m != nil && strings.HasPrefix("func "+function, m[0]) {
				names[m[1]] = true
				dumps[m[1]] = comparesTables.MatchString(function)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names, dumps
}

// vectorSpecs are the ids that vectors name.
func vectorSpecs(t *testing.T) map[string]bool {
	t.Helper()
	spec := regexp.MustCompile(`(?m)^  "spec": "([^"]+)"`)
	ids := map[string]bool{}
	files, err := filepath.Glob("testvectors/testdata/*/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range spec.FindAllStringSubmatch(string(text), -1) {
			for _, id := range strings.Fields(strings.ReplaceAll(m[1], ",", " ")) {
				ids[id] = true
			}
		}
	}
	return ids
}

// TestErrorCodesAreListed holds the closed list of the code against the one of the page.
func TestErrorCodesAreListed(t *testing.T) {
	page, err := os.ReadFile("docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range errorRow.FindAllStringSubmatch(string(page), -1) {
		listed[row[1]] = true
	}
	source, err := os.ReadFile("node/errors.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t\w+\s+Code = (\d+)$`).FindAllStringSubmatch(string(source), -1) {
		if !listed[m[1]] {
			t.Errorf("the code %s is not in docs/PROTOCOL.md", m[1])
		}
		delete(listed, m[1])
	}
	for code := range listed {
		t.Errorf("docs/PROTOCOL.md lists %s, which node/errors.go has not", code)
	}
	texts := regexp.MustCompile(`(?m)^\s*(?:Text\w+|\w+\s+(?:Law|Reason))\s+= "([A-Za-z/]+)"`)
	for _, file := range []string{"node/errors.go", "chain/errors.go", "chain/state.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range texts.FindAllStringSubmatch(string(source), -1) {
			if !strings.Contains(string(page), m[1]) {
				t.Errorf("%s has the text %q, which docs/PROTOCOL.md has not", file, m[1])
			}
		}
	}
}

// TestEveryThreatIsShown walks the threat table of docs/SECURITY.md: where a row says that
// an attacker cannot do something, it names tests that exist.
func TestEveryThreatIsShown(t *testing.T) {
	text, err := os.ReadFile("docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	table, _, found := strings.Cut(string(text), "\n\n## ")
	if !found {
		t.Fatal("docs/SECURITY.md does not begin with the table")
	}
	tests, _ := testNames(t)
	rows := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) < 3 || strings.Contains(line, "they cannot") || strings.HasPrefix(line, "| ---") {
			continue
		}
		rows++
		if len(cells) > 3 && strings.TrimSpace(cells[2]) != "" {
			shownBy(t, tests, cells[0], cells[3])
		}
	}
	if rows < 20 {
		t.Errorf("got %d rows, want 20 at least: is the table's form still what this test reads?", rows)
	}
}

// shownBy fails the test unless shown names tests, all of which exist.
func shownBy(t *testing.T, tests map[string]bool, row, shown string) {
	t.Helper()
	refs := codeSpan.FindAllStringSubmatch(shown, -1)
	if len(refs) == 0 {
		t.Errorf("%s names no test", row)
	}
	for _, ref := range refs {
		if !tests[ref[1]] {
			t.Errorf("%s: there is no test %s", row, ref[1])
		}
	}
}

var caseRow = regexp.MustCompile(`(?m)^\| ([A-Z][A-Z0-9]*-[0-9]+) \| (.*) \| (.*) \| (.*) \|$`)

// TestEverySecurityCaseIsShown walks the tables of cases in docs/SECURITY.md: each row names
// tests that exist.
func TestEverySecurityCaseIsShown(t *testing.T) {
	text, err := os.ReadFile("docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, _ := testNames(t)
	seen := map[string]bool{}
	for _, row := range caseRow.FindAllStringSubmatch(string(text), -1) {
		id, shown := row[1], row[4]
		if seen[id] {
			t.Errorf("%s is there twice", id)
		}
		seen[id] = true
		shownBy(t, tests, id, shown)
	}
	for _, id := range []string{
		"TLS-01", "TLS-02", "TLS-04", "TLS-05", "TLS-06", "TLS-10", "TLS-12", "TLS-15",
		"HTTP-01", "HTTP-03", "HTTP-04", "HTTP-05", "HTTP-06", "HTTP-08", "HTTP-11", "HTTP-12", "HTTP-14", "HTTP-16",
		"X509-01", "X509-02", "X509-03", "X509-05", "X509-07", "X509-08", "X509-12", "X509-14", "X509-15", "X509-16", "X509-17", "X509-19", "X509-20", "X509-24",
		"OAU-01", "OAU-04", "OAU-05", "OAU-07", "OAU-08", "OAU-09", "OAU-10", "OAU-12", "OAU-13", "OAU-15", "OAU-16", "OAU-17"} {
		if !seen[id] {
			t.Errorf("docs/SECURITY.md has no row %s", id)
		}
	}
}
