package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/node"
)

// bundleFile writes the file that an auditor of p gets.
func bundleFile(t *testing.T, p *ebltest.Platform, doc envelope.Hash, path string) string {
	t.Helper()
	b, err := p.Node().Bundle(t.Context(), &node.User{Local: "auditor", Role: node.AuditorRole}, doc, -1)
	if err != nil {
		t.Fatal(err)
	}
	return fileOf(t, b, path)
}

func fileOf(t *testing.T, b *envelope.Bundle, path string) string {
	t.Helper()
	text, err := b.Marshal()
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// entryFile writes the trust entries of platforms.
func entryFile(t *testing.T, path string, ps ...*ebltest.Platform) string {
	t.Helper()
	var all []json.RawMessage
	for _, p := range ps {
		text, err := p.Entry.JSON()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	text, err := json.Marshal(all)
	if err == nil {
		err = os.WriteFile(path, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestForkFile judges the file of a node to which a platform issued one bill twice.
func TestForkFile(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	document := a.Document()
	for _, comments := range []string{"one", "two"} {
		tx := ebltest.Tx{Instruction: envelope.Issue, To: b.User("bob").ID, Comments: comments}
		if _, err := b.Put(a, ebltest.Body(document, a.Seal(envelope.HashOf(document), envelope.Hash{}, tx))); err != nil {
			t.Fatal(err)
		}
	}
	proof, err := b.Node().ForkEvidence(t.Context(), envelope.HashOf(document))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := fileOf(t, proof, filepath.Join(dir, "fork.json"))
	harmless := *proof
	harmless.Branches, harmless.Rejections, harmless.Signature = nil, nil, ""
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file string
		who  *ebltest.Platform
		code int
		say  []string
	}{
		"believed":        {file, a, 3, []string{"INDETERMINATE\n", "forked/signedTwice", "PROVEN       entry 0: a.example signed two continuations"}},
		"not known":       {file, b, 3, []string{"INDETERMINATE\n", "platformNotTrusted"}},
		"nothing parts":   {fileOf(t, &harmless, filepath.Join(dir, "same.json")), a, 0, []string{"VALID\n", "in control   bob@b.example"}},
		"another version": {write(t, dir, "other.json", strings.Replace(string(text), "eblnode-bundle/1", "eblnode-bundle/2", 1)), a, 1, []string{"INVALID\n", "malformed/format"}},
	} {
		out, errOut, code := do(t, "", c.file, "--trust", entryFile(t, filepath.Join(dir, c.who.Domain().Name), c.who))
		for _, say := range c.say {
			if code != c.code || !strings.Contains(out, say) {
				t.Errorf("%s: got %d and %q %q, want %d and %q", name, code, out, errOut, c.code, say)
			}
		}
	}
}

// TestTenYearsLater: the same file, the same trust file, another clock.
func TestTenYearsLater(t *testing.T) {
	w := ebltest.New(t)
	a, b := w.Platform("a.example"), w.Platform("b.example")
	doc := a.Issue(b.User("bob").ID)
	dir := t.TempDir()
	file, trust := bundleFile(t, a, doc, filepath.Join(dir, "bundle.json")), entryFile(t, filepath.Join(dir, "trust"), a, b)
	out, _, code := do(t, "", file, "--trust", trust, "--at", time.Now().AddDate(10, 0, 0).Format(time.RFC3339))
	if code != 0 || !strings.Contains(out, "VALID AT SIGNING TIME\n") || !strings.Contains(out, "of a.example: ended on ") {
		t.Errorf("got exit code %d, want 0 and which key has ended: %s", code, out)
	}
}

// TestHTML writes the verdict as a page, once, for one file.
func TestHTML(t *testing.T) {
	v, block := vector(t, "chain", "three-entries")
	dir := t.TempDir()
	trust, file, page := trustFile(t, dir, v.Trust), write(t, dir, "block.json", block), filepath.Join(dir, "report.html")
	args := []string{file, "--trust", trust, "--at", v.At, "--html", page}
	if out, errOut, code := do(t, "", args...); code != 0 || !strings.Contains(out, "VALID") {
		t.Fatalf("got exit code %d, %s %s", code, out, errOut)
	}
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "<h1>VALID</h1>") || !strings.Contains(string(text), "ben@bank.example") || !strings.Contains(string(text), `<div class="journey`) {
		t.Errorf("got %v and a page of %d bytes, want the verdict and the journey", err, len(text))
	}
	for name, args := range map[string][]string{"a file that is there": args, "two files": append([]string{file}, args...), "a folder": append([]string{dir}, args[1:]...)} {
		if _, errOut, code := do(t, "", args...); code != 2 || errOut == "" {
			t.Errorf("%s: got exit code %d, %q, want 2", name, code, errOut)
		}
	}
}

// TestTimeLimit: a file that takes too long is given up, and not called anything.
func TestTimeLimit(t *testing.T) {
	v, block := vector(t, "chain", "three-entries")
	out, _, code := do(t, block, "-", "--trust", trustFile(t, t.TempDir(), v.Trust), "--at", v.At, "--timeout", "1ns")
	if code != 3 || !strings.Contains(out, "timeLimit") {
		t.Errorf("got exit code %d and %s, want 3 and timeLimit", code, out)
	}
}
