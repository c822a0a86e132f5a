package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/internal/webhook"
)

// eventTypes are those that a webhook may be limited to.
var eventTypes = []EventType{BillIssued, BillReceived, BillMoved, BillVoid, BillForked, BillChanged,
	TransferPrepared, TransferSending, TransferAccepted, TransferRejected, TransferDisputed, TransferCancelled}

// maxWebhooks bounds what one event can set off.
const maxWebhooks = 32

// A Webhook is a back end that is told of every event over HTTP, as an operator set it up.
type Webhook struct {
	ID     string
	URL    string // its query may be the receiver's secret
	Types  []EventType
	Active bool
	Reason string // why it is disabled
	// Pending counts what its receiver has still to take, Oldest is the oldest of that.
	Pending int
	Oldest  time.Time
	Cursor  string // all events up to here were sent, given up, or are being tried again
	// Delivered and Dropped count since it was added; dropped is what was given up for age.
	Delivered, Dropped int64
	// Failed counts the rounds in a row without a delivery, since FailingSince.
	Failed       int
	FailingSince time.Time
	LastAt       time.Time
	LastAnswer   string
	NextAt       time.Time // no attempt before: the receiver is down
	CreatedAt    time.Time
}

// A hook is a row of the table webhooks.
type hook struct {
	Webhook
	secret      webhook.Secret
	cursor      int64
	replayTo    int64
	replayedAt  time.Time
	failedSince sql.NullInt64
	version     int64
}

// wants reports whether the receiver is told of events of this type.
func (h *hook) wants(t EventType) bool { return len(h.Types) == 0 || slices.Contains(h.Types, t) }

const hookColumns = `id, url, types, secret, state, reason, cursor, replay_to, replayed_at, failed, failing_since, next_at,
  last_at, last_answer, delivered, dropped, created_at, version`

func loadHooks(ctx context.Context, q querier, where string, args ...any) ([]*hook, error) {
	rows, err := q.QueryContext(ctx, "SELECT "+hookColumns+" FROM webhooks WHERE "+where+" ORDER BY created_at, id", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*hook
	for rows.Next() {
		h := &hook{}
		var types, secret, state string
		var replayedAt, nextAt, created int64
		var lastAt sql.NullInt64
		if err := rows.Scan(&h.ID, &h.URL, &types, &secret, &state, &h.Reason, &h.cursor, &h.replayTo, &replayedAt, &h.Failed, &h.failedSince,
			&nextAt, &lastAt, &h.LastAnswer, &h.Delivered, &h.Dropped, &created, &h.version); err != nil {
			return nil, err
		}
		if h.secret, err = webhook.ParseSecret(secret); err != nil {
			return nil, fmt.Errorf("webhook %s: %w", h.ID, err)
		}
		for _, t := range strings.Fields(types) {
			h.Types = append(h.Types, EventType(t))
		}
		h.Active, h.replayedAt, h.CreatedAt = state == "active", fromMillis(replayedAt), fromMillis(created)
		if h.failedSince.Valid {
			h.FailingSince = fromMillis(h.failedSince.Int64)
		}
		if lastAt.Valid {
			h.LastAt = fromMillis(lastAt.Int64)
		}
		if nextAt > 0 {
			h.NextAt = fromMillis(nextAt)
		}
		list = append(list, h)
	}
	return list, rows.Err()
}

func loadHook(ctx context.Context, q querier, id string) (*hook, error) {
	list, err := loadHooks(ctx, q, "id = ?", id)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, refuse(NotFound, "notFound", "there is no webhook %s", clip(id))
	}
	return list[0], nil
}

// AddWebhook has a receiver told of all events from now on, or of those of some types. secret
// is "whsec_" and base64, as the receiver has it; "" makes one. It is returned for the
// receiver, and shown by nothing else. Errors are Malformed.
func (n *Node) AddWebhook(ctx context.Context, actor, address, secret string, types []EventType) (w *Webhook, made string, err error) {
	if err := webhook.CheckURL(address); err != nil {
		return nil, "", refuse(Malformed, "malformed", "%s", err)
	}
	key := webhook.NewSecret()
	if secret != "" {
		if key, err = webhook.ParseSecret(secret); err != nil {
			return nil, "", refuse(Malformed, "malformed", "%s", err)
		}
	}
	var names []string
	for _, t := range types {
		if !slices.Contains(eventTypes, t) {
			return nil, "", refuse(Malformed, "malformed", "there is no event type %q", clip(string(t)))
		}
		if !slices.Contains(names, string(t)) {
			names = append(names, string(t))
		}
	}
	id := newID()[:12]
	err = n.store.update(ctx, func(t *tx) error {
		var count int
		if err := t.QueryRowContext(t.ctx, "SELECT count(*) FROM webhooks").Scan(&count); err != nil {
			return err
		}
		if count >= maxWebhooks {
			return refuse(Conflict, "conflict", "there are %d webhooks, and no more than that", count)
		}
		if err := t.exec(`INSERT INTO webhooks (id, url, types, secret, state, cursor, created_at)
		  VALUES (?, ?, ?, ?, 'active', (SELECT coalesce(max(id), 0) FROM events), ?)`,
			id, address, strings.Join(names, " "), key.Reveal(), millis(t.now)); err != nil {
			return err
		}
		return t.audit(actor, "webhook.add", envelope.Hash{}, id+" to "+hostOf(address))
	})
	if err != nil {
		return nil, "", orBusy(err)
	}
	w, err = n.Webhook(ctx, id)
	return w, key.Reveal(), err
}

// hostOf is what of a URL may stand in a log.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}

