package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"eblnode/api"
	"eblnode/node"

	"github.com/gin-gonic/gin"
)

// A remoteError is an ErrorResponse that a listener of the node gave.
type remoteError struct {
	Status    int
	Code      int
	Text      string
	Message   string
	Path      string
	Reference string
}

func (e *remoteError) Error() string {
	s := fmt.Sprintf("%s (%d %s)", e.Message, e.Code, e.Text)
	if e.Path != "" {
		s += " at " + e.Path
	}
	return s
}

// A remote is a listener of a node: the local one with a user's token, or the admin
// socket.
type remote struct {
	base   string
	token  string
	actor  string
	key    string // Idempotency-Key of the one order that is sent; may be empty
	client *http.Client
	close  func() error
}

// call sends a request and decodes the answer into out, if that is not nil. An
// ErrorResponse becomes a *remoteError with exit code 1, or 3 where it may pass.
func (r *remote) call(ctx context.Context, method, path string, in, out any) error {
	text, err := r.raw(ctx, method, path, in)
	if err != nil || out == nil {
		return err
	}
	return json.Unmarshal(text, out)
}

func (r *remote) raw(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body io.Reader
	switch v := in.(type) {
	case nil:
	case []byte:
		body = bytes.NewReader(v)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	if r.actor != "" {
		req.Header.Set(api.ActorHeader, r.actor)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, unsure("the node does not answer: %w; is it running? (eblnode serve)", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, unsure("reading the node's answer: %w", err)
	}
	if resp.StatusCode < 300 {
		return text, nil
	}
	return nil, errorOf(resp.StatusCode, text)
}

// again sends an order that carries a key until there is an answer to it, three times at
// most: where the first one was carried out and its answer lost, the next one brings it.
func (r *remote) again(ctx context.Context, path string, in any) (text []byte, err error) {
	for try := range 3 {
		if try > 0 {
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(time.Duration(try) * time.Second):
			}
		}
		text, err = r.raw(ctx, http.MethodPost, path, in)
		answered, ok := errors.AsType[*remoteError](err)
		if err == nil || ok && answered.Text != node.TextUnavailable || errors.Is(err, syscall.ECONNREFUSED) {
			return text, err
		}
	}
	return nil, unsure("%w (to ask once more: --idempotency-key %s)", err, r.key)
}

// once is again for an order of that key, a random one where it is empty, and decodes the
// answer into out.
func (r *remote) once(ctx context.Context, key, path string, in, out any) error {
	if r.key = key; key == "" {
		r.key = rand.Text()
	}
	text, err := r.again(ctx, path, in)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, out)
}

func errorOf(status int, text []byte) error {
	var e api.ErrorResponse
	if json.Unmarshal(text, &e) != nil || len(e.Errors) == 0 {
		return unsure("the answer is %d %s and no error of a node", status, http.StatusText(status))
	}
	first := e.Errors[0]
	code := 1
	if status >= 500 || status == http.StatusTooManyRequests || first.Text == node.TextPeerNotReady {
		code = 3
	}
	return &exitError{code, &remoteError{status, first.Code, first.Text, first.Message, first.JSONPath, e.Reference}}
}

// admin is the way to what operators may do: the admin socket of the running node, or,
// where none runs, the same handler on a node opened for this one command.
func (a *app) admin(ctx context.Context) (*remote, error) {
	for wait := newPatience(); ; {
		if r, running := dialAdmin(a.data); running {
			return r, nil
		}
		r, err := a.openAdmin(ctx)
		if !errors.Is(err, node.ErrInUse) {
			return r, err
		}
		if !wait.more(ctx) {
			return nil, unsure("%w, and it does not answer on %s", err, filepath.Join(a.data, socketFile))
		}
	}
}

// patience is for a data folder that is held by somebody who does not answer: a node that
// is just starting, which takes seconds where the machine is busy or the database large, or a
// command that will be done at once.
type patience struct{ until time.Time }

func newPatience() patience { return patience{time.Now().Add(15 * time.Second)} }

// more pauses, and says whether to try again.
func (p patience) more(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(20 * time.Millisecond):
		return time.Now().Before(p.until)
	}
}

