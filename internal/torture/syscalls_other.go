//go:build !linux

package main

import "context"

func runSyscalls(context.Context, *options) (*summary, error) {
	return &summary{Skipped: "strace and FUSE are of Linux"}, nil
}
