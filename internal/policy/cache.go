package policy

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// cache keeps values for a time, at most so many; those not used longest go first. Safe for
// concurrent use.
type cache[K comparable, V any] struct {
	mu      sync.Mutex // guards entries
	entries *simplelru.LRU[K, kept[V]]
}

type kept[V any] struct {
	value V
	until time.Time
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	entries, err := simplelru.NewLRU[K, kept[V]](size, nil)
	if err != nil {
		panic(err) // the sizes are positive constants
	}
	return &cache[K, V]{entries: entries}
}

func (c *cache[K, V]) get(key K, now time.Time) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.entries.Get(key)
	if !ok || !now.Before(k.until) {
		return value, false
	}
	return k.value, true
}

func (c *cache[K, V]) put(key K, value V, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.entries.Add(key, kept[V]{value, until})
}
