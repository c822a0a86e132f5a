package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"eblnode/internal/torture/mutants"
)

// An edit replaces one text of a source file in a build; the file stays as it is.
type edit struct {
	file     string // below the module's folder, with slashes
	old, new string
	add      bool // the file is a new one, with the text new
}

// build makes a program of ours, with edits laid over its sources (go build -overlay). A
// text that is not there exactly once is an error: the sources have moved on and the
// edit would silently do nothing.
func (o *options) build(ctx context.Context, dir, name, pkg string, edits ...edit) (string, error) {
	edits = append(edits, o.broken...)
	root, err := filepath.Abs(o.root)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return "", fmt.Errorf("building %s: %s is not the module's folder; see -root", pkg, root)
	}
	program := filepath.Join(dir, name)
	args := []string{"build", "-buildvcs=false", "-o", program}
	if len(edits) > 0 {
		overlay, err := writeOverlay(root, program+".overlay", edits)
		if err != nil {
			return "", err
		}
		args = append(args, "-overlay", overlay)
	}
	if out, err := mutants.Go(ctx, root, append(args, pkg)...); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", pkg, err, out)
	}
	return program, nil
}

// writeOverlay writes the edited files below dir and the file that go build -overlay
// takes, and returns its path.
func writeOverlay(root, dir string, edits []edit) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	texts := map[string][]byte{}
	for _, e := range edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		if e.add {
			texts[path] = []byte(e.new)
			continue
		}
		text, known := texts[path]
		if !known {
			var err error
			if text, err = os.ReadFile(path); err != nil {
				return "", err
			}
		}
		if n := bytes.Count(text, []byte(e.old)); n != 1 {
			return "", fmt.Errorf("%s holds %d times, not once, what is to be replaced: %q", e.file, n, e.old)
		}
		texts[path] = bytes.Replace(text, []byte(e.old), []byte(e.new), 1)
	}
	replace := map[string]string{}
	for path, text := range texts {
		to := filepath.Join(dir, strings.ReplaceAll(strings.TrimPrefix(path, root+string(filepath.Separator)), string(filepath.Separator), "__"))
		if err := os.WriteFile(to, text, 0o600); err != nil {
			return "", err
		}
		replace[path] = to
	}
	list, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, list, 0o600)
}

// clockEdits make a node's clock one that differs by the duration in TORTURE_CLOCK. The
// shipped program has no such thing; node.Config.Now has always been there, for tests.
var clockEdits = []edit{
	{file: "cmd/eblnode/serve.go", old: "node.Open(ctx, node.Config{", new: "node.Open(ctx, node.Config{Now: tortureNow,"},
	{file: "cmd/eblnode/torture_clock.go", add: true, new: `package main

import (
	"os"
	"time"
)

func tortureNow() time.Time {
	d, _ := time.ParseDuration(os.Getenv("TORTURE_CLOCK"))
	return time.Now().Add(d)
}
`},
}
