package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"eblnode/envelope"
	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

// verifying is what eblverify does in a second of CPU with evidence bundles.
type verifying struct {
	Entries    int     `json:"entries"`
	Signatures int     `json:"signatures"` // entries, receipts and the maker's
	Bytes      int     `json:"bytes"`      // of a bundle
	Rate       float64 `json:"perSecondAndCore"`
	Floor      float64 `json:"floorMicros"`
	Micros     float64 `json:"micros"`
	Ratio      float64 `json:"ratio"` // to the floor of the same round
	Files      int     `json:"files"` // in one run of the program
	Peak       int64   `json:"peakBytes"`
	PeakOne    int64   `json:"peakBytesOneFile"`
}

// eblverify gives the real program many bundles that the node wrote, and takes off what it
// costs to start it.
func (o *options) eblverify(ctx context.Context, s *stage, n int) (*verifying, error) {
	dir := filepath.Join(o.dir, fmt.Sprintf("verify-%s-%d", runID, n))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	args := []string{"--json"}
	for _, p := range []*identity.Platform{s.party.entry, s.entry} {
		trust, err := p.JSON()
		if err != nil {
			return nil, err
		}
		file := filepath.Join(dir, p.Domain.Name+".trust")
		if err := os.WriteFile(file, trust, 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--trust", file)
	}
	count := map[int]int{1: 1000, 20: 200, 100: 60}[n]
	list, err := s.bundles(ctx, dir, n, count)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, b := range list {
		files = append(files, b.file)
	}
	v := &verifying{Entries: n, Signatures: len(list[0].signed), Bytes: list[0].size, Files: count}
	var floors, costs, ratios []float64
	for range o.rounds {
		low, err := verifyFloor(list)
		if err != nil {
			return nil, err
		}
		_, one, err := usageOf(ctx, filepath.Join(o.dir, "eblverify"), append(args, files[0])...)
		if err != nil {
			return nil, err
		}
		_, all, err := usageOf(ctx, filepath.Join(o.dir, "eblverify"), append(args, files...)...)
		if err != nil {
			return nil, err
		}
		again, err := verifyFloor(list)
		if err != nil {
			return nil, err
		}
		v.Peak, v.PeakOne = max(v.Peak, all.Peak), max(v.PeakOne, one.Peak)
		floor, cost := micro(low+again)/2, micro(all.CPU-one.CPU)/float64(count-1)
		floors, costs, ratios = append(floors, floor), append(costs, cost), append(ratios, cost/floor)
	}
	v.Floor, v.Micros, v.Ratio = median(floors), median(costs), median(ratios)
	v.Rate = 1e6 / v.Micros
	return v, nil
}

// evidence is a bundle in a file, and what of it no verifier can leave out.
type evidence struct {
	file     string
	size     int
	document []byte
	hash     envelope.Hash
	signed   []signedBy
}

type signedBy struct {
	signed
	key any
}

// bundles lets the node accept bills of n entries, and write of each its bundle: document,
// chain, the receipt that it gave, its trust entries, its own signature.
func (s *stage) bundles(ctx context.Context, dir string, n, count int) ([]*evidence, error) {
	list, err := s.party.blocks(identity.ES256, fmt.Sprintf("V%s-%d", runID, n), documentSize, n, count, holder+"@"+nodeDomain)
	if err != nil {
		return nil, err
	}
	l := newLoad(s, 16)
	defer l.close()
	if err := l.all(ctx, list); err != nil {
		return nil, err
	}
	out, errs := make([]*evidence, count), make([]error, 8)
	c := &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: len(errs)}}
	defer c.CloseIdleConnections()
	var next atomic.Int64
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for at := int(next.Add(1)) - 1; at < count && errs[i] == nil; at = int(next.Add(1)) - 1 {
				var text []byte
				if text, errs[i] = s.bundle(ctx, c, list[at].hash); errs[i] != nil {
					return
				}
				name := filepath.Join(dir, fmt.Sprintf("%d.json", at))
				if errs[i] = os.WriteFile(name, text, 0o600); errs[i] == nil {
					out[at], errs[i] = s.evidenceOf(name, text, n)
				}
			}
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

// bundle asks the node for the bundle of a bill, as its holder does.
func (s *stage) bundle(ctx context.Context, c *http.Client, document envelope.Hash) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s/api/v1/ebls/%s/bundle", s.local, document), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+s.tokens[holder])
	resp, err := c.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("no bundle: %d %s", resp.StatusCode, text)
	}
	return text, err
}

// evidenceOf takes a bundle apart; it must have n entries, a receipt and the maker's signature.
func (s *stage) evidenceOf(file string, text []byte, n int) (*evidence, error) {
	b, err := envelope.ParseBundle(text, envelope.Limits{})
	if err != nil {
		return nil, err
	}
	if len(b.Block.Entries) != n || len(b.Receipts) != 1 || len(b.Block.Document) == 0 || len(b.Trust) == 0 || b.Signature == "" {
		return nil, fmt.Errorf("a bundle has %d entries, %d receipts, %d trust entries, a document of %d bytes and a signature of %d",
			len(b.Block.Entries), len(b.Receipts), len(b.Trust), len(b.Block.Document), len(b.Signature))
	}
	e := &evidence{file: file, size: len(text), document: b.Block.Document, hash: b.DocumentHash}
	add := func(raw string, p *identity.Platform) error {
		j, err := envelope.ParseJWS(raw)
		if err != nil {
			return err
		}
		k, ok := p.Key(j.Header.Kid)
		if !ok {
			return fmt.Errorf("no key %s of %s", j.Header.Kid, p.Domain)
		}
		input, sig := splitJWS(raw)
		v := signedBy{newSigned(input, j.Payload, sig), k.Public}
		e.signed = append(e.signed, v)
		return nil
	}
	for i := range b.Block.Entries {
		if err := add(b.Block.Entries[i].JWS.Raw, s.party.entry); err != nil {
			return nil, err
		}
	}
	return e, errors.Join(add(b.Receipts[0].Raw, s.entry), add(b.Signature, s.entry))
}

// verifyFloor does the raw parts of verifying each bundle: it is read from its file and hashed
// once, its document made canonical and hashed, and each signature in it checked, with the
// hashes of what it covers. The CPU time of it, a bundle.
func verifyFloor(list []*evidence) (time.Duration, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start := threadTime()
	for _, e := range list {
		text, err := os.ReadFile(e.file)
		if err != nil {
			return 0, err
		}
		sha256.Sum256(text)
		for i := range e.signed {
			if err := e.signed[i].check(e.signed[i].key); err != nil {
				return 0, err
			}
		}
		doc := jsontext.Value(append([]byte(nil), e.document...))
		if err := doc.Canonicalize(); err != nil {
			return 0, err
		}
		if sha256.Sum256(doc) != e.hash {
			return 0, errors.New("another document hash")
		}
	}
	return (threadTime() - start) / time.Duration(len(list)), nil
}

// check is the hashes and the signature check of one JWS with the standard library.
func (s *signed) check(key any) error {
	digest := sha256.Sum256(s.input)
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.Verify(key, digest[:], s.r, s.s) {
			return errors.New("a signature is bad")
		}
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(key, 5, digest[:], s.signature); err != nil { // 5: crypto.SHA256
			return err
		}
	default:
		return fmt.Errorf("a key of kind %T", key)
	}
	sha256.Sum256(s.payload)
	return nil
}
