package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"eblnode/envelope"
)

// Once makes an order safe to send again: its outcome is stored with it, in one
// transaction, and the same order by the same user gets that outcome and does nothing
// more. The zero Once is an order without a key, which happens as often as it comes.
type Once struct {
	// Key names the order; 1 to MaxOrderKey printable ASCII characters.
	Key string
	// Request is the hash of everything that was asked: path and body. Another one under
	// the same key is refused with TextKeyReused.
	Request envelope.Hash

	approving *approving // the second person's yes by which the order is carried out
	back      bool       // it takes an order back, which waits for nobody
}

// MaxOrderKey is the longest Idempotency-Key, in characters.
const MaxOrderKey = 255

// OrdersKept is how long the outcome of an order is kept at least.
const OrdersKept = 30 * 24 * time.Hour

func (o Once) check() *Error {
	if len(o.Key) > MaxOrderKey {
		return refuse(Malformed, "malformed", "the Idempotency-Key has %d characters, more than %d", len(o.Key), MaxOrderKey)
	}
	for _, r := range o.Key {
		if r <= ' ' || r > '~' {
			return refuse(Malformed, "malformed", "the Idempotency-Key holds something other than printable ASCII")
		}
	}
	return nil
}

// outcome is the form of a Moved in the table orders. Its state is not kept: who asks
// again wants to know how it is now.
type outcome struct {
	Document   envelope.Hash `json:"document"`
	Transfer   string        `json:"transfer,omitempty"`
	Verdict    string        `json:"verdict,omitempty"`
	ReplacedBy envelope.Hash `json:"replacedBy"`
}

// doneBefore is what the same order did; nil if it is new. It comes before all other
// checks of an order: what it did may be the very reason why it could not be done now.
func doneBefore(ctx context.Context, q querier, user *User, o Once) (*Moved, error) {
	if o.Key == "" {
		return nil, nil
	}
	if e := o.check(); e != nil {
		return nil, e
	}
	var sum envelope.Hash
	var text string
	err := q.QueryRowContext(ctx, "SELECT request_sum, outcome FROM orders WHERE user = ? AND key = ?", user.Local, o.Key).Scan(sqlHash{&sum}, &text)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, busy(err)
	}
	if sum != o.Request {
		return nil, refuse(Conflict, TextKeyReused, "this Idempotency-Key was used for another order; use a new one for each")
	}
	var out outcome
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, busy(fmt.Errorf("reading a stored outcome: %w", err))
	}
	done := &Moved{Document: out.Document, Transfer: out.Transfer, State: Accepted, Verdict: out.Verdict, ReplacedBy: out.ReplacedBy, Repeated: true}
	if done.Transfer != "" {
		x, err := loadTransfer(ctx, q, done.Transfer)
		if err != nil || x == nil {
			return nil, busy(err)
		}
		done.State = x.state
	}
	return done, nil
}

// doneBefore is what the same order did, once the witness has it too.
func (n *Node) doneBefore(ctx context.Context, user *User, o Once) (*Moved, error) {
	done, err := doneBefore(ctx, n.store.read, user, o)
	if err == nil && done != nil {
		if err := n.store.settled(ctx); err != nil {
			return nil, busy(err)
		}
	}
	return done, err
}

// once is the transaction of an order: do, and what it did beside it.
func (n *Node) once(ctx context.Context, user *User, o Once, do func(*tx) (Moved, error)) (Moved, error) {
	var done Moved
	err := n.store.update(ctx, func(t *tx) error {
		t.act = user.Via
		// Once more: two of the same may have come at the same time.
		before, err := doneBefore(t.ctx, t, user, o)
		if err != nil {
			return err
		}
		if before != nil {
			done = *before
			return nil
		}
		if err := t.stillMay(user, o); err != nil {
			return err
		}
		if o.approving != nil {
			t.act = user.Via.approvedBy(o.approving.by)
			if err := t.begin(o.approving); err != nil {
				return err
			}
		}
		if done, err = do(t); err != nil {
			return err
		}
		if o.approving != nil {
			return t.end(o.approving, user, done)
		}
		return t.keepOrder(user, o, done)
	})
	if err != nil {
		return Moved{}, orBusy(err)
	}
	return done, nil
}

