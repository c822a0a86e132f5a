package node

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"eblnode/envelope"
	"eblnode/internal/witness"
)

// WitnessFile is the name of the witness in the data folder, unless the configuration
// puts it elsewhere.
const WitnessFile = "witness.log"

// The kinds of records in the witness. A kind that a program does not know keeps its bill
// in quarantine.
const (
	recordIssue     = "issue"     // jws: the first step; data: issueData
	recordStep      = "step"      // jws: the step
	recordPrepared  = "prepared"  // jws: the sealed envelope; data: preparedData
	recordSending   = "sending"   // the first byte is about to leave: nobody cancels any more
	recordSettled   = "settled"   // jws: receipt or rejection; data: settledData
	recordAccepted  = "accepted"  // jws: our receipt; data: acceptedData
	recordRejection = "rejection" // jws: our rejection; data: rejectionData
	recordVerdict   = "verdict"   // jws: the carrier's verdict
	recordReleased  = "released"  // two operators freed the bill; not entered again
	recordLog       = "log"       // rows of the audit log that came with nothing else; the same
)

// witnessing is the store's half of the witness.
//
// The order is: commit the database, fsync the journal, then reveal. A crash between the
// two leaves the database ahead, and the journal is completed from the table
// witness_pending. The other way round would leave records of what never happened.
type witnessing struct {
	turn    chan struct{} // held by who writes, so that records are in the order of the commits
	journal atomic.Pointer[witness.Journal]
	// attempted is the newest generation that may be committed.
	attempted atomic.Int64
	// quarantined says that some bill may be in quarantine, or everything is frozen.
	quarantined atomic.Bool
}

// inTurn runs f alone among all writers.
func (s *store) inTurn(ctx context.Context, f func() error) error {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("waiting for the database: %w", ctx.Err())
	}
	defer func() { <-s.turn }()
	if j := s.journal.Load(); j != nil {
		// Fail-stop: what is committed now could not be witnessed.
		if err := j.Err(); err != nil {
			return err
		}
	}
	if err := s.recover(ctx); err != nil {
		return err
	}
	err := f()
	if err == nil {
		return nil
	}
	s.failed(err)
	if gone := s.there(); gone != nil {
		return errors.Join(gone, err)
	}
	return err
}

// beforeWitness is the last thing before a commit with records for the witness.
func (s *store) beforeWitness(ctx context.Context, group []*job) error {
	if _, err := s.writer.ExecContext(ctx, "DELETE FROM witness_pending WHERE generation <= ?", s.journal.Load().Durable()); err != nil {
		return err
	}
	for _, j := range group {
		if j.tx != nil && len(j.tx.change.lines) > 0 {
			s.attempted.Store(j.tx.change.lines[len(j.tx.change.lines)-1].Generation)
		}
	}
	return nil
}

