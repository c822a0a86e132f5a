package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script: what each command prints and with which exit code.
func TestScripts(t *testing.T) {
	runScripts(t, testscript.Params{Dir: "testdata/script"})
}
