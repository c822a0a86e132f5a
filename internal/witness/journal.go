// Package witness keeps the journal outside the database that tells whether the database
// is older than it should be.
//
// A database that is restored from a backup forgets what happened since, and a bill that
// was sent away meanwhile would be there again, to be spent twice. The journal is a file
// of its own, best on another volume, that is never restored: one line for each change of
// control and each signed answer, on the disk before anything of it is revealed. A node
// that opens an older database finds in it what happened since.
//
// The file is lines of text, each the SHA-256 of its JSON, a space, and the JSON:
//
//	9f86…08 {"witness":1,"identity":{"domain":"bank.example","id":"…"},"after":0,…}
//	60f5…ad {"generation":1,"previous":"9f86…","document":"…","kind":"issue",…}
//
// Each record names the hash of the one before, so that none can be changed, taken out or
// put in. What a crash can leave behind is a last line without its end; that one was
// never acknowledged. The package knows nothing of bills.
package witness

import (
	"bufio"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// ErrFailed says that the journal could not be written before. Nothing more is written:
// after a failed fsync nobody knows what is on the disk. Open it again.
var ErrFailed = errors.New("the witness could not be written; the node must be opened again")

// MaxLine is the longest line that is read, in bytes: a record holds a document and its chain.
const MaxLine = 64 << 20

// largeLine is from which size on a line is not copied to be written: it is a write of its own.
const largeLine = 64 << 10

// keptBuffer is the largest buffer that is used again.
const keptBuffer = 1 << 20

// A chunk is what one write writes: one large line, as it was given, or several together
// in a buffer of ours.
type chunk struct {
	text []byte
	ours bool
}

// A Damage is what does not belong in a journal, and all that follows it.
type Damage struct {
	Line   int   // counted from 1; the header is line 1
	Offset int64 // where the last good line ends
	// Torn reports that the damage is a last line without its end and nothing else:
	// what a crash leaves behind.
	Torn   bool
	Detail string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("line %d (after %d good bytes): %s", d.Line, d.Offset, d.Detail)
}

// A Journal is an open journal. It is safe for concurrent use.
type Journal struct {
	path     string
	identity Identity
	after    int64
	logged   int64
	secret   Hash
	file     *os.File
	damage   *Damage

	// BeforeSync, in tests, runs before each fsync, and may make it fail.
	BeforeSync func() error

	sync sync.Mutex // held by who writes to the file

	mu       sync.Mutex // guards what follows; taken after sync
	size     int64      // of the good part; changed with both locks held
	last     int64      // newest generation appended
	hash     Hash       // its hash
	pending  []chunk    // appended and not written yet
	spare    []byte     // a buffer to be used again
	durable  int64      // newest generation on the disk
	failed   error
	isClosed bool
	broken   chan struct{} // closed when failed is set
}

// Create makes the journal of a node. The first record will be of the generation after
// the given one, and name its hash. The file must not exist; it is on the disk when Create
// returns.
func Create(path string, id Identity, after int64, previous Hash) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("making the witness: %w", err)
	}
	var secret Hash
	_, _ = rand.Read(secret[:]) // never fails
	text, _, err := encode(header{1, id, after, previous, time.Now().UnixMilli(), secret})
	if err == nil {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		// A header that may be half on the disk would be foreign at the next start.
		return nil, fmt.Errorf("making the witness: %w", errors.Join(err, f.Close(), os.Remove(path)))
	}
	return &Journal{path: path, identity: id, after: after, secret: secret, file: f, size: int64(len(text)), last: after, hash: previous, durable: after, broken: make(chan struct{})}, nil
}

// syncDir makes a new name in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Open reads the journal at path from its first line, calls visit for each record, and
// checks that each follows the one before. The error is fs.ErrNotExist where there is no
// file, a *Damage where even the first line is not that of a journal, or what visit
// returned. Damage after it is told by [Journal.Damage]; nothing is changed by Open.
func Open(path string, visit func(Record, Line) error) (*Journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the witness: %w", err)
	}
	j := &Journal{path: path, file: f, broken: make(chan struct{})}
	if err := j.read(visit); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("reading the witness %s: %w", path, err)
	}
	j.durable = j.last
	return j, nil
}

func (j *Journal) read(visit func(Record, Line) error) error {
	in := bufio.NewReaderSize(j.file, 1<<20)
	for n := 1; ; n++ {
		text, err := readLine(in)
		if errors.Is(err, io.EOF) && len(text) == 0 && n > 1 {
			return nil
		}
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errLong) {
			return err
		}
		detail := ""
		switch {
		case err != nil:
			detail = "the line has no end"
		case n == 1:
			detail = j.readHeader(text)
		default:
			r, l, bad := Decode(text)
			if bad != nil {
				detail = bad.Error()
			} else if r.Generation != j.last+1 || r.Previous != j.hash {
				detail = fmt.Sprintf("record %d does not follow record %d", r.Generation, j.last)
			} else if visit != nil {
				if err := visit(r, l); err != nil {
					return err
				}
			}
			if detail == "" {
				j.last, j.hash = r.Generation, l.Hash
				if r.Log != nil {
					j.logged = r.Log.Last
				}
			}
		}
		if detail != "" {
			d := &Damage{Line: n, Offset: j.size, Torn: errors.Is(err, io.EOF), Detail: detail}
			if n == 1 {
				return d
			}
			j.damage = d
			return nil
		}
		j.size += int64(len(text))
	}
}

var errLong = errors.New("a line is too long")

