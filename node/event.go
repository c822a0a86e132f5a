package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
)

// An EventType says what happened to a bill.
type EventType string

// The types. Whoever reads events ignores those that it does not know: there will be more.
const (
	BillIssued        EventType = "bill.issued"        // here, by a user of ours
	BillReceived      EventType = "bill.received"      // from another platform; a user of ours is in control
	BillMoved         EventType = "bill.moved"         // between users of ours, a return and its refusal too
	BillVoid          EventType = "bill.void"          // its carrier honoured the return
	BillForked        EventType = "bill.forked"        // a peer offered another chain than the one we know; nothing moved
	BillChanged       EventType = "bill.changed"       // anything else; data says how it stands now
	TransferPrepared  EventType = "transfer.prepared"  // sealed and locked; no byte has left
	TransferSending   EventType = "transfer.sending"   // in doubt from now on, until a signed answer
	TransferAccepted  EventType = "transfer.accepted"  // the addressee has the bill
	TransferRejected  EventType = "transfer.rejected"  // the addressee signed a no; the bill is back
	TransferDisputed  EventType = "transfer.disputed"  // the addressee says it knows another chain; the bill is frozen
	TransferCancelled EventType = "transfer.cancelled" // before a byte had left; the bill is back
)

// LatestEvent is the cursor after the newest event there is.
const LatestEvent = "latest"

// startOfEvents is the cursor before the first event.
const startOfEvents = "0"

// An Event is one thing that happened to a bill. It holds names and states, and nothing of
// the document.
type Event struct {
	ID     string // unique for ever: whoever gets an event twice knows it by this
	Cursor string // its place; [Node.Events] goes on from here
	Type   EventType
	At     time.Time
	// Data is a JSON object, an [EventData].
	Data []byte
}

// EventData is the bill after the transaction in which the event happened.
type EventData struct {
	Document  string  `json:"documentHash"`
	Status    string  `json:"status"`
	Control   Control `json:"control"`
	Possessor string  `json:"possessor,omitempty"` // localid@domain; absent once void
	Returned  string  `json:"returnedBy,omitempty"`
	Head      string  `json:"headEnvelopeHash,omitempty"` // absent before the first entry
	Length    int     `json:"chainLength"`
	// Transfer is the one that the event is about.
	Transfer *EventTransfer `json:"transfer,omitempty"`
	EventDetail
}

// EventTransfer is a transfer to another platform in an event.
type EventTransfer struct {
	ID          string        `json:"id"`
	State       TransferState `json:"state"`
	Instruction string        `json:"instruction"`
	Peer        string        `json:"peer"`
	Envelope    string        `json:"envelopeHash"`
	SettledBy   string        `json:"settledBy,omitempty"` // receipt, rejection, chain or cancel
}

// EventDetail is what belongs to some types only.
type EventDetail struct {
	Peer        string                `json:"peer,omitempty"`         // who sent or offered it: bill.received, bill.forked
	Instruction envelope.Instruction  `json:"instruction,omitempty"`  // bill.moved
	Verdict     envelope.VerdictKind  `json:"verdict,omitempty"`      // bill.void
	ReplacedBy  string                `json:"replacedBy,omitempty"`   // bill.void: the bill in the place of an amended one
	Response    envelope.ResponseCode `json:"responseCode,omitempty"` // transfer.rejected, transfer.disputed
}

// A happening is an event that its transaction has still to write.
type happening struct {
	kind     EventType
	bill     int64
	transfer string // id; "" for none
	detail   EventDetail
}

// event notes what happens in this transaction. It is written at the transaction's end,
// with the bill as it stands then.
func (t *tx) event(kind EventType, bill int64, transfer string, d EventDetail) {
	t.events = append(t.events, happening{kind, bill, transfer, d})
}

// A written is a bill as this transaction wrote it last.
type written struct {
	id      int64
	state   chain.State
	control Control
}

