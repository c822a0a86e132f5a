//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/api"
	"eblnode/envelope"
	"eblnode/internal/dnsserver"
	"eblnode/node"
)

// TestRotationUnderLoad: two processes of the real program send bills to and fro while
// each of them gets new signing and TLS keys: first planned, with the new trust entry
// handed over before the turn; then at once, so that the other learns of it too late.
// Nothing is rejected, nothing is lost, each bill is held by exactly one node, and the
// chains have signatures of every key.
func TestRotationUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: starts two processes")
	}
	a, b := startTwo(t)
	l := newLoad(t, a, b, 6)
	l.run(t)
	l.more(t, 20)

	for _, p := range []*process{a, b} {
		p.must(t, "key", "rotate", "--in", "3s", "--name", "planned")
		hand(t, a, b)
	}
	l.more(t, 20)
	eventually(t, "the planned keys have taken over", func() bool { return uses(t, a, "planned") && uses(t, b, "planned") })
	l.more(t, 30)

	// At once: what the other one refuses until it has the new entry waits, and is not
	// rejected. The old signing key signs nothing more, whatever happens to its file.
	for _, p := range []*process{a, b} {
		p.must(t, "key", "rotate", "--now", "--name", "urgent")
		if err := os.Remove(filepath.Join(p.dir, "keys", "signing-planned.key")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond)
		hand(t, a, b)
		l.more(t, 20)
	}
	l.stop(t)

	one, two := l.kids(t, a), l.kids(t, b)
	if len(one) < 3 || len(two) < 3 {
		t.Errorf("keys in the chains: got %v and %v, want three of each node", one, two)
	}
	for _, p := range []*process{a, b} {
		p.must(t, "fsck")
	}
	t.Logf("%d transfers under three keys each (%v, %v); %d orders were put off", l.done.Load(), one, two, l.putOff.Load())
}

// startTwo is two nodes that trust each other; change is done to each before it runs.
func startTwo(t *testing.T, change ...func(*dnsserver.Server, *process)) (a, b *process) {
	t.Helper()
	dns := startDNS(t)
	dir, ports := t.TempDir(), freePorts(t, 2)
	var list []*process
	for i, name := range []string{"a", "b"} {
		p := &process{domain: name + ".example", dir: filepath.Join(dir, name), user: "user"}
		list = append(list, p)
		dns.SetTXT(p.domain, "ebl-transferblock=https://api."+p.domain+":"+ports[i]+"/v1/transferblocks")
		dns.SetA("api."+p.domain, netip.MustParseAddr("127.0.0.1"))
		p.must(t, "init", "--domain", p.domain, "--listen-peer", "127.0.0.1:"+ports[i], "--listen-local", "127.0.0.1:0", "--issuer",
			"--resolver", dns.Addr(), "--allow-network", "127.0.0.0/8")
		for _, do := range change {
			do(dns, p)
		}
		for _, u := range [][2]string{{"user", "holder"}, {"issuer", "issuer"}, {"auditor", "auditor"}} {
			p.must(t, "user", "add", u[0], "--role", u[1], "--token-file", p.token(u[0]))
		}
	}
	a, b = list[0], list[1]
	hand(t, a, b)
	a.serve(t)
	b.serve(t)
	return a, b
}

// hand exchanges the trust entries of two nodes as they are now.
func hand(t *testing.T, a, b *process) {
	t.Helper()
	for _, x := range [][2]*process{{a, b}, {b, a}} {
		file := x[0].dir + ".json"
		if err := os.WriteFile(file, []byte(self(t, x[0])), 0o600); err != nil {
			t.Fatal(err)
		}
		x[1].must(t, "peer", "add", file, "--yes")
	}
}

