package node_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/internal/ebltest"
	"eblnode/internal/webhook"
	"eblnode/node"
)

// A told is one message that a receiver took or refused.
type told struct {
	ID     string          `json:"id"`
	Cursor string          `json:"cursor"`
	Type   node.EventType  `json:"type"`
	At     string          `json:"timestamp"`
	Data   json.RawMessage `json:"data"`
	body   string
}

// A receiver is a back end on loopback. It refuses what is not signed with its secret.
type receiver struct {
	*httptest.Server
	secret string
	answer func(told) int // nil: 200

	mu     sync.Mutex
	taken  []told
	forged int
}

func newReceiver(t testing.TB, answer func(told) int) *receiver {
	t.Helper()
	r := &receiver{secret: webhook.NewSecret().Reveal(), answer: answer}
	key, err := webhook.ParseSecret(r.secret)
	if err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		var v told
		if err == nil {
			err = webhook.Verify(key, req.Header, body, time.Now())
		}
		if err == nil {
			err = json.Unmarshal(body, &v)
		}
		if err == nil && v.ID != req.Header.Get(webhook.HeaderID) {
			err = errors.New("the body has another id than the header")
		}
		if err != nil {
			r.mu.Lock()
			r.forged++
			r.mu.Unlock()
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		v.body = string(body)
		status := http.StatusOK
		if r.answer != nil {
			status = r.answer(v)
		}
		if status == http.StatusOK {
			r.mu.Lock()
			r.taken = append(r.taken, v)
			r.mu.Unlock()
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) all() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.taken)
}

