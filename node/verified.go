package node

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"
)

// errWhole says that a block is not plainly what follows on a chain that was verified before:
// it is parsed and judged whole. So whatever is refused, and why, is found out in one way only.
var errWhole = errors.New("to be judged whole")

// verifiedChains are chains that were verified and stored, so that one that comes back with
// more entries is neither parsed nor verified again from its beginning. The database holds
// the same; this is only nearer, and may forget at any time.
//
// What is compared is the whole compact JWS of each entry and the hash beside it: a payload
// says nothing of who signed it, and an accepted payload under another signature is another
// envelope. A chain counts for the trust entries by which it was verified, and no others:
// when they change all is forgotten, and each key is looked at again.
type verifiedChains struct {
	mu    sync.Mutex
	trust *identity.Trust // the epoch
	// Two generations, by the JWS of the first entry: what is not asked for while one fills
	// up goes with the older one.
	young, old map[string]*verifiedChain
	size       int // of young, in bytes, about
}

type verifiedChain struct {
	prefix *envelope.Prefix
	state  *chain.Verified
}

// maxVerified bounds each generation, in bytes. Nearly all of it is text, which costs the
// garbage collector nothing.
const maxVerified = 32 << 20

// find looks for the chain that begins so, under these trust entries.
func (v *verifiedChains) find(first []byte, trust *identity.Trust) *verifiedChain {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := v.young[string(first)]
	if c == nil {
		if c = v.old[string(first)]; c == nil {
			return nil
		}
		v.add(c)
	}
	if c.state.Trust() != trust {
		return nil
	}
	return c
}

// parse is [envelope.Parse] that does not read again what is known. before stands for the
// entries that were not read; nil if all were.
func (v *verifiedChains) parse(body []byte, limits envelope.Limits, trust *identity.Trust) (b *envelope.Transferblock, before *chain.Verified, err error) {
	var known *verifiedChain
	b, err = envelope.ParseKnown(body, limits, func(first []byte) *envelope.Prefix {
		if known = v.find(first, trust); known == nil {
			return nil
		}
		return known.prefix
	})
	if err == nil && b.Known() > 0 {
		before = known.state
	}
	return b, before, err
}

func (v *verifiedChains) add(c *verifiedChain) {
	if v.young == nil || v.size > maxVerified {
		v.old, v.young, v.size = v.young, map[string]*verifiedChain{}, 0
	}
	if before := v.young[c.prefix.First()]; before != nil {
		v.size -= before.size()
	}
	v.young[c.prefix.First()] = c
	v.size += c.size()
}

func (c *verifiedChain) size() int { return c.prefix.Size() + 64*c.prefix.Len() + 1024 }

// keep remembers a block that is accepted and on the disk, in the place of what was known
// of that bill.
func (v *verifiedChains) keep(b *envelope.Transferblock, c *chain.Chain) {
	kept := &verifiedChain{prefix: b.Prefix(), state: c.Verified()}
	v.mu.Lock()
	defer v.mu.Unlock()
	if kept.state.Trust() == v.trust {
		v.add(kept)
	}
}

// epoch forgets everything where the trust entries are others than before.
func (v *verifiedChains) epoch(trust *identity.Trust) {
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
