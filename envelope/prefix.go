package envelope

import "strconv"

// A Prefix is the beginning of a chain as it was read before, so that what is the same to
// the byte need not be read again. It says what stood in a request, and nothing of whether
// that is true. It does not change, and many may use it at once.
type Prefix struct {
	jws     []string
	claimed []Hash
	sums    []byte // what RequestSum hashes of the entries
}

// Len is how many entries it has.
func (p *Prefix) Len() int { return len(p.jws) }

// First is the compact JWS of the first entry.
func (p *Prefix) First() string { return p.jws[0] }

// Size is about how many bytes it takes.
func (p *Prefix) Size() int {
	size := len(p.sums)
	for _, jws := range p.jws {
		size += len(jws) + len(jws)/16 + 64
	}
	return size
}

// Prefix is the whole chain of b, which must be parsed, as the beginning of a longer one.
func (b *Transferblock) Prefix() *Prefix {
	n, k := len(b.Entries), b.Known()
	p := &Prefix{jws: make([]string, n), claimed: make([]Hash, n), sums: make([]byte, 0, n*160)}
	if k > 0 {
		p.sums = append(p.sums, b.prefix.sums...)
	}
	for i := range b.Entries {
		e := &b.Entries[i]
		p.jws[i], p.claimed[i] = e.JWS.Raw, e.Claimed
		if i >= k {
			p.sums = e.appendSum(p.sums, 0)
		}
	}
	return p
}

// Known is how many of the first entries are those of the prefix that ParseKnown was given.
// They have Claimed and JWS.Raw and nothing else; who needs more parses the body without it.
func (b *Transferblock) Known() int {
	if b.prefix == nil {
		return 0
	}
	return b.prefix.Len()
}

// begins reports whether a longer chain begins with all of p. An entry with an eblEnvelope
// beside it is another than the one that was read.
func (p *Prefix) begins(s []byte, parts []part) bool {
	if p.Len() >= len(parts) {
		return false
	}
	for i, jws := range p.jws {
		if e := &parts[i]; e.beside != nil || e.claimed != p.claimed[i] || string(s[e.from:e.to]) != jws {
			return false
		}
	}
	return true
}

// A part is one entry of a chain before its JWS is read, which is s[from:to] of the text.
type part struct {
	claimed  Hash
	from, to int
	beside   []byte
}

// appendSum writes what RequestSum hashes of an entry, up to what stands beside it.
func (e *Entry) appendSum(b []byte, beside int) []byte {
	size := func(n int) { b = append(strconv.AppendInt(b, int64(n), 10), ':') }
	b = append(b, e.Claimed[:]...)
	b = append(b, e.JWS.sums.signed[:]...)
	size(len(e.JWS.signature))
	b = append(b, e.JWS.signature...)
	size(beside)
	return b
}
