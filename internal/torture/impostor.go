package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// An impostor answers in the place of a node, with its keys: a platform that is out of
// order. What it says to a block depends on the bill.
type impostor struct {
	n, of    *node  // whom it plays, and whose blocks it passes on
	real     string // where n itself listens
	signer   *identity.Signer
	client   *http.Client // as of, to n
	listener net.Listener
	server   *http.Server

	mu    sync.Mutex
	moods map[string]mood // by document hash
}

// A mood is how an impostor treats a bill.
type mood int

const (
	mute     mood = iota // an unsigned no, which settles nothing
	disputes             // DISE, signed
	passes               // the block goes to the node, and its answer back
)

func newImpostor(n, of *node) (*impostor, error) {
	p := &impostor{n: n, of: of, moods: map[string]mood{}}
	p.real, _ = n.proxy.to.Load().(string)
	names, err := filepath.Glob(filepath.Join(n.dir, "keys", "signing-*.key"))
	if err != nil || len(names) != 1 || len(n.entry.Keys) != 1 {
		return nil, errors.Join(errors.New("not one signing key in "+n.dir), err)
	}
	text, err := os.ReadFile(names[0])
	if err != nil {
		return nil, err
	}
	private, err := identity.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	for _, alg := range []identity.Alg{n.entry.Keys[0].Alg, "ES256", "PS256"} {
		if p.signer, err = identity.NewSigner(n.entry.Keys[0], alg, private); err == nil {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	cert, err := n.tlsKeys()
	if err != nil {
		return nil, err
	}
	if p.client, err = peerClient(of, n); err != nil {
		return nil, err
	}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}}
	go func() { _ = p.server.ServeTLS(p.listener, "", "") }() // it ends with close
	n.proxy.cutAll()
	n.proxy.aim(p.listener.Addr().String())
	return p, nil
}

// close lets the node answer for itself again.
func (p *impostor) close() error {
	p.n.proxy.aim(p.real)
	p.n.proxy.cutAll()
	p.client.CloseIdleConnections()
	return p.server.Close()
}

func (p *impostor) treat(document string, m mood) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moods[document] = m
}

func (p *impostor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		http.NotFound(w, r) // as the receivers of 2022 say to who asks for their keys
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 8<<20))
	if err != nil {
		return
	}
	block, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		p.answer(w, http.StatusBadRequest, 7001, "malformed", "")
		return
	}
	p.mu.Lock()
	m := p.moods[block.Last().Payload.DocumentHash.String()]
	p.mu.Unlock()
	switch m {
	case disputes:
		rejection, err := p.dispute(block)
		if err != nil {
			p.answer(w, http.StatusInternalServerError, 7500, "internalError", "")
			return
		}
		p.answer(w, http.StatusConflict, 8003, "forked", rejection)
	case passes:
		status, text, err := putBlock(r.Context(), p.client, p.real, body)
		if err != nil {
			p.answer(w, http.StatusServiceUnavailable, 7503, "unavailable", "")
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write(text) // whoever asked may be gone
	default:
		p.answer(w, http.StatusForbidden, 7103, "unknownKey", "")
	}
}

func (p *impostor) dispute(block *envelope.Transferblock) (string, error) {
	from, err := identity.ParseHost(p.of.domain)
	if err != nil {
		return "", err
	}
	last := block.Last()
	return envelope.SignRejection(envelope.Rejection{EnvelopeHash: last.Hash(), JWSSum: envelope.HashOf([]byte(last.JWS.Raw)),
		Sender: from, Receiver: p.n.entry.Domain, Code: envelope.DisputeCode, Reason: "forked", At: time.Now()}, p.signer)
}

func (p *impostor) answer(w http.ResponseWriter, status, code int, text, rejection string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"statusCode": status, "rejectionSignedContent": rejection,
		"errors": []map[string]any{{"errorCode": code, "errorCodeText": text, "errorCodeMessage": "out of order"}}})
}

// deliver puts the block of the open transfer of a bill to the node itself, and throws the
// answer away: who sent it does not learn what became of it.
func (p *impostor) deliver(ctx context.Context, f *fleet, transfer string) error {
	x, err := f.readLetter(ctx, p.of, "t.id = ?", transfer)
	if err != nil {
		return err
	}
	status, text, err := putBlock(ctx, p.client, p.real, x.body)
	if err == nil && status != http.StatusOK {
		err = errors.New("a block was not accepted: " + string(text[:min(len(text), 300)]))
	}
	return err
}
