package upstream

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

// TestNodeReader holds the crypto of the second reader of our test vectors against the
// same signatures.
func TestNodeReader(t *testing.T) {
	version, err := exec.CommandContext(t.Context(), "node", "--version").Output()
	if err != nil {
		t.Skip("skipped: there is no Node")
	}
	if v := string(version); strings.HasPrefix(v, "v1") && len(v) > 2 && v[2] != '.' {
		t.Skipf("skipped: the reader needs Node 20, this is %s", v)
	}
	type question struct {
		Alg       string `json:"alg"`
		PEM       string `json:"pem"`
		Message   string `json:"message"`
		Signature string `json:"signature"`
	}
	var in bytes.Buffer
	enc := json.NewEncoder(&in)
	b64 := func(s string) string {
		raw, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(raw)
	}
	type asked struct {
		file string
		v    vector
	}
	var all []asked
	for _, c := range signatureFiles() {
		for _, g := range read(t, c.file).Groups {
			for _, v := range g.Tests {
				if err := enc.Encode(question{string(c.alg), g.PublicPEM, b64(v.Msg), b64(v.Sig)}); err != nil {
					t.Fatal(err)
				}
				all = append(all, asked{c.file, v})
			}
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", "../../testvectors/reader-node/signatures.mjs")
	cmd.Stdin = &in
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	answers := strings.Fields(string(out))
	if len(answers) != len(all) {
		t.Fatalf("answers: got %d, want %d", len(answers), len(all))
	}
	for i, a := range all {
		if got := answers[i] == "true"; got != (a.v.Result == "valid") && a.v.Result != "acceptable" {
			t.Errorf("%s %d (%s): got %t, but it is %s", a.file, a.v.ID, a.v.Comment, got, a.v.Result)
		}
	}
	t.Logf("%d signatures", len(all))
	if len(all) < 4_000 {
		t.Errorf("only %d signatures", len(all))
	}
}
