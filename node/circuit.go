package node

import (
	"sync"
	"time"

	"eblnode/identity"
)

// How many attempts may be under way to one peer at once. A peer that has not answered
// since the start gets a few, and all of them once it has: else four dead ones would
// take every place of the outbox. One that fails again and again gets a probe at a time.
const (
	peerWidth  = 16
	freshWidth = 4
	probeWidth = 1
	// circuitFailures is after how many failures in a row the circuit opens. Attempts
	// that ran side by side count as one.
	circuitFailures = 3
	// circuitPause is the longest pause between two probes.
	circuitPause = time.Minute
)

// circuits keeps in mind which peers answer. It is not stored: after a restart every
// peer is tried anew.
type circuits struct {
	mu      sync.Mutex
	m       map[identity.Host]*circuit
	answers map[*identity.Platform]time.Time // when each answered last; by the entry, which may change
}

type circuit struct {
	failures int
	since    time.Time // of the first failure in a row
	last     time.Time // of the last failure counted
	next     time.Time // when the next probe may start, while open
	trouble  string
}

// A Circuit is how a peer answers, as an operator sees it.
type Circuit struct {
	// Open says that the peer has failed so often that it gets one probe at a time.
	Open     bool
	Failures int       // in a row; attempts side by side count as one
	Since    time.Time // of the first of them; zero if none
	Next     time.Time // when the next probe may start; zero unless open
	Trouble  string    // the last failure, for people; bounded
}

func (c *circuit) open() bool { return c.failures >= circuitFailures }

// width is how many attempts may be under way to a peer now.
func (cs *circuits) width(peer identity.Host, now time.Time) int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.m[peer]
	switch {
	case c == nil:
		return freshWidth
	case c.open() && now.Before(c.next):
		return 0
	case c.open():
		return probeWidth
	case c.failures > 0:
		return freshWidth
	}
	return peerWidth
}

// waiting lists the peers that may not be asked now, and the first moment at which one
// of them may be; zero if there is none.
func (cs *circuits) waiting(now time.Time) (peers []string, next time.Time) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	peers = []string{}
	for peer, c := range cs.m {
		if !c.open() || !now.Before(c.next) {
			continue
		}
		peers = append(peers, peer.String())
		if next.IsZero() || c.next.Before(next) {
			next = c.next
		}
	}
	return peers, next
}

// answered notes that a peer said something, whatever it was. It reports whether the
// circuit was open until now.
func (cs *circuits) answered(peer identity.Host) (wasOpen bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.m[peer]
	wasOpen = c != nil && c.open()
	if cs.m == nil {
		cs.m = map[identity.Host]*circuit{}
	}
	cs.m[peer] = &circuit{}
	return wasOpen
}

// retry closes the circuit of a peer that can be reached again, as far as one knows
// without having sent it anything.
func (cs *circuits) retry(peer identity.Host) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c := cs.m[peer]; c != nil && c.failures > 0 {
		delete(cs.m, peer)
	}
}

// failed notes that a peer did not answer an attempt that began at that time. pause is
// the back-off after so many probes.
func (cs *circuits) failed(peer identity.Host, began, now time.Time, trouble string, pause func(probes int) time.Duration) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.m[peer]
	if c == nil {
		c = &circuit{}
		if cs.m == nil {
			cs.m = map[identity.Host]*circuit{}
		}
		cs.m[peer] = c
	}
	c.trouble = trouble
	if began.Before(c.last) {
		return // beside one that is counted
	}
	if c.failures == 0 {
		c.since = now
	}
	c.failures++
	c.last = now
	if c.open() {
		c.next = now.Add(min(pause(c.failures-circuitFailures), circuitPause))
	}
}

// heardFor is for how long an answer that a peer has signed shows that it can be reached and
// knows us. A transfer sealed in that time does not ask once more.
const heardFor = time.Second

// heard notes that p, by this very trust entry, has answered rightly.
func (cs *circuits) heard(p *identity.Platform, now time.Time) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.answers == nil || len(cs.answers) > 4096 {
		cs.answers = map[*identity.Platform]time.Time{}
	}
	cs.answers[p] = now
}

// justAnswered reports whether p has answered a moment ago, and has failed nobody since.
func (cs *circuits) justAnswered(p *identity.Platform, now time.Time) bool {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	at, found := cs.answers[p]
	if c := cs.m[p.Domain]; !found || c != nil && c.failures > 0 {
		return false
	}
	return !now.Before(at) && now.Sub(at) < heardFor
}

// Circuit tells how a peer answers.
func (n *Node) Circuit(peer identity.Host) Circuit {
	n.circuits.mu.Lock()
	defer n.circuits.mu.Unlock()
	c := n.circuits.m[peer]
	if c == nil || c.failures == 0 {
		return Circuit{}
	}
	out := Circuit{Open: c.open(), Failures: c.failures, Since: c.since, Trouble: c.trouble}
	if out.Open {
		out.Next = c.next
	}
	return out
}
