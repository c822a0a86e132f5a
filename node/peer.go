package node

import (
	"context"

	"eblnode/envelope"
	"eblnode/identity"
)

// A Peer is a node as another platform sees it. It is implemented by *Node, a node in
// this process, and by *api.Client, a node elsewhere; whatever holds for one holds
// for the other, and one suite of tests says so.
type Peer interface {
	// Check proves that sender can reach the peer and is known to it, without asking
	// anything of it. Any error means: do not seal a bill for it now.
	Check(ctx context.Context, sender identity.Host) error

	// PutTransferblock offers a transferblock. A nil error means a signed answer:
	// a receipt or a rejection, neither verified yet by whoever asked. An error
	// (usually *Error) means that nothing was signed: the outcome is not known
	// and the same bytes must be sent again.
	PutTransferblock(ctx context.Context, r Request) (Reply, error)

	// Verdict asks for the carrier's verdict on a bill that sender had a part in. The
	// error is an *Error with code NotFound until there is one.
	Verdict(ctx context.Context, sender identity.Host, document envelope.Hash) (string, error)
}

// A Request is one offer of a transferblock.
type Request struct {
	// Sender is the domain of the platform that asks, as proved by its TLS
	// certificate and by nothing else.
	Sender identity.Host
	// Body is the transferblock as it came.
	Body []byte
}

// A Reply is a signed answer. Exactly one of Receipt and Rejection is set.
type Reply struct {
	Receipt   string // compact JWS over the envelopeHash
	Rejection string // compact JWS; see envelope.Rejection
	// Refusal says why, beside a Rejection; not signed, so not believed.
	Refusal *Error
	// Reference and At (milliseconds since 1970) go with a Refusal, and are stored with it, so that the same
	// question has the same answer to the byte.
	Reference string
	At        int64
}

var _ Peer = (*Node)(nil)
