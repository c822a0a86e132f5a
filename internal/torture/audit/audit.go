// Package audit is an auditor of a set of nodes. It opens their database files itself,
// read only, and believes nothing that a node says: of the node's own code it shares
// nothing, only the wire format and the law of the bill (packages envelope and chain).
//
// It finds a bill that is in control twice (singularity), one that is nowhere or came
// from nowhere (conservation), a transfer or an issuance that was acknowledged and is not
// there, and a receipt that is not what its callers were given, byte for byte.
package audit

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"eblnode/chain"
	"eblnode/envelope"
	"eblnode/identity"

	_ "modernc.org/sqlite" // the database driver
)

// A Node is one platform, by its domain and its database file.
type Node struct {
	Domain   string
	Database string
}

// Seen is what callers were told, or saw, while the nodes ran.
type Seen struct {
	// Ahead is by how much a node's clock was ahead of ours at times: so far in the future
	// may lie what it signed, and what it took from others.
	Ahead     time.Duration
	Issued    []string // document hashes
	Transfers []Transfer
	Receipts  []Receipt
	// Rejections are signed answers of the other kind, which must be there as they were.
	Rejections []Receipt
	// Steps are moves inside a platform, and Voided the bills whose return was honoured.
	Steps  []Step
	Voided []Void
}

// A Step is a move inside a platform that its caller was told of.
type Step struct {
	Node     string // domain
	Document string
	To       string // localid@domain
}

// A Void is a bill that its carrier's node called void.
type Void struct {
	Node     string // domain
	Document string
}

// A Transfer is one that its caller was told was accepted.
type Transfer struct {
	Sender, Receiver string // domains
	ID               string
	Document         string
	Envelope         string // hash, as hex
	Receipt          string // "" where the caller saw none
}

// A Receipt is one that somebody got for an envelope.
type Receipt struct {
	Receiver string
	Envelope string
	Text     string
}

// A Report is what the auditor found. Findings are what is wrong; at most maxFindings
// are kept, More counts the others.
type Report struct {
	Issued   int `json:"billsIssued"`
	Held     int `json:"billsHeld"`
	InFlight int `json:"billsInFlight"`
	Terminal int `json:"billsTerminal"`

	Rows      int `json:"billRows"` // a bill has one on each node that knows it
	Entries   int `json:"entriesVerified"`
	Steps     int `json:"stepsVerified"`
	Accepted  int `json:"transfersAccepted"`
	Rejected  int `json:"transfersRejected"`
	Open      int `json:"transfersOpen"`
	Resolved  int `json:"settledByOperators"`
	ByChain   int `json:"settledByChain"`
	Receipts  int `json:"receiptsVerified"`
	Seen      int `json:"receiptsSeenByCallers"`
	SeenNo    int `json:"rejectionsSeenByCallers"`
	Confirmed int `json:"acknowledgedTransfersFound"`
	Moved     int `json:"acknowledgedStepsFound"`
	Voided    int `json:"acknowledgedVerdictsFound"`
	Forks     int `json:"forkedBranches"`

	Findings []string `json:"-"`
	More     int      `json:"-"`
	// Kinds are how many findings end with LOST, DOUBLED and CHANGED, those of More too.
	Kinds map[string]int `json:"-"`
}

const maxFindings = 50

func (r *Report) wrong(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	for _, kind := range []string{"LOST", "DOUBLED", "CHANGED"} {
		if strings.HasSuffix(text, kind) {
			if r.Kinds == nil {
				r.Kinds = map[string]int{}
			}
			r.Kinds[kind]++
		}
	}
	if len(r.Findings) == maxFindings {
		r.More++
		return
	}
	r.Findings = append(r.Findings, text)
}

// An auditor holds what it has read of all nodes.
type auditor struct {
	ctx    context.Context
	trust  *identity.Trust
	now    time.Time
	report *Report
	nodes  []*ledger

	// verified are the JWS whose signatures this auditor has computed, with the key.
	verified map[[32]byte][32]byte
}

