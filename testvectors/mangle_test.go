package testvectors_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/vectest"
	"eblnode/judge"
	"eblnode/testvectors"
)

// everyByte calls f with every text that differs from in at one place: each byte changed
// to several others, left out, and doubled. f is called from several goroutines. With
// -short it is called for one place in sixteen.
func everyByte(in []byte, f func(kind string, at int, text []byte)) {
	step := 1
	if testing.Short() {
		step = 16
	}
	var group sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				i := int(next.Add(1)-1) * step
				if i >= len(in) {
					return
				}
				c := in[i]
				seen := map[byte]bool{c: true}
				for _, x := range []byte{c ^ 1, c ^ 0x20, ' ', '"', 'A'} {
					if seen[x] {
						continue
					}
					seen[x] = true
					text := slices.Clone(in)
					text[i] = x
					f("changed", i, text)
				}
				f("left out", i, slices.Delete(slices.Clone(in), i, i+1))
				f("doubled", i, slices.Insert(slices.Clone(in), i, c))
			}
		})
	}
	group.Wait()
}

// everyCut calls f with every beginning and every end of in that is not the whole.
func everyCut(in []byte, f func(kind string, at int, text []byte)) {
	for i := range in {
		f("beginning", i, in[:i])
		if i > 0 {
			f("end", i, in[i:])
		}
	}
}

// members are the ends of the top-level members of a JSON object, by name.
func members(t *testing.T, in []byte) func(at int) string {
	t.Helper()
	type end struct {
		name string
		at   int64
	}
	var ends []end
	d := json.NewDecoder(bytes.NewReader(in))
	if _, err := d.Token(); err != nil {
		t.Fatal(err)
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, end{name.(string), d.InputOffset()})
	}
	return func(at int) string {
		for _, e := range ends {
			if int64(at) < e.at {
				return e.name
			}
		}
		return ""
	}
}

// mangling counts what became of mangled texts. Kept are those that mean what the whole
// means, by the member that was changed.
type mangling struct {
	sync.Mutex
	tried, kept map[string]int
	member      func(at int) string
}

func newMangling(t *testing.T, in []byte) *mangling {
	return &mangling{tried: map[string]int{}, kept: map[string]int{}, member: members(t, in)}
}

func (m *mangling) count(kind string, at int, kept bool) {
	m.Lock()
	defer m.Unlock()
	m.tried[kind]++
	if kept {
		m.kept[m.member(at)]++
	}
}

// mustKeep: every place was tried, and exactly so many texts were kept.
func (m *mangling) mustKeep(t *testing.T, size int, want map[string]int) {
	t.Helper()
	t.Logf("%d bytes: tried %v, kept %v", size, m.tried, m.kept)
	if m.tried["beginning"] != size || m.tried["end"] != size-1 {
		t.Errorf("got %v cuts of %d bytes", m.tried, size)
	}
	if testing.Short() {
		return
	}
	if m.tried["changed"] < 4*size || m.tried["left out"] != size || m.tried["doubled"] != size {
		t.Errorf("got %v changes of %d bytes", m.tried, size)
	}
	if !maps.Equal(m.kept, want) {
		t.Errorf("got %v texts that mean what the whole means, want %v", m.kept, want)
	}
}

// TestEveryByteOfABlock changes each byte of an accepted transferblock, and cuts it
// everywhere. None of it is accepted, but what changes only text that nobody signed and
// that means nothing.
func TestEveryByteOfABlock(t *testing.T) {
	i := slices.IndexFunc(golden(t), func(v *testvectors.Vector) bool { return v.Name == "chain/three-entries" })
	v := golden(t)[i]
	in, o := compact(t, v), vectest.Options(t, v)
	good, c, _ := verdict(in, o)
	if c == nil {
		t.Fatal("unchanged: refused")
	}
	m := newMangling(t, in)
	look := func(kind string, at int, text []byte) {
		b, c, reason := verdict(text, o)
		kept := b != nil && meansTheSame(b, good)
		m.count(kind, at, kept)
		switch {
		case kept && c == nil:
			t.Errorf("%s at %d: refused with %q, though it means the same: %s", kind, at, reason, text)
		case !kept && c != nil:
			t.Errorf("%s at %d: accepted: %s", kind, at, text)
		}
	}
	everyByte(in, look)
	everyCut(in, look)
	m.mustKeep(t, len(in), nil)
}

// TestEveryByteOfABundle does the same with an evidence bundle. Kept are those that change
// nothing that parties signed and that counts (docs/BUNDLE.md, section 2): what the maker says of
// itself, and a kid, so that a receipt is of no key that the reader has and counts for nothing.
func TestEveryByteOfABundle(t *testing.T) {
	all := bundles(t)
	v := all[slices.IndexFunc(all, func(b *testvectors.Bundle) bool { return b.Name == "bundle/go-valid-2" })]
	in := []byte(strings.TrimSpace(string(bytesOf(t, v))))
	whole, err := envelope.ParseBundle(in, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	now, err := time.Parse(time.RFC3339, v.At)
	if err != nil {
		t.Fatal(err)
	}
	trust := vectest.Trust(t, v.Trust)
	m := newMangling(t, in)
	look := func(kind string, at int, text []byte) {
		report := judge.File(text, judge.Options{Trust: trust, Now: now})
		if !report.Verdict.Holds() {
			m.count(kind, at, false)
			return
		}
		changed, err := envelope.ParseBundle(text, envelope.Limits{})
		if err != nil || !sameEvidence(t, changed, whole, trust) {
			t.Errorf("%s at %d: %s: %s", kind, at, report.Verdict, text)
			return
		}
		m.count(kind, at, true)
		if s := report.State; expects[report.Verdict] != v.Expect || s.Possessor != v.State.Possessor || s.Status != v.State.Status || s.Head != v.State.Head {
			t.Errorf("%s at %d: got %s %+v, want %s %+v: %s", kind, at, report.Verdict, s, v.Expect, v.State, text)
		}
	}
	everyByte(in, look)
	everyCut(in, look)
	want := map[string]int{"made": 89, "receipts": 28, "signature": 2190}
	m.mustKeep(t, len(in), want)
	page, err := os.ReadFile("../docs/BUNDLE.md")
	if err != nil {
		t.Fatal(err)
	}
	if say := fmt.Sprintf("%d keep the verdict: %d in `signature`, %d in `made`, %d in\nthe `kid` of a receipt", want["made"]+want["receipts"]+want["signature"], want["signature"], want["made"], want["receipts"]); !strings.Contains(string(page), say) {
		t.Errorf("docs/BUNDLE.md does not say %q", say)
	}
}
