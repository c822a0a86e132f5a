package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"eblnode/internal/torture/mutants"
	"eblnode/internal/torture/powercut"
)

// runPowercut cuts the power of one of three nodes, again and again, while bills move
// between them, and looks after each cut whether its disk has all that anybody was told.
// The same is then done to a node that asks for too few fsyncs, and must find something:
// a harness that finds nothing there would prove nothing.
func runPowercut(ctx context.Context, o *options) (*summary, error) {
	if err := powercut.Usable(); err != nil {
		return &summary{Skipped: err.Error()}, nil
	}
	s := &summary{Figures: map[string]any{}}
	c := &cutRun{o: o, cuts: o.cuts, whole: true}
	err := c.run(ctx, "powercut")
	if err != nil {
		return nil, err
	}
	s.Figures = c.figures
	s.Findings = c.findings
	caught, err := powercutCatches(ctx, o, "sync-normal")
	if err != nil {
		return nil, fmt.Errorf("the negative control: %w", err)
	}
	s.Figures["negativeControl"] = "synchronous=NORMAL: " + caught
	if caught == "" {
		s.wrong("a node with synchronous=NORMAL lost nothing either: this harness proves nothing")
	}
	return s, nil
}

// powercutGate is the mode as the gate of a mutant.
func powercutGate(o *options) func(context.Context, mutants.Mutant) (string, error) {
	return func(ctx context.Context, m mutants.Mutant) (string, error) {
		if err := powercut.Usable(); err != nil {
			return "", fmt.Errorf("%w: %w", mutants.ErrSkip, err)
		}
		return powercutCatches(ctx, o, m.Name)
	}
}

// powercutCatches runs the mode on a mutant until a cut has lost something.
func powercutCatches(ctx context.Context, o *options, name string) (caught string, err error) {
	m, err := mutants.Find(name)
	if err != nil {
		return "", err
	}
	one := *o
	c := &cutRun{o: &one, cuts: max(5, o.cuts)}
	for _, e := range m.Edits {
		one.broken = append(one.broken, edit{file: e.File, old: e.Old, new: e.New})
	}
	err = c.run(ctx, name)
	if c.lost == 0 {
		return "", err
	}
	return fmt.Sprintf("%d of %d acknowledged changes lost in %d power cuts", c.lost, c.acknowledged, c.done), nil
}

// A cutRun is one run: a program, a fleet, and the disk of its first node.
type cutRun struct {
	o     *options
	cuts  int
	whole bool // run to the end and audit; else stop at the first loss

	f    *fleet
	h    *history
	disk *powercut.Disk
	at   string // where the disk is mounted: the data folder of the first node
	rng  *rand.Rand

	done         int // cuts
	acknowledged int // on the first node, up to the last cut
	lost         int
	figures      map[string]any
	findings     []string
}

// betweenCuts is how many transfers are acknowledged between two cuts, on the average.
const betweenCuts = 40

func (c *cutRun) run(ctx context.Context, name string) (err error) {
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return err
	}
	one := *c.o
	one.nodes, one.transfers, one.kills, one.skew, one.state = 3, c.cuts*betweenCuts, 0, 0, ""
	c.rng = one.random("powercut")
	c.disk, c.at = powercut.New(), filepath.Join(dir, "p0")
	if err := os.Mkdir(c.at, 0o700); err != nil {
		return err
	}
	if err := c.disk.Mount(c.at); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, c.disk.Unmount())
		if err == nil {
			err = os.RemoveAll(dir)
		}
	}()
	program, err := one.build(ctx, dir, "eblnode", "./cmd/eblnode")
	if err != nil {
		return err
	}
	if c.f, err = newFleet(ctx, &one, fleetSpec{nodes: 3, users: workers, proxies: true, program: program, dir: dir, disk: c.disk.Export}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.f.close()) }()
	if c.h, err = openHistory(filepath.Join(dir, "history.jsonl")); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.h.close()) }()
	c.disk.Settle() // the installation is older than the first cut
	s := &summary{Figures: map[string]any{}}
	r := &faultRun{o: &one, f: c.f, h: c.h, s: s, counts: newCounter()}
	r.l = &load{o: &one, f: c.f, h: c.h, counts: r.counts, target: int64(one.transfers)}
	start := time.Now()
	if err := c.underLoad(ctx, name, r.l); err != nil || !c.whole {
		return err
	}
	took := time.Since(start)
	if err := r.heal(ctx); err != nil {
		return err
	}
	if err := r.audit(ctx); err != nil {
		return err
	}
	c.findings = append(c.findings, s.Findings...)
	c.figures = s.Figures
	c.figures["cuts"], c.figures["lostInCuts"] = c.done, c.lost
	c.figures["acknowledgedByTheNodeThatWasCut"] = c.acknowledged
	c.figures["transfersAccepted"] = r.l.done.Load()
	c.figures["transfersPerSecond"] = float64(int(float64(r.l.done.Load())/took.Seconds()*10)) / 10
	c.figures["disk"] = c.disk.Stats()
	return nil
}