// Run audits the nodes. The error says that it could not; what is wrong is in the report.
// trust holds all platforms. Nodes may run meanwhile, but then a bill that moves between
// two reads can look lost.
func Run(ctx context.Context, nodes []Node, trust *identity.Trust, seen Seen) (*Report, error) {
	a := &auditor{ctx: ctx, trust: trust, now: time.Now().Add(envelope.ClockSkew + seen.Ahead), report: &Report{}, verified: map[[32]byte][32]byte{}}
	for _, n := range nodes {
		l, err := a.read(n)
		if err != nil {
			return nil, fmt.Errorf("reading the database of %s: %w", n.Domain, err)
		}
		a.nodes = append(a.nodes, l)
	}
	for _, l := range a.nodes {
		for _, b := range l.bills {
			a.bill(l, b)
		}
		for _, x := range l.transfers {
			a.transfer(l, x)
		}
		a.receipts(l)
	}
	a.world(seen)
	a.remembered(seen)
	return a.report, nil
}

// open opens a database for reading only.
func open(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: "mode=ro&_busy_timeout=5000"}).String()
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// A ledger is one node's database, read whole.
type ledger struct {
	domain    string
	host      identity.Host
	bills     map[envelope.Hash]*bill
	byID      map[int64]*bill
	transfers map[string]*transfer
	byHash    map[envelope.Hash][]*transfer
	received  map[envelope.Hash]receipt // by envelope
	refused   map[envelope.Hash]int     // BENV rejections signed here, by envelope
	rejected  map[string]bool           // texts of the rejections signed here
	decided   map[string]string         // what two operators confirmed, by transfer
}

type bill struct {
	id        int64
	hash      envelope.Hash
	document  []byte
	issuing   string
	issuer    string
	possessor string
	status    string
	returned  string
	head      []byte
	length    int
	control   string
	entries   []entry
	steps     []step
	open      *transfer
	verdict   string
	state     chain.State // as derived from the chain and the steps
}

type entry struct {
	idx           int
	hash, claimed envelope.Hash
	jws           string
}

type step struct {
	jws    string
	tx     string
	sealed sql.NullInt64
}

type transfer struct {
	id       string
	bill     int64
	peer     string
	state    string
	idx      int
	hash     envelope.Hash
	jws      string
	verdict  string
	settled  string
	attempts int
}

type receipt struct {
	bill int64
	idx  int
	peer string
	text string
}

// scan runs a query and hands each row to take.
func (a *auditor) scan(db *sql.DB, take func(*sql.Rows) error, query string) error {
	rows, err := db.QueryContext(a.ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := take(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// read reads a database. It fails where the file cannot be read; a damaged database is a
// finding.
func (a *auditor) read(n Node) (*ledger, error) {
	l := &ledger{domain: n.Domain, bills: map[envelope.Hash]*bill{}, byID: map[int64]*bill{}, transfers: map[string]*transfer{},
		byHash: map[envelope.Hash][]*transfer{}, received: map[envelope.Hash]receipt{}, refused: map[envelope.Hash]int{}, rejected: map[string]bool{}, decided: map[string]string{}}
	var err error
	if l.host, err = identity.ParseHost(n.Domain); err != nil {
		return nil, err
	}
	db, err := open(n.Database)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var check string
	if err := db.QueryRowContext(a.ctx, "PRAGMA integrity_check(1)").Scan(&check); err != nil {
		return nil, err
	}
	if check != "ok" {
		a.report.wrong("%s: the database is damaged: %s", l.domain, check)
	}
	if err := a.readBills(db, l); err != nil {
		return nil, err
	}
	if err := a.readTransfers(db, l); err != nil {
		return nil, err
	}
	if err := a.readAnswers(db, l); err != nil {
		return nil, err
	}
	return l, a.readDecisions(db, l)
}

// hashOf is a 32-byte column.
func hashOf(b []byte) envelope.Hash {
	var h envelope.Hash
	copy(h[:], b)
	return h
}
