//go:build !page

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"eblnode/internal/page"
)

// makePage builds the page with the go command, from the source of this module.
func makePage(ctx context.Context) ([]byte, error) {
	if ctx == nil {
		ctx = context.Background()
	}
	dir, err := os.MkdirTemp("", "eblverify-page-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	wasm := filepath.Join(dir, "verify.wasm")
	if _, err := goCommand(ctx, []string{"GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0"}, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -X main.Version="+Version, "-o", wasm, page.Package); err != nil {
		return nil, err
	}
	root, err := goCommand(ctx, nil, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	program, err := os.ReadFile(wasm)
	if err != nil {
		return nil, err
	}
	start, err := os.ReadFile(filepath.Join(strings.TrimSpace(root), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return nil, err
	}
	return page.Make(program, start, Version)
}

func goCommand(ctx context.Context, env []string, args ...string) (string, error) {
	c := exec.CommandContext(ctx, "go", args...)
	c.Env = append(os.Environ(), env...)
	var out, why bytes.Buffer
	c.Stdout, c.Stderr = &out, &why
	if err := c.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return "", errors.New("this eblverify was built without the page, and there is no go command to build it with: see eblverify page --help")
		}
		return "", fmt.Errorf("building the page, in the folder of the module: go %s: %w: %s", args[0], err, strings.TrimSpace(why.String()))
	}
	return out.String(), nil
}
