package testvectors_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/testvectors"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// schemaOf is a published schema, with all that JSON Schema 2020-12 has, formats too.
func schemaOf(t *testing.T, name string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertContent()
	s, err := c.Compile(name)
	if err != nil {
		t.Fatalf("compiling %s: %v", name, err)
	}
	if s.DraftVersion != 2020 {
		t.Fatalf("%s is of %d, want 2020-12", name, s.DraftVersion)
	}
	return s
}

// fits holds a text of JSON against a schema.
func fits(s *jsonschema.Schema, text []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(v)
}

func mustFit(t *testing.T, s *jsonschema.Schema, name string, text []byte) {
	t.Helper()
	if err := fits(s, text); err != nil {
		t.Errorf("%s: %v", name, err)
	}
}

// TestOCSPSchema checks every OCSP vector against its schema.
func TestOCSPSchema(t *testing.T) {
	schema := schemaOf(t, "ocsp.schema.json")
	for _, v := range answers(t) {
		file, err := testvectors.Files.ReadFile("testdata/" + v.Name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		mustFit(t, schema, v.Name, file)
	}
}

// TestSchemasRefuse: each schema says no to files that are none, so that it says something.
func TestSchemasRefuse(t *testing.T) {
	read := func(name string) string {
		file, err := testvectors.Files.ReadFile("testdata/" + name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		return string(file)
	}
	for schema, c := range map[string]struct {
		file    string
		changes [][2]string
	}{
		"schema.json": {"chain/three-entries", [][2]string{{`"expect": "accept"`, `"expect": "accepted"`}, {`"kind": "block"`, `"kind": "chain"`}, {`"expect": "accept"`, `"expect": "chain"`},
			{`"at": "2026`, `"at": "1 June 2026`}, {`"spec": "`, `"spec": "check `}, {`"state": {`, `"stat": {`}, {`"possessor": "`, `"possessed": "`}, {`"length": 3`, `"length": 0`}, {`"head": "`, `"head": "0`}}},
		"bundle.schema.json": {"bundle/node-valid-1", [][2]string{{`"maker": "node"`, `"maker": "rust"`}, {`"expect": "valid"`, `"expect": "accept"`}, {`"inputText"`, `"input"`}, {`"trust": "base"`, `"trust": "../base"`},
			{`"at": "2026`, `"at": "26`}, {`"kind": "bundle",`, ``}}},
		"exchange.schema.json": {"exchange/replay", [][2]string{{`"status": 200`, `"status": "200"`}, {`"receiver":`, `"for":`}, {`"sender":`, `"from":`}, {`"requests": [`, `"requests": [], "x": [`}, {`"answer": {`, `"answer": {"x": 1, `}}},
		"ocsp.schema.json":     {"ocsp/revoked-stolen", [][2]string{{`"good": false`, `"good": true`}, {`"expect": "accept"`, `"expect": "indeterminate"`}, {`"issuer": "`, `"issuer": "*`}, {`"revoked": "2026`, `"revoked": "x`}, {`"kind"`, `"sort"`}}},
		"evidence.schema.json": {"", nil}, // TestEvidenceSchema
	} {
		s := schemaOf(t, schema)
		if c.file == "" {
			continue
		}
		whole := read(c.file)
		mustFit(t, s, c.file, []byte(whole))
		for _, change := range c.changes {
			text := strings.Replace(whole, change[0], change[1], 1)
			if text == whole {
				t.Fatalf("%s: there is no %s to change", c.file, change[0])
			}
			if fits(s, []byte(text)) == nil {
				t.Errorf("%s takes %s with %s", schema, c.file, change[1])
			}
		}
	}
}

// TestEvidenceSchema: every bundle that is well formed fits the schema of the file; of the
// malformed ones it refuses those whose fault a schema can see, and all of some rules.
func TestEvidenceSchema(t *testing.T) {
	schema := schemaOf(t, "evidence.schema.json")
	refused, passed := map[string]int{}, map[string]int{}
	for _, b := range bundles(t) {
		text := bytesOf(t, b)
		_, malformed := envelope.ParseBundle(text, envelope.Limits{})
		switch err := fits(schema, text); {
		case malformed == nil && err != nil:
			t.Errorf("%s (%s): %v", b.Name, b.Comment, err)
		case malformed != nil && err != nil:
			refused[b.Reason]++
		case malformed != nil:
			passed[b.Reason]++
		}
	}
	for _, rule := range []string{"format", "unknownMember", "missing", "json"} {
		if refused["malformed/"+rule] == 0 || passed["malformed/"+rule] > 0 {
			t.Errorf("malformed/%s: %d refused, %d taken, want all refused", rule, refused["malformed/"+rule], passed["malformed/"+rule])
		}
	}
	for _, rule := range []string{"type", "hash", "jws", "time", "value", "base64", "host", "limit"} {
		if refused["malformed/"+rule] == 0 {
			t.Errorf("malformed/%s: none is refused", rule)
		}
	}
	t.Logf("refused by the schema: %v; not to be seen by it: %v", refused, slices.Sorted(maps.Keys(passed)))
	for name, file := range map[string]string{"a transferblock": "chain/three-entries", "a vector": "bundle/node-valid-1"} {
		text, err := testvectors.Files.ReadFile("testdata/" + file + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if err := fits(schema, text); err == nil {
			t.Errorf("%s passes for a bundle", name)
		}
	}
}