// distinct are the ids taken, each once, in the order of the first time.
func (r *receiver) distinct() []string {
	var ids []string
	for _, v := range r.all() {
		if !slices.Contains(ids, v.ID) {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// telling is a platform that sends webhooks, with short pauses, until the test ends.
func telling(t *testing.T, change func(*node.Config)) *ebltest.Platform {
	t.Helper()
	// So long that only a receiver that hangs for ever meets it: what is given up is told again.
	sender := webhook.NewSender(webhook.Config{Timeout: 10 * ebltest.Patience})
	t.Cleanup(sender.Close)
	p := ebltest.New(t).Platform("carrier.example", ebltest.Configure(func(c *node.Config) {
		c.Deliver, c.WebhookRetry = sender.Send, 50*time.Millisecond
		if change != nil {
			change(c)
		}
	}))
	return p
}

// counted is deliver that counts those of its messages for which that is so. The receiver could
// not: a request that a stop has cut off may come to it at any later time.
func counted(deliver func(context.Context, webhook.Message) webhook.Answer, count *atomic.Int64, of func(webhook.Message) bool) func(context.Context, webhook.Message) webhook.Answer {
	return func(ctx context.Context, m webhook.Message) webhook.Answer {
		if of(m) {
			count.Add(1)
		}
		return deliver(ctx, m)
	}
}

// tell sends p's webhooks until the returned function is called.
func tell(t testing.TB, p *ebltest.Platform) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n := p.Node()
	go func() {
		defer close(done)
		_ = n.RunWebhooks(ctx) // ends by ctx
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return stop
}

func hooked(t testing.TB, p *ebltest.Platform, r *receiver, types ...node.EventType) string {
	t.Helper()
	w, _, err := p.Node().AddWebhook(t.Context(), "test", r.URL+"/events?key=hunter2", r.secret, types)
	if err != nil {
		t.Fatal(err)
	}
	return w.ID
}

func hookOf(t testing.TB, p *ebltest.Platform, id string) *node.Webhook {
	t.Helper()
	w, err := p.Node().Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// everyEvent are the ids of all events at p, in their order.
func everyEvent(t testing.TB, p *ebltest.Platform) []string {
	t.Helper()
	page, err := p.Node().Events(t.Context(), everybody, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	return ids
}

// wantAll waits until the receiver has every event, and checks the order of each bill's.
func wantAll(t testing.TB, p *ebltest.Platform, r *receiver) {
	t.Helper()
	want := everyEvent(t, p)
	sorted := func(ids []string) []string { ids = slices.Clone(ids); slices.Sort(ids); return ids }
	end := time.Now().Add(ebltest.Patience)
	for !slices.Equal(sorted(r.distinct()), sorted(want)) {
		if time.Now().After(end) {
			t.Fatalf("the receiver has %d of %d events", len(r.distinct()), len(want))
		}
		time.Sleep(10 * time.Millisecond)
	}
	bills := map[string][]int{}
	for _, id := range r.distinct() {
		i := slices.IndexFunc(r.all(), func(v told) bool { return v.ID == id })
		var d node.EventData
		if err := json.Unmarshal(r.all()[i].Data, &d); err != nil {
			t.Fatal(err)
		}
		bills[d.Document] = append(bills[d.Document], slices.Index(want, id))
	}
	for bill, places := range bills {
		if !slices.IsSorted(places) {
			t.Errorf("bill %s: its events came in the order %v", bill[:8], places)
		}
	}
	if r.forged != 0 {
		t.Errorf("%d messages were not signed as they must be", r.forged)
	}
}

// move makes n bills, and moves each twice: three events a bill.
func move(t testing.TB, p *ebltest.Platform, n int) (bills []envelope.Hash) {
	t.Helper()
	alice, bob := p.User("alice"), p.User("bob")
	for range n {
		doc := p.Issue(alice.ID)
		p.Move(alice, doc, envelope.Transfer, bob.ID)
		p.Move(bob, doc, envelope.Transfer, alice.ID)
		bills = append(bills, doc)
	}
	return bills
}

func TestWebhookTellsEveryEvent(t *testing.T) {
	p := telling(t, nil)
	r, late := newReceiver(t, nil), newReceiver(t, nil)
	tell(t, p)
	id := hooked(t, p, r)
	move(t, p, 5)
	wantAll(t, p, r)
	if got, want := len(r.all()), 15; got != want {
		t.Errorf("the receiver was told %d times, want %d", got, want)
	}
	lateID := hooked(t, p, late)
	within(t, func() bool { w := hookOf(t, p, id); return w.Pending == 0 && w.Delivered == 15 })
	w := hookOf(t, p, id)
	page, err := p.Node().Events(t.Context(), everybody, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	if !w.Active || w.Dropped != 0 || w.LastAnswer != "200 OK" || w.Cursor != page.Next {
		t.Errorf("got %+v, want it active, at %s, with nothing dropped", w, page.Next)
	}
	for i, e := range page.Events[:3] {
		at := slices.IndexFunc(r.all(), func(v told) bool { return v.ID == e.ID })
		v := r.all()[at]
		if v.Cursor != e.Cursor || v.Type != e.Type || string(v.Data) != string(e.Data) || v.At != e.At.Format("2006-01-02T15:04:05.000Z") {
			t.Errorf("event %d: told %s, want that of the list, %+v", i, v.body, e)
		}
	}
	if w := hookOf(t, p, lateID); w.Pending != 0 || len(late.all()) != 0 {
		t.Errorf("a webhook added later: got %d pending, %d told, want none of what was before", w.Pending, len(late.all()))
	}
}

func TestWebhookOfSomeTypes(t *testing.T) {
	p := telling(t, nil)
	r := newReceiver(t, nil)
	tell(t, p)
	id := hooked(t, p, r, node.BillIssued, node.BillVoid, node.BillIssued)
	move(t, p, 3)
	within(t, func() bool { return hookOf(t, p, id).Delivered == 3 })
	for _, v := range r.all() {
		if v.Type != node.BillIssued {
			t.Errorf("told %s, want bill.issued alone", v.Type)
		}
	}
}

// Whatever happens between the telling and the writing of it, no event is lost.
func TestStoppedNodeLosesNoEvent(t *testing.T) {
	p := telling(t, nil)
	var asked1 atomic.Int64
	var gate atomic.Pointer[chan struct{}]
	r := newReceiver(t, func(told) int { asked1.Add(1); <-*gate.Load(); time.Sleep(2 * time.Millisecond); return 200 })
	hooked(t, p, r)
	for i := range 4 {
		closed := make(chan struct{})
		gate.Store(&closed)
		before := asked1.Load()
		stop := tell(t, p)
		move(t, p, 3)
		within(t, func() bool { return asked1.Load() > before }) // a round is under way
		var fails atomic.Int64
		node.SetBeforeCommit(t, p.Node(), func() (bool, error) {
			fails.Add(1)
			return i%2 == 0, errors.New("test: the disk is full")
		})
		close(closed)
		within(t, func() bool { return fails.Load() > 0 })
		time.Sleep(time.Duration(i) * 20 * time.Millisecond)
		stop()
		node.SetBeforeCommit(t, p.Node(), nil)
		p.Restart()
	}
	move(t, p, 1)
	tell(t, p)
	wantAll(t, p, r)
	checkNode(t, p)
}

// One bill whose event the receiver cannot take holds up itself and no other.
func TestEventThatIsNotTakenHoldsUpItsBillAlone(t *testing.T) {
	p := telling(t, nil)
	var poison atomic.Pointer[string]
	var heal atomic.Bool
	r := newReceiver(t, func(v told) int {
		if id := poison.Load(); id != nil && *id == v.ID && !heal.Load() {
			return 500
		}
		return 200
	})
	id := hooked(t, p, r)
	move(t, p, 4)
	first := everyEvent(t, p)[0]
	poison.Store(&first)
	tell(t, p)
	within(t, func() bool { return len(r.distinct()) == 9 }) // 12 less the 3 of that bill
	move(t, p, 1)
	within(t, func() bool { return len(r.distinct()) == 12 })
	within(t, func() bool { w := hookOf(t, p, id); return w.Pending == 3 && w.Active }) // the bill's
	heal.Store(true)
	wantAll(t, p, r)
	within(t, func() bool { return hookOf(t, p, id).Pending == 0 })
}

// A receiver that is down costs a row and no more, and gets everything when it is back.
func TestDeadReceiverGetsAllWhenItIsBack(t *testing.T) {
	p := telling(t, nil)
	var up atomic.Bool
	var asked atomic.Int64
	r := newReceiver(t, func(told) int {
		asked.Add(1)
		if up.Load() {
			return 200
		}
		return 503
	})
	id := hooked(t, p, r)
	tell(t, p)
	move(t, p, 30)
	within(t, func() bool { return hookOf(t, p, id).Failed > 2 })
	asks := asked.Load()
	w := hookOf(t, p, id)
	if w.Pending != 90 || w.FailingSince.IsZero() || w.LastAnswer != "503 Service Unavailable" {
		t.Errorf("got %+v, want 90 pending and why", w)
	}
	db := snapshot(t, p)
	if got := len(queryRows(t, db, "SELECT event FROM webhook_retries")); got != 0 {
		t.Errorf("%d events were copied for a receiver that is down, want none", got)
	}
	release(t, db)
	if asks > int64(20*w.Failed+20) {
		t.Errorf("it was asked %d times in %d rounds", asks, w.Failed)
	}
	up.Store(true)
	wantAll(t, p, r)
	within(t, func() bool { w := hookOf(t, p, id); return w.Pending == 0 && w.Failed == 0 && w.FailingSince.IsZero() })
}

// TestWebhookAfterTheClockWasSetBack: what was put off while the clock was two hours ahead is
// told when it is right again, not two hours later.
func TestWebhookAfterTheClockWasSetBack(t *testing.T) {
	for name, status := range map[string]int{"a receiver that was down": 503, "events that it did not take": 500} {
		t.Run(name, func(t *testing.T) {
			p := telling(t, nil)
			var up atomic.Bool
			r := newReceiver(t, func(told) int {
				if up.Load() {
					return 200
				}
				return status
			})
			id := hooked(t, p, r)
			stop := tell(t, p)
			move(t, p, 2)
			within(t, func() bool { return hookOf(t, p, id).Failed > 1 })
			stop()
			up.Store(true)
			const ahead = 2 * 60 * 60 * 1000
			node.Exec(t, p.Node(), fmt.Sprintf("UPDATE webhooks SET next_at = CASE next_at WHEN 0 THEN 0 ELSE next_at + %d END, last_at = last_at + %[1]d", ahead))
			node.Exec(t, p.Node(), fmt.Sprintf("UPDATE webhook_retries SET next_at = next_at + %d", ahead))
			tell(t, p)
			wantAll(t, p, r)
		})
	}
}

// A receiver that never answers holds up no bill, and no other receiver.
func TestHangingReceiverSlowsNobody(t *testing.T) {
	p := telling(t, nil)
	hang := make(chan struct{})
	entered := make(chan struct{}, 100)
	slow, quick := newReceiver(t, func(told) int { entered <- struct{}{}; <-hang; return 200 }), newReceiver(t, nil)
	defer close(hang)
	stop := tell(t, p)
	hooked(t, p, slow)
	hooked(t, p, quick)
	move(t, p, 1)
	<-entered
	// Whoever waited for it would wait for ten times the patience of wantAll.
	move(t, p, 10)
	wantAll(t, p, quick)
	stopped := make(chan struct{})
	go func() { stop(); close(stopped) }()
	select {
	case <-stopped:
	case <-time.After(ebltest.Patience):
		t.Error("who stops waits for a receiver that hangs")
	}
}

func TestGoneReceiverIsDisabledUntilReplay(t *testing.T) {
	p := telling(t, nil)
	var back atomic.Bool
	r := newReceiver(t, func(told) int {
		if back.Load() {
			return 200
		}
		return 410
	})
	id := hooked(t, p, r)
	tell(t, p)
	move(t, p, 1)
	within(t, func() bool { return !hookOf(t, p, id).Active })
	if w := hookOf(t, p, id); !strings.Contains(w.Reason, "410") {
		t.Errorf("got the reason %q, want 410", w.Reason)
	}
	back.Store(true)
	move(t, p, 2)
	time.Sleep(100 * time.Millisecond)
	if n := len(r.all()); n != 0 {
		t.Errorf("a disabled webhook was told %d events", n)
	}
	if w, err := p.Node().ReplayWebhook(t.Context(), "test", id, ""); err != nil || !w.Active || w.Reason != "" {
		t.Fatalf("replay: got %+v, %v", w, err)
	}
	wantAll(t, p, r)
}

func TestReceiverThatFailsForLongIsDisabled(t *testing.T) {
	for status, name := range map[int]string{500: "each event", 503: "down"} {
		p := telling(t, func(c *node.Config) { c.WebhookDisable, c.WebhookRetry = 100*time.Millisecond, 5*time.Millisecond })
		r := newReceiver(t, func(told) int { return status })
		id := hooked(t, p, r)
		tell(t, p)
		move(t, p, 2)
		within(t, func() bool { return !hookOf(t, p, id).Active })
		if w := hookOf(t, p, id); w.Failed < 10 || !strings.Contains(w.Reason, "taken nothing since") {
			t.Errorf("%s: got %d failed rounds, reason %q", name, w.Failed, w.Reason)
		}
	}
}

// What is not taken in time is given up and counted, and comes by a replay.
func TestOldEventsAreGivenUpAndReplayed(t *testing.T) {
	var ahead, late atomic.Int64
	p := telling(t, func(c *node.Config) {
		c.WebhookAge = time.Hour
		c.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		c.Deliver = counted(c.Deliver, &late, func(webhook.Message) bool { return ahead.Load() > 0 })
	})
	var status atomic.Int64
	status.Store(503)
	r := newReceiver(t, func(told) int { return int(status.Load()) })
	id := hooked(t, p, r)
	stop := tell(t, p)
	move(t, p, 2)
	within(t, func() bool { return hookOf(t, p, id).Failed > 0 })
	status.Store(500) // each event by itself
	within(t, func() bool {
		db := snapshot(t, p)
		defer release(t, db)
		return len(queryRows(t, db, "SELECT event FROM webhook_retries")) > 0
	})
	stop()
	status.Store(200)
	ahead.Store(int64(2 * time.Hour))
	tell(t, p)
	within(t, func() bool { w := hookOf(t, p, id); return w.Pending == 0 && w.Dropped == 6 })
	if n := late.Load(); n != 0 {
		t.Errorf("%d events were told after their time", n)
	}
	ahead.Store(0) // the receiver's clock is the true one
	if _, err := p.Node().ReplayWebhook(t.Context(), "test", id, "0"); err != nil {
		t.Fatal(err)
	}
	wantAll(t, p, r)
}

func TestReplayTellsAgainFromTheCursor(t *testing.T) {
	p := telling(t, nil)
	r := newReceiver(t, nil)
	id := hooked(t, p, r)
	tell(t, p)
	move(t, p, 2)
	wantAll(t, p, r)
	within(t, func() bool { return hookOf(t, p, id).Pending == 0 })
	first := r.all()
	page, err := p.Node().Events(t.Context(), everybody, "", 4)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Node().ReplayWebhook(t.Context(), "test", id, page.Next); err != nil {
		t.Fatal(err)
	}
	within(t, func() bool { return len(r.all()) == len(first)+2 })
	for _, again := range r.all()[len(first):] {
		if !slices.ContainsFunc(first, func(v told) bool { return v.body == again.body }) {
			t.Errorf("told again in other bytes: %s", again.body)
		}
	}
	_, err = p.Node().ReplayWebhook(t.Context(), "test", id, "4-00000000")
	if e, ok := errors.AsType[*node.Error](err); !ok || e.Text != node.TextCursor {
		t.Errorf("a cursor of another history: got %v", err)
	}
}

// A replay that is ordered while a round is under way is not undone by the round's end.
func TestReplayDuringARound(t *testing.T) {
	p := telling(t, nil)
	entered, leave := make(chan struct{}, 100), make(chan struct{})
	r := newReceiver(t, func(told) int { entered <- struct{}{}; <-leave; return 200 })
	id := hooked(t, p, r)
	tell(t, p)
	move(t, p, 1)
	<-entered
	if _, err := p.Node().ReplayWebhook(t.Context(), "test", id, "0"); err != nil {
		t.Fatal(err)
	}
	close(leave)
	wantAll(t, p, r)
	within(t, func() bool { return hookOf(t, p, id).Pending == 0 })
	if got := len(r.all()); got < 4 {
		t.Errorf("told %d times, want those of the first round again", got)
	}
}

func TestRemovedWebhookIsToldNothing(t *testing.T) {
	r, other := newReceiver(t, func(told) int { return 500 }), newReceiver(t, nil)
	var removed atomic.Bool
	var late atomic.Int64
	p := telling(t, func(c *node.Config) {
		c.Deliver = counted(c.Deliver, &late, func(m webhook.Message) bool { return removed.Load() && strings.HasPrefix(m.URL, r.URL) })
	})
	id := hooked(t, p, r)
	stop := tell(t, p)
	move(t, p, 1)
	within(t, func() bool { return hookOf(t, p, id).Failed > 1 })
	if err := p.Node().RemoveWebhook(t.Context(), "test", id); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Node().Webhook(t.Context(), id); err == nil {
		t.Error("it is still there")
	}
	stop() // a round that was under way might still tell it
	removed.Store(true)
	hooked(t, p, other)
	tell(t, p)
	move(t, p, 1)
	within(t, func() bool { return len(other.all()) == 3 })
	if n := late.Load(); n != 0 {
		t.Errorf("told %d events after the end", n)
	}
}

// The secret is in the one table that needs it; the log of what operators did has neither it nor
// the query of the URL.
func TestWebhookSecretIsNotInTheAudit(t *testing.T) {
	p := telling(t, nil)
	r := newReceiver(t, nil)
	id := hooked(t, p, r)
	if _, err := p.Node().ReplayWebhook(t.Context(), "test", id, ""); err != nil {
		t.Fatal(err)
	}
	db := snapshot(t, p)
	rows := fmt.Sprint(queryRows(t, db, "SELECT action, detail FROM audit WHERE action LIKE 'webhook.%'"))
	release(t, db)
	for _, secret := range []string{"whsec_", "hunter2", r.secret[6:20]} {
		if strings.Contains(rows, secret) {
			t.Errorf("the audit has %q: %s", secret, rows)
		}
	}
	if !strings.Contains(rows, "webhook.add") || !strings.Contains(rows, "webhook.replay") {
		t.Errorf("got the rows %s, want adding and replaying", rows)
	}
	for i := range 40 {
		if _, _, err := p.Node().AddWebhook(t.Context(), "test", r.URL, "", nil); err != nil {
			if i != 31 {
				t.Errorf("after %d more: %v", i, err)
			}
			return
		}
	}
	t.Error("any number of webhooks was added")
}

func TestWebhookTest(t *testing.T) {
	p := telling(t, nil)
	var status atomic.Int64
	r := newReceiver(t, func(v told) int {
		if v.Type != "webhook.test" {
			return 400
		}
		return int(status.Load())
	})
	id := hooked(t, p, r)
	for code, want := range map[int64]bool{200: true, 418: false} {
		status.Store(code)
		delivered, answer, err := p.Node().TestWebhook(t.Context(), id)
		if err != nil || delivered != want || !strings.HasPrefix(answer, fmt.Sprint(code)) {
			t.Errorf("%d: got %t, %q, %v, want %t", code, delivered, answer, err, want)
		}
	}
	r.Close()
	if delivered, answer, err := p.Node().TestWebhook(t.Context(), id); err != nil || delivered || !strings.Contains(answer, "no answer") || strings.Contains(answer, "hunter2") {
		t.Errorf("nobody there: got %t, %q, %v", delivered, answer, err)
	}
}
