package api_test

import (
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"eblnode/envelope"
	"eblnode/identity"
	"eblnode/internal/ebltest"
	"eblnode/node"
	"eblnode/testvectors"

	_ "modernc.org/sqlite"
)

// TestVectorsOverTheWire sends every block of the test vectors to a real node over mutual
// TLS, as the platform that signed it, and holds the whole answer against the vector:
// status, code, text, place, signed or not. A dump of the node's tables before and after
// must be the same but for the one rejection that was signed, and its audit row.
func TestVectorsOverTheWire(t *testing.T) {
	byTrust := map[string][]*testvectors.Vector{}
	for _, family := range testvectors.Families {
		list, err := testvectors.Load(family)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range list {
			switch {
			case v.Kind == "block":
				byTrust[v.Trust] = append(byTrust[v.Trust], v)
			case v.Kind == "document" && v.Expect == "malformed":
				byTrust["base"] = append(byTrust["base"], v)
			}
		}
	}
	sent := 0
	for name, list := range byTrust {
		w := newWire(t, name)
		for _, v := range list {
			if w.send(t, v) {
				sent++
			}
		}
	}
	t.Logf("%d vectors sent", sent)
	if sent < 400 {
		t.Errorf("only %d vectors were sent; there should be 400 at least", sent)
	}
}

// A wire is a node that trusts the platforms of one trust file of the vectors, each with
// a TLS certificate of our making.
type wire struct {
	receiver *ebltest.Platform
	clock    *atomic.Pointer[time.Time]
	trust    *identity.Trust
	clients  map[identity.Host]*http.Client
	db       *sql.DB
}

func newWire(t *testing.T, trustName string, more ...ebltest.Option) *wire {
	t.Helper()
	w := &wire{clock: &atomic.Pointer[time.Time]{}, clients: map[identity.Host]*http.Client{}}
	at := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	w.clock.Store(&at)
	w.receiver = ebltest.NewTLS(t).Platform("receiver.example", append([]ebltest.Option{ebltest.Configure(func(c *node.Config) {
		c.Now = func() time.Time { return *w.clock.Load() }
		c.VerdictsPerHour = 1 << 30
	}), ebltest.WithEntry(func(p *identity.Platform) {
		// A key without the window of a certificate: the vectors are of another day.
		p.Keys[0].NotBefore, p.Keys[0].Certificates, p.Quirks.BareKey = time.Time{}, nil, true
	})}, more...)...)
	text, err := testvectors.Trust(trustName)
	if err != nil {
		t.Fatal(err)
	}
	ps, err := identity.ParseTrust(text)
	if err != nil {
		t.Fatal(err)
	}
	ps = slices.DeleteFunc(ps, func(p *identity.Platform) bool { return p.Domain == w.receiver.Domain() })
	for _, p := range ps {
		priv, err := identity.GenerateKey("ES256")
		if err != nil {
			t.Fatal(err)
		}
		cert, err := identity.NewSelfSigned(priv, identity.CertificateSpec{Subject: p.Domain.Name, Names: []string{p.Domain.Name},
			NotBefore: at.AddDate(0, -1, 0), NotAfter: at.AddDate(1, 0, 0), Usages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
		if err != nil {
			t.Fatal(err)
		}
		p.TLS = identity.TLSIdentity{Pins: [][32]byte{identity.SPKIPin(cert)}}
		tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true,
			Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: priv}}}}
		t.Cleanup(tr.CloseIdleConnections)
		w.clients[p.Domain] = &http.Client{Transport: tr, Timeout: time.Minute}
	}
	if err := w.receiver.Node().AddPeers(t.Context(), "test", ps); err != nil {
		t.Fatal(err)
	}
	if w.trust, err = identity.NewTrust(ps...); err != nil {
		t.Fatal(err)
	}
	w.db = database(t, w.receiver)
	return w
}

// database is the platform's database, beside its node.
func database(t *testing.T, p *ebltest.Platform) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(p.Dir, node.DatabaseFile)+"?_busy_timeout=30000")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// sender is who sends the block: the vector's, else the platform that signed the newest
// entry, else, for what cannot be parsed, any. false: no trusted platform could send it.
func (w *wire) sender(t *testing.T, v *testvectors.Vector, body []byte) (identity.Host, bool) {
	t.Helper()
	if v.Sender != "" {
		h, err := identity.ParseHost(v.Sender)
		if err != nil {
			t.Fatal(err)
		}
		_, trusted := w.clients[h]
		return h, trusted
	}
	b, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		return w.trust.Platforms()[0].Domain, true
	}
	p, found := w.trust.Find(b.Last().Payload.Transactions[0].PlatformHost)
	if !found {
		return identity.Host{}, false
	}
	return p.Domain, true
}

