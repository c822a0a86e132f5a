//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/internal/dnsserver"
)

// TestFiveProcesses moves one bill through five processes of the real program, twice to
// some of them, and back by surrender, decline, surrender and honour. Twice a node is
// killed while its transfer is in doubt: once before the other side has read it, once
// after the other side has taken it. At each hop exactly one node holds the bill.
func TestFiveProcesses(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts five processes")
	}
	five := startFive(t)
	carrier, alpha, beta, gamma, delta := five.node("carrier"), five.node("alpha"), five.node("beta"), five.node("gamma"), five.node("delta")

	five.issue(t, carrier, "user@carrier.example")
	for _, hop := range []struct{ from, to *process }{
		{carrier, alpha}, {alpha, beta}, {beta, gamma}, {gamma, alpha}, {alpha, delta}, {delta, beta},
	} {
		five.move(t, hop.from, hop.to)
	}
	five.killedBeforeItWasRead(t, beta, gamma)
	five.move(t, gamma, beta)
	five.killedAfterItWasTaken(t, beta, gamma)
	for _, hop := range []struct{ from, to *process }{{gamma, alpha}, {alpha, carrier}, {carrier, delta}} {
		five.move(t, hop.from, hop.to)
	}

	back := five.order(t, delta, "surrender", "--to", "issuer@carrier.example")
	five.accepted(t, back, carrier, "surrenderPending")
	back = five.order(t, carrier.as("issuer"), "decline", "--comments", "not yet")
	five.accepted(t, back, delta, "active")
	back = five.order(t, delta, "surrender", "--to", "issuer@carrier.example")
	five.accepted(t, back, carrier, "surrenderPending")
	done := five.order(t, carrier.as("issuer"), "honour")
	if done.Bill.Control != "void" || done.Verdict == "" {
		t.Fatalf("honoured: got control %q, verdict %q, want void and a verdict", done.Bill.Control, done.Verdict)
	}
	eventually(t, "delta hears that the bill is void", func() bool { v, _ := five.view(t, delta); return v.Control == "void" })
	if got := five.holders(t); len(got) > 0 {
		t.Errorf("holders of a void bill: got %v, want none", got)
	}
	five.verify(t)
}

// A process is one node: a process of the program, with its own data folder.
type process struct {
	domain string
	dir    string
	user   string // whose token its commands use
	args   []string
	cmd    *exec.Cmd
	exited chan error
}

// as is the same node, used by another user.
func (p *process) as(user string) *process {
	q := *p
	q.user = user
	return &q
}

// A fleet is the five nodes, the DNS server that is their only resolver, and the bill.
type fleet struct {
	nodes []*process
	dns   *dnsserver.Server
	relay *relay // in front of gamma
	bill  string
}

func (f *fleet) node(name string) *process {
	i := slices.IndexFunc(f.nodes, func(p *process) bool { return p.domain == name+".example" })
	return f.nodes[i]
}

func startFive(t *testing.T) *fleet {
	t.Helper()
	dns := startDNS(t)
	f := &fleet{dns: dns}
	names := []string{"carrier", "alpha", "beta", "gamma", "delta"}
	ports := freePorts(t, len(names)) // fixed: a node that is killed comes back where it was
	dir := t.TempDir()
	for i, name := range names {
		p := &process{domain: name + ".example", dir: filepath.Join(dir, name), user: "user"}
		p.args = []string{"--domain", p.domain, "--listen-peer", "127.0.0.1:" + ports[i], "--listen-local", "127.0.0.1:0",
			"--resolver", dns.Addr(), "--allow-network", "127.0.0.0/8"}
		f.nodes = append(f.nodes, p)
		address := "127.0.0.1:" + ports[i]
		if name == "gamma" {
			f.relay = newRelay(t, address)
			address = f.relay.addr()
		}
		_, port, _ := strings.Cut(address, ":")
		dns.SetTXT(p.domain, "ebl-transferblock=https://api."+p.domain+":"+port+"/v1/transferblocks")
		dns.SetA("api."+p.domain, netip.MustParseAddr("127.0.0.1"))
	}
	f.nodes[0].args = append(f.nodes[0].args, "--issuer")
	f.each(t, func(p *process) {
		p.must(t, append([]string{"init"}, p.args...)...)
		if err := os.WriteFile(p.dir+".json", []byte(p.must(t, "peer", "self")), 0o600); err != nil {
			t.Error(err)
		}
		for _, u := range [][2]string{{"user", "holder"}, {"auditor", "auditor"}, {"issuer", "issuer"}} {
			if u[1] == "issuer" && p != f.nodes[0] {
				continue
			}
			p.must(t, "user", "add", u[0], "--role", u[1], "--token-file", p.token(u[0]))
		}
	})
	f.each(t, func(p *process) {
		for _, o := range f.nodes {
			if o != p {
				p.must(t, "peer", "add", o.dir+".json", "--yes")
			}
		}
		p.serve(t)
	})
	return f
}

