package ebltest

import (
	"errors"

	"eblnode/discovery"
	"eblnode/identity"
	"eblnode/node"
)

func (p *Platform) listen() {}

func (p *Platform) serve(*node.Node) (stop func()) { return func() {} }

func (p *Platform) dialTLS(*identity.Platform, discovery.Endpoint) (node.Peer, error) {
	return nil, errors.New("no TLS yet")
}
