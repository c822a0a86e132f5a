package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"eblnode/envelope"
)

// who is a person by name and node, such as u0@a.
func (r *restore) who(s string) (*node, string) {
	local, letter, _ := strings.Cut(s, "@")
	return r.f.nodes[letter[0]-'a'], local
}

func (r *restore) address(s string) string {
	n, local := r.who(s)
	return local + "@" + n.domain
}

// document is one that nobody else has; two of one reference differ in their text.
func document(reference, text string) []byte {
	return fmt.Appendf(nil, `{"carrierCode":"TRTR","isToOrder":true,"remarks":%q,"transportDocumentReference":%q}`, text, reference)
}

// issueOn lets the issuer of a node issue b to u0 there.
func (r *restore) issueOn(ctx context.Context, b *fated, n *node) error {
	r.serial++
	b.reference, b.issuing = fmt.Sprintf("restore-%d", r.serial), n
	b.text = document(b.reference, "first")
	b.document = envelope.HashOf(b.text).String()
	r.seen = append(r.seen, event{Kind: "issued", Document: b.document})
	var out operation
	return n.as(ctx, "issuer", http.MethodPost, "/api/v1/ebls", map[string]any{"document": rawDocument(b.text), "to": "u0@" + n.domain}, &out)
}

func issue(at string) act {
	return func(ctx context.Context, r *restore, b *fated) error { return r.issueOn(ctx, b, r.f.nodes[at[0]-'a']) }
}

// order gives an order and remembers the transfer; out is what its caller was told.
func (r *restore) order(ctx context.Context, b *fated, by, verb string, wait int, body map[string]any) (*transferView, error) {
	n, user := r.who(by)
	var out operation
	path := fmt.Sprintf("/api/v1/ebls/%s/%s?wait=%d", b.document, verb, wait)
	if err := n.as(ctx, user, http.MethodPost, path, body, &out); err != nil {
		return nil, fmt.Errorf("%s by %s: %w", verb, by, err)
	}
	t := out.Transfer
	if t != nil && n == r.a {
		b.transfers = append(b.transfers, t.ID)
	}
	return t, nil
}

// done is order for one that has to succeed at once.
func (r *restore) done(ctx context.Context, b *fated, by, verb string, body map[string]any) error {
	t, err := r.order(ctx, b, by, verb, 20, body)
	if err != nil || t == nil {
		return err
	}
	if t.State != "accepted" {
		return fmt.Errorf("%s by %s: %s", verb, by, t.State)
	}
	n, _ := r.who(by)
	r.seen = append(r.seen, event{Kind: "accepted", Document: b.document, From: n.domain, To: t.Peer, Transfer: t.ID, Envelope: t.Envelope, Verdict: t.Verdict})
	return nil
}

func give(from, to string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		return r.done(ctx, b, from, "transfer", map[string]any{"to": r.address(to)})
	}
}

// back returns a bill to its issuer.
func back(verb, from string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		body := map[string]any{}
		if n, _ := r.who(from); n != b.issuing {
			body["to"] = "issuer@" + b.issuing.domain
		}
		return r.done(ctx, b, from, verb, body)
	}
}

// says is the carrier's word on a return. Where node a has to learn it, it has.
func says(verb, by string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		n, user := r.who(by)
		var v billView
		if err := n.as(ctx, user, http.MethodGet, "/api/v1/ebls/"+b.document, nil, &v); err != nil {
			return err
		}
		body := map[string]any{}
		if verb == "honour" && v.Status == "amendmentPending" {
			text := document(b.reference, "amended")
			body["replacement"] = rawDocument(text)
			r.seen = append(r.seen, event{Kind: "issued", Document: envelope.HashOf(text).String()})
		}
		if err := r.done(ctx, b, by, verb, body); err != nil || verb == "decline" {
			return err
		}
		return r.until(ctx, b, "it is void", func(v *billView) bool { return v.Control == "void" })
	}
}

// until waits for what node a says of a bill.
func (r *restore) until(ctx context.Context, b *fated, what string, is func(*billView) bool) error {
	var last billView
	if !await(ctx, settleTime, func() bool {
		v, err := r.a.bill(ctx, b.document)
		if err == nil && v != nil {
			last = *v
		}
		return err == nil && v != nil && is(v) || !sleep(ctx, 5*time.Millisecond)
	}) {
		return fmt.Errorf("waiting that %s: it is %s, %s %+v", what, last.Control, last.Reason, last.Transfer)
	}
	return nil
}

func transferIs(state string) func(*billView) bool {
	return func(v *billView) bool { return v.Transfer != nil && v.Transfer.State == state }
}

