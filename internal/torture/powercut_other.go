//go:build !linux

package main

import (
	"context"

	"eblnode/internal/torture/mutants"
)

const noDisk = "the disk that loses power is a file system of Linux"

func runPowercut(context.Context, *options) (*summary, error) {
	return &summary{Skipped: noDisk}, nil
}

func powercutGate(*options) func(context.Context, mutants.Mutant) (string, error) {
	return func(context.Context, mutants.Mutant) (string, error) { return "", mutants.ErrSkip }
}