// self is the node's trust entry.
func self(t *testing.T, p *process) string {
	t.Helper()
	cmd := p.command(t.Context(), "peer", "self")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// uses reports whether the node uses the signing and the TLS key of that name now.
func uses(t *testing.T, p *process, name string) bool {
	t.Helper()
	var out struct{ Keys []keyLine }
	if err := json.Unmarshal([]byte(p.must(t, "key", "list", "--json")), &out); err != nil {
		t.Fatal(err)
	}
	used := 0
	for _, k := range out.Keys {
		if k.Name == name && k.InUse {
			used++
		}
	}
	return used == 2
}

// A load moves bills between two nodes, each bill by a worker of its own.
type load struct {
	nodes        [2]*process
	ways         [2]*remote
	bills        []string
	done, putOff atomic.Int64
	ending       atomic.Bool
	workers      sync.WaitGroup
}

func newLoad(t *testing.T, a, b *process, bills int) *load {
	t.Helper()
	l := &load{nodes: [2]*process{a, b}}
	for i, p := range l.nodes {
		l.ways[i] = way(t, p, "user")
	}
	issuer := way(t, a, "issuer")
	for i := range bills {
		var out api.OperationView
		order := fmt.Sprintf(`{"document":{"isToOrder":true,"carrierCode":"LOAD","transportDocumentReference":"L-%d"},"to":"user@%s"}`, i, a.domain)
		if err := issuer.call(t.Context(), http.MethodPost, "/api/v1/ebls", []byte(order), &out); err != nil {
			t.Fatal(err)
		}
		l.bills = append(l.bills, out.Bill.DocumentHash)
	}
	return l
}

// way is the local listener of a node, for one of its users.
func way(t *testing.T, p *process, user string) *remote {
	t.Helper()
	run, err := readRunFile(p.dir)
	if err != nil {
		t.Fatal(err)
	}
	token, err := os.ReadFile(p.token(user))
	if err != nil {
		t.Fatal(err)
	}
	return &remote{base: "http://" + run.Local, token: string(bytes.TrimSpace(token)), client: &http.Client{Timeout: time.Minute}}
}

func (l *load) run(t *testing.T) {
	for i, bill := range l.bills {
		l.workers.Go(func() {
			at := 0
			if i%2 == 1 { // so that there is traffic both ways from the start
				at = l.hop(t, bill, at)
			}
			for !l.ending.Load() && !t.Failed() {
				at = l.hop(t, bill, at)
			}
		})
	}
	t.Cleanup(func() { l.ending.Store(true); l.workers.Wait() })
}

// hop moves a bill to the other node, however long that takes, and says who has it.
func (l *load) hop(t *testing.T, bill string, at int) int {
	other := 1 - at
	for until := time.Now().Add(2 * time.Minute); ; {
		var out api.OperationView
		err := l.ways[at].call(t.Context(), http.MethodPost, "/api/v1/ebls/"+bill+"/transfer?wait=30", []byte(`{"to":"user@`+l.nodes[other].domain+`"}`), &out)
		answer, refused := errors.AsType[*remoteError](err)
		switch {
		case err == nil && out.Transfer != nil && out.Transfer.State == "accepted":
			l.done.Add(1)
			return other
		case refused && answer.Text == node.TextPeerNotReady && time.Now().Before(until):
			l.putOff.Add(1) // nothing was sealed: it is asked again
			time.Sleep(50 * time.Millisecond)
			continue
		case err == nil && out.Transfer != nil && l.arrives(t, at, out.Transfer, until):
			l.done.Add(1)
			return other
		}
		t.Errorf("%s to %s: got %+v, %v, want it accepted", bill[:8], l.nodes[other].domain, out.Transfer, err)
		return at
	}
}

// arrives waits for a transfer that was not settled while its order waited: on a slow machine
// the other node learns of new keys late, and is asked again by and by.
func (l *load) arrives(t *testing.T, at int, x *api.TransferView, until time.Time) bool {
	for ; (x.State == "prepared" || x.State == "sending") && time.Now().Before(until); time.Sleep(100 * time.Millisecond) {
		var now api.TransferView
		if err := l.ways[at].call(t.Context(), http.MethodGet, "/api/v1/transfers/"+x.ID, nil, &now); err != nil {
			t.Error(err)
			return false
		}
		*x = now
	}
	return x.State == "accepted"
}

// more waits until so many more transfers were made.
func (l *load) more(t *testing.T, n int64) {
	t.Helper()
	want := l.done.Load() + n
	for until := time.Now().Add(3 * time.Minute); l.done.Load() < want && !t.Failed(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("got %d transfers, want %d", l.done.Load(), want)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
}

// stop lets every bill come to rest, and looks that each is in one place and was never
// rejected.
func (l *load) stop(t *testing.T) {
	t.Helper()
	l.ending.Store(true)
	l.workers.Wait()
	for _, bill := range l.bills {
		var holders []string
		for _, p := range l.nodes {
			var v api.BillView
			if err := way(t, p, "auditor").call(t.Context(), http.MethodGet, "/api/v1/ebls/"+bill, nil, &v); err != nil {
				t.Error(err)
			}
			if v.Control == "held" {
				holders = append(holders, p.domain)
			}
		}
		if len(holders) != 1 {
			t.Errorf("%s: got the holders %v, want one", bill[:8], holders)
		}
	}
	for _, p := range l.nodes {
		var status api.StatusView
		r, running := dialAdmin(p.dir)
		if !running {
			t.Fatalf("%s does not run", p.domain)
		}
		if err := r.call(t.Context(), http.MethodGet, "/admin/v1/status", nil, &status); err != nil {
			t.Fatal(err)
		}
		if n := status.Transfers["rejected"] + status.Transfers["disputed"] + status.Transfers["sending"] + status.Transfers["prepared"]; n > 0 || status.Transfers["accepted"] == 0 {
			t.Errorf("%s: got the transfers %v, want all of them accepted", p.domain, status.Transfers)
		}
	}
}

// kids are the names of p's keys in the signatures of all chains.
func (l *load) kids(t *testing.T, p *process) (kids []string) {
	t.Helper()
	for i, bill := range l.bills {
		var block struct {
			Chain []struct{ Signature string } `json:"endorsementChain"`
		}
		if err := way(t, l.nodes[i%2], "auditor").call(t.Context(), http.MethodGet, "/api/v1/ebls/"+bill+"/chain", nil, &block); err != nil {
			t.Fatal(err)
		}
		for _, e := range block.Chain {
			j, err := envelope.ParseJWS(e.Signature)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(j.Payload), `"https://`+p.domain+`"`) && !slices.Contains(kids, j.Header.Kid) {
				kids = append(kids, j.Header.Kid)
			}
		}
	}
	slices.Sort(kids)
	return kids
}