// Webhook shows one; NotFound where there is none.
func (n *Node) Webhook(ctx context.Context, id string) (*Webhook, error) {
	h, err := loadHook(ctx, n.store.read, id)
	if err == nil {
		err = n.count(ctx, h)
	}
	if err != nil {
		return nil, orBusy(err)
	}
	return &h.Webhook, nil
}

// Webhooks lists them, the oldest first.
func (n *Node) Webhooks(ctx context.Context) ([]Webhook, error) {
	hooks, err := loadHooks(ctx, n.store.read, "1 = 1")
	if err != nil {
		return nil, busy(err)
	}
	list := []Webhook{}
	for _, h := range hooks {
		if err := n.count(ctx, h); err != nil {
			return nil, busy(err)
		}
		list = append(list, h.Webhook)
	}
	return list, nil
}

// count fills in what waits.
func (n *Node) count(ctx context.Context, h *hook) error {
	query, args := `SELECT count(*), min(at) FROM events WHERE (id > ? OR id IN (SELECT event FROM webhook_retries WHERE webhook = ?))`, []any{h.cursor, h.ID}
	if len(h.Types) > 0 {
		query += " AND type IN (?" + strings.Repeat(", ?", len(h.Types)-1) + ")"
		for _, t := range h.Types {
			args = append(args, string(t))
		}
	}
	var oldest sql64
	if err := n.store.read.QueryRowContext(ctx, query, args...).Scan(&h.Pending, &oldest); err != nil {
		return err
	}
	if oldest > 0 {
		h.Oldest = fromMillis(int64(oldest))
	}
	var name string
	err := n.store.read.QueryRowContext(ctx, "SELECT uid FROM events WHERE id = ?", h.cursor).Scan(&name)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	h.Cursor = cursorOf(h.cursor, name)
	return err
}

// RemoveWebhook ends it. What its receiver has not taken it will not get.
func (n *Node) RemoveWebhook(ctx context.Context, actor, id string) error {
	err := n.store.update(ctx, func(t *tx) error {
		h, err := loadHook(t.ctx, t, id)
		if err != nil {
			return err
		}
		if err := t.exec("DELETE FROM webhook_retries WHERE webhook = ?", id); err != nil {
			return err
		}
		if err := t.execOne("DELETE FROM webhooks WHERE id = ?", id); err != nil {
			return err
		}
		return t.audit(actor, "webhook.remove", envelope.Hash{}, id+" to "+hostOf(h.URL))
	})
	if err != nil {
		return orBusy(err)
	}
	return nil
}

// ReplayWebhook sends again every event after the cursor from ("0": from the first one), or,
// where from is empty, goes on where it stopped. It takes up a disabled webhook again. The
// age after which an event is given up counts from now.
func (n *Node) ReplayWebhook(ctx context.Context, actor, id, from string) (*Webhook, error) {
	after := int64(-1)
	if from != "" {
		var err error
		if after, err = n.position(ctx, from); err != nil {
			return nil, err
		}
	}
	err := n.store.update(ctx, func(t *tx) error {
		h, err := loadHook(t.ctx, t, id)
		if err != nil {
			return err
		}
		// Events after the cursor are read from the list: tried again beside that, they
		// would come twice at once.
		if after < 0 || after > h.cursor {
			after = h.cursor
		}
		if err := t.exec("DELETE FROM webhook_retries WHERE webhook = ? AND event > ?", id, after); err != nil {
			return err
		}
		if err := t.exec("UPDATE webhook_retries SET next_at = ? WHERE webhook = ?", millis(t.now), id); err != nil {
			return err
		}
		if err := t.execOne(`UPDATE webhooks SET state = 'active', reason = '', cursor = ?, replay_to = (SELECT coalesce(max(id), 0) FROM events), replayed_at = ?,
		    failed = 0, failing_since = NULL, next_at = 0, version = version + 1 WHERE id = ?`, after, millis(t.now), id); err != nil {
			return err
		}
		return t.audit(actor, "webhook.replay", envelope.Hash{}, fmt.Sprintf("%s from event %d", id, after))
	})
	if err != nil {
		return nil, orBusy(err)
	}
	n.store.news.ring()
	return n.Webhook(ctx, id)
}

// TestWebhook sends one event of the type webhook.test, now and once, whatever the
// webhook's state.
func (n *Node) TestWebhook(ctx context.Context, id string) (delivered bool, answer string, err error) {
	h, err := loadHook(ctx, n.store.read, id)
	if err != nil {
		return false, "", orBusy(err)
	}
	if n.cfg.Deliver == nil {
		return false, "", refuse(Unavailable, TextUnavailable, "this node sends no webhooks")
	}
	e := Event{ID: newID(), Cursor: startOfEvents, Type: "webhook.test", At: n.cfg.Now(), Data: []byte("{}")}
	body, err := e.body()
	if err != nil {
		return false, "", err
	}
	a := n.cfg.Deliver(ctx, webhook.Message{URL: h.URL, Secret: h.secret, ID: e.ID, Body: body, At: e.At})
	return a.Delivered(), clip(a.Text), nil
}

// body is the event as it is sent: the same bytes at each attempt.
func (e Event) body() ([]byte, error) {
	return json.Marshal(struct {
		ID     string          `json:"id"`
		Cursor string          `json:"cursor"`
		Type   EventType       `json:"type"`
		At     string          `json:"timestamp"`
		Data   json.RawMessage `json:"data"`
	}{e.ID, e.Cursor, e.Type, e.At.UTC().Format("2006-01-02T15:04:05.000Z"), e.Data})
}
