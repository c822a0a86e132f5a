package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"

	"eblnode/envelope"
	"eblnode/node"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
)

// checkVersion refuses an API-Version other than 1 (wire document, section 1).
func checkVersion(r *http.Request) *node.Error {
	for _, v := range r.Header.Values("API-Version") {
		if v != "1" {
			return refuse(node.BadAPIVersion, "unsupportedApiVersion", "this path speaks API-Version 1 only")
		}
	}
	return nil
}

// checkMediaType refuses what is not plain JSON in UTF-8. A content coding would be a
// second spelling of the same bytes, and a bomb.
func checkMediaType(r *http.Request) *node.Error {
	if len(r.Header.Values("Content-Encoding")) > 0 {
		return refuse(node.BadMediaType, "unsupportedMediaType", "no Content-Encoding is accepted; send plain application/json")
	}
	bad := refuse(node.BadMediaType, "unsupportedMediaType", "send Content-Type: application/json, in UTF-8")
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return bad
	}
	kind, params, err := mime.ParseMediaType(types[0])
	if err != nil || kind != "application/json" {
		return bad
	}
	if charset, found := params["charset"]; found && !strings.EqualFold(charset, "utf-8") {
		return bad
	}
	return nil
}

// readBody reads at most limit bytes and not one more. What is refused before is not
// read at all, not even asked for by 100 Continue.
func readBody(c *gin.Context, limit int) ([]byte, *node.Error) {
	return readBodyInto(c, limit, nil, nil)
}

// readBodyInto is readBody with a buffer to use, if it is large enough, and with large, unless
// nil, asked before more than largeBody is read.
func readBodyInto(c *gin.Context, limit int, buf []byte, large *largeReader) ([]byte, *node.Error) {
	tooLarge := refuse(node.TooLarge, "tooLarge", fmt.Sprintf("the body is over the limit of %d bytes (limit: body)", limit))
	r := c.Request
	if r.ContentLength > int64(limit) {
		c.Header("Connection", "close") // the rest is not read
		return nil, tooLarge
	}
	if len(r.TransferEncoding) > 0 {
		// net/http lets a Content-Length beside chunks pass and forgets it. If
		// somebody in between believed it, what follows on this connection is not
		// what it seems; so nothing follows.
		c.Header("Connection", "close")
	}
	in := io.Reader(http.MaxBytesReader(c.Writer, r.Body, int64(limit)))
	if large != nil {
		if large.r, in = in, large; r.ContentLength > largeBody {
			if e := large.ask(); e != nil {
				c.Header("Connection", "close")
				return nil, e
			}
			// What was asked for is believed, since it costs nothing before it comes.
			buf = make([]byte, 0, int(r.ContentLength)+bytes.MinRead)
		}
	}
	buf, err := readAll(in, buf[:0], r.ContentLength)
	if err != nil {
		c.Header("Connection", "close")
		if e, ok := errors.AsType[*node.Error](err); ok {
			return nil, e
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, tooLarge
		}
		e := malformed("$", "the body did not come whole in time")
		e.Err = err
		return nil, e
	}
	return buf, nil
}

// A largeReader asks the limiter before it reads more than largeBody.
type largeReader struct {
	r     io.Reader
	n     int
	limit *limiter
	who   string
	leave func() // nil: not asked, or not let in
}

func (l *largeReader) ask() (refusal *node.Error) {
	l.leave, refusal = l.limit.enterLarge(l.who)
	return refusal
}

func (l *largeReader) done() {
	if l.leave != nil {
		l.leave()
	}
}

func (l *largeReader) Read(p []byte) (int, error) {
	if l.leave == nil && l.n > largeBody {
		if e := l.ask(); e != nil {
			return 0, e
		}
	}
	n, err := l.r.Read(p)
	l.n += n
	return n, err
}

// readAll reads all of r. A length is only a claim: the buffer grows with what has come, to
// sixteen times that at most, and not beyond what was claimed. With smaller steps a large body
// is copied again and again, and lies about twice until the collector comes.
func readAll(r io.Reader, buf []byte, claimed int64) ([]byte, error) {
	const trusted = 64 << 10
	if want := int(min(max(claimed, 0), trusted)) + bytes.MinRead; cap(buf) < want {
		buf = make([]byte, 0, want)
	}
	for {
		if len(buf) == cap(buf) {
			want := 2 * cap(buf)
			if c := int(claimed) + bytes.MinRead; c > len(buf) {
				want = min(c, 16*cap(buf))
			}
			buf = append(make([]byte, 0, want), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// bodies are buffers that are used again. What is read into one is the handler's until it
// gives it back: nothing may keep a part of it.
var bodies bodyPool

type bodyPool struct{ sync.Pool }

// maxPooled is the largest buffer that is kept.
const maxPooled = 512 << 10

// read is readBody for a peer who has entered limit. leave must be called, when the body is no
// longer needed.
func (p *bodyPool) read(c *gin.Context, most int, limit *limiter) (body []byte, leave func(), refusal *node.Error) {
	buf, _ := p.Get().(*[]byte)
	if buf == nil {
		buf = new([]byte)
	}
	var large *largeReader
	leave = atOnce
	if n := c.Request.ContentLength; n < 0 || n > largeBody {
		l := &largeReader{limit: limit, who: eventOf(c).who}
		large, leave = l, l.done
	}
	body, refusal = readBodyInto(c, most, *buf, large)
	return body, leave, refusal
}

func atOnce() {}

func (p *bodyPool) give(buf []byte) {
	if cap(buf) <= maxPooled {
		p.Put(&buf)
	}
}

// readJSON reads a local order into v, strictly: the rules of the wire for JSON, and no
// member that the order does not have, so that nothing slips in beside. It gives the
// bytes too.
func readJSON(c *gin.Context, limit int, v any) ([]byte, *node.Error) {
	if e := checkMediaType(c.Request); e != nil {
		return nil, e
	}
	body, e := readBody(c, limit)
	if e != nil {
		return nil, e
	}
	return body, decodeStrict(body, v)
}

func decodeStrict(body []byte, v any) *node.Error {
	if err := (envelope.Limits{}).CheckWidth(body); err != nil {
		return node.AsError(err)
	}
	if _, err := envelope.Canonicalize(body); err != nil {
		return node.AsError(err)
	}
	err := json.Unmarshal(body, v, json.RejectUnknownMembers(true))
	if err == nil {
		return nil
	}
	path, detail := "$", "not the object that belongs here"
	if sem, ok := errors.AsType[*json.SemanticError](err); ok {
		for name := range sem.JSONPointer.Tokens() {
			path += "." + clip(name, 40)
		}
		detail = "the value is not of the type that belongs here"
		if errors.Is(err, json.ErrUnknownName) {
			detail = "there is no such member; see /openapi.json"
		}
	}
	return malformed(path, detail)
}
