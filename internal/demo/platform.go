package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"eblnode/identity"
	"eblnode/internal/dnsserver"
)

// A platform is one node of the demonstration: a process of its own with its own data
// folder, keys and database, reached by its ports only.
type platform struct {
	domain string
	name   string
	issuer bool
	users  []user
	tokens map[string]string

	binary string
	dir    string
	entry  string // file with its trust entry
	self   *identity.Platform

	peer  string // host:port of the peer listener
	local string // host:port of the local listener
	cmd   *exec.Cmd
	log   *os.File

	exited chan struct{} // closed when the process is gone; ended is what Wait said of it then
	ended  error
}

type user struct{ local, name, role string }

// network is the three platforms and the DNS server that is their only resolver.
type network struct {
	carrier, bank, consignee *platform
	dns                      *dnsserver.Server
	dir                      string
}

func (n *network) all() []*platform { return []*platform{n.carrier, n.bank, n.consignee} }

// startNetwork makes three data folders, exchanges the trust entries, and starts three
// processes.
func startNetwork(ctx context.Context, binary, dir string) (*network, error) {
	n := &network{dir: dir,
		carrier: &platform{domain: "carrier.example", name: "Northern Line Shipping", issuer: true, users: []user{
			{"carrier", "Northern Line documentation", "issuer"}, {"shipper", "Fazenda Alta Mogiana Cafés", "holder"}, {"auditor", "Auditor", "auditor"}}},
		bank: &platform{domain: "bank.example", name: "Hansa Handelsbank", users: []user{
			{"lc-desk", "Trade finance", "holder"}, {"second-desk", "Another desk", "holder"}, {"auditor", "Auditor", "auditor"}}},
		consignee: &platform{domain: "consignee.example", name: "Kontor Röstkaffee", users: []user{
			{"buyer", "Import", "holder"}, {"auditor", "Auditor", "auditor"}}},
	}
	var err error
	if n.dns, err = dnsserver.New(); err != nil {
		return nil, err
	}
	if err := n.dns.Start("127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("starting the DNS server: %w", err)
	}
	if err := n.start(ctx, binary); err != nil {
		n.stop()
		return nil, err
	}
	return n, nil
}

func (n *network) start(ctx context.Context, binary string) error {
	err := each(n.all(), func(p *platform) error {
		p.binary, p.dir, p.tokens = binary, filepath.Join(n.dir, p.domain), map[string]string{}
		return p.init(ctx, n.dns.Addr())
	})
	if err != nil {
		return err
	}
	err = each(n.all(), func(p *platform) error {
		for _, other := range n.all() {
			if other == p {
				continue
			}
			if _, err := p.eblnode(ctx, "peer", "add", other.entry, "--yes"); err != nil {
				return err
			}
		}
		return p.serve(ctx)
	})
	if err != nil {
		return err
	}
	for _, p := range n.all() {
		n.publish(p, p.peer)
	}
	return nil
}

// publish puts a platform's records into DNS: where it is, by a TXT record and an address.
func (n *network) publish(p *platform, peer string) {
	_, port, _ := strings.Cut(peer, ":")
	n.dns.SetTXT(p.domain, "v=spf1 -all", "ebl-transferblock=https://api."+p.domain+":"+port+"/v1/transferblocks")
	n.dns.SetA("api."+p.domain, netip.MustParseAddr("127.0.0.1"))
}

func (n *network) stop() {
	_ = each(n.all(), func(p *platform) error { p.stop(); return nil })
	_ = n.dns.Close()
}

// each runs f for all platforms at once.
func each(ps []*platform, f func(*platform) error) error {
	errs := make([]error, len(ps))
	var wg sync.WaitGroup
	for i, p := range ps {
		wg.Go(func() { errs[i] = f(p) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// init makes the data folder with the command that an operator would use.
func (p *platform) init(ctx context.Context, resolver string) error {
	args := []string{"init", "--domain", p.domain, "--name", p.name, "--resolver", resolver, "--allow-network", "127.0.0.0/8",
		"--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"}
	if p.issuer {
		args = append(args, "--issuer", "--carrier", "NLNE")
	}
	if _, err := p.eblnode(ctx, args...); err != nil {
		return err
	}
	entry, err := p.eblnode(ctx, "peer", "self")
	if err != nil {
		return err
	}
	p.entry = p.dir + ".json"
	if err := os.WriteFile(p.entry, entry, 0o600); err != nil {
		return err
	}
	ps, err := identity.ParseTrust(entry)
	if err != nil {
		return err
	}
	p.self = ps[0]
	for _, u := range p.users {
		file := filepath.Join(p.dir, u.local+".token")
		if _, err := p.eblnode(ctx, "user", "add", u.local, "--name", u.name, "--role", u.role, "--token-file", file); err != nil {
			return err
		}
		token, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		p.tokens[u.local] = strings.TrimSpace(string(token))
	}
	return nil
}

// eblnode runs a command of the program on the platform's data folder.
func (p *platform) eblnode(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, p.binary, append(args, "--data", p.dir)...)
	cmd.Env = cleanEnv()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: eblnode %s: %w\n%s", p.domain, strings.Join(args, " "), err, errOut.String())
	}
	return out.Bytes(), nil
}

// cleanEnv is our environment without the variables that configure a node.
func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "EBLNODE_") {
			env = append(env, kv)
		}
	}
	return env
}

