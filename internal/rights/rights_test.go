package rights_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"eblnode/internal/rights"
)

func TestWhoElseCanReadOrWrite(t *testing.T) {
	dir := t.TempDir()
	file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Mkdir(folder, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path            string
		mode            os.FileMode
		ours, unchanged string // the cure; "" if all is well
	}{
		{file, 0o600, "", ""},
		{file, 0o400, "", ""},
		{file, 0o640, "chmod 600 ", ""},
		{file, 0o604, "chmod 600 ", ""},
		{file, 0o620, "chmod 600 ", "chmod go-w "},
		{file, 0o602, "chmod 600 ", "chmod go-w "},
		{folder, 0o700, "", ""},
		{folder, 0o755, "chmod 700 ", ""},
		{folder, 0o710, "chmod 700 ", ""},
		{folder, 0o770, "chmod 700 ", "chmod go-w "},
		{folder, 0o707, "chmod 700 ", "chmod go-w "},
		{folder, 0o777 | os.ModeSticky, "chmod 700 ", ""},
	} {
		if err := os.Chmod(c.path, c.mode); err != nil {
			t.Fatal(err)
		}
		for _, f := range []struct {
			check func(string) error
			cure  string
		}{{rights.Ours, c.ours}, {rights.Unchanged, c.unchanged}} {
			switch err := f.check(c.path); {
			case f.cure == "" && err != nil:
				t.Errorf("%s %o: got %v, want that it is well", c.path, c.mode, err)
			case f.cure != "" && (err == nil || !strings.Contains(err.Error(), c.path+" is open to others") || !strings.HasSuffix(err.Error(), f.cure+c.path)):
				t.Errorf("%s %o: got %v, want %q", c.path, c.mode, err, f.cure)
			}
		}
	}
	if err := rights.Ours(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
