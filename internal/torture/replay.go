package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A replayer sends what nodes have sent once more, with their own certificates, several
// times at once and while the first is still under way, and keeps every receipt it gets.
type replayer struct {
	f      *fleet
	l      *load
	h      *history
	rng    *rand.Rand
	counts *counter
}

// A letter is a request that a node has sent, or is about to.
type letter struct {
	from, to *node
	envelope envelope.Hash
	state    string
	body     []byte
}

func (r *replayer) run(ctx context.Context, finished <-chan struct{}) error {
	for {
		select {
		case <-finished:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(20+r.rng.IntN(150)) * time.Millisecond):
		}
		from := r.f.nodes[r.rng.IntN(len(r.f.nodes))]
		x, err := r.pick(ctx, from)
		if err != nil || x == nil {
			continue // such as a node that is starting
		}
		if err := r.send(ctx, x, 1+r.rng.IntN(3)); err != nil {
			return err
		}
	}
}

// pick reads a transfer from the database of its sender.
func (r *replayer) pick(ctx context.Context, from *node) (x *letter, err error) {
	err = from.read(func(db *sql.DB) error {
		var bill, idx int64
		var peer, state, jws string
		var document []byte
		err := db.QueryRowContext(ctx, `SELECT t.bill, t.idx, t.peer, t.state, t.jws, b.document FROM transfers t JOIN bills b ON b.id = t.bill
		  WHERE t.state IN ('sending', 'accepted') AND t.seq > (SELECT max(seq) FROM transfers) - 300 ORDER BY t.state = 'accepted', random() LIMIT 1`).Scan(&bill, &idx, &peer, &state, &jws, &document)
		if err != nil {
			return err
		}
		block := &envelope.Transferblock{Document: document}
		rows, err := db.QueryContext(ctx, "SELECT claimed, jws FROM entries WHERE bill = ? AND idx < ? ORDER BY idx", bill, idx)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var claimed []byte
			var e envelope.Entry
			if err := rows.Scan(&claimed, &e.JWS.Raw); err != nil {
				return err
			}
			copy(e.Claimed[:], claimed)
			block.Entries = append(block.Entries, e)
		}
		last, err := envelope.ParseEntry(jws, envelope.Limits{})
		if err != nil {
			return err
		}
		block.Entries = append(block.Entries, last)
		x = &letter{from: from, to: r.f.find(peer), envelope: last.Hash(), state: state, body: block.Marshal(false)}
		return rows.Err()
	})
	return x, err
}

// send puts copies of a letter at once.
func (r *replayer) send(ctx context.Context, x *letter, copies int) error {
	if x.to == nil || x.to.proxy == nil {
		return nil
	}
	address, _ := x.to.proxy.to.Load().(string)
	client, err := peerClient(x.from, x.to)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	errs := make([]error, copies)
	var wg sync.WaitGroup
	for i := range copies {
		wg.Go(func() { errs[i] = r.put(ctx, client, x, address) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *replayer) put(ctx context.Context, client *http.Client, x *letter, address string) error {
	status, text, err := putBlock(ctx, client, address, x.body)
	if err != nil {
		r.counts.add("replays without an answer")
		return nil
	}
	switch {
	case status == http.StatusOK:
		r.counts.add("replays of a transfer " + x.state + ": the receipt")
		return r.h.add(event{Kind: "receipt", From: x.from.domain, To: x.to.domain, Envelope: x.envelope.String(), Verdict: strings.TrimSpace(string(text)), How: "replay"})
	case x.state == "accepted" && bytes.Contains(text, []byte("rejectionSignedContent")):
		r.l.problem("envelope %s was accepted by %s, and put again it is rejected: %d %.300s", x.envelope, x.to.domain, status, text)
	default:
		r.counts.add(fmt.Sprintf("replays refused: %d", status))
	}
	return nil
}

// peerClient is a client with the TLS certificate of one node that believes only another.
func peerClient(from, to *node) (*http.Client, error) {
	names, err := filepath.Glob(filepath.Join(from.dir, "keys", "tls-*.crt"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no TLS key in %s: %w", from.dir, err)
	}
	cert, err := tls.LoadX509KeyPair(names[0], strings.TrimSuffix(names[0], ".crt")+".key")
	if err != nil {
		return nil, err
	}
	return &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // the check below is in its place
		VerifyConnection: func(s tls.ConnectionState) error {
			return to.entry.CheckTLS(s.PeerCertificates, identity.ServerAuth, time.Now())
		},
	}}}, nil
}

// putBlock puts a body to a peer listener.
func putBlock(ctx context.Context, client *http.Client, address string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+address+"/v1/transferblocks", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, text, err
}