// each does something for all nodes at once.
func (f *fleet) each(t *testing.T, do func(*process)) {
	t.Helper()
	var wg sync.WaitGroup
	for _, p := range f.nodes {
		wg.Go(func() { do(p) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (p *process) token(user string) string { return p.dir + "-" + user + ".token" }

// command is the program with arguments, on the data folder of p.
func (p *process) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program("eblnode"), append(args, "--data", p.dir)...)
	cmd.Env = cleanEnv()
	return cmd
}

// try runs a command and returns its output and exit code.
func (p *process) try(t *testing.T, args ...string) (out []byte, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := p.command(ctx, args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		return append(out, errOut.Bytes()...), exit.ExitCode()
	}
	if err != nil {
		t.Errorf("%s: eblnode %s: %v\n%s", p.domain, strings.Join(args, " "), err, errOut.String())
	}
	return out, 0
}

// must runs a command that has to succeed. It may be used on any goroutine.
func (p *process) must(t *testing.T, args ...string) string {
	t.Helper()
	out, code := p.try(t, args...)
	if code != 0 {
		t.Errorf("%s: eblnode %s: exit code %d\n%s", p.domain, strings.Join(args, " "), code, out)
	}
	return string(out)
}

// serve starts the node and waits until it listens.
func (p *process) serve(t *testing.T) {
	t.Helper()
	log, err := os.OpenFile(p.dir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { _ = log.Close() }()
	cmd := p.command(context.WithoutCancel(t.Context()), "serve")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	p.cmd, p.exited = cmd, exited
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(p.dir + ".log")
			t.Logf("log of %s:\n%s", p.domain, text)
		}
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-exited:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			t.Errorf("%s does not stop when told to", p.domain)
		}
	})
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if run, err := readRunFile(p.dir); err == nil && run.PID == cmd.Process.Pid {
			return
		}
	}
	t.Errorf("%s does not say where it listens", p.domain)
}

// signal sends a signal to the node.
func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatalf("sending %s to %s: %v", s, p.domain, err)
	}
}

// kill ends the node as a power cut would, and starts it again.
func (p *process) kill(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGKILL)
	select {
	case err := <-p.exited:
		p.exited <- err // for the clean-up
	case <-time.After(time.Minute):
		t.Fatalf("%s outlives SIGKILL", p.domain)
	}
}

// issue makes a bill with a document so large that a request with it is told from any
// other by its size alone.
func (f *fleet) issue(t *testing.T, carrier *process, to string) {
	t.Helper()
	document, err := json.Marshal(map[string]any{"transportDocumentReference": "FIVE-1", "carrierCode": "FIVE", "isToOrder": true,
		"shippingMarks": strings.Repeat("x", 4*largeRequest)})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "bl.json")
	if err := os.WriteFile(file, document, 0o600); err != nil {
		t.Fatal(err)
	}
	var out api.OperationView
	text := carrier.must(t, "issue", file, "--to", to, "--json", "--token-file", carrier.token("issuer"))
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	f.bill = out.Bill.DocumentHash
	f.onlyHolder(t, carrier)
}

// order gives an order about the bill.
func (f *fleet) order(t *testing.T, p *process, verb string, args ...string) *api.OperationView {
	t.Helper()
	text := p.must(t, append([]string{verb, f.bill, "--json", "--token-file", p.token(p.user)}, args...)...)
	out := &api.OperationView{}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		t.Fatalf("%s: %s: %v\n%s", p.domain, verb, err, text)
	}
	return out
}

// move is one hop.
func (f *fleet) move(t *testing.T, from, to *process) {
	t.Helper()
	f.accepted(t, f.order(t, from, "transfer", "--to", "user@"+to.domain), to, "active")
}

func (f *fleet) accepted(t *testing.T, o *api.OperationView, to *process, status string) {
	t.Helper()
	if x := o.Transfer; x == nil || x.State != "accepted" || x.Verdict == "" {
		t.Fatalf("to %s: got the transfer %+v, want it accepted, with a receipt", to.domain, o.Transfer)
	}
	f.onlyHolder(t, to)
	if v, _ := f.view(t, to); v.Status != status {
		t.Fatalf("%s: got status %q, want %q", to.domain, v.Status, status)
	}
}

// view is the bill as one node shows it to its auditor; not known is false.
func (f *fleet) view(t *testing.T, p *process) (v api.BillView, known bool) {
	t.Helper()
	out, code := p.try(t, "show", f.bill, "--json", "--token-file", p.token("auditor"))
	if code == 1 && bytes.Contains(out, []byte(`"notFound"`)) {
		return v, false
	}
	if code != 0 {
		t.Fatalf("%s: show: exit code %d\n%s", p.domain, code, out)
	}
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("%s: show: %v\n%s", p.domain, err, out)
	}
	return v, true
}

// holders asks all nodes but some who of them holds the bill.
func (f *fleet) holders(t *testing.T, but ...*process) (domains []string) {
	t.Helper()
	for _, p := range f.nodes {
		if slices.Contains(but, p) {
			continue
		}
		if v, known := f.view(t, p); known && v.Control == "held" {
			domains = append(domains, p.domain)
		}
	}
	return domains
}

func (f *fleet) onlyHolder(t *testing.T, p *process) {
	t.Helper()
	if got := f.holders(t); len(got) != 1 || got[0] != p.domain {
		t.Fatalf("holders: got %v, want %s alone", got, p.domain)
	}
}

