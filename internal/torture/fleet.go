package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"eblnode/identity"
	"eblnode/internal/dnsserver"
)

// A fleet is a set of platforms that know each other, the DNS server that is their only
// resolver, and a proxy in front of each.
type fleet struct {
	o       *options
	dir     string
	program string
	dns     *dnsserver.Server
	nodes   []*node
	trust   *identity.Trust
	ahead   time.Duration // by which a node's clock was ahead at times
}

// A node is one platform: a folder, and while it runs a process of the real program.
type node struct {
	domain string
	dir    string
	entry  *identity.Platform
	proxy  *proxy
	users  []string
	tokens map[string]string
	env    []string // beside ours, at the next start
	far    bool     // its clock is hours off, by off
	off    time.Duration
	// retryMax is the longest pause between two attempts.
	retryMax string
	// export, if not nil, copies the node's files into a folder; see files.
	export func(dir string) error

	program string
	under   []string     // a command that runs the program, with the same process id
	local   atomic.Value // string, host:port of the local listener
	starts  int

	mu     sync.Mutex
	cmd    *exec.Cmd
	exited chan struct{}
}

// fleetSpec says what fleet to make.
type fleetSpec struct {
	nodes    int
	users    int  // holders on each node
	proxies  bool // else peers reach each other without one
	program  string
	dir      string
	resuming bool
	retryMax string
	env      func(*node) []string
	// disk, if not nil, is that on which the first node lies.
	disk func(dir string) error
}

// newFleet makes the folders with the commands an operator would use, or takes those of
// an earlier run, and starts everything.
func newFleet(ctx context.Context, o *options, spec fleetSpec) (*fleet, error) {
	f := &fleet{o: o, dir: spec.dir, program: spec.program}
	var err error
	if f.dns, err = dnsserver.New(); err != nil {
		return nil, err
	}
	// The trust entries and configurations of an earlier run name no port but this one.
	portFile := filepath.Join(spec.dir, "dns.addr")
	if text, err := os.ReadFile(portFile); err == nil {
		err = f.dns.Start(string(text))
		if err != nil {
			return nil, err
		}
	} else if err := f.startDNS(); err != nil {
		return nil, err
	}
	if err := os.WriteFile(portFile, []byte(f.dns.Addr()), 0o600); err != nil {
		return nil, err
	}
	for i := range spec.nodes {
		n := &node{domain: fmt.Sprintf("p%d.example", i), dir: filepath.Join(spec.dir, fmt.Sprintf("p%d", i)), program: spec.program, retryMax: "2s", tokens: map[string]string{}}
		if spec.retryMax != "" {
			n.retryMax = spec.retryMax
		}
		if i == 0 {
			n.export = spec.disk
		}
		if spec.env != nil {
			n.env = spec.env(n)
		}
		for u := range spec.users {
			n.users = append(n.users, fmt.Sprintf("u%d", u))
		}
		if spec.proxies {
			if n.proxy, err = newProxy(o, n.domain); err != nil {
				return nil, errors.Join(err, f.close())
			}
		}
		f.nodes = append(f.nodes, n)
	}
	if err := f.start(ctx, spec.resuming); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

// startDNS starts DNS on a port that a later run of this folder finds free: it is not one of
// those that the kernel hands out to whoever opens a connection meanwhile.
func (f *fleet) startDNS() (err error) {
	for range 100 {
		if err = f.dns.Start(fmt.Sprintf("127.0.0.1:%d", 10_000+rand.N(20_000))); err == nil {
			return nil
		}
	}
	return err
}

func (f *fleet) start(ctx context.Context, resuming bool) error {
	var entries []*identity.Platform
	for _, n := range f.nodes {
		if !resuming {
			if _, err := n.command(ctx, "init", "--domain", n.domain, "--issuer", "--resolver", f.dns.Addr(), "--allow-network", "127.0.0.0/8",
				"--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"); err != nil {
				return err
			}
		}
		text, err := n.command(ctx, "peer", "self")
		if err != nil {
			return err
		}
		ps, err := identity.ParseTrust(text)
		if err != nil {
			return err
		}
		n.entry = ps[0]
		entries = append(entries, n.entry)
		if err := os.WriteFile(n.dir+".json", text, 0o600); err != nil {
			return err
		}
	}
	var err error
	if f.trust, err = identity.NewTrust(entries...); err != nil {
		return err
	}
	for _, n := range f.nodes {
		if n.proxy != nil {
			// Before any node asks: what DNS does not have is remembered for minutes.
			f.publish(n, n.proxy.addr())
		}
	}
	return f.each(func(n *node) error {
		for _, other := range f.nodes {
			if resuming || other == n {
				continue
			}
			if _, err := n.command(ctx, "peer", "add", other.dir+".json", "--yes"); err != nil {
				return err
			}
		}
		if err := f.serve(ctx, n); err != nil {
			return err
		}
		return n.addUsers(ctx)
	})
}

// each does something for all nodes at once.
func (f *fleet) each(do func(*node) error) error {
	errs := make([]error, len(f.nodes))
	var wg sync.WaitGroup
	for i, n := range f.nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// find is the node of a domain.
func (f *fleet) find(domain string) *node {
	for _, n := range f.nodes {
		if n.domain == domain {
			return n
		}
	}
	return nil
}

// serve starts the process of n, waits until it is ready, and says in DNS where it is.
func (f *fleet) serve(ctx context.Context, n *node) error {
	peer, err := n.start(ctx)
	if err != nil {
		return err
	}
	if n.proxy != nil {
		n.proxy.aim(peer)
		peer = n.proxy.addr()
	}
	f.publish(n, peer)
	return nil
}

// publish says in DNS where a node is.
func (f *fleet) publish(n *node, address string) {
	_, port, _ := net.SplitHostPort(address)
	f.dns.SetTXT(n.domain, "v=spf1 -all", "ebl-transferblock=https://api."+n.domain+":"+port+"/v1/transferblocks")
	f.dns.SetA("api."+n.domain, netip.MustParseAddr("127.0.0.1"))
}

// close ends everything, without ceremony.
func (f *fleet) close() error {
	for _, n := range f.nodes {
		n.kill()
		if n.proxy != nil {
			n.proxy.close()
		}
	}
	return f.dns.Close()
}

// stop lets the nodes stop as an operator would.
func (f *fleet) stop() error {
	return f.each(func(n *node) error {
		n.mu.Lock()
		cmd, exited := n.cmd, n.exited
		n.mu.Unlock()
		if cmd == nil {
			return nil
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
			return nil
		case <-time.After(40 * time.Second):
			n.kill()
			return fmt.Errorf("%s did not stop when told to", n.domain)
		}
	})
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

// command runs a command of the program on the node's folder.
func (n *node) command(ctx context.Context, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.program, append(args, "--data", n.dir)...)
	cmd.Env = cleanEnv()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("%s: eblnode %s: %w\n%s%s", n.domain, strings.Join(args, " "), err, out.String(), errOut.String())
	}
	return out.Bytes(), nil
}

// start runs the process and returns where its peer listener is.
func (n *node) start(ctx context.Context) (string, error) {
	log, err := os.OpenFile(n.dir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return "", err
	}
	defer log.Close()
	args := append(slices.Clone(n.under), n.program, "serve", "--data", n.dir)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(cleanEnv(), "EBLNODE_RETRYMAX="+n.retryMax, "EBLNODE_LIMITS_VERDICTSPERHOUR=100000000", "EBLNODE_LOG_LEVEL=warn")
	cmd.Env = append(cmd.Env, n.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = childAttr()
	if err := startChild(cmd); err != nil {
		return "", fmt.Errorf("starting %s: %w", n.domain, err)
	}
	exited := make(chan struct{})
	go func() { _ = cmd.Wait(); close(exited) }()
	n.mu.Lock()
	n.cmd, n.exited = cmd, exited
	n.starts++
	n.mu.Unlock()
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(3 * time.Millisecond) {
		var run struct {
			PID         int
			Peer, Local string
		}
		text, err := os.ReadFile(filepath.Join(n.dir, "run.json"))
		if err == nil && json.Unmarshal(text, &run) == nil && run.PID == cmd.Process.Pid {
			n.local.Store(run.Local)
			return run.Peer, nil
		}
		select {
		case <-exited:
			return "", fmt.Errorf("%s stopped at once: %w; see %s.log", n.domain, errStopped, n.dir)
		case <-ctx.Done():
			return "", ctx.Err()
		default:
		}
	}
	return "", fmt.Errorf("%s does not come up; see %s.log", n.domain, n.dir)
}

// errStopped says that a process ended before it served.
var errStopped = errors.New("the process ended")

// kill is kill -9; it returns when the process is gone.
func (n *node) kill() {
	n.mu.Lock()
	cmd, exited := n.cmd, n.exited
	n.mu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill()
	<-exited
}

func (n *node) signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
	}
}

