package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"eblnode/envelope"
)

// runRestore makes a backup of a node under load, goes on, loses the database, restores
// the backup beside the newest witness, and then tries every way to spend a bill twice
// with it: bills that left since, that came back, that were honoured, that moved to
// another user. Peers put again what the node had accepted since and must get the same
// receipts. In the end everything that was acknowledged must be there.
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
	o.say("building; folder %s", dir)
	program, err := o.build(ctx, dir, "eblnode", "./cmd/eblnode")
	if err != nil {
		return nil, err
	}
	if help, err := exec.CommandContext(ctx, program, "--help").Output(); err != nil || !strings.Contains(string(help), "\n  restore ") {
		return &summary{Skipped: "this program has no command backup"}, nil
	}
	f, err := newFleet(ctx, o, fleetSpec{nodes: 3, users: 2, proxies: true, program: program, dir: dir, retryMax: "200ms"})
	if err != nil {
		return nil, err
	}
	defer f.close()
	r := &restore{o: o, f: f, a: f.nodes[0], b: f.nodes[1], c: f.nodes[2], backup: filepath.Join(dir, "backup.db"),
		s: &summary{Figures: map[string]any{}}, counts: newCounter()}
	for _, step := range []func(context.Context) error{r.before, r.after, r.swap, r.attack, r.replay, r.recover, r.audit, r.rewound, r.frozen} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	counts := map[string]int{}
	r.counts.into(counts)
	r.s.Figures["attempts"] = counts
	return r.s, nil
}

// restoreEach is how many bills there are of each fate.
const restoreEach = 8

// fates are what happens to bills between the backup and the loss.
var fates = []string{"sent away", "sent away and back", "received", "received and endorsed", "endorsed", "returned and void", "issued", "untouched"}

// A fated bill, and what its caller was told.
type fated struct {
	fate     string
	document string
	holder   string // local id of who may move it after all that, on node a; "" if nobody there may
	former   string // who held it on a before
}

type restore struct {
	o       *options
	f       *fleet
	a, b, c *node
	backup  string
	bills   []*fated
	seen    []event
	serial  int
	s       *summary
	counts  *counter
}

// order gives an order that has to succeed, and remembers what its caller was told.
func (r *restore) order(ctx context.Context, n *node, user, document, verb string, body map[string]any) error {
	var out operation
	if err := n.as(ctx, user, http.MethodPost, "/api/v1/ebls/"+document+"/"+verb+"?wait=10", body, &out); err != nil {
		return fmt.Errorf("%s of %.8s by %s@%s: %w", verb, document, user, n.domain, err)
	}
	if t := out.Transfer; t != nil {
		if t.State != "accepted" {
			return fmt.Errorf("%s of %.8s by %s@%s: %s", verb, document, user, n.domain, t.State)
		}
		r.seen = append(r.seen, event{Kind: "accepted", Document: document, From: n.domain, To: t.Peer, Transfer: t.ID, Envelope: t.Envelope, Verdict: t.Verdict})
	}
	return nil
}

func (r *restore) give(ctx context.Context, from *node, user, document string, to *node, receiver string) error {
	return r.order(ctx, from, user, document, "transfer", map[string]any{"to": receiver + "@" + to.domain})
}

func (r *restore) issue(ctx context.Context, n *node) (string, error) {
	r.serial++
	text := fmt.Appendf(nil, `{"carrierCode":"TRTR","isToOrder":true,"transportDocumentReference":"restore-%d"}`, r.serial)
	hash := envelope.HashOf(text).String()
	var out operation
	err := n.as(ctx, "issuer", http.MethodPost, "/api/v1/ebls", map[string]any{"document": rawDocument(text), "to": "u0@" + n.domain}, &out)
	r.seen = append(r.seen, event{Kind: "issued", Document: hash})
	return hash, err
}

