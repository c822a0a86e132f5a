package node

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"eblnode/envelope"
	"eblnode/identity"
)

// rejection finds a rejection of this envelope by this peer; nil if there is none.
func (in *incoming) rejection(ctx context.Context, q querier, where string, args ...any) (*Reply, error) {
	hash := in.hash()
	var refusal, rejection string
	err := q.QueryRowContext(ctx, "SELECT refusal, rejection FROM rejections WHERE envelope_hash = ? AND peer = ? AND "+where+" ORDER BY id LIMIT 1",
		append([]any{hash[:], in.sender.String()}, args...)...).Scan(&refusal, &rejection)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var stored storedRefusal
	if err := json.Unmarshal([]byte(refusal), &stored); err != nil {
		return nil, fmt.Errorf("reading a stored refusal: %w", err)
	}
	return &Reply{Rejection: rejection, Refusal: stored.error(), Reference: stored.Reference, At: stored.At}, nil
}

// reject signs a no and stores it, in a transaction that has seen that the envelope was
// not accepted.
func (in *incoming) reject(t *tx, e *Error) (Reply, func(), error) {
	n := in.node
	if in.before != nil {
		return Reply{}, nil, errWhole
	}
	code, signed := responseCode(e)
	if !signed {
		return Reply{}, nil, fmt.Errorf("signing a refusal that is not to be signed: %w", e)
	}
	if !n.takeVerdict(in.sender) {
		return Reply{}, nil, tooManyVerdicts()
	}
	hash, jwsSum := in.hash(), envelope.HashOf([]byte(in.block.Last().JWS.Raw))
	signer, err := n.signer(t.now)
	if err != nil {
		return Reply{}, nil, err
	}
	jws, err := envelope.SignRejection(envelope.Rejection{
		EnvelopeHash: hash, JWSSum: jwsSum, Sender: in.sender, Receiver: n.Domain(),
		Code: code, Reason: e.Text, At: t.now,
	}, signer)
	if err != nil {
		return Reply{}, nil, err
	}
	stored := storedRefusal{e.Code, e.Text, e.Detail, e.Path, e.Entry, e.Transaction, newID(), millis(t.now)}
	text, err := json.Marshal(stored)
	if err != nil {
		return Reply{}, nil, err
	}
	if err := t.insertRejection(in.block.Last().Payload.DocumentHash, in.sender, jws, rejectionData{
		Envelope: hash, JWSSum: jwsSum, Sum: in.sum, Code: code, Refusal: text, Branches: in.branches, Decision: in.decision}); err != nil {
		return Reply{}, nil, err
	}
	if err := in.decided(t); err != nil {
		return Reply{}, nil, err
	}
	// With the sums of question and answer: nothing else says that either was not changed since.
	detail := hash.String() + " " + string(code) + " " + e.Text + " request " + in.sum.String() + " answer " + envelope.HashOf(text).String()
	if err := t.audit(in.sender.String(), "transfer.reject", in.block.Last().Payload.DocumentHash, detail); err != nil {
		return Reply{}, nil, err
	}
	return Reply{Rejection: jws, Refusal: e, Reference: stored.Reference, At: stored.At}, func() { n.Stats.Rejected.Add(1) }, nil
}

// insertRejection stores a no that we signed, and tells the witness: a database that had
// forgotten it could accept the envelope after its sender has its bill back.
func (t *tx) insertRejection(document envelope.Hash, peer identity.Host, jws string, d rejectionData) error {
	if err := t.exec("INSERT INTO rejections (envelope_hash, jws_sum, request_sum, peer, code, refusal, rejection, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		d.Envelope[:], d.JWSSum[:], d.Sum[:], peer.String(), string(d.Code), string(d.Refusal), jws, millis(t.now)); err != nil {
		return err
	}
	return t.witness(record{kind: recordRejection, document: document, head: d.Envelope, peer: peer.String(), jws: jws, data: d})
}

// storedRefusal is the form of an Error in the database.
type storedRefusal struct {
	Code        Code   `json:"code"`
	Text        string `json:"text"`
	Detail      string `json:"detail"`
	Path        string `json:"path,omitempty"`
	Entry       int    `json:"entry"`
	Transaction int    `json:"transaction"`
	Reference   string `json:"reference"`
	At          int64  `json:"at"`
}

func (s storedRefusal) error() *Error {
	return &Error{Code: s.Code, Text: s.Text, Detail: s.Detail, Path: s.Path, Entry: s.Entry, Transaction: s.Transaction}
}

func (n *Node) takeVerdict(peer identity.Host) bool {
	return n.verdicts.take(peer.String(), n.cfg.VerdictsPerHour, n.cfg.Now())
}

func tooManyVerdicts() *Error {
	e := refuse(TooManyRequests, "tooManyRequests", "this peer has had its signed answers for this hour")
	e.Retry = 600
	return e
}
