package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
)

// A party is the platform that sends: its keys, and the blocks it signs.
type party struct {
	host    identity.Host
	signers map[identity.Alg]*identity.Signer
	tls     tls.Certificate
	entry   *identity.Platform
}

// algs are those that are measured; a kid is the name of one.
var algs = []identity.Alg{identity.ES256, identity.RS256}

func entryOf(host identity.Host) *identity.Platform {
	return &identity.Platform{Domain: host, Name: "The sending platform", Mode: identity.ModePinned, Issuer: true}
}

// newParty makes the keys and the trust entry of the sending platform.
func newParty(domain string) (*party, error) {
	host, err := identity.ParseHost(domain)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	p := &party{host: host, signers: map[identity.Alg]*identity.Signer{}}
	p.entry = entryOf(host)
	for _, alg := range algs {
		s, err := identity.GenerateSigner(host, alg, identity.CertificateSpec{Subject: domain + " " + string(alg),
			NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(300 * 24 * time.Hour)})
		if err != nil {
			return nil, err
		}
		if s.Key, err = identity.NewKey(host, string(alg), s.Key.Certificates...); err != nil {
			return nil, err
		}
		p.signers[alg] = s
		p.entry.Keys = append(p.entry.Keys, s.Key)
	}
	priv, err := identity.GenerateKey(identity.ES256)
	if err != nil {
		return nil, err
	}
	leaf, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: domain + " TLS", Names: []string{domain, "api." + domain},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.Add(300 * 24 * time.Hour), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil, err
	}
	p.tls = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: priv, Leaf: leaf}
	p.entry.TLS.Pins = [][32]byte{identity.SPKIPin(leaf)}
	return p, nil
}

// A block is a signed transferblock.
type block struct {
	body     []byte
	document []byte
	entries  []envelope.Entry
	hash     envelope.Hash // of the document
}

// documentOf makes a transport document of about size bytes, in RFC 8785 form.
func documentOf(reference string, size int) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, `{"carrierCode":"NLNE","transportDocumentReference":%q,"isToOrder":true,"shippedOnBoardDate":"2026-11-20",`, reference)
	b.WriteString(`"portOfLoading":{"UNLocationCode":"BRSSZ","name":"Santos"},"portOfDischarge":{"UNLocationCode":"DEHAM","name":"Hamburg"},"consignmentItems":[`)
	for i := 0; i == 0 || b.Len() < size-300; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"descriptionOfGoods":"Green coffee, washed, in jute bags, lot %d","HSCodes":["090111"],"weight":%d.5,"volume":%d,"cargoItems":[{"equipmentReference":"NLNU%07d","numberOfPackages":%d,"packageCode":"5L"}],"shippingMarks":["SANTOS %d","HAMBURG"]}`,
			i, 18000+i, 33+i%7, 1000000+i, 320-i%11, i)
	}
	b.WriteString("]}")
	return envelope.Canonicalize([]byte(b.String()))
}

// transferee is a party as platforms send it: with it an envelope has about 1.4 kB.
func transferee(id string) []byte {
	return fmt.Appendf(nil, `{"eBLPlatformIdentifier":%q,"partyName":"Hansa Handelsbank Aktiengesellschaft, Trade Finance","taxReference1":"DE123456789",`+
		`"identifyingCodes":[{"codeListProvider":"GLEIF","partyCode":"529900T8BM49AURSDO55","codeListName":"LEI"}],`+
		`"address":{"name":"Hansa Handelsbank","street":"Brandstwiete","streetNumber":"1","postCode":"20457","city":"Hamburg","countryCode":"DE"},`+
		`"partyContactDetails":[{"name":"Trade finance desk","email":"desk@hansa-handelsbank.example","phone":"+49 40 0000000"}]}`, id)
}

// next seals one transaction onto a chain.
func (p *party) next(alg identity.Alg, b *block, in envelope.Instruction, to string) error {
	text, err := envelope.NewTransaction(envelope.Transaction{Instruction: in, At: time.Now().Add(-time.Minute), ToOrder: true, PlatformHost: p.host}, transferee(to))
	if err != nil {
		return err
	}
	var previous envelope.Hash
	if n := len(b.entries); n > 0 {
		previous = b.entries[n-1].Claimed
	}
	e, err := envelope.Seal(b.hash, previous, [][]byte{text}, p.signers[alg])
	if err != nil {
		return err
	}
	b.entries = append(b.entries, e)
	return nil
}

// block signs a chain of n entries whose last transferee is to.
func (p *party) block(alg identity.Alg, reference string, size, n int, to string) (*block, error) {
	doc, err := documentOf(reference, size)
	if err != nil {
		return nil, err
	}
	b := &block{document: doc, hash: envelope.HashOf(doc)}
	for i := range n {
		in, id := envelope.Transfer, fmt.Sprintf("desk%d@%s", i, p.host)
		if i == 0 {
			in = envelope.Issue
		}
		if i == n-1 {
			id = to
		}
		if err := p.next(alg, b, in, id); err != nil {
			return nil, err
		}
	}
	b.marshal()
	return b, nil
}

func (b *block) marshal() {
	b.body = (&envelope.Transferblock{Document: b.document, Entries: b.entries}).Marshal(false)
}

// blocks signs count blocks on all cores.
func (p *party) blocks(alg identity.Alg, prefix string, size, n, count int, to string) ([]*block, error) {
	list, errs := make([]*block, count), make([]error, count)
	inParallel(count, func(i int) {
		list[i], errs[i] = p.block(alg, fmt.Sprintf("%s-%d", prefix, i), size, n, to)
	})
	for _, err := range errs {
		if err != nil {
			return nil, fmt.Errorf("signing blocks: %w", err)
		}
	}
	return list, nil
}

// inParallel calls f for 0 to count-1, on all cores.
func inParallel(count int, f func(int)) {
	var wg sync.WaitGroup
	work := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				f(i)
			}
		})
	}
	for i := range count {
		work <- i
	}
	close(work)
	wg.Wait()
}
