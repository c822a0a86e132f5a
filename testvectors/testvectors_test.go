package testvectors_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"eblnode/testvectors"
)

func all(t *testing.T) []*testvectors.Vector {
	t.Helper()
	var out []*testvectors.Vector
	for _, f := range testvectors.Families {
		vs, err := testvectors.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, vs...)
	}
	return out
}

// TestSchema checks every file against schema.json.
func TestSchema(t *testing.T) {
	schema := schemaOf(t, "schema.json")
	for _, v := range all(t) {
		t.Run(v.Name, func(t *testing.T) {
			file, err := testvectors.Files.ReadFile("testdata/" + v.Name + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var value map[string]any
			if err := json.Unmarshal(file, &value); err != nil {
				t.Fatal(err)
			}
			mustFit(t, schema, v.Name, file)
			for name := range value {
				if _, ok := schema.Properties[name]; !ok {
					t.Errorf("the member %s is not in the schema", name)
				}
			}
			if _, err := v.Bytes(); err != nil {
				t.Error(err)
			}
			if v.Trust != "" {
				if _, err := testvectors.Trust(v.Trust); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestConditions says once more what the schema says with if and then.
func TestConditions(t *testing.T) {
	for _, v := range all(t) {
		switch {
		case (v.Expect == "accept") != (v.Reason == ""):
			t.Errorf("%s: expect %q with reason %q", v.Name, v.Expect, v.Reason)
		case (v.Reason == "unlawful") != (v.Law != ""), v.Law != "" && (v.Entry == nil || v.Transaction == nil):
			t.Errorf("%s: reason %q with law %q", v.Name, v.Reason, v.Law)
		case v.Kind == "block" && v.Expect == "accept" && (v.State == nil || v.State.Possessor == "" || v.State.Length == 0):
			t.Errorf("%s: accepted without state", v.Name)
		case v.Kind == "block" && v.Expect != "accept" && v.Code == 0:
			t.Errorf("%s: refused without code", v.Name)
		case v.Kind != "document" && (v.At == "" || v.Trust == ""):
			t.Errorf("%s: no clock or trust file", v.Name)
		case strings.Contains(v.Name, "/refuse-") == (v.Expect == "accept"):
			t.Errorf("%s: the name says otherwise than %q", v.Name, v.Expect)
		}
	}
}

// TestEveryCheckIsDocumented: each id that a vector names has a row in the documents, and
// each vector that a document names is there.
func TestEveryCheckIsDocumented(t *testing.T) {
	var text strings.Builder
	for _, name := range []string{"PROTOCOL.md", "checks-envelope.md"} {
		part, err := os.ReadFile(filepath.Join("../docs", name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		text.Write(part)
	}
	names := map[string]bool{}
	for _, v := range all(t) {
		names[v.Name] = true
		if !strings.Contains(text.String(), "\n| "+v.Spec+" |") {
			t.Errorf("%s: the check %s has no row in docs", v.Name, v.Spec)
		}
	}
	pattern := regexp.MustCompile("`((?:" + strings.Join(testvectors.Families, "|") + ")/[a-z0-9-]+)`")
	for _, m := range pattern.FindAllStringSubmatch(text.String(), -1) {
		if !names[m[1]] {
			t.Errorf("the documents name %s, and there is no such vector", m[1])
		}
	}
}

// TestGenerateChangesNothing runs the generator in a copy and compares.
func TestGenerateChangesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "gen")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./internal/gen").CombinedOutput(); err != nil {
		t.Fatalf("building the generator: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), bin)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("running the generator: %v\n%s", err, out)
	}
	made := 0
	for _, family := range append([]string{"keys", "trust", "exchange", "ocsp", "archive"}, testvectors.Families...) {
		files, err := filepath.Glob(filepath.Join(dir, "testdata", family, "*.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			made++
			name := family + "/" + filepath.Base(f)
			got, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			want, err := testvectors.Files.ReadFile("testdata/" + name)
			if err != nil || string(got) != string(want) {
				t.Errorf("%s: the generator makes another file than the one here; run go generate ./testvectors", name)
			}
		}
	}
	have, err := fs.Glob(testvectors.Files, "testdata/*/*.json")
	have = slices.DeleteFunc(have, func(f string) bool { return strings.HasPrefix(f, "testdata/bundle/") }) // by others
	if err != nil || len(have) != made {
		t.Errorf("files: got %d (%v), want the %d that the generator makes", len(have), err, made)
	}
}

// oneSided are the checks that have vectors of one kind only, and why.
var oneSided = map[string]string{
	"K6": "that a signature was known before is shown by a bundle (node-valid-at-signing-time-3)",
	"K8": "that nothing is known of a certificate is K9, and in a bundle revocationUnknown",
	"P6": "is about blocks with two faults",
	"T4": "is that nothing is refused",
	"A1": "what is no receipt is A2 to A4", "A2": "a receipt is A1", "A3": "a receipt is A1",
	"N1": "what is no rejection is N2 to N4", "N2": "a rejection is N1", "N4": "a rejection is N1",
	"V1": "what is no verdict is V2 and V3", "V2": "a verdict is V1", "V3": "a verdict is V1",
}

// TestEveryRuleHasBothSides: each check of JSON, body, JWS, key, payload, signer, hash, law
// and time has a vector that is accepted and one that is refused.
func TestEveryRuleHasBothSides(t *testing.T) {
	accepted, refused := map[string]int{}, map[string]int{}
	for _, v := range all(t) {
		if v.Expect == "accept" {
			accepted[v.Spec]++
		} else {
			refused[v.Spec]++
		}
	}
	for _, a := range answers(t) {
		if a.Expect == "accept" {
			accepted[a.Spec]++
		} else {
			refused[a.Spec]++
		}
	}
	page, err := os.ReadFile("../docs/PROTOCOL.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, m := range regexp.MustCompile(`(?m)^\| ([JBWKSPHLTANV][0-9]+) \|`).FindAllStringSubmatch(string(page), -1) {
		id := m[1]
		rows++
		if _, one := oneSided[id]; (accepted[id] == 0 || refused[id] == 0) != one {
			t.Errorf("%s: %d accepted, %d refused", id, accepted[id], refused[id])
		}
	}
	if rows < 70 {
		t.Errorf("got %d rows, want 70 at least: is the table's form still what this test reads?", rows)
	}
}
