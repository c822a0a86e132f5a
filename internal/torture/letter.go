package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A letter is a request that a node has sent, or is about to.
type letter struct {
	from, to *node
	envelope envelope.Hash
	state    string // of the transfer, at its sender
	verdict  string // the signed answer that its sender has; "" for none
	body     []byte
}

// readLetter reads a transfer, the one that the rest of a query over t names, from the
// database of its sender; sql.ErrNoRows where there is none.
func (f *fleet) readLetter(ctx context.Context, from *node, where string, args ...any) (x *letter, err error) {
	err = from.read(func(db *sql.DB) error {
		var bill, idx int64
		var peer, jws string
		var document []byte
		l := &letter{from: from}
		err := db.QueryRowContext(ctx, `SELECT t.bill, t.idx, t.peer, t.state, t.jws, coalesce(t.verdict, ''), d.document
		  FROM transfers t JOIN documents d ON d.bill = t.bill WHERE `+where, args...).Scan(&bill, &idx, &peer, &l.state, &jws, &l.verdict, &document)
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
		l.to, l.envelope, l.body = f.find(peer), last.Hash(), block.Marshal(false)
		x = l
		return rows.Err()
	})
	return x, err
}

// readLetters are all such transfers, with answers.
func (f *fleet) readLetters(ctx context.Context, from *node, where string, args ...any) ([]*letter, error) {
	var ids []string
	err := from.read(func(db *sql.DB) error {
		rows, err := db.QueryContext(ctx, "SELECT t.id FROM transfers t WHERE "+where, args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return rows.Err()
	})
	var list []*letter
	for _, id := range ids {
		x, err := f.readLetter(ctx, from, "t.id = ?", id)
		if err != nil {
			return nil, err
		}
		list = append(list, x)
	}
	return list, err
}

// tlsKeys are the certificate and key with which a node connects and listens.
func (n *node) tlsKeys() (tls.Certificate, error) {
	names, err := filepath.Glob(filepath.Join(n.dir, "keys", "tls-*.crt"))
	if err != nil || len(names) == 0 {
		return tls.Certificate{}, fmt.Errorf("no TLS key in %s: %w", n.dir, err)
	}
	return tls.LoadX509KeyPair(names[0], strings.TrimSuffix(names[0], ".crt")+".key")
}

// peerClient is a client with the TLS certificate of one node that believes only another.
func peerClient(from, to *node) (*http.Client, error) {
	cert, err := from.tlsKeys()
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

// rejectionIn is the signed no in an answer; "" where there is none.
func rejectionIn(answer []byte) string {
	var e struct {
		Signed string `json:"rejectionSignedContent"`
	}
	_ = json.Unmarshal(answer, &e) // a receipt is no JSON
	return e.Signed
}
