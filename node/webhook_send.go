package node

import (
	"context"
	"errors"
	"time"

	"eblnode/internal/webhook"

	"golang.org/x/sync/errgroup"
)

const (
	roundMost  = 64  // messages of one round to one receiver
	roundReads = 512 // events that are looked at for one round
	roundWidth = 4   // messages to one receiver at once
	// leastRounds is how often a receiver must have failed before it is disabled, however
	// long that took: with little to send, a bad day is not a dead receiver.
	leastRounds = 10
)

// RunWebhooks tells receivers of events until ctx is done. A slow or dead receiver holds up
// nothing but itself: what it has not taken stays in the list of events, and its state is
// written once a round.
func (n *Node) RunWebhooks(ctx context.Context) error {
	if n.cfg.Deliver == nil {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	group, ctx := errgroup.WithContext(ctx)
	running := map[string]bool{}
	type end struct {
		id   string
		more bool
	}
	ended := make(chan end, maxWebhooks)
	for {
		rung := n.store.news.next() // before looking, so that nothing is missed
		// One that was tried later than now was put off by another clock, which has been set back
		// since: its receiver is not to wait until that hour has come again.
		now := millis(n.cfg.Now())
		hooks, err := loadHooks(ctx, n.store.read, "state = 'active' AND (next_at <= ? OR last_at > ?)", now, now)
		if err != nil && ctx.Err() == nil {
			n.log.ErrorContext(ctx, "reading the webhooks failed", "err", err)
		}
		for _, h := range hooks {
			if running[h.ID] {
				continue
			}
			running[h.ID] = true
			group.Go(func() error {
				more, err := n.tell(ctx, h)
				if err != nil && ctx.Err() == nil {
					n.log.ErrorContext(ctx, "recording what a webhook's receiver has taken failed", "webhook", h.ID, "err", err)
					n.rest(ctx) // or it would be told the same without a pause
				}
				ended <- end{h.ID, more}
				return nil
			})
		}
		again := false
		for wait := time.After(time.Second); !again; {
			select {
			case <-ctx.Done():
				return errors.Join(group.Wait(), context.Cause(ctx))
			case <-rung:
				again = true
			case e := <-ended:
				delete(running, e.id)
				again = e.more
			case <-wait:
				again = true
			}
		}
		// What comes in a crowd is told in one round.
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A batch is what one round is about.
type batch struct {
	tasks    []webhook.Task // first those that are tried again
	retries  int            // how many of the tasks those are
	expired  []int64        // retries that are given up
	cursor   int64          // after everything that was looked at
	passed   int64          // after what comes before the first new task
	deferred []pendingEvent // new ones whose bill has one that is tried again
	dropped  []int64        // new ones that are given up
}

type pendingEvent struct{ event, bill int64 }

func (b *batch) empty(h *hook) bool {
	return len(b.tasks) == 0 && len(b.expired) == 0 && b.cursor == h.cursor
}

// tell is one round: what is due is sent, and what came of it is stored in one
// transaction. A message whose result is not stored, since we were killed, say, is sent
// again: at least once, never not at all. more says whether there may be more to send.
func (n *Node) tell(ctx context.Context, h *hook) (more bool, err error) {
	b, err := n.batch(ctx, h)
	if err != nil || b.empty(h) {
		return false, err
	}
	// As in Events: nothing is told before its journal is on the disk.
	if err := n.store.settled(ctx); err != nil {
		return false, err
	}
	results := webhook.Round(ctx, b.tasks, roundWidth, func(ctx context.Context, t webhook.Task) webhook.Answer {
		return n.cfg.Deliver(ctx, webhook.Message{URL: h.URL, Secret: h.secret, ID: t.ID, Body: t.Body, At: n.cfg.Now()})
	})
	err = n.store.update(context.WithoutCancel(ctx), func(t *tx) error { return n.settleRound(t, h, b, results) })
	if errors.Is(err, errMoved) {
		return true, nil // an operator was first; what was sent may be sent again
	}
	return err == nil, err
}

// batch reads what is due.
func (n *Node) batch(ctx context.Context, h *hook) (*batch, error) {
	b := &batch{cursor: h.cursor, passed: h.cursor}
	now := n.cfg.Now()
	busy, err := n.retries(ctx, h, b, now)
	if err != nil {
		return nil, err
	}
	rows, err := n.store.read.QueryContext(ctx, "SELECT id, uid, at, type, data, bill FROM events WHERE id > ? ORDER BY id LIMIT ?", h.cursor, roundReads)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() && len(b.tasks) < roundMost {
		var bill int64
		e, id, err := scanEvent(withColumn{rows, &bill})
		if err != nil {
			return nil, err
		}
		b.cursor = id
		switch {
		case !h.wants(e.Type):
		case n.expired(h, id, e.At, now):
			b.dropped = append(b.dropped, id)
		case busy[bill]:
			b.deferred = append(b.deferred, pendingEvent{id, bill})
		default:
			body, err := e.body()
			if err != nil {
				return nil, err
			}
			b.tasks = append(b.tasks, webhook.Task{ID: e.ID, Lane: bill, Body: body, Seq: id})
		}
		if len(b.tasks) == b.retries {
			b.passed = id
		}
	}
	return b, rows.Err()
}

// withColumn scans one more column than it is asked for.
type withColumn struct {
	row interface{ Scan(...any) error }
	to  any
}

func (w withColumn) Scan(to ...any) error { return w.row.Scan(append(to, w.to)...) }

// retries reads what is to be tried again: of each bill the oldest, if it is due. busy are
// the bills of which there is any.
func (n *Node) retries(ctx context.Context, h *hook, b *batch, now time.Time) (busy map[int64]bool, err error) {
	rows, err := n.store.read.QueryContext(ctx, `SELECT e.id, e.uid, e.at, e.type, e.data, r.bill, r.attempts, r.next_at
	  FROM webhook_retries r JOIN events e ON e.id = r.event
	  WHERE r.webhook = ? AND r.event = (SELECT min(event) FROM webhook_retries WHERE webhook = r.webhook AND bill = r.bill) ORDER BY r.next_at`, h.ID)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	busy = map[int64]bool{}
	for rows.Next() {
		var bill, next int64
		var attempts int
		e, id, err := scanEvent(withColumn{withColumn{withColumn{rows, &next}, &attempts}, &bill})
		if err != nil {
			return nil, err
		}
		busy[bill] = true
		switch {
		case next > millis(now) && !h.LastAt.After(now) || len(b.tasks) == roundMost:
		case n.expired(h, id, e.At, now):
			b.expired = append(b.expired, id)
		default:
			body, err := e.body()
			if err != nil {
				return nil, err
			}
			b.tasks = append(b.tasks, webhook.Task{ID: e.ID, Lane: bill, Body: body, Seq: id, Attempts: attempts})
		}
	}
	b.retries = len(b.tasks)
	return busy, rows.Err()
}

// expired reports whether an event is given up: for its age, which counts from a replay
// where there was one.
func (n *Node) expired(h *hook, id int64, at, now time.Time) bool {
	if id <= h.replayTo && h.replayedAt.After(at) {
		at = h.replayedAt
	}
	return now.Sub(at) > n.cfg.WebhookAge
}

// settleRound stores what came of a round.
func (n *Node) settleRound(t *tx, h *hook, b *batch, results []webhook.Result) error {
	s := summarize(results)
	// From a receiver that is down, or where we stop, nothing is taken over into the retries: it would be
	// every event there is. They wait in their list.
	cursor := b.cursor
	if s.delivered == 0 && (s.down || s.gone || s.tried == 0) {
		cursor = b.passed
	}
	dropped := len(b.expired)
	for _, id := range b.dropped {
		if id <= cursor {
			dropped++
		}
	}
	if err := n.settleHook(t, h, s, cursor, dropped); err != nil {
		return err
	}
	if h.LastAt.After(t.now) { // the clock was set back; what did not fit into this round is due too
		if err := t.exec("UPDATE webhook_retries SET next_at = ?1 WHERE webhook = ?2 AND next_at > ?1", millis(t.now), h.ID); err != nil {
			return err
		}
	}
	for _, id := range b.expired {
		if err := t.exec("DELETE FROM webhook_retries WHERE webhook = ? AND event = ?", h.ID, id); err != nil {
			return err
		}
	}
	for _, p := range b.deferred {
		if p.event > cursor {
			continue
		}
		if err := t.retry(h.ID, p.event, p.bill, 0, t.now); err != nil {
			return err
		}
	}
	for i, r := range results {
		if err := n.settleTask(t, h, r, i < b.retries, cursor); err != nil {
			return err
		}
	}
	if dropped > 0 {
		n.log.WarnContext(t.ctx, "events were given up: their receiver has not taken them in time", "webhook", h.ID, "events", dropped)
	}
	return nil
}

func (n *Node) settleTask(t *tx, h *hook, r webhook.Result, again bool, cursor int64) error {
	switch {
	case r.Tried && r.Answer.Delivered() && again:
		return t.exec("DELETE FROM webhook_retries WHERE webhook = ? AND event = ?", h.ID, r.Task.Seq)
	case r.Tried && r.Answer.Delivered() || r.Task.Seq > cursor || again && !r.Tried:
		return nil
	case !r.Tried:
		return t.retry(h.ID, r.Task.Seq, r.Task.Lane, 0, t.now)
	}
	attempts := r.Task.Attempts + 1
	return t.retry(h.ID, r.Task.Seq, r.Task.Lane, attempts, t.now.Add(max(webhook.Pause(attempts, n.cfg.WebhookRetry), r.Answer.After)))
}

// retry has an event tried again.
func (t *tx) retry(hook string, event, bill int64, attempts int, next time.Time) error {
	return t.exec("INSERT OR REPLACE INTO webhook_retries (webhook, event, bill, attempts, next_at) VALUES (?, ?, ?, ?, ?)",
		hook, event, bill, attempts, millis(next))
}

// A summary is what a round says of the receiver.
type summary struct {
	tried, delivered int
	down, gone       bool
	after            time.Duration
	answer           string // the last that was not a yes, else the last
}

func summarize(results []webhook.Result) summary {
	var s summary
	for _, r := range results {
		if !r.Tried {
			continue
		}
		s.tried++
		s.down, s.gone = s.down || r.Answer.Down(), s.gone || r.Answer.Gone()
		if r.Answer.Delivered() {
			s.delivered++
		}
		if r.Answer.Down() {
			s.after = max(s.after, r.Answer.After)
		}
		if s.answer == "" || !r.Answer.Delivered() {
			s.answer = clip(r.Answer.Text)
		}
	}
	return s
}

// settleHook stores how a receiver is. It fails with errMoved where an operator has
// changed the webhook since.
func (n *Node) settleHook(t *tx, h *hook, s summary, cursor int64, dropped int) error {
	state, why, next := "active", "", int64(0)
	failed, since := h.Failed, h.failedSince
	switch {
	case s.delivered > 0:
		failed, since.Valid = 0, false
	case s.tried > 0:
		failed++
		if !since.Valid {
			since.Int64, since.Valid = millis(t.now), true
		}
	}
	if s.down {
		next = millis(t.now.Add(max(webhook.Pause(failed, n.cfg.WebhookRetry), s.after)))
	}
	if s.gone {
		state, why = "disabled", "the receiver wants no more events: 410 Gone"
	} else if since.Valid && failed >= leastRounds && t.now.Sub(fromMillis(since.Int64)) > n.cfg.WebhookDisable {
		state, why = "disabled", "the receiver has taken nothing since "+fromMillis(since.Int64).Format(time.RFC3339)
	}
	lastAt, answer := any(nil), h.LastAnswer
	if !h.LastAt.IsZero() {
		lastAt = millis(h.LastAt)
	}
	if s.tried > 0 {
		lastAt, answer = millis(t.now), s.answer
	}
	if err := t.execOne(`UPDATE webhooks SET state = ?, reason = ?, cursor = ?, failed = ?, failing_since = ?, next_at = ?, last_at = ?, last_answer = ?,
	    delivered = delivered + ?, dropped = dropped + ? WHERE id = ? AND version = ? AND state = 'active'`,
		state, why, cursor, failed, since, next, lastAt, answer, s.delivered, dropped, h.ID, h.version); err != nil {
		return err
	}
	if state == "disabled" {
		n.log.ErrorContext(t.ctx, "a webhook is disabled; mend its receiver, then: eblnode webhook replay", "webhook", h.ID, "why", why)
	} else if s.tried > 0 && s.delivered == 0 && failed == 1 {
		n.log.WarnContext(t.ctx, "a webhook's receiver does not take events", "webhook", h.ID, "answer", s.answer)
	}
	return nil
}
