package envelope

import (
	"encoding/base64"
	"strconv"

	"eblnode/identity"
)

// This file reads a bundle that is well formed, as scan.go does a block: at anything unusual,
// and anything wrong, it gives up, and parseBundleSlowly reads the same text anew.

// A topMember is a member of the bundle itself, as it stands there.
type topMember struct {
	name  string
	value []byte
}

// scanBundle is nil where the text is not a bundle, or not an ordinary one.
func scanBundle(body []byte, limits Limits) *Bundle {
	if !valid(body) {
		return nil
	}
	s := bundleScan{scanner: newScanner(body, limits.Depth), limits: limits, b: &Bundle{body: body}}
	if s.next() != '{' {
		return nil
	}
	s.b.Block.Field = chainField
	s.members(func(name []byte) {
		start := s.i
		s.member(string(name))
		s.b.members = append(s.b.members, topMember{string(name), s.s[start:s.i:s.i]})
	})
	if s.bad || s.required != 4 || len(s.b.Block.Entries)+len(s.b.Steps) == 0 {
		return nil
	}
	return s.b
}

type bundleScan struct {
	*scanner
	limits   Limits
	b        *Bundle
	required int // how many of format, made, documentHash and chain were there
}

func (s *bundleScan) member(name string) {
	b := s.b
	switch name {
	case "format", "made", "documentHash", "chain":
		s.required++
		s.needed(name)
	case "document":
		switch {
		case s.s[s.i] == 'n':
			s.word()
		default:
			start := s.i
			b.Block.scanDocument(s.scanner, true)
			s.bad = s.bad || s.i-start > maxDocument
		}
	case "steps":
		s.texts(s.limits.Transactions, func(raw string) *FormatError {
			j, st, tx, err := stepOf(raw, s.limits)
			b.Steps = append(b.Steps, BundleStep{JWS: j, Step: st, Transaction: tx})
			return err
		})
	case "receipts", "rejections", "verdict":
		s.answers(name)
	case "branches":
		s.list(MaxBranches, s.branch)
	case "certificates":
		s.ders(&b.Certificates)
	case "ocsp":
		s.ders(&b.OCSP)
	case "checks":
		s.list(maxCertificates, s.check)
	case "trust":
		s.list(maxTrustEntries, func() {
			if s.s[s.i] != '{' {
				s.bad = true
				return
			}
			text := s.skip(false)
			b.Trust = append(b.Trust, text[:len(text):len(text)])
		})
	case "signature":
		b.Signature, _ = s.optional()
	default:
		s.bad = true
	}
}

// needed reads what must be there.
func (s *bundleScan) needed(name string) {
	switch name {
	case "format":
		s.bad = string(s.plain()) != BundleFormat || s.bad
	case "made":
		if s.s[s.i] != '{' {
			s.bad = true
			return
		}
		s.made()
	case "documentHash":
		s.hash(&s.b.DocumentHash)
	case "chain":
		if s.s[s.i] != '[' {
			s.bad = true
			return
		}
		ahead := *s.scanner
		if ahead.i++; ahead.next() == ']' {
			s.elements(func() {})
			return
		}
		s.b.Block.scanChain(s.scanner, s.limits, true, nil)
	}
}

func (s *bundleScan) made() {
	var by, at, selection bool
	m := &s.b.Made
	s.members(func(name []byte) {
		switch string(name) {
		case "by":
			m.by, by = s.optional()
		case "at":
			m.at, at = s.optional()
		case "selection":
			var text string
			text, selection = s.optional()
			m.Selection = Selection(text)
		default:
			s.bad = true
		}
	})
	if s.bad || !by || !at || !selection {
		s.bad = true
		return
	}
	s.host(m.by, &m.By)
	var ok bool
	if m.At, ok = identity.ParseTime(m.at); !ok {
		s.bad = true
	}
	switch m.Selection {
	case SelectBill, SelectTransfer, SelectFork, SelectArchive:
	default:
		s.bad = true
	}
}

