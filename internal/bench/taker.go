package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A taker is the listener of the sending platform: what the node sends it, it takes, with
// a receipt, a millisecond after it came.
type taker struct {
	party    *party
	listener net.Listener
	taken    atomic.Int64

	mu     sync.Mutex
	gate   chan struct{}     // while not nil, nothing is answered before it is closed
	bodies map[string][]byte // by document hash; nil: not kept
}

func newTaker(p *party) (*taker, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	t := &taker{party: p, listener: l}
	s := &http.Server{Handler: t, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{p.tls}, ClientAuth: tls.RequireAnyClientCert, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}}}
	go func() { _ = s.ServeTLS(l, "", "") }()
	return t, nil
}

func (t *taker) port() string {
	_, port, _ := net.SplitHostPort(t.listener.Addr().String())
	return port
}

// ServeHTTP takes a block.
func (t *taker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		http.Error(w, "not here", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	t.mu.Lock()
	gate := t.gate
	t.mu.Unlock()
	if gate != nil {
		<-gate
	}
	answered := time.Now().Add(time.Millisecond)
	b, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	receipt, err := envelope.SignReceipt(b.Last().Claimed, t.party.signers[identity.ES256], time.Now())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	t.mu.Lock()
	if t.bodies != nil {
		t.bodies[b.Last().Payload.DocumentHash.String()] = body
	}
	t.mu.Unlock()
	time.Sleep(time.Until(answered))
	t.taken.Add(1)
	_, _ = io.WriteString(w, receipt)
}

// order lets the holder transfer a bill to the sending platform, and waits so many seconds
// for its answer.
func (s *stage) order(ctx context.Context, c *http.Client, document envelope.Hash, wait int) error {
	body, err := json.Marshal(map[string]string{"to": "back@" + peerDomain})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("http://%s/api/v1/ebls/%s/transfer?wait=%d", s.local, document, wait), bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.tokens[holder])
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("an order was refused: %d %s", resp.StatusCode, text)
	}
	return err
}

// orders gives one order for each document, so many at a time.
func (s *stage) orders(ctx context.Context, list []*block, clients, wait int) error {
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer c.CloseIdleConnections()
	errs := make([]error, clients)
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(list) {
					return
				}
				errs[i] = s.order(ctx, c, list[n].hash, wait)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// comeBack makes blocks of n entries of which the node knows all but the last: it accepted
// n-2, sealed one itself and sent the bill away, and here it comes back.
func (s *stage) comeBack(ctx context.Context, l *load, alg identity.Alg, prefix string, n, count int) ([]*block, error) {
	list, err := s.party.blocks(alg, prefix, documentSize, n-2, count, holder+"@"+nodeDomain)
	if err != nil {
		return nil, err
	}
	if err := l.all(ctx, list); err != nil {
		return nil, err
	}
	s.taker.mu.Lock()
	s.taker.bodies = map[string][]byte{}
	s.taker.mu.Unlock()
	if err := s.orders(ctx, list, 16, 30); err != nil {
		return nil, err
	}
	s.taker.mu.Lock()
	bodies := s.taker.bodies
	s.taker.bodies = nil
	s.taker.mu.Unlock()
	errs := make([]error, count)
	inParallel(count, func(i int) {
		b := list[i]
		back, err := envelope.Parse(bodies[b.hash.String()], envelope.Limits{})
		if err != nil {
			errs[i] = fmt.Errorf("the node sent no block of bill %s: %w", b.hash, err)
			return
		}
		b.entries = back.Entries
		if errs[i] = s.party.next(alg, b, envelope.Transfer, holder+"@"+nodeDomain); errs[i] == nil {
			b.marshal()
		}
	})
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// A sending is what it cost to send bills away.
type sending struct {
	Count   int     `json:"count"`
	Outbox  float64 `json:"outboxPerSecondAndCore"` // from the order's commit to the receipt's
	Whole   float64 `json:"wholePerSecondAndCore"`  // from the order of a user on
	Wall    float64 `json:"wholePerSecond"`
	CPU     float64 `json:"outboxMicros"`
	AllCPU  float64 `json:"wholeMicros"`
	Dials   int64   `json:"-"`
	Settled int64   `json:"settled"`
}

// sender measures the outbox: orders are given while the peer answers nothing, then it
// answers each block in a millisecond. And all of it, orders included, without that.
func (s *stage) sender(ctx context.Context, l *load, count int) (*sending, error) {
	serial++
	list, err := s.party.blocks(identity.ES256, fmt.Sprintf("S%s-%d", runID, serial), documentSize, 1, 2*count, holder+"@"+nodeDomain)
	if err != nil {
		return nil, err
	}
	if err := l.all(ctx, list); err != nil {
		return nil, err
	}
	r := &sending{Count: count}
	began, start, before := processTime(s.pid()), time.Now(), s.taker.taken.Load()
	if err := s.orders(ctx, list[:count], 32, 30); err != nil {
		return nil, err
	}
	cpu := processTime(s.pid()) - began
	r.Wall = float64(count) / time.Since(start).Seconds()
	r.AllCPU, r.Whole = micro(cpu)/float64(count), float64(count)/cpu.Seconds()
	gate := make(chan struct{})
	s.taker.mu.Lock()
	s.taker.gate = gate
	s.taker.mu.Unlock()
	if err := s.orders(ctx, list[count:], 32, 0); err != nil {
		return nil, err
	}
	time.Sleep(200 * time.Millisecond)
	began = processTime(s.pid())
	s.taker.mu.Lock()
	s.taker.gate = nil
	s.taker.mu.Unlock()
	close(gate)
	for s.taker.taken.Load()-before < int64(2*count) {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	for last := time.Duration(0); processTime(s.pid())-last > time.Millisecond; { // until it rests
		last = processTime(s.pid())
		time.Sleep(20 * time.Millisecond)
	}
	cpu = processTime(s.pid()) - began
	r.CPU, r.Outbox = micro(cpu)/float64(count), float64(count)/cpu.Seconds()
	r.Settled = s.taker.taken.Load() - before
	return r, nil
}
