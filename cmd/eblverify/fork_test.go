package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
)

// TestForkFile judges the file of a node to which a platform issued one bill twice: for
// who trusts that platform, for who does not, and when the second signature is gone.
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
	write := func(name string, v any) string {
		t.Helper()
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	entry := func(p *ebltest.Platform) string {
		t.Helper()
		text, err := p.Entry.JSON()
		if err != nil {
			t.Fatal(err)
		}
		return write(p.Domain().String(), json.RawMessage(text))
	}
	file := write("fork.json", proof)
	harmless := *proof
	harmless.Chains = append(harmless.Chains[:1:1], harmless.Chains[0])
	broken := *proof
	broken.Format += "0"
	for name, c := range map[string]struct {
		file, trust string
		code        int
		say         string
	}{
		"believed":        {file, entry(a), exitValid, "PROVEN\n"},
		"not known":       {file, entry(b), exitUnsure, "INDETERMINATE\n"},
		"nothing parts":   {write("same.json", harmless), entry(a), exitInvalid, "PROVES NOTHING\n"},
		"another version": {write("other.json", broken), entry(a), exitInvalid, "INVALID\n"},
	} {
		var out, errOut bytes.Buffer
		if code := run([]string{c.file, "--trust", c.trust}, strings.NewReader(""), &out, &errOut); code != c.code || !strings.Contains(out.String(), c.say) {
			t.Errorf("%s: got %d and %q %q, want %d and %q", name, code, out.String(), errOut.String(), c.code, c.say)
		}
	}
	var out bytes.Buffer
	if run([]string{file, "--trust", entry(a)}, strings.NewReader(""), &out, &out); !strings.Contains(out.String(), "a.example signed two continuations of one head") {
		t.Errorf("got %q, want who signed twice", out.String())
	}
}
