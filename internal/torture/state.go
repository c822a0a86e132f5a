package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A stateFile is what a later run must know to go on with a folder.
type stateFile struct {
	Mode  string `json:"mode"`
	Seed  uint64 `json:"seed"`
	Nodes int    `json:"nodes"`
	// Options are those that say what the parts of the run are; "" for the main mode, of
	// which a later run may ask for more.
	Options string `json:"options,omitempty"`
	// Made says that the nodes are there. A run that was stopped before begins anew.
	Made bool `json:"made"`
}

// A workspace is the folder of a run: a new one that goes away when all is well, or the
// one of -state, in which a later run goes on.
type workspace struct {
	o        *options
	dir      string
	state    stateFile
	resuming bool
	kept     bool
	h        *history
}

// openWorkspace makes the folder, or takes that of an earlier run, and its seed if none is
// given.
func openWorkspace(o *options, mode string) (*workspace, error) {
	w := &workspace{o: o, dir: o.state, kept: o.state != "", state: stateFile{Mode: mode, Seed: o.seed, Nodes: o.nodes}}
	if mode != "faults" {
		w.state.Options = o.fingerprint()
	}
	var err error
	if w.dir == "" {
		// Short: it holds Unix sockets.
		w.dir, err = os.MkdirTemp("", "torture")
	} else {
		err = os.MkdirAll(w.dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(w.dir, "state.json"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = w.write()
	case err == nil:
		err = w.takeUp(text)
	}
	if err != nil {
		return nil, err
	}
	w.h, err = openHistory(filepath.Join(w.dir, "history.jsonl"))
	return w, err
}

// takeUp goes on with what an earlier run has left.
func (w *workspace) takeUp(text []byte) error {
	var s stateFile
	if err := json.Unmarshal(text, &s); err != nil {
		return fmt.Errorf("reading the state in %s: %w", w.dir, err)
	}
	if s.Nodes != w.state.Nodes || s.Mode != w.state.Mode || w.o.seeded && s.Seed != w.o.seed {
		return fmt.Errorf("%s is of the mode %s with %d nodes and seed %d, not of %s with %d and %d", w.dir, s.Mode, s.Nodes, s.Seed, w.state.Mode, w.state.Nodes, w.state.Seed)
	}
	if s.Options != w.state.Options {
		return fmt.Errorf("%s is of a run with other options", w.dir)
	}
	w.o.seed, w.state.Seed, w.state.Made = s.Seed, s.Seed, s.Made
	if s.Made {
		w.resuming = true
		return nil
	}
	left, err := filepath.Glob(filepath.Join(w.dir, "p[0-9]*"))
	for _, path := range append(left, filepath.Join(w.dir, "history.jsonl"), filepath.Join(w.dir, "dns.addr")) {
		err = errors.Join(err, os.RemoveAll(path))
	}
	return err
}

// made notes that the nodes are there: from here on a later run can go on.
func (w *workspace) made() error {
	w.state.Made = true
	return w.write()
}

func (w *workspace) write() error {
	text, err := json.Marshal(w.state)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(w.dir, "state.json"), text, 0o600)
}

// close ends the run. What was found in a folder of no name is kept for somebody to look
// at; else that folder goes away.
func (w *workspace) close(s *summary, err error) error {
	err = errors.Join(err, w.h.close())
	if w.kept || err != nil || s == nil || len(s.Findings) > 0 {
		w.o.say("the folder %s is kept", w.dir)
		return err
	}
	return os.RemoveAll(w.dir)
}
