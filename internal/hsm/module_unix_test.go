//go:build unix

package hsm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestModuleThatOthersCanReplace: the library's code is the node's, so neither it nor a
// folder or link on the way to it may be another's to change.
func TestModuleThatOthersCanReplace(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(t *testing.T, dir, module string) string // gives the path to open
		words  string                                        // "": it is taken
	}{
		{"as it should be", nil, ""},
		{"writable by the group", chmod(0o664, "lib", "module.so"), "can be written by others"},
		{"writable by all", chmod(0o646, "lib", "module.so"), "can be written by others"},
		{"in a folder that all can write", chmod(0o777, "lib"), "can be written by others"},
		{"in a folder like /tmp", chmod(0o777|os.ModeSticky, "lib"), "can be written by others"},
		{"below a folder that the group can write", chmod(0o775), "can be written by others"},
		{"below a folder like /tmp", chmod(0o777 | os.ModeSticky), ""},
		{"by a link in a folder that all can write", func(t *testing.T, dir, module string) string {
			open := filepath.Join(dir, "open")
			if err := os.Mkdir(open, 0o755); err != nil {
				t.Fatal(err)
			}
			link := filepath.Join(open, "module.so")
			if err := os.Symlink(module, link); err != nil {
				t.Fatal(err)
			}
			chmod(0o777, "open")(t, dir, module)
			return link
		}, "can be written by others"},
		{"by a link in a good folder", func(t *testing.T, dir, module string) string {
			link := filepath.Join(dir, "link.so")
			if err := os.Symlink(module, link); err != nil {
				t.Fatal(err)
			}
			return link
		}, ""},
		{"a relative path", func(*testing.T, string, string) string { return "module.so" }, "not an absolute path"},
		{"a folder", func(_ *testing.T, dir, _ string) string { return filepath.Join(dir, "lib") }, "is not a file"},
		{"nothing", func(_ *testing.T, dir, _ string) string { return filepath.Join(dir, "none.so") }, "no such file"},
		{"another user's", func(t *testing.T, _, module string) string {
			if err := os.Chown(module, 4242, 4242); err != nil {
				t.Skip("only root can give a file away")
			}
			return module
		}, "belongs to user 4242"},
		{"in another user's folder", func(t *testing.T, _, module string) string {
			if err := os.Chown(filepath.Dir(module), 4242, 4242); err != nil {
				t.Skip("only root can give a folder away")
			}
			return module
		}, "belongs to user 4242"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "top")
			module := filepath.Join(dir, "lib", "module.so")
			if err := os.MkdirAll(filepath.Dir(module), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(module, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			path := module
			if c.change != nil {
				if p := c.change(t, dir, module); p != "" {
					path = p
				}
			}
			got, err := safeModule(path)
			switch {
			case c.words == "" && err != nil:
				t.Errorf("got %v, want it taken", err)
			case c.words == "" && filepath.Base(got) != "module.so":
				t.Errorf("got %s, want the file itself", got)
			case c.words != "" && (err == nil || !strings.Contains(err.Error(), c.words)):
				t.Errorf("got %v, want %q", err, c.words)
			}
		})
	}
}

func chmod(mode os.FileMode, below ...string) func(*testing.T, string, string) string {
	return func(t *testing.T, dir, _ string) string {
		if err := os.Chmod(filepath.Join(append([]string{dir}, below...)...), mode); err != nil {
			t.Fatal(err)
		}
		return ""
	}
}
