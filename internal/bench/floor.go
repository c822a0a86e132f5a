package main

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"eblnode/identity"

	"github.com/go-json-experiment/json/jsontext"
)

// groupSize is how many transfers share an fsync where 32 clients send at once.
const groupSize = 32

// A floor does the raw parts of receiving a transfer and nothing else: what no program of
// this language on this machine can leave out. It runs on a thread of its own, whose CPU
// time alone is counted.
type floor struct {
	party    *party
	receiver *ecdsa.PrivateKey
	files    [2]*os.File // the database's log, and the witness
	server   *tls.Conn
	client   *tls.Conn
	listener net.Listener
}

// newFloor makes the files and the connection, in a folder on the disk of the node's.
func newFloor(p *party, dir string) (*floor, error) {
	f := &floor{party: p}
	priv, err := identity.GenerateKey(identity.ES256)
	if err != nil {
		return nil, err
	}
	f.receiver = priv.(*ecdsa.PrivateKey)
	for i := range f.files {
		if f.files[i], err = os.Create(filepath.Join(dir, fmt.Sprintf("floor-%d", i))); err != nil {
			return nil, err
		}
	}
	if f.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	accepted := make(chan error, 1)
	go func() {
		c, err := f.listener.Accept()
		if err == nil {
			f.server = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{p.tls}, MinVersion: tls.VersionTLS13})
			err = f.server.Handshake()
		}
		accepted <- err
	}()
	f.client, err = tls.Dial("tcp", f.listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
	if err != nil {
		return nil, err
	}
	return f, <-accepted
}

func (f *floor) close() {
	_ = f.client.Close()
	_ = f.listener.Close()
	for _, file := range f.files {
		_ = file.Close()
	}
}

// checks are the inputs of the signature checks of a block, prepared beforehand.
type checks struct {
	alg    identity.Alg
	block  *block
	signed []signed
}

type signed struct {
	input, payload, signature []byte
	r, s                      *big.Int
}

func newSigned(input string, payload, signature []byte) signed {
	v := signed{input: []byte(input), payload: payload, signature: signature}
	if len(signature) == 64 { // ES256
		v.r, v.s = new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	}
	return v
}

func (f *floor) prepare(alg identity.Alg, b *block) *checks {
	c := &checks{alg: alg, block: b}
	for i := range b.entries {
		input, sig := splitJWS(b.entries[i].JWS.Raw)
		c.signed = append(c.signed, newSigned(input, b.entries[i].JWS.Payload, sig))
	}
	return c
}

// run does the parts once for each block and returns the CPU time of it, a transfer.
// From checks on that begin at from on, the signatures are new; those before were seen.
func (f *floor) run(list []*checks, from int) (time.Duration, error) {
	bodies := make(chan []byte, len(list))
	for _, c := range list {
		bodies <- c.block.body
	}
	close(bodies)
	sent := make(chan error, 1)
	go func() {
		answer := make([]byte, 512)
		for b := range bodies {
			if _, err := f.client.Write(b); err != nil {
				sent <- err
				return
			}
			if _, err := io.ReadFull(f.client, answer[:350]); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, synced, groups := threadTime(), time.Duration(0), 0
	for i, c := range list {
		if err := f.one(c, from); err != nil {
			return 0, err
		}
		if i%groupSize != 0 {
			continue
		}
		before := threadTime()
		if err := f.sync(); err != nil {
			return 0, err
		}
		synced += threadTime() - before
		groups++
	}
	took := threadTime() - start - synced + syncShare(synced, groups, len(list))
	return took / time.Duration(len(list)), <-sent
}

// sync is what a group of transfers shares.
func (f *floor) sync() error {
	for _, file := range f.files {
		if _, err := file.WriteAt(make([]byte, 4096), 0); err != nil {
			return err
		}
		if err := file.Sync(); err != nil {
			return err
		}
	}
	return nil
}

// syncShare is what so many transfers cost in fsyncs, where so many groups of them took so
// long: a group that is not full pays its part, as if others were in it.
func syncShare(took time.Duration, groups, transfers int) time.Duration {
	return took * time.Duration(transfers) / time.Duration(groupSize*groups)
}

// one is one transfer.
func (f *floor) one(c *checks, from int) error {
	body := make([]byte, len(c.block.body))
	if _, err := io.ReadFull(f.server, body); err != nil {
		return err
	}
	key := f.party.signers[c.alg].Key.Public
	for i := range c.signed {
		s := &c.signed[i]
		if i < from {
			continue
		}
		if err := s.check(key); err != nil {
			return err
		}
	}
	doc := jsontext.Value(append([]byte(nil), c.block.document...))
	if err := doc.Canonicalize(); err != nil {
		return err
	}
	if sha256.Sum256(doc) != c.block.hash {
		return fmt.Errorf("another document hash")
	}
	digest := sha256.Sum256(body[:64])
	if _, err := ecdsa.SignASN1(rand.Reader, f.receiver, digest[:]); err != nil {
		return err
	}
	_, err := f.server.Write(body[:350])
	return err
}
