package node

import (
	"eblnode/envelope"
	"eblnode/identity"
)

// memory is what the writer knows of the database without asking: what it wrote itself,
// since nobody else writes. It is forgotten whenever anything is taken back, and used in
// turn only.
type memory struct {
	lastAudit []byte // hash of the newest row of the log; nil: not known
	place     *place // in the witness; nil: not known
	// keys are those in evidence_keys, and thumbs their names.
	keys   map[envelope.Hash]bool
	thumbs map[*identity.Key]envelope.Hash
	// noRefused says that the table refused is empty.
	noRefused bool
}

// maxRemembered bounds what is kept of keys.
const maxRemembered = 4096

// forget is for whenever a transaction, or a part of one, was taken back.
func (m *memory) forget() {
	m.lastAudit, m.place, m.noRefused = nil, nil, false
	clear(m.keys)
}

// thumbprint is k's, computed once for each key.
func (m *memory) thumbprint(k *identity.Key) envelope.Hash {
	if h, known := m.thumbs[k]; known {
		return h
	}
	if m.thumbs == nil || len(m.thumbs) >= maxRemembered {
		m.thumbs = map[*identity.Key]envelope.Hash{}
	}
	h := envelope.Hash(k.Thumbprint())
	m.thumbs[k] = h
	return h
}

// keyIsStored notes that a key is in evidence_keys.
func (m *memory) keyIsStored(h envelope.Hash) {
	if m.keys == nil || len(m.keys) >= maxRemembered {
		m.keys = map[envelope.Hash]bool{}
	}
	m.keys[h] = true
}
