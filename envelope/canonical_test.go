package envelope_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"eblnode/envelope"
)

// es6Inputs makes the inputs of the published number test: fixed ones, 2,000 in a row from
// the smallest normal number on, then doubles out of a chain of SHA-256.
func es6Inputs(t *testing.T) func() float64 {
	t.Helper()
	text, err := os.ReadFile("testdata/es6-numbers.txt")
	if err != nil {
		t.Fatal(err)
	}
	var fixed []uint64
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			bits, err := strconv.ParseUint(word, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			fixed = append(fixed, bits)
		}
	}
	for i := range uint64(2000) {
		fixed = append(fixed, 1<<52+i)
	}
	var block [sha256.Size]byte
	var rest []byte
	return func() float64 {
		if len(fixed) > 0 {
			f := math.Float64frombits(fixed[0])
			fixed = fixed[1:]
			return f
		}
		for {
			if len(rest) == 0 {
				block = sha256.Sum256(block[:])
				rest = block[:]
			}
			f := math.Float64frombits(binary.LittleEndian.Uint64(rest))
			rest = rest[8:]
			if f != 0 && !math.IsNaN(f) && !math.IsInf(f, 0) {
				return f
			}
		}
	}
}

// TestES6Numbers compares 100,000 numbers with the hashes published for them.
func TestES6Numbers(t *testing.T) {
	want := map[int]string{
		1_000:   "be18b62b6f69cdab33a7e0dae0d9cfa869fda80ddc712221570f9f40a5878687",
		10_000:  "b9f7a8e75ef22a835685a52ccba7f7d6bdc99e34b010992cbc5864cd12be6892",
		100_000: "22776e6d4b49fa294a0d0f349268e5c28808fe7e0cb2bcbe28f63894e494d4c7",
	}
	next, h := es6Inputs(t), sha256.New()
	for n := 1; n <= 100_000; n++ {
		f := next()
		// The shortest text that reads back keeps its value, so the number rule lets it pass.
		text, err := envelope.Canonicalize([]byte(strconv.FormatFloat(f, 'e', -1, 64)))
		if err != nil {
			t.Fatalf("%x: got %v, want a number", math.Float64bits(f), err)
		}
		h.Write([]byte(strconv.FormatUint(math.Float64bits(f), 16) + "," + string(text) + "\n"))
		if sum, ok := want[n]; ok && hex.EncodeToString(h.Sum(nil)) != sum {
			t.Fatalf("the first %d numbers: got %x, want %s", n, h.Sum(nil), sum)
		}
	}
}

// TestRFC8785AppendixB holds the samples of RFC 8785, appendix B.
func TestRFC8785AppendixB(t *testing.T) {
	for _, c := range []struct {
		bits uint64
		want string
	}{
		{0x0000000000000000, "0"}, {0x8000000000000000, "0"},
		{0x0000000000000001, "5e-324"}, {0x8000000000000001, "-5e-324"},
		{0x7fefffffffffffff, "1.7976931348623157e+308"}, {0xffefffffffffffff, "-1.7976931348623157e+308"},
		{0x4340000000000000, "9007199254740992"}, {0xc340000000000000, "-9007199254740992"},
		{0x4430000000000000, "295147905179352830000"},
		{0x44b52d02c7e14af5, "9.999999999999997e+22"}, {0x44b52d02c7e14af6, "1e+23"}, {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
		{0x444b1ae4d6e2ef4e, "999999999999999700000"}, {0x444b1ae4d6e2ef4f, "999999999999999900000"}, {0x444b1ae4d6e2ef50, "1e+21"},
		{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"}, {0x3eb0c6f7a0b5ed8d, "0.000001"},
		{0x41b3de4355555553, "333333333.3333332"}, {0x41b3de4355555554, "333333333.33333325"}, {0x41b3de4355555555, "333333333.3333333"},
		{0x41b3de4355555556, "333333333.3333334"}, {0x41b3de4355555557, "333333333.33333343"},
		{0xbecbf647612f3696, "-0.0000033333333333333333"}, {0x43143ff3c1cb0959, "1424953923781206.2"},
	} {
		f := math.Float64frombits(c.bits)
		got, err := envelope.Canonicalize([]byte(strconv.FormatFloat(f, 'e', -1, 64)))
		if err != nil || string(got) != c.want {
			t.Errorf("%016x: got %s, %v, want %s", c.bits, got, err, c.want)
		}
	}
}

// TestCanonicalRefusesWhatWouldChange: the exact decimal text of a double, written out,
// is another number than its shortest text, except where the two are equal.
func TestCanonicalRefusesWhatWouldChange(t *testing.T) {
	for in, ok := range map[string]bool{
		"0.5": true, "0.1": true, "0.10": true, "10e-2": true, "0.1000000000000000055511151231257827021181583404541015625": false,
		"1e22": true, "10000000000000000000000": true, "1e23": true, "99999999999999991611392": false, "100000000000000000000000": true,
		"4.9e-324": false, "4.940656458412465e-324": false, "5e-324": true, "2e-324": false, "-1e-1000": false, "0e-1000": true, "0.0e1000000": true,
		"1e100001": false, "1" + strings.Repeat("0", 308): true, "1" + strings.Repeat("0", 309): false, "0." + strings.Repeat("0", 322) + "5": true, "0." + strings.Repeat("0", 323) + "5": true,
	} {
		_, err := envelope.Canonicalize([]byte(in))
		if (err == nil) != ok {
			t.Errorf("%.40s: got %v, want accepted %t", in, err, ok)
		}
	}
}
