package main

import (
	"strings"
	"testing"
	"time"

	"eblnode/internal/catest"
	"eblnode/internal/ebltest"
)

// TestBlockUnderAnAuthority: the path is judged offline; what only a responder could say is
// missing, and the verdict says so. Another authority of the same name proves nothing.
func TestBlockUnderAnAuthority(t *testing.T) {
	root := catest.New(t, "Consortium")
	dir := t.TempDir()
	week := catest.Valid(time.Now().Add(-time.Hour), time.Now().Add(5*24*time.Hour))
	for _, c := range []struct {
		name       string
		opts       []ebltest.Option
		shortLived bool
		want       int
		says       string
	}{
		{"a week's certificate", []ebltest.Option{ebltest.Under(root, week)}, true, exitValid, "VALID"},
		{"one that must be asked about", []ebltest.Option{ebltest.Under(root, catest.Responder("http://ocsp.example/"))}, false, exitUnsure, "revocationUnknown"},
		{"one that nobody can be asked about", []ebltest.Option{ebltest.Under(root)}, false, exitInvalid, "names no OCSP responder"},
		{"a TLS certificate", []ebltest.Option{ebltest.Under(root, week, catest.TLS)}, true, exitInvalid, "extended key usage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := ebltest.New(t).Platform("carrier.example", append(c.opts, ebltest.Manual(), ebltest.Stranger())...)
			body, _ := p.Offer("bob@bank.example")
			entry := *p.Entry
			entry.OCSP.ShortLived = c.shortLived
			text, err := entry.JSON()
			if err != nil {
				t.Fatal(err)
			}
			out, errOut, code := do(t, string(body), "-", "--trust", write(t, dir, "carrier.json", string(text)))
			if code != c.want || !strings.Contains(out, c.says) {
				t.Errorf("got exit code %d, %s%s; want %d and %q", code, out, errOut, c.want, c.says)
			}
			entry.Anchors = nil
			entry.Anchors = append(entry.Anchors, catest.New(t, "Consortium").Cert)
			if text, err = entry.JSON(); err != nil {
				t.Fatal(err)
			}
			if out, _, code := do(t, string(body), "-", "--trust", write(t, dir, "other.json", string(text))); code == exitValid {
				t.Errorf("under another authority of that name: got %s", out)
			}
		})
	}
}
