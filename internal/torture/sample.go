package main

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the database driver
)

// read opens the node's database for reading, for one look. A connection that stayed
// would spare the node, when it comes back, the recovery that is to be tested.
func (n *node) read(look func(*sql.DB) error) error {
	return n.files(func(path string) error {
		mode := "ro"
		if n.export != nil {
			mode = "rw" // a copy, whose index has to be made anew
		}
		dsn := (&url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=" + mode + "&_busy_timeout=300"}).String()
		db, err := sql.Open("sqlite", dsn)
		if err != nil {
			return err
		}
		defer db.Close()
		db.SetMaxOpenConns(1)
		return look(db)
	})
}

// files calls look with the path of the node's database: of a copy where this process
// itself is the disk. To look at that through the kernel is a deadlock, as soon as a page
// of mapped memory has to be read while the collector wants all threads to stand still.
func (n *node) files(look func(path string) error) error {
	dir := n.dir
	if n.export != nil {
		var err error
		if dir, err = os.MkdirTemp("", "torture"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		if err := n.export(dir); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(dir, "node.db-shm")); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	path, err := filepath.Abs(filepath.Join(dir, "node.db"))
	if err != nil {
		return err
	}
	return look(path)
}

// An open transfer, as its sender's database has it.
type openTransfer struct {
	from, to string
	state    string // prepared, or sending
	attempts int
	hash     string // the envelope's, raw bytes
	accepted bool   // its receiver has signed the receipt
}

// sample reads which transfers are open, on all nodes, and how far they are.
func (f *fleet) sample(ctx context.Context) ([]openTransfer, error) {
	var open []openTransfer
	for _, n := range f.nodes {
		err := n.read(func(db *sql.DB) error {
			rows, err := db.QueryContext(ctx, "SELECT peer, state, attempts, envelope_hash FROM transfers WHERE state IN ('prepared', 'sending')")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				x := openTransfer{from: n.domain}
				var hash []byte
				if err := rows.Scan(&x.to, &x.state, &x.attempts, &hash); err != nil {
					return err
				}
				x.hash = string(hash)
				open = append(open, x)
			}
			return rows.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	for _, n := range f.nodes {
		err := n.read(func(db *sql.DB) error {
			for i := range open {
				if open[i].to != n.domain {
					continue
				}
				var c int
				if err := db.QueryRowContext(ctx, "SELECT count(*) FROM receipts WHERE envelope_hash = ?", []byte(open[i].hash)).Scan(&c); err != nil {
					return err
				}
				open[i].accepted = c > 0
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return open, nil
}

// senderState and receiverState name how far a transfer is on either side. The first has
// what the sender cannot know: whether its receiver has decided.
func (x openTransfer) senderState() string {
	switch {
	case x.state == "prepared":
		return "prepared, no byte sent"
	case x.accepted:
		return "sending, accepted by the peer, receipt not here yet"
	case x.attempts > 0:
		return "sending again, in doubt"
	}
	return "sending, not accepted yet"
}

func (x openTransfer) receiverState() string {
	switch {
	case x.accepted:
		return "accepted, its sender does not know"
	case x.state == "prepared":
		return "not offered yet"
	}
	return "offered, not accepted yet"
}

// states are all that a long run must have hit.
var (
	senderStates = []string{"prepared, no byte sent", "sending, not accepted yet", "sending, accepted by the peer, receipt not here yet", "sending again, in doubt"}
	recvStates   = []string{"not offered yet", "offered, not accepted yet", "accepted, its sender does not know"}
)