// before issues what is there at the time of the backup, and makes it.
func (r *restore) before(ctx context.Context) error {
	for _, fate := range fates {
		for range restoreEach {
			at := r.a
			switch fate {
			case "received", "received and endorsed":
				at = r.b
			case "issued":
				continue
			}
			hash, err := r.issue(ctx, at)
			if err != nil {
				return err
			}
			r.bills = append(r.bills, &fated{fate: fate, document: hash, holder: "u0", former: "u0"})
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

// after is what happens between the backup and the loss.
func (r *restore) after(ctx context.Context) error {
	for range restoreEach {
		hash, err := r.issue(ctx, r.a)
		if err != nil {
			return err
		}
		r.bills = append(r.bills, &fated{fate: "issued", document: hash, holder: "u0", former: "u0"})
	}
	for _, b := range r.bills {
		if err := r.befall(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (r *restore) befall(ctx context.Context, b *fated) error {
	switch b.fate {
	case "sent away":
		b.holder = ""
		return r.give(ctx, r.a, "u0", b.document, r.b, "u0")
	case "sent away and back":
		b.holder = "u1"
		if err := r.give(ctx, r.a, "u0", b.document, r.b, "u0"); err != nil {
			return err
		}
		return r.give(ctx, r.b, "u0", b.document, r.a, "u1")
	case "received":
		return r.give(ctx, r.b, "u0", b.document, r.a, "u0")
	case "received and endorsed":
		b.holder = "u1"
		if err := r.give(ctx, r.b, "u0", b.document, r.a, "u0"); err != nil {
			return err
		}
		return r.give(ctx, r.a, "u0", b.document, r.a, "u1")
	case "endorsed":
		b.holder = "u1"
		return r.give(ctx, r.a, "u0", b.document, r.a, "u1")
	case "returned and void":
		b.holder = ""
		if err := r.order(ctx, r.a, "u0", b.document, "surrender", map[string]any{}); err != nil {
			return err
		}
		return r.order(ctx, r.a, "issuer", b.document, "honour", map[string]any{})
	}
	return nil
}

// swap kills the node, and brings it back with the old database and nobody to talk to.
func (r *restore) swap(ctx context.Context) error {
	r.o.say("%d bills; restoring", len(r.bills))
	r.a.kill()
	for _, n := range r.f.nodes {
		n.proxy.dead.Store(true)
		n.proxy.cutAll()
	}
	if _, err := r.a.command(ctx, "restore", r.backup); err != nil {
		return err
	}
	return r.f.serve(ctx, r.a)
}

// attack tries to move every bill, as whoever held it at any time, to everybody, while the
// node is alone, and again when it can reach its peers. Only who holds the bill may
// succeed, and that only once.
func (r *restore) attack(ctx context.Context) error {
	if err := r.spend(ctx, "alone", r.a); err != nil {
		return err
	}
	for _, n := range r.f.nodes {
		n.proxy.dead.Store(false)
	}
	return r.spend(ctx, "connected", r.c, r.b)
}

func (r *restore) spend(ctx context.Context, when string, targets ...*node) error {
	for _, b := range r.bills {
		for _, to := range targets {
			for _, user := range []string{"u0", "u1", "issuer"} {
				if user == b.holder {
					continue // may do with it as it likes
				}
				for _, verb := range []string{"transfer", "surrender", "honour"} {
					body := map[string]any{}
					if verb == "transfer" {
						body["to"] = "u1@" + to.domain
						if user == "u1" {
							body["to"] = "u0@" + to.domain
						}
					}
					var out operation
					path := "/api/v1/ebls/" + b.document + "/" + verb + "?wait=1"
					err := r.a.as(ctx, user, http.MethodPost, path, body, &out)
					refused, ok := errors.AsType[*refusal](err)
					for ok && refused.status == http.StatusTooManyRequests && sleep(ctx, 50*time.Millisecond) {
						err = r.a.as(ctx, user, http.MethodPost, path, body, &out)
						refused, ok = errors.AsType[*refusal](err)
					}
					switch {
					case err == nil:
						r.s.wrong("%s: %s moved a bill that it did not hold (%s) by %s after the restore: DOUBLED", when, user, b.fate, verb)
					case ok:
						r.counts.add(fmt.Sprintf("%s, %s: %d %s", when, b.fate, refused.status, refused.text))
					default:
						return err
					}
				}
			}
		}
	}
	return nil
}

// replay puts again what a had accepted from b since the backup.
func (r *restore) replay(ctx context.Context) error {
	client, err := peerClient(r.b, r.a)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	address, _ := r.a.proxy.to.Load().(string)
	for _, e := range r.seen {
		if e.Kind != "accepted" || e.From != r.b.domain || e.To != r.a.domain {
			continue
		}
		body, err := r.letter(ctx, e)
		if err != nil {
			return err
		}
		var status int
		var text []byte
		await(ctx, 10*time.Second, func() bool {
			status, text, err = putBlock(ctx, client, address, body)
			return err == nil && status == http.StatusOK
		})
		if status != http.StatusOK || string(text) != e.Verdict {
			r.s.wrong("what was received before the restore, put again, is answered with %d %.200s, %v and not with the receipt: CHANGED", status, text, err)
			continue
		}
		r.counts.add("received before, put again: the same receipt")
	}
	return nil
}

// letter is the request by which b sent a bill.
func (r *restore) letter(ctx context.Context, e event) ([]byte, error) {
	var body []byte
	local, _ := r.b.local.Load().(string)
	err := call(ctx, users, http.MethodGet, "http://"+local+"/api/v1/ebls/"+e.Document+"/chain", r.b.tokens["auditor"], nil, (*rawText)(&body))
	if err != nil {
		return nil, err
	}
	block, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		return nil, err
	}
	for i := range block.Entries {
		if h := block.Entries[i].Hash(); h.String() == e.Envelope {
			block.Entries = block.Entries[:i+1]
			return block.Marshal(false), nil
		}
	}
	return nil, fmt.Errorf("%s has no entry %s", r.b.domain, e.Envelope)
}

// rawText keeps an answer as it is.
type rawText []byte

func (t *rawText) UnmarshalJSON(b []byte) error { *t = append((*t)[:0], b...); return nil }

// recover waits until every bill is where it was before the loss.
func (r *restore) recover(ctx context.Context) error {
	start := time.Now()
	for _, b := range r.bills {
		var got billView
		ok := await(ctx, settleTime, func() bool {
			err := r.a.as(ctx, "auditor", http.MethodGet, "/api/v1/ebls/"+b.document, nil, &got)
			if err != nil {
				sleep(ctx, 50*time.Millisecond)
				return false
			}
			switch {
			case b.fate == "returned and void":
				return got.Control == "void"
			case b.holder == "":
				return got.Control == "away"
			}
			return got.Control == "held" && got.Possessor == b.holder+"@"+r.a.domain
		})
		if !ok {
			r.s.wrong("a bill (%s) is %s with %q, %s after the restore: %s", b.fate, got.Control, got.Possessor, settleTime, got.Reason)
		}
	}
	r.s.Figures["secondsToRecover"] = float64(time.Since(start).Milliseconds()) / 1000
	// And whoever holds one may go on with it.
	for _, b := range r.bills {
		if b.holder != "" {
			if err := r.give(ctx, r.a, b.holder, b.document, r.c, "u0"); err != nil {
				r.s.wrong("after the restore: %s", err)
			}
		}
	}
	return nil
}

func (r *restore) audit(ctx context.Context) error {
	if err := r.f.stop(); err != nil {
		return err
	}
	report, err := r.f.audit(ctx, r.seen)
	if err != nil {
		return err
	}
	r.s.take(report)
	r.s.Figures["bills"] = len(r.bills)
	return nil
}

// rewound is the control of this mode: a platform that puts its witness back together
// with its database can sign bills away again. The auditor must see it.
func (r *restore) rewound(ctx context.Context) error {
	text, err := os.ReadFile(r.backup + ".witness")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.witness(), text, 0o600); err != nil {
		return err
	}
	if err := r.again(ctx); err != nil {
		return err
	}
	for _, b := range r.bills {
		if b.fate != "sent away" {
			continue
		}
		var out operation
		if err := r.a.as(ctx, "u0", http.MethodPost, "/api/v1/ebls/"+b.document+"/transfer?wait=10", map[string]string{"to": "u0@" + r.c.domain}, &out); err == nil {
			r.counts.add("control, witness rewound too: a bill signed away again")
		}
	}
	if err := r.f.stop(); err != nil {
		return err
	}
	report, err := r.f.audit(ctx, r.seen)
	if err != nil {
		return err
	}
	doubled := 0
	for _, w := range report.Findings {
		if strings.HasSuffix(w, "DOUBLED") {
			doubled++
		}
	}
	r.s.Figures["controlDoubledFound"] = doubled
	if doubled == 0 {
		r.s.wrong("the control, with the witness rewound too, found no doubled bill: this mode would notice nothing")
	}
	return nil
}

// again puts the backup back and starts all nodes.
func (r *restore) again(ctx context.Context) error {
	if _, err := r.a.command(ctx, "restore", r.backup); err != nil {
		return err
	}
	for _, n := range r.f.nodes {
		if err := r.f.serve(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// frozen is the other control: the backup without the witness.
func (r *restore) frozen(ctx context.Context) error {
	if err := errors.Join(r.f.stop(), os.Remove(r.witness())); err != nil {
		return err
	}
	if err := r.again(ctx); err != nil {
		return err
	}
	for _, b := range r.bills {
		for _, user := range []string{"u0", "u1"} {
			var out operation
			err := r.a.as(ctx, user, http.MethodPost, "/api/v1/ebls/"+b.document+"/transfer?wait=1", map[string]string{"to": "u0@" + r.c.domain}, &out)
			if refused, ok := errors.AsType[*refusal](err); ok {
				r.counts.add(fmt.Sprintf("without the witness: %d %s", refused.status, refused.text))
				continue
			}
			if err != nil {
				return err
			}
			r.s.wrong("without the witness %s moved a bill (%s): DOUBLED", user, b.fate)
		}
	}
	return nil
}
