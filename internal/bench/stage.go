package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"eblnode/identity"
	"eblnode/internal/dnsserver"
)

const (
	nodeDomain = "node.example"
	peerDomain = "peer.example"
	holder     = "desk" // the user of the node that gets all bills
)

// A stage is a node of the real program in a process of its own, and the platform that
// sends to it and takes from it.
type stage struct {
	dir     string
	program string
	party   *party
	dns     *dnsserver.Server
	taker   *taker             // the sending platform's own listener
	entry   *identity.Platform // the node's
	tokens  map[string]string
	limited bool // with the usual limits of rate and concurrency

	cmd         *exec.Cmd
	exited      chan struct{}
	peer, local string
}

// probe is laid over the program: it is the shipped one but for a socket on which it
// tells of its memory and writes profiles.
const probe = `package main

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	_ "net/http/pprof"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
)

func init() {
	path := os.Getenv("BENCH_PROBE")
	if path == "" {
		return
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		panic(err)
	}
	http.HandleFunc("/memstats", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("gc") != "" {
			debug.FreeOSMemory()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		_ = json.NewEncoder(w).Encode(map[string]uint64{"mallocs": m.Mallocs, "bytes": m.TotalAlloc, "heap": m.HeapAlloc, "sys": m.Sys})
	})
	var profile bytes.Buffer
	http.HandleFunc("/cpu/start", func(w http.ResponseWriter, r *http.Request) {
		profile.Reset()
		runtime.SetCPUProfileRate(500) // StartCPUProfile's own 100 is then refused, with a line in the log
		if err := pprof.StartCPUProfile(&profile); err != nil {
			http.Error(w, err.Error(), http.StatusConflict)
		}
	})
	http.HandleFunc("/cpu/stop", func(w http.ResponseWriter, r *http.Request) {
		pprof.StopCPUProfile()
		_, _ = w.Write(profile.Bytes())
	})
	go func() { _ = http.Serve(l, nil) }()
}
`

// build makes the node's program, with the probe, in dir.
func build(ctx context.Context, root, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "probe.go.txt")
	overlay := filepath.Join(dir, "overlay.json")
	text, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "cmd", "eblnode", "bench_probe.go"): file}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(file, []byte(probe), 0o600), os.WriteFile(overlay, text, 0o600)); err != nil {
		return "", err
	}
	for name, args := range map[string][]string{"eblnode": {"-overlay", overlay}, "eblverify": nil} {
		cmd := exec.CommandContext(ctx, "go", append(append([]string{"build", "-buildvcs=false", "-o", filepath.Join(dir, name)}, args...), "./cmd/"+name)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
		}
	}
	return filepath.Join(dir, "eblnode"), nil
}

// newStage makes the node's folder with the commands of an operator.
func newStage(ctx context.Context, program, dir string, p *party) (*stage, error) {
	s := &stage{dir: filepath.Join(dir, "node"), program: program, party: p, tokens: map[string]string{}}
	var err error
	if s.dns, err = dnsserver.New(); err != nil {
		return nil, err
	}
	if err := s.dns.Start("127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.dns.SetA("api."+peerDomain, netip.MustParseAddr("127.0.0.1"))
	if s.taker, err = newTaker(p); err != nil {
		return nil, err
	}
	p.entry.Endpoint = "https://api." + peerDomain + ":" + s.taker.port() + "/v1/transferblocks"
	if err := s.init(ctx, dir); err != nil {
		return nil, err
	}
	return s, s.addPeer(ctx)
}

// init makes the folder, or takes that of an earlier run.
func (s *stage) init(ctx context.Context, dir string) error {
	_, err := os.Stat(s.dir)
	fresh := os.IsNotExist(err)
	if fresh {
		if _, err := s.command(ctx, "init", "--domain", nodeDomain, "--issuer", "--resolver", s.dns.Addr(), "--allow-network", "127.0.0.0/8",
			"--listen-peer", "127.0.0.1:0", "--listen-local", "127.0.0.1:0"); err != nil {
			return err
		}
	}
	self, err := s.command(ctx, "peer", "self")
	if err != nil {
		return err
	}
	ps, err := identity.ParseTrust(self)
	if err != nil {
		return err
	}
	s.entry = ps[0]
	for name, role := range map[string]string{holder: "holder", "issuer": "issuer"} {
		file := filepath.Join(dir, name+".token")
		if fresh {
			if _, err := s.command(ctx, "user", "add", name, "--name", name, "--role", role, "--token-file", file); err != nil {
				return err
			}
		}
		token, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		s.tokens[name] = strings.TrimSpace(string(token))
	}
	return nil
}

// addPeer hands the node the trust entry of the sending platform.
func (s *stage) addPeer(ctx context.Context) error { return s.trust(ctx, s.party.entry) }

func (s *stage) trust(ctx context.Context, entry *identity.Platform) error {
	text, err := entry.JSON()
	if err != nil {
		return err
	}
	file := s.dir + "-" + entry.Domain.Name + ".json"
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return err
	}
	_, err = s.command(ctx, "peer", "add", file, "--yes")
	return err
}

