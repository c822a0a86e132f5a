package eblnode_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is the architecture: which package may import what, of ours and of others,
// beside the standard library. A package or an import that is not here fails the test.
// Entries ending in /… allow everything below.
var allowed = map[string][]string{
	"eblnode/identity":  {"github.com/lestrrat-go/jwx/v2/jwk", "golang.org/x/crypto/ocsp", "golang.org/x/net/idna"},
	"eblnode/envelope":  {"eblnode/identity", "eblnode/internal/ascii", "github.com/go-json-experiment/json/…", "github.com/lestrrat-go/jwx/v2/cert", "github.com/lestrrat-go/jwx/v2/jwa", "github.com/lestrrat-go/jwx/v2/jws"},
	"eblnode/chain":     {"eblnode/envelope", "eblnode/identity"},
	"eblnode/judge":     {"eblnode/chain", "eblnode/envelope", "eblnode/identity"},
	"eblnode/discovery": {"eblnode/identity", "github.com/miekg/dns", "golang.org/x/sync/…"},
	"eblnode/node": {"eblnode/chain", "eblnode/discovery", "eblnode/envelope", "eblnode/identity", "eblnode/internal/rights", "eblnode/internal/webhook", "eblnode/internal/witness",
		"github.com/pressly/goose/v3", "golang.org/x/sync/…", "modernc.org/sqlite"},
	"eblnode/api/oauth": {"eblnode/discovery", "eblnode/envelope", "eblnode/identity", "eblnode/node", "github.com/go-json-experiment/json/…"},
	"eblnode/api": {"eblnode/api/oauth", "eblnode/discovery", "eblnode/envelope", "eblnode/identity", "eblnode/node",
		"github.com/gin-gonic/gin", "github.com/go-json-experiment/json/…", "github.com/prometheus/client_golang/…", "golang.org/x/time/rate"},
	"eblnode/cmd/eblnode": {"eblnode/api", "eblnode/api/oauth", "eblnode/discovery", "eblnode/envelope", "eblnode/identity", "eblnode/internal/demo", "eblnode/internal/hsm", "eblnode/internal/keyfile", "eblnode/internal/rights", "eblnode/internal/webhook", "eblnode/node",
		"github.com/gin-gonic/gin", "github.com/goccy/go-yaml", "github.com/spf13/cobra", "golang.org/x/sync/errgroup"},
	"eblnode/cmd/eblverify": {"eblnode/envelope", "eblnode/identity", "eblnode/internal/page", "eblnode/internal/report", "eblnode/judge", "github.com/spf13/cobra"},

	// Data for other implementations: knows nothing of ours; what makes it may.
	"eblnode/testvectors":              {},
	"eblnode/testvectors/internal/gen": {},
	// Bundles of our own encoder; those of the Node tool know nothing of it.
	"eblnode/testvectors/internal/genbundle": {"eblnode/envelope", "eblnode/identity"},
	"eblnode/testvectors/internal/nodejs":    {},

	"eblnode/internal/ascii":     {},                         // a loop that two packages need
	"eblnode/internal/witness":   {"eblnode/internal/ascii"}, // the journal outside the database; knows nothing of bills
	"eblnode/internal/demo":      {"eblnode/envelope", "eblnode/identity", "eblnode/judge", "eblnode/internal/dnsserver"},
	"eblnode/internal/dnsserver": {"github.com/miekg/dns"},
	// The bench drives the real program from outside; of ours it knows what a peer knows.
	"eblnode/internal/bench":           {"eblnode/envelope", "eblnode/identity", "eblnode/internal/dnsserver", "github.com/go-json-experiment/json/…", "modernc.org/sqlite"},
	"eblnode/internal/torture/mutants": {}, // breaks the source, and imports nothing of it
	"eblnode/internal/catest":          {}, // makes certificates and OCSP answers, also false ones; knows nothing of ours
	"eblnode/internal/webhook":         {},
	"eblnode/internal/report":          {"eblnode/identity", "eblnode/judge"}, // a verdict as a page; no I/O
	"eblnode/internal/page":            {"eblnode/internal/report"},
	"eblnode/internal/shots":           {"eblnode/envelope", "eblnode/identity", "eblnode/internal/report", "eblnode/judge"}, // the pictures of docs/
	"eblnode/internal/page/wasm":       {"eblnode/identity", "eblnode/internal/report", "eblnode/judge"},
	"eblnode/internal/vectest":         {"eblnode/chain", "eblnode/identity", "eblnode/judge", "eblnode/testvectors"}, // the vectors, read; tests only
	"eblnode/internal/keyfile":         {"eblnode/identity", "eblnode/internal/rights"},                               // our own keys, in a folder
	"eblnode/internal/rights":          {},                                                                            // who else can read or write a file
	// Our own keys, in hardware: with the build tag pkcs11, and the one place with cgo.
	"eblnode/internal/hsm":     {"github.com/ThalesGroup/crypto11"},
	"eblnode/internal/ebltest": {"eblnode/api", "eblnode/api/oauth", "eblnode/chain", "eblnode/discovery", "eblnode/envelope", "eblnode/identity", "eblnode/internal/catest", "eblnode/node"},
	// The auditor shares the wire format and the law with the node, and nothing else.
	"eblnode/internal/torture/audit": {"eblnode/chain", "eblnode/envelope", "eblnode/identity", "modernc.org/sqlite"},
	"eblnode/internal/torture": {"eblnode/envelope", "eblnode/identity", "eblnode/internal/dnsserver", "eblnode/internal/torture/audit",
		"eblnode/internal/torture/mutants", "eblnode/internal/torture/powercut", "github.com/miekg/dns", "modernc.org/sqlite"},
	"eblnode/internal/torture/powercut": {"github.com/hanwen/go-fuse/v2/…"},
}

