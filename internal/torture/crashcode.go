package main

import (
	"fmt"
	"io/fs"
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

var crashComment = regexp.MustCompile(`(?m)^\s*(// crashpoint: ([a-z0-9 ]+))$`)

// A crashPlan is what the comments in the sources of a module come to.
type crashPlan struct {
	edits              []edit // to lay over them
	senders, receivers []crashPoint
	undescribed, gone  []string // named there and not listed here, and the other way round
}

// crashPoints finds the comments in all sources of the module at root, so that none can be
// forgotten: a point whose name begins with s is the sender's, with r the receiver's, and w
// is on both sides.
func crashPoints(root string) (*crashPlan, error) {
	p := &crashPlan{}
	packages := map[string]bool{}
	var names []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		if e.IsDir() {
			if name := e.Name(); file != "." && (name[0] == '.' || name == "testdata" || file == "internal/torture") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, m := range crashComment.FindAllStringSubmatch(string(text), -1) {
			code, found := crashCode[m[2]]
			if !found {
				code = `crashAt("` + m[2] + `")`
			}
			p.edits = append(p.edits, edit{file: file, old: m[1] + "\n", new: code + "\n"})
			names = append(names, strings.Fields(m[2])...)
			packages[file[:strings.LastIndexByte(file, '/')+1]] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for folder := range packages {
		text := strings.TrimSuffix(folder, "/")
		text = "package " + text[strings.LastIndexByte(text, '/')+1:] + "\n" + crashCommon
		if folder == "api/" {
			text = strings.Replace(text, `import (`, "import (\n\t\"io\"\n\t\"net/http\"\n\t\"net/http/httptrace\"\n\t\"strconv\"", 1) + crashHTTP
		}
		p.edits = append(p.edits, edit{file: folder + "torture_crash.go", add: true, new: text})
	}
	return p, p.sort(names)
}

// sort gives each point its side and what it means.
func (p *crashPlan) sort(names []string) error {
	slices.Sort(names)
	for _, name := range names {
		var known bool
		for _, side := range []struct {
			prefix string
			meant  []crashPoint
			points *[]crashPoint
		}{{"s", senderPoints, &p.senders}, {"r", receiverPoints, &p.receivers}} {
			if !strings.HasPrefix(name, side.prefix) && name != "w" {
				continue
			}
			known = true
			i := slices.IndexFunc(side.meant, func(m crashPoint) bool { return m.name == name })
			if i < 0 {
				p.undescribed = append(p.undescribed, name)
				*side.points = append(*side.points, crashPoint{name, "not described"})
				continue
			}
			*side.points = append(*side.points, side.meant[i])
		}
		if !known {
			return fmt.Errorf("the crash point %q: a name begins with s (sender) or r (receiver)", name)
		}
	}
	for _, m := range slices.Concat(senderPoints, receiverPoints) {
		if !slices.Contains(names, m.name) {
			p.gone = append(p.gone, m.name)
		}
	}
	return nil
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
