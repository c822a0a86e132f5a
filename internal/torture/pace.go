package main

import (
	"sync"
	"time"
)

// A pace says how long a run will still take, if it goes on as it has so far.
type pace struct {
	start time.Time
	from  float64 // the part that was done when it began
}

func newPace(done float64) pace { return pace{time.Now(), done} }

// left is that time, for people; "" while nobody can know.
func (p pace) left(done float64) string {
	if done <= p.from || done <= 0 {
		return ""
	}
	if done >= 1 {
		return ", nothing left"
	}
	left := time.Duration(float64(time.Since(p.start)) * (1 - done) / (done - p.from))
	return ", about " + left.Round(time.Second).String() + " left"
}

// part is how much of whole is done.
func part(done, whole int) float64 { return min(1, float64(done)/float64(max(1, whole))) }

// A stopwatch adds up what the time of a run goes into.
type stopwatch struct {
	mu sync.Mutex
	m  map[string]time.Duration
}

// on times something; call what it returns when that is over.
func (s *stopwatch) on(what string) (off func()) {
	start := time.Now()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.m == nil {
			s.m = map[string]time.Duration{}
		}
		s.m[what] += time.Since(start)
	}
}

// seconds are the sums.
func (s *stopwatch) seconds() map[string]float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := map[string]float64{}
	for what, d := range s.m {
		m[what] = d.Round(100 * time.Millisecond).Seconds()
	}
	return m
}