// changed notes that the row of a bill was written. Of a bill that changes there is always
// an event, also where whoever changed it did not think of one.
func (t *tx) changed(b *bill) {
	now := written{b.id, b.state, b.control}
	if i := slices.IndexFunc(t.bills, func(w written) bool { return w.id == b.id }); i >= 0 {
		t.bills[i] = now
		return
	}
	t.bills = append(t.bills, now)
}

// billNow is a bill as it stands in this transaction.
func (t *tx) billNow(id int64) (written, error) {
	if i := slices.IndexFunc(t.bills, func(w written) bool { return w.id == id }); i >= 0 {
		return t.bills[i], nil
	}
	b, err := loadBillByID(t.ctx, t, id)
	if err != nil {
		return written{}, err
	}
	return written{b.id, b.state, b.control}, nil
}

// writeEvents is the last thing that a transaction does before it commits.
func (t *tx) writeEvents() error {
	for _, b := range t.bills {
		if !slices.ContainsFunc(t.events, func(h happening) bool { return h.bill == b.id }) {
			t.event(BillChanged, b.id, "", EventDetail{})
		}
	}
	for _, h := range t.events {
		if err := t.writeEvent(h); err != nil {
			return fmt.Errorf("writing the event %s: %w", h.kind, err)
		}
	}
	return nil
}

func (t *tx) writeEvent(h happening) error {
	b, err := t.billNow(h.bill)
	if err != nil {
		return err
	}
	data := EventData{Document: b.state.Document.String(), Status: string(b.state.Status), Control: b.control,
		Possessor: text(b.state.Possessor), Returned: text(b.state.ReturnedBy), Length: b.state.Length, EventDetail: h.detail}
	if !b.state.Head.IsZero() {
		data.Head = b.state.Head.String()
	}
	if h.transfer != "" {
		x, err := loadTransfer(t.ctx, t, h.transfer)
		if err != nil {
			return err
		}
		if x == nil {
			return fmt.Errorf("there is no transfer %s", h.transfer)
		}
		data.Transfer = &EventTransfer{ID: x.id, State: x.state, Instruction: x.instruction, Peer: x.peer.String(),
			Envelope: x.hash.String(), SettledBy: x.settledBy.String}
	}
	out, err := json.Marshal(data)
	if err != nil {
		return err
	}
	return t.exec("INSERT INTO events (uid, at, type, bill, data) VALUES (?, ?, ?, ?, ?)", newID(), millis(t.now), string(h.kind), h.bill, string(out))
}

// A bell tells everybody who waits for it that something happened.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// next is closed by the next ring.
func (b *bell) next() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// An EventPage is some events in their order.
type EventPage struct {
	Events []Event
	// Next is the cursor with which to ask for what follows, also where there is nothing
	// yet.
	Next string
}

// Events lists the events of the bills that u may see, oldest first, after the cursor ("":
// from the first one; [LatestEvent]: none, only where they end now), limit at most. A
// cursor of another history, as after the restoring of a backup, is a Conflict with the
// text cursorUnknown: begin again, and know what you had by its ID.
func (n *Node) Events(ctx context.Context, u *User, cursor string, limit int) (EventPage, error) {
	// The end first: what is committed after it has a higher number, so that a user who
	// sees little need not look at the same strangers' events again.
	end, name, err := n.lastEvent(ctx)
	if err != nil {
		return EventPage{}, busy(err)
	}
	page := EventPage{Events: []Event{}, Next: cursorOf(end, name)}
	if cursor == LatestEvent {
		return page, nil
	}
	after, err := n.position(ctx, cursor)
	if err != nil {
		return EventPage{}, err
	}
	query, args := "SELECT id, uid, at, type, data FROM events WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", []any{after, end, limit}
	if u.Role != AuditorRole {
		query = `SELECT e.id, e.uid, e.at, e.type, e.data FROM events e CROSS JOIN parties p ON p.bill = e.bill AND p.local_id = ?
		  WHERE e.id > ? AND e.id <= ? ORDER BY e.id LIMIT ?`
		args = slices.Insert(args, 0, any(u.Local))
	}
	rows, err := n.store.read.QueryContext(ctx, query, args...)
	if err != nil {
		return EventPage{}, busy(err)
	}
	defer rows.Close()
	for rows.Next() {
		e, _, err := scanEvent(rows)
		if err != nil {
			return EventPage{}, busy(err)
		}
		page.Events = append(page.Events, e)
	}
	if err := rows.Err(); err != nil {
		return EventPage{}, busy(err)
	}
	// What is read may be a commit whose journal is still on its way to the disk.
	if err := n.store.settled(ctx); err != nil {
		return EventPage{}, busy(err)
	}
	if len(page.Events) == limit {
		page.Next = page.Events[limit-1].Cursor
	}
	return page, nil
}

