package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"

	"eblnode/envelope"
	"eblnode/identity"
)

// largest leaves room for the chain in a body at the limit of 8 MiB.
const largest = 8<<20 - 16<<10

// A shape is a way to fill a body to the limit. What a reader keeps of it while it reads
// depends on what it is filled with, so each is measured.
type shape struct {
	name string
	make func(p *party, reference string) ([]byte, error)
	want int // the status that answers it
}

func shapes() []shape {
	document := func(fill func(b *strings.Builder)) func(*party, string) ([]byte, error) {
		return func(p *party, reference string) ([]byte, error) {
			var b strings.Builder
			fmt.Fprintf(&b, `{"carrierCode":"NLNE","isToOrder":true,"transportDocumentReference":%q,"z":[`, reference)
			fill(&b)
			b.WriteString(`"` + strings.Repeat("x", largest-b.Len()) + `"]}`)
			return p.sealed([]byte(b.String()))
		}
	}
	return []shape{
		{"goods", func(p *party, reference string) ([]byte, error) {
			b, err := p.block(identity.ES256, reference, largest, 1, holder+"@"+nodeDomain)
			if err != nil {
				return nil, err
			}
			return b.body, nil
		}, http.StatusOK},
		{"one text", document(func(*strings.Builder) {}), http.StatusOK},
		{"objects of 10,000 members, backwards", document(func(b *strings.Builder) { manyMembers(b, largest, "") }), http.StatusOK},
		{"the same, each name with an escape", document(func(b *strings.Builder) { manyMembers(b, largest, `\u0061`) }), http.StatusOK},
		{"small objects", document(func(b *strings.Builder) { b.WriteString(strings.Repeat(`{"b":1,"a":2},`, 160_000)) }), http.StatusOK},
		{"numbers that grow", document(func(b *strings.Builder) { b.WriteString(strings.Repeat(`1e20,`, 480_000)) }), http.StatusOK},
		{"members beside the signature", func(p *party, reference string) ([]byte, error) {
			text, err := p.small(reference)
			if err != nil {
				return nil, err
			}
			var b strings.Builder
			b.WriteString(`"eblEnvelope":{"z":[`)
			manyMembers(&b, largest, "")
			b.WriteString(`"` + strings.Repeat("x", largest-b.Len()) + `"]},"envelopeHash"`)
			return []byte(strings.Replace(text, `"envelopeHash"`, b.String(), 1)), nil
		}, http.StatusUnprocessableEntity},
		{"members in a payload that nobody signed", func(p *party, reference string) ([]byte, error) {
			text, err := p.small(reference)
			if err != nil {
				return nil, err
			}
			before, rest, _ := strings.Cut(text, `"signature":"`)
			jws, after, _ := strings.Cut(rest, `"`)
			part := strings.Split(jws, ".")
			payload, err := base64.RawURLEncoding.DecodeString(part[1])
			if err != nil {
				return nil, err
			}
			var b strings.Builder
			b.WriteString(`{"z":[`)
			manyMembers(&b, largest*3/4-1000, "")
			b.WriteString(`"` + strings.Repeat("x", largest*3/4-b.Len()-2000) + `"],` + string(payload[1:]))
			part[1] = base64.RawURLEncoding.EncodeToString([]byte(b.String()))
			return []byte(before + `"signature":"` + strings.Join(part, ".") + `"` + after), nil
		}, http.StatusUnprocessableEntity},
	}
}

// manyMembers writes as many as the limits of the node allow, and a comma behind each object.
func manyMembers(b *strings.Builder, most int, prefix string) {
	for range 48 {
		b.WriteByte('{')
		for i := 10_000; i > 0; i-- {
			fmt.Fprintf(b, `"%s%05d":1`, prefix, i-1)
			if i > 1 {
				b.WriteByte(',')
			}
		}
		b.WriteString(`},`)
		if b.Len() > most-200_000 {
			return
		}
	}
}

