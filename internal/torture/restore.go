package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// runRestore makes a backup of a node with bills in every state, goes on until each lawful
// fate has befallen some, loses the database, restores the backup beside the newest
// witness, and then tries every way to spend a bill twice with it. Peers put again what
// the node had accepted or rejected since and must get the same answers. In the end every
// bill must be where it was, and the auditor and every node's fsck agree.
//
// Then two controls. With the witness rewound together with the database nothing can help:
// there the same attempts must succeed and the auditor must say so, or this mode would
// notice nothing. And without a witness nothing at all may move.
func runRestore(ctx context.Context, o *options) (*summary, error) {
	dir, err := os.MkdirTemp("", "torture")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	crash, err := crashPoints(o.root)
	if err != nil {
		return nil, err
	}
	o.say("building; folder %s", dir)
	program, err := o.build(ctx, dir, "eblnode", "./cmd/eblnode", only(crash.edits, "s1")...)
	if err != nil {
		return nil, err
	}
	r := &restore{o: o, backup: filepath.Join(dir, "backup.db"), points: filepath.Join(dir, "points"),
		s: &summary{Figures: map[string]any{}}, counts: newCounter()}
	if err := os.Mkdir(r.points, 0o700); err != nil {
		return nil, err
	}
	r.f, err = newFleet(ctx, o, fleetSpec{nodes: 4, users: 2, proxies: true, program: program, dir: dir, retryMax: "300ms",
		env: func(n *node) []string {
			// One caller is everybody here; the limit for one user has its own tests.
			env := []string{"EBLNODE_LIMITS_RATE=100000", "EBLNODE_LIMITS_BURST=100000"}
			if n.domain == "p0.example" {
				env = append(env, "TORTURE_POINTS="+r.points)
			}
			return env
		}})
	if err != nil {
		return nil, err
	}
	defer r.f.close()
	r.a, r.b, r.c, r.d = r.f.nodes[0], r.f.nodes[1], r.f.nodes[2], r.f.nodes[3]
	for _, step := range []func(context.Context) error{r.before, r.after, r.swap, r.attack, r.replay, r.recover, r.audit, r.rewound, r.frozen} {
		if err := step(ctx); err != nil {
			return nil, err
		}
		if o.enough(r.s) {
			return r.s, nil
		}
	}
	counts := map[string]int{}
	r.counts.into(counts)
	r.s.Figures["attempts"] = counts
	return r.s, nil
}

// A fated bill.
type fated struct {
	fate
	text      []byte
	reference string
	document  string
	issuing   *node
	transfers []string // from node a
	ended     []string // those of them that had an end before the loss
	wrong     int
	tries     int // to spend it twice
}

// holder is who may move a bill after all, on node a; "" for nobody there.
func (b *fated) holder() string {
	local, found := strings.CutPrefix(b.want, "held ")
	if !found {
		return ""
	}
	return local
}

type restore struct {
	o          *options
	f          *fleet
	a, b, c, d *node
	impostor   *impostor // in the place of c
	backup     string
	points     string // folder of the crash points of a
	bills      []*fated
	seen       []event
	serial     int
	letters    []*letter // what others had sent to a, and its answers
	s          *summary
	counts     *counter
}

// wrong notes what must not be of a bill.
func (r *restore) wrong(b *fated, format string, args ...any) {
	b.wrong++
	r.s.wrong("a bill (%s) %s", b.name(), fmt.Sprintf(format, args...))
}

// before brings bills to where they are at the time of the backup, and makes it.
func (r *restore) before(ctx context.Context) error {
	for _, user := range []string{"one", "two"} {
		if err := r.a.add(ctx, user, "operator"); err != nil {
			return err
		}
	}
	for _, f := range fates {
		for range max(1, r.o.each) {
			b := &fated{fate: f}
			if f.issued != "" {
				if err := r.issueOn(ctx, b, r.f.nodes[f.issued[0]-'a']); err != nil {
					return err
				}
			}
			r.bills = append(r.bills, b)
		}
	}
	var err error
	if r.impostor, err = newImpostor(r.c, r.a); err != nil {
		return err
	}
	// What is prepared last takes places in the outbox until it is let go.
	for _, prepared := range []bool{false, true} {
		if err := r.befall(ctx, prepared, func(b *fated) []act { return b.before }); err != nil {
			return err
		}
	}
	if _, err := r.a.command(ctx, "backup", r.backup); err != nil {
		return err
	}
	text, err := os.ReadFile(r.witness())
	if err != nil {
		return err
	}
	return os.WriteFile(r.backup+".witness", text, 0o600)
}

// witness is the journal of the node.
func (r *restore) witness() string { return filepath.Join(r.a.dir, "witness.log") }

// befall does to bills what their fates say: to those prepared at the backup, or the others.
func (r *restore) befall(ctx context.Context, prepared bool, acts func(*fated) []act) error {
	for _, b := range r.bills {
		if (b.at == "prepared") != prepared {
			continue
		}
		for i, do := range acts(b) {
			if err := do(ctx, r, b); err != nil {
				return fmt.Errorf("a bill (%s), step %d: %w", b.name(), i+1, err)
			}
		}
	}
	return nil
}

// after is what happens between the backup and the loss.
func (r *restore) after(ctx context.Context) error {
	for _, prepared := range []bool{true, false} {
		if err := r.befall(ctx, prepared, func(b *fated) []act { return b.after }); err != nil {
			return err
		}
	}
	// Nothing in the crash points is left to hold what the restored node does.
	return errors.Join(r.release(), r.remember(ctx))
}

// swap kills the node, and brings it back with the old database and nobody to talk to.
func (r *restore) swap(ctx context.Context) error {
	r.o.say("%d bills of %d fates; restoring", len(r.bills), len(fates))
	r.a.kill()
	for _, n := range r.f.nodes {
		n.proxy.dead.Store(true)
		n.proxy.cutAll()
	}
	if err := r.impostor.close(); err != nil {
		return err
	}
	if _, err := r.a.command(ctx, "restore", r.backup); err != nil {
		return err
	}
	return r.f.serve(ctx, r.a)
}
