package node

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"eblnode/identity"

	"golang.org/x/sync/errgroup"
)

// The outbox: which transfers are offered when. What an offer is stands in send.go.

// send hands the outbox a transfer that was just prepared.
func (n *Node) send(m Moved, to *identity.Platform) {
	if m.Transfer != "" {
		n.fresh.add(dueTransfer{m.Transfer, to.Domain})
	}
	n.poke()
}

// poke wakes the outbox.
func (n *Node) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Run works on the outbox until ctx is done: it sends what is due, again and again until
// a signed verdict comes, and asks for verdicts on returned bills. An error of another kind
// than ctx's (ErrVanished, or a witness that cannot be written) means that the process
// must end.
func (n *Node) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(outboxWidth + 1)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var o outbox
	for {
		select {
		case <-ctx.Done():
			return errors.Join(group.Wait(), context.Cause(ctx))
		case <-n.store.dead:
			cancel()
			return errors.Join(n.store.gone, group.Wait())
		case <-n.store.witnessBroken():
			// Whoever starts us again lets the witness be completed from the database.
			cancel()
			return errors.Join(n.store.journal.Load().Err(), group.Wait())
		case <-n.wake:
		case <-timer.C:
		}
		pause, err := n.dispatch(ctx, group, &o)
		if err != nil && ctx.Err() == nil {
			n.log.ErrorContext(ctx, "reading the outbox failed", "err", err)
			_ = n.store.there() // if not, the node ends above
			pause = time.Second
		}
		timer.Reset(pause)
	}
}

// An outbox is what the dispatcher, and nobody else, knows of what is due.
type outbox struct {
	list []dueTransfer // read from the database, less what was begun since
	read time.Time     // when that was
	took time.Duration // how long it took
}

// dispatch starts what is due and says when to look again.
func (n *Node) dispatch(ctx context.Context, group *errgroup.Group, o *outbox) (time.Duration, error) {
	fresh := n.fresh.take()
	o.list = append(o.list, fresh...)
	age := max(outboxAge, 20*o.took)
	if len(o.list) > 0 && time.Since(o.read) < age {
		n.begin(ctx, group, o)
		return max(time.Until(o.read.Add(age)), 0), nil
	}
	start := time.Now()
	now := n.cfg.Now()
	n.sealDay(ctx)
	n.retain(ctx)
	if err := n.reenterDue(ctx); err != nil {
		return 0, err
	}
	waiting, probe := n.circuits.waiting(now)
	due, err := n.due(ctx, now, waiting)
	if err != nil {
		return 0, err
	}
	// What is under way is in the list too, as it was before.
	o.list = slices.DeleteFunc(due, func(x dueTransfer) bool { _, busy := n.busy.Load(x.id); return busy })
	o.read, o.took = time.Now(), time.Since(start)
	perPeer := n.begin(ctx, group, o)
	if err := n.pollVerdicts(ctx, group, now, perPeer); err != nil {
		return 0, err
	}
	pause, err := n.nextDue(ctx, now)
	if !probe.IsZero() {
		pause = min(pause, max(probe.Sub(now), 10*time.Millisecond))
	}
	return pause, err
}

// begin starts what the widths of the peers allow, and says how many attempts run to each.
func (n *Node) begin(ctx context.Context, group *errgroup.Group, o *outbox) map[identity.Host]int {
	now := n.cfg.Now()
	perPeer, running := map[identity.Host]int{}, 0
	n.busy.Range(func(_, v any) bool { perPeer[v.(identity.Host)]++; running++; return true })
	rest := o.list[:0]
	full := false
	for _, x := range o.list {
		width := n.circuits.width(x.peer, now)
		if full || perPeer[x.peer] >= width || running >= outboxWidth/2 && width < peerWidth {
			rest = append(rest, x)
			continue
		}
		if _, busy := n.busy.LoadOrStore(x.id, x.peer); busy {
			continue
		}
		perPeer[x.peer]++
		running++
		started := group.TryGo(func() error {
			defer n.poke()
			defer n.busy.Delete(x.id)
			n.attempt(ctx, x.id)
			return nil
		})
		if !started {
			n.busy.Delete(x.id)
			perPeer[x.peer]--
			rest, full = append(rest, x), true
		}
	}
	o.list = rest
	return perPeer
}

// freshTransfers are those just prepared: the dispatcher need not look for them.
type freshTransfers struct {
	mu   sync.Mutex
	list []dueTransfer
}

func (f *freshTransfers) add(x dueTransfer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) < 4096 { // nobody may take them: the outbox may not run
		f.list = append(f.list, x)
	}
}

func (f *freshTransfers) take() []dueTransfer {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.list
	f.list = nil
	return list
}

// latest is the latest time to which an attempt is ever put off.
func (n *Node) latest(now time.Time) time.Time { return now.Add(n.cfg.Retry) }

type dueTransfer struct {
	id   string
	peer identity.Host
}

func (n *Node) due(ctx context.Context, now time.Time, waiting []string) ([]dueTransfer, error) {
	not, err := json.Marshal(waiting)
	if err != nil {
		return nil, err
	}
	// What is due later than any pause allows was put off by another clock, which has been
	// set back since: waiting for that hour to come again would be a timer lost.
	//
	// Of each peer no more than what may follow for some time, or a dead one with
	// a thousand bills due would fill the list and nobody else's would be seen.
	// Nothing of a bill in quarantine: what was prepared before a backup may have been
	// cancelled after it.
	rows, err := n.store.read.QueryContext(ctx, `SELECT id, peer FROM
	  (SELECT id, peer, next_at, row_number() OVER (PARTITION BY peer ORDER BY next_at) AS place FROM transfers
	    WHERE state IN ('prepared', 'sending') AND (next_at <= ? OR next_at > ?) AND peer NOT IN (SELECT value FROM json_each(?))
	      AND (SELECT frozen FROM witness) = '' AND bill NOT IN (SELECT id FROM bills WHERE document_hash IN (SELECT document_hash FROM quarantine)))
	  WHERE place <= ? ORDER BY next_at LIMIT 4000`, millis(now), millis(n.latest(now)), string(not), duePerPeer)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []dueTransfer
	for rows.Next() {
		var x dueTransfer
		var peer string
		if err := rows.Scan(&x.id, &peer); err != nil {
			return nil, err
		}
		if x.peer, err = identity.ParseHost(peer); err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, rows.Err()
}

// nextDue is the pause until something is due that is not under way; a second at most,
// since the clock may be set.
func (n *Node) nextDue(ctx context.Context, now time.Time) (time.Duration, error) {
	var next sql64
	err := n.store.read.QueryRowContext(ctx, `SELECT min(next_at) FROM
	  (SELECT next_at FROM transfers WHERE state IN ('prepared', 'sending') UNION ALL SELECT next_at FROM verdict_polls) WHERE next_at > ?`,
		millis(now)).Scan(&next)
	if err != nil {
		return 0, err
	}
	if next == 0 {
		return time.Second, nil
	}
	return min(max(fromMillis(int64(next)).Sub(now), 10*time.Millisecond), time.Second), nil
}

// rest holds an attempt that could not be recorded: it is due again at once, and while
// the disk is full the outbox would do nothing but try.
func (n *Node) rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(n.pause(0)):
	}
}

// pause is the back-off before the next attempt: 1 s doubled each time, at most
// Config.Retry, and between half of that and all of it, so that a peer that comes back
// is not met by everybody at once.
func (n *Node) pause(attempts int) time.Duration {
	d := n.cfg.Retry
	if attempts < 20 {
		d = min(d, time.Second<<attempts)
	}
	return d/2 + rand.N(d/2+1)
}