func (s *bundleScan) answers(name string) {
	b := s.b
	switch name {
	case "receipts":
		s.texts(s.limits.Chain, func(raw string) *FormatError {
			j, err := receiptOf(raw)
			b.Receipts = append(b.Receipts, j)
			return err
		})
	case "rejections":
		s.texts(s.limits.Chain, func(raw string) *FormatError {
			j, r, err := rejectionOf(raw)
			b.Rejections = append(b.Rejections, BundleRejection{JWS: j, Rejection: r})
			return err
		})
	case "verdict":
		raw, found := s.optional()
		if s.bad || !found {
			return
		}
		j, v, err := verdictOf(raw)
		s.bad = err != nil
		b.Verdict = &BundleVerdict{JWS: j, Verdict: v}
	}
}

func (s *bundleScan) branch() {
	if s.s[s.i] != '{' {
		s.bad = true
		return
	}
	br := Branch{At: -1}
	s.members(func(name []byte) {
		switch string(name) {
		case "from":
			br.From, _ = s.optional()
		case "at":
			var err error
			if br.At, err = strconv.Atoi(string(s.skip(false))); err != nil || br.At < 0 {
				s.bad = true
			}
		case "entries":
			s.texts(s.limits.Chain, func(raw string) *FormatError {
				e, err := scanEntry(raw, s.limits)
				e.Claimed = e.Hash()
				br.Entries = append(br.Entries, e)
				return err
			})
		default:
			s.bad = true
		}
	})
	s.b.Branches = append(s.b.Branches, br)
	total := 0
	for i := range s.b.Branches {
		total += len(s.b.Branches[i].Entries)
	}
	if br.At < 0 || len(br.Entries) == 0 || total > s.limits.Chain {
		s.bad = true
	}
}

func (s *bundleScan) check() {
	if s.s[s.i] != '{' {
		s.bad = true
		return
	}
	var c Check
	required := 0
	s.members(func(name []byte) {
		switch string(name) {
		case "jws":
			required++
			s.hash(&c.JWS)
		case "at":
			required++
			var ok bool
			if c.At, ok = identity.ParseTime(string(s.plain())); !ok {
				s.bad = true
			}
		case "platform":
			required++
			s.host(string(s.plain()), &c.Platform)
		case "key":
			required++
			s.hash(&c.Key)
		case "certificates":
			s.hashes(&c.Certificates)
		case "ocsp":
			s.hashes(&c.OCSP)
		default:
			s.bad = true
		}
	})
	if required != 4 {
		s.bad = true
	}
	s.b.Checks = append(s.b.Checks, c)
}

// list calls f for each element of an array of most elements; null is an empty one.
func (s *bundleScan) list(most int, f func()) {
	switch s.s[s.i] {
	case 'n':
		s.word()
	case '[':
		n := 0
		s.elements(func() {
			if n++; n > most {
				s.bad = true
				return
			}
			f()
		})
	default:
		s.bad = true
	}
}

// texts is list for strings without escapes.
func (s *bundleScan) texts(most int, f func(string) *FormatError) {
	s.list(most, func() {
		if raw := s.plain(); !s.bad && f(string(raw)) != nil {
			s.bad = true
		}
	})
}

func (s *bundleScan) hash(to *Hash) {
	h, ok := parseHash(s.plain())
	if !ok {
		s.bad = true
	}
	*to = h
}

// hashes reads a list of as many as one check may have.
func (s *bundleScan) hashes(to *[]Hash) {
	s.list(maxOfCheck, func() {
		var h Hash
		s.hash(&h)
		*to = append(*to, h)
	})
}

func (s *bundleScan) host(text string, to *identity.Host) {
	h, err := identity.ParseHost(text)
	if err != nil {
		s.bad = true
	}
	*to = h
}

func (s *bundleScan) ders(to *[][]byte) {
	s.list(maxCertificates, func() {
		raw := s.plain()
		if len(raw) > base64.StdEncoding.EncodedLen(maxDER) {
			s.bad = true
			return
		}
		der, err := base64.StdEncoding.Strict().DecodeString(string(raw)) // it has no line ends: they would be escaped
		if err != nil || len(der) == 0 {
			s.bad = true
		}
		*to = append(*to, der)
	})
}
