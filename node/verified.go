package node

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// verifiedEntries are entries that were verified and stored, so that a chain that comes
// back is neither parsed nor verified again. The database holds the same; this is only
// nearer, and may forget at any time.
//
// They are kept by the whole compact JWS: a payload says nothing of who signed it, and
// an accepted payload under another signature is another envelope. A hit says that the
// signature was computed, and nothing else: link, document hash and law are checked each
// time, and whether the key is still trusted. When the trust entries change all is forgotten.
type verifiedEntries struct {
	mu    sync.Mutex
	trust *identity.Trust // the epoch
	// Two generations: what is not asked for while one fills up goes with the older one.
	young, old map[string]*verifiedEntry
	size       int // of young, in bytes, about
}

type verifiedEntry struct {
	entry *envelope.Entry
	known envelope.Known
}

// maxVerified bounds each generation, in bytes.
const maxVerified = 40 << 20

// find looks in both generations.
func (v *verifiedEntries) find(jws string) *verifiedEntry {
	v.mu.Lock()
	defer v.mu.Unlock()
	if e := v.young[jws]; e != nil {
		return e
	}
	e := v.old[jws]
	if e != nil {
		v.add(e)
	}
	return e
}

// entry is for [envelope.ParseKnown].
func (v *verifiedEntries) entry(jws string) *envelope.Entry {
	if e := v.find(jws); e != nil {
		return e.entry
	}
	return nil
}

// known is what the store holds of an entry.
func (v *verifiedEntries) known(jws string) (envelope.Known, bool) {
	if e := v.find(jws); e != nil {
		return e.known, true
	}
	return envelope.Known{}, false
}

func (v *verifiedEntries) add(e *verifiedEntry) {
	if v.young == nil || v.size > maxVerified {
		v.old, v.young, v.size = v.young, map[string]*verifiedEntry{}, 0
	}
	v.young[e.entry.JWS.Raw] = e
	v.size += 2*len(e.entry.JWS.Raw) + 1024
}

// keep remembers the entries of a block that is accepted and on the disk: those from the
// given place on since now, and of the older ones those that were found in the database.
func (v *verifiedEntries) keep(in *incoming, from int, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range in.chain.Entries {
		known, stored := in.stored[i]
		switch {
		case i >= from:
			known = envelope.Known{Key: in.chain.Entries[i].Key.Thumbprint(), Since: fromMillis(millis(now)), Judged: true}
		case !stored:
			continue
		}
		v.add(&verifiedEntry{entry: in.block.Entries[i].Keep(), known: known})
	}
}

// epoch forgets everything where the trust entries are others than before.
func (v *verifiedEntries) epoch(trust *identity.Trust) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.trust != trust {
		v.trust, v.young, v.old, v.size = trust, nil, nil, 0
	}
}

// cores counts the chains that are verified now: a long one may use the cores that nobody
// else does.
type cores struct{ busy atomic.Int64 }

// take says how many signatures of a chain may be computed at once.
// done must be called.
func (c *cores) take() (free int, done func()) {
	busy := c.busy.Add(1)
	return max(1, runtime.GOMAXPROCS(0)-int(busy)+1), func() { c.busy.Add(-1) }
}