// handOver gives the journal what was committed, in the order of the transactions.
func (s *store) handOver(group []*job) error {
	j := s.journal.Load()
	if j == nil {
		return nil
	}
	for _, done := range group {
		if done.tx == nil || len(done.tx.change.lines) == 0 {
			continue
		}
		lines := done.tx.change.lines
		if last, _ := j.Last(); lines[0].Generation != last+1 {
			return nil // a commit before this one was said to have failed, and happened: settled mends it
		}
		for _, l := range lines {
			if err := j.Append(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// settled returns once everything that anybody may have committed so far is on the disk of
// the witness too. Call it before revealing what was only read.
func (s *store) settled(ctx context.Context) error {
	j := s.journal.Load()
	if j == nil {
		return nil
	}
	if err := j.Err(); err != nil {
		return err
	}
	if last, _ := j.Last(); last < s.attempted.Load() {
		if err := s.inTurn(ctx, func() error { return s.catchUp(ctx, j) }); err != nil {
			return err
		}
	}
	return j.Sync()
}

// witnessBroken is closed when the journal can no longer be written; nil without one.
func (s *store) witnessBroken() <-chan struct{} {
	if j := s.journal.Load(); j != nil {
		return j.Broken()
	}
	return nil
}

// place is where the database stands in the witness.
type place struct {
	node       string
	started    bool
	generation int64
	hash       envelope.Hash
	frozen     string
}

func loadPlace(ctx context.Context, q querier) (place, error) {
	var p place
	err := q.QueryRowContext(ctx, "SELECT node, started, generation, hash, frozen FROM witness").
		Scan(&p.node, &p.started, &p.generation, sqlHash{&p.hash}, &p.frozen)
	return p, err
}

// witnessPath is where the journal is.
func (c *Config) witnessPath() string {
	if c.Witness != "" {
		return c.Witness
	}
	return filepath.Join(c.Dir, WitnessFile)
}

// checkDatabase refuses to make a new database where the witness says that there was one.
func (c *Config) checkDatabase(path string) error {
	if db, err := os.Stat(path); err == nil && db.Size() > 0 {
		return nil
	}
	j, err := os.Stat(c.witnessPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for the witness: %w", err)
	}
	if j.Size() == 0 {
		return nil
	}
	return fmt.Errorf("database %s is gone or empty, and the witness %s says that there was one; restore a backup (eblnode restore)", path, c.witnessPath())
}

// openWitness opens the journal and compares it with the database (docs/DESIGN.md, The
// witness). What the database does not know goes into quarantine.
func (n *Node) openWitness(ctx context.Context) error {
	err := n.store.update(ctx, func(t *tx) error {
		var zero envelope.Hash
		return t.exec("INSERT OR IGNORE INTO witness (id, node, started, generation, hash) VALUES (1, ?, 0, 0, ?)", newID(), zero[:])
	})
	if err != nil {
		return err
	}
	p, err := loadPlace(ctx, n.store.read)
	if err != nil {
		return fmt.Errorf("reading the place in the witness: %w", err)
	}
	path, id := n.cfg.witnessPath(), witness.Identity{Domain: n.Domain().String(), ID: p.node}
	j, err := witness.Open(path, nil)
	var damage *witness.Damage
	switch {
	case errors.Is(err, fs.ErrNotExist) && !p.started:
		if j, err = witness.Create(path, id, p.generation, witness.Hash(p.hash)); err != nil {
			return err
		}
		return n.witnessFound(ctx, j)
	case errors.Is(err, fs.ErrNotExist):
		return n.freeze(ctx, "the witness "+path+" is missing")
	case errors.As(err, &damage):
		return n.freeze(ctx, "the witness "+path+" is none: "+damage.Error())
	case err != nil:
		return err
	}
	strange, err := n.compareWitness(ctx, j, p, id)
	if err == nil && strange == "" {
		return n.witnessFound(ctx, j)
	}
	_ = j.Close()
	if err != nil {
		return err
	}
	return n.freeze(ctx, "the witness "+path+" "+strange)
}

// compareWitness brings journal and database together, or says what is strange about the
// journal. The first of the two to be behind is told what it does not know.
func (n *Node) compareWitness(ctx context.Context, j *witness.Journal, p place, id witness.Identity) (strange string, err error) {
	if got := j.Identity(); got != id {
		return fmt.Sprintf("belongs to another node, %s (%s); this is %s (%s)", got.Domain, got.ID, id.Domain, id.ID), nil
	}
	last, hash := j.Last()
	if last < p.generation || j.Damage() != nil {
		lines, err := pendingLines(ctx, n.store.read, j, last)
		if errors.Is(err, errForged) {
			return "lacks records, and " + errForged.Error(), nil
		}
		if err != nil {
			return "", fmt.Errorf("completing the witness: %w", err)
		}
		if last < p.generation && (int64(len(lines)) != p.generation-last || lines[0].Previous != hash) {
			return fmt.Sprintf("ends at record %d, and the database is at %d; what is between is lost", last, p.generation), nil
		}
		// What comes after the good part either is held here too, or was cut off by a
		// crash and never acknowledged. Anything else is damage to what was.
		if d := j.Damage(); d != nil && !d.Torn && last >= p.generation {
			return "is damaged: " + d.Error(), nil
		}
		if err := j.Cut(); err != nil {
			return "", err
		}
		for _, l := range lines {
			if err := j.Append(l); err != nil {
				return "", err
			}
		}
		if err := j.Sync(); err != nil {
			return "", err
		}
		if last < p.generation {
			n.log.Info("the witness was completed from the database", "records", len(lines))
			return "", nil
		}
	}
	return n.quarantineLater(ctx, p)
}

// behindRecords is what the audit log says of records that the database did not know.
const behindRecords = "records %d to %d"

// quarantineLater reads the journal once more, and puts what comes after the database's
// place into quarantine, all in one transaction.
func (n *Node) quarantineLater(ctx context.Context, p place) (strange string, err error) {
	known := false // whether the database's last record is in the journal
	count := 0
	err = n.store.update(ctx, func(t *tx) error {
		var held []witness.Line // without their text
		j, err := witness.Open(n.cfg.witnessPath(), func(r witness.Record, l witness.Line) error {
			switch {
			case r.Generation == p.generation+1 && !known && r.Previous == witness.Hash(p.hash):
				known = true // the journal begins where the database stands
			case r.Generation == p.generation:
				known = l.Hash == witness.Hash(p.hash)
			}
			if r.Generation <= p.generation || !known {
				return nil
			}
			count++
			t.store.place = nil
			if r.Kind != recordLog { // those rows went with the database that was lost
				if err := t.exec("INSERT INTO quarantine (generation, document_hash, line) VALUES (?, ?, ?)", r.Generation, r.Document[:], l.Text); err != nil {
					return err
				}
				held = append(held, witness.Line{Generation: l.Generation, Hash: l.Hash})
			}
			return t.execOne("UPDATE witness SET generation = ?, hash = ?", r.Generation, l.Hash[:])
		})
		if err != nil {
			return err
		}
		for _, l := range held {
			seal := j.Seal(l.Hash)
			if err := t.execOne("UPDATE quarantine SET seal = ? WHERE generation = ?", seal[:], l.Generation); err != nil {
				return errors.Join(err, j.Close())
			}
		}
		if last, hash := j.Last(); last == p.generation && hash == witness.Hash(p.hash) {
			known = true // an empty journal that begins here
		}
		if err := j.Close(); err != nil || count == 0 {
			return err
		}
		if !known {
			return nil
		}
		return t.audit(n.Domain().String(), "witness.behind", envelope.Hash{}, fmt.Sprintf(behindRecords, p.generation+1, p.generation+int64(count)))
	})
	if err == nil && !known {
		return fmt.Sprintf("tells another history: the database's record %d is not in it", p.generation), nil
	}
	if count > 0 {
		n.log.Warn("the database is older than the witness, as after a restore; the bills that moved since are in quarantine", "records", count)
	}
	return "", err
}

// witnessFound begins to write to j.
func (n *Node) witnessFound(ctx context.Context, j *witness.Journal) error {
	last, _ := j.Last()
	n.store.attempted.Store(last)
	n.store.journal.Store(j)
	n.store.quarantined.Store(true) // until looked
	err := n.store.update(ctx, func(t *tx) error { return t.exec("UPDATE witness SET started = 1, frozen = ''") })
	if err != nil {
		return err
	}
	if err := n.tellLog(ctx); err != nil {
		return err
	}
	return n.reenter(ctx)
}

// freeze lets nothing move: without its witness nobody can tell whether this database is
// the newest one.
func (n *Node) freeze(ctx context.Context, why string) error {
	n.store.quarantined.Store(true)
	n.log.Error("everything is frozen: " + why + "; put the right file there and start again, or let two operators release (eblnode witness release)")
	return n.store.update(ctx, func(t *tx) error {
		p, err := loadPlace(t.ctx, t)
		if err != nil || p.frozen == why {
			return err
		}
		if err := t.exec("UPDATE witness SET started = 1, frozen = ?", why); err != nil {
			return err
		}
		return t.audit(n.Domain().String(), "witness.freeze", envelope.Hash{}, why)
	})
}

// free refuses a bill that is in quarantine. The refusal is that for a peer.
func (t *tx) free(document envelope.Hash) error {
	if t.change.reentry || !t.store.quarantined.Load() {
		return nil
	}
	why, err := quarantineOf(t.ctx, t, document)
	if err != nil || why == "" {
		return err
	}
	return inQuarantine(why)
}

// quarantineOf says why nothing about a bill may change; "" if it may.
func quarantineOf(ctx context.Context, q querier, document envelope.Hash) (string, error) {
	p, err := loadPlace(ctx, q)
	if err != nil {
		return "", fmt.Errorf("reading the place in the witness: %w", err)
	}
	if p.frozen != "" {
		return "frozen, as everything here, until two operators release it: " + p.frozen, nil
	}
	var problem string
	err = q.QueryRowContext(ctx, "SELECT problem FROM quarantine WHERE document_hash = ? ORDER BY generation LIMIT 1", document[:]).Scan(&problem)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	why := "in quarantine: the database is older than what the witness knows of this bill"
	if problem != "" {
		why += "; " + problem
	}
	return why, err
}

// quarantine is quarantineOf, at no cost while there is none.
func (n *Node) quarantine(ctx context.Context, q querier, document envelope.Hash) (string, error) {
	if !n.store.quarantined.Load() {
		return "", nil
	}
	return quarantineOf(ctx, q, document)
}

// inQuarantine is the refusal for a peer: it is to ask again.
func inQuarantine(why string) *Error {
	e := refuse(Unavailable, TextQuarantine, "nothing about this bill changes here now")
	e.Retry, e.Err = 60, errors.New(why)
	return e
}

// lockedInQuarantine is the refusal for a local user, who may know why.
func lockedInQuarantine(why string) *Error {
	return refuse(Conflict, TextLocked, "the bill is %s", why)
}

func frozenRefusal(ctx context.Context, q querier) error {
	p, err := loadPlace(ctx, q)
	if err != nil {
		return err
	}
	return inQuarantine(p.frozen)
}

// reenterEvery is the pause between two tries to enter again what is in quarantine.
const reenterEvery = 5 * time.Second