// refused is a transfer that its addressee rejects, since there is no such user.
func refused(from, to string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		_, err := r.order(ctx, b, from, "transfer", 20, map[string]any{"to": r.address(to)})
		if e, ok := errors.AsType[*refusal](err); !ok || e.text != "rejected" {
			return fmt.Errorf("a transfer from %s to %s is to be rejected: %w", from, to, err)
		}
		return nil
	}
}

// doubt is a transfer to c, where an impostor says nothing that counts.
func doubt(to string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		if _, err := r.order(ctx, b, "u0@a", "transfer", 0, map[string]any{"to": r.address(to)}); err != nil {
			return err
		}
		return r.until(ctx, b, "it was sent", transferIs("sending"))
	}
}

func deliver(ctx context.Context, r *restore, b *fated) error {
	return r.impostor.deliver(ctx, r.f, b.transfers[len(b.transfers)-1])
}

func dispute(ctx context.Context, r *restore, b *fated) error {
	r.impostor.treat(b.document, disputes)
	return r.until(ctx, b, "it is disputed", transferIs("disputed"))
}

// arrives lets c answer for itself, and rejects does where it says no.
func arrives(ctx context.Context, r *restore, b *fated) error {
	r.impostor.treat(b.document, passes)
	if err := r.until(ctx, b, "it is accepted", transferIs("accepted")); err != nil {
		return err
	}
	v, err := r.a.bill(ctx, b.document)
	if err != nil {
		return err
	}
	t := v.Transfer
	r.seen = append(r.seen, event{Kind: "accepted", Document: b.document, From: r.a.domain, To: t.Peer, Transfer: t.ID, Envelope: t.Envelope, Verdict: t.Verdict})
	return nil
}

func rejects(ctx context.Context, r *restore, b *fated) error {
	r.impostor.treat(b.document, passes)
	return r.until(ctx, b, "it is rejected", transferIs("rejected"))
}

// prepare seals a transfer to c and keeps it from being sent, at the crash point before
// that: the first attempt stands there until the points are released.
func prepare(ctx context.Context, r *restore, b *fated) error { return prepareTo("u0@c")(ctx, r, b) }

func prepareTo(to string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		hit, armed := filepath.Join(r.points, "hit-s1"), filepath.Join(r.points, "armed-s1")
		_, _ = os.Remove(hit), os.Remove(filepath.Join(r.points, "go-s1"))
		if err := os.WriteFile(armed, nil, 0o600); err != nil {
			return err
		}
		t, err := r.order(ctx, b, "u0@a", "transfer", 0, map[string]any{"to": r.address(to)})
		if err != nil {
			return err
		}
		if !await(ctx, settleTime, func() bool { _, err := os.Stat(hit); return err == nil }) || t.State != "prepared" {
			return fmt.Errorf("no transfer is held before it is sent: it is %s", t.State)
		}
		return nil
	}
}

func cancel(ctx context.Context, r *restore, b *fated) error {
	var out map[string]any
	return r.a.as(ctx, "u0", http.MethodPost, "/api/v1/transfers/"+b.transfers[len(b.transfers)-1]+"/cancel", map[string]any{}, &out)
}

// sent lets everything that is prepared go on, and waits until this one is on its way.
func sent(ctx context.Context, r *restore, b *fated) error {
	if err := r.release(); err != nil {
		return err
	}
	return r.until(ctx, b, "it was sent", transferIs("sending"))
}

// release lets those go on that are held at the point before they are sent.
func (r *restore) release() error {
	return os.WriteFile(filepath.Join(r.points, "go-s1"), nil, 0o600)
}

// resolve settles the newest transfer of a bill by two operators.
func resolve(outcome string) act {
	return func(ctx context.Context, r *restore, b *fated) error {
		id := b.transfers[len(b.transfers)-1]
		if err := r.decide(ctx, id, outcome, false); err != nil {
			return err
		}
		return r.decide(ctx, id, outcome, true)
	}
}

// decide is one operator's part.
func (r *restore) decide(ctx context.Context, transfer, outcome string, confirm bool) error {
	letter := []byte("the letter of " + r.c.domain + " about " + transfer)
	user, body := "one", map[string]any{"outcome": outcome, "reason": "they wrote", "evidence": letter}
	if confirm {
		sum := sha256.Sum256(letter)
		user, body = "two", map[string]any{"outcome": outcome, "confirm": true, "evidenceSha256": hex.EncodeToString(sum[:])}
	}
	// Nothing is freed while an attempt is under way: the operator asks again.
	for try := 0; ; try++ {
		var out map[string]any
		err := r.a.as(ctx, user, http.MethodPost, "/api/v1/transfers/"+transfer+"/resolve", body, &out)
		refused, ok := errors.AsType[*refusal](err)
		if !ok || refused.text != "unavailable" || try == 900 || !sleep(ctx, 100*time.Millisecond) {
			return err
		}
	}
}