// readLine reads to the next line end. What it returns is the caller's.
func readLine(in *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := in.ReadSlice('\n')
		text = append(text, part...)
		if len(text) > MaxLine {
			return nil, errLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

func (j *Journal) readHeader(text []byte) (detail string) {
	var h header
	if _, err := decode(text, &h); err != nil {
		return err.Error()
	}
	if h.Witness != 1 || h.Identity.Domain == "" || h.Identity.ID == "" || h.After < 0 || h.Secret == (Hash{}) {
		return "not the first line of a journal of this version"
	}
	j.identity, j.after, j.secret, j.last, j.hash = h.Identity, h.After, h.Secret, h.After, h.Previous
	return ""
}

// Identity says whose journal it is.
func (j *Journal) Identity() Identity { return j.identity }

// After is the generation after which the journal begins: zero, unless an older one was lost.
func (j *Journal) After() int64 { return j.after }

// Logged is the newest row of the audit log in the journal as Open read it; zero if none.
func (j *Journal) Logged() int64 { return j.logged }

// Seal is what a record that waits outside the journal is marked with: SHA-256 over the
// journal's secret and the record's hash. Who writes to that place alone cannot make one by
// which the journal is completed. Both parts are of one length, always, so that nothing can be
// put behind them, and HMAC would only take longer.
func (j *Journal) Seal(record Hash) Hash {
	var b [2 * sha256.Size]byte
	copy(b[:], j.secret[:])
	copy(b[sha256.Size:], record[:])
	return sha256.Sum256(b[:])
}

// Path is where it is.
func (j *Journal) Path() string { return j.path }

// Damage is what Open found after the last good record; nil if the file is whole.
func (j *Journal) Damage() *Damage { return j.damage }

// Cut takes what is damaged away: all after the last good record. Call it only where
// nothing of it can have been acknowledged: a torn line, or records that the database
// still has. On the disk when it returns.
func (j *Journal) Cut() error {
	j.sync.Lock()
	defer j.sync.Unlock()
	if j.damage == nil {
		return nil
	}
	err := j.file.Truncate(j.damage.Offset)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("cutting the torn end of the witness: %w", err)
	}
	j.damage = nil
	return nil
}

// Last is the newest record appended: its generation and its hash.
func (j *Journal) Last() (int64, Hash) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.last, j.hash
}

// Durable is the newest generation that is on the disk.
func (j *Journal) Durable() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.durable
}

// Err is nil until a write or an fsync failed; then everything fails.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failed
}

// Broken is closed when Err is no longer nil.
func (j *Journal) Broken() <-chan struct{} { return j.broken }

// Append takes a record, which must follow the last one. It is on the disk after the next
// [Journal.Sync] that succeeds.
func (j *Journal) Append(l Line) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.failed != nil:
		return j.failed
	case j.damage != nil:
		return fmt.Errorf("appending to a damaged witness: %w", j.damage)
	case l.Generation != j.last+1 || l.Previous != j.hash:
		return fmt.Errorf("appending to the witness: record %d does not follow record %d", l.Generation, j.last)
	}
	j.take(l.Text)
	j.last, j.hash = l.Generation, l.Hash
	return nil
}

// take puts a line behind those that wait to be written: a large one as it is, which nobody
// changes, small ones together.
func (j *Journal) take(text []byte) {
	n := len(j.pending)
	switch {
	case len(text) > largeLine:
		j.pending = append(j.pending, chunk{text, false})
	case n > 0 && j.pending[n-1].ours:
		j.pending[n-1].text = append(j.pending[n-1].text, text...)
	default:
		j.pending = append(j.pending, chunk{append(j.spare, text...), true})
		j.spare = nil
	}
}

// Sync returns once every record appended before the call is on the disk. Those who wait
// at the same time share one fsync. An error is for ever: see [ErrFailed].
func (j *Journal) Sync() error {
	j.mu.Lock()
	want := j.last
	if j.failed != nil || j.durable >= want {
		defer j.mu.Unlock()
		return j.failed
	}
	j.mu.Unlock()
	j.sync.Lock()
	defer j.sync.Unlock()
	j.mu.Lock()
	if j.failed != nil || j.durable >= want {
		defer j.mu.Unlock()
		return j.failed
	}
	chunks, upTo := j.pending, j.last
	j.pending = nil
	j.mu.Unlock()
	size, err := j.flush(chunks)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.failed = fmt.Errorf("%w: %w", ErrFailed, err)
		close(j.broken)
		return j.failed
	}
	j.durable = upTo
	j.size += size
	for _, c := range chunks {
		if c.ours && cap(c.text) <= keptBuffer && cap(c.text) > cap(j.spare) {
			j.spare = c.text[:0]
		}
	}
	return nil
}

// flush writes the chunks and has them on the disk.
func (j *Journal) flush(chunks []chunk) (size int64, err error) {
	for _, c := range chunks {
		if _, err := j.file.Write(c.text); err != nil {
			return 0, err
		}
		size += int64(len(c.text))
	}
	if err := there(j.file, j.size+size); err != nil {
		return 0, err
	}
	if j.BeforeSync != nil {
		if err := j.BeforeSync(); err != nil {
			return 0, err
		}
	}
	return size, j.file.Sync()
}

// Close writes what is appended and closes the file.
func (j *Journal) Close() error {
	err := j.Sync()
	if errors.Is(err, ErrFailed) {
		err = nil // said already, to who had to know
	}
	j.sync.Lock()
	defer j.sync.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.isClosed {
		return nil
	}
	j.isClosed = true
	return errors.Join(err, j.file.Close())
}