func (w *wire) send(t *testing.T, v *testvectors.Vector) bool {
	t.Helper()
	body, err := v.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	at := *w.clock.Load()
	if v.Kind == "document" {
		body = w.around(t, body)
	} else if at, err = time.Parse(time.RFC3339, v.At); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(v.Flags, "offline") {
		return false // a receiver's answer is another vector
	}
	if at.Year() != 2026 {
		return false // by that clock the certificates of the connection have expired
	}
	w.clock.Store(&at)
	sender, ok := w.sender(t, v, body)
	if !ok {
		return false // nobody who is not trusted gets as far as the first check
	}
	// Each vector meets a node that has not answered it before.
	if _, err := w.db.ExecContext(t.Context(), "DELETE FROM rejections"); err != nil {
		t.Fatal(err)
	}
	before := dump(t, w.db)
	c := do(t, w.clients[sender], call{method: http.MethodPut, url: "https://" + w.receiver.Addr + "/v1/transferblocks", body: body})
	after := dump(t, w.db)
	w.check(t, v, sender, body, c)
	var want []string
	if signed(v) {
		want = []string{"audit", "rejections"}
	}
	if got := added(t, v, before, after); !slices.Equal(got, want) {
		t.Errorf("%s: rows added in %v, want %v", v.Name, got, want)
	}
	return true
}

// around is a block whose document is not what its well-formed chain is about.
func (w *wire) around(t *testing.T, document []byte) []byte {
	t.Helper()
	list, err := testvectors.Load("chain")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range list {
		if v.Trust != "base" || v.Expect != "accept" {
			continue
		}
		text, err := v.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		b := ebltest.Parse(t, text)
		b.Document = document
		return b.Marshal(false)
	}
	t.Fatal("there is no vector to take a chain from")
	return nil
}

// signed: an accepted vector is not for the receiver, and that too is said with a
// signature, after checks 4 to 10 have passed.
func signed(v *testvectors.Vector) bool { return v.Expect == "accept" || v.Code >= 8001 }

func (w *wire) check(t *testing.T, v *testvectors.Vector, sender identity.Host, body []byte, c *call) {
	t.Helper()
	code, text, path := v.Code, v.Reason, v.Path
	if v.Law != "" {
		text += "/" + v.Law
	}
	if v.Expect == "accept" {
		code, text, path = int(node.BENV), node.TextNotForUs, ""
	}
	status := map[int]int{7001: 400, 7103: 403, 7113: 413, 8001: 422, 8002: 422}[code]
	if code == 7113 {
		text = "tooLarge"
	}
	e := c.errorResponse(t)
	got := e.Errors[0]
	if c.status != status || got.Code != code || got.Text != text {
		t.Errorf("%s: got %d %d %s (%s), want %d %d %s", v.Name, c.status, got.Code, got.Text, got.Message, status, code, text)
		return
	}
	if v.Kind == "document" {
		path = "" // of the document alone
	}
	if path != "" && got.JSONPath != path {
		t.Errorf("%s: got the place %s, want %s", v.Name, got.JSONPath, path)
	}
	if v.Expect != "accept" && got.JSONPath == "" {
		t.Errorf("%s: the refusal names no place", v.Name)
	}
	if (e.Rejection != "") != signed(v) {
		t.Errorf("%s: signed %t, want %t", v.Name, e.Rejection != "", signed(v))
		return
	}
	if e.Rejection == "" {
		return
	}
	rej, err := envelope.OpenRejection(e.Rejection, w.receiver.Entry, *w.clock.Load())
	if err != nil {
		t.Errorf("%s: the rejection: %v", v.Name, err)
		return
	}
	b, err := envelope.Parse(body, envelope.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if !rej.Answers(b.Last(), sender, w.receiver.Domain()) || rej.Reason != text {
		t.Errorf("%s: the rejection is not about this envelope: %+v", v.Name, rej)
	}
}

// dump is every row of every table of a node but the library's own.
func dump(t *testing.T, db *sql.DB) []string {
	t.Helper()
	var lines []string
	for _, name := range query(t, db, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'goose%' AND name NOT LIKE 'sqlite%' AND name NOT LIKE 'witness%' AND name <> 'refused' ORDER BY name") {
		for _, row := range query(t, db, "SELECT * FROM "+name) {
			lines = append(lines, name+":"+row)
		}
	}
	return lines
}

// query is one text a row.
func query(t *testing.T, db *sql.DB, text string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), text)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			t.Fatal(err)
		}
		var fields []string
		for _, value := range values {
			fields = append(fields, fmt.Sprint(*value.(*any)))
		}
		lines = append(lines, strings.Join(fields, " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// added names the tables that have a new row; a row that went or changed is an error.
func added(t *testing.T, v *testvectors.Vector, before, after []string) []string {
	t.Helper()
	var tables []string
	for _, line := range before {
		if !slices.Contains(after, line) {
			t.Errorf("%s: a row went or changed: %.200s", v.Name, line)
		}
	}
	for _, line := range after {
		if !slices.Contains(before, line) {
			table, _, _ := strings.Cut(line, ":")
			tables = append(tables, table)
		}
	}
	slices.Sort(tables)
	return tables
}