func scanEvent(row interface{ Scan(...any) error }) (e Event, id int64, err error) {
	var at int64
	err = row.Scan(&id, &e.ID, &at, &e.Type, &e.Data)
	e.At, e.Cursor = fromMillis(at), cursorOf(id, e.ID)
	return e, id, err
}

// AwaitEvents is Events that, where there is none, waits for one until ctx is done.
func (n *Node) AwaitEvents(ctx context.Context, u *User, cursor string, limit int) (EventPage, error) {
	// Who committed it may not know that it did: see store.update.
	again := time.NewTicker(2 * time.Second)
	defer again.Stop()
	for {
		rung := n.store.news.next() // before looking, so that nothing is missed
		page, err := n.Events(context.WithoutCancel(ctx), u, cursor, limit)
		if err != nil || len(page.Events) > 0 || ctx.Err() != nil {
			return page, err
		}
		cursor = page.Next
		select {
		case <-rung:
		case <-again.C:
		case <-ctx.Done():
		}
	}
}

// lastEvent is the newest event; 0 where there is none.
func (n *Node) lastEvent(ctx context.Context) (id int64, name string, err error) {
	err = n.store.read.QueryRowContext(ctx, "SELECT id, uid FROM events ORDER BY id DESC LIMIT 1").Scan(&id, &name)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, "", nil
	}
	return id, name, err
}

// cursorName is how much of an event's name is in its cursor: enough to tell an event from
// the one that has its number in another history.
const cursorName = 8

func cursorOf(id int64, name string) string {
	if id == 0 {
		return startOfEvents
	}
	return strconv.FormatInt(id, 10) + "-" + name[:min(cursorName, len(name))]
}

// position is the number of the event that a cursor names, which must still be that one.
func (n *Node) position(ctx context.Context, cursor string) (int64, error) {
	if cursor == "" || cursor == startOfEvents {
		return 0, nil
	}
	number, name, _ := strings.Cut(cursor, "-")
	id, err := strconv.ParseInt(number, 10, 64)
	if err != nil || id <= 0 || len(name) != cursorName {
		return 0, refuse(Malformed, "malformed", "the cursor is not one that this node gave")
	}
	var found string
	err = n.store.read.QueryRowContext(ctx, "SELECT uid FROM events WHERE id = ?", id).Scan(&found)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, busy(err)
	}
	if err != nil || cursorOf(id, found) != cursor {
		return 0, refuse(Conflict, TextCursor, "the cursor is not of this node's events as they are now; was a backup restored? begin again without one, and leave out what you know by its id")
	}
	return id, nil
}

// transferEvent is the type for the state that a transfer came into.
func transferEvent(s TransferState) EventType { return EventType("transfer." + s) }

func voidDetail(v envelope.Verdict) EventDetail {
	d := EventDetail{Verdict: v.Kind}
	if !v.ReplacedBy.IsZero() {
		d.ReplacedBy = v.ReplacedBy.String()
	}
	return d
}