// alive reports whether the process runs.
func (n *node) alive() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.exited == nil {
		return false
	}
	select {
	case <-n.exited:
		return false
	default:
		return true
	}
}

// addUsers makes the users that the node lacks, by its admin socket, and keeps their tokens.
func (n *node) addUsers(ctx context.Context) error {
	if text, err := os.ReadFile(n.dir + ".tokens"); err == nil {
		return json.Unmarshal(text, &n.tokens)
	}
	if err := n.add(ctx, "issuer", "issuer"); err != nil {
		return err
	}
	if err := n.add(ctx, "auditor", "auditor"); err != nil {
		return err
	}
	return n.addHolders(ctx)
}

// addHolders makes all of n.users and keeps the tokens of everybody.
func (n *node) addHolders(ctx context.Context) error {
	for _, u := range n.users {
		if n.tokens[u] != "" {
			continue
		}
		if err := n.add(ctx, u, "holder"); err != nil {
			return err
		}
	}
	text, err := json.Marshal(n.tokens)
	if err != nil {
		return err
	}
	return os.WriteFile(n.dir+".tokens", text, 0o600)
}

// add makes one user.
func (n *node) add(ctx context.Context, name, role string) error {
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(n.dir, "admin.sock"))
	}}}
	defer client.CloseIdleConnections()
	var out struct {
		Token string `json:"token"`
	}
	err := call(ctx, client, http.MethodPost, "http://admin/admin/v1/users", "", map[string]string{"local": name, "name": name, "role": role}, &out)
	if r, ok := errors.AsType[*refusal](err); ok && r.status == http.StatusConflict {
		// Made by a run that was stopped before it kept the token.
		err = call(ctx, client, http.MethodPost, "http://admin/admin/v1/users/"+name+"/token", "", nil, &out)
	}
	if err != nil {
		return fmt.Errorf("adding user %s@%s: %w", name, n.domain, err)
	}
	n.tokens[name] = out.Token
	return nil
}
