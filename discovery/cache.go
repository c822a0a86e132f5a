package discovery

import (
	"container/list"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// A question is a name, lower case without final dot, and a DNS type.
type question struct {
	name  string
	qtype uint16
	keys  bool // of the TXT records, where the keys are, and not the endpoint
}

// An answer is what a good reply comes to. TXT records are kept as the endpoint
// they name and not as they came: 64 KB each, 10,000 times, would be too much.
type answer struct {
	url       *url.URL // for TXT
	record    string
	addrs     []netip.Addr // for A and AAAA, never empty
	authentic bool
	expires   time.Time
}

// An entry is what we know of a question: the last good answer, unless DNS has
// said since that it is gone, and the newest failure.
type entry struct {
	q     question
	good  *answer
	err   *Error // newer than good, if not nil
	until time.Time
}

// cache holds at most maxCacheEntries questions and drops the one that was
// written longest ago.
type cache struct {
	mu    sync.Mutex
	gen   uint64 // counts flushes: an answer asked for before one is not stored after it
	order *list.List
	byQ   map[question]*list.Element
}

func newCache() *cache {
	return &cache{order: list.New(), byQ: map[question]*list.Element{}}
}

// get returns a fresh entry, or nil where DNS must be asked.
func (c *cache) get(q question, now time.Time) (*entry, uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el := c.byQ[q]
	if el == nil {
		return nil, c.gen
	}
	e := *el.Value.(*entry)
	if e.err != nil && now.Before(e.until) || e.err == nil && now.Before(e.good.expires) {
		return &e, c.gen
	}
	return nil, c.gen
}

// put stores the outcome of asking q, and returns the entry as it is then.
func (c *cache) put(e entry, gen uint64) *entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	if gen != c.gen {
		return &e
	}
	el := c.byQ[e.q]
	// A failure to ask, or an answer that nobody vouches for, says nothing about
	// the records; every other error is DNS's own word and ends the old answer.
	if el != nil && e.err != nil && (e.err.Kind == Temporary || e.err.Kind == Insecure) {
		e.good = el.Value.(*entry).good
	}
	if el != nil {
		el.Value = &e
		c.order.MoveToBack(el)
	} else {
		c.byQ[e.q] = c.order.PushBack(&e)
	}
	for c.order.Len() > maxCacheEntries {
		oldest := c.order.Front()
		delete(c.byQ, oldest.Value.(*entry).q)
		c.order.Remove(oldest)
	}
	out := e
	return &out
}

func (c *cache) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gen++
	c.order.Init()
	clear(c.byQ)
}

func (c *cache) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.order.Len()
}

// read is what an entry answers now, and whether that is past its time.
func (e *entry) read(now time.Time) (*answer, bool, error) {
	if e.err == nil {
		return e.good, false, nil
	}
	if e.err.Kind == Temporary && e.good != nil && now.Before(e.good.expires.Add(maxStale)) {
		return e.good, true, nil
	}
	return nil, false, e.err
}
