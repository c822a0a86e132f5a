package witness_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"eblnode/internal/witness"
)

var self = witness.Identity{Domain: "a.example", ID: "1"}

// add appends and syncs n more records.
func add(t testing.TB, j *witness.Journal, n int) {
	t.Helper()
	for range n {
		last, hash := j.Last()
		l, err := witness.Encode(witness.Record{Generation: last + 1, Previous: hash, At: 7, Kind: "step", Peer: "b.example <&>", JWS: "a.b.c", Data: []byte(`{"n":"ø"}`)})
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Append(l); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
}

// made is a journal of n records, closed.
func made(t testing.TB, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "witness.log")
	j, err := witness.Create(path, self, 0, witness.Hash{})
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, n)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) (*witness.Journal, []witness.Record) {
	t.Helper()
	var list []witness.Record
	j, err := witness.Open(path, func(r witness.Record, _ witness.Line) error { list = append(list, r); return nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j, list
}

func TestJournalIsReadAsWritten(t *testing.T) {
	path := made(t, 3)
	j, list := open(t, path)
	if len(list) != 3 || j.Identity() != self || j.Damage() != nil || j.Durable() != 3 {
		t.Fatalf("got %d records of %v, damage %v", len(list), j.Identity(), j.Damage())
	}
	if r := list[2]; r.Generation != 3 || r.Peer != "b.example <&>" || string(r.Data) != `{"n":"ø"}` || r.At != 7 {
		t.Errorf("got %+v", r)
	}
	add(t, j, 2) // and goes on
	if _, list := open(t, path); len(list) != 5 {
		t.Errorf("got %d records, want 5", len(list))
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got %v and %v, want 0600", info.Mode(), err)
	}
	if _, err := witness.Create(path, self, 0, witness.Hash{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("made over another: %v", err)
	}
	if _, err := witness.Open(path+"x", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestJournalThatBeginsLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness.log")
	j, err := witness.Create(path, self, 41, witness.Hash{1})
	if err != nil {
		t.Fatal(err)
	}
	add(t, j, 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if _, list := open(t, path); len(list) != 1 || list[0].Generation != 42 || list[0].Previous != (witness.Hash{1}) {
		t.Errorf("got %+v", list)
	}
}

// TestTornAtEveryByte: a crash cuts the file anywhere in the last record. What is before
// it is read, what is torn is cut, and the journal goes on.
func TestTornAtEveryByte(t *testing.T) {
	path := made(t, 3)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
	for n := begin; n <= len(text); n++ {
		if err := os.WriteFile(path, text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		j, list := open(t, path)
		want, torn := 2, n > begin
		if n == len(text) {
			want, torn = 3, false
		}
		if d := j.Damage(); len(list) != want || (d != nil) != torn || torn && !d.Torn {
			t.Fatalf("%d bytes of the last record: got %d records and %v", n-begin, len(list), d)
		}
		if torn {
			l, _ := witness.Encode(witness.Record{Generation: 3, Kind: "step"})
			if err := j.Append(l); err == nil {
				t.Fatal("appended to what is torn")
			}
		}
		if err := j.Cut(); err != nil {
			t.Fatal(err)
		}
		add(t, j, 1)
		if j, list := open(t, path); len(list) != want+1 || j.Damage() != nil {
			t.Fatalf("after the cut: got %d records and %v", len(list), j.Damage())
		}
	}
}

// TestDamageIsNotTorn: only a last line without its end is what a crash leaves.
func TestDamageIsNotTorn(t *testing.T) {
	path := made(t, 4)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	other, err := os.ReadFile(made(t, 6))
	if err != nil {
		t.Fatal(err)
	}
	alien := strings.SplitAfter(string(other), "\n")
	for name, f := range map[string]struct {
		text string
		good int
	}{
		"a record taken out":    {lines[0] + lines[1] + lines[3] + lines[4], 1},
		"two exchanged":         {lines[0] + lines[2] + lines[1] + lines[3], 0},
		"one twice":             {lines[0] + lines[1] + lines[1] + lines[2], 1},
		"a bit of the last one": {strings.Replace(text4(lines), lines[4], strings.Replace(lines[4], "step", "stop", 1), 1), 3},
		"a bit in the middle":   {strings.Replace(text4(lines), lines[2], strings.Replace(lines[2], "step", "stop", 1), 1), 1},
		"an empty line":         {lines[0] + lines[1] + "\n" + lines[2], 1},
		"white space":           {lines[0] + " " + lines[1], 0},
		"another's record":      {lines[0] + strings.Replace(lines[1], lines[1], reseal(t, lines[1]), 1) + lines[2], 1},
		"another's end":         {lines[0] + lines[1] + alien[0] + alien[1], 1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(f.text), 0o600); err != nil {
				t.Fatal(err)
			}
			j, list := open(t, path)
			if d := j.Damage(); len(list) != f.good || d == nil || d.Torn {
				t.Errorf("got %d good records and %v, want %d and damage that is not torn", len(list), d, f.good)
			}
		})
	}
	for name, text := range map[string]string{"empty": "", "no header": lines[1], "half a header": lines[0][:50], "text": "hello\n"} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := witness.Open(path, nil)
			if d, ok := errors.AsType[*witness.Damage](err); !ok || d.Line != 1 {
				t.Errorf("got %v", err)
			}
		})
	}
}

func text4(lines []string) string { return strings.Join(lines, "") }

// reseal changes a record and gives it the hash that fits: only the next one shows it.
func reseal(t testing.TB, line string) string {
	t.Helper()
	r, _, err := witness.Decode([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	r.Kind = "other"
	l, err := witness.Encode(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(l.Text)
}

// TestFailureIsForEver: after a failed fsync nobody knows what is on the disk, and one
// that succeeds later proves nothing.
func TestFailureIsForEver(t *testing.T) {
	path := made(t, 1)
	j, _ := open(t, path)
	broken := errors.New("test: disk")
	j.BeforeSync = func() error { return broken }
	last, hash := j.Last()
	l, err := witness.Encode(witness.Record{Generation: last + 1, Previous: hash, Kind: "step"})
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Append(l); err != nil {
		t.Fatal(err)
	}
	if err := j.Sync(); !errors.Is(err, broken) || !errors.Is(err, witness.ErrFailed) {
		t.Errorf("got %v", err)
	}
	j.BeforeSync = nil
	l, err = witness.Encode(witness.Record{Generation: last + 2, Previous: l.Hash, Kind: "step"})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{j.Sync(), j.Append(l), j.Err()} {
		if !errors.Is(err, witness.ErrFailed) {
			t.Errorf("got %v", err)
		}
	}
	if j.Durable() != last {
		t.Errorf("durable: got %d, want %d", j.Durable(), last)
	}
}

// TestOneSyncServesAllWhoWait also shows that nobody returns before its record is synced.
func TestOneSyncServesAllWhoWait(t *testing.T) {
	j, _ := open(t, made(t, 0))
	var syncs atomic.Int32
	first, hold := make(chan struct{}), make(chan struct{})
	j.BeforeSync = func() error {
		if syncs.Add(1) == 1 {
			close(first)
			<-hold
		}
		return nil
	}
	var order sync.Mutex
	var group sync.WaitGroup
	call := func() {
		order.Lock()
		last, hash := j.Last()
		l, err := witness.Encode(witness.Record{Generation: last + 1, Previous: hash, Kind: "step"})
		if err == nil {
			err = j.Append(l)
		}
		order.Unlock()
		if err == nil {
			err = j.Sync()
		}
		if err != nil || j.Durable() < l.Generation {
			t.Errorf("record %d: %v, durable %d", l.Generation, err, j.Durable())
		}
	}
	group.Go(call)
	<-first
	for range 50 {
		group.Go(call)
	}
	for {
		if last, _ := j.Last(); last == 51 {
			break
		}
	}
	close(hold)
	group.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("got %d fsyncs for 51 callers, want 2", n)
	}
}

func TestRecordOutOfOrderIsRefused(t *testing.T) {
	j, _ := open(t, made(t, 2))
	last, hash := j.Last()
	for _, r := range []witness.Record{{Generation: last + 2, Previous: hash, Kind: "step"}, {Generation: last, Previous: hash, Kind: "step"},
		{Generation: last + 1, Previous: witness.Hash{1}, Kind: "step"}} {
		l, err := witness.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := j.Append(l); err == nil {
			t.Errorf("record %d after %s was taken", r.Generation, r.Previous)
		}
	}
}

func TestVisitorStopsTheReading(t *testing.T) {
	stop := errors.New("enough")
	if _, err := witness.Open(made(t, 2), func(witness.Record, witness.Line) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
}

// FuzzOpen: whatever is in the file, reading ends, what is read is a chain, and after the
// cut the same is read again and nothing else.
func FuzzOpen(f *testing.F) {
	text, err := os.ReadFile(made(f, 3))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-10])
	f.Add(append(bytes.Clone(text), 0, 0, 0, 0))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "witness.log")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		read := func() (j *witness.Journal, hashes []string) {
			var last int64
			j, err := witness.Open(path, func(r witness.Record, l witness.Line) error {
				if last != 0 && r.Generation != last+1 {
					t.Errorf("record %d after %d", r.Generation, last)
				}
				last = r.Generation
				hashes = append(hashes, fmt.Sprint(r.Generation, l.Hash))
				return nil
			})
			if err != nil {
				return nil, nil
			}
			return j, hashes
		}
		j, before := read()
		if j == nil {
			return
		}
		if err := j.Cut(); err != nil {
			t.Fatal(err)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, after := read()
		if again == nil || again.Damage() != nil || fmt.Sprint(before) != fmt.Sprint(after) {
			t.Fatalf("after the cut: got %v, want %v", after, before)
		}
		_ = again.Close()
	})
}

// Lines of all sizes that wait together are in the file whole, in their order, and what was
// written before is not written over by what comes into the same buffer.
func TestLinesOfAllSizesTogether(t *testing.T) {
	path := filepath.Join(t.TempDir(), "witness.log")
	j, err := witness.Create(path, self, 0, witness.Hash{})
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int{10, 200 << 10, 20, 30, 100 << 10, 65 << 10, 40, 60 << 10, 60 << 10, 5}
	for range 4 {
		for _, size := range sizes {
			last, hash := j.Last()
			l, err := witness.Encode(witness.Record{Generation: last + 1, Previous: hash, Kind: "step", JWS: strings.Repeat(fmt.Sprint(last%10), size)})
			if err == nil {
				err = j.Append(l)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	_, got := open(t, path)
	if len(got) != 4*len(sizes) {
		t.Fatalf("got %d records, want %d", len(got), 4*len(sizes))
	}
	for i, r := range got {
		if want := strings.Repeat(fmt.Sprint(i%10), sizes[i%len(sizes)]); r.JWS != want {
			t.Fatalf("record %d: got %d bytes, want %d, or others", i, len(r.JWS), len(want))
		}
	}
}
