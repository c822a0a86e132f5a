package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// A proxy stands in front of the peer listener of a node. It sees ciphertext alone, as
// any router does, and treats it badly: it cuts at any byte, delays, and swallows.
type proxy struct {
	l       net.Listener
	o       *options
	to      atomic.Value // string
	harm    atomic.Int64 // how many of 1,000 connections get a fault
	dead    atomic.Bool  // nothing passes
	faults  *counter
	closing chan struct{}

	mu    sync.Mutex
	rng   *rand.Rand
	conns map[net.Conn]struct{}
}

func newProxy(o *options, name string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, o: o, faults: newCounter(), rng: o.random("proxy " + name), conns: map[net.Conn]struct{}{}, closing: make(chan struct{})}
	p.to.Store("")
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(conn)
		}
	}()
	return p, nil
}

func (p *proxy) addr() string { return p.l.Addr().String() }

// aim names the listener that connections go to from now on.
func (p *proxy) aim(address string) { p.to.Store(address) }

func (p *proxy) close() {
	close(p.closing)
	_ = p.l.Close()
	p.cutAll()
}

// cutAll ends every connection that there is, wherever it stands.
func (p *proxy) cutAll() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.conns)
	for c := range p.conns {
		_ = c.Close()
	}
	return n
}

// A fault is what happens to one connection: when at bytes have passed in one direction.
type fault struct {
	kind string // "", cut, one-way, hole, slow
	at   int64
	down bool // counted on the way back to the sender
	hold time.Duration
}

// draw chooses the fault of a new connection.
func (p *proxy) draw() fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rng.Int64N(1000) >= p.harm.Load() {
		return fault{}
	}
	f := fault{
		kind: []string{"cut", "one-way", "hole", "slow"}[p.rng.IntN(4)],
		down: p.rng.IntN(2) == 0,
		hold: time.Duration(100+p.rng.IntN(2000)) * time.Millisecond,
	}
	// Half of them early, where the handshake and the first request are.
	f.at = p.rng.Int64N(6_000)
	if p.rng.IntN(2) == 0 {
		f.at = p.rng.Int64N(120_000)
	}
	return f
}

// A link is one connection through the proxy.
type link struct {
	p        *proxy
	fault    fault
	in, out  net.Conn
	up, down atomic.Int64 // bytes so far, to the receiver and back
	turn     atomic.Int64 // bytes of the request that has no answer yet
	answer   atomic.Int64 // bytes of the answer under way
	sprung   atomic.Bool
	deaf     atomic.Bool // what comes back is lost
}

func (p *proxy) serve(in net.Conn) {
	defer in.Close()
	to, _ := p.to.Load().(string)
	if p.dead.Load() || to == "" {
		p.faults.add("network: connection refused")
		return
	}
	out, err := net.DialTimeout("tcp", to, 2*time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	p.mu.Lock()
	p.conns[in], p.conns[out] = struct{}{}, struct{}{}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.conns, in)
		delete(p.conns, out)
		p.mu.Unlock()
	}()
	k := &link{p: p, fault: p.draw(), in: in, out: out}
	var wg sync.WaitGroup
	wg.Go(func() { k.pump(out, in, false) })
	wg.Go(func() { k.pump(in, out, true) })
	wg.Wait()
}

var errCut = errors.New("cut")

// pump moves bytes one way until the connection or the fault ends it.
func (k *link) pump(w io.Writer, r io.Reader, down bool) {
	defer k.in.Close()
	defer k.out.Close()
	buf := make([]byte, 16<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if werr := k.pass(w, buf[:n], down); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass writes b, or as much of it as the fault lets through.
func (k *link) pass(w io.Writer, b []byte, down bool) error {
	if down && k.deaf.Load() {
		return nil
	}
	total := &k.up
	if down {
		total = &k.down
		k.turn.Store(0)
		k.answer.Add(int64(len(b)))
	} else {
		k.turn.Add(int64(len(b)))
		k.answer.Store(0)
	}
	before := total.Load()
	total.Add(int64(len(b)))
	if f := k.fault; f.kind != "" && f.down == down && before <= f.at && f.at < before+int64(len(b)) && k.sprung.CompareAndSwap(false, true) {
		return k.spring(w, b, f.at-before)
	}
	_, err := w.Write(b)
	return err
}

// spring lets the fault happen after the first keep bytes of b.
func (k *link) spring(w io.Writer, b []byte, keep int64) error {
	k.p.faults.add("network: " + k.fault.kind + ", " + k.phase())
	switch k.fault.kind {
	case "cut":
		_, _ = w.Write(b[:keep])
		return errCut
	case "one-way": // the request goes on, and nothing of its answer comes back
		k.deaf.Store(true)
		k.later()
		if !k.fault.down {
			_, err := w.Write(b)
			return err
		}
		return nil
	case "hole": // both ways are silent, then gone
		_, _ = w.Write(b[:keep])
		select {
		case <-time.After(k.fault.hold):
		case <-k.p.closing:
		}
		return errCut
	}
	for len(b) > 0 { // slow
		n := min(len(b), 1+len(b)/8)
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
		time.Sleep(k.fault.hold / 16)
	}
	return nil
}

// later ends the connection once its hold is over.
func (k *link) later() {
	time.AfterFunc(k.fault.hold, func() {
		_ = k.in.Close()
		_ = k.out.Close()
	})
}

// handshakeBytes is about what a TLS handshake with client certificates takes from the
// side that connects.
const handshakeBytes = 2500

// phase says where in a request the connection is, as far as can be told from outside.
func (k *link) phase() string {
	switch {
	case k.up.Load() < handshakeBytes:
		return "in the handshake"
	case !k.fault.down:
		return "in the request"
	case k.answer.Load() <= 64:
		return "before the answer"
	}
	return "in the answer"
}

// A counter counts by name.
type counter struct {
	mu sync.Mutex
	m  map[string]int
}

func newCounter() *counter { return &counter{m: map[string]int{}} }

func (c *counter) add(name string) { c.addN(name, 1) }

func (c *counter) addN(name string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.m[name] += n
}

// of is how often a name was counted.
func (c *counter) of(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m[name]
}

func (c *counter) copy() map[string]int {
	m := map[string]int{}
	c.into(m)
	return m
}

// since names what was counted since a copy, as often as it was.
func (c *counter) since(before map[string]int) []string {
	var list []string
	for name, n := range c.copy() {
		for range n - before[name] {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	return list
}

// into adds the counts to m.
func (c *counter) into(m map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, v := range c.m {
		m[k] += v
	}
}
