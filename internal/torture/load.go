package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/envelope"
)

// A load is users who move bills between the nodes, whatever happens to these, and who
// remember what they were told.
type load struct {
	o      *options
	f      *fleet
	h      *history
	counts *counter
	target int64

	done   atomic.Int64 // transfers between nodes that a caller was told are accepted
	flying atomic.Int64 // orders under way
	serial atomic.Int64
	busy   atomic.Bool // the nemesis is not done yet

	mu    sync.Mutex
	doubt []time.Duration // how long it took to learn what became of an order
}

// A cargo is one bill, as its users know it.
type cargo struct {
	document string // hash
	issuing  *node
	at       *node
	user     string
	pending  bool // returned, and waiting for its issuer
	gone     bool
}

// workers is how many users act at once; each has a user of its own on each node, so
// that none meets the rate limit.
const workers = 40

// problem keeps what must not be in the history, so that a run that is stopped and goes on
// knows of it too.
func (l *load) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if err := l.h.add(event{Kind: "wrong", What: []string{text}}); err != nil {
		l.o.say("%s (and it cannot be written down: %s)", text, err)
	}
}

// run moves bills until the target is reached.
func (l *load) run(ctx context.Context, known []*cargo, bills int) error {
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for w := range workers {
		var mine []*cargo
		for i := w; i < max(bills, len(known)); i += workers {
			if i < len(known) {
				mine = append(mine, known[i])
			} else {
				mine = append(mine, nil)
			}
		}
		wg.Go(func() { errs[w] = l.worker(ctx, w, mine) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *load) worker(ctx context.Context, w int, mine []*cargo) error {
	rng := l.o.random(fmt.Sprintf("worker %d", w))
	user := fmt.Sprintf("u%d", w)
	for turn := 0; (l.done.Load() < l.target || l.busy.Load()) && len(mine) > 0; turn++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		i := turn % len(mine)
		if mine[i] == nil || mine[i].gone {
			c, err := l.issue(ctx, rng, user)
			if err != nil {
				return err
			}
			mine[i] = c
			continue
		}
		if err := l.hop(ctx, rng, mine[i], user); err != nil {
			return err
		}
	}
	return nil
}

// document is a small transport document that nobody else has.
func (l *load) document(n *node) (text []byte, hash string) {
	text = fmt.Appendf(nil, `{"carrierCode":"TRTR","isToOrder":true,"placeOfIssue":{"UNLocationCode":"BRSSZ","locationName":"Santos"},"transportDocumentReference":"%s-%d-%d","vesselName":"M/V Ærø"}`,
		n.domain, l.serial.Add(1), time.Now().UnixNano())
	return text, envelope.HashOf(text).String() // it is in RFC 8785 form
}

type rawDocument []byte

func (d rawDocument) MarshalJSON() ([]byte, error) { return d, nil }

// issue issues a bill; half of them to another platform.
func (l *load) issue(ctx context.Context, rng *rand.Rand, user string) (*cargo, error) {
	n := l.f.nodes[rng.IntN(len(l.f.nodes))]
	to := n
	if rng.IntN(2) == 0 {
		to = l.f.nodes[rng.IntN(len(l.f.nodes))]
	}
	text, hash := l.document(n)
	c := &cargo{document: hash, issuing: n, at: n, user: user}
	if to != n {
		c.user = "issuer"
	}
	body := map[string]any{"document": rawDocument(text), "to": user + "@" + to.domain}
	for {
		var out operation
		err := l.order(ctx, n, "issuer", "/api/v1/ebls?wait=5", body, &out)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err == nil {
			l.counts.add("orders: issue")
			if err := l.h.add(event{Kind: "issued", Document: hash, From: n.domain, How: "answer"}); err != nil {
				return nil, err
			}
			return c, l.learn(ctx, c, n, to, user, out.Transfer)
		}
		if r, ok := errors.AsType[*refusal](err); ok && r.text != "alreadyIssued" && r.text != "rejected" {
			l.counts.add("refused: " + r.text)
			sleep(ctx, 200*time.Millisecond)
			continue
		}
		// Nobody knows. The bill has a name, so ask for it.
		there, err := l.ask(ctx, n, "issuer", hash)
		if err != nil {
			return nil, err
		}
		if there != nil {
			if err := l.h.add(event{Kind: "issued", Document: hash, From: n.domain, How: "doubt"}); err != nil {
				return nil, err
			}
			return c, l.locate(ctx, c, n, "issuer", to, user)
		}
	}
}

// order gives an order and counts it as under way.
func (l *load) order(ctx context.Context, n *node, user, path string, in, out any) error {
	l.flying.Add(1)
	defer l.flying.Add(-1)
	return n.as(ctx, user, http.MethodPost, path, in, out)
}

// ask reads a bill until a node answers; nil where it does not know the bill.
func (l *load) ask(ctx context.Context, n *node, user, document string) (*billView, error) {
	for {
		b := &billView{}
		err := n.as(ctx, user, http.MethodGet, "/api/v1/ebls/"+document, nil, b)
		if err == nil {
			return b, nil
		}
		if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusNotFound {
			return nil, nil
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}

// sleep waits; false where the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// returns are the orders by which a bill goes back to its issuer.
var returns = []string{"surrender", "amend", "switch-to-paper"}

// hop moves a bill once.
func (l *load) hop(ctx context.Context, rng *rand.Rand, c *cargo, user string) error {
	from, sender := c.at, c.user
	to, receiver := l.f.nodes[rng.IntN(len(l.f.nodes))], user
	if to == from && rng.IntN(8) > 0 {
		to = l.f.nodes[(slices.Index(l.f.nodes, from)+1)%len(l.f.nodes)]
	}
	verb, body := "transfer", map[string]any{}
	switch draw := rng.IntN(100); {
	case c.pending && draw < 50:
		return l.honour(ctx, c)
	case c.pending:
		verb, to, receiver = "decline", nil, ""
	case draw < 5 && sender != "issuer":
		verb, to, receiver = returns[rng.IntN(len(returns))], c.issuing, "issuer"
		body["to"] = receiver + "@" + to.domain
	default:
		if to == from && sender == receiver {
			receiver = l.f.nodes[0].users[rng.IntN(len(from.users))]
			if sender == receiver {
				return nil
			}
		}
		body["to"] = receiver + "@" + to.domain
	}
	var out operation
	start := time.Now()
	err := l.order(ctx, from, sender, "/api/v1/ebls/"+c.document+"/"+verb+"?wait=5", body, &out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if r, ok := errors.AsType[*refusal](err); ok && r.text != "rejected" && r.text != "disputed" && r.status != http.StatusConflict && r.status < 500 {
		l.counts.add("refused: " + r.text) // such as: the peer cannot be reached
		sleep(ctx, 150*time.Millisecond)
		return nil
	}
	l.counts.add("orders: " + verb)
	if err == nil && out.Transfer == nil && out.Bill.Possessor != "" { // a step inside the platform
		if err := l.h.add(event{Kind: "step", Document: c.document, From: from.domain, To: out.Bill.Possessor, How: "answer"}); err != nil {
			return err
		}
	}
	if err == nil && (out.Transfer == nil || out.Transfer.State == "accepted") && verb != "decline" {
		return l.learn(ctx, c, from, to, receiver, out.Transfer)
	}
	if err != nil {
		l.counts.add("orders without an answer")
	}
	if err := l.locate(ctx, c, from, sender, to, receiver); err != nil {
		return err
	}
	l.mu.Lock()
	l.doubt = append(l.doubt, time.Since(start))
	l.mu.Unlock()
	if took := time.Since(start); l.o.verbose && took > 10*time.Second {
		l.o.say("bill %.8s: %s on %s was in doubt for %.1f s; it is at %s@%s", c.document, verb, from.domain, took.Seconds(), c.user, c.at.domain)
	}
	return nil
}

// learn is what a caller knows when its order was answered as done.
func (l *load) learn(ctx context.Context, c *cargo, from, to *node, receiver string, x *transferView) error {
	if x != nil && x.State != "accepted" {
		return l.locate(ctx, c, from, c.user, to, receiver)
	}
	if x != nil {
		if err := l.accepted(c, from, x, "answer"); err != nil {
			return err
		}
	}
	c.at, c.user = to, receiver
	c.pending = receiver == "issuer"
	return nil
}

// accepted remembers that a caller was told of an accepted transfer.
func (l *load) accepted(c *cargo, from *node, x *transferView, how string) error {
	l.done.Add(1)
	return l.h.add(event{Kind: "accepted", Document: c.document, From: from.domain, To: x.Peer, Transfer: x.ID, Envelope: x.Envelope, Verdict: x.Verdict, How: how})
}

// locate finds out where a bill is after an order of which nobody knows what came: only
// what the nodes say counts, and they are asked until they say it.
func (l *load) locate(ctx context.Context, c *cargo, from *node, sender string, to *node, receiver string) error {
	l.flying.Add(1)
	defer l.flying.Add(-1)
	for ; ; sleep(ctx, 120*time.Millisecond) {
		b, err := l.ask(ctx, from, sender, c.document)
		if err != nil {
			return err
		}
		if b == nil {
			l.problem("bill %s: %s, which had it, does not know it any more", c.document, from.domain)
			c.gone = true
			return nil
		}
		switch b.Control {
		case "held":
			local, _, _ := strings.Cut(b.Possessor, "@")
			if x := b.Transfer; x != nil && x.State == "rejected" {
				l.counts.add("transfers rejected, bill back with its sender")
			}
			c.at, c.user, c.pending = from, local, b.Status != "active"
			return nil
		case "void":
			c.gone = true
			return nil
		case "disputed":
			l.problem("bill %s is disputed on %s, though nobody signed twice: %s", c.document, from.domain, b.Reason)
			c.gone = true
			return nil
		case "away":
			if x := b.Transfer; x != nil && x.State == "accepted" {
				if err := l.accepted(c, from, x, "doubt"); err != nil {
					return err
				}
			}
			return l.arrived(ctx, c, from, b, to, receiver)
		}
	}
}

// arrived waits until the node says so to which a bill went.
func (l *load) arrived(ctx context.Context, c *cargo, from *node, b *billView, to *node, receiver string) error {
	local, domain, _ := strings.Cut(b.Possessor, "@")
	if to == nil || to.domain != domain || receiver != local {
		to, receiver = l.f.find(domain), local
	}
	if to == nil {
		l.problem("bill %s is at %q by what %s says", c.document, b.Possessor, from.domain)
		c.gone = true
		return nil
	}
	there, err := l.ask(ctx, to, receiver, c.document)
	if err != nil {
		return err
	}
	if there == nil || there.Control != "held" {
		l.problem("bill %s: %s says that %s has it, and that one says %+v", c.document, from.domain, to.domain, there)
	}
	c.at, c.user = to, receiver
	c.pending = b.Status != "active"
	return nil
}

// honour says yes to a return; the bill is void, and an amended one has a successor.
func (l *load) honour(ctx context.Context, c *cargo) error {
	b, err := l.ask(ctx, c.at, c.user, c.document)
	if err != nil || b == nil {
		return err
	}
	var body = map[string]any{}
	var text []byte
	var hash string
	if b.Status == "amendmentPending" {
		text, hash = l.document(c.issuing)
		body["replacement"] = rawDocument(text)
	}
	var out operation
	how := "answer"
	if err := l.order(ctx, c.at, c.user, "/api/v1/ebls/"+c.document+"/honour?wait=5", body, &out); err != nil {
		how = "doubt"
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if b, err = l.ask(ctx, c.at, c.user, c.document); err != nil || b == nil {
		return err
	}
	if b.Control != "void" {
		return nil // it did not happen; another turn will
	}
	l.counts.add("orders: honour")
	c.gone = true
	err = l.h.add(event{Kind: "void", Document: c.document, From: c.at.domain, How: how})
	if err == nil && hash != "" {
		err = l.h.add(event{Kind: "issued", Document: hash, From: c.at.domain, How: how})
	}
	return err
}

// quantile is the q-th part of the times, in milliseconds.
func quantile(ds []time.Duration, q float64) int64 {
	if len(ds) == 0 {
		return 0
	}
	ds = slices.Clone(ds)
	slices.Sort(ds)
	return ds[min(len(ds)-1, int(q*float64(len(ds))))].Milliseconds()
}