// openAdmin opens the node for one command.
func (a *app) openAdmin(ctx context.Context) (*remote, error) {
	gin.SetMode(gin.ReleaseMode)
	log := slog.New(slog.NewTextHandler(a.errOut, &slog.HandlerOptions{Level: slog.LevelError}))
	o, err := a.open(ctx, log)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: inProcess{api.NewAdminHandler(o.node, withReload(api.Options{Log: log, Version: Version}, o))}}
	return &remote{base: adminBase, actor: actor(), client: client, close: o.close}, nil
}

// adminBase stands where a URL needs a host: the socket has none.
const adminBase = "http://admin"

// dialAdmin is the admin socket of the node that runs on a data folder, if one does.
func dialAdmin(dir string) (r *remote, running bool) {
	r = &remote{base: adminBase, actor: actor(), close: func() error { return nil }}
	socket := filepath.Join(dir, socketFile)
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return r, false
	}
	_ = conn.Close()
	r.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
	return r, true
}

// inProcess is a transport that calls a handler. The answer can be read while the handler
// still writes it.
type inProcess struct{ h http.Handler }

func (t inProcess) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body == nil {
		req.Body = http.NoBody
	}
	r, w := io.Pipe()
	a := &answer{header: http.Header{}, status: http.StatusOK, begun: make(chan struct{}), w: w}
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.h.ServeHTTP(a, req)
		a.begin()
		_ = w.Close()
	}()
	<-a.begun
	return &http.Response{StatusCode: a.status, Header: a.header, Body: &answerBody{r, done}, Request: req}, nil
}

// An answer is what a handler writes.
type answer struct {
	header http.Header
	status int
	once   sync.Once
	begun  chan struct{} // closed once status and header are fixed
	w      *io.PipeWriter
}

func (a *answer) begin()              { a.once.Do(func() { close(a.begun) }) }
func (a *answer) Header() http.Header { return a.header }
func (a *answer) Flush()              { a.begin() }
func (a *answer) WriteHeader(status int) {
	a.status = status
	a.begin()
}

func (a *answer) Write(b []byte) (int, error) {
	a.begin()
	return a.w.Write(b)
}

// An answerBody ends with its handler: the node is closed after it.
type answerBody struct {
	*io.PipeReader
	done <-chan struct{}
}

func (b *answerBody) Close() error {
	err := b.PipeReader.Close()
	<-b.done
	return err
}

// actor is who runs the command, for the audit log.
func actor() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "operator"
}

// local is the way to what users may do: the local listener, with a token.
func (a *app) local() (*remote, error) {
	base := a.url
	if base == "" {
		base = os.Getenv("EBLNODE_URL")
	}
	if base == "" {
		run, err := readRunFile(a.data)
		if err != nil {
			return nil, unsure("the node in %s is not running; start it with: eblnode serve --data %s (or name another with --url)", a.data, a.data)
		}
		base = "http://" + run.Local
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usage("--url %q is not http://host:port", base)
	}
	token, err := a.token()
	if err != nil {
		return nil, err
	}
	return &remote{base: strings.TrimSuffix(base, "/"), token: token, client: &http.Client{Timeout: 2 * time.Minute, CheckRedirect: noRedirect}, close: func() error { return nil }}, nil
}

// noRedirect takes a redirect for an answer: a token and an order go to the node that was
// named, and to nobody whom it names.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// bearer is how a bearer token is spelt (RFC 6750, section 2.1).
var bearer = regexp.MustCompile(`^[A-Za-z0-9._~+/-]+=*$`)

// token reads the bearer token from a file. It is never an argument: those are seen by
// everybody on the machine.
func (a *app) token() (string, error) {
	name := a.tokenFile
	if name == "" {
		name = os.Getenv("EBLNODE_TOKEN_FILE")
	}
	if name == "" {
		return "", usage("--token-file FILE is needed (or EBLNODE_TOKEN_FILE): the token that eblnode user add gave")
	}
	var text []byte
	var err error
	if name == "-" {
		text, err = io.ReadAll(io.LimitReader(a.in, 4096))
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return "", usage("reading the token: %s", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" {
		return "", usage("the token in %s is empty", name)
	}
	// Whatever else is in that file is not sent to anybody.
	if !bearer.MatchString(token) {
		return "", usage("there is no token in %s: a token is one line of letters and digits", name)
	}
	return token, nil
}

// readArg reads a file, or standard input for "-".
func (a *app) readArg(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.in, 64<<20))
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, usage("%s", err)
	}
	return text, nil
}
