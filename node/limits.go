package node

import (
	"time"

	"eblnode/envelope"
)

// Limits are the limits of what peers send, as configured.
func (n *Node) Limits() envelope.Limits { return n.cfg.Limits }

// Now is the node's clock, by which certificates of connections are judged too.
func (n *Node) Now() time.Time { return n.cfg.Now() }
