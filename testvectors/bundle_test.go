package testvectors_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/testvectors"
)

func bundles(t *testing.T) []*testvectors.Bundle {
	t.Helper()
	bs, err := testvectors.LoadBundles()
	if err != nil {
		t.Fatal(err)
	}
	return bs
}

func bytesOf(t *testing.T, b *testvectors.Bundle) []byte {
	t.Helper()
	in, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// TestBundleSchema checks every bundle's file against bundle.schema.json.
func TestBundleSchema(t *testing.T) {
	schema := schemaOf(t, "bundle.schema.json")
	for _, b := range bundles(t) {
		file, err := testvectors.Files.ReadFile("testdata/" + b.Name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var value map[string]any
		if err := json.Unmarshal(file, &value); err != nil {
			t.Fatal(err)
		}
		mustFit(t, schema, b.Name, file)
		for name := range value {
			if _, ok := schema.Properties[name]; !ok {
				t.Errorf("%s: the member %s is not in the schema", b.Name, name)
			}
		}
		good := strings.HasPrefix(b.Expect, "valid")
		if good != (b.Reason == "") || good != (b.State != nil) {
			t.Errorf("%s: expect %q with reason %q and state %v", b.Name, b.Expect, b.Reason, b.State)
		}
		if _, err := testvectors.Trust(b.Trust); err != nil {
			t.Error(err)
		}
		if !strings.HasPrefix(filepath.Base(b.Name), b.Maker+"-") {
			t.Errorf("%s: made by %s", b.Name, b.Maker)
		}
	}
}

// TestBundlesCoverTheRules: enough of them, of enough rules, not too many of one, half of
// them of the Node tool; and each code of docs/BUNDLE.md has one.
func TestBundlesCoverTheRules(t *testing.T) {
	rules, ofNode := map[string]int{}, 0
	bs := bundles(t)
	for _, b := range bs {
		rules[b.Reason]++
		if b.Maker == "node" {
			ofNode++
		}
	}
	good := rules[""]
	delete(rules, "")
	if len(bs) < 200 || len(rules) < 60 || 2*ofNode < len(bs) || good < 10 {
		t.Errorf("%d bundles, %d rules, %d by Node, %d good; want 200, 60, half, 10", len(bs), len(rules), ofNode, good)
	}
	for code, n := range rules {
		if n > 5 {
			t.Errorf("%s has %d bundles, more than 5", code, n)
		}
	}
	unknown := maps.Clone(rules)
	for _, code := range bundleCodes(t) {
		if rules[code] == 0 {
			t.Errorf("docs/BUNDLE.md has the code %s, and no bundle breaks it first", code)
		}
		delete(unknown, code)
	}
	for code := range unknown {
		t.Errorf("bundles break %s, which docs/BUNDLE.md has not", code)
	}
}

var (
	codeRow  = regexp.MustCompile("(?m)^\\|(?: B[1-5])? (`[^|]*`) \\| [V?] \\|")
	codeSpan = regexp.MustCompile("`([^`]+)`")
)

// bundleCodes are the codes of section 3. `a/x`, `/y` stands for a/x and a/y, `a/…` for
// codes of an earlier table.
func bundleCodes(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	section, _, _ := strings.Cut(string(page), "\n## 4. ") // those of archives come later
	var codes []string
	for _, row := range codeRow.FindAllStringSubmatch(section, -1) {
		reason := ""
		for _, span := range codeSpan.FindAllStringSubmatch(row[1], -1) {
			before, part, _ := strings.Cut(span[1], "/")
			if before != "" {
				reason = before
			}
			switch {
			case part == "…":
			case part == "":
				codes = append(codes, reason)
			default:
				codes = append(codes, reason+"/"+part)
			}
		}
	}
	if len(codes) < 90 {
		t.Errorf("got %d codes, want 90 at least: is the table's form still what this test reads?", len(codes))
	}
	return codes
}

// TestBundleShapes: what is malformed is refused by our reader with that rule, and all
// others are read.
func TestBundleShapes(t *testing.T) {
	for _, b := range bundles(t) {
		_, err := envelope.ParseBundle(bytesOf(t, b), envelope.Limits{})
		got := ""
		if ferr, ok := errors.AsType[*envelope.FormatError](err); ok {
			got = "malformed/" + ferr.Rule
		}
		want := ""
		if strings.HasPrefix(b.Reason, "malformed/") {
			want = b.Reason
		}
		if got != want {
			t.Errorf("%s (%s): got %q (%v), want %q", b.Name, b.Comment, got, err, want)
		}
	}
}