// underLoad moves bills and cuts the power meanwhile.
func (c *cutRun) underLoad(ctx context.Context, name string, l *load) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	loaded := make(chan error, 1)
	go func() { loaded <- l.run(ctx, nil, 200) }()
	var wrong error
	for c.done < c.cuts && wrong == nil {
		// Cuts fall at any moment, but not before there is something to lose.
		due := int64(c.done+1) * l.target / int64(c.cuts+1)
		for l.done.Load() < due && ctx.Err() == nil {
			select {
			case err := <-loaded:
				return fmt.Errorf("the load ended early: %w", err)
			case <-time.After(5 * time.Millisecond):
			}
		}
		sleep(ctx, time.Duration(c.rng.IntN(100))*time.Millisecond)
		wrong = c.cut(ctx)
		c.o.say("%s: cut %d of %d, %d acknowledged, %d lost", name, c.done, c.cuts, c.acknowledged, c.lost)
		if !c.whole && c.lost > 0 {
			break
		}
	}
	if wrong != nil || !c.whole {
		cancel()
		<-loaded
		return wrong
	}
	return <-loaded
}

// cut is one power failure of the first node: its process is gone, what no fsync covered
// is gone, and at every second one some of that is there all the same. What is left is
// looked at before any program has touched it.
func (c *cutRun) cut(ctx context.Context) error {
	n := c.f.nodes[0]
	n.kill()
	if err := c.disk.Unmount(); err != nil {
		return err
	}
	var chance *rand.Rand
	if c.done%2 == 1 {
		chance = c.rng
	}
	c.disk.Cut(chance)
	c.done++
	if err := c.look(ctx); err != nil || c.lost > 0 && !c.whole {
		return err
	}
	if err := c.disk.Mount(c.at); err != nil {
		return err
	}
	return c.f.serve(ctx, n)
}

// look counts what callers were told by the node and its disk does not have.
func (c *cutRun) look(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "powercut")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	events := c.h.all() // no caller was told of anything that is not on this disk
	if err := c.disk.Export(dir); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "node.db"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	var check string
	if err := db.QueryRowContext(ctx, "PRAGMA integrity_check(1)").Scan(&check); err != nil || check != "ok" {
		c.loses("after cut %d the database is damaged: %s %v", c.done, check, err)
	}
	c.acknowledged = 0
	self := c.f.nodes[0].domain
	steps := map[[2]string]int{}
	for _, e := range events {
		least := 1
		var query string
		var args []any
		switch {
		case e.Kind == "issued" && e.From == self:
			query, args = "SELECT count(*) FROM bills WHERE document_hash = ?", []any{unhex(e.Document)}
		case e.Kind == "accepted" && e.To == self && e.Verdict != "":
			query, args = "SELECT count(*) FROM receipts WHERE envelope_hash = ? AND receipt = ?", []any{unhex(e.Envelope), e.Verdict}
		case e.Kind == "accepted" && e.From == self:
			query, args = "SELECT count(*) FROM transfers WHERE id = ? AND state = 'accepted'", []any{e.Transfer}
		case e.Kind == "void" && e.From == self:
			query, args = "SELECT count(*) FROM bills WHERE document_hash = ? AND control = 'void'", []any{unhex(e.Document)}
		case e.Kind == "step" && e.From == self:
			of := [2]string{e.Document, e.To}
			steps[of]++
			least = steps[of]
			query = `SELECT count(*) FROM steps s JOIN bills b ON b.id = s.bill WHERE b.document_hash = ?
			  AND json_extract(s.tx, '$.instruction') <> 'ISSU' AND json_extract(s.tx, '$.transferee') = ?`
			args = []any{unhex(e.Document), e.To}
		default:
			continue
		}
		c.acknowledged++
		var found int
		if err := db.QueryRowContext(ctx, query, args...).Scan(&found); err != nil {
			return fmt.Errorf("reading the disk after cut %d: %w", c.done, err)
		}
		if found < least || e.Kind != "step" && found > 1 {
			c.loses("after cut %d: %s of bill %s, which a caller was told of, is LOST", c.done, e.Kind, e.Document)
		}
	}
	return nil
}

func (c *cutRun) loses(format string, args ...any) {
	c.lost++
	if len(c.findings) < 20 {
		c.findings = append(c.findings, fmt.Sprintf(format, args...))
	}
}

func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}
