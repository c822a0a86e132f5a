package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"eblnode/identity"
)

// A keptParty is the sending platform in a file, so that a later run can go on with the
// folder of an earlier one.
type keptParty struct {
	Keys map[identity.Alg]keptKey
	TLS  keptKey
}

type keptKey struct {
	Certificate []byte // DER
	Private     string // PEM
}

func keep(cert []byte, s interface{ privateKey() ([]byte, error) }) (keptKey, error) {
	text, err := s.privateKey()
	return keptKey{cert, string(text)}, err
}

type signerKey struct{ *identity.Signer }

func (s signerKey) privateKey() ([]byte, error) { return identity.MarshalPrivateKey(s.Private()) }

type tlsKey struct{ tls.Certificate }

func (c tlsKey) privateKey() ([]byte, error) {
	signer, ok := c.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, errors.New("a TLS key of another kind")
	}
	return identity.MarshalPrivateKey(signer)
}

// party loads the platform of an earlier run in dir, or makes one and keeps it.
func loadParty(dir, domain string) (*party, error) {
	path := filepath.Join(dir, "party.json")
	text, err := os.ReadFile(path)
	if err == nil {
		return parseParty(text, domain)
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	p, err := newParty(domain)
	if err != nil {
		return nil, err
	}
	k := keptParty{Keys: map[identity.Alg]keptKey{}}
	for alg, s := range p.signers {
		if k.Keys[alg], err = keep(s.Key.Certificates[0].Raw, signerKey{s}); err != nil {
			return nil, err
		}
	}
	if k.TLS, err = keep(p.tls.Leaf.Raw, tlsKey{p.tls}); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(k); err != nil {
		return nil, err
	}
	return p, os.WriteFile(path, text, 0o600)
}

func parseParty(text []byte, domain string) (*party, error) {
	var k keptParty
	if err := json.Unmarshal(text, &k); err != nil {
		return nil, err
	}
	host, err := identity.ParseHost(domain)
	if err != nil {
		return nil, err
	}
	p := &party{host: host, signers: map[identity.Alg]*identity.Signer{}}
	p.entry = entryOf(host)
	for _, alg := range algs {
		leaf, err := x509.ParseCertificate(k.Keys[alg].Certificate)
		if err != nil {
			return nil, err
		}
		key, err := identity.NewKey(host, string(alg), leaf)
		if err != nil {
			return nil, err
		}
		priv, err := identity.ParsePrivateKey([]byte(k.Keys[alg].Private))
		if err != nil {
			return nil, err
		}
		if p.signers[alg], err = identity.NewSigner(key, alg, priv); err != nil {
			return nil, err
		}
		p.entry.Keys = append(p.entry.Keys, p.signers[alg].Key)
	}
	leaf, err := x509.ParseCertificate(k.TLS.Certificate)
	if err != nil {
		return nil, err
	}
	priv, err := identity.ParsePrivateKey([]byte(k.TLS.Private))
	if err != nil {
		return nil, err
	}
	p.tls = tls.Certificate{Certificate: [][]byte{leaf.Raw}, PrivateKey: priv, Leaf: leaf}
	p.entry.TLS.Pins = [][32]byte{identity.SPKIPin(leaf)}
	return p, nil
}
