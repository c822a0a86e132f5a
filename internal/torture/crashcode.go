package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A crash point is a place in the life of one transfer at which a process may end. The
// sources name them by comments, "// crashpoint: s2"; for this mode a build lays a call
// over each. What a shipped program has there is the comment.
type crashPoint struct{ name, what string }

var senderPoints = []crashPoint{
	{"w", "after the commit that seals the envelope, before the journal has it"},
	{"s1", "before the transfer is marked as sending"},
	{"s2", "marked as sending, before connecting"},
	{"s3", "connected, before the request"},
	{"s4", "in the middle of the body"},
	{"s5", "request sent, no answer"},
	{"s6", "status and headers of the answer read"},
	{"s7", "receipt read, not verified"},
	{"s8", "receipt verified, not committed"},
	{"s9", "committed, before the user is told"},
}

var receiverPoints = []crashPoint{
	{"r1", "headers read"},
	{"r2", "in the middle of the body"},
	{"r3", "parsed"},
	{"r4", "verified, before the transaction"},
	{"r5", "in the transaction, entries stored"},
	{"r6", "receipt signed, before the commit"},
	{"w", "committed, before the journal has it"},
	{"r7", "committed, before the first byte of the answer"},
	{"r8", "in the middle of the answer"},
	{"r9", "after the answer"},
}

// crashCode is what a build has in the place of each comment; most have a plain call.
var crashCode = map[string]string{
	"s3 s4 s5": `if method == http.MethodPut {
		req = crashRequest(req)
	}`,
	"s6": `if method == http.MethodPut {
		crashAt("s6")
	}`,
	"r1 r2": `crashAt("r1")
	crashBody(c.Request)`,
	"r8": `if crashAnswer(c.Writer, reply.Receipt) {
			return
		}`,
	"r9": `if crashArmed("r9") {
		c.Writer.Flush()
		crashAt("r9")
	}`,
}

// crashFiles are the sources with crash points, by the package they are in.
var crashFiles = []string{"node/send.go", "node/receive.go", "node/accept.go", "node/store.go", "api/client.go", "api/peer.go"}

var crashComment = regexp.MustCompile(`(?m)^\s*(// crashpoint: ([a-z0-9 ]+))$`)

// crashEdits finds the comments in the sources of the module at root, and says what to
// lay over them. A point without its comment is found by the run: nobody gets there.
func crashEdits(root string) ([]edit, error) {
	edits := []edit{
		{file: "node/torture_crash.go", add: true, new: "package node\n" + crashCommon},
		{file: "api/torture_crash.go", add: true, new: "package api\n" + strings.Replace(crashCommon, `import (`, "import (\n\t\"io\"\n\t\"net/http\"\n\t\"net/http/httptrace\"\n\t\"strconv\"", 1) + crashHTTP},
	}
	for _, file := range crashFiles {
		text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return nil, err
		}
		for _, m := range crashComment.FindAllStringSubmatch(string(text), -1) {
			code, found := crashCode[m[2]]
			if !found {
				code = `crashAt("` + m[2] + `")`
			}
			edits = append(edits, edit{file: file, old: m[1] + "\n", new: code + "\n"})
		}
	}
	return edits, nil
}

// only are the edits without those of other points than the one named.
func only(all []edit, point string) []edit {
	return slices.DeleteFunc(slices.Clone(all), func(e edit) bool { return !e.add && !strings.Contains(e.new, `"`+point+`"`) })
}

// crashCommon: a point that is armed, by a file in the folder that the environment names,
// reports that it was reached and waits, to be killed or let go. Each goes off once.
const crashCommon = `
import (
	"os"
	"path/filepath"
	"time"
)

var crashDir = os.Getenv("TORTURE_POINTS")

func crashArmed(name string) bool {
	_, err := os.Stat(filepath.Join(crashDir, "armed-"+name))
	return crashDir != "" && err == nil
}

func crashAt(name string) {
	if crashDir == "" || os.Remove(filepath.Join(crashDir, "armed-"+name)) != nil {
		return
	}
	_ = os.WriteFile(filepath.Join(crashDir, "hit-"+name), nil, 0o600)
	for range 60000 {
		if _, err := os.Stat(filepath.Join(crashDir, "go-"+name)); err == nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
`

// crashHTTP is for the points inside requests and answers.
const crashHTTP = `
type crashReader struct {
	io.ReadCloser
	name    string
	left    int64
}

func (r *crashReader) Read(b []byte) (int, error) {
	if r.left <= 0 {
		crashAt(r.name)
	} else if int64(len(b)) > r.left {
		b = b[:r.left]
	}
	n, err := r.ReadCloser.Read(b)
	r.left -= int64(n)
	return n, err
}

func crashRequest(req *http.Request) *http.Request {
	trace := &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { crashAt("s3") },
		WroteRequest: func(httptrace.WroteRequestInfo) { crashAt("s5") },
	}
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
	if crashArmed("s4") && req.Body != nil {
		req.Body, req.GetBody = &crashReader{req.Body, "s4", req.ContentLength / 2}, nil
	}
	return req
}

func crashBody(req *http.Request) {
	if crashArmed("r2") {
		req.Body = &crashReader{req.Body, "r2", req.ContentLength / 2}
	}
}

func crashAnswer(w http.ResponseWriter, receipt string) bool {
	if !crashArmed("r8") {
		return false
	}
	w.Header().Set("Content-Type", "application/jose")
	w.Header().Set("Content-Length", strconv.Itoa(len(receipt)))
	_, _ = io.WriteString(w, receipt[:len(receipt)/2])
	w.(http.Flusher).Flush()
	crashAt("r8")
	_, _ = io.WriteString(w, receipt[len(receipt)/2:])
	return true
}
`