// killedBeforeItWasRead: the receiver is stopped (SIGSTOP) in the middle of the request,
// and then the sender is killed.
func (f *fleet) killedBeforeItWasRead(t *testing.T, from, to *process) {
	t.Helper()
	stopped := f.relay.atLargeRequest(func() { to.signal(t, syscall.SIGSTOP) }, false)
	ended := f.background(t, from, to, "--wait", "1")
	wait(t, stopped, "the request")
	f.inDoubt(t, from, to)
	// Where the machine is slow, its second may be over before anything is sent.
	if e := <-ended; e.code != 3 || !strings.Contains(e.out, "has no signed answer yet (sending)") && !strings.Contains(e.out, "has no signed answer yet (prepared)") {
		t.Errorf("transfer without an answer: got exit code %d, want 3, and words for it: %s", e.code, e.out)
	}
	from.kill(t)
	from.serve(t)
	f.inDoubt(t, from, to)
	f.relay.pass()
	to.signal(t, syscall.SIGCONT)
	f.arrives(t, from, to)
}

// killedAfterItWasTaken: the receiver takes the bill, but the sender is killed before it
// hears of that.
func (f *fleet) killedAfterItWasTaken(t *testing.T, from, to *process) {
	t.Helper()
	muted := f.relay.atLargeRequest(func() {}, true)
	ended := f.background(t, from, to)
	wait(t, muted, "the request")
	eventually(t, to.domain+" takes the bill", func() bool { v, _ := f.view(t, to); return v.Control == "held" })
	f.onlyHolder(t, to)
	from.kill(t)
	if e := <-ended; e.code != 3 {
		t.Errorf("transfer, whose node was killed: got exit code %d, want 3: nobody can tell: %s", e.code, e.out)
	}
	to.signal(t, syscall.SIGSTOP)
	from.serve(t)
	f.inDoubt(t, from, to)
	f.relay.pass()
	to.signal(t, syscall.SIGCONT)
	f.arrives(t, from, to)
}

// An ending is what a command printed, and its exit code.
type ending struct {
	out  string
	code int
}

// background orders a transfer and tells how that command ended.
func (f *fleet) background(t *testing.T, from, to *process, args ...string) <-chan ending {
	ended := make(chan ending, 1)
	go func() {
		out, code := from.try(t, append([]string{"transfer", f.bill, "--to", "user@" + to.domain, "--token-file", from.token("user")}, args...)...)
		ended <- ending{string(out), code}
	}()
	return ended
}

// inDoubt: the sender says so, and nobody who can be asked holds the bill.
func (f *fleet) inDoubt(t *testing.T, from, stopped *process) {
	t.Helper()
	if v, _ := f.view(t, from); v.Control != "locked" || v.Transfer == nil || !v.Transfer.InDoubt {
		t.Fatalf("%s: got control %q, transfer %+v, want it locked and in doubt", from.domain, v.Control, v.Transfer)
	}
	if got := f.holders(t, stopped); len(got) > 0 {
		t.Fatalf("holders while the transfer is in doubt: got %v, want none", got)
	}
}

// arrives: without any further order the same envelope is sent again, and accepted.
func (f *fleet) arrives(t *testing.T, from, to *process) {
	t.Helper()
	eventually(t, from.domain+" has the receipt", func() bool { v, _ := f.view(t, from); return v.Control == "away" })
	v, _ := f.view(t, from)
	if v.Transfer.State != "accepted" || v.Transfer.Attempts < 1 {
		t.Errorf("after the crash: got the transfer %+v, want it accepted", v.Transfer)
	}
	f.onlyHolder(t, to)
}

// verify checks the last chain with the offline verifier.
func (f *fleet) verify(t *testing.T) {
	t.Helper()
	carrier := f.node("carrier")
	block := filepath.Join(t.TempDir(), "block.json")
	text := carrier.must(t, "show", f.bill, "--chain", "--token-file", carrier.token("auditor"))
	if err := os.WriteFile(block, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{block, "--json"}
	for _, p := range f.nodes {
		args = append(args, "--trust", p.dir+".json")
	}
	out, err := exec.CommandContext(t.Context(), program("eblverify"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("eblverify: %v\n%s", err, out)
	}
	var r struct {
		Reports []struct {
			Verdict string
			State   struct {
				Status    string
				Possessor string
				Length    int
			}
		}
	}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if got := r.Reports[0]; got.Verdict != "VALID" || got.State.Possessor != "issuer@carrier.example" || got.State.Length != 15 {
		t.Errorf("eblverify: got %+v, want a valid chain of 15 entries that ends with issuer@carrier.example", got)
	}
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(time.Minute):
		t.Fatalf("%s does not come", what)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(time.Minute); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("it does not happen that %s", what)
		}
	}
}

// startDNS is a DNS server until the test ends.
func startDNS(t *testing.T) *dnsserver.Server {
	t.Helper()
	dns, err := dnsserver.New()
	if err != nil {
		t.Fatal(err)
	}
	if err := dns.Start("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dns.Close() })
	return dns
}