// limits let the load through: they are there against floods, and this is one.
var limits = []string{"EBLNODE_LIMITS_VERDICTSPERHOUR=1000000000", "EBLNODE_LIMITS_RATE=1000000", "EBLNODE_LIMITS_BURST=1000000", "EBLNODE_LIMITS_CONCURRENCY=1000"}

func cleanEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "EBLNODE_") {
			env = append(env, kv)
		}
	}
	return env
}

func (s *stage) command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, s.program, append(args, "--data", s.dir)...)
	cmd.Env = cleanEnv()
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("eblnode %s: %w\n%s", strings.Join(args, " "), err, errOut.String())
	}
	return out.Bytes(), nil
}

// start runs the node and waits until it serves.
func (s *stage) start(ctx context.Context) error {
	log, err := os.OpenFile(s.dir+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	_ = os.Remove(s.probePath())
	s.cmd = exec.Command(s.program, "serve", "--data", s.dir)
	env := append(cleanEnv(), limits[0])
	if !s.limited {
		env = append(env, limits[1:]...)
	}
	s.cmd.Env = append(env, "BENCH_PROBE="+s.probePath(), "EBLNODE_RETRYMAX=2s", "EBLNODE_DISCOVERY_RESOLVERS="+s.dns.Addr())
	s.cmd.Stdout, s.cmd.Stderr = log, log
	// The death signal comes when the thread that started the child ends.
	runtime.LockOSThread()
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting the node: %w", err)
	}
	s.exited = make(chan struct{})
	go func() { _ = s.cmd.Wait(); close(s.exited) }()
	for {
		var run struct {
			PID         int
			Peer, Local string
		}
		text, err := os.ReadFile(filepath.Join(s.dir, "run.json"))
		if err == nil && json.Unmarshal(text, &run) == nil && run.PID == s.pid() {
			s.peer, s.local = run.Peer, run.Local
			return nil
		}
		select {
		case <-s.exited:
			said, _ := os.ReadFile(s.dir + ".log")
			return fmt.Errorf("the node stopped at once; it said:\n%s", said)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// stop lets the node stop as an operator would.
func (s *stage) stop() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(30 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	s.cmd = nil
}

func (s *stage) pid() int          { return s.cmd.Process.Pid }
func (s *stage) probePath() string { return s.dir + ".probe" }

// ask reads from the probe.
func (s *stage) ask(ctx context.Context, path string) ([]byte, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", s.probePath())
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://probe"+path, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking the probe: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("asking the probe: %d %.200s", resp.StatusCode, text)
	}
	return text, err
}

// memstats are the node's own counts of its memory.
type memstats struct{ Mallocs, Bytes, Heap, Sys uint64 }

func (s *stage) memstats(ctx context.Context, gc bool) (m memstats, err error) {
	path := "/memstats"
	if gc {
		path += "?gc=1"
	}
	text, err := s.ask(ctx, path)
	if err != nil {
		return m, err
	}
	return m, json.Unmarshal(text, &m)
}
