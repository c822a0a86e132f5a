package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

// attack tries to move every bill, as whoever held it at any time, to everybody, to take
// back what left, and to have operators say that it never did; while the node is alone,
// and again when it can reach its peers. Only who holds the bill may succeed.
func (r *restore) attack(ctx context.Context) error {
	if err := r.spend(ctx, "alone", r.a); err != nil {
		return err
	}
	for _, n := range r.f.nodes {
		n.proxy.dead.Store(false)
	}
	return r.spend(ctx, "connected", r.c, r.d)
}

// A try is one way to spend a bill that its user has no longer.
type try struct {
	user, verb, path string
	body             map[string]any
}

// tries lists the ways for a bill.
func (r *restore) tries(b *fated, targets []*node) []try {
	var list []try
	for _, user := range []string{"u0", "u1", "issuer"} {
		if user == b.holder() {
			continue // may do with it as it likes
		}
		on := "/api/v1/ebls/" + b.document + "/"
		for _, to := range targets {
			body := map[string]any{"to": "u1@" + to.domain}
			if user == "u1" {
				body["to"] = "u0@" + to.domain
			}
			list = append(list, try{user, "transfer", on + "transfer?wait=1", body})
		}
		for _, verb := range append([]string{"honour", "decline"}, returns...) {
			body := map[string]any{}
			if verb != "honour" && verb != "decline" && b.issuing != r.a {
				body["to"] = "issuer@" + b.issuing.domain
			}
			list = append(list, try{user, verb, on + verb + "?wait=1", body})
		}
		for _, id := range b.transfers {
			list = append(list, try{user, "cancel", "/api/v1/transfers/" + id + "/cancel", map[string]any{}})
		}
	}
	if b.issuing == r.a {
		again := map[string]any{"document": rawDocument(b.text), "to": "u1@" + r.a.domain}
		list = append(list, try{"issuer", "issue again", "/api/v1/ebls?wait=1", again})
		if b.want != "void" {
			other := map[string]any{"document": rawDocument(document(b.reference, "second")), "to": "u1@" + r.a.domain}
			list = append(list, try{"issuer", "issue of its reference", "/api/v1/ebls?wait=1", other})
		}
	}
	return list
}

// spend tries them all.
func (r *restore) spend(ctx context.Context, when string, targets ...*node) error {
	for _, b := range r.bills {
		for _, t := range r.tries(b, targets) {
			if err := r.attempt(ctx, when, b, t); err != nil {
				return err
			}
		}
		if err := r.unsay(ctx, when, b); err != nil {
			return err
		}
	}
	return nil
}

// attempt is one of them. A transfer that was begun and then rejected was begun.
func (r *restore) attempt(ctx context.Context, when string, b *fated, t try) error {
	b.tries++
	var out operation
	err := r.a.as(ctx, t.user, http.MethodPost, t.path, t.body, &out)
	refused, ok := errors.AsType[*refusal](err)
	for ok && refused.status == http.StatusTooManyRequests && sleep(ctx, 20*time.Millisecond) {
		err = r.a.as(ctx, t.user, http.MethodPost, t.path, t.body, &out)
		refused, ok = errors.AsType[*refusal](err)
	}
	switch {
	case err == nil || ok && (refused.text == "rejected" || refused.text == "disputed"):
		r.wrong(b, "was moved by %s, who did not hold it: %s succeeded after the restore (%s): DOUBLED", t.user, t.verb, when)
	case ok:
		r.counts.add(fmt.Sprintf("%s, %s: %d %s", when, t.verb, refused.status, refused.text))
	default:
		return err
	}
	return nil
}

// unsay lets two operators say of every transfer that had an end before the loss that the
// bill never left. It has an end, so they cannot.
func (r *restore) unsay(ctx context.Context, when string, b *fated) error {
	for _, id := range b.ended {
		b.tries++
		err := r.decide(ctx, id, "held", false)
		if err == nil {
			err = r.decide(ctx, id, "held", true)
		}
		refused, ok := errors.AsType[*refusal](err)
		switch {
		case err == nil:
			r.wrong(b, "was freed by operators after its transfer had an end (%s): DOUBLED", when)
		case ok:
			r.counts.add(fmt.Sprintf("%s, resolve what has an end: %d %s", when, refused.status, refused.text))
		default:
			return err
		}
	}
	return nil
}

// remember keeps what node a has answered its peers, and which of its transfers had an end,
// before its database is lost.
func (r *restore) remember(ctx context.Context) error {
	for _, b := range r.bills {
		for _, id := range b.transfers {
			var v transferView
			if err := r.a.as(ctx, "auditor", http.MethodGet, "/api/v1/transfers/"+id, nil, &v); err != nil {
				return err
			}
			if v.State != "prepared" && v.State != "sending" && v.State != "disputed" {
				b.ended = append(b.ended, id)
			}
		}
	}
	for _, from := range []*node{r.b, r.c, r.d} {
		list, err := r.f.readLetters(ctx, from, "t.peer = ? AND t.state IN ('accepted', 'rejected') AND t.verdict IS NOT NULL ORDER BY t.seq", r.a.domain)
		if err != nil {
			return err
		}
		r.letters = append(r.letters, list...)
	}
	return nil
}

