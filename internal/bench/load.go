package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A load is a number of clients, each with one connection that it keeps.
type load struct {
	stage   *stage
	clients []*http.Client
	url     string
	dials   atomic.Int64
	http2   bool // they share one connection
}

// newLoad makes the clients, each with a connection of its own, by HTTP/1.1.
func newLoad(s *stage, clients int) *load {
	l := &load{stage: s, url: "https://" + s.peer + "/v1/transferblocks"}
	sessions := tls.NewLRUClientSessionCache(clients)
	for range clients {
		l.clients = append(l.clients, &http.Client{Timeout: time.Minute, Transport: l.transport(sessions)})
	}
	return l
}

// newSharedLoad makes clients that share one connection by HTTP/2.
func newSharedLoad(s *stage, clients int) *load {
	l := &load{stage: s, url: "https://" + s.peer + "/v1/transferblocks", http2: true}
	t := l.transport(tls.NewLRUClientSessionCache(1))
	t.ForceAttemptHTTP2 = true
	for range clients {
		l.clients = append(l.clients, &http.Client{Timeout: time.Minute, Transport: t})
	}
	return l
}

// transport keeps one connection to the node, whose certificate it checks.
func (l *load) transport(sessions tls.ClientSessionCache) *http.Transport {
	return &http.Transport{
		MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, DisableCompression: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			l.dials.Add(1)
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: &tls.Config{Certificates: []tls.Certificate{l.stage.party.tls}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true,
			ClientSessionCache: sessions, VerifyConnection: func(c tls.ConnectionState) error {
				return l.stage.entry.CheckTLS(c.PeerCertificates, identity.ServerAuth, time.Now())
			}},
	}
}

func (l *load) close() {
	for _, c := range l.clients {
		c.CloseIdleConnections()
	}
}

// put sends one block and returns the answer.
func (l *load) put(ctx context.Context, c *http.Client, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, l.url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/jose")
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if want := map[bool]int{false: 1, true: 2}[l.http2]; resp.ProtoMajor != want {
		return 0, nil, fmt.Errorf("the node answered by %s, and HTTP/%d was meant", resp.Proto, want)
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, err
}

// A reading is what a number of transfers cost.
type reading struct {
	count   int
	wall    time.Duration
	cpu     time.Duration // of the node's process
	latency []time.Duration
}

func (r reading) perTransfer() time.Duration { return r.cpu / time.Duration(r.count) }
func (r reading) rate() float64              { return float64(r.count) / r.wall.Seconds() }

func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(p*float64(len(sorted))), len(sorted)-1)]
}

// send drives blocks through the clients, each of which has one under way. Each must be
// accepted; the receipt of the last is verified.
func (l *load) send(ctx context.Context, list []*block) (reading, error) {
	r := reading{count: len(list), latency: make([]time.Duration, len(list))}
	errs := make([]error, len(l.clients))
	var next atomic.Int64
	var wg sync.WaitGroup
	began, start := processTime(l.stage.pid()), time.Now()
	for i, c := range l.clients {
		wg.Go(func() {
			for errs[i] == nil {
				n := int(next.Add(1)) - 1
				if n >= len(list) {
					return
				}
				at := time.Now()
				status, answer, err := l.put(ctx, c, list[n].body)
				r.latency[n] = time.Since(at)
				switch {
				case err != nil:
					errs[i] = err
				case status != http.StatusOK:
					errs[i] = fmt.Errorf("a block was not accepted: %d %s", status, answer)
				case n == len(list)-1:
					_, errs[i] = envelope.OpenReceipt(answer, list[n].entries[len(list[n].entries)-1].Claimed, l.stage.entry, time.Now())
				}
			}
		})
	}
	wg.Wait()
	r.wall, r.cpu = time.Since(start), processTime(l.stage.pid())-began
	slices.Sort(r.latency)
	for _, err := range errs {
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

// splitJWS gives the signed part of a compact JWS, and its signature.
func splitJWS(raw string) (input string, signature []byte) {
	dot := strings.LastIndexByte(raw, '.')
	sig, _ := base64.RawURLEncoding.DecodeString(raw[dot+1:])
	return raw[:dot], sig
}
