package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

func TestMain(m *testing.M) {
	if os.Getenv(usageEnv) != "" {
		os.Exit(tellUsage(os.Args[1:]))
	}
	if n, err := strconv.Atoi(os.Getenv("BENCH_TEST_FILL")); err == nil {
		fmt.Println(sumOf(filled(n)))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// filled is memory that was written to, and so is held.
func filled(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func sumOf(b []byte) (sum int) {
	for _, v := range b {
		sum += int(v)
	}
	return sum
}

// TestPeakIsTheChilds: a large process learns the peak of a small child, and of a larger one.
func TestPeakIsTheChilds(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	large := filled(400 << 20)
	for _, size := range []int{48 << 20, 96 << 20} {
		t.Setenv("BENCH_TEST_FILL", strconv.Itoa(size))
		out, u, err := usageOf(t.Context(), self)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(out), fmt.Sprintln(sumOf(large[:size])); got != want {
			t.Errorf("printed: got %q, want %q", got, want)
		}
		if u.Peak < int64(size) || u.Peak > int64(size)+64<<20 {
			t.Errorf("peak of a child that holds %d MiB: got %d MiB", size>>20, u.Peak>>20)
		}
		if u.CPU <= 0 {
			t.Errorf("CPU: got %s", u.CPU)
		}
	}
	if _, _, err := usageOf(t.Context(), "/bin/false"); err == nil {
		t.Error("a program that fails: got no error")
	}
	if _, _, err := usageOf(t.Context(), self+".none"); err == nil {
		t.Error("no program: got no error")
	}
}