// forTests are imports that any package's tests may have beside its own.
var forTests = []string{"eblnode/…", "github.com/getkin/kin-openapi/…", "github.com/lestrrat-go/jwx/v2/…", "github.com/miekg/dns", "github.com/rogpeppe/go-internal/testscript", "github.com/santhosh-tekuri/jsonschema/v6",
	"github.com/gin-gonic/gin", "github.com/go-json-experiment/json/…", "github.com/goccy/go-yaml", "golang.org/x/crypto/ocsp", "modernc.org/sqlite"}

// TestImports holds the tree against the table.
func TestImports(t *testing.T) {
	for _, tags := range []string{"", "pkcs11"} {
		checkImports(t, tags)
	}
}

func checkImports(t *testing.T, tags string) {
	t.Helper()
	cmd := exec.Command("go", "list", "-tags="+tags, "-json=ImportPath,Imports,TestImports,XTestImports,Standard", "./...")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=1") // what has cgo is listed too
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for dec.More() {
		var p struct {
			ImportPath                         string
			Imports, TestImports, XTestImports []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == "eblnode" {
			continue // this test
		}
		list, known := allowed[p.ImportPath]
		if !known {
			t.Errorf("package %s is not in the table of imports", p.ImportPath)
			continue
		}
		for _, i := range p.Imports {
			if !permits(list, i) {
				t.Errorf("%s must not import %s", p.ImportPath, i)
			}
		}
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			if !permits(list, i) && !permits(forTests, i) {
				t.Errorf("the tests of %s must not import %s", p.ImportPath, i)
			}
		}
	}
}

func permits(list []string, path string) bool {
	if first, _, _ := strings.Cut(path, "/"); !strings.Contains(first, ".") && first != "eblnode" {
		return true // the standard library
	}
	for _, a := range list {
		if below, ok := strings.CutSuffix(a, "/…"); ok && (path == below || strings.HasPrefix(path, below+"/")) || a == path {
			return true
		}
	}
	return false
}
