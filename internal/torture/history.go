package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"time"
)

// An event is a line of the history: what a caller of the nodes was told. It is written
// before the caller goes on, so that a run that is cut off can be audited too.
type event struct {
	At       int64  `json:"at"`
	Kind     string `json:"kind"` // issued, accepted, rejected, receipt, step, void, kill; wrong: a finding; done: a part of the run
	Document string `json:"document,omitempty"`
	From     string `json:"from,omitempty"` // domain of the sender
	To       string `json:"to,omitempty"`   // domain of the receiver
	Transfer string `json:"transfer,omitempty"`
	Envelope string `json:"envelope,omitempty"`
	Verdict  string `json:"verdict,omitempty"`
	How      string `json:"how,omitempty"` // answer, doubt, replay

	Part string   `json:"part,omitempty"`
	What []string `json:"what,omitempty"`
}

// A history is the file of events.
type history struct {
	mu     sync.Mutex
	file   *os.File
	events []event
}

// openHistory opens the file and reads what an earlier run has left.
func openHistory(path string) (*history, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	h := &history{file: f}
	lines := bufio.NewReader(f)
	for whole := int64(0); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			// A last line without its end: nobody went on after it.
			if err := f.Truncate(whole); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			break
		}
		whole += int64(len(line))
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		h.events = append(h.events, e)
	}
	return h, nil
}

func (h *history) add(e event) error {
	e.At = time.Now().UnixMilli()
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, e)
	_, err = h.file.Write(append(line, '\n'))
	return err
}

// all is a copy of the events so far.
func (h *history) all() []event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]event(nil), h.events...)
}

// done notes that a part of the run is done, and what is to be remembered of it.
func (h *history) done(part string, what ...string) error {
	return h.add(event{Kind: "done", Part: part, What: what})
}

// parts are those that are done, by name.
func (h *history) parts() map[string][]string {
	list := map[string][]string{}
	for _, e := range h.all() {
		if e.Kind == "done" {
			list[e.Part] = e.What
		}
	}
	return list
}

func (h *history) count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, e := range h.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

func (h *history) close() error { return h.file.Close() }
