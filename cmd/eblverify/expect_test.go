package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExpectedVerdicts: with a list the exit code says whether each file came to what it
// says, no more and no less; what differs is named.
func TestExpectedVerdicts(t *testing.T) {
	v, good := vector(t, "chain", "three-entries")
	dir := t.TempDir()
	trust, folder := trustFile(t, dir, v.Trust), filepath.Join(dir, "files")
	if err := os.MkdirAll(filepath.Join(folder, "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, folder, "good.json", good)
	write(t, filepath.Join(folder, "more"), "cut.json", good[:100])
	for name, c := range map[string]struct {
		list string
		code int
		says string
	}{
		"as it is":          {`{"files": {"good.json": {"verdict": "VALID"}, "more/cut.json": {"verdict": "INVALID", "rule": "malformed/json"}}}`, 0, "2 files judged, 1 different first-broken rules: each as expected\n"},
		"another rule":      {`{"files": {"good.json": {"verdict": "VALID"}, "more/cut.json": {"verdict": "INVALID", "rule": "malformed/utf8"}}}`, 1, "more/cut.json: got INVALID malformed/json, expected INVALID malformed/utf8\n"},
		"another verdict":   {`{"files": {"good.json": {"verdict": "VALID AT SIGNING TIME"}, "more/cut.json": {"verdict": "INVALID", "rule": "malformed/json"}}}`, 1, "good.json: got VALID, expected VALID AT SIGNING TIME\n"},
		"a file too many":   {`{"files": {"good.json": {"verdict": "VALID"}}}`, 1, "more/cut.json: got INVALID malformed/json, expected nothing: it is not in the list\n"},
		"a file missing":    {`{"files": {"good.json": {"verdict": "VALID"}, "x.json": {"verdict": "VALID"}, "more/cut.json": {"verdict": "INVALID", "rule": "malformed/json"}}}`, 1, "x.json: got no such file, expected VALID\n"},
		"no list":           {`{"files": {}}`, 2, "is no list of files"},
		"not JSON":          {`files`, 2, "is no list of files"},
		"no such verdict":   {`{"files": {"good.json": {"verdict": "GOOD"}}}`, 2, "says of good.json neither"},
		"bad without rule":  {`{"files": {"good.json": {"verdict": "INVALID"}}}`, 2, "says of good.json neither"},
		"an unknown member": {`{"files": {"good.json": {"verdict": "VALID", "rul": "x"}}}`, 2, "is no list of files"},
	} {
		list := write(t, dir, "list", c.list)
		out, errOut, code := do(t, "", folder, "--trust", trust, "--at", v.At, "--expect", list)
		if code != c.code || !strings.Contains(out+errOut, c.says) || strings.Contains(out, "ben@bank") {
			t.Errorf("%s: got exit code %d and\n%s%s, want %d and %s", name, code, out, errOut, c.code, c.says)
		}
		asJSON, _, code := do(t, "", folder, "--trust", trust, "--at", v.At, "--expect", list, "--json")
		var said struct {
			ExitCode    int
			Differences []difference
		}
		if err := json.Unmarshal([]byte(asJSON), &said); err != nil || code != c.code || said.ExitCode != c.code || (len(said.Differences) > 0) != (c.code == 1) {
			t.Errorf("%s: got exit code %d, %v and %s, want %d", name, code, err, asJSON, c.code)
		}
	}
	if _, errOut, code := do(t, "", folder, "--trust", trust, "--expect", filepath.Join(dir, "nowhere")); code != 2 || !strings.Contains(errOut, "nowhere") {
		t.Errorf("a list that is not there: got exit code %d and %s", code, errOut)
	}
}
