// Package demo is the demonstration behind "eblnode demo": three platforms on this
// machine, one bill that moves between them, and attackers who fail.
//
// The platforms are processes of the real program. The demonstration talks to their
// ports, as users, peers and attackers do; it shares no memory and no database with them.
package demo

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

//go:embed document.json
var document []byte

// Options say how to run the demonstration. Binary and Out are required.
type Options struct {
	Binary string // the eblnode program
	Dir    string // for the data folders; "" makes a temporary one
	// Bundles is a folder for the evidence bundles, and a trust file beside them; "" writes none.
	Bundles string
	Keep    bool // leave the nodes up until the context is done
	JSON    bool // print one JSON object at the end
	Colour  bool
	Out     io.Writer
	Now     func() time.Time
}

// A stage is one step or attack, and how it ended.
type stage struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"` // step, attack or check
	OK      bool     `json:"ok"`
	Millis  int64    `json:"milliseconds"`
	Notes   []string `json:"notes"`
	Problem string   `json:"problem,omitempty"`
}

type run struct {
	Options
	net     *network
	stages  []*stage
	current *stage

	hash    string // the bill of the journey
	second  string // the bill that is attacked
	blocks  map[string][]byte
	receipt string // the bank's first receipt
	thief   *thief // in the carrier's place, for the bank
}

// Run runs the demonstration. ok is false if a step or an attack did not end as it must;
// err says that it could not be carried out.
func Run(ctx context.Context, o Options) (ok bool, err error) {
	if o.Dir == "" {
		if o.Dir, err = os.MkdirTemp("", "eblnode-demo-"); err != nil {
			return false, err
		}
		defer func() { _ = os.RemoveAll(o.Dir) }()
	} else if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return false, err
	}
	r := &run{Options: o, blocks: map[string][]byte{}}
	started := o.Now()
	r.title("eblnode demo: three platforms, one bill of lading")
	ok = r.stage("step", "start three platforms and their DNS server", func() error {
		r.net, err = startNetwork(ctx, o.Binary, o.Dir)
		if err != nil {
			return err
		}
		for _, p := range r.net.all() {
			r.note("%-18s process %d, peers on %s, users on %s, own keys and database", p.domain, p.cmd.Process.Pid, p.peer, p.local)
		}
		r.note("DNS server on %s, their only resolver", r.net.dns.Addr())
		return nil
	})
	if r.net != nil {
		defer r.net.stop()
	}
	defer func() {
		if r.thief != nil {
			r.thief.close()
		}
	}()
	ok = ok && r.journey(ctx) && r.attacks(ctx) && r.offline(ctx)
	took := o.Now().Sub(started)
	if err := r.summary(ok, took); err != nil {
		return ok, err
	}
	if o.Keep && r.net != nil {
		r.keep(ctx)
	}
	return ok, nil
}

// stage runs one step or attack and prints it.
func (r *run) stage(kind, name string, f func() error) bool {
	s := &stage{Name: name, Kind: kind}
	r.current = s
	r.stages = append(r.stages, s)
	started := r.Now()
	err := f()
	s.Millis = r.Now().Sub(started).Milliseconds()
	s.OK = err == nil
	if err != nil {
		s.Problem = err.Error()
	}
	r.show(s)
	return s.OK
}

// note adds a line to the stage.
func (r *run) note(format string, args ...any) {
	r.current.Notes = append(r.current.Notes, fmt.Sprintf(format, args...))
}

func (r *run) title(s string) {
	if !r.JSON {
		fmt.Fprintf(r.Out, "%s\n", r.paint("1", s))
	}
}

func (r *run) show(s *stage) {
	if r.JSON {
		return
	}
	mark := r.paint("32", "ok  ")
	if !s.OK {
		mark = r.paint("31", "FAIL")
	}
	fmt.Fprintf(r.Out, "%s %-70s %6d ms\n", mark, s.Name, s.Millis)
	for _, n := range s.Notes {
		fmt.Fprintf(r.Out, "       %s\n", n)
	}
	if s.Problem != "" {
		fmt.Fprintf(r.Out, "       %s\n", r.paint("31", s.Problem))
	}
}

func (r *run) paint(code, s string) string {
	if !r.Colour {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (r *run) summary(ok bool, took time.Duration) error {
	if r.JSON {
		enc := json.NewEncoder(r.Out)
		enc.SetIndent("", "  ")
		return enc.Encode(map[string]any{"ok": ok, "milliseconds": took.Milliseconds(), "stages": r.stages})
	}
	steps, attacks := 0, 0
	for _, s := range r.stages {
		switch {
		case s.Kind == "attack" && s.OK:
			attacks++
		case s.OK:
			steps++
		}
	}
	verdict := r.paint("32", fmt.Sprintf("%d steps done, %d attacks failed as they must", steps, attacks))
	if !ok {
		verdict = r.paint("31", "not everything ended as it must")
	}
	fmt.Fprintf(r.Out, "%s, in %.1f s\n", verdict, took.Seconds())
	return nil
}

// keep prints how to go on by hand, and waits.
func (r *run) keep(ctx context.Context) {
	w := r.Out
	if r.JSON {
		w = os.Stderr
	}
	fmt.Fprintf(w, "\nThe nodes stay up until Ctrl-C. Data folders are in %s\n", r.Dir)
	for _, p := range r.net.all() {
		fmt.Fprintf(w, "\n%s  peers https://%s  users http://%s  metrics (with an auditor's token) http://%s/metrics\n", p.domain, p.peer, p.local, p.local)
		for _, u := range p.users {
			fmt.Fprintf(w, "  %-12s %-8s token %s\n", u.local, u.role, p.tokens[u.local])
		}
	}
	c := r.net.carrier
	fmt.Fprintf(w, `
curl -s -H 'Authorization: Bearer %s' http://%s/api/v1/ebls
curl -s -H 'Authorization: Bearer %s' http://%s/api/v1/ebls/%s
curl -s -H 'Authorization: Bearer %s' http://%s/api/v1/ebls/%s/chain > block.json
curl -s -X POST -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '{"to":"lc-desk@bank.example"}' http://%s/api/v1/ebls/%s/transfer
`, c.tokens["auditor"], c.local, c.tokens["auditor"], c.local, r.hash, c.tokens["auditor"], c.local, r.hash, c.tokens["shipper"], c.local, r.second)
	<-ctx.Done()
}

// short cuts a long text for a line.
func short(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) <= n {
		return s
	}
	return s[:n] + "…"
}

var errUnexpected = errors.New("not as it must be")

func unexpected(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errUnexpected, fmt.Sprintf(format, args...))
}