// serve starts the process and waits until it says where it listens.
func (p *platform) serve(ctx context.Context) error {
	log, err := os.OpenFile(p.dir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	p.log = log
	p.cmd = exec.Command(p.binary, "serve", "--data", p.dir)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = cleanEnv(), log, log
	p.cmd.SysProcAttr = childAttr()
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", p.domain, err)
	}
	p.exited = make(chan struct{})
	go func() {
		defer close(p.exited)
		p.ended = p.cmd.Wait()
	}()
	for {
		var run struct{ Peer, Local string }
		text, err := os.ReadFile(filepath.Join(p.dir, "run.json"))
		if err == nil && json.Unmarshal(text, &run) == nil {
			p.peer, p.local = run.Peer, run.Local
			return p.healthy(ctx)
		}
		select {
		case <-p.exited:
			said, _ := os.ReadFile(p.log.Name())
			return fmt.Errorf("%s stopped at once (%w); it said:\n%s", p.domain, p.ended, said)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (p *platform) healthy(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.local+"/readyz", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s is not ready: %s", p.domain, resp.Status)
	}
	return nil
}

// stopTime is how long a node may take to stop; it would end its requests for 25 s.
const stopTime = 30 * time.Second

// stop returns when the process is gone: its folder is removed then, and it must not write there
// any more.
func (p *platform) stop() {
	if p.exited == nil {
		return
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTime):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	_ = p.log.Close()
}

// certificate is the platform's TLS certificate with its private key: what an attacker
// has who is this platform, or has stolen from it.
func (p *platform) certificate() (tls.Certificate, error) {
	names, err := filepath.Glob(filepath.Join(p.dir, "keys", "tls-*.crt"))
	if err != nil || len(names) == 0 {
		return tls.Certificate{}, fmt.Errorf("no TLS key in %s: %w", p.dir, err)
	}
	return tls.LoadX509KeyPair(names[0], strings.TrimSuffix(names[0], ".crt")+".key")
}

// signer is the platform's signing key.
func (p *platform) signer() (*identity.Signer, error) {
	names, err := filepath.Glob(filepath.Join(p.dir, "keys", "signing-*.crt"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("no signing key in %s: %w", p.dir, err)
	}
	base := strings.TrimSuffix(names[0], ".crt")
	text, err := os.ReadFile(base + ".key")
	if err != nil {
		return nil, err
	}
	priv, err := identity.ParsePrivateKey(text)
	if err != nil {
		return nil, err
	}
	crt, err := os.ReadFile(names[0])
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(crt)
	if block == nil {
		return nil, fmt.Errorf("%s is not PEM", names[0])
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	kid := strings.TrimPrefix(filepath.Base(base), "signing-")
	key, err := identity.NewKey(p.self.Domain, kid, cert)
	if err != nil {
		return nil, err
	}
	return identity.NewSigner(key, "ES256", priv)
}

// putAs sends a body to the peer listener of p with the TLS certificate of another
// platform, as that one could.
func (p *platform) putAs(ctx context.Context, as *platform, body []byte) (status int, answer []byte, err error) {
	cert, err := as.certificate()
	if err != nil {
		return 0, nil, err
	}
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
		InsecureSkipVerify: true, // the check below is in its place
		VerifyConnection: func(s tls.ConnectionState) error {
			return p.self.CheckTLS(s.PeerCertificates, identity.ServerAuth, time.Now())
		},
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "https://"+p.peer+"/v1/transferblocks", bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	var out bytes.Buffer
	_, err = out.ReadFrom(resp.Body)
	return resp.StatusCode, out.Bytes(), err
}