func (p *party) small(reference string) (string, error) {
	b, err := p.block(identity.ES256, reference, 1<<10, 1, holder+"@"+nodeDomain)
	if err != nil {
		return "", err
	}
	return string(b.body), nil
}

// sealed is a block with that document, issued to the holder.
func (p *party) sealed(document []byte) ([]byte, error) {
	canonical, err := envelope.Canonicalize(document)
	if err != nil {
		return nil, err
	}
	b := &block{document: document, hash: envelope.HashOf(canonical)}
	if err := p.next(identity.ES256, b, envelope.Issue, holder+"@"+nodeDomain); err != nil {
		return nil, err
	}
	b.marshal()
	return b.body, nil
}

// A largeCost is what a body of one shape took.
type largeCost struct {
	Shape string  `json:"shape"`
	Bytes int     `json:"bytes"`
	Cost  int64   `json:"costBytes"`
	Times float64 `json:"times"`
}

// largeBodies sends three bodies of each shape (-ci: one), and keeps the most that one took. Some go
// before: SQLite fills its cache of pages once, and keeps it.
func (o *options) largeBodies(ctx context.Context, s *stage) ([]largeCost, error) {
	l := newLoad(s, 1)
	defer l.close()
	var list []largeCost
	tries := 3
	if o.ci {
		tries = 1
	}
	for n, sh := range append(shapes()[:1], shapes()...) {
		f := largeCost{Shape: sh.name}
		for i := range tries {
			body, err := sh.make(s.party, fmt.Sprintf("M%s-%d-%d", runID, n, i))
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sh.name, err)
			}
			cost, err := s.peakOver(ctx, func() error {
				return l.putWant(ctx, l.clients[0], body, sh.want)
			})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sh.name, err)
			}
			f.Bytes, f.Cost = len(body), max(f.Cost, cost)
		}
		if n > 0 {
			f.Times = float64(f.Cost) / float64(f.Bytes)
			list = append(list, f)
		}
	}
	return list, nil
}

// largeAtOnce sends sixteen of the dearest shapes at once, again while the node says that they
// are too many, and gives the peak of its memory.
func (o *options) largeAtOnce(ctx context.Context, s *stage, name string) (int64, error) {
	const width = 16
	l := newLoad(s, width)
	defer l.close()
	var bodies [][]byte
	for _, sh := range shapes() {
		for i := 0; sh.name == name && i < width; i++ {
			body, err := sh.make(s.party, fmt.Sprintf("W%s-%d", runID, i))
			if err != nil {
				return 0, err
			}
			bodies = append(bodies, body)
		}
	}
	errs := make([]error, len(bodies))
	_, err := s.peakOver(ctx, func() error {
		var wg sync.WaitGroup
		for i, body := range bodies {
			wg.Go(func() {
				_, _, errs[i] = l.put(ctx, l.clients[i], body) // 200, or 429: either is an answer
			})
		}
		wg.Wait()
		return nil
	})
	return memoryOf(s.pid(), "VmHWM"), errors.Join(append(errs, err)...)
}

// peakOver is how far the memory of the node rose while f ran, above what it held before.
func (s *stage) peakOver(ctx context.Context, f func() error) (int64, error) {
	if _, err := s.memstats(ctx, true); err != nil { // gives back all that is free
		return 0, err
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid()), []byte("5"), 0); err != nil {
		return 0, fmt.Errorf("setting the peak back: %w", err)
	}
	before := memoryOf(s.pid(), "VmRSS")
	if err := f(); err != nil {
		return 0, err
	}
	return memoryOf(s.pid(), "VmHWM") - before, nil
}

func (l *load) putWant(ctx context.Context, c *http.Client, body []byte, want int) error {
	status, answer, err := l.put(ctx, c, body)
	if err != nil {
		return err
	}
	if status != want {
		return fmt.Errorf("got %d %.300s, want %d", status, answer, want)
	}
	return nil
}