// stillMay looks again, where nothing can change any more, at who orders: an order may have waited
// for its peer for some seconds, and a token that was stolen is stopped at once or not at all.
func (t *tx) stillMay(user *User, o Once) error {
	u, err := loadUser(t.ctx, t, user.Local)
	if err != nil {
		return err
	}
	if u == nil || u.Disabled {
		return refuse(Forbidden, TextForbidden, "%s is no active user any more", user.Local)
	}
	if o.approving != nil {
		return nil // begin looks at the rest
	}
	if len(u.Approvers) > 0 && !o.back {
		return refuse(Forbidden, TextSecondPerson, "a second person must approve your orders since just now; give it again")
	}
	if acts, err := t.stillActs(user.Via, user.Local); err != nil {
		return err
	} else if !acts {
		return refuse(Forbidden, TextForbidden, "this system does not act for %s any more", user.Local)
	}
	return nil
}

func (t *tx) keepOrder(user *User, o Once, done Moved) error {
	if o.Key == "" {
		return nil
	}
	text, err := json.Marshal(outcome{done.Document, done.Transfer, done.Verdict, done.ReplacedBy})
	if err != nil {
		return err
	}
	// A few at a time, so that no order pays for a month of others.
	if err := t.exec("DELETE FROM orders WHERE (user, key) IN (SELECT user, key FROM orders WHERE at < ? LIMIT 10)",
		millis(t.now.Add(-OrdersKept))); err != nil {
		return err
	}
	return t.exec("INSERT INTO orders (user, key, request_sum, outcome, at) VALUES (?, ?, ?, ?, ?)", user.Local, o.Key, o.Request[:], string(text), millis(t.now))
}

// Cancel takes a transfer back that has not left: the bill is its user's again, and
// nothing of the transfer is ever sent. From the moment it is sending, durably before
// its first byte, only the addressee's signature ends it, and Cancel is refused with
// TextAlreadySent. Only who is in control of the bill cancels.
func (n *Node) Cancel(ctx context.Context, user *User, id string, o Once) (Moved, error) {
	if before, err := n.doneBefore(ctx, user, o); before != nil || err != nil {
		return again(before, err)
	}
	o.back = true
	done, err := n.once(ctx, user, o, func(t *tx) (Moved, error) { return n.cancelIn(t, user, id) })
	if err == nil {
		n.watchers.notify(id)
	}
	return done, err
}

// again is the answer to an order that was done before, or is refused.
func again(before *Moved, err error) (Moved, error) {
	if err != nil {
		return Moved{}, err
	}
	return *before, nil
}

func (n *Node) cancelIn(t *tx, user *User, id string) (Moved, error) {
	none := refuse(NotFound, "notFound", "there is no such transfer among those you may see")
	x, err := loadTransfer(t.ctx, t, id)
	if err != nil {
		return Moved{}, err
	}
	if x == nil {
		return Moved{}, none
	}
	b, err := loadBillByID(t.ctx, t, x.bill)
	if err != nil {
		return Moved{}, err
	}
	sees, err := n.sees(t.ctx, t, user, b)
	if err != nil {
		return Moved{}, err
	}
	switch {
	case !sees:
		return Moved{}, none
	case x.user != user.Local || !user.holds():
		return Moved{}, refuse(Forbidden, TextForbidden, "only who ordered a transfer cancels it")
	case x.state != Prepared:
		return Moved{}, refuse(Conflict, TextAlreadySent, "this transfer is %s; it can be cancelled only while nothing of it has left", x.state)
	}
	if err := t.execOne("UPDATE transfers SET state = 'cancelled', settled_by = 'cancel', settled_at = ? WHERE seq = ? AND state = 'prepared'", millis(t.now), x.seq); err != nil {
		return Moved{}, err
	}
	b.control = Held
	if err := t.saveBill(b, n.Domain()); err != nil {
		return Moved{}, err
	}
	if err := t.witnessSettled(b, x, settledData{State: Cancelled, By: "cancel"}, ""); err != nil {
		return Moved{}, err
	}
	t.event(TransferCancelled, b.id, x.id, EventDetail{})
	if err := t.audit(user.Local, "transfer.cancel", b.state.Document, x.hash.String()+" to "+x.peer.String()); err != nil {
		return Moved{}, err
	}
	return Moved{Document: b.state.Document, Transfer: x.id, State: Cancelled}, nil
}
