package api

import (
	"fmt"
	"math"
	"sync"
	"time"

	"eblnode/node"

	"golang.org/x/time/rate"
)

// A limiter bounds the requests of each caller by itself, so that one who floods is
// slowed down and nobody else.
type limiter struct {
	rate        rate.Limit
	burst       int
	concurrency int // 0: not bounded

	mu sync.Mutex
	m  map[string]*allowance
}

type allowance struct {
	bucket  *rate.Limiter
	running int
	large   int // of those, with a large body
}

// What is read of a body up to largeBody costs little. Of larger ones a peer may have
// largeAtOnce under way: each takes two to four times its size until it is answered, a very
// unkind one ten, and sixteen of 8 MiB would take more than all else that a node does.
const (
	largeBody   = 1 << 20
	largeAtOnce = 2
)

// maxCallers bounds the memory: beyond it, callers who are at rest are forgotten.
const maxCallers = 4096

func newLimiter(o Options, concurrency int) *limiter {
	return &limiter{rate: rate.Limit(o.Rate), burst: o.Burst, concurrency: concurrency, m: map[string]*allowance{}}
}

// enter lets name's request in, and must be followed by leave; or says 429.
func (l *limiter) enter(name string) (leave func(), refusal *node.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.m[name]
	if a == nil {
		if len(l.m) >= maxCallers {
			l.forget()
		}
		a = &allowance{bucket: rate.NewLimiter(l.rate, l.burst)}
		l.m[name] = a
	}
	if l.concurrency > 0 && a.running >= l.concurrency {
		return nil, tooMany("too many of your requests are running at once", 1)
	}
	if !a.bucket.Allow() {
		wait := (1 - a.bucket.Tokens()) / float64(l.rate)
		return nil, tooMany("you have sent too many requests in a short time", max(1, int(math.Ceil(wait))))
	}
	a.running++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.running--
	}, nil
}

// enterLarge is enter for the body of a request that is in already.
func (l *limiter) enterLarge(name string) (leave func(), refusal *node.Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.m[name] // which is not forgotten while a request of it runs
	if a == nil || a.large >= largeAtOnce {
		return nil, tooMany(fmt.Sprintf("%d of your requests with a body of more than %d bytes are running; send the next when they are answered", largeAtOnce, largeBody), 1)
	}
	a.large++
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		a.large--
	}, nil
}

func (l *limiter) forget() {
	now := time.Now()
	for name, a := range l.m {
		if a.running == 0 && a.bucket.TokensAt(now) >= float64(l.burst) {
			delete(l.m, name)
		}
	}
}

func tooMany(detail string, retry int) *node.Error {
	e := refuse(node.TooManyRequests, "tooManyRequests", detail)
	e.Retry = retry
	return e
}
