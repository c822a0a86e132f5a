package main

import (
	"crypto/sha256"
	"os"
	"path/filepath"
	"runtime/pprof"
	"testing"
	"time"
)

//go:noinline
func burnLikeVerifiesDigest(rounds int) (sum [32]byte) {
	for range rounds {
		sum = sha256.Sum256(sum[:])
	}
	return sum
}

// TestPartsOfAProfile: what burns under a name that stands for signature checks is counted
// there, and the parts make a whole.
func TestPartsOfAProfile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cpu.pprof")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		t.Fatal(err)
	}
	// A second of the processor, not of the clock: of what stands still there are no samples.
	for start := processTime(os.Getpid()); processTime(os.Getpid())-start < time.Second; {
		burnLikeVerifiesDigest(100_000)
	}
	pprof.StopCPUProfile()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	p, err := partsOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Parts["signatures checked"]; got < 0.5 {
		t.Errorf("signatures checked: got %.2f of it, want more than half: %v", got, p.Parts)
	}
	sum := 0.0
	for _, part := range p.Parts {
		sum += part
	}
	if sum < 0.999 || sum > 1.001 {
		t.Errorf("the parts make %f, want 1", sum)
	}
	if _, err := partsOf(t.Context(), filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file: got no error")
	}
}
