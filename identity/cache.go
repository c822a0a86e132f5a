package identity

import (
	"sync"
	"sync/atomic"
)

// A cache remembers what was worked out of an immutable key, up to a number of them. It
// changes no answer, only how long it takes.
type cache[K comparable, V any] struct {
	m sync.Map
	n atomic.Int64
}

// maxCache bounds what strangers can make us keep; beyond it all is forgotten.
const maxCache = 4096

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	if got, found := c.m.Load(k); found {
		return got.(V), true
	}
	return v, false
}

func (c *cache[K, V]) put(k K, v V) {
	if c.n.Add(1) > maxCache {
		c.m.Clear()
		c.n.Store(1)
	}
	c.m.Store(k, v)
}