// replay puts again what a had accepted or rejected, before the backup and since. Whom a
// rejected bill was for is a user by now: it stays rejected all the same.
func (r *restore) replay(ctx context.Context) error {
	if err := r.a.add(ctx, "nobody", "holder"); err != nil {
		return err
	}
	address, _ := r.a.proxy.to.Load().(string)
	for _, x := range r.letters {
		client, err := peerClient(x.from, r.a)
		if err != nil {
			return err
		}
		var status int
		var text []byte
		got := ""
		await(ctx, settleTime, func() bool {
			if status, text, err = putBlock(ctx, client, address, x.body); err != nil {
				return false
			}
			got = rejectionIn(text)
			if status == http.StatusOK {
				got = string(text)
			}
			return got != ""
		})
		client.CloseIdleConnections()
		if got != x.verdict {
			r.s.wrong("what %s had sent before the restore was %s; put again, it is answered with %d %.200s, %v: CHANGED", x.from.domain, x.state, status, text, err)
			continue
		}
		r.counts.add("sent to the node before, put again: the same answer, " + x.state)
	}
	for _, state := range []string{"accepted", "rejected"} {
		if r.counts.of("sent to the node before, put again: the same answer, "+state) == 0 {
			r.s.wrong("nothing that was %s was put again", state)
		}
	}
	return nil
}

// recover waits until every bill is where it was before the loss.
func (r *restore) recover(ctx context.Context) error {
	start := time.Now()
	for _, b := range r.bills {
		var got *billView
		ok := await(ctx, settleTime, func() bool {
			var err error
			if got, err = r.a.bill(ctx, b.document); err != nil {
				sleep(ctx, 50*time.Millisecond)
				return false
			}
			if got == nil {
				return b.want == "unknown"
			}
			if b.holder() != "" {
				return got.Control == "held" && got.Possessor == b.holder()+"@"+r.a.domain
			}
			return got.Control == b.want
		})
		if !ok {
			r.wrong(b, "is not %s %s after the restore: %+v", b.want, settleTime, got)
		}
	}
	r.s.Figures["secondsToRecover"] = float64(time.Since(start).Milliseconds()) / 1000
	// And whoever holds one may go on with it.
	for _, b := range r.bills {
		var err error
		switch b.holder() {
		case "":
		case "issuer":
			err = says("honour", "issuer@a")(ctx, r, b)
		default:
			err = give(b.holder()+"@a", "u0@d")(ctx, r, b)
		}
		if err != nil {
			r.wrong(b, "cannot go on after the restore: %s", err)
		}
	}
	return nil
}

// audit lets the auditor and every node's fsck look, and shows what befell each fate.
func (r *restore) audit(ctx context.Context) error {
	if err := r.f.stop(); err != nil {
		return err
	}
	report, err := r.f.audit(ctx, r.seen)
	if err != nil {
		return err
	}
	r.s.take(report)
	shown := map[string]map[string]any{}
	for _, b := range r.bills {
		for _, w := range report.Findings {
			if strings.Contains(w, b.document) {
				b.wrong++
			}
		}
		x := shown[b.name()]
		if x == nil {
			x = map[string]any{"bills": 0, "triesToSpendItTwice": 0, "findings": 0, "found": b.want}
			shown[b.name()] = x
		}
		for name, n := range map[string]int{"bills": 1, "triesToSpendItTwice": b.tries, "findings": b.wrong} {
			x[name] = x[name].(int) + n
		}
		if b.wrong > 0 {
			x["found"] = "WRONG"
		}
	}
	r.s.Figures["bills"], r.s.Figures["fates"] = len(r.bills), shown
	return nil
}

// rewound is the control of this mode: a platform that puts its witness back together
// with its database can sign bills away again. The auditor must see it.
func (r *restore) rewound(ctx context.Context) error {
	if err := r.rewind(); err != nil {
		return err
	}
	if err := r.again(ctx); err != nil {
		return err
	}
	for _, b := range r.bills {
		if b.name() != "held; then sent away" {
			continue
		}
		var out operation
		if err := r.a.as(ctx, "u0", http.MethodPost, "/api/v1/ebls/"+b.document+"/transfer?wait=10", map[string]string{"to": "u0@" + r.d.domain}, &out); err == nil {
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

// rewind puts the witness of the time of the backup in the place of the newest one.
func (r *restore) rewind() error {
	text, err := os.ReadFile(r.backup + ".witness")
	if err != nil {
		return err
	}
	return os.WriteFile(r.witness(), text, 0o600)
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
			err := r.a.as(ctx, user, http.MethodPost, "/api/v1/ebls/"+b.document+"/transfer?wait=1", map[string]string{"to": "u0@" + r.d.domain}, &out)
			if refused, ok := errors.AsType[*refusal](err); ok {
				r.counts.add(fmt.Sprintf("without the witness: %d %s", refused.status, refused.text))
				continue
			}
			if err != nil {
				return err
			}
			r.s.wrong("without the witness %s moved a bill (%s): DOUBLED", user, b.name())
		}
	}
	return nil
}
